package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Backlog is how many frames of a stream a durable consumer has not acknowledged yet: those that wait, and those that it
// was given. After a crash the latter come again when their AckWait is over. There is none where nobody has consumed yet.
func (b *Bus) Backlog(ctx context.Context, stream, durable string) (uint64, error) {
	c, err := b.js.Consumer(ctx, streamName(stream), durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("bus: backlog of %s: %w", stream, err)
	}
	info := c.CachedInfo()
	return info.NumPending + uint64(max(0, info.NumAckPending)), nil
}
