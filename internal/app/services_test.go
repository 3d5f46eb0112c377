package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/runner"
)

// fakeAPI is a small server of OpenAI's API, each of whose endpoints fails once before it works.
type fakeAPI struct {
	*httptest.Server
	calls  atomic.Int32
	broken atomic.Bool // has failed already
}

func newAPI(t *testing.T) *fakeAPI {
	a := &fakeAPI{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.calls.Add(1)
		if !a.broken.Swap(true) {
			w.Header().Set("Retry-After-Ms", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		var q struct{ Input any }
		_ = json.NewDecoder(r.Body).Decode(&q) // the other endpoints have none
		switch r.URL.Path {
		case "/v1/chat/completions":
			fmt.Fprint(w, `{"model":"j-1","choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1}}`)
		case "/v1/embeddings":
			var data []string
			for i := range q.Input.([]any) {
				data = append([]string{fmt.Sprintf(`{"index":%d,"embedding":[%d,1]}`, i, i)}, data...)
			}
			fmt.Fprintf(w, `{"data":[%s],"usage":{"prompt_tokens":2,"total_tokens":2}}`, strings.Join(data, ","))
		case "/v1/moderations":
			fmt.Fprint(w, `{"results":[{"flagged":true,"categories":{"hate":true,"violence":false},"category_scores":{"hate":0.9,"violence":0.1}}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *fakeAPI) ref(id string) map[string]any {
	return map[string]any{"id": id, "config": map[string]any{"base_url": a.URL + "/v1", "cost": 0.001}}
}

func testServices(t *testing.T, def any) *services {
	t.Helper()
	v := newServices(&config.Suite{Path: "s.yaml", Default: config.Test{Provider: def}}, ".", &RunOptions{Retries: 2, Notice: func(string) {}}, 4)
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

var atProvider = config.Pos{File: "s.yaml", Line: 7, Key: "tests[0].assert[0].provider"}

func TestJudge(t *testing.T) {
	a := newAPI(t)
	v := testServices(t, a.ref("openai:chat:judge"))
	m, err := v.model(nil, atProvider)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := v.model(a.ref("openai:chat:judge"), atProvider); err != nil || again != m {
		t.Errorf("the same reference is opened twice: %v", err)
	}
	if s := m.Snapshot(); s.ID == "" || s.Model != "judge" || s.Provider != "openai:chat:judge" {
		t.Errorf("snapshot %+v", s)
	}
	if err := v.preflight(t.Context()); err != nil {
		t.Errorf("preflight: %v", err)
	}
	a.broken.Store(false)
	cache, err := runner.OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v.cache.Store(cache)
	if !v.cacheable() {
		t.Error("the judge's answers can be kept")
	}
	req := record.Request{Messages: []record.Message{{Role: "user", Content: "Is it good?"}}}
	got, err := m.Complete(t.Context(), req)
	if err != nil || got.Output != "yes" || got.Cost == nil || *got.Cost == 0 || got.Cached {
		t.Errorf("got %+v, %v", got, err)
	}
	before := a.calls.Load()
	got, err = m.Complete(t.Context(), req)
	if err != nil || got.Output != "yes" || !got.Cached || *got.Cost != 0 || got.Usage != (record.Usage{}) || a.calls.Load() != before {
		t.Errorf("from the cache: %+v, %v", got, err)
	}
	req.Seed = 1
	if got, err = m.Complete(t.Context(), req); err != nil || got.Cached {
		t.Errorf("another seed: %+v, %v", got, err)
	}
}

func TestEmbedderAndModerator(t *testing.T) {
	a := newAPI(t)
	embedding := a.ref("openai:embedding:e")
	embedding["config"].(map[string]any)["batch_size"] = int64(2)
	v := testServices(t, map[string]any{"text": "echo", "embedding": embedding, "moderation": a.ref("openai:moderation:m")})
	e, err := v.embedder(nil, atProvider)
	if err != nil {
		t.Fatal(err)
	}
	vectors, usage, err := e.Embed(t.Context(), []string{"a", "b", "c"})
	if err != nil || fmt.Sprint(vectors) != "[[0 1] [1 1] [0 1]]" || usage.Total != 4 {
		t.Errorf("vectors %v, usage %+v, %v", vectors, usage, err)
	}
	if !strings.HasPrefix(e.Name(), "openai:embedding:e") || strings.Contains(e.Name(), "batch") {
		t.Errorf("name %s", e.Name())
	}
	m, err := v.moderator(nil, atProvider)
	if err != nil {
		t.Fatal(err)
	}
	a.broken.Store(false)
	scores, flagged, err := m.Moderate(t.Context(), "text")
	if err != nil || scores["hate"] != 0.9 || fmt.Sprint(flagged) != "[hate]" {
		t.Errorf("scores %v, flagged %v, %v", scores, flagged, err)
	}
}

func TestServiceMistakes(t *testing.T) {
	f := func(err error, file string, parts ...string) {
		t.Helper()
		var e *config.Error
		if !errors.As(err, &e) || e.File != file {
			t.Errorf("got %v, want a mistake in %s", err, file)
			return
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q lacks %q", err, part)
			}
		}
	}
	v := testServices(t, nil)
	_, err := v.model(nil, atProvider)
	f(err, "s.yaml", "which model judges?", "tests[0]")
	_, err = v.model("no-such:thing", atProvider)
	f(err, "s.yaml", "unknown provider")
	_, err = v.model("openai:embedding:e", atProvider)
	f(err, "s.yaml", "answers no questions")
	_, err = v.model(map[string]any{"id": "echo", "confg": 1}, atProvider)
	f(err, "s.yaml", "confg")
	_, err = v.moderator("echo", atProvider)
	f(err, "s.yaml", "no moderation model")
	_, err = v.moderator(nil, config.Pos{File: "s.yaml", Key: "tests[0].assert[0]"})
	f(err, "s.yaml", "which moderation model?", "OPENAI_API_KEY")
	_, err = v.embedder("echo", atProvider)
	f(err, "s.yaml", "vectors")
	_, err = v.embedder("onnx:no/such/folder", atProvider)
	f(err, "s.yaml", "no/such/folder")
	_, err = v.embedder("lexical:2", atProvider)
	f(err, "s.yaml", "no variants")
	// A judge that a test names for all its assertions is not asked for vectors.
	e, err := v.embedder("echo", config.Pos{File: "s.yaml", Key: "tests[0].assert[0]"})
	if err != nil || e.Name() != "lexical/1" {
		t.Errorf("embedder %v, %v", e, err)
	}

	// A judge that cannot be reached stops a run before it starts, with the place where it is named.
	v = testServices(t, map[string]any{"id": "openai:chat:m", "config": map[string]any{"base_url": "http://127.0.0.1:1/v1"}})
	if _, err = v.model(nil, atProvider); err != nil {
		t.Fatal(err)
	}
	var could *CouldNotRun
	if err = v.preflight(t.Context()); !errors.As(err, &could) {
		t.Errorf("preflight: %v", err)
	}
	f(err, "s.yaml", "defaultTest.options.provider")
}
