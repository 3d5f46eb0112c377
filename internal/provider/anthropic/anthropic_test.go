package anthropic

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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testKey is the API key of all tests. It must never show.
const testKey = "sk-cassette-key-for-the-test"

const headerSecret = "header-secret-value"

func lookup(name string) (string, bool) { return testKey, name == "ANTHROPIC_API_KEY" }

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
		Headers: []string{"X-Api-Key", "X-Goog-Api-Key", "Content-Type", "Accept-Encoding", "Anthropic-Version", "User-Agent", "X-Stainless-Retry-Count"},
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
			return provide(t, "anthropic:messages:m", all, base)
		}
	}
	replies, cuts := providertest.Replies, providertest.Cuts
	// The address is part of what a provider says about itself, so all good ones share one server.
	shared := providertest.Serve(t, answersBack)
	fails := func(name string, stream bool, h http.HandlerFunc, kind record.FailureKind, retry bool) providertest.Failing {
		return providertest.Failing{Name: name, New: with(h, map[string]any{"max_bytes": int64(5000), "stream": stream}), Request: providertest.Asking("q"), Kind: kind, Retry: retry}
	}
	leak := testKey + " and " + headerSecret
	half := `{"id":"msg_1","type":"message","content":[{"type":"text","text":"He`
	sseHalf := "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"content\":[]}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"He\"}}\n\n"
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
			fails("529", stream, replies(529, "application/json", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded `+leak+`"}}`), record.Server, true),
			fails("429", stream, replies(429, "application/json", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded `+leak+`"}}`), record.RateLimited, true),
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
			fails("error event", true, replies(200, "text/event-stream", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded "+leak+"\"}}\n\n"), record.Server, true),
			fails("rate limit event", true, replies(200, "text/event-stream", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow\"}}\n\n"), record.RateLimited, true),
			fails("stream not JSON", true, replies(200, "text/event-stream", "event: message_start\ndata: Hello "+leak+"\n\n"), record.Malformed, false),
			fails("no content", false, replies(200, "application/json", `{"type":"message","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":0}}`), record.Empty, false),
			fails("negative usage", false, replies(200, "application/json", `{"type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":-1,"output_tokens":0}}`), record.Malformed, false),
			{Name: "refused", New: with(nil, map[string]any{"apiBaseUrl": providertest.ClosedPort(t)}), Request: providertest.Asking("q"), Kind: record.Connection, Retry: true},
			{Name: "likelihoods", New: with(nil, map[string]any{"apiBaseUrl": shared}), Request: record.Request{Continuations: []string{"a"}}, Kind: record.BadRequest},
		},
	})
}

// answersBack answers with the first message, in one piece or word by word.
func answersBack(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/messages") {
		http.Error(w, "not found", http.StatusNotFound) // the question for the list of models
		return
	}
	var q struct {
		Messages []struct{ Content []struct{ Text string } }
		Stream   bool
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Messages) == 0 {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	text := q.Messages[0].Content[0].Text
	part, _ := json.Marshal(text)
	if !q.Stream {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":%s}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":4}}`, part)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	say := func(name, data string) {
		fmt.Fprintf(w, "event: %s\ndata: {\"type\":\"%s\"%s}\n\n", name, name, data)
		w.(http.Flusher).Flush()
	}
	say("message_start", `,"message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}`)
	say("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`)
	for _, word := range strings.SplitAfter(text, " ") {
		piece, _ := json.Marshal(word)
		say("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":`+string(piece)+`}`)
	}
	say("content_block_stop", `,"index":0`)
	say("message_delta", `,"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":4}`)
	say("message_stop", "")
}

// vendors makes the provider take the test server for the vendor's own, so that prices apply.
func vendors(p *Provider) {
	own := *p.base
	own.Host = "api.anthropic.com"
	p.base = &own
}
