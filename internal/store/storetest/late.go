package storetest

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// late is a score of exchange n that was made so many minutes after start.
func late(n int, name string, value float64, minutes int) record.Late {
	at := start.Add(time.Duration(minutes) * time.Minute)
	return record.Late{Exchange: exchange(n).ID, Mark: at.Format(time.RFC3339Nano), Time: at, Redaction: "r1",
		Score: record.OnlineScore{Name: name, Value: &value, Pass: ptr(value > .5), Label: "a 'label'", Reason: "because of " + name, Inclusion: 1}}
}

func lateScores(t *testing.T, open Open) {
	s, ctx := open(t), t.Context()
	with := exchange(1)
	with.Scores = []record.OnlineScore{{Name: "tox", Value: ptr(.1), Reason: "came with it"}}
	put(t, s, exchange(0), with)
	add := func(ls ...record.Late) {
		t.Helper()
		if err := s.AddScores(ctx, ls); err != nil {
			t.Fatal(err)
		}
	}
	unvalued := late(1, "judge", 0, 3)
	unvalued.Score.Value, unvalued.Score.Error = nil, "no answer"
	add()
	add(late(0, "tox", .9, 2), late(1, "tox", .7, 2), unvalued, late(2, "tox", .4, 1), late(0, "tone", 1, 1), late(0, "tox", .9, 2))
	add(late(0, "tox", .9, 2), late(0, "tox", .3, 5)) // the first again, and another judgement of the same name
	put(t, s, exchange(2))                            // after its score

	want := map[int][]record.OnlineScore{
		0: {late(0, "tone", 1, 1).Score, late(0, "tox", .9, 2).Score, late(0, "tox", .3, 5).Score},
		1: {with.Scores[0], late(1, "tox", .7, 2).Score, unvalued.Score},
		2: {late(2, "tox", .4, 1).Score},
	}
	check := func() {
		t.Helper()
		for i, listed := range listed(t, s, store.Query{Content: true}) {
			n := 2 - i
			x := exchange(n)
			x.Scores = want[n]
			got, err := s.Exchange(ctx, x.ID)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, x)
			same(t, listed, x)
		}
		for _, x := range listed(t, s, store.Query{}) {
			for _, score := range x.Scores {
				if score.Reason != "" {
					t.Errorf("%s: a list without content has the reason %q", x.ID, score.Reason)
				}
			}
		}
	}
	check()
	found := func(f store.ScoreFilter, want ...int) {
		t.Helper()
		got := listed(t, s, store.Query{Filter: store.Filter{Scores: []store.ScoreFilter{f}}})
		if len(got) != len(want) {
			t.Errorf("%+v: %v, want %v", f, ids(got), want)
			return
		}
		for i := range want {
			if got[i].ID != exchange(want[i]).ID {
				t.Errorf("%+v: %v, want %v", f, ids(got), want)
			}
		}
	}
	found(store.ScoreFilter{Name: "tox"}, 2, 1, 0)
	found(store.ScoreFilter{Name: "tone"}, 0)
	found(store.ScoreFilter{Name: "judge"}) // an error is no value
	found(store.ScoreFilter{Name: "tox", Above: ptr(.65)}, 1, 0)
	found(store.ScoreFilter{Name: "tox", Below: ptr(.35)}, 1, 0)
	found(store.ScoreFilter{Name: "tox", Above: ptr(.35), Below: ptr(.5)}, 2)

	p, err := s.Series(ctx, store.SeriesQuery{Filter: store.Filter{From: start, To: start.Add(time.Hour), Routes: []string{"support"}}, Scores: []string{"tox", "tone"}})
	if err != nil || len(p) != 1 || p[0].Count != 3 {
		t.Fatalf("%+v, %v", p, err)
	}
	// Of exchange 0 the mean of its two, of 1 what it came with.
	if m := p[0].Scores[0]; m.Count != 3 || math.Abs(m.Value-(.6+.1+.4)/3) > 1e-12 {
		t.Errorf("%+v", m)
	}
	if m := p[0].Scores[1]; m.Count != 1 || m.Value != 1 {
		t.Errorf("%+v", m)
	}
	var b bytes.Buffer
	if n, err := s.Export(ctx, store.Query{Content: true}, &b); err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
}

func lateScoresInvalid(t *testing.T, open Open) {
	s := open(t)
	f := func(why string, change func(*record.Late)) {
		t.Helper()
		bad := late(2, "tox", 1, 1)
		change(&bad)
		err := s.AddScores(t.Context(), []record.Late{late(1, "tox", 1, 1), bad})
		if e, ok := errors.AsType[*store.InvalidError](err); !ok || e.Index != 1 || !strings.Contains(e.Why, why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	f("redacted", func(l *record.Late) { l.Redaction = "" })
	f("no id", func(l *record.Late) { l.Exchange = "" })
	f("name", func(l *record.Late) { l.Score.Name = "" })
	f("not a number", func(l *record.Late) { l.Score.Value = ptr(math.NaN()) })
	f("before 1970", func(l *record.Late) { l.Time = time.Time{} })
	put(t, s, exchange(1))
	if x := listed(t, s, store.Query{})[0]; len(x.Scores) != 0 {
		t.Errorf("stored of a batch that was refused: %+v", x.Scores)
	}
}

// lateScoresEnd are deleted and forgotten with their exchanges.
func lateScoresEnd(t *testing.T, open Open) {
	s, ctx := open(t), t.Context()
	anna, ben := exchange(0), exchange(1)
	anna.User, ben.User = "anna", "ben"
	put(t, s, anna, ben)
	if err := s.AddScores(ctx, []record.Late{late(0, "tox", .9, 0), late(1, "tox", .9, 0), late(1, "tox", .8, 24*60)}); err != nil {
		t.Fatal(err)
	}
	f := func(n int, reasons ...string) {
		t.Helper()
		x, err := s.Exchange(ctx, exchange(n).ID)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, score := range x.Scores {
			got = append(got, score.Reason)
			if score.Value == nil || score.Label == "" {
				t.Errorf("exchange %d: %+v", n, score)
			}
		}
		if strings.Join(got, "|") != strings.Join(reasons, "|") || len(got) != len(reasons) {
			t.Errorf("exchange %d: reasons %q, want %q", n, got, reasons)
		}
	}
	const because = "because of tox"
	f(0, because)
	if _, err := s.Forget(ctx, []string{"anna"}); err != nil {
		t.Fatal(err)
	}
	f(0, "")
	f(1, because, because)
	// What is said of a forgotten person's exchange later is not kept.
	if err := s.AddScores(ctx, []record.Late{late(0, "tox", .7, 1), late(1, "tox", .7, 1)}); err != nil {
		t.Fatal(err)
	}
	f(0, "", "")
	f(1, because, because, because)
	if _, err := s.Delete(ctx, config.Retention{Content: 12 * time.Hour}, start.Add(13*time.Hour)); err != nil {
		t.Fatal(err)
	}
	f(1, "", "", because)
	if d, err := s.Delete(ctx, config.Retention{Exchanges: 12 * time.Hour}, start.Add(13*time.Hour)); err != nil || d.Exchanges != 2 {
		t.Fatalf("%+v, %v", d, err)
	}
	put(t, s, ben) // comes again, and finds only the score that was made later
	f(1, because)
}

// lateScoresOfWindows finds all that the roll-ups of a window are made of, whichever came first.
func lateScoresOfWindows(t *testing.T, open Open) {
	s, ctx := open(t), t.Context()
	const window = 10 * time.Second
	// start is at 26.5 s: 0 to 2 are in one window, 3 in the next, 4 a day later.
	var xs []record.Exchange
	for i, after := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 24 * time.Hour, 24 * time.Hour} {
		x := exchange(i)
		x.Time, x.Variant = start.Add(after), []string{"baseline", "canary"}[i%2]
		xs = append(xs, x)
	}
	xs[1].Scores = []record.OnlineScore{{Name: "tox", Value: ptr(.1)}, {Name: "judge", Error: "no answer"}}
	f := func(ids []string, want ...store.Scored) {
		t.Helper()
		got, err := s.LateScores(ctx, ids, window)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d scores, want %d: %+v", len(got), len(want), got)
		}
		for i := range want {
			want[i].Score.Reason = ""
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("score %d: %+v\nwant %+v", i, got[i], want[i])
			}
		}
	}
	scored := func(n int, name string, value float64, minutes int, had bool) store.Scored {
		x := &xs[n]
		return store.Scored{Exchange: x.ID, Route: x.Route, Variant: x.Variant, Snapshot: x.Snapshot, Time: x.Time, Had: had, Score: late(n, name, value, minutes).Score}
	}
	f(nil)
	f(ids(xs))
	err := s.AddScores(ctx, []record.Late{late(1, "tox", .9, 1), late(1, "judge", .8, 2), late(0, "tox", .3, 9), late(0, "tox", .2, 3), late(3, "tox", .4, 1), late(4, "tone", 1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f(ids(xs)) // no exchange is there yet
	put(t, s, xs...)
	first := []store.Scored{scored(0, "tox", .2, 3, false), scored(0, "tox", .3, 9, false), scored(1, "tox", .9, 1, true), scored(1, "judge", .8, 2, false)}
	next, last := scored(3, "tox", .4, 1, false), scored(4, "tone", 1, 1, false)
	f([]string{xs[0].ID}, first...)
	f([]string{xs[1].ID, xs[1].ID, "nobody"}, first...)
	f([]string{xs[2].ID}) // in the window, and nobody has judged it
	f([]string{xs[3].ID}, next)
	f(ids(xs), append(append(first, next), last)...)
	f([]string{xs[5].ID})
}
