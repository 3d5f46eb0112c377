package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

func notFound(t *testing.T, open Open) {
	s := open(t)
	if _, err := s.Exchange(t.Context(), "nobody"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("exchange: %v", err)
	}
	if _, err := s.Snapshot(t.Context(), "nobody"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("snapshot: %v", err)
	}
	for _, q := range []store.Query{{}, {Content: true}, {Filter: store.Filter{Text: "x"}}} {
		if page, err := s.List(t.Context(), q); err != nil || len(page.Exchanges) != 0 || page.Exchanges == nil || page.Next != "" {
			t.Errorf("%+v, %v", page, err)
		}
	}
	if p, err := s.Series(t.Context(), store.SeriesQuery{Filter: store.Filter{From: start, To: start.Add(time.Hour)}, Every: time.Minute}); err != nil || len(p) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

func filters(t *testing.T, open Open) {
	s := open(t)
	xs := []record.Exchange{exchange(0), exchange(1), exchange(2), exchange(3)}
	a, b, c, d := &xs[0], &xs[1], &xs[2], &xs[3]
	b.Route, b.Variant, b.Snapshot, b.Model, b.Source = "sales", "canary", "other", "claude", "otlp"
	c.Status, c.ErrorKind, c.Latency, c.Served = 500, record.Server, ptr(3.0), "claude"
	d.Status, d.ErrorKind, d.Latency, d.User, d.Session, d.TraceID = 499, record.Canceled, nil, "u1", "s1", "t1"
	a.Tags = map[string]string{"tier": "gold", "x": "1"}
	b.Tags = map[string]string{"tier": "golden", "tie": "r=gold"}
	a.Scores = []record.OnlineScore{{Name: "tox", Value: ptr(.2)}, {Name: "len", Value: ptr(10.0)}}
	b.Scores = []record.OnlineScore{{Name: "len", Value: ptr(20.0)}, {Name: "tox", Value: ptr(.8)}}
	c.Scores = []record.OnlineScore{{Name: "tox", Error: "failed"}}
	put(t, s, xs...)
	f := func(q store.Filter, want ...*record.Exchange) {
		t.Helper()
		got := ids(listed(t, s, store.Query{Filter: q}))
		var names []string
		for _, x := range want {
			names = append(names, x.ID)
		}
		sort.Sort(sort.Reverse(sort.StringSlice(names)))
		if !slices.Equal(got, names) {
			t.Errorf("%+v: got %v, want %v", q, got, names)
		}
	}
	f(store.Filter{}, a, b, c, d)
	f(store.Filter{From: b.Time, To: d.Time}, b, c)
	f(store.Filter{From: d.Time.Add(time.Microsecond)})
	f(store.Filter{Routes: []string{"sales"}}, b)
	f(store.Filter{Routes: []string{"sales", "support"}}, a, b, c, d)
	f(store.Filter{Routes: []string{"Sales"}})
	f(store.Filter{Variants: []string{"canary"}}, b)
	f(store.Filter{Snapshots: []string{"other"}}, b)
	f(store.Filter{Sources: []string{"gateway"}}, a, c, d)
	f(store.Filter{Models: []string{"claude"}}, b, c)
	f(store.Filter{Statuses: []int{500, 499}}, c, d)
	f(store.Filter{ErrorKinds: []record.FailureKind{record.Server}}, c)
	f(store.Filter{Outcome: store.Failed}, c)
	f(store.Filter{Outcome: store.Answered}, a, b)
	f(store.Filter{MinLatency: 1}, c)
	f(store.Filter{Users: []string{"u1"}}, d)
	f(store.Filter{Users: []string{"u2", "u1", "'"}, Sessions: []string{"s0", "s1"}}, d)
	f(store.Filter{Users: []string{"u2"}})
	f(store.Filter{Users: []string{"u1"}, Sessions: []string{"s0"}})
	f(store.Filter{Sessions: []string{"s1"}}, d)
	f(store.Filter{Trace: "t1"}, d)
	f(store.Filter{Tags: map[string]string{"tier": "gold"}}, a)
	f(store.Filter{Tags: map[string]string{"tier": "gold", "x": "1"}}, a)
	f(store.Filter{Tags: map[string]string{"tier": "gold", "x": "2"}})
	f(store.Filter{Tags: map[string]string{"tie": "r=gold"}}, b)
	f(store.Filter{Scores: []store.ScoreFilter{{Name: "tox"}}}, a, b)
	f(store.Filter{Scores: []store.ScoreFilter{{Name: "tox", Above: ptr(.5)}}}, b)
	f(store.Filter{Scores: []store.ScoreFilter{{Name: "tox", Below: ptr(.8)}}}, a)
	f(store.Filter{Scores: []store.ScoreFilter{{Name: "tox", Above: ptr(.1)}, {Name: "len", Above: ptr(15.0)}}}, b)
	f(store.Filter{Scores: []store.ScoreFilter{{Name: "none", Below: ptr(1.0)}}})
	f(store.Filter{Routes: []string{"support"}, Outcome: store.Answered, Tags: map[string]string{"x": "1"}, From: a.Time}, a)
}

func badQueries(t *testing.T, open Open) {
	s := open(t)
	list := func(field string, q store.Query) {
		t.Helper()
		_, err := s.List(t.Context(), q)
		var e *store.QueryError
		if !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	list("limit", store.Query{Limit: -1})
	list("limit", store.Query{Limit: store.MaxLimit + 1})
	list("cursor", store.Query{Cursor: "!"})
	list("cursor", store.Query{Cursor: "AAAA"})
	list("outcome", store.Query{Filter: store.Filter{Outcome: "perhaps"}})
	list("min_latency", store.Query{Filter: store.Filter{MinLatency: math.NaN()}})
	list("to", store.Query{Filter: store.Filter{From: start, To: start.Add(-1)}})
	list("scores", store.Query{Filter: store.Filter{Scores: []store.ScoreFilter{{}}}})
	list("scores.x", store.Query{Filter: store.Filter{Scores: []store.ScoreFilter{{Name: "x", Above: ptr(math.NaN())}}}})
	hour := store.Filter{From: start, To: start.Add(time.Hour)}
	series := func(field string, q store.SeriesQuery) {
		t.Helper()
		_, err := s.Series(t.Context(), q)
		var e *store.QueryError
		if !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	series("from", store.SeriesQuery{})
	series("every", store.SeriesQuery{Filter: hour, Every: 1})
	series("every", store.SeriesQuery{Filter: hour, Every: time.Millisecond})
	series("by", store.SeriesQuery{Filter: hour, By: []store.Key{"user_id"}})
	series("by", store.SeriesQuery{Filter: hour, By: []store.Key{"1; DROP TABLE exchanges"}})
	hour.Text = "x"
	series("text", store.SeriesQuery{Filter: hour})
}

// pages reads all pages while others arrive, with many exchanges of one time.
func pages(t *testing.T, open Open) {
	s := open(t)
	var xs []record.Exchange
	for i := range 250 {
		x := exchange(i)
		x.Time = start.Add(time.Duration(i/50) * time.Second)
		xs = append(xs, x)
	}
	put(t, s, xs...)
	for _, q := range []store.Query{{Limit: 30}, {Limit: 30, Content: true}, {Limit: 30, Filter: store.Filter{Text: "answer"}}, {Limit: 250}} {
		var got []string
		for page := 0; ; page++ {
			p, err := s.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, ids(p.Exchanges)...)
			if q.Cursor = p.Next; q.Cursor == "" {
				break
			}
			newer := exchange(1000 + len(got))
			newer.Time = start.Add(time.Hour)
			newer.ID = fmt.Sprintf("newer-%d-%t-%s-%d", q.Limit, q.Content, q.Text, page)
			put(t, s, newer)
		}
		want := ids(xs)
		slices.Reverse(want)
		if q.Limit == 250 {
			if len(got) <= 250 {
				t.Errorf("%d exchanges, want more than 250", len(got))
			}
			continue
		}
		for len(got) > 0 && got[0] != want[0] {
			got = got[1:] // those that the rounds before added
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %d exchanges, want %d, each once, newest first", q, len(got), len(want))
		}
	}
}

func text(t *testing.T, open Open) {
	s := open(t)
	xs := []record.Exchange{exchange(0), exchange(1), exchange(2), exchange(3), exchange(4)}
	xs[0].Content = &record.Content{System: "Be brief.", Input: []record.Message{{Role: "user", Content: `He said "go" & left <now>` + "\nsecond line"}}, Output: "100% sure_"}
	xs[1].Content = &record.Content{Input: []record.Message{{Role: "assistant", Parts: []record.Part{{Text: "part one"}, {Text: "straße"}}}}, Refusal: "I will not"}
	xs[2].Content = &record.Content{ToolCalls: []record.ToolCall{{Name: "look_up", Arguments: `{"city":"Zürich"}`}}, Body: []byte(`{"only":"in the body"}`)}
	xs[3].Content = nil
	xs[4].Time = start.Add(-40 * 24 * time.Hour)
	put(t, s, xs...)
	f := func(needle string, want ...int) {
		t.Helper()
		got := listed(t, s, store.Query{Filter: store.Filter{Text: needle}})
		var names []string
		for _, i := range want {
			names = append(names, xs[i].ID)
		}
		if !slices.Equal(ids(got), names) {
			t.Errorf("%q: got %v, want %v", needle, ids(got), names)
		}
	}
	f("brief", 0)
	f("BRIEF")
	f(`"go" & left <now>`, 0)
	f("<now>\nsecond", 0)
	f("100% sure_", 0)
	f("100_")
	f("part one\nstraße", 1)
	f("will not", 1)
	f(`{"city":"Zürich"}`, 2)
	f("look_up", 2)
	f("in the body")
	for _, structure := range []string{"role", "user", "content", "arguments", "{", "null"} {
		switch structure {
		case "{":
			f(structure, 2)
		default:
			f(structure)
		}
	}
	f("answer 4", 4)
	if got := listed(t, s, store.Query{Filter: store.Filter{Text: "brief"}, Content: true}); len(got) != 1 || got[0].Content == nil || got[0].Content.System != "Be brief." {
		t.Errorf("%+v", got)
	}
	if got := listed(t, s, store.Query{Filter: store.Filter{Text: "brief"}}); len(got) != 1 || got[0].Content != nil {
		t.Errorf("content that was not asked for: %+v", got)
	}
}

func content(t *testing.T, open Open) {
	s := open(t)
	x := full()
	put(t, s, x)
	got := listed(t, s, store.Query{})
	if len(got) != 1 || got[0].Content != nil || got[0].Embedding != nil || got[0].TopK != nil || got[0].Scores[0].Reason != "" {
		t.Fatalf("content that was not asked for: %+v", got)
	}
	if *got[0].Scores[0].Value != .125 {
		t.Errorf("score %v", *got[0].Scores[0].Value)
	}
}

func stats(t *testing.T, open Open) {
	s := open(t)
	if st, err := s.Stats(t.Context()); err != nil || st.Exchanges != 0 || !st.Oldest.IsZero() || st.Schema < 1 || st.Engine == "" {
		t.Errorf("%+v, %v", st, err)
	}
	bare := exchange(2)
	bare.Content = nil
	put(t, s, exchange(0), exchange(1), bare)
	if err := s.PutSnapshots(t.Context(), []record.Snapshot{{ID: "a"}, {ID: "b"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutRollups(t.Context(), []record.Rollup{{ID: "a", Start: start}}); err != nil {
		t.Fatal(err)
	}
	st, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Exchanges != 3 || st.Content != 2 || st.Snapshots != 2 || st.Rollups != 1 || !st.Oldest.Equal(start) || !st.Newest.Equal(bare.Time) || st.Bytes == 0 {
		t.Errorf("%+v", st)
	}
}

func cancellation(t *testing.T, open Open) {
	s := open(t)
	put(t, s, exchange(0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error though the context had ended", what)
		}
	}
	n, err := s.Put(ctx, []record.Exchange{exchange(1)})
	f("put", err)
	if n != 0 {
		t.Errorf("added %d", n)
	}
	_, err = s.List(ctx, store.Query{})
	f("list", err)
	_, err = s.Exchange(ctx, exchange(0).ID)
	f("exchange", err)
	_, err = s.Series(ctx, store.SeriesQuery{Filter: store.Filter{From: start, To: start.Add(time.Hour)}})
	f("series", err)
	if got := listed(t, s, store.Query{}); len(got) != 1 {
		t.Errorf("%d stored, want 1", len(got))
	}
	put(t, s, exchange(1)) // the store still works
}
