package metric

import (
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// The directions in which a metric gets better.
const (
	Higher = "higher"
	Lower  = "lower"
)

// betterByUnit holds the direction of quantities. Scores, rates and ratios have no unit: more is better. What
// is in a unit that is not here, such as words, has no better direction.
var betterByUnit = map[string]string{
	"": Higher, "nats": Higher, "dot": Higher,
	"s": Lower, "usd": Lower, "tokens": Lower, "edits": Lower, "ppl": Lower, "bits/byte": Lower,
	"probability":  Lower, // of being toxic; by which a confidence is off
	"probability²": Lower,
	"distance":     Lower,
}

// Better says in which direction a metric gets better: Higher, Lower, or "" when neither is. Kinds of assertion
// declare it through the unit of what they measure, for that is not turned round by "not-".
func Better(name, unit string) string {
	switch {
	case name == record.MetricErrorRate, strings.HasSuffix(name, invalidSuffix), strings.HasSuffix(name, ".loss"), strings.HasSuffix(name, ".log_loss"):
		return Lower
	case strings.HasSuffix(name, ".tie"):
		return ""
	}
	return betterByUnit[unit]
}

// IsCorpus says whether a metric of that kind of measure (corpus/NAME) is made of summed statistics.
func IsCorpus(kind string) bool { return strings.HasPrefix(kind, corpusName) }
