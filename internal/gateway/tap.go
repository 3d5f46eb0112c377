package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/guard"
	"github.com/telltale-llm/telltale/internal/record"
)

// Tapped is what was seen of one exchange: bounded copies of the bytes, and times. The sink owns it until it calls
// Release, which it must do exactly once; nothing of it may be used afterwards. Text is raw and may hold personal
// data, so it must be redacted before it is written anywhere. It never holds a credential header.
type Tapped struct {
	ID         string // UUID of version 7
	Route      string
	Variant    string
	Propensity float64
	// Rollout and Stage are the plan's that chose the variant, Unit the hash of what was assigned as one; empty where nothing
	// was chosen. Pairs is the exchange of which this one, a shadow's, is a copy.
	Rollout string
	Stage   int
	Unit    string
	Pairs   string
	// Alone says that the plan has a shadow, and that no copy of this request went to it.
	Alone bool
	// Shadows is the variant of the configuration behind the variant shadow.
	Shadows string

	Upstream string // the one that answered, or was tried last
	Format   string // openai or anthropic: what the path means; empty when it is neither's
	Model    string // as asked; empty when the body names none
	Override string // the model that was asked instead
	Stream   bool   // a stream was asked for

	Method string
	Path   string // from /v1, without the route's prefix and the query
	// Header holds the request's headers of the closed list kept, under their canonical names: Content-Type,
	// Content-Encoding, User-Agent, Anthropic-Version, Anthropic-Beta, Openai-Organization, Openai-Project,
	// Traceparent, Idempotency-Key, X-Request-Id and X-Stainless-*.
	Header  http.Header
	User    string // telltale-user
	Session string // telltale-session
	Tags    map[string]string
	Retries int    // x-stainless-retry-count
	Client  string // name of the client's key

	Arrived time.Time
	// Times since Arrived; 0 where it did not come to it. Sent is when the first byte went to the upstream that
	// answered, Headers when its answer's headers were there, FirstByte the first byte of its body, Ended the end.
	Sent, Headers, FirstByte, Ended time.Duration
	// Arrivals says when which bytes of Answer had come. It is bounded: the last entry stands for all that follow
	// when ArrivalsCut is set.
	Arrivals    []Arrival
	ArrivalsCut bool

	// Body is the request as the client sent it; SentBody as it was sent on, nil where nothing was changed.
	Body, SentBody       []byte
	BodySize             int64
	BodyCut, SentBodyCut bool

	Status       int         // 0 when there was no answer
	AnswerHeader http.Header // of the upstream, without Set-Cookie; not to be changed
	Answer       []byte      // as on the wire, so perhaps compressed: see Decoded
	AnswerSize   int64       // bytes on the wire
	AnswerCut    bool        // Answer is shorter than AnswerSize
	// Tail is the last of the answer, up to 16 KiB, when it was cut: that is where the usage is.
	Tail      []byte
	ErrorKind record.FailureKind
	Error     string // of the gateway's own finding; holds no key
	Attempts  int
	Guard     *guard.Report // what the route's guard did; nil where none read the answer

	memory *atomic.Int64
	held   int64
}

// Behind is the variant of the configuration that answered.
func (t *Tapped) Behind() string {
	if t.Shadows != "" {
		return t.Shadows
	}
	return t.Variant
}

// Arrival is one read of the answer: at Time since Arrived there were End bytes of it.
type Arrival struct {
	Time time.Duration
	End  int
}

const (
	// maxArrivals bounds the times kept of one exchange; more than a long answer has tokens.
	maxArrivals = 8192
	// maxTags, maxTag and maxUnit bound what telltale-* headers bring.
	maxTags = 16
	maxTag  = 256
	maxUnit = 256
	maxTail = 16 << 10
	// keptBuffer is the largest buffer that is kept for the next exchange, and keptArrivals the longest list of times.
	keptBuffer   = 256 << 10
	keptArrivals = 1024
	arrivalSize  = 16 // bytes
)

var (
	tappedPool = sync.Pool{New: func() any { return new(Tapped) }}
	bytesPool  = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}
)

// grab returns an empty buffer from the pool.
func grab() []byte { return (*bytesPool.Get().(*[]byte))[:0] }

// give returns a buffer to the pool.
func give(b []byte) {
	if cap(b) > 0 && cap(b) <= keptBuffer {
		b = b[:0]
		bytesPool.Put(&b)
	}
}

// Release gives the buffers back.
func (t *Tapped) Release() {
	if t.memory != nil {
		t.memory.Add(-t.held)
	}
	give(t.Body)
	give(t.SentBody)
	give(t.Answer)
	give(t.Tail)
	arrivals, tags := t.Arrivals[:0], t.Tags
	if cap(arrivals) > keptArrivals {
		arrivals = nil
	}
	clear(tags)
	*t = Tapped{Arrivals: arrivals, Tags: tags}
	tappedPool.Put(t)
}

// Held is how many bytes of memory the exchange takes until it is released.
func (t *Tapped) Held() int64 { return t.held }

// hold accounts for n more bytes, if the memory allows.
func (t *Tapped) hold(n int64, limit int64) bool {
	if t.memory.Add(n) > limit {
		t.memory.Add(-n)
		return false
	}
	t.held += n
	return true
}

// answer keeps bytes of the answer as far as the bound allows.
func (g *Gateway) tapAnswer(t *Tapped, p []byte, limit int, at time.Duration) {
	if t.FirstByte == 0 {
		t.FirstByte = at
	}
	t.AnswerSize += int64(len(p))
	if t.AnswerCut {
		g.tail(t, p)
		return
	}
	if room := limit - len(t.Answer); len(p) > room {
		t.AnswerCut = true
		g.tail(t, p[max(0, room):])
		p = p[:max(0, room)]
	}
	if need := len(t.Answer) + len(p); need > cap(t.Answer) && !g.grow(t, need, limit) {
		t.AnswerCut = true
		g.tail(t, p)
		g.stats.dropped[DropMemory].Add(1)
		return
	}
	t.Answer = append(t.Answer, p...)
	g.arrive(t, Arrival{at, len(t.Answer)})
}

// arrive notes when a piece came, as far as the bounds allow.
func (g *Gateway) arrive(t *Tapped, a Arrival) {
	n := len(t.Arrivals)
	switch {
	case n == 0 && cap(t.Arrivals) > 0 && !t.ArrivalsCut:
		t.ArrivalsCut = !t.hold(int64(cap(t.Arrivals))*arrivalSize, g.o.TapMemory)
	case n == cap(t.Arrivals) && !t.ArrivalsCut:
		size := min(max(16, 2*n), maxArrivals)
		if t.ArrivalsCut = size == n || !t.hold(int64(size-n)*arrivalSize, g.o.TapMemory); !t.ArrivalsCut {
			t.Arrivals = append(make([]Arrival, 0, size), t.Arrivals...)
		}
	}
	switch {
	case !t.ArrivalsCut:
		t.Arrivals = append(t.Arrivals, a)
	case n > 0:
		t.Arrivals[n-1] = a
	}
}

// grow makes room for need bytes of the answer, if the memory for captures allows.
func (g *Gateway) grow(t *Tapped, need, limit int) bool {
	before := cap(t.Answer)
	var b []byte
	if b = grab(); cap(b) < need || cap(b) <= before {
		give(b)
		b = make([]byte, 0, min(max(need, 2*before), max(limit, need)))
	}
	if !t.hold(int64(cap(b)-before), g.o.TapMemory) {
		give(b)
		return false
	}
	b = append(b, t.Answer...)
	give(t.Answer)
	t.Answer = b
	return true
}

// tail keeps the last bytes, for which there is memory beside that of captures. The buffer is twice as long as what is kept,
// so that bytes are seldom moved.
func (g *Gateway) tail(t *Tapped, p []byte) {
	if t.Tail == nil && !t.hold(2*maxTail, g.o.TapMemory+g.o.TapMemory/4) {
		return
	}
	if len(p) > maxTail {
		p = p[len(p)-maxTail:]
	}
	if t.Tail == nil {
		t.Tail = make([]byte, 0, 2*maxTail)
	}
	if len(t.Tail)+len(p) > 2*maxTail {
		t.Tail = t.Tail[:copy(t.Tail, t.Tail[len(t.Tail)-(maxTail-len(p)):])]
	}
	t.Tail = append(t.Tail, p...)
}

// describe reads the request's headers.
func (t *Tapped) describe(h http.Header) {
	for k, v := range h {
		if len(v) == 0 {
			continue
		}
		switch k {
		case "Content-Type", "Content-Encoding", "User-Agent", "Anthropic-Version", "Anthropic-Beta", "Openai-Organization", "Openai-Project", "Traceparent", "Idempotency-Key", "X-Request-Id":
			t.keep(k, v)
		case "Telltale-User":
			t.User = clip(v[0], maxUnit)
		case "Telltale-Session":
			t.Session = clip(v[0], maxUnit)
		case "X-Stainless-Retry-Count":
			if n, err := strconv.Atoi(v[0]); err == nil && n > 0 {
				t.Retries = min(n, 1000)
			}
			t.keep(k, v)
		default:
			if name, ok := strings.CutPrefix(k, "Telltale-Tag-"); ok && name != "" && len(t.Tags) < maxTags {
				if t.Tags == nil {
					t.Tags = make(map[string]string, 4)
				}
				t.Tags[clip(strings.ToLower(name), 64)] = clip(v[0], maxTag)
			} else if strings.HasPrefix(k, "X-Stainless-") {
				t.keep(k, v)
			}
		}
	}
}

func (t *Tapped) keep(k string, v []string) {
	if t.Header == nil {
		t.Header = make(http.Header, 8)
	}
	t.Header[k] = v
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// deliver hands exchanges to the sink, one after the other, away from the requests. It ends when the queue is closed.
func (g *Gateway) deliver() {
	defer close(g.delivered)
	for t := range g.queue {
		g.stats.waiting.Add(-1)
		g.hand(t)
	}
}

func (g *Gateway) hand(t *Tapped) {
	defer func() {
		if v := recover(); v != nil {
			// The value is not logged: it may hold what the exchange says.
			g.stats.dropped[DropPanic].Add(1)
			g.o.Log.Error("the sink of captured exchanges panicked", "exchange", t.ID)
		}
	}()
	g.o.Sink(t)
	g.stats.handed.Add(1)
}

// offer queues an exchange without ever waiting.
func (g *Gateway) offer(t *Tapped) {
	g.closing.RLock()
	defer g.closing.RUnlock()
	why := DropClosed
	if !g.closed {
		g.stats.waiting.Add(1)
		select {
		case g.queue <- t:
			return
		default:
			g.stats.waiting.Add(-1)
			why = DropQueue
		}
	}
	g.stats.dropped[why].Add(1)
	t.Release()
}
