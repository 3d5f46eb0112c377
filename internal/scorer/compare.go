package scorer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// comparisonKinds judge the answers to one case together: those of all its providers and prompts.
func comparisonKinds() []Kind {
	return []Kind{
		{Name: "select-best", Version: "1", Value: Required, Judged: true, Build: buildSelectBest,
			Summary: "of all answers to the case, by all its providers and prompts, a judge takes this one for the best by the criterion in value"},
		{Name: "max-score", Version: "1", Value: Optional, Build: withoutConfig(buildMaxScore),
			Summary: "of all answers to the case, by all its providers and prompts, this one has the highest mean or sum of its other scores"},
	}
}

// Rival is one of the answers that are compared: what was answered, and its scores by the other assertions.
type Rival struct {
	Input  *Input
	Scores []record.Score
}

// comparer is a Scorer that sees all answers at once. There are at least two; the results are in their
// order, and what judging took is in the first, also with an error.
type comparer interface {
	Scorer
	compare(ctx context.Context, rivals []Rival) ([]Result, error)
}

// errAlone is what a comparison says of a single answer.
var errAlone = errors.New("the answers to the case have not been compared")

// Compares says that the assertion judges all answers to a case together: by Compare instead of Score.
func (a *Assertion) Compares() bool {
	_, ok := a.scorer.(comparer)
	return ok
}

// NeedsScores says that the assertion compares what other assertions gave.
func (a *Assertion) NeedsScores() bool {
	_, ok := a.scorer.(*maxScore)
	return ok
}

// Compare judges all answers to a case, and returns a score for each. It never panics; whatever keeps it
// from judging becomes the Error of every score. What judging took stands in the first.
func (a *Assertion) Compare(ctx context.Context, rivals []Rival) []record.Score {
	c, ok := a.scorer.(comparer)
	results, err := []Result(nil), errAlone
	rivals, subjectErr := a.subjects(ctx, rivals)
	switch {
	case subjectErr != nil:
		err = subjectErr
	case ok && len(rivals) < 2:
		err = errors.New("there is one answer only, and nothing to compare it with")
	case ok:
		results, err = guardCompare(ctx, c, rivals)
	}
	out := make([]record.Score, len(rivals))
	for i := range out {
		fixed := Func(func(context.Context, *Input) (Result, error) {
			if err != nil && i < len(results) {
				return results[i], err
			}
			if err != nil {
				return Result{}, err
			}
			return results[i], nil
		})
		one := *a
		one.scorer, one.transform, one.context = fixed, nil, nil
		out[i] = one.Score(ctx, rivals[i].Input)
	}
	return out
}

// subjects are the rivals as the assertion's own transforms have them.
func (a *Assertion) subjects(ctx context.Context, rivals []Rival) ([]Rival, error) {
	out := slices.Clone(rivals)
	for i := range out {
		in, err := a.subject(ctx, out[i].Input)
		if err != nil {
			return rivals, err
		}
		out[i].Input = in
	}
	return out, nil
}

func guardCompare(ctx context.Context, c comparer, rivals []Rival) (results []Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			results, err = nil, fmt.Errorf("the comparison failed: %v", p)
		}
	}()
	results, err = c.compare(ctx, rivals)
	if err == nil && len(results) != len(rivals) {
		return nil, fmt.Errorf("%d results for %d answers", len(results), len(rivals))
	}
	return results, err
}

// selectBest asks a judge which of the answers is the best.
type selectBest struct {
	*judgeScorer
	criterion string
	prompt    *judgePrompt
}

func buildSelectBest(s Spec) (Scorer, error) {
	criterion, isText := s.Value.(string)
	prompts, err := promptsOf(s, step{file: "select-best"})
	if err != nil {
		return nil, err
	}
	j, err := newJudge(s, s.Config.Reader(), prompts)
	if err != nil {
		return nil, err
	}
	if !isText || strings.TrimSpace(criterion) == "" {
		return nil, badValue(s, "there is no criterion", "a text: what the best answer is like")
	}
	alone := &judgeScorer{judge: j, form: shape{judges: true}, score: func(context.Context, *judgement) error { return errAlone }}
	return &selectBest{judgeScorer: alone, criterion: criterion, prompt: prompts[0]}, nil
}

type bestDetail struct {
	Best   int    `json:"best"` // among the answers in the order of the plan, from 0
	Of     int    `json:"of"`
	Reason string `json:"reason,omitempty"`
}

func (b *selectBest) compare(ctx context.Context, rivals []Rival) ([]Result, error) {
	outputs := make([]any, len(rivals))
	for i, r := range rivals {
		outputs[i] = r.Input.Response.Output
		if !b.prompt.own {
			outputs[i] = material{"answer", r.Input.Response.Output}.fenced()
		}
	}
	j := &judgement{judge: b.judge, in: rivals[0].Input}
	d := bestDetail{Of: len(rivals)}
	err := j.ask(ctx, b.prompt, map[string]any{"criteria": material{"criterion", b.criterion}, "outputs": outputs}, func(resp *record.Response) (err error) {
		d.Best, d.Reason, err = b.read(resp.Output, len(rivals))
		return err
	})
	out := make([]Result, len(rivals))
	out[0] = j.res
	if err != nil {
		return out, err
	}
	d.Reason = config.Clip(d.Reason, maxReason)
	for i := range out {
		pass := i == d.Best
		out[i].Value, out[i].Pass, out[i].Detail = 0, &pass, d
		if pass {
			out[i].Value = 1
		}
		out[i].Reason = fmt.Sprintf("the judge takes answer %d of %d for the best, and this is answer %d", d.Best+1, len(rivals), i+1)
		if d.Reason != "" {
			out[i].Reason += ": " + d.Reason
		}
	}
	return out, nil
}

var wholeNumber = regexp.MustCompile(`\d+`)

// read finds the number of the best answer: best of a JSON object, or an answer that is a number. A
// suite's own prompt may be answered in words, of which the first number counts, as in promptfoo.
func (b *selectBest) read(answer string, n int) (best int, reason string, err error) {
	v, err := judgeVerdict(answer)
	if err == nil && v.has("best") {
		f, err := v.whole("best", 0, float64(n-1))
		if err != nil {
			return 0, "", err
		}
		reason, err = v.reason()
		return int(f), reason, err
	}
	digits := strings.TrimSpace(answer)
	if b.prompt.own {
		digits = wholeNumber.FindString(answer)
	}
	best, convErr := strconv.Atoi(digits)
	if convErr != nil || best < 0 || best >= n {
		return 0, "", fmt.Errorf("%s names none of the answers 0 to %d", quote(answer), n-1)
	}
	return best, "", nil
}

// maxScore compares what the other assertions of the case gave.
type maxScore struct {
	sum       bool
	weights   map[string]float64 // by type as written; 1 where nothing is given
	threshold *float64
}

func buildMaxScore(s Spec) (Scorer, error) {
	m := &maxScore{weights: map[string]float64{}}
	if s.Value == nil {
		return m, nil
	}
	given, ok := s.Value.(map[string]any)
	if !ok {
		return nil, badValue(s, "not a mapping", "method (average or sum), weights by type of assertion, and threshold")
	}
	r := config.Object{Pos: s.ValuePos, Map: given}.Reader()
	switch method := r.String("method", "average"); method {
	case "average", "sum":
		m.sum = method == "sum"
	default:
		r.Fail("method", "no such method", "average or sum")
	}
	m.threshold = r.Float("threshold")
	weights, isMap := r.Any("weights").(map[string]any)
	if !isMap && r.Has("weights") {
		r.Fail("weights", "not a mapping", "a weight for each of some types of assertion")
	}
	for name, v := range weights {
		w, ok := number(v)
		if !ok || !(w >= 0) {
			r.Fail("weights", fmt.Sprintf("the weight of %s is no number from 0", name), "numbers from 0")
			continue
		}
		m.weights[name] = w
	}
	return m, r.Finish()
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func (m *maxScore) Score(context.Context, *Input) (Result, error) { return Result{}, errAlone }

func (m *maxScore) compare(_ context.Context, rivals []Rival) ([]Result, error) {
	totals := make([]float64, len(rivals))
	for i, r := range rivals {
		var err error
		if totals[i], err = m.total(r.Scores); err != nil {
			return nil, fmt.Errorf("answer %d of %d: %w", i+1, len(rivals), err)
		}
	}
	highest := slices.Max(totals)
	best := slices.Index(totals, highest) // the first of several
	out := make([]Result, len(rivals))
	for i := range out {
		enough := m.threshold == nil || highest >= *m.threshold
		pass := i == best && enough
		out[i] = Result{Pass: &pass, Detail: map[string]any{"total": totals[i], "highest": highest}}
		switch {
		case pass:
			out[i].Value = 1
			out[i].Reason = fmt.Sprintf("the highest score of the answers is this one's, %.4g", highest)
		case !enough:
			out[i].Reason = fmt.Sprintf("the highest score of the answers is %.4g, below %g", highest, *m.threshold)
		default:
			out[i].Reason = fmt.Sprintf("the score is %.4g, and the highest of the answers, that of answer %d of %d, is %.4g", totals[i], best+1, len(rivals), highest)
		}
	}
	return out, nil
}

// total is the weighted mean, or sum, of the judged scores.
func (m *maxScore) total(scores []record.Score) (float64, error) {
	var sum, weights float64
	judged := false
	for i := range scores {
		s := &scores[i]
		if s.Error != "" {
			return 0, fmt.Errorf("%s could not judge: %s", s.Type, s.Error)
		}
		if s.Pass == nil || s.Value == nil {
			continue
		}
		w, given := m.weights[s.Type]
		if !given {
			w = 1
		}
		judged = true
		sum += w * share(s)
		weights += w
	}
	switch {
	case !judged:
		return 0, errors.New("no other assertion judges it")
	case m.sum:
		return sum, nil
	case weights == 0:
		return 0, nil
	}
	return sum / weights, nil
}
