package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// server is a running telltale sim.
type server struct {
	cmd     *exec.Cmd
	baseURL string // ends in /v1
}

// startServer starts the simulated model server on a free port of loopback.
func startServer(ctx context.Context, telltale string) (*server, error) {
	cmd := exec.CommandContext(ctx, telltale, "sim")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w; make build builds it", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("telltale sim said %q: %w", line, err), cmd.Process.Kill(), cmd.Wait())
	}
	return &server{cmd, url}, nil
}

// stop ends the server and returns the CPU time it used.
func (s *server) stop() (time.Duration, error) {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return 0, err
	}
	err := s.cmd.Wait()
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime(), err
}

// requests is how many requests for answers the server has had.
func (s *server) requests(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.baseURL, "/v1")+"/sim/stats", nil)
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
	var stats struct {
		ByRoute map[string]int `json:"by_route"`
	}
	if err := json.Unmarshal(body, &stats); err != nil {
		return 0, fmt.Errorf("the server's statistics: %w", err)
	}
	return stats.ByRoute["chat"], nil
}
