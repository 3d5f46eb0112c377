package report

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func collect(t *testing.T, samples iter.Seq2[record.Sample, error]) *Digest {
	t.Helper()
	d, err := digest(samples, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCollectStopsAtError(t *testing.T) {
	if _, err := digest(broken(), nil); !errors.Is(err, errRead) {
		t.Errorf("err = %v, want %v", err, errRead)
	}
}

// Rows of interest push out others, but a few of each verdict stay.
func TestKeepPrefersFailures(t *testing.T) {
	var samples []record.Sample
	add := func(n int, v verdict.Verdict) {
		for range n {
			samples = append(samples, record.Sample{Case: fmt.Sprint(len(samples)), Verdict: v})
		}
	}
	add(keepRows+5, verdict.Pass)
	add(keepRows+5, verdict.Error)
	add(10, verdict.Undecided)
	add(keepRows+5, verdict.Fail)
	add(10, verdict.Error)
	d := collect(t, list(samples...)())
	f := func(v verdict.Verdict, want int) {
		t.Helper()
		if got := len(d.kept.of(v)); got != want {
			t.Errorf("%d rows of %v kept, want %d", got, v, want)
		}
	}
	f(verdict.Pass, keepReserve)
	f(verdict.Error, keepReserve)
	f(verdict.Undecided, 10)
	f(verdict.Fail, keepRows-2*keepReserve-10)
	for _, v := range order {
		rows := d.kept.of(v)
		for i := 1; i < len(rows); i++ {
			if rows[i].index <= rows[i-1].index {
				t.Fatalf("rows of %v are not in plan order", v)
			}
		}
	}
	if got := d.kept.of(verdict.Fail)[0].index; got != 2*(keepRows+5)+10+1 {
		t.Errorf("the first failure kept is sample %d", got)
	}
}

func TestKeepIsBoundedInBytes(t *testing.T) {
	big := strings.Repeat("long text ", 2_000)
	s := record.Sample{Verdict: verdict.Fail, Output: big, Error: big, Vars: map[string]any{"v": big}, Input: []record.Message{{Role: "user", Content: big}}}
	for range 100 {
		s.Scores = append(s.Scores, record.Score{Name: big, Type: big, Reason: big, Detail: big, Pass: new(false), Value: new(0.0)})
	}
	c := NewCollector()
	for range 600 {
		c.Add(&s)
	}
	k := &c.Digest().kept
	sum := 0
	for _, r := range k.of(verdict.Fail) {
		sum += r.size()
	}
	if k.bytes != sum || k.bytes > keepBytes || k.n < 20 {
		t.Errorf("%d rows of %d bytes kept (counted %d), want at most %d bytes", k.n, sum, k.bytes, keepBytes)
	}
}

// A run of 200,000 samples, 200 MB of text, must not need more memory than a small one.
func TestMemoryIsBounded(t *testing.T) {
	const n = 200_000
	outcomes := [20]verdict.Verdict{verdict.Undecided, verdict.Fail, verdict.Error}
	for i := 3; i < len(outcomes); i++ {
		outcomes[i] = verdict.Pass
	}
	text := strings.Repeat("All work and no play makes a dull answer. ", 20)
	var peak, start uint64
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	samples := func(yield func(record.Sample, error) bool) {
		for i := range n {
			s := record.Sample{Case: fmt.Sprint(i), Provider: []string{"a", "b", "c"}[i%3], Prompt: "p", Tags: []string{fmt.Sprint("tag", i)}, Output: text[i%100:],
				Verdict: outcomes[i%len(outcomes)], Score: new(float64(i%11) / 10), Latency: new(float64(i%1000+1) / 100), Scores: []record.Score{{Name: "x", Pass: new(i%20 != 1), Value: new(1.0)}}}
			if i%40_000 == 39_999 {
				peak = max(peak, live())
			}
			if !yield(s, nil) {
				return
			}
		}
	}
	start = live()
	d := collect(t, samples)
	run := &record.Run{Summary: record.Summary{Planned: n, Finished: n}}
	if err := JUnit(io.Discard, Source{Run: run, Digest: d, Samples: func() iter.Seq2[record.Sample, error] { return samples }}); err != nil {
		t.Fatal(err)
	}
	if grown := int64(peak) - int64(start); grown > 30<<20 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
	if len(d.tags.list) != maxTags || !d.moreTag {
		t.Errorf("%d tags kept, want %d and a mark that there are more", len(d.tags.list), maxTags)
	}
}

func TestNothingIsMadeOfBadNumbers(t *testing.T) {
	c := NewCollector()
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		c.Add(&record.Sample{Score: &x, Latency: &x, TTFT: &x, Cost: &x, Scores: []record.Score{{Name: "s", Value: &x}}})
	}
	d := c.Digest()
	if d.scored != 0 || d.timed != 0 {
		t.Errorf("%d scores and %d latencies were counted", d.scored, d.timed)
	}
	var b strings.Builder
	if err := HTML(&b, Source{Run: &record.Run{}, Digest: d}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
		t.Error("the page shows NaN or Inf")
	}
}

func TestLatencyQuantiles(t *testing.T) {
	c := NewCollector()
	for i := range 1000 {
		c.Add(&record.Sample{Latency: new(float64(i+1) / 1000), Verdict: verdict.Pass})
	}
	d := c.Digest()
	for _, q := range []float64{0.01, 0.5, 0.95, 0.99, 1} {
		if got := d.quantile(q); math.Abs(got-q) > 0.012*q+0.001 {
			t.Errorf("quantile %v = %v", q, got)
		}
	}
	c = NewCollector()
	c.Add(&record.Sample{Latency: new(1.0), Cached: true})
	for _, x := range []float64{1e-12, 1e9} {
		c.Add(&record.Sample{Latency: &x})
	}
	if c.Digest().latency[0] != 1 || c.Digest().latency[latencyBins-1] != 1 {
		t.Error("latencies beyond the scale are lost")
	}
	if c.Digest().timed != 2 || c.Digest().untimed != 1 {
		t.Error("the time of a cached answer was counted")
	}
}

func TestReasons(t *testing.T) {
	f := func(s record.Sample, want ...string) {
		t.Helper()
		if got := reasons(&s); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("reasons = %q, want %q", got, want)
		}
	}
	no, yes := new(false), new(true)
	f(record.Sample{Verdict: verdict.Pass, Scores: []record.Score{{Name: "a", Pass: no}}})
	f(record.Sample{Verdict: verdict.Fail, Scores: []record.Score{{Name: "a", Pass: yes}, {Type: "b", Pass: no}, {Name: "c", Pass: no, Reason: "too long"}}}, "b: did not pass", "c: too long")
	f(record.Sample{Verdict: verdict.Fail, Score: new(0.25), Scores: []record.Score{{Name: "a", Pass: no, Weight: new(0.0)}}}, "the weighted score 0.2500 is below what the case asks")
	f(record.Sample{Verdict: verdict.Fail}, "no reason was recorded")
	f(record.Sample{Verdict: verdict.Fail, Scores: []record.Score{{Name: "e", Error: "timeout"}, {Name: "a", Pass: no, Reason: "r"}}}, "a: r", "e: could not judge: timeout")
	f(record.Sample{Verdict: verdict.Error, Error: "no answer", Scores: []record.Score{{Name: "a", Error: "x"}}}, "no answer")
	f(record.Sample{Verdict: verdict.Error, Scores: []record.Score{{Name: "a", Error: "x"}}}, "a: could not judge: x")
	f(record.Sample{Verdict: verdict.Error}, "no reason was recorded")
	f(record.Sample{}, "no assertion judged this answer")
}

func TestInstructions(t *testing.T) {
	f := func(detail any, want int) {
		t.Helper()
		if got := instructions(detail); len(got) != want {
			t.Errorf("instructions(%v) = %v, want %d", detail, got, want)
		}
	}
	f(map[string]any{"instructions": []any{map[string]any{"id": "a:b", "strict": true, "loose": true}}}, 1)
	f(struct {
		Instructions []instruction `json:"instructions"`
	}{[]instruction{{"a", false, true}, {"b", true, true}}}, 2)
	f("text", 0)
	f(map[string]any{"instructions": "none"}, 0)
	f(math.NaN(), 0)
}

func BenchmarkCollect(b *testing.B) {
	d := newDemo()
	samples := make([]record.Sample, d.plan())
	for i := range samples {
		samples[i] = d.sample(i)
	}
	c := NewCollector()
	i := 0
	for b.Loop() {
		c.Add(&samples[i%len(samples)])
		i++
	}
}
