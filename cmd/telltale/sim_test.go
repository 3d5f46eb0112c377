package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

// TestSimCommand starts the server as a user would, asks it once and interrupts it.
func TestSimCommand(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sim.yaml")
	if err := os.WriteFile(file, []byte("mode: answers\ndefault: pong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SIM_TEST_KEY", "secret")
	out, in := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := newSimCmd()
	cmd.SetOut(in)
	cmd.SetArgs([]string{"--config", file, "--seed", "3", "--model", "bot", "--latency", "1ms", "--error-rate", "429=0", "--api-key-env", "SIM_TEST_KEY", "--port-file", filepath.Join(dir, "port")})
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()

	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	port, err := os.ReadFile(filepath.Join(dir, "port"))
	if err != nil || !ok || url != "http://127.0.0.1:"+strings.TrimSpace(string(port))+"/v1" {
		t.Errorf("printed %q, port file %q, %v", line, port, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/chat/completions", strings.NewReader(`{"model":"bot","messages":[{"role":"user","content":"ping"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer secret")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"pong"`) {
		t.Errorf("%d, %s, %v", resp.StatusCode, body, err)
	}
	_ = resp.Body.Close()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSimCommandMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sim.yaml")
	if err := os.WriteFile(file, []byte("mode: echo\nerrors:\n- {status: 99}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(want string, args ...string) {
		t.Helper()
		cmd := newSimCmd()
		cmd.SetOut(io.Discard)
		cmd.SetArgs(args)
		ctx, stop := context.WithCancel(t.Context())
		stop() // a command that serves after all ends at once, without an error
		err := cmd.ExecuteContext(ctx)
		_, one := errors.AsType[*config.Error](err)
		_, many := errors.AsType[config.Errors](err)
		if !one && !many || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want a mistake that says %q", args, err, want)
		}
	}
	f(file+":3:4: errors[0].status", "--config", file)
	f("--config", "--config", file+".missing")
	f("--addr", "--addr", "0.0.0.0:0")
	f("--addr", "--addr", "8089")
	f("--latency", "--latency", "soon")
	f("--error-rate", "--error-rate", "2")
	f("--api-key-env", "--api-key-env", "SIM_TEST_KEY_THAT_IS_NOT_SET")
	f("--port-file", "--port-file", filepath.Join(file, "port"))
}
