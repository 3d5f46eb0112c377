package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Record is a record as it comes from the stream. Frame and Index are its place: records are in the order of the
// stream's frames, and within a frame in the order in which they were published.
type Record struct {
	ID    string
	Data  []byte // the receiver's, but capacity ends with it
	Frame uint64 // sequence number of its frame in the stream
	Index int    // within the frame
}

// Batch is some frames' records, delivered together.
type Batch struct {
	// ID names this set of frames. With ConsumeOptions.Stable, frames that are delivered again after a crash come in the
	// same batch with the same ID, so that sums over a batch can be stored under it once.
	ID      string
	Records []Record
	// First and Last are the frames' lowest and highest sequence numbers; there may be gaps between.
	First, Last uint64
	// Attempt counts calls with this batch in this process, from 0. Again says that a frame may have been processed
	// before, by this or another process.
	Attempt int
	Again   bool
	// Pending is how many frames of the stream wait after this batch.
	Pending uint64
}

// ConsumeOptions bound batches. Zero values take the defaults.
type ConsumeOptions struct {
	// MaxBytes is the size of the frames' records, as they are in memory, from which a batch takes no more: 4 MiB. It may be
	// exceeded by fifteen frames, if they are larger than those before. MaxWait is how long a batch waits for more once it has its first frame: 100 ms.
	MaxBytes int
	MaxWait  time.Duration
	// AckWait is after how long without a sign of life from a consumer its frames are given to another: 30 s.
	AckWait time.Duration
	// FirstRetry and LongestRetry are the waits after the function failed, doubled each time: 250 ms and 15 s.
	FirstRetry, LongestRetry time.Duration
	// Stable keeps batches together; see Batch.ID. It costs a small write to the bus for each batch.
	Stable bool
	// FromNow skips what was published before the consumer was first made.
	FromNow bool
	// Ordered is for a durable name that one process consumes at a time: no frame comes after a later one, not even after a
	// crash, when what was given out and not acknowledged comes again at once and before everything else.
	Ordered bool
}

func (o ConsumeOptions) withDefaults() ConsumeOptions {
	set := func(v *time.Duration, def time.Duration) {
		if *v <= 0 {
			*v = def
		}
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 4 << 20
	}
	set(&o.MaxWait, 100*time.Millisecond)
	set(&o.AckWait, 30*time.Second)
	set(&o.FirstRetry, 250*time.Millisecond)
	set(&o.LongestRetry, 15*time.Second)
	return o
}

// ConsumerStats are counts since Consume was called in this process.
type ConsumerStats struct {
	Stream, Durable string
	Frames          int64 // acknowledged
	Records         int64
	Failures        int64 // calls of the function that failed
	Redelivered     int64 // frames that came again
	Dead            int64 // frames put aside: undecodable, or given up
	// LostFrames were dropped by the stream's limits before they were consumed. LostRecords estimates their records by the mean of those
	// that came. With several processes on one durable name each counts what it sees of the gap.
	LostFrames  int64
	LostRecords int64
	Pending     uint64 // frames in the stream after the last batch
}

// maxPanics is how often the function may panic on a batch before it is put aside.
const maxPanics = 3

// consumer is one call of Consume.
type consumer struct {
	bus     *Bus
	stream  string
	durable string
	opts    ConsumeOptions
	log     *slog.Logger
	fn      func(context.Context, Batch) error
	plans   *plans // nil without Stable
	dead    *deadLetters

	seen recent // frames acknowledged lately
	prev uint64 // highest frame delivered

	mu    sync.Mutex
	stats ConsumerStats
}

// Consume calls fn with batches of records, one at a time and in the order of the stream, until the context ends, or
// the bus does; it then returns nil. A batch is acknowledged when fn returned nil. After an error the same batch is
// tried again after a while, for as long as it takes: the stream holds what comes after it. Frames that cannot be decoded are put
// aside as files and counted. Several processes may consume under one durable name and share the frames.
func (b *Bus) Consume(ctx context.Context, stream, durable string, opts ConsumeOptions, fn func(context.Context, Batch) error) error {
	if !nameRE.MatchString(stream) || !nameRE.MatchString(durable) {
		return fmt.Errorf("bus: stream %q, consumer %q: want letters, digits, - and _", stream, durable)
	}
	c := &consumer{
		bus: b, stream: stream, durable: durable, opts: opts.withDefaults(), fn: fn,
		log:   b.log.With("stream", stream, "consumer", durable),
		dead:  newDeadLetters(b.dir, stream),
		stats: ConsumerStats{Stream: stream, Durable: durable},
	}
	if opts.Stable {
		c.plans = newPlans(b, stream, durable)
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.consumers[c] = struct{}{}
	b.wg.Add(1)
	b.mu.Unlock()
	defer b.wg.Done()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.consumers, c)
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.stop, cancel)()
	wait := c.opts.FirstRetry
	for {
		begin := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(begin) > time.Minute {
			wait = c.opts.FirstRetry
		}
		c.log.Warn("consuming stopped; it is tried again", "err", err, "in", wait)
		sleep(ctx, wait)
		wait = min(2*wait, c.opts.LongestRetry)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// session consumes until something goes wrong with the connection, the stream or the consumer.
func (c *consumer) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cons, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	if c.plans != nil {
		defer c.plans.wg.Wait()
		defer cancel()
		if err := c.plans.open(ctx); err != nil {
			return err
		}
	}
	// One batch is fetched and decoded while another is being processed. The inner context ends the fetcher when
	// processing stops for good.
	work := make(chan *delivery)
	var failed error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(work)
		failed = c.fetch(ctx, cons, work)
	})
	for d := range work {
		c.process(ctx, d)
		d.release()
	}
	cancel()
	wg.Wait()
	return failed
}

// prepare makes the stream and the consumer. Requests have a time of their own: the answer to one that was sent when
// the connection broke never comes.
func (c *consumer) prepare(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.bus.ensure(ctx, c.stream); err != nil {
		return nil, err
	}
	deliver := jetstream.DeliverAllPolicy
	if c.opts.FromNow {
		deliver = jetstream.DeliverNewPolicy
	}
	config := jetstream.ConsumerConfig{
		Durable: c.durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.opts.AckWait, MaxDeliver: -1, DeliverPolicy: deliver,
		MaxAckPending: 1000,
	}
	if c.opts.Ordered {
		if err := c.rewind(ctx, &config); err != nil {
			return nil, err
		}
	}
	cons, err := c.bus.js.CreateOrUpdateConsumer(ctx, streamName(c.stream), config)
	if err != nil {
		return nil, err
	}
	if info := cons.CachedInfo(); info != nil {
		c.prev = max(c.prev, info.Delivered.Stream)
	}
	return cons, nil
}

// rewind makes the consumer begin where acknowledgements without a gap end. The server would give out what was not acknowledged
// when its time is over, after frames that come later in the stream.
func (c *consumer) rewind(ctx context.Context, config *jetstream.ConsumerConfig) error {
	cons, err := c.bus.js.Consumer(ctx, streamName(c.stream), c.durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	info := cons.CachedInfo()
	if info.NumAckPending == 0 {
		config.DeliverPolicy, config.OptStartSeq = info.Config.DeliverPolicy, info.Config.OptStartSeq // which cannot be changed
		return nil
	}
	if err := c.bus.js.DeleteConsumer(ctx, streamName(c.stream), c.durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err
	}
	config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, info.AckFloor.Stream+1
	return nil
}

// process calls the function until it succeeds, and acknowledges.
func (c *consumer) process(ctx context.Context, d *delivery) {
	wait := c.opts.FirstRetry
	panics := 0
	for {
		err, panicked := c.call(ctx, d.batch)
		if err == nil {
			c.acknowledge(ctx, d)
			return
		}
		c.count(func(s *ConsumerStats) { s.Failures++ })
		if panicked {
			panics++
		}
		if ctx.Err() != nil {
			d.giveBack()
			return
		}
		if panics >= maxPanics {
			c.log.Error("a batch is put aside", "frames", len(d.msgs), "first", d.batch.First, "last", d.batch.Last, "err", err)
			for _, m := range d.msgs {
				c.putAside(m, err.Error())
			}
			return
		}
		c.log.Warn("a batch failed; it is tried again", "attempt", d.batch.Attempt, "in", wait, "err", err)
		sleep(ctx, wait)
		if ctx.Err() != nil {
			d.giveBack()
			return
		}
		wait = min(2*wait, c.opts.LongestRetry)
		d.batch.Attempt++
	}
}

func (c *consumer) call(ctx context.Context, b Batch) (err error, panicked bool) {
	defer func() {
		if r := recover(); r != nil {
			// A value of another kind may hold what a record says.
			what := fmt.Sprintf("%T", r)
			if e, ok := r.(runtime.Error); ok {
				what = e.Error()
			}
			err, panicked = fmt.Errorf("panic: %s\n%s", what, debug.Stack()), true
		}
	}()
	return c.fn(ctx, b), false
}

// acknowledge confirms the last frame with the server: it handles acknowledgements in their order, so the others have
// been seen too. One that got lost comes again and is recognised.
func (c *consumer) acknowledge(ctx context.Context, d *delivery) {
	for _, seq := range d.frames {
		c.seen.add(seq)
	}
	for i, m := range d.msgs {
		if i < len(d.msgs)-1 {
			c.ackErr(m.msg.Ack())
			continue
		}
		confirm, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		c.ackErr(m.msg.DoubleAck(confirm))
		cancel()
	}
	c.count(func(s *ConsumerStats) {
		s.Frames += int64(len(d.msgs))
		s.Records += int64(len(d.batch.Records))
		s.Pending = d.batch.Pending
	})
}

func (c *consumer) ackErr(err error) {
	if err != nil {
		c.log.Debug("an acknowledgement failed; the frame will come again", "err", err)
	}
}

// putAside writes a frame to a file and tells the server not to send it again.
func (c *consumer) putAside(m message, why string) {
	if err := c.dead.write(m.seq, m.data, why); err != nil {
		c.log.Error("a frame that is put aside could not be written", "frame", m.seq, "err", err)
	}
	c.seen.add(m.seq)
	if m.msg != nil {
		c.ackErr(m.msg.TermWithReason("put aside"))
	}
	c.count(func(s *ConsumerStats) { s.Dead++ })
}

func (c *consumer) count(f func(*ConsumerStats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.stats)
}

// Consumers returns the counts of all consumers of this process.
func (b *Bus) Consumers() []ConsumerStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []ConsumerStats
	for c := range b.consumers {
		c.mu.Lock()
		out = append(out, c.stats)
		c.mu.Unlock()
	}
	return out
}
