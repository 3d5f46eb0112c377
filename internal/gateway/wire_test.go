package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/sim"
)

// raw sends bytes as they are and returns everything that comes back until the connection ends or a second of
// silence.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, request)
	var b bytes.Buffer
	buf := make([]byte, 4096)
	for {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		n, err := c.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}

// What the upstream is sent: path, query and body as they were, the upstream's key in place of the client's, and
// nothing that is the connection's or telltale's.
func TestUpstreamRequest(t *testing.T) {
	type seen struct{ head, body string }
	got := make(chan seen, 10)
	up := script(t, func(_ int, c net.Conn) {
		head, body := readRequest(c)
		got <- seen{head, body}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-Kept: yes\r\nProxy-Authenticate: x\r\nContent-Length: 2\r\n\r\n{}")
	})
	body := "{ \"mod\\u0065l\":\"gpt-x\",\n\t\"new_field\" : {\"a\":[1 , 2.50, 1e3]}, \"é\":\"\\u00e9\" }"
	f := func(name string, cfg *config.Server, path string, headers, want, not []string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			s := start(t, cfg, Options{})
			request := "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nTelltale-User: u1\r\nTelltale-Session: s1\r\nTelltale-Tag-Team: red\r\nX-Custom: a\r\nX-Custom: b\r\nAccept-Encoding: br, gzip\r\nAnthropic-Version: 2023-06-01\r\n" +
				strings.Join(append(headers, ""), "\r\n") + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
			answer := raw(t, s.addr, request)
			x := <-got
			if x.body != body {
				t.Errorf("the body became %q", x.body)
			}
			for _, w := range want {
				if !strings.Contains(x.head, w+"\r\n") {
					t.Errorf("no %q in\n%s", w, x.head)
				}
			}
			for _, w := range append(not, "Telltale", "X-Mine", "Te:", "Connection", "Expect") {
				if strings.Contains(x.head, w) {
					t.Errorf("%q in\n%s", w, x.head)
				}
			}
			if !strings.Contains(answer, "X-Kept: yes") || strings.Contains(answer, "X-Hop") || strings.Contains(answer, "Keep-Alive") || strings.Contains(answer, "Proxy-Auth") || strings.Contains(answer, "Transfer-Encoding") || !strings.Contains(answer, "Content-Length: 2") || strings.Contains(answer, "Content-Type") {
				t.Errorf("the client got\n%s", answer)
			}
			tap := s.tapped(t)
			if tap.User != "u1" || tap.Session != "s1" || tap.Tags["team"] != "red" || string(tap.Body) != body || tap.SentBody != nil {
				t.Errorf("captured %q %q %v %q", tap.User, tap.Session, tap.Tags, tap.Body)
			}
			if all, _ := json.Marshal(tap.Header); strings.Contains(string(all), "secret") || strings.Contains(string(all), "Telltale") {
				t.Errorf("captured headers %s", all)
			}
		})
	}
	client := []string{"Authorization: Bearer client-secret", "X-Api-Key: client-secret2"}
	f("openai", one(up), "/v1/chat/completions?x=a%2Fb&y", client,
		[]string{"POST /v1/chat/completions?x=a%2Fb&y HTTP/1.1", "Authorization: Bearer upstream-secret", "X-Custom: a", "X-Custom: b", "Accept-Encoding: br, gzip", "Host: " + strings.TrimPrefix(up, "http://")}, []string{"client-secret", "X-Api-Key"})
	f("anthropic", one(up), "/v1/messages?beta=true", client, []string{"POST /v1/messages?beta=true HTTP/1.1", "X-Api-Key: upstream-secret", "Anthropic-Version: 2023-06-01"}, []string{"client-secret", "Authorization"})
	f("unknown path", one(up), "/v1/new%20thing/7;x?q", client, []string{"POST /v1/new%20thing/7;x?q HTTP/1.1"}, []string{"client-secret"})
	f("prefix and base path", one(up+"/openai/v1/", func(r *config.Route) { r.Path = "/support" }), "/support/v1/embeddings", client, []string{"POST /openai/v1/embeddings HTTP/1.1"}, []string{"client-secret", "support"})
	f("base path without version", one(up+"/llm"), "/v1/models/a%2Fb", client, []string{"POST /llm/v1/models/a%2Fb HTTP/1.1"}, []string{"client-secret"})
	f("the client's own key", one(up, func(r *config.Route) { r.PassKey = true }), "/v1/chat/completions", client, []string{"Authorization: Bearer client-secret", "X-Api-Key: client-secret2"}, []string{"upstream-secret"})
	f("but never telltale's", one(up, func(r *config.Route) { r.PassKey = true }), "/v1/chat/completions", []string{"Authorization: Bearer tt_0123", "X-Api-Key: tt_0123"}, nil, []string{"tt_0123", "upstream-secret"})
	rules := one(up, func(r *config.Route) {
		r.RequestRules = config.HeaderRules{Set: map[string]string{"x-custom": "c", "x-new": "n"}, Remove: []string{"accept-encoding"}}
		r.AnswerRules = config.HeaderRules{Set: map[string]string{"x-kept": "yes"}, Remove: []string{"x-none"}}
		r.Upstreams[0].Headers = map[string]string{"openai-organization": "org", "host": "example.test"}
	})
	f("rules", rules, "/v1/chat/completions", client, []string{"X-Custom: c", "X-New: n", "Openai-Organization: org", "Host: example.test"}, []string{"X-Custom: a", "X-Custom: b", "Accept-Encoding"})
	f("a key of one's own", one(up, func(r *config.Route) { r.Upstreams[0].Headers = map[string]string{"api-key": "azure"} }), "/v1/chat/completions", client, []string{"Api-Key: azure"}, []string{"Authorization", "client-secret"})
}

// Compressed answers pass as they are; the capture can be read nevertheless, and a bomb stays small.
func TestContentEncoding(t *testing.T) {
	plainText := strings.Repeat(jsonAnswer, 50)
	pack := func(encoding string, data []byte) []byte {
		var b bytes.Buffer
		var w io.WriteCloser
		switch encoding {
		case "gzip":
			w = gzip.NewWriter(&b)
		case "br":
			w = brotli.NewWriter(&b)
		case "zstd":
			w, _ = zstd.NewWriter(&b)
		}
		_, _ = w.Write(data)
		_ = w.Close()
		return b.Bytes()
	}
	for _, encoding := range []string{"gzip", "br", "zstd"} {
		packed := pack(encoding, []byte(plainText))
		bomb := pack(encoding, make([]byte, 16<<20))
		answer := packed
		up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			_, _ = w.Write(answer)
		})
		s := start(t, one(up), Options{})
		resp, got := post(t, s, "/v1/chat/completions", chatBody, "Accept-Encoding", encoding)
		if got != string(packed) || resp.Header.Get("Content-Encoding") != encoding || resp.ContentLength != int64(len(packed)) {
			t.Errorf("%s: changed on its way", encoding)
		}
		x := s.tapped(t)
		if b, cut := x.Decoded(1 << 20); string(b) != plainText || cut {
			t.Errorf("%s: %d bytes decoded, cut %v", encoding, len(b), cut)
		}
		if b, cut := x.Decoded(100); string(b) != plainText[:100] || !cut {
			t.Errorf("%s: %d bytes decoded of 100, cut %v", encoding, len(b), cut)
		}
		x.Answer = packed[:len(packed)/2]
		if b, cut := x.Decoded(1 << 20); !strings.HasPrefix(plainText, string(b)) || !cut {
			t.Errorf("%s: half of it gave %d bytes, cut %v", encoding, len(b), cut)
		}
		x.Answer = bomb
		if b, cut := x.Decoded(1 << 20); len(b) > 1<<20 || !cut {
			t.Errorf("%s: a bomb became %d bytes, cut %v", encoding, len(b), cut)
		}
		x.Answer = []byte("garbage")
		if _, cut := x.Decoded(1 << 20); !cut {
			t.Errorf("%s: garbage was not cut", encoding)
		}
	}
	x := Tapped{Answer: []byte("abc"), AnswerHeader: http.Header{"Content-Encoding": {"new"}}}
	if b, cut := x.Decoded(10); len(b) != 0 || !cut {
		t.Errorf("unknown encoding: %q, %v", b, cut)
	}
}

// Bodies of every size up to the limit pass unchanged, with and without a length; above it the answer is 413 in the
// API's own shape.
func TestBodySizes(t *testing.T) {
	const limit = 3 << 20
	up := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	s := start(t, one(up, func(r *config.Route) { r.MaxBody = limit }), Options{TapRequest: 1 << 20, TapAnswer: 1 << 20})
	body := func(n int) string {
		return `{"model":"m","x":"` + strings.Repeat("y", n-len(`{"model":"m","x":""}`)) + `"}`
	}
	for _, n := range []int{100, 32<<10 - 1, 32 << 10, 33 << 10, 64 << 10, 65<<10 + 1, 1 << 20, 1<<20 + 1, limit} {
		for _, chunked := range []bool{false, true} {
			b := body(n)
			var src io.Reader = strings.NewReader(b)
			if chunked {
				src = io.MultiReader(src) // of a type without a known length
			}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/chat/completions", src)
			resp, err := s.client.Do(req)
			if err != nil {
				t.Fatal(n, chunked, err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK || string(got) != b {
				t.Errorf("%d bytes, chunked %v: %d, %d bytes, %v", n, chunked, resp.StatusCode, len(got), err)
			}
			x := s.tapped(t)
			if x.BodySize != int64(n) || x.AnswerSize != int64(n) || x.BodyCut != (n > 1<<20) || x.AnswerCut != (n > 1<<20) || len(x.Body) != min(n, 1<<20) || len(x.Answer) != min(n, 1<<20) {
				t.Errorf("%d bytes: captured %d of %d (cut %v), %d of %d (cut %v)", n, len(x.Body), x.BodySize, x.BodyCut, len(x.Answer), x.AnswerSize, x.AnswerCut)
			}
			if x.AnswerCut && (len(x.Tail) == 0 || !strings.HasSuffix(b, string(x.Tail))) {
				t.Errorf("%d bytes: the tail is %d bytes of something else", n, len(x.Tail))
			}
		}
	}
	for _, chunked := range []bool{false, true} {
		for path, want := range map[string]string{"/v1/chat/completions": `"type":"invalid_request_error","param":null,"code":"request_too_large"`, "/v1/messages": `{"type":"error","error":{"type":"request_too_large"`} {
			var src io.Reader = strings.NewReader(body(limit + 1))
			if chunked {
				src = io.MultiReader(src)
			}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, src)
			resp, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(got), want) || !json.Valid(got) {
				t.Errorf("chunked %v: %d %s", chunked, resp.StatusCode, got)
			}
			if resp.Header.Get("X-Request-Id")+resp.Header.Get("Request-Id") == "" {
				t.Error("no request id")
			}
		}
	}
	// Whoever announces too much is not asked for it.
	got := raw(t, s.addr, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 999999999\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 413") || strings.Contains(got, "100 Continue") {
		t.Errorf("%q", got)
	}
	got = raw(t, s.addr, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}")
	if !strings.HasPrefix(got, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK") {
		t.Errorf("%q", got)
	}
	waitFor(t, "the memory of bodies", func() bool { st := s.Stats(); return st.BodyBytes == 0 })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// What is not HTTP, or not JSON where it has to be, is refused; nothing of it reaches an upstream.
func TestBadRequests(t *testing.T) {
	var asked atomic.Int32
	up := serve(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1); _, _ = io.Copy(w, r.Body) })
	s := start(t, one(up, func(r *config.Route) { r.Caps = map[string]float64{"max_tokens": 10} }), Options{SlowBody: 300 * time.Millisecond})
	post := "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	f := func(name, request string, status int, want string) {
		t.Helper()
		before := asked.Load()
		got := raw(t, s.addr, request)
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", status)) || !strings.Contains(got, want) {
			t.Errorf("%s: want %d with %q, got %.400q", name, status, want, got)
		}
		if asked.Load() != before {
			t.Errorf("%s reached the upstream", name)
		}
	}
	f("header bomb", post+strings.Repeat("X-A: "+strings.Repeat("b", 1000)+"\r\n", 100)+"\r\n", 431, "")
	f("long line", "POST /v1/"+strings.Repeat("a", 80<<10)+" HTTP/1.1\r\nHost: x\r\n\r\n", 431, "")
	f("two lengths", post+"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, "")
	f("length and chunks, disagreeing", post+"Transfer-Encoding: gzip\r\n\r\n{}", 501, "")
	f("chunk size", post+"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400, `"error"`)
	f("huge chunk size", post+"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400, `"error"`)
	f("chunk extensions", post+"Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1;"+strings.Repeat("e", 3000)+"\r\na\r\n", 50)+"0\r\n\r\n", 400, `"error"`)
	f("slow body", post+"Content-Length: 10\r\n\r\n{", 408, "not sent in time")
	f("not JSON", post+"Content-Length: 1\r\n\r\n{", 400, "invalid_json")
	f("a list", post+"Content-Length: 2\r\n\r\n[]", 400, "invalid_json")
	f("no number", post+"Content-Length: 18\r\n\r\n{\"max_tokens\":\"x\"}", 400, "max_tokens must be a number")
	f("two models", post+"Content-Length: 25\r\n\r\n{\"model\":\"a\",\"model\":\"b\"}", 400, "twice")
	f("dots", "GET /v1/../admin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "dot segments")
	f("hidden dots", "GET /v1/a/%2e%2E/%2e./admin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "dot segments")
	f("backslash dots", "GET /v1/a/..%5cadmin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "dot segments")
	f("outside /v1", "GET /admin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, "unknown_url")
	f("nearly /v1", "GET /v10/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, "unknown_url")
	f("anthropic's shape", "POST /x/v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 404, `{"type":"error","error":{"type":"not_found_error","message":"`)

	// A body that ends early.
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, post+"Content-Length: 10\r\n\r\n{\"a\"")
	_ = c.(*net.TCPConn).CloseWrite()
	b, _ := io.ReadAll(c)
	_ = c.Close()
	if !strings.HasPrefix(string(b), "HTTP/1.1 400 ") || !strings.Contains(string(b), "ended early") {
		t.Errorf("truncated: %q", b)
	}
	if asked.Load() != 0 {
		t.Error("a refused request reached the upstream")
	}
	if got := raw(t, s.addr, post+"Content-Length: 17\r\n\r\n{\"max_tokens\":99}"); !strings.HasSuffix(got, `{"max_tokens":10}`) {
		t.Errorf("the gateway no longer serves: %q", got)
	}
	st := s.Stats()
	if st.Refused[BadBody] < 5 || st.Refused[SlowBody] != 1 || st.Refused[GoneBody] != 1 || st.Refused[BadPath] != 6 || st.BodyBytes != 0 {
		t.Errorf("refused %v, %d bytes held", st.Refused, st.BodyBytes)
	}
}

// A client that takes nothing makes nobody hold more: the upstream is read no further, and the client is cut off.
func TestSlowClient(t *testing.T) {
	var wrote atomic.Int64
	stopped := make(chan struct{})
	up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(stopped)
		w.Header().Set("Content-Type", eventStream)
		piece := []byte("data: " + strings.Repeat("x", 16<<10) + "\n\n")
		for {
			n, err := w.Write(piece)
			wrote.Add(int64(n))
			if err != nil {
				return
			}
			flush(w)
		}
	})
	s := start(t, one(up), Options{SlowClient: 500 * time.Millisecond})
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetReadBuffer(32 << 10)
	_, _ = io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"stream\":true}")
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Fatal("the upstream was read for ever")
	}
	if n := wrote.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken from the upstream", n)
	}
	x := s.tapped(t)
	if x.Error != errSlowClient.Error() || len(x.Answer) > 4<<20 {
		t.Errorf("captured %q with %d bytes", x.Error, len(x.Answer))
	}
	if st := s.Stats(); st.SlowClients != 1 {
		t.Errorf("%d slow clients", st.SlowClients)
	}
}

// Time-outs towards the upstream.
func TestTimeouts(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	f := func(name string, status int, kind string, change func(*config.Route), handler func(w http.ResponseWriter)) {
		t.Run(name, func(t *testing.T) {
			up := serve(t, func(w http.ResponseWriter, r *http.Request) {
				handler(w)
				select {
				case <-r.Context().Done():
				case <-release:
				}
			})
			s := start(t, one(up, change), Options{LazyHeader: 20 * time.Millisecond})
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/messages", strings.NewReader(chatBody))
			resp, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if resp.StatusCode != status || (status == 200) != (err != nil) {
				t.Errorf("%d %q %v", resp.StatusCode, b, err)
			}
			if status == 504 && !strings.Contains(string(b), "timeout_error") {
				t.Errorf("%q", b)
			}
			if x := s.tapped(t); string(x.ErrorKind) != kind {
				t.Errorf("captured as %q", x.ErrorKind)
			}
		})
	}
	nothing := func(http.ResponseWriter) {}
	begin := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", eventStream)
		_, _ = io.WriteString(w, "data: {}\n\n")
		flush(w)
	}
	f("first byte", 504, "timeout", func(r *config.Route) { r.FirstByte = 50 * time.Millisecond }, nothing)
	f("whole, before", 504, "timeout", func(r *config.Route) { r.Timeout = 50 * time.Millisecond }, nothing)
	f("idle", 200, "timeout", func(r *config.Route) { r.Idle = 50 * time.Millisecond }, begin)
	f("whole, after", 200, "timeout", func(r *config.Route) { r.Timeout = 150 * time.Millisecond }, begin)
}

// An upstream that refuses a large body before it has read it is heard.
func TestEarlyAnswer(t *testing.T) {
	up := script(t, func(_ int, c net.Conn) {
		buf := make([]byte, 1000)
		_, _ = c.Read(buf)
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		time.Sleep(100 * time.Millisecond)
	})
	s := start(t, one(up), Options{})
	resp, got := post(t, s, "/v1/chat/completions", `{"x":"`+strings.Repeat("y", 8<<20)+`"}`)
	if resp.StatusCode != http.StatusRequestEntityTooLarge || got != "no" {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
}

// A rested connection that the upstream has closed is no failure, and costs no attempt.
func TestStaleConnection(t *testing.T) {
	up := script(t, func(_ int, c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
	})
	s := start(t, one(up), Options{})
	for range 5 {
		resp, _ := post(t, s, "/v1/chat/completions", chatBody)
		if x := s.tapped(t); resp.StatusCode != http.StatusOK || x.Attempts != 1 {
			t.Fatalf("%d after %d attempts", resp.StatusCode, x.Attempts)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if st := s.Stats(); st.Routes["main"].Upstreams["up"].Failures != 0 {
		t.Error("counted as a failure")
	}
}

// Answers that no upstream of sound mind sends.
func TestNastyUpstreams(t *testing.T) {
	f := func(name, answer string, status int) {
		t.Run(name, func(t *testing.T) {
			up := script(t, func(_ int, c net.Conn) { readRequest(c); _, _ = io.WriteString(c, answer) })
			s := start(t, one(up), Options{})
			resp, body := post(t, s, "/v1/chat/completions", chatBody)
			if resp.StatusCode != status || !json.Valid([]byte(body)) {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
		})
	}
	f("endless headers", "HTTP/1.1 200 OK\r\n"+strings.Repeat("X-A: "+strings.Repeat("b", 1000)+"\r\n", 1000), 502)
	f("endless 1xx", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100), 502)
	f("switching protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 502)
	f("status 42", "HTTP/1.1 042 What\r\n\r\n", 502)
	f("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 502)
	f("nothing", "", 502)
	f("garbage", "\x00\x01\x02\r\n\r\n", 502)
	f("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n{}", 200)
}

// HTTP/2 over TLS and without it.
func TestHTTP2(t *testing.T) {
	up := simulated(t, sim.Config{}, sim.ServerOptions{})
	cert, key := certificate(t)
	f := func(name string, listen config.Listen) {
		t.Run(name, func(t *testing.T) {
			cfg := one(up)
			cfg.Listen = listen
			s := start(t, cfg, Options{})
			if listen.H2C {
				p := new(http.Protocols)
				p.SetUnencryptedHTTP2(true)
				s.client.Transport.(*http.Transport).Protocols = p
			}
			resp, got := post(t, s, "/v1/chat/completions", strings.Replace(chatBody, "{", `{"stream":true,`, 1))
			if resp.ProtoMajor != 2 || !strings.HasSuffix(got, "data: [DONE]\n\n") {
				t.Errorf("%s %q", resp.Proto, got)
			}
			if x := s.tapped(t); string(x.Answer) != got {
				t.Error("the capture differs")
			}
		})
	}
	f("TLS", config.Listen{TLSCert: cert, TLSKey: key})
	f("h2c", config.Listen{H2C: true})

	t.Run("cancel and cut", func(t *testing.T) {
		ended := make(chan struct{}, 2)
		up := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", eventStream)
			_, _ = io.WriteString(w, "data: {}\n\n")
			flush(w)
			if r.Header.Get("X-Die") != "" {
				panic(http.ErrAbortHandler)
			}
			<-r.Context().Done()
			ended <- struct{}{}
		})
		cfg := one(up)
		cfg.Listen = config.Listen{TLSCert: cert, TLSKey: key}
		s := start(t, cfg, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(`{"stream":true}`))
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadFull(resp.Body, make([]byte, 5))
		cancel()
		within(t, "the end of the upstream's request", ended)
		_ = resp.Body.Close()
		req, _ = http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(`{"stream":true}`))
		req.Header.Set("X-Die", "1")
		if resp, err = s.client.Do(req); err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a clean end after %q", b)
		}
	})
}

// TLS towards the upstream needs a certificate that is trusted.
func TestUpstreamTLS(t *testing.T) {
	cert, key := certificate(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.ServeTLS(ln, cert, key) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	url := "https://" + ln.Addr().String()
	for _, trusted := range []bool{true, false} {
		s := start(t, one(url, func(r *config.Route) {
			if trusted {
				r.Upstreams[0].CACert = cert
			}
		}), Options{})
		for range 2 {
			resp, got := post(t, s, "/v1/chat/completions", chatBody)
			if trusted && (resp.StatusCode != http.StatusOK || got != chatBody) || !trusted && resp.StatusCode != http.StatusBadGateway {
				t.Errorf("trusted %v: %d %q", trusted, resp.StatusCode, got)
			}
		}
	}
}

// A connection that has rested is looked at before it is used again.
func TestRested(t *testing.T) {
	closed := make(chan struct{})
	up := script(t, func(n int, c net.Conn) {
		for range 2 {
			if head, _ := readRequest(c); !strings.HasSuffix(head, "\r\n\r\n") {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
		_ = c.Close()
		if n == 0 {
			close(closed)
		}
	})
	s := start(t, one(up), Options{})
	p := s.state.Load().routes[0].tiers[0][0].members[0].pool
	age := func() (c *conn) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c = range p.idle {
			c.idle = c.idle.Add(-2 * doubtAfter)
		}
		return c
	}
	post(t, s, "/v1/chat/completions", chatBody)
	first := age()
	post(t, s, "/v1/chat/completions", chatBody)
	if second := age(); second != first {
		t.Error("a good connection was not used again")
	}
	within(t, "the end of the connection", closed)
	time.Sleep(20 * time.Millisecond)
	post(t, s, "/v1/chat/completions", chatBody)
	if third := age(); third == first {
		t.Error("a connection that the upstream had closed was kept")
	}
}

// FuzzUpstream answers with anything: the client gets an answer or a broken connection, and the gateway goes on.
func FuzzUpstream(f *testing.F) {
	for _, s := range []string{wholeAnswer(), streamHead + "Transfer-Encoding: chunked\r\n\r\n7\r\ndata: x\r\n0\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close, x\r\nX: y\r\n\r\nshort", "HTTP/1.1 999 x\r\n\r\n", "HTTP/1.0 200\r\nContent-Type: text/event-stream\r\n\r\ndata: [DONE]\n\n"} {
		f.Add([]byte(s))
	}
	var answer atomic.Pointer[[]byte]
	up := script(f, func(_ int, c net.Conn) { readRequest(c); _, _ = c.Write(*answer.Load()) })
	s := start(f, one(up, func(r *config.Route) { r.Set = map[string]any{"stream_options.include_usage": true} }), Options{Sink: func(x *Tapped) { x.Decoded(1000); x.Release() }, LazyHeader: 20 * time.Millisecond})
	f.Fuzz(func(t *testing.T, b []byte) {
		answer.Store(&b)
		begin := time.Now()
		defer func() {
			if d := time.Since(begin); d > 2*soon {
				t.Errorf("it took %v", d)
			}
		}()
		resp, err := s.client.Post(s.url+"/v1/chat/completions", "application/json", strings.NewReader(`{"stream":true}`))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if strings.Contains(s.log.String(), "panic serving") {
			t.Fatal(s.log.String())
		}
	})
}
