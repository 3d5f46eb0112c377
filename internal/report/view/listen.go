package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// Listen opens a TCP listener on host:port. Without remote, which says that other machines may reach
// it, the host must be a loopback address or localhost; an empty host means 127.0.0.1. A wrong
// address is a *config.Error.
func Listen(ctx context.Context, addr string, remote bool) (net.Listener, error) {
	wrong := &config.Error{Pos: config.Pos{Key: "--addr"}, Value: addr, Want: "a loopback address such as 127.0.0.1:8090"}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		wrong.Problem = "not host:port"
		return nil, wrong
	}
	if host == "" && !remote {
		host = "127.0.0.1"
	}
	if !remote && host != "localhost" {
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			wrong.Problem = "other machines could reach this address"
			wrong.Hint = "--allow-remote permits it; whoever reaches the address can read every run there"
			return nil, wrong
		}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	return ln, nil
}

// grace is how long answers may take to finish when the server stops. Streams of events end at once.
const grace = 3 * time.Second

// Serve answers on ln until ctx ends. It owns ln, and returns nil after such an end.
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		// Browsers that go away are part of the trade.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("view: %w", err)
	case <-ctx.Done():
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(within)
	if err != nil {
		err = srv.Close()
	}
	if e := <-done; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
