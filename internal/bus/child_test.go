package bus

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/telltale-llm/telltale/internal/config"
)

// childPublish publishes to an embedded bus until it is killed. It prints the number of each record once it has been
// acknowledged, and consumes meanwhile, so that the kill also hits acknowledgements and plans.
func childPublish() {
	ctx := context.Background()
	from, err := strconv.Atoi(os.Getenv("TELLTALE_FROM"))
	must(err)
	b, err := open(ctx, config.BusConfig{MaxBytes: 1 << 30}, os.Getenv("TELLTALE_DIR"), slog.New(slog.DiscardHandler), quick())
	must(err)
	p := b.Publisher("x", PublisherOptions{FrameBytes: 32 << 10, Linger: time.Millisecond})
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	var mu sync.Mutex
	go func() {
		must(b.Consume(ctx, "x", "d", ConsumeOptions{Stable: true, MaxWait: 5 * time.Millisecond, AckWait: time.Second}, func(_ context.Context, batch Batch) error {
			mu.Lock()
			defer mu.Unlock()
			for _, r := range batch.Records {
				_, err := fmt.Fprintf(out, "got %s %s\n", batch.ID, r.ID)
				must(err)
			}
			return out.Flush()
		}))
	}()
	for k := range 4 {
		go func() {
			for i := 0; ; i++ {
				items := make([]Item, 10)
				for j := range items {
					id := fmt.Sprintf("%d-%d-%d-%d", from, k, i, j)
					items[j] = Item{id, []byte(id + strings.Repeat("data ", 100))}
				}
				must(p.Put(ctx, items))
				mu.Lock()
				for _, it := range items {
					_, err := fmt.Fprintf(out, "put %s\n", it.ID)
					must(err)
				}
				must(out.Flush())
				mu.Unlock()
			}
		}()
	}
	select {}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestKill kills a process under load, again and again with the same directory. Every record it said was durable is
// delivered; a record that comes again comes in the batch it came in before.
func TestKill(t *testing.T) {
	times := 20
	if testing.Short() {
		times = 3
	}
	dir := t.TempDir()
	put := map[string]bool{}
	got := map[string]map[string]bool{} // batches by record
	note := func(batch, id string) {
		if got[id] == nil {
			got[id] = map[string]bool{}
		}
		got[id][batch] = true
	}
	for round := range times {
		lines := killed(t, dir, round, time.Duration(50+rand.IntN(350))*time.Millisecond)
		for _, line := range lines {
			f := strings.Fields(line)
			switch {
			case len(f) == 2 && f[0] == "put":
				put[f[1]] = true
			case len(f) == 3 && f[0] == "got":
				note(f[1], f[2])
			}
		}
	}
	before := len(got)
	b := openEmbedded(t, dir, config.BusConfig{MaxBytes: 1 << 30})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	quietFor := time.AfterFunc(3*time.Second, cancel)
	if err := b.Consume(ctx, "x", "d", ConsumeOptions{Stable: true, AckWait: time.Second}, func(_ context.Context, batch Batch) error {
		quietFor.Reset(3 * time.Second)
		for _, r := range batch.Records {
			note(batch.ID, r.ID)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	lost, split := 0, 0
	for id := range put {
		if got[id] == nil {
			lost++
		}
	}
	for id, batches := range got {
		if len(batches) > 1 {
			if split++; split < 4 {
				t.Logf("%s came in %v", id, batches)
			}
		}
	}
	t.Logf("%d kills: %d records acknowledged, %d delivered, %d of them before the last start", times, len(put), len(got), before)
	if lost > 0 || len(put) == 0 {
		t.Errorf("%d of %d acknowledged records are lost", lost, len(put))
	}
	if split > 0 {
		t.Errorf("%d records came in more than one batch", split)
	}
}

// killed runs the child until it has published for a while, and returns the whole lines that it printed.
func killed(t *testing.T, dir string, round int, after time.Duration) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TELLTALE_BUS_CHILD=publish", "TELLTALE_DIR="+dir, fmt.Sprint("TELLTALE_FROM=", round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReaderSize(out, 1<<16)
	var lines []string
	first := true
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break // what was printed of a last line does not count
		}
		lines = append(lines, line)
		if first {
			first = false
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	if len(lines) == 0 {
		t.Fatal("the child published nothing")
	}
	return lines
}

// childNode is one node of a cluster, until it is killed or its standard input ends.
func childNode() {
	env := func(k string) string { return os.Getenv("TELLTALE_" + k) }
	port, err := strconv.Atoi(env("PORT"))
	must(err)
	route, err := strconv.Atoi(env("ROUTE"))
	must(err)
	s, err := server.NewServer(&server.Options{
		ServerName: env("NAME"), Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: env("DIR"), SyncAlways: true,
		JetStreamMaxStore: 1 << 40, Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: route}, Routes: server.RoutesFromStr(env("ROUTES")),
	})
	must(err)
	s.Start()
	_, err = io.Copy(io.Discard, os.Stdin)
	must(err)
	s.Shutdown()
	s.WaitForShutdown()
}

type node struct {
	t     *testing.T
	env   []string
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func (n *node) start() {
	n.t.Helper()
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), n.env...)
	n.cmd.Stderr = os.Stderr
	var err error
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		n.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) kill() {
	_ = n.cmd.Process.Kill() // it may have ended
	_ = n.cmd.Wait()
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out
}

// TestLongCluster kills a node of a cluster of three under load, among them the leader, and starts it again. Nothing
// that was acknowledged is lost, and nothing is delivered twice under two batches.
func TestLongCluster(t *testing.T) {
	if os.Getenv("TELLTALE_LONG") == "" {
		t.Skip("takes a minute: set TELLTALE_LONG=1")
	}
	ports := freePorts(t, 6)
	var routes, urls []string
	for i := range 3 {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[3+i]))
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	nodes := map[string]*node{}
	for i := range 3 {
		name := fmt.Sprint("n", i)
		n := &node{t: t, env: []string{
			"TELLTALE_BUS_CHILD=node", "TELLTALE_NAME=" + name, fmt.Sprint("TELLTALE_PORT=", ports[i]), fmt.Sprint("TELLTALE_ROUTE=", ports[3+i]),
			"TELLTALE_ROUTES=" + strings.Join(routes, ","), "TELLTALE_DIR=" + filepath.Join(t.TempDir(), name),
		}}
		n.start()
		t.Cleanup(n.kill)
		nodes[name] = n
	}
	b := openEmbedded(t, t.TempDir(), config.BusConfig{URL: strings.Join(urls, ","), Replicas: 3, MaxBytes: 1 << 30})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	p := b.Publisher("x", PublisherOptions{})
	start := time.Now()
	if err := p.Put(ctx, items(1_000_000, 1, 10)); err != nil {
		t.Fatal(err)
	}
	t.Logf("first acknowledgement after %v", time.Since(start).Round(time.Millisecond))

	var mu sync.Mutex
	put, got := map[string]bool{}, map[string]map[string]bool{}
	longest := time.Duration(0)
	loading, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for i := 0; loading.Err() == nil; i++ {
				its := items(100_000*k+50*i%90_000, 50, 500)
				for j := range its {
					its[j].ID = fmt.Sprintf("%d-%d-%d", k, i, j)
				}
				begin := time.Now()
				if err := p.Put(ctx, its); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				longest = max(longest, time.Since(begin))
				for _, it := range its {
					put[it.ID] = true
				}
				mu.Unlock()
			}
		})
	}
	var cwg sync.WaitGroup
	consuming, end := context.WithCancel(ctx)
	for range 2 { // two processes' worth of consumers
		cwg.Go(func() {
			if err := b.Consume(consuming, "x", "d", ConsumeOptions{Stable: true, AckWait: 5 * time.Second}, func(_ context.Context, batch Batch) error {
				mu.Lock()
				defer mu.Unlock()
				for _, r := range batch.Records {
					if got[r.ID] == nil {
						got[r.ID] = map[string]bool{}
					}
					got[r.ID][batch.ID] = true
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		time.Sleep(4 * time.Second)
		leader := ""
		if h := b.Health(ctx); len(h.Streams) > 0 {
			leader = h.Streams[0].Leader
		}
		n := nodes[leader]
		if n == nil {
			n = nodes["n1"]
		}
		t.Logf("killing %q", leader)
		n.kill()
		time.Sleep(6 * time.Second)
		n.start()
	}
	time.Sleep(5 * time.Second)
	stop()
	wg.Wait()
	if err := p.Flush(ctx); err != nil {
		t.Error(err)
	}
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(200 * time.Millisecond) {
		mu.Lock()
		left := 0
		for id := range put {
			if got[id] == nil {
				left++
			}
		}
		mu.Unlock()
		if left == 0 {
			break
		}
	}
	time.Sleep(time.Second)
	end()
	cwg.Wait()
	lost, split := 0, 0
	for id := range put {
		if got[id] == nil {
			lost++
		}
		if len(got[id]) > 1 {
			split++
		}
	}
	s := p.Stats()
	t.Logf("%d records acknowledged, longest wait %v, %d retries, %d duplicates; stats %+v", len(put), longest.Round(time.Millisecond), s.Retries, s.Duplicates, b.Consumers())
	if lost > 0 || len(put) == 0 {
		t.Errorf("%d of %d acknowledged records are lost", lost, len(put))
	}
	if split > 0 {
		t.Errorf("%d records came in more than one batch", split)
	}
}
