package pipeline

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// The live view covers the last 15 minutes in windows of ten seconds.
const (
	LiveSpan    = 15 * time.Minute
	liveWindows = int(LiveSpan/Window) + 1
	// maxLive bounds the routes and variants that are shown; more are left out.
	maxLive = 500
)

// Live sums the last minutes up, by route and variant, for those who look. It has what this process stored: with several
// workers each has its part. It is safe for concurrent use.
type Live struct {
	now func() time.Time

	mu     sync.Mutex
	series map[liveKey]*liveSeries
}

type liveKey struct{ route, variant string }

type liveSeries struct {
	windows [liveWindows]struct {
		at int64 // number of the window, 0 for none
		sums
	}
}

// NewLive returns an empty view. Now is the clock.
func NewLive(now func() time.Time) *Live {
	return &Live{now: now, series: map[liveKey]*liveSeries{}}
}

// LiveStats are the last minutes of a route and variant. Quantiles have a relative error of record.SketchError, and are NaN
// without a value.
type LiveStats struct {
	Route, Variant string
	Span           time.Duration
	Requests       float64
	PerSecond      float64
	ErrorRate      float64 // of the requests, without those that the client gave up; NaN without requests
	Counts         map[string]float64
	Latency        LiveQuantiles
	TTFT           LiveQuantiles
	TokensOut      LiveQuantiles
}

// LiveQuantiles are in seconds, or in tokens.
type LiveQuantiles struct{ P50, P95, P99 float64 }

// Add counts exchanges; those older than the span are left out.
func (l *Live) Add(xs []record.Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := windowOf(l.now())
	for i := range xs {
		x := &xs[i]
		at := windowOf(x.Time)
		if at > now+1 || at <= now-int64(liveWindows) {
			continue
		}
		k := liveKey{x.Route, x.Variant}
		s := l.series[k]
		if s == nil {
			if len(l.series) >= maxLive && !l.expire(now) {
				continue
			}
			s = &liveSeries{}
			l.series[k] = s
		}
		w := &s.windows[int(at%int64(liveWindows))]
		if w.at > at {
			continue
		}
		if w.at < at {
			w.at, w.sums = at, sums{}
		}
		w.add(x)
	}
}

// expire removes series without a window in the span, and says whether there is room now.
func (l *Live) expire(now int64) bool {
	for k, s := range l.series {
		alive := false
		for i := range s.windows {
			alive = alive || s.windows[i].at > now-int64(liveWindows)
		}
		if !alive {
			delete(l.series, k)
		}
	}
	return len(l.series) < maxLive
}

// Stats returns the last minutes, up to LiveSpan, by route, then variant. An empty route means all.
func (l *Live) Stats(route string, span time.Duration) []LiveStats {
	span = min(max(span, Window), LiveSpan)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	from := windowOf(now.Add(-span))
	var out []LiveStats
	for k, s := range l.series {
		if route != "" && k.route != route {
			continue
		}
		st := s.stats(from)
		st.Route, st.Variant = k.route, k.variant
		st.Span = now.Sub(time.UnixMicro(from * Window.Microseconds()))
		st.PerSecond = st.Requests / st.Span.Seconds()
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b LiveStats) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Variant, b.Variant))
	})
	return out
}

func (s *liveSeries) stats(from int64) LiveStats {
	st := LiveStats{Counts: map[string]float64{}}
	var merged [len(sketchNames)]*record.Sketch
	for i := range s.windows {
		w := &s.windows[i]
		if w.at == 0 || w.at < from {
			continue
		}
		for name, n := range w.counts() {
			st.Counts[name] += n
		}
		for j, sk := range w.sketches {
			if sk == nil {
				continue
			}
			if merged[j] == nil {
				merged[j] = record.NewSketch()
			}
			// All sketches are made by NewSketch, so they agree on their bins.
			_ = merged[j].Merge(sk)
		}
	}
	st.Requests = st.Counts[Requests]
	st.ErrorRate = st.Counts[Errors] / st.Requests
	st.Latency, st.TTFT, st.TokensOut = quantiles(merged[0]), quantiles(merged[1]), quantiles(merged[3])
	return st
}

func quantiles(s *record.Sketch) LiveQuantiles {
	if s == nil {
		return LiveQuantiles{math.NaN(), math.NaN(), math.NaN()}
	}
	return LiveQuantiles{s.Quantile(.5), s.Quantile(.95), s.Quantile(.99)}
}
