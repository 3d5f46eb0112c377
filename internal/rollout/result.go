package rollout

import (
	"fmt"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Result is what an experiment has found, also while it runs.
type Result struct {
	Name    string    `json:"name"`
	Route   string    `json:"route"`
	Metric  string    `json:"metric"`
	What    string    `json:"what"` // what the metric's mean is
	Worse   string    `json:"worse"`
	Unit    string    `json:"unit"`
	Alpha   float64   `json:"alpha"`
	Phase   Phase     `json:"phase"`
	Outcome string    `json:"outcome,omitempty"`
	Why     string    `json:"why,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	// Verdict is Pass when some variant was shown to be better than the first, Fail when one was shown to be worse and none
	// better, and Undecided otherwise.
	Verdict  verdict.Verdict  `json:"verdict"`
	Variants []VariantResult  `json:"variants"`
	Refused  map[string]int64 `json:"refused,omitempty"`
}

// VariantResult is one variant of an experiment. The first has no difference.
type VariantResult struct {
	Name   string   `json:"name"`
	ID     string   `json:"id"`
	Weight float64  `json:"weight"`
	N      int64    `json:"n"`
	Mean   *float64 `json:"mean,omitempty"`
	// Difference from the first variant, weighted by propensity, with an interval that holds whenever one looks, for all variants
	// together with probability 1 − alpha.
	Difference *float64 `json:"difference,omitempty"`
	Low        *float64 `json:"low,omitempty"`
	High       *float64 `json:"high,omitempty"`
	// Finding is better, worse, alike (closer than the futility bound) or undecided; empty for the first.
	Finding string `json:"finding,omitempty"`
}

// What was found of a variant.
const (
	FoundBetter    = "better"
	FoundWorse     = "worse"
	FoundAlike     = "alike"
	FoundUndecided = "undecided"
)

// Result says what has been found so far.
func (x *Experiment) Result() Result {
	g := x.Doc.Metric
	r := Result{
		Name: x.Doc.Name, Route: x.Doc.Route, Metric: g.Name, What: config.SignalKinds()[g.Kind], Worse: g.Worse, Unit: x.Doc.Unit, Alpha: x.Doc.Alpha,
		Phase: x.Phase, Outcome: x.Outcome, Started: x.Since, Ended: x.Ended, Refused: x.Refused,
	}
	if x.Frozen != nil {
		// The mean is then a share beyond the threshold, of which less is always better.
		r.Worse = "higher"
	}
	if x.Phase.Final() {
		r.Why = x.lastWhy(x.Phase)
	}
	worse := false
	for i := range x.Arms {
		a := &x.Arms[i]
		v := VariantResult{Name: a.Name, ID: a.ID, Weight: a.Weight, N: a.N}
		if a.N > 0 {
			v.Mean = round(a.Sum / float64(a.N))
		}
		if i > 0 {
			v.find(x, a, r.Worse)
			worse = worse || v.Finding == FoundWorse
			if v.Finding == FoundBetter {
				r.Verdict = verdict.Pass
			}
		}
		r.Variants = append(r.Variants, v)
	}
	if worse && r.Verdict == verdict.Undecided {
		r.Verdict = verdict.Fail
	}
	return r
}

func (v *VariantResult) find(x *Experiment, a *Arm, worse string) {
	v.Finding = FoundUndecided
	in, ok := a.Diff.interval(x.level())
	if !ok || a.N == 0 || x.Arms[0].N == 0 {
		return
	}
	v.Difference, v.Low, v.High = round(a.Diff.Mean/a.Diff.Weights), round(in.Low), round(in.High)
	futile := x.Doc.Stop.Futility
	switch {
	case in.Low > 0 && worse == "higher", in.High < 0 && worse == "lower":
		v.Finding = FoundWorse
	case in.Low > 0, in.High < 0:
		v.Finding = FoundBetter
	case futile > 0 && in.Low > -futile && in.High < futile:
		v.Finding = FoundAlike
	}
}

// Markdown is the result on one page.
func (r *Result) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Experiment %s\n\n", r.Name)
	fmt.Fprintf(&b, "%s\n\n", r.headline())
	fmt.Fprintf(&b, "Route %s, unit %s. Metric `%s`: %s; %s is worse. Started %s", r.Route, r.Unit, r.Metric, r.What, r.Worse, r.Started.Format(time.RFC3339))
	if !r.Ended.IsZero() {
		fmt.Fprintf(&b, ", ended %s (%s)", r.Ended.Format(time.RFC3339), strings.ReplaceAll(r.Outcome, "_", " "))
	}
	b.WriteString(".\n\n| variant | id | weight | n | mean | difference | interval | finding |\n|---|---|---|---|---|---|---|---|\n")
	for i, v := range r.Variants {
		interval, finding := "", v.Finding
		if v.Low != nil && v.High != nil {
			interval = fmt.Sprintf("%+.4g to %+.4g", *v.Low, *v.High)
		}
		if i == 0 {
			finding = "compared with"
		}
		fmt.Fprintf(&b, "| %s | %s | %g%% | %d | %s | %s | %s | %s |\n", v.Name, v.ID, v.Weight*100, v.N, shown(v.Mean, "%.4g"), shown(v.Difference, "%+.4g"), interval, finding)
	}
	level := 100 * (1 - r.Alpha)
	fmt.Fprintf(&b, "\nThe intervals hold together with %g%% confidence whenever one looks, so an early end costs nothing. Differences are weighted by the propensity of each assignment and may differ from those of the plain means.\n", level)
	if r.Unit != config.UnitRequest {
		fmt.Fprintf(&b, "A %s counts once, with its first outcome.\n", r.Unit)
	}
	if total := sumOf(r.Refused); total > 0 {
		fmt.Fprintf(&b, "%d pieces of evidence were not used; see `refused` in the JSON.\n", total)
	}
	return b.String()
}

func (r *Result) headline() string {
	var parts []string
	for _, v := range r.Variants {
		if v.Finding == FoundBetter || v.Finding == FoundWorse || v.Finding == FoundAlike {
			word := v.Finding + " than"
			if v.Finding == FoundAlike {
				word = "as good as"
			}
			parts = append(parts, fmt.Sprintf("**%s** is %s %s", v.Name, word, r.Variants[0].Name))
		}
	}
	text := strings.Join(parts, "; ")
	if text == "" {
		text = "No difference is shown"
	}
	if !r.Phase.Final() {
		text += " so far"
	}
	if r.Why != "" {
		text += ": " + r.Why
	}
	return text + "."
}

func shown(v *float64, format string) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(format, *v)
}

func sumOf(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
