package clickhouse

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/telltale-llm/telltale/internal/store"
	"github.com/telltale-llm/telltale/internal/store/storetest"
)

// serverEnv names a server of a current version, such as clickhouse://localhost:9000/default; the tests make and drop
// databases of their own in it. With clusterEnv its tables are replicated and distributed.
const (
	serverEnv  = "TELLTALE_CLICKHOUSE"
	clusterEnv = "TELLTALE_CLICKHOUSE_CLUSTER"
)

// TestServer runs the whole suite over the wire.
func TestServer(t *testing.T) {
	url := os.Getenv(serverEnv)
	if url == "" {
		t.Skipf("no ClickHouse server here: %s is not set", serverEnv)
	}
	options, err := driver.ParseDSN(url)
	if err != nil {
		t.Fatalf("%s cannot be read", serverEnv)
	}
	admin, err := driver.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	cluster, on := os.Getenv(clusterEnv), ""
	if cluster != "" {
		on = " ON CLUSTER '" + cluster + "'"
	}
	storetest.Run(t, func(t *testing.T) store.Store {
		name := fmt.Sprintf("telltale_test_%d", time.Now().UnixNano())
		if err := admin.Exec(t.Context(), "CREATE DATABASE "+name+on); err != nil {
			t.Fatal(err)
		}
		base, query, _ := strings.Cut(url, "?")
		s, err := Open(t.Context(), Options{URL: base[:strings.LastIndex(base, "/")+1] + name + "?" + query, Cluster: cluster})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := admin.Exec(context.Background(), "DROP DATABASE "+name+on+" SYNC"); err != nil {
				t.Error(err)
			}
		})
		return s
	})
}

// oldServer is Debian's clickhouse-server (18.16). It knows neither our types nor our settings, but the same protocol.
type oldServer struct {
	dir  string
	port int
	cmd  *exec.Cmd
}

func newOldServer(t *testing.T) *oldServer {
	t.Helper()
	if _, err := exec.LookPath("clickhouse-server"); err != nil {
		t.Skip("no clickhouse-server here: apt-get install clickhouse-server")
	}
	ports := make([]int, 3)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	s := &oldServer{dir: t.TempDir(), port: ports[0]}
	config := fmt.Sprintf(`<yandex><logger><level>warning</level><console>1</console></logger><tcp_port>%d</tcp_port><http_port>%d</http_port>
<interserver_http_port>%d</interserver_http_port><listen_host>127.0.0.1</listen_host><path>%[4]s/</path><tmp_path>%[4]s/tmp/</tmp_path>
<users_config>users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>100000000</mark_cache_size></yandex>`, ports[0], ports[1], ports[2], s.dir)
	users := `<yandex><profiles><default/></profiles><users><default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users><quotas><default/></quotas></yandex>`
	for name, text := range map[string]string{"config.xml": config, "users.xml": users} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *oldServer) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command("clickhouse-server", "--config-file="+filepath.Join(s.dir, "config.xml"))
	s.cmd.Dir = s.dir
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port)); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(50 * time.Millisecond) // a process; there is nothing else to wait for
	}
	s.kill()
	t.Skip("clickhouse-server does not start here")
}

func (s *oldServer) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// TestWire puts blocks through the driver into a server that is killed between them: what was acknowledged is there, and
// the connection mends itself.
func TestWire(t *testing.T) {
	s := newOldServer(t)
	s.start(t)
	defer s.kill()
	c, err := driver.Open(&driver.Options{Addr: []string{fmt.Sprintf("127.0.0.1:%d", s.port)}, DialTimeout: 5 * time.Second, MaxOpenConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	n := native{c, func(int, string) driver.Settings { return nil }}
	defer func() { _ = n.close() }()
	ctx := t.Context()
	err = n.exec(ctx, `CREATE TABLE t (day Date, id String, n Int64, latency Nullable(Float64), names Array(String), scores Array(Float64)) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(day) ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	const blocks, size = 12, 2000
	day := time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)
	put := func(block int) error {
		return n.insert(ctx, "t", "day, id, n, latency, names, scores", "", size, func(i int) []any {
			var latency *float64
			if i%2 == 0 {
				v := float64(i) / 7
				latency = &v
			}
			return []any{day, fmt.Sprintf("%d-%d-'\\?", block, i), int64(i), latency, []string{"tox"}, []float64{.5}}
		})
	}
	for block := range blocks {
		if block%4 == 2 {
			s.kill()
			if err := put(block); err == nil {
				t.Error("a block was acknowledged by a server that had been killed")
			}
			s.start(t)
		}
		var err error
		for range 5 { // each broken connection of the pool fails once
			if err = put(block); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatalf("block %d: %v", block, err)
		}
		if err := put(block); err != nil { // again, as after a lost acknowledgement
			t.Fatal(err)
		}
	}
	var rows uint64
	var sum *float64
	var names []string
	var id string
	f := func(query string, args []any, to ...any) {
		t.Helper()
		found, err := n.query(ctx, query, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer found.Close()
		if !found.Next() {
			t.Fatalf("no row: %v", found.Err())
		}
		if err := found.Scan(to...); err != nil {
			t.Fatal(err)
		}
	}
	f(`SELECT count(), sum(latency) FROM (SELECT * FROM t FINAL)`, nil, &rows, &sum)
	if rows != blocks*size || sum == nil {
		t.Errorf("%d rows, want %d", rows, blocks*size)
	}
	f(`SELECT id, names FROM t FINAL WHERE id = ? AND n = ?`, []any{"3-7-'\\?", int64(7)}, &id, &names)
	if id != "3-7-'\\?" || len(names) != 1 || names[0] != "tox" {
		t.Errorf("%q, %v", id, names)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := n.query(canceled, `SELECT count() FROM t`); err == nil {
		t.Error("a query without an error though its context had ended")
	}
	if _, err := n.query(ctx, `SELECT nothing FROM t`); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("%v", err)
	}
}
