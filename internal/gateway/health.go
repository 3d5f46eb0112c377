package gateway

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// health takes an upstream out after failures in a row. After the cooldown one request is let through: its success
// brings the upstream back, its failure begins another cooldown.
type health struct {
	eject    int32
	cooldown time.Duration
	fails    atomic.Int32
	until    atomic.Int64 // Unix nanoseconds; 0 while it is in
	probing  atomic.Bool
	ejected  atomic.Int64 // how often it was taken out
}

// admit says whether a request may go to the upstream, and whether it is the one that probes.
func (h *health) admit(now time.Time) (ok, probe bool) {
	until := h.until.Load()
	if until == 0 {
		return true, false
	}
	if now.UnixNano() < until || !h.probing.CompareAndSwap(false, true) {
		return false, false
	}
	return true, true
}

func (h *health) resting() bool { return h.until.Load() != 0 }

// success is an answer, whatever it says, that is not the upstream's failure.
func (h *health) success(probe bool) {
	if h.fails.Load() != 0 {
		h.fails.Store(0)
	}
	if probe || h.until.Load() != 0 {
		h.until.Store(0)
		h.probing.Store(false)
	}
}

// failure counts one.
func (h *health) failure(probe bool, now time.Time) {
	n := h.fails.Add(1)
	if !probe && (n < h.eject || h.until.Load() != 0) {
		return
	}
	h.until.Store(now.Add(h.cooldown).UnixNano())
	h.ejected.Add(1)
	h.probing.Store(false)
}

// neither ends an attempt that says nothing about the upstream: the client went away, or a rate limit.
func (h *health) neither(probe bool) {
	if probe {
		h.probing.Store(false)
	}
}

// tier is a group of upstreams that share the load by weight. Tiers are tried in order.
type tier struct {
	members []member
}

type member struct {
	*upstream
	index  int // in the route, for the set of those that were tried
	weight float64
	// edits are made to requests that generate text, modelEdit to others that name a model.
	edits, modelEdit []edit
	model            string // asked instead of the request's
	stats            *upstreamStats
}

// pick chooses among the tier's upstreams that were not tried and that admit the request. With force it asks for no
// admission.
func (t *tier) pick(tried uint64, now time.Time, force bool) (m *member, probe bool) {
	if len(t.members) == 1 {
		m = &t.members[0]
		if tried&(1<<m.index) != 0 {
			return nil, false
		}
		if force {
			return m, false
		}
		ok, probe := m.health.admit(now)
		if !ok {
			return nil, false
		}
		return m, probe
	}
	for {
		var total float64
		for i := range t.members {
			if tried&(1<<t.members[i].index) == 0 {
				total += t.members[i].weight
			}
		}
		if total == 0 {
			return nil, false
		}
		at := rand.Float64() * total
		m = nil
		for i := range t.members {
			if tried&(1<<t.members[i].index) != 0 {
				continue
			}
			m = &t.members[i]
			if at -= m.weight; at < 0 {
				break
			}
		}
		if force {
			return m, false
		}
		if ok, probe := m.health.admit(now); ok {
			return m, probe
		}
		tried |= 1 << m.index
	}
}

// choose returns the upstream for the next attempt. The first attempt is made in any case: when none is healthy, the
// first tier is asked nevertheless, for an upstream's own error says more than ours.
func choose(tiers []tier, tried uint64, now time.Time) (m *member, probe bool) {
	for i := range tiers {
		if m, probe := tiers[i].pick(tried, now, false); m != nil {
			return m, probe
		}
	}
	if tried != 0 || len(tiers) == 0 {
		return nil, false
	}
	return tiers[0].pick(0, now, true)
}
