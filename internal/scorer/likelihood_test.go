package scorer

import (
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
)

// tokenized is an answer whose tokens all have one probability. Each was the likeliest at its place,
// or the second one.
func tokenized(text string, p float64, likeliest bool) record.Response {
	r := record.Response{Output: text, FinishReason: "stop"}
	for i, w := range strings.SplitAfter(text, " ") {
		t := record.TokenLogprob{Token: w, Logprob: math.Log(p), Top: map[string]float64{w: math.Log(p)}}
		if !likeliest && i > 0 {
			t.Top["other"] = math.Log(p) / 2
		}
		r.Logprobs = append(r.Logprobs, t)
	}
	return r
}

func choiceLikelihoods(pairs ...any) record.Response {
	var r record.Response
	for i := 0; i < len(pairs); i += 2 {
		r.Likelihoods = append(r.Likelihoods, record.Likelihood{Text: pairs[i].(string), Logprob: pairs[i+1].(float64), Tokens: 1})
	}
	return r
}

func likelihoodExamples() map[string]example {
	return map[string]example{
		"perplexity":          {threshold: new(3.0), pass: tokenized("a b", 0.5, true), fail: tokenized("a b", 0.25, true)},
		"perplexity-score":    {threshold: new(0.3), pass: tokenized("a b", 0.5, true), fail: tokenized("a b", 0.25, true)},
		"log-likelihood":      {threshold: new(-1.0), pass: tokenized("a b", 0.5, true), fail: tokenized("a b", 0.25, true)},
		"next-token-accuracy": {threshold: new(0.8), pass: tokenized("a b", 0.5, true), fail: tokenized("a b", 0.5, false)},
		"multiple-choice": {value: "B", config: map[string]any{"choices": []any{"red", "blue"}},
			pass: choiceLikelihoods(" red", -3.0, " blue", -2.0), fail: choiceLikelihoods(" red", -1.0, " blue", -2.0)},
	}
}

func scoreWith(t *testing.T, a config.Assertion, in *Input) record.Score {
	t.Helper()
	return compile(t, a).Score(t.Context(), in)
}

func configured(typ string, threshold *float64, c map[string]any) config.Assertion {
	return config.Assertion{Type: typ, Threshold: threshold, Config: config.Object{Map: c}}
}

// By hand: see package logprob for the formulas and their source.
func TestPerplexityUnits(t *testing.T) {
	r := tokenized("one two three", 0.5, true) // 3 tokens, 3 words, 13 bytes
	f := func(c map[string]any, want float64, kind, unit string) {
		t.Helper()
		s := scoreWith(t, configured("perplexity", nil, c), &Input{Response: &r})
		if s.Error != "" || s.Pass != nil || math.Abs(*s.Value-want) > 1e-9 {
			t.Errorf("%v: %+v, want %v", c, s, want)
			return
		}
		m := s.Measures[0]
		finish, ok := CorpusFinisher(m.Kind)
		if m.Kind != kind || m.Unit != unit || !ok || math.Abs(finish(m.Stats)-want) > 1e-9 {
			t.Errorf("%v: measure %+v", c, m)
		}
	}
	f(nil, 2, "corpus/perplexity:token", "ppl")
	f(map[string]any{"unit": "word"}, 2, "corpus/perplexity:word", "ppl")
	f(map[string]any{"unit": "byte"}, math.Pow(2, 3.0/13), "corpus/perplexity:byte", "ppl")
	f(map[string]any{"unit": "bits-per-byte"}, 3.0/13, "corpus/perplexity:bits-per-byte", "bits/byte")
}

// The metric of a run is that of the corpus: by hand exp((ln 2 + 3 ln 8)/4) = 2^2.5.
func TestPerplexityOfACorpus(t *testing.T) {
	c := compile(t, configured("perplexity", nil, nil))
	agg, err := metric.New(metric.Options{Snapshots: 1, Expect: []string{"perplexity"}, Finishers: CorpusFinisher})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range []record.Response{tokenized("a", 0.5, true), tokenized("a b c", 0.125, true)} {
		s := c.Score(t.Context(), &Input{Response: &r})
		sample := record.Sample{Case: string(rune('a' + i)), Output: r.Output, Verdict: 0, Scores: []record.Score{s}}
		if err := agg.Add(metric.Observation{Sample: &sample}); err != nil {
			t.Fatal(err)
		}
	}
	res, err := agg.Finish(metric.Plan{Samples: []int{2}})
	if err != nil {
		t.Fatal(err)
	}
	m := res.Metrics["perplexity"]
	if m.Mean == nil || math.Abs(*m.Mean-math.Pow(2, 2.5)) > 1e-9 || m.Kind != "corpus" || m.Unit != "ppl" || m.N != 2 || m.Missing != 0 {
		t.Errorf("%+v, problems %v", m, res.Problems)
	}
}

// Ratios are of all tokens together, not the mean of the samples' own.
func TestRatiosOfACorpus(t *testing.T) {
	f := func(typ string, want float64) {
		t.Helper()
		c := compile(t, configured(typ, nil, nil))
		agg, err := metric.New(metric.Options{Snapshots: 1, Expect: []string{typ}, Finishers: CorpusFinisher})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range []record.Response{tokenized("a", 0.5, true), tokenized("a b c", 0.125, false)} {
			s := c.Score(t.Context(), &Input{Response: &r})
			if err := agg.Add(metric.Observation{Sample: &record.Sample{Case: string(rune('a' + i)), Scores: []record.Score{s}}}); err != nil {
				t.Fatal(err)
			}
		}
		res, err := agg.Finish(metric.Plan{Samples: []int{2}})
		if err != nil {
			t.Fatal(err)
		}
		if m := res.Metrics[typ]; m.Mean == nil || math.Abs(*m.Mean-want) > 1e-9 || m.Kind != "ratio" || m.N != 4 {
			t.Errorf("%s: %+v, want %v; %v", typ, m, want, res.Problems)
		}
	}
	f("next-token-accuracy", 2.0/4)
	f("log-likelihood", -(math.Ln2+3*3*math.Ln2)/4)
}

func TestPromptIsScored(t *testing.T) {
	out := tokenized("x", 0.5, true)
	r := record.Response{PromptLogprobs: out.Logprobs}
	for _, typ := range []string{"perplexity", "perplexity-score", "log-likelihood", "next-token-accuracy"} {
		a := configured(typ, nil, map[string]any{"of": "prompt"})
		c := compile(t, a)
		if s := c.Score(t.Context(), &Input{Response: &r, Prompt: "the x"}); s.Error != "" || s.Value == nil {
			t.Errorf("%s: %+v", typ, s)
		}
		if d, err := c.Demand(nil); err != nil || !d.PromptLogprobs || d.Continuations != nil {
			t.Errorf("%s demands %+v, %v", typ, d, err)
		}
		if s := c.Score(t.Context(), &Input{Response: &out}); !strings.Contains(s.Error, "prompt_logprobs") {
			t.Errorf("%s without them: %+v", typ, s)
		}
		bare := compile(t, configured(typ, nil, nil))
		if d, err := bare.Demand(nil); err != nil || d.PromptLogprobs {
			t.Errorf("%s of the output demands %+v, %v", typ, d, err)
		}
		if s := bare.Score(t.Context(), &Input{Response: &record.Response{Output: "x", FinishReason: "stop"}}); !strings.Contains(s.Error, "logprobs: true") {
			t.Errorf("%s without any: %+v", typ, s)
		}
	}
}

// What is no number is never a pass.
func TestLikelihoodsFailClosed(t *testing.T) {
	f := func(a config.Assertion, r record.Response, want string) {
		t.Helper()
		s := scoreWith(t, a, &Input{Response: &r})
		if s.Error == "" || s.Pass != nil || !strings.Contains(s.Error, want) {
			t.Errorf("%s: %+v, want %q", a.Type, s, want)
		}
	}
	bad := func(v float64) record.Response {
		return record.Response{Output: "x", FinishReason: "stop", Logprobs: []record.TokenLogprob{{Token: "x", Logprob: v}}}
	}
	for _, typ := range []string{"perplexity", "perplexity-score", "log-likelihood"} {
		for _, v := range []float64{math.NaN(), math.Inf(-1), 1} {
			f(configured(typ, nil, nil), bad(v), "log-probability")
		}
	}
	f(configured("perplexity", new(1e9), nil), bad(-9999), "no number")
	f(configured("next-token-accuracy", new(0.1), nil), bad(-1), "top_logprobs: 1")
	unlisted := bad(-9)
	unlisted.Logprobs[0].Top = map[string]float64{"y": -0.1, "z": -3}
	f(configured("next-token-accuracy", new(0.1), map[string]any{"top_k": int64(3)}), unlisted, "top_logprobs: 3")
	mc := config.Assertion{Type: "multiple-choice", Value: int64(0), Config: config.Object{Map: map[string]any{"choices": []any{"a", "b"}}}}
	f(mc, says("a"), "likelihoods")
	f(mc, choiceLikelihoods(" a", -1.0), `"b"`)
	f(mc, choiceLikelihoods(" a", -1.0, " b", math.NaN()), "NaN")
}

func TestLikelihoodMistakes(t *testing.T) {
	f := func(a config.Assertion, want string) {
		t.Helper()
		a.Pos = config.Pos{File: "s.yaml", Line: 3, Key: "assert[0]"}
		a.Config.Pos = a.Pos.At("config")
		_, err := Compile(a, "", nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "s.yaml:3") {
			t.Errorf("%s %v: %v, want %q", a.Type, a.Config.Map, err, want)
		}
	}
	f(configured("perplexity", nil, map[string]any{"unit": "letter"}), "token, word, byte, bits-per-byte")
	f(configured("perplexity", nil, map[string]any{"of": "answer"}), "output or prompt")
	f(configured("perplexity", new(0.5), nil), "at least 1")
	f(configured("perplexity", new(-0.5), map[string]any{"unit": "bits-per-byte"}), "at least 0")
	f(configured("perplexity-score", new(0.6), nil), "at most 0.5")
	f(configured("log-likelihood", new(0.5), nil), "at most 0")
	f(configured("next-token-accuracy", new(1.5), nil), "at most 1")
	f(configured("next-token-accuracy", nil, map[string]any{"top_k": int64(0)}), "from 1 to 100")
	mc := func(value any, c map[string]any) config.Assertion {
		return config.Assertion{Type: "multiple-choice", Value: value, Config: config.Object{Map: c}}
	}
	two := []any{"a", "b"}
	f(mc(nil, map[string]any{"by": "bleu"}), "acc_bytes")
	f(mc(nil, map[string]any{"choices": []any{"a"}}), "at least two")
	f(mc(nil, map[string]any{"choices": []any{"a", "a"}}), "twice")
	f(mc(int64(2), map[string]any{"choices": two}), "none of the 2 choices")
	f(mc("x", map[string]any{"choices": two}), "none of the 2 choices")
	f(mc(1.5, map[string]any{"choices": two}), "none of the 2 choices")
}

func TestMultipleChoice(t *testing.T) {
	// acc takes the first, acc_norm the second, acc_bytes the third: see package logprob.
	r := choiceLikelihoods(" no", -2.0, " certainly not", -4.0, " ééééééééé", -3.6)
	choices := []any{"no", "certainly not", "ééééééééé"}
	rates := func(s record.Score) map[string]float64 {
		out := map[string]float64{}
		for _, m := range s.Measures {
			if m.Kind != "rate" {
				t.Errorf("%+v is no rate", m)
			}
			out[m.Metric] = m.Value
		}
		return out
	}
	f := func(gold any, by string, pass bool, acc, norm, bytes float64) {
		t.Helper()
		a := config.Assertion{Type: "multiple-choice", Value: gold, Config: config.Object{Map: map[string]any{"choices": choices, "by": by}}}
		s := scoreWith(t, a, &Input{Response: &r})
		want := map[string]float64{"multiple-choice": 0, "multiple-choice.acc": acc, "multiple-choice.acc_norm": norm, "multiple-choice.acc_bytes": bytes}
		if pass {
			want["multiple-choice"] = 1
		}
		if s.Error != "" || *s.Pass != pass || !maps.Equal(rates(s), want) {
			t.Errorf("gold %v by %s: %+v, want %v", gold, by, s, want)
		}
	}
	f(int64(0), "acc", true, 1, 0, 0)
	f("B", "acc_norm", true, 0, 1, 0)
	f("ééééééééé", "acc_bytes", true, 0, 0, 1)
	f("1", "acc", false, 0, 1, 0)
	f([]any{int64(0), "c"}, "acc_bytes", true, 1, 0, 1)

	// The variables hold what the assertion does not.
	a := config.Assertion{Type: "multiple-choice", Config: config.Object{Map: map[string]any{"choices": "q.options", "delimiter": ": "}}}
	c := compile(t, a)
	vars := map[string]any{"q": map[string]any{"options": []any{"x", int64(7)}}, "gold": "7"}
	d, err := c.Demand(vars)
	if err != nil || !reflect.DeepEqual(d.Continuations, []string{": x", ": 7"}) || d.PromptLogprobs {
		t.Errorf("demands %+v, %v", d, err)
	}
	for _, r := range []record.Response{choiceLikelihoods(": x", -3.0, ": 7", -1.0), choiceLikelihoods(": 7", -1.0, ": x", -3.0)} {
		if s := c.Score(t.Context(), &Input{Response: &r, Vars: vars}); s.Error != "" || !*s.Pass {
			t.Errorf("%+v", s)
		}
	}
	vars["q"].(map[string]any)["options"] = `["x", "7"]` // as CSV files hold lists
	if d, err := c.Demand(vars); err != nil || len(d.Continuations) != 2 {
		t.Errorf("demands %+v, %v", d, err)
	}
	for _, bad := range []map[string]any{nil, {"q": map[string]any{"options": "x,7"}}, {"q": map[string]any{"options": []any{"x", "y"}}}, {"q": map[string]any{"options": []any{"x", "y"}}, "gold": "z"}} {
		if d, err := c.Demand(bad); err == nil {
			t.Errorf("%v demands %+v", bad, d)
		}
		r := choiceLikelihoods(": x", -3.0)
		if s := c.Score(t.Context(), &Input{Response: &r, Vars: bad}); s.Error == "" || s.Pass != nil {
			t.Errorf("%v: %+v", bad, s)
		}
	}
}

// A set demands what its parts do, each text once.
func TestDemandOfASet(t *testing.T) {
	mc := config.Assertion{Type: "multiple-choice", Value: int64(0), Config: config.Object{Map: map[string]any{"choices": []any{"a", "b"}}}}
	c := compile(t, config.Assertion{Type: "assert-set", Assert: []config.Assertion{mc, mc, configured("perplexity", new(9.0), map[string]any{"of": "prompt"})}})
	d, err := c.Demand(nil)
	if err != nil || !reflect.DeepEqual(d, Demand{Continuations: []string{" a", " b"}, PromptLogprobs: true}) {
		t.Errorf("%+v, %v", d, err)
	}
}

// Where likelihoods came in place of an answer, nothing judges the answer that is not there.
func TestNoAnswerIsJudged(t *testing.T) {
	r := choiceLikelihoods(" a", -1.0)
	r.Usage.Total = 5
	for _, a := range []config.Assertion{{Type: "contains", Value: "a", Not: true}, {Type: "word-count", Value: map[string]any{"max": int64(3)}}, configured("perplexity", nil, nil)} {
		if s := scoreWith(t, a, &Input{Response: &r}); s.Pass != nil || !strings.Contains(s.Error, "test of its own") {
			t.Errorf("%s: %+v", a.Type, s)
		}
	}
	if s := scoreWith(t, configured("tokens", new(9.0), nil), &Input{Response: &r}); s.Pass == nil || !*s.Pass {
		t.Errorf("tokens: %+v", s)
	}
	empty := record.Response{Likelihoods: r.Likelihoods, FinishReason: "stop"}
	if s := scoreWith(t, config.Assertion{Type: "contains", Value: "a"}, &Input{Response: &empty}); s.Error != "" {
		t.Errorf("an empty answer: %+v", s)
	}
}
