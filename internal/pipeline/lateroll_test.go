package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// lateOf is a score of an exchange that was made so many minutes after it.
func lateOf(exchange, name string, v float64, minutes int) record.Late {
	at := sampleStart.Add(time.Duration(minutes) * time.Minute)
	return record.Late{Exchange: exchange, Mark: at.Format(time.RFC3339), Time: at, Redaction: "r1", Score: record.OnlineScore{Name: name, Value: &v, Pass: ptr(v > .5), Inclusion: .5}}
}

func lateBatch(t testing.TB, id string, ls ...record.Late) bus.Batch {
	t.Helper()
	b := bus.Batch{ID: id}
	for i := range ls {
		data, err := NewCodec().Late(&ls[i])
		if err != nil {
			t.Fatal(err)
		}
		b.Records = append(b.Records, bus.Record{Data: data})
	}
	return b
}

// scoreCounts are the sums of one score over all roll-ups.
func (m *memory) scoreCounts(name string) map[string]float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]float64{}
	for _, r := range m.rollups {
		for k, n := range r.Counts {
			if rest, ok := strings.CutPrefix(k, ScoreOf+name+"."); ok {
				out[rest] += n
			}
		}
	}
	return out
}

// TestLateRollups counts each late score once: whichever comes first, sent again, or processed again by another worker after a
// crash behind any step.
func TestLateRollups(t *testing.T) {
	first, second := sample(1), sample(2)
	second.Scores = []record.OnlineScore{{Name: "tox", Value: ptr(.25), Inclusion: 1}}
	exchanges := func(id string) bus.Batch { return batchOf(t, id, first, second) }
	scores := func(id string) bus.Batch {
		failed := record.Late{Exchange: first.ID, Mark: "e", Time: sampleStart, Redaction: "r1", Score: record.OnlineScore{Name: "judge", Error: "no answer"}}
		return lateBatch(t, id, lateOf(first.ID, "tox", .75, 1), lateOf(first.ID, "tox", .25, 2), lateOf(second.ID, "tox", 1, 1), lateOf(second.ID, "tone", 1, 1), lateOf("nobody", "tone", 1, 1), failed)
	}
	f := func(what string, failAt string, crash bool, batches ...bus.Batch) {
		t.Helper()
		w, m := newWorker(t, WorkerOptions{})
		failed := failAt == ""
		m.fail = func(step string) error {
			if step == failAt && !failed {
				failed = true
				return errors.New("down")
			}
			return nil
		}
		for _, b := range batches {
			if err := w.handle(t.Context(), b); err != nil {
				if crash {
					if w, err = NewWorker(w.o); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.handle(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !failed {
			t.Errorf("%s: %s did not fail", what, failAt)
		}
		for name, want := range map[string]map[string]float64{
			// Of the first exchange the mean of its two; the second came with one.
			"tox":   {"n": 2, "sum": .75, "weight": 3, "weighted": 1.25, "judged": 1},
			"tone":  {"n": 1, "sum": 1, "weight": 2, "weighted": 2, "judged": 1, "passes": 1},
			"judge": {"errors": 1},
		} {
			if got := m.scoreCounts(name); !maps.Equal(got, want) {
				t.Errorf("%s, %s fails, crash %v: %s %v, want %v", what, failAt, crash, name, got, want)
			}
		}
		if m.requests() != 2 {
			t.Errorf("%s: %v requests", what, m.requests())
		}
	}
	f("after", "", false, exchanges("a"), scores("b"))
	f("before", "", false, scores("a"), exchanges("b"))
	f("again", "", false, scores("a"), exchanges("b"), scores("c"), scores("c"), exchanges("b"))
	both := exchanges("a")
	both.Records = append(both.Records, scores("").Records...)
	f("together", "", false, both)
	for _, step := range []string{"put", "scores", "rollups", "late"} {
		for _, crash := range []bool{false, true} {
			f("after", step, crash, exchanges("a"), scores("b"))
			f("before", step, crash, scores("a"), exchanges("b"))
			f("together", step, crash, both)
		}
	}
}

// slow is a store between whose looking and writing others may do the same.
type slow struct{ *memory }

func (s slow) LateScores(ctx context.Context, ids []string, window time.Duration) ([]store.Scored, error) {
	found, err := s.memory.LateScores(ctx, ids, window)
	time.Sleep(time.Millisecond)
	return found, err
}

// TestLateRollupsOfWorkers: several workers that count scores of one window lose none.
func TestLateRollupsOfWorkers(t *testing.T) {
	m := newMemory()
	const workers, each = 4, 20
	first, _ := newWorker(t, WorkerOptions{Store: slow{m}})
	var xs []record.Exchange
	for i := range workers * each {
		x := sample(i)
		x.Time = sampleStart
		xs = append(xs, x)
	}
	if err := first.handle(t.Context(), batchOf(t, "x", xs...)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range workers {
		w, _ := newWorker(t, WorkerOptions{Store: slow{m}})
		wg.Go(func() {
			for i := range each {
				b := lateBatch(t, fmt.Sprint(n, i), lateOf(xs[n*each+i].ID, "tone", 1, 1))
				for try := 0; ; try++ {
					err := w.handle(context.Background(), b)
					if err == nil {
						break
					}
					if try == 20 {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if got := m.scoreCounts("tone")["n"]; got != workers*each {
		t.Errorf("%v scores are counted, want %d", got, workers*each)
	}
}
