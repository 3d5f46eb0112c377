package rollout

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

const outsideDoc = `name: v2
route: shop
baseline: v1
candidate: v2
assigned_by: outside
match: {baseline: {tags: {version: v1}}, candidate: {tags: {version: v2}}}
`

func startOutside(t testing.TB, more string) *State {
	t.Helper()
	s, err := New(load(t, outsideDoc+more), Start{Baseline: Variant{Name: "v1"}, Candidate: Variant{Name: "v2"}, By: "ann"}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	Step(s, epoch)
	return s
}

// routed makes evidence of another router's traffic, a tenth of a second apart.
type routed struct {
	rng     *rand.Rand
	n       int
	share   func(s *State, n int) float64
	outcome func(rng *rand.Rand, n int, e *record.Evidence, candidate bool)
}

func (w *routed) run(s *State, n int) {
	for range n {
		w.n++
		at := epoch.Add(time.Duration(w.n) * 100 * time.Millisecond)
		e := record.Evidence{ID: fmt.Sprintf("x%d", w.n), Time: at, Route: "shop", Rollout: "v2", Variant: "v1", Unrouted: true, Status: 200, FinishReason: "stop"}
		candidate := w.rng.Float64() < w.share(s, w.n)
		if candidate {
			e.Variant = "v2"
		}
		w.outcome(w.rng, w.n, &e, candidate)
		s.Observe(e)
		if w.n%10 == 0 {
			Step(s, at)
			if s.Phase.Final() {
				return
			}
		}
	}
}

func evenly(*State, int) float64 { return 0.5 }

// errorsAt fails a share of each arm's requests.
func errorsAt(baseline, candidate float64) func(*rand.Rand, int, *record.Evidence, bool) {
	return func(rng *rand.Rand, _ int, e *record.Evidence, c bool) {
		p := baseline
		if c {
			p = candidate
		}
		if rng.Float64() < p {
			e.ErrorKind, e.Status = record.Server, 500
		}
	}
}

// grade scores each answer.
func grade(baseline, candidate float64) func(*rand.Rand, int, *record.Evidence, bool) {
	return func(rng *rand.Rand, _ int, e *record.Evidence, c bool) {
		v := baseline
		if c {
			v = candidate
		}
		v = min(1, max(0, v+0.15*rng.NormFloat64()))
		e.Scores = []record.EvidenceScore{{Name: "quality", Value: &v}}
	}
}

func TestOutsideDecides(t *testing.T) {
	const errs, quality = "signals: [{kind: error_rate, margin: 3%}]\n", "signals: [{score: quality, margin: 0.05}]\n"
	f := func(more string, outcome func(*rand.Rand, int, *record.Evidence, bool), n int, phase Phase, want verdict.Verdict, why string) {
		t.Helper()
		s := startOutside(t, more)
		w := &routed{rng: rand.New(rand.NewPCG(3, 4)), share: evenly, outcome: outcome}
		w.run(s, n)
		Step(s, s.Now) // the last evidence
		got := s.Verdict()
		if s.Phase != phase || got.Verdict != want || !strings.Contains(got.Reason, why) || !strings.Contains(got.Guarantee, "weaker") {
			t.Errorf("%s: %s %+v\n%+v", more, s.Phase, got.Decision, s.Statuses())
		}
		if p := s.Plan(); len(p.Arms) != 0 || p.Shadow != "" || p.Override {
			t.Errorf("a plan: %+v", p)
		}
		if st := s.Statuses()[0]; st.BaselineN > 100 && st.CandidateN > 100 && (st.Low == nil || !(*st.Low < *st.High)) {
			t.Errorf("no interval: %+v", st)
		}
	}
	f(errs, errorsAt(.02, .10), 6000, RolledBack, verdict.Fail, "error_rate is worse")
	f(errs, errorsAt(.02, .02), 8000, Running, verdict.Pass, "within its margin")
	f(errs, errorsAt(.02, .02), 5990, Running, verdict.Undecided, "10m") // min_duration
	f(errs+"stages: [{weight: open, max_duration: 15m}]\n", errorsAt(.04, .05), 9100, Running, verdict.Pass, "planned sample")
	f("signals: [{kind: error_rate, margin: 0.5%}]\npromotion: non_inferiority\nstages: [{weight: open, max_duration: 15m}]\nundecided: abort\n", errorsAt(.04, .04), 9100, Aborted, verdict.Fail, "undecided after 15m")
	f(quality, grade(.8, .6), 3000, RolledBack, verdict.Fail, "quality is worse")
	f(quality, grade(.8, .8), 8000, Running, verdict.Pass, "within its margin")
	f("signals: [{kind: error_rate, margin: 100%, relative: true}]\n", errorsAt(.1, .1), 8000, Running, verdict.Pass, "within its margin")
	f(errs, func(_ *rand.Rand, _ int, e *record.Evidence, c bool) {
		if c {
			e.Unrouted = false // the gateway's own
		}
	}, 7000, Running, verdict.Undecided, "0 of 500")
}

// An outage of both arms rolls nothing back, and what is seen in it is not taken.
func TestOutsideOutage(t *testing.T) {
	s := startOutside(t, "signals: [{kind: error_rate, margin: 1%}]\n")
	w := &routed{rng: rand.New(rand.NewPCG(5, 4)), share: func(*State, int) float64 { return .3 }, outcome: func(rng *rand.Rand, n int, e *record.Evidence, _ bool) {
		p := .01
		if n > 3000 && n < 5000 {
			p = .6
		}
		errorsAt(p, p)(rng, n, e, false)
	}}
	seen := false
	for range 80 {
		w.run(s, 100)
		seen = seen || s.BothArms != ""
	}
	if s.Phase.Final() || !seen || s.BothArms != "" || s.Signals[0].Two.Left < 1000 {
		t.Errorf("%s, both arms seen %v, now %q, %d left", s.Phase, seen, s.BothArms, s.Signals[0].Two.Left)
	}
}

// With rates that do not move, alpha holds also when the other router's shares follow the evidence.
func TestOutsideFalseRollbacksAreRare(t *testing.T) {
	runs := 100
	f := func(name, more string, share func(*State, int) float64, outcome func(*rand.Rand, int, *record.Evidence, bool)) {
		t.Helper()
		bad := 0
		for seed := range runs {
			s := startOutside(t, "alpha: 5%\n"+more)
			w := &routed{rng: rand.New(rand.NewPCG(uint64(seed), 8)), share: share, outcome: outcome}
			if w.run(s, 2500); s.Phase == RolledBack {
				bad++
			}
		}
		if !consistent(bad, runs, 0.05) {
			t.Errorf("%s: %d of %d", name, bad, runs)
		}
	}
	const two = "signals: [{kind: error_rate, margin: 1%}, {kind: refusal, margin: 1%}]\n"
	both := func(rng *rand.Rand, n int, e *record.Evidence, c bool) {
		errorsAt(.05, .05)(rng, n, e, c)
		e.Refused = rng.Float64() < .2
	}
	f("1:1", two, evenly, both)
	f("ramp", two, func(_ *State, n int) float64 { return []float64{.05, .25, .5}[min(n/800, 2)] }, both)
	f("follows", two, func(s *State, _ int) float64 {
		if s.Signals[0].Two.Peak > 0 {
			return .9
		}
		return .1
	}, both)
	f("scores", "signals: [{score: quality, margin: 0.05}]\n", evenly, grade(.7, .7))
}

func TestOutsideUnitsCountOnce(t *testing.T) {
	s := startOutside(t, "unit: user\nstages: [5%, 25%]\nsignals: [{kind: error_rate, margin: 1%}]\n")
	see := func(variant string, user int) {
		s.Observe(record.Evidence{ID: "x", Time: epoch, Route: "shop", Rollout: "v2", Variant: variant, Unrouted: true, Unit: fmt.Sprintf("%016x", user), Status: 200})
	}
	for range 3 {
		see("v1", 1)
		see("v2", 1) // the router changed its mind
		see("v2", 2)
		see("v2", 3)
	}
	if _, err := s.Command(Command{Kind: Promote, By: "argo"}, epoch); err != nil || s.Stage != 1 {
		t.Fatal(s.Stage, err)
	}
	see("v2", 2)
	see("v2", 4)
	if st := s.Statuses()[0]; st.BaselineN != 1 || st.CandidateN != 3 || st.StageN != 1 {
		t.Errorf("%+v", st)
	}
	s.Observe(record.Evidence{ID: "x", Time: epoch, Route: "shop", Rollout: "v2", Variant: "v2", Unrouted: true})
	if s.Refused[RefusedUnit] != 1 {
		t.Errorf("%v", s.Refused)
	}
	if _, err := s.Command(Command{Kind: Promote, By: "argo"}, epoch); err != nil || s.Phase != Done {
		t.Errorf("%s, %v", s.Phase, err)
	}
}

// The state is the same when it was written and read in between.
func TestOutsideRoundTrip(t *testing.T) {
	outcome := func(rng *rand.Rand, n int, e *record.Evidence, c bool) {
		grade(.8, .8)(rng, n, e, c)
		errorsAt(.05, .05)(rng, n, e, c)
	}
	const more = "signals: [{kind: error_rate, margin: 1%}, {score: quality, margin: 0.05}]\n"
	a, b := startOutside(t, more), startOutside(t, more)
	wa := &routed{rng: rand.New(rand.NewPCG(1, 1)), share: evenly, outcome: outcome}
	wb := &routed{rng: rand.New(rand.NewPCG(1, 1)), share: evenly, outcome: outcome}
	var x, y []byte
	for range 30 {
		wa.run(a, 33)
		wb.run(b, 33)
		var err error
		if y, err = json.Marshal(b); err != nil {
			t.Fatal(err)
		}
		b = &State{}
		if err := json.Unmarshal(y, b); err != nil {
			t.Fatal(err)
		}
	}
	if x, _ = json.Marshal(a); string(x) != string(y) {
		t.Errorf("differ:\n%s\n%s", x, y)
	}
	for _, damage := range [][2]string{{`"two":{"arms":[{"n":`, `"two":{"arms":[{"n":-`}, {`"two":`, `"tow":`}} {
		if err := json.Unmarshal([]byte(strings.Replace(string(y), damage[0], damage[1], 1)), &State{}); err == nil {
			t.Errorf("%s was taken", damage[1])
		}
	}
}

func BenchmarkObserveOutside(b *testing.B) {
	s := startOutside(b, "")
	e := record.Evidence{ID: "x", Time: epoch, Route: "shop", Rollout: "v2", Variant: "v1", Unrouted: true, Status: 200, FinishReason: "stop", Latency: new(1.0)}
	rng := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		if e.Variant = "v1"; rng.Float64() < .1 {
			e.Variant = "v2"
		}
		e.Refused = rng.Float64() < .02
		s.Observe(e)
	}
}
