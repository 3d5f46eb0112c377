package rollout

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func kindsOf(actions []Action) string {
	var out []string
	for _, a := range actions {
		out = append(out, string(a.Kind))
	}
	return strings.Join(out, " ")
}

// fill gives every critical signal of the stage n good outcomes of each arm, without a Step.
func fill(s *State, n int) {
	w := newTraffic(9, rates(0, 0))
	for i := range n {
		for _, variant := range []string{"baseline", "new"} {
			e := w.next(s)
			e.ID = fmt.Sprintf("%s-%d", variant, i)
			e.Variant, e.Propensity = variant, s.weight()
			s.Observe(e)
		}
	}
}

func TestPlanOfEachPhase(t *testing.T) {
	s := start(t, doc("[shadow, 5%, 100%]", "bake: 1h", "unit: session"))
	f := func(phase Phase, stage int, arms []PlanArm, shadow string) {
		t.Helper()
		p := s.Plan()
		if s.Phase != phase || p.Stage != stage || !reflect.DeepEqual(p.Arms, arms) || p.Shadow != shadow || p.Unit != "session" || p.Route != "main" || p.Rollout != "r" {
			t.Errorf("%s: %+v", s.Phase, p)
		}
	}
	promote := func(at time.Duration) {
		t.Helper()
		if _, err := s.Command(Command{Kind: Promote, By: "ann"}, epoch.Add(at)); err != nil {
			t.Fatal(err)
		}
	}
	f(Pending, 0, nil, "")
	if got := kindsOf(Step(s, epoch)); got != "set_plan notify" {
		t.Error(got)
	}
	f(Shadowing, 0, nil, "new")
	promote(time.Minute)
	f(Running, 1, []PlanArm{{"new", 0.05}}, "")
	promote(2 * time.Minute)
	f(Baking, 2, []PlanArm{{"new", 1}}, "")
	if got := Step(s, epoch.Add(62*time.Minute-1)); got != nil {
		t.Errorf("%+v", got)
	}
	if got := kindsOf(Step(s, epoch.Add(62*time.Minute))); got != "set_plan notify finish" {
		t.Error(got)
	}
	f(Done, 2, []PlanArm{{"new", 1}}, "")
	if got := Step(s, epoch.Add(100*time.Hour)); got != nil {
		t.Errorf("%+v", got)
	}
}

// A stage needs its time and its sample; at its end the document says what becomes of one that is undecided.
func TestPromotion(t *testing.T) {
	const stages = "[{weight: 50%, min_duration: 10m, max_duration: 1h, min_samples: 200}, {weight: 60%}, 100%]"
	f := func(more string, n int, at time.Duration, phase Phase, stage int, basis string) {
		t.Helper()
		s := start(t, doc(stages, more))
		Step(s, epoch)
		fill(s, n)
		Step(s, epoch.Add(at))
		if last := s.History[len(s.History)-1]; s.Phase != phase || s.Stage != stage || last.Basis != basis {
			t.Errorf("%s with %d at %v: %s in stage %d on %q: %s", more, n, at, s.Phase, s.Stage, last.Basis, last.Why)
		}
	}
	f("", 2000, 10*time.Minute-1, Running, 0, "")
	f("", 2000, 10*time.Minute, Running, 1, BasisNonInferior)
	f("", 199, 10*time.Minute, Running, 0, "")
	f("", 199, 61*time.Minute, Running, 0, "") // hold
	f("", 205, 30*time.Minute, Running, 0, "") // not shown yet
	f("", 205, time.Hour, Running, 1, BasisPlanned)
	f("promotion: planned_sample", 205, 10*time.Minute, Running, 1, BasisPlanned)
	f("promotion: planned_sample", 100, 10*time.Minute, Running, 0, "")
	f("promotion: non_inferiority", 205, time.Hour, Running, 0, "")
	f("promotion: non_inferiority", 2000, time.Hour, Running, 1, BasisNonInferior)
	f("undecided: abort", 100, time.Hour, Aborted, 0, "")
	f("undecided: promote", 100, time.Hour, Running, 1, BasisUndecided)
	f("undecided: extend", 100, time.Hour, Running, 0, "")
	f("signals: [{kind: error_rate, margin: 2%, min_samples: 3000}]", 2000, 10*time.Minute, Running, 0, "")
	f("signals: [{kind: error_rate, margin: 50%, relative: true}]", 2000, 10*time.Minute, Running, 0, "") // without an event a ratio tells nothing
	f("signals: [{kind: error_rate, margin: 2%}, {score: quality, margin: 10%}]", 2000, time.Hour, Running, 0, "")
	f("sentinels: {suite: s.yaml}", 2000, time.Hour, Running, 0, "")
	f("sentinels: {suite: s.yaml}\nundecided: promote", 100, time.Hour, Running, 0, "")
}

func TestExtensionsAreBounded(t *testing.T) {
	s := start(t, doc("[{weight: 50%, min_duration: 0, max_duration: 1h, min_samples: 10}, 100%]", "undecided: extend"))
	Step(s, epoch)
	for h := range 10 {
		Step(s, epoch.Add(time.Duration(h)*time.Hour))
	}
	if s.Extended != maxExtensions || !s.Undecided || s.Stage != 0 || s.Phase != Running {
		t.Errorf("extended %d, undecided %v, %s in stage %d", s.Extended, s.Undecided, s.Phase, s.Stage)
	}
	// Holding is not the end: when the evidence has come, the stage is promoted.
	fill(s, 2000)
	if Step(s, epoch.Add(11*time.Hour)); s.Stage != 1 {
		t.Errorf("%s", lastWhy(s))
	}
}

// Clocks that stand still, jump or go back, and durations of nothing.
func TestTime(t *testing.T) {
	s := start(t, doc("[{weight: 50%, min_duration: 0, max_duration: 1s, min_samples: 0}, 100%]", "bake: 0"))
	Step(s, time.Time{})
	if !s.Now.Equal(epoch) || s.Phase != Running {
		t.Fatalf("%s at %v", s.Phase, s.Now)
	}
	fill(s, 1000)
	if Step(s, epoch); s.Phase != Baking {
		t.Errorf("a stage of no time: %s", s.Phase)
	}
	if Step(s, epoch); s.Phase != Done {
		t.Errorf("no time to bake: %s", s.Phase)
	}
	s = start(t, doc("[{weight: 50%, min_duration: 10m, max_duration: 20m}, 100%]", "undecided: abort"))
	Step(s, epoch.Add(time.Hour))
	Step(s, epoch.Add(-1000*time.Hour))
	if !s.Now.Equal(epoch.Add(time.Hour)) || s.Phase != Running {
		t.Errorf("%s at %v", s.Phase, s.Now)
	}
	if Step(s, epoch.Add(time.Hour+20*time.Minute-1)); s.Phase != Running {
		t.Error("aborted before its time")
	}
	if Step(s, epoch.Add(10000*time.Hour)); s.Phase != Aborted {
		t.Errorf("%s after a leap", s.Phase)
	}
}

func TestCommands(t *testing.T) {
	s := start(t, doc("[{weight: 50%, min_duration: 10m, max_duration: 20m, min_samples: 10}, 100%]", "undecided: abort"))
	f := func(kind CommandKind, by string, at time.Duration, wrong string) []Action {
		t.Helper()
		before, _ := json.Marshal(s)
		got, err := s.Command(Command{Kind: kind, By: by, Why: "since"}, epoch.Add(at))
		if (err != nil) != (wrong != "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %q", kind, err, wrong)
		}
		if after, _ := json.Marshal(s); err != nil && string(after) != string(before) {
			t.Errorf("%s was refused and changed the state", kind)
		}
		return got
	}
	f(Pause, "ann", 0, "it is pending")
	f(Promote, "ann", 0, "it is pending")
	f(Resume, "ann", 0, "not paused")
	Step(s, epoch)
	f(Pause, " ", 0, "want who asks")
	f("stop", "ann", 0, "want pause, resume, promote or abort")
	f(Pause, "ann", 5*time.Minute, "")
	f(Pause, "ann", 5*time.Minute, "it is paused")
	f(Promote, "ann", 5*time.Minute, "it is paused")
	if s.Phase != Paused || s.weight() != 0.5 || len(s.Plan().Arms) != 1 {
		t.Errorf("a pause changes the weight: %+v", s.Plan())
	}
	// The stage's time stands still.
	if Step(s, epoch.Add(5*time.Hour)); s.Phase != Paused {
		t.Errorf("%s: %s", s.Phase, lastWhy(s))
	}
	f(Resume, "bob", 5*time.Hour, "")
	fill(s, 2000)
	if Step(s, epoch.Add(5*time.Hour+4*time.Minute)); s.Stage != 0 || s.Phase != Running {
		t.Errorf("%s in stage %d: %s", s.Phase, s.Stage, lastWhy(s))
	}
	if Step(s, epoch.Add(5*time.Hour+5*time.Minute)); s.Phase != Baking {
		t.Errorf("%s: %s", s.Phase, lastWhy(s))
	}
	if got := kindsOf(f(Promote, "ann", 6*time.Hour, "")); got != "set_plan notify finish" || s.Phase != Done {
		t.Errorf("%s, %s", got, s.Phase)
	}
	f(Abort, "ann", 6*time.Hour, "it has ended: done")
	who := ""
	for _, h := range s.History {
		who += h.By + " "
	}
	if who != "ann telltale ann bob telltale ann " {
		t.Errorf("who: %q", who)
	}
	s = start(t, doc(fast))
	f(Abort, "ann", 0, "")
	if s.Phase != Aborted {
		t.Errorf("%s", s.Phase)
	}
}

// A pause stops promotions and not rollbacks.
func TestPausedStillRollsBack(t *testing.T) {
	s := start(t, doc("[{weight: 20%, min_duration: 0, max_duration: 1h, min_samples: 1}, 100%]"))
	Step(s, epoch)
	if _, err := s.Command(Command{Kind: Pause, By: "ann"}, epoch); err != nil {
		t.Fatal(err)
	}
	w := newTraffic(2, rates(0.01, 0.3))
	w.run(s, 5000)
	if s.Phase != RolledBack || len(s.Plan().Arms) != 0 {
		t.Errorf("%s", s.Phase)
	}
}

// A sentinel outranks everything: one case that the candidate alone fails is enough, before any traffic.
func TestSentinels(t *testing.T) {
	yes, no := new(true), new(false)
	f := func(results map[string][2]*bool, phase Phase, both bool) {
		t.Helper()
		s := start(t, doc("[{weight: 50%, min_duration: 0, max_duration: 1h, min_samples: 10}, 100%]", "sentinels: {suite: s.yaml}"))
		Step(s, epoch)
		for name, r := range results {
			for arm, variant := range []string{"baseline", "new"} {
				if r[arm] != nil {
					s.Observe(record.Evidence{Kind: record.EvidenceSentinel, Time: epoch, Route: "main", Rollout: "r", Variant: variant, Case: name, Passed: r[arm]})
				}
			}
		}
		fill(s, 1000)
		Step(s, epoch.Add(time.Minute))
		if s.Phase != phase || (s.BothArms != "") != both {
			t.Errorf("%v: %s, both %q: %s", results, s.Phase, s.BothArms, lastWhy(s))
		}
	}
	f(nil, Running, false)
	f(map[string][2]*bool{"a": {yes, yes}}, Baking, false)
	f(map[string][2]*bool{"a": {nil, yes}}, Baking, false)
	f(map[string][2]*bool{"a": {yes, no}}, RolledBack, false)
	f(map[string][2]*bool{"a": {nil, no}}, RolledBack, false)
	f(map[string][2]*bool{"a": {no, no}}, Running, true)
	f(map[string][2]*bool{"a": {yes, yes}, "b": {yes, no}}, RolledBack, false)
	f(map[string][2]*bool{"a": {yes, nil}}, Running, false)
}

func TestVerdicts(t *testing.T) {
	s := start(t, doc("[{weight: 50%, min_duration: 10m, max_duration: 1h, min_samples: 200}, 100%]"))
	f := func(want, signal verdict.Verdict) {
		t.Helper()
		d := s.Verdict()
		if d.Verdict != want || d.Signals[0].Verdict != signal || d.Reason == "" {
			t.Errorf("%+v, want %v and %v", d, want, signal)
		}
	}
	f(verdict.Undecided, verdict.Undecided)
	Step(s, epoch)
	f(verdict.Undecided, verdict.Undecided)
	fill(s, 2000)
	f(verdict.Undecided, verdict.Pass) // good so far, but its time is not over
	s.Now = epoch.Add(10 * time.Minute)
	f(verdict.Pass, verdict.Pass)
	if _, err := s.Command(Command{Kind: Pause, By: "ann"}, s.Now); err != nil {
		t.Fatal(err)
	}
	f(verdict.Undecided, verdict.Pass)
	if _, err := s.Command(Command{Kind: Abort, By: "ann"}, s.Now); err != nil {
		t.Fatal(err)
	}
	f(verdict.Fail, verdict.Pass)

	s = start(t, doc("[{weight: 50%, min_duration: 10m, max_duration: 1h}, 100%]"))
	w := newTraffic(1, rates(0, 0.5))
	Step(s, epoch)
	for range 200 {
		s.Observe(w.next(s))
	}
	f(verdict.Fail, verdict.Fail)
	Step(s, w.at)
	f(verdict.Fail, verdict.Fail)
}

// What leaves the bounded history comes out as an action, once each and in order.
func TestHistoryOverflows(t *testing.T) {
	s := start(t, doc(fast))
	Step(s, epoch)
	var log []int64
	for i := range 100 {
		kind := Pause
		if i%2 == 1 {
			kind = Resume
		}
		got, err := s.Command(Command{Kind: kind, By: "ann"}, epoch)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range got {
			if a.Kind == Append {
				log = append(log, a.Transition.Sequence)
			}
		}
	}
	for i, n := range log {
		if n != int64(i)+1 {
			t.Fatalf("%v", log)
		}
	}
	if len(s.History) != maxHistory || s.History[0].Sequence != log[len(log)-1]+1 {
		t.Errorf("%d in the history, from %d; %d in the log", len(s.History), s.History[0].Sequence, len(log))
	}
}

func TestNewRefuses(t *testing.T) {
	good := Start{Baseline: Variant{"baseline", "a"}, Candidate: Variant{"new", "b"}}
	f := func(d *config.Rollout, st Start, now time.Time) {
		t.Helper()
		if s, err := New(d, st, now); err == nil {
			t.Errorf("%+v", s)
		}
	}
	d := load(t, doc(fast))
	f(nil, good, epoch)
	f(&config.Rollout{}, good, epoch)
	f(d, Start{}, epoch)
	f(d, Start{Baseline: good.Baseline, Candidate: good.Baseline}, epoch)
	f(d, good, time.Time{})
	st := good
	st.Frozen = map[string]float64{"latency_p95": -1}
	f(load(t, doc(fast, "signals: [{kind: latency_p95, margin: 1%}]")), st, epoch)
}

// Any input in any order: no panic, and what must never happen does not.
func TestAnyInputs(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := start(t, doc("[{weight: shadow, min_duration: 1m, max_duration: 2m, min_samples: 2}, {weight: 10%, min_duration: 1m, max_duration: 3m, min_samples: 5}, {weight: 50%, min_duration: 1m, max_duration: 3m, min_samples: 5}, 100%]",
			"bake: 2m", "undecided: "+[]string{"hold", "extend", "abort", "promote"}[seed%4]))
		w := newTraffic(seed, rates(0.05, 0.05+0.1*float64(seed%3)))
		ended := Phase("")
		stage := 0
		for range 2000 {
			switch rng.IntN(12) {
			case 0:
				_, _ = s.Command(Command{Kind: []CommandKind{Pause, Resume, Promote, Abort}[rng.IntN(40)%4], By: "ann"}, w.at)
			case 1:
				Step(s, w.at.Add(time.Duration(rng.IntN(200)-100)*time.Second))
			default:
				s.Observe(w.next(s))
			}
			if s.Phase.Final() && ended == "" {
				ended = s.Phase
			}
			if ended != "" && s.Phase != ended {
				t.Fatalf("seed %d: %s came after %s", seed, s.Phase, ended)
			}
			if (s.Phase == RolledBack || s.Phase == Aborted) && len(s.Plan().Arms)+len(s.Plan().Shadow) > 0 {
				t.Fatalf("seed %d: traffic after the end: %+v", seed, s.Plan())
			}
			if s.Stage < stage {
				t.Fatalf("seed %d: stage %d after %d", seed, s.Stage, stage)
			}
			stage = s.Stage
		}
	}
}
