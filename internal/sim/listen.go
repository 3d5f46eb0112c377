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
)

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
