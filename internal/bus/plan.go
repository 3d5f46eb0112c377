package bus

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// plans remember which frames were given to the function together. A plan is written before its batch is handed over,
// so frames that are delivered again are recognised whoever gets them: they come in the batch they belonged to, under
// its ID. Each process writes to a key of its own and the last planHistory values are kept, for as long as the frames.
type plans struct {
	bus     *Bus
	stream  string
	durable string
	process string // random
	kv      jetstream.KeyValue
	frames  jetstream.Stream
	wg      sync.WaitGroup // the follower of the session

	mu    sync.Mutex
	of    map[uint64]*[]uint64 // plan by frame
	order []*[]uint64          // oldest first
}

// planHistory plans of a process are kept: that many batches it may get ahead of another process that has a frame of an
// earlier one delivered again.
const planHistory = 64

// planMemory is how many plans of all processes are remembered here.
const planMemory = 4096

func newPlans(b *Bus, stream, durable string) *plans {
	return &plans{bus: b, stream: stream, durable: durable, process: nuid.Next(), of: map[uint64]*[]uint64{}}
}

func (p *plans) open(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var err error
	p.kv, err = p.bus.js.CreateOrUpdateKeyValue(limited, jetstream.KeyValueConfig{
		Bucket: "telltale-plans-" + p.stream, History: planHistory, TTL: p.bus.cfg.MaxAge, Storage: jetstream.FileStorage, Replicas: p.bus.cfg.Replicas,
	})
	if err != nil {
		return fmt.Errorf("plans of batches: %w", err)
	}
	if p.frames, err = p.bus.js.Stream(limited, streamName(p.stream)); err != nil {
		return fmt.Errorf("stream %s: %w", p.stream, err)
	}
	return p.follow(ctx)
}

// write notes the batch of a delivery.
func (p *plans) write(ctx context.Context, d *delivery) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := p.kv.Put(ctx, p.durable+"."+p.process, appendSequences(nil, d.frames)); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(d.frames)
	return nil
}

// follow reads all plans there are, and then those that are added, until the context ends.
func (p *plans) follow(ctx context.Context) error {
	w, err := p.kv.Watch(ctx, p.durable+".*", jetstream.IncludeHistory(), jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("plans of batches: %w", err)
	}
	take := func(late <-chan time.Time) (more bool, err error) {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return false, errWatchEnded
			}
			if e == nil {
				return false, nil
			}
			p.learn(e)
			return true, nil
		case <-late:
			return false, context.DeadlineExceeded
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	late := time.After(requestTimeout)
	for more := true; more; { // up to the mark between what there was and what is added
		if more, err = take(late); err != nil {
			_ = w.Stop() // it has failed
			return fmt.Errorf("plans of batches: %w", err)
		}
	}
	p.wg.Go(func() {
		defer func() { _ = w.Stop() }() // the connection may be gone
		for {
			if _, err := take(nil); err != nil {
				return
			}
		}
	})
	return nil
}

func (p *plans) learn(e jetstream.KeyValueEntry) {
	seqs, ok := readSequences(e.Value())
	if !ok || len(seqs) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(seqs)
}

// add remembers a plan, and forgets the oldest above the bound. A frame stays in the plan that first had it.
func (p *plans) add(seqs []uint64) {
	if _, ok := p.of[seqs[0]]; ok {
		return
	}
	plan := &seqs
	for _, s := range seqs {
		if _, ok := p.of[s]; !ok {
			p.of[s] = plan
		}
	}
	if p.order = append(p.order, plan); len(p.order) > planMemory {
		for _, s := range *p.order[0] {
			if p.of[s] == p.order[0] {
				delete(p.of, s)
			}
		}
		p.order[0] = nil
		p.order = p.order[1:]
	}
}

// find returns the plan that a frame belongs to, or nil.
func (p *plans) find(seq uint64) *[]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[seq]
}

// fetch reads a frame that the plan has and this process was not given. Nil when the stream's limits dropped it.
func (p *plans) fetch(ctx context.Context, seq uint64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := p.frames.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

// replan takes out the messages that belong to batches begun before, and returns the others and these batches. All
// are looked up, not only those that the server says it delivered before: it may have forgotten in a crash.
func (c *consumer) replan(ctx context.Context, msgs []message) (fresh []message, out []*delivery, err error) {
	held := make(map[uint64]message, len(msgs))
	for _, m := range msgs {
		held[m.seq] = m
	}
	for _, m := range msgs {
		if _, ok := held[m.seq]; !ok {
			continue // taken out with an earlier one
		}
		plan := c.plans.find(m.seq)
		if plan == nil {
			fresh = append(fresh, m)
			delete(held, m.seq)
			continue
		}
		whole := make([]message, 0, len(*plan))
		for _, seq := range *plan {
			if m, ok := held[seq]; ok {
				m.again = true
				whole = append(whole, m)
				delete(held, seq)
				continue
			}
			data, err := c.plans.fetch(ctx, seq)
			if err != nil {
				for _, m := range held {
					fresh = append(fresh, m)
				}
				return append(fresh, whole...), out, err
			}
			if data != nil {
				whole = append(whole, message{seq: seq, data: data, again: true})
			}
		}
		if d := c.deliver(batchID(c.stream, *plan), whole); d != nil {
			out = append(out, d)
		}
	}
	return fresh, out, nil
}

// batchID names a set of frames.
func batchID(stream string, seqs []uint64) string {
	h := sha256.New()
	h.Write([]byte(stream))
	h.Write([]byte{0})
	h.Write(appendSequences(nil, seqs))
	return strconv.FormatUint(seqs[0], 10) + "-" + strconv.FormatUint(seqs[len(seqs)-1], 10) + "-" + hex.EncodeToString(h.Sum(nil)[:8])
}

// appendSequences writes numbers as differences from the one before.
func appendSequences(b []byte, seqs []uint64) []byte {
	last := uint64(0)
	for _, s := range seqs {
		b = binary.AppendVarint(b, int64(s-last))
		last = s
	}
	return b
}

func readSequences(b []byte) ([]uint64, bool) {
	var out []uint64
	last := uint64(0)
	for len(b) > 0 {
		d, n := binary.Varint(b)
		if n <= 0 {
			return nil, false
		}
		b = b[n:]
		last += uint64(d)
		out = append(out, last)
	}
	return out, true
}
