package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"testing"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// heard keeps what was published, and can be made to fail.
type heard struct {
	items []bus.Item
	err   error
}

func (h *heard) Put(_ context.Context, items []bus.Item) error {
	if h.err != nil {
		return h.err
	}
	h.items = append(h.items, items...)
	return nil
}

func assigned(id, variant string, propensity float64) record.Exchange {
	x := exchangeOf(id)
	x.Variant, x.Propensity, x.Assigned = variant, propensity, &record.Assignment{Rollout: "swap", Stage: 2, Unit: "00ff"}
	return x
}

func exchangeOf(id string) record.Exchange {
	return record.Exchange{ID: id, Source: record.SourceGateway, Time: sampleStart, Route: "main", Variant: "baseline", Propensity: 1, Inclusion: 1, Redaction: "1"}
}

// TestEvidence processes a batch twice, as after a crash: the same records come with the same ids, without what was not assigned.
func TestEvidence(t *testing.T) {
	codec := NewCodec()
	value := .25
	var records []bus.Record
	add := func(data []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, bus.Record{Data: data})
	}
	const n = 2*maxEvidence + 3
	for i := range n {
		x := assigned(fmt.Sprint("x", i), "canary", .05)
		if i%2 == 0 {
			x = assigned(x.ID, "baseline", .95)
		}
		add(codec.Exchange(&x))
	}
	plain := exchangeOf("plain")
	add(codec.Exchange(&plain))
	for _, id := range []string{"x1", "before", "unknown", "plain"} {
		add(codec.Late(&record.Late{Exchange: id, Mark: "m", Time: sampleStart, Score: record.OnlineScore{Name: "thumbs", Value: &value}, Redaction: "1"}))
	}
	find := func(_ context.Context, id string) (record.Exchange, error) {
		if id == "before" {
			return assigned(id, "canary", .01), nil
		}
		return record.Exchange{}, store.ErrNotFound
	}
	run := func(h *heard, outcomes bool) *Worker {
		t.Helper()
		w, err := NewWorker(WorkerOptions{Source: new(bus.Bus), Stream: "s", Store: newMemory(), Codec: codec, Log: slog.New(slog.DiscardHandler), Evidence: EvidenceOptions{Sink: h, Outcomes: func() bool { return outcomes }, Find: find}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.handle(t.Context(), bus.Batch{ID: "b7", Records: records}); err != nil && h.err == nil {
			t.Fatal(err)
		}
		return w
	}
	var first, again heard
	if w := run(&first, true); w.Stats().Evidence != n+2 {
		t.Errorf("%+v", w.Stats())
	}
	run(&again, true)
	if !reflect.DeepEqual(first, again) || len(first.items) != 3 || first.items[0].ID != "b7/0" {
		t.Fatalf("%d and %d records", len(first.items), len(again.items))
	}
	got := map[string]record.Evidence{}
	kinds := map[string]int{}
	for _, item := range first.items {
		b, err := codec.DecodeEvidence(item.Data)
		if err != nil || b.ID != item.ID {
			t.Fatalf("%v: %+v", err, b)
		}
		for _, e := range b.Evidence {
			got[e.Kind+e.ID] = e
			kinds[e.Kind]++
		}
	}
	if kinds[record.EvidenceExchange] != n || kinds[record.EvidenceOutcome] != 2 {
		t.Errorf("%v", kinds)
	}
	for _, id := range []string{"x0", "x1"} {
		if e := got[id]; e.Propensity != .05 || e.Rollout != "swap" || e.Stage != 2 || e.Unit != "00ff" || !e.Time.Equal(sampleStart) {
			t.Errorf("%+v", e)
		}
	}
	if e := got["outcomex1"]; e.Variant != "canary" || len(e.Scores) != 1 || *e.Scores[0].Value != value || e.Unit != "" {
		t.Errorf("%+v", e)
	}
	if e := got["outcomebefore"]; e.Propensity != .01 {
		t.Errorf("%+v", e)
	}

	var unasked heard
	if w := run(&unasked, false); w.Stats().Evidence != n {
		t.Errorf("%+v", w.Stats())
	}
	// A full stream must not hold up the store; a bus that is down does, as it does for exchanges.
	full := heard{err: &bus.DropError{Reason: bus.Full}}
	if w := run(&full, false); w.Stats().EvidenceLost != n || w.Stats().Stored != n+1 {
		t.Errorf("%+v", w.Stats())
	}
	down := heard{err: errors.New("down")}
	if w := run(&down, false); w.Stats().Stored != 0 || w.Stats().Failures != 1 {
		t.Errorf("%+v", w.Stats())
	}
	if _, err := codec.DecodeEvidence([]byte{0xff}); err == nil {
		t.Error("garbage was read")
	}
}

// TestLateUnit wants all that is learnt later of one user's exchanges to be of one unit, whether the exchange comes in the same batch
// or from the store, and nothing of a user who is not kept.
func TestLateUnit(t *testing.T) {
	codec := NewCodec()
	value := 1.
	of := func(id, user, session string) record.Exchange {
		x := assigned(id, "canary", .05)
		x.User, x.Session = user, session
		return x
	}
	kept := map[string]record.Exchange{"b": of("b", "anna", "s1"), "c": of("c", "bert", "s1"), "d": of("d", "", "")}
	units := func(kind string) map[string]string {
		t.Helper()
		var records []bus.Record
		add := func(data []byte, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, bus.Record{Data: data})
		}
		x := of("a", "anna", "s2")
		add(codec.Exchange(&x))
		for _, id := range []string{"a", "b", "c", "d"} {
			add(codec.Late(&record.Late{Exchange: id, Mark: "m", Time: sampleStart, Score: record.OnlineScore{Name: "feedback", Value: &value}, Redaction: "1"}))
		}
		var h heard
		w, err := NewWorker(WorkerOptions{Source: new(bus.Bus), Stream: "s", Store: newMemory(), Codec: codec, Log: slog.New(slog.DiscardHandler), Secret: []byte("secret"), Evidence: EvidenceOptions{
			Sink: &h, Outcomes: func() bool { return true }, Find: func(_ context.Context, id string) (record.Exchange, error) { return kept[id], nil },
			Unit: func(rollout string) string {
				if rollout != "swap" {
					t.Errorf("%q", rollout)
				}
				return kind
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.handle(t.Context(), bus.Batch{ID: "b1", Records: records}); err != nil {
			t.Fatal(err)
		}
		b, err := codec.DecodeEvidence(h.items[0].Data)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, e := range b.Evidence {
			if e.Kind == record.EvidenceOutcome {
				out[e.ID] = e.Unit
			}
		}
		if len(out) != 4 {
			t.Fatalf("%v", out)
		}
		return out
	}
	user, session := units("user"), units("session")
	if len(user["a"]) != 16 || user["a"] != user["b"] || user["a"] == user["c"] || user["d"] != "" {
		t.Errorf("%v", user)
	}
	if session["b"] != session["c"] || session["a"] == session["b"] || session["b"] == user["b"] || session["d"] != "" {
		t.Errorf("%v", session)
	}
	if none := units("request"); none["a"] != "" || none["b"] != "" {
		t.Errorf("%v", none)
	}
}

// TestOutsideEvidence: what another router gave its variant is evidence without a probability, with the session or user as it is stored
// as its unit; also what is learnt of it later.
func TestOutsideEvidence(t *testing.T) {
	codec, value := NewCodec(), .75
	var records []bus.Record
	add := func(data []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, bus.Record{Data: data})
	}
	tagged := func(id, version string) record.Exchange {
		x := exchangeOf(id)
		x.Source, x.User, x.Tags, x.ErrorKind = record.SourceOTLP, "ann", map[string]string{"version": version}, record.Server
		return x
	}
	claims, copied := tagged("claims", "v2"), tagged("copy", "v2")
	claims.Assigned, copied.Variant = &record.Assignment{Rollout: "swap", Elsewhere: true}, record.VariantShadow
	for _, x := range []record.Exchange{tagged("a", "v1"), tagged("b", "v2"), tagged("c", "v3"), claims, copied, assigned("own", "canary", .05)} {
		add(codec.Exchange(&x))
	}
	add(codec.Late(&record.Late{Exchange: "old", Mark: "m", Time: sampleStart, Score: record.OnlineScore{Name: "feedback", Value: &value}, Redaction: "1"}))
	h := &heard{}
	w, err := NewWorker(WorkerOptions{Source: new(bus.Bus), Stream: "s", Store: newMemory(), Codec: codec, Log: slog.New(slog.DiscardHandler), Evidence: EvidenceOptions{
		Sink: h, Outcomes: func() bool { return true },
		Find: func(_ context.Context, id string) (record.Exchange, error) { return tagged(id, "v1"), nil },
		Outside: func(x *record.Exchange) (Outside, bool) {
			return Outside{Rollout: "shop", Variant: x.Tags["version"], Unit: "user"}, x.Tags["version"] == "v1" || x.Tags["version"] == "v2"
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.handle(t.Context(), bus.Batch{ID: "b1", Records: records}); err != nil {
		t.Fatal(err)
	}
	got, units := "", map[string]bool{}
	for _, item := range h.items {
		b, err := codec.DecodeEvidence(item.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Evidence {
			got += fmt.Sprintf("%s %s %s %s %v %s\n", e.ID, e.Kind, e.Rollout, e.Variant, e.Unrouted, e.ErrorKind)
			if e.Unrouted {
				units[e.Unit] = true
				if e.Propensity != 0 || len(e.Unit) != 16 {
					t.Errorf("%+v", e)
				}
			}
		}
	}
	if want := "a  shop v1 true server\nb  shop v2 true server\nclaims  shop v2 true server\nown  swap canary false \nold outcome shop v1 true \n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if len(units) != 1 {
		t.Errorf("one user is %d units", len(units))
	}
}

// A copy is scored when its original is, whatever the share.
func TestCopiesAreScoredTogether(t *testing.T) {
	s := &scoring{Scoring: Scoring{Name: "polite", Share: .3}}
	both := 0
	for i := range 1000 {
		x := assigned(fmt.Sprint("x", i), "baseline", 0)
		y := assigned(fmt.Sprint("y", i), record.VariantShadow, 1)
		x.Content, y.Content, y.Assigned.Pairs = &record.Content{}, &record.Content{}, x.ID
		a, b := s.wants([]byte("k"), &x), s.wants([]byte("k"), &y)
		if a != b {
			t.Fatalf("%s: %t, its copy: %t", x.ID, a, b)
		}
		if a {
			both++
		}
	}
	if both < 240 || both > 360 {
		t.Errorf("%d of 1000", both)
	}
}
