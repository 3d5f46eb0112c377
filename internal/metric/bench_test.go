package metric

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func benchSample(id string) *record.Sample {
	s := sample(id, verdict.Pass)
	x, pass := 1.0, true
	lat, usd := 0.25, 0.001
	s.Latency, s.TTFT, s.Cost = &lat, &lat, &usd
	s.Usage = &record.Usage{Prompt: 100, Completion: 20, Total: 120}
	s.Scores = nil
	for _, name := range []string{"contains", "is-json", "regex"} {
		s.Scores = append(s.Scores, record.Score{Name: name, Value: &x, Pass: &pass,
			Measures: []record.Measure{{Metric: name, Value: x, Kind: "rate"}}})
	}
	return s
}

func BenchmarkAdd(b *testing.B) {
	for _, snapshots := range []int{1, 2} {
		b.Run(fmt.Sprint("snapshots=", snapshots), func(b *testing.B) {
			a, err := New(Options{Snapshots: snapshots, Expect: []string{"contains", "is-json", "regex"}})
			if err != nil {
				b.Fatal(err)
			}
			var pool []*record.Sample
			for i := range 64 {
				pool = append(pool, benchSample(fmt.Sprint(i)))
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Add(Observation{Sample: pool[i%64], Snapshot: i % snapshots}); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// Memory does not grow with the number of samples.
func TestConstantMemory(t *testing.T) {
	a, err := New(Options{Snapshots: 1, Expect: []string{"contains", "is-json", "regex"}})
	if err != nil {
		t.Fatal(err)
	}
	s := benchSample("")
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	feed := func(from, to int) {
		for i := from; i < to; i++ {
			s.Case = fmt.Sprint(i)
			if err := a.Add(Observation{Sample: s}); err != nil {
				t.Fatal(err)
			}
		}
	}
	feed(0, 5_000)
	before := heap()
	feed(5_000, 100_000)
	after := heap()
	if grown := int64(after) - int64(before); grown > 256<<10 {
		t.Errorf("95,000 more samples took %d KB", grown>>10)
	}
	runtime.KeepAlive(a)
}
