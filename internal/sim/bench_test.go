package sim

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/loopback"
	"github.com/telltale-llm/telltale/internal/record"
)

const smallChat = `{"model":"sim","messages":[{"role":"system","content":"You are a support assistant."},{"role":"user","content":"How do I get a refund for order 1234?"}],"temperature":0,"seed":7}`

// BenchmarkLoopback measures a small chat request over a real connection with keep-alive, the cost
// of a bare client included.
func BenchmarkLoopback(b *testing.B) {
	s := NewServer(newModel(b, Config{}), ServerOptions{})
	ln, err := loopback.Listen(b.Context(), loopback.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, s) }()
	request := fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(smallChat), smallChat)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		r := bufio.NewReader(conn)
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
	})
	b.StopTimer()
	stop()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

// BenchmarkHandler leaves out the network.
func BenchmarkHandler(b *testing.B) {
	s := NewServer(newModel(b, Config{}), ServerOptions{})
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(smallChat))
		s.ServeHTTP(&nullWriter{h: http.Header{}}, r)
	}
}

type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) WriteHeader(int)             {}
func (w *nullWriter) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkComplete is the model in process.
func BenchmarkComplete(b *testing.B) {
	m := newModel(b, Config{})
	req := record.Request{Messages: []record.Message{{Role: "user", Content: "How do I get a refund for order 1234?"}}}
	b.ReportAllocs()
	for b.Loop() {
		req.Seed++
		if _, err := m.Complete(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func newModel(t testing.TB, c Config) *Model {
	t.Helper()
	m, err := New(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
