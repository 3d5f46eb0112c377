package metric

import (
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// The metrics that every run has, by position in scope.builtin.
const (
	passRate = iota
	score
	errorRate
	latency
	ttft
	cost
	tokensPrompt
	tokensCompletion
	builtinCount
)

var builtinUnits = record.BuiltinUnits()

// builtins describes them. Their signature changes whenever the same samples may get another number.
var builtins = [builtinCount]struct {
	name, kind string
	always     bool // published also when nothing was observed
}{
	passRate:         {record.MetricPassRate, kindRate, true},
	score:            {record.MetricScore, kindMean, true},
	errorRate:        {record.MetricErrorRate, kindRate, true},
	latency:          {record.MetricLatency, kindMean, false},
	ttft:             {record.MetricTTFT, kindMean, false},
	cost:             {record.MetricCost, kindMean, false},
	tokensPrompt:     {record.MetricTokensPrompt, kindMean, false},
	tokensCompletion: {record.MetricTokensCompletion, kindMean, false},
}

const builtinVersion = "|v1"

// state says what became of an observation that every sample should give.
type state uint8

const (
	unasked state = iota // it does not concern this sample
	missing
	observed
)

// given is one of the numbers that every sample contributes.
type given struct {
	state state
	x     float64
}

// builtinsOf returns what every sample contributes.
func builtinsOf(s *record.Sample, v verdict.Verdict) (out [builtinCount]given) {
	switch v {
	case verdict.Pass:
		out[passRate] = given{observed, 1}
	case verdict.Fail:
		out[passRate] = given{observed, 0}
	default:
		out[passRate].state = missing
	}
	out[errorRate].state = observed
	if v == verdict.Error {
		out[errorRate].x = 1
	}
	out[score] = pointed(s.Score)
	if !s.Cached {
		out[latency], out[ttft] = pointed(s.Latency), pointed(s.TTFT)
	}
	out[cost] = pointed(s.Cost)
	// All zero means that the provider did not report usage; an empty answer has zero completion
	// tokens all the same.
	u := s.Usage
	if u == nil || u.Prompt == 0 && u.Completion == 0 {
		out[tokensPrompt].state, out[tokensCompletion].state = missing, missing
		return out
	}
	out[tokensPrompt] = given{observed, float64(u.Prompt)}
	out[tokensCompletion] = given{observed, float64(u.Completion)}
	return out
}

func pointed(p *float64) given {
	if x, ok := number(p); ok {
		return given{observed, x}
	}
	return given{state: missing}
}

// builtins adds what every sample contributes.
func (sc *scope) builtins(c cluster, all *[builtinCount]given) {
	sc.samples++
	for i := range all {
		switch all[i].state {
		case observed:
			sc.builtin[i].value(c, all[i].x, builtinUnitOf[i])
		case missing:
			sc.builtin[i].missing++
		}
	}
}

// builtinUnitOf spares a map look-up for every sample.
var builtinUnitOf = func() (out [builtinCount]string) {
	for i := range builtins {
		out[i] = builtinUnits[builtins[i].name]
	}
	return out
}()
