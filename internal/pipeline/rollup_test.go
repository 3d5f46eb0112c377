package pipeline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

func TestRollUp(t *testing.T) {
	var xs []record.Exchange
	for i := range 30_000 { // 30 s: three windows and a bit, for the start is not aligned
		x := sample(i)
		switch i % 10 {
		case 0:
			x.ErrorKind, x.Status = record.Timeout, 504
		case 1:
			x.ErrorKind = record.Canceled
		case 2:
			x.FinishReason = "max_tokens"
		case 3:
			x.Refused = true
		}
		x.Found = map[string]int{"email": 2}
		if i%4 == 0 {
			x.Scores = []record.OnlineScore{{Name: "tox", Value: ptr(.5), Pass: ptr(i%8 == 0), Inclusion: .25}}
		}
		if i%100 == 1 {
			x.Scores = append(x.Scores, record.OnlineScore{Name: "tox", Error: "down"})
		}
		xs = append(xs, x)
	}
	rand.Shuffle(len(xs), func(i, j int) { xs[i], xs[j] = xs[j], xs[i] })
	rs := rollUp("batch", "team", xs)
	if len(rs) != 8 { // four windows of two variants
		t.Fatalf("%d roll-ups", len(rs))
	}
	total := record.Rollup{}
	for _, r := range rs {
		if r.Start.Second()%10 != 0 || r.Start.Nanosecond() != 0 || r.Length != 10 || r.Segment != "a" {
			t.Errorf("%+v", r)
		}
		if err := total.Merge(&r); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]float64{
		Requests: 30_000, Errors: 3000, Cancelled: 3000, ErrorOf + "timeout": 3000, ErrorOf + "canceled": 3000, Truncated: 3000, Refused: 3000, Streams: 30_000,
		TokensIn: 3e6, TokensOut: 4.5e6, FoundOf + "email": 60_000, Contents: 30_000, Cost: 36,
		ScoreOf + "tox.n": 7500, ScoreOf + "tox.sum": 3750, ScoreOf + "tox.weight": 30_000, ScoreOf + "tox.weighted": 15_000, ScoreOf + "tox.judged": 7500, ScoreOf + "tox.passes": 3750,
		ScoreOf + "tox.errors": 300, BytesIn: 600 * 30_000, BytesOut: 800 * 30_000,
	}
	for name, w := range want {
		if got := total.Counts[name]; math.Abs(got-w) > 1e-6*w {
			t.Errorf("%s: %v, want %v", name, got, w)
		}
	}
	for name := range total.Counts {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: not expected", name)
		}
	}
	s, err := record.ReadSketch(total.Sketches[Latency])
	if err != nil {
		t.Fatal(err)
	}
	var all []float64
	for _, x := range xs {
		all = append(all, *x.Latency)
	}
	slices.Sort(all)
	for _, q := range []float64{0, .5, .95, .99, 1} {
		exact := all[int(q*float64(len(all)-1))]
		if got := s.Quantile(q); math.Abs(got-exact) > 1.0001*record.SketchError*exact {
			t.Errorf("q%v: %v, want %v within 1%%", q, got, exact)
		}
	}
	// The same batch gives the same rows, whatever the order of its records.
	again := rollUp("batch", "team", xs[:len(xs):len(xs)])
	for i := range rs {
		if rs[i].ID != again[i].ID || fmt.Sprint(rs[i].Counts) != fmt.Sprint(again[i].Counts) {
			t.Errorf("%+v\n%+v", rs[i], again[i])
		}
	}
	if other := rollUp("other", "team", xs); other[0].ID == rs[0].ID {
		t.Error("two batches have roll-ups of one ID")
	}
}

func TestRollUpSegments(t *testing.T) {
	var xs []record.Exchange
	for i := range 1000 {
		x := sample(0)
		x.Variant, x.Tags = "v", map[string]string{"team": fmt.Sprint(i)}
		xs = append(xs, x)
	}
	rs := rollUp("b", "team", xs)
	if len(rs) > maxSegments+1 {
		t.Errorf("%d roll-ups", len(rs))
	}
	n := 0.0
	for _, r := range rs {
		n += r.Counts[Requests]
	}
	if n != 1000 {
		t.Errorf("%v requests", n)
	}
}

func TestWindowOf(t *testing.T) {
	f := func(us, want int64) {
		t.Helper()
		if got := windowOf(time.UnixMicro(us)); got != want {
			t.Errorf("%d: %d, want %d", us, got, want)
		}
	}
	f(0, 0)
	f(9_999_999, 0)
	f(10_000_000, 1)
	f(-1, -1)
	f(-10_000_000, -1)
	f(-10_000_001, -2)
}

func TestLive(t *testing.T) {
	now := sampleStart
	l := NewLive(func() time.Time { return now })
	for s := range 1200 { // twenty minutes at five requests a second
		now = sampleStart.Add(time.Duration(s) * time.Second)
		var xs []record.Exchange
		for i := range 5 {
			x := sample(i)
			x.Time, x.Variant, x.Latency = now, "baseline", ptr(float64(i+1))
			if i == 0 {
				x.ErrorKind = record.Server
			}
			xs = append(xs, x)
		}
		l.Add(xs)
	}
	f := func(span time.Duration, requests float64) {
		t.Helper()
		st := l.Stats("support", span)
		if len(st) != 1 {
			t.Fatalf("%+v", st)
		}
		s := st[0]
		if math.Abs(s.Requests-requests) > 60 || math.Abs(s.PerSecond-5) > .3 || math.Abs(s.ErrorRate-.2) > 1e-9 {
			t.Errorf("%v: %+v", span, s)
		}
		if math.Abs(s.Latency.P50-3) > .03 || math.Abs(s.Latency.P99-5) > .05 {
			t.Errorf("%+v", s.Latency)
		}
	}
	f(time.Minute, 300)
	f(LiveSpan, 4500)
	f(time.Hour, 4500)
	if st := l.Stats("other", time.Minute); len(st) != 0 {
		t.Errorf("%+v", st)
	}
	now = now.Add(time.Hour)
	if st := l.Stats("", LiveSpan); len(st) != 1 || st[0].Requests != 0 || !math.IsNaN(st[0].ErrorRate) || !math.IsNaN(st[0].Latency.P50) {
		t.Errorf("%+v", st)
	}
	// Series without requests give way to new ones.
	for i := range 2 * maxLive {
		x := sample(0)
		x.Time, x.Route = now, fmt.Sprint(i)
		l.Add([]record.Exchange{x})
	}
	if st := l.Stats("", LiveSpan); len(st) != maxLive {
		t.Errorf("%d series", len(st))
	}
}

func BenchmarkRollUp(b *testing.B) {
	xs := make([]record.Exchange, 5000)
	for i := range xs {
		xs[i] = sample(i)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n += len(rollUp("b", "", xs))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(xs)), "ns/exchange")
}
