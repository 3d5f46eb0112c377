package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeStream is a stream in memory that can be made to fail.
type fakeStream struct {
	mu     sync.Mutex
	stored map[string]int // records by message id
	fail   func(attempt int) error
	lost   int // acknowledgements to lose after storing
	wait   time.Duration
	calls  int
	sizes  []int
}

func (f *fakeStream) send(ctx context.Context, id string, frame []byte) (bool, error) {
	f.mu.Lock()
	wait := f.wait
	f.mu.Unlock()
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.fail != nil {
		if err := f.fail(f.calls); err != nil {
			return false, err
		}
	}
	if f.stored == nil {
		f.stored = map[string]int{}
	}
	if _, ok := f.stored[id]; ok {
		return true, nil
	}
	n := 0
	if err := decodeFrame(frame, func(int, string, []byte) { n++ }); err != nil {
		return false, err
	}
	f.stored[id] = n
	f.sizes = append(f.sizes, n)
	if f.lost > 0 {
		f.lost--
		return false, context.DeadlineExceeded
	}
	return false, nil
}

func (f *fakeStream) total() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, k := range f.stored {
		n += k
	}
	return n
}

func TestPublisherLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStream{}
		p := newPublisher(PublisherOptions{Linger: 5 * time.Millisecond}, quiet(), f.send)
		for i := range 10 {
			if !p.Offer(fmt.Sprint(i), []byte("x")) {
				t.Fatal("not taken")
			}
		}
		time.Sleep(4 * time.Millisecond)
		synctest.Wait()
		if f.total() != 0 {
			t.Error("sent too early")
		}
		if lag := p.Stats().Lag; lag != 4*time.Millisecond {
			t.Errorf("lag %v", lag)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if f.total() != 10 || f.calls != 1 {
			t.Errorf("%d records in %d frames", f.total(), f.calls)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// While all senders are busy, frames grow: each sync carries more the slower it is.
func TestPublisherGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStream{wait: 100 * time.Millisecond}
		p := newPublisher(PublisherOptions{Linger: time.Millisecond, InFlight: 1}, quiet(), f.send)
		for i := range 100 {
			p.Offer(fmt.Sprint(i), []byte("x"))
			time.Sleep(2 * time.Millisecond)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if f.total() != 100 || f.calls > 4 {
			t.Errorf("%d records in %d frames", f.total(), f.calls)
		}
	})
}

func TestPublisherRetriesIdempotently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStream{lost: 3}
		p := newPublisher(PublisherOptions{InFlight: 1}, quiet(), f.send)
		if err := p.Put(t.Context(), items(0, 10, 10)); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); f.total() != 10 || s.Duplicates != 1 || s.Retries != 1 || s.Trouble != "" {
			t.Errorf("%d stored: %+v", f.total(), s)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// An outage of ten seconds at 5,000 records a second loses nothing; of one that is longer, what does not fit is counted.
func TestPublisherOutage(t *testing.T) {
	f := func(outage time.Duration, lossless bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			f := &fakeStream{fail: func(int) error {
				if time.Since(start) < outage {
					return errors.New("no leader")
				}
				return nil
			}}
			p := newPublisher(PublisherOptions{}, quiet(), f.send)
			data := make([]byte, 1000)
			taken := 0
			for ms := range 15_000 {
				for i := range 5 {
					if p.Offer(fmt.Sprint(ms, i), data) {
						taken++
					}
				}
				time.Sleep(time.Millisecond)
			}
			if p.Stats().Trouble != "" && lossless {
				t.Errorf("%+v", p.Stats())
			}
			time.Sleep(10 * time.Second)
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			s := p.Stats()
			if f.total() != taken || s.Published != int64(taken) || s.Pending != 0 || s.PendingBytes != 0 {
				t.Errorf("%d of %d stored; %+v", f.total(), taken, s)
			}
			if (s.Dropped[Down] == 0) != lossless || s.Dropped[Down]+s.Published != s.Offered {
				t.Errorf("lossless %v: %+v", lossless, s)
			}
		})
	}
	f(9500*time.Millisecond, true)
	f(14*time.Second, false)
}

func TestPublisherBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStream{wait: time.Second}
		p := newPublisher(PublisherOptions{MaxRecords: 10, MaxRecord: 100, InFlight: 1}, quiet(), f.send)
		if p.Offer("big", make([]byte, 100)) {
			t.Error("took a record above the limit")
		}
		var drop *DropError
		if err := p.Put(t.Context(), []Item{{"big", make([]byte, 100)}}); !errors.As(err, &drop) || drop.Reason != TooLarge {
			t.Error(err)
		}
		for i := range 12 {
			if got, want := p.Offer(fmt.Sprint(i), nil), i < 10; got != want {
				t.Errorf("offer %d: %v", i, got)
			}
		}
		// Put waits for room, Offer does not.
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := p.Put(short, items(0, 1, 0)); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &drop) || drop.Reason != Busy {
			t.Error(err)
		}
		if err := p.Put(t.Context(), items(1, 25, 0)); err != nil {
			t.Error(err)
		}
		s := p.Stats()
		if s.Dropped[TooLarge] != 2 || s.Dropped[Busy] != 3 || s.Published != 35 || s.Offered != 40 {
			t.Errorf("%+v", s)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := p.Put(t.Context(), items(0, 1, 0)); !errors.As(err, &drop) || drop.Reason != Closed {
			t.Error(err)
		}
	})
}

// Closing is bounded: what cannot be published is dropped and counted, and whoever waits is told.
func TestPublisherCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStream{fail: func(int) error { return errors.New("down") }}
		p := newPublisher(PublisherOptions{}, quiet(), f.send)
		waits := make(chan error)
		go func() { waits <- p.Put(context.Background(), items(0, 3, 0)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("took %v", took)
		}
		var drop *DropError
		if err := <-waits; !errors.As(err, &drop) || drop.Reason != Closed {
			t.Error(err)
		}
		if s := p.Stats(); s.Dropped[Closed] != 3 || s.Pending != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A Put whose first frame is acknowledged while its later records are still being added waits for all of them.
func TestPublisherPutsInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStream{wait: time.Millisecond}
		p := newPublisher(PublisherOptions{MaxRecords: 3, FrameBytes: 20, InFlight: 2}, quiet(), f.send)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if err := p.Put(t.Context(), items(100*i, 50, 5)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if f.total() != 400 {
			t.Errorf("%d stored when all were durable", f.total())
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkOffer(b *testing.B) {
	p := newPublisher(PublisherOptions{MaxRecords: 1 << 30, MaxBytes: 1 << 40}, quiet(), func(context.Context, string, []byte) (bool, error) { return false, nil })
	data := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		p.Offer("0199d2f5-7a3c-7cc1-9a0f-3c2f5c1d2e3f", data)
	}
	if err := p.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
