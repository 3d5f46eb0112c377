// Package telemetry counts exchanges for Prometheus, under the names of OpenTelemetry's conventions for generative AI, with
// labels of which there is a bounded number whatever clients send.
//
// Exchanges come after they were read and redacted, so nothing here is on the way of a request. Names that come from
// clients (models, and routes and providers of OpenTelemetry's data) get a label of their own while there is room; the
// others share the label "other" and are counted. Names in the configuration always have theirs, and a model's name has to
// have been answered once, so that made-up ones take no room.
//
// It is not for counts by time, which are the roll-ups' task, nor for the server's own parts, whose counts package app reads
// when they are asked for.
package telemetry

import (
	"sync"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/telltale-llm/telltale/internal/record"
)

// Labels for what has no label of its own: Other stands for the names above the bounds, Unknown for none.
const (
	Other   = "other"
	Unknown = "unknown"
)

// Bounds of what clients can bring about.
const (
	maxRoutes    = 100
	maxVariants  = 20
	maxProviders = 50
	maxModels    = 100
	maxSeries    = 500 // sets of route, variant, provider, model and operation
	maxLabel     = 128 // bytes
)

// DurationBounds and FirstTokenBounds, in seconds, and tokenBounds are those of the conventions.
var (
	DurationBounds   = []float64{.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	FirstTokenBounds = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	tokenBounds      = prometheus.ExponentialBuckets(1, 4, 14)
)

// Names are what the configuration names: they keep their labels.
type Names struct{ Routes, Variants, Providers, Models []string }

// Exchanges counts exchanges. It is safe for concurrent use, and a prometheus.Collector.
type Exchanges struct {
	duration, ttft, tokens *prometheus.HistogramVec
	count, cost, overflow  *prometheus.CounterVec

	mu                                 sync.RWMutex
	routes, variants, providers, model names
	series                             map[key]*series
}

// key is what a series is of. All its values are labels.
type key struct{ route, variant, provider, model, operation string }

// series holds the metrics of a key, so that they are looked up once.
type series struct {
	ttft, in, out prometheus.Observer
	cost          prometheus.Counter
	outcomes      map[outcome]metered
}

// outcome is how an exchange ended; indices of sources and statuses, and a kind that is one of record.FailureKinds, or other.
type outcome struct {
	source, status int
	kind           record.FailureKind
}

type metered struct {
	count    prometheus.Counter
	duration prometheus.Observer
}

var (
	sources  = [...]string{Other, record.SourceGateway, record.SourceOTLP, record.SourceLangfuse, record.SourceJSON, record.SourceFile}
	statuses = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}
)

// NewExchanges returns counts at 0.
func NewExchanges() *Exchanges {
	genAI := []string{"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "route", "variant"}
	histogram := func(name, help string, bounds []float64, more ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, append(genAI[:len(genAI):len(genAI)], more...))
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	e := &Exchanges{
		duration: histogram("gen_ai_client_operation_duration_seconds", "How long exchanges took, from the request to the end of the answer.", DurationBounds, "error_type"),
		ttft:     histogram("gen_ai_server_time_to_first_token_seconds", "Time to the first token of streams.", FirstTokenBounds),
		tokens:   histogram("gen_ai_client_token_usage", "Tokens of exchanges, as the provider counted them.", tokenBounds, "gen_ai_token_type"),
		count:    counter("telltale_exchanges_total", "Exchanges that were read, by how they ended.", "source", "route", "variant", "provider", "model", "status", "error_type"),
		cost:     counter("telltale_exchange_cost_dollars_total", "What exchanges cost by the price list, in US dollars.", "route", "variant", "provider", "model"),
		overflow: counter("telltale_metrics_label_overflow_total", "Exchanges counted under the label other, because a name of theirs has no label of its own.", "label"),
		series:   map[key]*series{},
	}
	e.routes, e.variants = newNames("route", maxRoutes), newNames("variant", maxVariants)
	e.providers, e.model = newNames("provider", maxProviders), newNames("model", maxModels)
	for _, label := range []string{"route", "variant", "provider", "model", "series"} {
		e.overflow.WithLabelValues(label)
	}
	return e
}

// Configure tells the names of the configuration; those of an earlier one stay known.
func (e *Exchanges) Configure(n Names) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.routes.configure(n.Routes)
	e.variants.configure(n.Variants)
	e.providers.configure(n.Providers)
	e.model.configure(n.Models)
}

// Describe and Collect make it a prometheus.Collector.
func (e *Exchanges) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range e.collectors() {
		c.Describe(ch)
	}
}

// Collect gives all metrics.
func (e *Exchanges) Collect(ch chan<- prometheus.Metric) {
	for _, c := range e.collectors() {
		c.Collect(ch)
	}
}

func (e *Exchanges) collectors() []prometheus.Collector {
	return []prometheus.Collector{e.duration, e.ttft, e.tokens, e.count, e.cost, e.overflow}
}

// Observe counts an exchange. It allocates only for names that it has not seen.
func (e *Exchanges) Observe(x *record.Exchange) {
	o := outcome{source: sourceOf(x.Source), status: min(max(x.Status/100, 0), len(statuses)-1), kind: x.ErrorKind}
	if o.kind != "" && !failureKinds[o.kind] {
		o.kind = Other
	}
	s, m := e.find(x, o)
	m.count.Inc()
	if x.Latency != nil {
		m.duration.Observe(*x.Latency)
	}
	if x.TTFT != nil {
		s.ttft.Observe(*x.TTFT)
	}
	if u := x.Usage; u != nil {
		s.in.Observe(float64(u.Prompt))
		s.out.Observe(float64(u.Completion))
	}
	if x.Cost != nil && *x.Cost > 0 {
		s.cost.Add(*x.Cost)
	}
}

// find returns where an exchange is counted.
func (e *Exchanges) find(x *record.Exchange, o outcome) (*series, metered) {
	answered := x.ErrorKind == "" && x.Status < 400
	e.mu.RLock()
	k, known := e.known(x)
	if known {
		if s := e.series[k]; s != nil {
			if m, ok := s.outcomes[o]; ok {
				e.mu.RUnlock()
				return s, m
			}
		}
	}
	e.mu.RUnlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	k = key{
		route: e.name(&e.routes, x.Route, true), variant: e.name(&e.variants, x.Variant, true),
		provider: e.name(&e.providers, x.Provider, answered), model: e.name(&e.model, x.Model, answered), operation: operation(x.API),
	}
	s := e.series[k]
	if s == nil && len(e.series) >= maxSeries {
		e.overflow.WithLabelValues("series").Inc()
		k = e.shared(k)
		s = e.series[k]
	}
	if s == nil {
		s = e.newSeries(k)
		e.series[k] = s
	}
	m, ok := s.outcomes[o]
	if !ok {
		m = metered{
			count:    e.count.WithLabelValues(sources[o.source], k.route, k.variant, k.provider, k.model, statuses[o.status], string(o.kind)),
			duration: e.duration.WithLabelValues(k.operation, k.provider, k.model, k.route, k.variant, string(o.kind)),
		}
		s.outcomes[o] = m
	}
	return s, m
}

// known returns the key of an exchange whose names all have labels of their own.
func (e *Exchanges) known(x *record.Exchange) (key, bool) {
	k := key{operation: operation(x.API)}
	var ok [4]bool
	k.route, ok[0] = e.routes.find(x.Route)
	k.variant, ok[1] = e.variants.find(x.Variant)
	k.provider, ok[2] = e.providers.find(x.Provider)
	k.model, ok[3] = e.model.find(x.Model)
	return k, ok == [4]bool{true, true, true, true}
}

// shared is the key of the exchanges for whose names there is no series: the routes of the configuration are still told
// apart, so there are only so many of these.
func (e *Exchanges) shared(k key) key {
	if !e.routes.configured[k.route] {
		k.route = Other
	}
	return key{k.route, Other, Other, Other, k.operation}
}

func (e *Exchanges) newSeries(k key) *series {
	labels := []string{k.operation, k.provider, k.model, k.route, k.variant}
	return &series{
		ttft: e.ttft.WithLabelValues(labels...), cost: e.cost.WithLabelValues(k.route, k.variant, k.provider, k.model),
		in: e.tokens.WithLabelValues(append(labels[:5:5], "input")...), out: e.tokens.WithLabelValues(append(labels[:5:5], "output")...),
		outcomes: map[outcome]metered{},
	}
}

// name returns the label of a name, and keeps it where there is room and it may be.
func (e *Exchanges) name(n *names, value string, may bool) string {
	label, ok := n.find(value)
	switch {
	case ok:
		return label
	case may && len(n.seen) < n.most && len(value) <= maxLabel && utf8.ValidString(value):
		n.seen[value] = true
		return value
	}
	e.overflow.WithLabelValues(n.label).Inc()
	return Other
}

// names are the values of one label.
type names struct {
	label            string
	most             int
	configured, seen map[string]bool
}

func newNames(label string, most int) names {
	return names{label: label, most: most, configured: map[string]bool{}, seen: map[string]bool{}}
}

func (n *names) configure(all []string) {
	for _, name := range all {
		if name != "" {
			n.configured[name] = true
		}
	}
}

// find returns the label of a name that has one.
func (n *names) find(value string) (string, bool) {
	if value == "" {
		return Unknown, true
	}
	return value, n.configured[value] || n.seen[value]
}

func sourceOf(name string) int {
	for i := range sources {
		if sources[i] == name {
			return i
		}
	}
	return 0
}

var failureKinds = func() map[record.FailureKind]bool {
	out := map[record.FailureKind]bool{}
	for _, k := range record.FailureKinds() {
		out[k] = true
	}
	return out
}()

// operation is gen_ai.operation.name of a wire format.
func operation(api string) string {
	switch api {
	case record.APIChat, record.APIResponses, record.APIMessages:
		return "chat"
	case record.APICompletions:
		return "text_completion"
	case record.APIEmbeddings:
		return "embeddings"
	}
	return Other
}
