package metric

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// fare shows a case's verdicts to h: P, F, E or U for each repeat.
func fare(h *Health, id string, tags []string, snapshot int, verdicts string) (held bool) {
	for i, v := range verdicts {
		s := record.Sample{Case: id, Tags: tags, Repeat: i, Verdict: map[rune]verdict.Verdict{'P': verdict.Pass, 'F': verdict.Fail, 'E': verdict.Error, 'U': verdict.Undecided}[v]}
		held = h.Add(&s, snapshot)
	}
	return held
}

func TestHealthStates(t *testing.T) {
	f := func(verdicts, want string, rated bool) {
		t.Helper()
		h := NewHealth(1, []record.Quarantine{{Case: "a", Hold: record.Hold{Until: "2999-01-01"}}})
		fare(h, "a", nil, 0, verdicts)
		out := h.Finish(nil)
		if len(out.Cases) != 1 || out.Cases[0].State != want || (out.Cases[0].Rate != nil) != rated {
			t.Errorf("%s: %+v, want %s", verdicts, out.Cases, want)
		}
		n := map[string]int{record.HealthFlaky: out.Flaky, record.HealthBroken: out.Broken, record.HealthSteady: out.Steady, record.HealthUnknown: out.Unknown}
		if n[want] != 1 || out.Flaky+out.Broken+out.Steady+out.Unknown != 1 {
			t.Errorf("%s: counts %+v", verdicts, n)
		}
	}
	f("PP", record.HealthSteady, true)
	f("PPPPF", record.HealthFlaky, true)
	f("FF", record.HealthBroken, true)
	// One verdict, none, and passes beside errors prove nothing.
	f("P", record.HealthUnknown, false)
	f("F", record.HealthUnknown, false)
	f("EEEE", record.HealthUnknown, false)
	f("UU", record.HealthUnknown, false)
	f("PPE", record.HealthUnknown, true)
	f("PPU", record.HealthUnknown, true)
	f("FE", record.HealthUnknown, false)
	// A case that never passed is broken whatever else went wrong.
	f("FFE", record.HealthBroken, true)
	f("PFE", record.HealthFlaky, true)
	// An error beside an answer is an error, whatever verdict stands there.
	h := NewHealth(1, nil)
	for range 2 {
		h.Add(&record.Sample{Case: "a", Verdict: verdict.Pass, Error: "timeout: none"}, 0)
	}
	if out := h.Finish(nil); out.Unknown != 1 {
		t.Errorf("errors: %+v", out)
	}
	if out := NewHealth(1, nil).Finish(nil); out.Flaky+out.Broken+out.Steady+out.Unknown+len(out.Cases) != 0 {
		t.Errorf("no samples: %+v", out)
	}
}

func TestHealthOrder(t *testing.T) {
	h := NewHealth(2, nil)
	fare(h, "broken", nil, 0, "FFFF")
	fare(h, "seldom", nil, 0, "PPPF")
	fare(h, "both", nil, 0, "PPFF")
	fare(h, "both", nil, 1, "PPPP")
	out := h.Finish([]string{"s0", "s1"})
	var got []string
	for _, c := range out.Cases {
		got = append(got, c.Case+"/"+c.Snapshot)
	}
	if want := "[both/s0 seldom/s0 broken/s0]"; fmt.Sprint(got) != want || out.Steady != 1 {
		t.Errorf("%v %+v, want %s", got, out, want)
	}
}

func TestHealthQuarantine(t *testing.T) {
	list := []record.Quarantine{
		{Case: "old", Hold: record.Hold{Until: "2026-01-31", Reason: "r"}},
		{Case: "tag=beta", Hold: record.Hold{Until: "2026-12-31", Reason: "b"}},
		{Case: "ok", Hold: record.Hold{Until: "2026-12-31", Reason: "o"}},
	}
	for i := range list {
		list[i].Expire(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
	}
	h := NewHealth(2, list)
	f := func(id string, tags []string, first, second string, want bool) {
		t.Helper()
		a, b := fare(h, id, tags, 0, first), fare(h, id, tags, 1, second)
		if a != want || b != want {
			t.Errorf("%s: held %v %v, want %v", id, a, b, want)
		}
	}
	f("old", nil, "FF", "FF", false)
	f("a", []string{"x", "beta"}, "PP", "FF", true)
	f("b", []string{"beta"}, "PP", "PP", true)
	f("c", []string{"beta"}, "EE", "EE", true)
	f("old-beta", []string{"beta"}, "FF", "FF", true)
	f("ok", nil, "PP", "PP", true)
	f("free", nil, "PF", "PP", false)
	// An expired entry and one that holds: the one that holds counts.
	f("tag=beta", nil, "PP", "PE", true)
	q := h.Finish(nil).Quarantine
	if q[0].Cases != 1 || q[0].Failed != 1 || !q[0].Expired {
		t.Errorf("old: %+v", q[0])
	}
	if b := q[1]; b.Cases != 5 || b.Mixed != 1 || b.Passed != 2 || b.Open != 1 || b.Failed != 1 || b.Release != 1 {
		t.Errorf("beta: %+v", b)
	}
	if o := q[2]; o.Cases != 1 || o.Passed != 1 || o.Release != 1 {
		t.Errorf("ok: %+v", o)
	}
}

// TestExpiry: the date is the last day on which a quarantine holds, in UTC wherever the clock is.
func TestExpiry(t *testing.T) {
	f := func(now time.Time, want bool) {
		t.Helper()
		h := record.Hold{Until: "2026-03-01"}
		if h.Expire(now); h.Expired != want {
			t.Errorf("%v: expired %v, want %v", now, h.Expired, want)
		}
	}
	f(time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC), false)
	f(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), true)
	east := time.FixedZone("east", 10*3600)
	f(time.Date(2026, 3, 2, 9, 0, 0, 0, east), false)
	f(time.Date(2026, 3, 2, 10, 0, 0, 0, east), true)
	f(time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC), false)
}

// TestHealthBounded: many ill cases take no more memory than few.
func TestHealthBounded(t *testing.T) {
	h := NewHealth(1, []record.Quarantine{{Case: "tag=q", Hold: record.Hold{Until: "2999-01-01", Reason: "x"}}})
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			id := fmt.Sprintf("case-%d", i)
			switch i % 3 {
			case 0:
				fare(h, id, nil, 0, "PFPP")
			case 1:
				fare(h, id, nil, 0, "FFFF")
			default:
				fare(h, id, []string{"q"}, 0, "PF")
			}
		}
	}
	fill(0, 10_000)
	before := used()
	fill(10_000, 100_000)
	if after := used(); after > before+1<<20 {
		t.Errorf("90,000 more cases took %d more bytes", after-before)
	}
	out := h.Finish(nil)
	if out.Flaky != 66_667 || out.Broken != 33_333 || len(out.Cases) != record.MaxHealth+record.MaxQuarantined || out.Quarantine[0].Cases != 33_333 {
		t.Errorf("%d flaky, %d broken, %d listed, %d in quarantine", out.Flaky, out.Broken, len(out.Cases), out.Quarantine[0].Cases)
	}
	if out.Cases[0].Case != "case-0" {
		t.Errorf("%+v", out.Cases[0])
	}
}

// TestQuarantinedIsInNoMetric: a sample in quarantine is in the summary and nowhere else.
func TestQuarantinedIsInNoMetric(t *testing.T) {
	one, price := 1.0, 0.5
	sample := func(id string, v verdict.Verdict) *record.Sample {
		return &record.Sample{Case: id, Tags: []string{"t"}, Verdict: v, Score: &one, Cost: &price, Scores: []record.Score{{Name: "m", Value: &one}}}
	}
	account := func(held bool) Result {
		a, err := New(Options{Snapshots: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []Observation{{Sample: sample("a", verdict.Pass)}, {Sample: sample("b", verdict.Error), Quarantined: true}, {Sample: sample("c", verdict.Fail), Quarantined: true}} {
			if !o.Quarantined || held {
				if err := a.Add(o); err != nil {
					t.Fatal(err)
				}
			}
		}
		p := Plan{Samples: []int{1}, Tags: []map[string]int{{"t": 1}}}
		if held {
			p.Quarantined = 3
		}
		r, err := a.Finish(p)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	with, without := account(true), account(false)
	if fmt.Sprint(record.HashJSON(with.Metrics), record.HashJSON(with.Tags)) != fmt.Sprint(record.HashJSON(without.Metrics), record.HashJSON(without.Tags)) {
		t.Errorf("metrics with %+v, without %+v", with.Metrics, without.Metrics)
	}
	s := with.Summary
	if s.Planned != 4 || s.Finished != 3 || s.Cost != 1.5 || s.Quarantined == nil || s.Quarantined.Planned != 3 || s.Quarantined.Finished != 2 {
		t.Errorf("%+v %+v", s, s.Quarantined)
	}
	if c := s.Counted(); c.Planned != 1 || c.Finished != 1 || c.Passed != 1 || c.Failed != 0 || c.Errored != 0 || len(c.Errors) != 0 {
		t.Errorf("counted %+v", c)
	}
}
