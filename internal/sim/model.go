package sim

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// Options says how to build a Model.
type Options struct {
	Config
	// Clock returns the time since the model's start, by which scripts run; nil means real time
	// since New, or Config.ClockPerRequest.
	Clock func() time.Duration
	// NoLatency answers at once whatever the configuration says; the latency is still reported in
	// Answer.
	NoLatency bool
}

// Model is a simulated model. All methods may be called concurrently.
type Model struct {
	o        Options
	name     string
	base     *variant
	versions map[string]*variant
	topics   topicIndex
	words    *chain
	requests atomic.Int64
	attempts attempts
}

// New checks and compiles a configuration. Errors name the part that is wrong; a configuration from
// Load or FromObject has been checked there with its place in the file.
func New(o Options) (*Model, error) {
	m := &Model{o: o, name: o.Config.name(""), versions: make(map[string]*variant, len(o.Versions)), topics: newTopicIndex(), words: newChain(corpus)}
	if m.o.Clock == nil {
		start := time.Now()
		m.o.Clock = func() time.Duration { return time.Since(start) }
	}
	var err error
	if m.base, err = newVariant(o.Config, "", o.Behaviour); err != nil {
		return nil, err
	}
	for name, b := range o.Versions {
		if m.versions[name], err = newVariant(o.Config, name, b); err != nil {
			return nil, fmt.Errorf("version %s: %w", name, err)
		}
	}
	if o.Defaults.Version != "" {
		v, ok := m.versions[o.Defaults.Version]
		if !ok {
			return nil, fmt.Errorf("version %q is not among the versions", o.Defaults.Version)
		}
		m.base = v
	}
	return m, nil
}

// Name returns the name of the model that answers when a request names none.
func (m *Model) Name() string { return m.base.name }

// attempts counts, in a table of fixed size, what has happened to requests before: for each of them
// a tag of 48 bits of its key and a count of 16. Slots are overwritten by whoever comes last.
type attempts [1 << 16]atomic.Uint64

func (t *attempts) get(key uint64) int {
	if v := t[key&0xffff].Load(); v&^0xffff == key&^0xffff {
		return int(v & 0xffff)
	}
	return 0
}

func (t *attempts) set(key uint64, n int) {
	t[key&0xffff].Store(key&^0xffff | uint64(min(n, 0xffff)))
}

// next returns how often key was asked for before, and counts this time.
func (t *attempts) next(key uint64) int {
	slot := &t[key&0xffff]
	for {
		old := slot.Load()
		n := uint64(0)
		if old&^0xffff == key&^0xffff {
			n = old & 0xffff
		}
		if slot.CompareAndSwap(old, key&^0xffff|(n+1)&0xffff) {
			return int(n)
		}
	}
}

// unknownAttempt is the attempt of a request that does not say which one it is.
const unknownAttempt = -1

// next fills in the defaults and what makes q unique, the clock, the count and the attempt, and
// answers it.
func (m *Model) next(q *Query, attempt int) Answer {
	d := &m.o.Defaults
	if q.Temperature == nil {
		q.Temperature = d.Temperature
	}
	if q.MaxTokens == 0 {
		q.MaxTokens = d.MaxTokens
	}
	if len(q.Stop) == 0 {
		q.Stop = d.Stop
	}
	if d.JSON && q.Format.Kind == PlainText {
		q.Format.Kind = JSONObject
	}
	q.Number = m.requests.Add(1)
	if m.o.ClockPerRequest > 0 {
		q.Elapsed = time.Duration(q.Number) * m.o.ClockPerRequest
	} else {
		q.Elapsed = m.o.Clock()
	}
	v := m.variant(q.Model)
	if v == nil {
		return Answer{Fault: m.unknownModel(q.Model)}
	}
	content := hashMessages(v.seed, q.Messages)
	if q.Seed == nil {
		q.Occurrence = m.attempts.next(mix(content, 1))
		q.Attempt = max(attempt, 0)
		return m.answer(v, q, content)
	}
	if attempt != unknownAttempt || !v.fails() {
		q.Attempt = max(attempt, 0)
		return m.answer(v, q, content)
	}
	key := mix(mix(content, 2), uint64(*q.Seed))
	q.Attempt = m.attempts.get(key)
	a := m.answer(v, q, content)
	switch {
	case a.Fault != nil:
		m.attempts.set(key, q.Attempt+1)
	case q.Attempt > 0:
		m.attempts.set(key, 0)
	}
	return a
}

// shortest is the least time a simulated answer takes; 0 would mean that it was not measured.
const shortest = time.Microsecond

// Complete answers in process, waiting as long as a server would. The times it reports are the
// simulated ones, so that the same requests always have the same answers, times included. A request
// for continuations gets their likelihoods instead of an answer. Errors are *record.Failure.
func (m *Model) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	d := &m.o.Defaults
	q := Query{Messages: req.Messages, Seed: &req.Seed}
	if len(q.Messages) == 0 {
		q.Messages = []record.Message{{Role: "user", Content: req.Prompt}}
	}
	if err := ctx.Err(); err != nil {
		return record.Response{}, canceled(err)
	}
	a := m.next(&q, req.Attempt)
	if a.Fault != nil {
		return record.Response{}, m.fail(ctx, &a)
	}
	if err := m.wait(ctx, a.TTFT); err != nil {
		return record.Response{}, canceled(err)
	}
	if err := m.wait(ctx, a.Total()-a.TTFT); err != nil {
		return record.Response{}, canceled(err)
	}
	if len(req.Continuations) > 0 {
		r, f := a.likelihoods(&req, max(1, d.TopLogprobs))
		if f != nil {
			return record.Response{}, f
		}
		r.Model, r.Fingerprint, r.Latency = a.Model, a.Fingerprint, max(a.TTFT, shortest)
		r.Usage.Total = r.Usage.Prompt
		return r, nil
	}
	r := record.Response{
		Output: a.Text, FinishReason: a.FinishReason, Model: a.Model, Fingerprint: a.Fingerprint,
		Usage:   record.Usage{Prompt: a.PromptTokens, Completion: a.Tokens, Total: a.PromptTokens + a.Tokens},
		Latency: max(a.Total(), shortest),
	}
	if req.Stream {
		r.TTFT = max(a.TTFT, shortest)
	}
	if d.Logprobs || d.TopLogprobs > 0 {
		r.Logprobs = a.logprobs(d.TopLogprobs)
	}
	if req.ScorePrompt {
		scored, f := a.likelihoods(&req, max(1, d.TopLogprobs))
		if f != nil {
			return record.Response{}, f
		}
		r.PromptLogprobs = scored.PromptLogprobs
	}
	return r, nil
}

// fail turns an injected fault into the failure that a client of the server would report.
func (m *Model) fail(ctx context.Context, a *Answer) *record.Failure {
	f := a.Fault
	out := &record.Failure{RetryAfter: f.RetryAfter, Retry: f.Retry, Message: f.message()}
	switch f.Kind {
	case Status:
		out.Kind, out.Status = failureKind(f.Status), f.Status
	case Hang:
		if f.After > 0 {
			if err := m.wait(ctx, f.After); err != nil {
				return canceled(err)
			}
		} else {
			<-ctx.Done()
			return canceled(ctx.Err())
		}
		out.Kind = record.Timeout
	case Reset:
		out.Kind = record.Connection
	default:
		// The answer starts, so it takes as long as half of it.
		if err := m.wait(ctx, a.Total()/2); err != nil {
			return canceled(err)
		}
		out.Kind = map[FaultKind]record.FailureKind{Cut: record.Cut, StreamError: record.Server, Malformed: record.Malformed, Empty: record.Empty}[f.Kind]
	}
	return out
}

func failureKind(status int) record.FailureKind {
	switch {
	case status == 429:
		return record.RateLimited
	case status == 401, status == 403:
		return record.Auth
	case status == 404:
		return record.NotFound
	case status >= 500:
		return record.Server
	}
	return record.BadRequest
}

// wait blocks for d or until ctx is done, whose error it then returns.
func (m *Model) wait(ctx context.Context, d time.Duration) error {
	if d <= 0 || m.o.NoLatency {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func canceled(err error) *record.Failure {
	kind := record.Canceled
	if errors.Is(err, context.DeadlineExceeded) {
		kind = record.Timeout
	}
	return &record.Failure{Kind: kind, Err: err}
}
