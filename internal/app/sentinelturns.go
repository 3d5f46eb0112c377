package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/rollout"
)

const (
	sentinelLook    = 2 * time.Second
	sentinelsAtOnce = 2 // suites
	// sentinelCases of both variants are in one record of evidence.
	sentinelCases = 128
)

func sentinelKey(name string) string { return "sentinels/" + name }

// sentinelRun is what is kept of the latest replay of a rollout's sentinels.
type sentinelRun struct {
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Cases   int       `json:"cases"`
	// Error is why there is no result; that is no evidence against the candidate.
	Error string `json:"error,omitempty"`
}

// checkSentinels refuses a rollout whose suite this server cannot use.
func (r *rollouts) checkSentinels(ctx context.Context, k *keptRollout) error {
	if k.doc().Sentinels == nil {
		return nil
	}
	return r.sentinelsOf(k).check(ctx)
}

func (r *rollouts) sentinelsOf(k *keptRollout) *sentinels {
	return &sentinels{doc: k.doc(), server: r.server(), env: r.env, prices: r.prices}
}

// sentinelTurn is when the sentinels of a rollout were replayed, as far as this process knows.
type sentinelTurn struct {
	began time.Time
	stage int
	phase rollout.Phase
	done  chan struct{} // closed when it is over
}

// watchSentinels replays the sentinels of the rollouts under way: at the start of each stage, for a stage that none has passed in is not
// promoted, and then again and again. It never waits for one to go on with another, nor does anybody wait for it.
func (r *rollouts) watchSentinels(ctx context.Context) {
	turns := map[string]*sentinelTurn{}
	without := map[string]bool{} // rollouts that have none
	places := make(chan struct{}, sentinelsAtOnce)
	var runs sync.WaitGroup
	defer runs.Wait()
	for ; ctx.Err() == nil; waitFor(ctx, sentinelLook) {
		names, err := r.names(ctx)
		if err != nil {
			continue // stepping says so
		}
		for _, name := range names {
			if without[name] {
				continue
			}
			k, err := r.Get(ctx, name)
			if err != nil {
				continue
			}
			if k.S == nil || k.doc().Sentinels == nil || k.phase().Final() {
				without[name] = true
				continue
			}
			if !turns[name].due(k, r.now()) {
				continue
			}
			turn := &sentinelTurn{began: r.now(), stage: k.S.Stage, phase: k.phase(), done: make(chan struct{})}
			turns[name] = turn
			runs.Go(func() {
				defer close(turn.done)
				select {
				case places <- struct{}{}:
				case <-ctx.Done():
					return
				}
				defer func() { <-places }()
				r.replaySentinels(ctx, k)
			})
		}
	}
}

// due says whether it is time again.
func (t *sentinelTurn) due(k *keptRollout, now time.Time) bool {
	if k.phase() == rollout.Pending {
		return false
	}
	if t == nil {
		return true
	}
	select {
	case <-t.done:
	default:
		return false // one at a time
	}
	began := t.stage != k.S.Stage || t.phase == rollout.Pending
	return began || now.Sub(t.began) >= k.doc().Sentinels.Every
}

// replaySentinels asks both variants and tells the rollout what came of it. What goes wrong with that is logged and shown, and says
// nothing of the candidate.
func (r *rollouts) replaySentinels(ctx context.Context, k *keptRollout) {
	doc := k.doc()
	run := sentinelRun{Started: r.now().UTC()}
	q := r.sentinelsOf(k)
	results, err := q.ask(ctx, k.S.Baseline.Name, k.S.Candidate.Name)
	run.Ended, run.Cases = r.now().UTC(), len(results)
	unknown, why := 0, ""
	for _, one := range results {
		if one.why != "" {
			unknown++
			why = one.name + ", " + config.Clip(one.why, 300)
		}
	}
	if err == nil {
		err = r.tellSentinels(ctx, q, k, results, run.Started)
	}
	if drop, ok := errors.AsType[*bus.DropError](err); ctx.Err() != nil || ok && drop.Reason == bus.Closed {
		return // another process goes on, or this one after its next start
	}
	switch {
	case err != nil:
		run.Error = err.Error()
		r.log.Error("the sentinels of a rollout could not be replayed; that is no evidence against the candidate", "rollout", doc.Name, "route", doc.Route, "error", err)
	case unknown > 0:
		run.Error = fmt.Sprintf("%d of %d cases have no result, such as %s", unknown, len(results), why)
		r.log.Warn("sentinels of a rollout without a result", "rollout", doc.Name, "route", doc.Route, "cases", unknown, "such as", why)
	}
	if err := r.keepSentinelRun(ctx, doc.Name, &run); err != nil && ctx.Err() == nil {
		r.log.Error("what came of a rollout's sentinels cannot be kept", "rollout", doc.Name, "error", err)
	}
}

// tellSentinels puts results on the stream of evidence. The records' ids are those of the replay: each counts once.
func (r *rollouts) tellSentinels(ctx context.Context, q *sentinels, k *keptRollout, results []sentinelResult, at time.Time) error {
	var items []bus.Item
	for n := 0; len(results) > 0; n++ {
		some := results[:min(len(results), sentinelCases)]
		results = results[len(some):]
		id := fmt.Sprintf("sentinels/%s/%d/%d", q.doc.Name, at.UnixMicro(), n)
		data, err := r.codec.EvidenceBatch(&pipeline.EvidenceBatch{ID: id, Evidence: q.evidence(some, k, at)})
		if err != nil {
			return err
		}
		items = append(items, bus.Item{ID: id, Data: data})
	}
	return r.evidence.Put(ctx, items)
}

func (r *rollouts) keepSentinelRun(ctx context.Context, name string, run *sentinelRun) error {
	value, err := json.Marshal(run)
	if err != nil {
		return err
	}
	for range mostChanges {
		var revision uint64
		if e, err := r.states.Get(ctx, sentinelKey(name)); err == nil {
			revision = e.Revision
		} else if !errors.Is(err, bus.ErrNotFound) {
			return err
		}
		if _, err = r.states.CompareAndSet(ctx, sentinelKey(name), value, revision); !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
	return bus.ErrConflict
}

// showSentinels is how a rollout's sentinels stand; nil for a rollout that has none.
func (r *rollouts) showSentinels(ctx context.Context, k *keptRollout) (*api.Sentinels, error) {
	if k.S == nil || k.doc().Sentinels == nil {
		return nil, nil
	}
	out := &api.Sentinels{Suite: k.doc().Sentinels.Suite, Cases: []api.SentinelCase{}}
	for name, c := range k.S.Sentinels.Cases {
		out.Cases = append(out.Cases, api.SentinelCase{Case: name, Baseline: c.Baseline, Candidate: c.Candidate})
	}
	out.Sort()
	e, err := r.states.Get(ctx, sentinelKey(k.doc().Name))
	if errors.Is(err, bus.ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	var run sentinelRun
	if err := json.Unmarshal(e.Value, &run); err != nil {
		return nil, fmt.Errorf("sentinels of rollout %s: %w", k.doc().Name, err)
	}
	out.Last, out.Error = &run.Ended, run.Error
	return out, nil
}
