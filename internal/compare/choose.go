package compare

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
)

// Kinds of metrics as a run publishes them; a derived one is computed from others.
const (
	kindRate    = "rate"
	kindRatio   = "ratio"
	kindDerived = "derived"
)

// chooseMetrics returns the names of the metrics to compare, in the order in which they are shown. Numbers made by
// different recipes are not comparable: signatures that differ are mistakes, one for each recipe. Only a mix of
// recipes may differ where the dataset does, for then a case more makes another mix; that is a warning.
func chooseMetrics(base, head *Side, asked []string) (names, warnings []string, err error) {
	b, h := base.Run, head.Run
	all := map[string]bool{}
	for name := range b.Metrics {
		all[name] = true
	}
	for name := range h.Metrics {
		all[name] = true
	}
	var errs config.Errors
	var changed []recipe
	for _, name := range asked {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(all)), func(m string) bool { return within(m, name) }) {
			errs = append(errs, &config.Error{Pos: config.Pos{Key: "--metric"}, Value: name, Problem: "neither run has such a metric",
				Want: "one of " + strings.Join(slices.Sorted(maps.Keys(all)), ", ")})
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(all), byImportance) {
		wanted := len(asked) == 0 || slices.ContainsFunc(asked, func(a string) bool { return within(name, a) })
		mb, inBase := b.Metrics[name]
		mh, inHead := h.Metrics[name]
		switch {
		case !wanted:
		case !inBase || !inHead:
			only, other := "head", "base"
			if inBase {
				only, other = other, only
			}
			if slices.Contains(asked, name) {
				errs = append(errs, &config.Error{Pos: config.Pos{Key: "--metric"}, Value: name, Problem: "the " + other + " has no such metric"})
				continue
			}
			warnings = append(warnings, fmt.Sprintf("metric %q is only in the %s and is not compared", name, only))
		case mb.Signature == mh.Signature:
			names = append(names, name)
		case b.Dataset.Hash != h.Dataset.Hash && (metric.Mixed(mb.Signature) || metric.Mixed(mh.Signature)):
			warnings = append(warnings, fmt.Sprintf("the cases of metric %q are judged by several recipes, and these changed with the dataset; paired cases are taken to be judged alike", name))
			names = append(names, name)
		default:
			changed = differ(changed, name, mb.Signature, mh.Signature)
		}
	}
	for _, r := range changed {
		errs = append(errs, r.refused())
	}
	if err := errs.Err(); err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		return nil, nil, &config.Error{Problem: "the runs have no metric in common"}
	}
	if err := sameScorers(b, h, names); err != nil {
		return nil, nil, err
	}
	return names, warnings, nil
}

// recipe is a recipe that changed, and what was made by it.
type recipe struct {
	base, head string
	metrics    []string
}

func differ(list []recipe, name, base, head string) []recipe {
	i := slices.IndexFunc(list, func(r recipe) bool { return r.base == base && r.head == head })
	if i < 0 {
		i, list = len(list), append(list, recipe{base: base, head: head})
	}
	list[i].metrics = append(list[i].metrics, name)
	return list
}

func (r recipe) refused() *config.Error {
	what := fmt.Sprintf("metric %q was", r.metrics[0])
	if len(r.metrics) > 1 {
		what = fmt.Sprintf("metrics %s were", strings.Join(r.metrics, ", "))
	}
	return &config.Error{
		Problem: fmt.Sprintf("%s made by different recipes and cannot be compared: base %q, head %q", what, r.base, r.head),
		Hint:    "run the base again with the present suite, or compare other metrics with --metric NAME",
	}
}

// sameScorers refuses the pass rate and the score when assertions behind them changed, whatever the metrics compared.
func sameScorers(b, h *record.Run, names []string) error {
	if !slices.Contains(names, record.MetricPassRate) && !slices.Contains(names, record.MetricScore) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(b.Scorers)) {
		x, y := b.Scorers[name], h.Scorers[name]
		if _, both := h.Scorers[name]; !both || x == y || b.Dataset.Hash != h.Dataset.Hash && (metric.Mixed(x) || metric.Mixed(y)) {
			continue
		}
		return &config.Error{
			Problem: fmt.Sprintf("pass_rate and score rest on the assertion %q, whose recipe changed: base %q, head %q", name, x, y),
			Hint:    "run the base again with the present suite, or compare other metrics with --metric NAME",
		}
	}
	return nil
}

// within says whether name is the metric m or a part of it, such as ifeval.prompt_strict of ifeval.
func within(name, m string) bool {
	rest, ok := strings.CutPrefix(name, m)
	return ok && (rest == "" || rest[0] == '.')
}

// byImportance puts the verdicts first, then the suite's own metrics, then what answers take.
func byImportance(x, y string) int {
	if c := place(x) - place(y); c != 0 {
		return c
	}
	return strings.Compare(x, y)
}

func place(name string) int {
	if i := slices.Index([]string{record.MetricPassRate, record.MetricScore}, name); i >= 0 {
		return i
	}
	if i := slices.Index([]string{record.MetricErrorRate, record.MetricLatency, record.MetricTTFT, record.MetricTokensPrompt,
		record.MetricTokensCompletion, record.MetricCost}, name); i >= 0 {
		return 10 + i
	}
	return 5
}
