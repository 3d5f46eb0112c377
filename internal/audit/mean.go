package audit

import (
	"slices"
	"strconv"

	"github.com/telltale-llm/telltale/internal/stats"
)

// Mean is what people would say on average, from few labels and many verdicts.
type Mean struct {
	Of       string  `json:"of"`
	Value    float64 `json:"value"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	Human    float64 `json:"human_only"`
	HumanSE  float64 `json:"human_only_se"`
	SE       float64 `json:"se"`
	Lambda   float64 `json:"lambda"`
	Labelled int     `json:"labelled"`
	Others   int     `json:"unlabelled"`
	// Gain is how many times as many labels would give the same precision without the judge.
	Gain float64 `json:"gain"`
}

// mean estimates the people's mean label where the labels are numbers, or pass and fail, and where the judge saw
// items that nobody labelled.
func mean(votes []Votes, scale Scale) *Mean {
	var y, predicted, others []float64
	of := "label"
	for i := range votes {
		v := &votes[i]
		first := verdict(v)
		if first == "" {
			continue
		}
		x, ok := number(first)
		if !ok {
			return nil
		}
		label, labelled := consensus(v.Humans, scale)
		if !labelled {
			if !slices.ContainsFunc(v.Humans, func(l string) bool { return l != "" }) {
				others = append(others, x)
			}
			continue
		}
		want, ok := number(label)
		if !ok {
			return nil
		}
		if label == "pass" || label == "fail" {
			of = "share of pass"
		}
		y, predicted = append(y, want), append(predicted, x)
	}
	p, ok := stats.PredictionPowered(y, predicted, others)
	if !ok {
		return nil
	}
	i, ok := p.Interval(stats.Level)
	if !ok {
		return nil
	}
	return &Mean{Of: of, Value: p.Value, Low: i.Low, High: i.High, Human: p.HumanOnly, HumanSE: p.HumanSE, SE: p.SE, Lambda: p.Lambda, Labelled: p.Labelled, Others: p.Unlabelled, Gain: p.Gain}
}

// Numeric says whether a label has a place on an ordinal scale.
func Numeric(label string) bool {
	_, ok := number(label)
	return ok
}

func number(label string) (float64, bool) {
	switch label {
	case "pass":
		return 1, true
	case "fail":
		return 0, true
	}
	x, err := strconv.ParseFloat(label, 64)
	return x, err == nil && stats.Finite(x)
}
