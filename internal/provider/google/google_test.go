package google

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/providertest"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

var update = flag.Bool("update", false, "rewrite what cassettes expect")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// testKey is the API key of all tests. It must never show.
const testKey = "sk-cassette-key-for-the-test"

const headerSecret = "header-secret-value"

func lookup(name string) (string, bool) { return testKey, name == "GEMINI_API_KEY" }

// provide reads a provider from settings, pointed at a server when there is one.
func provide(t testing.TB, id string, settings map[string]any, server string) *Provider {
	t.Helper()
	m := map[string]any{}
	for k, v := range settings {
		m[k] = v
	}
	if server != "" {
		m["apiBaseUrl"] = server
	}
	prices, err := provider.LoadPrices("")
	if err != nil {
		t.Fatal(err)
	}
	p, err := FromConfig(config.Provider{ID: id, Config: config.Object{Map: m}}, wire.Env{Lookup: lookup, Prices: prices})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCassettes(t *testing.T) {
	providertest.ReplayCassettes(t, providertest.Cassettes{
		Glob: "testdata/cassettes/*.txtar", Key: testKey, Update: *update,
		Headers: []string{"X-Api-Key", "X-Goog-Api-Key", "Content-Type", "Accept-Encoding", "Anthropic-Version", "X-Stainless-Retry-Count"},
		New: func(t *testing.T, id string, settings map[string]any, server string) providertest.Provider {
			p := provide(t, id, settings, server)
			vendors(p)
			return p
		},
	})
}

func TestConformance(t *testing.T) {
	for _, mode := range []string{"whole", "stream"} {
		t.Run(mode, func(t *testing.T) { conformance(t, mode == "stream") })
	}
}

func conformance(t *testing.T, stream bool) {
	with := func(h http.HandlerFunc, settings map[string]any) func(t *testing.T) providertest.Provider {
		return func(t *testing.T) providertest.Provider {
			all := map[string]any{"stream": stream, "temperature": 0.5, "headers": map[string]any{"X-Secret": headerSecret}}
			for k, v := range settings {
				all[k] = v
			}
			base, _ := all["apiBaseUrl"].(string)
			if h != nil {
				base = providertest.Serve(t, h)
			}
			return provide(t, "google:m", all, base)
		}
	}
	replies, cuts := providertest.Replies, providertest.Cuts
	// The address is part of what a provider says about itself, so all good ones share one server.
	shared := providertest.Serve(t, answersBack)
	fails := func(name string, stream bool, h http.HandlerFunc, kind record.FailureKind, retry bool) providertest.Failing {
		return providertest.Failing{Name: name, New: with(h, map[string]any{"max_bytes": int64(5000), "stream": stream}), Request: providertest.Asking("q"), Kind: kind, Retry: retry}
	}
	leak := testKey + " and " + headerSecret
	half := `{"candidates":[{"content":{"parts":[{"text":"He`
	sseHalf := "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"He\"}]}}]}\n\n"
	providertest.Run(t, providertest.Subject{
		New:         with(nil, map[string]any{"apiBaseUrl": shared}),
		Request:     func(n int) record.Request { return providertest.Asking(fmt.Sprintf("question %d \"é\"", n)) },
		Want:        func(n int) string { return fmt.Sprintf("question %d \"é\"", n) },
		Hang:        with(providertest.Hangs, nil),
		Impatient:   with(providertest.Hangs, map[string]any{"timeout": "50ms"}),
		Unreachable: with(nil, map[string]any{"apiBaseUrl": providertest.ClosedPort(t)}),
		Secrets:     []string{testKey, headerSecret},
		Failures: []providertest.Failing{
			fails("html 500", stream, replies(500, "text/html", "<html><body>\n\n"+leak+"</body></html>"), record.Server, true),
			fails("529", stream, replies(529, "application/json", `{"error":{"code":503,"message":"overloaded `+leak+`","status":"UNAVAILABLE"}}`), record.Server, true),
			fails("429", stream, replies(429, "application/json", `{"error":{"code":503,"message":"overloaded `+leak+`","status":"UNAVAILABLE"}}`), record.RateLimited, true),
			fails("401", stream, replies(401, "application/json", `{"error":{"message":"bad key `+leak+`"}}`), record.Auth, false),
			fails("403", stream, replies(403, "text/plain", leak), record.Auth, false),
			fails("404", stream, replies(404, "text/plain", leak), record.NotFound, false),
			fails("400", stream, replies(400, "application/json", `{"error":{"message":"`+leak+`"}}`), record.BadRequest, false),
			fails("should not retry", stream, providertest.With(replies(503, "text/plain", "no"), "x-should-retry", "false"), record.Server, false),
			fails("not JSON", stream, replies(200, "application/json", "Hello "+leak), record.Malformed, false),
			fails("html 200", stream, replies(200, "text/html; charset=utf-8", "<html>login, "+leak+"</html>"), record.Malformed, false),
			fails("truncated JSON", stream, replies(200, "application/json", half+leak), record.Malformed, false),
			fails("huge body", stream, replies(200, "application/json", strings.Repeat(" ", 6000)), record.TooLarge, false),
			fails("huge stream", stream, replies(200, "text/event-stream", strings.Repeat(": ping\n", 1000)), record.TooLarge, false),
			fails("huge error", stream, replies(500, "text/plain", strings.Repeat("x", 1<<20)), record.Server, true),
			fails("redirect", stream, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://elsewhere.test/?token="+testKey, http.StatusTemporaryRedirect)
			}, record.BadRequest, false),
			fails("connection cut", false, cuts("application/json", half), record.Cut, true),
			fails("no answer", stream, providertest.Aborts, record.Connection, true),
			fails("stream cut", true, replies(200, "text/event-stream", sseHalf), record.Cut, true),
			fails("stream connection cut", true, cuts("text/event-stream", sseHalf), record.Cut, true),
			fails("error in the stream", true, replies(200, "text/event-stream", "data: {\"error\":{\"code\":429,\"message\":\"slow "+leak+"\",\"status\":\"RESOURCE_EXHAUSTED\"}}\n\n"), record.RateLimited, true),
			fails("stream not JSON", true, replies(200, "text/event-stream", "data: Hello "+leak+"\n\n"), record.Malformed, false),
			fails("no candidates", false, replies(200, "application/json", `{"usageMetadata":{"promptTokenCount":1}}`), record.Empty, false),
			fails("stream of nothing", true, replies(200, "text/event-stream", "data: {}\n\n"), record.Empty, false),
			fails("negative usage", false, replies(200, "application/json", `{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":-1}}`), record.Malformed, false),
			{Name: "refused", New: with(nil, map[string]any{"apiBaseUrl": providertest.ClosedPort(t)}), Request: providertest.Asking("q"), Kind: record.Connection, Retry: true},
			{Name: "likelihoods", New: with(nil, map[string]any{"apiBaseUrl": shared}), Request: record.Request{Continuations: []string{"a"}}, Kind: record.BadRequest},
		},
	})
}

// answersBack answers with the first message, in one piece or word by word.
func answersBack(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "enerateContent") {
		http.Error(w, "not found", http.StatusNotFound) // the question for the list of models
		return
	}
	var q struct {
		Contents []struct{ Parts []struct{ Text string } }
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Contents) == 0 {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	text := q.Contents[0].Parts[0].Text
	if !strings.Contains(r.URL.Path, "streamGenerateContent") {
		part, _ := json.Marshal(text)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"candidates":[{"content":{"parts":[{"text":%s}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4,"totalTokenCount":7},"modelVersion":"m"}`, part)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, word := range strings.SplitAfter(text, " ") {
		piece, _ := json.Marshal(word)
		fmt.Fprintf(w, "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":%s}],\"role\":\"model\"}}]}\r\n\r\n", piece)
		w.(http.Flusher).Flush()
	}
	fmt.Fprint(w, "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":\"STOP\"}]}\r\n\r\n")
}

// vendors makes the provider take the test server for the vendor's own, so that prices apply.
func vendors(p *Provider) {
	own := *p.base
	own.Scheme, own.Host = "https", "generativelanguage.googleapis.com"
	p.base = &own
}
