package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/telltale-llm/telltale/internal/record"
)

// Reason is why an exchange, or its content, was not captured: a closed set, used as a label.
type Reason string

// The reasons. After RedactionFailed the exchange is captured without anything that people wrote; the others lose it.
const (
	QueueFull       Reason = "queue_full"
	TooLarge        Reason = "too_large"
	RedactionFailed Reason = "redaction_failed"
	BusFull         Reason = "bus_full"
	BusDown         Reason = "bus_down"
	Panicked        Reason = "panic"
	Unreadable      Reason = "unreadable"
	Stopped         Reason = "stopped"
)

// Reasons are all reasons.
var Reasons = [...]Reason{QueueFull, TooLarge, RedactionFailed, BusFull, BusDown, Panicked, Unreadable, Stopped}

// Stripped is Exchange.Redaction of a record whose redaction failed and that therefore lost all text.
const Stripped = "stripped"

// Tap is an exchange as the gateway saw it.
type Tap struct {
	Route string
	Bytes int // memory that it holds
	// Read makes the record. Snapshot, which may be nil, makes the snapshot of the redacted record before content is
	// left out; one without an id leaves the record's own. Release gives the tapped bytes back; it is called exactly once.
	Read     func() (*record.Exchange, error)
	Snapshot func(*record.Exchange) record.Snapshot
	Release  func()
}

// Redactor removes what must not be written. It sets Exchange.Redaction.
type Redactor interface {
	Exchange(ctx context.Context, x *record.Exchange) error
}

// Sampler says whether the content of an exchange is kept, and with which probability it was.
type Sampler interface {
	Keep(x *record.Exchange) (keep bool, inclusion float64)
}

// Publisher takes records without blocking; false means that it had no room.
type Publisher interface {
	Offer(id string, data []byte) bool
}

// CaptureOptions are what Capture needs. Zero numbers take the defaults.
type CaptureOptions struct {
	Redactor  Redactor
	Sampler   func(route string) Sampler // of a route; nil keeps all content
	Publisher Publisher
	// Down says that the publisher has no room because the bus does not answer.
	Down  func() bool
	Codec *Codec
	Log   *slog.Logger
	// Limit is how much of an exchange of a route is kept.
	Limit func(route string) Limit
	// MaxQueue and MaxQueueBytes bound what waits: 4,096 exchanges and 96 MiB, which is more than the gateway's tap holds: it
	// leaves content out before an exchange would have to be. Workers is how many are turned into
	// records at a time: half of the processors, at least one; the others are the traffic's.
	MaxQueue      int
	MaxQueueBytes int64
	Workers       int
}

func (o *CaptureOptions) validate() error {
	if o.Redactor == nil || o.Publisher == nil || o.Codec == nil || o.Log == nil {
		return errors.New("capture: want redactor, publisher, codec and log")
	}
	if o.MaxQueue <= 0 {
		o.MaxQueue = 4096
	}
	if o.MaxQueueBytes <= 0 {
		o.MaxQueueBytes = 96 << 20
	}
	if o.Workers <= 0 {
		o.Workers = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if o.Limit == nil {
		o.Limit = func(string) Limit { return Limit{} }
	}
	if o.Down == nil {
		o.Down = func() bool { return false }
	}
	return nil
}

// Capture turns tapped exchanges into records on the bus. It is safe for concurrent use.
type Capture struct {
	o     CaptureOptions
	queue chan Tap
	bytes atomic.Int64
	wg    sync.WaitGroup
	ctx   context.Context
	stop  context.CancelFunc

	closing sync.RWMutex
	closed  bool

	routes    sync.Map // of *routeCount by name
	snapshots known
}

// routeCount counts one route.
type routeCount struct {
	seen, captured atomic.Int64
	reasons        [len(Reasons)]atomic.Int64
}

// RouteStats says how many exchanges of a route were seen, and how many of them captured.
type RouteStats struct {
	Route    string
	Seen     int64
	Captured int64
	Waiting  int64 // neither captured nor lost yet
	Reasons  map[Reason]int64
}

// NewCapture starts the workers.
func NewCapture(o CaptureOptions) (*Capture, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	c := &Capture{o: o, queue: make(chan Tap, o.MaxQueue)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	for range o.Workers {
		c.wg.Go(c.work)
	}
	return c, nil
}

// Take queues an exchange, without ever waiting. False means that it was left out and counted; it has been released.
func (c *Capture) Take(t Tap) bool {
	n := c.route(t.Route)
	n.seen.Add(1)
	c.closing.RLock()
	defer c.closing.RUnlock()
	why := Stopped
	if !c.closed {
		why = QueueFull
		if c.bytes.Add(int64(t.Bytes)) <= c.o.MaxQueueBytes {
			select {
			case c.queue <- t:
				return true
			default:
			}
		}
		c.bytes.Add(-int64(t.Bytes))
	}
	n.lose(why)
	if t.Release != nil {
		t.Release()
	}
	return false
}

func (c *Capture) work() {
	for t := range c.queue {
		c.one(t)
		c.bytes.Add(-int64(t.Bytes))
	}
}

// one takes an exchange through all stages. A panic in one of them costs this exchange.
func (c *Capture) one(t Tap) {
	n := c.route(t.Route)
	released := false
	release := func() {
		if !released && t.Release != nil {
			released = true
			t.Release()
		}
	}
	defer func() {
		if r := recover(); r != nil {
			// Neither the value nor the stack's arguments are logged: they may hold what was said.
			n.lose(Panicked)
			c.o.Log.Error("capturing an exchange panicked", "route", t.Route, "kind", fmt.Sprintf("%T", r))
			defer func() {
				if recover() != nil {
					c.o.Log.Error("releasing an exchange panicked", "route", t.Route)
				}
			}()
			release()
		}
	}()
	x, err := t.Read()
	release()
	if err != nil || x == nil {
		n.lose(Unreadable)
		return
	}
	if why := c.Record(c.ctx, x, t.Snapshot); why != "" {
		n.lose(why)
		return
	}
	n.captured.Add(1)
}

// Record redacts, samples, cuts, encodes and offers one exchange, and says why it was lost, if it was.
func (c *Capture) Record(ctx context.Context, x *record.Exchange, snapshot func(*record.Exchange) record.Snapshot) Reason {
	items, why := c.Prepare(ctx, x, snapshot)
	if why != "" {
		return why
	}
	for _, i := range items {
		if !c.o.Publisher.Offer(i.ID, i.Data) {
			if i.snapshot {
				c.snapshots.forget(i.ID)
			}
			if c.o.Down() {
				return BusDown
			}
			return BusFull
		}
	}
	return ""
}

// Prepared is a record that is ready for the bus.
type Prepared struct {
	ID       string
	Data     []byte
	snapshot bool
}

// Prepare does what Record does up to the encoding, for those who publish themselves. Besides the exchange it returns the
// snapshot, when it has not been sent lately.
func (c *Capture) Prepare(ctx context.Context, x *record.Exchange, snapshot func(*record.Exchange) record.Snapshot) ([]Prepared, Reason) {
	if err := c.o.Redactor.Exchange(ctx, x); err != nil || x.Redaction == "" {
		c.route(x.Route).reason(RedactionFailed).Add(1)
		strip(x)
		snapshot = nil // of what is left it would be another one
	}
	var out []Prepared
	if snapshot != nil {
		s := snapshot(x)
		if s.ID != "" {
			x.Snapshot = s.ID
		}
		if s.ID != "" && c.snapshots.add(s.ID) {
			b, err := c.o.Codec.Snapshot(&s)
			if err == nil && len(b) <= maxRecord {
				out = append(out, Prepared{s.ID, b, true})
			}
		}
	}
	if !(x.Inclusion > 0) { // else it was sampled before, elsewhere
		x.Inclusion = 1
	}
	if c.o.Sampler != nil && x.Content != nil {
		if s := c.o.Sampler(x.Route); s != nil {
			keep, p := s.Keep(x)
			x.Inclusion *= p
			if !keep {
				x.Content, x.TopK = nil, nil
			}
		}
	}
	b, err := c.o.Limit(x.Route).encode(c.o.Codec, x)
	if err != nil {
		return nil, TooLarge
	}
	return append(out, Prepared{ID: x.ID, Data: b}), ""
}

// PrepareLate redacts and encodes a score that came apart from its exchange, by the rules of a route. A score whose words
// cannot be redacted loses them.
func (c *Capture) PrepareLate(ctx context.Context, route string, l record.Late) (Prepared, Reason) {
	x := record.Exchange{ID: l.Exchange, Route: route, Scores: []record.OnlineScore{l.Score}}
	if err := c.o.Redactor.Exchange(ctx, &x); err == nil && x.Redaction != "" {
		l.Score, l.Redaction = x.Scores[0], x.Redaction
	} else {
		c.route(route).reason(RedactionFailed).Add(1)
		l.Score.Reason, l.Score.Label, l.Score.Error, l.Redaction = "", "", "", Stripped
	}
	b, err := c.o.Codec.Late(&l)
	if err != nil || len(b) > maxRecord {
		return Prepared{}, TooLarge
	}
	// The bus knows records by their ID for a while: that of the exchange is taken.
	return Prepared{ID: l.Exchange + "/" + l.Score.Name + "/" + l.Mark, Data: b}, ""
}

// Unsent says that what Prepare made did not reach the bus, so that snapshots among it are made again.
func (c *Capture) Unsent(items []Prepared) {
	for _, i := range items {
		if i.snapshot {
			c.snapshots.forget(i.ID)
		}
	}
}

// strip removes everything that people wrote from a record that could not be redacted. What remains is measured, or
// comes from the configuration.
func strip(x *record.Exchange) {
	x.Content, x.TopK, x.Embedding, x.Params, x.Tags = nil, nil, nil, nil, nil
	x.Snapshot, x.User, x.Session, x.Error, x.Endpoint, x.InputHash = "", "", "", "", "", ""
	x.Model, x.Served, x.Fingerprint, x.FinishReason = "", "", "", record.FinishClass(x.FinishReason)
	x.TraceID, x.SpanID, x.ParentID = "", "", ""
	x.Scores, x.Found = nil, nil
	x.Redaction = Stripped
	x.Cut = append(x.Cut, "content")
}

func (c *Capture) route(name string) *routeCount {
	if v, ok := c.routes.Load(name); ok {
		return v.(*routeCount)
	}
	v, _ := c.routes.LoadOrStore(name, &routeCount{})
	return v.(*routeCount)
}

func (n *routeCount) reason(r Reason) *atomic.Int64 {
	for i := range Reasons {
		if Reasons[i] == r {
			return &n.reasons[i]
		}
	}
	return &n.reasons[len(Reasons)-1]
}

func (n *routeCount) lose(r Reason) { n.reason(r).Add(1) }

// Stats returns the counts of all routes.
func (c *Capture) Stats() []RouteStats {
	var out []RouteStats
	c.routes.Range(func(k, v any) bool {
		n := v.(*routeCount)
		s := RouteStats{Route: k.(string), Reasons: map[Reason]int64{}}
		// Seen is read last, so that Waiting is never below 0.
		s.Captured = n.captured.Load()
		lost := int64(0)
		for i, r := range Reasons {
			if v := n.reasons[i].Load(); v > 0 {
				s.Reasons[r] = v
				if r != RedactionFailed {
					lost += v
				}
			}
		}
		s.Seen = n.seen.Load()
		s.Waiting = max(0, s.Seen-s.Captured-lost)
		out = append(out, s)
		return true
	})
	return out
}

// Close takes no more exchanges and ends when the queue is empty, or with the context: the rest is released and
// counted.
func (c *Capture) Close(ctx context.Context) error {
	c.closing.Lock()
	first := !c.closed
	c.closed = true
	c.closing.Unlock()
	if first {
		close(c.queue)
	}
	done := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		c.stop() // a redactor that waits for a service gives up
		for t := range c.queue {
			c.route(t.Route).lose(Stopped)
			c.bytes.Add(-int64(t.Bytes))
			if t.Release != nil {
				t.Release()
			}
		}
		<-done
	}
	c.stop()
	return err
}

// known remembers the ids of snapshots that were sent lately.
type known struct {
	mu         sync.Mutex
	now, older map[string]struct{}
}

const knownSize = 4096

// add says whether the id is new.
func (k *known) add(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.now[id]; ok {
		return false
	}
	_, old := k.older[id]
	if k.now == nil || len(k.now) >= knownSize {
		k.older, k.now = k.now, map[string]struct{}{}
	}
	k.now[id] = struct{}{}
	return !old
}

func (k *known) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.now, id)
	delete(k.older, id)
}
