package main

import (
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
	"time"
)

// row is one measurement.
type row struct {
	format
	taken, stored int64
	found         found         // in the database afterwards
	again         int64         // requests that were sent again because the server was busy
	sending       time.Duration // from the first request to the last
	took          time.Duration // until the last exchange was stored
	lags          []time.Duration
	peak          int64         // bytes of memory of the server
	used, own     time.Duration // processor time of the server, and of this program, from the first request on
	disk          int64         // bytes of the data directory
}

// found is what the database holds once the server has ended.
type found struct {
	exchanges, ids, texts, bytes int64 // rows, distinct ids, distinct questions, bytes of content
	leaked, marked               int64 // texts with a planted value, and with what stands for one
}

func (r row) rate() float64 { return float64(r.stored) / r.took.Seconds() }

// lag is the share q of the lags, which are in order.
func (r row) lag(q float64) time.Duration {
	if len(r.lags) == 0 {
		return 0
	}
	return r.lags[int(q*float64(len(r.lags)-1))]
}

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

// processorTime is what a process has used so far, in the kernel too; 0 when it cannot be read.
func processorTime(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in brackets, may hold anything. From the third field on, utime and stime are the 12th and 13th, in hundredths.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err != nil || err2 != nil {
		return 0
	}
	return time.Duration(user+system) * 10 * time.Millisecond
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
	l := &load{format: f, options: o}
	if err := l.prepare(); err != nil {
		return r, err
	}
	if l.s, err = startServer(ctx, o, dir); err != nil {
		return r, err
	}
	r.format = f
	used, own := processorTime(l.s.cmd.Process.Pid), processorTime(os.Getpid())
	if err := l.run(ctx, &r); err != nil {
		return r, errors.Join(err, l.s.stop())
	}
	r.used, r.own = processorTime(l.s.cmd.Process.Pid)-used, processorTime(os.Getpid())-own
	r.peak = l.s.peak()
	if err := l.s.stop(); err != nil {
		return r, err
	}
	err = filepath.Walk(l.s.data, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			r.disk += info.Size()
		}
		return err
	})
	if err == nil {
		r.found, err = search(ctx, l.s.data)
	}
	return r, errors.Join(err, ctx.Err())
}
