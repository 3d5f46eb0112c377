package scorer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// gevalMax is the best score of G-Eval; the worst is 0.
const gevalMax = 10

// criterion is one thing that G-Eval scores. Steps that the suite does not give are the judge's own:
// they are asked for once, with seed 0, and serve for every answer.
type criterion struct {
	text string

	mu    sync.Mutex
	steps []string
}

type gevalDetail struct {
	Criterion string   `json:"criterion"`
	Steps     []string `json:"steps,omitempty"`
	Score     float64  `json:"score"`              // 0 to 10, as the judge wrote it
	Weighted  *float64 `json:"weighted,omitempty"` // its mean under the judge's own probabilities
	Reason    string   `json:"reason,omitempty"`
}

// buildGEval makes G-Eval (Liu et al. 2023, arXiv:2303.16634): steps that follow from a criterion, a
// score from 0 to 10 by these steps, and on request the mean of the scores under the probabilities that
// the judge gives them. As in promptfoo a list of criteria is averaged.
func buildGEval(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	weighted := r.Bool("weighted", false)
	j, prompts, err := judgeBy(s, r, []step{{"g-eval-steps", "steps"}, {"g-eval", "evaluate"}}, fmt.Sprintf("scale=0..%d", gevalMax))
	if err != nil {
		return nil, err
	}
	criteria, err := criteriaOf(s)
	if err != nil {
		return nil, err
	}
	return &judgeScorer{judge: j, form: gradedShape(), score: func(ctx context.Context, j *judgement) error {
		var details []gevalDetail
		var sum float64
		var why []string
		for _, c := range criteria {
			d, err := j.geval(ctx, c, prompts, weighted)
			if err != nil {
				return err
			}
			score := d.Score
			if d.Weighted != nil {
				score = *d.Weighted
			}
			sum += score / gevalMax
			if d.Reason != "" {
				why = append(why, d.Reason)
			}
			details = append(details, d)
		}
		j.reach(sum/float64(len(criteria)), *s.Threshold, "the judge's score", strings.Join(why, "; "))
		j.res.Detail = details
		return nil
	}}, nil
}

// criteriaOf reads a criterion, a list of them, or {criteria, steps}.
func criteriaOf(s Spec) ([]*criterion, error) {
	const want = "a criterion, a list of criteria, or criteria with steps"
	one := func(v any) (*criterion, error) {
		t, ok := text(v)
		if !ok || strings.TrimSpace(t) == "" {
			return nil, badValue(s, "a criterion that is no text", want)
		}
		return &criterion{text: t}, nil
	}
	switch v := s.Value.(type) {
	case []any:
		if len(v) == 0 {
			return nil, badValue(s, "there is no criterion", want)
		}
		var out []*criterion
		for _, e := range v {
			c, err := one(e)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		return out, nil
	case map[string]any:
		r := config.Object{Pos: s.ValuePos, Map: v}.Reader()
		c := &criterion{text: r.String("criteria", ""), steps: r.Strings("steps")}
		if err := r.Finish(); err != nil {
			return nil, err
		}
		if strings.TrimSpace(c.text) == "" || len(c.steps) == 0 {
			return nil, badValue(s, "criteria and steps must both be given", want)
		}
		return []*criterion{c}, nil
	}
	c, err := one(s.Value)
	return []*criterion{c}, err
}

// geval scores the answer by one criterion.
func (j *judgement) geval(ctx context.Context, c *criterion, prompts []*judgePrompt, weighted bool) (gevalDetail, error) {
	steps, err := j.stepsFor(ctx, c, prompts[0])
	if err != nil {
		return gevalDetail{}, err
	}
	d := gevalDetail{Criterion: c.text, Steps: steps}
	list := strings.Join(steps, "\n- ")
	if !prompts[1].own {
		list = "- " + list
	}
	vars := map[string]any{
		"criteria": material{"criterion", c.text}, "rubric": material{"criterion", c.text}, "steps": material{"steps", list}, "maxScore": strconv.Itoa(gevalMax),
		"input": material{"prompt", j.in.Prompt}, "output": material{"answer", j.in.Response.Output},
	}
	err = j.ask(ctx, prompts[1], vars, func(resp *record.Response) error {
		v, err := judgeVerdict(resp.Output)
		if err != nil {
			return err
		}
		if d.Score, err = v.whole("score", 0, gevalMax); err != nil {
			return err
		}
		if d.Reason, err = v.reason(); err != nil {
			return err
		}
		if weighted {
			mean, err := weightedScore(resp, v)
			if err != nil {
				return err
			}
			d.Weighted = &mean
		}
		d.Reason = config.Clip(d.Reason, maxReason)
		return nil
	})
	return d, err
}

// stepsFor returns the steps of a criterion, and asks for them when there are none yet. A failure is
// not remembered.
func (j *judgement) stepsFor(ctx context.Context, c *criterion, p *judgePrompt) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.steps != nil {
		return c.steps, nil
	}
	var steps []string
	err := j.askSeeded(ctx, 0, p, map[string]any{"criteria": material{"criterion", c.text}, "rubric": material{"criterion", c.text}}, func(resp *record.Response) error {
		v, err := judgeVerdict(resp.Output)
		if err != nil {
			return err
		}
		if steps, err = v.texts("steps"); err == nil && len(steps) == 0 {
			err = errors.New("it proposes no steps")
		}
		return err
	})
	if err == nil {
		c.steps = steps
	}
	return steps, err
}

// weightedScore is Σ p(s)·s over the scores s that the judge considered in the place of the one it
// wrote, their probabilities made to add up to 1. The score must be one token.
func weightedScore(resp *record.Response, v *verdictObject) (float64, error) {
	if len(resp.Logprobs) == 0 {
		return 0, errors.New("it gives no log-probabilities, which config.weighted needs (logprobs and top_logprobs in the judge's own config)")
	}
	at, digits, ok := v.place("score")
	if !ok {
		return 0, errors.New("its score has no place in its answer")
	}
	var all strings.Builder
	for _, t := range resp.Logprobs {
		all.WriteString(t.Token)
	}
	// The provider may have trimmed the answer.
	lead := strings.Index(all.String(), resp.Output)
	if lead < 0 {
		return 0, errors.New("its log-probabilities are those of another text")
	}
	at += lead
	for _, t := range resp.Logprobs {
		if at >= len(t.Token) {
			at -= len(t.Token)
			continue
		}
		if strings.TrimSpace(t.Token) != digits {
			return 0, fmt.Errorf("its score %s is not one token but a part of %s", digits, quote(t.Token))
		}
		return meanScore(t), nil
	}
	return 0, errors.New("its log-probabilities end before its score")
}

// meanScore weighs the scores among a token's alternatives, the token itself among them.
func meanScore(t record.TokenLogprob) float64 {
	var mass, sum float64
	add := func(token string, logprob float64) {
		score, err := strconv.Atoi(strings.TrimSpace(token))
		if err != nil || score < 0 || score > gevalMax || math.IsNaN(logprob) {
			return
		}
		p := math.Exp(logprob)
		mass += p
		sum += p * float64(score)
	}
	add(t.Token, t.Logprob)
	for token, logprob := range t.Top {
		if token != t.Token {
			add(token, logprob)
		}
	}
	return sum / mass
}
