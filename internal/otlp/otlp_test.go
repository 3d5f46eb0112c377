package otlp

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/telltale-llm/telltale/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var callAttrs = map[string]any{"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "m"}

func request(t testing.TB, spans ...testSpan) (asProto, asJSON []byte) {
	t.Helper()
	in := ptraceotlp.NewExportRequestFromTraces(build(t, spans...))
	p, err := in.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	j, err := in.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return p, j
}

func zip(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := stdgzip.NewWriter(&buf)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestHTTP(t *testing.T) {
	r, k := receiver(t, Options{MaxBytes: 100_000})
	p, j := request(t, testSpan{id: 1, attrs: callAttrs})
	f := func(method, path, media, encoding string, body []byte, want int) *httptest.ResponseRecorder {
		t.Helper()
		req := httptest.NewRequest(method, path, bytes.NewReader(body))
		req.Header.Set("Content-Type", media)
		if encoding != "" {
			req.Header.Set("Content-Encoding", encoding)
		}
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, req)
		if w.Code != want {
			t.Errorf("%s %s %s %s: %d %q, want %d", method, path, media, encoding, w.Code, w.Body, want)
		}
		return w
	}
	if w := f("POST", "/v1/traces", protobufType, "", p, 200); w.Header().Get("Content-Type") != protobufType || w.Body.Len() != 0 {
		t.Errorf("got %q %v", w.Body, w.Header())
	}
	if w := f("POST", "/v1/traces", "application/json; charset=utf-8", "", j, 200); w.Header().Get("Content-Type") != jsonType || w.Body.String() != "{}" {
		t.Errorf("got %q %v", w.Body, w.Header())
	}
	f("POST", "/api/public/otel/v1/traces", protobufType, "gzip", zip(t, p), 200)
	if len(k.xs) != 3 || k.xs[0].ID != k.xs[1].ID || k.xs[2].Source != "langfuse" {
		t.Errorf("got %+v", k.xs)
	}
	f("POST", "/v1/traces", protobufType, "", nil, 200)
	f("GET", "/v1/traces", "", "", nil, 405)
	f("POST", "/v1/metrics", protobufType, "", nil, 404)
	f("POST", "/v1/traces", "text/plain", "", p, 415)
	f("POST", "/v1/traces", protobufType, "br", p, 415)
	f("POST", "/v1/traces", protobufType, "gzip", p, 400)
	f("POST", "/v1/traces", protobufType, "gzip", zip(t, p)[:20], 400)
	f("POST", "/v1/traces", protobufType, "", p[:len(p)-3], 400)
	f("POST", "/v1/logs", protobufType, "", []byte("garbage"), 400)
	f("POST", "/v1/traces", jsonType, "", []byte(`{"resourceSpans":[`), 400)
	f("POST", "/v1/traces", jsonType, "", []byte(`{"resourceSpans":{}}`), 400)
	f("POST", "/v1/traces", protobufType, "", make([]byte, 100_001), 413)
	f("POST", "/v1/traces", protobufType, "gzip", zip(t, make([]byte, 10<<20)), 413)
	w := f("POST", "/v1/traces", protobufType, "", []byte{0xff}, 400)
	var s spb.Status
	if err := proto.Unmarshal(w.Body.Bytes(), &s); err != nil || codes.Code(s.GetCode()) != codes.InvalidArgument || !strings.Contains(s.GetMessage(), "cannot be decoded") {
		t.Errorf("got %v %q", err, s.GetMessage())
	}
	if r.inFlight.Load() != 0 {
		t.Errorf("%d bytes are still in flight", r.inFlight.Load())
	}
	// Without its length, and more than fits.
	req := httptest.NewRequest(http.MethodPost, "/v1/traces", struct{ *bytes.Reader }{bytes.NewReader(make([]byte, 200_000))})
	req.ContentLength = -1
	req.Header.Set("Content-Type", protobufType)
	rec := httptest.NewRecorder()
	r.Handler().ServeHTTP(rec, req)
	if rec.Code != 413 {
		t.Errorf("got %d", rec.Code)
	}
}

func TestNotAuthorized(t *testing.T) {
	r, k := receiver(t, Options{Auth: func(req *http.Request) error {
		if user, pass, _ := req.BasicAuth(); user == "pk" && pass == "sk" {
			return nil
		}
		return errors.New("secret reason")
	}})
	p, _ := request(t, testSpan{id: 1, attrs: callAttrs})
	for _, path := range []string{"/v1/traces", "/v1/logs", "/api/public/otel/v1/traces", "/v1/exchanges"} {
		if w := post(r, path, protobufType, p); w.Code != 401 || strings.Contains(w.Body.String(), "secret") || len(w.Header().Values("WWW-Authenticate")) != 2 {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	req := httptest.NewRequest(http.MethodPost, "/api/public/otel/v1/traces", bytes.NewReader(p))
	req.Header.Set("Content-Type", protobufType)
	req.SetBasicAuth("pk", "sk")
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	if w.Code != 200 || len(k.xs) != 1 {
		t.Errorf("%d, %d exchanges", w.Code, len(k.xs))
	}
}

func TestBusy(t *testing.T) {
	r, k := receiver(t, Options{})
	p, j := request(t, testSpan{id: 1, attrs: callAttrs})
	f := func(err error, code int, retry, message string) {
		t.Helper()
		k.fail = err
		for _, in := range []struct {
			media string
			body  []byte
		}{{protobufType, p}, {jsonType, j}} {
			w := post(r, "/v1/traces", in.media, in.body)
			if w.Code != code || w.Header().Get("Retry-After") != retry || !strings.Contains(w.Body.String(), message) {
				t.Errorf("%v: %d %q %v", err, w.Code, w.Body, w.Header())
			}
		}
		w := post(r, "/v1/exchanges", jsonType, []byte(`{"id":"a","time":"2026-01-01T00:00:00Z"}`))
		if w.Code != code || w.Header().Get("Retry-After") != retry {
			t.Errorf("%v: %d %q", err, w.Code, w.Body)
		}
	}
	f(&Busy{RetryAfter: 1500 * time.Millisecond}, 429, "2", "too many records")
	f(fmt.Errorf("wrapped: %w", &Busy{Down: true, Reason: "the disk is full"}), 503, "5", "the disk is full")
	f(errors.New("password=hunter2"), 503, "5", "cannot be stored at present")
	k.fail = nil
	if w := post(r, "/v1/traces", protobufType, p); w.Code != 200 || len(k.xs) != 1 {
		t.Errorf("%d", w.Code)
	}
	if n := r.Counts(); n.Busy != 9 || n.Exchanges != 1 || n.Requests != 10 {
		t.Errorf("got %+v", n)
	}
	small, _ := receiver(t, Options{MaxBytes: 1000, MaxInFlight: 1000})
	if err := small.enter(900); err != nil {
		t.Fatal(err)
	}
	if w := post(small, "/v1/traces", protobufType, p); w.Code != 429 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d", w.Code)
	}
}

func TestPartialSuccess(t *testing.T) {
	td := build(t, testSpan{id: 0, attrs: callAttrs}, testSpan{id: 1, attrs: callAttrs}, testSpan{id: 2, attrs: map[string]any{"http.route": "/"}})
	b, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	r, k := receiver(t, Options{})
	w := post(r, "/v1/traces", protobufType, b)
	out := ptraceotlp.NewExportResponse()
	if err := out.UnmarshalProto(w.Body.Bytes()); err != nil {
		t.Fatal(err)
	}
	if w.Code != 200 || out.PartialSuccess().RejectedSpans() != 1 || out.PartialSuccess().ErrorMessage() == "" || len(k.xs) != 1 {
		t.Errorf("%d, %d rejected, %d exchanges", w.Code, out.PartialSuccess().RejectedSpans(), len(k.xs))
	}
	if n := r.Counts(); n.Ignored != 1 || n.Rejected != 1 || n.Spans != 3 {
		t.Errorf("got %+v", n)
	}
}

func TestGRPC(t *testing.T) {
	r, k := receiver(t, Options{MaxBytes: 100_000, Auth: func(req *http.Request) error {
		if req.Header.Get("Authorization") != "Bearer k" {
			return errors.New("no")
		}
		return nil
	}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(r.GRPCOptions()...)
	r.RegisterGRPC(s)
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	defer func() { s.Stop(); <-done }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := ptraceotlp.NewGRPCClient(conn)
	in := ptraceotlp.NewExportRequestFromTraces(build(t, testSpan{id: 0, attrs: callAttrs}, testSpan{id: 1, attrs: callAttrs}))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer k")
	out, err := client.Export(ctx, in, grpc.UseCompressor(gzip.Name))
	if err != nil || out.PartialSuccess().RejectedSpans() != 1 || len(k.xs) != 1 {
		t.Errorf("got %v, %d exchanges", err, len(k.xs))
	}
	if _, err := plogotlp.NewGRPCClient(conn).Export(ctx, plogotlp.NewExportRequestFromLogs(logsFor(9, "gen_ai.user.message", "Hi"))); err != nil {
		t.Error(err)
	}
	f := func(ctx context.Context, in ptraceotlp.ExportRequest, fail error, want codes.Code, retry time.Duration) {
		t.Helper()
		k.fail = fail
		_, err := client.Export(ctx, in)
		st := status.Convert(err)
		if st.Code() != want {
			t.Fatalf("got %v, want %s", err, want)
		}
		var got time.Duration
		for _, d := range st.Details() {
			if info, ok := d.(*errdetails.RetryInfo); ok {
				got = info.GetRetryDelay().AsDuration()
			}
		}
		if got != retry {
			t.Errorf("retry after %s, want %s", got, retry)
		}
	}
	f(t.Context(), in, nil, codes.Unauthenticated, 0)
	f(ctx, in, &Busy{RetryAfter: 3 * time.Second}, codes.ResourceExhausted, 3*time.Second)
	f(ctx, in, errors.New("x"), codes.Unavailable, defaultRetry)
	big := ptraceotlp.NewExportRequestFromTraces(build(t, testSpan{id: 1, attrs: map[string]any{"gen_ai.system": strings.Repeat("x", 200_000)}}))
	f(ctx, big, nil, codes.ResourceExhausted, 0)
}

// logsFor makes a log of a span.
func logsFor(span byte, name, content string) plog.Logs {
	ld := plog.NewLogs()
	l := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	l.SetTraceID(pcommon.TraceID{1})
	l.SetSpanID(pcommon.SpanID{span})
	l.SetTimestamp(1)
	l.SetEventName(name)
	if name == "gen_ai.evaluation.result" {
		l.Attributes().PutStr("gen_ai.evaluation.name", content)
		l.Attributes().PutDouble("gen_ai.evaluation.score.value", .5)
		return ld
	}
	l.Body().SetEmptyMap().PutStr("content", content)
	return ld
}

func TestLogsJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var scored []string
		var full error
		r, k := receiver(t, Options{Hold: 2 * time.Second, Window: time.Minute, Scores: func(_ context.Context, route string, s []record.Late) error {
			scored = append(scored, fmt.Sprint(route, " ", s[0].Exchange, " ", s[0].Score.Name, " ", s[0].Mark))
			return full
		}})
		log := func(span byte, name, content string) {
			t.Helper()
			if _, err := r.logs(t.Context(), logsFor(span, name, content)); err != nil {
				t.Fatal(err)
			}
		}
		send := func(span byte) time.Duration {
			t.Helper()
			start := time.Now()
			if _, err := r.traces(t.Context(), build(t, testSpan{id: span, attrs: callAttrs}), "otlp"); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		if d := send(1); d != 0 || k.xs[0].Content != nil {
			t.Errorf("a client that sends no logs waits %s", d)
		}
		log(2, "gen_ai.user.message", "Hi")
		log(2, "gen_ai.evaluation.result", "tone")
		if d := send(2); d != 0 || k.xs[1].Content.Input[0].Content != "Hi" || k.xs[1].Scores != nil {
			t.Errorf("waited %s, got %+v", d, k.xs[1].Content)
		}
		// The span comes first: it waits for its logs, for they are known to come.
		go func() {
			time.Sleep(time.Second)
			log(3, "gen_ai.user.message", "later")
		}()
		if d := send(3); d != time.Second || k.xs[2].Content.Input[0].Content != "later" {
			t.Errorf("waited %s, got %+v", d, k.xs[2].Content)
		}
		if d := send(4); d != 2*time.Second || k.xs[3].Content != nil {
			t.Errorf("waited %s in vain", d)
		}
		log(4, "gen_ai.user.message", "too late")
		log(4, "gen_ai.evaluation.result", "afterwards")
		log(5, "gen_ai.user.message", "its span never comes")
		log(6, "http.request", "not about models")
		time.Sleep(2 * time.Minute)
		log(7, "gen_ai.user.message", "x")
		if n := r.Counts(); n.Late != 1 || n.Expired != 1 || n.Ignored != 1 || n.Joined != 4 {
			t.Errorf("got %+v", n)
		}
		// Scores go on at once, before their exchange or after it, and what has no room comes again.
		full = &Busy{Reason: "full"}
		if _, err := r.logs(t.Context(), logsFor(4, "gen_ai.evaluation.result", "afterwards")); !errors.Is(err, full) {
			t.Errorf("got %v", err)
		}
		want := []string{"otlp " + k.xs[1].ID + " tone 1", "otlp " + k.xs[3].ID + " afterwards 1", "otlp " + k.xs[3].ID + " afterwards 1"}
		if !slices.Equal(scored, want) {
			t.Errorf("got %q, want %q", scored, want)
		}
		full = nil
		time.Sleep(10 * time.Minute)
		if d := send(8); d != 0 {
			t.Errorf("a client that has stopped sending logs waits %s", d)
		}
	})
}

// TestFullSinkKeepsLogs: a span that was sent away still finds its content when it comes again.
func TestFullSinkKeepsLogs(t *testing.T) {
	r, k := receiver(t, Options{})
	if _, err := r.logs(t.Context(), logsFor(1, "gen_ai.user.message", "Hi")); err != nil {
		t.Fatal(err)
	}
	k.fail = &Busy{}
	p, _ := request(t, testSpan{id: 1, attrs: callAttrs})
	if w := post(r, "/v1/traces", protobufType, p); w.Code != 429 {
		t.Fatal(w.Code)
	}
	k.fail = nil
	if w := post(r, "/v1/traces", protobufType, p); w.Code != 200 || k.xs[0].Content.Input[0].Content != "Hi" {
		t.Errorf("%d %+v", w.Code, k.xs)
	}
}

func TestPendingIsBounded(t *testing.T) {
	r, _ := receiver(t, Options{Pending: 10_000})
	for i := range 100 {
		if _, err := r.logs(t.Context(), logsFor(byte(i+1), "gen_ai.user.message", strings.Repeat("x", 1000))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.logs(t.Context(), logsFor(200, "gen_ai.user.message", strings.Repeat("x", 100_000))); err != nil {
		t.Fatal(err)
	}
	if r.join.size > 10_000 || len(r.join.waits) > 11 || r.Counts().Dropped < 90 {
		t.Errorf("%d bytes of %d spans wait, %+v", r.join.size, len(r.join.waits), r.Counts())
	}
	var m remembered
	for i := range maxRemembered + 10 {
		m.add(spanKey{trace: pcommon.TraceID{byte(i), byte(i >> 8), byte(i >> 16), 1}})
	}
	if len(m.set) != maxRemembered {
		t.Errorf("%d are remembered", len(m.set))
	}
}

func TestExchanges(t *testing.T) {
	r, k := receiver(t, Options{Price: func(string, record.Usage) *float64 { v := 2.; return &v }})
	body := `{"id":"a","time":"2026-01-01T01:00:00.1234567+01:00","model":"m","usage":{"prompt":3},"content":{"input":[{"role":"user","content":"Hi"}],"output":"Hello","body":{"x":1}},"redaction":"mine"}
{"id":"b","time":"2026-01-01T00:00:00Z","route":"r","variant":"canary","propensity":0.1,"error_kind":"timeout","source":"file"}
`
	w := post(r, "/v1/exchanges", "application/x-ndjson", []byte(body))
	if w.Code != 200 || w.Body.String() != `{"accepted":2}` || len(k.xs) != 2 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	x := k.xs[0]
	if x.Source != "json" || x.Route != "json" || x.Variant != "baseline" || x.Propensity != 1 || x.Inclusion != 1 || x.API != "other" || *x.Cost != 2 || x.Redaction != "" || x.Time.Format(time.RFC3339Nano) != "2026-01-01T00:00:00.123456Z" || x.Content.Output != "Hello" {
		t.Errorf("got %+v", x)
	}
	if w := post(r, "/v1/exchanges", jsonType, []byte("[\n"+strings.ReplaceAll(strings.TrimSpace(body), "\n", ",\n")+"\n]")); w.Code != 200 || len(k.xs) != 4 {
		t.Errorf("as a list: %d %s", w.Code, w.Body)
	}
	f := func(body string, want ...mistake) {
		t.Helper()
		w := post(r, "/v1/exchanges", jsonType, []byte(body))
		var got struct {
			Error struct{ Mistakes []mistake }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
		if w.Code != 400 || len(got.Error.Mistakes) != len(want) {
			t.Fatalf("%s: %d %s", body, w.Code, w.Body)
		}
		for i, m := range got.Error.Mistakes {
			if m.Line != want[i].Line || m.Key != want[i].Key || !strings.Contains(m.Problem, want[i].Problem) || !strings.Contains(m.Want, want[i].Want) || want[i].Value != m.Value {
				t.Errorf("%s: got %+v, want %+v", body, m, want[i])
			}
		}
	}
	good := `{"id":"a","time":"2026-01-01T00:00:00Z"}`
	f(``, mistake{Line: 1, Problem: "no exchange"})
	f(`[]`, mistake{Line: 1, Problem: "no exchange"})
	f("\n\n{\"id\":", mistake{Line: 3, Problem: "invalid JSON"})
	f(good+"\n7", mistake{Line: 2, Value: "7", Problem: "not an object"})
	f(good+"\n"+`{"id":"b","time":"2026-01-01T00:00:00Z","modle":"m"}`, mistake{Line: 2, Key: "modle", Problem: "unknown key"})
	f(`{"id":"b","ID":"c","id":"d","time":"2026-01-01T00:00:00Z"}`, mistake{Line: 1, Key: "ID", Problem: "unknown key"}, mistake{Line: 1, Key: "id", Problem: "duplicate key"})
	f(`{"id":"b","time":"yesterday"}`, mistake{Line: 1, Key: "time", Value: "yesterday", Problem: "not a time", Want: "RFC 3339"})
	f(`{"id":"b","time":"2026-01-01T00:00:00Z","usage":{"prompt":"3"}}`, mistake{Line: 1, Key: "usage.prompt", Value: "string", Problem: "string", Want: "a whole number"})
	f(`{"id":"b","time":"2026-01-01T00:00:00Z","usage":{"tokens":3}}`, mistake{Line: 1, Key: "tokens", Problem: "unknown key"})
	f(`{"time":"2026-01-01T00:00:00Z","status":42,"propensity":0,"latency":-1,"error_kind":"oops","api":"x"}`,
		mistake{Line: 1, Key: "id", Problem: "not an id"}, mistake{Line: 1, Key: "api", Value: "x", Problem: "not known", Want: "openai.chat"}, mistake{Line: 1, Key: "error_kind", Value: "oops", Problem: "not a reason", Want: "timeout"},
		mistake{Line: 1, Key: "status", Value: "42", Problem: "not an HTTP status"}, mistake{Line: 1, Key: "propensity", Value: "0", Problem: "not a probability"}, mistake{Line: 1, Key: "latency", Value: "-1", Problem: "not possible"})
	f(`{"id":"b"}`, mistake{Line: 1, Key: "time", Problem: "missing", Want: "RFC 3339"})
	f(`{"id":"b","time":"2999-01-01T00:00:00Z"}`, mistake{Line: 1, Key: "time", Value: "2999-01-01T00:00:00Z", Problem: "this year", Want: "between 2000 and 2200"})
	f("["+good+"] x", mistake{Line: 1, Problem: "something follows"})
	f(`[`+good, mistake{Line: 1, Problem: "invalid JSON"})
	if len(k.xs) != 4 {
		t.Errorf("mistakes let something through: %d", len(k.xs))
	}
}

func FuzzTraces(f *testing.F) {
	files, err := filepath.Glob("testdata/recorded/*.traces.*")
	if err != nil || len(files) == 0 {
		f.Fatal(err, files)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(strings.HasSuffix(name, ".json"), data)
	}
	p, j := request(f, testSpan{id: 1, attrs: map[string]any{"gen_ai.operation.name": "chat", "gen_ai.input.messages": `[{"role":"user","parts":[{"type":"blob","content":"AA"}]}]`, "llm.input_messages.0.message.role": "user", "metadata": "{}"}, events: []testEvent{{"gen_ai.choice", map[string]any{"message": "{}"}}}})
	f.Add(false, p)
	f.Add(true, j)
	f.Fuzz(func(t *testing.T, isJSON bool, data []byte) {
		r, k := receiver(t, Options{MaxContent: 200})
		media := protobufType
		if isJSON {
			media = jsonType
		}
		w := post(r, "/v1/traces", media, data)
		if w.Code != 200 && w.Code != 400 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "not readable") {
			t.Fatalf("panic: %s", w.Body)
		}
		for i := range k.xs {
			b, err := json.Marshal(&k.xs[i])
			if err != nil {
				t.Fatalf("cannot be written: %v", err)
			}
			var back record.Exchange
			if err := json.Unmarshal(b, &back); err != nil {
				t.Fatalf("cannot be read back: %v in %s", err, b)
			}
		}
	})
}

func FuzzLogs(f *testing.F) {
	data, err := os.ReadFile("testdata/recorded/otel-1.logs.bin")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, _ := receiver(t, Options{})
		if w := post(r, "/v1/logs", protobufType, data); w.Code != 200 && w.Code != 400 || strings.Contains(w.Body.String(), "not readable") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for k := range r.join.waits {
			c := call{key: k}
			c.addEvents(r.join.take(k))
			c.said.write(&c.x, false, 1000)
		}
	})
}

func FuzzExchanges(f *testing.F) {
	f.Add([]byte(`{"id":"a","time":"2026-01-01T00:00:00Z","content":{"input":[{"role":"user","content":[{"type":"text","text":"x"}]}]}}`))
	f.Add([]byte(`[{"id":"a"},`))
	f.Fuzz(func(t *testing.T, data []byte) {
		xs, errs := ReadExchanges(data, 1000)
		if (len(errs) == 0) != (len(xs) > 0) {
			t.Fatalf("%d exchanges, %v", len(xs), errs)
		}
		if len(errs) > maxMistakes+20 {
			t.Fatalf("%d mistakes", len(errs))
		}
		for i := range xs {
			if _, err := json.Marshal(&xs[i]); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkTraces takes in 100 calls of 1 KB of content a request.
func BenchmarkTraces(b *testing.B) {
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 11)
	var spans []testSpan
	for i := range 100 {
		spans = append(spans, testSpan{id: byte(i + 1), attrs: map[string]any{
			"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "gen_ai.request.temperature": .5, "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5,
			"gen_ai.response.finish_reasons": []any{"stop"}, "gen_ai.input.messages": `[{"role":"user","parts":[{"type":"text","content":"` + text + `"}]}]`, "gen_ai.output.messages": `[{"role":"assistant","parts":[{"type":"text","content":"` + text + `"}]}]`,
		}})
	}
	p, _ := request(b, spans...)
	r, _ := receiver(b, Options{})
	r.o.Sink = func(context.Context, []record.Exchange) error { return nil }
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if w := post(r, "/v1/traces", protobufType, p); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
	b.ReportMetric(float64(100*b.N)/b.Elapsed().Seconds(), "exchanges/s")
}
