// Package loopback opens listeners that other machines cannot reach unless someone says that they may.
//
// It is for every command that serves something. It checks the address, opens the listener and tells the hosts of
// requests apart; what is served, and how it is shut down, is the caller's.
package loopback

import (
	"context"
	"net"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// Options say where to listen.
type Options struct {
	Addr string // host:port; port 0 takes a free one
	// AllowRemote permits an address that other machines can reach.
	AllowRemote bool
	// Example is an address to name in errors, Risk what AllowRemote lets other machines do.
	Example, Risk string
}

// Listen opens a TCP listener. Without AllowRemote the host must be a loopback address or localhost; an empty host
// means 127.0.0.1. A wrong address is a *config.Error of --addr; other errors are the system's.
func Listen(ctx context.Context, o Options) (net.Listener, error) {
	wrong := &config.Error{Pos: config.Pos{Key: "--addr"}, Value: o.Addr, Want: "a loopback address such as " + o.Example}
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		wrong.Problem = "not host:port"
		return nil, wrong
	}
	if host == "" && !o.AllowRemote {
		host = "127.0.0.1"
	}
	if !o.AllowRemote && !own(host) {
		wrong.Problem = "other machines could reach this address"
		wrong.Hint = "--allow-remote permits it; " + o.Risk
		return nil, wrong
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
}

// Host says whether a request's host, with or without a port, is this machine by its own names.
func Host(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return own(strings.Trim(host, "[]"))
}

func own(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
