package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// target is a running server that requests go to.
type target struct {
	name   string
	url    string // base, without /v1
	header http.Header
	cmd    *exec.Cmd // nil for the model itself
	api    string    // telltale's HTTP API
	sent   atomic.Int64
}

func (t *target) stop() error {
	if t.cmd == nil {
		return nil
	}
	if err := t.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- t.cmd.Wait() }()
	select {
	case err := <-done:
		if _, ended := errors.AsType[*exec.ExitError](err); ended {
			return nil // how others end on a signal is their business
		}
		return err
	case <-time.After(30 * time.Second):
		return errors.Join(fmt.Errorf("%s did not end", t.name), t.cmd.Process.Kill(), <-done)
	}
}

// memory is what a process and its children hold, in bytes: at most, since they started, and what of that now are pages
// of files, which are mostly the program's own.
type memory struct{ peak, file int64 }

func (t *target) memory() memory {
	if t.cmd == nil {
		return memory{}
	}
	return memoryOf(t.cmd.Process.Pid)
}

func memoryOf(pid int) (m memory) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch name {
		case "VmHWM":
			m.peak = kb << 10
		case "RssFile":
			m.file = kb << 10
		}
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return m
	}
	for child := range strings.FieldsSeq(string(children)) {
		if id, err := strconv.Atoi(child); err == nil {
			c := memoryOf(id)
			m.peak, m.file = m.peak+c.peak, m.file+c.file
		}
	}
	return m
}

// freePort asks the system for a port that nobody uses.
func freePort() (int, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	return port, ln.Close()
}

func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// startSim starts the simulated model with a fixed time to the first token.
func startSim(ctx context.Context, telltale, latency string) (*target, error) {
	args := []string{"sim"}
	if latency != "" {
		args = append(args, "--latency", latency)
	}
	cmd := command(ctx, telltale, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w; make build builds it", err)
	}
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("telltale sim said %q: %w", line, err), cmd.Process.Kill(), cmd.Wait())
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return &target{name: "sim", url: strings.TrimSuffix(url, "/v1"), header: jsonHeader(), cmd: cmd}, nil
}

func jsonHeader() http.Header {
	return http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer sk-bench-0000000000000000"}}
}

// direct is the model without a gateway.
func direct(sim *target) *target {
	return &target{name: "no gateway", url: sim.url, header: jsonHeader()}
}

func startNginx(ctx context.Context, binary, dir, upstream string) (*target, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err = os.MkdirTemp(dir, "nginx-")
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(`daemon off;
user root;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  keepalive_requests 1000000;
  upstream model { server %[2]s; keepalive 512; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:%[3]d;
    location / {
      proxy_pass http://model;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
`, dir, strings.TrimPrefix(upstream, "http://"), port)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	cmd := command(ctx, binary, "-c", file, "-p", dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return ready(ctx, &target{name: "nginx", url: fmt.Sprintf("http://127.0.0.1:%d", port), header: jsonHeader(), cmd: cmd})
}

func startPortkey(ctx context.Context, tools, upstream string) (*target, error) {
	script := filepath.Join(tools, "node_modules", "@portkey-ai", "gateway", "build", "start-server.js")
	if _, err := os.Stat(script); err != nil {
		return nil, fmt.Errorf("%w; npm ci in %s installs it", err, tools)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := command(ctx, node(tools), script, "--port="+strconv.Itoa(port), "--headless")
	cmd.Env = append(os.Environ(), "NODE_ENV=production", "TRUSTED_CUSTOM_HOSTS=localhost,127.0.0.1,::1")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h := jsonHeader()
	h.Set("x-portkey-provider", "openai")
	h.Set("x-portkey-custom-host", upstream+"/v1")
	return ready(ctx, &target{name: "Portkey", url: fmt.Sprintf("http://127.0.0.1:%d", port), header: h, cmd: cmd})
}

// node is the one that npm has installed beside Portkey, or the one in PATH.
func node(tools string) string {
	if pinned, _ := filepath.Glob(filepath.Join(tools, "node_modules", "node-*-*64", "bin", "node")); len(pinned) > 0 {
		return pinned[0]
	}
	return "node"
}

func startTelltale(ctx context.Context, binary, dir, upstream string) (*target, error) {
	gateway, err := freePort()
	if err != nil {
		return nil, err
	}
	api, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err = os.MkdirTemp(dir, "telltale-")
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(`listen: {gateway: "127.0.0.1:%d", api: "127.0.0.1:%d", otlp_grpc: "off"}
data: %s
routes:
  - name: bench
    pass_key: true
    upstreams: [{url: %q}]
capture: {content: 1}
`, gateway, api, filepath.Join(dir, "data"), upstream)
	file := filepath.Join(dir, "server.yaml")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	cmd := command(ctx, binary, "serve", "--config", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return ready(ctx, &target{name: "telltale", url: fmt.Sprintf("http://127.0.0.1:%d", gateway), header: jsonHeader(), cmd: cmd, api: fmt.Sprintf("http://127.0.0.1:%d", api)})
}

// ready waits until the target answers a request through to the model.
func ready(ctx context.Context, t *target) (*target, error) {
	l := newLoad(t, false)
	defer l.close()
	var err error
	for range 300 {
		if _, _, err = l.once(ctx, time.Now()); err == nil {
			return t, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), t.stop())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil, errors.Join(fmt.Errorf("%s does not answer: %w", t.name, err), t.stop())
}

// captures is how many exchanges telltale saw, and how many of them it has stored.
type captures struct {
	Seen   int64 `json:"seen"`
	Stored int64 `json:"stored"`
}

// settled waits until what telltale saw is stored or counted as lost, and returns the figures.
func (t *target) settled(ctx context.Context) (c captures, err error) {
	for range 600 {
		if c, err = t.captures(ctx); err == nil && c.Seen > 0 && c.Seen == c.Stored {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return c, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return c, err
}

func (t *target) captures(ctx context.Context) (c captures, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.api+"/v1/status", nil)
	if err != nil {
		return c, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c, fmt.Errorf("%s: %s", req.URL, resp.Status)
	}
	var body struct {
		Capture captures `json:"capture"`
	}
	err = json.NewDecoder(resp.Body).Decode(&body)
	return body.Capture, err
}
