package scorer

import (
	"errors"
	"slices"

	"github.com/telltale-llm/telltale/internal/record"
)

// Demand is what assertions need of a provider besides an answer.
type Demand struct {
	// Continuations are texts whose likelihood after the prompt is needed. A provider gives it
	// instead of an answer.
	Continuations []string
	// PromptLogprobs says that the log-probabilities of the prompt's tokens are needed.
	PromptLogprobs bool
}

// Add joins another demand to d. Texts that both ask for are asked for once.
func (d *Demand) Add(other Demand) {
	for _, t := range other.Continuations {
		if !slices.Contains(d.Continuations, t) {
			d.Continuations = append(d.Continuations, t)
		}
	}
	d.PromptLogprobs = d.PromptLogprobs || other.PromptLogprobs
}

// demanding is a Scorer that needs more than an answer.
type demanding interface {
	demand(vars map[string]any) (Demand, error)
}

// Demand is what judging a case with these variables needs of the provider. The error is about the
// variables.
func (a *Assertion) Demand(vars map[string]any) (Demand, error) {
	var out Demand
	for _, p := range a.Parts() {
		d, err := p.Demand(vars)
		if err != nil {
			return Demand{}, err
		}
		out.Add(d)
	}
	if s, ok := a.scorer.(demanding); ok {
		return s.demand(vars)
	}
	return out, nil
}

// answerless are the kinds that judge what an answer took, which likelihoods take too.
var answerless = map[string]bool{"latency": true, "cost": true, "tokens": true, SetType: true}

// unanswered says why the assertion cannot judge a response that holds likelihoods in place of an
// answer; nil when it can. An answer that is empty has at least a reason why it ended.
func (a *Assertion) unanswered(r *record.Response) error {
	likelihoods := len(r.Likelihoods) > 0 || len(r.PromptLogprobs) > 0
	if !likelihoods || r.Output != "" || r.FinishReason != "" || len(r.ToolCalls) > 0 || answerless[a.kind.Name] {
		return nil
	}
	if s, ok := a.scorer.(interface{ readsAnswer() bool }); ok && !s.readsAnswer() {
		return nil
	}
	return errors.New("there is no answer to judge: the model was asked for the likelihood of given texts instead. Put " + a.typ + " into a test of its own; where the prompt is scored, max_tokens in the provider's config asks for an answer too")
}
