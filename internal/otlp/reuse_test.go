package otlp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// What a request left must not change when the buffer of its body is used for another one.
func TestBuffersAreNotShared(t *testing.T) {
	r, k := receiver(t, Options{})
	word := func(n int) string { return strings.Repeat(fmt.Sprintf("w%03d ", n), 50+n) }
	body := func(n, kind int) (path, media, encoding string, data []byte) {
		if kind == 0 {
			line, err := json.Marshal(map[string]any{"id": fmt.Sprint("json-", n), "time": "2026-01-02T03:04:05Z", "user": word(n)[:100],
				"params":  map[string]any{"stop": word(n)},
				"content": map[string]any{"system": word(n), "output": word(n), "input": []any{map[string]any{"role": "user", "content": word(n)}}, "body": map[string]any{"a": word(n)}}})
			if err != nil {
				t.Fatal(err)
			}
			return "/v1/exchanges", "application/x-ndjson", "", line
		}
		p, j := request(t, testSpan{id: byte(n), attrs: map[string]any{
			"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "user.id": word(n)[:100], "gen_ai.request.stop": word(n),
			"gen_ai.system_instructions": word(n), "gen_ai.input.messages": `[{"role":"user","content":"` + word(n) + `"}]`, "gen_ai.output.messages": word(n),
		}})
		switch kind {
		case 1:
			return "/v1/traces", protobufType, "", p
		case 2:
			return "/v1/traces", protobufType, "gzip", zip(t, p)
		}
		return "/v1/traces", jsonType, "", j
	}
	const all = 200
	requests := make([]*http.Request, all)
	for n := range requests {
		path, media, encoding, data := body(n, n/4%4)
		requests[n] = httptest.NewRequest(http.MethodPost, path, bytes.NewReader(data))
		requests[n].Header.Set("Content-Type", media)
		if encoding != "" {
			requests[n].Header.Set("Content-Encoding", encoding)
		}
	}
	h := r.Handler()
	var wg sync.WaitGroup
	for sender := range 4 {
		wg.Go(func() {
			for n := sender; n < all; n += 4 {
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, requests[n]); w.Code != http.StatusOK {
					t.Errorf("%d: %d %s", n, w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
	if len(k.xs) != all {
		t.Fatalf("%d exchanges, want %d", len(k.xs), all)
	}
	seen := map[string]bool{}
	for _, x := range k.xs {
		c := x.Content
		seen[c.Output] = true
		same := c.System == c.Output && c.Input[0].Content == c.Output && x.User == c.Output[:100] && fmt.Sprint(x.Params["stop"]) == c.Output
		if c.Body != nil {
			same = same && string(c.Body) == `{"a":"`+c.Output+`"}`
		}
		if !same {
			t.Errorf("parts of several requests: %.20q %.20q %.20q %.20q %.20v %.20q", c.System, c.Input[0].Content, c.Output, x.User, x.Params["stop"], c.Body)
		}
	}
	if len(seen) != all {
		t.Errorf("%d texts, want %d", len(seen), all)
	}
}
