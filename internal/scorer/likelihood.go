package scorer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer/logprob"
)

// likelihoodKinds measure how likely a model finds a text: its own answer, the prompt, or each of
// several given answers.
func likelihoodKinds() []Kind {
	return []Kind{
		{Name: "perplexity", Version: "1", Threshold: Optional, Continuous: true, Unit: "ppl", Build: buildPerplexity,
			Summary: "perplexity of the output or the prompt is at most threshold; the metric is of the whole corpus, exp(-Σll/Σunits)"},
		{Name: "perplexity-score", Version: "1", Threshold: Optional, Continuous: true, Build: buildPerplexityScore,
			Summary: "1/(1+perplexity by token) is at least threshold, as in promptfoo"},
		{Name: "log-likelihood", Version: "1", Threshold: Optional, Continuous: true, Unit: "nats", Build: buildLogLikelihood,
			Summary: "mean log-likelihood of a token of the output or the prompt is at least threshold"},
		{Name: "next-token-accuracy", Version: "1", Threshold: Optional, Continuous: true, Build: buildNextToken,
			Summary: "share of the tokens of the output or the prompt that were the likeliest at their place, or among the top_k likeliest"},
		{Name: "multiple-choice", Version: "1", Value: Optional, ValueIsReference: true, Build: buildChoice,
			Summary: "the likeliest of the choices is the right one; .acc, .acc_norm and .acc_bytes are the accuracies of lm-evaluation-harness"},
	}
}

// source is the text whose tokens are scored.
type source struct{ prompt bool }

// readSource reads config of: output or prompt.
func readSource(r *config.Reader) source {
	switch name := r.String("of", "output"); name {
	case "output":
		return source{}
	case "prompt":
		return source{prompt: true}
	default:
		r.Fail("of", "no such text", "output or prompt")
		return source{}
	}
}

func (s source) String() string {
	if s.prompt {
		return "prompt"
	}
	return "output"
}

// Demand asks for the prompt's log-probabilities where they are what is scored.
func (s source) demand(map[string]any) (Demand, error) { return Demand{PromptLogprobs: s.prompt}, nil }

// readsAnswer says that the prompt can be scored when there is no answer.
func (s source) readsAnswer() bool { return !s.prompt }

// tokens returns the tokens and the text they make.
func (s source) tokens(in *Input) ([]record.TokenLogprob, string, error) {
	if s.prompt {
		if len(in.Response.PromptLogprobs) == 0 {
			return nil, "", errors.New("the provider gave no log-probabilities of the prompt; openai:completion:MODEL asks for them by echo, and recorded reads them with prompt_logprobs: FIELD")
		}
		return in.Response.PromptLogprobs, in.Prompt, nil
	}
	if len(in.Response.Logprobs) == 0 {
		return nil, "", errors.New("the provider gave no log-probabilities of the output; ask for them with logprobs: true in the provider's config (openai:completion: logprobs: 1; recorded: logprobs: FIELD)")
	}
	return in.Response.Logprobs, in.Response.Output, nil
}

func (s source) measure(in *Input) (logprob.Text, error) {
	tokens, text, err := s.tokens(in)
	if err != nil {
		return logprob.Text{}, err
	}
	t, err := logprob.Measure(tokens, text)
	if err != nil {
		return t, fmt.Errorf("the %s: %w", s, err)
	}
	return t, nil
}

// likely judges the tokens of a text. Its source says which text, form what the value is.
type likely struct {
	source
	recipe string
	form   shape
	judge  func(*Input) (Result, error)
}

func (l *likely) Score(_ context.Context, in *Input) (Result, error) { return l.judge(in) }
func (l *likely) convention() string                                 { return l.recipe }
func (l *likely) shape() shape                                       { return l.form }

// limited is measured with an optional threshold.
func limited(s Spec, value float64, meets func(float64) bool, format string, args ...any) Result {
	if s.Threshold == nil {
		return Result{Value: value}
	}
	return measured(value, meets(*s.Threshold), format, args...)
}

// unitOf is the unit in which a perplexity is shown.
func unitOf(u logprob.Unit) string {
	if u == logprob.BitsPerByte {
		return "bits/byte"
	}
	return "ppl"
}

func perplexityFinisher(u logprob.Unit) string { return "perplexity:" + u.String() }

func buildPerplexity(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	of := readSource(r)
	unit, ok := logprob.ParseUnit(r.String("unit", "token"))
	if !ok {
		r.Fail("unit", "no such unit", strings.Join(logprob.Units(), ", "))
	}
	var errs config.Errors
	errs.Append(s.Pos, r.Finish())
	least, name := 1.0, "perplexity by "+unit.String()
	if unit == logprob.BitsPerByte {
		least, name = 0, "bits per byte"
	}
	if t := s.Threshold; t != nil && *t < least {
		errs = append(errs, thresholdBelow(s, shortest(least)))
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	l := &likely{source: of, recipe: fmt.Sprintf("of:%s|unit:%s", of, unit), form: shape{continuous: true, unit: unitOf(unit), judges: s.Threshold != nil}}
	l.judge = func(in *Input) (Result, error) {
		t, err := of.measure(in)
		if err != nil {
			return Result{}, err
		}
		sums := unit.Stats(t)
		v := unit.Value(sums)
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return Result{}, fmt.Errorf("%s of the %s is no number: log-likelihood %g over %v units", name, of, sums[0], sums[1])
		}
		res := limited(s, v, func(most float64) bool { return v <= most }, "%s of the %s is %.6g; the most is %v", name, of, v, deref(s.Threshold))
		res.Detail = map[string]float64{"log_likelihood": t.LL, "tokens": float64(t.Tokens), "units": sums[1]}
		res.Measures = []record.Measure{{Metric: ".", Kind: "corpus/" + perplexityFinisher(unit), Stats: sums, Unit: unitOf(unit)}}
		return res, nil
	}
	return l, nil
}

func deref(f *float64) float64 {
	if f == nil {
		return 0
	}
	return *f
}

func buildPerplexityScore(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	of := readSource(r)
	var errs config.Errors
	errs.Append(s.Pos, r.Finish())
	if t := s.Threshold; t != nil && !(*t > 0 && *t <= 0.5) {
		errs = append(errs, &config.Error{Pos: s.Pos.At("threshold"), Value: shortest(*t), Problem: "scores go from 0 to 0.5, for a perplexity is at least 1", Want: "a threshold above 0, at most 0.5"})
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	l := &likely{source: of, recipe: "of:" + of.String(), form: shape{continuous: true, graded: true, judges: s.Threshold != nil}}
	l.judge = func(in *Input) (Result, error) {
		t, err := of.measure(in)
		if err != nil {
			return Result{}, err
		}
		p := logprob.Token.Value(logprob.Token.Stats(t))
		v := 1 / (1 + p) // of an infinite perplexity 0
		return limited(s, v, func(least float64) bool { return v >= least }, "the perplexity of the %s is %.6g, which scores %.4g; the least is %v", of, p, v, deref(s.Threshold)), nil
	}
	return l, nil
}

func buildLogLikelihood(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	of := readSource(r)
	var errs config.Errors
	errs.Append(s.Pos, r.Finish())
	if t := s.Threshold; t != nil && *t > 0 {
		errs = append(errs, &config.Error{Pos: s.Pos.At("threshold"), Value: shortest(*t), Problem: "no log-likelihood reaches this", Want: "a number of at most 0"})
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	l := &likely{source: of, recipe: "of:" + of.String(), form: shape{continuous: true, unit: "nats", judges: s.Threshold != nil}}
	l.judge = func(in *Input) (Result, error) {
		t, err := of.measure(in)
		if err != nil {
			return Result{}, err
		}
		n := float64(t.Tokens)
		v := t.LL / n
		res := limited(s, v, func(least float64) bool { return v >= least }, "the mean log-likelihood of a token of the %s is %.6g; the least is %v", of, v, deref(s.Threshold))
		res.Measures = []record.Measure{{Metric: ".", Kind: "ratio", Value: t.LL, Weight: n, Unit: "nats"}}
		return res, nil
	}
	return l, nil
}

// maxTopK is more than any provider lists.
const maxTopK = 100

func buildNextToken(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	of, k := readSource(r), readOrder(r, "top_k", 1, 1, maxTopK)
	var errs config.Errors
	errs.Append(s.Pos, r.Finish())
	if t := s.Threshold; t != nil && !(*t > 0 && *t <= 1) {
		errs = append(errs, &config.Error{Pos: s.Pos.At("threshold"), Value: shortest(*t), Problem: "accuracies go from 0 to 1", Want: "a threshold above 0, at most 1"})
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	l := &likely{source: of, recipe: fmt.Sprintf("of:%s|top_k:%d", of, k), form: shape{continuous: true, graded: true, judges: s.Threshold != nil}}
	l.judge = func(in *Input) (Result, error) {
		tokens, _, err := of.tokens(in)
		if err != nil {
			return Result{}, err
		}
		hits := 0
		for i := range tokens {
			within, ok := logprob.Within(tokens[i], k)
			if !ok {
				return Result{}, fmt.Errorf("token %d of the %s, %q, comes with %d alternatives, which do not tell whether it was among the %d likeliest; ask the provider for top_logprobs: %d (openai:completion: logprobs: %d)",
					i+1, of, tokens[i].Token, len(tokens[i].Top), k, k, k)
			}
			if within {
				hits++
			}
		}
		n := float64(len(tokens))
		v := float64(hits) / n
		res := limited(s, v, func(least float64) bool { return v >= least }, "%d of %d tokens of the %s were among the %d likeliest; the least is %v", hits, len(tokens), of, k, deref(s.Threshold))
		res.Measures = []record.Measure{{Metric: ".", Kind: "ratio", Value: float64(hits), Weight: n}}
		return res, nil
	}
	return l, nil
}
