package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// row is one measurement.
type row struct {
	name          string
	taken, stored int64
	again         int64         // requests that were sent again because the server was busy
	sending       time.Duration // from the first request to the last
	took          time.Duration // until the last exchange was stored
	peak          int64         // bytes of memory of the server
	used          time.Duration // processor time of the server
	disk          int64         // bytes of the data directory
}

func (r row) rate() float64 { return float64(r.stored) / r.took.Seconds() }

// server is a telltale serve without a gateway's traffic.
type server struct {
	cmd        *exec.Cmd
	api, pprof string
	data       string
	ended      chan struct{}
	log        string
	err        error
}

func freeAddress() (string, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

func startServer(ctx context.Context, o options, dir string) (s *server, err error) {
	s = &server{data: filepath.Join(dir, "data"), log: filepath.Join(dir, "serve.log"), ended: make(chan struct{})}
	if s.api, err = freeAddress(); err != nil {
		return nil, err
	}
	more := ""
	if o.memory != "" {
		more = fmt.Sprintf("store: {memory: %q}\n", o.memory)
	}
	text := fmt.Sprintf("listen: {gateway: \"off\", api: %q, otlp_grpc: \"off\"}\ndata: %q\ncapture: {content: 1}\n%s", s.api, s.data, more)
	file := filepath.Join(dir, "server.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	args := []string{"serve", "--config", file}
	if o.profile != "" {
		if s.pprof, err = freeAddress(); err != nil {
			return nil, err
		}
		args = append(args, "--pprof", s.pprof)
	}
	out, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(ctx, o.telltale, args...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := errors.Join(s.cmd.Start(), out.Close()); err != nil {
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	for range 600 {
		if n, err := s.stored(ctx); err == nil && n == 0 {
			return s, nil
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("serve ended: %w: %s", s.err, s.tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil, errors.Join(fmt.Errorf("the store does not open: %s", s.tail()), s.stop())
}

func (s *server) tail() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return errors.Join(err, errors.New(s.tail()))
	}
	<-s.ended
	return s.err
}

// stored asks how many exchanges queries find.
func (s *server) stored(ctx context.Context) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.api+"/v1/status", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var body struct {
		Store struct {
			OK      bool
			Numbers map[string]int64
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return 0, err
	}
	if !body.Store.OK {
		return 0, errors.New("the store does not answer")
	}
	return body.Store.Numbers["exchanges"], nil
}

func (s *server) peak() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
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

// profiled saves a profile of the server's processor time.
func (s *server) profiled(ctx context.Context, file string, d time.Duration) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", s.pprof, d.Seconds()), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}

func measure(ctx context.Context, o options, f format) (r row, err error) {
	dir, err := os.MkdirTemp("", "bench-ingest-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := startServer(ctx, o, dir)
	if err != nil {
		return r, err
	}
	r.name = f.name
	var next atomic.Uint64
	var senders sync.WaitGroup
	sending, stop := context.WithTimeout(ctx, o.seconds)
	defer stop()
	began := time.Now()
	failures := make(chan error, o.conns+1)
	for range o.conns {
		b, err := f.body(o.batch)
		if err != nil {
			return r, errors.Join(err, s.stop())
		}
		senders.Go(func() {
			if err := send(sending, s, f, b, &next, &r); err != nil {
				failures <- err
				stop()
			}
		})
	}
	if o.profile != "" {
		senders.Go(func() {
			if err := s.profiled(ctx, filepath.Join(o.profile, f.name+".pprof"), o.seconds*3/4); err != nil {
				failures <- err
			}
		})
	}
	senders.Wait()
	r.sending = time.Since(began)
	close(failures)
	for e := range failures {
		err = errors.Join(err, e)
	}
	if err != nil {
		return r, errors.Join(err, s.stop())
	}
	for r.stored < r.taken && time.Since(began) < 3*o.seconds && ctx.Err() == nil {
		if r.stored, err = s.stored(ctx); err != nil {
			slog.Warn("status", "error", err)
		}
		r.took = time.Since(began)
		time.Sleep(50 * time.Millisecond)
	}
	r.peak = s.peak()
	if err := s.stop(); err != nil {
		return r, err
	}
	r.used = s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
	err = filepath.Walk(s.data, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			r.disk += info.Size()
		}
		return err
	})
	return r, errors.Join(err, ctx.Err())
}

// send sends one request after the other until the time is over. The request that is under way then is finished.
func send(ctx context.Context, s *server, f format, b *body, next *atomic.Uint64, r *row) error {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableCompression: true, WriteBufferSize: 64 << 10}}
	defer client.CloseIdleConnections()
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		b.fresh(next.Add(uint64(len(b.ids))) + 1<<32)
		data := b.data
		if f.zipped {
			if data, err = zip(b.data, &buf, z); err != nil {
				return err
			}
		}
		for {
			status, err := post(context.WithoutCancel(ctx), client, s, f, data)
			if err != nil {
				return err
			}
			if status == http.StatusOK {
				atomic.AddInt64(&r.taken, int64(len(b.ids)))
				break
			}
			if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
				return fmt.Errorf("answered %d", status)
			}
			atomic.AddInt64(&r.again, 1)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return nil
}

func post(ctx context.Context, client *http.Client, s *server, f format, data []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.api+f.path, bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", f.media)
	if f.zipped {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func markdown(o options, rows []row) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%d cores, the sender on them too; linux/%s, Go %s. `make bench-ingest`: %v of sending, %d exchanges a request, 1 KB of content each, redaction and roll-ups on, embedded bus and DuckDB.\n\n",
		runtime.NumCPU(), runtime.GOARCH, strings.TrimPrefix(runtime.Version(), "go"), o.seconds, o.batch)
	t.WriteString("| | exchanges/s, sent to queryable | exchanges | stored after the last was sent, s | server's CPU, µs each | peak memory, MB | on disk, bytes each | told to come again |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		each := func(v float64) float64 { return v / float64(max(1, r.stored)) }
		fmt.Fprintf(&t, "| %s | %.0f | %d of %d | %.1f | %.0f | %d | %.0f | %d |\n", r.name, r.rate(), r.stored, r.taken, (r.took - r.sending).Seconds(), each(float64(r.used.Microseconds())), r.peak>>20, each(float64(r.disk)), r.again)
	}
	return t.String()
}

// replaceFigures puts text between the document's marker lines.
func replaceFigures(path, text string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(data), beginMark+"\n")
	_, after, closed := strings.Cut(rest, endMark)
	if !found || !closed {
		return errors.New(path + " has no lines " + beginMark + " and " + endMark)
	}
	return os.WriteFile(path, []byte(before+beginMark+"\n"+text+endMark+after), 0o644)
}
