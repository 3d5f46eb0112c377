package scorer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// preference is the outcome of a comparison, from the side of the answer that is judged.
type preference int

// The zero value is the one that claims least.
const (
	tie preference = iota
	win
	loss
)

var preferenceNames = [...]string{tie: "tie", win: "win", loss: "loss"}

func (p preference) String() string { return preferenceNames[p] }

// value is what the preference counts.
func (p preference) value() float64 { return [...]float64{tie: 0.5, win: 1, loss: 0}[p] }

// turned is the preference seen from the other side.
func (p preference) turned() preference { return [...]preference{tie: tie, win: loss, loss: win}[p] }

// comparison is the recipe of a pairwise judge.
type comparison struct {
	other    string
	expected *preference
	criteria string
	both     bool
	// labels stand for first, second and tie, when the judge answers with one of them and nothing else.
	labels map[string]preference
	// invalidIsTie says that an answer that is no verdict counts as a tie.
	invalidIsTie bool
	threshold    *float64
	prompt       *judgePrompt
}

type comparisonDetail struct {
	Outcome string `json:"outcome"`
	// Orders holds the outcome with the output first, then with it second.
	Orders  []string `json:"orders"`
	Invalid int      `json:"invalid,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
}

const defaultCriteria = "which answer is more correct, more helpful and closer to what the prompt asks for"

// buildPairwise makes the comparison with another answer. Judges favour a position, so that both orders
// are asked for and outcomes that differ are a tie.
func buildPairwise(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	c := &comparison{criteria: r.String("criteria", defaultCriteria), threshold: s.Threshold}
	switch order := r.String("order", "both"); order {
	case "both", "given":
		c.both = order == "both"
	default:
		r.Fail("order", "no such order", "both, or given to ask only with the output first")
	}
	switch invalid := r.String("invalid", "error"); invalid {
	case "error", "tie":
		c.invalidIsTie = invalid == "tie"
	default:
		r.Fail("invalid", "no such rule", "error, or tie to count an answer that is no verdict as one")
	}
	c.readLabels(r)
	prompts, err := promptsOf(s, step{file: "pairwise"})
	if err != nil {
		return nil, err
	}
	c.prompt = prompts[0]
	// What is expected is data, but that something is expected is a part of the recipe.
	var more []string
	if m, ok := s.Value.(map[string]any); ok && m["expected"] != nil {
		more = append(more, "expected")
	}
	j, err := newJudge(s, r, prompts, more...)
	if err != nil {
		return nil, err
	}
	if err := c.readValue(s); err != nil {
		return nil, err
	}
	form := shape{continuous: true, graded: true, judges: c.threshold != nil || c.expected != nil}
	return &judgeScorer{judge: j, form: form, score: c.score}, nil
}

// readLabels reads {first, second, tie}, each a label or a list of them.
func (c *comparison) readLabels(r *config.Reader) {
	v := r.Any("labels")
	if v == nil {
		return
	}
	m, ok := v.(map[string]any)
	if !ok {
		r.Fail("labels", "not a mapping", "first, second and tie, each a text or a list of texts")
		return
	}
	c.labels = map[string]preference{}
	for key, p := range map[string]preference{"first": win, "second": loss, "tie": tie} {
		list, isList := m[key].([]any)
		if !isList && m[key] != nil {
			list = []any{m[key]}
		}
		if len(list) == 0 && key != "tie" {
			r.Fail("labels", "there is no label for "+key, "first and second at least")
		}
		for _, e := range list {
			label, ok := text(e)
			_, taken := c.labels[label]
			if !ok || taken || label != strings.TrimSpace(label) || label == "" {
				r.Fail("labels", fmt.Sprintf("the label %v of %s cannot be used", e, key), "texts that differ")
				continue
			}
			c.labels[label] = p
		}
	}
	for key := range m {
		if !slices.Contains([]string{"first", "second", "tie"}, key) {
			r.Fail("labels", fmt.Sprintf("there is no %q", key), "first, second and tie")
		}
	}
}

// readValue reads the other answer, or {answer, expected}.
func (c *comparison) readValue(s Spec) error {
	m, ok := s.Value.(map[string]any)
	if !ok {
		c.other = asText(s.Value)
		return nil
	}
	if m["answer"] == nil {
		return badValue(s, "there is no answer to compare with", "a text, or answer and expected")
	}
	r := config.Object{Pos: s.ValuePos, Map: m}.Reader()
	c.other = asText(r.Any("answer"))
	if r.Has("expected") {
		label, _ := text(r.Any("expected"))
		label = strings.TrimSpace(label)
		p, known := c.labels[label]
		if i := slices.Index(preferenceNames[:], label); !known && i >= 0 {
			p, known = preference(i), true
		}
		if !known {
			r.Fail("expected", "no such outcome", "win, tie or loss of the output, or one of config.labels")
		}
		c.expected = &p
	}
	return r.Finish()
}

// score asks for one or both orders.
func (c *comparison) score(ctx context.Context, j *judgement) error {
	own := j.in.Response.Output
	var d comparisonDetail
	outcome, err := c.compare(ctx, j, own, c.other, &d)
	if err != nil {
		return err
	}
	d.Orders = append(d.Orders, outcome.String())
	consistent := true
	if c.both {
		second, err := c.compare(ctx, j, c.other, own, &d)
		if err != nil {
			return err
		}
		second = second.turned()
		d.Orders = append(d.Orders, second.String())
		if consistent = outcome == second; !consistent {
			outcome = tie
		}
	}
	d.Outcome = outcome.String()
	c.conclude(j, outcome, consistent, &d)
	return nil
}

// compare returns the outcome for first.
func (c *comparison) compare(ctx context.Context, j *judgement, first, second string, d *comparisonDetail) (preference, error) {
	vars := map[string]any{
		"criteria": c.criteria, "rubric": c.criteria, "input": material{"prompt", j.in.Prompt},
		"first": material{"first", first}, "second": material{"second", second},
		"output": material{"answer", j.in.Response.Output}, "other": material{"other", c.other},
	}
	var out preference
	reason := ""
	err := j.ask(ctx, c.prompt, vars, func(resp *record.Response) (err error) {
		out, reason, err = c.read(resp.Output)
		return err
	})
	if invalid, ok := errors.AsType[*invalidVerdict](err); ok && c.invalidIsTie {
		d.Invalid++
		d.Reasons = append(d.Reasons, invalid.Error())
		return tie, nil
	}
	if reason != "" {
		d.Reasons = append(d.Reasons, config.Clip(reason, maxReason))
	}
	return out, err
}

func (c *comparison) read(answer string) (p preference, reason string, err error) {
	if c.labels != nil {
		p, ok := c.labels[strings.TrimSpace(answer)]
		if !ok {
			return tie, "", fmt.Errorf("%s is none of config.labels", quote(answer))
		}
		return p, "", nil
	}
	v, err := judgeVerdict(answer)
	if err != nil {
		return tie, "", err
	}
	if reason, err = v.reason(); err != nil {
		return tie, "", err
	}
	better, err := v.word("better", "first", "second", "tie")
	return map[string]preference{"first": win, "second": loss, "tie": tie}[better], reason, err
}

// conclude sets the result.
func (c *comparison) conclude(j *judgement, outcome preference, consistent bool, d *comparisonDetail) {
	rate := func(name string, yes bool) record.Measure {
		m := record.Measure{Metric: name, Kind: "rate"}
		if yes {
			m.Value = 1
		}
		return m
	}
	res := &j.res
	res.Value, res.Detail = outcome.value(), d
	res.Measures = []record.Measure{{Metric: ".", Value: res.Value, Kind: "mean"},
		rate(".win", outcome == win), rate(".tie", outcome == tie), rate(".loss", outcome == loss)}
	if c.both {
		res.Measures = append(res.Measures, rate(".consistent", consistent))
	}
	what := fmt.Sprintf("the judge's outcome is a %v of the output", outcome)
	if !consistent {
		what = fmt.Sprintf("the judge contradicts itself when the order is turned round (%s), which is a tie", strings.Join(d.Orders, ", "))
	}
	if d.Invalid > 0 {
		what += fmt.Sprintf(", with %d of its %d answers no verdict", d.Invalid, len(d.Orders))
	}
	pass := true
	if c.expected != nil {
		agree := outcome == *c.expected
		res.Measures = append(res.Measures, rate(".agree", agree))
		if pass = agree; agree {
			what += ", as expected"
		} else {
			what += fmt.Sprintf(", not a %v as expected", *c.expected)
		}
	}
	if c.threshold != nil {
		if res.Value < *c.threshold {
			pass = false
		}
		what += fmt.Sprintf("; it counts %g, and %g is asked for", res.Value, *c.threshold)
	}
	if c.expected == nil && c.threshold == nil {
		res.Reason = what
		return
	}
	j.outcome(res.Value, pass, what, strings.Join(d.Reasons, "; "))
}
