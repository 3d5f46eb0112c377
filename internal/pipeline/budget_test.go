package pipeline

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// TestBudgetOfWorkers: several workers with many requests at a time spend the budget, and no more than the requests under way.
func TestBudgetOfWorkers(t *testing.T) {
	const workers, parallel, budget, price = 3, 8, 1., .03
	ledger := &memoryLedger{sum: map[string]float64{}}
	var mu sync.Mutex
	asked := 0
	judge := fakeScorer{func(context.Context, *record.Exchange) (record.OnlineScore, float64) {
		time.Sleep(time.Millisecond) // so that requests are under way at the same time
		mu.Lock()
		defer mu.Unlock()
		asked++
		return record.OnlineScore{Value: ptr(1.)}, price
	}}
	day := sampleStart
	var all []*Worker
	for range workers {
		w, _ := newWorker(t, WorkerOptions{Ledger: ledger, ScoreParallel: parallel, Now: func() time.Time { return day }, Scorers: []Scoring{{Name: "judge", Scorer: judge, Share: 1, Costs: true, Budget: budget}}})
		all = append(all, w)
	}
	f := func(batch int, most float64) {
		t.Helper()
		asked = 0
		var wg sync.WaitGroup
		for n, w := range all {
			wg.Go(func() {
				for i := range 3 {
					var xs []record.Exchange
					for k := range 100 {
						xs = append(xs, sample(10000*batch+3000*n+1000*i+k))
					}
					if err := w.handle(context.Background(), batchOf(t, fmt.Sprint(batch, n, i), xs...)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		spent := float64(asked) * price
		if spent < budget || spent > most {
			t.Errorf("spent %v of %v, want at most %v", spent, budget, most)
		}
		if got := ledger.sum["judge"+day.Format(time.DateOnly)]; math.Abs(got-spent) > 1e-6 {
			t.Errorf("the ledger says %v, spent %v", got, spent)
		}
	}
	f(0, budget+workers*parallel*price)
	for n, w := range all { // on days of their own all learn the price: on the first one some may have come too late
		day = day.Add(24 * time.Hour)
		if err := w.handle(context.Background(), batchOf(t, fmt.Sprint("alone", n), sample(90_000+n))); err != nil {
			t.Fatal(err)
		}
	}
	day = day.Add(24 * time.Hour)
	f(1, budget+workers*price)
}

// TestBudgetAfterKill: what a worker that was killed had taken counts as spent.
func TestBudgetAfterKill(t *testing.T) {
	ledger := &memoryLedger{sum: map[string]float64{}}
	take := func() (n int) {
		s := &scoring{Scoring: Scoring{Name: "judge", Costs: true, Budget: 1}}
		if err := s.settle(t.Context(), ledger, "d"); err != nil {
			t.Fatal(err)
		}
		for ; n < 15; n++ {
			ok, err := s.begin(t.Context(), ledger, "d")
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			s.end(.02)
		}
		return n // and is gone without settling
	}
	total := 0
	for range 10 {
		total += take()
	}
	if spent := float64(total) * .02; spent > 1+.02 || spent < .8 {
		t.Errorf("%v spent of 1", spent)
	}
}
