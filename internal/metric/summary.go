package metric

import (
	"maps"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// The reasons for an error that are not a record.FailureKind.
const (
	reasonScorer = "scorer" // there was an answer and it could not be judged
	reasonPrompt = "prompt" // the prompt could not be rendered, so that nothing was asked
	reasonOther  = "other"
)

// summary counts samples by verdict and totals what they used.
type summary struct {
	record.Summary
	cost, judging                stats.Sum
	criticalSeen, criticalPassed int
}

func (s *summary) add(sample *record.Sample, v verdict.Verdict) {
	s.Finished++
	switch v {
	case verdict.Pass:
		s.Passed++
	case verdict.Fail:
		s.Failed++
	case verdict.Error:
		s.Errored++
		if s.Errors == nil {
			s.Errors = map[string]int{}
		}
		s.Errors[Reason(sample.Error)]++
	default:
		s.Undecided++
	}
	if sample.Cached {
		s.Cached++
	}
	if u := sample.Usage; u != nil {
		s.Tokens.Prompt += u.Prompt
		s.Tokens.Completion += u.Completion
		s.Tokens.Total += u.Total
		s.Tokens.Cached += u.Cached
		s.Tokens.Reasoning += u.Reasoning
	}
	if c, ok := number(sample.Cost); ok {
		s.cost.Add(c)
	} else {
		s.Unpriced++
	}
	for i := range sample.Scores {
		s.judge(&sample.Scores[i])
	}
}

// quarantine counts a sample that was added as one in quarantine.
func (s *summary) quarantine(sample *record.Sample, v verdict.Verdict) {
	if s.Quarantined == nil {
		s.Quarantined = &record.Quarantined{}
	}
	q := s.Quarantined
	q.Finished++
	switch v {
	case verdict.Pass:
		q.Passed++
	case verdict.Fail:
		q.Failed++
	case verdict.Error:
		q.Errored++
		if q.Errors == nil {
			q.Errors = map[string]int{}
		}
		q.Errors[Reason(sample.Error)]++
	default:
		q.Undecided++
	}
}

// judge adds what a score took. A composite's is that of its parts.
func (s *summary) judge(score *record.Score) {
	for i := range score.Scores {
		s.judge(&score.Scores[i])
	}
	if len(score.Scores) > 0 {
		return
	}
	if c, ok := number(score.Cost); ok {
		s.judging.Add(c)
	}
	if u := score.Usage; u != nil {
		s.JudgeTokens.Prompt += u.Prompt
		s.JudgeTokens.Completion += u.Completion
		s.JudgeTokens.Total += u.Total
		s.JudgeTokens.Cached += u.Cached
		s.JudgeTokens.Reasoning += u.Reasoning
	}
	if j := score.Judge; j != nil {
		s.JudgeCalls += j.Calls
		s.JudgeInvalid += j.Invalid
		s.JudgeUnpriced += j.Unpriced
	}
}

func (s *summary) critical(id string, v verdict.Verdict) {
	s.criticalSeen++
	if v == verdict.Pass {
		s.criticalPassed++
	}
	if v != verdict.Fail || len(s.CriticalFailed) >= maxCritical {
		return
	}
	// The samples of one case come one after another.
	if n := len(s.CriticalFailed); n == 0 || s.CriticalFailed[n-1] != id {
		s.CriticalFailed = append(s.CriticalFailed, id)
	}
}

func (s *summary) finish(planned, critical, quarantined int) record.Summary {
	out := s.Summary
	out.Planned = planned + quarantined
	if q := s.Quarantined; q != nil || quarantined > 0 {
		out.Quarantined = &record.Quarantined{}
		if q != nil {
			*out.Quarantined = *q
			out.Quarantined.Errors = maps.Clone(q.Errors)
		}
		out.Quarantined.Planned = quarantined
	}
	out.Cost = s.cost.Value()
	out.JudgeCost = s.judging.Value()
	out.CriticalUnproved = max(critical, s.criticalSeen) - s.criticalPassed
	out.CriticalFailed = append([]string(nil), s.CriticalFailed...)
	if s.Errors != nil {
		out.Errors = make(map[string]int, len(s.Errors))
		for k, n := range s.Errors {
			out.Errors[k] = n
		}
	}
	return out
}

// Reason returns the bounded label of a sample's error: the record.FailureKind that a
// record.Failure's message starts with.
func Reason(message string) string {
	if message == "" {
		return reasonScorer
	}
	word := message
	if i := strings.IndexAny(message, ": ("); i >= 0 {
		word = message[:i]
	}
	if word == reasonPrompt {
		return word
	}
	for _, k := range failureKinds {
		if string(k) == word {
			return word
		}
	}
	return reasonOther
}

var failureKinds = record.FailureKinds()
