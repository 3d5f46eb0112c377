package sim

import (
	"net/http"
	"strconv"
	"time"
)

// surface is one API's way of writing answers. The call has drawn them already; a surface only
// encodes, whole or as events. Methods that write events send each one with sse.send.
type surface interface {
	// whole appends the body of an answer that is not streamed.
	whole(b []byte) []byte
	// start writes the events before the first token.
	start(s *sse)
	// token writes the next token of a choice.
	token(s *sse, choice int, token string)
	// finish writes the events after the last token.
	finish(s *sse)
	// fail writes the event that ends a stream with an error.
	fail(s *sse, e *apiError)
}

// draw draws the answers to one request: n choices that fail or take their time together.
func (c *call) draw(q *Query, n int) ([]Answer, *apiError) {
	attempt := unknownAttempt
	if h := c.r.Header["X-Stainless-Retry-Count"]; len(h) == 1 {
		if k, err := strconv.Atoi(h[0]); err == nil && k >= 0 {
			attempt = k
		}
	}
	first := c.s.m.next(q, attempt)
	if first.variant == nil {
		return nil, first.Fault.apiError()
	}
	as := make([]Answer, n)
	as[0] = first
	for i := 1; i < n; i++ {
		q.Choice = i
		as[i] = c.s.m.Answer(*q)
	}
	if first.Fault != nil {
		c.s.counts.fault(first.Fault.Kind)
		if first.Fault.Kind == Empty {
			for i := range as {
				as[i].Text, as[i].Tokens, as[i].Refused = "", 0, false
			}
		}
	}
	return as, nil
}

// deliver waits as long as the answers take and sends them, or fails as the fault of the first says.
func (c *call) deliver(as []Answer, stream bool, sf surface) *apiError {
	f := as[0].Fault
	if f != nil {
		switch {
		case f.Kind == Status, f.Kind == StreamError && !stream:
			return f.apiError()
		case f.Kind == Reset:
			panic(http.ErrAbortHandler)
		case f.Kind == Hang:
			c.hang(f.After)
			panic(http.ErrAbortHandler)
		}
	}
	if stream {
		c.stream(as, sf)
		return nil
	}
	var total time.Duration
	for i := range as {
		total = max(total, as[i].Total())
	}
	if f != nil && f.Kind == Cut {
		total /= 2
	}
	if c.s.m.wait(c.r.Context(), total) != nil {
		c.abandon()
	}
	buf := c.s.buffers.Get().(*[]byte)
	defer c.s.release(buf)
	b := sf.whole((*buf)[:0])
	*buf = b
	if f == nil || f.Kind == Empty {
		c.write(http.StatusOK, b)
		return nil
	}
	if f.Kind == Malformed {
		c.write(http.StatusOK, b[:len(b)*2/3])
		return nil
	}
	c.cut(b)
	return nil
}

// abandon ends a request whose client is gone, or whose server is closing: the connection breaks,
// so that nobody takes what was sent for a whole answer.
func (c *call) abandon() {
	c.s.counts.canceled.Add(1)
	panic(http.ErrAbortHandler)
}

// hang waits until the client gives up, or for d when that is set.
func (c *call) hang(d time.Duration) {
	if d > 0 {
		if c.s.m.wait(c.r.Context(), d) == nil {
			return
		}
	} else {
		<-c.r.Context().Done()
	}
	c.s.counts.canceled.Add(1)
}

// cut announces the whole body, sends half of it and closes the connection.
func (c *call) cut(b []byte) {
	h := c.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(b[:len(b)/2])
	_ = http.NewResponseController(c.w).Flush()
	panic(http.ErrAbortHandler)
}

// sse writes server-sent events, one flush each. After a failed write it does nothing more.
type sse struct {
	w     http.ResponseWriter
	flush *http.ResponseController
	buf   []byte
	err   error
}

// send writes the event in buf as it is.
func (s *sse) send() {
	if s.err == nil {
		if _, s.err = s.w.Write(s.buf); s.err == nil {
			s.err = s.flush.Flush()
		}
	}
	s.buf = s.buf[:0]
}

// stream sends the answers token by token, the choices in turn.
func (c *call) stream(as []Answer, sf surface) {
	c.s.counts.streams.Add(1)
	f := as[0].Fault
	ctx := c.r.Context()
	if c.s.m.wait(ctx, as[0].TTFT) != nil {
		c.abandon()
	}
	c.processed()
	h := c.w.Header()
	h["Content-Type"], h["Cache-Control"] = streamType, noCache
	c.w.WriteHeader(http.StatusOK)
	buf := c.s.buffers.Get().(*[]byte)
	s := &sse{w: c.w, flush: http.NewResponseController(c.w), buf: (*buf)[:0]}
	defer func() {
		*buf = s.buf
		c.s.release(buf)
	}()

	sf.start(s)
	most := 0
	rest := make([]string, len(as))
	for i := range as {
		rest[i] = as[i].Text
		most = max(most, as[i].Tokens)
	}
	breakAt := -1
	if f != nil && f.Kind != Empty {
		breakAt = most / 2
	}
	for k := range most {
		if k == breakAt {
			break
		}
		if k > 0 && c.s.m.wait(ctx, as[0].PerToken) != nil || s.err != nil {
			break
		}
		for i := range rest {
			if rest[i] != "" {
				n := nextToken(rest[i])
				sf.token(s, i, rest[i][:n])
				rest[i] = rest[i][n:]
			}
		}
	}
	if s.err != nil || ctx.Err() != nil {
		c.abandon()
	}
	switch {
	case breakAt < 0:
		sf.finish(s)
	case f.Kind == StreamError:
		sf.fail(s, f.apiError())
	case f.Kind == Malformed:
		if c.dialect == anthropic {
			// Its clients pass over data without the name of an event they know.
			s.buf = append(s.buf, "event: content_block_delta\n"...)
		}
		s.buf = append(s.buf, "data: {\"choices\": [{\"delta\": {\"cont\n\n"...)
		s.send()
	default:
		panic(http.ErrAbortHandler)
	}
}
