package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/telltale-llm/telltale/internal/access"
	"github.com/telltale-llm/telltale/internal/record"
)

// errAnswer says that what an upstream sent is not an HTTP answer.
var errAnswer = errors.New("the upstream's answer is not HTTP")

// call is one request on its way. One goroutine works on it.
type call struct {
	g     *Gateway
	s     *state
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context
	start time.Time
	id    string

	api      api
	endpoint endpoint
	route    *route
	rest     string // path after /v1, raw
	query    string
	client   *access.Client
	body     []byte
	held     int64 // bytes of body accounted for
	facts    facts

	to     assignment
	shadow bool   // a copy whose answer nobody gets
	pairs  string // the exchange that it is a copy of

	t *Tapped

	// The attempt under way.
	m     *member
	probe bool
	conn  *conn
	stop  func() bool
	resp  *http.Response
	// again is the body that a guard has the model asked again with.
	again []byte
	// listed are the headers of the answer that its Connection header names.
	listed []string
	sent   []byte // the body as changed for m; nil where it is the client's
}

// since is the time since the request arrived.
func (c *call) since() time.Duration { return c.g.o.Now().Sub(c.start) }

// writeBy gives the client its time to take what is written from now on.
func (c *call) writeBy(now time.Time) {
	_ = http.NewResponseController(c.w).SetWriteDeadline(now.Add(c.g.o.SlowClient))
}

// exchange asks upstreams until there is an answer to pass on, and passes it on. It returns false when the client's
// connection has to be broken off.
func (c *call) exchange() (clean bool) {
	rs := c.route.stats
	rs.requests.Add(1)
	rs.inFlight.Add(1)
	rs.bytesIn.Add(int64(len(c.body)))
	defer rs.inFlight.Add(-1)
	c.begin()
	kind, err := c.ask()
	kind, err = c.fallBack(kind, err)
	if kind == "" {
		clean, kind, err = c.relay()
	} else {
		clean = c.giveUp(kind, err)
	}
	c.mirror()
	c.end(kind, err)
	return clean
}

// begin fills in what is known before an upstream is asked.
func (c *call) begin() {
	t := tappedPool.Get().(*Tapped)
	t.memory = &c.g.stats.tap
	t.ID, t.Route, t.Variant, t.Propensity = c.id, c.route.name, c.to.variant, c.to.propensity
	if p := c.to.plan; p != nil {
		t.Rollout, t.Stage, t.Unit, t.Pairs, t.Shadows = p.Rollout, p.Stage, c.to.unit, c.pairs, c.to.shadows
	}
	t.Format, t.Model, t.Stream = c.api.String(), c.facts.model, c.facts.stream
	t.Method, t.Path = c.r.Method, "/v1"+c.rest
	if c.client != nil {
		t.Client = c.client.Name()
	}
	t.Arrived = c.start
	t.BodySize = int64(len(c.body))
	t.describe(c.r.Header)
	c.t = t
}

// badRequest is a request that cannot be sent on as the route wants it.
type badRequest struct{ error }

// ask makes attempts until an answer is there, in c.resp, or nothing is left to try. Nothing has been passed on
// meanwhile, so each may be made elsewhere. The kind is empty when there is an answer, be it an error's.
func (c *call) ask() (record.FailureKind, error) {
	tiers := c.route.tiers[c.api]
	left := c.route.retries
	var tried uint64
	retry := 0
	now := c.g.o.Now()
	c.m, c.probe = choose(tiers, 0, now)
	for {
		c.t.Attempts++
		err := c.attempt(left > 0 || len(tiers) > 1 || len(tiers[0].members) > 1)
		if bad, ok := errors.AsType[badRequest](err); ok {
			c.m.health.neither(c.probe)
			return record.BadRequest, bad
		}
		now = c.g.o.Now()
		kind := c.judge(err, now)
		if kind == record.Canceled {
			return kind, err
		}
		if err == nil && !again(c.resp) {
			return "", nil
		}
		wait, told := time.Duration(0), false
		if err == nil {
			wait, told = asked(c.resp.Header, now)
		}
		tried |= 1 << c.m.index
		next, probe := choose(tiers, tried, now)
		switch {
		case next != nil:
			c.route.stats.fallbacks.Add(1)
		case left > 0 && wait <= c.g.o.MaxWait && now.Sub(c.start)+wait < c.route.timeout:
			left--
			if !told {
				wait = backoff(retry)
			}
			retry++
			c.route.stats.retries.Add(1)
		case err != nil:
			return kind, err
		default:
			return "", nil
		}
		c.discard()
		if next == nil {
			if !pause(c.ctx, wait) {
				return record.Canceled, c.ctx.Err()
			}
			tried = 0
			next, probe = choose(tiers, 0, c.g.o.Now())
		}
		c.m, c.probe = next, probe
	}
}

// judge tells the upstream's health what came of an attempt, and names the failure.
func (c *call) judge(err error, now time.Time) record.FailureKind {
	h := c.m.health
	if err != nil {
		kind := kindOf(c.ctx, err)
		if kind == record.Canceled || errors.Is(err, errBusyConns) {
			h.neither(c.probe)
			return kind
		}
		c.m.stats.failures.Add(1)
		h.failure(c.probe, now)
		return kind
	}
	switch status := c.resp.StatusCode; {
	case status >= http.StatusInternalServerError:
		c.m.stats.failures.Add(1)
		h.failure(c.probe, now)
	case status == http.StatusTooManyRequests:
		h.neither(c.probe)
	case c.probe || status >= http.StatusBadRequest:
		h.success(c.probe)
	}
	return ""
}

// attempt sends the request to c.m and waits for the answer's headers; with lazy, also a while for the first byte
// behind them. After an error there is no connection.
func (c *call) attempt(lazy bool) error {
	body, err := c.changed()
	if err != nil {
		return badRequest{err}
	}
	c.m.stats.attempts.Add(1)
	head := c.appendHead(grab(), c.m, body)
	if len(body) < writeAside {
		head, body = append(head, body...), nil
		defer func() { give(head) }()
	}
	for fresh := false; ; fresh = true {
		start := c.g.o.Now()
		deadline := start.Add(c.route.first)
		if end := c.start.Add(c.route.timeout); end.Before(deadline) {
			deadline = end
		}
		if c.conn, err = c.m.pool.get(c.ctx, fresh, deadline); err != nil {
			return err
		}
		stale := c.conn.used && !fresh
		c.stop = context.AfterFunc(c.ctx, c.conn.abort)
		if err = c.roundTrip(head, body, deadline, lazy); err == nil {
			return nil
		}
		got := c.conn.got
		c.release(false)
		// A rested connection that the upstream had closed meanwhile says nothing; the request has not been seen.
		if !stale || got || c.ctx.Err() != nil || !cutOff(err) {
			return err
		}
	}
}

func cutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// changed returns the body for c.m.
func (c *call) changed() ([]byte, error) {
	if c.sent != nil {
		give(c.sent)
		c.sent = nil
	}
	if c.again != nil {
		c.sent = append(grab(), c.again...)
		return c.sent, nil
	}
	body, err := c.edited()
	if g := c.route.guard; err == nil && g != nil && c.endpoint == generate && len(c.body) > 0 {
		guarded, err := g.Request(c.wire(), body)
		if err != nil {
			return nil, err
		}
		if len(guarded) != len(body) || len(body) > 0 && &guarded[0] != &body[0] {
			if c.sent != nil {
				give(c.sent)
			}
			c.sent = guarded
		}
		return guarded, nil
	}
	return body, err
}

// edited returns the body as the route and the upstream change it.
func (c *call) edited() ([]byte, error) {
	edits := c.m.edits
	if c.endpoint == plain {
		edits = c.m.modelEdit
	}
	if c.endpoint == unknown || len(edits) == 0 || len(c.body) == 0 || !c.facts.object {
		return c.body, nil
	}
	out, changed, err := apply(grab(), c.body, edits, c.facts.stream)
	if err != nil || !changed {
		give(out)
		return c.body, err
	}
	c.sent = out
	return out, nil
}

// questions are what http.ReadResponse must know of the request: whether it was a HEAD.
var (
	question = &http.Request{Method: http.MethodPost}
	askHead  = &http.Request{Method: http.MethodHead}
)

func (c *call) roundTrip(head, body []byte, deadline time.Time, lazy bool) error {
	n := c.conn
	n.head, n.got = maxAnswerHead, n.br.Buffered() > 0
	if err := n.raw.SetDeadline(deadline); err != nil {
		return err
	}
	c.t.Sent = c.since()
	werr := n.write(head, body)
	if werr != nil && (n.used || c.ctx.Err() != nil) {
		return werr
	}
	if werr != nil {
		// It may have refused the request before it was through; its word is better than ours.
		_ = n.raw.SetReadDeadline(c.g.o.Now().Add(250 * time.Millisecond))
	}
	q := question
	if c.r.Method == http.MethodHead {
		q = askHead
	}
	for informational := 0; ; informational++ {
		c.listed = listedIn(n.br)
		resp, err := http.ReadResponse(n.br, q) //nolint:bodyclose // closing would read on; release ends the connection, or the answer has been read
		if err != nil {
			return answerError(err, werr)
		}
		if resp.StatusCode >= http.StatusOK {
			c.resp = resp
			break
		}
		if resp.StatusCode == http.StatusSwitchingProtocols || informational > 5 {
			return errAnswer
		}
	}
	n.head = -1
	c.t.Headers = c.since()
	if n.br.Buffered() > 0 && !begins(n.br, c.resp) {
		c.resp = nil
		return errAnswer
	}
	if !lazy || n.br.Buffered() > 0 || c.resp.ContentLength == 0 || q == askHead || c.resp.StatusCode == http.StatusNoContent || c.resp.StatusCode == http.StatusNotModified || again(c.resp) {
		return nil
	}
	soon := c.g.o.Now().Add(c.g.o.LazyHeader)
	if deadline.Before(soon) {
		soon = deadline
	}
	_ = n.raw.SetReadDeadline(soon)
	if _, err := n.br.Peek(1); err != nil {
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return nil
		}
		if err == io.EOF && closeDelimited(c.resp) {
			return nil
		}
		c.resp = nil
		return err
	}
	if !begins(n.br, c.resp) {
		c.resp = nil
		return errAnswer
	}
	return nil
}

// begins says whether what has arrived of a body can be its beginning: a chunk's size is a number. Otherwise the client would
// be told that all is well, and nothing else.
func begins(br *bufio.Reader, resp *http.Response) bool {
	if len(resp.TransferEncoding) == 0 {
		return true
	}
	b, err := br.Peek(1)
	return err == nil && (b[0] >= '0' && b[0] <= '9' || b[0]|0x20 >= 'a' && b[0]|0x20 <= 'f')
}

// closeDelimited says whether only the connection's end ends the answer.
func closeDelimited(resp *http.Response) bool {
	return resp.ContentLength < 0 && len(resp.TransferEncoding) == 0
}

// answerError tells what is no answer from a connection that ended.
func answerError(err, werr error) error {
	if werr != nil {
		return werr
	}
	if _, ok := errors.AsType[net.Error](err); ok || cutOff(err) || errors.Is(err, errAnswerHead) {
		return err
	}
	return fmt.Errorf("%w: %s", errAnswer, clip(err.Error(), 200))
}

// discard ends the attempt under way without passing its answer on. A short one is read to its end, so that the
// connection can be used again.
func (c *call) discard() {
	if c.conn == nil {
		return
	}
	whole := false
	if n := c.resp.ContentLength; n >= 0 && n <= 64<<10 {
		_ = c.conn.raw.SetReadDeadline(c.g.o.Now().Add(250 * time.Millisecond))
		read, err := io.Copy(io.Discard, c.resp.Body)
		whole = err == nil && read == n && !c.resp.Close
	}
	c.release(whole)
	c.resp = nil
}

// release gives the connection back; whole says that it can be used again.
func (c *call) release(whole bool) {
	if c.conn == nil {
		return
	}
	if !c.stop() {
		whole = false
	}
	if !c.conn.written() {
		whole = false
	}
	c.m.pool.put(c.conn, whole && c.conn.br.Buffered() == 0, c.g.o.Now())
	c.conn, c.stop = nil, nil
}

// giveUp tells the client that there is no answer. It returns false when the client is gone.
func (c *call) giveUp(kind record.FailureKind, err error) bool {
	if kind == record.Canceled {
		return false
	}
	e := unanswered(kind)
	if bad, ok := errors.AsType[badRequest](err); ok {
		e = &refusal{status: http.StatusBadRequest, code: "invalid_request", message: "The request cannot be sent on: " + bad.Error() + "."}
	} else {
		c.g.o.Log.Warn("no upstream answered", "route", c.route.name, "upstream", c.m.name, "kind", string(kind), "attempts", c.t.Attempts, "exchange", c.id, "error", err.Error())
	}
	c.t.Status = e.status
	c.writeBy(c.g.o.Now())
	writeRefusal(c.w, c.api, c.id, e)
	return true
}
