package app

import (
	"context"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/rollout"
)

// What is told of rollouts. Their names are the user's own, and no more than mostRolloutMetrics are told: those under way, the
// newest first.
var (
	mRolloutWeight = metricDesc("rollout_weight", "Share of the units that a rollout's candidate answers.", "rollout", "route")
	mRolloutPhase  = metricDesc("rollout_phase", "1 for the phase that a rollout is in.", "rollout", "phase")
	mRolloutTaken  = metricDesc("rollout_evidence_total", "Pieces of evidence that a rollout has taken.", "rollout")
	mRolloutLost   = metricDesc("rollout_evidence_refused_total", "Pieces of evidence that a rollout has not taken, by reason.", "rollout", "reason")
	mRolloutLogE   = metricDesc("rollout_signal_log_e", "Natural logarithm of a signal's e-value: how much speaks for the candidate being worse.", "rollout", "signal")
	mRolloutBar    = metricDesc("rollout_signal_bar", "What that has to reach for a critical signal to withdraw the candidate.", "rollout", "signal")
)

const mostRolloutMetrics = 20

// rollouts tells how those stand that are under way, in the process that decides about them.
func (c *partsCollector) rollouts(e emitter) {
	if !c.s.state.Load().server.Has(config.RoleControl) {
		return
	}
	c.s.rolloutsMu.Lock()
	r := c.s.rollouts
	c.s.rolloutsMu.Unlock()
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	all, _ := r.List(ctx) // what cannot be read is left out
	told := 0
	for _, k := range all {
		if k.S == nil || k.phase().Final() && told > 0 || told >= mostRolloutMetrics {
			continue
		}
		told++
		c.rollout(e, k.S)
	}
}

func (c *partsCollector) rollout(e emitter, s *rollout.State) {
	name := s.Doc.Name
	plan := s.Plan()
	if !s.Doc.Outside() { // whose weight only the other router knows
		e.gauge(mRolloutWeight, weightOf(&plan, s.Candidate.Name), name, s.Doc.Route)
	}
	e.gauge(mRolloutPhase, 1, name, string(s.Phase))
	e.counter(mRolloutTaken, s.Taken, name)
	for reason, n := range s.Refused {
		e.counter(mRolloutLost, n, name, reason)
	}
	for _, g := range s.Statuses() {
		e.gauge(mRolloutLogE, g.LogE, name, g.Name)
		if g.Bar != nil {
			e.gauge(mRolloutBar, *g.Bar, name, g.Name)
		}
	}
}
