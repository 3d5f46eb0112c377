// Package gateway is the data plane: it takes requests for language models, gives each to an upstream of its route,
// and passes the answer back byte for byte, while a bounded tap keeps a copy.
//
// A request is checked and matched by path and model to a route (admit.go, route.go; state.go has the routes made
// ready), read whole within bounds (body.go), changed only where
// the route says so and only in the bytes concerned (scan.go, edit.go), sent to an upstream that is healthy
// (health.go, conn.go, call.go), tried again or elsewhere while nothing has been answered (retry.go), and its answer is
// written as it comes (relay.go). What was seen goes to Options.Sink in a Tapped (tap.go), away from the request.
//
// It is not for understanding what passes: package wiretap reads the tapped bytes. It translates no API into another,
// scores nothing and writes no file. Users' requests come first: whatever becomes of the tap, they go through.
package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/access"
	"github.com/telltale-llm/telltale/internal/config"
)

// Options is what a gateway works with. The zero value of each field takes the default.
type Options struct {
	// Sink is given every exchange, one at a time, after its answer is done, by a goroutine of the gateway's. It owns
	// the Tapped and must Release it. When it is slow, exchanges wait up to Queue and are dropped then, and counted.
	// Nil captures nothing.
	Sink func(*Tapped)
	// Access checks clients' keys. Nil knows none.
	Access *access.Keys
	Now    func() time.Time
	Log    *slog.Logger

	Queue      int   // exchanges that may wait for the sink, 4096
	TapRequest int   // bytes kept of a request, 1 MiB
	TapAnswer  int   // bytes kept of an answer, 4 MiB
	TapMemory  int64 // bytes of content held for the sink altogether, 64 MiB
	BodyMemory int64 // bytes of requests in memory altogether, above which new ones are refused, 512 MiB

	SlowBody   time.Duration // how long a client may take to send a body, besides a second per 32 KiB: 30s
	SlowClient time.Duration // how long a client may take to accept a piece of the answer, 30s
	LazyHeader time.Duration // how long an answer's headers wait for its first byte, so that failover works, 1s
	MaxWait    time.Duration // longest retry-after that is waited for, 5s
}

func (o *Options) fill() error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	or := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	or(&o.Queue, 4096)
	or(&o.TapRequest, 1<<20)
	or(&o.TapAnswer, 4<<20)
	or64 := func(v *int64, def int64) {
		if *v == 0 {
			*v = def
		}
	}
	or64(&o.TapMemory, 64<<20)
	or64(&o.BodyMemory, 512<<20)
	o.SlowBody = orDuration(o.SlowBody, 30*time.Second)
	o.SlowClient = orDuration(o.SlowClient, 30*time.Second)
	o.LazyHeader = orDuration(o.LazyHeader, time.Second)
	o.MaxWait = orDuration(o.MaxWait, 5*time.Second)
	if o.Queue < 0 || o.TapRequest < 0 || o.TapAnswer < 0 || o.TapMemory < 0 || o.BodyMemory < 0 {
		return errors.New("gateway: a bound below 0")
	}
	return nil
}

// Gateway is an http.Handler. All methods may be called concurrently.
type Gateway struct {
	o        Options
	state    atomic.Pointer[state]
	stats    *counters
	draining atomic.Bool

	slots   sync.Map // of routes' names to *slot
	shadows sync.WaitGroup
	life    context.Context // of the copies for shadows
	end     context.CancelFunc

	queue     chan *Tapped
	delivered chan struct{}
	closing   sync.RWMutex // ending and closed change, and the queue is closed, under it
	ending    bool         // no further copies for shadows
	closed    bool
	reload    sync.Mutex
}

// New returns a gateway for the routes of cfg. Mistakes in cfg are config.Errors. Close ends its goroutine.
func New(cfg *config.Server, o Options) (*Gateway, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	g := &Gateway{o: o, stats: newCounters(), delivered: make(chan struct{})}
	g.life, g.end = context.WithCancel(context.Background())
	s, err := g.compile(cfg, nil)
	if err != nil {
		g.end()
		return nil, err
	}
	g.state.Store(s)
	if o.Sink == nil {
		close(g.delivered)
		return g, nil
	}
	g.queue = make(chan *Tapped, o.Queue)
	go g.deliver()
	return g, nil
}

// Reload puts the routes of cfg in the place of the present ones. Requests under way finish on what they began with.
// When cfg has a mistake the present routes stay, and the error says what is wrong. Addresses do not change.
func (g *Gateway) Reload(cfg *config.Server) error {
	g.reload.Lock()
	defer g.reload.Unlock()
	old := g.state.Load()
	s, err := g.compile(cfg, old)
	if err != nil {
		return err
	}
	g.state.Store(s)
	for id, u := range old.upstreams {
		if s.upstreams[id] == nil {
			u.pool.close()
		}
	}
	return nil
}

// Drain makes /healthz answer 503, so that load balancers send no more; requests are still served.
func (g *Gateway) Drain() { g.draining.Store(true) }

// Close hands what waits to the sink, as long as ctx lasts, and closes the connections to the upstreams. Exchanges
// that end later are not captured. Requests must have been ended before, by the server's shutdown.
func (g *Gateway) Close(ctx context.Context) error {
	g.closing.Lock()
	g.ending = true
	g.closing.Unlock()
	g.end() // copies under way for shadows are captured as canceled
	g.shadows.Wait()
	g.closing.Lock()
	first := !g.closed
	g.closed = true
	if first && g.queue != nil {
		close(g.queue)
	}
	g.closing.Unlock()
	for _, u := range g.state.Load().upstreams {
		u.pool.close()
	}
	select {
	case <-g.delivered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ServeHTTP answers one request. It panics with http.ErrAbortHandler where an answer that has begun cannot be
// finished, so that the client's connection breaks off instead of ending as if all were well.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		g.healthz(w)
		return
	}
	now := g.o.Now()
	c := call{g: g, s: g.state.Load(), w: w, r: r, ctx: r.Context(), start: now}
	c.id = newID(now)
	if e := c.admit(); e != nil {
		c.refuse(e)
		return
	}
	c.assign()
	if !c.exchange() {
		panic(http.ErrAbortHandler)
	}
}

func (g *Gateway) healthz(w http.ResponseWriter) {
	if g.draining.Load() {
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
		return
	}
	w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
	_, _ = w.Write([]byte("ok\n"))
}
