package scorer

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/lmeval/pyjinja"
	"github.com/telltale-llm/telltale/internal/oaieval"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/template"
)

// gradingSpec is a model-graded spec of OpenAI's evals: a prompt that ends in a choice.
type gradingSpec struct {
	roles   []string
	prompt  []*oaieval.Format
	closing string
	choices []string
	scores  map[string]float64
	// least and most are the bounds of the scores.
	least, most float64
	match       string
	fromEnd     bool
	// outputs are the names of answers by those of inputs; each lists one of n answers.
	outputs  map[string]string
	each     *oaieval.Format
	n        int
	args     map[string]any
	metaeval bool
}

// The variables that stand for a whole message of the grader's prompt.
const gradingVar = "grading_message_"

// buildModelGraded makes ModelBasedClassify of OpenAI's evals from what its registry has.
func buildModelGraded(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	g := &gradingSpec{
		closing: r.String("closing", ""), match: r.String("match", "starts_or_endswith"), fromEnd: r.Bool("from_end", true), n: r.Int("n", 1), metaeval: r.Bool("metaeval", false),
		choices: r.Strings("choices"), outputs: r.StringMap("outputs"),
	}
	if len(g.choices) < 1 {
		r.Fail("choices", "no choices", "a list of texts")
	}
	if !slices.Contains([]string{"include", "exact", "endswith", "starts_or_endswith"}, g.match) {
		r.Fail("match", "not a way to compare", "include, exact, endswith or starts_or_endswith")
	}
	if g.outputs == nil {
		g.outputs = map[string]string{"input": "completion"}
	}
	g.readPrompt(r)
	g.readScores(r)
	if v := r.Any("args"); v != nil {
		var ok bool
		if g.args, ok = v.(map[string]any); !ok {
			r.Fail("args", "not a mapping", "a mapping of names to values")
		}
	}
	p := &judgePrompt{name: "prompt", own: true, plain: true, hash: shortHash(s.Config.Map)}
	for i, role := range g.roles {
		t, err := template.Parse("{{" + gradingVar + fmt.Sprint(i) + "}}")
		if err != nil {
			return nil, err
		}
		p.messages = append(p.messages, templateMessage{role, t})
	}
	j, err := newJudge(s, r, []*judgePrompt{p})
	if err != nil {
		return nil, err
	}
	form := shape{continuous: true, graded: g.shares(), judges: g.shares()}
	return &judgeScorer{judge: j, form: form, score: func(ctx context.Context, j *judgement) error { return g.score(ctx, j, p) }}, nil
}

func (g *gradingSpec) readPrompt(r *config.Reader) {
	var list []any
	switch v := r.Any("prompt").(type) {
	case string:
		list = []any{map[string]any{"role": "user", "content": v}}
	case []any:
		list = v
	}
	for _, e := range list {
		m, _ := e.(map[string]any)
		role, isRole := m["role"].(string)
		content, isText := m["content"].(string)
		f, err := oaieval.ParseFormat(content)
		if !isRole || !isText || err != nil {
			list = nil
			break
		}
		g.roles, g.prompt = append(g.roles, role), append(g.prompt, f)
	}
	if len(list) == 0 {
		r.Fail("prompt", "not a prompt", "a text with names in braces, or chat messages")
	}
	if each := r.String("each", ""); each != "" {
		var err error
		if g.each, err = oaieval.ParseFormat(each); err != nil {
			r.Fail("each", err.Error(), "a text with names in braces")
		}
	}
	if g.n > 1 && g.each == nil {
		r.Fail("each", "several answers without a way to list them", `such as "{i}. {output}\n"`)
	}
}

func (g *gradingSpec) readScores(r *config.Reader) {
	v := r.Any("scores")
	if v == nil {
		return
	}
	m, _ := v.(map[string]any)
	g.scores, g.least, g.most = map[string]float64{}, math.Inf(1), math.Inf(-1)
	for _, c := range g.choices {
		f, ok := config.Number(m[c])
		if !ok {
			r.Fail("scores", "there is no score for "+c, "a number for each choice")
		}
		g.scores[c] = f
		g.least, g.most = min(g.least, f), max(g.most, f)
	}
}

// shares says whether the scores go from 0 to 1, so that the best choice is a pass and others are not.
func (g *gradingSpec) shares() bool { return g.scores != nil && g.least == 0 && g.most == 1 }

type gradingDetail struct {
	Choice string `json:"choice"`
	Said   string `json:"said"`
}

// score asks for a choice. One that cannot be read is an error, where evals counts the lowest score.
func (g *gradingSpec) score(ctx context.Context, j *judgement, p *judgePrompt) error {
	vars, err := g.messages(j.in)
	if err != nil {
		return err
	}
	choice, said := "", ""
	if err := j.ask(ctx, p, vars, func(resp *record.Response) error {
		said = resp.Output
		var ok bool
		if choice, ok = g.choice(said); !ok {
			return fmt.Errorf("it names none of %s", quoteAll(g.choices))
		}
		return nil
	}); err != nil {
		return err
	}
	value := g.scores[choice]
	how := fmt.Sprintf("the grader chose %s", quote(choice))
	if g.shares() {
		j.outcome(value, value == g.most, how, said)
	} else {
		j.res.Value, j.res.Reason = value, how
	}
	j.res.Detail = gradingDetail{choice, config.Clip(said, maxReason)}
	if g.scores != nil {
		j.res.Measures = append(j.res.Measures, record.Measure{Metric: ".", Kind: "mean", Value: value})
	}
	for _, c := range g.choices {
		hit := 0.0
		if c == choice {
			hit = 1
		}
		j.res.Measures = append(j.res.Measures, record.Measure{Metric: "." + c, Kind: "rate", Value: hit})
	}
	if g.metaeval {
		want, ok := j.in.Vars["choice"].(string)
		if !ok {
			return fmt.Errorf("the sample has no choice to compare the grader's with")
		}
		hit := 0.0
		if want == choice {
			hit = 1
		}
		j.res.Measures = append(j.res.Measures, record.Measure{Metric: ".metascore", Kind: "rate", Value: hit})
	}
	return nil
}

func quoteAll(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = quote(s)
	}
	return strings.Join(out, ", ")
}

// messages fills the prompt in. Names are those of the sample, of its answers, and of the spec's
// arguments, which win.
func (g *gradingSpec) messages(in *Input) (map[string]any, error) {
	vars := map[string]any{}
	answer, err := g.answer(in.Response)
	if err != nil {
		return nil, err
	}
	for _, out := range g.outputs {
		vars[out] = answer
	}
	for k, v := range in.Vars {
		vars[k] = v
	}
	for name := range g.outputs { // evals doubles the braces of inputs, and the grader sees them so
		text, err := oaieval.Text(vars[name])
		if err != nil {
			return nil, err
		}
		vars[name] = strings.NewReplacer("{", "{{", "}", "}}").Replace(text)
	}
	for k, v := range g.args {
		vars[k] = v
	}
	vars["n"] = fmt.Sprint(g.n)
	out := map[string]any{}
	for i, f := range g.prompt {
		text, err := f.Fill(vars)
		if err != nil {
			return nil, err
		}
		if i == len(g.prompt)-1 {
			text += g.closing
		}
		out[gradingVar+fmt.Sprint(i)] = text
	}
	return out, nil
}

// answer is the answer as the grader sees it, or a list of several.
func (g *gradingSpec) answer(resp *record.Response) (string, error) {
	if g.n <= 1 {
		return resp.Output, nil
	}
	if len(resp.Answers) < g.n {
		return "", fmt.Errorf("the provider gave %d answers of %d; a provider sequence with mode: repeat gives them", max(1, len(resp.Answers)), g.n)
	}
	var b strings.Builder
	for i, a := range resp.Answers[:g.n] {
		text, err := g.each.Fill(map[string]any{
			"i": fmt.Sprint(i + 1), "i_abc": string(rune('a' + i%26)), "i_ABC": string(rune('A' + i%26)), "output": a, "n": fmt.Sprint(g.n),
		})
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return pyjinja.Strip(b.String()), nil
}

// choice finds a choice in what the grader said: in the first line that has one, or in the last one
// when the reasons come before. Punctuation is not looked at.
func (g *gradingSpec) choice(said string) (string, bool) {
	lines := strings.Split(pyjinja.Strip(said), "\n")
	if g.fromEnd {
		slices.Reverse(lines)
	}
	for _, line := range lines {
		line = strings.Map(func(r rune) rune {
			if r < 0x7f && (r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{') {
				return -1
			}
			return r
		}, pyjinja.Strip(line))
		if line == "" {
			continue
		}
		for _, c := range g.choices {
			if g.matches(line, c) {
				return c, true
			}
		}
	}
	return "", false
}

func (g *gradingSpec) matches(line, choice string) bool {
	switch g.match {
	case "include":
		return strings.Contains(choice, line) // in this order in evals
	case "exact":
		return line == choice
	case "endswith":
		return strings.HasSuffix(line, choice)
	}
	return strings.HasPrefix(line, choice) || strings.HasSuffix(line, choice)
}
