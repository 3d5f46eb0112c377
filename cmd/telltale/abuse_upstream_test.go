package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// nastyUpstream answers each request with the bytes of the case that the request names, and closes the connection.
func nastyUpstream(t *testing.T, answers []string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				n, err := strconv.Atoi(r.Header.Get("X-Case"))
				if err != nil || n >= len(answers) {
					n = 0
				}
				_, _ = io.WriteString(c, answers[n])
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return "http://" + ln.Addr().String()
}

// captured is what the status says of what was captured.
type captured struct {
	Capture struct {
		Seen, Stored int64
		Dropped      map[string]int64
	}
	Bus, Store struct {
		OK    bool
		Error string
	}
}

func (s *served) counts(t *testing.T) (c captured) {
	t.Helper()
	resp, err := http.Get("http://" + s.api + "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// settled waits until all that was seen is stored or counted as dropped.
func (s *served) settled(t *testing.T) captured {
	t.Helper()
	var c captured
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c = s.counts(t)
		lost := int64(0)
		for _, n := range c.Capture.Dropped {
			lost += n
		}
		if c.Capture.Seen > 0 && c.Capture.Seen == c.Capture.Stored+lost && c.Bus.OK && c.Store.OK {
			return c
		}
		if time.Now().After(end) {
			t.Fatalf("not all that was seen is stored: %+v\n%s", c, s.log(t))
		}
	}
}

// TestAbuseContent has requests and answers that are HTTP, and otherwise nonsense. Each gets an answer, all are stored or
// counted, and what is stored can be read back.
func TestAbuseContent(t *testing.T) {
	t.Parallel()
	sized := func(header, body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", header, len(body), body)
	}
	const isJSON, isStream = "Content-Type: application/json\r\n", "Content-Type: text/event-stream\r\n"
	chat := func(content string) string {
		return `{"id":"x","object":"chat.completion","model":"sim","choices":[{"index":0,"message":{"role":"assistant","content":` + content + `},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`
	}
	event := func(content string) string {
		return `data: {"choices":[{"index":0,"delta":{"content":` + content + `}}]}` + "\n\n"
	}
	deep := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	answers := []string{
		sized(isJSON, chat(`"yes"`)), // the honest one
		sized(isJSON, chat("\"\xff\xfe\xed\xa0\x80\"")),
		sized(isJSON, chat(`"a\u0000b\u0001\ud800\udc00\ud800"`)),
		sized(isJSON, chat("\"a\x00b\x1b[2J\"")),
		sized(isJSON, chat(deep)),
		sized(isJSON, deep),
		sized(isJSON, strings.Repeat("[", 1<<20)),
		sized(isJSON, `{"usage":{"prompt_tokens":1e300,"completion_tokens":-5,"total_tokens":"many"},"choices":[{"index":-1},{"index":1e9,"message":7}]}`),
		sized(isJSON, `{"usage":{"prompt_tokens":9223372036854775808,"completion_tokens":9223372036854775807},"choices":{"a":1}}`),
		sized(isJSON, `{"choices":[`+strings.Repeat(`{"message":{"content":"x"}},`, 50_000)+`{}]}`),
		sized(isJSON, `{"choices":[{"message":{"tool_calls":[`+strings.Repeat(`{"function":{"name":"f","arguments":"{"}},`, 50_000)+`{}]}}]}`),
		sized(isJSON, `{"choices":[{"logprobs":{"content":[`+strings.Repeat(`{"token":"x","logprob":-1e400,"top_logprobs":[{"token":"\u0000","logprob":1e400}]},`, 20_000)+`{}]}}]}`),
		sized(isJSON, `{"model":"`+strings.Repeat("m", 1<<20)+`","system_fingerprint":"`+strings.Repeat("f", 1<<20)+`","id":"`+strings.Repeat("i", 1<<20)+`"}`),
		sized(isJSON, "null"), sized(isJSON, `"text"`), sized(isJSON, ""), sized("", "\x00"),
		sized(isJSON+"Content-Encoding: gzip\r\n", string(zipped(t, io.LimitReader(zeros{}, 64<<20)))),
		sized(isJSON+"Content-Encoding: gzip\r\n", "not gzip"),
		sized(isJSON+"Content-Encoding: br, gzip, zstd\r\n", "nothing of it"),
		sized(isStream, strings.Repeat(event(`"x"`), 50_000)+"data: [DONE]\n\n"),
		sized(isStream, strings.Repeat("x", 6<<20)),
		sized(isStream, strings.Repeat("\n", 1<<20)),
		sized(isStream, strings.Repeat("data:\n", 200_000)+"\n"),
		sized(isStream, event("\"\xff\"")+event(`"\ud83d"`)+event(`"\ude00"`)+event(deep)+"data: {\n\ndata: [DONE]\n\n"),
		sized(isStream, "event: error\ndata: {\"error\":{\"message\":\"\xff\x00\",\"type\":7}}\n\n"),
		sized(isStream, strings.Repeat(`data: {"choices":[{"index":999999999,"delta":{"tool_calls":[{"index":999999999,"function":{"arguments":"x"}}]}}]}`+"\n\n", 1000)),
		"HTTP/1.1 429 \xff\xfe\r\nRetry-After: -1\r\nContent-Length: 2\r\n\r\n\xff\xfe",
		"HTTP/1.1 500 No\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 599 No\r\nX-Request-Id: \xff\xfe\r\nOpenai-Processing-Ms: 1e99\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 200) + "Content-Length: 2\r\n\r\n{}",
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 304 Not Modified\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\n{}",
		// What breaks off.
		"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
		"HTTP/1.1 200 OK\r\n" + isStream + "Transfer-Encoding: chunked\r\n\r\n40\r\ndata: {}\n\n",
		"HTTP/1.1 200 OK\r\n" + isStream + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"HTTP/1.1 200 OK\r\n" + isStream + "\r\n" + event(`"no end"`),
		strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000), "garbage\r\n\r\n", "",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
	}
	bodies := []string{
		`{"model":"sim","messages":[{"role":"user","content":"hello"}]}`,
		"{\"model\":\"sim\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe \xed\xa0\x80\"}]}",
		`{"model":"a\u0000b","messages":[{"role":"\ud800","content":"a\u0000b\ud800"}],"stop":["\u0000"],"seed":1e400,"temperature":"hot"}`,
		`{"model":"sim","stream":true,"messages":` + deep + `}`,
		`{"model":["sim"],"messages":{"role":[]},"tools":[[[[]]]],"logit_bias":{"\ud800":1e999}}`,
		`{"model":"sim","messages":[` + strings.Repeat(`{"role":"user","content":[{"type":"text","text":"a"}]},`, 20_000) + `{}]}`,
		"\xff\xfe\x00", "", "null", strings.Repeat("{", 1<<20),
		`{"model":"sim","` + strings.Repeat("k", 1<<20) + `":1}`,
		`{` + strings.Repeat(`"a":1,`, 100_000) + `"model":"sim"}`,
	}
	s := serveWith(t, exec.Command("telltale", "serve"), nastyUpstream(t, answers), "capture: {content: 1, top_k: true}\n")
	client := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxResponseHeaderBytes: 1 << 20, DisableCompression: true}}
	sent := int64(0)
	ask := func(name, path, body string, number int, header textproto.MIMEHeader) (status int, err error) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.gateway+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			req.Header[k] = v
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Case", strconv.Itoa(number))
		sent++
		began := time.Now()
		resp, err := client.Do(req)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		if err != nil {
			t.Errorf("%s: no answer: %v", name, err)
			return 0, err
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if resp.StatusCode == http.StatusBadGateway && !(json.Valid(got) && bytes.Contains(got, []byte(`"error"`))) {
			t.Errorf("%s: 502 with %.200q", name, got)
		}
		return resp.StatusCode, err
	}
	for i, a := range answers {
		for _, path := range []string{"/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"} {
			_, _ = ask(fmt.Sprintf("answer %d %.60q to %s", i, a, path), path, `{"model":"sim","stream":true,"messages":[]}`, i, nil)
		}
	}
	for i, b := range bodies {
		for _, path := range []string{"/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions", "/v1/unknown"} {
			if status, err := ask(fmt.Sprintf("body %d %.60q", i, b), path, b, 0, nil); status != http.StatusOK || err != nil {
				t.Errorf("body %d %.60q to %s: %d %v", i, b, path, status, err)
			}
		}
	}
	for name, header := range map[string]textproto.MIMEHeader{
		"bytes in a user": {"Telltale-User": {"\xff\xfe"}, "Telltale-Session": {"\xed\xa0\x80"}, "Telltale-Tag-A": {"\xff"}, "User-Agent": {"\xff"}, "Traceparent": {"\xff"}},
		"a long user":     {"Telltale-User": {strings.Repeat("u", 20_000)}, "Telltale-Tag-" + strings.Repeat("A", 10_000): {strings.Repeat("v", 10_000)}},
		"many tags": func() textproto.MIMEHeader {
			h := textproto.MIMEHeader{}
			for i := range 500 {
				h[fmt.Sprintf("Telltale-Tag-X%d", i)] = []string{"v"}
			}
			return h
		}(),
		"a number of retries": {"X-Stainless-Retry-Count": {"99999999999999999999"}},
		"a packed request":    {"Content-Encoding": {"gzip"}},
		"an unknown encoding": {"Content-Encoding": {"x"}},
	} {
		if status, err := ask(name, "/v1/chat/completions", bodies[0], 0, header); status != http.StatusOK || err != nil {
			t.Errorf("%s: %d %v", name, status, err)
		}
	}
	bomb := string(zipped(t, io.LimitReader(zeros{}, 300<<20)))
	if status, err := ask("a packed bomb", "/v1/chat/completions", bomb, 0, textproto.MIMEHeader{"Content-Encoding": {"gzip"}}); status != http.StatusOK || err != nil {
		t.Errorf("a packed bomb: %d %v", status, err)
	}
	c := s.settled(t)
	if c.Capture.Seen != sent {
		t.Errorf("%d seen of %d", c.Capture.Seen, sent)
	}
	for why, n := range c.Capture.Dropped {
		t.Errorf("%d dropped: %s", n, why)
	}
	s.readsBack(t, c.Capture.Stored)
	if log := s.log(t); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the log tells of a mistake:\n%.4000s", log)
	}
	peak := s.peak()
	t.Logf("%d exchanges, at most %d MB of memory", sent, peak>>20)
	if peak > abusePeak && !raced {
		t.Errorf("%d MB of memory, want at most %d", peak>>20, abusePeak>>20)
	}
}

// readsBack exports all exchanges and shows each.
func (s *served) readsBack(t *testing.T, want int64) {
	t.Helper()
	resp, err := http.Get("http://" + s.api + "/v1/exchanges/export?format=ndjson&content=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := int64(0)
	for dec := json.NewDecoder(resp.Body); ; got++ {
		var x struct{ ID string }
		if err := dec.Decode(&x); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("exchange %d of the export: %v", got, err)
		}
		one, err := http.Get("http://" + s.api + "/v1/exchanges/" + x.ID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(one.Body)
		_ = one.Body.Close()
		if err != nil || one.StatusCode != http.StatusOK || !json.Valid(b) {
			t.Errorf("exchange %s: %d %v %.200q", x.ID, one.StatusCode, err, b)
		}
	}
	if got != want {
		t.Errorf("%d exchanges were exported of %d", got, want)
	}
}
