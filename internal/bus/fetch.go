package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// message is a frame as it was delivered, or, without msg, as it was read from the stream to complete a batch.
type message struct {
	msg   jetstream.Msg
	data  []byte
	seq   uint64
	again bool // delivered before
}

// delivery is a batch with the messages to acknowledge. While it is held, the server is told that it is being worked
// on.
type delivery struct {
	batch  Batch
	msgs   []message // to be acknowledged
	frames []uint64  // of the batch

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// hold tells the server that the frames are in progress, three times within the time after which it would give them to
// another consumer.
func (d *delivery) hold(every time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	d.wg.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			for _, m := range d.msgs {
				if m.msg.InProgress() != nil {
					break // not connected; or acknowledged by now
				}
			}
		}
	})
}

func (d *delivery) release() {
	d.stop()
	d.wg.Wait()
}

// giveBack lets the server deliver the frames again at once.
func (d *delivery) giveBack() {
	for _, m := range d.msgs {
		if m.msg.Nak() != nil {
			return // they come again after AckWait
		}
	}
}

// idleFetch is how long a fetch waits for a first frame. It is also how long the end of a consumer may take.
const idleFetch = 500 * time.Millisecond

// fetch gets frames, makes batches and hands them over until it fails or the context ends.
func (c *consumer) fetch(ctx context.Context, cons jetstream.Consumer, work chan<- *delivery) error {
	for ctx.Err() == nil {
		msgs, err := c.fetchOnce(ctx, cons)
		if err != nil && len(msgs) == 0 {
			return err
		}
		ds := c.arrange(ctx, msgs)
		for i, d := range ds {
			select {
			case work <- d:
			case <-ctx.Done():
				for _, d := range ds[i:] {
					d.giveBack()
					d.release()
				}
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fetchStep is how many frames are asked for at a time, at most.
const fetchStep = 16

// fetchOnce waits for a first frame, and then a little for more. What it asked for is always taken: a frame that was
// sent and not read would be missing until AckWait is over.
func (c *consumer) fetchOnce(ctx context.Context, cons jetstream.Consumer) ([]message, error) {
	var out []message
	size := 0
	take := func(n int, wait time.Duration) error {
		res, err := cons.Fetch(n, jetstream.FetchMaxWait(wait))
		if err != nil {
			return err
		}
		for m := range res.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("message of the stream: %w", err)
			}
			size += rawSize(m.Data())
			out = append(out, message{m, m.Data(), meta.Sequence.Stream, meta.NumDelivered > 1})
		}
		return passing(res.Error())
	}
	if err := take(1, idleFetch); err != nil || len(out) == 0 {
		return out, err
	}
	for end := time.Now().Add(c.opts.MaxWait); size < c.opts.MaxBytes && ctx.Err() == nil; {
		wait := time.Until(end)
		if wait < time.Millisecond { // the least that the server waits
			break
		}
		room := (c.opts.MaxBytes - size) * len(out) / max(1, size) // for frames like those before
		if err := take(min(fetchStep, 1+room), wait); err != nil {
			return out, err
		}
	}
	return out, nil
}

// passing leaves out the errors that only mean that there is no more at the moment.
func passing(err error) error {
	if errors.Is(err, jetstream.ErrNoMessages) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// arrange decodes frames and makes batches of them: one of the new ones, and those that redelivered frames belonged to.
func (c *consumer) arrange(ctx context.Context, msgs []message) []*delivery {
	var out []*delivery
	fresh := make([]message, 0, len(msgs))
	held := map[uint64]bool{}
	pending := uint64(0)
	for _, m := range msgs {
		meta, err := m.msg.Metadata()
		if err != nil || held[m.seq] {
			continue
		}
		pending = meta.NumPending
		if meta.NumDelivered == 1 {
			c.lost(m.seq)
		} else {
			c.count(func(s *ConsumerStats) { s.Redelivered++ })
		}
		c.prev = max(c.prev, m.seq)
		if c.seen.has(m.seq) {
			c.ackErr(m.msg.Ack())
			continue
		}
		held[m.seq] = true
		fresh = append(fresh, m)
	}
	if c.plans != nil {
		var err error
		if fresh, out, err = c.replan(ctx, fresh); err != nil {
			c.log.Warn("batches that were begun cannot be read; they come again", "err", err)
			return c.abandon(out, fresh)
		}
	}
	if d := c.deliver("", fresh); d != nil {
		if c.plans != nil {
			if err := c.plans.write(ctx, d); err != nil {
				c.log.Warn("a batch could not be noted; it comes again", "err", err)
				d.giveBack()
				d.release()
				return out
			}
		}
		out = append(out, d)
	}
	for _, d := range out {
		d.batch.Pending = pending
	}
	return out
}

// abandon lets the server deliver frames again: nothing is processed that could not be recognised later.
func (c *consumer) abandon(ds []*delivery, msgs []message) []*delivery {
	for _, d := range ds {
		d.giveBack()
		d.release()
	}
	(&delivery{msgs: msgs}).giveBack()
	return nil
}

// deliver decodes frames into a batch. Those that cannot be decoded are put aside. Nil when none is left.
func (c *consumer) deliver(id string, msgs []message) *delivery {
	d := &delivery{batch: Batch{ID: id}}
	for _, m := range msgs {
		before := len(d.batch.Records)
		err := decodeFrame(m.data, func(i int, id string, data []byte) {
			d.batch.Records = append(d.batch.Records, Record{id, data, m.seq, i})
		})
		if err != nil {
			d.batch.Records = d.batch.Records[:before]
			c.log.Error("a frame is put aside", "frame", m.seq, "err", err)
			c.putAside(m, err.Error())
			continue
		}
		d.batch.Again = d.batch.Again || m.again
		d.batch.Last = max(d.batch.Last, m.seq)
		d.frames = append(d.frames, m.seq)
		if d.batch.First == 0 || m.seq < d.batch.First {
			d.batch.First = m.seq
		}
		if m.msg != nil {
			d.msgs = append(d.msgs, m)
		}
	}
	if len(d.msgs) == 0 {
		return nil
	}
	if id == "" {
		d.batch.ID = batchID(c.stream, d.frames)
	}
	d.hold(c.opts.AckWait / 3)
	return d
}

// lost counts frames between the last one delivered and this one that the stream does not have any more.
func (c *consumer) lost(seq uint64) {
	if seq <= c.prev+1 {
		return
	}
	ctx, cancel := context.WithTimeout(c.bus.stop, sendTimeout)
	defer cancel()
	s, err := c.bus.js.Stream(ctx, streamName(c.stream))
	if err != nil {
		return
	}
	first := s.CachedInfo().State.FirstSeq
	gone := min(seq, first)
	if gone <= c.prev+1 {
		return // other processes have them
	}
	n := int64(gone - c.prev - 1)
	c.count(func(s *ConsumerStats) {
		s.LostFrames += n
		if s.Frames > 0 {
			s.LostRecords += n * s.Records / s.Frames
		} else {
			s.LostRecords += n
		}
	})
	c.log.Error("the stream's limits dropped frames before they were consumed", "frames", n)
}

// recent remembers sequence numbers, the last several thousand.
type recent struct {
	mu    sync.Mutex
	set   map[uint64]struct{}
	older map[uint64]struct{}
}

const recentSize = 8192

func (r *recent) add(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set == nil || len(r.set) >= recentSize {
		r.older, r.set = r.set, make(map[uint64]struct{}, recentSize)
	}
	r.set[seq] = struct{}{}
}

func (r *recent) has(seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.set[seq]
	if !ok {
		_, ok = r.older[seq]
	}
	return ok
}
