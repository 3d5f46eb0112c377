package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/loopback"
)

func TestBadRequests(t *testing.T) {
	c, s := serve(t, "strict_models: true", ServerOptions{MaxBody: 2000})
	f := func(path, body string, status int, param any) {
		t.Helper()
		got, v, _ := c.post(path, body)
		if got != status {
			t.Errorf("%s %s: status %d, want %d: %v", path, body, got, status, v)
		}
		if strings.HasPrefix(path, "/v1/messages") {
			want(t, v, "error", "type")
			if kind, _ := at(v, "error", "type").(string); kind == "" || at(v, "request_id") == "" {
				t.Errorf("%v", v)
			}
			return
		}
		want(t, v, param, "error", "param")
		if m, _ := at(v, "error", "message").(string); m == "" || at(v, "error", "type") == "" {
			t.Errorf("%v", v)
		}
	}
	ms := `"messages":[{"role":"user","content":"hi"}]`
	chat := "/v1/chat/completions"
	f(chat, `{`, 400, nil)
	f(chat, `[]`, 400, nil)
	f(chat, ` `, 400, nil)
	f(chat, `{} {}`, 400, nil)
	f(chat, `{"messages":"hi"}`, 400, nil)
	f(chat, `{}`, 400, "messages")
	f(chat, `{"messages":[{"role":"alien","content":"hi"}]}`, 400, "messages[0].role")
	f(chat, `{"messages":[{"role":"user","content":7}]}`, 400, nil)
	f(chat, `{"messages":[{"role":"user","content":[{"text":"x"}]}]}`, 400, nil)
	f(chat, `{`+ms+`,"n":0}`, 400, "n")
	f(chat, `{`+ms+`,"n":1000}`, 400, "n")
	f(chat, `{`+ms+`,"temperature":3}`, 400, "temperature")
	f(chat, `{`+ms+`,"max_tokens":0}`, 400, "max_completion_tokens")
	f(chat, `{`+ms+`,"top_logprobs":2}`, 400, "top_logprobs")
	f(chat, `{`+ms+`,"logprobs":true,"top_logprobs":21}`, 400, "top_logprobs")
	f(chat, `{`+ms+`,"response_format":{"type":"xml"}}`, 400, "response_format")
	f(chat, `{`+ms+`,"response_format":{"type":"json_schema"}}`, 400, "response_format")
	f(chat, `{`+ms+`,"model":"gpt"}`, 404, "model")
	f(chat, `{"x":"`+strings.Repeat("x", 2000)+`"}`, 413, nil)
	f("/v1/messages", `{"x":"`+strings.Repeat("x", 2000)+`"}`, 413, nil)
	f("/v1/messages", `{`+ms+`}`, 400, nil)
	f("/v1/messages", `{"max_tokens":1}`, 400, nil)
	f("/v1/messages", `{"max_tokens":1,"model":"gpt",`+ms+`}`, 404, nil)
	f("/v1/messages/count_tokens", `{"model":"gpt",`+ms+`}`, 404, nil)
	f("/v1/messages/batches", `{}`, 404, nil)
	f("/v1/completions", `{}`, 400, "prompt")
	f("/v1/completions", `{"prompt":"x","max_tokens":0}`, 400, "max_tokens")
	f("/v1/completions", `{"prompt":"x","logprobs":-1}`, 400, "logprobs")
	f("/v1/embeddings", `{"input":[]}`, 400, "input")
	f("/v1/embeddings", `{"input":"x","dimensions":0}`, 400, "dimensions")
	f("/v1/embeddings", `{"input":"x","encoding_format":"hex"}`, 400, "encoding_format")
	f("/v1/moderations", `{}`, 400, "input")
	f("/v1/responses", `{}`, 400, "input")
	f("/v1/responses", `{"input":[{}]}`, 400, "input[0]")
	f("/v1/unknown", `{}`, 404, nil)
	f(chat, "", 405, nil)
	if s.Stats().Errors[413] != 2 {
		t.Errorf("%+v", s.Stats())
	}
}

func TestAPIKey(t *testing.T) {
	c, _ := serve(t, "", ServerOptions{APIKey: "secret"})
	f := func(path string, status int, header ...string) {
		t.Helper()
		got, v, _ := c.post(path, `{"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`, header...)
		if got != status {
			t.Errorf("%s %v: status %d, want %d", path, header, got, status)
		}
		if b, _ := at(v, "error", "message").(string); strings.Contains(b, "secret") {
			t.Error("the key is in the message")
		}
	}
	f("/v1/chat/completions", 401)
	f("/v1/chat/completions", 401, "Authorization", "Bearer wrong")
	f("/v1/chat/completions", 401, "Authorization", "secret")
	f("/v1/chat/completions", 200, "Authorization", "Bearer secret")
	f("/v1/messages", 401, "X-Api-Key", "wrong")
	f("/v1/messages", 200, "X-Api-Key", "secret")
	resp, err := c.do("/healthz", "")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

const hi = `{"max_tokens":99,"input":"hi","prompt":"hi","messages":[{"role":"user","content":"hi"}]`

// TestFaults sends each kind of fault over each API, whole and streamed.
func TestFaults(t *testing.T) {
	read := func(c *client, path, extra string) (int, http.Header, string, error) {
		t.Helper()
		resp, err := c.do(path, hi+extra+"}")
		if err != nil {
			return 0, nil, "", err
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header, string(b), err
	}
	paths := []string{"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"}
	for _, path := range paths {
		for _, extra := range []string{"", `,"stream":true`} {
			where := path + extra
			stream := extra != ""
			c, _ := serve(t, "errors: [{status: 429, retry_after: 1500ms, should_retry: false, message: slow down}]", ServerOptions{})
			status, h, body, err := read(c, path, extra)
			if err != nil || status != 429 || h.Get("Retry-After") != "2" || h.Get("Retry-After-Ms") != "1500" || h.Get("X-Should-Retry") != "false" || !strings.Contains(body, "slow down") {
				t.Errorf("%s: status: %d, %v, %s, %v", where, status, h, body, err)
			}
			c, _ = serve(t, "errors: [{kind: reset}]", ServerOptions{})
			if _, _, _, err = read(c, path, extra); err == nil {
				t.Errorf("%s: reset: no error", where)
			}
			c, s := serve(t, "errors: [{kind: cut}]", ServerOptions{})
			status, _, body, err = read(c, path, extra)
			if err == nil || status != 200 || body == "" || strings.Contains(body, "[DONE]") || strings.Contains(body, "_stop") {
				t.Errorf("%s: cut: %d, %q, %v", where, status, body, err)
			}
			if s.Stats().Faults[Cut] != 1 {
				t.Errorf("%s: %+v", where, s.Stats())
			}
			c, _ = serve(t, "errors: [{kind: stream_error}]", ServerOptions{})
			status, _, body, err = read(c, path, extra)
			if err != nil || !strings.Contains(body, "simulated fault") || strings.Contains(body, "[DONE]") || (status == 500) == stream {
				t.Errorf("%s: stream_error: %d, %q, %v", where, status, body, err)
			}
			c, _ = serve(t, "errors: [{kind: empty}]", ServerOptions{})
			if stream {
				_, err = c.stream(path, hi+extra+"}")
			} else {
				status, _, _ = c.post(path, hi+"}")
			}
			if err != nil || status >= 500 && !stream {
				t.Errorf("%s: empty: %d, %v", where, status, err)
			}
			c, _ = serve(t, "errors: [{kind: malformed}]", ServerOptions{})
			if stream {
				if _, err = c.stream(path, hi+extra+"}"); err == nil {
					t.Errorf("%s: malformed: the stream is well-formed", where)
				}
			} else if status, _, body, err = read(c, path, extra); err != nil || status != 200 || strings.HasSuffix(body, "}}") {
				t.Errorf("%s: malformed: %d, %q, %v", where, status, body, err)
			}
		}
	}
}

func TestRetryHeader(t *testing.T) {
	c, _ := serve(t, "errors: [{status: 500, rate: 0.5}]", ServerOptions{})
	failed := map[bool]int{}
	for seed := range 40 {
		body := fmt.Sprintf(`%s,"seed":%d}`, hi, seed)
		first, _, _ := c.post("/v1/chat/completions", body, "X-Stainless-Retry-Count", "0")
		again, _, _ := c.post("/v1/chat/completions", body, "X-Stainless-Retry-Count", "0")
		if first != again {
			t.Fatal("the same attempt has another outcome")
		}
		retry, _, _ := c.post("/v1/chat/completions", body, "X-Stainless-Retry-Count", "1")
		failed[first != retry]++
	}
	if failed[true] == 0 {
		t.Error("a retry never changes the outcome")
	}
}

// TestDisconnect: a client that goes away ends the request, whether it waits, hangs or streams.
func TestDisconnect(t *testing.T) {
	f := func(text, extra string) {
		t.Helper()
		c, s := serve(t, text, ServerOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/chat/completions", strings.NewReader(hi+extra+"}"))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			resp, err := http.DefaultClient.Do(r)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			done <- err
		}()
		until(t, func() bool { return s.Stats().InFlight == 1 })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", text, err)
		}
		until(t, func() bool { return s.Stats().InFlight == 0 })
		if s.Stats().Canceled != 1 {
			t.Errorf("%s: %+v", text, s.Stats())
		}
	}
	f("latency: 1h", "")
	f("errors: [{kind: hang}]", "")
	f("latency: {ttft: 0, per_token: 1h}", `,"stream":true`)
}

// until polls for what another goroutine of the server does; there is no event to wait for.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// TestServe: the end of the context breaks off a hanging request and returns in bounded time.
func TestServe(t *testing.T) {
	s := NewServer(newModel(t, load(t, "errors: [{kind: hang}]")), ServerOptions{})
	ln, err := loopback.Listen(t.Context(), loopback.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, s) }()
	answered := make(chan error, 1)
	go func() {
		resp, err := http.Post("http://"+ln.Addr().String()+"/v1/chat/completions", "application/json", strings.NewReader(hi+"}"))
		if err == nil {
			_ = resp.Body.Close()
		}
		answered <- err
	}()
	until(t, func() bool { return s.Stats().InFlight == 1 })
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(grace + 2*unwind):
		t.Fatal("Serve does not return")
	}
	if err := <-answered; err == nil {
		t.Error("the hanging request got an answer")
	}
	http.DefaultClient.CloseIdleConnections()
}
