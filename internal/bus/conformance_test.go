package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/telltale-llm/telltale/internal/config"
)

// TestConformance is what holds for the embedded bus and an external one alike.
func TestConformance(t *testing.T) {
	for name, open := range map[string]func(testing.TB, string, config.BusConfig) *Bus{"embedded": openEmbedded, "external": openExternal} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for name, test := range map[string]func(*testing.T, func(config.BusConfig) *Bus){
				"carries": testCarries, "retries": testRetries, "poison": testPoison, "refuses": testRefuses, "dropsOldest": testDropsOldest,
				"buckets": testBuckets, "watch": testWatch, "stable": testStable, "ordered": testOrdered, "panics": testPanics, "shares": testShares,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, func(cfg config.BusConfig) *Bus { return open(t, t.TempDir(), cfg) })
				})
			}
		})
	}
}

func ctxFor(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func items(from, n, size int) []Item {
	out := make([]Item, n)
	for i := range out {
		id := fmt.Sprintf("id-%06d", from+i)
		out[i] = Item{id, []byte(id + strings.Repeat("x", size))}
	}
	return out
}

// collector gathers what was consumed, and ends when it has n ids.
type collector struct {
	mu    sync.Mutex
	times map[string]int
	order []string
	want  int
	done  chan struct{}
}

func collect(n int) *collector {
	return &collector{times: map[string]int{}, want: n, done: make(chan struct{})}
}

func (c *collector) take(b Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range b.Records {
		if !strings.HasPrefix(string(r.Data), r.ID) {
			panic("data of another record")
		}
		if c.times[r.ID]++; c.times[r.ID] == 1 {
			c.order = append(c.order, r.ID)
			if len(c.times) == c.want {
				close(c.done)
			}
		}
	}
}

// consume runs a consumer until the collector is done; the returned function waits for its end.
func consume(ctx context.Context, t *testing.T, b *Bus, opts ConsumeOptions, c *collector, fn func(Batch) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- b.Consume(ctx, "x", "d", opts, func(_ context.Context, batch Batch) error {
			if fn != nil {
				if err := fn(batch); err != nil {
					return err
				}
			}
			c.take(batch)
			return nil
		})
	}()
	select {
	case <-c.done:
	case err := <-ended:
		t.Errorf("consuming ended: %v, with %d of %d", err, len(c.times), c.want)
		return
	case <-ctx.Done():
		t.Errorf("%v: %d of %d arrived; %+v", ctx.Err(), len(c.times), c.want, b.Consumers())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func testCarries(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{})
	p := b.Publisher("x", PublisherOptions{FrameBytes: 8 << 10})
	if err := p.Put(ctx, items(0, 500, 100)); err != nil {
		t.Fatal(err)
	}
	for _, i := range items(500, 500, 100) {
		if !p.Offer(i.ID, i.Data) {
			t.Fatal("not taken")
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	s := p.Stats()
	if s.Published != 1000 || s.Offered != 1000 || s.Pending != 0 || s.PendingBytes != 0 || s.Frames < 2 || s.Lag != 0 {
		t.Errorf("%+v", s)
	}
	c := collect(1000)
	var last [2]uint64
	consume(ctx, t, b, ConsumeOptions{}, c, func(batch Batch) error {
		for _, r := range batch.Records {
			at := [2]uint64{r.Frame, uint64(r.Index)}
			if at[0] < last[0] || at[0] == last[0] && at[1] <= last[1] && at[1] != 0 {
				return fmt.Errorf("%v after %v", at, last)
			}
			last = at
		}
		return nil
	})
	// A second consumer of the same name continues behind the first.
	if err := p.Put(ctx, items(1000, 1, 0)); err != nil {
		t.Fatal(err)
	}
	c = collect(1)
	consume(ctx, t, b, ConsumeOptions{}, c, nil)
	if c.order[0] != "id-001000" {
		t.Errorf("continues at %s", c.order[0])
	}
	h := b.Health(ctx)
	if !h.OK || len(h.Streams) != 1 || h.Streams[0].Frames == 0 {
		t.Errorf("%+v", h)
	}
	if err := b.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if p.Offer("late", nil) || p.Stats().Dropped[Closed] != 1 {
		t.Error("taken after the end")
	}
}

func testRetries(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{})
	if err := b.Publisher("x", PublisherOptions{}).Put(ctx, items(0, 10, 10)); err != nil {
		t.Fatal(err)
	}
	var attempts []int
	c := collect(10)
	consume(ctx, t, b, ConsumeOptions{FirstRetry: time.Millisecond}, c, func(batch Batch) error {
		attempts = append(attempts, batch.Attempt)
		if len(attempts) < 4 {
			return errors.New("the store is down")
		}
		return nil
	})
	if fmt.Sprint(attempts) != "[0 1 2 3]" {
		t.Error(attempts)
	}
}

func testPanics(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{})
	p := b.Publisher("x", PublisherOptions{})
	if err := p.Put(ctx, items(0, 1, 10)); err != nil {
		t.Fatal(err)
	}
	calls := 0
	c := collect(1)
	go func() {
		for b.stop.Err() == nil {
			for _, s := range b.Consumers() {
				if s.Dead == 1 {
					if err := p.Put(ctx, items(1, 1, 10)); err != nil {
						t.Error(err)
					}
					return
				}
			}
			time.Sleep(time.Millisecond)
		}
	}()
	consume(ctx, t, b, ConsumeOptions{FirstRetry: time.Millisecond}, c, func(batch Batch) error {
		if batch.First == 1 {
			calls++
			panic("boom")
		}
		return nil
	})
	if calls != maxPanics {
		t.Errorf("%d calls", calls)
	}
}

func testPoison(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{})
	p := b.Publisher("x", PublisherOptions{})
	if err := p.Put(ctx, items(0, 5, 10)); err != nil {
		t.Fatal(err)
	}
	good := encodeFrame(nil, appendRecord(nil, "a", []byte("b")), 1)
	good[len(good)-1] ^= 1
	for _, bad := range [][]byte{nil, []byte("garbage"), good} {
		if _, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: subject("x"), Data: bad}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Put(ctx, items(5, 5, 10)); err != nil {
		t.Fatal(err)
	}
	c := collect(10)
	var stats []ConsumerStats
	consume(ctx, t, b, ConsumeOptions{}, c, func(Batch) error {
		stats = b.Consumers()
		return nil
	})
	if stats[0].Dead != 3 {
		t.Errorf("%+v", stats)
	}
	files, err := filepath.Glob(filepath.Join(b.dir, "dead", "x-*.frame"))
	if err != nil || len(files) != 3 {
		t.Errorf("%v %v", files, err)
	}
	if s, err := os.Stat(filepath.Join(b.dir, "dead")); err != nil || s.Mode().Perm() != 0o700 {
		t.Error(s.Mode(), err)
	}
}

func testRefuses(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{MaxBytes: 64 << 10, Full: "refuse"})
	p := b.Publisher("x", PublisherOptions{FrameBytes: 16 << 10})
	var drop *DropError
	for i := range 100 {
		if err := p.Put(ctx, random(i, 10, 1000)); err != nil {
			if !errors.As(err, &drop) || drop.Reason != Full {
				t.Fatal(err)
			}
			break
		}
	}
	if drop == nil {
		t.Fatal("never full")
	}
	put := p.Stats().Published
	for _, i := range random(1000, 100, 1000) {
		p.Offer(i.ID, i.Data)
	}
	if err := p.Flush(ctx); err == nil {
		t.Error("flushed into a full stream")
	}
	s := p.Stats()
	if s.Dropped[Full] == 0 || s.Published+s.Dropped[Full] != s.Offered || s.Published < put {
		t.Errorf("%+v", s)
	}
	// All that was acknowledged is there.
	c := collect(int(s.Published))
	consume(ctx, t, b, ConsumeOptions{}, c, nil)
}

func testDropsOldest(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{MaxBytes: 64 << 10})
	p := b.Publisher("x", PublisherOptions{FrameBytes: 16 << 10})
	if err := p.Put(ctx, random(0, 10, 1000)); err != nil {
		t.Fatal(err)
	}
	c := collect(10)
	consume(ctx, t, b, ConsumeOptions{}, c, nil)
	for i := 1; i <= 20; i++ {
		if err := p.Put(ctx, random(i, 10, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	h := b.Health(ctx)
	left := int(h.Streams[0].Frames)
	if left >= 20 || left == 0 {
		t.Fatalf("%+v", h)
	}
	c = collect(10 * left)
	var stats []ConsumerStats
	consume(ctx, t, b, ConsumeOptions{}, c, func(Batch) error {
		stats = b.Consumers()
		return nil
	})
	if got := stats[0].LostFrames; got != int64(20-left) {
		t.Errorf("lost %d, want %d: %+v", got, 20-left, stats)
	}
}

// testStable: frames that come again after a crash between processing and acknowledgement come in the same batches.
func testStable(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{})
	p := b.Publisher("x", PublisherOptions{})
	for i := range 7 {
		if err := p.Put(ctx, items(i, 1, 10)); err != nil {
			t.Fatal(err)
		}
	}
	opts := ConsumeOptions{Stable: true, AckWait: 500 * time.Millisecond, MaxWait: 10 * time.Millisecond}
	first, second := map[string][]string{}, map[string][]string{}
	note := func(m map[string][]string, batch Batch) {
		for _, r := range batch.Records {
			m[batch.ID] = append(m[batch.ID], r.ID)
		}
	}
	dying, die := context.WithCancel(ctx)
	if err := b.Consume(dying, "x", "d", opts, func(_ context.Context, batch Batch) error {
		note(first, batch)
		die() // and no acknowledgement
		return errors.New("killed")
	}); err != nil {
		t.Fatal(err)
	}
	for i := 7; i < 12; i++ {
		if err := p.Put(ctx, items(i, 1, 10)); err != nil {
			t.Fatal(err)
		}
	}
	c := collect(12)
	consume(ctx, t, b, opts, c, func(batch Batch) error {
		note(second, batch)
		return nil
	})
	for id, want := range first {
		if fmt.Sprint(second[id]) != fmt.Sprint(want) {
			t.Errorf("batch %s: %v, then %v", id, want, second[id])
		}
	}
	for id, n := range c.times {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
	if len(second) < 2 {
		t.Errorf("new frames came in an old batch: %v", second)
	}
}

// testOrdered: what a killed process had been given comes at once, and before what has come since.
func testOrdered(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{})
	p := b.Publisher("x", PublisherOptions{})
	put := func(from, n int) {
		t.Helper()
		for i := from; i < from+n; i++ {
			if err := p.Put(ctx, items(i, 1, 10)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(0, 3)
	c := collect(3)
	opts := ConsumeOptions{MaxWait: 10 * time.Millisecond, Ordered: true}
	consume(ctx, t, b, opts, c, nil)
	put(3, 5)
	cons, err := b.js.Consumer(ctx, streamName("x"), "d")
	if err != nil {
		t.Fatal(err)
	}
	killed, err := cons.Fetch(4)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for m := range killed.Messages() {
		if n++; n == 2 { // out of order, so that there is a gap
			if err := m.DoubleAck(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(8, 2)
	began := time.Now()
	c = collect(7)
	consume(ctx, t, b, opts, c, nil)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("what a killed process had been given came after %v", took)
	}
	if !slices.IsSorted(c.order) || c.order[0] != "id-000003" {
		t.Errorf("%v", c.order)
	}
	put(10, 1) // and again with the consumer as it is
	c = collect(1)
	consume(ctx, t, b, opts, c, nil)
	if fmt.Sprint(c.order) != "[id-000010]" {
		t.Errorf("%v", c.order)
	}
}

// testShares: two consumers of one name share the frames.
func testShares(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{})
	p := b.Publisher("x", PublisherOptions{FrameBytes: 2 << 10, Linger: time.Millisecond})
	c := collect(2000)
	other, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Consume(other, "x", "d", ConsumeOptions{MaxWait: time.Millisecond}, func(_ context.Context, batch Batch) error {
			c.take(batch)
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		for i := range 20 {
			if err := p.Put(ctx, items(100*i, 100, 100)); err != nil {
				t.Error(err)
			}
		}
	})
	consume(ctx, t, b, ConsumeOptions{MaxWait: time.Millisecond}, c, nil)
	stop()
	wg.Wait()
}

func testBuckets(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{})
	k, err := b.Bucket(ctx, "state")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	rev, err := k.CompareAndSet(ctx, "a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.CompareAndSet(ctx, "a", []byte("2"), 0); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if _, err := k.CompareAndSet(ctx, "a", []byte("2"), rev); err != nil {
		t.Error(err)
	}
	if _, err := k.CompareAndSet(ctx, "a", []byte("3"), rev); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if err := k.Delete(ctx, "a", rev); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	e, err := k.Get(ctx, "a")
	if err != nil || string(e.Value) != "2" || e.Revision <= rev {
		t.Errorf("%+v %v", e, err)
	}
	// Only one of many wins.
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		wg.Go(func() {
			if _, err := k.CompareAndSet(ctx, "a", fmt.Append(nil, i), e.Revision); err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			} else if !errors.Is(err, ErrConflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d won", won)
	}
	if _, err := k.Put(ctx, "b.c", []byte("x")); err != nil {
		t.Error(err)
	}
	keys, err := k.Keys(ctx)
	if err != nil || fmt.Sprint(keys) != "[a b.c]" {
		t.Error(keys, err)
	}
	if err := k.Delete(ctx, "a", 0); err != nil {
		t.Error(err)
	}
	if _, err := k.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := k.CompareAndSet(ctx, "a", []byte("again"), 0); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", ".a", "a b", "a..b", "*"} {
		if _, err := k.Put(ctx, bad, nil); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func testWatch(t *testing.T, open func(config.BusConfig) *Bus) {
	ctx := ctxFor(t)
	b := open(config.BusConfig{})
	k, err := b.Bucket(ctx, "state")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Put(ctx, "r.1", []byte("old")); err != nil {
		t.Fatal(err)
	}
	var got []string
	end := errors.New("enough")
	seen := make(chan struct{}, 10)
	done := make(chan error)
	go func() {
		done <- k.Watch(ctx, "r.*", func(e Entry) error {
			got = append(got, fmt.Sprintf("%s=%s %v", e.Key, e.Value, e.Deleted))
			seen <- struct{}{}
			if len(got) == 3 {
				return end
			}
			return nil
		})
	}()
	<-seen
	if _, err := k.Put(ctx, "other", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Put(ctx, "r.2", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := k.Delete(ctx, "r.1", 0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, end) {
		t.Fatal(err)
	}
	if s := strings.Join(got, ", "); s != "r.1=old false, r.2=new false, r.1= true" {
		t.Error(s)
	}
}
