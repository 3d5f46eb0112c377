package otlp

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// kept is a sink that remembers.
type kept struct {
	mu   sync.Mutex
	xs   []record.Exchange
	fail error
}

func (k *kept) sink(_ context.Context, xs []record.Exchange) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	k.xs = append(k.xs, xs...)
	return nil
}

func receiver(t testing.TB, o Options) (*Receiver, *kept) {
	t.Helper()
	k := &kept{}
	o.Sink = k.sink
	if o.Hold == 0 {
		o.Hold = -1
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r, k
}

func post(r *Receiver, path, media string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", media)
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	return w
}

// play sends the recorded requests of a client, in the order they came.
func play(t *testing.T, r *Receiver, files ...string) {
	t.Helper()
	for _, name := range files {
		data, err := os.ReadFile("testdata/recorded/" + name)
		if err != nil {
			t.Fatal(err)
		}
		path, media := "/v1/traces", protobufType
		if strings.Contains(name, ".logs.") {
			path = "/v1/logs"
		}
		if strings.HasPrefix(name, "langfuse") {
			path = "/api/public/otel" + path
		}
		if strings.HasSuffix(name, ".json") {
			media = jsonType
		}
		if w := post(r, path, media, data); w.Code != 200 {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

const (
	recordedSystem = "You are a support assistant."
	recordedInput  = "How do I get a refund?"
	recordedOutput = "You can return any item within 30 days of delivery for a full refund. Refunds reach your account within 5 business days."
)

// wanted is what must arrive of a recorded call.
type wanted struct {
	source, api, provider, route string
	stream, content, usage, ttft bool
	temperature, seed            float64 // 0: the dialect does not carry it
	finish                       string
	kind                         record.FailureKind
}

func (w wanted) check(t *testing.T, x *record.Exchange) {
	t.Helper()
	if x.Source != w.source || x.API != w.api || x.Provider != w.provider || x.Route != w.route || x.Stream != w.stream || x.Model != "sim" || x.FinishReason != w.finish || x.ErrorKind != w.kind {
		t.Errorf("got %s %s %q %s stream %v model %s finish %s error %q, want %+v", x.Source, x.API, x.Provider, x.Route, x.Stream, x.Model, x.FinishReason, x.ErrorKind, w)
	}
	if len(x.ID) != 36 || len(x.TraceID) != 32 || len(x.SpanID) != 16 || x.Time.Year() != 2026 || x.Latency == nil || *x.Latency <= 0 || *x.Latency > 10 || x.Propensity != 1 || x.Inclusion != 1 || x.Variant != "baseline" {
		t.Errorf("got %+v", x)
	}
	if w.content {
		if c := x.Content; c == nil || c.System != recordedSystem || len(c.Input) != 1 || c.Input[0].Role != "user" || c.Input[0].Content != recordedInput || c.Output != recordedOutput {
			t.Errorf("got content %+v", x.Content)
		}
	}
	if w.usage != (x.Usage != nil && x.Usage.Prompt == 25 && x.Usage.Completion == 24 && x.Usage.Total == 49) {
		t.Errorf("got usage %+v, want it: %v", x.Usage, w.usage)
	}
	if w.ttft != (x.TTFT != nil && *x.TTFT > 0 && *x.TTFT < 1) {
		t.Errorf("got ttft %v, want it: %v", x.TTFT, w.ttft)
	}
	if got, _ := x.Params["temperature"].(float64); got != w.temperature {
		t.Errorf("got params %v", x.Params)
	}
	if (x.Seed != nil) != (w.seed != 0) || x.Seed != nil && float64(*x.Seed) != w.seed {
		t.Errorf("got seed %v, want %v", x.Seed, w.seed)
	}
}

func TestRecordedOTel(t *testing.T) {
	r, k := receiver(t, Options{})
	play(t, r, "otel-1.logs.bin", "otel-2.traces.bin")
	if len(k.xs) != 3 {
		t.Fatalf("%d exchanges", len(k.xs))
	}
	w := wanted{source: "otlp", api: record.APIChat, provider: "openai", route: "conformance-otel", content: true, usage: true, temperature: .2, finish: "stop"}
	w.check(t, &k.xs[0])
	w.temperature = 0 // nor does this client say that it streams
	w.check(t, &k.xs[1])
	w.content, w.usage, w.finish, w.kind = false, false, "", record.BadRequest
	w.check(t, &k.xs[2])
	if k.xs[2].Error != "400 want at least one message" || k.xs[0].Params["max_tokens"] != int64(100) || k.xs[0].Upstream != "127.0.0.1" {
		t.Errorf("got %+v %+v", k.xs[2].Error, k.xs[0])
	}
	if n := r.Counts(); n.Joined != 6 || n.Exchanges != 3 || n.Events != 6 {
		t.Errorf("got %+v", n)
	}
}

func TestRecordedTraceloop(t *testing.T) {
	r, k := receiver(t, Options{})
	play(t, r, "traceloop-1.traces.bin", "traceloop-2.traces.bin")
	if len(k.xs) != 2 {
		t.Fatalf("%d exchanges", len(k.xs))
	}
	w := wanted{source: "otlp", api: record.APIChat, provider: "openai", route: "conformance-traceloop", content: true, usage: true, temperature: .2, finish: "stop"}
	w.check(t, &k.xs[0])
	w.usage, w.temperature = false, 0 // this client has no usage of streams
	w.check(t, &k.xs[1])
}

func TestRecordedOpenInference(t *testing.T) {
	r, k := receiver(t, Options{})
	play(t, r, "openinference-1.traces.bin")
	if len(k.xs) != 2 {
		t.Fatalf("%d exchanges", len(k.xs))
	}
	w := wanted{source: "otlp", api: record.APIChat, provider: "openai", route: "conformance-openinference", content: true, usage: true, temperature: .2, seed: 11, finish: "stop"}
	w.check(t, &k.xs[0])
	if k.xs[0].Fingerprint != "fp_dd22b037ef" {
		t.Errorf("got fingerprint %q", k.xs[0].Fingerprint)
	}
	w.usage, w.temperature, w.seed, w.stream = false, 0, 12, true // this client has no usage of streams
	w.check(t, &k.xs[1])
}

func TestRecordedLangfuse(t *testing.T) {
	r, k := receiver(t, Options{})
	play(t, r, "langfuse-1.traces.json")
	if len(k.xs) != 3 {
		t.Fatalf("%d exchanges", len(k.xs))
	}
	w := wanted{source: "langfuse", api: record.APIChat, provider: "openai", route: "conformance-langfuse", content: true, usage: true, temperature: .2, seed: 11}
	w.check(t, &k.xs[0])
	w.temperature, w.seed, w.stream, w.ttft = 0, 12, true, true
	w.check(t, &k.xs[1])
	w = wanted{source: "langfuse", api: record.APIChat, provider: "openai", route: "conformance-langfuse", kind: record.BadRequest}
	w.check(t, &k.xs[2])
	x := &k.xs[0]
	if x.User != "user-7" || x.Session != "session-9" || x.Tags["support"] != "true" || k.xs[2].Error != "Error: 400 want at least one message" {
		t.Errorf("got %+v", x)
	}
}

func TestRecordedVercel(t *testing.T) {
	r, k := receiver(t, Options{})
	play(t, r, "vercel-1.traces.bin")
	if len(k.xs) != 2 {
		t.Fatalf("%d exchanges: the outer spans repeat the usage and must not count", len(k.xs))
	}
	w := wanted{source: "otlp", api: record.APIChat, provider: "openai", route: "conformance-vercel", content: true, usage: true, temperature: .2, seed: 11, finish: "stop"}
	w.check(t, &k.xs[0])
	w.seed, w.stream, w.ttft = 12, true, true
	w.check(t, &k.xs[1])
	if x := &k.xs[0]; x.Tags["team"] != "support" || x.ParentID == "" {
		t.Errorf("got %+v", x)
	}
	if n := r.Counts(); n.NotCalls != 2 || n.Exchanges != 2 {
		t.Errorf("got %+v", n)
	}
}

// TestSentTwice sends every recording twice: ids are the same, so that storing is idempotent, and no content doubles.
func TestSentTwice(t *testing.T) {
	r, k := receiver(t, Options{Window: time.Hour})
	files := []string{"otel-1.logs.bin", "otel-1.logs.bin", "otel-2.traces.bin", "langfuse-1.traces.json", "vercel-1.traces.bin", "openinference-1.traces.bin"}
	play(t, r, files...)
	first := k.xs
	k.xs = nil
	play(t, r, "otel-2.traces.bin", "langfuse-1.traces.json", "vercel-1.traces.bin", "openinference-1.traces.bin")
	if len(first) != len(k.xs) {
		t.Fatalf("%d and %d exchanges", len(first), len(k.xs))
	}
	for i := range first {
		if first[i].ID != k.xs[i].ID {
			t.Errorf("%s became %s", first[i].ID, k.xs[i].ID)
		}
	}
	if c := first[0].Content; c.Output != recordedOutput || len(c.Input) != 1 {
		t.Errorf("logs that came twice double the content: %+v", c)
	}
	for i := range first {
		if _, err := json.Marshal(&first[i]); err != nil {
			t.Error(err)
		}
	}
}
