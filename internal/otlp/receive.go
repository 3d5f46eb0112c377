package otlp

import (
	"context"
	"math"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telltale-llm/telltale/internal/record"
)

// partial says what of a request was not taken, and why; the rest was.
type partial struct {
	rejected int64
	message  string
}

// traces takes in spans. It returns once the exchanges in them are durable.
func (r *Receiver) traces(ctx context.Context, td ptrace.Traces, name string) (partial, error) {
	var p partial
	var calls []*call
	for i := range td.ResourceSpans().Len() {
		rs := td.ResourceSpans().At(i)
		from := source{name: name, resource: attrsOf(rs.Resource().Attributes())}
		for j := range rs.ScopeSpans().Len() {
			spans := rs.ScopeSpans().At(j).Spans()
			for k := range spans.Len() {
				r.n.spans.Add(1)
				s := spans.At(k)
				if !hasMarks(s.Attributes()) {
					r.n.ignored.Add(1)
					continue
				}
				a := attrsOf(s.Attributes())
				op := classify(a)
				switch {
				case op == foreign:
					r.n.ignored.Add(1)
				case op == related:
					r.n.notCalls.Add(1)
				case s.TraceID().IsEmpty() || s.SpanID().IsEmpty():
					p.rejected++
					p.message = "spans need a trace id and a span id"
				default:
					calls = append(calls, r.callOf(s, a, op, from))
				}
			}
		}
	}
	r.n.rejected.Add(p.rejected)
	calls = r.once(calls)
	if len(calls) == 0 {
		return p, nil
	}
	r.joinEvents(ctx, calls)
	xs := make([]record.Exchange, len(calls))
	for i, c := range calls {
		c.said.write(&c.x, c.one, r.o.MaxContent)
		if c.x.InputHash == "" {
			c.x.InputHash = inputHash(&c.said)
		}
		xs[i] = c.x
	}
	if err := r.deliver(ctx, xs); err != nil {
		return p, err
	}
	r.join.done(calls)
	return p, nil
}

// once drops calls whose usage another span has: the parent of a call that is a call too gives the inner one what it
// lacks and goes.
func (r *Receiver) once(calls []*call) []*call {
	byKey := make(map[spanKey]*call, len(calls))
	for _, c := range calls {
		byKey[c.key] = c
	}
	outer := map[spanKey]bool{}
	for _, c := range calls {
		if p := byKey[c.parent]; p != nil && p != c {
			outer[p.key] = true
			c.fill(p)
		}
	}
	kept := calls[:0]
	seen := make(map[spanKey]bool, len(calls))
	for _, c := range calls {
		if outer[c.key] || seen[c.key] || r.join.double(c) {
			r.n.doubles.Add(1)
			continue
		}
		seen[c.key] = true
		kept = append(kept, c)
	}
	return kept
}

// fill takes from the outer span of the same call what this one lacks.
func (c *call) fill(outer *call) {
	x, o := &c.x, &outer.x
	text := func(to *string, from string) {
		if *to == "" {
			*to = from
		}
	}
	text(&x.User, o.User)
	text(&x.Session, o.Session)
	text(&x.Model, o.Model)
	text(&x.Served, o.Served)
	text(&x.Fingerprint, o.Fingerprint)
	text(&x.FinishReason, o.FinishReason)
	if x.Tags == nil {
		x.Tags = o.Tags
	}
	if x.Seed == nil {
		x.Seed = o.Seed
	}
	if x.Usage == nil {
		x.Usage, x.Cost = o.Usage, o.Cost
	}
	if x.TTFT == nil {
		x.TTFT = o.TTFT
	}
	if x.Params == nil {
		x.Params = o.Params
	}
	if x.Logprobs == nil {
		x.Logprobs = o.Logprobs
	}
	x.Scores = append(x.Scores, o.Scores...)
	c.said.missing(outer.said)
	c.apart = c.apart && c.said.empty()
}

// joinEvents gives calls what came for them as logs, and waits shortly for what is known to come.
func (r *Receiver) joinEvents(ctx context.Context, calls []*call) {
	var wanted []spanKey
	for _, c := range calls {
		if c.apart {
			wanted = append(wanted, c.key)
		}
	}
	r.join.wait(ctx, wanted, r.o.Hold)
	for _, c := range calls {
		c.addEvents(r.join.take(c.key))
	}
}

// logs takes in logs: the content of model calls waits for its span, scores go on at once.
func (r *Receiver) logs(ctx context.Context, ld plog.Logs) (partial, error) {
	late := map[string][]record.Late{} // by route
	for i := range ld.ResourceLogs().Len() {
		rl := ld.ResourceLogs().At(i)
		for j := range rl.ScopeLogs().Len() {
			records := rl.ScopeLogs().At(j).LogRecords()
			for k := range records.Len() {
				if score, ok := r.log(records.At(k)); ok {
					var x record.Exchange
					place(&x, attrsOf(records.At(k).Attributes()), attrsOf(rl.Resource().Attributes()))
					late[x.Route] = append(late[x.Route], score)
				}
			}
		}
	}
	for route, scores := range late {
		if err := r.o.Scores(ctx, route, scores); err != nil {
			return partial{}, err
		}
		r.n.joined.Add(int64(len(scores)))
	}
	return partial{}, nil
}

// log takes in one log. A score that is to be handed on is returned.
func (r *Receiver) log(l plog.LogRecord) (record.Late, bool) {
	name := l.EventName()
	if name == "" {
		if v, ok := l.Attributes().Get("event.name"); ok {
			name = v.AsString()
		}
	}
	key := spanKey{l.TraceID(), l.SpanID()}
	if !known(name) || !key.valid() {
		r.n.ignored.Add(1)
		return record.Late{}, false
	}
	r.n.events.Add(1)
	e := event{name: name, at: l.Timestamp().AsTime(), attrs: attrsOf(l.Attributes()), body: plain(l.Body())}
	id := name + " " + strconv.FormatUint(uint64(l.Timestamp()), 10) + " " + record.HashBytes([]byte(jsonText(e.body)+e.attrs.str("gen_ai.evaluation.name")))
	if name == "gen_ai.evaluation.result" && r.o.Scores != nil {
		return lateScore(key, l, &e), true
	}
	if r.join.put(key, e, id, logSize(&e)) {
		r.n.late.Add(1)
	}
	return record.Late{}, false
}

// lateScore is a score with what makes it the same one when it is sent again: its time, or else what it says.
func lateScore(key spanKey, l plog.LogRecord, e *event) record.Late {
	out := record.Late{Exchange: idOf(key), Score: scoreOf(e.attrs)}
	at := l.Timestamp()
	if at == 0 {
		at = l.ObservedTimestamp()
	}
	if at == 0 || at > math.MaxInt64 {
		out.Time, out.Mark = time.Now().UTC().Truncate(time.Microsecond), "said "+record.HashBytes([]byte(jsonText(e.body)+jsonText(l.Attributes().AsRaw())))
		return out
	}
	out.Time = at.AsTime().UTC().Truncate(time.Microsecond)
	out.Mark = strconv.FormatUint(uint64(at), 10)
	return out
}
