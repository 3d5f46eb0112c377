package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// full has a value in every field, so that one that is added to the record and not to the store fails roundTrip.
func full() record.Exchange {
	return record.Exchange{
		ID: "0198c0de-0000-7000-8000-000000000001", Source: "otlp", Time: start, Route: "support", Variant: "canary", Snapshot: "abc",
		Propensity: .25, API: record.APIMessages, Stream: true, Provider: "anthropic", Upstream: "first", Model: "claude", Served: "claude-1",
		Fingerprint: "fp", Endpoint: "/v1/messages", Status: 529, ErrorKind: record.Server, Error: "overloaded", FinishReason: "end_turn",
		Refused: true, Latency: ptr(1.5), TTFT: ptr(.25), Gaps: &record.Gaps{Count: 3, Mean: .1, P50: .1, P95: .2, Max: .3},
		Usage: &record.Usage{Prompt: 1, Completion: 2, Total: 3, Cached: 4, Reasoning: 5}, Cost: ptr(.00125),
		Params: map[string]any{"temperature": .5, "stop": []any{"a", "b"}}, Seed: ptr(int64(1)<<60 + 1),
		Logprobs: &record.LogprobSummary{Tokens: 2, Mean: -1, Min: -2, Entropy: ptr(.5), Top1: ptr(.75), Histogram: []int{0, 1, 1}},
		TopK:     []record.TokenLogprob{{Token: "Hi", Logprob: -.5, Top: map[string]float64{"Hi": -.5, "Ho": -1.5}}},
		User:     "u1", Session: "s1", Tags: map[string]string{"tier": "gold", "a=b": "c=d", "empty": ""}, Client: "app", Retries: 1, Attempts: 2,
		TraceID: "t1", SpanID: "p1", ParentID: "q1", InputHash: "0123456789abcdef", InputBytes: 1 << 40, OutputBytes: 7,
		Content: &record.Content{System: "be brief", Input: []record.Message{{Role: "user", Content: "Hello"}, {Role: "user", Parts: []record.Part{{Text: "look"}, {ImageURL: "https://example.com/a.png"}}}},
			Output: "Hi <b>&\u2028\"", ToolCalls: []record.ToolCall{{ID: "1", Name: "f", Arguments: `{"a":1}`}}, Refusal: "no", Body: json.RawMessage(`{"model":"claude","n":12345678901234567890}`)},
		Inclusion: .5, Redaction: "r1", Found: map[string]int{"email": 2}, Embedding: []float32{.5, -1.25, 3e-9},
		Scores: []record.OnlineScore{{Name: "toxicity", Value: ptr(.125), Pass: ptr(true), Label: "fine", Reason: "no such words", Signature: "toxicity@1", Inclusion: .5},
			{Name: "judge", Error: "no answer", Signature: "judge@2"}},
		Cut: []string{"content.output"}, Assigned: &record.Assignment{Rollout: "tone", Stage: 2, Pairs: "x-1"},
		Guard: &record.Guarded{Name: "strict", Version: "2", ID: "abc", Outcome: "changed", Hits: map[string]int{"email": 1}},
	}
}

func roundTrip(t *testing.T, open Open) {
	s := open(t)
	x := full()
	for v, i := reflect.ValueOf(x), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("field %s has no value in this test: give it one, and a column", v.Type().Field(i).Name)
		}
	}
	bare := record.Exchange{ID: "bare", Time: start.Add(time.Second), Redaction: "r1"}
	local := record.Exchange{ID: "local", Time: start.In(time.FixedZone("", 3600)).Add(2*time.Second + 999), Redaction: "r1", Usage: &record.Usage{}, Content: &record.Content{}}
	put(t, s, x, bare, local)
	local.Time = start.Add(2 * time.Second)
	for _, want := range []record.Exchange{x, bare, local} {
		got, err := s.Exchange(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
	}
	for i, got := range listed(t, s, store.Query{Content: true}) {
		same(t, got, []record.Exchange{local, bare, x}[i])
	}
}

func same(t *testing.T, got, want record.Exchange) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", " ")
		w, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("got %s\nwant %s", g, w)
	}
}

func oddTexts(t *testing.T, open Open) {
	s := open(t)
	for i, text := range []string{"'; DROP TABLE exchanges; --", `back\slash \n`, "nul\x00in the middle", "emoji 🙂 e\u0301", "%_?*$1", "tab\tnew\nline", strings.Repeat("long ", 50_000)} {
		x := exchange(i)
		x.Route, x.User, x.Tags = text, text, map[string]string{text: text}
		x.Content.Output = text
		put(t, s, x)
		got := listed(t, s, store.Query{Filter: store.Filter{Routes: []string{text}, Users: []string{text}, Tags: x.Tags, Text: text}, Content: true})
		if len(got) != 1 {
			t.Errorf("%.30q: found %d", text, len(got))
			continue
		}
		same(t, got[0], x)
	}
	x := exchange(100)
	x.Session = "bad \xff utf-8"
	put(t, s, x)
	if got, err := s.Exchange(t.Context(), x.ID); err != nil || got.Session != "bad \uFFFD utf-8" {
		t.Errorf("%q, %v", got.Session, err)
	}
}

func once(t *testing.T, open Open) {
	s := open(t)
	first, second := exchange(1), exchange(1)
	second.Content.Output, second.Time = "another", second.Time.Add(30*time.Minute)
	f := func(want int, xs ...record.Exchange) {
		t.Helper()
		if got, err := s.Put(t.Context(), xs); err != nil || got != want {
			t.Errorf("added %d, %v; want %d", got, err, want)
		}
	}
	f(1, first, second)
	f(0, first)
	f(0, second)
	f(1, exchange(2), first, exchange(2))
	f(0)
	got, err := s.Exchange(t.Context(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, first)
	if n := len(listed(t, s, store.Query{})); n != 2 {
		t.Errorf("%d stored, want 2", n)
	}
	p, err := s.Series(t.Context(), store.SeriesQuery{Filter: store.Filter{From: start, To: start.Add(time.Hour)}})
	if err != nil || len(p) != 1 || p[0].Count != 2 {
		t.Errorf("series %+v, %v: want 2 exchanges", p, err)
	}
}

// onceAtTheSameTime lets several writers put overlapping batches, as when a consumer is started twice.
func onceAtTheSameTime(t *testing.T, open Open) {
	s := open(t)
	const writers, batches, size = 4, 5, 200
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for w := range writers {
		wg.Go(func() {
			for b := range batches {
				var xs []record.Exchange
				for i := range size {
					xs = append(xs, exchange(((b+w)%batches)*size+i))
				}
				n, err := s.Put(t.Context(), xs)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				total += n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	got := listed(t, s, store.Query{Limit: store.MaxLimit, Content: true})
	if len(got) != batches*size || total != batches*size {
		t.Errorf("%d listed, %d reported as added, want %d", len(got), total, batches*size)
	}
	for _, x := range got {
		if x.Content == nil || !strings.HasPrefix(x.Content.Output, "answer") {
			t.Fatalf("%s has no content", x.ID)
		}
	}
}

func invalid(t *testing.T, open Open) {
	s := open(t)
	f := func(why string, change func(*record.Exchange)) {
		t.Helper()
		bad := exchange(2)
		change(&bad)
		n, err := s.Put(t.Context(), []record.Exchange{exchange(1), bad})
		var e *store.InvalidError
		if n != 0 || !errors.As(err, &e) || e.Index != 1 || !strings.Contains(e.Why, why) {
			t.Errorf("%s: %d, %v", why, n, err)
		}
	}
	f("redacted", func(x *record.Exchange) { x.Redaction = "" })
	f("no id", func(x *record.Exchange) { x.ID = "" })
	f("300 bytes", func(x *record.Exchange) { x.ID = strings.Repeat("i", 300) })
	f("UTF-8", func(x *record.Exchange) { x.ID = "\xff" })
	f("before 1970", func(x *record.Exchange) { x.Time = time.Time{} })
	f("params", func(x *record.Exchange) { x.Params = map[string]any{"f": func() {}} })
	if n := len(listed(t, s, store.Query{})); n != 0 {
		t.Errorf("%d stored of batches that were refused", n)
	}
}

func rollups(t *testing.T, open Open) {
	s, ctx := open(t), t.Context()
	snap := record.Snapshot{Provider: "openai", Model: "m", Prompt: "p", Template: "{{q}} 'quoted'", Params: map[string]any{"temperature": .5}}
	snap.Identify()
	for range 2 {
		if err := s.PutSnapshots(ctx, []record.Snapshot{snap}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Snapshot(ctx, snap.ID); err != nil || !reflect.DeepEqual(got, snap) {
		t.Errorf("%+v, %v", got, err)
	}
	var rs []record.Rollup
	for i := range 6 {
		rs = append(rs, record.Rollup{ID: fmt.Sprintf("r%d", i), Route: "support", Variant: []string{"baseline", "canary"}[i%2], Snapshot: "s",
			Segment: "all", Start: start.Truncate(10 * time.Second).Add(time.Duration(i) * 10 * time.Second),
			Counts: map[string]float64{"n": float64(i), "errors": 1}, Sketches: map[string][]byte{"latency": {0, 1, 255}}})
	}
	if err := errors.Join(s.PutRollups(ctx, rs), s.PutRollups(ctx, rs), s.PutRollups(ctx, nil)); err != nil {
		t.Fatal(err)
	}
	f := func(q store.RollupQuery, want ...record.Rollup) {
		t.Helper()
		got, err := s.Rollups(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d roll-ups, want %d", len(got), len(want))
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("%+v, want %+v", got[i], want[i])
			}
		}
	}
	f(store.RollupQuery{}, rs...)
	f(store.RollupQuery{From: rs[2].Start, To: rs[4].Start}, rs[2], rs[3])
	f(store.RollupQuery{Routes: []string{"support"}, Variants: []string{"canary"}, Segments: []string{"all"}}, rs[1], rs[3], rs[5])
	f(store.RollupQuery{Routes: []string{"other"}})
	rs[0].Counts = map[string]float64{"n": 100}
	if err := s.PutRollups(ctx, rs[:1]); err != nil {
		t.Fatal(err)
	}
	f(store.RollupQuery{To: rs[1].Start}, rs[0])
}
