package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// relayBuffer is the size of the pieces in which an answer is read: large answers need few reads, and a slow client
// holds no more than this and the sockets' buffers.
const relayBuffer = 32 << 10

var relayPool = sync.Pool{New: func() any { return new([relayBuffer]byte) }}

// coarse is how far a deadline may lag before it is set anew: setting one for each token would cost more than it
// gains.
const coarse = time.Second

var (
	errSlowClient = errors.New("the client did not take its answer in time")
	errGone       = errors.New("the client went away")
	errTruncated  = errors.New("the stream ended without its last event")
)

// relay passes the answer in c.resp to the client. It returns whether the client got all of it.
func (c *call) relay() (clean bool, kind record.FailureKind, err error) {
	if c.guards() {
		return c.guarded()
	}
	return c.passOn()
}

// passOn passes the answer in c.resp on as it comes.
func (c *call) passOn() (clean bool, kind record.FailureKind, err error) {
	resp := c.resp
	c.m.stats.inFlight.Add(1)
	defer c.m.stats.inFlight.Add(-1)
	c.t.Status, c.t.AnswerHeader = resp.StatusCode, resp.Header
	c.copyHeaders(resp.Header)
	hold := c.newHold(resp)
	if hold != nil {
		delete(c.w.Header(), "Content-Length")
	}
	now := c.g.o.Now()
	c.writeBy(now)
	c.w.WriteHeader(resp.StatusCode)

	p := pump{c: c, hold: hold, left: resp.ContentLength, wroteBy: now}
	if closeDelimited(resp) && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		p.last = c.lastEvent()
	}
	rerr, werr := p.run(resp.Body)
	whole := errors.Is(rerr, io.EOF)
	c.release(whole && !resp.Close && resp.ProtoAtLeast(1, 1))
	return c.settle(whole, rerr, werr)
}

// settle tells the upstream's health how passing an answer on went, and names what went wrong.
func (c *call) settle(whole bool, rerr, werr error) (clean bool, kind record.FailureKind, err error) {
	switch {
	case werr != nil:
		c.m.health.neither(c.probe)
		if ne, ok := errors.AsType[net.Error](werr); ok && ne.Timeout() {
			c.g.stats.slow.Add(1)
			return false, record.Canceled, errSlowClient
		}
		return false, record.Canceled, errGone
	case !whole && c.ctx.Err() != nil:
		c.m.health.neither(c.probe)
		return false, record.Canceled, errGone
	case !whole:
		c.m.stats.failures.Add(1)
		c.m.health.failure(false, c.g.o.Now())
		if ne, ok := errors.AsType[net.Error](rerr); ok && ne.Timeout() {
			return false, record.Timeout, rerr
		}
		return false, record.Cut, rerr
	}
	if status := c.resp.StatusCode; status < http.StatusInternalServerError && status != http.StatusTooManyRequests {
		c.m.health.success(c.probe)
	}
	return true, kindOfStatus(c.t.Status), nil
}

// lastEvent returns what the end of a whole stream holds; nil where that is not known.
func (c *call) lastEvent() []byte {
	switch c.rest {
	case "/chat/completions", "/completions":
		return []byte("[DONE]")
	case "/messages":
		return []byte("message_stop")
	}
	return nil
}

// pump moves an answer's bytes.
type pump struct {
	c       *call
	hold    *hold
	left    int64 // bytes of the answer that are to come; below 0 where that is not known
	wroteBy time.Time
	readBy  time.Time
	last    []byte // must be in the end of the answer
	end     [64]byte
	endLen  int
}

// run reads and writes in turns: while the client does not take a piece, nothing more is read from the upstream. The
// read error is io.EOF when the answer came whole.
func (p *pump) run(body io.Reader) (rerr, werr error) {
	c := p.c
	buf := relayPool.Get().(*[relayBuffer]byte)
	defer relayPool.Put(buf)
	tap := c.g.queue != nil
	if p.left != 0 && c.conn.br.Buffered() == 0 {
		// The first byte is awaited no longer: the client shall see that an answer has begun.
		if werr = p.push(); werr != nil {
			return nil, werr
		}
	}
	for {
		now := c.g.o.Now()
		p.limitRead(now)
		n, err := body.Read(buf[:])
		if n > 0 {
			now = c.g.o.Now()
			piece := buf[:n]
			if p.left > 0 {
				p.left -= int64(n)
			}
			if tap {
				c.g.tapAnswer(c.t, piece, c.g.o.TapAnswer, now.Sub(c.start))
			}
			if p.last != nil {
				p.remember(piece)
			}
			if p.hold != nil {
				piece = p.hold.push(piece)
			}
			if werr = p.write(piece, now, err == io.EOF); werr != nil {
				return err, werr
			}
		}
		if err == nil {
			continue
		}
		if err == io.EOF && p.last != nil && !bytes.Contains(p.end[:p.endLen], p.last) {
			err = errTruncated
		}
		if err == io.EOF && p.hold != nil {
			werr = p.write(p.hold.rest(), c.g.o.Now(), true)
		}
		return err, werr
	}
}

// limitRead bounds how long the next piece may take.
func (p *pump) limitRead(now time.Time) {
	r := p.c.route
	by := now.Add(r.idle)
	if end := p.c.start.Add(r.timeout); end.Before(by) {
		by = end
	}
	if d := by.Sub(p.readBy); d >= coarse || d >= r.idle/16 {
		p.readBy = by
		_ = p.c.conn.raw.SetReadDeadline(by)
	}
}

// write passes a piece on. The last one needs no flush: net/http does that with what ends the answer.
func (p *pump) write(piece []byte, now time.Time, last bool) error {
	if len(piece) == 0 {
		return nil
	}
	if d := now.Sub(p.wroteBy); d >= coarse || d >= p.c.g.o.SlowClient/16 {
		p.wroteBy = now
		p.c.writeBy(now)
	}
	if _, err := p.c.w.Write(piece); err != nil {
		return err
	}
	p.c.route.stats.bytesOut.Add(int64(len(piece)))
	// What has come by now goes out at once, unless it is the end.
	if last || p.left == 0 || p.left > 0 && p.c.conn.br.Buffered() > 0 {
		return nil
	}
	return p.push()
}

func (p *pump) push() error {
	f, ok := p.c.w.(interface{ FlushError() error })
	if !ok {
		return http.NewResponseController(p.c.w).Flush()
	}
	return f.FlushError()
}

// remember keeps the last bytes of the answer.
func (p *pump) remember(piece []byte) {
	if len(piece) >= len(p.end) {
		p.endLen = copy(p.end[:], piece[len(piece)-len(p.end):])
		return
	}
	if over := p.endLen + len(piece) - len(p.end); over > 0 {
		p.endLen = copy(p.end[:], p.end[over:p.endLen])
	}
	p.endLen += copy(p.end[p.endLen:], piece)
}

// end hands the exchange to the sink and gives back what the request held.
func (c *call) end(kind record.FailureKind, err error) {
	t, rs := c.t, c.route.stats
	rs.status[min(max(0, t.Status/100), 5)].Add(1)
	if kind != "" {
		rs.failed[kind].Add(1)
	}
	t.Ended = c.since()
	rs.took.observe(t.Ended)
	if c.g.queue == nil {
		c.drop()
		return
	}
	if t.FirstByte > 0 {
		rs.first.observe(t.FirstByte)
	}
	t.ErrorKind = kind
	if err != nil {
		t.Error = clip(err.Error(), 500)
	}
	if c.m != nil {
		t.Upstream, t.Override = c.m.name, c.m.model
	}
	if t.AnswerHeader != nil {
		delete(t.AnswerHeader, "Set-Cookie")
	}
	c.tapRequest()
	c.freeBody()
	c.g.offer(t)
}

func (c *call) drop() {
	if c.sent != nil {
		give(c.sent)
	}
	c.freeBody()
	c.t.Release()
}

// tapRequest moves the request's bytes to the tap. A body that fits is not copied.
func (c *call) tapRequest() {
	t, limit := c.t, c.g.o.TapRequest
	t.Body, t.BodyCut = c.tapBytes(c.body, limit)
	c.body = nil
	if c.sent != nil {
		t.SentBody, t.SentBodyCut = c.tapBytes(c.sent, limit)
		c.sent = nil
	}
}

func (c *call) tapBytes(b []byte, limit int) (kept []byte, cut bool) {
	if b == nil {
		return nil, false
	}
	size := cap(b)
	if cut = len(b) > limit; cut {
		size = limit
	}
	if !c.t.hold(int64(size), c.g.o.TapMemory) {
		c.g.stats.dropped[DropMemory].Add(1)
		give(b)
		return nil, len(b) > 0
	}
	if cut {
		return append(make([]byte, 0, limit), b[:limit]...), true
	}
	return b, false
}
