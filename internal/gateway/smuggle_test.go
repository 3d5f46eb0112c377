package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// recorder is an upstream that keeps the bytes of each connection and answers every request that it finds in them, as a
// strict server would: what it does not understand ends the connection.
type recorder struct {
	mu    sync.Mutex
	heads []string // of requests
	body  []string
	bad   []string // what was no request
}

func (r *recorder) serve(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		head := ""
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := br.ReadString('\n')
			head += line
			if err != nil {
				if head != "" {
					r.note(&r.bad, head)
				}
				return
			}
		}
		body, ok := r.read(br, head)
		r.note(&r.heads, head)
		r.note(&r.body, body)
		if !ok {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
	}
}

func (r *recorder) note(to *[]string, s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*to = append(*to, s)
}

// read takes the body by Content-Length alone. It notes heads that anybody could read in another way.
func (r *recorder) read(br *bufio.Reader, head string) (string, bool) {
	length := -1
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	if parts := strings.Split(lines[0], " "); len(parts) != 3 || parts[2] != "HTTP/1.1" {
		r.note(&r.bad, head)
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if strings.ContainsAny(line, "\r\n\x00") || name == "" || strings.ContainsAny(name, " \t") || strings.EqualFold(name, "Transfer-Encoding") || strings.EqualFold(name, "Content-Length") && length >= 0 {
			r.note(&r.bad, head)
		}
		if strings.EqualFold(name, "Content-Length") {
			if _, err := fmt.Sscan(value, &length); err != nil {
				r.note(&r.bad, head)
			}
		}
	}
	b := make([]byte, max(0, length))
	_, err := io.ReadFull(br, b)
	return string(b), err == nil
}

func (r *recorder) take() (heads, bodies, bad []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	heads, bodies, bad = r.heads, r.body, r.bad
	r.heads, r.body, r.bad = nil, nil, nil
	return heads, bodies, bad
}

// However a client dresses a request up, the upstream gets requests that can be read in one way only, and none that is
// hidden in the body of another.
func TestSmuggling(t *testing.T) {
	rec := &recorder{}
	up := script(t, func(_ int, c net.Conn) { rec.serve(c) })
	s := start(t, one(up), Options{SlowBody: 400 * time.Millisecond})
	const line = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
	const evil = "GET /v1/evil HTTP/1.1\r\nHost: x\r\n\r\n"
	// f sends a request and wants the status. Of what follows it on the connection nothing may be part of its body.
	f := func(name, request string, status int, bodies ...string) {
		t.Helper()
		got := raw(t, s.addr, request)
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", status)) {
			t.Errorf("%s: want %d, got %.300q", name, status, got)
		}
		heads, sent, bad := rec.take()
		if len(bad) > 0 {
			t.Errorf("%s: the upstream got %q", name, bad)
		}
		if fmt.Sprint(sent) != fmt.Sprint(bodies) {
			t.Errorf("%s: the upstream got the bodies %q with %q, want %q", name, sent, heads, bodies)
		}
	}
	stop := "Connection: close\r\n"
	f("a length and chunks", line+stop+"Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"+evil, 200, "{}")
	f("chunks and a length", line+"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200, "{}")
	f("chunked twice", line+stop+"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501)
	f("chunked in two headers", line+stop+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501)
	f("two encodings in two headers", line+stop+"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501)
	f("identity", line+stop+"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", 501)
	f("nearly chunked", line+stop+"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}", 501)
	f("a tab before chunked", line+stop+"Transfer-Encoding:\x0bchunked\r\nContent-Length: 2\r\n\r\n{}", 400)
	f("a blank before the colon", line+stop+"Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}", 400)
	f("a length with a sign", line+stop+"Content-Length: +2\r\n\r\n{}", 400)
	f("a length in hex", line+stop+"Content-Length: 0x2\r\n\r\n{}", 400)
	f("a length with an underscore", line+stop+"Content-Length: 1_0\r\n\r\n{}", 400)
	f("a list of lengths", line+stop+"Content-Length: 2, 2\r\n\r\n{}", 400)
	f("the same length twice", line+stop+"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 200, "{}")
	f("no length", line+stop+"Content-Length: \r\n\r\n{}", 400)
	f("a length past 2^63", line+stop+"Content-Length: 18446744073709551618\r\n\r\n{}", 400)
	f("a folded header", line+stop+"X-Folded: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", 200, "{}")
	f("a folded first header", "POST /v1/chat/completions HTTP/1.1\r\n Host: x\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 400)
	f("a bare carriage return in a header", line+stop+"X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", 400)
	f("a null in a header", line+stop+"X-A: b\x00\r\nContent-Length: 2\r\n\r\n{}", 400)
	f("a header without a name", line+stop+": b\r\nContent-Length: 2\r\n\r\n{}", 400)
	f("a header without a colon", line+stop+"Transfer-Encoding\r\nContent-Length: 2\r\n\r\n{}", 400)
	f("bare line feeds", "POST /v1/chat/completions HTTP/1.1\nHost: x\nConnection: close\nContent-Length: 2\n\n{}", 200, "{}")
	f("bare line feeds in chunks", line+stop+"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n", 400)
	f("a chunk that is longer than it says", line+stop+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n", 400)
	f("a negative chunk", line+stop+"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n", 400)
	f("a chunk with a prefix", line+stop+"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n", 400)
	f("a chunk without a size", line+stop+"Transfer-Encoding: chunked\r\n\r\n\r\n{}\r\n0\r\n\r\n", 400)
	f("a chunk extension", line+stop+"Transfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\n{}\r\n0\r\n\r\n", 200, "{}")
	f("trailers", line+stop+"Trailer: Content-Length, X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 50\r\nX-T: y\r\n\r\n"+evil, 400)
	f("a trailer", line+stop+"Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: y\r\n\r\n", 200, "{}")
	f("a large trailer", line+stop+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: "+strings.Repeat("y", 1<<20)+"\r\n\r\n", 400)
	if got := raw(t, s.addr, "POST /v1/chat/completions HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}"+evil); strings.Count(got, "HTTP/1.") != 1 {
		t.Errorf("chunks in HTTP/1.0: %q", got)
	}
	if _, sent, bad := rec.take(); fmt.Sprint(sent) != "[{}]" || bad != nil {
		t.Errorf("chunks in HTTP/1.0: the upstream got %q %q", sent, bad)
	}
	f("a body of a GET", "GET /v1/models HTTP/1.1\r\nHost: x\r\n"+stop+"Content-Length: 2\r\n\r\n{}", 200, "{}")
	f("two requests at once", line+"Content-Length: 2\r\n\r\n{}"+line+stop+"Content-Length: 3\r\n\r\n{ }", 200, "{}", "{ }")
	f("a request in a body", line+stop+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(evil), evil), 200, evil)
	f("no version", "POST /v1/chat/completions\r\n\r\n", 400)
	f("HTTP/2 without a preface", "POST /v1/chat/completions HTTP/2.0\r\nHost: x\r\n\r\n", 505)
	f("HTTP/1.2", "POST /v1/chat/completions HTTP/1.2\r\nHost: x\r\n"+stop+"Content-Length: 2\r\n\r\n{}", 200, "{}")
	f("a method that is none", "P(ST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", 400)
	f("two hosts", "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400)
	f("no host", "POST /v1/chat/completions HTTP/1.1\r\n\r\n", 400)
	f("a control character in the path", "GET /v1/a\x01b HTTP/1.1\r\nHost: x\r\n\r\n", 400)
	f("a fragment", "GET /v1/models#x HTTP/1.1\r\nHost: x\r\n"+stop+"\r\n", 400)
	f("another host's URL", "GET http://evil.example/v1/models HTTP/1.1\r\nHost: x\r\n"+stop+"\r\n", 200, "")
	f("CONNECT", "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", 404)
	f("an upgrade", "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n", 200, "")
	st := s.Stats()
	if st.BodyBytes != 0 {
		t.Errorf("%d bytes of bodies are held", st.BodyBytes)
	}
}

// In HTTP/2 a path and a method are fields like others, in which blanks can stand.
func TestSmugglingHTTP2(t *testing.T) {
	rec := &recorder{}
	up := script(t, func(_ int, c net.Conn) { rec.serve(c) })
	s := start(t, h2c(one(up)), Options{})
	f := func(name, method, path string) {
		t.Helper()
		status := askHTTP2(t, s.addr, method, path)
		if status != "400" && status != "404" && status != "" {
			t.Errorf("%s: %s", name, status)
		}
		if heads, _, bad := rec.take(); len(heads)+len(bad) > 0 {
			t.Errorf("%s: the upstream got %q %q", name, heads, bad)
		}
	}
	f("a blank in the path", "GET", "/v1/models HTTP/1.1")
	f("a blank in the query", "GET", "/v1/models?a b")
	f("a tab in the path", "GET", "/v1/models\tx")
	f("a line in the path", "GET", "/v1/models\r\nX: y")
	f("a request for a method", "GET /v1/evil HTTP/1.1", "/v1/models")
	f("a line for a method", "GET\r\n", "/v1/models")
	f("no path", "GET", "*")
	if status := askHTTP2(t, s.addr, "GET", "/v1/models"); status != "200" {
		t.Errorf("an honest request: %q", status)
	}
}

// An upstream that says more than it was asked answers nobody else's request with it.
func TestUnasked(t *testing.T) {
	f := func(name, more string, pause time.Duration) {
		t.Helper()
		up := script(t, func(_ int, c net.Conn) {
			for {
				head, _ := readRequest(c)
				if head == "" {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n{\"a\":1")
				time.Sleep(pause)
				_, _ = io.WriteString(c, more)
			}
		})
		s := start(t, one(up), Options{})
		for range 3 {
			resp, got := post(t, s, "/v1/chat/completions", chatBody)
			if resp.StatusCode != http.StatusOK || got != `{"a":1` {
				t.Errorf("%s: %d %q", name, resp.StatusCode, got)
			}
			time.Sleep(pause + 30*time.Millisecond)
		}
	}
	f("an answer at once", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"evil\":1", 0)
	f("an answer afterwards", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"evil\":1", 10*time.Millisecond)
	f("a longer body", "}\n", 10*time.Millisecond)
}

// What goes wrong within an answer breaks it off for the client, and is captured as what it was.
func TestBrokenAnswers(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	const stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	f := func(name, answer string, kind string, broken bool) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			up := script(t, func(_ int, c net.Conn) { readRequest(c); _, _ = io.WriteString(c, answer) })
			s := start(t, one(up), Options{TapAnswer: 1 << 20})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(`{"stream":true}`))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err = io.Copy(io.Discard, resp.Body); (err != nil) != broken {
				t.Errorf("%d, then %v", resp.StatusCode, err)
			}
			x := s.tapped(t)
			if string(x.ErrorKind) != kind || len(x.Answer) > 1<<20 {
				t.Errorf("captured as %q %q with %d bytes", x.ErrorKind, x.Error, len(x.Answer))
			}
			if cap(x.Tail) > 4*maxTail {
				t.Errorf("a tail of %d bytes", cap(x.Tail))
			}
			if _, got := post(t, s, "/healthz", ""); got != "ok\n" {
				t.Errorf("afterwards: %q", got)
			}
		})
	}
	f("shorter than it says", head+"Content-Length: 100\r\n\r\n{\"a\":", "cut", true)
	f("ends within a chunk", stream+"Transfer-Encoding: chunked\r\n\r\n40\r\ndata: {}\n\n", "cut", true)
	f("no last chunk", stream+"Transfer-Encoding: chunked\r\n\r\na\r\ndata: {}\n\n\r\n", "cut", true)
	f("a bad chunk", stream+"Transfer-Encoding: chunked\r\n\r\na\r\ndata: {}\n\n\r\n-1\r\ndata: {}\n\n", "cut", true)
	f("chunk extensions", stream+"Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1;"+strings.Repeat("e", 3000)+"\r\na\r\n", 200)+"0\r\n\r\n", "cut", true)
	f("endless trailers", stream+"Transfer-Encoding: chunked\r\n\r\na\r\ndata: {}\n\n\r\n0\r\n"+strings.Repeat("X-T: "+strings.Repeat("y", 1000)+"\r\n", 2000), "cut", true)
	f("a stream without its last event", stream+"\r\ndata: {}\n\n", "cut", true)
	f("a line without end", stream+"Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat("100000\r\n"+strings.Repeat("x", 1<<20)+"\r\n", 8)+"0\r\n\r\n", "", false)
	f("events of nothing", stream+"Transfer-Encoding: chunked\r\n\r\n100000\r\n"+strings.Repeat("\n", 1<<20)+"\r\n0\r\n\r\n", "", false)
	f("events of garbage", stream+"Transfer-Encoding: chunked\r\n\r\n18\r\ndata: {\"choices\":[{\xff\xfe\x00}\n\r\n0\r\n\r\n", "", false)
	f("bytes behind a body", head+"Content-Length: 2\r\n\r\n{}{\"evil\":1}", "", false)
}

// Where nothing has been passed on yet, the client gets an error that it can read.
func TestNoChunk(t *testing.T) {
	for _, size := range []string{"zzz", "-1", " 1", "\r\n", ";"} {
		up := script(t, func(_ int, c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+size+"\r\n{}")
		})
		s := start(t, one(up), Options{})
		if resp, got := post(t, s, "/v1/messages", chatBody); resp.StatusCode != http.StatusBadGateway || !strings.HasPrefix(got, `{"type":"error"`) {
			t.Errorf("%q: %d %q", size, resp.StatusCode, got)
		}
		if x := s.tapped(t); x.ErrorKind == "" || x.Status != http.StatusBadGateway {
			t.Errorf("%q: captured as %q", size, x.ErrorKind)
		}
	}
}

// An upstream whose answers' heads have no end is given up, and what it sent is bounded.
func TestEndlessHead(t *testing.T) {
	for name, piece := range map[string]string{"a line": strings.Repeat("a", 4096), "status lines": "HTTP/1.1 100 Continue\r\n\r\n", "headers": "X-A: b\r\n", "blank lines": "\r\n"} {
		var wrote int
		done := make(chan struct{})
		up := script(t, func(n int, c net.Conn) {
			if n > 0 {
				return
			}
			defer close(done)
			readRequest(c)
			if name == "headers" {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			}
			block := bytes.Repeat([]byte(piece), 1000)
			for wrote < 256<<20 {
				m, err := c.Write(block)
				wrote += m
				if err != nil {
					return
				}
			}
		})
		s := start(t, one(up, func(r *config.Route) { r.Retries = -1 }), Options{})
		resp, got := post(t, s, "/v1/chat/completions", chatBody)
		if resp.StatusCode != http.StatusBadGateway || !strings.Contains(got, `"error"`) {
			t.Errorf("%s: %d %q", name, resp.StatusCode, got)
		}
		s.stop()
		<-done
		if wrote > 64<<20 {
			t.Errorf("%s: %d bytes were taken", name, wrote)
		}
	}
}
