//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const honest = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 62\r\n\r\n" + `{"model":"sim","messages":[{"role":"user","content":"hello"}]}`

// served answers an honest request in good time.
func (s *served) serves(t *testing.T, while string) {
	t.Helper()
	began := time.Now()
	status, err := rawly(s.gateway, strings.NewReader(honest))
	if took := time.Since(began); status != http.StatusOK || err != nil || took > 10*time.Second {
		t.Errorf("with %s: %d %v after %v", while, status, err, took)
	}
}

// hold opens connections and leaves them open after some bytes.
func hold(t *testing.T, addr, text string, n int) []net.Conn {
	t.Helper()
	out := make([]net.Conn, 0, n)
	t.Cleanup(func() {
		for _, c := range out {
			_ = c.Close()
		}
	})
	for range n {
		c, err := net.DialTimeout("tcp", addr, 10*time.Second)
		if err != nil {
			t.Fatalf("connection %d: %v", len(out), err)
		}
		out = append(out, c)
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatalf("connection %d: %v", len(out), err)
		}
	}
	return out
}

// closes says whether the server ends a connection by itself, and what it says before.
func closes(c net.Conn, within time.Duration) (string, bool) {
	_ = c.SetReadDeadline(time.Now().Add(within))
	b, err := io.ReadAll(c)
	return string(b), err == nil || !os.IsTimeout(err)
}

// TestAbuseConnections holds thousands of connections in every way that costs the server something, and floods it with
// frames of HTTP/2. Others are served meanwhile, what sends no headers is cut off, and memory stays bounded. With
// TELLTALE_LONG there are ten thousand of them.
func TestAbuseConnections(t *testing.T) {
	t.Parallel()
	idle, slow := 1500, 300
	if os.Getenv("TELLTALE_LONG") != "" {
		idle, slow = 10_000, 2000
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 16_000 {
			t.Logf("only %d files may be open: %d idle connections", limit.Cur, 1500)
			idle, slow = 1500, 300
		}
	}
	event := []byte("data: " + strings.Repeat("x", 16<<10) + "\n\n")
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if !bytes.Contains(b, []byte("endless")) {
			_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"yes"}}]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			if _, err := w.Write(event); err != nil {
				return
			}
		}
	}), "")
	s.serves(t, "nothing else")
	before := s.peak()
	// Headers that never end; looked at again below.
	var late []net.Conn
	for _, addr := range []string{s.gateway, s.api} {
		late = append(late, hold(t, addr, "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nX-Half: ", 20)...)
		late = append(late, hold(t, addr, "", 20)...)
	}
	hold(t, s.gateway, "", idle/2)
	hold(t, s.gateway, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", idle/2)
	s.serves(t, "idle connections")
	hold(t, s.gateway, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n\r\n{", slow)
	hold(t, s.api, "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 16000000\r\n\r\nx", slow)
	hold(t, s.api, "POST /v1/exchanges HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx", slow)
	s.serves(t, "slow bodies")
	held := s.peak()
	t.Logf("%d MB at first, %d MB with %d idle connections and %d slow bodies", before>>20, held>>20, idle, 3*slow)
	// Streams that nobody reads.
	const endless = `{"stream":true,"model":"endless"}`
	hold(t, s.gateway, fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(endless), endless), 200)
	hold(t, s.api, "GET /v1/exchanges/export?format=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n", 50)
	time.Sleep(time.Second)
	s.serves(t, "streams that nobody reads")
	for _, addr := range []string{s.gateway, s.grpc} {
		s.flood(t, addr)
	}
	for _, noise := range []string{strings.Repeat("\xff", 1<<20), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", http2.ClientPreface + strings.Repeat("\x00\x00\x00\x04\x01", 100_000)} {
		if status, err := rawly(s.grpc, strings.NewReader(noise), ends); err != nil {
			t.Errorf("%.20q to the gRPC port: %d %v", noise, status, err)
		}
	}
	s.serves(t, "everything")
	for i, c := range late {
		if said, ended := closes(c, 20*time.Second); !ended || said != "" && !strings.HasPrefix(said, "HTTP/1.1 4") {
			t.Errorf("connection %d without headers: ended %v with %.100q", i, ended, said)
			break
		}
	}
	if log := s.log(t); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
		t.Errorf("the log tells of a panic:\n%.4000s", log)
	}
	peak := s.peak()
	t.Logf("at most %d MB of memory", peak>>20)
	if peak > abusePeak && !raced {
		t.Errorf("%d MB of memory, want at most %d", peak>>20, abusePeak>>20)
	}
}

// flood sends what HTTP/2 has to keep a server busy with.
func (s *served) flood(t *testing.T, addr string) {
	t.Helper()
	f := func(name string, flood func(f *http2.Framer, block []byte) error) {
		t.Helper()
		c := hold(t, addr, http2.ClientPreface, 1)[0]
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		go func() { _, _ = io.Copy(io.Discard, c) }()
		fr := http2.NewFramer(c, c)
		fr.AllowIllegalWrites = true
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "localhost"}, {":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"}, {"content-type", "application/grpc"}, {"x-a", strings.Repeat("a", 1000)}} {
			if err := enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
				t.Fatal(err)
			}
		}
		if err := fr.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		_ = flood(fr, block.Bytes()) // the server may have ended it
		s.serves(t, "a flood of "+name)
		_ = c.Close()
	}
	again := func(n uint32, one func(n uint32) error) error {
		for i := range n {
			if err := one(i); err != nil {
				return err
			}
		}
		return nil
	}
	f("requests taken back", func(f *http2.Framer, block []byte) error {
		return again(3000, func(n uint32) error {
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, BlockFragment: block, EndHeaders: true}); err != nil {
				return err
			}
			return f.WriteRSTStream(2*n+1, http2.ErrCodeCancel)
		})
	})
	f("requests without end", func(f *http2.Framer, block []byte) error {
		return again(3000, func(n uint32) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, BlockFragment: block, EndHeaders: true})
		})
	})
	f("headers", func(f *http2.Framer, block []byte) error {
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block}); err != nil {
			return err
		}
		return again(10_000, func(uint32) error { return f.WriteContinuation(1, false, block) })
	})
	f("settings and pings", func(f *http2.Framer, _ []byte) error {
		return again(20_000, func(uint32) error {
			if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}); err != nil {
				return err
			}
			return f.WritePing(false, [8]byte{})
		})
	})
	f("messages that say they are large", func(f *http2.Framer, block []byte) error {
		return again(200, func(n uint32) error {
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, BlockFragment: block, EndHeaders: true}); err != nil {
				return err
			}
			return f.WriteData(2*n+1, false, []byte{0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3})
		})
	})
}

// TestNoFilesLeft: when the process may open no more files, requests wait or fail; when it may again, all is as before, on
// the bus and in the store too.
func TestNoFilesLeft(t *testing.T) {
	t.Parallel()
	up := nastyUpstream(t, []string{"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"})
	s := serveWith(t, exec.Command("sh", "-c", "ulimit -n 120 && exec telltale serve"), up, "")
	s.serves(t, "files left")
	open := hold(t, s.gateway, "", 200)
	for range 5 {
		_, _ = rawlyWithin(s.gateway, honest, time.Second) // whatever comes of it
		_, _ = rawlyWithin(s.api, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n", time.Second)
	}
	for _, c := range open {
		_ = c.Close()
	}
	s.serves(t, "files left again")
	c := s.settled(t)
	if c.Capture.Seen < 2 || c.Capture.Stored < 2 {
		t.Errorf("%+v", c)
	}
	if log := s.log(t); strings.Contains(log, "panic") || len(log) > 64<<10 {
		t.Errorf("%d bytes of log:\n%.4000s", len(log), log)
	}
}

// rawlyWithin sends a request and waits no longer than it may for the first bytes of an answer.
func rawlyWithin(addr, request string, within time.Duration) (string, error) {
	c, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(c, request); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), err
}
