package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/redact"
)

// TestKeysStayOut runs against servers that repeat the credentials they were sent, in every place
// where a server's words are shown, and looks for them in all that telltale wrote or printed.
func TestKeysStayOut(t *testing.T) {
	t.Parallel()
	const (
		key   = "sk-secret123456789"
		plain = "Zq7rT0pVb4LmN8xW" // a key of no known shape
		token = "team-token-5678"
	)
	const answer = `{"id": "1", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "fine"}}]}`
	all := func(r *http.Request) string {
		return fmt.Sprintf("key %s, authorization %s, team %s, url %s", key, r.Header.Get("Authorization"), r.Header.Get("X-Team"), r.URL)
	}
	f := func(name string, code int, serve http.HandlerFunc) {
		t.Helper()
		for _, secret := range []string{key, plain} {
			t.Run(name+"/"+secret[:2], func(t *testing.T) {
				t.Parallel()
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if got := r.Header.Get("Authorization"); got != "Bearer "+secret {
						t.Errorf("authorization %q", got)
					}
					if got := r.Header.Get("X-Team"); got != token {
						t.Errorf("team %q", got)
					}
					w.Header().Set("Content-Type", "application/json")
					serve(w, r)
				}))
				defer server.Close()
				dir := t.TempDir()
				suite := fmt.Sprintf(`
prompts: ["Say {{x}}"]
providers:
  - id: openai:chat:m
    config: {base_url: %q, headers: {X-Team: "{{env.TEAM_TOKEN}}"}}
tests: [{vars: {x: [a, b]}, assert: [{type: contains, value: fine}]}]
`, server.URL+"/v1")
				if err := os.WriteFile(filepath.Join(dir, "suite.yaml"), []byte(suite), 0o600); err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), "telltale", "run", "suite.yaml", "--out", "out", "--retries", "1")
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "OPENAI_API_KEY="+secret, "TEAM_TOKEN="+token)
				output, err := cmd.CombinedOutput()
				if got := exitOf(t, err); got != code {
					t.Errorf("exit %d, want %d\n%s", got, code, output)
				}
				shown := search(t, dir, output, secret, token)
				if want := code != 0 && name != "redirect"; shown != want {
					t.Errorf("a mark in place of a key: %v, want %v\n%s", shown, want, output)
				}
			})
		}
	}
	f("answers", 0, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, answer)
	})
	refuse := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && status != http.StatusUnauthorized {
				return
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error": {"message": "Incorrect API key provided: %s", "type": "x", "code": %q}}`, all(r), r.Header.Get("Authorization"))
		}
	}
	f("401", exitNotRun, refuse(http.StatusUnauthorized))
	f("403", exitNotRun, refuse(http.StatusForbidden))
	f("400", exitNotRun, refuse(http.StatusBadRequest))
	f("500", exitNotRun, refuse(http.StatusInternalServerError))
	f("plain 500", exitNotRun, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, all(r), http.StatusInternalServerError)
	})
	f("not JSON", exitNotRun, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, all(r))
	})
	f("no choices", exitNotRun, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"choices": [], "error": {"message": %q}}`, all(r))
	})
	f("redirect", exitNotRun, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere?key="+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), http.StatusFound)
	})
}

// search looks for secrets in the output and in every file below dir. It reports whether there was a
// mark in the place of one: the server's words are shown, without the keys in them.
func search(t *testing.T, dir string, output []byte, secrets ...string) (marked bool) {
	t.Helper()
	look := func(where string, text []byte) {
		marked = marked || bytes.Contains(text, []byte(redact.Mark))
		for _, s := range secrets {
			if bytes.Contains(text, []byte(s)) || bytes.Contains(text, []byte(s[3:])) {
				t.Errorf("a key is in %s:\n%s", where, text)
			}
		}
	}
	look("the output", output)
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		look(path, text)
		files++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Error("no file to look into")
	}
	return marked
}
