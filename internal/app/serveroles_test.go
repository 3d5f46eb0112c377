package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
	"github.com/telltale-llm/telltale/internal/store/duckdb"
)

// childEnv makes the test's binary a telltale serve: its value is what serveChild reads.
const childEnv = "TELLTALE_SERVE_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := serveChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// childConfig says what a process of the test does. Store is the address of the test's store; a process without it opens
// what its configuration names.
type childConfig struct {
	Config, Store string
	Place         config.Placement
}

func serveChild(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := ServeOptions{Config: c.Config, Placement: c.Place, Env: os.LookupEnv, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Grace: time.Second,
		Ready: func(_, gateway, api, _ string) { fmt.Printf("%s %s\n", gateway, api) }}
	if c.Store != "" {
		o.openStore = func(context.Context, *config.Server) (store.Store, error) { return &farStore{base: c.Store}, nil }
	}
	return Serve(ctx, o)
}

// farStore is the test's own store, as several workers use a ClickHouse server.
type farStore struct {
	store.Store
	base string
}

func (f *farStore) call(ctx context.Context, path string, in any) (added int, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the store answers %s", resp.Status)
	}
	return added, json.NewDecoder(resp.Body).Decode(&added)
}

func (f *farStore) Put(ctx context.Context, xs []record.Exchange) (int, error) {
	return f.call(ctx, "/put", xs)
}
func (f *farStore) PutSnapshots(ctx context.Context, ss []record.Snapshot) error {
	_, err := f.call(ctx, "/snapshots", ss)
	return err
}
func (f *farStore) PutRollups(ctx context.Context, rs []record.Rollup) error {
	_, err := f.call(ctx, "/rollups", rs)
	return err
}
func (f *farStore) Stats(context.Context) (store.Stats, error) { return store.Stats{}, nil }
func (f *farStore) Delete(context.Context, config.Retention, time.Time) (store.Deleted, error) {
	return store.Deleted{}, nil
}
func (f *farStore) Close() error { return nil }

// fleet are processes with roles around one NATS server and one store.
type fleet struct {
	t        *testing.T
	dir      string
	nats     string
	store    string
	upstream string
	kept     store.Store
	// puts counts the batches that each process put, by the address of its connection.
	puts atomic.Int64
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), upstream: echoing(t).URL}
	kept, err := duckdb.Open(t.Context(), filepath.Join(f.dir, "kept"), duckdb.Options{})
	if err != nil {
		t.Skip("without DuckDB: ", err)
	}
	f.kept = kept
	t.Cleanup(func() {
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, JetStreamMaxStore: 4 << 30, StoreDir: filepath.Join(f.dir, "nats"), SyncAlways: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("NATS does not start")
	}
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	f.nats = srv.ClientURL()
	mux := http.NewServeMux()
	answer := func(path string, put func(context.Context, []byte) (int, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			added := 0
			if err == nil {
				added, err = put(r.Context(), body)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprint(w, added)
		})
	}
	answer("/put", func(ctx context.Context, b []byte) (int, error) {
		var xs []record.Exchange
		if err := json.Unmarshal(b, &xs); err != nil {
			return 0, err
		}
		f.puts.Add(1)
		return kept.Put(ctx, xs)
	})
	answer("/snapshots", func(ctx context.Context, b []byte) (int, error) {
		var ss []record.Snapshot
		if err := json.Unmarshal(b, &ss); err != nil {
			return 0, err
		}
		return 0, kept.PutSnapshots(ctx, ss)
	})
	answer("/rollups", func(ctx context.Context, b []byte) (int, error) {
		var rs []record.Rollup
		if err := json.Unmarshal(b, &rs); err != nil {
			return 0, err
		}
		return 0, kept.PutRollups(ctx, rs)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	f.store = s.URL
	return f
}

// process is one of the fleet's.
type process struct {
	cmd          *exec.Cmd
	gateway, api string
	log          *bytes.Buffer
	ended        sync.Once
	err          error
}

func (p *process) end(sig os.Signal) error {
	p.ended.Do(func() {
		_ = p.cmd.Process.Signal(sig)
		p.err = p.cmd.Wait()
	})
	return p.err
}

// start starts a process in a folder of its own. Without shared it has its own DuckDB.
func (f *fleet) start(name string, shared bool, roles ...string) *process {
	f.t.Helper()
	dir := filepath.Join(f.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		f.t.Fatal(err)
	}
	c := childConfig{Config: filepath.Join(dir, "server.yaml"), Place: config.Placement{Roles: roles, Bus: f.nats}}
	if shared {
		c.Store, c.Place.Store = f.store, "clickhouse://db:9000/telltale"
	}
	text := fmt.Sprintf("listen: {gateway: '127.0.0.1:0', api: '127.0.0.1:0', otlp_grpc: off}\nroutes: [{name: main, pass_key: true, upstreams: [{url: %q}]}]\nprivacy: {key_env: FLEET_KEY, key_id: one}\nbus: {replicas: 1, max_bytes: 256MiB}\n", f.upstream)
	if err := os.WriteFile(c.Config, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	env, err := json.Marshal(c)
	if err != nil {
		f.t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0]), log: &bytes.Buffer{}}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(env), "FLEET_KEY=0123456789abcdef0123456789abcdef")
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = p.end(syscall.SIGKILL)
		if f.t.Failed() {
			f.t.Logf("%s: %s", name, p.log)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		f.t.Fatalf("%s does not start: %v, %s", name, err, p.log)
	}
	at := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	p.gateway, p.api = at[0], at[1]
	return p
}

// send sends n requests to each gateway at the same time.
func (f *fleet) send(n int, to ...*process) {
	f.t.Helper()
	var wg sync.WaitGroup
	for _, p := range to {
		for range 4 {
			wg.Go(func() {
				for range n / 4 {
					resp, err := http.Post("http://"+p.gateway+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"hello"}]}`))
					if err != nil {
						f.t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					time.Sleep(2 * time.Millisecond)
				}
			})
		}
	}
	wg.Wait()
}

// whole waits until n exchanges are stored, and checks that roll-ups add up to as many.
func (f *fleet) whole(n int64) {
	f.t.Helper()
	var got store.Stats
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var err error
		if got, err = f.kept.Stats(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
		if got.Exchanges >= n && f.counted() >= float64(n) {
			break
		}
	}
	time.Sleep(500 * time.Millisecond) // for what comes too often
	got, err := f.kept.Stats(f.t.Context())
	if counted := f.counted(); err != nil || got.Exchanges != n || counted != float64(n) {
		f.t.Errorf("%d stored, %v in the roll-ups, want %d; %v", got.Exchanges, counted, n, err)
	}
}

func (f *fleet) counted() float64 {
	f.t.Helper()
	rs, err := f.kept.Rollups(f.t.Context(), store.RollupQuery{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)})
	if err != nil {
		f.t.Fatal(err)
	}
	sum := 0.
	for i := range rs {
		sum += rs[i].Counts["requests"]
	}
	return sum
}

// Two gateways and two workers around one NATS server store each exchange once, and the roll-ups add up.
func TestFleet(t *testing.T) {
	f := newFleet(t)
	w1, w2 := f.start("worker1", true, "worker"), f.start("worker2", true, "worker")
	g1, g2 := f.start("gateway1", true, "gateway"), f.start("gateway2", true, "gateway", "ingest")
	const n = 400
	f.send(n, g1, g2)
	f.whole(2 * n)
	for _, p := range []*process{w1, w2} {
		got := (&serving{api: "http://" + p.api}).scraped(t)
		if total(got["telltale_bus_up"]) != 1 || total(got["telltale_store_up"]) != 1 || got["telltale_stored_exchanges_total"] == nil {
			t.Error("a worker's metrics say that it does not work")
		}
		if p.gateway != "" {
			t.Error("a worker listens as a gateway")
		}
	}
	// What is another process' task is said, and status is told by all.
	ask := func(p *process, method, path string, status int, want string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.api+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || !strings.Contains(string(b), want) {
			t.Errorf("%s %s: %s %s, %v; want %d %s", method, path, resp.Status, b, err, status, want)
		}
	}
	ask(g1, "GET", "/v1/exchanges", 503, "has not the role api")
	ask(g1, "POST", "/v1/exchanges", 404, "has not the role ingest")
	ask(g2, "POST", "/v1/exchanges", 400, "error")
	ask(w1, "GET", "/v1/status", 200, `"roles":["worker"]`)
	for _, p := range []*process{g1, g2, w1, w2} {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("%v: %s", err, p.log)
		}
	}
}

// Two DuckDBs would each get a part of the exchanges: the second worker says so and ends.
func TestFleetOfTwoStores(t *testing.T) {
	f := newFleet(t)
	first := f.start("worker1", false, "worker", "api")
	g := f.start("gateway1", false, "gateway")
	f.send(8, g)
	(&serving{api: "http://" + first.api}).ready(t)
	second := f.start("worker2", false, "worker", "api")
	done := make(chan error, 1)
	go func() { done <- second.end(syscall.Signal(0)) }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(second.log.String(), "DuckDB can have only one worker") {
			t.Errorf("%v: %s", err, second.log)
		}
	case <-time.After(40 * time.Second):
		t.Error("the second worker goes on")
		_ = second.cmd.Process.Kill()
	}
}

// ready waits until something is stored.
func (s *serving) ready(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got := s.scraped(t); total(got["telltale_stored_exchanges_total"]) > 0 {
			return
		}
	}
	t.Fatal("nothing is stored")
}

// A worker is killed: what it had goes to the other one, once.
func TestFleetKilledLong(t *testing.T) {
	if os.Getenv("TELLTALE_LONG") == "" {
		t.Skip("takes a minute; TELLTALE_LONG=1 runs it")
	}
	f := newFleet(t)
	w1 := f.start("worker1", true, "worker")
	f.start("worker2", true, "worker")
	g1, g2 := f.start("gateway1", true, "gateway"), f.start("gateway2", true, "gateway")
	const n = 4000
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		f.send(n, g1, g2)
	}()
	for f.puts.Load() < 2 {
		time.Sleep(10 * time.Millisecond)
	}
	_ = w1.end(syscall.SIGKILL)
	<-sent
	f.whole(2 * n)
}
