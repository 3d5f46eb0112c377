package gateway

import (
	"sync"
	"sync/atomic"

	"github.com/telltale-llm/telltale/internal/record"
)

// Drop says why an exchange, or its content, was not handed to the sink. It is used as a label.
type Drop string

// The reasons for which something is not captured.
const (
	DropQueue  Drop = "queue_full" // the sink is slower than the traffic
	DropMemory Drop = "tap_memory" // too many bytes of captured content wait; the exchange goes without it
	DropPanic  Drop = "sink_panic"
	DropClosed Drop = "closed" // after the gateway was closed
)

// Drops lists all reasons.
func Drops() []Drop { return []Drop{DropQueue, DropMemory, DropPanic, DropClosed} }

// counters are everything that is counted. All are read and written without a lock.
type counters struct {
	refused map[Reason]*atomic.Int64
	dropped map[Drop]*atomic.Int64
	handed  atomic.Int64
	waiting atomic.Int64 // exchanges in the queue
	body    atomic.Int64 // bytes of requests in memory
	tap     atomic.Int64 // bytes of captured content in memory
	slow    atomic.Int64 // clients that did not take their answer in time
	// unassigned are requests whose variant could not answer, shadowed copies that were sent.
	unassigned, shadowed atomic.Int64
	shadowDrops          map[string]*atomic.Int64

	mu     sync.Mutex
	routes map[string]*routeStats
}

type routeStats struct {
	requests, inFlight, retries, fallbacks atomic.Int64
	bytesIn, bytesOut                      atomic.Int64
	status                                 [6]atomic.Int64 // by hundreds; 0 for none
	failed                                 map[record.FailureKind]*atomic.Int64
	took, first                            durations

	mu        sync.Mutex
	upstreams map[string]*upstreamStats
}

type upstreamStats struct {
	attempts, failures, inFlight atomic.Int64
}

func newCounters() *counters {
	c := &counters{refused: map[Reason]*atomic.Int64{}, dropped: map[Drop]*atomic.Int64{}, routes: map[string]*routeStats{}}
	for _, r := range Reasons() {
		c.refused[r] = new(atomic.Int64)
	}
	for _, d := range Drops() {
		c.dropped[d] = new(atomic.Int64)
	}
	c.shadowDrops = map[string]*atomic.Int64{}
	for _, d := range ShadowDrops() {
		c.shadowDrops[d] = new(atomic.Int64)
	}
	return c
}

func (c *counters) route(name string) *routeStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.routes[name]
	if r == nil {
		r = &routeStats{failed: map[record.FailureKind]*atomic.Int64{}, upstreams: map[string]*upstreamStats{}}
		for _, k := range record.FailureKinds() {
			r.failed[k] = new(atomic.Int64)
		}
		c.routes[name] = r
	}
	return r
}

func (r *routeStats) upstream(name string) *upstreamStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.upstreams[name]
	if u == nil {
		u = &upstreamStats{}
		r.upstreams[name] = u
	}
	return u
}

// Stats is what a gateway has counted since it was made. Counters of routes that a reload took away stay.
type Stats struct {
	Routes  map[string]RouteStats
	Refused map[Reason]int64
	// Routed is how many exchanges should have been captured, Handed how many the sink was given.
	Routed, Handed int64
	Dropped        map[Drop]int64
	// Waiting exchanges are on their way to the sink. The others are bytes in memory.
	Waiting, BodyBytes, TapBytes int64
	SlowClients                  int64
	// Unassigned requests were chosen for a variant that could not answer them, Shadowed were sent to a shadow too.
	Unassigned, Shadowed int64
	ShadowDrops          map[string]int64
}

// RouteStats are the counters of a route.
type RouteStats struct {
	Requests, InFlight, Retries, Fallbacks int64
	BytesIn, BytesOut                      int64
	Status                                 map[string]int64 // 2xx and so on; none when no answer was begun
	Failed                                 map[record.FailureKind]int64
	Took                                   Durations // from the request's arrival to the end of the answer
	First                                  Durations // to the first byte of the answer's body
	Upstreams                              map[string]UpstreamStats
}

// UpstreamStats are the counters of an upstream in a route.
type UpstreamStats struct {
	Attempts, Failures, InFlight int64
	Resting                      bool  // taken out after failures
	Ejected                      int64 // how often it was taken out
	Idle                         int   // connections
}

// Stats returns a snapshot.
func (g *Gateway) Stats() Stats {
	c := g.stats
	s := Stats{
		Routes: map[string]RouteStats{}, Refused: map[Reason]int64{}, Dropped: map[Drop]int64{},
		Handed: c.handed.Load(), Waiting: c.waiting.Load(), BodyBytes: c.body.Load(), TapBytes: c.tap.Load(), SlowClients: c.slow.Load(),
		Unassigned: c.unassigned.Load(), Shadowed: c.shadowed.Load(), ShadowDrops: map[string]int64{},
	}
	for k, v := range c.shadowDrops {
		s.ShadowDrops[k] = v.Load()
	}
	for k, v := range c.refused {
		s.Refused[k] = v.Load()
	}
	for k, v := range c.dropped {
		s.Dropped[k] = v.Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, r := range c.routes {
		s.Routes[name] = r.snapshot()
		s.Routed += s.Routes[name].Requests
	}
	for _, r := range g.state.Load().routes {
		r.health(s.Routes[r.name].Upstreams)
		for _, v := range r.variants {
			v.health(s.Routes[r.name].Upstreams)
		}
	}
	return s
}

// health fills in how the upstreams are.
func (r *route) health(into map[string]UpstreamStats) {
	for _, t := range r.tiers[anyAPI] {
		for i := range t.members {
			m := &t.members[i]
			u := into[m.name]
			u.Resting, u.Ejected, u.Idle = m.health.resting(), m.health.ejected.Load(), m.pool.size()
			into[m.name] = u
		}
	}
}

func (r *routeStats) snapshot() RouteStats {
	out := RouteStats{
		Requests: r.requests.Load(), InFlight: r.inFlight.Load(), Retries: r.retries.Load(), Fallbacks: r.fallbacks.Load(),
		BytesIn: r.bytesIn.Load(), BytesOut: r.bytesOut.Load(),
		Status: map[string]int64{}, Failed: map[record.FailureKind]int64{}, Upstreams: map[string]UpstreamStats{},
		Took: r.took.snapshot(), First: r.first.snapshot(),
	}
	for i, label := range [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		if n := r.status[i].Load(); n > 0 {
			out.Status[label] = n
		}
	}
	for k, v := range r.failed {
		if n := v.Load(); n > 0 {
			out.Failed[k] = n
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, u := range r.upstreams {
		out.Upstreams[name] = UpstreamStats{Attempts: u.attempts.Load(), Failures: u.failures.Load(), InFlight: u.inFlight.Load()}
	}
	return out
}

func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}
