package app

import (
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/actuator"
	"github.com/telltale-llm/telltale/internal/config"
)

// drivers bring the targets of the configuration to what the rollouts of their routes want. Only the process that leads has them.
type drivers struct {
	log *slog.Logger

	mu      sync.Mutex
	on      bool
	targets []config.Target // that the drivers were made for
	byRoute map[string]*actuator.Driver
}

// want tells a rollout's targets where they should be. A change of the configuration makes the targets anew, which brings all of
// them to the present state once more.
func (d *drivers) want(server *config.Server, k *keptRollout) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on || len(server.Targets) == 0 || k.X != nil || k.doc().Outside() {
		return
	}
	if d.byRoute == nil || !reflect.DeepEqual(d.targets, server.Targets) {
		d.closeAll()
		d.targets, d.byRoute = server.Targets, map[string]*actuator.Driver{}
	}
	route := k.doc().Route
	driver := d.byRoute[route]
	if driver == nil {
		var ts []actuator.Target
		for i := range server.Targets {
			t := &server.Targets[i]
			if len(t.Routes) > 0 && !slices.Contains(t.Routes, route) {
				continue
			}
			made, err := makeTarget(t)
			if err != nil {
				d.log.Error("a target of rollouts cannot be used", "target", t.Name, "error", err)
				continue
			}
			ts = append(ts, made)
		}
		driver = actuator.NewDriver(ts, d.log)
		d.byRoute[route] = driver
	}
	s := k.S
	plan := s.Plan()
	change := actuator.Change{
		Revision: k.Rev, Rollout: s.Doc.Name, Route: route, Baseline: s.Baseline.Name, Candidate: s.Candidate.Name,
		Weight: weightOf(&plan, s.Candidate.Name), Phase: string(s.Phase), Stage: s.Stage, Time: time.Now().UTC(),
	}
	if n := len(s.History); n > 0 {
		change.Reason = s.History[n-1].Why
	}
	driver.Want(change)
}

// states are how far the targets of a route are; nil where another process leads.
func (d *drivers) states(route string) []actuator.TargetState {
	d.mu.Lock()
	defer d.mu.Unlock()
	if driver := d.byRoute[route]; driver != nil {
		return driver.States()
	}
	return nil
}

func (d *drivers) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.on = true
}

func (d *drivers) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.on = false
	d.closeAll()
}

func (d *drivers) closeAll() {
	for _, driver := range d.byRoute {
		driver.Close()
	}
	d.byRoute = nil
}

// namedTarget gives a target the name that the configuration has for it.
type namedTarget struct {
	actuator.Target
	name string
}

func (n namedTarget) Name() string { return n.name + ": " + n.Target.Name() }

func makeTarget(t *config.Target) (actuator.Target, error) {
	var made actuator.Target
	var err error
	switch {
	case t.Webhook != nil:
		made, err = actuator.NewWebhook(t.Webhook.URL, []byte(t.Webhook.Secret))
	case t.Exec != nil:
		made, err = actuator.NewCommand(t.Exec.Command, t.Exec.Env)
	case t.FlagFile != nil:
		made, err = actuator.NewFlagFile(t.FlagFile.Path, t.FlagFile.Flag)
	case t.HTTPRoute != nil:
		made, err = actuator.NewHTTPRoute(actuator.HTTPRouteOptions(*t.HTTPRoute))
	}
	if err != nil {
		return nil, err
	}
	return namedTarget{made, t.Name}, nil
}
