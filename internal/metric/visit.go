package metric

import (
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// setType is the type of a score whose parts are scores in their own right.
const setType = "assert-set"

// invalidSuffix makes the name of the share of a judge's answers that were no verdict.
const invalidSuffix = ".invalid"

// visitor takes what scores contribute.
type visitor interface {
	// measure takes a measure of the score of that name. It must not keep m.
	measure(score string, m *record.Measure) error
	// none takes a score that gave nothing.
	none(s *record.Score) error
}

// visit hands over what a score and its parts contribute. A judge's answers count also for a score that
// became an error.
func visit(s *record.Score, v visitor) error {
	if strings.TrimPrefix(s.Type, "not-") == setType {
		for i := range s.Scores {
			if err := visit(&s.Scores[i], v); err != nil {
				return err
			}
		}
	}
	if s.Judge != nil && s.Judge.Calls > 0 {
		name := s.Name + invalidSuffix
		if err := v.measure(name, &record.Measure{Metric: name, Kind: kindRatio, Value: float64(s.Judge.Invalid), Weight: float64(s.Judge.Calls)}); err != nil {
			return err
		}
	}
	if s.Error != "" || s.Value == nil && len(s.Measures) == 0 {
		return v.none(s)
	}
	if len(s.Measures) == 0 {
		return v.measure(s.Name, &record.Measure{Metric: s.Name, Value: *s.Value})
	}
	for i := range s.Measures {
		if err := v.measure(s.Name, &s.Measures[i]); err != nil {
			return err
		}
	}
	return nil
}

// define describes a metric by its first measure.
func define(m *record.Measure) definition {
	kind := m.Kind
	if kind == "" {
		kind = kindMean
	}
	return definition{name: published(m.Metric), key: m.Metric, kind: kind, unit: m.Unit}
}
