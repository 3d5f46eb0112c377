package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// Store keeps what the worker made. Each call stores all or nothing; exchanges are told apart by ID, late scores by exchange,
// name and mark, and a roll-up replaces one of the same ID.
type Store interface {
	AddScores(ctx context.Context, ls []record.Late) error
	Put(ctx context.Context, xs []record.Exchange) (added int, err error)
	PutSnapshots(ctx context.Context, ss []record.Snapshot) error
	PutRollups(ctx context.Context, rs []record.Rollup) error
	LateScores(ctx context.Context, exchanges []string, window time.Duration) ([]store.Scored, error)
}

// Source is the bus.
type Source interface {
	Consume(ctx context.Context, stream, durable string, o bus.ConsumeOptions, fn func(context.Context, bus.Batch) error) error
}

// WorkerOptions are what a Worker needs. Zero values take the defaults.
type WorkerOptions struct {
	Source  Source
	Stream  string
	Durable string // "worker"; all workers of one stream have the same
	Consume bus.ConsumeOptions
	Store   Store
	Codec   *Codec
	Log     *slog.Logger

	Scorers []Scoring
	// Secret keys the choice of what is scored.
	Secret []byte
	Ledger Ledger // nil: budgets hold for this process
	// ScoreTime bounds the scoring of a batch: 20 s. ScoreParallel is how many exchanges are scored at a time: 8.
	ScoreTime     time.Duration
	ScoreParallel int

	// SegmentTag is the tag whose values are the roll-ups' segments.
	SegmentTag string
	Live       *Live // nil for none
	// Evidence says where what rollouts decide on goes; its zero value is nowhere.
	Evidence EvidenceOptions
	Now      func() time.Time
}

func (o *WorkerOptions) validate() error {
	if o.Source == nil || o.Store == nil || o.Codec == nil || o.Log == nil || o.Stream == "" {
		return errors.New("worker: want source, stream, store, codec and log")
	}
	if o.Durable == "" {
		o.Durable = "worker"
	}
	if o.ScoreTime <= 0 {
		o.ScoreTime = 20 * time.Second
	}
	if o.ScoreParallel <= 0 {
		o.ScoreParallel = 8
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, s := range o.Scorers {
		if s.Name == "" || s.Scorer == nil || !(s.Share >= 0 && s.Share <= 1) {
			return fmt.Errorf("worker: scorer %q: want a name, a scorer and a share from 0 to 1, not %v", s.Name, s.Share)
		}
	}
	// A batch each second keeps the store's batches large and the roll-ups few.
	if o.Consume.MaxWait <= 0 {
		o.Consume.MaxWait = time.Second
	}
	o.Consume.Stable = true
	return nil
}

// Worker takes records from the bus and stores them.
type Worker struct {
	o       WorkerOptions
	scorers []*scoring
	seen    *seen
	current *job // the batch being processed, kept while the store is down

	batches, evidence, evidenceLost, stored, scores, repeated, undecodable, invalid, rollups, failures atomic.Int64
	failing                                                                                            atomic.Pointer[string]
}

// WorkerStats are counts since the worker was made.
type WorkerStats struct {
	Batches int64
	// Evidence was told to rollouts, EvidenceLost could not be, for its stream is full.
	Evidence, EvidenceLost int64
	Stored                 int64 // exchanges that were new to the store
	Scores                 int64 // scores that came apart from their exchange, also those that were there before
	Repeated               int64 // exchanges that were there before
	Undecodable            int64 // records that could not be read, left out
	Invalid                int64 // exchanges and late scores that the store refuses, left out
	Rollups                int64
	Failures               int64  // attempts to store a batch that failed
	Failing                string // why the store does not take the present batch; empty when it does
	Scorers                []ScoringStats
}

// NewWorker checks the options.
func NewWorker(o WorkerOptions) (*Worker, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	w := &Worker{o: o, seen: newSeen()}
	for _, s := range o.Scorers {
		w.scorers = append(w.scorers, &scoring{Scoring: s})
	}
	return w, nil
}

// Run works until the context ends. A store that fails is tried again for ever, while the bus holds what comes.
func (w *Worker) Run(ctx context.Context) error {
	return w.o.Source.Consume(ctx, w.o.Stream, w.o.Durable, w.o.Consume, w.handle)
}

// job is a batch with what has been made of it, so that another attempt to store it does not score it again.
type job struct {
	id        string
	exchanges []record.Exchange
	snapshots []record.Snapshot
	late      []record.Late
	rollups   []record.Rollup
	fresh     []record.Exchange // those that count in roll-ups
	done      struct{ evidence, snapshots, exchanges, late bool }
	added     int
}

func (w *Worker) handle(ctx context.Context, b bus.Batch) error {
	j := w.current
	if j == nil || j.id != b.ID {
		j = w.prepare(ctx, b)
		if ctx.Err() != nil {
			return ctx.Err() // scores are missing that another attempt can have
		}
		w.current = j
	}
	if err := w.put(ctx, j); err != nil {
		w.failures.Add(1)
		why := err.Error()
		w.failing.Store(&why)
		return err
	}
	w.failing.Store(nil)
	w.current = nil
	w.finish(j)
	return nil
}

// prepare decodes, scores and sums up.
func (w *Worker) prepare(ctx context.Context, b bus.Batch) *job {
	j := &job{id: b.ID}
	w.decode(b.Records, j)
	w.score(ctx, j.exchanges)
	// A client that sends the same exchange twice gets it stored once. It should be counted once too, as far as it is
	// remembered. Exchanges of a batch that comes again are counted again, for its roll-ups replace the first.
	j.fresh = j.exchanges
	if w.seen.any(b.ID, j.exchanges) {
		j.fresh = make([]record.Exchange, 0, len(j.exchanges))
		for i := range j.exchanges {
			if !w.seen.has(b.ID, j.exchanges[i].ID) {
				j.fresh = append(j.fresh, j.exchanges[i])
			}
		}
	}
	j.rollups = rollUp(b.ID, w.o.SegmentTag, j.fresh)
	return j
}

// decode fills the job, in the order of the records and each exchange once.
func (w *Worker) decode(rs []bus.Record, j *job) {
	out := make([]Message, len(rs))
	var wg sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for part := range n {
		lo, hi := len(rs)*part/n, len(rs)*(part+1)/n
		wg.Go(func() {
			for i := lo; i < hi; i++ {
				m, err := w.o.Codec.Decode(rs[i].Data)
				if err != nil {
					w.undecodable.Add(1)
					w.o.Log.Error("a record is left out", "frame", rs[i].Frame, "index", rs[i].Index, "err", err)
					continue
				}
				out[i] = m
			}
		})
	}
	wg.Wait()
	ids := make(map[string]struct{}, len(rs))
	j.exchanges = make([]record.Exchange, 0, len(rs))
	for _, m := range out {
		if m.Snapshot != nil {
			j.snapshots = append(j.snapshots, *m.Snapshot)
		}
		if m.Late != nil {
			j.late = append(j.late, *m.Late)
		}
		if x := m.Exchange; x != nil {
			if _, ok := ids[x.ID]; ok {
				w.repeated.Add(1)
				continue
			}
			ids[x.ID] = struct{}{}
			j.exchanges = append(j.exchanges, *x)
		}
	}
}

// put stores a job. Each of its steps may be repeated: what is there is left as it is, or replaced by the same.
func (w *Worker) put(ctx context.Context, j *job) error {
	if w.o.Evidence.Sink != nil && !j.done.evidence {
		if err := w.publish(ctx, j); err != nil {
			return fmt.Errorf("evidence: %w", err)
		}
		j.done.evidence = true
	}
	if len(j.snapshots) > 0 && !j.done.snapshots {
		if err := w.o.Store.PutSnapshots(ctx, j.snapshots); err != nil {
			return fmt.Errorf("snapshots: %w", err)
		}
		j.done.snapshots = true
	}
	for len(j.exchanges) > 0 && !j.done.exchanges {
		added, err := w.o.Store.Put(ctx, j.exchanges)
		if kept, ok := without(w, j.exchanges, err, "an exchange is left out"); ok {
			j.exchanges = kept
			continue
		}
		if err != nil {
			return fmt.Errorf("exchanges: %w", err)
		}
		j.added = added
		j.done.exchanges = true
	}
	for len(j.late) > 0 && !j.done.late {
		err := w.o.Store.AddScores(ctx, j.late)
		if kept, ok := without(w, j.late, err, "a score is left out"); ok {
			j.late = kept
			continue
		}
		if err != nil {
			return fmt.Errorf("scores: %w", err)
		}
		j.done.late = true
	}
	if len(j.rollups) > 0 {
		if err := w.o.Store.PutRollups(ctx, j.rollups); err != nil {
			return fmt.Errorf("roll-ups: %w", err)
		}
	}
	if err := w.sumLate(ctx, j); err != nil {
		return fmt.Errorf("roll-ups of late scores: %w", err)
	}
	return nil
}

// without leaves out the record that can never be stored, if the error names one, and counts it. The rest is a new list, for
// the records are also elsewhere.
func without[T any](w *Worker, rs []T, err error, what string) ([]T, bool) {
	bad, ok := errors.AsType[*store.InvalidError](err)
	if !ok || bad.Index < 0 || bad.Index >= len(rs) {
		return nil, false
	}
	w.invalid.Add(1)
	w.o.Log.Error(what, "id", bad.ID, "err", err)
	kept := make([]T, 0, len(rs)-1)
	kept = append(kept, rs[:bad.Index]...)
	return append(kept, rs[bad.Index+1:]...), true
}

// finish counts a job that was stored.
func (w *Worker) finish(j *job) {
	w.batches.Add(1)
	w.stored.Add(int64(j.added))
	w.scores.Add(int64(len(j.late)))
	w.repeated.Add(int64(len(j.exchanges) - j.added))
	w.rollups.Add(int64(len(j.rollups)))
	w.seen.add(j.id, j.fresh)
	if w.o.Live != nil {
		w.o.Live.Add(j.fresh)
	}
}

// Stats returns the counts.
func (w *Worker) Stats() WorkerStats {
	s := WorkerStats{
		Batches: w.batches.Load(), Evidence: w.evidence.Load(), EvidenceLost: w.evidenceLost.Load(), Stored: w.stored.Load(), Scores: w.scores.Load(), Repeated: w.repeated.Load(), Undecodable: w.undecodable.Load(),
		Invalid: w.invalid.Load(), Rollups: w.rollups.Load(), Failures: w.failures.Load(),
	}
	if why := w.failing.Load(); why != nil {
		s.Failing = *why
	}
	for _, sc := range w.scorers {
		sc.mu.Lock()
		spent := sc.spent
		sc.mu.Unlock()
		s.Scorers = append(s.Scorers, ScoringStats{sc.Name, sc.scored.Load(), sc.failed.Load(), sc.skipped.Load(), sc.late.Load(), spent})
	}
	return s
}
