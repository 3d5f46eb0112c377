package sim

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

// ListenOptions says where to listen.
type ListenOptions struct {
	Addr string // host:port; port 0 takes a free one
	// AllowRemote permits an address that other machines can reach.
	AllowRemote bool
}

// Listen opens a TCP listener. Without AllowRemote the host must be a loopback address or
// localhost; an empty host means 127.0.0.1. A wrong address is a *config.Error.
func Listen(ctx context.Context, o ListenOptions) (net.Listener, error) {
	wrong := &config.Error{Pos: config.Pos{Key: "--addr"}, Value: o.Addr, Want: "a loopback address such as 127.0.0.1:8089"}
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		wrong.Problem = "not host:port"
		return nil, wrong
	}
	if host == "" && !o.AllowRemote {
		host = "127.0.0.1"
	}
	if !o.AllowRemote && host != "localhost" {
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			wrong.Problem = "other machines could reach this address"
			wrong.Hint = "--allow-remote permits it; the simulator has no other protection than --api-key-env"
			return nil, wrong
		}
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
}

const (
	// grace is how long requests may finish after the context ends.
	grace = 2 * time.Second
	// unwind is how long broken-off requests may take to notice.
	unwind = time.Second
	// headerTimeout bounds how slowly a client may send its headers. There is none for the body:
	// net/http would also apply it to requests that have been read and are being answered.
	headerTimeout = 30 * time.Second
)

// Serve answers on ln until ctx ends, then lets the requests under way finish for two seconds and
// breaks off the rest. It owns ln. It returns nil after such an end.
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		// Clients that break off are part of the trade.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
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
