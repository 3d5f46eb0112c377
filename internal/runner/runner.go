// Package runner executes a suite offline: it asks each provider for each answer, has the answers
// judged, and keeps every finished sample in a journal.
//
// Data passes through it like this: cases → rendered prompts → cache or provider (with retries and
// back-off) → scorers → journal; when all is done, the journal becomes samples.jsonl in the order of
// the plan. It holds no more than the samples in flight, whatever the number of cases. It computes
// no metrics and takes no decision; those are made from the finished samples.
package runner

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Provider answers requests: one attempt a call, safe for concurrent use. Errors are
// *record.Failure where the cause is known.
type Provider interface {
	Complete(ctx context.Context, req record.Request) (record.Response, error)
}

// Check judges one answer; *scorer.Assertion is one.
type Check interface {
	Score(ctx context.Context, in *scorer.Input) record.Score
	Name() string
	Type() string
}

// Case is one test input, ready to run: its variables merged with the suite's defaults.
type Case struct {
	record.Case
	Prefix, Suffix string
	Threshold      *float64
	Checks         []Check
	// Timed says that a check depends on when the answer was made, so that the cache may not answer.
	Timed bool
}

// Cell is one provider with one prompt: a column of the run.
type Cell struct {
	Provider Provider
	Prompt   *Prompt
	Snapshot record.Snapshot
	// ProviderName and PromptName are the labels in results.
	ProviderName, PromptName string
	// Cacheable says that an answer may be kept and used again.
	Cacheable bool
	// Stream asks for streamed answers.
	Stream bool
	// Limit is shared by the cells of one provider.
	Limit *Limiter
}

// Plan is what to execute.
type Plan struct {
	// ID is the hash of all that determines the results.
	ID      string
	Cells   []Cell
	Cases   func(context.Context) iter.Seq2[Case, error]
	Count   int // number of cases
	Repeats int
	Seed    int64
}

// Total is the number of samples of the plan.
func (p *Plan) Total() int { return p.Count * len(p.Cells) * p.Repeats }

// Options bound and observe a run.
type Options struct {
	Concurrency int
	// Timeout bounds one attempt; 0 leaves it to the provider.
	Timeout time.Duration
	// Retries is how often a failed attempt is repeated.
	Retries int
	// Delay is the least time between the starts of two requests.
	Delay  time.Duration
	Budget config.Budget
	Cache  *Cache // nil: no cache
	// Progress is told of every finished sample, from one goroutine at a time.
	Progress func(Progress)
}

func (o *Options) validate() error {
	if o.Concurrency < 1 || o.Concurrency > 10_000 {
		return fmt.Errorf("runner: concurrency %d: want 1 to 10000", o.Concurrency)
	}
	if o.Retries < 0 {
		return fmt.Errorf("runner: retries %d: want 0 or more", o.Retries)
	}
	return nil
}

// Progress is how far a run is.
type Progress struct {
	Done, Total             int
	Passed, Failed, Errored int
	Cached                  int
	Tokens                  int64
	Cost                    float64
}

// Outcome is how a run ended.
type Outcome struct {
	// Stopped says why the run ended before every sample was finished; empty when it did not.
	Stopped string
	// Interrupted says that it was the context that ended it.
	Interrupted bool
	// Unreachable is set when the run was given up because the provider could not be reached.
	Unreachable error
	// Done counts the samples that the journal holds, with those of earlier sittings.
	Done int
}

type job struct {
	index  int
	c      *Case
	cell   *Cell
	repeat int
}

type run struct {
	plan    *Plan
	opts    Options
	journal *Journal
	spend   *meter
	pace    *pacer
	health  *health
	cancel  context.CancelCauseFunc

	mu       sync.Mutex
	progress Progress
}

// Run executes the samples of plan that the journal does not hold yet. It returns when all are
// finished, the budget is spent, the context ends, or a provider is given up. The error is of the
// machinery (the journal, the dataset); what goes wrong with one sample is in that sample.
func Run(ctx context.Context, plan *Plan, journal *Journal, opts Options) (Outcome, error) {
	if err := opts.validate(); err != nil {
		return Outcome{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{
		plan: plan, opts: opts, journal: journal, cancel: cancel,
		spend: newMeter(opts.Budget, journal.Spent()), pace: &pacer{every: opts.Delay}, health: &health{limit: giveUpAfter(opts.Concurrency)},
	}
	r.progress = Progress{
		Total: plan.Total(), Done: journal.Done(), Passed: journal.Earlier(verdict.Pass), Failed: journal.Earlier(verdict.Fail), Errored: journal.Earlier(verdict.Error),
	}
	if opts.Budget.Time > 0 {
		timer := time.AfterFunc(time.Duration(opts.Budget.Time*float64(time.Second)), func() {
			cancel(stopped(fmt.Sprintf("time budget of %v is spent", time.Duration(opts.Budget.Time*float64(time.Second)))))
		})
		defer timer.Stop()
	}

	jobs := make(chan job)
	var workers sync.WaitGroup
	for range min(opts.Concurrency, max(1, plan.Total())) {
		workers.Go(func() {
			for j := range jobs {
				r.sample(ctx, j)
			}
		})
	}
	feedErr := r.feed(ctx, jobs)
	close(jobs)
	workers.Wait()
	flushErr := journal.Flush()

	out := Outcome{Done: journal.Done()}
	if cause := context.Cause(ctx); cause != nil {
		end, ended := errors.AsType[stopped](cause)
		broken, failed := errors.AsType[*journalError](cause)
		failure, gone := errors.AsType[*record.Failure](cause)
		switch {
		case failed:
			return out, broken.err
		case ended:
			out.Stopped = string(end)
		case gone:
			out.Unreachable, out.Stopped = failure, failure.Error()
		default:
			out.Interrupted, out.Stopped = true, "interrupted"
		}
		feedErr = nil
	}
	return out, errors.Join(feedErr, flushErr)
}

// stopped is a clean, intended end before the last sample.
type stopped string

func (s stopped) Error() string { return string(s) }

// journalError ends a run whose samples can no longer be kept.
type journalError struct{ err error }

func (e *journalError) Error() string { return e.err.Error() }

// feed hands out the samples that are still to be made, in the order of the plan.
func (r *run) feed(ctx context.Context, jobs chan<- job) error {
	index := 0
	for c, err := range r.plan.Cases(ctx) {
		if err != nil {
			return err
		}
		for i := range r.plan.Cells {
			for repeat := range r.plan.Repeats {
				j := job{index: index, c: &c, cell: &r.plan.Cells[i], repeat: repeat}
				index++
				if r.journal.Has(j.index) {
					continue
				}
				if why := r.spend.reserve(); why != "" {
					r.cancelAfterInFlight(why)
					return nil
				}
				select {
				case jobs <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
				if !r.spend.metered() {
					continue
				}
				// What a sample spends is not known before one has been made.
				select {
				case <-r.spend.first:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}
	if index != r.plan.Total() {
		return fmt.Errorf("the dataset changed during the run: %d samples were planned, %d found", r.plan.Total(), index)
	}
	return nil
}

// cancelAfterInFlight remembers why the run stops; samples in flight are finished, since they are
// paid for.
func (r *run) cancelAfterInFlight(why string) {
	r.spend.drain(func() { r.cancel(stopped(why)) })
}

// sample makes, judges and journals one sample. A sample cut short by the end of the run leaves no
// trace, so that a resumed run makes it anew.
func (r *run) sample(ctx context.Context, j job) {
	s := r.newSample(j)
	messages, err := j.cell.Prompt.Render(j.c)
	if err != nil {
		r.finish(j, unanswered(s, j.c, "prompt: "+err.Error()), record.Response{}, false)
		return
	}
	s.Input = messages
	req := record.Request{
		Messages: messages, Prompt: record.PromptText(messages), Vars: j.c.Vars, Case: j.c.ID,
		Repeat: j.repeat, Seed: s.Seed, Stream: j.cell.Stream,
	}
	resp, retries, err := r.answer(ctx, j, req)
	if ctx.Err() != nil && err != nil {
		r.spend.release()
		return
	}
	s.Retries = retries
	if err != nil {
		r.finish(j, unanswered(s, j.c, err.Error()), resp, false)
		return
	}
	fill(s, &resp)
	in := &scorer.Input{Vars: j.c.Vars, Prompt: req.Prompt, Messages: messages, Metadata: j.c.Metadata, Response: &resp}
	for _, check := range j.c.Checks {
		s.Scores = append(s.Scores, check.Score(ctx, in))
	}
	if ctx.Err() != nil && anyError(s.Scores) {
		r.spend.release()
		return // the errors may be those of the run's end
	}
	s.Verdict, s.Score = Judge(s.Scores, j.c.Threshold)
	r.finish(j, s, resp, true)
}

func (r *run) newSample(j job) *record.Sample {
	return &record.Sample{
		Case: j.c.ID, Description: j.c.Description, Group: j.c.Group, Tags: j.c.Tags, Critical: j.c.Critical, Vars: j.c.Vars,
		Repeat: j.repeat, Provider: j.cell.ProviderName, Prompt: j.cell.PromptName,
		Seed: Seed(r.plan.Seed, j.c.ID, j.repeat), Scores: []record.Score{},
	}
}

// unanswered marks a sample as one without an answer. Its scores are errors too, so that no metric
// loses an observation without a trace.
func unanswered(s *record.Sample, c *Case, why string) *record.Sample {
	s.Error, s.Verdict = why, verdict.Error
	for _, check := range c.Checks {
		s.Scores = append(s.Scores, record.Score{Name: check.Name(), Type: check.Type(), Error: "no answer"})
	}
	return s
}

// fill copies what was answered into the sample.
func fill(s *record.Sample, resp *record.Response) {
	s.Output, s.FinishReason, s.Refusal = resp.Output, resp.FinishReason, resp.Refusal
	s.Model, s.Fingerprint, s.Logprobs = resp.Model, resp.Fingerprint, resp.Logprobs
	s.Cost, s.Cached = resp.Cost, resp.Cached
	if resp.Usage != (record.Usage{}) {
		u := resp.Usage
		if u.Total == 0 {
			u.Total = u.Prompt + u.Completion
		}
		s.Usage = &u
	}
	if resp.Latency > 0 {
		l := resp.Latency.Seconds()
		s.Latency = &l
	}
	if resp.TTFT > 0 {
		t := resp.TTFT.Seconds()
		s.TTFT = &t
	}
}

func anyError(scores []record.Score) bool {
	for i := range scores {
		if scores[i].Error != "" {
			return true
		}
	}
	return false
}

// finish journals a sample and counts it.
func (r *run) finish(j job, s *record.Sample, resp record.Response, answered bool) {
	var cost float64
	var tokens int64
	if answered && !resp.Cached {
		if s.Cost != nil {
			cost = *s.Cost
		}
		if s.Usage != nil {
			tokens = int64(s.Usage.Total)
		}
	}
	if err := r.journal.Append(j.index, s); err != nil {
		r.cancel(&journalError{err})
		return
	}
	if r.opts.Budget.Cost > 0 && s.Cost == nil && tokens > 0 {
		r.cancelAfterInFlight(fmt.Sprintf("cost budget cannot be kept: the price of %s is not known; give it with --prices or the provider's inputCost and outputCost", s.Provider))
	}
	r.spend.done(cost, tokens)
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.progress
	p.Done++
	switch s.Verdict {
	case verdict.Pass:
		p.Passed++
	case verdict.Fail:
		p.Failed++
	case verdict.Error:
		p.Errored++
	}
	if s.Cached {
		p.Cached++
	}
	p.Tokens += tokens
	p.Cost += cost
	if r.opts.Progress != nil {
		r.opts.Progress(*p)
	}
}

// Judge combines the scores of one sample. Scores of weight 0 and measurements without a judgement
// count for nothing. Without a threshold every judged score must pass; with one the weighted mean of
// the values must reach it. A failure is certain whatever could not be judged; without one, an
// error leaves the sample in error. Nothing judged is Undecided. The returned score is the weighted
// mean of the judged values, nil when there is none.
func Judge(scores []record.Score, threshold *float64) (verdict.Verdict, *float64) {
	var sum, weights float64
	judged, failed, errored := 0, false, false
	for i := range scores {
		s := &scores[i]
		w := 1.0
		if s.Weight != nil {
			w = *s.Weight
		}
		switch {
		case w == 0:
		case s.Error != "":
			errored = true
		case s.Pass != nil:
			judged++
			failed = failed || !*s.Pass
			weights += w
			if s.Value != nil {
				sum += w * share(s)
			}
		}
	}
	var score *float64
	if weights > 0 {
		v := sum / weights
		score = &v
	}
	switch {
	case threshold != nil && errored:
		return verdict.Error, score
	case threshold != nil && score != nil:
		if *score >= *threshold {
			return verdict.Pass, score
		}
		return verdict.Fail, score
	case failed:
		return verdict.Fail, score
	case errored:
		return verdict.Error, score
	case judged == 0:
		return verdict.Undecided, score
	default:
		return verdict.Pass, score
	}
}

// share turns a judged score into a share of the sample's: values from 0 to 1 as they are, measured
// quantities such as seconds by whether they passed.
func share(s *record.Score) float64 {
	quantity := !(*s.Value >= 0 && *s.Value <= 1)
	for i := range s.Measures {
		quantity = quantity || s.Measures[i].Metric == s.Name && s.Measures[i].Unit != ""
	}
	switch {
	case !quantity:
		return *s.Value
	case *s.Pass:
		return 1
	}
	return 0
}
