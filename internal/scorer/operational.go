package scorer

import (
	"context"
	"errors"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// operationalKinds measure what an answer took. What was not measured is an error, never a pass.
func operationalKinds() []Kind {
	return []Kind{
		{Name: "latency", Summary: "the answer was complete within threshold milliseconds; measured in seconds", Version: "1",
			Threshold: Required, Continuous: true, Unit: "s", Timed: true,
			Build: withoutConfig(buildTime("the answer took", func(r *record.Response) time.Duration { return r.Latency }))},
		{Name: "ttft", Aliases: []string{"time-to-first-token"}, Version: "1",
			Summary:   "the first token of a streamed answer came within threshold milliseconds; measured in seconds",
			Threshold: Required, Continuous: true, Unit: "s", Timed: true,
			Build: withoutConfig(buildTime("the first token took", func(r *record.Response) time.Duration { return r.TTFT }))},
		{Name: "cost", Summary: "the answer cost at most threshold US dollars; without a threshold the cost is only measured", Version: "1",
			Threshold: Optional, Continuous: true, Unit: "usd", Build: withoutConfig(buildCost)},
		{Name: "tokens", Summary: "request and answer used at most threshold tokens; without a threshold they are only counted", Version: "1",
			Threshold: Optional, Continuous: true, Unit: "tokens", Build: withoutConfig(buildTokens)},
	}
}

// thresholdBelow is the user's mistake of a limit that nothing can meet.
func thresholdBelow(s Spec, least string) *config.Error {
	t, _ := text(*s.Threshold)
	return &config.Error{Pos: s.Pos.At("threshold"), Value: t, Problem: "nothing can meet this threshold", Want: "a number of at least " + least}
}

func buildTime(what string, of func(*record.Response) time.Duration) func(Spec) (Scorer, error) {
	return func(s Spec) (Scorer, error) {
		limit := *s.Threshold
		if limit <= 0 {
			e := thresholdBelow(s, "0")
			e.Want = "milliseconds, above 0"
			return nil, e
		}
		return Func(func(_ context.Context, in *Input) (Result, error) {
			d := of(in.Response)
			switch {
			case in.Response.Cached:
				return Result{}, errors.New("the answer comes from the cache, so its time says nothing")
			case d <= 0:
				return Result{}, errors.New("the time was not measured")
			}
			ms := float64(d) / float64(time.Millisecond)
			return measured(d.Seconds(), ms <= limit, "%s %.4g ms; the most is %v ms", what, ms, limit), nil
		}), nil
	}
}

func buildCost(s Spec) (Scorer, error) {
	if s.Threshold != nil && *s.Threshold < 0 {
		return nil, thresholdBelow(s, "0")
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		cost := in.Response.Cost
		switch {
		case cost == nil:
			return Result{}, errors.New("the cost is not known: the model is not in the price table, or usage was not reported")
		case !(*cost >= 0):
			return Result{}, errors.New("the cost is not a number of at least 0")
		}
		if s.Threshold == nil {
			return Result{Value: *cost}, nil
		}
		return measured(*cost, *cost <= *s.Threshold, "the answer cost $%.6g; the most is $%v", *cost, *s.Threshold), nil
	}), nil
}

func buildTokens(s Spec) (Scorer, error) {
	if s.Threshold != nil && *s.Threshold < 1 {
		return nil, thresholdBelow(s, "1")
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		u := in.Response.Usage
		total := u.Total
		if total == 0 {
			total = u.Prompt + u.Completion
		}
		if total <= 0 {
			return Result{}, errors.New("the provider did not report the number of tokens")
		}
		if s.Threshold == nil {
			return Result{Value: float64(total)}, nil
		}
		return measured(float64(total), float64(total) <= *s.Threshold, "%d tokens were used; the most is %v", total, *s.Threshold), nil
	}), nil
}
