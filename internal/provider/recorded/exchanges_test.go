package recorded

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider/providertest"
	"github.com/telltale-llm/telltale/internal/record"
)

const exported = `{"id":"x1","time":"2026-01-02T03:04:05Z","request":{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}],"model":"m"},"response":{"output":"Hello","finish_reason":"stop","model":"m-1","usage":{"prompt":3,"completion":1},"latency":0.5,"cost":0.25},"variant":"v1"}
{"request":{"messages":[{"content":[{"type":"text","text":"Weather?"}],"role":"user"}]},"response":{"output":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"get_weather","arguments":{"city":"Paris"}}}]}}
{"request":{"prompt":"Broken"},"response":{"error":"HTTP 500: down"}}
{"request":{"prompt":"Again"},"response":{"output":"first"}}
{"request":{"prompt":"Again"},"response":{"output":"second"}}
{"request":{"prompt":"Tea or"},"response":{"likelihoods":[{"text":" tea","logprob":-0.5,"tokens":1,"greedy":true},{"text":" coffee","logprob":-2,"tokens":2}]}}
`

func ask(texts ...string) record.Request {
	r := record.Request{}
	for i := 0; i < len(texts); i += 2 {
		r.Messages = append(r.Messages, record.Message{Role: texts[i], Content: texts[i+1]})
	}
	r.Prompt = record.PromptText(r.Messages)
	return r
}

func TestExchangesConformance(t *testing.T) {
	path := write(t, "exchanges.jsonl", exported)
	open := func(t *testing.T) providertest.Provider {
		p, err := New(Options{ID: "recorded", Path: path, Format: "exchanges"})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	again := ask("user", "Again")
	again.Repeat = 1
	likelihood := ask("user", "Tea or")
	likelihood.Continuations = []string{" milk"}
	providertest.Run(t, providertest.Subject{
		New:     open,
		Request: func(int) record.Request { return ask("system", "Be brief.", "user", "Hi") },
		Want:    func(int) string { return "Hello" },
		Failures: []providertest.Failing{
			{Name: "other messages", New: open, Request: ask("user", "Hi"), Kind: record.Missing},
			{Name: "recorded failure", New: open, Request: ask("user", "Broken"), Kind: record.Server},
			{Name: "no such continuation", New: open, Request: likelihood, Kind: record.Missing},
		},
	})
	p := open(t)
	defer p.Close()
	got, err := p.Complete(t.Context(), again)
	if err != nil || got.Output != "second" {
		t.Errorf("repeat 2: %+v, %v", got, err)
	}
	weather := record.Request{Messages: []record.Message{{Role: "user", Parts: []record.Part{{Text: "Weather?"}}}}}
	got, err = p.Complete(t.Context(), weather)
	want := []record.ToolCall{{ID: "c1", Name: "get_weather", Arguments: `{"city":"Paris"}`}}
	if err != nil || !reflect.DeepEqual(got.ToolCalls, want) || got.Output == "" {
		t.Errorf("tool call: %+v, %v", got, err)
	}
	likelihood.Continuations = []string{" coffee", " tea"}
	got, err = p.Complete(t.Context(), likelihood)
	if err != nil || len(got.Likelihoods) != 2 || got.Likelihoods[0].Logprob != -2 || !got.Likelihoods[1].Greedy {
		t.Errorf("likelihoods: %+v, %v", got, err)
	}
}

func TestExchangesMistakes(t *testing.T) {
	f := func(content string, line int) {
		t.Helper()
		_, err := New(Options{Path: write(t, "x.jsonl", content), Format: "exchanges"})
		var e *config.Error
		if !errors.As(err, &e) || e.Line != line {
			t.Errorf("%s: got %v, want a mistake in line %d", content, err, line)
		}
	}
	f(`{"request":{"messages":[{"role":"user","content":"a"}]},"response":{}}`, 1)
	f(exported+`{"request":{"messages":[{"role":"user","content":5}]},"response":{"output":"a"}}`, 7)
	f(exported+`{"request":{},"response":{"output":"a"}}`, 7)
	f("{}", 1)
	f(exported+`{"request":{"messages":[{"role":"bot","content":"a"}]},"response":{"output":"a"}}`, 7)
	f(exported+`{"request":{"prompt":"a"},"response":{"output":"a","latency":-5}}`, 7)
	f(exported+`{"request":{"prompt":"a"},"request":{"prompt":"b"},"response":{"output":"a"}}`, 7)
	settings := map[string]any{"path": "x.jsonl", "format": "exchanges", "key": "q"}
	_, err := FromConfig(config.Provider{ID: "recorded", Config: config.Object{Map: settings}})
	var e *config.Error
	if !errors.As(err, &e) {
		t.Errorf("a key for exchanges: %v", err)
	}
}

func FuzzExchanges(f *testing.F) {
	f.Add([]byte(`{"request":{"prompt":"Hi"},"response":{"output":"b"}}`))
	f.Add([]byte(`{"request":{"messages":[{"role":"user","content":"Hi"}]},"response":{"tool_calls":[{"name":"f"}]}}`))
	path := filepath.Join(f.TempDir(), "x.jsonl")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := New(Options{Path: path, Format: "exchanges"})
		if err != nil {
			return
		}
		defer p.Close()
		_, _ = p.Complete(t.Context(), ask("user", "Hi"))
	})
}
