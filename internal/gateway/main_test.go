package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a gateway on a real socket.
type server struct {
	*Gateway
	addr, url string
	client    *http.Client
	log       *safeBuffer

	mu   sync.Mutex
	seen []Tapped // copies, as the sink got them
	more chan struct{}
	stop func()
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start serves cfg until the test ends.
func start(t testing.TB, cfg *config.Server, o Options) *server {
	t.Helper()
	s := &server{more: make(chan struct{}, 10000), log: &safeBuffer{}}
	o.Log = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Sink == nil {
		o.Sink = s.sink
	}
	g, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	s.Gateway = g
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	s.url = "http://" + s.addr
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	if cfg.Listen.TLSCert != "" {
		s.url = "https://" + s.addr
		tr.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		tr.ForceAttemptHTTP2 = true
	}
	s.client = &http.Client{Transport: tr}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, ln, cfg.Listen, g, time.Second) }()
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Serve: %v", err)
			}
			late, stop := context.WithTimeout(context.Background(), 5*time.Second)
			defer stop()
			if err := g.Close(late); err != nil {
				t.Errorf("Close: %v", err)
			}
			tr.CloseIdleConnections()
			if strings.Contains(s.log.String(), "panic serving") {
				t.Errorf("a request panicked:\n%s", s.log)
			}
		})
	}
	t.Cleanup(s.stop)
	return s
}

func (s *server) sink(x *Tapped) {
	c := *x
	c.Body, c.SentBody, c.Answer, c.Tail = bytes.Clone(x.Body), bytes.Clone(x.SentBody), bytes.Clone(x.Answer), bytes.Clone(x.Tail)
	c.Arrivals = append([]Arrival(nil), x.Arrivals...)
	c.Tags = map[string]string{}
	for k, v := range x.Tags {
		c.Tags[k] = v
	}
	s.mu.Lock()
	s.seen = append(s.seen, c)
	s.mu.Unlock()
	x.Release()
	s.more <- struct{}{}
}

// tapped waits for the next exchange.
func (s *server) tapped(t testing.TB) Tapped {
	t.Helper()
	select {
	case <-s.more:
	case <-time.After(5 * time.Second):
		t.Fatal("no exchange was captured")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.seen[0]
	s.seen = s.seen[1:]
	return x
}

// one is a configuration of one route with one upstream.
func one(url string, change ...func(*config.Route)) *config.Server {
	r := config.Route{Name: "main", Upstreams: []config.Upstream{{Name: "up", URL: url, Key: "upstream-secret"}}}
	for _, f := range change {
		f(&r)
	}
	return &config.Server{Routes: []config.Route{r}}
}

// upstream serves h on a real socket.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return "http://" + ln.Addr().String()
}

// script serves each connection with f, which may do what no HTTP server would.
func script(t testing.TB, f func(n int, c net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() { defer c.Close(); f(n, c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "http://" + ln.Addr().String()
}

// simulated serves the simulated model.
func simulated(t testing.TB, c sim.Config, o sim.ServerOptions) string {
	t.Helper()
	m, err := sim.New(sim.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, sim.NewServer(m, o).ServeHTTP)
}

func post(t testing.TB, s *server, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatalf("POST %s: %v", path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("POST %s: %v after %q", path, err, b)
	}
	return resp, string(b)
}

const chatBody = `{"model":"sim","messages":[{"role":"user","content":"What is 12 + 7?"}],"temperature":0}`
