package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/rollout"
)

// rolloutView is the rollouts as the API shows them.
type rolloutView struct {
	*rollouts
	s *Service
}

// rolloutsNow returns the rollouts, once the bus is there.
func (s *Service) rolloutsNow() (api.Rollouts, error) {
	b, err := s.bus.get()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	r, err := s.rolloutsOn(ctx, b)
	if err != nil {
		return nil, err
	}
	return rolloutView{r, s}, nil
}

// rolloutFault gives an error the status that says whose fault it is.
func rolloutFault(err error) error {
	status := 0
	if _, ok := errors.AsType[config.Errors](err); ok {
		status = http.StatusUnprocessableEntity
	} else if _, ok := errors.AsType[*config.Error](err); ok {
		status = http.StatusUnprocessableEntity
	}
	switch {
	case errors.Is(err, ErrNoRollout):
		status = http.StatusNotFound
	case errors.Is(err, ErrRolloutExists), errors.Is(err, ErrRouteTaken), errors.Is(err, errCommand):
		status = http.StatusConflict
	}
	if status == 0 {
		return err
	}
	return &api.RolloutError{Status: status, Err: err}
}

var errCommand = errors.New("the rollout cannot do that")

func (v rolloutView) List(ctx context.Context) ([]api.Rollout, error) {
	all, err := v.rollouts.List(ctx)
	if err != nil && len(all) == 0 {
		return nil, err
	}
	out := make([]api.Rollout, 0, len(all))
	for _, k := range all {
		shown, err := v.show(ctx, k)
		if err != nil {
			return nil, err
		}
		out = append(out, shown)
	}
	return out, nil
}

func (v rolloutView) Get(ctx context.Context, name string) (api.Rollout, error) {
	k, err := v.rollouts.Get(ctx, name)
	if err != nil {
		return api.Rollout{}, rolloutFault(err)
	}
	return v.show(ctx, k)
}

func (v rolloutView) Start(ctx context.Context, document []byte, by, why string) (api.Rollout, error) {
	doc, err := config.LoadRollout("rollout", document, config.Options{})
	if err != nil {
		return api.Rollout{}, rolloutFault(err)
	}
	k, err := v.rollouts.Start(ctx, doc, by, why)
	if err != nil {
		return api.Rollout{}, rolloutFault(placed(doc, err))
	}
	return v.show(ctx, k)
}

// placed says which key of a document is in the way of what is there already.
func placed(doc *config.Rollout, err error) error {
	switch {
	case errors.Is(err, ErrRouteTaken):
		return errors.Join(err, config.Errors{{Pos: doc.Place("route"), Value: doc.Route, Problem: err.Error(), Want: "that one to end first, or to be aborted"}})
	case errors.Is(err, ErrRolloutExists):
		return errors.Join(err, config.Errors{{Pos: doc.Place("name"), Value: doc.Name, Problem: "a rollout of this name is there already", Want: "another name"}})
	}
	return err
}

func (v rolloutView) Command(ctx context.Context, name string, c rollout.Command) (api.Rollout, error) {
	k, err := v.rollouts.Command(ctx, name, c)
	if err != nil {
		return api.Rollout{}, rolloutFault(err)
	}
	return v.show(ctx, k)
}

func (v rolloutView) History(ctx context.Context, name string) ([]rollout.Transition, error) {
	all, err := v.rollouts.History(ctx, name)
	return all, rolloutFault(err)
}

func (v rolloutView) show(ctx context.Context, k *keptRollout) (api.Rollout, error) {
	doc, plan := k.doc(), k.plan()
	out := api.Rollout{Name: doc.Name, Kind: doc.Kind, Route: doc.Route, Phase: string(k.phase())}
	b, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(b, &out.Document)
	}
	if err != nil {
		return out, err
	}
	if x := k.X; x != nil {
		out.Created, out.Since, out.Taken, out.Refused = x.Created, x.Since, x.Taken, x.Refused
		result := x.Result()
		out.Result = &result
		for _, a := range x.Arms {
			out.Stages = append(out.Stages, fmt.Sprintf("%s %s", a.Name, percent(a.Weight)))
		}
		return out, nil
	}
	s := k.S
	out.Baseline, out.Candidate, out.Stage, out.Created, out.Since = s.Baseline.Name, s.Candidate.Name, s.Stage, s.Created, s.Since
	out.Undecided, out.BothArms, out.Signals, out.Taken, out.Refused = s.Undecided, s.BothArms, s.Statuses(), s.Taken, s.Refused
	decision := s.Verdict()
	out.Decision = &decision
	for _, st := range doc.Stages {
		switch {
		case st.Shadow:
			out.Stages = append(out.Stages, "shadow")
		case st.Open():
			out.Stages = append(out.Stages, "open")
		default:
			out.Stages = append(out.Stages, percent(st.Weight))
		}
	}
	out.AssignedBy, out.Guarantee = doc.AssignedBy, s.Guarantee()
	if out.Weight = weightOf(&plan, s.Candidate.Name); doc.Outside() {
		out.Weight = doc.Stages[s.Stage].Weight
	}
	out.Targets = v.drivers.states(doc.Route)
	out.Sentinels, err = v.showSentinels(ctx, k)
	return out, err
}

func percent(share float64) string { return fmt.Sprintf("%g%%", math.Round(share*1e6)/1e4) }

// weightOf is a variant's share of the units in a plan.
func weightOf(p *rollout.Plan, variant string) float64 {
	rest := 1.
	for _, a := range p.Arms {
		if a.Variant == variant {
			return a.Weight
		}
		rest -= a.Weight
	}
	if variant == config.Baseline { // it gets what the others leave
		return rest
	}
	return 0
}
