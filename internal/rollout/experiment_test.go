package rollout

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

var update = flag.Bool("update", false, "rewrite golden files")

const trial = `kind: experiment
name: tone
route: main
variants: [{name: baseline, weight: 40%}, {name: short, weight: 30%}, {name: long, weight: 30%}]
metric: {score: quality}
stop: {min_duration: 10m, max_duration: 5h, min_samples: 100, futility: 5%}
`

func experiment(t testing.TB, text string) *Experiment {
	t.Helper()
	d := load(t, text)
	ids := make([]string, len(d.Arms))
	for i := range ids {
		ids[i] = fmt.Sprintf("%016x", i+1)
	}
	x, err := NewExperiment(d, ids, Start{By: "ann", Why: "shorter answers?"}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// quality makes an exchange of each arm with a score of that mean.
func quality(x *Experiment, rng *rand.Rand, n int, means ...float64) record.Evidence {
	u, arm := rng.Float64(), 0
	for rest := x.Arms[0].Weight; u >= rest && arm < len(x.Arms)-1; {
		arm++
		rest += x.Arms[arm].Weight
	}
	own := x.Arms[arm].Weight
	if x.Arms[arm].Name == "baseline" {
		own = 1 - own
	}
	v := min(max(means[arm]+0.15*rng.NormFloat64(), 0), 1)
	return record.Evidence{
		ID: fmt.Sprintf("x%d", n), Time: epoch.Add(time.Duration(n) * time.Second), Route: "main", Rollout: x.Doc.Name, Variant: x.Arms[arm].Name, Propensity: own,
		Unit: fmt.Sprintf("%016x", rng.Uint64()), Scores: []record.EvidenceScore{{Name: "quality", Value: &v}},
	}
}

func (x *Experiment) play(rng *rand.Rand, n int, means ...float64) (taken int) {
	x.Step(epoch)
	for i := range n {
		x.Observe(quality(x, rng, i, means...))
		if i%20 == 0 {
			if x.Step(epoch.Add(time.Duration(i) * time.Second)); x.Phase.Final() {
				return i
			}
		}
	}
	return n
}

func TestExperimentEnds(t *testing.T) {
	f := func(most, outcome string, v verdict.Verdict, findings string, means ...float64) {
		t.Helper()
		x := experiment(t, strings.Replace(trial, "5h", most, 1))
		x.play(rand.New(rand.NewPCG(1, 1)), 18100, means...)
		r := x.Result()
		var got []string
		for _, a := range r.Variants[1:] {
			got = append(got, a.Finding)
		}
		if x.Phase != Done || x.Outcome != outcome || r.Verdict != v || strings.Join(got, " ") != findings || len(x.Plan().Arms) != 0 {
			t.Errorf("%s %s, %v, %v: %+v", x.Phase, x.Outcome, r.Verdict, got, r.Variants)
		}
	}
	f("5h", OutcomeSignificant, verdict.Pass, "better undecided", 0.5, 0.6, 0.5)
	f("5h", OutcomeSignificant, verdict.Fail, "undecided worse", 0.5, 0.5, 0.4)
	f("5h", OutcomeFutile, verdict.Undecided, "alike alike", 0.5, 0.5, 0.5)
	f("11m", OutcomeTime, verdict.Undecided, "undecided undecided", 0.5, 0.52, 0.48)
}

// At any time together, the intervals miss with a chance of at most alpha.
func TestExperimentRarelyFindsWhatIsNotThere(t *testing.T) {
	found := 0
	const runs = 60
	for seed := range uint64(runs) {
		x := experiment(t, strings.Replace(trial, "futility: 5%", "futility: 0", 1)+"alpha: 0.2\n")
		x.play(rand.New(rand.NewPCG(seed, 2)), 3000, 0.5, 0.5, 0.5)
		if x.Outcome == OutcomeSignificant {
			found++
		}
	}
	if t.Logf("%d of %d", found, runs); !consistent(found, runs, 0.2) {
		t.Errorf("%d of %d", found, runs)
	}
}

func TestExperimentRefuses(t *testing.T) {
	f := func(change func(*record.Evidence), why string) {
		t.Helper()
		x := experiment(t, trial+"unit: user\n")
		x.Step(epoch)
		v := 0.5
		e := record.Evidence{ID: "x", Time: epoch, Route: "main", Rollout: "tone", Variant: "short", Propensity: 0.3, Unit: "0123456789abcdef", Scores: []record.EvidenceScore{{Name: "quality", Value: &v}}}
		change(&e)
		x.Observe(e)
		if why == "" && (x.Taken != 1 || len(x.Refused) != 0) || why != "" && (x.Refused[why] != 1 || x.Arms[1].N != 0) {
			t.Errorf("%+v: %v, want %q", e, x.Refused, why)
		}
	}
	f(func(e *record.Evidence) {}, "")
	f(func(e *record.Evidence) { e.Variant, e.Propensity = "baseline", 0.6 }, "")
	f(func(e *record.Evidence) { e.Rollout = "other" }, RefusedOther)
	f(func(e *record.Evidence) { e.Variant = "huge" }, RefusedArm)
	f(func(e *record.Evidence) { e.Propensity = 0.5 }, RefusedPropensity)
	f(func(e *record.Evidence) { e.Variant = "baseline" }, RefusedPropensity)
	f(func(e *record.Evidence) { e.Time = time.Time{} }, RefusedTime)
	f(func(e *record.Evidence) { e.Unit = "" }, RefusedUnit)
	f(func(e *record.Evidence) { e.Retries = 2 }, RefusedRetry)
	f(func(e *record.Evidence) { e.Kind = record.EvidenceSentinel }, RefusedKind)
}

// A user counts once.
func TestExperimentCountsUnitsOnce(t *testing.T) {
	x := experiment(t, trial+"unit: user\n")
	x.Step(epoch)
	v := 0.5
	for range 10 {
		x.Observe(record.Evidence{ID: "x", Time: epoch, Route: "main", Rollout: "tone", Variant: "long", Propensity: 0.3, Unit: "0123456789abcdef", Scores: []record.EvidenceScore{{Name: "quality", Value: &v}}})
	}
	if x.Arms[2].N != 1 {
		t.Errorf("%+v", x.Arms)
	}
}

func TestExperimentCommands(t *testing.T) {
	x := experiment(t, trial)
	f := func(kind CommandKind, by, wrong string) {
		t.Helper()
		_, err := x.Command(Command{Kind: kind, By: by}, epoch)
		if (err != nil) != (wrong != "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %q", kind, err, wrong)
		}
	}
	f(Pause, "ann", "it is pending")
	x.Step(epoch)
	f(Promote, "ann", "no command for an experiment")
	f(Pause, "", "want who asks")
	f(Pause, "ann", "")
	if p := x.Plan(); x.Phase != Paused || len(p.Arms) != 2 || p.Arms[0] != (PlanArm{"short", 0.3}) {
		t.Errorf("%s %+v", x.Phase, p)
	}
	x.Step(epoch.Add(100 * time.Hour))
	if x.Phase != Paused {
		t.Errorf("%s", x.Phase)
	}
	f(Resume, "ann", "")
	f(Abort, "ann", "")
	if x.Phase != Aborted || x.Outcome != OutcomeAborted || len(x.Plan().Arms) != 0 {
		t.Errorf("%s %s", x.Phase, x.Outcome)
	}
	f(Abort, "ann", "it is aborted")
}

// The same inputs give the same bytes, also when the state is written and read in between.
func TestExperimentRoundTrip(t *testing.T) {
	for _, metric := range []string{"{score: quality}", "{kind: latency_p95}", "{score: feedback, delay: 30s}"} {
		text := strings.Replace(trial, "{score: quality}", metric, 1) + "unit: session\n"
		a, b := experiment(t, text), experiment(t, text)
		rng := rand.New(rand.NewPCG(4, 4))
		for i := range 1500 {
			e := quality(a, rng, i, 0.5, 0.6, 0.5)
			l := rng.ExpFloat64()
			if e.Latency = &l; a.Doc.Metric.Delay > 0 {
				e.Kind, e.Scores[0].Name = record.EvidenceOutcome, "feedback"
			}
			a.Observe(e)
			b.Observe(e)
			if i%10 == 0 {
				a.Step(e.Time)
				b.Step(e.Time)
			}
			if i%50 > 2 {
				continue
			}
			one, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			two, err := json.Marshal(b)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(one, two) {
				t.Fatalf("%s: after %d:\n%s\n%s", metric, i, one, two)
			}
			b = new(Experiment)
			if err := json.Unmarshal(one, b); err != nil {
				t.Fatal(err)
			}
		}
		if a.Arms[1].N == 0 {
			t.Errorf("%s: nothing was counted: %v", metric, a.Refused)
		}
	}
}

func TestResultGolden(t *testing.T) {
	x := experiment(t, trial)
	x.play(rand.New(rand.NewPCG(1, 1)), 18100, 0.5, 0.6, 0.5)
	r := x.Result()
	got := r.Markdown()
	const path = "testdata/result.golden.md"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s", got)
	}
	empty := experiment(t, trial).Result()
	if text := empty.Markdown(); !strings.Contains(text, "No difference is shown so far") || empty.Verdict != verdict.Undecided {
		t.Errorf("%s", text)
	}
}
