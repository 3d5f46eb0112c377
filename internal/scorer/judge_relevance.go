package scorer

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer/vector"
)

// maxQuestions bounds config.questions of answer-relevance.
const maxQuestions = 20

type questionDetail struct {
	Question   string  `json:"question"`
	Similarity float64 `json:"similarity"`
}

// buildAnswerRelevance makes the answer relevancy of RAGAS: the judge writes the questions that the output
// would answer, and the score is the mean cosine between their embeddings and that of the question asked,
// the variable query or else the prompt. Below 0 counts as 0, and so does an output that evades.
func buildAnswerRelevance(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	n := r.Int("questions", 3)
	if n < 1 || n > maxQuestions {
		r.Fail("questions", "out of range", fmt.Sprintf("a whole number from 1 to %d", maxQuestions))
	}
	j, prompts, err := judgeBy(s, r, []step{{file: "answer-relevance"}})
	if err != nil {
		return nil, err
	}
	// An id alone names the judge; the embedder is named by its role, or else is the suite's default.
	var ref any
	pos := s.Pos
	if roles, ok := s.Provider.(map[string]any); ok && roles["embedding"] != nil {
		ref, pos = s.Provider, s.ProviderPos
	}
	if s.Services.Embedder == nil {
		return nil, &config.Error{Pos: s.Pos, Problem: "texts cannot be embedded here"}
	}
	embedder, err := s.Services.Embedder(ref, pos)
	if err != nil {
		return nil, err
	}
	j.recipe += fmt.Sprintf(";embedder=%s;questions=%d", strings.NewReplacer("|", "/", ";", "/").Replace(embedder.Name()), n)
	return &judgeScorer{judge: j, form: gradedShape(), score: func(ctx context.Context, j *judgement) error {
		questions, evasive, err := j.questions(ctx, prompts[0], n)
		if err != nil {
			return err
		}
		if evasive {
			j.outcome(0, 0 >= *s.Threshold, "the output evades the question", "")
			j.res.Detail = map[string]any{"evasive": true, "questions": questions}
			return nil
		}
		vectors, usage, err := embedder.Embed(ctx, append([]string{questionOf(j.in)}, questions...))
		j.tokens(usage)
		if err != nil {
			return fmt.Errorf("the questions could not be embedded: %w", err)
		}
		if len(vectors) != n+1 {
			return fmt.Errorf("the embedder gave %d vectors for %d texts", len(vectors), n+1)
		}
		detail := make([]questionDetail, n)
		var sum float64
		for i, q := range questions {
			cos, err := vector.Cosine.Of(vectors[0], vectors[i+1])
			if err != nil {
				return err
			}
			detail[i] = questionDetail{config.Clip(q, maxReason), cos}
			sum += cos
		}
		j.reach(math.Min(1, math.Max(0, sum/float64(n))), *s.Threshold, "the likeness of the question asked to those that the output answers", "")
		j.res.Detail = detail
		return nil
	}}, nil
}

// questions asks for the questions that the output answers.
func (j *judgement) questions(ctx context.Context, p *judgePrompt, n int) (questions []string, evasive bool, err error) {
	answer := material{"answer", j.in.Response.Output}
	err = j.ask(ctx, p, map[string]any{"output": answer, "answer": answer, "count": fmt.Sprint(n)}, func(resp *record.Response) error {
		v, err := judgeVerdict(resp.Output)
		if err != nil {
			return err
		}
		if evasive, err = v.boolean("evasive"); err != nil {
			return err
		}
		if questions, err = v.texts("questions"); err == nil && len(questions) != n {
			err = fmt.Errorf("it gives %d questions, not %d", len(questions), n)
		}
		return err
	})
	return questions, evasive, err
}
