package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// mortal is a telltale serve that is killed and started again on the same files and addresses.
type mortal struct {
	dir, gateway, api string
	cmd               *exec.Cmd
	ended             chan error
}

func newMortal(t *testing.T, upstream string) *mortal {
	t.Helper()
	free := func() string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return ln.Addr().String()
	}
	m := &mortal{dir: t.TempDir(), gateway: free(), api: free()}
	m.configure(t, upstream, "")
	t.Cleanup(func() {
		if m.cmd != nil {
			m.kill(t)
		}
	})
	return m
}

func (m *mortal) configure(t *testing.T, upstream, more string) {
	t.Helper()
	text := fmt.Sprintf("listen: {gateway: %q, api: %q, otlp_grpc: \"off\"}\nroutes: [{name: main, pass_key: true, upstreams: [{url: %q}]}]\n%s", m.gateway, m.api, upstream, more)
	if err := os.WriteFile(filepath.Join(m.dir, "server.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (m *mortal) start(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.cmd = exec.Command("telltale", "serve", "--log-level", "debug", "--log-format", "json")
	m.cmd.Dir, m.cmd.Stdout, m.cmd.Stderr = m.dir, f, f
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(m.cmd, m.ended)
}

func (m *mortal) kill(t *testing.T) {
	t.Helper()
	if err := m.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-m.ended
	m.cmd = nil
}

// restart kills the server, starts it again and waits until it answers.
func (m *mortal) restart(t *testing.T) {
	t.Helper()
	m.kill(t)
	m.start(t)
	m.ready(t)
}

func (m *mortal) status() (st struct {
	Bus, Store struct {
		OK      bool
		Numbers map[string]int64
	}
}, err error) {
	resp, err := http.Get("http://" + m.api + "/v1/status")
	if err != nil {
		return st, err
	}
	defer resp.Body.Close()
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

func (m *mortal) ready(t *testing.T) {
	t.Helper()
	m.until(t, "an answer", func() bool { _, err := m.status(); return err == nil })
}

func (m *mortal) until(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ask(); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-m.ended:
			t.Fatalf("serve ended by itself: %v\n%s", err, m.log(t))
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s did not come about\n%s", what, m.log(t))
		}
	}
}

func (m *mortal) log(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b[max(0, len(b)-4000):])
}

// stored waits until nothing is on its way, and returns how often each exchange is there and whose content is.
func (m *mortal) stored(t *testing.T) (ids map[string]int, content, snapshots map[string]bool) {
	t.Helper()
	calm := 0
	m.until(t, "the store's rest", func() bool {
		st, err := m.status()
		if err != nil || !st.Bus.OK || !st.Store.OK || st.Bus.Numbers["pending_frames"] > 0 || st.Bus.Numbers["waiting"] > 0 {
			calm = 0
		}
		calm++
		return calm > 20
	})
	resp, err := http.Get("http://" + m.api + "/v1/exchanges/export?format=ndjson&content=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	ids, content, snapshots = map[string]int{}, map[string]bool{}, map[string]bool{}
	for dec := json.NewDecoder(resp.Body); ; {
		var x struct {
			ID, Snapshot string
			Content      any
		}
		if err := dec.Decode(&x); errors.Is(err, io.EOF) {
			return ids, content, snapshots
		} else if err != nil {
			t.Fatal(err)
		}
		ids[x.ID]++
		snapshots[x.Snapshot] = true
		content[x.ID] = x.Content != nil
	}
}

// whole wants each exchange that the bus has acknowledged in the store once, by the log.
func (m *mortal) whole(t *testing.T, after string, least int) (content map[string]bool) {
	t.Helper()
	ids, content, snapshots := m.stored(t)
	b, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	for line := range bytes.Lines(b) {
		var l struct {
			Msg string
			IDs []string
		}
		if json.Unmarshal(line, &l) != nil || l.Msg != "acknowledged" { // a killed process leaves half a line
			continue
		}
		for _, id := range l.IDs {
			if snapshots[id] {
				continue
			}
			if acknowledged++; ids[id] != 1 {
				t.Errorf("after %s: exchange %s is there %d times", after, id, ids[id])
			}
		}
	}
	st, err := m.status()
	if err != nil {
		t.Fatal(err)
	}
	if n := st.Store.Numbers["exchanges"]; n != int64(len(ids)) || acknowledged < least {
		t.Errorf("after %s: the store counts %d exchanges and exports %d; %d were acknowledged, want %d at least", after, n, len(ids), acknowledged, least)
	}
	t.Logf("after %s: %d acknowledged, %d stored", after, acknowledged, len(ids))
	return content
}

// TestServeKilled kills the server while it starts, ends, imports, forgets and deletes: each time it starts again on its
// files as if nothing had been, and what was acknowledged is there once. Forgetting and deleting only with TELLTALE_LONG.
func TestServeKilled(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}`)
	}))
	t.Cleanup(up.Close)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	some := func(most time.Duration) { time.Sleep(time.Duration(rng.Int64N(int64(most)))) }
	m := newMortal(t, up.URL)
	end := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			client := &http.Client{Timeout: 5 * time.Second}
			for {
				select {
				case <-end:
					return
				case <-time.After(5 * time.Millisecond):
				}
				if resp, err := client.Post("http://"+m.gateway+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"sim","messages":[{"role":"user","content":"hello"}]}`)); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
		})
	}
	for range 5 {
		m.start(t)
		some(600 * time.Millisecond)
		m.kill(t)
	}
	m.start(t)
	m.ready(t)
	for range 4 {
		some(500 * time.Millisecond)
		if err := m.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		some(200 * time.Millisecond)
		m.restart(t)
	}
	some(time.Second)
	close(end)
	load.Wait()
	long := os.Getenv("TELLTALE_LONG") != ""
	if long { // what was on its way to the store at a kill is given out again after half a minute
		m.whole(t, "its start and end", 50)
	}

	const rows = 6000
	var file bytes.Buffer
	for i := range rows {
		at := time.Now().Add(-time.Duration(1+9*(i%2)) * 24 * time.Hour).Add(-time.Duration(i) * time.Second)
		fmt.Fprintf(&file, `{"id":"imported-%d","time":%q,"route":"imported","user":"user-%c","content":{"input":[{"role":"user","content":"hello"}],"output":"yes"}}`+"\n", i, at.UTC().Format(time.RFC3339), 'a'+rune(i%3))
	}
	path := filepath.Join(m.dir, "import.ndjson")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command("telltale", append(args, "--server", "http://"+m.api)...)
		cmd.Stderr = new(bytes.Buffer)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	for range 3 {
		cmd := command("exchanges", "import", path)
		some(700 * time.Millisecond)
		m.restart(t)
		_ = cmd.Wait() // it fails, or was done before
	}
	must := func(args ...string) {
		t.Helper()
		m.until(t, "the store's opening", func() bool {
			st, err := m.status()
			return err == nil && st.Store.OK
		})
		if cmd := command(args...); cmd.Wait() != nil {
			t.Fatalf("%s after all: %s\n%s", args, cmd.Stderr, m.log(t))
		}
	}
	must("exchanges", "import", path)
	m.whole(t, "imports", rows)
	if !long {
		return
	}

	for range 3 {
		cmd := command("forget", "--user", "user-a")
		some(200 * time.Millisecond)
		m.restart(t)
		_ = cmd.Wait()
	}
	must("forget", "--user", "user-a")
	content := m.whole(t, "forgetting", rows)
	for i := range rows {
		if id := fmt.Sprintf("imported-%d", i); content[id] != (i%3 != 0) {
			t.Fatalf("content of %s: %v", id, content[id])
		}
	}

	m.kill(t)
	m.configure(t, up.URL, "retention: {content: 5d, exchanges: 9d}\n")
	for range 4 {
		m.start(t)
		some(800 * time.Millisecond)
		m.kill(t)
	}
	m.start(t)
	m.ready(t)
	m.until(t, "the deletion of what is old", func() bool {
		ids, _, _ := m.stored(t)
		for i := 1; i < rows; i += 2 {
			if ids[fmt.Sprintf("imported-%d", i)] > 0 {
				return false
			}
		}
		for i := 0; i < rows; i += 2 {
			if id := fmt.Sprintf("imported-%d", i); ids[id] != 1 {
				t.Fatalf("%s is there %d times", id, ids[id])
			}
		}
		return true
	})
	if err := m.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-m.ended; err != nil {
		t.Errorf("serve ended with %v\n%s", err, m.log(t))
	}
	m.cmd = nil
}
