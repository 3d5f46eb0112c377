//go:build linux || darwin

package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
	"github.com/telltale-llm/telltale/internal/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if oneEngine != nil {
		oneEngine.close(oneEngine.conn)
	}
	if engineDir != "" {
		if err := os.RemoveAll(engineDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func embedded(t *testing.T) *Store {
	t.Helper()
	s, err := open(t.Context(), newEngine(t), "chdb", Options{}, migrations)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEmbedded(t *testing.T) {
	engineLibrary(t)
	storetest.Run(t, func(t *testing.T) store.Store { return embedded(t) })
}

// TestMinutes asks both tables the same.
func TestMinutes(t *testing.T) {
	s := embedded(t)
	start := time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)
	var xs []record.Exchange
	for i := range 5000 {
		latency, cost := .01*math.Exp(float64(i%97)/20), .5
		x := record.Exchange{ID: fmt.Sprint(i), Time: start.Add(time.Duration(i) * 17 * time.Second), Route: fmt.Sprint("r", i%2), Variant: []string{"baseline", "canary", "baseline"}[i%3],
			Latency: &latency, Cost: &cost, Usage: &record.Usage{Prompt: i, Completion: 1}, Redaction: "1"}
		if i%10 == 0 {
			x.TTFT, x.ErrorKind = &latency, record.Server
		}
		if i%10 == 1 {
			x.Latency, x.ErrorKind = nil, record.Canceled
		}
		xs = append(xs, x)
	}
	for i := 0; i < len(xs); i += 500 {
		for range 2 { // the second is left out
			if _, err := s.Put(t.Context(), xs[i:i+500]); err != nil {
				t.Fatal(err)
			}
		}
	}
	f := func(q store.SeriesQuery, points int) {
		t.Helper()
		q.From, q.To = start, start.Add(24*time.Hour)
		if !rolled(&q) {
			t.Errorf("minutes cannot answer %+v", q)
		}
		want, err := s.series(t.Context(), q, false)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Series(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != points || !reflect.DeepEqual(got, want) {
			t.Errorf("%d points %+v\nwant %d %+v", len(got), got, len(want), want)
		}
	}
	f(store.SeriesQuery{}, 1)
	f(store.SeriesQuery{Every: time.Hour, By: []store.Key{store.ByVariant, store.ByRoute}}, 96)
	f(store.SeriesQuery{Every: 6 * time.Hour, Filter: store.Filter{Routes: []string{"r1"}, Variants: []string{"canary"}}}, 5)

	g := func(want bool, change func(*store.SeriesQuery)) {
		t.Helper()
		q := store.SeriesQuery{Filter: store.Filter{From: start, To: start.Add(24 * time.Hour)}, Every: time.Hour, By: []store.Key{store.ByVariant}}
		change(&q)
		if got := rolled(&q); got != want {
			t.Errorf("%+v: %v", q, got)
		}
	}
	g(true, func(*store.SeriesQuery) {})
	g(false, func(q *store.SeriesQuery) { q.By = []store.Key{store.ByStatus} })
	g(false, func(q *store.SeriesQuery) { q.Users = []string{"u"} })
	g(false, func(q *store.SeriesQuery) { q.From = q.From.Add(time.Second) })
	g(false, func(q *store.SeriesQuery) { q.Every = 90 * time.Second })
	g(false, func(q *store.SeriesQuery) { q.Scores = []string{"tox"} })
}

// TestSameMoment puts the same exchange as two processes would that both found it missing.
func TestSameMoment(t *testing.T) {
	s := embedded(t)
	x := record.Exchange{ID: "a", Time: time.Unix(1_760_000_000, 0).UTC(), Redaction: "1", Content: &record.Content{Output: "x"}}
	flat, contents, err := store.FlattenAll([]record.Exchange{x})
	if err != nil {
		t.Fatal(err)
	}
	for token := range 3 {
		err := errors.Join(
			s.conn.insert(t.Context(), "content", store.ContentColumns, fmt.Sprint(token), 1, func(int) []any { return contentValues(contents[0]) }),
			s.conn.insert(t.Context(), "exchanges", exchangeColumns, fmt.Sprint(token), 1, func(int) []any { return values(&flat[0]) }))
		if err != nil {
			t.Fatal(err)
		}
	}
	st, err := s.Stats(t.Context())
	if err != nil || st.Exchanges != 1 || st.Content != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	for _, q := range []store.Query{{}, {Content: true}, {Filter: store.Filter{Text: "x"}}} {
		if page, err := s.List(t.Context(), q); err != nil || len(page.Exchanges) != 1 {
			t.Errorf("%d exchanges, %v", len(page.Exchanges), err)
		}
	}
	q := store.SeriesQuery{Filter: store.Filter{From: x.Time, To: x.Time.Add(time.Hour)}}
	if p, err := s.Series(t.Context(), q); err != nil || len(p) != 1 || p[0].Count != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestSameBlock sends a block again, as after a lost acknowledgement: it counts once, in minutes too.
func TestSameBlock(t *testing.T) {
	s := embedded(t)
	flat, _, err := store.FlattenAll([]record.Exchange{{ID: "a", Time: time.Unix(1_760_000_000, 0).UTC(), Redaction: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.conn.insert(t.Context(), "exchanges", exchangeColumns, "token", 1, func(int) []any { return values(&flat[0]) }); err != nil {
			t.Fatal(err)
		}
	}
	var rows, n int64
	if err := s.one(t.Context(), `SELECT (SELECT toInt64(count()) FROM exchanges), (SELECT toInt64(sum(n)) FROM minutes)`, nil, &rows, &n); err != nil || rows != 1 || n != 1 {
		t.Errorf("%d rows, %d counted, %v", rows, n, err)
	}
}

func TestMigration(t *testing.T) {
	e := newEngine(t)
	if _, err := open(t.Context(), e, "chdb", Options{}, migrations); err != nil {
		t.Fatal(err)
	}
	next := append(migrations[:len(migrations):len(migrations)], []table{{"added", "a Int64", "MergeTree", "ORDER BY a", "a"}})
	s, err := open(t.Context(), e, "chdb", Options{Retention: config.Retention{Content: time.Hour, Exchanges: 48 * time.Hour, Rollups: 72 * time.Hour}}, next)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := s.Stats(t.Context()); err != nil || st.Schema != len(next) {
		t.Errorf("%+v, %v", st, err)
	}
	var ttl string
	if err := s.one(t.Context(), `SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'content'`, nil, &ttl); err != nil || !strings.Contains(ttl, "TTL toDateTime(time) + toIntervalSecond(3600)") {
		t.Errorf("%s, %v", ttl, err)
	}
	_, err = open(t.Context(), e, "chdb", Options{}, migrations)
	var newer *store.SchemaError
	if !errors.As(err, &newer) || newer.Has != len(next) || newer.Want != len(migrations) {
		t.Errorf("%v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	f := func(want string, o Options) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := Open(ctx, o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v, want %q and no password", err, want)
		}
	}
	f("want clickhouse://user:password@host:9000/database", Options{URL: "clickhouse://u:s3cret@host:port/x"})
	f("cluster", Options{URL: "clickhouse://localhost/x", Cluster: "a'; DROP"})
	f("127.0.0.1:1", Options{URL: "clickhouse://u:s3cret@127.0.0.1:1/x?dial_timeout=1s"})
}

// TestCluster lets the engine read the statements for a cluster, which it cannot run.
func TestCluster(t *testing.T) {
	e := newEngine(t)
	s := &Store{conn: e, cluster: "main"}
	var statements []string
	for _, step := range migrations {
		for _, table := range step {
			statements = append(statements, s.create(table)...)
		}
	}
	statements = append(statements, fmt.Sprintf(minutesView, s.on(), s.local()))
	if n := len(statements); n != 2*(len(migrations[0])+len(migrations[1]))+1 {
		t.Errorf("%d statements", n)
	}
	for _, statement := range statements {
		if err := e.exec(t.Context(), "EXPLAIN AST "+statement); err != nil {
			t.Error(err)
		}
	}
	if want := "CREATE TABLE IF NOT EXISTS content_local ON CLUSTER 'main' ("; !strings.HasPrefix(statements[2], want) {
		t.Errorf("%s", statements[2])
	}
	if want := "ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')"; !strings.Contains(statements[2], want) {
		t.Errorf("%s", statements[2])
	}
	if want := "CREATE TABLE IF NOT EXISTS content ON CLUSTER 'main' AS content_local ENGINE = Distributed('main', currentDatabase(), content_local, reinterpretAsUInt64(key))"; statements[3] != want {
		t.Errorf("%s", statements[3])
	}
}
