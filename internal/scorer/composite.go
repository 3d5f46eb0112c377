package scorer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// SetType is the name of the kind that is made of other assertions.
const SetType = "assert-set"

// compositeKinds are assertions made of others.
func compositeKinds() []Kind {
	return []Kind{{
		Name: SetType, Version: "1", Threshold: Optional, Continuous: true, Build: withoutConfig(buildSet),
		Summary: "every assertion in assert passes, or, with a threshold, their weighted mean is at least that",
	}}
}

// setScorer judges by its parts.
type setScorer struct {
	parts     []*Assertion
	threshold *float64
	timed     bool
	// owned says that the parts are this scorer's to close.
	owned bool
}

func buildSet(s Spec) (Scorer, error) {
	if len(s.Assert) == 0 {
		return nil, &config.Error{Pos: s.Pos, Problem: "no parts to judge by", Want: "assert: with at least one assertion"}
	}
	set := &setScorer{threshold: s.Threshold, owned: s.Services.Compile == nil}
	var errs config.Errors
	judges := false
	for _, a := range s.Assert {
		part, err := s.part(a)
		if err != nil {
			errs.Append(a.Pos, err)
			continue
		}
		if part.Compares() {
			errs = append(errs, &config.Error{Pos: a.Pos, Value: part.Type(), Problem: "compares the answers to a case, and cannot be a part of a set", Want: "it beside the set"})
		}
		set.parts = append(set.parts, part)
		set.timed = set.timed || part.Timed()
		judges = judges || part.Judges() && (part.Weight() == nil || *part.Weight() > 0)
	}
	if len(errs) == 0 && !judges {
		errs = append(errs, &config.Error{Pos: s.Pos, Problem: "no part of the set is judged", Want: "a part with an outcome and a weight above 0"})
	}
	if err := errs.Err(); err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return set, nil
}

func (s *setScorer) shape() shape {
	return shape{continuous: true, graded: true, timed: s.timed, judges: true}
}

// Close ends what the parts keep running, unless another owns them.
func (s *setScorer) Close() error {
	var errs []error
	for _, p := range s.parts {
		if s.owned {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *setScorer) convention() string { return s.recipe(nil) }

// composite is a Scorer that is made of assertions. recipe is its convention with the parts as they were written; nil
// takes them as they are.
type composite interface {
	members() []*Assertion
	recipe(written []config.Assertion) string
}

func (s *setScorer) members() []*Assertion { return s.parts }

func (s *setScorer) recipe(written []config.Assertion) string { return setConvention(s.parts, written) }

// setConvention is the recipe of a set: that of its parts, with their names and weights. written holds
// the parts before their templates were filled in; nil takes them as they are.
func setConvention(parts []*Assertion, written []config.Assertion) string {
	recipes := make([]string, len(parts))
	for i, p := range parts {
		recipes[i] = p.Signature()
		if i < len(written) {
			recipes[i] = p.SignatureAs(written[i])
		}
		recipes[i] = fmt.Sprintf("%s=%s", p.Name(), recipes[i])
		if w := p.Weight(); w != nil {
			recipes[i] += fmt.Sprintf(";weight=%g", *w)
		}
	}
	return "parts=" + shortHash(recipes)
}

// Score judges by all parts, also after one has failed: each feeds a metric of its own.
func (s *setScorer) Score(ctx context.Context, in *Input) (Result, error) {
	var res Result
	for _, p := range s.parts {
		score := p.Score(ctx, in)
		res.Scores = append(res.Scores, score)
		if score.Cost != nil {
			sum := *score.Cost
			if res.Cost != nil {
				sum += *res.Cost
			}
			res.Cost = &sum
		}
		if u := score.Usage; u != nil {
			res.Usage.Prompt += u.Prompt
			res.Usage.Completion += u.Completion
			res.Usage.Total += u.Total
		}
	}
	outcome, mean := Combine(res.Scores, s.threshold)
	if outcome != verdict.Pass && outcome != verdict.Fail {
		return res, errors.New(s.trouble(res.Scores))
	}
	pass := outcome == verdict.Pass
	res.Value, res.Pass = *mean, &pass
	res.Reason = s.reason(res.Scores, *mean, pass)
	return res, nil
}

// trouble says why there is no outcome.
func (s *setScorer) trouble(scores []record.Score) string {
	for i := range scores {
		if scores[i].Error != "" {
			return scores[i].Type + ": " + scores[i].Error
		}
	}
	return "no part of the set was judged"
}

func (s *setScorer) reason(scores []record.Score, mean float64, pass bool) string {
	var failed []string
	for i := range scores {
		if p := scores[i].Pass; p != nil && !*p {
			failed = append(failed, scores[i].Type+": "+scores[i].Reason)
		}
	}
	var b strings.Builder
	switch {
	case s.threshold != nil && pass:
		fmt.Fprintf(&b, "the weighted mean %.4g is at least %g", mean, *s.threshold)
	case s.threshold != nil:
		fmt.Fprintf(&b, "the weighted mean %.4g is below %g", mean, *s.threshold)
	case pass:
		fmt.Fprintf(&b, "all %d parts pass", len(scores))
	default:
		fmt.Fprintf(&b, "%d of %d parts fail", len(failed), len(scores))
	}
	if len(failed) > 0 {
		b.WriteString("; " + strings.Join(failed, "; "))
	}
	return config.Clip(b.String(), 1000)
}

// Combine judges by several scores. Scores of weight 0 and measurements without a judgement count for
// nothing. Without a threshold every judged score must pass; with one the weighted mean of the values
// must reach it. A failure is certain whatever could not be judged; without one, an error leaves
// everything in error. Nothing judged is Undecided. The returned score is the weighted mean of the
// judged values, nil when there is none.
func Combine(scores []record.Score, threshold *float64) (verdict.Verdict, *float64) {
	var sum, weights float64
	judged, failed, errored := 0, false, false
	for i := range scores {
		s := &scores[i]
		w := 1.0
		if s.Weight != nil {
			w = *s.Weight
		}
		switch {
		case w == 0:
		case s.Error != "":
			errored = true
		case s.Pass != nil:
			judged++
			failed = failed || !*s.Pass
			weights += w
			if s.Value != nil {
				sum += w * share(s)
			}
		}
	}
	var score *float64
	if weights > 0 {
		v := sum / weights
		score = &v
	}
	switch {
	case threshold != nil && errored:
		return verdict.Error, score
	case threshold != nil && score != nil:
		if *score >= *threshold {
			return verdict.Pass, score
		}
		return verdict.Fail, score
	case failed:
		return verdict.Fail, score
	case errored:
		return verdict.Error, score
	case judged == 0:
		return verdict.Undecided, score
	default:
		return verdict.Pass, score
	}
}

// share turns a judged score into a share of the whole: values from 0 to 1 as they are, measured
// quantities such as seconds by whether they passed.
func share(s *record.Score) float64 {
	quantity := !(*s.Value >= 0 && *s.Value <= 1)
	for i := range s.Measures {
		quantity = quantity || s.Measures[i].Metric == s.Name && s.Measures[i].Unit != ""
	}
	switch {
	case !quantity:
		return *s.Value
	case *s.Pass:
		return 1
	}
	return 0
}
