package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

const (
	// headerTimeout bounds how slowly a client may send its headers, keptAlive how long it may rest between requests,
	// maxHeader how large its headers may be.
	headerTimeout = 10 * time.Second
	keptAlive     = 2 * time.Minute
	maxHeader     = 64 << 10
	// maxStreams bounds the requests at a time on one HTTP/2 connection.
	maxStreams = 250
	// unwind is how long requests that were broken off may take to notice.
	unwind = 2 * time.Second
)

// CheckListen refuses an address that other machines can reach when nobody has to show a key and Listen.Insecure does
// not allow it: whoever reached it would spend the owner's money. The error is a *config.Error.
func CheckListen(cfg *config.Server) error {
	addr := cfg.Listen.Gateway
	if addr == "" || addr == "off" || cfg.Access.Require || cfg.Listen.Insecure || ownAddress(addr) {
		return nil
	}
	return &config.Error{
		Pos: cfg.Listen.Pos.At("gateway"), Value: addr, Problem: "other machines could reach this address, and no key is asked for", Want: "a loopback address such as 127.0.0.1:4000",
		Hint: "access.require: true asks clients for keys; listen.insecure: true lets everybody who reaches the address spend the upstreams' keys",
	}
}

// Serve answers on ln until ctx ends. Then /healthz says so, no new connections are taken, requests under way may
// finish for grace, and the rest are broken off. It owns ln, and returns nil after such an end. h is the gateway, or
// something around it.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener, listen config.Listen, h http.Handler, grace time.Duration) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	srv := g.server(listen, h)
	srv.BaseContext = func(net.Listener) context.Context { return base }
	done := make(chan error, 1)
	go func() {
		if listen.TLSCert != "" {
			done <- srv.ServeTLS(ln, "", "")
			return
		}
		done <- srv.Serve(ln)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	g.Drain()
	err := shutdown(srv, grace)
	stop()
	if err != nil {
		if err = shutdown(srv, unwind); err != nil {
			err = srv.Close()
		}
	}
	if e := <-done; !errors.Is(e, http.ErrServerClosed) {
		return e
	}
	return err
}

func shutdown(srv *http.Server, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return srv.Shutdown(ctx)
}

// server sets what net/http bounds. It has no time-outs for bodies and answers: those depend on what passes.
func (g *Gateway) server(listen config.Listen, h http.Handler) *http.Server {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(listen.TLSCert != "")
	p.SetUnencryptedHTTP2(listen.H2C && listen.TLSCert == "")
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: keptAlive, MaxHeaderBytes: maxHeader, Protocols: p,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: g.o.SlowClient},
		ErrorLog: slog.NewLogLogger(g.o.Log.Handler(), slog.LevelDebug),
	}
	if listen.TLSCert != "" {
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: g.Certificate}
	}
	return srv
}

// Certificate returns the present one: a reload reads the files anew.
func (g *Gateway) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s := g.state.Load()
	if len(s.certs) == 0 {
		return nil, errors.New("no certificate")
	}
	return &s.certs[0], nil
}
