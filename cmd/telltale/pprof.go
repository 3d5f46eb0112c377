package main

import (
	"context"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/telltale-llm/telltale/internal/loopback"
)

// serveProfiles shows Go's profiles at a loopback address until stop is called.
func serveProfiles(ctx context.Context, addr string) (stop func(), err error) {
	ln, err := loopback.Listen(ctx, loopback.Options{Addr: addr, Example: "127.0.0.1:6060", Risk: "profiles tell what the process does"})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln) // ended by stop
	}()
	return func() {
		_ = srv.Close()
		<-done
	}, nil
}
