package bus

import (
	"context"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Health is how the bus is.
type Health struct {
	OK       bool
	Embedded bool
	// Connected says whether there is a connection; LowDisk that nothing is published because the embedded bus' disk is full.
	Connected bool
	LowDisk   bool
	FreeBytes uint64 // of that disk
	Err       string // why it is not OK
	Streams   []StreamHealth
}

// StreamHealth is how much a stream holds.
type StreamHealth struct {
	Name     string
	Frames   uint64
	Bytes    uint64
	MaxBytes int64
	First    uint64 // sequence numbers
	Last     uint64
	Leader   string // of a cluster
}

// Health asks the server. It never takes longer than its context.
func (b *Bus) Health(ctx context.Context) Health {
	h := Health{Embedded: b.embedded != nil, Connected: b.nc.IsConnected(), LowDisk: b.lowDisk.Load()}
	if h.Embedded {
		h.FreeBytes, _ = freeBytes(b.dir) // 0 when not known
	}
	ill := ""
	if h.Embedded {
		ill = b.embedded.ill()
	}
	switch {
	case h.LowDisk:
		h.Err = "the disk is full"
	case ill != "":
		h.Err = ill
	case !h.Connected:
		h.Err = "not connected"
	default:
		h.Err = b.streamsHealth(ctx, &h)
	}
	h.OK = h.Err == ""
	return h
}

func (b *Bus) streamsHealth(ctx context.Context, h *Health) string {
	b.mu.Lock()
	var names []string
	for name := range b.streams {
		names = append(names, name)
	}
	b.mu.Unlock()
	slices.Sort(names)
	if len(names) == 0 {
		if _, err := b.js.AccountInfo(ctx); err != nil {
			return err.Error()
		}
	}
	for _, name := range names {
		s, err := b.js.Stream(ctx, streamName(name))
		if err != nil {
			return name + ": " + err.Error()
		}
		h.Streams = append(h.Streams, streamHealth(name, s.CachedInfo()))
	}
	return ""
}

func streamHealth(name string, info *jetstream.StreamInfo) StreamHealth {
	s := StreamHealth{
		Name: name, Frames: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes,
		First: info.State.FirstSeq, Last: info.State.LastSeq,
	}
	if info.Cluster != nil {
		s.Leader = info.Cluster.Leader
	}
	return s
}

// FreeBytes is what may still be written to the disk of a directory.
func FreeBytes(dir string) (uint64, error) { return freeBytes(dir) }

// ReserveBytes is the free space of the disk below which an embedded bus takes nothing.
const ReserveBytes = 128 << 20
