package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// mostBlock is the largest file in which the server keeps a stream's frames.
const mostBlock = 8 << 20

// Trim removes the frames that every consumer of a stream has acknowledged: nobody reads them again, and until max_age
// they would keep on the bus' disk what the store has deleted. Parts of the last file may stay; Erase takes them too.
func (b *Bus) Trim(ctx context.Context, stream string) error {
	s, _, floor, err := b.consumed(ctx, stream)
	if err != nil || floor == 0 {
		return err
	}
	return purge(ctx, s, stream, floor)
}

// Erase is Trim, and leaves nothing of these frames in the files: where frames that are still waited for share a file with
// them, they are written over first.
func (b *Bus) Erase(ctx context.Context, stream string) error {
	s, state, floor, err := b.consumed(ctx, stream)
	if err != nil || floor == 0 {
		return err
	}
	if floor < state.LastSeq {
		for seq, size := floor, 0; seq >= state.FirstSeq && size < mostBlock; seq-- {
			m, err := s.GetMsg(ctx, seq)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			if err == nil {
				size += len(m.Data)
				err = s.SecureDeleteMsg(ctx, seq)
			}
			if err != nil {
				return fmt.Errorf("bus: erase frame %d of %s: %w", seq, stream, err)
			}
		}
	}
	return purge(ctx, s, stream, floor)
}

// consumed returns a stream and the last frame up to which all its consumers have acknowledged; 0 where there is none.
func (b *Bus) consumed(ctx context.Context, stream string) (s jetstream.Stream, state jetstream.StreamState, floor uint64, err error) {
	if s, err = b.js.Stream(ctx, streamName(stream)); errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, state, 0, nil
	}
	if err != nil {
		return nil, state, 0, fmt.Errorf("bus: stream %s: %w", stream, err)
	}
	state = s.CachedInfo().State // before the consumers are asked, so that it is not newer than what they say
	list, some := s.ListConsumers(ctx), false
	for c := range list.Info() {
		if !some || c.AckFloor.Stream < floor {
			floor, some = c.AckFloor.Stream, true
		}
	}
	if err := list.Err(); err != nil {
		return nil, state, 0, fmt.Errorf("bus: consumers of %s: %w", stream, err)
	}
	if floor < state.FirstSeq || state.Msgs == 0 {
		return nil, state, 0, nil
	}
	return s, state, floor, nil
}

func purge(ctx context.Context, s jetstream.Stream, stream string, floor uint64) error {
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(floor+1)); err != nil {
		return fmt.Errorf("bus: purge %s: %w", stream, err)
	}
	return nil
}
