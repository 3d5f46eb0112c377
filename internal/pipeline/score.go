package pipeline

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// Scorer judges an exchange that has content. What it costs is in US dollars.
type Scorer interface {
	Score(ctx context.Context, x *record.Exchange) (score record.OnlineScore, cost float64)
}

// Scoring is a scorer with its share and bounds.
type Scoring struct {
	Name   string
	Scorer Scorer
	Share  float64  // of the exchanges with content, 0 to 1
	Routes []string // empty for all
	// Costs says that the scorer spends money; Budget is how much it may a day (UTC), and 0 then is none.
	Costs  bool
	Budget float64
	// Timeout of one score: 30 s.
	Timeout time.Duration
}

// Ledger remembers what scorers spent on a day, for all workers and across restarts.
type Ledger interface {
	// Spend adds to what was spent, or takes from it, and returns the sum; with 0 it only asks.
	Spend(ctx context.Context, scorer, day string, dollars float64) (float64, error)
}

// ScoringStats are counts of one scorer.
type ScoringStats struct {
	Name    string
	Scored  int64
	Failed  int64 // scores with an error, of those scored
	Skipped int64 // chosen, and left out because the budget was spent
	Late    int64 // chosen, and left out because the batch took too long
	Spent   float64
}

// scoring is a Scoring at work.
type scoring struct {
	Scoring
	scored, failed, skipped, late atomic.Int64

	mu        sync.Mutex
	day       string
	spent     float64 // of the day and by all, as far as known here, with what is granted
	granted   float64 // taken from the ledger and not spent yet; below 0 what is owed to it
	exhausted bool    // there is no more in this batch
	asking    int     // requests under way
	dearest   float64 // that one has cost
}

// chosen says whether an exchange is in the share: by a keyed hash, so that the same ones are when it is asked again.
func chosen(secret []byte, scorer, id string, share float64) bool {
	if share >= 1 {
		return true
	}
	if !(share > 0) {
		return false
	}
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("score\x00" + scorer + "\x00" + id))
	var sum [sha256.Size]byte
	u := binary.BigEndian.Uint64(h.Sum(sum[:0]))
	return float64(u>>11)*0x1p-53 < share
}

func (s *scoring) wants(secret []byte, x *record.Exchange) bool {
	id := x.ID
	if a := x.Assigned; a != nil && a.Pairs != "" {
		id = a.Pairs // a copy is scored when its original is, for the two are compared
	}
	return x.Content != nil && (len(s.Routes) == 0 || slices.Contains(s.Routes, x.Route)) && chosen(secret, s.Name, id, s.Share)
}

// Before a scorer that costs money is asked, part of its budget is taken from the ledger, so that what all workers spend together
// stays within it, also when one is killed: what it had taken counts as spent. It is exceeded by no more than the requests
// under way when it ends: one of each worker, and ScoreParallel while a worker does not know yet what a request costs.
const (
	grantsPerBudget = 20
	noMoney         = 1e-9 // dollars that are the rounding of sums
)

// begin says whether there is budget for one more request; end must follow it.
func (s *scoring) begin(ctx context.Context, l Ledger, day string) (bool, error) {
	if !s.Costs {
		return true, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(day)
	for s.granted-s.dearest*float64(s.asking) <= noMoney {
		if s.exhausted {
			return false, nil
		}
		if err := s.grant(ctx, l, day); err != nil {
			s.exhausted = true
			return false, err
		}
	}
	s.asking++
	return true, nil
}

// end counts what a request did cost.
func (s *scoring) end(cost float64) {
	if !s.Costs {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking--
	s.granted -= cost
	s.dearest = max(s.dearest, cost)
}

// turn starts a new day.
func (s *scoring) turn(day string) {
	if s.day != day {
		s.day, s.spent, s.granted, s.exhausted = day, 0, 0, false
	}
}

// grant takes a part of the budget, or finds that nothing is left.
func (s *scoring) grant(ctx context.Context, l Ledger, day string) error {
	want := s.Budget / grantsPerBudget
	if l == nil {
		want = min(want, s.Budget-s.spent)
		s.spent += max(0, want)
	} else if want > 0 {
		sum, err := l.Spend(ctx, s.Name, day, want)
		if err != nil {
			return err
		}
		if sum < want { // the ledger is in the next day already
			want = 0
		} else if over := min(want, sum-s.Budget); over > 0 {
			want -= over
			if sum, err = l.Spend(ctx, s.Name, day, -over); err != nil {
				return err
			}
		}
		s.spent = sum
	}
	if want <= noMoney {
		s.exhausted = true
	}
	s.granted += max(0, want)
	return nil
}

// settle gives back what was taken and not spent, and reads what all have spent.
func (s *scoring) settle(ctx context.Context, l Ledger, day string) error {
	if !s.Costs {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(day)
	sum := s.spent - s.granted
	if l != nil {
		var err error
		if sum, err = l.Spend(ctx, s.Name, day, -s.granted); err != nil {
			return err
		}
	}
	s.spent, s.granted = sum, 0
	s.exhausted = sum >= s.Budget-noMoney
	return nil
}

// one scores an exchange. An error or a panic of the scorer becomes a score with an error.
func (s *scoring) one(ctx context.Context, x *record.Exchange) (out record.OnlineScore) {
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			out = record.OnlineScore{Error: fmt.Sprintf("the scorer panicked (%T)", r)}
		}
		out.Name = s.Name
		out.Inclusion = s.Share
		if x.Inclusion > 0 {
			out.Inclusion *= x.Inclusion
		}
		if out.Value != nil && (math.IsNaN(*out.Value) || math.IsInf(*out.Value, 0)) {
			out.Value, out.Pass = nil, nil
			if out.Error == "" {
				out.Error = "the score is not a number"
			}
		}
		s.scored.Add(1)
		if out.Error != "" {
			s.failed.Add(1)
		}
	}()
	cost := 0.
	defer func() { s.end(cost) }()
	var score record.OnlineScore
	score, cost = s.Scorer.Score(ctx, x)
	return score
}

// score runs all scorers over a batch, within its time and with so many at once. Scores are in the order of the scorers.
func (w *Worker) score(ctx context.Context, xs []record.Exchange) {
	if len(w.scorers) == 0 {
		return
	}
	day := w.o.Now().UTC().Format(time.DateOnly)
	ctx, cancel := context.WithTimeout(ctx, w.o.ScoreTime)
	defer cancel()
	for _, s := range w.scorers {
		if err := s.settle(ctx, w.o.Ledger, day); err != nil {
			w.o.Log.Warn("what a scorer spent is not known", "scorer", s.Name, "err", err)
		}
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range w.o.ScoreParallel {
		wg.Go(func() {
			for i := range next {
				w.scoreOne(ctx, day, &xs[i])
			}
		})
	}
	for i := range xs {
		if w.anyWants(&xs[i]) {
			next <- i
		}
	}
	close(next)
	wg.Wait()
	settling, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	for _, s := range w.scorers {
		if err := s.settle(settling, w.o.Ledger, day); err != nil {
			w.o.Log.Warn("what a scorer spent could not be written down yet", "scorer", s.Name, "err", err)
		}
	}
}

func (w *Worker) anyWants(x *record.Exchange) bool {
	for _, s := range w.scorers {
		if s.wants(w.o.Secret, x) {
			return true
		}
	}
	return false
}

func (w *Worker) scoreOne(ctx context.Context, day string, x *record.Exchange) {
	for _, s := range w.scorers {
		if !s.wants(w.o.Secret, x) {
			continue
		}
		if ctx.Err() != nil {
			s.late.Add(1)
			continue
		}
		affordable, err := s.begin(ctx, w.o.Ledger, day)
		if err != nil {
			w.o.Log.Warn("no budget can be had for a scorer, it is left out", "scorer", s.Name, "err", err)
		}
		if !affordable {
			s.skipped.Add(1)
			continue
		}
		x.Scores = append(x.Scores, s.one(ctx, x))
	}
}
