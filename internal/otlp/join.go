package otlp

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/telltale-llm/telltale/internal/record"
)

// spanKey names a span.
type spanKey struct {
	trace pcommon.TraceID
	span  pcommon.SpanID
}

func (k spanKey) valid() bool { return !k.trace.IsEmpty() && !k.span.IsEmpty() }

// event is a log or a span event that tells of a model call.
type event struct {
	name  string
	at    time.Time
	attrs attrs
	body  any
}

// waiting is what has come for a span that has not.
type waiting struct {
	since  time.Time
	size   int
	events []event
	seen   map[string]bool // so that a log that is sent again counts once
}

// maxRemembered bounds the spans that are remembered after they are gone.
const maxRemembered = 1 << 16

// joiner brings together what belongs to one span and comes apart. Everything in it is bounded.
type joiner struct {
	n       *counters
	window  time.Duration
	pending int

	mu      sync.Mutex
	waits   map[spanKey]*waiting
	order   []spanKey // of waits, oldest first; some may be gone
	size    int
	lastLog time.Time
	arrived chan struct{} // closed when an event comes
	// parents are the spans above calls that were stored, stored the calls themselves.
	parents, stored remembered
}

func newJoiner(window time.Duration, pending int, n *counters) *joiner {
	return &joiner{n: n, window: window, pending: pending, waits: map[spanKey]*waiting{}, arrived: make(chan struct{})}
}

// remembered is a set that forgets the oldest.
type remembered struct {
	set  map[spanKey]bool
	ring []spanKey
	next int
}

func (r *remembered) add(k spanKey) {
	if r.set == nil {
		r.set = map[spanKey]bool{}
	}
	if r.set[k] {
		return
	}
	if len(r.ring) < maxRemembered {
		r.ring = append(r.ring, k)
	} else {
		delete(r.set, r.ring[r.next])
		r.ring[r.next] = k
		r.next = (r.next + 1) % maxRemembered
	}
	r.set[k] = true
}

// put keeps an event until its span comes. late says that the span has been stored.
func (j *joiner) put(k spanKey, e event, id string, size int) (late bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	j.lastLog = now
	if j.stored.set[k] {
		return true
	}
	j.expire(now)
	w := j.waits[k]
	if w == nil {
		w = &waiting{since: now, seen: map[string]bool{}}
		j.waits[k] = w
		j.order = append(j.order, k)
	}
	if w.seen[id] {
		return false
	}
	for j.size+size > j.pending && len(j.order) > 0 && j.order[0] != k {
		j.forget(j.order[0], j.dropped)
		j.order = j.order[1:]
	}
	if j.size+size > j.pending {
		j.n.dropped.Add(1)
		return false
	}
	w.seen[id] = true
	w.events = append(w.events, e)
	w.size += size
	j.size += size
	close(j.arrived)
	j.arrived = make(chan struct{})
	return false
}

func (j *joiner) dropped(n int) { j.n.dropped.Add(int64(n)) }
func (j *joiner) expired(n int) { j.n.expired.Add(int64(n)) }

// forget removes what waits for a span. The caller holds the lock and looks after order.
func (j *joiner) forget(k spanKey, count func(int)) {
	if w := j.waits[k]; w != nil {
		j.size -= w.size
		count(len(w.events))
		delete(j.waits, k)
	}
}

// expire removes what has waited too long.
func (j *joiner) expire(now time.Time) {
	for len(j.order) > 0 {
		k := j.order[0]
		if w := j.waits[k]; w != nil && now.Sub(w.since) < j.window {
			return
		}
		j.forget(k, j.expired)
		j.order = j.order[1:]
	}
}

// take returns what waits for a span, without removing it: when the sink has no room, the span comes again.
func (j *joiner) take(k spanKey) []event {
	j.mu.Lock()
	defer j.mu.Unlock()
	if w := j.waits[k]; w != nil {
		return w.events[:len(w.events):len(w.events)]
	}
	return nil
}

// done notes that calls have been stored.
func (j *joiner) done(calls []*call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range calls {
		j.forget(c.key, func(n int) { j.n.joined.Add(int64(n)) })
		j.stored.add(c.key)
		if !c.parent.span.IsEmpty() {
			j.parents.add(c.parent)
		}
	}
	j.expire(time.Now())
}

// double says whether the call's usage has been counted with another span: one below it, or the one above it.
func (j *joiner) double(c *call) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.parents.set[c.key] || !c.parent.span.IsEmpty() && j.stored.set[c.parent]
}

// expectLogs is how long after the last log with content further ones are expected.
const expectLogs = 5 * time.Minute

// wait waits until events have come for all keys, where clients are known to send any.
func (j *joiner) wait(ctx context.Context, keys []spanKey, atMost time.Duration) {
	if len(keys) == 0 || atMost <= 0 {
		return
	}
	t := time.NewTimer(atMost)
	defer t.Stop()
	for {
		j.mu.Lock()
		expected := !j.lastLog.IsZero() && time.Since(j.lastLog) < expectLogs
		missing := 0
		for _, k := range keys {
			if j.waits[k] == nil {
				missing++
			}
		}
		arrived := j.arrived
		j.mu.Unlock()
		if !expected || missing == 0 {
			return
		}
		select {
		case <-arrived:
		case <-t.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// call is a model call as one span tells it.
type call struct {
	key    spanKey
	parent spanKey
	x      record.Exchange
	said   said
	// apart says that this client sends content as logs, so that it may still come.
	apart bool
	one   bool // the output's turns are alternatives
}
