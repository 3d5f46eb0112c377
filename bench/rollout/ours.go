package main

import (
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/rollout"
	"github.com/telltale-llm/telltale/internal/stats"
)

// document is a rollout of one critical signal, which has all of alpha. Its stage never ends: what is measured is who takes the
// canary back.
const document = `
name: simulated
route: main
candidate: canary
alpha: 0.01
stages: [{weight: 50%, min_duration: 1000000h, max_duration: 2000000h}, 100%]
signals: [{kind: error_rate, margin: 1%}]
`

// rolledOut is telltale's own rollout.
type rolledOut struct {
	state *rollout.State
	now   time.Time
	full  int
}

func newRollout() (judge, error) {
	doc, err := config.LoadRollout("simulated.yaml", []byte(document), config.Options{})
	if err != nil {
		return nil, err
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s, err := rollout.New(doc, rollout.Start{Baseline: rollout.Variant{Name: config.Baseline, ID: "1"}, Candidate: rollout.Variant{Name: "canary", ID: "2"}}, now)
	if err != nil {
		return nil, err
	}
	rollout.Step(s, now)
	return &rolledOut{state: s, now: now}, nil
}

// stepEvery is how many requests lie between two steps, as a batch of evidence has them.
const stepEvery = 16

func (r *rolledOut) see(arm stats.Arm, pi float64, failed bool) (bool, error) {
	e := record.Evidence{Time: r.now, Route: "main", Rollout: "simulated", Variant: config.Baseline, Propensity: pi, Status: 200}
	if arm == stats.Canary {
		e.Variant = "canary"
	}
	if failed {
		e.Status, e.ErrorKind = 500, record.Server
	}
	r.state.Observe(e)
	if r.full++; r.full%stepEvery != 0 {
		return false, nil
	}
	rollout.Step(r.state, r.now)
	return r.state.Phase == rollout.RolledBack, nil
}
