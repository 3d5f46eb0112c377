package main

import (
	"bufio"
	"bytes"
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
	"sync"
	"time"
)

// process is a child of the bench.
type process struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // once ended is closed
}

func start(cmd *exec.Cmd, name string) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// kill ends the process without a warning.
func (p *process) kill() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended by itself: %w", p.name, p.err)
	default:
	}
	err := p.cmd.Process.Kill()
	<-p.ended
	return err
}

// stop asks the process to end.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("%s: %w", p.name, errors.Join(err, p.err))
	}
	select {
	case <-p.ended:
		if p.err != nil {
			return fmt.Errorf("%s: %w", p.name, p.err)
		}
		return nil
	case <-time.After(time.Minute):
		return errors.Join(fmt.Errorf("%s did not end within a minute", p.name), p.kill())
	}
}

// peak is the most memory that the process has held, in bytes.
func (p *process) peak() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				return kb << 10
			}
		}
	}
	return 0
}

// freeAddress asks the system for a port that nobody uses.
func freeAddress() (string, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// startModel starts the simulated model.
func startModel(ctx context.Context, telltale string) (p *process, url string, err error) {
	cmd := exec.CommandContext(ctx, telltale, "sim", "--latency", "20ms")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("%w; make build builds it", err)
	}
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		return nil, "", errors.Join(fmt.Errorf("telltale sim said %q: %w", line, err), cmd.Process.Kill(), cmd.Wait())
	}
	p = &process{name: "sim", cmd: cmd, ended: make(chan struct{})}
	go func() {
		_, err := io.Copy(io.Discard, r)
		p.err = errors.Join(err, cmd.Wait())
		close(p.ended)
	}()
	return p, strings.TrimSuffix(url, "/v1"), nil
}

// server is telltale serve, which may be started several times with the same files.
type server struct {
	telltale     string
	gateway, api string // addresses
	file         string // configuration
	log          string // file
	data         string
	logged       bool // the log names what the bus has acknowledged

	mu  sync.Mutex
	now *process
}

// newServer writes the configuration. More is added to it.
func newServer(telltale, dir, data, model, more string) (*server, error) {
	s := &server{telltale: telltale, file: filepath.Join(dir, "server.yaml"), log: filepath.Join(dir, "serve.log"), data: data}
	var err error
	if s.gateway, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.api, err = freeAddress(); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`listen: {gateway: %q, api: %q, otlp_grpc: "off"}
data: %q
routes:
  - name: bench
    pass_key: true
    upstreams: [{url: %q}]
capture: {content: 1}
%s`, s.gateway, s.api, data, model, more)
	return s, os.WriteFile(s.file, []byte(text), 0o600)
}

// start runs the server and returns without waiting for it.
func (s *server) start(ctx context.Context) error {
	f, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	args := []string{"serve", "--config", s.file}
	if s.logged {
		args = append(args, "--log-level", "debug", "--log-format", "json")
	}
	cmd := exec.CommandContext(ctx, s.telltale, args...)
	cmd.Stdout, cmd.Stderr = f, f
	p, err := start(cmd, "serve")
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = p
	return nil
}

func (s *server) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// ready waits until the gateway takes connections.
func (s *server) ready(ctx context.Context) error {
	return eventually(ctx, time.Minute, "the gateway does not listen", func() (bool, error) {
		select {
		case <-s.process().ended:
			return false, fmt.Errorf("serve ended: %w; its log is %s", s.process().err, s.tail())
		default:
		}
		return listens(ctx, s.gateway)
	})
}

// listens says whether somebody accepts connections at an address.
func listens(ctx context.Context, address string) (bool, error) {
	d := net.Dialer{Timeout: time.Second}
	if c, err := d.DialContext(ctx, "tcp", address); err == nil {
		return true, c.Close()
	}
	return false, nil
}

// tail is the end of the server's log.
func (s *server) tail() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// eventually asks again and again until the answer is yes.
func eventually(ctx context.Context, most time.Duration, what string, ask func() (bool, error)) error {
	for end := time.Now().Add(most); time.Now().Before(end); {
		ok, err := ask()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s, after %v", what, most)
}

// status is what the API tells of the server.
type status struct {
	Capture struct {
		Seen, Captured, Stored int64
		Dropped                map[string]int64
	}
	Bus, Store struct {
		OK      bool
		Error   string
		Numbers map[string]int64
	}
}

func (s *status) dropped() (n int64) {
	for _, k := range s.Capture.Dropped {
		n += k
	}
	return n
}

var asker = &http.Client{Timeout: 20 * time.Second}

func (s *server) status(ctx context.Context) (st status, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.api+"/v1/status", nil)
	if err != nil {
		return st, err
	}
	resp, err := asker.Do(req)
	if err != nil {
		return st, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return st, fmt.Errorf("status: %s", resp.Status)
	}
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

// settled waits until nothing is on its way to the store any more, and returns the last status.
func (s *server) settled(ctx context.Context, most time.Duration) (st status, err error) {
	var last int64
	var since time.Time
	err = eventually(ctx, most, "the store does not come to rest", func() (bool, error) {
		now, err := s.status(ctx)
		if err == nil {
			st = now
		}
		n := st.Store.Numbers["exchanges"]
		if err != nil || n != last || !st.Store.OK || st.Bus.Numbers["pending_frames"] > 0 || st.Bus.Numbers["waiting"] > 0 {
			last, since = n, time.Now()
		}
		return time.Since(since) > 4*time.Second, nil
	})
	if err != nil {
		err = fmt.Errorf("%w: %+v", err, st)
	}
	return st, err
}

// acknowledged reads from a place in the log on what the bus has acknowledged, and where the log ends. A killed process may
// leave half a line.
func (s *server) acknowledged(from int64) (ids []string, end int64, err error) {
	f, err := os.Open(s.log)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, from, 1<<40))
	if err != nil {
		return nil, 0, err
	}
	for line := range bytes.Lines(b) {
		var l struct {
			Msg string
			IDs []string
		}
		if json.Unmarshal(line, &l) == nil && l.Msg == "acknowledged" {
			ids = append(ids, l.IDs...)
		}
	}
	return ids, from + int64(len(b)), nil
}

// stored is which exchanges are in the store: how often each id and each session is there, and how many the store counts.
type stored struct {
	ids, sessions, snapshots map[string]int
	counted                  int64
}

func (s *server) stored(ctx context.Context) (out stored, err error) {
	out = stored{ids: map[string]int{}, sessions: map[string]int{}, snapshots: map[string]int{}}
	st, err := s.status(ctx)
	if err != nil {
		return out, err
	}
	out.counted = st.Store.Numbers["exchanges"]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.api+"/v1/exchanges/export?format=ndjson", nil)
	if err != nil {
		return out, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return out, fmt.Errorf("export: %s", resp.Status)
	}
	dec := json.NewDecoder(resp.Body)
	for {
		var x struct{ ID, Session, Snapshot string }
		if err := dec.Decode(&x); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return out, fmt.Errorf("export: %w", err)
		}
		out.ids[x.ID]++
		out.snapshots[x.Snapshot]++
		if x.Session != "" {
			out.sessions[x.Session]++
		}
	}
}

// doubles are the exchanges that are there more than once.
func (s *stored) doubles() int {
	return twice(s.ids) + twice(s.sessions) + int(max(0, s.counted-int64(len(s.ids))))
}

// twice counts what is there more than once.
func twice(of map[string]int) (n int) {
	for _, k := range of {
		if k > 1 {
			n++
		}
	}
	return n
}
