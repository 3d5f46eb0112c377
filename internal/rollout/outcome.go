package rollout

import (
	"math"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// reading is what a signal makes of an exchange.
type reading uint8

const (
	missing reading = iota // the exchange says nothing of the signal
	invalid                // what it says cannot be: NaN, a score outside [0, 1]
	known
)

// measure returns the signal's number for an exchange: 0 or 1 for an event, a score, or for a signal about a quantile the
// time, length or cost itself.
func measure(g *config.Signal, e *record.Evidence) (x float64, r reading) {
	failed := e.ErrorKind != "" && e.ErrorKind != record.Canceled
	switch g.Kind {
	case config.SignalErrorRate:
		if e.Canceled {
			return 0, missing
		}
		return event(failed), known
	case config.SignalAbandonment:
		if failed {
			return 0, missing
		}
		return event(e.Canceled), known
	case config.SignalRetries:
		return event(e.Retries > 0), known
	}
	if failed || e.Canceled {
		return 0, missing
	}
	switch g.Kind {
	case config.SignalLatencyP95, config.SignalLatencyP99:
		return amount(e.Latency)
	case config.SignalTTFTP95, config.SignalTTFTP99:
		return amount(e.TTFT)
	case config.SignalCost:
		return amount(e.Cost)
	case config.SignalOutputLength:
		if e.OutputTokens == nil {
			return 0, missing
		}
		n := float64(*e.OutputTokens)
		return amount(&n)
	case config.SignalTruncation:
		if e.FinishReason == "" {
			return 0, missing
		}
		return event(record.FinishClass(e.FinishReason) == "length"), known
	case config.SignalRefusal:
		if g.Score == "" {
			return event(e.Refused || record.FinishClass(e.FinishReason) == "refusal"), known
		}
	}
	return scored(g, e)
}

func event(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func amount(v *float64) (float64, reading) {
	switch {
	case v == nil:
		return 0, missing
	case !(*v >= 0) || math.IsInf(*v, 0):
		return 0, invalid
	}
	return *v, known
}

// scored reads a signal from the scorer that it names.
func scored(g *config.Signal, e *record.Evidence) (float64, reading) {
	for i := range e.Scores {
		s := &e.Scores[i]
		if s.Name != g.Score {
			continue
		}
		if g.Kind == config.SignalScore {
			switch {
			case s.Value != nil && (*s.Value >= 0 && *s.Value <= 1):
				return *s.Value, known
			case s.Value != nil:
				return 0, invalid
			case s.Pass != nil:
				return event(*s.Pass), known
			}
			return 0, missing
		}
		if s.Pass == nil {
			return 0, missing
		}
		// A check for refusals passes on one, unless it is the negated check.
		if g.Kind == config.SignalRefusal && !strings.HasPrefix(s.Name, "not-") {
			return event(*s.Pass), known
		}
		return event(!*s.Pass), known
	}
	return 0, missing
}

// quantile is the share of the baseline's outcomes below the threshold of a signal about one; 0 for other signals.
func quantile(g *config.Signal) float64 {
	switch g.Kind {
	case config.SignalLatencyP95, config.SignalTTFTP95, config.SignalOutputLength, config.SignalCost:
		return 0.95
	case config.SignalLatencyP99, config.SignalTTFTP99:
		return 0.99
	}
	return 0
}

// frozen is the quantile that a signal is held against. It is given, or learnt from the first outcomes of the baseline;
// evidence begins after that, so that for the evidence it is a constant.
type frozen struct {
	Threshold float64 `json:"threshold"`
	Ready     bool    `json:"ready"`
	// Of the outcomes seen while learning: their number, and the most extreme ones, the least extreme first.
	Seen int       `json:"seen,omitempty"`
	Ends []float64 `json:"ends,omitempty"`
}

// learnBeyond is how many outcomes beyond the quantile it is learnt from: 200 in all for the 95th percentile, 1,000 for the 99th.
const learnBeyond = 10

// learn takes up one outcome of the baseline. Where less is worse the numbers are turned round.
func (f *frozen) learn(x, p float64) {
	f.Seen++
	keep := learnBeyond + 1
	i := len(f.Ends)
	if i < keep {
		f.Ends = append(f.Ends, x)
	} else {
		if x <= f.Ends[0] {
			i = -1
		} else {
			copy(f.Ends, f.Ends[1:])
			i--
		}
	}
	if i >= 0 {
		for ; i > 0 && f.Ends[i-1] > x; i-- {
			f.Ends[i] = f.Ends[i-1]
		}
		f.Ends[i] = x
	}
	if f.Seen >= int(math.Round(learnBeyond/(1-p))) {
		f.Threshold, f.Ready, f.Ends = f.Ends[0], true, nil
	}
}
