package bus

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	sendTimeout = 3 * time.Second // of one attempt
	// requestTimeout is that of other requests: the answer to one that was sent when the connection broke never comes.
	requestTimeout = 5 * time.Second
	firstWait      = 20 * time.Millisecond
	longestWait    = 500 * time.Millisecond
)

// sender publishes frames until the publisher is closed and empty.
func (p *Publisher) sender() {
	var buf []byte
	for {
		f := p.take()
		if f == nil {
			p.mu.Lock()
			p.wake.Broadcast() // the other senders end too
			p.mu.Unlock()
			return
		}
		buf = encodeFrame(buf, f.raw, f.records)
		err := p.publish(f.id, buf)
		if err == nil && p.log.Enabled(p.hard, slog.LevelDebug) {
			p.log.Debug("acknowledged", "ids", idsOf(f))
		}
		p.finish(f, len(buf), err)
	}
}

// idsOf are the ids of a frame's records.
func idsOf(f *frame) []string {
	ids := make([]string, 0, f.records)
	err := eachRecord(f.raw, f.records, func(_ int, id string, _ []byte) { ids = append(ids, id) })
	if err != nil {
		return nil // it was made here
	}
	return ids
}

// publish tries until the frame is stored, the stream refuses it for good, or the publisher is closed for good. Every
// attempt has the same message id, so that a frame whose acknowledgement was lost is not stored twice.
func (p *Publisher) publish(id string, frame []byte) error {
	wait := firstWait
	for attempt := 0; ; attempt++ {
		ctx, cancel := context.WithTimeout(p.hard, sendTimeout)
		duplicate, err := p.send(ctx, id, frame)
		cancel()
		if err == nil && duplicate && attempt == 0 {
			// Names are random, so this cannot be. Were it so, the frame would not have been stored.
			err = errors.New("a new frame's id was taken for a repeated one")
			id += "x"
		}
		if err == nil {
			p.settled(attempt, duplicate)
			return nil
		}
		if p.hard.Err() != nil {
			return &DropError{Closed}
		}
		if drop, ok := errors.AsType[*DropError](err); ok && drop.Reason == Full {
			return drop
		}
		p.troubled(err)
		select {
		case <-time.After(wait):
		case <-p.hard.Done():
			return &DropError{Closed}
		}
		wait = min(2*wait, longestWait)
	}
}

// settled notes that a frame was stored.
func (p *Publisher) settled(attempt int, duplicate bool) {
	p.mu.Lock()
	was := p.stats.Trouble
	p.stats.Trouble, p.stats.Err = "", ""
	p.stats.Retries += int64(attempt)
	if duplicate {
		p.stats.Duplicates++
	}
	p.mu.Unlock()
	if was != "" {
		p.log.Info("the bus takes records again", "after", string(was))
	}
}

// troubled notes why a frame could not be stored, and logs it when that is news.
func (p *Publisher) troubled(err error) {
	reason := Down
	if drop, ok := errors.AsType[*DropError](err); ok {
		reason = drop.Reason
	}
	p.mu.Lock()
	was := p.stats.Trouble
	p.stats.Trouble, p.stats.Err = reason, err.Error()
	p.mu.Unlock()
	if was != reason {
		p.log.Warn("the bus does not take records; they wait", "reason", string(reason), "err", err)
	}
}

// Codes of JetStream's errors that mean the lack of space: the stream's store failed, which has the reason in its
// text; resources of the server or the account.
const (
	codeStoreFailed jetstream.ErrorCode = 10077
	codeResources   jetstream.ErrorCode = 10023
	codeStorage     jetstream.ErrorCode = 10047
)

// classify turns an error of publishing into a DropError where the reason is more than not being reachable.
func classify(err error) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return err
	}
	switch {
	case api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, "maximum"):
		return &DropError{Full}
	case api.ErrorCode == codeStoreFailed, api.ErrorCode == codeResources, api.ErrorCode == codeStorage:
		return errors.Join(&DropError{DiskFull}, err)
	}
	return err
}
