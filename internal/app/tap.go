package app

import (
	"net/http"
	"net/url"
	"sync"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gateway"
	"github.com/telltale-llm/telltale/internal/guard"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/wiretap"
)

// tap hands what the gateway saw to the capture, which reads it when it has time.
func (s *Service) tap(t *gateway.Tapped) {
	st := s.state.Load()
	s.capture.Take(pipeline.Tap{
		Route: t.Route, Bytes: int(t.Held()),
		Read:     func() (*record.Exchange, error) { return s.readTap(st, t), nil },
		Snapshot: st.snapshotOf(t),
		Release:  t.Release,
	})
}

// readTap makes the record of an exchange, and counts what it took against its client's limits.
func (s *Service) readTap(st *serveState, t *gateway.Tapped) *record.Exchange {
	x := &record.Exchange{
		ID: t.ID, Source: record.SourceGateway, Time: t.Arrived.UTC(), Route: t.Route, Variant: t.Variant, Propensity: t.Propensity,
		Upstream: t.Upstream, Provider: st.provider(t.Route, t.Behind(), t.Upstream), Client: t.Client, Attempts: t.Attempts,
	}
	if t.Rollout != "" {
		x.Assigned = &record.Assignment{Rollout: t.Rollout, Stage: t.Stage, Unit: t.Unit, Pairs: t.Pairs, Alone: t.Alone}
	}
	x.Guard = guarded(t.Guard)
	latency := t.Ended.Seconds()
	x.Latency = &latency
	route, known := st.routes[t.Route]
	if !known { // a reload has removed it meanwhile
		route = st.other
	}
	o := wiretap.Options{HashKey: st.server.Privacy.Key, Price: s.price, MaxContent: route.capture.MaxBytes, TopK: route.capture.TopK}
	// What the client asked for decides content and parameters; what the route changed is in the snapshot.
	req := &wiretap.Request{Method: t.Method, Path: t.Path, Headers: t.Header, Body: t.Body, Cut: t.BodyCut, Size: t.BodySize}
	if t.SentBody != nil {
		req.Body, req.Cut = t.SentBody, t.SentBodyCut
	}
	ans := &wiretap.Answer{Status: t.Status, Headers: t.AnswerHeader, Body: t.Answer, Cut: t.AnswerCut, Tail: t.Tail, Size: t.AnswerSize, Failure: t.ErrorKind, Error: t.Error}
	if ans.Headers == nil {
		ans.Headers = http.Header{}
	}
	ans.Marks = make([]wiretap.Mark, len(t.Arrivals))
	for i, a := range t.Arrivals {
		ans.Marks[i] = wiretap.Mark{End: a.End, At: a.Time}
	}
	wiretap.Read(x, req, ans, o)
	if t.Model != "" {
		x.Model = t.Model
	}
	if t.User != "" {
		x.User = t.User
	}
	if t.Session != "" {
		x.Session = t.Session
	}
	for name, value := range t.Tags {
		if x.Tags == nil {
			x.Tags = map[string]string{}
		}
		x.Tags[name] = value
	}
	x.Retries = t.Retries
	s.countShadow(x)
	if t.Client != "" && s.keys != nil && t.Pairs == "" { // copies for a shadow are not the client's
		tokens, cost := 0, 0.
		if x.Usage != nil {
			tokens = max(x.Usage.Total, x.Usage.Prompt+x.Usage.Completion)
		}
		if x.Cost != nil {
			cost = *x.Cost
		} else if tokens > 0 {
			s.unpriced.warn(s, t.Client, x.ID)
		}
		s.keys.AddUse(t.Client, tokens, cost)
	}
	return x
}

// unpriced says once for each key with a budget of money that a model without a price was used: no budget holds it. The
// model's name is the client's, and no text of clients goes to the log; the exchange has it, redacted.
type unpriced struct {
	mu   sync.Mutex
	told map[string]bool
}

func (u *unpriced) warn(s *Service, client, exchange string) {
	if c := s.keys.Client(client); c == nil || !c.Budgeted() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.told[client] {
		return
	}
	if u.told == nil {
		u.told = map[string]bool{}
	}
	u.told[client] = true
	s.o.Log.Warn("a model without a price was used: the key's budget does not hold it; --prices gives it one", "key", client, "exchange", exchange)
}

// routeState is what the capture must know of a route.
type routeState struct {
	route   config.Route
	capture config.Capture
	sampler pipeline.Sampler
	// upstreams are those of each variant, the baseline among them.
	upstreams map[string][]config.Upstream
	// guards identify what each variant's guard does; nothing for none.
	guards map[string]string
}

// guardsOf identifies the guards of a route's variants.
func guardsOf(r *config.Route) map[string]string {
	out := map[string]string{config.Baseline: r.GuardID}
	for i := range r.Variants {
		with := r.With(&r.Variants[i])
		out[r.Variants[i].Name] = with.GuardID
	}
	return out
}

// upstreamsOf lists the upstreams of a route's variants.
func upstreamsOf(r *config.Route) map[string][]config.Upstream {
	out := map[string][]config.Upstream{config.Baseline: r.Upstreams}
	for i := range r.Variants {
		with := r.With(&r.Variants[i])
		out[r.Variants[i].Name] = with.Upstreams
	}
	return out
}

// provider is the host of a variant's upstream, for it names who served.
func (st *serveState) provider(route, variant, upstream string) string {
	for _, u := range st.routes[route].upstreams[variant] {
		if u.Name == upstream {
			if parsed, err := url.Parse(u.URL); err == nil {
				return parsed.Hostname()
			}
		}
	}
	return ""
}

// guarded is a guard's report as it is kept.
func guarded(r *guard.Report) *record.Guarded {
	if r == nil {
		return nil
	}
	out := &record.Guarded{Name: r.Guard, Version: r.Version, ID: r.ID, Outcome: r.Outcome, Failure: string(r.Failure), Repaired: r.Repaired, Asked: r.Asked, Model: r.Model, Held: r.Held}
	for _, h := range r.Hits {
		if out.Hits == nil {
			out.Hits = map[string]int{}
		}
		name := h.Filter
		if h.Kind != "" {
			name += "/" + h.Kind
		}
		out.Hits[name] += h.Count
	}
	return out
}

// snapshotOf makes the snapshot of an exchange after it has been redacted.
func (st *serveState) snapshotOf(t *gateway.Tapped) func(*record.Exchange) record.Snapshot {
	host, model := st.provider(t.Route, t.Behind(), t.Upstream), t.Override
	guard := st.routes[t.Route].guards[t.Behind()]
	return func(x *record.Exchange) record.Snapshot { return wiretap.Snapshot(x, host, model, guard) }
}
