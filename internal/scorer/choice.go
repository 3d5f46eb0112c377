package scorer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer/logprob"
)

// choiceScorer takes the likeliest of several answers, as lm-evaluation-harness does in tasks whose
// output_type is multiple_choice.
type choiceScorer struct {
	by logprob.Choice
	// delimiter stands between the prompt and a choice; it is no part of the choice's length.
	delimiter string
	// texts are the choices, or nil where the variable at path holds them.
	texts []string
	path  []string
	// gold is the value: which choices are right; nil takes the variable gold.
	gold any
}

func buildChoice(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	c := &choiceScorer{delimiter: r.String("delimiter", " "), gold: s.Value}
	by, known := r.String("by", logprob.Acc.String()), false
	for _, m := range logprob.Choices() {
		if m.String() == by {
			c.by, known = m, true
		}
	}
	if !known {
		r.Fail("by", "no such accuracy", "acc, acc_norm or acc_bytes")
	}
	switch v := r.Any("choices").(type) {
	case nil:
		c.path = []string{"choices"}
	case string:
		c.path = strings.Split(v, ".")
	default:
		texts, err := choiceTexts(v)
		if err != nil {
			r.Fail("choices", err.Error(), "a list of at least two different texts, or the name of the variable that holds them")
		}
		c.texts = texts
	}
	if err := r.Finish(); err != nil {
		return nil, err
	}
	if c.texts != nil && c.gold != nil {
		if _, err := goldOf(c.gold, c.texts); err != nil {
			return nil, &config.Error{Pos: s.ValuePos, Value: fmt.Sprint(c.gold), Problem: err.Error(), Want: wantGold}
		}
	}
	return c, nil
}

const wantGold = "the number of the right choice from 0, its letter or its text"

func (c *choiceScorer) convention() string {
	return "lm-eval|delimiter:" + strconv.Quote(c.delimiter)
}

// readsAnswer says that likelihoods are all that is judged.
func (c *choiceScorer) readsAnswer() bool { return false }

// demand asks for the likelihood of each choice, and checks that one of them is the right one.
func (c *choiceScorer) demand(vars map[string]any) (Demand, error) {
	texts, err := c.choices(vars)
	if err != nil {
		return Demand{}, err
	}
	if _, err := c.right(vars, texts); err != nil {
		return Demand{}, err
	}
	d := Demand{Continuations: make([]string, len(texts))}
	for i, t := range texts {
		d.Continuations[i] = c.delimiter + t
	}
	return d, nil
}

// choices returns the choices of a case.
func (c *choiceScorer) choices(vars map[string]any) ([]string, error) {
	if c.texts != nil {
		return c.texts, nil
	}
	var v any = vars
	for _, key := range c.path {
		m, _ := v.(map[string]any)
		var ok bool
		if v, ok = m[key]; !ok {
			return nil, fmt.Errorf("there are no choices: want a variable %q with a list of texts, or config choices", strings.Join(c.path, "."))
		}
	}
	if t, ok := v.(string); ok { // as CSV files hold lists
		var list []any
		if err := json.Unmarshal([]byte(t), &list); err != nil {
			return nil, fmt.Errorf("variable %q is the text %s: want a list of texts (in a suite with options: {disableVarExpansion: true}, or each item becomes a case)", strings.Join(c.path, "."), quote(t))
		}
		v = list
	}
	texts, err := choiceTexts(v)
	if err != nil {
		return nil, fmt.Errorf("variable %q: %w", strings.Join(c.path, "."), err)
	}
	return texts, nil
}

// choiceTexts reads a list of at least two different texts.
func choiceTexts(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok || len(list) < 2 {
		return nil, errors.New("not a list of at least two choices")
	}
	out := make([]string, len(list))
	for i, e := range list {
		t, ok := text(e)
		switch {
		case !ok || t == "":
			return nil, fmt.Errorf("choice %d is not a text", i)
		case slices.Contains(out[:i], t):
			return nil, fmt.Errorf("choice %s is there twice", quote(t))
		}
		out[i] = t
	}
	return out, nil
}

// right returns the numbers of the right choices.
func (c *choiceScorer) right(vars map[string]any, texts []string) ([]int, error) {
	gold := c.gold
	if gold == nil {
		if gold = vars["gold"]; gold == nil {
			return nil, errors.New("which choice is right? want a value, or a variable gold: " + wantGold)
		}
	}
	return goldOf(gold, texts)
}

// goldOf reads which choices are right: one, or a list of which any will do.
func goldOf(gold any, texts []string) ([]int, error) {
	if list, ok := gold.([]any); ok {
		var out []int
		for _, g := range list {
			one, err := goldOf(g, texts)
			if err != nil {
				return nil, err
			}
			out = append(out, one...)
		}
		if len(out) == 0 {
			return nil, errors.New("the list of right choices is empty")
		}
		return out, nil
	}
	at := -1
	if t, ok := gold.(string); ok {
		at = slices.Index(texts, t)
		if n, err := strconv.Atoi(t); at < 0 && err == nil {
			at = n
		}
		if at < 0 && len(t) == 1 {
			at = int(t[0]|0x20) - 'a'
		}
	} else if f, ok := config.Number(gold); ok && f == math.Trunc(f) && math.Abs(f) < math.MaxInt32 {
		at = int(f)
	}
	if at < 0 || at >= len(texts) {
		return nil, fmt.Errorf("%s is none of the %d choices", quote(fmt.Sprint(gold)), len(texts))
	}
	return []int{at}, nil
}

// Score takes the likelihoods of the choices from the response.
func (c *choiceScorer) Score(_ context.Context, in *Input) (Result, error) {
	texts, err := c.choices(in.Vars)
	if err != nil {
		return Result{}, err
	}
	gold, err := c.right(in.Vars, texts)
	if err != nil {
		return Result{}, err
	}
	lls, err := c.likelihoods(in.Response.Likelihoods, texts)
	if err != nil {
		return Result{}, err
	}
	var res Result
	detail := map[string]any{"choices": len(texts), "gold": gold, "log_likelihoods": lls}
	for _, m := range logprob.Choices() {
		at := m.Pick(lls, texts)
		hit := 0.0
		if slices.Contains(gold, at) {
			hit = 1
		}
		detail[m.String()] = at
		res.Measures = append(res.Measures, record.Measure{Metric: "." + m.String(), Kind: "rate", Value: hit})
		if m != c.by {
			continue
		}
		pass := hit == 1
		res.Value, res.Pass = hit, &pass
		res.Reason = fmt.Sprintf("by %s the likeliest choice is %s", m, quote(texts[at]))
		if !pass {
			res.Reason += ", not " + quote(texts[gold[0]])
		}
	}
	res.Measures = append(res.Measures, record.Measure{Metric: ".", Kind: "rate", Value: res.Value})
	res.Detail = detail
	return res, nil
}

// likelihoods finds each choice among those that the provider gave.
func (c *choiceScorer) likelihoods(given []record.Likelihood, texts []string) ([]float64, error) {
	if len(given) == 0 {
		return nil, errors.New("the provider gave no likelihoods of the choices; openai:completion:MODEL asks for them by echo, and recorded reads them with likelihoods: FIELD")
	}
	out := make([]float64, len(texts))
	for i, t := range texts {
		at := slices.IndexFunc(given, func(l record.Likelihood) bool { return l.Text == c.delimiter+t })
		if at < 0 {
			return nil, fmt.Errorf("no likelihood was given of the choice %s", quote(t))
		}
		out[i] = given[at].Logprob
		if math.IsNaN(out[i]) || math.IsInf(out[i], 0) {
			return nil, fmt.Errorf("the log-likelihood of the choice %s is %v", quote(t), out[i])
		}
	}
	return out, nil
}
