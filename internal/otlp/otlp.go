// Package otlp takes in what others have seen: OpenTelemetry traces and logs of model calls in all dialects that are
// in use, over HTTP and gRPC, Langfuse's variant of it, and exchanges as plain JSON. Each model call becomes a record.Exchange
// and goes to a sink that returns once it is durable; only then the client gets its success.
//
//	r, err := otlp.New(otlp.Options{Sink: …})
//	http.Handle("/", r.Handler())   // /v1/traces, /v1/logs, /api/public/otel/…, /v1/exchanges
//	r.RegisterGRPC(grpcServer)      // the collector's trace and log services
//
// A span is a model call, or belongs to one (an agent, a tool, a chain), or has nothing to do with models; only the first
// makes an exchange, the others are counted. Where one call was seen by two instrumentations, so that a call's parent is
// a call too, the inner one counts and the outer one fills what it lacks, so that usage is counted once.
//
// Content that arrives apart from its span, as logs, waits in memory for it, up to Options.Window and Options.Pending.
// That part alone is lost when the process dies in between. Scores that arrive so are handed on at once, as record.Late.
//
// It does not redact and does not store; it knows no dialect of metrics.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// Options is what a Receiver is made of.
type Options struct {
	// Sink takes exchanges and returns once they are durable. A *Busy error tells the client when to come again; any other
	// counts as one that may pass.
	Sink func(ctx context.Context, xs []record.Exchange) error
	// Auth lets a request in, or says why not; nil lets everything in. Requests over gRPC are given with their metadata as
	// headers and the method as path.
	Auth func(*http.Request) error
	// Scores takes scores that come as logs, apart from their exchange and mostly long after it; route is where they say they
	// belong. It returns once they are durable, as Sink does. With nil they wait for their span like content does.
	Scores func(ctx context.Context, route string, scores []record.Late) error
	// Price returns the price of a call in US dollars, nil when it is not known; may be nil.
	Price func(model string, u record.Usage) *float64
	// MaxBytes bounds a request, before and after decompression; 16 MiB.
	MaxBytes int64
	// MaxContent bounds the text of a request and that of an answer to half of it each, in bytes; 64 KiB.
	MaxContent int
	// MaxInFlight bounds the bytes of all requests that are being read and handled at a time, and with it memory; 8 times
	// MaxBytes. What is above it is told to come again.
	MaxInFlight int64
	// Window is how long content waits for its span; 1 minute. Pending bounds the bytes of what waits; 32 MiB.
	Window  time.Duration
	Pending int
	// Hold is how long a span whose content has not come waits for it where the client is known to send content as logs;
	// 2 seconds. Negative does not wait.
	Hold time.Duration
}

func (o *Options) validate() error {
	if o.Sink == nil {
		return errors.New("otlp: no sink")
	}
	set := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	set(&o.MaxContent, 64<<10)
	set(&o.Pending, 32<<20)
	if o.MaxBytes <= 0 {
		o.MaxBytes = 16 << 20
	}
	if o.MaxInFlight < o.MaxBytes {
		o.MaxInFlight = 8 * o.MaxBytes
	}
	if o.Window <= 0 {
		o.Window = time.Minute
	}
	if o.Hold == 0 {
		o.Hold = 2 * time.Second
	}
	return nil
}

// Busy is a sink's answer when it has no room.
type Busy struct {
	RetryAfter time.Duration // 0 means a few seconds
	// Down says that it does not work at all at present (503); else it is too much at a time (429).
	Down   bool
	Reason string
}

// Error says why.
func (b *Busy) Error() string {
	if b.Reason == "" {
		return "too many records at a time"
	}
	return b.Reason
}

// Counts are what a Receiver has seen since it was made.
type Counts struct {
	Requests     int64 `json:"requests"`
	Unauthorized int64 `json:"unauthorized"`
	Malformed    int64 `json:"malformed"`
	TooLarge     int64 `json:"too_large"`
	Busy         int64 `json:"busy"` // requests sent away because there was no room
	Spans        int64 `json:"spans"`
	Exchanges    int64 `json:"exchanges"` // handed to the sink
	Ignored      int64 `json:"ignored"`   // spans and logs that have nothing to do with models
	NotCalls     int64 `json:"not_calls"` // spans of agents, tools and the like
	Doubles      int64 `json:"doubles"`   // calls of which the inner span counts
	Rejected     int64 `json:"rejected"`  // spans without ids
	Events       int64 `json:"events"`    // logs with content or scores
	// Joined counts events that found their span and scores that were handed on; Late those whose span had been stored before, Expired those that waited
	// in vain, Dropped those for which there was no room.
	Joined  int64 `json:"joined"`
	Late    int64 `json:"late"`
	Expired int64 `json:"expired"`
	Dropped int64 `json:"dropped"`
}

type counters struct {
	requests, unauthorized, malformed, tooLarge, busy      atomic.Int64
	spans, exchanges, ignored, notCalls, doubles, rejected atomic.Int64
	events, joined, late, expired, dropped                 atomic.Int64
}

// Receiver takes requests in. It is safe for concurrent use and needs no closing.
type Receiver struct {
	o        Options
	n        counters
	inFlight atomic.Int64 // bytes
	join     *joiner
}

// New returns a receiver.
func New(o Options) (*Receiver, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	r := &Receiver{o: o}
	r.join = newJoiner(o.Window, o.Pending, &r.n)
	return r, nil
}

// Counts returns what has been seen so far.
func (r *Receiver) Counts() Counts {
	n := &r.n
	return Counts{
		Requests: n.requests.Load(), Unauthorized: n.unauthorized.Load(), Malformed: n.malformed.Load(), TooLarge: n.tooLarge.Load(), Busy: n.busy.Load(),
		Spans: n.spans.Load(), Exchanges: n.exchanges.Load(), Ignored: n.ignored.Load(), NotCalls: n.notCalls.Load(), Doubles: n.doubles.Load(), Rejected: n.rejected.Load(),
		Events: n.events.Load(), Joined: n.joined.Load(), Late: n.late.Load(), Expired: n.expired.Load(), Dropped: n.dropped.Load(),
	}
}

// enter takes room for a request of so many bytes; leave gives it back.
func (r *Receiver) enter(n int64) error {
	if r.inFlight.Add(n) > r.o.MaxInFlight {
		r.inFlight.Add(-n)
		return &Busy{RetryAfter: time.Second, Reason: "too many requests at a time"}
	}
	return nil
}

func (r *Receiver) leave(n int64) { r.inFlight.Add(-n) }

// deliver hands exchanges to the sink.
func (r *Receiver) deliver(ctx context.Context, xs []record.Exchange) error {
	if len(xs) == 0 {
		return nil
	}
	if err := r.o.Sink(ctx, xs); err != nil {
		return err
	}
	r.n.exchanges.Add(int64(len(xs)))
	return nil
}

// malformed is a request that cannot be decoded.
type malformed struct{ error }

// guarded runs what works on bytes from outside. Should it panic, the request is malformed and nothing else is harmed.
func guarded(decode func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = malformed{fmt.Errorf("not readable: %v", p)}
		}
	}()
	return decode()
}
