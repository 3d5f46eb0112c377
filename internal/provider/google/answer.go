package google

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genai"

	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

// answer is one answer as far as it has come.
type answer struct {
	p       *Provider
	start   time.Time
	out     record.Response
	text    strings.Builder
	reason  genai.FinishReason
	seen    bool // a candidate has been seen
	blocked string
}

func (a *answer) whole(ctx context.Context, x *wire.Exchange, contents []*genai.Content, settings *genai.GenerateContentConfig) *record.Failure {
	r, err := a.p.models.GenerateContent(ctx, a.p.model, contents, settings)
	switch {
	case err != nil:
		return a.p.failed(ctx, x, err)
	case x.Failure() != nil:
		return x.Failure()
	}
	return a.take(r)
}

func (a *answer) stream(ctx context.Context, x *wire.Exchange, contents []*genai.Content, settings *genai.GenerateContentConfig) *record.Failure {
	for r, err := range a.p.models.GenerateContentStream(ctx, a.p.model, contents, settings) {
		if err != nil {
			return a.p.failed(ctx, x, err)
		}
		if f := a.take(r); f != nil {
			return f
		}
		if a.out.TTFT == 0 && (a.text.Len() > 0 || len(a.out.ToolCalls) > 0) {
			a.out.TTFT = time.Since(a.start)
		}
	}
	switch f := x.Failure(); {
	case f != nil:
		return f
	case !x.Streams():
		return a.p.client.Failed(ctx, x, errors.New("not a stream of events"))
	case a.reason == "" && a.blocked == "" && a.seen:
		return &record.Failure{Kind: record.Cut, Message: a.p.client.HostPort() + " ended the stream without a finish reason"}
	}
	return nil
}

// failed finds what is behind an SDK's error: an error that came with status 200 is one too.
func (p *Provider) failed(ctx context.Context, x *wire.Exchange, err error) *record.Failure {
	if e, ok := errors.AsType[genai.APIError](err); ok && x.Failure() == nil {
		return p.client.APIFailure(&wire.APIError{Message: e.Message, Type: e.Status, Code: strconv.Itoa(e.Code)})
	}
	return p.client.Failed(ctx, x, err)
}

// take adds a whole answer or a piece of one.
func (a *answer) take(r *genai.GenerateContentResponse) *record.Failure {
	if r.ModelVersion != "" {
		a.out.Model = r.ModelVersion
	}
	if u := r.UsageMetadata; u != nil {
		prompt, completion := u.PromptTokenCount+u.ToolUsePromptTokenCount, u.CandidatesTokenCount+u.ThoughtsTokenCount
		if prompt < 0 || completion < 0 || u.CachedContentTokenCount < 0 || u.ThoughtsTokenCount < 0 {
			return &record.Failure{Kind: record.Malformed, Message: "the usage counts a negative number of tokens"}
		}
		a.out.Usage = record.Usage{
			Prompt: int(prompt), Completion: int(completion), Total: int(u.TotalTokenCount),
			Cached: int(u.CachedContentTokenCount), Reasoning: int(u.ThoughtsTokenCount),
		}
		if a.out.Usage.Total == 0 {
			a.out.Usage.Total = int(prompt + completion)
		}
	}
	if f := r.PromptFeedback; f != nil && f.BlockReason != "" {
		a.blocked = strings.TrimSpace(string(f.BlockReason) + " " + f.BlockReasonMessage)
	}
	for _, c := range r.Candidates {
		if c == nil || c.Index != 0 {
			continue
		}
		a.seen = true
		if c.FinishReason != "" {
			a.reason = c.FinishReason
		}
		if c.Content != nil {
			a.parts(c.Content.Parts)
		}
		a.logprobs(c.LogprobsResult)
	}
	return nil
}

func (a *answer) parts(parts []*genai.Part) {
	for _, part := range parts {
		switch {
		case part == nil || part.Thought:
		case part.FunctionCall != nil:
			args := part.FunctionCall.Args
			if args == nil {
				args = map[string]any{}
			}
			a.out.ToolCalls = append(a.out.ToolCalls, record.ToolCall{ID: part.FunctionCall.ID, Name: part.FunctionCall.Name, Arguments: wire.JSON(args)})
		default:
			a.text.WriteString(part.Text)
		}
	}
}

func (a *answer) logprobs(l *genai.LogprobsResult) {
	if l == nil {
		return
	}
	for i, t := range l.ChosenCandidates {
		out := record.TokenLogprob{Token: t.Token, Logprob: float64(t.LogProbability)}
		if i < len(l.TopCandidates) && l.TopCandidates[i] != nil && len(l.TopCandidates[i].Candidates) > 0 {
			out.Top = map[string]float64{}
			for _, alt := range l.TopCandidates[i].Candidates {
				out.Top[alt.Token] = float64(alt.LogProbability)
			}
		}
		a.out.Logprobs = append(a.out.Logprobs, out)
	}
}

// finish makes the answer of what was taken. A prompt that was blocked is an answer that a content
// filter cut off, as with other providers.
func (a *answer) finish() *record.Failure {
	if !a.seen && a.blocked == "" {
		return &record.Failure{Kind: record.Empty, Message: "the answer has no candidates"}
	}
	out := &a.out
	out.Output = a.text.String()
	if out.Output == "" && len(out.ToolCalls) > 0 {
		out.Output = wire.CallsText(out.ToolCalls)
	}
	switch a.reason {
	case genai.FinishReasonStop:
		out.FinishReason = "stop"
		if len(out.ToolCalls) > 0 {
			out.FinishReason = "tool_calls"
		}
	case genai.FinishReasonMaxTokens:
		out.FinishReason = "length"
	case genai.FinishReasonSafety, genai.FinishReasonRecitation, genai.FinishReasonBlocklist, genai.FinishReasonProhibitedContent, genai.FinishReasonSPII:
		out.FinishReason = "content_filter"
		out.Refusal = "the answer was stopped: " + string(a.reason)
	default:
		out.FinishReason = strings.ToLower(string(a.reason))
	}
	if a.blocked != "" {
		out.FinishReason, out.Refusal = "content_filter", "the prompt was blocked: "+a.p.client.Clean(a.blocked, wire.ShownText)
	}
	out.Cost = a.price()
	return nil
}

func (a *answer) price() *float64 {
	if cost, given := a.p.cost.Of(a.out.Usage); given {
		return cost
	}
	for _, model := range []string{a.out.Model, a.p.model} {
		price, ok := a.p.prices.Find(strings.TrimPrefix(model, "models/"))
		if ok && (price.Own || a.p.base.String() == home) {
			return price.Cost(a.out.Usage)
		}
	}
	return nil
}
