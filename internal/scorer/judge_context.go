package scorer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// statement is a piece of an answer or a reference and whether the context supports it.
type statement struct {
	Text      string `json:"statement"`
	Supported bool   `json:"supported"`
	Reason    string `json:"reason,omitempty"`
}

// unsupported lists the statements that lack support, for a reason.
func unsupportedOf(list []statement) string {
	var out []string
	for _, s := range list {
		if !s.Supported {
			out = append(out, "not supported: "+s.Text)
		}
	}
	return strings.Join(out, "; ")
}

func supportedShare(list []statement) float64 {
	n := 0
	for _, s := range list {
		if s.Supported {
			n++
		}
	}
	return float64(n) / float64(len(list))
}

// contextOf returns the pieces of the variable context: the items of a list; the lines of a text that has
// several; else its sentences.
func contextOf(in *Input) ([]string, error) {
	v, given := in.Vars["context"]
	if !given || v == nil {
		return nil, errors.New("the variable context is not given")
	}
	pieces := piecesOf(v)
	if len(pieces) == 0 {
		return nil, errors.New("the variable context is empty")
	}
	return pieces, nil
}

func piecesOf(v any) []string {
	var out []string
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	if list, ok := v.([]any); ok {
		for _, e := range list {
			add(asText(e))
		}
		return out
	}
	if list, ok := v.([]string); ok {
		for _, e := range list {
			add(e)
		}
		return out
	}
	for line := range strings.Lines(asText(v)) {
		add(line)
	}
	if len(out) == 1 {
		whole := out[0]
		out = nil
		for _, s := range sentencesOf(whole) {
			add(s)
		}
	}
	return out
}

// sentencesOf cuts after . ! ? and their like where a space and something other than a small letter
// follow. It is meant for counting pieces of prose, not for linguistics.
func sentencesOf(s string) []string {
	var out []string
	start := 0
	for i, r := range s {
		end := i + utf8.RuneLen(r)
		rest := s[end:]
		next := strings.TrimLeft(rest, `"'”’)]`)
		after := strings.TrimLeft(next, " \t")
		first, _ := utf8.DecodeRuneInString(after)
		switch {
		case strings.ContainsRune("。！？", r):
		case !strings.ContainsRune(".!?", r), after == next, unicode.IsLower(first):
			continue
		}
		cut := end + len(rest) - len(next)
		if cut > start {
			out = append(out, s[start:cut])
			start = cut
		}
	}
	return append(out, s[start:])
}

// numbered writes a list for a judge.
func numbered(list []string) string {
	var b strings.Builder
	for i, s := range list {
		fmt.Fprintf(&b, "%d. %s\n", i+1, s)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// queryOf returns the variable query.
func queryOf(in *Input) (string, error) {
	q, given := in.Vars["query"]
	if !given || strings.TrimSpace(asText(q)) == "" {
		return "", errors.New("the variable query is not given")
	}
	return asText(q), nil
}

// buildContextRecall makes the recall of RAGAS (Es et al. 2023, arXiv:2309.15217): the reference is split
// into statements, and the score is the share of them that the context supports. As in promptfoo the
// prompt stands in for a context that is not given.
func buildContextRecall(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	j, prompts, err := judgeBy(s, r, []step{{file: "context-recall"}})
	if err != nil {
		return nil, err
	}
	truth := asText(s.Value)
	if strings.TrimSpace(truth) == "" {
		return nil, badValue(s, "the reference is empty", "the answer that the context should lead to")
	}
	return &judgeScorer{judge: j, form: gradedShape(), score: func(ctx context.Context, j *judgement) error {
		found := j.in.Prompt
		if v := j.in.Vars["context"]; v != nil {
			pieces, err := contextOf(j.in)
			if err != nil {
				return err
			}
			found = strings.Join(pieces, "\n")
		}
		vars := map[string]any{
			"context": material{"context", found}, "groundTruth": material{"reference", truth}, "rubric": material{"reference", truth},
			"output": material{"answer", j.in.Response.Output},
		}
		var list []statement
		if err := j.ask(ctx, prompts[0], vars, func(resp *record.Response) (err error) {
			list, err = readStatements(resp.Output)
			return err
		}); err != nil {
			return err
		}
		j.reach(supportedShare(list), *s.Threshold, "the share of the reference that the context supports", unsupportedOf(list))
		j.res.Detail = list
		return nil
	}}, nil
}

func readStatements(answer string) ([]statement, error) {
	v, err := judgeVerdict(answer)
	if err != nil {
		return nil, err
	}
	entries, err := v.entries("statements")
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, errors.New("it finds no statement in the reference")
	}
	out := make([]statement, len(entries))
	for i, e := range entries {
		text, _ := e.fields["statement"].(string)
		if strings.TrimSpace(text) == "" {
			return nil, e.wrong("statement", "a text")
		}
		if out[i], err = readSupport(e); err != nil {
			return nil, err
		}
		out[i].Text = config.Clip(text, maxReason)
	}
	return out, nil
}

func readSupport(e *verdictObject) (out statement, err error) {
	if out.Supported, err = e.boolean("supported"); err != nil {
		return out, err
	}
	out.Reason, err = e.reason()
	out.Reason = config.Clip(out.Reason, maxReason)
	return out, err
}

// buildContextFaithfulness makes the faithfulness of RAGAS: the output is split into statements in one
// call, and in another each is held against the context.
func buildContextFaithfulness(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	j, prompts, err := judgeBy(s, r, []step{{"context-faithfulness-statements", "statements"}, {"context-faithfulness", "verify"}})
	if err != nil {
		return nil, err
	}
	return &judgeScorer{judge: j, form: gradedShape(), score: func(ctx context.Context, j *judgement) error {
		pieces, err := contextOf(j.in)
		if err != nil {
			return err
		}
		query, err := queryOf(j.in)
		if err != nil {
			return err
		}
		answer := material{"answer", j.in.Response.Output}
		var claims []string
		if err := j.ask(ctx, prompts[0], map[string]any{"question": material{"question", query}, "answer": answer, "output": answer}, func(resp *record.Response) error {
			v, err := judgeVerdict(resp.Output)
			if err == nil {
				claims, err = v.texts("statements")
			}
			return err
		}); err != nil {
			return err
		}
		if len(claims) == 0 {
			return errors.New("the judge finds no statement in the output, so that there is nothing to be faithful")
		}
		list, err := j.verify(ctx, prompts[1], strings.Join(pieces, "\n"), claims)
		if err != nil {
			return err
		}
		j.reach(supportedShare(list), *s.Threshold, "the share of the output that the context supports", unsupportedOf(list))
		j.res.Detail = list
		return nil
	}}, nil
}

// verify asks of each claim whether the context supports it.
func (j *judgement) verify(ctx context.Context, p *judgePrompt, found string, claims []string) ([]statement, error) {
	vars := map[string]any{
		"context": material{"context", found}, "statements": material{"statements", numbered(claims)}, "count": fmt.Sprint(len(claims)),
		"output": material{"answer", j.in.Response.Output},
	}
	var out []statement
	err := j.ask(ctx, p, vars, func(resp *record.Response) error {
		v, err := judgeVerdict(resp.Output)
		if err != nil {
			return err
		}
		entries, err := v.entries("verdicts")
		if err != nil {
			return err
		}
		if len(entries) != len(claims) {
			return fmt.Errorf("it gives %d verdicts on %d statements", len(entries), len(claims))
		}
		out = make([]statement, len(claims))
		for i, e := range entries {
			if n, err := e.whole("statement", 1, float64(len(claims))); err != nil {
				return err
			} else if int(n) != i+1 {
				return fmt.Errorf("its verdict %d is on statement %g", i+1, n)
			}
			if out[i], err = readSupport(e); err != nil {
				return err
			}
			out[i].Text = config.Clip(claims[i], maxReason)
		}
		return nil
	})
	return out, err
}

type relevanceDetail struct {
	Pieces   int    `json:"pieces"`
	Relevant []int  `json:"relevant"` // numbers of pieces, from 1
	Reason   string `json:"reason,omitempty"`
}

// relevant asks which pieces of the context are of use.
func (j *judgement) relevant(ctx context.Context, p *judgePrompt, extra map[string]any) (relevanceDetail, error) {
	d := relevanceDetail{}
	pieces, err := contextOf(j.in)
	if err != nil {
		return d, err
	}
	query, err := queryOf(j.in)
	if err != nil {
		return d, err
	}
	d.Pieces = len(pieces)
	vars := map[string]any{
		"context": material{"context", numbered(pieces)}, "query": material{"question", query}, "count": fmt.Sprint(len(pieces)),
		"output": material{"answer", j.in.Response.Output},
	}
	for k, v := range extra {
		vars[k] = v
	}
	err = j.ask(ctx, p, vars, func(resp *record.Response) error {
		v, err := judgeVerdict(resp.Output)
		if err != nil {
			return err
		}
		if d.Reason, err = v.reason(); err != nil {
			return err
		}
		d.Reason = config.Clip(d.Reason, maxReason)
		d.Relevant, err = v.numbers("relevant", len(pieces))
		return err
	})
	return d, err
}

// buildContextRelevance makes the share of the context's pieces that help to answer the question.
func buildContextRelevance(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	j, prompts, err := judgeBy(s, r, []step{{file: "context-relevance"}})
	if err != nil {
		return nil, err
	}
	return &judgeScorer{judge: j, form: gradedShape(), score: func(ctx context.Context, j *judgement) error {
		d, err := j.relevant(ctx, prompts[0], nil)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("the share of relevant pieces of the context, %d of %d,", len(d.Relevant), d.Pieces)
		j.reach(float64(len(d.Relevant))/float64(d.Pieces), *s.Threshold, what, d.Reason)
		j.res.Detail = d
		return nil
	}}, nil
}

// buildContextPrecision makes the precision of RAGAS: with the pieces in the order in which they were
// retrieved, the mean of the precision at each useful one, Σ_k (useful in the first k)/k / useful. It is
// 0 when none is useful.
func buildContextPrecision(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	prompts, err := promptsOf(s, step{file: "context-precision"})
	if err != nil {
		return nil, err
	}
	against := "against=output"
	if s.Value != nil {
		against = "against=reference"
	}
	j, err := newJudge(s, r, prompts, against)
	if err != nil {
		return nil, err
	}
	return &judgeScorer{judge: j, form: gradedShape(), score: func(ctx context.Context, j *judgement) error {
		answer := j.in.Response.Output
		if s.Value != nil {
			answer = asText(s.Value)
		}
		d, err := j.relevant(ctx, prompts[0], map[string]any{"answer": material{"answer", answer}})
		if err != nil {
			return err
		}
		j.reach(averagePrecision(d.Relevant), *s.Threshold, fmt.Sprintf("the precision of the context, %d of %d pieces useful,", len(d.Relevant), d.Pieces), d.Reason)
		j.res.Detail = d
		return nil
	}}, nil
}

// averagePrecision is the mean over the useful ranks, sorted and from 1, of the precision up to each.
func averagePrecision(ranks []int) float64 {
	if len(ranks) == 0 {
		return 0
	}
	var sum float64
	for i, rank := range ranks {
		sum += float64(i+1) / float64(rank)
	}
	return sum / float64(len(ranks))
}
