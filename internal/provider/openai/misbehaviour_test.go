package openai

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/provider/providertest"
	"github.com/telltale-llm/telltale/internal/record"
)

// serve starts a server and returns its base URL.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/v1"
}

// replies writes the same answer to everybody.
func replies(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hangs reads the request and answers when the client has gone.
func hangs(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// closedPort returns the address of a port nobody listens on.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String() + "/v1"
}

func asking(text string) record.Request {
	return record.Request{Messages: []record.Message{{Role: "user", Content: text}}, Prompt: text, Seed: 1}
}

const headerSecret = "header-secret-value"

func TestConformance(t *testing.T) {
	for _, mode := range []string{"whole", "stream"} {
		t.Run(mode, func(t *testing.T) { conformance(t, mode == "stream") })
	}
}

func conformance(t *testing.T, stream bool) {
	settings := map[string]any{"stream": stream, "temperature": 0.5, "headers": map[string]any{"X-Secret": headerSecret}}
	with := func(h http.HandlerFunc, more map[string]any) func(t *testing.T) providertest.Provider {
		return func(t *testing.T) providertest.Provider {
			all := map[string]any{}
			for _, m := range []map[string]any{settings, more} {
				for k, v := range m {
					all[k] = v
				}
			}
			base, _ := all["apiBaseUrl"].(string)
			if h != nil {
				base = serve(t, h)
			}
			return provide(t, "openai:chat:m", all, base)
		}
	}
	// The address is part of what a provider says about itself, so all good ones share one server.
	shared := serve(t, answersBack(stream))
	good := with(nil, map[string]any{"apiBaseUrl": shared})
	half := `{"choices":[{"index":0,"message":{"content":"He`
	fails := func(name string, h http.HandlerFunc, kind record.FailureKind, retry bool) providertest.Failing {
		return providertest.Failing{Name: name, New: with(h, map[string]any{"max_bytes": int64(5000)}), Request: asking("q"), Kind: kind, Retry: retry}
	}
	leak := testKey + " and " + headerSecret
	providertest.Run(t, providertest.Subject{
		New:         good,
		Request:     func(n int) record.Request { return asking(fmt.Sprintf("question %d \"é\"", n)) },
		Want:        func(n int) string { return fmt.Sprintf("question %d \"é\"", n) },
		Hang:        with(hangs, nil),
		Impatient:   with(hangs, map[string]any{"timeout": "50ms"}),
		Unreachable: with(nil, map[string]any{"apiBaseUrl": closedPort(t)}),
		Secrets:     []string{testKey, headerSecret},
		Failures: []providertest.Failing{
			fails("html 500", replies(500, "text/html", "<html><body>\n\n"+leak+"</body></html>"), record.Server, true),
			fails("503", replies(503, "application/json", `{"error":{"message":"overloaded `+leak+`"}}`), record.Server, true),
			fails("501", replies(501, "text/plain", "no"), record.Server, false),
			fails("429", replies(429, "text/plain", leak), record.RateLimited, true),
			fails("401", replies(401, "application/json", `{"error":{"message":"bad key `+leak+`"}}`), record.Auth, false),
			fails("403", replies(403, "application/json", `{"message":["no `+testKey+`"]}`), record.Auth, false),
			fails("404", replies(404, "text/plain", leak), record.NotFound, false),
			fails("408", replies(408, "text/plain", ""), record.Timeout, true),
			fails("409", replies(409, "text/plain", ""), record.BadRequest, true),
			fails("422", replies(422, "application/json", `{"detail":[{"msg":"field required","input":"`+testKey+`"}]}`), record.BadRequest, false),
			fails("error as text", replies(400, "application/json", `{"error":"`+leak+`"}`), record.BadRequest, false),
			fails("error in 200", replies(200, "application/json", `{"error":{"message":"`+leak+`","code":503}}`), record.Server, true),
			fails("not JSON", replies(200, "application/json", "Hello "+leak), record.Malformed, false),
			fails("html 200", replies(200, "text/html; charset=utf-8", "<html>login, "+leak+"</html>"), record.Malformed, false),
			fails("truncated JSON", replies(200, "application/json", half+leak), record.Malformed, false),
			fails("content is an object", replies(200, "application/json", `{"choices":[{"message":{"content":{"a":1}}}]}`), record.Malformed, false),
			fails("negative usage", replies(200, "application/json", `{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":-1}}`), record.Malformed, false),
			fails("empty body", replies(200, "application/json", ""), record.Malformed, false),
			fails("no choices", replies(200, "application/json", `{"choices":[]}`), record.Empty, false),
			fails("huge body", replies(200, "application/json", strings.Repeat(" ", 6000)), record.TooLarge, false),
			fails("huge error", replies(500, "text/plain", strings.Repeat("x", 1<<20)), record.Server, true),
			fails("redirect", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://elsewhere.test/?token="+testKey, http.StatusTemporaryRedirect)
			}, record.BadRequest, false),
			fails("connection cut", cuts("application/json", half), record.Cut, true),
			fails("no answer", aborts, record.Connection, true),
			fails("stream cut", replies(200, "text/event-stream", "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"He\"}}]}\n\n"), record.Cut, true),
			fails("stream connection cut", cuts("text/event-stream", "data: {\"choices\":[{\"delta\":{\"content\":\"He\"}}]}\n\n"), record.Cut, true),
			fails("stream of nothing", replies(200, "text/event-stream", "data: [DONE]\n\n"), record.Empty, false),
			fails("stream not JSON", replies(200, "text/event-stream", "data: Hello "+leak+"\n\n"), record.Malformed, false),
			fails("stream huge line", replies(200, "text/event-stream", "data: "+strings.Repeat("x", 6000)), record.TooLarge, false),
			fails("stream huge", replies(200, "text/event-stream", strings.Repeat(": ping\n", 1000)), record.TooLarge, false),
			fails("stream error event", replies(200, "text/event-stream", "event: error\ndata: {\"message\":\"died "+leak+"\"}\n\n"), record.Server, true),
			fails("stream error text", replies(200, "text/event-stream", "event: error\ndata: died "+leak+"\n\n"), record.Server, true),
			fails("stream error 400", replies(200, "text/event-stream", `data: {"error":{"message":"too long","code":"400"}}`+"\n\n"), record.BadRequest, false),
			{Name: "refused", New: with(nil, map[string]any{"apiBaseUrl": closedPort(t)}), Request: asking("q"), Kind: record.Connection, Retry: true},
		},
	})
}

// answersBack answers with the last message, in one piece or word by word.
func answersBack(stream bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, rest, _ := strings.Cut(string(body), `"content":"`)
		end := strings.Index(rest, `"}]`)
		if end < 0 {
			http.Error(w, "not found", http.StatusNotFound) // the question for the list of models
			return
		}
		text := rest[:end]
		if !stream {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"model":"m","choices":[{"index":0,"message":{"content":"%s"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`, text)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, word := range strings.SplitAfter(text, " ") {
			fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"}}]}\n\n", word)
			w.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}
}

// cuts promises more than it sends.
func cuts(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", "4000")
		_, _ = io.WriteString(w, body)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// aborts ends the connection without an answer, after the request has been read.
func aborts(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

func TestOneAttemptACall(t *testing.T) {
	var calls atomic.Int32
	p := provide(t, "openai:chat:m", nil, serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	_, err := p.Complete(t.Context(), asking("q"))
	if err == nil || calls.Load() != 1 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
}

func TestMessagesNameTheServer(t *testing.T) {
	base := closedPort(t)
	p := provide(t, "openai:chat:m", nil, base)
	host := strings.TrimSuffix(strings.TrimPrefix(base, "http://"), "/v1")
	_, err := p.Complete(t.Context(), asking("q"))
	for _, e := range []error{err, p.Check(t.Context())} {
		if e == nil || !strings.Contains(e.Error(), host) || !strings.Contains(e.Error(), "connection refused") {
			t.Errorf("got %v, want %s and the reason", e, host)
		}
	}
}

func TestCheckNoticesAWrongKey(t *testing.T) {
	f := func(status int, kind record.FailureKind) {
		t.Helper()
		p := provide(t, "openai:chat:m", nil, serve(t, replies(status, "application/json", `{"error":{"message":"no"}}`)))
		err := p.Check(t.Context())
		if kind == "" {
			if err != nil {
				t.Errorf("%d: %v", status, err)
			}
			return
		}
		if fail, ok := errors.AsType[*record.Failure](err); !ok || fail.Kind != kind {
			t.Errorf("%d: got %v, want %s", status, err, kind)
		}
	}
	f(200, "")
	f(404, "")
	f(500, "")
	f(401, record.Auth)
}

// The key must not travel to where a redirect leads.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var reached atomic.Bool
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { reached.Store(true) })
	p := provide(t, "openai:chat:m", nil, serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other+"/chat/completions", http.StatusPermanentRedirect)
	}))
	_, err := p.Complete(t.Context(), asking("q"))
	if err == nil || reached.Load() || !strings.Contains(err.Error(), "redirect") {
		t.Errorf("reached %v, %v", reached.Load(), err)
	}
}

func TestEventsSplitAnywhere(t *testing.T) {
	whole := "\uFEFF: hello\r\n\r\nid: 1\r\nevent: message\ndata: {\"choices\":[{\"index\":0,\r\ndata: \"delta\":{\"content\":\"Hé\"}}]}\r\n\r\n" +
		"data:{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"other\"}}]}\r\r" +
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"llo\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]"
	p := provide(t, "openai:chat:m", nil, "http://localhost/v1")
	for cut := range len(whole) {
		r := &twoReads{whole[:cut], whole[cut:]}
		got, fail := readStream(t, p, r)
		if fail != nil || got.Output != "Héllo" || got.FinishReason != "stop" || got.TTFT <= 0 {
			t.Fatalf("cut at %d: %+v, %v", cut, got, fail)
		}
	}
}

// twoReads gives its parts one after the other.
type twoReads [2]string

func (r *twoReads) Read(b []byte) (int, error) {
	for i := range r {
		if len(r[i]) > 0 {
			n := copy(b, r[i])
			r[i] = r[i][n:]
			return n, nil
		}
	}
	return 0, io.EOF
}

func TestTimeToFirstToken(t *testing.T) {
	p := provide(t, "openai:chat:m", nil, serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		say := func(delta string) {
			fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{%s}}]}\n\n", delta)
			w.(http.Flusher).Flush()
		}
		say(`"role":"assistant","content":"","reasoning_content":"hm"`)
		time.Sleep(30 * time.Millisecond) // a real server and a real clock: what is measured is time
		say(`"content":"a"`)
		time.Sleep(30 * time.Millisecond)
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}))
	req := asking("q")
	req.Stream = true
	got, err := p.Complete(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got.TTFT < 30*time.Millisecond || got.Latency < got.TTFT+30*time.Millisecond {
		t.Errorf("time to first token %v, latency %v", got.TTFT, got.Latency)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	for _, stream := range []bool{false, true} {
		var opened atomic.Int32
		s := httptest.NewUnstartedServer(answersBack(stream))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
		s.Start()
		p := provide(t, "openai:chat:m", map[string]any{"stream": stream}, s.URL+"/v1")
		const workers = 32
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range 10 {
					if _, err := p.Complete(t.Context(), asking("q")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := opened.Load(); n > 3*workers { // a few are dialled while another becomes free
			t.Errorf("stream %v: %d connections for %d workers", stream, n, workers)
		}
		_ = p.Close()
		s.Close()
	}
}

// A server that keeps the connection open behind its last word must not hold up the answer.
func TestStreamThatStaysOpen(t *testing.T) {
	p := provide(t, "openai:chat:m", map[string]any{"stream": true}, serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	start := time.Now()
	got, err := p.Complete(t.Context(), asking("q"))
	if err != nil || got.Output != "a" || time.Since(start) > 5*time.Second || got.Latency > time.Second {
		t.Errorf("got %+v, %v after %v", got, err, time.Since(start))
	}
}

func TestRetryCount(t *testing.T) {
	seen := make(chan string, 2)
	h := answersBack(false)
	p := provide(t, "openai:chat:m", nil, serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("X-Stainless-Retry-Count")
		h(w, r)
	}))
	for attempt, want := range []string{"0", "1"} {
		req := asking("q")
		req.Attempt = attempt
		if _, err := p.Complete(context.Background(), req); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != want {
			t.Errorf("attempt %d says %q", attempt, got)
		}
	}
}

// readStream reads a stream as Complete would.
func readStream(t testing.TB, p *Provider, r io.Reader) (record.Response, *record.Failure) {
	a := p.dialect.answer(p)
	latency, f := p.client.ReadStream(t.Context(), func() {}, r, time.Now(), a)
	if f != nil {
		return record.Response{}, f
	}
	out := *a.response()
	out.Latency = latency
	return out, nil
}
