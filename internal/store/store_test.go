package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add("AQ")
	f.Add(Place{time.UnixMicro(1_760_000_000_000_001), "id"}.Cursor())
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseCursor(s)
		if err != nil {
			return
		}
		if again, err := ParseCursor(p.Cursor()); err != nil || again != p {
			t.Errorf("%q: %+v, then %+v, %v", s, p, again, err)
		}
	})
}

func TestTags(t *testing.T) {
	f := func(tags map[string]string) {
		t.Helper()
		if got := splitTags(joinTags(tags)); !reflect.DeepEqual(got, tags) {
			t.Errorf("%q, want %q", got, tags)
		}
	}
	f(nil)
	f(map[string]string{"a": ""})
	f(map[string]string{"": "a"})
	f(map[string]string{"a": "b", "a=b": "c=d", "ä": "ö=\n"})
}

// TestWindows: together they are the range, without gap or overlap, the newest first.
func TestWindows(t *testing.T) {
	old, now := time.UnixMicro(1_500_000_000_000_000).UTC(), time.UnixMicro(1_760_000_000_000_000).UTC()
	f := func(q Query, at *Place, from, to time.Time) {
		t.Helper()
		next, n := to, 0
		for a, b := range q.Windows(old, now, at) {
			if !b.Equal(next) || !a.Before(b) {
				t.Fatalf("window %d is %s to %s, want the end %s", n, a, b, next)
			}
			next, n = a, n+1
		}
		if !next.Equal(from) || n > 30 {
			t.Errorf("%d windows end at %s, want %s", n, next, from)
		}
	}
	f(Query{}, nil, old, now.Add(time.Microsecond))
	f(Query{Filter: Filter{From: old.Add(time.Hour), To: now.Add(-time.Hour)}}, nil, old.Add(time.Hour), now.Add(-time.Hour))
	f(Query{Filter: Filter{From: old.Add(-time.Hour), To: now.Add(time.Hour)}}, nil, old, now.Add(time.Microsecond))
	f(Query{}, &Place{Time: old.Add(time.Second)}, old, old.Add(time.Second+time.Microsecond))
	none := Query{Filter: Filter{From: now.Add(time.Hour)}}
	for range none.Windows(old, now, nil) {
		t.Error("a window though nothing is stored after from")
	}
}

// list is a store in memory with List only.
type list struct {
	sync.Mutex
	xs []record.Exchange
}

func (l *list) List(ctx context.Context, q Query) (Page, error) {
	l.Lock()
	defer l.Unlock()
	at, err := q.Prepare()
	if err != nil {
		return Page{}, errors.Join(err, ctx.Err())
	}
	var found []record.Exchange
	for _, x := range l.xs {
		if !x.Time.Before(q.From) && (at == nil || x.Time.Before(at.Time) || x.Time.Equal(at.Time) && x.ID < at.ID) {
			found = append(found, x)
		}
	}
	slices.SortFunc(found, func(a, b record.Exchange) int { return b.Time.Compare(a.Time) })
	if len(found) <= q.Limit {
		return Page{Exchanges: found}, nil
	}
	found = found[:q.Limit]
	last := found[q.Limit-1]
	return Page{Exchanges: found, Next: Place{last.Time, last.ID}.Cursor()}, nil
}

func TestTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var l list
		add := func(ago time.Duration) string {
			l.Lock()
			defer l.Unlock()
			id := fmt.Sprint("x", len(l.xs))
			l.xs = append(l.xs, record.Exchange{ID: id, Time: time.Now().Add(-ago)})
			return id
		}
		add(time.Minute) // before the start
		var want []string
		go func() {
			defer stop()
			time.Sleep(1500 * time.Millisecond)
			for i := range 200 { // more than a page, some late, two looks apart
				want = append(want, add(time.Duration(i%3)*100*time.Millisecond))
				if i == 100 {
					time.Sleep(2 * time.Second)
				}
			}
			time.Sleep(40 * time.Second)
			want = append(want, add(30*time.Second))
			time.Sleep(2 * time.Minute)
			want = append(want, add(0))
			time.Sleep(5 * time.Second)
		}()
		var got []string
		err := Tail(ctx, l.List, Query{Limit: 60}, TailOptions{}, func(x record.Exchange) error {
			got = append(got, x.ID)
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%d exchanges, want %d, each once", len(got), len(want))
		}
		boom := errors.New("boom")
		if err := Tail(t.Context(), l.List, Query{}, TailOptions{Since: time.Now().Add(-time.Hour)}, func(record.Exchange) error { return boom }); !errors.Is(err, boom) {
			t.Error(err)
		}
	})
}

// TestExportPages asks for more than one page and row group.
func TestExportPages(t *testing.T) {
	var l []record.Exchange
	for i := range 2*exportGroup + 5 {
		l = append(l, record.Exchange{ID: fmt.Sprintf("%06d", i), Time: time.UnixMicro(int64(i))})
	}
	pages := func(_ context.Context, q Query) (Page, error) {
		n := 0
		if q.Cursor != "" {
			if _, err := fmt.Sscan(q.Cursor, &n); err != nil {
				return Page{}, err
			}
		}
		end := min(n+q.Limit, len(l))
		p := Page{Exchanges: l[n:end]}
		if end < len(l) {
			p.Next = fmt.Sprint(end)
		}
		return p, nil
	}
	var b bytes.Buffer
	if n, err := ExportPages(t.Context(), pages, Query{}, &b); err != nil || n != int64(len(l)) {
		t.Errorf("%d, %v", n, err)
	}
}

func BenchmarkFlatten(b *testing.B) {
	latency := .5
	xs := []record.Exchange{{ID: "0198c0de-0000-7000-8000-000000000001", Time: time.Now(), Route: "support", Variant: "baseline", Model: "gpt-4o-mini",
		Latency: &latency, Usage: &record.Usage{Prompt: 1}, Params: map[string]any{"temperature": .2}, Redaction: "1", User: "u", Tags: map[string]string{"tier": "free"},
		Content: &record.Content{Input: []record.Message{{Role: "user", Content: string(bytes.Repeat([]byte("word "), 60))}}, Output: string(bytes.Repeat([]byte("word "), 90))}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := FlattenAll(xs); err != nil {
			b.Fatal(err)
		}
	}
}
