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

// builtins adds what every sample contributes.
func (a *Aggregator) builtins(sc *scope, c cluster, s *record.Sample, v verdict.Verdict) {
	sc.samples++
	switch v {
	case verdict.Pass:
		sc.take(passRate, c, 1)
	case verdict.Fail:
		sc.take(passRate, c, 0)
	default:
		sc.builtin[passRate].missing++
	}
	if v == verdict.Error {
		sc.take(errorRate, c, 1)
	} else {
		sc.take(errorRate, c, 0)
	}
	sc.takeOrMiss(score, c, s.Score)
	if !s.Cached {
		sc.takeOrMiss(latency, c, s.Latency)
		sc.takeOrMiss(ttft, c, s.TTFT)
	}
	sc.takeOrMiss(cost, c, s.Cost)
	// All zero means that the provider did not report usage; an empty answer has zero completion
	// tokens all the same.
	u := s.Usage
	if u == nil || u.Prompt == 0 && u.Completion == 0 {
		sc.builtin[tokensPrompt].missing++
		sc.builtin[tokensCompletion].missing++
		return
	}
	sc.take(tokensPrompt, c, float64(u.Prompt))
	sc.take(tokensCompletion, c, float64(u.Completion))
}

func (sc *scope) take(id int, c cluster, x float64) {
	sc.builtin[id].value(c, x, builtinUnitOf[id])
}

func (sc *scope) takeOrMiss(id int, c cluster, p *float64) {
	if x, ok := number(p); ok {
		sc.take(id, c, x)
		return
	}
	sc.builtin[id].missing++
}

// builtinUnitOf spares a map look-up for every sample.
var builtinUnitOf = func() (out [builtinCount]string) {
	for i := range builtins {
		out[i] = builtinUnits[builtins[i].name]
	}
	return out
}()
