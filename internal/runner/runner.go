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
	"slices"
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
	// Turns come before the prompt's own message of the user; see Turn.
	Turns []Turn
	// Transform makes what is judged from the answer; nil leaves it as it is.
	Transform *scorer.Transform
	// Output stands for the answer, which is then not asked for.
	Output *string
	// Continuations and ScorePrompt are what the checks need of the provider besides an answer; see
	// record.Request.
	Continuations []string
	ScorePrompt   bool
	// Timed says that a check depends on when the answer was made, so that the cache may not answer.
	Timed bool
	// Cells are the cells of the plan in which the case is asked, ascending; nil means all.
	Cells []int
	// Repeats is the number of answers; 0 means the plan's, and no case has more.
	Repeats int
	// Conversation names the conversation that the case is a part of, where prompts have one.
	Conversation string
	// Forgets says that the prompt is not shown the conversation.
	Forgets bool
	// StoreAs names the variable that holds this case's answer in the cases after it; may be empty.
	StoreAs string
	// Complete makes the case anew with variables that are known only once the cases before it have been
	// answered. It is needed where the plan is in order; see Plan.Stores and Cell.Remembers.
	Complete func(vars map[string]any) (Case, error)
}

// takes says whether the case is asked in a cell.
func (c *Case) takes(cell int) bool { return c.Cells == nil || slices.Contains(c.Cells, cell) }

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
	// Pace keeps the starts of this provider's requests apart, in the place of Options.Delay; may be nil.
	Pace *Pacer
	// Remembers says that the prompt is shown the conversation of the cases before: these are then
	// answered one after the other.
	Remembers bool
	// Transform makes the output from the model's, before the case's own transform; may be nil.
	Transform *scorer.Transform
	// Tools are the functions that the provider offers its model; nil when it has none.
	Tools *scorer.Toolset
}

// Plan is what to execute.
type Plan struct {
	// ID is the hash of all that determines the results.
	ID      string
	Cells   []Cell
	Cases   func(context.Context) iter.Seq2[Case, error]
	Count   int // number of cases
	Repeats int
	// First is the number of the first repeat; those before it are another plan's.
	First int
	Seed  int64
	// Samples is the number of samples when cases are not asked in every cell and as often as Repeats says; 0 means Total.
	Samples int
	// Stores says that cases hold answers of those before them, so that all are answered in order.
	Stores bool
}

// Total is the number of places for samples: that of case c, cell i and repeat r is
// (c × cells + i) × repeats + r. Where a case is not asked in a cell its places stay empty.
func (p *Plan) Total() int { return p.Count * len(p.Cells) * p.Repeats }

// Planned is the number of samples.
func (p *Plan) Planned() int {
	if p.Samples > 0 {
		return p.Samples
	}
	return p.Total()
}

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
	// Before is what other plans of the same run have come to; it counts in the budget and in the progress.
	Before Account
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
	// Account is what the run came to, with what was before it.
	Account Account
}

// Account is what one or several plans of a run have come to.
type Account struct {
	Progress Progress
	Spent    Spent
}

type job struct {
	index  int
	c      *Case
	cell   *Cell
	repeat int
	// group is set for a case whose answers are compared, link where the case goes on from others.
	group *group
	link  *link
}

type run struct {
	plan    *Plan
	opts    Options
	journal *Journal
	spend   *meter
	pace    *Pacer
	health  *health
	threads *threads
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
		spend: newMeter(opts.Budget, journal.Spent().plus(opts.Before.Spent)), pace: NewPacer(opts.Delay), health: &health{limit: giveUpAfter(opts.Concurrency)},
		threads: newThreads(plan),
	}
	r.progress = opts.Before.Progress
	r.progress.Total += plan.Planned()
	r.progress.Done += journal.Done()
	r.progress.Passed += journal.Earlier(verdict.Pass)
	r.progress.Failed += journal.Earlier(verdict.Fail)
	r.progress.Errored += journal.Earlier(verdict.Error)
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
				r.work(ctx, j)
			}
		})
	}
	feedErr := r.feed(ctx, jobs)
	close(jobs)
	workers.Wait()
	flushErr := journal.Flush()

	out := Outcome{Done: journal.Done(), Account: r.account()}
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

func (r *run) account() Account {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Account{r.progress, r.spend.spent()}
}

// stopped is a clean, intended end before the last sample.
type stopped string

func (s stopped) Error() string { return string(s) }

// journalError ends a run whose samples can no longer be kept.
type journalError struct{ err error }

func (e *journalError) Error() string { return e.err.Error() }

// feed hands out the samples that are still to be made, in the order of the plan.
func (r *run) feed(ctx context.Context, jobs chan<- job) error {
	found := 0
	for c, err := range r.plan.Cases(ctx) {
		if err != nil {
			return err
		}
		index := found * len(r.plan.Cells) * r.plan.Repeats
		if found++; found > r.plan.Count {
			break
		}
		more, err := r.feedCase(ctx, jobs, &c, index)
		if err != nil || !more {
			return err
		}
	}
	if found != r.plan.Count {
		return fmt.Errorf("the dataset changed during the run: %d cases were planned, %d found", r.plan.Count, found)
	}
	return nil
}

// feedCase hands out the samples of one case, of which index is the first place. more is false when the
// run ends with what is in flight.
func (r *run) feedCase(ctx context.Context, jobs chan<- job, c *Case, index int) (more bool, err error) {
	repeats := r.plan.Repeats
	if c.Repeats > 0 && r.plan.First == 0 {
		repeats = min(c.Repeats, repeats)
	}
	groups := r.groups(c, index, repeats)
	for i := range r.plan.Cells {
		if !c.takes(i) {
			continue
		}
		for repeat := range repeats {
			j := job{index: index + i*r.plan.Repeats + repeat, c: c, cell: &r.plan.Cells[i], repeat: r.plan.First + repeat}
			has := r.journal.Has(j.index)
			j.link = r.threads.next(&j, i, !has)
			if has {
				continue
			}
			if groups != nil {
				j.group = groups[repeat]
			}
			if more, err := r.hand(ctx, jobs, j); err != nil || !more {
				return more, err
			}
		}
	}
	for _, g := range groups {
		if g == nil || !g.compareOnly {
			continue
		}
		if more, err := r.hand(ctx, jobs, job{c: c, group: g}); err != nil || !more {
			return more, err
		}
	}
	return true, nil
}

// hand gives a job to a worker once the budget allows it.
func (r *run) hand(ctx context.Context, jobs chan<- job, j job) (more bool, err error) {
	if why := r.spend.reserve(); why != "" {
		r.cancelAfterInFlight(why)
		return false, nil
	}
	select {
	case jobs <- j:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if !r.spend.metered() {
		return true, nil
	}
	// What a sample spends is not known before one has been made.
	select {
	case <-r.spend.first:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return true, nil
}

// cancelAfterInFlight remembers why the run stops; samples in flight are finished, since they are
// paid for.
func (r *run) cancelAfterInFlight(why string) {
	r.spend.drain(why, func() { r.cancel(stopped(why)) })
}

// work does one job: a sample, or what only the comparison of a case's answers is missing of.
func (r *run) work(ctx context.Context, j job) {
	if j.cell == nil {
		cost, tokens := r.compare(ctx, j.group, j.c)
		r.spend.done(cost, tokens)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.progress.Tokens += tokens
		r.progress.Cost += cost
		if r.opts.Progress != nil {
			r.opts.Progress(r.progress)
		}
		return
	}
	if j.link == nil {
		r.sample(ctx, j)
		return
	}
	defer close(j.link.done)
	why, ok := r.follow(ctx, &j)
	switch {
	case ok:
		r.sample(ctx, j)
	case ctx.Err() != nil:
		r.spend.release()
	default:
		t := &talk{j: j, s: r.newSample(j)}
		t.unanswered(t.steps()[0], why)
		r.finish(ctx, j, t.s, paid{})
	}
}

// sample makes, judges and journals one sample. A sample cut short by the end of the run leaves no
// trace, so that a resumed run makes it anew.
func (r *run) sample(ctx context.Context, j job) {
	s := r.newSample(j)
	messages, err := j.cell.Prompt.Render(j.c)
	var t *talk
	if err == nil {
		t, err = newTalk(j, s, messages)
	}
	if err != nil {
		t = &talk{j: j, s: s}
		t.unanswered(t.steps()[0], "prompt: "+err.Error())
		r.finish(ctx, j, s, paid{})
		return
	}
	for _, st := range t.steps() {
		why, answered := r.exchange(ctx, t, st)
		if ctx.Err() != nil && (!answered || anyError(s.Scores)) {
			r.spend.release()
			return // the errors may be those of the run's end
		}
		if !answered {
			t.unanswered(st, why)
			break
		}
	}
	t.totals()
	if s.Error == "" {
		s.Verdict, s.Score = j.c.judge(s)
	}
	r.finish(ctx, j, s, t.paid)
}

// given returns the answer that the case itself holds, or asks for one.
func (r *run) given(ctx context.Context, j job, req record.Request) (record.Response, int, error) {
	if j.c.Output != nil {
		return record.Response{Output: *j.c.Output}, 0, nil
	}
	return r.answer(ctx, j, req)
}

// transform puts what the provider's and the case's transforms make of the answer in its place, and
// says whether there are any.
func transform(ctx context.Context, j job, in *scorer.Input) (made bool, err error) {
	for _, t := range []*scorer.Transform{j.cell.Transform, j.c.Transform} {
		if t == nil {
			continue
		}
		resp, err := t.Response(ctx, in)
		if err != nil {
			return made, err
		}
		if t == j.c.Transform {
			in.Given = in.Response
		}
		in.Response, made = resp, true
	}
	return made, nil
}

func (r *run) newSample(j job) *record.Sample {
	return &record.Sample{
		Case: j.c.ID, Description: j.c.Description, Group: j.c.Group, Tags: j.c.Tags, Critical: j.c.Critical, Vars: withoutConversation(j.c.Vars),
		Repeat: j.repeat, Provider: j.cell.ProviderName, Prompt: j.cell.PromptName,
		Seed: Seed(r.plan.Seed, j.c.ID, j.repeat), Scores: []record.Score{},
	}
}

const noAnswer = "no answer"

// failed marks a sample as one without an answer.
func failed(s *record.Sample, why string) { s.Error, s.Verdict = why, verdict.Error }

// unjudged gives a sample the scores of a step that came to no judgement.
func unjudged(s *record.Sample, st step, why string) {
	for _, check := range st.checks {
		score := record.Score{Name: check.Name(), Type: check.Type(), Error: why}
		if composite, ok := check.(interface{ Unjudged(string) record.Score }); ok {
			score = composite.Unjudged(why)
		}
		score.Turn = st.turn
		s.Scores = append(s.Scores, score)
	}
}

// fill copies what was answered into the sample; talk.totals adds what is summed over a conversation.
func fill(s *record.Sample, resp *record.Response) {
	s.Output, s.FinishReason, s.Refusal = resp.Output, resp.FinishReason, resp.Refusal
	s.Model, s.Fingerprint, s.Logprobs = resp.Model, resp.Fingerprint, resp.Logprobs
	s.PromptLogprobs, s.Likelihoods, s.ToolCalls = resp.PromptLogprobs, resp.Likelihoods, resp.ToolCalls
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

// finish journals a sample and counts it with what its answers took. The last of the samples that are
// compared with one another is followed by the comparison.
func (r *run) finish(ctx context.Context, j job, s *record.Sample, answers paid) {
	cost, tokens := answers.cost, answers.tokens
	// Judging costs, whether or not the answer came from the cache.
	for i := range s.Scores {
		if c := s.Scores[i].Cost; c != nil {
			cost += *c
		}
		if u := s.Scores[i].Usage; u != nil {
			tokens += int64(u.Total)
		}
	}
	if err := r.journal.Append(j.index, s); err != nil {
		r.cancel(&journalError{err})
		return
	}
	r.needsPrices(unpriced(s))
	if j.group != nil && j.group.missing.Add(-1) == 0 {
		more, judging := r.compare(ctx, j.group, j.c)
		cost, tokens = cost+more, tokens+judging
	}
	r.spend.done(cost, tokens)
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.progress
	p.Done++
	if j.group == nil {
		p.count(s.Verdict, 1)
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

// count counts a sample by its verdict.
func (p *Progress) count(v verdict.Verdict, n int) {
	switch v {
	case verdict.Pass:
		p.Passed += n
	case verdict.Fail:
		p.Failed += n
	case verdict.Error:
		p.Errored += n
	}
}

// needsPrices ends the run when its budget in money cannot be kept, for who has no known price.
func (r *run) needsPrices(who string) {
	if r.opts.Budget.Cost > 0 && who != "" {
		r.cancelAfterInFlight(fmt.Sprintf("cost budget cannot be kept: the price of %s is not known; give it with --prices or the provider's inputCost and outputCost", who))
	}
}

// unpriced names what used tokens at a price that is not known: the provider, or the judge of an
// assertion; "" when there is none.
func unpriced(s *record.Sample) string {
	if s.Cost == nil && s.Usage != nil && s.Usage.Total > 0 && !s.Cached {
		return s.Provider
	}
	return unpricedJudge(s.Scores)
}

func unpricedJudge(scores []record.Score) string {
	for i := range scores {
		if j := scores[i].Judge; j != nil && j.Unpriced > 0 {
			return "the judge of " + scores[i].Name
		}
		if who := unpricedJudge(scores[i].Scores); who != "" {
			return who
		}
	}
	return ""
}

// Judge combines the scores of one sample as scorer.Combine does.
func Judge(scores []record.Score, threshold *float64) (verdict.Verdict, *float64) {
	return scorer.Combine(scores, threshold)
}
