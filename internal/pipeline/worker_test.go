package pipeline

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// memory is a store that can be made to fail.
type memory struct {
	mu        sync.Mutex
	exchanges map[string]record.Exchange
	snapshots map[string]record.Snapshot
	rollups   map[string]record.Rollup
	late      map[string]record.Late
	fail      func(what string) error
	puts      int
	changed   chan struct{}
}

func newMemory() *memory {
	return &memory{exchanges: map[string]record.Exchange{}, snapshots: map[string]record.Snapshot{}, rollups: map[string]record.Rollup{}, late: map[string]record.Late{}, changed: make(chan struct{}, 1)}
}

func (m *memory) begin(what string) error {
	m.mu.Lock()
	m.puts++
	select {
	case m.changed <- struct{}{}:
	default:
	}
	if m.fail != nil {
		return m.fail(what)
	}
	return nil
}

func (m *memory) Put(_ context.Context, xs []record.Exchange) (int, error) {
	defer m.mu.Unlock()
	if err := m.begin("put"); err != nil {
		return 0, err
	}
	added := 0
	for i, x := range xs {
		if x.Redaction == "" {
			return 0, &store.InvalidError{Index: i, ID: x.ID, Why: "not redacted"}
		}
	}
	for _, x := range xs {
		if _, ok := m.exchanges[x.ID]; !ok {
			m.exchanges[x.ID] = x
			added++
		}
	}
	return added, nil
}

func (m *memory) PutSnapshots(_ context.Context, ss []record.Snapshot) error {
	defer m.mu.Unlock()
	if err := m.begin("snapshots"); err != nil {
		return err
	}
	for _, s := range ss {
		m.snapshots[s.ID] = s
	}
	return nil
}

func (m *memory) AddScores(_ context.Context, ls []record.Late) error {
	defer m.mu.Unlock()
	if err := m.begin("scores"); err != nil {
		return err
	}
	for i, l := range ls {
		if l.Redaction == "" {
			return &store.InvalidError{Index: i, ID: l.Exchange, Why: "not redacted"}
		}
	}
	for _, l := range ls {
		m.late[l.Exchange+" "+l.Score.Name+" "+l.Mark] = l
	}
	return nil
}

func (m *memory) LateScores(_ context.Context, ids []string, window time.Duration) ([]store.Scored, error) {
	defer m.mu.Unlock()
	if err := m.begin("late"); err != nil {
		return nil, err
	}
	windows, scored := map[time.Time]bool{}, map[string]bool{}
	for _, l := range m.late {
		scored[l.Exchange] = true
	}
	for _, id := range ids {
		if x, ok := m.exchanges[id]; ok && scored[id] {
			windows[x.Time.Truncate(window)] = true
		}
	}
	type made struct {
		store.Scored
		at time.Time
	}
	var all []made
	for _, l := range m.late {
		if x, ok := m.exchanges[l.Exchange]; ok && windows[x.Time.Truncate(window)] {
			had := slices.ContainsFunc(x.Scores, func(s record.OnlineScore) bool { return s.Name == l.Score.Name && s.Value != nil })
			all = append(all, made{store.Scored{Exchange: x.ID, Route: x.Route, Variant: x.Variant, Snapshot: x.Snapshot, Time: x.Time, Had: had, Score: l.Score}, l.Time})
		}
	}
	slices.SortFunc(all, func(a, b made) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Exchange, b.Exchange), a.at.Compare(b.at))
	})
	out := make([]store.Scored, len(all))
	for i := range all {
		out[i] = all[i].Scored
	}
	return out, nil
}

func (m *memory) PutRollups(_ context.Context, rs []record.Rollup) error {
	defer m.mu.Unlock()
	if err := m.begin("rollups"); err != nil {
		return err
	}
	for _, r := range rs {
		m.rollups[r.ID] = r
	}
	return nil
}

func (m *memory) requests() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0.0
	for _, r := range m.rollups {
		n += r.Counts[Requests]
	}
	return n
}

func (m *memory) await(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		m.mu.Lock()
		have := len(m.exchanges)
		m.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-m.changed:
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("%d of %d stored", have, n)
		}
	}
}

// handSource gives batches by hand.
type handSource struct{}

func (*handSource) Consume(context.Context, string, string, bus.ConsumeOptions, func(context.Context, bus.Batch) error) error {
	return nil
}

func newWorker(t testing.TB, o WorkerOptions) (*Worker, *memory) {
	t.Helper()
	m := newMemory()
	if o.Store == nil {
		o.Store = m
	}
	if o.Source == nil {
		o.Source = &handSource{}
	}
	o.Stream, o.Codec, o.Log = "x", NewCodec(), slog.New(slog.DiscardHandler)
	w, err := NewWorker(o)
	if err != nil {
		t.Fatal(err)
	}
	return w, m
}

func batchOf(t testing.TB, id string, xs ...record.Exchange) bus.Batch {
	t.Helper()
	c := NewCodec()
	b := bus.Batch{ID: id}
	for i := range xs {
		data, err := c.Exchange(&xs[i])
		if err != nil {
			t.Fatal(err)
		}
		b.Records = append(b.Records, bus.Record{ID: xs[i].ID, Data: data, Index: i})
	}
	return b
}

// sampleLate is a score that came apart from its exchange.
var sampleLate = record.Late{Exchange: "0199", Mark: "7", Time: sampleStart, Redaction: "r1", Score: record.OnlineScore{Name: "tone", Value: ptr(.5), Reason: "polite"}}

// Every step may fail, and a crash may come after any: once the batch is through, all is there once.
func TestWorkerRepeats(t *testing.T) {
	f := func(failAt string, crash bool) {
		t.Helper()
		w, m := newWorker(t, WorkerOptions{})
		snap := record.Snapshot{Model: "m"}
		snap.Identify()
		data, err := NewCodec().Snapshot(&snap)
		if err != nil {
			t.Fatal(err)
		}
		b := batchOf(t, "b1", sample(1), sample(2), sample(1))
		b.Records = append(b.Records, bus.Record{Data: data}, bus.Record{Data: []byte("garbage")})
		for _, redaction := range []string{"r1", "", "r1"} { // the second can never be stored
			l := sampleLate
			if l.Redaction = redaction; redaction == "" {
				l.Mark = "bad"
			}
			data, err := NewCodec().Late(&l)
			if err != nil {
				t.Fatal(err)
			}
			b.Records = append(b.Records, bus.Record{Data: data})
		}
		failed := false
		m.fail = func(what string) error {
			if what == failAt && !failed {
				failed = true
				return errors.New("down")
			}
			return nil
		}
		if err := w.handle(t.Context(), b); err == nil {
			t.Fatalf("%s did not fail", failAt)
		}
		if w.Stats().Failing == "" {
			t.Error("failing is not shown")
		}
		if crash {
			o := w.o
			if w, err = NewWorker(o); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.handle(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := w.handle(t.Context(), b); err != nil { // the acknowledgement was lost
			t.Fatal(err)
		}
		if len(m.exchanges) != 2 || len(m.snapshots) != 1 || m.requests() != 2 {
			t.Errorf("%s, crash %v: %d exchanges, %d snapshots, %v requests", failAt, crash, len(m.exchanges), len(m.snapshots), m.requests())
		}
		if got := m.late["0199 tone 7"]; len(m.late) != 1 || !reflect.DeepEqual(got, sampleLate) {
			t.Errorf("%s, crash %v: late scores %+v", failAt, crash, m.late)
		}
		if s := w.Stats(); s.Failing != "" || s.Undecodable == 0 || s.Scores == 0 || s.Invalid == 0 {
			t.Errorf("%+v", s)
		}
	}
	for _, at := range []string{"snapshots", "put", "scores", "rollups"} {
		f(at, false)
		f(at, true)
	}
}

// An exchange that a client sends again, in another batch, counts once.
func TestWorkerCountsOnce(t *testing.T) {
	live := NewLive(func() time.Time { return sampleStart })
	w, m := newWorker(t, WorkerOptions{Live: live})
	for i, xs := range [][]record.Exchange{{sample(1), sample(2)}, {sample(2), sample(3)}, {sample(1)}} {
		if err := w.handle(t.Context(), batchOf(t, fmt.Sprint("b", i), xs...)); err != nil {
			t.Fatal(err)
		}
	}
	s := w.Stats()
	if len(m.exchanges) != 3 || m.requests() != 3 || s.Stored != 3 || s.Repeated != 2 {
		t.Errorf("%v requests, %+v", m.requests(), s)
	}
	n := 0.0
	for _, st := range live.Stats("", LiveSpan) {
		n += st.Requests
	}
	if n != 3 {
		t.Errorf("%v live", n)
	}
}

// An exchange that the store refuses does not hold the others up.
func TestWorkerInvalid(t *testing.T) {
	w, m := newWorker(t, WorkerOptions{})
	bad := sample(2)
	bad.Redaction = ""
	if err := w.handle(t.Context(), batchOf(t, "b", sample(1), bad, sample(3))); err != nil {
		t.Fatal(err)
	}
	if s := w.Stats(); len(m.exchanges) != 2 || s.Invalid != 1 {
		t.Errorf("%+v", s)
	}
}

type fakeScorer struct {
	score func(ctx context.Context, x *record.Exchange) (record.OnlineScore, float64)
}

func (f fakeScorer) Score(ctx context.Context, x *record.Exchange) (record.OnlineScore, float64) {
	return f.score(ctx, x)
}

func value(v float64) fakeScorer {
	return fakeScorer{func(context.Context, *record.Exchange) (record.OnlineScore, float64) {
		return record.OnlineScore{Value: &v}, 0
	}}
}

func TestScoring(t *testing.T) {
	panics := fakeScorer{func(context.Context, *record.Exchange) (record.OnlineScore, float64) { panic("boom") }}
	w, m := newWorker(t, WorkerOptions{Secret: []byte("k"), Scorers: []Scoring{
		{Name: "all", Scorer: value(1), Share: 1}, {Name: "some", Scorer: value(2), Share: .25}, {Name: "none", Scorer: value(3)},
		{Name: "elsewhere", Scorer: value(4), Share: 1, Routes: []string{"other"}}, {Name: "panics", Scorer: panics, Share: 1}, {Name: "nan", Scorer: value(math.NaN()), Share: 1},
	}})
	var xs []record.Exchange
	for i := range 4000 {
		x := sample(i)
		x.Inclusion = .5
		if i%2 == 0 {
			x.Content = nil
		}
		xs = append(xs, x)
	}
	if err := w.handle(t.Context(), batchOf(t, "b", xs...)); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, x := range m.exchanges {
		for _, s := range x.Scores {
			counts[s.Name]++
			switch want := map[string]float64{"all": .5, "some": .125, "panics": .5, "nan": .5}[s.Name]; {
			case s.Inclusion != want:
				t.Fatalf("%+v", s)
			case (s.Name == "panics" || s.Name == "nan") != (s.Error != "" && s.Value == nil):
				t.Fatalf("%+v", s)
			}
		}
	}
	if counts["all"] != 2000 || counts["none"] != 0 || counts["elsewhere"] != 0 || counts["panics"] != 2000 {
		t.Error(counts)
	}
	// 2000 draws at one quarter: 5 standard deviations are 97.
	if n := counts["some"]; n < 403 || n > 597 {
		t.Errorf("%d of 2000 scored at one quarter", n)
	}
	// The weighted sums estimate what scoring all would have given.
	var weight, weighted float64
	for _, r := range m.rollups {
		weight += r.Counts[ScoreOf+"some.weight"]
		weighted += r.Counts[ScoreOf+"some.weighted"]
	}
	if math.Abs(weight-4000) > 800 || math.Abs(weighted-2*weight) > 1e-6 {
		t.Errorf("weights %v, %v", weight, weighted)
	}
	// The same exchanges are chosen when asked again, and others under another key.
	w2, m2 := newWorker(t, WorkerOptions{Secret: []byte("k"), Scorers: []Scoring{{Name: "some", Scorer: value(2), Share: .25}}})
	if err := w2.handle(t.Context(), batchOf(t, "b", xs...)); err != nil {
		t.Fatal(err)
	}
	for id, x := range m2.exchanges {
		has := false
		for _, s := range m.exchanges[id].Scores {
			has = has || s.Name == "some"
		}
		if has != (len(x.Scores) == 1) {
			t.Fatal("another choice")
		}
	}
}

type memoryLedger struct {
	mu  sync.Mutex
	sum map[string]float64
}

func (l *memoryLedger) Spend(_ context.Context, scorer, day string, dollars float64) (float64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum[scorer+day] += dollars
	return l.sum[scorer+day], nil
}

func TestBudget(t *testing.T) {
	now := sampleStart
	ledger := &memoryLedger{sum: map[string]float64{}}
	judge := fakeScorer{func(context.Context, *record.Exchange) (record.OnlineScore, float64) {
		return record.OnlineScore{Value: ptr(1.)}, .1
	}}
	worker := func() *Worker {
		w, _ := newWorker(t, WorkerOptions{Ledger: ledger, ScoreParallel: 1, Now: func() time.Time { return now }, Scorers: []Scoring{
			{Name: "judge", Scorer: judge, Share: 1, Costs: true, Budget: 1}, {Name: "no budget", Scorer: judge, Share: 1, Costs: true},
		}})
		return w
	}
	batch := func(w *Worker, id, n int) {
		t.Helper()
		var xs []record.Exchange
		for i := range n {
			xs = append(xs, sample(1000*id+i))
		}
		if err := w.handle(t.Context(), batchOf(t, fmt.Sprint(id), xs...)); err != nil {
			t.Fatal(err)
		}
	}
	a, b := worker(), worker()
	batch(a, 1, 6)
	batch(b, 2, 10) // another process: it knows of the six
	batch(a, 3, 5)
	sa, sb := a.Stats().Scorers, b.Stats().Scorers
	if sa[0].Scored != 6 || sb[0].Scored < 4 || sb[0].Scored > 5 || sa[0].Skipped != 5 || sa[1].Scored+sb[1].Scored != 0 || sa[1].Skipped != 11 {
		t.Errorf("%+v %+v", sa, sb)
	}
	now = now.Add(24 * time.Hour)
	batch(a, 4, 5)
	if s := a.Stats().Scorers[0]; s.Scored != 11 {
		t.Errorf("%+v", s)
	}
}

func TestScoreTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := fakeScorer{func(ctx context.Context, _ *record.Exchange) (record.OnlineScore, float64) {
			select {
			case <-ctx.Done():
				return record.OnlineScore{Error: ctx.Err().Error()}, 0
			case <-time.After(time.Second):
				return record.OnlineScore{Value: ptr(1.)}, 0
			}
		}}
		w, m := newWorker(t, WorkerOptions{ScoreTime: 10500 * time.Millisecond, ScoreParallel: 2, Scorers: []Scoring{{Name: "slow", Scorer: slow, Share: 1}}})
		var xs []record.Exchange
		for i := range 100 {
			xs = append(xs, sample(i))
		}
		begin := time.Now()
		if err := w.handle(t.Context(), batchOf(t, "b", xs...)); err != nil {
			t.Fatal(err)
		}
		s := w.Stats().Scorers[0]
		if time.Since(begin) != 10500*time.Millisecond || s.Scored != 22 || s.Failed != 2 || s.Late != 78 || len(m.exchanges) != 100 {
			t.Errorf("%v: %+v", time.Since(begin), s)
		}
	})
}

func openBus(t testing.TB, dir string) *bus.Bus {
	t.Helper()
	b, err := bus.Open(context.Background(), config.BusConfig{MaxBytes: 1 << 30}, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// The store is down for a while: the bus holds what comes, and all of it arrives afterwards.
func TestWorkerCatchesUp(t *testing.T) {
	b := openBus(t, t.TempDir())
	p := b.Publisher("x", bus.PublisherOptions{FrameBytes: 16 << 10})
	c, err := NewCapture(CaptureOptions{Redactor: &fakeRedactor{}, Publisher: p, Codec: NewCodec(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w, m := newWorker(t, WorkerOptions{Source: b, Consume: bus.ConsumeOptions{MaxWait: 5 * time.Millisecond, FirstRetry: 5 * time.Millisecond, LongestRetry: 20 * time.Millisecond}})
	down := true
	m.fail = func(string) error {
		if down {
			return errors.New("the store is down")
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	n := 0
	send := func() {
		for range 500 {
			x := sample(n)
			n++
			if !c.Take(Tap{Route: "r", Read: func() (*record.Exchange, error) { return &x, nil }}) {
				t.Fatal("not taken")
			}
		}
	}
	send()
	for w.Stats().Failures < 3 {
		time.Sleep(time.Millisecond)
	}
	send()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	if len(m.exchanges) != 0 {
		t.Error("stored in a store that is down")
	}
	down = false
	m.mu.Unlock()
	m.await(t, n)
	for begin := time.Now(); m.requests() != float64(n) && time.Since(begin) < 10*time.Second; {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if m.requests() != float64(n) {
		t.Errorf("%v of %d in roll-ups", m.requests(), n)
	}
}

func TestBucketLedger(t *testing.T) {
	b := openBus(t, t.TempDir())
	k, err := b.Bucket(t.Context(), "spent")
	if err != nil {
		t.Fatal(err)
	}
	l := BucketLedger{k}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if _, err := l.Spend(t.Context(), "a judge/1", "2026-01-01", .25); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	f := func(day string, add, want float64) {
		t.Helper()
		if got, err := l.Spend(t.Context(), "a judge/1", day, add); err != nil || got != want {
			t.Errorf("%v %v, want %v", got, err, want)
		}
	}
	f("2026-01-01", 0, 5)
	f("2026-01-02", 0, 0)
	f("2026-01-02", 1, 1)
	f("2026-01-01", 1, 0)
}

// fileStore keeps its data in files that survive a kill: each call appends one line with one write.
type fileStore struct {
	mu   sync.Mutex
	file *os.File
}

type fileLine struct {
	Exchanges []string
	Rollups   map[string]float64 // requests by ID
}

func (f *fileStore) append(l fileLine) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err = f.file.Write(append(b, '\n'))
	return err
}

func (f *fileStore) Put(_ context.Context, xs []record.Exchange) (int, error) {
	var l fileLine
	for _, x := range xs {
		l.Exchanges = append(l.Exchanges, x.ID)
	}
	return len(xs), f.append(l)
}

func (f *fileStore) PutSnapshots(context.Context, []record.Snapshot) error { return nil }

func (f *fileStore) AddScores(context.Context, []record.Late) error { return nil }

func (f *fileStore) LateScores(context.Context, []string, time.Duration) ([]store.Scored, error) {
	return nil, nil
}

func (f *fileStore) PutRollups(_ context.Context, rs []record.Rollup) error {
	l := fileLine{Rollups: map[string]float64{}}
	for _, r := range rs {
		l.Rollups[r.ID] = r.Counts[Requests]
	}
	return f.append(l)
}

func childWork() {
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	dir, log := os.Getenv("TELLTALE_DIR"), slog.New(slog.DiscardHandler)
	b, err := bus.Open(ctx, config.BusConfig{MaxBytes: 1 << 30}, dir, log)
	must(err)
	file, err := os.OpenFile(filepath.Join(dir, "store"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(err)
	w, err := NewWorker(WorkerOptions{
		Source: b, Stream: "x", Store: &fileStore{file: file}, Codec: NewCodec(), Log: log, Consume: bus.ConsumeOptions{MaxWait: 3 * time.Millisecond, AckWait: time.Second},
	})
	must(err)
	p := b.Publisher("x", bus.PublisherOptions{FrameBytes: 16 << 10, Linger: time.Millisecond})
	codec := NewCodec()
	if os.Getenv("TELLTALE_PIPELINE_CHILD") == "load" {
		for k := range 2 {
			go func() {
				for {
					var items []bus.Item
					for range 20 {
						x := sample(0)
						x.ID = fmt.Sprintf("%d-%016x", k, rand.Uint64())
						data, err := codec.Exchange(&x)
						must(err)
						items = append(items, bus.Item{ID: x.ID, Data: data})
					}
					must(p.Put(ctx, items))
					var out strings.Builder
					for _, i := range items {
						out.WriteString(i.ID + "\n")
					}
					_, err := os.Stdout.WriteString(out.String())
					must(err)
				}
			}()
		}
	} else {
		go func() { // the last one ends when there is nothing left to do
			for last := int64(-1); ; time.Sleep(3 * time.Second) {
				n := w.Stats().Batches
				if n == last {
					os.Exit(0)
				}
				last = n
			}
		}()
	}
	must(w.Run(ctx))
}

// TestWorkerKill kills a process that publishes, stores and rolls up, at random points, among them between storing and
// acknowledging: every exchange that was acknowledged is stored, and counts once in the roll-ups.
func TestWorkerKill(t *testing.T) {
	times := 20
	if testing.Short() {
		times = 3
	}
	dir := t.TempDir()
	acked := map[string]bool{}
	run := func(mode string) {
		t.Helper()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TELLTALE_PIPELINE_CHILD="+mode, "TELLTALE_DIR="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(out)
		for n := 0; ; n++ {
			line, err := r.ReadString('\n')
			if err != nil {
				break
			}
			if acked[strings.TrimSpace(line)] = true; n == 0 {
				time.AfterFunc(time.Duration(50+rand.IntN(300))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
		}
		if err := cmd.Wait(); (err == nil) != (mode == "finish") {
			t.Fatalf("%s: %v", mode, err)
		}
	}
	for range times {
		run("load")
	}
	run("finish")
	data, err := os.ReadFile(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	stored, rollups, repeated := map[string]bool{}, map[string]float64{}, 0
	for _, line := range strings.Split(string(data), "\n") {
		var l fileLine
		if json.Unmarshal([]byte(line), &l) != nil {
			continue // cut by a kill: the call did not return
		}
		for _, id := range l.Exchanges {
			stored[id] = true
		}
		for id, n := range l.Rollups {
			if old, ok := rollups[id]; ok {
				if repeated++; old != n {
					t.Errorf("roll-up %s: %v, then %v", id, old, n)
				}
			}
			rollups[id] = n
		}
	}
	lost := 0
	for id := range acked {
		if !stored[id] {
			lost++
		}
	}
	requests := 0.0
	for _, n := range rollups {
		requests += n
	}
	t.Logf("%d kills: %d acknowledged, %d stored, %v in %d roll-ups, %d of which came again", times, len(acked), len(stored), requests, len(rollups), repeated)
	if lost > 0 || len(acked) == 0 {
		t.Errorf("%d of %d acknowledged exchanges are lost", lost, len(acked))
	}
	if requests != float64(len(stored)) {
		t.Errorf("%v exchanges in roll-ups, %d in the store", requests, len(stored))
	}
}

// BenchmarkPipeline is the way of an exchange of 1 KB of content from encoding over the synced bus to the store, which does nothing.
func BenchmarkPipeline(b *testing.B) {
	bs := openBus(b, b.TempDir())
	p := bs.Publisher("x", bus.PublisherOptions{})
	w, m := newWorker(b, WorkerOptions{Source: bs, Consume: bus.ConsumeOptions{MaxWait: 50 * time.Millisecond}})
	codec := NewCodec()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += 500 {
		var items []bus.Item
		for j := range 500 {
			x := sample(i + j)
			data, err := codec.Exchange(&x)
			if err != nil {
				b.Fatal(err)
			}
			items = append(items, bus.Item{ID: x.ID, Data: data})
		}
		if err := p.Put(ctx, items); err != nil {
			b.Fatal(err)
		}
	}
	for {
		m.mu.Lock()
		n := len(m.exchanges)
		m.mu.Unlock()
		if n >= b.N {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
