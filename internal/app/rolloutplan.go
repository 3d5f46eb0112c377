package app

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/rollout"
)

// LoadPlanned reads the rollout, or the experiment, of a file for a forecast.
func LoadPlanned(path string) (*config.Rollout, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "cannot be read", Want: "a rollout.yaml", Err: err}
	}
	doc, err := config.LoadRollout(path, data, config.Options{})
	if err != nil {
		return nil, err
	}
	if doc.Kind == config.KindRollout && doc.Stages[0].Open() {
		return nil, &config.Error{Pos: config.Pos{File: path, Key: "stages"}, Value: "open", Problem: "only the router outside knows the share of such a stage", Want: "weights for the plan, such as [5%, 25%]"}
	}
	return doc, nil
}

// planPast is how much of a route's past a forecast rests on.
const planPast = 24 * time.Hour

// RouteTraffic returns what the server has seen of a rollout's route in the last day: requests an hour since the first of them, and rates of
// the signals that its numbers tell. The sentence says what that is.
func (r *Remote) RouteTraffic(ctx context.Context, doc *config.Rollout) (p rollout.Prospect, note string, err error) {
	query := url.Values{"since": {planPast.String()}, "every": {"1h"}}
	for _, g := range planned(doc) {
		if g.Kind == config.SignalScore {
			query.Add("score", g.Score)
		}
	}
	s, err := r.Stats(ctx, doc.Route, query)
	if err != nil {
		return p, "", err
	}
	return trafficOf(doc, s.Points, s.To)
}

// planned are the signals of a rollout, or the metric of an experiment.
func planned(doc *config.Rollout) []config.Signal {
	if doc.Metric != nil {
		return []config.Signal{*doc.Metric}
	}
	return doc.Signals
}

func trafficOf(doc *config.Rollout, points []api.PointBody, now time.Time) (p rollout.Prospect, note string, err error) {
	var count, answers, wrong float64
	sums, scored := map[string]float64{}, map[string]float64{}
	first := now
	for i := range points {
		o := &points[i]
		if o.Count == 0 {
			continue
		}
		if o.Time.Before(first) {
			first = o.Time
		}
		count += float64(o.Count)
		answers += float64(o.Latency.Count)
		if o.ErrorRate != nil {
			wrong += *o.ErrorRate * float64(o.Count)
		}
		for _, m := range o.Scores {
			sums[m.Name] += m.Value * float64(m.Count)
			scored[m.Name] += float64(m.Count)
		}
	}
	if count == 0 {
		return p, "", &config.Error{Pos: doc.Place("route"), Value: doc.Route, Problem: "the server has seen no request of this route in the last day", Want: "--traffic with the requests an hour"}
	}
	hours := max(now.Sub(first).Hours(), 1)
	p = rollout.Prospect{Requests: count / hours, Rates: map[string]float64{}, Learnt: answers >= frozenLeast}
	for _, g := range planned(doc) {
		switch {
		case g.Kind == config.SignalErrorRate:
			p.Rates[g.Name] = wrong / count
		case g.Kind == config.SignalScore && scored[g.Score] > 0:
			mean := sums[g.Score] / scored[g.Score]
			if g.Worse == "lower" {
				mean = 1 - mean
			}
			if mean > 0 && mean < 1 {
				p.Rates[g.Name] = mean
			}
		}
	}
	return p, fmt.Sprintf("traffic and rates are those of the route in the last %.3g hours, %.0f requests", hours, count), nil
}
