package provider

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestUsage(t *testing.T) {
	f := func(in string, want record.Usage) {
		t.Helper()
		var u Usage
		if err := json.Unmarshal([]byte(in), &u); err != nil {
			t.Errorf("%s: %v", in, err)
			return
		}
		if got, err := u.Record(); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", in, got, err, want)
		}
	}
	f(`{"prompt":3,"completion":4}`, record.Usage{Prompt: 3, Completion: 4, Total: 7})
	f(`{"prompt_tokens":3,"completion_tokens":4,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":1}}`,
		record.Usage{Prompt: 3, Completion: 4, Total: 8, Cached: 2, Reasoning: 1})
	f(`12`, record.Usage{Total: 12})
	f(`null`, record.Usage{})
	f(`{}`, record.Usage{})
	bad := func(in string) {
		t.Helper()
		var u Usage
		if err := json.Unmarshal([]byte(in), &u); err == nil {
			if _, err := u.Record(); err == nil {
				t.Errorf("%s was read", in)
			}
		}
	}
	bad(`{"prompt":-1}`)
	bad(`"many"`)
	bad(`[1]`)
	if u, err := (*Usage)(nil).Record(); err != nil || u != (record.Usage{}) {
		t.Errorf("no usage: %+v, %v", u, err)
	}
}

func TestLogprobs(t *testing.T) {
	f := func(in string, want Logprobs) {
		t.Helper()
		var l Logprobs
		if err := json.Unmarshal([]byte(in), &l); err != nil || !reflect.DeepEqual(l, want) {
			t.Errorf("%s: got %+v, %v; want %+v", in, l, err, want)
		}
	}
	want := Logprobs{{Token: "a", Logprob: -0.5, Top: map[string]float64{"a": -0.5, "b": -2}}}
	f(`[{"token":"a","logprob":-0.5,"top":{"a":-0.5,"b":-2}}]`, want)
	f(`{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"a","logprob":-0.5},{"token":"b","logprob":-2}]}],"refusal":null}`, want)
	f(`[]`, Logprobs{})
	bad := func(in string) {
		t.Helper()
		var l Logprobs
		if err := json.Unmarshal([]byte(in), &l); err == nil {
			t.Errorf("%s was read as %+v", in, l)
		}
	}
	bad(`[{"token":"a"}]`)
	bad(`[{"logprob":-1}]`)
	bad(`[{"token":"a","logprob":0.5}]`)
	bad(`["a"]`)
	bad(`3`)
}

func TestToolCalls(t *testing.T) {
	f := func(in string, want ToolCalls) {
		t.Helper()
		var l ToolCalls
		if err := json.Unmarshal([]byte(in), &l); (err == nil) != (want != nil) || want != nil && !reflect.DeepEqual(l, want) {
			t.Errorf("%s: got %+v, %v; want %+v", in, l, err, want)
		}
	}
	want := ToolCalls{{ID: "1", Name: "f", Arguments: `{"a":1}`}}
	f(`[{"id":"1","name":"f","arguments":{"a": 1}}]`, want)
	f(`[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]`, want)
	f(`[]`, ToolCalls{})
	f(`[{"id":"1"}]`, nil)
	f(`{}`, nil)
}

func TestText(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got, err := Text([]byte(in)); err != nil || got != want {
			t.Errorf("Text(%s) = %q, %v; want %q", in, got, err, want)
		}
	}
	f(`"a\nb"`, "a\nb")
	f(` {"a": [1, 2]} `, `{"a":[1,2]}`)
	f(`3.5`, "3.5")
	f(`null`, "null")
	if _, err := Text([]byte(`{`)); err == nil {
		t.Error("half an object was read")
	}
}

func TestInterrupted(t *testing.T) {
	if f := Interrupted(t.Context()); f != nil {
		t.Errorf("a live context is interrupted: %v", f)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := Interrupted(ctx); f == nil || f.Kind != record.Canceled || f.Retryable() {
		t.Errorf("canceled: %v", f)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if f := Interrupted(ctx); f == nil || f.Kind != record.Timeout {
		t.Errorf("deadline: %v", f)
	}
}

func TestSnapshotAndDir(t *testing.T) {
	i := Info{ID: "openai:chat:m", Model: "m", Params: map[string]any{"temperature": 0}}
	s := i.Snapshot()
	s.Params["temperature"] = 1
	if s.Provider != i.ID || s.Model != "m" || i.Params["temperature"] != 0 {
		t.Errorf("snapshot %+v of %+v", s, i)
	}
	if d := Dir(config.Provider{}); d != "." {
		t.Errorf("Dir of nothing is %q", d)
	}
	if d := Dir(config.Provider{Pos: config.Pos{File: "a/b/suite.yaml"}}); d != "a/b" {
		t.Errorf("Dir is %q", d)
	}
}
