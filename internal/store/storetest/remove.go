package storetest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

func retention(t *testing.T, open Open) {
	s, ctx := open(t), t.Context()
	now := start.Add(100 * 24 * time.Hour)
	day := 24 * time.Hour
	fill := func() {
		t.Helper()
		var xs []record.Exchange
		for i := range 10 {
			x := exchange(i)
			x.Time = now.Add(-time.Duration(i)*10*day - time.Hour)
			xs = append(xs, x)
		}
		if _, err := s.Put(ctx, xs); err != nil {
			t.Fatal(err)
		}
		var rs []record.Rollup
		for i := range 10 {
			rs = append(rs, record.Rollup{ID: fmt.Sprint(i), Start: now.Add(-time.Duration(i)*10*day - time.Hour).Truncate(time.Microsecond)})
		}
		if err := s.PutRollups(ctx, rs); err != nil {
			t.Fatal(err)
		}
	}
	f := func(keep config.Retention, want store.Deleted, exchanges, contents, rollups int) {
		t.Helper()
		got, err := s.Delete(ctx, keep, now)
		if err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		xs := listed(t, s, store.Query{Content: true})
		with := 0
		for _, x := range xs {
			if x.Content != nil {
				with++
			}
		}
		rs, err := s.Rollups(ctx, store.RollupQuery{})
		if err != nil || len(xs) != exchanges || with != contents || len(rs) != rollups {
			t.Errorf("%d exchanges, %d with content, %d roll-ups, %v; want %d, %d, %d", len(xs), with, len(rs), err, exchanges, contents, rollups)
		}
	}
	fill()
	f(config.Retention{}, store.Deleted{}, 10, 10, 10)
	f(config.Retention{Content: 30 * day, Exchanges: 60 * day, Rollups: 80 * day}, store.Deleted{Content: 7, Exchanges: 4, Rollups: 2}, 6, 3, 8)
	f(config.Retention{Content: 30 * day, Exchanges: 60 * day, Rollups: 80 * day}, store.Deleted{}, 6, 3, 8)
	f(config.Retention{Exchanges: 15 * day}, store.Deleted{Content: 1, Exchanges: 4}, 2, 2, 8)
	fill() // what was deleted may come again, and is put away again
	f(config.Retention{Content: day, Exchanges: day, Rollups: day}, store.Deleted{Content: 9, Exchanges: 9, Rollups: 9}, 1, 1, 1)
}

func forget(t *testing.T, open Open) {
	s, ctx := open(t), t.Context()
	var xs []record.Exchange
	for i := range 30 {
		x := full()
		x.ID, x.User = fmt.Sprintf("x-%06d", i), fmt.Sprintf("user-%d", i%3)
		x.Time = start.Add(time.Duration(i) * time.Second)
		xs = append(xs, x)
	}
	put(t, s, xs...)
	d, err := s.Forget(ctx, []string{"user-1", "nobody"})
	if err != nil || d != (store.Deleted{Exchanges: 10, Content: 10}) {
		t.Errorf("%+v, %v", d, err)
	}
	for i := range xs {
		got, err := s.Exchange(ctx, xs[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		want := xs[i]
		if i%3 == 1 {
			want.Content, want.TopK, want.Embedding, want.Error, want.Params, want.Tags = nil, nil, nil, "", nil, nil
			want.User, want.Session, want.TraceID, want.SpanID, want.ParentID, want.InputHash = "", "", "", "", "", ""
			want.Scores = []record.OnlineScore{want.Scores[0], want.Scores[1]}
			want.Scores[0].Reason = ""
			want.Redaction = store.Forgotten
		}
		same(t, got, want)
	}
	if got := listed(t, s, store.Query{Filter: store.Filter{Users: []string{"user-1"}}}); len(got) != 0 {
		t.Errorf("%d exchanges still have the user", len(got))
	}
	if got := listed(t, s, store.Query{Filter: store.Filter{Text: "brief"}}); len(got) != 20 {
		t.Errorf("%d exchanges have the text, want 20", len(got))
	}
	if n, err := s.Put(ctx, xs); err != nil || n != 0 {
		t.Errorf("what was forgotten was stored again: %d, %v", n, err)
	}
	if d, err := s.Forget(ctx, []string{"user-1"}); err != nil || d != (store.Deleted{}) {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := s.Forget(ctx, []string{""}); err == nil {
		t.Error("forgetting the user without a name would empty everything of unknown users")
	}
}

func export(t *testing.T, open Open) {
	s := open(t)
	want := full()
	put(t, s, want, exchange(1), exchange(2))
	var b bytes.Buffer
	n, err := s.Export(t.Context(), store.Query{Content: true, Filter: store.Filter{Routes: []string{"support"}}}, &b)
	if err != nil || n != 3 {
		t.Fatalf("%d, %v", n, err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if f.NumRows() != 3 {
		t.Errorf("%d rows", f.NumRows())
	}
	type row struct {
		ID     string            `parquet:"id"`
		Time   time.Time         `parquet:"time,timestamp(microsecond)"`
		TTFT   *float64          `parquet:"ttft,optional"`
		Tags   map[string]string `parquet:"tags"`
		Output *string           `parquet:"output,optional"`
		Scores *string           `parquet:"scores,optional"`
	}
	rows, err := parquet.Read[row](bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	last := rows[2]
	if last.ID != want.ID || !last.Time.Equal(want.Time) || *last.TTFT != .25 || last.Tags["a=b"] != "c=d" || *last.Output != want.Content.Output || last.Scores == nil {
		t.Errorf("%+v", last)
	}
	b.Reset()
	if n, err := s.Export(t.Context(), store.Query{Filter: store.Filter{Routes: []string{"none"}}}, &b); err != nil || n != 0 || b.Len() == 0 {
		t.Errorf("%d, %v, %d bytes: want an empty file", n, err, b.Len())
	}
}
