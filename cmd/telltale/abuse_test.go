package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// served is telltale serve in a process of its own.
type served struct {
	gateway, api, grpc string // addresses
	cmd                *exec.Cmd
	ended              <-chan error
	output             string // file
}

// serve starts telltale serve in front of a model, and ends it with the test.
func serve(t *testing.T, model http.Handler, more string) *served {
	t.Helper()
	up := httptest.NewServer(model)
	t.Cleanup(up.Close)
	return serveWith(t, exec.Command("telltale", "serve"), up.URL, more)
}

// serveWith starts telltale serve by a command.
func serveWith(t *testing.T, cmd *exec.Cmd, upstream, more string) *served {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("listen: {gateway: \"127.0.0.1:0\", api: \"127.0.0.1:0\", otlp_grpc: \"127.0.0.1:0\", h2c: true}\nroutes: [{name: main, pass_key: true, upstreams: [{url: %q}]}]\n%s", upstream, more)
	if err := os.WriteFile(filepath.Join(dir, "server.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &served{output: filepath.Join(dir, "out"), cmd: cmd}
	f, err := os.Create(s.output)
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, f, f
	s.ended = started(t, s.cmd)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile(`(?s)gateway on http://(\S+)\napi on http://(\S+)\notlp \(gRPC\) on (\S+)\n`)
	held, err := until(s.ended, func() bool {
		m := re.FindStringSubmatch(s.log(t))
		if m != nil {
			s.gateway, s.api, s.grpc = m[1], m[2], m[3]
		}
		return m != nil
	})
	if !held {
		t.Fatalf("serve ended: %v\n%s", err, s.log(t))
	}
	t.Cleanup(func() {
		if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := <-s.ended; err != nil {
			t.Errorf("serve ended with %v\n%s", err, s.log(t))
		}
	})
	return s
}

func (s *served) log(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.output)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// peak is the most memory that the process has held, in bytes; 0 where the system does not say.
func (s *served) peak() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				return kb << 10
			}
		}
	}
	return 0
}

// rawly sends bytes over a connection of their own and returns the status that is answered; 0 when the connection is closed
// without one. What the server does not read any more is not sent.
func rawly(addr string, parts ...io.Reader) (int, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	go func() {
		for _, p := range parts {
			if p == ends {
				_ = c.(*net.TCPConn).CloseWrite()
				return
			}
			if _, err := io.Copy(c, p); err != nil {
				return // it is the answer that counts
			}
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return 0, err
		}
		return 0, nil
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, nil
}

// ends stands for the client's end of the connection.
var ends io.Reader = strings.NewReader("")

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// chunks sends a body in chunks, for as long as it is taken.
type chunks struct{ left int }

func (c *chunks) Read(p []byte) (int, error) {
	const size = 4096
	if c.left <= 0 {
		return 0, io.EOF
	}
	c.left -= size
	return copy(p, fmt.Sprintf("%x\r\n%s\r\n", size, strings.Repeat("x", size))), nil
}

func zipped(t *testing.T, r io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.Copy(z, r); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// abusePeak is the most memory in bytes that the server may have held in the end: the gateway holds bodies of up to 512 MiB.
const abusePeak = 1200 << 20

// TestAbuse sends what no honest client sends. Each gets a proper error or its connection closed, the server goes on, and
// its memory stays bounded. With TELLTALE_LONG the sizes are those that count for memory.
func TestAbuse(t *testing.T) {
	t.Parallel()
	long := os.Getenv("TELLTALE_LONG") != ""
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"x","object":"chat.completion","model":"sim","choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
	}), "")
	text := strings.NewReader
	const chat = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	deep := strings.Repeat("[", 200_000)
	f := func(name, addr string, want []int, parts ...io.Reader) {
		t.Helper()
		began := time.Now()
		got, err := rawly(addr, parts...)
		if took := time.Since(began); took > time.Second {
			t.Logf("%s took %v", name, took)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		for _, w := range want {
			if got == w {
				return
			}
		}
		t.Errorf("%s: %d, want one of %d", name, got, want)
	}
	of := func(status ...int) []int { return status }
	sized := func(head string, body []byte) io.Reader {
		return io.MultiReader(text(fmt.Sprintf("%sContent-Length: %d\r\n\r\n", head, len(body))), bytes.NewReader(body))
	}
	ok := func() {
		t.Helper()
		f("an honest request", s.gateway, of(200), sized(chat+"Connection: close\r\n", []byte(`{"model":"sim","messages":[{"role":"user","content":"hello"}]}`)))
	}
	ok()
	t.Run("gateway", func(t *testing.T) {
		f("no HTTP", s.gateway, of(0, 400), bytes.NewReader([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")), ends)
		f("lines without end", s.gateway, of(0, 400, 431), io.LimitReader(zeros{}, 1<<20), ends)
		f("a long path", s.gateway, of(0, 414, 431), text("GET /v1/"+strings.Repeat("a", 1<<20)+" HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		f("a large header", s.gateway, of(0, 431), text(chat+"X-Large: "+strings.Repeat("a", 1<<20)+"\r\n\r\n"))
		f("many headers", s.gateway, of(0, 431), text(chat+strings.Repeat("X-Many: a\r\n", 50_000)+"\r\n"))
		f("too long by its header", s.gateway, of(413), text(chat+"Content-Length: 10000000000\r\n\r\n{"))
		f("too long in chunks", s.gateway, of(413), text(chat+"Transfer-Encoding: chunked\r\n\r\n"), &chunks{left: 40 << 20})
		f("no chunk", s.gateway, of(400), text(chat+"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), ends)
		f("a long chunk extension", s.gateway, of(400), text(chat+"Transfer-Encoding: chunked\r\n\r\n1;"+strings.Repeat("a", 1<<17)+"\r\nx\r\n0\r\n\r\n"))
		f("a chunk of 2^64", s.gateway, of(400), text(chat+"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx"))
		f("two lengths", s.gateway, of(400), text(chat+"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"))
		f("a negative length", s.gateway, of(400), text(chat+"Content-Length: -1\r\n\r\n{}"))
		f("an unknown encoding", s.gateway, of(501), text(chat+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"))
		f("a body that ends early", s.gateway, of(0, 400), text(chat+"Content-Length: 1000\r\n\r\n{"), ends)
		f("a header with a control character", s.gateway, of(400), text(chat+"X-A: a\x00b\r\n\r\n"))
		f("dots in the path", s.gateway, of(400), text("POST /v1/../admin HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"))
		f("no route", s.gateway, of(404), text("GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		// The gateway passes on what it does not understand; reading it for the record must not harm it.
		f("deep JSON", s.gateway, of(200), sized(chat, []byte(`{"model":"sim","messages":`+deep)))
		f("no JSON", s.gateway, of(200), sized(chat, []byte("\xff\xfe\x00{{{")))
		f("other types", s.gateway, of(200), sized(chat, []byte(`{"model":7,"messages":{"role":[]},"temperature":"hot","seed":1e999,"stop":{"a":1},"logprobs":"x"}`)))
		f("large numbers of messages", s.gateway, of(200), sized(chat, []byte(`{"model":"sim","messages":[`+strings.Repeat(`{"role":"user","content":[{"type":"text","text":"a"}]},`, 50_000)+`{}]}`)))
		ok()
	})
	t.Run("ingest", func(t *testing.T) {
		const traces = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
		const tracesJSON = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
		const exchanges = "POST /v1/exchanges HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
		random := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			b := make([]byte, random.IntN(4000))
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			f("noise as OTLP", s.api, of(200, 400), sized(traces, b))
			f("noise as OTLP in JSON", s.api, of(400), sized(tracesJSON, slices.Concat(b, []byte{0})))
			f("noise as exchanges", s.api, of(400), sized(exchanges, slices.Concat(b, []byte{0})))
		}
		f("deep JSON as OTLP", s.api, of(400), sized(tracesJSON, []byte(`{"resourceSpans":`+deep+strings.Repeat("]", len(deep))+"}")))
		f("deep JSON as exchanges", s.api, of(400), sized(exchanges, []byte(`{"id":"a","time":"2026-01-31T12:00:00Z","params":{"a":`+deep+strings.Repeat("]", len(deep))+"}}")))
		f("a bomb", s.api, of(413), sized(traces+"Content-Encoding: gzip\r\n", zipped(t, io.LimitReader(zeros{}, 200<<20))))
		f("no gzip", s.api, of(400), sized(traces+"Content-Encoding: gzip\r\n", []byte("not gzip")))
		f("half of a gzip", s.api, of(400), sized(traces+"Content-Encoding: gzip\r\n", zipped(t, io.LimitReader(zeros{}, 1<<20))[:500]))
		f("too long", s.api, of(413), text(traces+"Content-Length: 10000000000\r\n\r\n"))
		f("too long in chunks", s.api, of(413), text(traces+"Transfer-Encoding: chunked\r\n\r\n"), &chunks{left: 40 << 20})
		f("a large id", s.api, of(404, 422), text("GET /v1/exchanges/"+strings.Repeat("a", 10_000)+" HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		f("a large header", s.api, of(0, 431), text(traces+"X-Large: "+strings.Repeat("a", 1<<20)+"\r\n\r\n"))
		f("an unreadable parameter", s.api, of(400), text("GET /v1/exchanges?user=%zz HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		f("many parameters", s.api, of(400, 422), text("GET /v1/exchanges?"+strings.Repeat("x=1&", 10_000)+" HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		f("no such method", s.api, of(405), text("BREW /v1/exchanges HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		f("another site", s.api, of(403), text("GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n"))
		ok()
	})
	t.Run("many", func(t *testing.T) { s.abuseMany(t, long, chat, ok) })
	f("the status", s.api, of(200), text("GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
	if log := s.log(t); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
		t.Errorf("the log tells of a panic:\n%.4000s", log)
	}
	peak := s.peak()
	t.Logf("at most %d MB of memory", peak>>20)
	if long && peak > abusePeak && !raced {
		t.Errorf("%d MB of memory, want at most %d", peak>>20, abusePeak>>20)
	}
}

// abuseMany holds many connections with requests that never end, while others are served.
func (s *served) abuseMany(t *testing.T, long bool, chat string, ok func()) {
	n := 100
	if long {
		n = 1000
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for i := range n {
		for _, part := range []struct{ addr, text string }{
			{s.gateway, chat + "X-Half: "},
			{s.gateway, chat + "Content-Length: 30000000\r\n\r\n{"},
			{s.api, "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 16000000\r\n\r\nx"},
		} {
			c, err := net.DialTimeout("tcp", part.addr, 10*time.Second)
			if err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
			open = append(open, c)
			if _, err := io.WriteString(c, part.text); err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
	}
	began := time.Now()
	ok()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("with %d slow clients an honest request took %v", 3*n, took)
	}
	// Large bodies all at once: what there is no room for is told to come again.
	large := strings.Repeat("x", 15<<20)
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 24 {
		wg.Go(func() {
			status, err := rawly(s.gateway, strings.NewReader(fmt.Sprintf("%sContent-Length: %d\r\n\r\n", chat, len(large)+2)), strings.NewReader(`"`), strings.NewReader(large), strings.NewReader(`"`))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	wg.Wait()
	for status, n := range statuses {
		if status != 200 && status != 429 && status != 503 {
			t.Errorf("%d of the large requests were answered with %d", n, status)
		}
	}
	t.Logf("large requests by status: %v", statuses)
	ok()
}
