package httpjson

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider/providertest"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/template"
)

var update = flag.Bool("update", false, "rewrite what cassettes expect")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testKey is the credential of all tests. It must never show.
const testKey = "sk-cassette-key-for-the-test"

func provide(t testing.TB, id string, settings map[string]any, server string) *Provider {
	t.Helper()
	m := map[string]any{}
	for k, v := range settings {
		m[k] = v
	}
	if url, ok := m["url"].(string); ok {
		m["url"] = strings.Replace(url, "SERVER", server, 1)
	}
	p, err := FromConfig(config.Provider{ID: strings.Replace(id, "SERVER", server, 1), Config: config.Object{Map: m}}, wire.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCassettes(t *testing.T) {
	providertest.ReplayCassettes(t, providertest.Cassettes{
		Glob: "testdata/cassettes/*.txtar", Key: testKey, Update: *update,
		Headers: []string{"Authorization", "X-Case", "Content-Type", "Accept-Encoding", "User-Agent", "X-Stainless-Retry-Count"},
		New: func(t *testing.T, id string, settings map[string]any, server string) providertest.Provider {
			return provide(t, id, settings, server)
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
			all := map[string]any{
				"url": "SERVER/ask", "headers": map[string]any{"Authorization": "Bearer " + testKey},
				"body":              map[string]any{"question": "{{prompt}}", "stream": "{{stream}}"},
				"transformResponse": "json.answer.text", "transformStream": "json.piece", "error": "json.error", "usage": "json.usage",
				"finishReason": "json.finish", "stream": stream,
			}
			for k, v := range settings {
				all[k] = v
			}
			base, _ := all["base"].(string)
			delete(all, "base")
			if h != nil {
				base = providertest.Serve(t, h)
			}
			return provide(t, "http", all, base)
		}
	}
	replies, cuts := providertest.Replies, providertest.Cuts
	// The address is part of what a provider says about itself, so all good ones share one server.
	shared := providertest.Serve(t, answersBack)
	fails := func(name string, h http.HandlerFunc, kind record.FailureKind, retry bool) providertest.Failing {
		return providertest.Failing{Name: name, New: with(h, map[string]any{"max_bytes": int64(5000)}), Request: providertest.Asking("q"), Kind: kind, Retry: retry}
	}
	providertest.Run(t, providertest.Subject{
		New:         with(nil, map[string]any{"base": shared}),
		Request:     func(n int) record.Request { return providertest.Asking(fmt.Sprintf("question %d \"é\"", n)) },
		Want:        func(n int) string { return fmt.Sprintf("question %d \"é\"", n) },
		Hang:        with(providertest.Hangs, nil),
		Impatient:   with(providertest.Hangs, map[string]any{"timeout": "50ms"}),
		Unreachable: with(nil, map[string]any{"base": providertest.ClosedPort(t)}),
		Secrets:     []string{testKey},
		Failures: []providertest.Failing{
			fails("500", replies(500, "text/html", "<html>"+testKey), record.Server, true),
			fails("429", providertest.With(replies(429, "text/plain", testKey), "Retry-After", "2"), record.RateLimited, true),
			fails("should not retry", providertest.With(replies(503, "text/plain", "no"), "x-should-retry", "false"), record.Server, false),
			fails("401", replies(401, "text/plain", testKey), record.Auth, false),
			fails("404", replies(404, "text/plain", testKey), record.NotFound, false),
			fails("422", replies(422, "application/json", `{"detail":"`+testKey+`"}`), record.BadRequest, false),
			fails("error in 200", replies(200, "application/json", `{"error":"broke `+testKey+`"}`), record.Server, true),
			fails("not JSON", replies(200, "application/json", "Hello "+testKey), record.Malformed, false),
			fails("another shape", replies(200, "application/json", `{"reply":"`+testKey+`"}`), record.Malformed, false),
			fails("null", replies(200, "application/json", `{"answer":{"text":null}}`), record.Empty, false),
			fails("bad usage", replies(200, "application/json", `{"answer":{"text":"a"},"usage":{"prompt":-1}}`), record.Malformed, false),
			fails("huge", replies(200, "application/json", strings.Repeat(" ", 6000)), record.TooLarge, false),
			fails("connection cut", cuts("application/json", `{"answer":`), record.Cut, true),
			fails("no answer", providertest.Aborts, record.Connection, true),
			fails("redirect", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://elsewhere.test/?token="+testKey, http.StatusTemporaryRedirect)
			}, record.BadRequest, false),
			fails("stream cut", replies(200, "text/event-stream", "data: {\"piece\":\"He\"}\n\n"), record.Cut, true),
			fails("stream of nothing", replies(200, "text/event-stream", "data: [DONE]\n\n"), record.Empty, false),
			fails("stream not JSON", replies(200, "text/event-stream", "data: Hello "+testKey+"\n\n"), record.Malformed, false),
			fails("stream error", replies(200, "text/event-stream", "event: error\ndata: "+testKey+"\n\n"), record.Server, true),
			{Name: "refused", New: with(nil, map[string]any{"base": providertest.ClosedPort(t)}), Request: providertest.Asking("q"), Kind: record.Connection, Retry: true},
			{Name: "missing variable", New: with(nil, map[string]any{"base": shared, "body": "{{nothing}}"}), Request: providertest.Asking("q"), Kind: record.BadRequest},
			{Name: "likelihoods", New: with(nil, map[string]any{"base": shared}), Request: record.Request{Continuations: []string{"a"}}, Kind: record.BadRequest},
		},
	})
}

func answersBack(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Question string
		Stream   bool
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, "not found", http.StatusNotFound) // the question whether anybody is there
		return
	}
	text, _ := json.Marshal(q.Question)
	if !q.Stream {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"answer":{"text":%s},"usage":{"prompt":3,"completion":4}}`, text)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, word := range strings.SplitAfter(q.Question, " ") {
		piece, _ := json.Marshal(word)
		fmt.Fprintf(w, "data: {\"piece\":%s}\n\n", piece)
		w.(http.Flusher).Flush()
	}
	fmt.Fprint(w, "data: {\"finish\":\"stop\"}\n\n")
}

func TestMistakes(t *testing.T) {
	f := func(id string, settings map[string]any, parts ...string) {
		t.Helper()
		pos := config.Pos{File: "telltale.yaml", Line: 3}
		keys := map[string]config.Pos{}
		for k := range settings {
			keys[k] = config.Pos{File: pos.File, Line: 9, Key: k}
		}
		_, err := FromConfig(config.Provider{ID: id, Pos: pos, Config: config.Object{Pos: pos, Map: settings, Keys: keys}}, wire.Env{})
		var e *config.Error
		if !errors.As(err, &e) {
			t.Errorf("%s %v: got %v, want a config error", id, settings, err)
			return
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s %v: %q lacks %q", id, settings, err, part)
			}
		}
		if strings.Contains(err.Error(), testKey) {
			t.Errorf("the credential shows in %v", err)
		}
	}
	f("http", nil, "no address")
	f("http", map[string]any{"url": "ftp://" + testKey}, "http://")
	f("http", map[string]any{"url": "https://{{host}}/x"}, "host")
	f("https://a.test", map[string]any{"url": "https://b.test"}, "one of them")
	f("https://a.test", map[string]any{"transformResponse": "(json) => json.a"}, "code is not supported", "telltale.yaml:9")
	f("https://a.test", map[string]any{"transformResponse": "file://x.js"}, "code is not supported")
	f("https://a.test", map[string]any{"transformResponse": "json."}, "not an expression")
	f("https://a.test", map[string]any{"transformResponse": "jsn.a"}, "jsn")
	f("https://a.test", map[string]any{"transformRequest": "return 1;"}, "code is not supported")
	f("https://a.test", map[string]any{"request": "POST /"}, "raw request")
	f("https://a.test", map[string]any{"method": "HEAD"}, "HEAD")
	f("https://a.test", map[string]any{"method": "GET", "body": "x"}, "no body")
	f("https://a.test", map[string]any{"body": map[string]any{"a": "{{ b"}}, "invalid template")
	f("https://a.test", map[string]any{"headers": map[string]any{"A": testKey + "\nx"}}, "line break")
	f("https://a.test", map[string]any{"bdy": 1}, "bdy")
}

func TestBodies(t *testing.T) {
	vars := map[string]any{
		"prompt": "say \"hi\"\n{{x}}", "n": int64(3), "list": []any{"a", map[string]any{"b": true}}, "x": "no",
		"chat": chat{`[{"role":"user"}]`, []any{map[string]any{"role": "user"}}},
	}
	f := func(body any, want string) {
		t.Helper()
		b, _, _, err := newBody(body, template.Parse)
		if err != nil {
			t.Errorf("%v: %v", body, err)
			return
		}
		got, err := b.render(vars)
		if err != nil {
			got = []byte("error: " + err.Error())
		}
		if string(got) != want {
			t.Errorf("%v: got %s, want %s", body, got, want)
		}
	}
	f(map[string]any{"q": "{{prompt}}", "k": "{{n}}", "l": "{{list}}", "t": "n={{n}}"}, `{"k":3,"l":["a",{"b":true}],"q":"say \"hi\"\n{{x}}","t":"n=3"}`)
	f(map[string]any{"messages": "{{chat}}", "text": "it is {{chat}}"}, `{"messages":[{"role":"user"}],"text":"it is [{\"role\":\"user\"}]"}`)
	f(`{"q": "{{prompt}}", "n": 1}`, `{"n":1,"q":"say \"hi\"\n{{x}}"}`)
	f(`{"q": "{{prompt}}", "l": {{list}}}`, `{"q": "say \"hi\"\n{{x}}", "l": ["a",{"b":true}]}`)
	f(`{"q": {{prompt}}}`, "error: the filled template is not JSON: texts belong in quotes, lists and mappings without")
	f("Q: {{prompt}}", "Q: say \"hi\"\n{{x}}")
	f(`{% for e in list %}{{ loop.index }}{% endfor %}`, "12")
	f([]any{"a", nil, 1.5}, `["a",null,1.5]`)
	f(map[string]any{"a": map[string]any{"b": "{{missing}}"}}, `error: a: b: variable "missing" is not given`)
}

func TestSnapshotHoldsNoSecret(t *testing.T) {
	settings := map[string]any{
		"url": "https://user:" + testKey + "@a.test/p?sig=" + testKey, "queryParams": map[string]any{"api_key": testKey, "model": "m"},
		"headers": map[string]any{"X-Key": testKey}, "body": map[string]any{"auth": map[string]any{"token": testKey}, "max_tokens": int64(5), "q": "{{prompt}}"},
	}
	p := provide(t, "http", settings, "")
	raw, _ := json.Marshal(p.Describe())
	if strings.Contains(string(raw), testKey) {
		t.Errorf("the credential shows in %s", raw)
	}
	if got := p.client.Clean("it said "+testKey, 100); strings.Contains(got, testKey) {
		t.Errorf("the credential shows in %s", got)
	}
	if !p.Describe().Cacheable {
		t.Error("a request made of the prompt alone can be cached")
	}
	settings["body"] = map[string]any{"q": "{{question}}"}
	if provide(t, "http", settings, "").Describe().Cacheable {
		t.Error("the cache does not know a case's variables, which decide this request")
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"json.a[0].b", "json?.a?.[0]", `json.a + "x"`, "text", "status == 200", "{'output': json.a}", "json['a b']", "json.map(x, x)"} {
		f.Add(s, []byte(`{"a":["x",1]}`))
	}
	f.Fuzz(func(t *testing.T, source string, data []byte) {
		e, err := compile(source)
		if err != nil {
			return
		}
		a := &answer{p: &Provider{client: wire.New(wire.Options{Base: &url.URL{}}), output: e}}
		if fail := a.whole(data); fail != nil && (fail.Kind == "" || len(fail.Message) > 3000) {
			t.Errorf("failure %+v", fail)
		}
	})
}
