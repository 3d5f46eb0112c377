package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/sim"
)

// soon is how long something that happens at once may take on a busy machine.
const soon = 2 * time.Second

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(soon):
		t.Fatalf("%s did not happen within %v", what, soon)
	}
}

func flush(w http.ResponseWriter) { w.(http.Flusher).Flush() }

const eventStream = "text/event-stream"

// A client that goes away ends the upstream's request at once, whatever phase it is in.
func TestCancel(t *testing.T) {
	f := func(name, body string, handler func(w http.ResponseWriter, begun chan struct{}), readFirst bool) {
		t.Run(name, func(t *testing.T) {
			begun, ended := make(chan struct{}, 10), make(chan struct{}, 10)
			up := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				handler(w, begun)
				<-r.Context().Done()
				ended <- struct{}{}
			})
			s := start(t, one(up), Options{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(body))
			got := make(chan error, 1)
			go func() {
				resp, err := s.client.Do(req)
				if err != nil {
					got <- err
					return
				}
				defer resp.Body.Close()
				got <- nil
				_, _ = io.Copy(io.Discard, resp.Body)
			}()
			within(t, "the upstream's request", begun)
			if readFirst {
				if err := <-got; err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			within(t, "the end of the upstream's request", ended)
			if x := s.tapped(t); x.ErrorKind != record.Canceled || x.Attempts != 1 {
				t.Errorf("captured as %q after %d attempts, want canceled after 1", x.ErrorKind, x.Attempts)
			}
			if st := s.Stats(); st.Routes["main"].Upstreams["up"].Failures != 0 {
				t.Error("a client's cancel was counted against the upstream")
			}
		})
	}
	f("before the first byte", chatBody, func(_ http.ResponseWriter, begun chan struct{}) { begun <- struct{}{} }, false)
	f("mid-stream", `{"stream":true}`, func(w http.ResponseWriter, begun chan struct{}) {
		w.Header().Set("Content-Type", eventStream)
		_, _ = io.WriteString(w, "data: {}\n\n")
		flush(w)
		begun <- struct{}{}
	}, true)
	f("within a plain answer", chatBody, func(w http.ResponseWriter, begun chan struct{}) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"id":`)
		flush(w)
		begun <- struct{}{}
	}, true)
}

// A client that goes away while a retry waits ends the waiting.
func TestCancelWhileWaiting(t *testing.T) {
	asked := make(chan struct{}, 10)
	up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "4")
		w.WriteHeader(http.StatusServiceUnavailable)
		asked <- struct{}{}
	})
	s := start(t, one(up, func(r *config.Route) { r.Retries = 3 }), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(chatBody))
	go func() { <-asked; cancel() }()
	begin := time.Now()
	if resp, err := s.client.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatal("an answer after a cancel")
	}
	if x := s.tapped(t); x.ErrorKind != record.Canceled || x.Attempts != 1 {
		t.Errorf("%q after %d attempts", x.ErrorKind, x.Attempts)
	}
	if d := time.Since(begin); d > soon {
		t.Errorf("it took %v", d)
	}
}

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"

// An upstream that dies in mid-answer is seen by the client as a broken answer, never as a clean end.
func TestUpstreamDies(t *testing.T) {
	chunk := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	event := "data: {\"choices\":[]}\n\n"
	f := func(name, answer string, reset bool, kind record.FailureKind) {
		t.Run(name, func(t *testing.T) {
			up := script(t, func(_ int, c net.Conn) {
				readRequest(c)
				_, _ = io.WriteString(c, answer)
				if reset {
					time.Sleep(50 * time.Millisecond) // the bytes must arrive before the reset discards them
					_ = c.(*net.TCPConn).SetLinger(0)
				}
			})
			s := start(t, one(up), Options{})
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(`{"stream":true}`))
			resp, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err == nil {
				t.Errorf("the answer ended cleanly after %q", b)
			}
			if strings.Contains(string(b), "[DONE]") {
				t.Errorf("a [DONE] was made up: %q", b)
			}
			if x := s.tapped(t); x.ErrorKind != kind || x.Status != 200 {
				t.Errorf("captured as %q, status %d", x.ErrorKind, x.Status)
			}
		})
	}
	f("chunked, closed", streamHead+"Transfer-Encoding: chunked\r\n\r\n"+chunk(event), false, record.Cut)
	f("chunked, reset", streamHead+"Transfer-Encoding: chunked\r\n\r\n"+chunk(event), true, record.Cut)
	f("inside an event", streamHead+"Transfer-Encoding: chunked\r\n\r\n"+"20\r\ndata: {\"cho", false, record.Cut)
	f("without length", streamHead+"Connection: close\r\n\r\n"+event, false, record.Cut)
	f("with length", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"id\":", false, record.Cut)
	f("broken chunks", streamHead+"Transfer-Encoding: chunked\r\n\r\n"+chunk(event)+"zz\r\n", false, record.Cut)
}

// A stream without length that has its last event is whole.
func TestCloseDelimited(t *testing.T) {
	body := "data: {\"choices\":[]}\n\ndata: [DONE]\n\n"
	up := script(t, func(_ int, c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, streamHead+"Connection: close\r\n\r\n"+body)
	})
	s := start(t, one(up), Options{})
	resp, got := post(t, s, "/v1/chat/completions", `{"stream":true}`)
	if got != body || resp.StatusCode != http.StatusOK {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
}

// readRequest reads a request and returns it with its body.
func readRequest(c net.Conn) (head, body string) {
	br := bufio.NewReader(c)
	var h strings.Builder
	length := 0
	for {
		line, err := br.ReadString('\n')
		h.WriteString(line)
		if err != nil || line == "\r\n" {
			break
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "content-length") {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	b := make([]byte, length)
	_, _ = io.ReadFull(br, b)
	return h.String(), string(b)
}

// Each event reaches the client when the upstream sends it, and nothing is added, split or moved.
func TestEvents(t *testing.T) {
	events := []string{
		"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
		": a comment\n\n",
		"event: x\r\nid: 7\r\ndata: two\r\ndata: lines\r\n\r\n",
		"data: " + strings.Repeat("long ", 20_000) + "\n\n",
		"data: [DONE]\n\n",
	}
	next := make(chan struct{}, 1)
	up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", eventStream)
		for _, e := range events {
			<-next
			_, _ = io.WriteString(w, e)
			flush(w)
		}
	})
	s := start(t, one(up), Options{})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(`{"stream":true}`))
	next <- struct{}{}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i, e := range events {
		if i > 0 {
			next <- struct{}{}
		}
		got := make([]byte, len(e))
		arrived := make(chan struct{})
		go func() { _, err = io.ReadFull(resp.Body, got); close(arrived) }()
		within(t, fmt.Sprintf("event %d", i), arrived)
		if err != nil || string(got) != e {
			t.Fatalf("event %d: %v, %.80q", i, err, got)
		}
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("after the last event: %q, %v", rest, err)
	}
	x := s.tapped(t)
	if string(x.Answer) != strings.Join(events, "") || x.AnswerCut {
		t.Error("the capture differs from what was sent")
	}
	if len(x.Arrivals) < len(events) || x.Arrivals[len(x.Arrivals)-1].End != len(x.Answer) || x.FirstByte <= 0 || x.FirstByte < x.Headers || x.Headers < x.Sent || x.Ended < x.FirstByte {
		t.Errorf("times: %d arrivals, sent %v, headers %v, first byte %v, ended %v", len(x.Arrivals), x.Sent, x.Headers, x.FirstByte, x.Ended)
	}
}

// Usage: who asks for it gets it as the upstream sends it; who does not ask gets none, also where the route asks.
func TestUsage(t *testing.T) {
	up := simulated(t, sim.Config{}, sim.ServerOptions{})
	asks := func(r *config.Route) { r.Set = map[string]any{"stream_options": map[string]any{"include_usage": true}} }
	dotted := func(r *config.Route) { r.Set = map[string]any{"stream_options.include_usage": true} }
	stream := func(extra string) string { return strings.Replace(chatBody, "{", `{"stream":true,`+extra, 1) }
	f := func(name, body string, inAnswer, inCapture bool, change ...func(*config.Route)) {
		t.Run(name, func(t *testing.T) {
			s := start(t, one(up, change...), Options{})
			_, got := post(t, s, "/v1/chat/completions", body, "Accept-Encoding", "gzip")
			if !strings.Contains(got, "[DONE]") || !strings.Contains(got, `"content"`) {
				t.Fatalf("no stream: %q", got)
			}
			if has := strings.Contains(got, `"usage"`); has != inAnswer {
				t.Errorf("usage in the answer is %v: %q", has, got)
			}
			x := s.tapped(t)
			if has := strings.Contains(string(x.Answer), `"usage":{`); has != inCapture {
				t.Errorf("usage in the capture is %v: %q", has, x.Answer)
			}
			if inAnswer {
				if got != string(x.Answer) {
					t.Error("the answer was changed")
				}
				var last struct {
					Choices []any
					Usage   *struct{ Total_tokens int }
				}
				events := strings.Split(strings.TrimSpace(got), "\n\n")
				if err := json.Unmarshal([]byte(strings.TrimPrefix(events[len(events)-2], "data: ")), &last); err != nil || last.Choices == nil || len(last.Choices) != 0 || last.Usage == nil {
					t.Errorf("the last chunk is %s", events[len(events)-2])
				}
				return
			}
			for _, e := range strings.Split(strings.TrimSpace(got), "\n\n") {
				if e != "data: [DONE]" && !strings.Contains(e, `"choices":[{`) {
					t.Errorf("an event without choices: %q", e)
				}
			}
		})
	}
	f("not asked", stream(""), false, false)
	f("asked", stream(`"stream_options":{"include_usage":true},`), true, true)
	f("asked, and the route asks", stream(`"stream_options":{"include_usage":true},`), true, true, asks)
	f("the route asks", stream(""), false, true, asks)
	f("the route asks, dotted", stream(`"stream_options":null,`), false, true, dotted)
	f("the route asks, and the client says no", stream(`"stream_options":{"include_usage":false},`), false, true, dotted)
	// Without a stream stream_options would be an error.
	s := start(t, one(up, asks), Options{})
	if resp, got := post(t, s, "/v1/chat/completions", chatBody); resp.StatusCode != http.StatusOK || !strings.Contains(got, `"usage"`) {
		t.Errorf("without a stream: %d %s", resp.StatusCode, got)
	}
	if x := s.tapped(t); x.SentBody != nil || string(x.Body) != chatBody {
		t.Errorf("a request without a stream was changed: %s", x.SentBody)
	}
}

// All chunks with their log-probabilities reach client and capture.
func TestLogprobs(t *testing.T) {
	up := simulated(t, sim.Config{}, sim.ServerOptions{})
	s := start(t, one(up), Options{})
	_, got := post(t, s, "/v1/chat/completions", strings.Replace(chatBody, "{", `{"stream":true,"logprobs":true,"top_logprobs":3,`, 1))
	n := strings.Count(got, `"top_logprobs"`)
	if x := s.tapped(t); n < 3 || string(x.Answer) != got {
		t.Errorf("%d tokens with log-probabilities; capture equal: %v", n, string(x.Answer) == got)
	}
}

// Before the first byte an attempt is made again or elsewhere; after it never.
func TestRetries(t *testing.T) {
	good := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	reply := func(answers ...string) (string, *atomic.Int32) {
		n := new(atomic.Int32)
		return script(t, func(_ int, c net.Conn) {
			for {
				if head, _ := readRequest(c); !strings.HasSuffix(head, "\r\n\r\n") {
					return
				}
				a := answers[min(int(n.Add(1)), len(answers))-1]
				if _, err := io.WriteString(c, a); err != nil || a == "" || strings.HasSuffix(a, "\r\n\r\n") && !strings.Contains(a, "Length: 0") {
					return
				}
			}
		}), n
	}
	status := func(line string, headers ...string) string {
		return "HTTP/1.1 " + line + "\r\n" + strings.Join(append(headers, "Content-Length: 0"), "\r\n") + "\r\n\r\n"
	}
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	f := func(name string, want, attempts int, fallback bool, retries int, answers ...string) {
		t.Run(name, func(t *testing.T) {
			bad, n := reply(answers...)
			cfg := one(bad, func(r *config.Route) {
				r.Retries = retries
				if fallback {
					r.Upstreams = append(r.Upstreams, config.Upstream{Name: "other", URL: good, Key: "other-secret"})
				}
			})
			s := start(t, cfg, Options{})
			resp, body := post(t, s, "/v1/chat/completions", chatBody)
			x := s.tapped(t)
			if resp.StatusCode != want || x.Attempts != attempts || x.Status != want {
				t.Errorf("status %d, captured %d, attempts %d (%d seen); want %d, %d", resp.StatusCode, x.Status, x.Attempts, n.Load(), want, attempts)
			}
			if fallback && (body != chatBody || x.Upstream != "other") {
				t.Errorf("%s answered %q", x.Upstream, body)
			}
		})
	}
	f("503, then well", 200, 2, false, 1, status("503 Service Unavailable", "Retry-After: 0"), ok)
	f("503 for good", 503, 2, false, 1, status("503 Service Unavailable", "Retry-After: 0"))
	f("no retries", 503, 1, false, 0, status("503 Service Unavailable"))
	f("429, then well", 200, 2, false, 1, status("429 Too Many Requests", "Retry-After-Ms: 5"), ok)
	f("429 with a long wait", 429, 1, false, 1, status("429 Too Many Requests", "Retry-After: 60"))
	f("409, then well", 200, 2, false, 1, status("409 Conflict"), ok)
	f("400 is final", 400, 1, false, 3, status("400 Bad Request"))
	f("x-should-retry: false", 503, 1, false, 3, status("503 Service Unavailable", "X-Should-Retry: false"))
	f("x-should-retry: true", 200, 2, false, 1, status("400 Bad Request", "X-Should-Retry: true", "Retry-After: 0"), ok)
	f("closed, then well", 200, 2, false, 1, "", ok)
	f("not HTTP", 502, 2, false, 1, "SSH-2.0-OpenSSH\r\n\r\n")
	f("headers, and closed before the body", 200, 2, false, 1, streamHead+"Transfer-Encoding: chunked\r\n\r\n", ok)
	f("503 elsewhere", 200, 2, true, 0, status("503 Service Unavailable", "Retry-After: 60"))
	f("closed, elsewhere", 200, 2, true, 0, "")
	f("headers and closed, elsewhere", 200, 2, true, 0, streamHead+"Transfer-Encoding: chunked\r\n\r\n")
	f("100 Continue is no answer", 200, 1, false, 1, "HTTP/1.1 100 Continue\r\n\r\n"+ok)

	t.Run("none listens", func(t *testing.T) {
		ln, _ := net.Listen("tcp", "127.0.0.1:0")
		addr := ln.Addr().String()
		_ = ln.Close()
		s := start(t, one("http://"+addr), Options{})
		resp, body := post(t, s, "/v1/chat/completions", chatBody)
		if resp.StatusCode != http.StatusBadGateway || strings.Contains(body, addr) || strings.Contains(body, "secret") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		if x := s.tapped(t); x.ErrorKind != record.Connection || x.Status != 502 {
			t.Errorf("captured as %q %d", x.ErrorKind, x.Status)
		}
	})
}

func TestNoRetryAfterFirstByte(t *testing.T) {
	var n atomic.Int32
	up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		w.Header().Set("Content-Type", eventStream)
		_, _ = io.WriteString(w, "data: {}\n\n")
		flush(w)
		panic(http.ErrAbortHandler)
	})
	cfg := one(up, func(r *config.Route) {
		r.Retries = 3
		r.Upstreams = append(r.Upstreams, config.Upstream{Name: "other", URL: up})
	})
	s := start(t, cfg, Options{})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(`{"stream":true}`))
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a clean end")
	}
	if x := s.tapped(t); n.Load() != 1 || x.Attempts != 1 || x.ErrorKind != record.Cut {
		t.Errorf("asked %d times, captured %d attempts, %q", n.Load(), x.Attempts, x.ErrorKind)
	}
}

// What tells clients to wait is kept, on errors of streams too.
func TestErrorHeaders(t *testing.T) {
	body := `{"error":{"message":"slow down","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`
	want := map[string]string{"Retry-After": "20", "Retry-After-Ms": "20000", "X-Should-Retry": "true", "X-Request-Id": "req_9", "X-Ratelimit-Remaining-Tokens": "0", "Openai-Processing-Ms": "3", "Anthropic-Ratelimit-Requests-Limit": "7", "Request-Id": "req_a"}
	up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range want {
			w.Header().Set(k, v)
		}
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, body)
	})
	s := start(t, one(up, func(r *config.Route) { r.Retries = 2 }), Options{})
	for _, b := range []string{chatBody, `{"stream":true}`} {
		resp, got := post(t, s, "/v1/chat/completions", b)
		if resp.StatusCode != http.StatusTooManyRequests || got != body {
			t.Errorf("%d %q", resp.StatusCode, got)
		}
		for k, v := range want {
			if resp.Header.Get(k) != v {
				t.Errorf("%s is %q, want %q", k, resp.Header.Get(k), v)
			}
		}
		if x := s.tapped(t); x.ErrorKind != record.RateLimited || x.Attempts != 1 {
			t.Errorf("%q after %d attempts", x.ErrorKind, x.Attempts)
		}
	}
}

// Client retries are told apart.
func TestStainlessRetryCount(t *testing.T) {
	s := start(t, one(simulated(t, sim.Config{}, sim.ServerOptions{})), Options{})
	post(t, s, "/v1/chat/completions", chatBody, "X-Stainless-Retry-Count", "2")
	if x := s.tapped(t); x.Retries != 2 {
		t.Errorf("retries %d", x.Retries)
	}
}

// Anthropic's stream arrives as it was sent, events in order.
func TestAnthropicStream(t *testing.T) {
	up := simulated(t, sim.Config{}, sim.ServerOptions{APIKey: "upstream-secret"})
	s := start(t, one(up), Options{})
	_, got := post(t, s, "/v1/messages", `{"model":"sim","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"What is 12 + 7?"}]}`, "Anthropic-Version", "2023-06-01", "X-Api-Key", "client-key")
	var names []string
	for line := range strings.Lines(got) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "event: "); ok && name != "ping" && (len(names) == 0 || names[len(names)-1] != name) {
			names = append(names, name)
		}
	}
	want := "message_start content_block_start content_block_delta content_block_stop message_delta message_stop"
	if strings.Join(names, " ") != want {
		t.Errorf("%v", names)
	}
	if x := s.tapped(t); string(x.Answer) != got || x.Format != "anthropic" || x.Path != "/v1/messages" || x.Model != "sim" || !x.Stream {
		t.Errorf("captured %+v", x)
	}
}

// The responses API: sequence numbers, a terminal event, no [DONE].
func TestResponsesStream(t *testing.T) {
	up := simulated(t, sim.Config{}, sim.ServerOptions{})
	s := start(t, one(up), Options{})
	_, got := post(t, s, "/v1/responses", `{"model":"sim","stream":true,"input":"What is 12 + 7?"}`)
	if strings.Contains(got, "[DONE]") || !strings.Contains(got, "event: response.completed") {
		t.Errorf("%q", got)
	}
	n := 0
	for line := range strings.Lines(got) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var e struct{ Sequence_number *int }
			if err := json.Unmarshal([]byte(data), &e); err != nil || e.Sequence_number == nil || *e.Sequence_number != n {
				t.Fatalf("event %d: %s", n, data)
			}
			n++
		}
	}
	if x := s.tapped(t); string(x.Answer) != got {
		t.Error("the capture differs")
	}
}
