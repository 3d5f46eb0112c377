package telemetry

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/telltale-llm/telltale/internal/record"
)

// exchange is an answered one of the gateway's.
func exchange(model string) *record.Exchange {
	latency, ttft, cost := .3, .02, .001
	return &record.Exchange{
		Source: record.SourceGateway, Route: "main", Variant: "baseline", Provider: "api.openai.com", Model: model, API: record.APIChat, Status: 200,
		Latency: &latency, TTFT: &ttft, Cost: &cost, Usage: &record.Usage{Prompt: 10, Completion: 100},
	}
}

// gathered is what a scrape finds, by name.
func gathered(t testing.TB, e *Exchanges) map[string]*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(e); err != nil {
		t.Fatal(err)
	}
	fs, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range fs {
		out[f.GetName()] = f
	}
	return out
}

// sum adds up the counts of a family's metrics that have the labels.
func sum(f *dto.MetricFamily, labels ...string) float64 {
	n := 0.
	for _, m := range f.GetMetric() {
		if has(m, labels) {
			n += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return n
}

func has(m *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

func TestObserve(t *testing.T) {
	e := NewExchanges()
	e.Observe(exchange("gpt-4.1"))
	e.Observe(exchange("gpt-4.1"))
	failed := exchange("gpt-4.1")
	failed.Status, failed.ErrorKind, failed.Usage, failed.TTFT, failed.Source = 502, record.Server, nil, nil, record.SourceOTLP
	e.Observe(failed)
	odd := exchange("")
	odd.Source, odd.Status, odd.ErrorKind, odd.API, odd.Provider = "elsewhere", 999, "made up", "new.api", ""
	e.Observe(odd)
	got := gathered(t, e)
	f := func(want float64, name string, labels ...string) {
		t.Helper()
		if n := sum(got[name], labels...); n != want {
			t.Errorf("%s%v: %v, want %v", name, labels, n, want)
		}
	}
	model := []string{"gen_ai_request_model", "gpt-4.1", "gen_ai_provider_name", "api.openai.com", "gen_ai_operation_name", "chat", "route", "main", "variant", "baseline"}
	f(2, "gen_ai_client_operation_duration_seconds", append(model, "error_type", "")...)
	f(1, "gen_ai_client_operation_duration_seconds", append(model, "error_type", "server")...)
	f(2, "gen_ai_server_time_to_first_token_seconds", model...)
	f(2, "gen_ai_client_token_usage", append(model, "gen_ai_token_type", "input")...)
	f(2, "gen_ai_client_token_usage", append(model, "gen_ai_token_type", "output")...)
	f(2, "telltale_exchanges_total", "source", "gateway", "status", "2xx", "error_type", "", "model", "gpt-4.1", "provider", "api.openai.com")
	f(1, "telltale_exchanges_total", "source", "otlp", "status", "5xx", "error_type", "server")
	f(1, "telltale_exchanges_total", "source", Other, "error_type", Other, "model", Unknown, "provider", Unknown)
	for _, m := range got["gen_ai_client_operation_duration_seconds"].GetMetric() {
		if bs := m.GetHistogram().GetBucket(); len(bs) != 14 || bs[0].GetUpperBound() != .01 || bs[13].GetUpperBound() != 81.92 {
			t.Errorf("bounds of durations: %v", bs)
		}
	}
	for _, m := range got["gen_ai_client_token_usage"].GetMetric() {
		if bs := m.GetHistogram().GetBucket(); len(bs) != 14 || bs[0].GetUpperBound() != 1 || bs[13].GetUpperBound() != math.Pow(4, 13) {
			t.Errorf("bounds of tokens: %v", bs)
		}
	}
	for _, m := range got["gen_ai_server_time_to_first_token_seconds"].GetMetric() {
		if bs := m.GetHistogram().GetBucket(); len(bs) != 16 || bs[0].GetUpperBound() != .001 || bs[15].GetUpperBound() != 10 {
			t.Errorf("bounds of first tokens: %v", bs)
		}
	}
}

// Whatever names clients send, there are only so many series, and everything is counted.
func TestNamesAreBounded(t *testing.T) {
	e := NewExchanges()
	e.Configure(Names{Routes: []string{"main"}, Models: []string{"late"}, Providers: []string{"api.openai.com"}})
	const n = 10_000
	for i := range n {
		e.Observe(exchange(fmt.Sprintf("random-%d", i)))
	}
	for i := range n { // of OpenTelemetry's data everything may be made up
		x := exchange(fmt.Sprintf("random-%d", i%100))
		x.Route, x.Variant, x.Provider, x.Source = fmt.Sprintf("service %d", i), fmt.Sprintf("v%d", i), fmt.Sprintf("p%d", i%70), record.SourceOTLP
		e.Observe(x)
	}
	e.Observe(exchange("late")) // the configuration's names have a label whenever they come, if not a series
	got := gathered(t, e)
	series, lines := 0, 0
	for name, f := range got {
		lines += len(f.GetMetric())
		if name == "gen_ai_server_time_to_first_token_seconds" {
			series = len(f.GetMetric())
		}
	}
	if series > maxSeries+10 || lines > 8*maxSeries {
		t.Errorf("%d series, %d metrics", series, lines)
	}
	if c := sum(got["telltale_exchanges_total"]); c != 2*n+1 {
		t.Errorf("%v exchanges counted, want %d", c, 2*n+1)
	}
	if c := sum(got["telltale_exchanges_total"], "model", Other, "route", "main"); c < n-maxModels {
		t.Errorf("%v under other, want at least %d", c, n-maxModels)
	}
	for _, label := range []string{"model", "route", "variant", "provider", "series"} {
		if sum(got["telltale_metrics_label_overflow_total"], "label", label) == 0 {
			t.Errorf("no overflow of %s is counted", label)
		}
	}
}

// A name that is not answered takes no room: who asks for made-up models does not push others out.
func TestUnansweredModelsTakeNoRoom(t *testing.T) {
	e := NewExchanges()
	e.Configure(Names{Models: []string{"configured"}})
	missing := func(model string) {
		x := exchange(model)
		x.Status, x.ErrorKind = 404, record.NotFound
		e.Observe(x)
	}
	for i := range 10_000 {
		missing(fmt.Sprintf("made-up-%d", i))
	}
	missing("configured")
	e.Observe(exchange("real"))
	e.Observe(exchange(strings.Repeat("x", maxLabel+1)))
	e.Observe(exchange("\xff"))
	got := gathered(t, e)["telltale_exchanges_total"]
	for model, want := range map[string]float64{Other: 10_002, "configured": 1, "real": 1} {
		if n := sum(got, "model", model); n != want {
			t.Errorf("%s: %v, want %v", model, n, want)
		}
	}
}

func TestConcurrently(t *testing.T) {
	e := NewExchanges()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 1000 {
				e.Observe(exchange(fmt.Sprintf("m%d", (i*j)%200)))
			}
		})
	}
	wg.Wait()
	if n := sum(gathered(t, e)["telltale_exchanges_total"]); n != 8000 {
		t.Errorf("%v counted", n)
	}
}

func TestLint(t *testing.T) {
	e := NewExchanges()
	e.Observe(exchange("m"))
	var all []*dto.MetricFamily
	for _, f := range gathered(t, e) {
		all = append(all, f)
	}
	problems, err := promlint.NewWithMetricFamilies(all).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	e, x := NewExchanges(), exchange("m")
	e.Observe(x)
	if n := testing.AllocsPerRun(100, func() { e.Observe(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	e, x := NewExchanges(), exchange("m")
	b.ReportAllocs()
	for b.Loop() {
		e.Observe(x)
	}
}
