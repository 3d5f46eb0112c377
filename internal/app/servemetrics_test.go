package app

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scraped is what GET /metrics gives, by name.
func (s *serving) scraped(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get(s.api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(ct, "text/plain; version=0.0.4") {
		t.Fatalf("%s, %s", resp.Status, ct)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	got, err := p.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// total adds up a family's counters, gauges or counts of histograms that have the labels.
func total(f *dto.MetricFamily, labels ...string) float64 {
	n := 0.
	for _, m := range f.GetMetric() {
		all := true
		for i := 0; i < len(labels); i += 2 {
			all = all && slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == labels[i] && l.GetValue() == labels[i+1] })
		}
		if all {
			n += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return n
}

func TestMetrics(t *testing.T) {
	s := serveIt(t, echoing(t).URL, "scorers: [{name: polite, assert: {type: contains, value: wrote}}]\n")
	const body = `{"model":"m","stream":%t,"messages":[{"role":"user","content":"hello"}]}`
	for i := range 6 {
		s.posts(t, fmt.Sprintf(body, i%2 == 0))
	}
	s.posts(t, `{"model":"m","messages":[]}`) // the upstream answers 400
	s.stored(t, 7)
	resp, err := http.Post(s.api+"/v1/exchanges", "application/json", strings.NewReader(`{"id":"one","time":"2026-01-31T12:00:00Z","model":"m2","provider":"elsewhere","api":"openai.chat","content":{"output":"hi"},"latency":0.5}`))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s: %s, %v", resp.Status, b, err)
	}
	resp.Body.Close()

	before := s.scraped(t)
	f := func(name string, kind dto.MetricType, want float64, labels ...string) {
		t.Helper()
		got := before[name]
		if got.GetType() != kind || got.GetHelp() == "" {
			t.Errorf("%s: type %v, help %q", name, got.GetType(), got.GetHelp())
		}
		if n := total(got, labels...); n != want {
			t.Errorf("%s%v: %v, want %v", name, labels, n, want)
		}
	}
	const counter, gauge, histogram = dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_HISTOGRAM
	gen := []string{"gen_ai_operation_name", "chat", "gen_ai_provider_name", "127.0.0.1", "gen_ai_request_model", "m", "route", "main", "variant", "baseline"}
	f("gen_ai_client_operation_duration_seconds", histogram, 6, append(gen, "error_type", "")...)
	f("gen_ai_client_operation_duration_seconds", histogram, 1, "error_type", "bad_request", "route", "main")
	f("gen_ai_client_operation_duration_seconds", histogram, 1, "gen_ai_provider_name", "elsewhere", "gen_ai_request_model", "m2")
	f("gen_ai_server_time_to_first_token_seconds", histogram, 3, gen...)
	f("gen_ai_client_token_usage", histogram, 3, append(gen, "gen_ai_token_type", "output")...)
	f("telltale_exchanges_total", counter, 6, "source", "gateway", "route", "main", "variant", "baseline", "provider", "127.0.0.1", "model", "m", "status", "2xx", "error_type", "")
	f("telltale_exchanges_total", counter, 1, "source", "json")
	f("telltale_gateway_requests_total", counter, 7, "route", "main")
	f("telltale_gateway_requests_in_flight", gauge, 0, "route", "main")
	f("telltale_gateway_responses_total", counter, 6, "route", "main", "status", "2xx")
	f("telltale_gateway_failures_total", counter, 1, "route", "main", "error_type", "bad_request")
	f("telltale_gateway_request_duration_seconds", histogram, 7, "route", "main")
	f("telltale_gateway_first_byte_seconds", histogram, 7, "route", "main")
	f("telltale_upstream_attempts_total", counter, 7, "route", "main")
	f("telltale_upstream_healthy", gauge, 1, "route", "main")
	f("telltale_capture_seen_total", counter, 7)
	f("telltale_capture_captured_total", counter, 7, "route", "main")
	f("telltale_capture_dropped_total", counter, 0)
	f("telltale_capture_waiting", gauge, 0)
	f("telltale_ingest_exchanges_total", counter, 1)
	f("telltale_bus_up", gauge, 1)
	f("telltale_store_up", gauge, 1)
	f("telltale_config_reloads_total", counter, 0)
	f("telltale_config_last_reload_successful", gauge, 1)
	f("telltale_scorer_scores_total", counter, 6, "scorer", "polite", "result", "ok")
	f("telltale_build_info", gauge, 1, "version", Version)
	for _, name := range []string{"telltale_bus_bytes", "telltale_bus_published_total", "telltale_store_put_duration_seconds", "telltale_stored_exchanges_total", "go_goroutines"} {
		if total(before[name]) <= 0 {
			t.Errorf("%s is %v", name, total(before[name]))
		}
	}
	for name, bounds := range map[string][2]float64{
		"gen_ai_client_operation_duration_seconds": {.01, 81.92}, "gen_ai_server_time_to_first_token_seconds": {.001, 10}, "gen_ai_client_token_usage": {1, 67108864},
		"telltale_gateway_request_duration_seconds": {.01, 81.92},
	} {
		bs := before[name].GetMetric()[0].GetHistogram().GetBucket()
		if last := bs[len(bs)-2].GetUpperBound(); bs[0].GetUpperBound() != bounds[0] || last != bounds[1] { // the one after is infinite
			t.Errorf("%s: bounds from %v to %v", name, bs[0].GetUpperBound(), last)
		}
	}
	examplesKnow(t, before)
	s.growing(t, before, body)
}

// examplesKnow checks that the dashboard and the alerts ask for what there is.
func examplesKnow(t *testing.T, got map[string]*dto.MetricFamily) {
	t.Helper()
	labels := map[string]bool{"gen_ai_request_model": true, "gen_ai_token_type": true}
	names := regexp.MustCompile(`\b(telltale|gen_ai|go|process)_[a-z_]+`)
	for _, file := range []string{"grafana.json", "alerts.yml"} {
		b, err := os.ReadFile("../../examples/serve/" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := names.FindAllString(string(b), -1)
		if len(found) < 5 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		for _, name := range found {
			family := strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum")
			if got[name] == nil && got[family] == nil && !labels[name] {
				t.Errorf("%s asks for %s, which is not there", file, name)
			}
		}
	}
}

// growing sends more, and looks whether any counter went back. A mistake in the configuration is seen too.
func (s *serving) growing(t *testing.T, before map[string]*dto.MetricFamily, body string) {
	t.Helper()
	for range 5 {
		s.posts(t, fmt.Sprintf(body, false))
	}
	s.stored(t, 12)
	if err := os.WriteFile(s.config, []byte("nothing: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	after := s.scraped(t)
	for end := time.Now().Add(30 * time.Second); total(after["telltale_config_reloads_total"], "result", "failed") == 0 && time.Now().Before(end); after = s.scraped(t) {
		time.Sleep(50 * time.Millisecond)
	}
	if total(after["telltale_config_last_reload_successful"]) != 0 {
		t.Error("the failed reload does not show")
	}
	for name, f := range before {
		if f.GetType() == dto.MetricType_COUNTER && total(after[name]) < total(f) {
			t.Errorf("%s went back from %v to %v", name, total(f), total(after[name]))
		}
	}
	if n := total(after["telltale_gateway_requests_total"]); n != 12 {
		t.Errorf("%v requests", n)
	}
	problems, err := promlint.NewWithMetricFamilies(families(after)).Lint()
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Metric, "go_") { // these are client_golang's own
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func families(m map[string]*dto.MetricFamily) []*dto.MetricFamily {
	var out []*dto.MetricFamily
	for _, f := range m {
		out = append(out, f)
	}
	return out
}

// Made-up names of models make no series, and the scrape stays small.
func TestMetricsAreBounded(t *testing.T) {
	s := serveIt(t, echoing(t).URL, "")
	var lines strings.Builder
	const n = 10_000
	for i := range n {
		fmt.Fprintf(&lines, `{"id":"x%d","time":"2026-01-31T12:00:00Z","model":"random-%d","route":"service-%d","api":"openai.chat","content":{"output":"hi"},"latency":0.5}`+"\n", i, i, i)
	}
	resp, err := http.Post(s.api+"/v1/exchanges", "application/x-ndjson", strings.NewReader(lines.String()))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s: %s, %v", resp.Status, b, err)
	}
	resp.Body.Close()
	got := s.scraped(t)
	if c := total(got["telltale_exchanges_total"], "source", "json"); c != n {
		t.Errorf("%v counted, want %d", c, n)
	}
	if c := len(got["gen_ai_client_operation_duration_seconds"].GetMetric()); c > 500 {
		t.Errorf("%d series", c)
	}
	if c := total(got["telltale_metrics_label_overflow_total"], "label", "model"); c < n-200 {
		t.Errorf("%v overflows are counted", c)
	}
}

// Who may not ask the API may not scrape either.
func TestMetricsNeedAKey(t *testing.T) {
	s := serveIt(t, echoing(t).URL, "access: {require: true}\n")
	resp, err := http.Get(s.api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("%s", resp.Status)
	}
}
