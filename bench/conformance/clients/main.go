// Command clients tries telltale serve with real clients: the vendors' own SDKs through the gateway, and instrumented
// ones that export to the OTLP endpoint, all from npm, all against the simulated model. For each it says what the
// client itself saw, and which fields of the exchange arrived; one that is missing or wrong makes it fail.
//
// It says nothing of speed, and it reads no real model. npm ci in this folder installs the clients.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

func main() {
	telltale := flag.String("telltale", "bin/telltale", "telltale's binary")
	dir := flag.String("dir", "bench/conformance/clients", "folder in which npm ci was run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *telltale, *dir, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, telltale, dir string, w io.Writer) (err error) {
	temp, err := os.MkdirTemp("", "clients-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	s, err := start(ctx, telltale, temp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	var failed []string
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "client\tchecked\tmissing or wrong")
	line := func(name string, checked int, wrong []string) {
		fmt.Fprintf(table, "%s\t%d\t%s\n", name, checked, strings.Join(wrong, "; "))
		if len(wrong) > 0 {
			failed = append(failed, name)
		}
	}
	said, err := s.node(ctx, dir, "gateway.mjs")
	if err != nil {
		return err
	}
	for _, c := range gatewayCases() {
		n, wrong := s.checkGateway(ctx, c, said)
		line(c.name, n, wrong)
	}
	for _, name := range instrumented {
		if _, err := s.node(ctx, dir, "otel.cjs", name); err != nil {
			return err
		}
		n, wrong := s.checkOTLP(ctx, name)
		line(name+" (OTLP)", n, wrong)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d clients: %s", len(failed), strings.Join(failed, ", "))
	}
	return nil
}

// servers are a simulated model and telltale serve in front of it.
type servers struct {
	sim, serve               *exec.Cmd
	model, gateway, api, dir string
}

func start(ctx context.Context, telltale, temp string) (*servers, error) {
	s := &servers{dir: temp}
	s.sim = exec.CommandContext(ctx, telltale, "sim", "--latency", "100ms") // so that a client can give up before the answer
	s.sim.Stderr = os.Stderr
	out, err := s.sim.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.sim.Start(); err != nil {
		return nil, fmt.Errorf("%w; make build builds it", err)
	}
	first, err := bufio.NewReader(out).ReadString('\n')
	at, ok := strings.CutPrefix(strings.TrimSpace(first), "listening on ")
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("telltale sim said %q: %w", first, err), s.stop())
	}
	s.model = at
	addrs := make([]string, 2)
	for i := range addrs {
		if addrs[i], err = freeAddr(); err != nil {
			return nil, errors.Join(err, s.stop())
		}
	}
	s.gateway, s.api = "http://"+addrs[0], "http://"+addrs[1]
	conf := fmt.Sprintf("listen: {gateway: %q, api: %q, otlp_grpc: \"off\"}\ndata: %s\nroutes:\n  - {name: clients, pass_key: true, capture: {top_k: true}, upstreams: [{url: %q}]}\n",
		addrs[0], addrs[1], filepath.Join(temp, "data"), strings.TrimSuffix(s.model, "/v1"))
	file := filepath.Join(temp, "server.yaml")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.serve = exec.CommandContext(ctx, telltale, "serve", "--config", file)
	s.serve.Stderr = os.Stderr
	if err := s.serve.Start(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	for range 200 {
		if _, err = s.get(ctx, "/v1/status", nil, nil); err == nil {
			return s, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, errors.Join(fmt.Errorf("telltale serve does not answer: %w", err), s.stop())
}

func freeAddr() (string, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

func (s *servers) stop() error {
	var errs []error
	for _, c := range []*exec.Cmd{s.serve, s.sim} {
		if c == nil || c.Process == nil {
			continue
		}
		if err := c.Process.Signal(os.Interrupt); err != nil {
			errs = append(errs, err)
		}
		if err := c.Wait(); err != nil && c == s.serve {
			errs = append(errs, fmt.Errorf("telltale serve: %w", err))
		}
	}
	return errors.Join(errs...)
}

// node runs a script and returns what it printed, by the name in each line.
func (s *servers) node(ctx context.Context, dir, script string, args ...string) (map[string]map[string]any, error) {
	cmd := exec.CommandContext(ctx, "node", append([]string{script}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GATEWAY="+s.gateway, "MODEL="+s.model, "OTLP="+s.api)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("node %s %v: %w\n%s", script, args, err, stderr.String())
	}
	said := map[string]map[string]any{}
	for line := range bytes.Lines(out) {
		var m map[string]any
		if json.Unmarshal(line, &m) == nil && m["name"] != nil {
			said[fmt.Sprint(m["name"])] = m
		}
	}
	return said, nil
}

func (s *servers) get(ctx context.Context, path string, query url.Values, into any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.api+path+"?"+query.Encode(), nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	if into == nil {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.Unmarshal(body, into)
}

// exchanges waits until n exchanges that the query finds are stored, and returns those that are.
func (s *servers) exchanges(ctx context.Context, query url.Values, n int) (list []record.Exchange, err error) {
	query.Set("content", "true")
	query.Set("limit", "100")
	for range 100 {
		var page struct {
			Exchanges []record.Exchange `json:"exchanges"`
		}
		if _, err = s.get(ctx, "/v1/exchanges", query, &page); err != nil {
			return nil, err
		}
		list = page.Exchanges
		slices.SortFunc(list, func(a, b record.Exchange) int { return a.Time.Compare(b.Time) })
		if len(list) >= n {
			return list, nil
		}
		select {
		case <-ctx.Done():
			return list, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return list, nil
}
