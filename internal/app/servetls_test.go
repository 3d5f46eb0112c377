package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// With listen.tls every address speaks TLS, and the scheme that is told says so.
func TestServeTLS(t *testing.T) {
	known := httptest.NewTLSServer(http.NotFoundHandler())
	defer known.Close()
	dir := t.TempDir()
	pair := known.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "server.yaml")
	text := "listen: {gateway: '127.0.0.1:0', api: '127.0.0.1:0', otlp_grpc: '127.0.0.1:0', tls: {cert: cert.pem, key: key.pem}}\nroutes: [{name: main, pass_key: true, upstreams: [{url: 'http://127.0.0.1:1'}]}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	at, done := make(chan [4]string, 1), make(chan error, 1)
	go func() {
		done <- Serve(ctx, ServeOptions{Config: file, Env: os.LookupEnv, Log: slog.New(slog.DiscardHandler), Grace: time.Second, Ready: func(scheme, gateway, api, grpc string) {
			at <- [4]string{scheme, gateway, api, grpc}
		}})
	}()
	select {
	case got := <-at:
		if got[0] != "https" {
			t.Errorf("scheme %q", got[0])
		}
		roots := x509.NewCertPool()
		roots.AddCert(known.Certificate())
		for _, addr := range got[1:] {
			conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
			if err != nil {
				t.Errorf("%s: %v", addr, err)
				continue
			}
			if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
				t.Errorf("%s: protocol %q", addr, p)
			}
			conn.Close()
		}
	case err := <-done:
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What is read at the start only is told apart by what it says, not by where it stands.
func TestReadAtTheStart(t *testing.T) {
	load := func(text string) *config.Server {
		t.Helper()
		file := filepath.Join(t.TempDir(), "server.yaml")
		if err := os.WriteFile(file, []byte("routes: [{name: main, pass_key: true, upstreams: [{url: 'http://127.0.0.1:1'}]}]\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := LoadServer(file, os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	f := func(a, b string, want bool) {
		t.Helper()
		x, y := load(a), load(b)
		if got := sameScorers(x.Scorers, y.Scorers) && sameListen(x.Listen, y.Listen); got != want {
			t.Errorf("%q and %q: %v", a, b, got)
		}
	}
	scorer := "scorers: [{assert: {type: %s, value: %s}, share: %s}]\n"
	one := fmt.Sprintf(scorer, "contains", "x", "0.5")
	f("", "", true)
	f(one, "\n\n"+one, true)
	f(one, "", false)
	f(one, fmt.Sprintf(scorer, "contains", "y", "0.5"), false)
	f(one, fmt.Sprintf(scorer, "icontains", "x", "0.5"), false)
	f(one, fmt.Sprintf(scorer, "contains", "x", "0.6"), false)
	f("listen: {h2c: true}\n", "\nlisten: {h2c: true}\n", true)
	f("listen: {h2c: true}\n", "", false)
}
