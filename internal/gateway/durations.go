package gateway

import (
	"sync/atomic"
	"time"
)

// durationBounds are the upper ends of all bins of a Durations but the last, which is open: those of OpenTelemetry's
// conventions for calls of generative models.
var durationBounds = [...]time.Duration{
	10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond, 160 * time.Millisecond, 320 * time.Millisecond, 640 * time.Millisecond,
	1280 * time.Millisecond, 2560 * time.Millisecond, 5120 * time.Millisecond, 10240 * time.Millisecond, 20480 * time.Millisecond, 40960 * time.Millisecond, 81920 * time.Millisecond,
}

// durations counts how long something took, by bin. It is written and read without a lock, so a reader may see a count
// whose sum is not there yet.
type durations struct {
	bins [len(durationBounds) + 1]atomic.Int64
	sum  atomic.Int64
}

func (d *durations) observe(took time.Duration) {
	i := 0
	for i < len(durationBounds) && took > durationBounds[i] {
		i++
	}
	d.bins[i].Add(1)
	d.sum.Add(int64(took))
}

// Durations are counts of how long something took.
type Durations struct {
	Count uint64
	Sum   time.Duration
	// Within counts those that took no longer than each of the bounds, in seconds.
	Within map[float64]uint64
}

func (d *durations) snapshot() Durations {
	out := Durations{Within: make(map[float64]uint64, len(durationBounds))}
	for i := range d.bins {
		out.Count += uint64(d.bins[i].Load()) //nolint:gosec // a count
		if i < len(durationBounds) {
			out.Within[durationBounds[i].Seconds()] = out.Count
		}
	}
	out.Sum = time.Duration(d.sum.Load())
	return out
}
