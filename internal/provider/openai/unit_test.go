package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestParseID(t *testing.T) {
	f := func(id, name, model, problem string) {
		t.Helper()
		fl, at, m, p := parseID(id)
		if p == "" && at.path == "" {
			t.Errorf("%s has no endpoint", id)
		}
		if m != model || !strings.Contains(p, problem) || (p == "") != (problem == "") || p == "" && fl.name != name {
			t.Errorf("%s: %s, %q, %q", id, fl.name, m, p)
		}
	}
	f("openai:chat:gpt-4.1-mini", "OpenAI", "gpt-4.1-mini", "")
	f("openai:gpt-4.1", "OpenAI", "gpt-4.1", "")
	f("openai:chat:ft:gpt-4.1-mini:acme::x", "OpenAI", "ft:gpt-4.1-mini:acme::x", "")
	f("openai:chat", "OpenAI", "", "")
	f("openai:chat:", "OpenAI", "", "")
	f("azure:chat:dep", "Azure OpenAI", "dep", "")
	f("azureopenai:chat:dep", "Azure OpenAI", "dep", "")
	f("openrouter:vendor/model:free", "OpenRouter", "vendor/model:free", "")
	f("ollama:chat:llama3.2:1b", "Ollama", "llama3.2:1b", "")
	f("ollama:llama3.2:1b", "Ollama", "llama3.2:1b", "")
	f("localai:chat:m", "LocalAI", "m", "")
	f("llamacpp:m", "llama.cpp", "m", "")
	f("vllm:Qwen/Qwen3-8B", "vLLM", "Qwen/Qwen3-8B", "")
	f("openai:responses:gpt-5", "OpenAI", "gpt-5", "")
	f("openai:embeddings:x", "OpenAI", "x", "")
	f("vllm:completion:Qwen/Qwen3-8B", "vLLM", "Qwen/Qwen3-8B", "")
	f("openai:realtime:x", "", "", "not supported")
	f("anthropic:messages:x", "", "", "unknown")
	if Recognises("anthropic:messages:x") || Recognises("openai") || !Recognises("vllm:m") {
		t.Error("Recognises is wrong")
	}
}

// env is an environment made of pairs.
func env(pairs ...string) Env {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return Env{Lookup: func(k string) (string, bool) { v, ok := m[k]; return v, ok }}
}

func from(id string, settings map[string]any, e Env) (*Provider, error) {
	pos := config.Pos{File: "dir/telltale.yaml", Line: 4, Key: "providers[0]"}
	keys := map[string]config.Pos{}
	for k := range settings {
		keys[k] = config.Pos{File: pos.File, Line: 9, Key: "providers[0].config." + k}
	}
	return FromConfig(config.Provider{ID: id, Pos: pos, Config: config.Object{Pos: pos, Map: settings, Keys: keys}}, e)
}

func TestEndpoint(t *testing.T) {
	f := func(id string, settings map[string]any, e Env, want string) {
		t.Helper()
		p, err := from(id, settings, e)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			return
		}
		if got := p.url.String(); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	key := []string{"OPENAI_API_KEY", "k", "AZURE_OPENAI_API_KEY", "k", "OPENROUTER_API_KEY", "k"}
	f("openai:m", nil, env(key...), "https://api.openai.com/v1/chat/completions")
	f("openai:m", map[string]any{"apiHost": "proxy.test"}, env(), "https://proxy.test/v1/chat/completions")
	f("openai:m", map[string]any{"base_url": "http://localhost:1/x/"}, env(), "http://localhost:1/x/chat/completions")
	f("openai:m", map[string]any{"apiBaseUrl": "http://localhost:1/v1?k=v"}, env(), "http://localhost:1/v1/chat/completions?k=v")
	f("openai:m", nil, env("OPENAI_BASE_URL", "http://localhost:1"), "http://localhost:1/v1/chat/completions")
	f("openai:m", nil, env("OPENAI_API_HOST", "proxy.test"), "https://proxy.test/v1/chat/completions")
	f("openrouter:a/b", nil, env(key...), "https://openrouter.ai/api/v1/chat/completions")
	f("ollama:chat:m", nil, env(), "http://localhost:11434/v1/chat/completions")
	f("ollama:chat:m", nil, env("OLLAMA_BASE_URL", "http://box:11434/"), "http://box:11434/v1/chat/completions")
	f("azure:chat:my dep", map[string]any{"apiHost": "r.openai.azure.com"}, env(key...),
		"https://r.openai.azure.com/openai/deployments/my%20dep/chat/completions?api-version=2024-10-21")
	f("azure:chat:d", map[string]any{"apiHost": "r.openai.azure.com", "api_version": "v9"}, env(key...),
		"https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=v9")
	f("azure:chat:d", nil, env("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com/", "AZURE_API_KEY", "k"),
		"https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21")
	f("azure:chat:d", map[string]any{"apiBaseUrl": "https://r.openai.azure.com/openai/v1/"}, env(key...),
		"https://r.openai.azure.com/openai/v1/chat/completions")
}

func TestFromConfigMistakes(t *testing.T) {
	const secret = "s3cret-value"
	f := func(id string, settings map[string]any, line int, parts ...string) {
		t.Helper()
		_, err := from(id, settings, env("OPENAI_API_KEY", "k"))
		var e *config.Error
		if !errors.As(err, &e) {
			t.Errorf("%s %v: got %v, want a config error", id, settings, err)
			return
		}
		if e.Line != line || e.File != "dir/telltale.yaml" && !strings.HasPrefix(e.File, "dir") {
			t.Errorf("%s %v: reported at %s, want line %d", id, settings, e.Pos, line)
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s %v: %q lacks %q", id, settings, err, part)
			}
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the secret shows in %v", id, err)
		}
	}
	f("openai:chat", nil, 4, "no model")
	f("openai:image:m", nil, 4, "not supported")
	f("openai:embedding:m", nil, 4, "embedding endpoint", "openai:chat:")
	f("azure:responses:d", map[string]any{"apiHost": "r.openai.azure.com", "apiKey": "k"}, 4, "/openai/v1")
	f("openai:completion:m", map[string]any{"batch_size": int64(0 - 1)}, 9, "batch_size")
	f("openai:responses:m", map[string]any{"max_tokens": int64(5), "max_output_tokens": int64(6)}, 9, "another name")
	f("openai:responses:m", map[string]any{"functions": []any{}}, 9, "unknown key")
	f("azure:chat:d", nil, 4, "no server", "AZURE_API_BASE_URL")
	f("openrouter:m", nil, 4, "OPENROUTER_API_KEY", "not set")
	f("openai:m", map[string]any{"apiKeyEnvar": "MY_KEY"}, 9, "MY_KEY", "apiKeyEnvar")
	f("openai:m", map[string]any{"apiKey": []any{secret}}, 9, "apiKey", "not a string")
	f("openai:m", map[string]any{"apiKey": secret + "\nx"}, 9, "line break")
	f("openai:m", map[string]any{"headers": secret}, 9, "headers")
	f("openai:m", map[string]any{"headers": map[string]any{"A": []any{secret}}}, 4, "headers.A")
	f("openai:m", map[string]any{"headers": map[string]any{"A b": secret}}, 9, "A b")
	f("openai:m", map[string]any{"headers": map[string]any{"A": secret + "\r\nX: y"}}, 4, "line break")
	f("openai:m", map[string]any{"base_url": "ftp://" + secret}, 9, "http://")
	f("openai:m", map[string]any{"base_url": "localhost:8000/" + secret}, 9, "http://")
	f("openai:m", map[string]any{"base_url": "http://a/v1", "apiBaseUrl": "http://b/v1"}, 9, "another name")
	f("openai:m", map[string]any{"base_url": "http://a/v1", "apiHost": "b"}, 9, "one of them")
	f("openai:m", map[string]any{"temprature": 0.1}, 9, "temprature", "temperature")
	f("openai:m", map[string]any{"temperature": "hot"}, 9, "temperature", "hot")
	f("openai:m", map[string]any{"temperature": 3.0}, 9, "from 0 to 2")
	f("openai:m", map[string]any{"max_tokens": 0.5}, 9, "max_tokens")
	f("openai:m", map[string]any{"top_logprobs": int64(99)}, 9, "top_logprobs")
	f("openai:m", map[string]any{"logprobs": int64(3)}, 9, "top_logprobs")
	f("openai:m", map[string]any{"seed": "lucky"}, 9, "lucky")
	f("openai:m", map[string]any{"timeout": "soon"}, 9, "soon")
	f("openai:m", map[string]any{"max_bytes": int64(0)}, 9, "max_bytes")
	f("openai:m", map[string]any{"cost": -1.0}, 9, "cost")
	f("openai:m", map[string]any{"inputCost": 1.0}, 9, "only one")
	f("openai:m", map[string]any{"passthrough": map[string]any{"model": "x"}}, 4, "model")
	f("openai:m", map[string]any{"passthrough": "x"}, 9, "passthrough")
	f("openai:m", map[string]any{"tools": "file://nothere.json"}, 9, "nothere.json")
}

func TestKeys(t *testing.T) {
	f := func(id string, settings map[string]any, e Env, header, want string) {
		t.Helper()
		p, err := from(id, settings, e)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			return
		}
		if got := p.client.Header().Get(header); got != want {
			t.Errorf("%s: %s is %q, want %q", id, header, got, want)
		}
		if b, _ := json.Marshal(p.Describe()); strings.Contains(string(b), "thekey") {
			t.Errorf("%s: the key shows in %s", id, b)
		}
	}
	f("openai:m", nil, env("OPENAI_API_KEY", " thekey\n"), "Authorization", "Bearer thekey")
	f("openai:m", map[string]any{"apiKey": "thekey"}, env("OPENAI_API_KEY", "x"), "Authorization", "Bearer thekey")
	f("openai:m", map[string]any{"apiKeyEnvar": "MINE"}, env("MINE", "thekey", "OPENAI_API_KEY", "x"), "Authorization", "Bearer thekey")
	f("openai:m", map[string]any{"apiKeyEnvar": "MINE", "apiKeyRequired": false}, env("OPENAI_API_KEY", "x"), "Authorization", "")
	f("openai:m", map[string]any{"base_url": "http://localhost:1/v1"}, env(), "Authorization", "")
	f("openai:m", map[string]any{"apiKeyRequired": false}, env(), "Authorization", "")
	f("azure:chat:d", map[string]any{"apiHost": "r.openai.azure.com"}, env("AZURE_OPENAI_API_KEY", "thekey"), "Api-Key", "thekey")
	f("openai:m", nil, env("OPENAI_API_KEY", "k", "OPENAI_ORGANIZATION", "org"), "OpenAI-Organization", "org")
	// An organisation meant for OpenAI is nobody else's business.
	f("openai:m", map[string]any{"base_url": "http://localhost:1/v1"}, env("OPENAI_ORGANIZATION", "org"), "OpenAI-Organization", "")
	f("openai:m", map[string]any{"headers": map[string]any{"Authorization": "Custom thekey"}}, env("OPENAI_API_KEY", "x"), "Authorization", "Custom thekey")

	p, err := from("openai:m", map[string]any{"apiKey": "thekey"}, env())
	if err != nil {
		t.Fatal(err)
	}
	if w := p.Describe().Warnings; len(w) != 1 || !strings.Contains(w[0], "apiKeyEnvar") || strings.Contains(w[0], "thekey") {
		t.Errorf("warnings %q", w)
	}
}

func TestDescribe(t *testing.T) {
	params := func(settings map[string]any, e Env) map[string]any {
		t.Helper()
		p, err := from("openai:chat:m", settings, e)
		if err != nil {
			t.Fatal(err)
		}
		return p.Describe().Params
	}
	base := params(map[string]any{"temperature": 0.5}, env("OPENAI_API_KEY", "k"))
	if want := map[string]any{"temperature": 0.5}; !reflect.DeepEqual(base, want) {
		t.Errorf("params %v, want %v", base, want)
	}
	same := params(map[string]any{"temperature": 0.5, "timeout": "9s", "stream": true, "cost": 1.0, "max_bytes": int64(9)}, env("OPENAI_API_KEY", "other"))
	if !reflect.DeepEqual(base, same) {
		t.Errorf("what does not decide behaviour shows: %v", same)
	}
	all := params(map[string]any{
		"base_url": "http://user:pw@localhost:1/v1?token=t", "seed": false, "headers": map[string]any{"B": "1", "A": "2"}, "organization": "o",
	}, env())
	want := map[string]any{"base_url": "http://localhost:1/v1", "seed": false, "headers": []string{"A", "B"}, "organization": "o"}
	if !reflect.DeepEqual(all, want) {
		t.Errorf("params %v, want %v", all, want)
	}
}

func TestFileReferencesKeepTheirOrder(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"schema.json": `{"type": "json_schema", "json_schema": {"properties": {"zebra": 1, "apple": 2}}}`,
		"tools.yaml":  "- type: function\n  function: {name: f}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pos := config.Pos{File: filepath.Join(dir, "telltale.yaml")}
	p, err := FromConfig(config.Provider{ID: "vllm:m", Pos: pos, Config: config.Object{Map: map[string]any{"response_format": "file://schema.json", "tools": "file://tools.yaml"}}}, Env{})
	if err != nil {
		t.Fatal(err)
	}
	got := string(p.dialect.encode(&record.Request{}))
	want := `"response_format":{"type":"json_schema","json_schema":{"properties":{"zebra":1,"apple":2}}},"tools":[{"function":{"name":"f"},"type":"function"}]`
	if !strings.Contains(got, want) {
		t.Errorf("got %s, want %s in it", got, want)
	}
}

func TestCost(t *testing.T) {
	prices := filepath.Join(t.TempDir(), "prices.yaml")
	if err := os.WriteFile(prices, []byte("models: {mine*: {input: 1, output: 1}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := provider.LoadPrices(prices)
	if err != nil {
		t.Fatal(err)
	}
	f := func(settings map[string]any, model, served string, want float64) {
		t.Helper()
		e := env("OPENAI_API_KEY", "k")
		e.Prices = own
		p, err := from("openai:"+model, settings, e)
		if err != nil {
			t.Fatal(err)
		}
		got := p.cost(record.Response{Model: served, Usage: record.Usage{Prompt: 1_000_000, Completion: 1_000_000}})
		if want < 0 && got == nil || got != nil && *got == want {
			return
		}
		if got == nil {
			t.Errorf("%v %s: unknown, want %g", settings, model, want)
			return
		}
		t.Errorf("%v %s: %g, want %g", settings, model, *got, want)
	}
	local := map[string]any{"base_url": "http://localhost:1/v1"}
	f(nil, "gpt-4.1", "gpt-4.1-2025-04-14", 10)
	f(nil, "an-alias", "gpt-4.1-2025-04-14", 10)
	f(nil, "gpt-4.1", "", 10)
	f(nil, "unheard-of", "", -1)
	f(local, "gpt-4.1", "gpt-4.1", -1) // somebody else's server has somebody else's prices
	f(local, "mine-1", "", 2)          // unless the user says so
	f(map[string]any{"base_url": "http://localhost:1/v1", "cost": 1e-6}, "x", "", 2)
	f(map[string]any{"inputCost": 1e-6, "outputCost": 3e-6}, "gpt-4.1", "", 4)
	f(map[string]any{"cost": 0.0}, "gpt-4.1", "", 0)
}

// JSON is demanded when a request asks for it, in the form of each endpoint, unless the suite gives a form.
func TestEncodeJSON(t *testing.T) {
	f := func(body map[string]any, wantJSON bool, wantForm string) {
		t.Helper()
		o := Options{Model: "m", Body: body, Seed: wire.Seed{Off: true}}
		chat, err := newEncoder(&o, false)
		if err != nil {
			t.Fatal(err)
		}
		r, err := newResponses(&o)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []interface{ encode(*record.Request) []byte }{chat, r} {
			var got struct {
				Format any `json:"response_format"`
				Text   any `json:"text"`
			}
			if err := json.Unmarshal(e.encode(&record.Request{JSON: wantJSON}), &got); err != nil {
				t.Fatal(err)
			}
			if form := fmt.Sprint(got.Format, got.Text); !strings.Contains(form, wantForm) {
				t.Errorf("%T, %v, JSON %v: %s, want %s", e, body, wantJSON, form, wantForm)
			}
		}
	}
	f(nil, false, "<nil> <nil>")
	f(nil, true, "json_object")
	own := map[string]any{"response_format": map[string]any{"type": "text"}, "text": map[string]any{"verbosity": "low"}}
	f(own, true, "map[type:text] map[verbosity:low]")
}

func TestEncodeAgreesWithMarshal(t *testing.T) {
	e, err := newEncoder(&Options{Model: "m", Seed: wire.Seed{Off: true}}, false)
	if err != nil {
		t.Fatal(err)
	}
	messages := []record.Message{
		{Role: "system", Content: "a\"b\\c\n\r\t\x00\x1f\u2028é😀<&>"},
		{Role: "user", Parts: []record.Part{{Text: "look"}, {ImageURL: "https://x/?a=1&b=2"}, {ImageURL: "data:x", Detail: "high"}}},
		{Role: "assistant"},
	}
	var got, want struct {
		Model    string           `json:"model"`
		Messages []map[string]any `json:"messages"`
	}
	body := e.encode(&record.Request{Messages: messages})
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	whole, err := json.Marshal(map[string]any{"model": "m", "messages": messages})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(whole, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if again := e.encode(&record.Request{Messages: messages}); !bytes.Equal(again, body) {
		t.Error("the same request has two encodings")
	}
}

// FuzzDecode: whatever a server sends is an answer or a failure with a kind, never a panic.
func FuzzDecode(f *testing.F) {
	paths, _ := filepath.Glob("testdata/cassettes/*.txtar")
	for _, p := range paths {
		if data, err := os.ReadFile(p); err == nil {
			_, body, _ := bytes.Cut(data, []byte("-- reply.http --\n"))
			_, body, _ = bytes.Cut(body, []byte("\n\n"))
			body, _, _ = bytes.Cut(body, []byte("-- sent.http --"))
			f.Add(body)
		}
	}
	p, err := New(Options{ID: "openrouter:m", Key: testKey, MaxBytes: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	var others []*Provider
	for _, id := range []string{"openai:responses:m", "openai:completion:m"} {
		other, err := New(Options{ID: id, Key: testKey, MaxBytes: 1 << 20})
		if err != nil {
			f.Fatal(err)
		}
		others = append(others, other)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		check := func(resp record.Response, fail *record.Failure) {
			if fail != nil && (fail.Kind == "" || len(fail.Message) > 1000) {
				t.Errorf("failure %+v", fail)
			}
			if fail == nil && (resp.Usage.Prompt < 0 || resp.Cost != nil && *resp.Cost < 0) {
				t.Errorf("answer %+v", resp)
			}
		}
		check(p.decode(body))
		for _, other := range others {
			a := other.dialect.answer(other)
			fail := a.whole(body)
			check(*a.response(), fail)
			check(readStream(t, other, bytes.NewReader(body)))
		}
		check(readStream(t, p, bytes.NewReader(body)))
		if message, _ := p.client.ErrorText(body); len(message) > 1000 {
			t.Errorf("an error of %d bytes", len(message))
		}
	})
}
