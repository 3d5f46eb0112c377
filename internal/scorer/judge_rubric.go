package scorer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// scale is what a rubric's score means.
type scale struct {
	min, max float64
	labels   map[float64]string
	own      bool // the suite's, not the default of 0 to 1
}

// scaleOf reads {min, max, labels: {1: what it means, …}}.
func scaleOf(r *config.Reader, o config.Object) scale {
	s := scale{max: 1}
	v := r.Any("scale")
	if v == nil {
		return s
	}
	m, ok := v.(map[string]any)
	if !ok {
		r.Fail("scale", "not a mapping", "min, max and labels")
		return s
	}
	s.own = true
	in := config.Object{Pos: o.At("scale"), Map: m}.Reader()
	if min, max := in.Float("min"), in.Float("max"); min != nil && max != nil && *min < *max {
		s.min, s.max = *min, *max
	} else {
		r.Fail("scale", "min and max do not make a scale", "two numbers, min below max")
	}
	labels, _ := in.Any("labels").(map[string]any)
	if labels == nil && in.Has("labels") {
		r.Fail("scale", "labels is not a mapping", "a number and what it means, for each of some scores")
	}
	for k, v := range labels {
		score, err := strconv.ParseFloat(k, 64)
		what, isText := v.(string)
		switch {
		case err != nil || !(score >= s.min && score <= s.max):
			r.Fail("scale", fmt.Sprintf("the label %q is not on the scale", k), fmt.Sprintf("a number from %g to %g", s.min, s.max))
		case score != float64(int64(score)):
			r.Fail("scale", fmt.Sprintf("the label %q is no whole number", k), "whole numbers: a scale with labels has no others")
		case !isText || strings.TrimSpace(what) == "":
			r.Fail("scale", fmt.Sprintf("the label of %s is empty", k), "what the score means")
		default:
			if s.labels == nil {
				s.labels = map[float64]string{}
			}
			s.labels[score] = what
		}
	}
	if err := in.Finish(); err != nil {
		r.Fail("scale", err.Error(), "min, max and labels")
	}
	return s
}

// words tell the judge the scale.
func (s scale) words() string {
	if !s.own {
		return "The score is a number from 0 (the answer does not meet the rubric at all) to 1 (it meets the rubric fully)."
	}
	if s.labels == nil {
		return fmt.Sprintf("The score is a number from %g (the worst) to %g (the best).", s.min, s.max)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "The score is a whole number from %g to %g:", s.min, s.max)
	for _, score := range slices.Sorted(maps.Keys(s.labels)) {
		fmt.Fprintf(&b, "\n%g: %s", score, s.labels[score])
	}
	return b.String()
}

func (s scale) read(v *verdictObject) (float64, error) {
	if s.labels != nil {
		return v.whole("score", s.min, s.max)
	}
	return v.number("score", s.min, s.max)
}

// share brings a score to 0 to 1.
func (s scale) share(score float64) float64 { return (score - s.min) / (s.max - s.min) }

// rubricDetail is what a judge said.
type rubricDetail struct {
	Score  float64 `json:"score"`
	Reason string  `json:"reason,omitempty"`
}

// rubric is a judge's verdict on one.
type rubricVerdict struct {
	score  float64 // on the scale
	pass   *bool
	reason string
}

// buildRubric makes an llm-rubric. As in promptfoo the judge's own pass decides, and with a threshold
// the score must reach it too; unlike there, a verdict that leaves out what decides is an error.
func buildRubric(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	sc := scaleOf(r, s.Config)
	rubric := asText(s.Value)
	j, prompts, err := judgeBy(s, r, []step{{file: "llm-rubric"}}, fmt.Sprintf("scale=%g..%g", sc.min, sc.max))
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(rubric) == "" {
		return nil, badValue(s, "the rubric is empty", "what a good answer is like")
	}
	form := `{"reason": "why", "score": 0, "pass": false}`
	if sc.own && s.Threshold != nil {
		form = `{"reason": "why", "score": 0}`
	}
	return &judgeScorer{judge: j, form: gradedShape(), score: func(ctx context.Context, j *judgement) error {
		vars := map[string]any{
			"rubric": material{"rubric", rubric}, "output": material{"answer", j.in.Response.Output},
			"input": material{"prompt", j.in.Prompt}, "prompt": material{"prompt", j.in.Prompt}, "scale": sc.words(), "form": form,
		}
		var got rubricVerdict
		if err := j.ask(ctx, prompts[0], vars, func(resp *record.Response) (err error) {
			got, err = readRubric(resp.Output, sc, s.Threshold != nil)
			return err
		}); err != nil {
			return err
		}
		share := sc.share(got.score)
		switch {
		case got.pass != nil && !*got.pass:
			j.outcome(share, false, fmt.Sprintf("the judge finds the rubric not met, with %.4g", got.score), got.reason)
		case s.Threshold != nil:
			j.reach(share, *s.Threshold, "the judge's score", got.reason)
		default:
			j.outcome(share, true, fmt.Sprintf("the judge finds the rubric met, with %.4g", got.score), got.reason)
		}
		j.res.Detail = rubricDetail{got.score, config.Clip(got.reason, maxReason)}
		return nil
	}}, nil
}

// readRubric reads reason, score and pass. Without a threshold pass decides and must be there; a score
// that is left out is then the end of the scale that pass stands for. With one, the score must be there.
func readRubric(answer string, sc scale, threshold bool) (out rubricVerdict, err error) {
	v, err := judgeVerdict(answer)
	if err != nil {
		return out, err
	}
	if out.reason, err = v.reason(); err != nil {
		return out, err
	}
	if !threshold || v.has("pass") {
		pass, err := v.boolean("pass")
		if err != nil {
			return out, err
		}
		out.pass = &pass
	}
	if !threshold && !v.has("score") {
		if out.score = sc.min; *out.pass {
			out.score = sc.max
		}
		return out, nil
	}
	out.score, err = sc.read(v)
	return out, err
}

// factualityNames are promptfoo's names for the five categories.
var factualityNames = [...]struct {
	letter, name, means string
	score               float64
}{
	{"A", "subset", "the output says less than the reference and does not contradict it", 1},
	{"B", "superset", "the output says more than the reference and does not contradict it", 1},
	{"C", "agree", "the output says the same as the reference", 1},
	{"D", "disagree", "the output contradicts the reference", 0},
	{"E", "differButFactual", "the output differs from the reference in ways that do not matter for the facts", 1},
}

type categoryDetail struct {
	Category string `json:"category"`
	Reason   string `json:"reason,omitempty"`
}

// buildFactuality makes the check of OpenAI's evals with five categories. As in promptfoo a category
// passes when its score is above 0, or at least the threshold if there is one.
func buildFactuality(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	scores := categoryScores(r)
	j, prompts, err := judgeBy(s, r, []step{{file: "factuality"}})
	if err != nil {
		return nil, err
	}
	reference := asText(s.Value)
	return &judgeScorer{judge: j, form: gradedShape(), score: func(ctx context.Context, j *judgement) error {
		answer := material{"answer", j.in.Response.Output}
		question := material{"question", questionOf(j.in)}
		vars := map[string]any{
			"input": question, "ideal": material{"reference", reference}, "rubric": material{"reference", reference}, "output": answer, "completion": answer,
		}
		category, reason := "", ""
		if err := j.ask(ctx, prompts[0], vars, func(resp *record.Response) (err error) {
			category, reason, err = readCategory(resp.Output)
			return err
		}); err != nil {
			return err
		}
		i := int(category[0] - 'A')
		value := scores[i]
		pass := value > 0
		if s.Threshold != nil {
			pass = value >= *s.Threshold
		}
		j.outcome(value, pass, fmt.Sprintf("%s (%s), which counts %g", factualityNames[i].means, category, value), reason)
		j.res.Detail = categoryDetail{category, config.Clip(reason, maxReason)}
		return nil
	}}, nil
}

func readCategory(answer string) (category, reason string, err error) {
	v, err := judgeVerdict(answer)
	if err != nil {
		return "", "", err
	}
	if reason, err = v.reason(); err != nil {
		return "", "", err
	}
	category, err = v.word("category", "A", "B", "C", "D", "E")
	return category, reason, err
}

// categoryScores reads what each category counts, by its letter or promptfoo's name for it.
func categoryScores(r *config.Reader) [5]float64 {
	var out [5]float64
	for i, c := range factualityNames {
		out[i] = c.score
	}
	v := r.Any("scores")
	if v == nil {
		return out
	}
	m, ok := v.(map[string]any)
	if !ok {
		r.Fail("scores", "not a mapping", "a number from 0 to 1 for each of some categories")
		return out
	}
	keys := slices.Collect(maps.Keys(m))
	sort.Strings(keys)
	var seen [5]bool
	for _, k := range keys {
		i := slices.IndexFunc(factualityNames[:], func(c struct {
			letter, name, means string
			score               float64
		}) bool {
			return k == c.letter || k == c.name
		})
		score, isNumber := config.Number(m[k])
		switch {
		case i < 0:
			r.Fail("scores", fmt.Sprintf("there is no category %q", k), "A to E, or subset, superset, agree, disagree and differButFactual")
		case seen[i]:
			r.Fail("scores", fmt.Sprintf("the category %s is given twice", factualityNames[i].letter), "one score for each")
		case !isNumber || score < 0 || score > 1:
			r.Fail("scores", fmt.Sprintf("the score of %s is %v", k, m[k]), "a number from 0 to 1")
		default:
			out[i], seen[i] = score, true
		}
	}
	return out
}

// buildClosedQA makes the check of a criterion that is met or not.
func buildClosedQA(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	j, prompts, err := judgeBy(s, r, []step{{file: "closed-qa"}})
	if err != nil {
		return nil, err
	}
	criterion := asText(s.Value)
	if strings.TrimSpace(criterion) == "" {
		return nil, badValue(s, "the criterion is empty", "what the answer must do")
	}
	return &judgeScorer{judge: j, form: shape{graded: true, judges: true}, score: func(ctx context.Context, j *judgement) error {
		answer := material{"answer", j.in.Response.Output}
		vars := map[string]any{
			"input": material{"question", j.in.Prompt}, "criteria": material{"criterion", criterion}, "rubric": material{"criterion", criterion},
			"output": answer, "completion": answer,
		}
		pass, reason := false, ""
		if err := j.ask(ctx, prompts[0], vars, func(resp *record.Response) (err error) {
			pass, reason, err = readClosedQA(resp.Output, prompts[0].own)
			return err
		}); err != nil {
			return err
		}
		if pass {
			j.outcome(1, true, "the judge finds the criterion met", reason)
		} else {
			j.outcome(0, false, "the judge finds the criterion not met", reason)
		}
		j.res.Detail = map[string]string{"reason": config.Clip(reason, maxReason)}
		return nil
	}}, nil
}

// readClosedQA reads reason and pass. A suite's own prompt may ask, as those written for promptfoo do,
// for an answer whose last line is Y or N instead.
func readClosedQA(answer string, own bool) (pass bool, reason string, err error) {
	v, err := judgeVerdict(answer)
	if own && errors.Is(err, errNoVerdict) {
		lines := strings.Split(strings.TrimSpace(answer), "\n")
		switch last := strings.TrimSpace(lines[len(lines)-1]); last {
		case "Y", "N":
			return last == "Y", strings.TrimSpace(strings.Join(lines[:len(lines)-1], "\n")), nil
		}
		return false, "", errors.New("its answer holds no JSON object and does not end in a line that is Y or N")
	}
	if err != nil {
		return false, "", err
	}
	if reason, err = v.reason(); err != nil {
		return false, "", err
	}
	pass, err = v.boolean("pass")
	return pass, reason, err
}

// questionOf is what was asked: the variable query, or the whole prompt.
func questionOf(in *Input) string {
	if q, ok := in.Vars["query"].(string); ok && strings.TrimSpace(q) != "" {
		return q
	}
	return in.Prompt
}
