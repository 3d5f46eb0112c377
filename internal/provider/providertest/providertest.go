// Package providertest is the conformance suite that every provider has to pass.
//
// A provider's own test describes it as a Subject and calls Run. The suite checks what the runner
// relies on: failures have a kind, a call ends when its context does, concurrent calls do not mix
// up their answers, what a provider says about itself can be stored and holds no secret.
package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/record"
)

// Provider is what every provider has.
type Provider interface {
	Complete(ctx context.Context, req record.Request) (record.Response, error)
	Check(ctx context.Context) error
	Describe() provider.Info
	Close() error
}

// Subject is a provider under test.
type Subject struct {
	// New returns a provider that answers.
	New func(t *testing.T) Provider
	// Request is the nth of many different requests, and Want its output.
	Request func(n int) record.Request
	Want    func(n int) string
	// Hang returns a provider that does not answer within any time limit of its own; nil when
	// the provider cannot hang.
	Hang func(t *testing.T) Provider
	// Impatient returns a provider that does not answer and has a short time limit; nil likewise.
	Impatient func(t *testing.T) Provider
	// Failures are ways in which the provider fails.
	Failures []Failing
	// Unreachable returns a provider whose Check must fail; nil when there is nothing to reach.
	Unreachable func(t *testing.T) Provider
	// Secrets are known to the provider and must not show anywhere.
	Secrets []string
}

// Failing is a way to fail.
type Failing struct {
	Name    string
	New     func(t *testing.T) Provider
	Request record.Request
	Kind    record.FailureKind
	Retry   bool // whether the failure may be retried
}

// soon is how long a call may go on after its context has ended.
const soon = 5 * time.Second

// Run checks s.
func Run(t *testing.T, s Subject) {
	t.Run("answers", func(t *testing.T) { answers(t, s) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, s) })
	t.Run("canceled", func(t *testing.T) { canceled(t, s) })
	t.Run("hang", func(t *testing.T) { hang(t, s) })
	t.Run("impatient", func(t *testing.T) { impatient(t, s) })
	t.Run("describe", func(t *testing.T) { describe(t, s) })
	t.Run("check", func(t *testing.T) { check(t, s) })
	for _, f := range s.Failures {
		t.Run("failure "+f.Name, func(t *testing.T) { failing(t, s, f) })
	}
}

func open(t *testing.T, make func(t *testing.T) Provider) Provider {
	t.Helper()
	p := make(t)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

func answers(t *testing.T, s Subject) {
	p := open(t, s.New)
	for n := range 3 {
		req := s.Request(n)
		var first record.Response
		for again := range 2 {
			got, err := p.Complete(t.Context(), req)
			if err != nil {
				t.Fatalf("request %d: %v", n, err)
			}
			if got.Output != s.Want(n) {
				t.Errorf("request %d: got %q, want %q", n, got.Output, s.Want(n))
			}
			if got.Latency < 0 || got.TTFT < 0 || got.TTFT > got.Latency && got.Latency > 0 {
				t.Errorf("request %d: latency %v, time to first token %v", n, got.Latency, got.TTFT)
			}
			got.Latency, got.TTFT = 0, 0
			if again == 0 {
				first = got
			} else if p.Describe().Deterministic && !reflect.DeepEqual(first, got) {
				t.Errorf("request %d: a deterministic provider answered %+v and then %+v", n, first, got)
			}
		}
	}
}

func concurrent(t *testing.T, s Subject) {
	p := open(t, s.New)
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			got, err := p.Complete(t.Context(), s.Request(n))
			if err != nil || got.Output != s.Want(n) {
				t.Errorf("request %d: got %q, %v; want %q", n, got.Output, err, s.Want(n))
			}
		})
	}
	wg.Wait()
}

func canceled(t *testing.T, s Subject) {
	p := open(t, s.New)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := p.Complete(ctx, s.Request(0))
	wantFailure(t, s, err, record.Canceled, false)
	if !reflect.DeepEqual(got, record.Response{}) {
		t.Errorf("a failed call has the answer %+v", got)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err = p.Complete(ctx, s.Request(0))
	wantFailure(t, s, err, record.Timeout, true)
}

func hang(t *testing.T, s Subject) {
	if s.Hang == nil {
		t.Skip("this provider cannot hang")
	}
	for kind, end := range map[record.FailureKind]func(context.Context) (context.Context, context.CancelFunc){
		record.Timeout: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 30*time.Millisecond)
		},
		record.Canceled: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(30*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		p := open(t, s.Hang)
		ctx, cancel := end(t.Context())
		start := time.Now()
		_, err := p.Complete(ctx, s.Request(0))
		cancel()
		wantFailure(t, s, err, kind, kind == record.Timeout)
		if d := time.Since(start); d > soon {
			t.Errorf("%s: the call went on for %v", kind, d)
		}
	}
}

func impatient(t *testing.T, s Subject) {
	if s.Impatient == nil {
		t.Skip("this provider has no time limit of its own")
	}
	start := time.Now()
	_, err := open(t, s.Impatient).Complete(t.Context(), s.Request(0))
	wantFailure(t, s, err, record.Timeout, true)
	if d := time.Since(start); d > soon {
		t.Errorf("the call went on for %v", d)
	}
}

func describe(t *testing.T, s Subject) {
	a, b := open(t, s.New).Describe(), open(t, s.New).Describe()
	if a.ID == "" {
		t.Error("the provider has no id")
	}
	one, err := json.Marshal(a)
	if err != nil {
		t.Fatalf("what the provider says about itself is not JSON: %v", err)
	}
	two, err := json.Marshal(b)
	if err != nil || string(one) != string(two) {
		t.Errorf("two providers with the same settings describe themselves as %s and %s (%v)", one, two, err)
	}
	hidden(t, s, string(one))
	x, y := a.Snapshot(), b.Snapshot()
	x.Identify()
	y.Identify()
	if x.ID != y.ID || x.ID == "" {
		t.Errorf("two providers with the same settings have the snapshots %q and %q", x.ID, y.ID)
	}
}

func check(t *testing.T, s Subject) {
	if err := open(t, s.New).Check(t.Context()); err != nil {
		t.Errorf("check of a good provider: %v", err)
	}
	if s.Unreachable == nil {
		return
	}
	err := open(t, s.Unreachable).Check(t.Context())
	wantFailure(t, s, err, record.Connection, true)
}

func failing(t *testing.T, s Subject, f Failing) {
	p := open(t, f.New)
	got, err := p.Complete(t.Context(), f.Request)
	wantFailure(t, s, err, f.Kind, f.Retry)
	if !reflect.DeepEqual(got, record.Response{}) {
		t.Errorf("a failed call has the answer %+v", got)
	}
}

// wantFailure checks an error's kind, and that it can be shown.
func wantFailure(t *testing.T, s Subject, err error, kind record.FailureKind, retry bool) {
	t.Helper()
	f, ok := errors.AsType[*record.Failure](err)
	if !ok {
		t.Errorf("got %v (%T), want a failure of kind %s", err, err, kind)
		return
	}
	if f.Kind != kind || f.Retryable() != retry {
		t.Errorf("got kind %s, retry %v, want %s, %v: %v", f.Kind, f.Retryable(), kind, retry, err)
	}
	hidden(t, s, f.Error())
	hidden(t, s, fmt.Sprintf("%+v", *f))
	for cause := f.Err; cause != nil; cause = errors.Unwrap(cause) {
		hidden(t, s, cause.Error())
	}
	if len(f.Error()) > 2000 {
		t.Errorf("the message is %d bytes long", len(f.Error()))
	}
}

func hidden(t *testing.T, s Subject, text string) {
	t.Helper()
	for _, secret := range s.Secrets {
		if strings.Contains(text, secret) {
			t.Errorf("the secret shows in %s", text)
		}
	}
}
