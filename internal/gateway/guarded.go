package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/guard"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/wiretap"
)

func compileGuards(cs []config.Guard) (map[string]*guard.Guard, error) {
	out := make(map[string]*guard.Guard, len(cs))
	var errs config.Errors
	for i := range cs {
		g, err := guard.New(cs[i])
		if err != nil {
			errs.Append(cs[i].Pos, err)
			continue
		}
		out[cs[i].Name] = g
	}
	return out, errs.Err()
}

// wire names the request's format as exchanges do.
func (c *call) wire() string { return wiretap.Classify(c.r.Method, "/v1"+c.rest) }

// guards says whether the answer is to go through the route's guard.
func (c *call) guards() bool {
	return c.route.guard != nil && c.route.guard.Reads() && c.endpoint == generate
}

// asked is the body that was sent.
func (c *call) asked() []byte {
	if c.sent != nil {
		return c.sent
	}
	return c.body
}

// fallBack asks the guard's fallback model, once, when no upstream has answered or the answer is the upstream's error.
func (c *call) fallBack(kind record.FailureKind, err error) (record.FailureKind, error) {
	g := c.route.guard
	if g == nil || c.endpoint != generate || kind == record.Canceled || kind == record.BadRequest || kind == "" && c.resp.StatusCode < http.StatusInternalServerError && c.resp.StatusCode != http.StatusTooManyRequests {
		return kind, err
	}
	model := g.Fallback(nil)
	if model == "" || c.ctx.Err() != nil {
		return kind, err
	}
	body, failed := g.With(c.asked(), model)
	if failed != nil {
		return kind, err
	}
	c.discard()
	c.again = bytes.Clone(body)
	c.t.Guard = &guard.Report{Guard: g.Name(), Version: g.Version(), ID: g.ID(), Outcome: guard.Passed.String(), Model: model}
	return c.ask()
}

// guarded passes the answer through the route's guard, and asks again where that says so. What was asked first has then not
// been passed on.
func (c *call) guarded() (clean bool, kind record.FailureKind, err error) {
	var before *guard.Verdict
	for {
		if c.resp.StatusCode != http.StatusOK { // an error holds no answer
			return c.passOn()
		}
		v, clean, kind, err := c.filter(before)
		report := v.Report
		if t := c.t.Guard; t != nil && report.Model == "" {
			report.Model = t.Model
		}
		c.t.Guard = &report
		if v.Outcome != guard.Again || kind != "" {
			return clean, kind, err
		}
		body, failed := c.route.guard.Retry(c.wire(), c.asked(), v.Next)
		if failed != nil {
			return c.giveUp(record.BadRequest, badRequest{failed}), record.BadRequest, failed
		}
		c.again, before = bytes.Clone(body), &v
		if kind, err = c.ask(); kind != "" {
			return c.giveUp(kind, err), kind, err
		}
	}
}

// filter passes one answer through the guard. With an outcome of Again nothing has been passed on.
func (c *call) filter(before *guard.Verdict) (v guard.Verdict, clean bool, kind record.FailureKind, err error) {
	resp := c.resp
	c.m.stats.inFlight.Add(1)
	defer c.m.stats.inFlight.Add(-1)
	stream := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream")
	a := c.route.guard.Answer(guard.Options{API: c.wire(), Stream: stream, Request: c.asked(), Encoding: resp.Header.Get("Content-Encoding"), Before: before})
	f := sieve{pump: pump{c: c, left: -1, hold: c.newHold(resp), wroteBy: c.g.o.Now()}, answer: a}
	if stream && closeDelimited(resp) {
		f.last = c.lastEvent()
	}
	rerr, werr := f.run(resp.Body)
	whole := errors.Is(rerr, io.EOF)
	if werr == nil {
		var rest []byte
		rest, v = a.End(whole)
		if v.Outcome != guard.Again || !whole {
			werr = f.pass(rest, true)
			if werr == nil && !f.begun {
				f.begin()
			}
		}
	}
	c.release(whole && !a.Done() && !resp.Close && resp.ProtoAtLeast(1, 1))
	if v.Outcome == guard.Again && whole {
		c.m.health.success(c.probe)
		return v, true, "", nil
	}
	v2, k, e := c.settle(whole, rerr, werr)
	return v, v2, k, e
}

// sieve moves an answer's bytes through a guard.
type sieve struct {
	pump
	answer *guard.Answer
	begun  bool
}

// run reads until the end of the answer, or until the guard needs no more of it, which is as good as the end.
func (f *sieve) run(body io.Reader) (rerr, werr error) {
	c := f.c
	buf := relayPool.Get().(*[relayBuffer]byte)
	defer relayPool.Put(buf)
	for {
		f.limitRead(c.g.o.Now())
		n, err := body.Read(buf[:])
		if n > 0 {
			piece := buf[:n]
			if f.last != nil {
				f.remember(piece)
			}
			if f.hold != nil {
				piece = f.hold.push(piece)
			}
			if werr = f.pass(f.answer.Push(piece), false); werr != nil {
				return err, werr
			}
		}
		if err == nil && f.answer.Done() {
			return io.EOF, nil
		}
		if err == nil {
			continue
		}
		if err == io.EOF && f.last != nil && !bytes.Contains(f.end[:f.endLen], f.last) {
			err = errTruncated
		}
		if err == io.EOF && f.hold != nil {
			werr = f.pass(f.answer.Push(f.hold.rest()), false)
		}
		return err, werr
	}
}

// pass writes what the guard lets through, behind the answer's headers.
func (f *sieve) pass(out []byte, last bool) error {
	if len(out) == 0 {
		return nil
	}
	if !f.begun {
		f.begin()
	}
	c := f.c
	now := c.g.o.Now()
	if c.g.queue != nil {
		c.g.tapAnswer(c.t, out, c.g.o.TapAnswer, now.Sub(c.start))
	}
	return f.write(out, now, last)
}

// begin writes the answer's headers: those of the upstream, without a length that may not hold any more.
func (f *sieve) begin() {
	c := f.c
	f.begun = true
	c.t.Status, c.t.AnswerHeader = c.resp.StatusCode, c.resp.Header
	c.copyHeaders(c.resp.Header)
	h := c.w.Header()
	delete(h, "Content-Length")
	for _, digest := range []string{"Etag", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		delete(h, digest) // of what the upstream has sent
	}
	if status := f.answer.Status(); status != 0 {
		c.t.Status = status
		delete(h, "Content-Encoding")
		h["Content-Type"] = []string{"application/json"}
	}
	c.writeBy(c.g.o.Now())
	c.w.WriteHeader(c.t.Status)
}
