package storetest

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// series compares with sums and quantiles that are computed here.
func series(t *testing.T, open Open) {
	s := open(t)
	r := rand.New(rand.NewPCG(1, 2))
	type key struct {
		minute  time.Time
		variant string
	}
	type sum struct {
		store.Point
		latency, ttft []float64
	}
	want := map[key]*sum{}
	var xs []record.Exchange
	for i := range 6000 {
		x := exchange(i)
		x.Time = start.Add(time.Duration(i) * 40 * time.Millisecond)
		x.Variant = []string{"baseline", "baseline", "canary"}[i%3]
		x.Content = nil
		x.Latency, x.TTFT = ptr(math.Exp(r.NormFloat64())), nil
		k := key{x.Time.Truncate(time.Minute), x.Variant}
		w := want[k]
		if w == nil {
			w = &sum{}
			want[k] = w
		}
		w.Count++
		w.latency = append(w.latency, *x.Latency)
		if i%2 == 0 {
			x.TTFT = ptr(*x.Latency / 4)
			w.ttft = append(w.ttft, *x.TTFT)
		}
		switch i % 20 {
		case 3:
			x.ErrorKind = record.Server
			w.Errors++
		case 4:
			x.ErrorKind = record.Canceled
			w.Canceled++
		default:
			x.Usage, x.Cost = &record.Usage{Prompt: i, Completion: 7}, ptr(.25)
			w.PromptTokens += int64(i)
			w.CompletionTokens += 7
			w.Cost += .25
		}
		xs = append(xs, x)
	}
	put(t, s, xs...)
	q := store.SeriesQuery{Filter: store.Filter{From: start, To: start.Add(time.Hour)}, Every: time.Minute, By: []store.Key{store.ByVariant}}
	got, err := s.Series(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d points, want %d", len(got), len(want))
	}
	for i, p := range got {
		if i > 0 && (p.Time.Before(got[i-1].Time) || p.Time.Equal(got[i-1].Time) && p.Group[0] <= got[i-1].Group[0]) {
			t.Errorf("point %d is out of order", i)
		}
		w := want[key{p.Time, p.Group[0]}]
		if w == nil {
			t.Fatalf("a point at %s of %v", p.Time, p.Group)
		}
		if p.Count != w.Count || p.Errors != w.Errors || p.Canceled != w.Canceled || p.PromptTokens != w.PromptTokens || p.CompletionTokens != w.CompletionTokens || math.Abs(p.Cost-w.Cost) > 1e-9 {
			t.Errorf("got %+v\nwant %+v", p, w.Point)
		}
		quantiles(t, p.Latency, w.latency)
		quantiles(t, p.TTFT, w.ttft)
	}
	q.Every, q.By = 0, nil
	if got, err = s.Series(t.Context(), q); err != nil || len(got) != 1 || got[0].Count != 6000 || !got[0].Time.Equal(start) {
		t.Errorf("%+v, %v", got, err)
	}
	q.Variants, q.Every = []string{"canary"}, 10*time.Second
	if got, err = s.Series(t.Context(), q); err != nil || len(got) != 25 || got[0].Time.Second()%10 != 0 {
		t.Errorf("%d points, %v", len(got), err)
	}
}

// quantiles must be within 1% of a value between the two neighbours of the exact place.
func quantiles(t *testing.T, got store.Quantiles, values []float64) {
	t.Helper()
	sort.Float64s(values)
	if got.Count != int64(len(values)) {
		t.Errorf("%d values, want %d", got.Count, len(values))
		return
	}
	for p, v := range map[float64]float64{.5: got.P50, .95: got.P95, .99: got.P99} {
		at := p * float64(len(values)-1)
		low, high := values[int(math.Floor(at))], values[int(math.Ceil(at))]
		if v < low*.99 || v > high*1.01 {
			t.Errorf("quantile %g of %d values: %g, want %g to %g", p, len(values), v, low, high)
		}
	}
}

func seriesScores(t *testing.T, open Open) {
	s := open(t)
	xs := []record.Exchange{exchange(0), exchange(1), exchange(2)}
	xs[0].Scores = []record.OnlineScore{{Name: "tox", Value: ptr(.25)}}
	xs[1].Scores = []record.OnlineScore{{Name: "len", Value: ptr(9.0)}, {Name: "tox", Value: ptr(.75)}}
	xs[2].Scores = []record.OnlineScore{{Name: "tox", Error: "failed"}}
	xs[1].Status, xs[2].Status = 200, 404
	xs[2].ErrorKind, xs[2].Latency = record.NotFound, nil
	put(t, s, xs...)
	got, err := s.Series(t.Context(), store.SeriesQuery{Filter: store.Filter{From: start, To: start.Add(time.Hour)}, By: []store.Key{store.ByStatus, store.ByErrorKind}, Scores: []string{"tox", "none"}})
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if !reflect.DeepEqual(got[0].Group, []string{"200", ""}) || !reflect.DeepEqual(got[1].Group, []string{"404", "not_found"}) {
		t.Errorf("groups %v, %v", got[0].Group, got[1].Group)
	}
	if want := []store.Mean{{Name: "tox", Count: 2, Value: .5}, {Name: "none"}}; !reflect.DeepEqual(got[0].Scores, want) {
		t.Errorf("%+v, want %+v", got[0].Scores, want)
	}
	if want := []store.Mean{{Name: "tox"}, {Name: "none"}}; !reflect.DeepEqual(got[1].Scores, want) || got[1].Latency != (store.Quantiles{}) {
		t.Errorf("%+v", got[1])
	}
	if rate, ok := got[1].ErrorRate(); !ok || rate != 1 {
		t.Errorf("error rate %v, %v", rate, ok)
	}
}

// readersBesideWriter looks at the store while batches arrive: each is seen whole or not at all, and nothing goes away.
func readersBesideWriter(t *testing.T, open Open) {
	s := open(t)
	const batches, size = 20, 250
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var looks atomic.Int64
	for range 2 {
		wg.Go(func() {
			last := int64(0)
			for ctx.Err() == nil {
				p, err := s.Series(t.Context(), store.SeriesQuery{Filter: store.Filter{From: start, To: start.Add(time.Hour)}})
				if err != nil {
					t.Error(err)
					return
				}
				n := int64(0)
				if len(p) > 0 {
					n = p[0].Count
				}
				if n < last || n%size != 0 {
					t.Errorf("%d exchanges after %d", n, last)
				}
				last = n
				if _, err := s.List(t.Context(), store.Query{Content: true, Limit: 20}); err != nil {
					t.Error(err)
					return
				}
				looks.Add(1)
			}
		})
	}
	for b := range batches {
		var xs []record.Exchange
		for i := range size {
			xs = append(xs, exchange(b*size+i))
		}
		put(t, s, xs...)
	}
	stop()
	wg.Wait()
	if looks.Load() == 0 {
		t.Log("no reader finished a look")
	}
}
