package rollout

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

var epoch = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func load(t testing.TB, text string) *config.Rollout {
	t.Helper()
	doc, err := config.LoadRollout("rollout.yaml", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func start(t testing.TB, text string) *State {
	t.Helper()
	s, err := New(load(t, text), Start{Baseline: Variant{"baseline", "b"}, Candidate: Variant{"new", "c"}, By: "ann", Why: "try"}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// doc is a document of one signal with these stages and further lines.
func doc(stages string, lines ...string) string {
	text := "name: r\nroute: main\ncandidate: new\nstages: " + stages + "\n"
	if !strings.Contains(strings.Join(lines, "\n"), "signals:") {
		text += "signals: [{kind: error_rate, margin: 1%}]\n"
	}
	return text + strings.Join(lines, "\n") + "\n"
}

// traffic makes evidence, a tenth of a second apart.
type traffic struct {
	rng     *rand.Rand
	n       int
	at      time.Time
	users   int // number of users that take turns; 0 for a new unit each
	outcome func(w *traffic, e *record.Evidence, candidate bool)
}

func newTraffic(seed uint64, outcome func(*traffic, *record.Evidence, bool)) *traffic {
	return &traffic{rng: rand.New(rand.NewPCG(seed, 7)), at: epoch, outcome: outcome}
}

func (w *traffic) next(s *State) record.Evidence {
	w.n++
	w.at = w.at.Add(100 * time.Millisecond)
	pi := s.weight()
	unit := w.rng.Uint64()
	if w.users > 0 {
		unit = uint64(w.rng.IntN(w.users)) * 0x9e3779b97f4a7c15
	}
	e := record.Evidence{
		ID: fmt.Sprintf("x%d", w.n), Time: w.at, Route: s.Doc.Route, Rollout: s.Doc.Name, Stage: s.Stage, Variant: "baseline", Propensity: pi,
		Unit: fmt.Sprintf("%016x", unit), Status: 200, FinishReason: "stop",
	}
	// As in the gateway: the unit's place decides, so that it never leaves.
	u := w.rng.Float64()
	if w.users > 0 {
		u = rand.New(rand.NewPCG(unit, 99)).Float64()
	}
	candidate := u < pi
	if candidate {
		e.Variant = "new"
	}
	w.outcome(w, &e, candidate)
	return e
}

// run feeds n exchanges with a Step every ten, until the rollout has ended.
func (w *traffic) run(s *State, n int) {
	for range n {
		s.Observe(w.next(s))
		if w.n%10 == 0 {
			Step(s, w.at)
			if s.Phase.Final() {
				return
			}
		}
	}
}

func fail(w *traffic, e *record.Evidence, p float64) {
	if w.rng.Float64() < p {
		e.ErrorKind, e.Status, e.FinishReason = record.Server, 500, ""
	}
}

// rates returns outcomes with errors at these rates.
func rates(baseline, candidate float64) func(*traffic, *record.Evidence, bool) {
	return func(w *traffic, e *record.Evidence, c bool) {
		p := baseline
		if c {
			p = candidate
		}
		fail(w, e, p)
	}
}

const fast = "[{weight: 20%, min_duration: 30s, max_duration: 1h, min_samples: 100}, {weight: 50%, min_duration: 30s, max_duration: 1h, min_samples: 100}, 100%]"

func lastWhy(s *State) string { return s.History[len(s.History)-1].Why }

func TestGoodCandidateIsPromoted(t *testing.T) {
	s := start(t, doc(fast, "bake: 1m"))
	w := newTraffic(1, rates(0.01, 0.01))
	w.run(s, 40000)
	if s.Phase != Done {
		t.Fatalf("%s in stage %d: %s", s.Phase, s.Stage, lastWhy(s))
	}
	var bases []string
	for _, h := range s.History {
		bases = append(bases, h.Basis)
	}
	if got := strings.Join(bases, " "); got != "  non_inferiority non_inferiority bake" {
		t.Errorf("bases %q", got)
	}
	if p := s.Plan(); len(p.Arms) != 1 || p.Arms[0] != (PlanArm{"new", 1}) {
		t.Errorf("%+v", p)
	}
}

// Each kind of harm is found, at the stage in which it shows, by the signal that is for it.
func TestHarmIsRolledBack(t *testing.T) {
	f := func(signals string, outcome func(*traffic, *record.Evidence, bool), reason string) {
		t.Helper()
		s := start(t, doc("[{weight: 5%, min_duration: 10h, max_duration: 20h}, 100%]", "signals: "+signals))
		w := newTraffic(3, outcome)
		w.run(s, 60000)
		if s.Phase != RolledBack || !strings.Contains(lastWhy(s), reason) {
			t.Errorf("%s after %d: %s, want %q", s.Phase, w.n, lastWhy(s), reason)
			return
		}
		last := s.History[len(s.History)-1]
		if len(last.Signals) != len(s.Signals) || last.By != Self || last.Weight != 0 || len(s.Plan().Arms) != 0 {
			t.Errorf("%+v", last)
		}
	}
	f("[{kind: error_rate, margin: 1%}]", rates(0.01, 0.05), "error_rate is worse")
	f("[{kind: error_rate, margin: 1%}]", rates(0.2, 0.3), "error_rate is worse") // the full likelihood
	latency := func(slow float64) func(*traffic, *record.Evidence, bool) {
		return func(w *traffic, e *record.Evidence, c bool) {
			l := 0.1 + w.rng.ExpFloat64()*0.1
			if c && w.rng.Float64() < slow {
				l += 5
			}
			e.Latency, e.TTFT = &l, &l
		}
	}
	f("[{kind: latency_p95, margin: 5%}]", latency(0.2), "latency_p95 is worse")
	f("[{kind: latency_p99, margin: 1%}]", latency(0.03), "latency_p99 is worse")
	f("[{kind: ttft_p99, margin: 1%}]", latency(0.05), "ttft_p99 is worse")
	flag := func(name string, value float64) func(*traffic, *record.Evidence, bool) {
		return func(w *traffic, e *record.Evidence, c bool) {
			pass := w.rng.Float64() > 0.01
			if c {
				pass = w.rng.Float64() > value
			}
			e.Scores = append(e.Scores, record.EvidenceScore{Name: name, Pass: &pass})
		}
	}
	f("[{kind: toxicity, margin: 1%}]", flag("toxicity", 0.08), "toxicity is worse")
	f("[{kind: format, score: is-json, margin: 1%}]", flag("is-json", 0.4), "format is worse")
	f("[{kind: pii, margin: 1%}]", flag("pii", 0.1), "pii is worse")
	f("[{kind: refusal, score: not-is-refusal, margin: 1%}]", flag("not-is-refusal", 0.2), "refusal is worse")
	f("[{kind: refusal, margin: 1%}]", func(w *traffic, e *record.Evidence, c bool) { e.Refused = w.rng.Float64() < 0.01+0.1*event(c) }, "refusal is worse")
	f("[{kind: truncation, margin: 1%}]", func(w *traffic, e *record.Evidence, c bool) {
		if w.rng.Float64() < 0.02+0.1*event(c) {
			e.FinishReason = "max_tokens"
		}
	}, "truncation is worse")
	f("[{kind: abandonment, margin: 1%}]", func(w *traffic, e *record.Evidence, c bool) {
		if e.Canceled = w.rng.Float64() < 0.02+0.1*event(c); e.Canceled {
			e.ErrorKind = record.Canceled
		}
	}, "abandonment is worse")
	tokens := func(less float64) func(*traffic, *record.Evidence, bool) {
		return func(w *traffic, e *record.Evidence, c bool) {
			n := 100 + w.rng.IntN(100)
			if c {
				n = int(float64(n) * less)
			}
			cost := float64(n) / 1000
			e.OutputTokens, e.Cost = &n, &cost
		}
	}
	f("[{kind: output_length, margin: 5%}]", tokens(1.5), "output_length is worse")
	f("[{kind: output_length, worse: lower, margin: 5%}]", tokens(0.5), "output_length is worse")
	f("[{kind: cost, margin: 5%}]", tokens(1.5), "cost is worse")
	f("[{score: quality, margin: 5%}]", func(w *traffic, e *record.Evidence, c bool) {
		v := min(max(0.8-0.2*event(c)+w.rng.NormFloat64()*0.1, 0), 1)
		e.Scores = []record.EvidenceScore{{Name: "quality", Value: &v}}
	}, "quality is worse")
	f("[{score: risk, worse: higher, margin: 5%}]", func(w *traffic, e *record.Evidence, c bool) {
		v := min(max(0.2+0.2*event(c)+w.rng.NormFloat64()*0.1, 0), 1)
		e.Scores = []record.EvidenceScore{{Name: "risk", Value: &v}}
	}, "risk is worse")
	f("[{kind: error_rate, margin: 1%}, {kind: refusal, role: supporting, margin: 1%}, {kind: truncation, role: supporting, margin: 1%}]", func(w *traffic, e *record.Evidence, c bool) {
		e.Refused = w.rng.Float64() < 0.01+0.08*event(c)
		if w.rng.Float64() < 0.01+0.08*event(c) {
			e.FinishReason = "length"
		}
	}, "refusal, truncation are worse together")
}

// One supporting signal alone, and one that is only observed, roll nothing back.
func TestOneSupportingSignalIsNotEnough(t *testing.T) {
	f := func(role string) {
		t.Helper()
		s := start(t, doc("[{weight: 20%, min_duration: 10h, max_duration: 20h}, 100%]", "supporting: 2",
			"signals: [{kind: error_rate, margin: 1%}, {kind: refusal, margin: 1%, role: "+role+"}, {kind: truncation, margin: 1%, role: supporting}, {kind: abandonment, margin: 1%, role: supporting}]"))
		w := newTraffic(1, func(w *traffic, e *record.Evidence, c bool) { e.Refused = w.rng.Float64() < 0.02+0.3*event(c) })
		w.run(s, 5000)
		if s.Phase != Running {
			t.Errorf("%s: %s: %s", role, s.Phase, lastWhy(s))
		}
	}
	f("supporting")
	f("observe")
}

// Worse for certain, but within the margin that matters: no rollback.
func TestWorseWithinTheMargin(t *testing.T) {
	s := start(t, doc("[{weight: 50%, min_duration: 1000h, max_duration: 2000h}, 100%]", "signals: [{kind: error_rate, margin: 20%}]", "alpha: 0.5", "promotion_alpha: 0.2"))
	w := newTraffic(5, rates(0.1, 0.14))
	w.run(s, 300)
	if s.Phase != Running {
		t.Fatalf("%s: %s", s.Phase, lastWhy(s))
	}
	w.run(s, 30000)
	if st := s.Statuses()[0]; s.Phase != Running || st.State != WorseWithin {
		t.Errorf("%s, %+v", s.Phase, st)
	}
}

// An outage of the provider's hits both arms: nothing is rolled back, nothing promoted, and the state says why.
func TestOutageInBothArms(t *testing.T) {
	s := start(t, doc("[{weight: 20%, min_duration: 5m, max_duration: 10h, min_samples: 100}, 100%]"))
	bad := false
	w := newTraffic(4, func(w *traffic, e *record.Evidence, c bool) {
		p := 0.01
		if bad {
			p = 0.9
		}
		fail(w, e, p)
	})
	w.run(s, 2900)
	bad = true
	w.run(s, 1000)
	if s.Phase != Running || s.Stage != 0 || s.BothArms != "error_rate" || s.Statuses()[0].State != Both || !strings.Contains(lastWhy(s), "both arms") {
		t.Fatalf("%s in stage %d, both %q: %s", s.Phase, s.Stage, s.BothArms, lastWhy(s))
	}
	if d := s.Verdict(); d.Verdict.String() != "undecided" {
		t.Errorf("%+v", d)
	}
	bad = false
	w.run(s, 30000)
	if s.BothArms != "" || s.Stage != 1 {
		t.Errorf("%s in stage %d, both %q: %s", s.Phase, s.Stage, s.BothArms, lastWhy(s))
	}
}

// No outcome at all, and only such as cannot be, promote nothing: also where the document asks for no sample.
func TestNothingIsNotEnough(t *testing.T) {
	f := func(outcome func(*traffic, *record.Evidence, bool), signal string) {
		t.Helper()
		s := start(t, doc("[{weight: 20%, min_duration: 0, max_duration: 10s, min_samples: 0}, 100%]", "signals: ["+signal+"]"))
		w := newTraffic(1, outcome)
		w.run(s, 2000)
		if s.Phase != Running || s.Stage != 0 || !s.Undecided {
			t.Errorf("%s: %s in stage %d: %s", signal, s.Phase, s.Stage, lastWhy(s))
		}
		if v := s.Verdict(); v.Verdict.String() != "undecided" || v.Signals[0].Verdict.String() != "undecided" {
			t.Errorf("%s: %+v", signal, v)
		}
	}
	nan := func() float64 { var zero float64; return zero / zero }()
	f(func(_ *traffic, e *record.Evidence, _ bool) {}, "{score: quality, margin: 10%}")
	f(func(_ *traffic, e *record.Evidence, _ bool) {
		e.Scores = []record.EvidenceScore{{Name: "quality", Value: &nan}}
	}, "{score: quality, margin: 10%}")
	f(func(_ *traffic, e *record.Evidence, _ bool) {
		two := 2.0
		e.Scores = []record.EvidenceScore{{Name: "quality", Value: &two}}
	}, "{score: quality, margin: 10%}")
	f(func(_ *traffic, e *record.Evidence, _ bool) { e.Latency = &nan }, "{kind: latency_p95, margin: 10%, threshold: 1s}")
	f(func(_ *traffic, e *record.Evidence, _ bool) { e.Latency = nil }, "{kind: latency_p95, margin: 10%}")
	f(func(_ *traffic, e *record.Evidence, _ bool) { e.ErrorKind = record.Server }, "{kind: format, margin: 10%}")
}

func TestRefused(t *testing.T) {
	f := func(change func(*record.Evidence), why string) {
		t.Helper()
		s := start(t, doc(fast, "unit: user"))
		Step(s, epoch)
		e := record.Evidence{ID: "x", Time: epoch, Route: "main", Rollout: "r", Variant: "baseline", Propensity: 0.2, Unit: "0123456789abcdef"}
		change(&e)
		s.Observe(e)
		if why == "" {
			if s.Taken != 1 || len(s.Refused) != 0 || s.Signals[0].Seen[0] != 1 {
				t.Errorf("%+v was not taken: %v", e, s.Refused)
			}
			return
		}
		if s.Refused[why] != 1 || s.Signals[0].Seen != [2]int64{} {
			t.Errorf("%+v: %v, want %s", e, s.Refused, why)
		}
	}
	nan := func() float64 { var zero float64; return zero / zero }()
	f(func(e *record.Evidence) {}, "")
	f(func(e *record.Evidence) { e.Rollout = "" }, RefusedOther)
	f(func(e *record.Evidence) { e.Rollout = "q" }, RefusedOther)
	f(func(e *record.Evidence) { e.Route = "q" }, RefusedOther)
	f(func(e *record.Evidence) { e.Variant = "old" }, RefusedArm)
	f(func(e *record.Evidence) { e.Variant = "" }, RefusedArm)
	f(func(e *record.Evidence) { e.Kind = "rumour" }, RefusedKind)
	f(func(e *record.Evidence) { e.Stage = 3 }, RefusedStage)
	f(func(e *record.Evidence) { e.Stage = -1 }, RefusedStage)
	f(func(e *record.Evidence) { e.Time = time.Time{} }, RefusedTime)
	f(func(e *record.Evidence) { e.Propensity = -0.1 }, RefusedPropensity)
	f(func(e *record.Evidence) { e.Propensity = 1.1 }, RefusedPropensity)
	f(func(e *record.Evidence) { e.Propensity = nan }, RefusedPropensity)
	f(func(e *record.Evidence) { e.Propensity = 1 }, RefusedPropensity)
	f(func(e *record.Evidence) { e.Variant, e.Propensity = "new", 0 }, RefusedPropensity)
	f(func(e *record.Evidence) { e.Unit = "" }, RefusedUnit)
	f(func(e *record.Evidence) { e.Unit = "xyz3456789abcdef" }, RefusedUnit)
	f(func(e *record.Evidence) { e.Retries = 1 }, RefusedRetry)
	f(func(e *record.Evidence) { e.Variant = record.VariantShadow }, RefusedUnpaired)
	f(func(e *record.Evidence) { e.Variant, e.Paired = record.VariantShadow, "y" }, RefusedUnpaired)
	f(func(e *record.Evidence) { e.Variant, e.Kind = record.VariantShadow, record.EvidenceOutcome }, RefusedArm)
}

// Where the candidate is the route's own behaviour, the probability in the evidence is that of the other variant.
func TestCandidateIsTheRoutesOwn(t *testing.T) {
	d := load(t, "name: r\nroute: main\nbaseline: old\ncandidate: baseline\nstages: [{weight: 20%, min_duration: 1h, max_duration: 2h}, 100%]\nsignals: [{kind: error_rate, margin: 1%}]\n")
	s, err := New(d, Start{Baseline: Variant{"old", "a"}, Candidate: Variant{"baseline", "b"}}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	Step(s, epoch)
	if p := s.Plan(); len(p.Arms) != 1 || p.Arms[0] != (PlanArm{"old", 0.8}) {
		t.Errorf("%+v", p)
	}
	e := record.Evidence{ID: "x", Time: epoch, Route: "main", Rollout: "r", Variant: "baseline", Propensity: 0.8, ErrorKind: record.Server}
	s.Observe(e)
	want := newRateTest(reserve)
	want.bet(stats.Canary, 0.2, 1)
	if s.Taken != 1 {
		t.Errorf("refused %v", s.Refused)
	}
	near(t, "evidence", s.Signals[0].wealth().logE(), want.logE(), 1e-9)
}

// Where both are variants, each exchange says with what probability it got its own; that of the candidate is the rest of the baseline's.
func TestBothAreVariants(t *testing.T) {
	d := load(t, "name: r\nroute: main\nbaseline: old\ncandidate: new\nstages: [{weight: 5%, min_duration: 1h, max_duration: 2h}, 100%]\nsignals: [{kind: error_rate, margin: 1%}]\n")
	s, err := New(d, Start{Baseline: Variant{"old", "a"}, Candidate: Variant{"new", "b"}}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	Step(s, epoch)
	want := newRateTest(reserve)
	for _, one := range []struct {
		variant string
		p       float64
		arm     stats.Arm
	}{{"old", 0.95, stats.Control}, {"new", 0.05, stats.Canary}, {"old", 0.95, stats.Control}} {
		s.Observe(record.Evidence{ID: "x", Time: epoch, Route: "main", Rollout: "r", Variant: one.variant, Propensity: one.p, ErrorKind: record.Server})
		want.bet(one.arm, 0.05, 1)
	}
	s.Observe(record.Evidence{ID: "x", Time: epoch, Route: "main", Rollout: "r", Variant: "baseline", Propensity: 0.05})
	if s.Taken != 3 || s.Refused[RefusedArm] != 1 {
		t.Errorf("%d taken, refused %v", s.Taken, s.Refused)
	}
	near(t, "evidence", s.Signals[0].wealth().logE(), want.logE(), 1e-9)

	// In a shadow stage everybody gets the baseline.
	d = load(t, "name: r\nroute: main\nbaseline: old\ncandidate: new\nstages: [{weight: shadow, min_duration: 1h, max_duration: 2h}, 100%]\nsignals: [{kind: error_rate, margin: 1%}]\n")
	if s, err = New(d, Start{Baseline: Variant{"old", "a"}, Candidate: Variant{"new", "b"}}, epoch); err != nil {
		t.Fatal(err)
	}
	Step(s, epoch)
	s.Observe(record.Evidence{ID: "x", Time: epoch, Route: "main", Rollout: "r", Variant: "old", Propensity: 1})
	s.Observe(record.Evidence{ID: "y", Time: epoch, Route: "main", Rollout: "r", Variant: record.VariantShadow, Paired: "x", ErrorKind: record.Server})
	if s.Taken != 2 || len(s.Refused) > 0 {
		t.Errorf("%d taken, refused %v", s.Taken, s.Refused)
	}
}

func BenchmarkObserve(b *testing.B) {
	text := "name: r\nroute: main\ncandidate: new\nstages: [{weight: 5%, min_duration: 1s}, 100%]\nsignals:\n"
	for _, k := range []string{"error_rate", "refusal", "truncation", "format", "toxicity", "pii", "abandonment"} {
		text += fmt.Sprintf("- {kind: %s, margin: 1%%}\n", k)
	}
	for _, k := range []string{"latency_p95", "latency_p99", "ttft_p95", "ttft_p99"} {
		text += fmt.Sprintf("- {kind: %s, margin: 1%%, threshold: 1s}\n", k)
	}
	text += "- {kind: output_length, margin: 1%, threshold: 100}\n- {kind: cost, margin: 1%, threshold: 1}\n- {kind: retries, role: observe}\n"
	for i := range 6 {
		text += fmt.Sprintf("- {score: s%d, margin: 1%%}\n", i)
	}
	s := start(b, text)
	w := newTraffic(1, func(w *traffic, e *record.Evidence, c bool) {
		fail(w, e, 0.01)
		l, cost, n := w.rng.ExpFloat64()*0.3, w.rng.Float64(), int(w.rng.ExpFloat64()*30)
		e.Latency, e.TTFT, e.Cost, e.OutputTokens = &l, &l, &cost, &n
		for i := range 6 {
			v := w.rng.Float64()
			e.Scores = append(e.Scores, record.EvidenceScore{Name: fmt.Sprintf("s%d", i), Value: &v})
		}
		for _, k := range []string{"format", "toxicity", "pii"} {
			p := w.rng.Float64() < 0.98
			e.Scores = append(e.Scores, record.EvidenceScore{Name: k, Pass: &p})
		}
	})
	Step(s, w.at)
	var es []record.Evidence
	for range 1 << 12 {
		es = append(es, w.next(s))
	}
	if len(s.Signals) != 20 {
		b.Fatal(len(s.Signals))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.Observe(es[i&(1<<12-1)])
		i++
	}
	if _, err := json.Marshal(s); err != nil {
		b.Fatal(err)
	}
}
