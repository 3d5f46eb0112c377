package runner

import (
	"fmt"
	"sync"

	"github.com/telltale-llm/telltale/internal/config"
)

// meter holds a run to its budget. A sample is let through when what has been spent, and what the
// samples in flight and this one will spend at the average so far, is within the budget.
type meter struct {
	mu       sync.Mutex
	budget   config.Budget
	cost     float64
	tokens   float64
	finished int
	inFlight int
	onIdle   func()
	// stopping is why no more samples are let through; the first reason stands.
	stopping string
	// first is closed when the first sample has been finished or given up.
	first chan struct{}
}

// newMeter starts from what earlier sittings of the run spent on their samples.
func newMeter(b config.Budget, spent Spent) *meter {
	m := &meter{budget: b, cost: spent.Cost, tokens: float64(spent.Tokens), finished: spent.Samples, first: make(chan struct{})}
	if spent.Samples > 0 {
		close(m.first)
	}
	return m
}

// Spent is what samples have used.
type Spent struct {
	Samples int
	Cost    float64
	Tokens  int64
}

func (s Spent) plus(o Spent) Spent {
	return Spent{s.Samples + o.Samples, s.Cost + o.Cost, s.Tokens + o.Tokens}
}

// spent is what all samples so far have used.
func (m *meter) spent() Spent {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Spent{m.finished, m.cost, int64(m.tokens)}
}

// metered says whether money or tokens are bounded.
func (m *meter) metered() bool { return m.budget.Cost > 0 || m.budget.Tokens > 0 }

// reserve counts one more sample in flight, or says why there may be none.
func (m *meter) reserve() (why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping != "" {
		return m.stopping
	}
	ahead := float64(m.inFlight+1) / float64(max(m.finished, 1))
	if b := m.budget.Cost; b > 0 && (m.cost >= b || m.cost*(1+ahead) > b) {
		return fmt.Sprintf("cost budget of $%.4g: $%.4g is spent and the next sample may exceed it", b, m.cost)
	}
	if b := float64(m.budget.Tokens); b > 0 && (m.tokens >= b || m.tokens*(1+ahead) > b) {
		return fmt.Sprintf("token budget of %d: %.0f are spent and the next sample may exceed it", m.budget.Tokens, m.tokens)
	}
	m.inFlight++
	return ""
}

// done moves a sample from in flight to finished.
func (m *meter) done(cost float64, tokens int64) {
	m.mu.Lock()
	m.cost += cost
	m.tokens += float64(tokens)
	m.finished++
	m.mu.Unlock()
	m.release()
}

// release takes a sample out of flight.
func (m *meter) release() {
	m.mu.Lock()
	m.inFlight--
	select {
	case <-m.first:
	default:
		close(m.first)
	}
	idle := m.onIdle
	if m.inFlight > 0 {
		idle = nil
	}
	m.mu.Unlock()
	if idle != nil {
		idle()
	}
}

// drain lets no more samples through, and calls f once nothing is in flight.
func (m *meter) drain(why string, f func()) {
	m.mu.Lock()
	if m.stopping != "" {
		m.mu.Unlock()
		return
	}
	m.stopping = why
	idle := m.inFlight == 0
	m.onIdle = f
	m.mu.Unlock()
	if idle {
		f()
	}
}
