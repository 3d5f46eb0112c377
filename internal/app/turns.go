package app

import (
	"fmt"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// addTurns makes the earlier turns of a case ready: what the user says filled in, the checks compiled.
func (s *session) addTurns(c *runner.Case, t *config.Test) error {
	if len(t.Turns) == 0 {
		return nil
	}
	if t.Output != nil {
		return &config.Error{Pos: t.Pos.At("turns"), Problem: "the case holds its answer (providerOutput), so that nobody is asked in turns", Want: "one of the two"}
	}
	var errs config.Errors
	for i := range t.Turns {
		from := &t.Turns[i]
		text, err := fillText(from.User, t.Vars)
		if err != nil {
			errs = append(errs, &config.Error{Pos: from.Pos.At("user"), Value: from.User, Err: err})
			continue
		}
		// The turn has its own assertions and no others; who judges is the case's choice.
		only := *t
		only.Assert, only.NoDefaults = from.Assert, true
		checks, timed, err := s.check.forTest(&only)
		if err != nil {
			errs.Append(from.Pos, err)
			continue
		}
		turn := runner.Turn{User: text, Checks: checks}
		if err := undemanding(&turn, from.Pos, t.Vars); err != nil {
			errs = append(errs, err)
		}
		c.Turns = append(c.Turns, turn)
		c.Timed = c.Timed || timed
	}
	return errs.Err()
}

// undemanding says which check of a turn needs more than an answer, which only the last request asks for.
func undemanding(t *runner.Turn, at config.Pos, vars map[string]any) *config.Error {
	for _, check := range t.Checks {
		a, ok := check.(*scorer.Assertion)
		if !ok {
			continue
		}
		if _, golden := a.Golden(); golden {
			return &config.Error{Pos: at.At("assert"), Value: a.Type(), Problem: "outputs are accepted of the last turn only", Want: "this assertion under the case's own assert"}
		}
		if a.Compares() {
			return &config.Error{Pos: at.At("assert"), Value: a.Type(), Problem: "compares the last answers of a case, not those of a turn", Want: "this assertion under the case's own assert"}
		}
		d, err := a.Demand(vars)
		if err != nil {
			return &config.Error{Pos: at, Problem: a.Type() + ": " + err.Error()}
		}
		if len(d.Continuations) > 0 || d.PromptLogprobs {
			return &config.Error{Pos: at.At("assert"), Value: a.Type(), Problem: "needs likelihoods of the model, which are asked for with the last turn only", Want: "this assertion under the case's own assert"}
		}
	}
	return nil
}

// findTools compiles the tools of each provider if an assertion judges by them.
func (s *session) findTools() error {
	if s.check.toolsFor == "" {
		return nil
	}
	var errs config.Errors
	for _, p := range s.providers {
		tools, err := scorer.ProviderTools(p.info.Params, p.spec.Config.At("tools"))
		if err != nil {
			errs.Append(p.spec.Pos, err)
			continue
		}
		if tools == nil {
			errs = append(errs, &config.Error{
				Pos: p.spec.Pos, Value: p.spec.ID, Problem: fmt.Sprintf("the provider has no tools, and %s checks calls against them", s.check.toolsFor),
				Hint: "give tools under the provider's config, or as the assertion's value",
			})
			continue
		}
		p.tools = tools
	}
	return errs.Err()
}
