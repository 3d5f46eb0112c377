package bus

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Reason is why records were not published: a closed set, used as a label.
type Reason string

// The reasons.
const (
	TooLarge Reason = "too_large" // the record is above MaxRecord
	Busy     Reason = "busy"      // the buffer is full; the bus works, more slowly than records come
	Down     Reason = "down"      // the buffer is full, for the bus does not answer
	DiskFull Reason = "disk_full" // the buffer is full, for the bus has no space to write to
	Full     Reason = "full"      // the stream is at its limit, and its policy is to refuse
	Closed   Reason = "closed"    // the publisher was closed before the record was published
)

// Reasons are all reasons.
var Reasons = [...]Reason{TooLarge, Busy, Down, DiskFull, Full, Closed}

// DropError is the error of records that were not published.
type DropError struct{ Reason Reason }

func (e *DropError) Error() string { return "not published: " + string(e.Reason) }

// PublisherOptions bound a publisher. Zero values take the defaults.
type PublisherOptions struct {
	// MaxRecords and MaxBytes bound what waits for the bus: 60,000 records (10 s at 5,000 a second, what a cluster may
	// take to choose a new leader) and 96 MiB.
	MaxRecords int
	MaxBytes   int
	// MaxRecord is the largest record in bytes, id included: 512 KiB.
	MaxRecord int
	// FrameBytes is the size at which a frame is full: 256 KiB. Linger is how long one that is not waits for more
	// records: 5 ms. It waits longer while all senders are busy.
	FrameBytes int
	Linger     time.Duration
	// InFlight is how many frames are on their way at a time: 4.
	InFlight int
}

func (o PublisherOptions) withDefaults() PublisherOptions {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&o.MaxRecords, 60_000)
	set(&o.MaxBytes, 96<<20)
	set(&o.MaxRecord, 512<<10)
	set(&o.FrameBytes, 256<<10)
	set(&o.InFlight, 4)
	if o.Linger <= 0 {
		o.Linger = 5 * time.Millisecond
	}
	return o
}

// PublisherStats are counts since the publisher was made, in records unless they say otherwise.
type PublisherStats struct {
	Offered   int64 // to Offer and Put
	Published int64 // acknowledged by the bus
	Dropped   map[Reason]int64
	// Pending records and bytes wait or are on their way. Lag is the age of the oldest.
	Pending      int64
	PendingBytes int64
	Lag          time.Duration
	Frames       int64
	FrameBytes   int64 // as sent
	// Retries counts further attempts to publish a frame; Duplicates those whose first attempt had been stored after all.
	Retries    int64
	Duplicates int64
	// Trouble is why the bus does not take frames at the moment; empty when it does.
	Trouble Reason
	Err     string
}

// send publishes a frame under a message id and returns once it is stored. Duplicate says that the id had been stored
// before.
type send func(ctx context.Context, id string, frame []byte) (duplicate bool, err error)

// Publisher collects records into frames and publishes them. It is safe for concurrent use.
type Publisher struct {
	opts PublisherOptions
	send send
	log  *slog.Logger
	name string // of this publisher, random: message ids are name and number

	// hard ends retries; it is cancelled when closing takes too long.
	hard   context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	wake   sync.Cond // for senders: a frame is due, or the end
	open   *frame    // being filled; nil when there is none
	sealed []*frame
	flight map[*frame]time.Time // since when
	free   []*frame             // emptied, to be filled again
	// room is closed and replaced when space became free and somebody waits for it.
	room    chan struct{}
	waiting int
	urgent  int // calls of Flush under way: frames do not linger
	closed  bool
	number  uint64
	stats   PublisherStats
	dropped map[Reason]int64
}

// frame is a frame being filled or on its way.
type frame struct {
	raw     []byte
	records int
	since   time.Time // of its first record
	puts    []*put
	id      string
}

// put is a call of Put that waits for frames.
type put struct {
	frames int
	err    error
	done   chan struct{}
}

func newPublisher(opts PublisherOptions, log *slog.Logger, send send) *Publisher {
	var id [8]byte
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	p := &Publisher{
		opts: opts.withDefaults(), send: send, log: log, name: hex.EncodeToString(id[:]),
		flight: map[*frame]time.Time{}, room: make(chan struct{}), dropped: map[Reason]int64{},
	}
	p.wake.L = &p.mu
	p.hard, p.cancel = context.WithCancel(context.Background())
	for range p.opts.InFlight {
		p.wg.Go(p.sender)
	}
	return p
}

// Offer takes a record if there is room, without ever waiting; data is copied. False means that the record was dropped
// and counted.
func (p *Publisher) Offer(id string, data []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Offered++
	if r := p.refuse(id, data); r != "" {
		p.dropped[r]++
		return false
	}
	p.add(id, data, nil)
	return true
}

// Put returns once all items are durable, and waits for room where there is none. After an error some of them may have
// been published: whoever sends them again uses the same ids.
func (p *Publisher) Put(ctx context.Context, items []Item) error {
	w := &put{frames: 1, done: make(chan struct{})} // 1 until all are added, lest it be done before
	for i := range items {
		if err := p.putOne(ctx, items[i], w); err != nil {
			return fmt.Errorf("record %d of %d: %w", i, len(items), err)
		}
	}
	p.mu.Lock()
	if w.frames--; w.frames == 0 {
		defer p.mu.Unlock()
		return w.err
	}
	p.mu.Unlock()
	select {
	case <-w.done:
		p.mu.Lock()
		defer p.mu.Unlock()
		return w.err
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.stats.Trouble != "" {
			return fmt.Errorf("%w: %w: %s", ctx.Err(), &DropError{p.stats.Trouble}, p.stats.Err)
		}
		return ctx.Err()
	}
}

func (p *Publisher) putOne(ctx context.Context, item Item, w *put) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Offered++
	for {
		r := p.refuse(item.ID, item.Data)
		if r == "" {
			p.add(item.ID, item.Data, w)
			return nil
		}
		if r == TooLarge || r == Closed {
			p.dropped[r]++
			return &DropError{r}
		}
		room := p.room
		p.waiting++
		p.mu.Unlock()
		var err error
		select {
		case <-room:
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", &DropError{r}, ctx.Err())
		}
		p.mu.Lock()
		p.waiting--
		if err != nil {
			p.dropped[r]++
			return err
		}
	}
}

// slowSend is how long a frame may be on its way before the bus counts as down.
const slowSend = time.Second

// refuse says why a record cannot be taken, or "".
func (p *Publisher) refuse(id string, data []byte) Reason {
	size := recordSize(id, data)
	switch {
	case p.closed:
		return Closed
	case size > p.opts.MaxRecord:
		return TooLarge
	case p.stats.Pending >= int64(p.opts.MaxRecords) || p.stats.PendingBytes+int64(size) > int64(p.opts.MaxBytes):
		if p.stats.Trouble != "" {
			return p.stats.Trouble
		}
		for _, since := range p.flight {
			if time.Since(since) > slowSend {
				return Down
			}
		}
		return Busy
	}
	return ""
}

// add appends a record to the open frame.
func (p *Publisher) add(id string, data []byte, w *put) {
	if p.open == nil {
		p.open = p.empty()
		p.open.since = time.Now()
		time.AfterFunc(p.opts.Linger, p.wakeOne)
	}
	f := p.open
	before := len(f.raw)
	f.raw = appendRecord(f.raw, id, data)
	f.records++
	p.stats.Pending++
	p.stats.PendingBytes += int64(len(f.raw) - before)
	if w != nil && (len(f.puts) == 0 || f.puts[len(f.puts)-1] != w) {
		f.puts = append(f.puts, w)
		w.frames++
	}
	if len(f.raw) >= p.opts.FrameBytes {
		p.seal()
		p.wake.Signal()
	}
}

func (p *Publisher) empty() *frame {
	if n := len(p.free); n > 0 {
		f := p.free[n-1]
		p.free = p.free[:n-1]
		return f
	}
	return &frame{raw: make([]byte, 0, min(p.opts.FrameBytes+8<<10, p.opts.MaxBytes))}
}

// seal closes the open frame and numbers it.
func (p *Publisher) seal() {
	p.number++
	p.open.id = fmt.Sprintf("%s-%d", p.name, p.number)
	p.sealed = append(p.sealed, p.open)
	p.open = nil
}

func (p *Publisher) wakeOne() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake.Signal()
}

// take waits for a frame that is due. Nil means that the publisher is closed and empty.
func (p *Publisher) take() *frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		// A frame that became due while all senders were busy is taken by the first that is free: the busier the bus,
		// the larger the frames.
		if p.open != nil && len(p.sealed) == 0 && (p.closed || p.urgent > 0 || time.Since(p.open.since) >= p.opts.Linger) {
			p.seal()
		}
		if len(p.sealed) > 0 {
			f := p.sealed[0]
			p.sealed[0] = nil
			p.sealed = p.sealed[1:]
			p.flight[f] = time.Now()
			return f
		}
		if p.closed && p.open == nil {
			return nil
		}
		p.wake.Wait()
	}
}

// finish accounts for a frame that was published, or dropped for a reason.
func (p *Publisher) finish(f *frame, sent int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flight, f)
	n := int64(f.records)
	p.stats.Pending -= n
	p.stats.PendingBytes -= int64(len(f.raw))
	if drop, ok := errors.AsType[*DropError](err); ok {
		p.dropped[drop.Reason] += n
	} else {
		p.stats.Published += n
		p.stats.Frames++
		p.stats.FrameBytes += int64(sent)
	}
	for _, w := range f.puts {
		w.err = errors.Join(w.err, err)
		if w.frames--; w.frames == 0 {
			close(w.done)
		}
	}
	if p.waiting > 0 {
		close(p.room)
		p.room = make(chan struct{})
	}
	if len(p.free) < p.opts.InFlight && cap(f.raw) <= 4*p.opts.FrameBytes {
		clear(f.puts)
		*f = frame{raw: f.raw[:0], puts: f.puts[:0]}
		p.free = append(p.free, f)
	}
}

// Flush returns once everything taken before the call is durable or dropped.
func (p *Publisher) Flush(ctx context.Context) error {
	p.mu.Lock()
	w := &put{done: make(chan struct{})}
	wait := func(f *frame) {
		f.puts = append(f.puts, w)
		w.frames++
	}
	for f := range p.flight {
		wait(f)
	}
	for _, f := range p.sealed {
		wait(f)
	}
	if p.open != nil {
		wait(p.open)
	}
	if w.frames == 0 {
		p.mu.Unlock()
		return nil
	}
	p.urgent++
	p.wake.Broadcast()
	p.mu.Unlock()
	var err error
	select {
	case <-w.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.urgent--
	if err == nil {
		err = w.err
	}
	return err
}

// Close takes no more records and publishes what it has. When the context ends first, the rest is dropped and counted,
// and the context's error returned.
func (p *Publisher) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	if p.waiting > 0 {
		close(p.room)
		p.room = make(chan struct{})
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		p.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		p.cancel()
		return nil
	case <-ctx.Done():
		p.cancel()
		<-done
		return ctx.Err()
	}
}

// Trouble says why the bus does not take frames at the moment, or "".
func (p *Publisher) Trouble() Reason {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats.Trouble
}

// Stats returns a copy of the counts.
func (p *Publisher) Stats() PublisherStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Dropped = make(map[Reason]int64, len(p.dropped))
	for r, n := range p.dropped {
		s.Dropped[r] = n
	}
	oldest := time.Time{}
	see := func(f *frame) {
		if f != nil && (oldest.IsZero() || f.since.Before(oldest)) {
			oldest = f.since
		}
	}
	see(p.open)
	for f := range p.flight {
		see(f)
	}
	if len(p.sealed) > 0 {
		see(p.sealed[0])
	}
	if !oldest.IsZero() {
		s.Lag = time.Since(oldest)
	}
	return s
}
