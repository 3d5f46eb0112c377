package app

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/telemetry"
)

// serveMetrics are the numbers that a server gives Prometheus. What parts count for themselves is read from them when it
// is asked for; here is what nobody else counts.
type serveMetrics struct {
	registry  *prometheus.Registry
	exchanges *telemetry.Exchanges

	puts                   *prometheus.HistogramVec
	reloads                *prometheus.CounterVec
	reloadedAt, reloadedOK prometheus.Gauge
}

// Results, as a label.
const (
	resultOK     = "ok"
	resultFailed = "failed"
)

// Scrapes at a time, and what one may take.
const (
	maxScrapes    = 4
	scrapeTimeout = 8 * time.Second // below Prometheus' own 10 s, so that it is told why
)

func newServeMetrics(s *Service) *serveMetrics {
	m := &serveMetrics{
		registry: prometheus.NewRegistry(), exchanges: telemetry.NewExchanges(),
		puts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "telltale_store_put_duration_seconds", Help: "How long the store took for a batch of exchanges.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"result"}),
		reloads:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "telltale_config_reloads_total", Help: "Changes of the configuration, by whether they were taken."}, []string{"result"}),
		reloadedAt: prometheus.NewGauge(prometheus.GaugeOpts{Name: "telltale_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was read."}),
		reloadedOK: prometheus.NewGauge(prometheus.GaugeOpts{Name: "telltale_config_last_reload_successful", Help: "Whether the configuration's file is the one in force."}),
	}
	for _, result := range []string{resultOK, resultFailed} {
		m.puts.WithLabelValues(result)
		m.reloads.WithLabelValues(result)
	}
	m.reloadedOK.Set(1)
	m.reloadedAt.Set(float64(s.started.Unix()))
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "telltale_build_info", Help: "1, with the version.", ConstLabels: prometheus.Labels{"version": Version}})
	build.Set(1)
	m.registry.MustRegister(m.exchanges, m.puts, m.reloads, m.reloadedAt, m.reloadedOK, build, &partsCollector{s: s},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// configured tells which names keep their labels.
func (m *serveMetrics) configured(server *config.Server) {
	var n telemetry.Names
	for i := range server.Routes {
		r := &server.Routes[i]
		n.Routes = append(n.Routes, r.Name)
		for _, model := range r.Models {
			if !strings.Contains(model, "*") {
				n.Models = append(n.Models, model)
			}
		}
		for variant, upstreams := range upstreamsOf(r) {
			n.Variants = append(n.Variants, variant)
			for _, up := range upstreams {
				n.Models = append(n.Models, up.Model)
				if u, err := url.Parse(up.URL); err == nil {
					n.Providers = append(n.Providers, u.Hostname())
				}
			}
		}
	}
	m.exchanges.Configure(n)
}

// observe counts an exchange of the gateway's. One that could not be redacted is counted without the name that its client
// gave the model.
func (m *serveMetrics) observe(x *record.Exchange, redaction error) {
	if redaction != nil {
		bare := *x
		bare.Model = ""
		x = &bare
	}
	m.exchanges.Observe(x)
}

// reloaded counts a change of the configuration.
func (m *serveMetrics) reloaded(err error) {
	if err != nil {
		m.reloads.WithLabelValues(resultFailed).Inc()
		m.reloadedOK.Set(0)
		return
	}
	m.reloads.WithLabelValues(resultOK).Inc()
	m.reloadedOK.Set(1)
	m.reloadedAt.SetToCurrentTime()
}

// put counts a batch that was given to the store.
func (m *serveMetrics) put(took time.Duration, err error) {
	result := resultOK
	if err != nil {
		result = resultFailed
	}
	m.puts.WithLabelValues(result).Observe(took.Seconds())
}

// handler answers scrapes. A part that cannot say its numbers is left out: the others are needed all the more then.
func (m *serveMetrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout, EnableOpenMetrics: true,
	})
}
