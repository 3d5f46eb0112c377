// Package worker runs a program for as long as it is needed and talks to it in lines of JSON.
//
// It is for programs a user writes in any language: an exec provider, an exec scorer. It is not
// for one-shot commands. A request is one line on the program's standard input, its answer one
// line on its standard output; an answer names its request by "id", or, when it names none,
// belongs to the oldest request that has none yet. The program is started at the first call,
// started again after it ended, and killed with everything it started when a call takes too long
// or the pool is closed. What a line means is the caller's business.
package worker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what to run and within which bounds.
type Options struct {
	// Command is the program and its arguments. No shell is involved.
	Command []string
	// Dir is the working directory; a program named by a relative path is looked up in it.
	Dir string
	// Env is the whole environment of the program.
	Env []string
	// Workers is the number of processes, 1 when unset.
	Workers int
	// Concurrency is how many requests one process is given at a time, 1 when unset. Above 1 the
	// program should answer with ids.
	Concurrency int
	// Timeout bounds one call, counted from when the request is handed to the program; 0 means none.
	Timeout time.Duration
	// MaxLine bounds an answer in bytes, 16 MiB when unset.
	MaxLine int
	// MaxBarren is how many processes in a row may end without a single answer before the pool
	// gives up, 5 when unset.
	MaxBarren int
	// Grace is how long a program has to end after its standard input was closed, 2 s when unset.
	Grace time.Duration
	// Redact is applied to everything of the program's that gets into an error; nil changes nothing.
	Redact func(string) string
}

// Reason is the bounded set of reasons for which a call has no answer.
type Reason string

// The reasons.
const (
	NotStarted Reason = "not_started" // the program cannot be started
	Exited     Reason = "exited"      // the program ended
	GaveUp     Reason = "gave_up"     // it ended too often without an answer
	Timeout    Reason = "timeout"
	Canceled   Reason = "canceled"
	Malformed  Reason = "malformed" // it wrote something that is not an answer
	TooLarge   Reason = "too_large" // it wrote a line above the limit
	Closed     Reason = "closed"    // the pool was closed
)

// Error is why a call has no answer. Its text has passed through Options.Redact.
type Error struct {
	Reason  Reason
	Message string
	Err     error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Answer is a line that the program wrote: a JSON object, without its newline.
type Answer struct {
	Line []byte
	// Elapsed is the time from handing over the request to reading the answer.
	Elapsed time.Duration
}

// Pool is a program running in one or more processes. It is safe for concurrent use.
type Pool struct {
	opts  Options
	hosts []*host
	// free holds each host once for every request it may be given.
	free   chan *host
	ids    atomic.Uint64
	closed chan struct{}
	close  sync.Once
}

// New returns a pool that has not started anything yet. The error names what is wrong with opts,
// such as a program that cannot be found.
func New(opts Options) (*Pool, error) {
	if len(opts.Command) == 0 || opts.Command[0] == "" {
		return nil, errors.New("no command")
	}
	opts.Workers = max(opts.Workers, 1)
	opts.Concurrency = max(opts.Concurrency, 1)
	if opts.MaxLine <= 0 {
		opts.MaxLine = 16 << 20
	}
	if opts.MaxBarren <= 0 {
		opts.MaxBarren = 5
	}
	if opts.Grace <= 0 {
		opts.Grace = 2 * time.Second
	}
	if opts.Redact == nil {
		opts.Redact = func(s string) string { return s }
	}
	path, err := Find(opts.Command[0], opts.Dir)
	if err != nil {
		return nil, err
	}
	opts.Command = append([]string{path}, opts.Command[1:]...)
	p := &Pool{opts: opts, closed: make(chan struct{}), free: make(chan *host, opts.Workers*opts.Concurrency)}
	for range opts.Workers {
		p.hosts = append(p.hosts, &host{opts: &p.opts})
	}
	// Round robin, so that requests are spread over the processes before any gets a second one.
	for range opts.Concurrency {
		for _, h := range p.hosts {
			p.free <- h
		}
	}
	return p, nil
}

// Slots is the number of requests that the pool works on at a time.
func (p *Pool) Slots() int { return cap(p.free) }

// Start starts every process that is not running, without waiting for the programs to be ready.
func (p *Pool) Start() error {
	for _, h := range p.hosts {
		if _, err := h.running(); err != nil {
			return err
		}
	}
	return nil
}

// Call sends the line that encode makes for a fresh id and returns its answer. The line must hold
// no newline. When ctx ends first, or the timeout strikes, the process is killed; what else it was
// working on fails with Exited. The error is an *Error, or what encode returned.
func (p *Pool) Call(ctx context.Context, encode func(id string) ([]byte, error)) (Answer, error) {
	id := strconv.FormatUint(p.ids.Add(1), 10)
	line, err := encode(id)
	if err != nil {
		return Answer{}, err
	}
	var h *host
	select {
	case h = <-p.free:
	case <-ctx.Done():
		return Answer{}, contextError(ctx, "while it waited for a free worker")
	case <-p.closed:
		return Answer{}, errClosed()
	}
	defer func() { p.free <- h }()
	if ctx.Err() != nil {
		return Answer{}, contextError(ctx, "before it was sent")
	}
	proc, err := h.running()
	if err != nil {
		return Answer{}, err
	}
	start := time.Now()
	answer, err := proc.call(ctx, id, line, p.opts.Timeout)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Line: answer, Elapsed: time.Since(start)}, nil
}

// Close ends the processes: an idle program gets end of file and a moment to finish, a busy one is
// killed. It returns once all are gone. Calls in flight fail with Closed.
func (p *Pool) Close() error {
	p.close.Do(func() {
		close(p.closed)
		var wg sync.WaitGroup
		for _, h := range p.hosts {
			wg.Go(h.close)
		}
		wg.Wait()
	})
	return nil
}

// host is the place of one process and of those that follow it.
type host struct {
	opts *Options
	mu   sync.Mutex
	proc *process
	// barren counts the processes in a row that ended without an answer.
	barren int
	gaveUp *Error
	closed bool
	// procs counts the processes that are not gone yet, also those killed and replaced.
	procs sync.WaitGroup
}

// running returns the current process, or starts one.
func (h *host) running() (*process, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed()
	}
	if h.gaveUp != nil {
		return nil, h.gaveUp
	}
	if h.proc != nil {
		fault, answered, owed := h.proc.state()
		if fault == nil {
			return h.proc, nil
		}
		if answered {
			h.barren = 0
		} else {
			h.barren++
		}
		h.proc = nil
		if h.barren >= h.opts.MaxBarren {
			h.gaveUp = &Error{Reason: GaveUp, Err: fault, Message: fmt.Sprintf(
				"gave up: the program ended %d times in a row without an answer; the last time: %s", h.barren, fault.Message)}
			return nil, h.gaveUp
		}
		if owed {
			return nil, fault
		}
	}
	proc, err := start(h.opts, &h.procs)
	if err != nil {
		return nil, err
	}
	h.proc = proc
	return proc, nil
}

func (h *host) close() {
	h.mu.Lock()
	h.closed = true
	proc := h.proc
	h.mu.Unlock()
	if proc != nil {
		proc.shut(h.opts.Grace)
	}
	h.procs.Wait()
}

func errClosed() *Error { return &Error{Reason: Closed, Message: "the worker was closed"} }

// contextError turns the end of ctx into Timeout or Canceled.
func contextError(ctx context.Context, when string) *Error {
	err := context.Cause(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Reason: Timeout, Message: "timed out " + when, Err: err}
	}
	return &Error{Reason: Canceled, Message: "canceled " + when, Err: err}
}
