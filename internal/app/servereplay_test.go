package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// What was kept is redacted, so that answers of now agree with it only when they are redacted too; and only what is missing
// in the request keeps it from being the one of then.
func TestReplayComparesAsKept(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.Header.Get("anthropic-version") != "") != strings.HasPrefix(r.URL.Path, "/v1/messages") {
			t.Errorf("%s with version %q", r.URL.Path, r.Header.Get("anthropic-version"))
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/v1/messages/count_tokens" {
			fmt.Fprint(w, `{"input_tokens":4}`)
			return
		}
		fmt.Fprint(w, `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Write to jane@acme.org"},"finish_reason":"stop"}]}`)
	}))
	defer up.Close()
	f := func(x record.Exchange, body string, notes ...string) {
		t.Helper()
		x.ID, x.Route, x.Upstream, x.Found = "1", "main", "u", map[string]int{"email": 3}
		x.Content.Body = json.RawMessage(body)
		got, err := RunReplay(t.Context(), ReplayOptions{
			Exchange: x, Repeats: 2, Timeout: time.Minute,
			Server: &config.Server{Data: t.TempDir(), Routes: []config.Route{{Name: "main", Upstreams: []config.Upstream{{Name: "u", URL: up.URL}}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got.Agree != 2 || strings.Contains(fmt.Sprint(got.Now), "jane") {
			t.Errorf("%+v", got)
		}
		if all := strings.Join(got.Notes, "\n"); strings.Contains(all, "redacted") != (len(notes) > 0) || len(notes) > 0 && !strings.Contains(all, notes[0]) {
			t.Errorf("%q, want %q", all, notes)
		}
	}
	chat := record.Exchange{API: record.APIChat, Endpoint: "/v1/chat/completions", Content: &record.Content{Output: "Write to [EMAIL]"}}
	f(chat, `{"model":"m","messages":[{"role":"user","content":"where to?"}]}`)
	f(chat, `{"model":"m","messages":[{"role":"user","content":"[EMAIL] or [PHONE]?"}]}`, "2 values of the request")
	f(record.Exchange{API: record.APICountTokens, Endpoint: "/v1/messages/count_tokens", Content: &record.Content{Output: "[4 tokens]"}}, `{"model":"m","messages":[]}`)
}

// What a person said leaves the bus' files too, which keep frames that have been stored.
func TestForgetReachesTheBus(t *testing.T) {
	up := echoing(t)
	s := serveIt(t, up.URL, "")
	sent, words := int64(0), map[string]string{"anna": "quixotic zebras", "bert": "jumpy wombats"}
	say := func(user string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.gateway+"/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"`+words[user]+`"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("telltale-user", user)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		sent++
		s.stored(t, sent)
	}
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	on := func(text string) (files []string) {
		t.Helper()
		err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) { // files come and go
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(text)) {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	say("bert")
	for range 10 { // what the server deletes when it starts may still take the first ones
		if say("anna"); len(on(words["anna"])) >= 2 {
			break
		}
	}
	if len(on(words["anna"])) < 2 {
		t.Fatal("looked for the wrong words")
	}
	for deadline := time.Now().Add(20 * time.Second); len(on(words["anna"])) > 0; { // the frame may not have been acknowledged yet
		if time.Now().After(deadline) {
			t.Fatalf("still in %v", on(words["anna"]))
		}
		if _, err := r.Forget(t.Context(), "anna"); err != nil {
			t.Fatal(err)
		}
	}
	if len(on(words["bert"])) == 0 {
		t.Error("another person's words are gone")
	}
}

// The guard's id in a snapshot is no parameter of the model's, and a replay says that the guard is not applied.
func TestReplayBehindAGuard(t *testing.T) {
	var sent map[string]any
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = nil
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"project nightjar"},"finish_reason":"stop"}]}`)
	}))
	defer up.Close()
	const id = "0123456789abcdef"
	f := func(g *record.Guarded, params map[string]any, body, note, own string) {
		t.Helper()
		x := record.Exchange{ID: "1", Route: "main", Upstream: "u", API: record.APIChat, Endpoint: "/v1/chat/completions", Guard: g, Params: params, Content: &record.Content{Output: "no", Body: json.RawMessage(body)}}
		snap := record.Snapshot{ID: "s", Params: map[string]any{"guard": id, "temperature": 0.5}}
		if own != "" {
			snap.Params["guard"] = own
		}
		got, err := RunReplay(t.Context(), ReplayOptions{Exchange: x, Snapshot: snap, Repeats: 1, Timeout: time.Minute,
			Server: &config.Server{Data: t.TempDir(), Routes: []config.Route{{Name: "main", Upstreams: []config.Upstream{{Name: "u", URL: up.URL}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(got.Notes, "\n")
		if note == "" && strings.Contains(all, "guard") || !strings.Contains(all, note) {
			t.Errorf("%q, want %q", all, note)
		}
		if text, _ := sent["guard"].(string); text != own || sent["temperature"] != 0.5 {
			t.Errorf("sent %v", sent)
		}
	}
	const plain, told = `{"model":"m","messages":[]}`, `{"model":"m","guard":"mine","messages":[]}`
	f(nil, nil, plain, "the guard "+id+" is not applied to the answers of now", "")
	f(&record.Guarded{Name: "hotfix", ID: id, Outcome: "passed"}, nil, plain, "the guard hotfix ("+id+") is not applied", "")
	f(&record.Guarded{Name: "hotfix", ID: id, Outcome: "blocked"}, nil, plain, "the answer of then was blocked by it", "")
	f(nil, map[string]any{"guard": "mine"}, told, "", "mine")
}
