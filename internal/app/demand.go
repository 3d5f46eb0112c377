package app

import (
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// demand adds to a case what its checks need of the provider besides an answer. A case that holds its
// answer asks for none. at is the case's place.
func demand(c *runner.Case, at config.Pos) error {
	if c.Output != nil {
		return nil
	}
	var all scorer.Demand
	for _, check := range c.Checks {
		a, ok := check.(*scorer.Assertion)
		if !ok {
			continue
		}
		d, err := a.Demand(c.Vars)
		if err != nil {
			return &config.Error{Pos: at, Problem: a.Type() + ": " + err.Error()}
		}
		all.Add(d)
	}
	c.Continuations, c.ScorePrompt = all.Continuations, all.PromptLogprobs
	return nil
}
