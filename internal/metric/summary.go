package metric

import (
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
	cost                         stats.Sum
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
		s.Errors[reason(sample.Error)]++
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
	if sample.Critical {
		s.critical(sample.Case, v)
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

func (s *summary) finish(planned, critical int) record.Summary {
	out := s.Summary
	out.Planned = planned
	out.Cost = s.cost.Value()
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

// reason returns the bounded label of a sample's error: the record.FailureKind that a
// record.Failure's message starts with.
func reason(message string) string {
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
