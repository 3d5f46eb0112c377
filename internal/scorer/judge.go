package scorer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// judgeKinds are the kinds that ask a model for a verdict.
func judgeKinds() []Kind {
	kinds := []Kind{
		{Name: "llm-rubric", Summary: "a judge finds that the output meets the rubric in value, scored from 0 to 1 or on the scale in config", Version: "1",
			Value: Required, Threshold: Optional, Continuous: true, Build: buildRubric},
		{Name: "g-eval", Summary: "a judge scores the output by a criterion, going through steps; several criteria are averaged", Version: "1",
			Value: Required, Threshold: Optional, Default: new(0.7), Continuous: true, Build: buildGEval},
		{Name: "pairwise", Summary: "a judge compares the output with another answer, in both orders: 1 for a win, 0.5 for a tie, 0 for a loss", Version: "1",
			Value: Required, ValueIsReference: true, Threshold: Optional, Continuous: true, Build: buildPairwise},
		{Name: "factuality", Aliases: []string{"model-graded-factuality"}, Version: "1",
			Summary: "a judge finds the facts in the output consistent with the reference in value, by five categories",
			Value:   Required, ValueIsReference: true, Threshold: Optional, Continuous: true, Build: buildFactuality},
		{Name: "closed-qa", Aliases: []string{"model-graded-closedqa"}, Summary: "a judge finds that the output meets the criterion in value", Version: "1",
			Value: Required, Build: buildClosedQA},
		{Name: "answer-relevance", Version: "1",
			Summary:   "the questions that a judge takes the output for an answer to are close to the one that was asked, by the cosine of their embeddings",
			Threshold: Optional, Default: new(0.7), Continuous: true, Build: buildAnswerRelevance},
		{Name: "context-recall", Version: "1",
			Summary: "the share of the reference's statements that a judge finds supported by the variable context",
			Value:   Required, ValueIsReference: true, Threshold: Optional, Default: new(0.5), Continuous: true, Build: buildContextRecall},
		{Name: "context-relevance", Version: "1", Vars: []string{"query", "context"},
			Summary:   "the share of the pieces of the variable context that a judge finds of help to answer the variable query",
			Threshold: Optional, Default: new(0.5), Continuous: true, Build: buildContextRelevance},
		{Name: "context-precision", Version: "1", Vars: []string{"query", "context"},
			Summary: "how far up in the list context the pieces stand that a judge finds of use for the reference in value, or for the output: mean precision at each",
			Value:   Optional, ValueIsReference: true, Threshold: Optional, Default: new(0.5), Continuous: true, Build: buildContextPrecision},
		{Name: "context-faithfulness", Version: "1", Vars: []string{"query", "context"},
			Summary:   "the share of the output's statements that a judge finds supported by the variable context",
			Threshold: Optional, Default: new(0.5), Continuous: true, Build: buildContextFaithfulness},
		{Name: "model-graded-spec", Version: "1", Continuous: true, Build: buildModelGraded,
			Summary: "a judge chooses by a model-graded spec of OpenAI's evals, as its registry files ask for it (docs/openai-evals.md)"},
	}
	for i := range kinds {
		kinds[i].Judged = true
	}
	return kinds
}

// defaultRetries is how often a judge is asked again after an answer that is no verdict.
const defaultRetries = 2

// maxRetries bounds what one score may cost.
const maxRetries = 10

// judge is a model that is asked for verdicts.
type judge struct {
	model   Model
	retries int
	recipe  string // of the signature
}

// judgeScorer is a Scorer that asks a judge.
type judgeScorer struct {
	judge *judge
	form  shape
	score func(ctx context.Context, j *judgement) error
}

func (s *judgeScorer) shape() shape       { return s.form }
func (s *judgeScorer) convention() string { return s.judge.recipe }

// Score asks for a verdict. What that took is in the result also when there is an error.
func (s *judgeScorer) Score(ctx context.Context, in *Input) (Result, error) {
	j := &judgement{judge: s.judge, in: in}
	err := s.score(ctx, j)
	return j.res, err
}

// gradedShape is the shape of a score from 0 to 1 that always has an outcome.
func gradedShape() shape { return shape{continuous: true, graded: true, judges: true} }

// judgeBy makes the judge of a kind with its prompts, one for each step. more becomes part of the recipe.
func judgeBy(s Spec, r *config.Reader, steps []step, more ...string) (*judge, []*judgePrompt, error) {
	prompts, err := promptsOf(s, steps...)
	if err != nil {
		return nil, nil, err
	}
	j, err := newJudge(s, r, prompts, more...)
	return j, prompts, err
}

// newJudge finds the model and makes a recipe of it, of the prompts and of what else decides a score.
// r must have been asked for everything but retries.
func newJudge(s Spec, r *config.Reader, prompts []*judgePrompt, more ...string) (*judge, error) {
	j := &judge{retries: r.Int("retries", defaultRetries)}
	if j.retries < 0 || j.retries > maxRetries {
		r.Fail("retries", "out of range", fmt.Sprintf("a whole number from 0 to %d", maxRetries))
	}
	if err := r.Finish(); err != nil {
		return nil, err
	}
	var err error
	if j.model, err = openJudge(s.Provider, s.ProviderPos, s.Pos, s.Services); err != nil {
		return nil, err
	}
	snap := j.model.Snapshot()
	snap.Identify()
	parts := []string{"judge=" + strings.NewReplacer("|", "/", ";", "/").Replace(snap.Provider) + "@" + snap.ID}
	for _, p := range prompts {
		parts = append(parts, p.name+"="+p.hash)
	}
	j.recipe = strings.Join(append(parts, more...), ";")
	return j, nil
}

// openJudge finds the model that an assertion names.
func openJudge(ref any, pos, assertion config.Pos, services *Services) (Model, error) {
	if pos == (config.Pos{}) {
		pos = assertion.At("provider")
	}
	_, named, err := config.ProviderOf(ref, "text", pos)
	if err != nil {
		return nil, err
	}
	if !named {
		return nil, &config.Error{Pos: assertion, Problem: "no model is named that judges", Want: "provider: such as openai:chat:gpt-4.1",
			Hint: "it can also stand under options of the test or of defaultTest, for all its assertions; promptfoo takes a model by the keys in the environment, but a score depends on it"}
	}
	if services == nil || services.Model == nil {
		return nil, &config.Error{Pos: pos, Problem: "models cannot be asked here"}
	}
	return services.Model(ref, pos)
}

// CheckJudge opens the judge of an assertion whose templates have not been filled in, so that a mistake
// in it is found once and not in every case. It has nothing to say of other assertions.
func CheckJudge(a *config.Assertion, services *Services) error {
	if k, ok := Lookup(a.Type); !ok || !k.Judged {
		return nil
	}
	ref, pos := a.Provider, a.ProviderPos
	if ref == nil {
		ref, pos = a.Judge.Provider, a.Pos
	}
	_, err := openJudge(ref, pos, a.Pos, services)
	return err
}

// judgement is the judging of one answer.
type judgement struct {
	judge *judge
	in    *Input
	res   Result
	calls int
}

// invalidVerdict says that a judge's answer cannot be used.
type invalidVerdict struct {
	attempts int
	err      error
}

func (e *invalidVerdict) Error() string {
	again := ""
	if e.attempts > 1 {
		again = fmt.Sprintf(" in %d attempts", e.attempts)
	}
	return fmt.Sprintf("the judge gave no valid verdict%s: %v", again, e.err)
}

func (e *invalidVerdict) Unwrap() error { return e.err }

// ask asks until read takes an answer, at most retries times again, with another seed each time. An
// answer that read refuses never counts as an outcome: it ends in an *invalidVerdict.
func (j *judgement) ask(ctx context.Context, p *judgePrompt, vars map[string]any, read func(*record.Response) error) error {
	return j.askSeeded(ctx, j.in.Seed, p, vars, read)
}

func (j *judgement) askSeeded(ctx context.Context, seed int64, p *judgePrompt, vars map[string]any, read func(*record.Response) error) error {
	messages, err := p.render(j.in, vars)
	if err != nil {
		return err
	}
	req := record.Request{
		Messages: messages, Prompt: record.PromptText(messages), Vars: j.in.Vars, Case: j.in.Case, Repeat: j.in.Repeat,
		JSON: p.asksJSON(messages),
	}
	for attempt := 0; ; attempt++ {
		req.Seed = callSeed(seed, j.calls)
		j.calls++
		resp, err := j.judge.model.Complete(ctx, req)
		j.spent(&resp)
		if err == nil {
			err = readable(&resp)
			if err == nil {
				err = read(&resp)
			}
		} else if f, ok := errors.AsType[*record.Failure](err); !ok || f.Kind != record.Empty {
			return fmt.Errorf("the judge did not answer: %w", err)
		}
		if err == nil {
			return nil
		}
		j.res.Judge.Invalid++
		if attempt == j.judge.retries {
			return &invalidVerdict{attempts: attempt + 1, err: err}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// readable refuses an answer that the judge's provider marks as none.
func readable(resp *record.Response) error {
	switch {
	case resp.Refusal != "":
		return fmt.Errorf("it refused: %s", quote(resp.Refusal))
	case strings.TrimSpace(resp.Output) == "":
		return errors.New("its answer is empty")
	}
	return nil
}

// spent adds up what a call took, whether or not it came to something.
func (j *judgement) spent(resp *record.Response) {
	j.res.Judge.Calls++
	used := j.tokens(resp.Usage)
	switch {
	case resp.Cost != nil:
		sum := *resp.Cost
		if j.res.Cost != nil {
			sum += *j.res.Cost
		}
		j.res.Cost = &sum
	case used > 0:
		j.res.Judge.Unpriced++
	}
}

// tokens adds to the usage and returns how many tokens were added.
func (j *judgement) tokens(u record.Usage) int {
	if u.Total == 0 {
		u.Total = u.Prompt + u.Completion
	}
	sum := &j.res.Usage
	sum.Prompt += u.Prompt
	sum.Completion += u.Completion
	sum.Total += u.Total
	sum.Cached += u.Cached
	sum.Reasoning += u.Reasoning
	return u.Total
}

// callSeed is the sample's own seed for its first call, and another one for each that follows: the
// first 31 bits of a SHA-256 over both.
func callSeed(seed int64, call int) int64 {
	if call == 0 {
		return seed
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(seed))
	binary.BigEndian.PutUint64(b[8:], uint64(call))
	h := sha256.Sum256(b[:])
	return int64(binary.BigEndian.Uint32(h[:4]) >> 1)
}

// outcome sets the score and whether it passes. how tells what decides, why is the judge's reason.
func (j *judgement) outcome(value float64, pass bool, how, why string) {
	j.res.Value, j.res.Pass = value, &pass
	j.res.Reason = how
	if why = strings.TrimSpace(why); why != "" {
		j.res.Reason += ": " + config.Clip(why, maxReason)
	}
}

// reach judges by a threshold.
func (j *judgement) reach(value, threshold float64, what, why string) {
	// A mean of shares may miss by rounding what it reaches by arithmetic.
	pass := value >= threshold-1e-12
	how := fmt.Sprintf("%s is %.4g, at least %g", what, value, threshold)
	if !pass {
		how = fmt.Sprintf("%s is %.4g, below %g", what, value, threshold)
	}
	j.outcome(value, pass, how, why)
}

// maxReason bounds the words of a judge that are kept.
const maxReason = 1000
