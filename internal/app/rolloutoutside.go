package app

import (
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/record"
)

// outsideRollout is a rollout under way whose requests another router shares out.
type outsideRollout struct {
	name, baseline, candidate, unit string
	match                           config.Match
}

// outside says of which rollout an exchange is that another router gave its variant: the one on its route, when it carries what that says of
// one of its arms.
func (w *waiting) outside(x *record.Exchange) (o pipeline.Outside, ok bool) {
	w.ask()
	r, ok := w.routed[x.Route]
	if !ok {
		return o, false
	}
	o = pipeline.Outside{Rollout: r.name, Unit: r.unit}
	baseline, candidate := r.match.Baseline.Of(x.Snapshot, x.Model, x.Served, x.Tags), r.match.Candidate.Of(x.Snapshot, x.Model, x.Served, x.Tags)
	if o.Variant = r.baseline; candidate {
		o.Variant = r.candidate
	}
	return o, baseline != candidate
}
