package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// bodyRate is the least number of bytes a second at which a client sends a body, after the time it has in any case.
const bodyRate = 32 << 10

// ahead is how many times more room a body is given than has arrived of it: what a client announces costs it nothing, so it
// must not cost the gateway much.
const ahead = 16

// read takes the request's body into memory. Retries send it again, and the model in it decides the route.
func (c *call) read(limit int64) *refusal {
	r := c.r
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength > limit {
		return tooLarge(limit)
	}
	rc := http.NewResponseController(c.w)
	if len(r.Header["Expect"]) > 0 {
		c.writeBy(c.start) // net/http writes 100 Continue now
	}
	until := c.start.Add(c.g.o.SlowBody)
	_ = rc.SetReadDeadline(until)
	b := grab()
	held := int64(cap(b))
	c.g.stats.body.Add(held)
	var e *refusal
	for {
		if len(b) == cap(b) {
			grown := int64(min(2*cap(b), int(limit)+512))
			if r.ContentLength > 0 {
				grown = max(grown, min(r.ContentLength+512, ahead*int64(len(b))))
			}
			if c.g.stats.body.Add(grown-int64(cap(b))) > c.g.o.BodyMemory {
				held = grown
				e = &refusal{status: http.StatusServiceUnavailable, reason: BusyBodies, message: "The gateway holds too many large requests at the moment.", wait: time.Second}
				break
			}
			held = grown
			b = append(make([]byte, 0, grown), b...)
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if int64(len(b)) > limit {
			e = tooLarge(limit)
			break
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			e = c.bodyError(err)
			break
		}
		if by := c.start.Add(c.g.o.SlowBody + time.Duration(len(b)/bodyRate)*time.Second); by.Sub(until) > time.Second {
			until = by
			_ = rc.SetReadDeadline(until)
		}
	}
	c.body, c.held = b, held
	if e == nil {
		_ = rc.SetReadDeadline(time.Time{})
	}
	return e
}

func tooLarge(limit int64) *refusal {
	return &refusal{status: http.StatusRequestEntityTooLarge, reason: TooLarge, code: "request_too_large", message: "The request is larger than this gateway's limit of " + bytesText(limit) + "."}
}

// bodyError tells a slow client from one that went away and one that sends what is not HTTP.
func (c *call) bodyError(err error) *refusal {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return &refusal{status: http.StatusRequestTimeout, reason: SlowBody, message: "The request's body was not sent in time."}
	}
	if c.ctx.Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) {
		return &refusal{status: http.StatusBadRequest, reason: GoneBody, message: "The request's body ended early."}
	}
	return &refusal{status: http.StatusBadRequest, reason: BadBody, message: "The request's body could not be read."}
}

// freeBody gives the memory of the body back, unless the tap has taken it over.
func (c *call) freeBody() {
	c.g.stats.body.Add(-c.held)
	c.held = 0
	if c.body != nil {
		give(c.body)
		c.body = nil
	}
}
