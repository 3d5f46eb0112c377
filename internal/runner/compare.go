package runner

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Comparison is a Check that judges all answers to a case together if Compares says so: by Compare, once
// all of them are there, instead of by Score.
type Comparison interface {
	Check
	Compares() bool
	Compare(ctx context.Context, rivals []scorer.Rival) []record.Score
	Unjudged(why string) record.Score
}

func comparison(c Check) (Comparison, bool) {
	out, ok := c.(Comparison)
	return out, ok && out.Compares()
}

const (
	notCompared   = "the answers to the case have not been compared: the run ended before"
	rivalNoAnswer = "there is nothing to compare with: another answer to the case is missing"
)

// uncompared is what stands for a comparison until it is made; without an error for every other check.
func uncompared(c Check) record.Score {
	if c, ok := comparison(c); ok {
		return c.Unjudged(notCompared)
	}
	return record.Score{}
}

// group is the samples of one case and repeat, by all cells, that are compared with one another. Their
// answers are in the journal; in memory is where.
type group struct {
	indexes []int
	// earlier says which of them an earlier sitting made, and progress has counted.
	earlier []bool
	missing atomic.Int32
	// compareOnly says that all answers are there and only the comparison is missing.
	compareOnly bool
}

// groups returns the group of each repeat that is still to be compared; nil for a case that compares nothing.
func (r *run) groups(c *Case, index, repeats int) []*group {
	if !slices.ContainsFunc(c.Checks, func(c Check) bool { _, ok := comparison(c); return ok }) {
		return nil
	}
	out := make([]*group, repeats)
	for repeat := range out {
		g := &group{}
		done := true
		for i := range r.plan.Cells {
			if !c.takes(i) {
				continue
			}
			at := index + i*r.plan.Repeats + repeat
			has := r.journal.Has(at)
			if !has {
				g.missing.Add(1)
			}
			done = done && has && r.journal.Compared(at)
			g.indexes, g.earlier = append(g.indexes, at), append(g.earlier, has)
		}
		if !done {
			g.compareOnly = g.missing.Load() == 0
			out[repeat] = g
		}
	}
	return out
}

// compare compares the samples of a group, which are all in the journal, and journals them with the
// outcome. It returns what that took. A comparison cut short by the end of the run leaves no trace.
func (r *run) compare(ctx context.Context, g *group, c *Case) (cost float64, tokens int64) {
	samples := make([]*record.Sample, len(g.indexes))
	before := make([]verdict.Verdict, len(g.indexes))
	rivals := make([]scorer.Rival, len(g.indexes))
	whole := true
	for i, index := range g.indexes {
		s, err := r.journal.Sample(index)
		if err != nil {
			r.cancel(&journalError{err})
			return 0, 0
		}
		samples[i], before[i] = s, s.Verdict
		whole = whole && s.Error == ""
		rivals[i] = scorer.Rival{Input: answered(c, s), Scores: c.own(s)}
	}
	if cost, tokens = r.judgeTogether(ctx, c, samples, rivals, whole); ctx.Err() != nil {
		return cost, tokens
	}
	if err := r.journalCompared(g, c, samples, cost, tokens); err != nil {
		r.cancel(&journalError{err})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range samples {
		if g.earlier[i] {
			r.progress.count(before[i], -1)
		}
		r.progress.count(s.Verdict, 1)
	}
	return cost, tokens
}

// judgeTogether puts the scores of the comparisons into the samples.
func (r *run) judgeTogether(ctx context.Context, c *Case, samples []*record.Sample, rivals []scorer.Rival, whole bool) (cost float64, tokens int64) {
	for k, check := range c.Checks {
		comp, ok := comparison(check)
		if !ok {
			continue
		}
		scores := make([]record.Score, len(samples))
		if whole {
			scores = comp.Compare(ctx, rivals)
		}
		for i, s := range samples {
			if !whole {
				scores[i] = comp.Unjudged(rivalNoAnswer)
			}
			if s.Error == "" {
				s.Scores[len(s.Scores)-len(c.Checks)+k] = scores[i]
			}
		}
		if first := &scores[0]; first.Cost != nil {
			cost += *first.Cost
		}
		if u := scores[0].Usage; u != nil {
			tokens += int64(u.Total)
		}
		r.needsPrices(unpricedJudge(scores))
	}
	return cost, tokens
}

// journalCompared keeps the samples with their new scores; the first carries what the comparison took.
func (r *run) journalCompared(g *group, c *Case, samples []*record.Sample, cost float64, tokens int64) error {
	for i, s := range samples {
		if s.Error != "" {
			continue // it has no answer, and is made again when the run is resumed
		}
		s.Verdict, s.Score = c.judge(s)
		if err := r.journal.Replace(g.indexes[i], s, cost, tokens); err != nil {
			return err
		}
		cost, tokens = 0, 0
	}
	return nil
}

// answered is a journaled sample as scorers see it.
func answered(c *Case, s *record.Sample) *scorer.Input {
	return &scorer.Input{
		Vars: c.Vars, Prompt: record.PromptText(s.Input), Messages: s.Input, Metadata: c.Metadata, Case: s.Case, Repeat: s.Repeat, Seed: s.Seed,
		Response: &record.Response{Output: s.Output, FinishReason: s.FinishReason, Refusal: s.Refusal, Model: s.Model, ToolCalls: s.ToolCalls, Turns: s.Turns},
	}
}

// own are a sample's scores by the case's checks that compare nothing.
func (c *Case) own(s *record.Sample) []record.Score {
	var out []record.Score
	first := len(s.Scores) - len(c.Checks)
	for i := range s.Scores {
		if i >= first && first >= 0 {
			if _, compares := comparison(c.Checks[i-first]); compares {
				continue
			}
		}
		out = append(out, s.Scores[i])
	}
	return out
}

// judge combines a sample's scores. A lost comparison fails the sample whatever the others make together,
// and leaves no score, as in promptfoo.
func (c *Case) judge(s *record.Sample) (verdict.Verdict, *float64) {
	own := c.own(s)
	if len(own) == len(s.Scores) {
		return Judge(s.Scores, c.Threshold)
	}
	v, score := Judge(own, c.Threshold)
	compared, lost, errored := false, false, false
	for k, check := range c.Checks {
		if _, ok := comparison(check); !ok {
			continue
		}
		one := &s.Scores[len(s.Scores)-len(c.Checks)+k]
		if one.Weight != nil && *one.Weight == 0 {
			continue
		}
		compared = true
		lost = lost || one.Pass != nil && !*one.Pass
		errored = errored || one.Error != "" || one.Pass == nil
	}
	switch {
	case !compared:
		return v, score
	case lost:
		return verdict.Fail, new(0.0)
	case errored && v != verdict.Fail:
		return verdict.Error, score
	case v == verdict.Undecided && len(own) == 0:
		return verdict.Pass, new(1.0)
	}
	return v, score
}
