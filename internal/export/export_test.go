package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func list(samples ...record.Sample) iter.Seq2[record.Sample, error] {
	return func(yield func(record.Sample, error) bool) {
		for _, s := range samples {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func exampleRun() *record.Run {
	return &record.Run{ID: "r1", Telltale: "0.1.0", Seed: 7, Repeats: 2, Suite: record.SuiteRef{Path: "s.yaml", Hash: "h"}, Dataset: record.DatasetRef{Hash: "d", Cases: 3, Rows: 4},
		Snapshots: []record.Snapshot{{ID: "a", Provider: "openai:chat:gpt", Model: "gpt", Prompt: "p/1", Params: map[string]any{"temperature": 0.0}}, {ID: "b", Provider: "sim", Prompt: "p/1"}},
		Summary:   record.Summary{Planned: 6, Finished: 6, Passed: 3, Failed: 2, Errored: 1, Cost: 0.25, Unpriced: 1, Tokens: record.Usage{Total: 120}},
		Metrics: map[string]record.Metric{
			"pass_rate": {Kind: "rate", Mean: new(0.6), Low: new(0.2), High: new(0.9), N: 5, Missing: 1},
			"latency":   {Kind: "mean", Mean: new(0.4), N: 5, Quantiles: map[string]*float64{"p50": new(0.3), "p95": new(1.5), "p99": nil}},
			"no data":   {Kind: "mean", Missing: 5},
			"bad":       {Kind: "mean", N: 5, Mean: new(math.NaN()), Low: new(math.Inf(1))},
			"ünit: $":   {Kind: "mean", N: 5, Mean: new(1.0)},
		},
		BySnapshot: map[string]map[string]record.Metric{"a": {"pass_rate": {N: 3, Mean: new(0.5)}}, "b": {"pass_rate": {N: 2, Mean: new(1.0)}}},
		ByTag:      map[string]map[string]record.Metric{"x/../y": {"pass_rate": {N: 1, Mean: new(1.0)}}},
		Gate:       record.Gate{Decision: verdict.Decision{Verdict: verdict.Fail, Metric: "pass_rate", Want: ">= 0.9", Reason: "too low"}},
		Times:      record.Times{Finished: time.Date(2026, 3, 2, 9, 30, 0, 5e6, time.UTC), Seconds: 12, Throughput: 0.5},
	}
}

func exampleSamples() []record.Sample {
	return []record.Sample{
		{Case: "c1", Provider: "sim", Prompt: "p", Verdict: verdict.Fail, Score: new(0.5), Model: "sim-1", Tags: []string{"t"}, Group: "g", Vars: map[string]any{"response_id": "resp_1"},
			Scores: []record.Score{{Name: "equals", Type: "equals", Value: new(0.0), Pass: new(false), Reason: "it is not"}, {Type: "words", Value: new(12.0)},
				{Name: "judge", Type: "rubric", Error: "no JSON"}, {Name: "ok", Type: "x", Value: new(math.NaN()), Pass: new(true)}}},
		{Case: "c2", Repeat: 1, Provider: "sim", Prompt: "p", Verdict: verdict.Error, Error: "rate_limited (HTTP 429): slow down", Scores: []record.Score{{Name: "equals", Type: "equals", Error: "no answer"}}},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from what is written now; look, then run with -update\n%s", path, got)
	}
}

func TestGolden(t *testing.T) {
	var b bytes.Buffer
	batch, left := MLflow(exampleRun())
	if left != 0 {
		t.Errorf("%d metrics left out", left)
	}
	if err := WriteMLflow(&b, batch); err != nil {
		t.Fatal(err)
	}
	golden(t, "mlflow.json", b.Bytes())
	b.Reset()
	n, err := WriteOTel(&b, exampleRun(), list(exampleSamples()...))
	if err != nil || n != 7 {
		t.Fatalf("%d events, %v", n, err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, b.Bytes(), "", " "); err != nil {
		t.Fatal(err)
	}
	golden(t, "otel.json", indented.Bytes())
}

// mlflowKeys is what MLflow's own check of names lets through.
var mlflowKeys = regexp.MustCompile(`^[/\w.\- ]*$`)

func TestMLflowStaysWithinItsLimits(t *testing.T) {
	run := exampleRun()
	for i := range 900 {
		run.Metrics[fmt.Sprintf("%s %d", strings.Repeat("long ", i%80), i)] = record.Metric{N: 1, Mean: new(float64(i)), Low: new(0.0)}
	}
	for i := range 200 {
		run.Snapshots = append(run.Snapshots, record.Snapshot{ID: fmt.Sprint(i), Provider: strings.Repeat("p", 700)})
	}
	batch, left := MLflow(run)
	if n := len(batch.Metrics) + len(batch.Params) + len(batch.Tags); n > mlflowItems || len(batch.Params) > mlflowParams || len(batch.Tags) > mlflowTags || left == 0 {
		t.Errorf("%d items, %d params, %d tags, %d left out", n, len(batch.Params), len(batch.Tags), left)
	}
	seen := map[string]bool{}
	for _, m := range batch.Metrics {
		if len(m.Key) > mlflowKey || !mlflowKeys.MatchString(m.Key) || seen[m.Key] || strings.Contains(m.Key, "..") || math.IsNaN(m.Value) {
			t.Errorf("metric %q", m.Key)
		}
		seen[m.Key] = true
	}
	for _, p := range append(batch.Params, batch.Tags...) {
		if len(p.Key) > mlflowKey || len(p.Value) > mlflowTag || !mlflowKeys.MatchString(p.Key) {
			t.Errorf("%q: %d bytes", p.Key, len(p.Value))
		}
	}
	if batch.Metrics[0].Key != "samples.planned" || batch.Tags[len(batch.Tags)-1].Key != "telltale.metrics_left_out" {
		t.Error("the summary is not first, or what was left out is not said")
	}
}

func TestRequestsAreBounded(t *testing.T) {
	var samples []record.Sample
	for i := range 3000 {
		samples = append(samples, record.Sample{Case: fmt.Sprint(i), Scores: []record.Score{{Name: "x", Value: new(1.0), Reason: strings.Repeat("r", i*3)}}})
	}
	total := 0
	for r, err := range Requests(exampleRun(), list(samples...)) {
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			ResourceLogs []struct {
				ScopeLogs []struct{ LogRecords []json.RawMessage }
			}
		}
		if err := json.Unmarshal(r.Body, &body); err != nil {
			t.Fatal(err)
		}
		if n := len(body.ResourceLogs[0].ScopeLogs[0].LogRecords); n != r.Records || n > batchRecords || len(r.Body) > batchBytes+4096 {
			t.Errorf("a request of %d bytes says it has %d events and has %d", len(r.Body), r.Records, n)
		}
		total += r.Records
	}
	if total != 6000 {
		t.Errorf("%d events, want 6000", total)
	}
	broken := errors.New("samples.jsonl: line 1")
	_, err := WriteOTel(io.Discard, exampleRun(), func(yield func(record.Sample, error) bool) { yield(record.Sample{}, broken) })
	if !errors.Is(err, broken) {
		t.Errorf("err = %v", err)
	}
}

func send(ctx context.Context, e Endpoint) (Sent, error) {
	e.Wait = time.Millisecond
	return e.Send(ctx, Requests(exampleRun(), list(exampleSamples()...)))
}

func TestSend(t *testing.T) {
	var calls atomic.Int32
	f := func(want Sent, wantErr string, wantCalls int32, answer http.HandlerFunc) {
		t.Helper()
		calls.Store(0)
		var got atomic.Pointer[http.Header]
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			got.Store(new(r.Header.Clone()))
			var body map[string]any
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/logs" || r.Method != http.MethodPost {
				t.Errorf("%s %s: %v", r.Method, r.URL, err)
			}
			answer(w, r)
		}))
		defer srv.Close()
		sent, err := send(t.Context(), Endpoint{URL: srv.URL, Retries: 3, Header: http.Header{"Authorization": {"Bearer SECRET"}}})
		if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) || err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("err = %v, want %q", err, wantErr)
		}
		if err == nil && sent != want || calls.Load() != wantCalls {
			t.Errorf("sent %+v in %d calls, want %+v in %d", sent, calls.Load(), want, wantCalls)
		}
		if h := *got.Load(); h.Get("Authorization") != "Bearer SECRET" || h.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", h)
		}
	}
	all := Sent{Requests: 1, Records: 7}
	f(all, "", 1, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	f(all, "", 3, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Load() < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	f(Sent{Requests: 1, Records: 5, Rejected: 2, Why: "too old"}, "", 1, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}`))
	})
	f(Sent{}, "429 Too Many Requests: slow down", 4, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"message":"slow down"}`))
	})
	f(Sent{}, "400 Bad Request", 1, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	f(Sent{}, "302 Found", 1, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(http.StatusFound)
	})
	f(Sent{}, "EOF", 4, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

func TestSendStops(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := send(ctx, Endpoint{URL: srv.URL, Retries: 3}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
}

func TestEndpoint(t *testing.T) {
	f := func(address string, header http.Header, want string) {
		t.Helper()
		e := Endpoint{URL: address, Header: header}
		u, err := e.target()
		if err != nil {
			if ce, ok := errors.AsType[*config.Error](err); !ok || want != "" || strings.Contains(ce.Error(), "secret") {
				t.Errorf("%s: %v, want %s", address, err, want)
			}
			return
		}
		if u.String() != want {
			t.Errorf("%s: %s, want %s", address, u, want)
		}
	}
	key := http.Header{"X-Key": {"k"}}
	f("http://127.0.0.1:4318", nil, "http://127.0.0.1:4318/v1/logs")
	f("http://localhost:4318/", key, "http://localhost:4318/v1/logs")
	f("http://otel.example/custom", nil, "http://otel.example/custom")
	f("https://otel.example/otlp/v1/logs?x=1", key, "https://otel.example/otlp/v1/logs?x=1")
	f("http://otel.example:4318", key, "")
	f("http://user:secret@otel.example", nil, "")
	f("ftp://otel.example", nil, "")
	f("127.0.0.1:4318", nil, "")
	f("", nil, "")
}

func TestPartial(t *testing.T) {
	f := func(body string, n int, why string) {
		t.Helper()
		if gotN, gotWhy := partial([]byte(body)); gotN != n || gotWhy != why {
			t.Errorf("%s: %d %q", body, gotN, gotWhy)
		}
	}
	f(`{"partialSuccess":{"rejectedLogRecords":3,"errorMessage":"m"}}`, 3, "m")
	f(`{"partialSuccess":{"rejectedLogRecords":"-3"}}`, 0, "")
	f(`{}`, 0, "")
	f(``, 0, "")
	f(`[]`, 0, "")
}
