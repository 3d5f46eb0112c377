package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"

	"github.com/telltale-llm/telltale/internal/record"
)

// Usage is token counts as JSON has them: in telltale's own words, or in those of OpenAI's chat
// API. It is how recorded rows and exec programs give them.
type Usage struct {
	Prompt     int `json:"prompt"`
	Completion int `json:"completion"`
	Total      int `json:"total"`
	Cached     int `json:"cached"`
	Reasoning  int `json:"reasoning"`

	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
	PromptDetails    struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// UnmarshalJSON also takes a plain number, which is the total.
func (u *Usage) UnmarshalJSON(b []byte) error {
	*u = Usage{}
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] != '{' && b[0] != 'n' {
		return json.Unmarshal(b, &u.Total)
	}
	type plain Usage
	return json.Unmarshal(b, (*plain)(u))
}

// Record returns the counts; a missing total is the sum of its parts. Negative counts are an error.
func (u *Usage) Record() (record.Usage, error) {
	if u == nil {
		return record.Usage{}, nil
	}
	out := record.Usage{
		Prompt:     first(u.Prompt, u.PromptTokens),
		Completion: first(u.Completion, u.CompletionTokens),
		Total:      first(u.Total, u.TotalTokens),
		Cached:     first(u.Cached, u.PromptDetails.Cached),
		Reasoning:  first(u.Reasoning, u.CompletionDetails.Reasoning),
	}
	for _, n := range []int{out.Prompt, out.Completion, out.Total, out.Cached, out.Reasoning} {
		if n < 0 {
			return record.Usage{}, fmt.Errorf("usage: %d is not a number of tokens", n)
		}
	}
	if out.Total == 0 {
		out.Total = out.Prompt + out.Completion
	}
	return out, nil
}

func first(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

// Logprobs is a list of tokens with their natural-log probabilities, as a plain list or as the
// "content" of an object. The alternatives of a token are a mapping "top" or a list "top_logprobs".
type Logprobs []record.TokenLogprob

// UnmarshalJSON reads either shape.
func (l *Logprobs) UnmarshalJSON(b []byte) error {
	type token struct {
		Token   *string            `json:"token"`
		Logprob *float64           `json:"logprob"`
		Top     map[string]float64 `json:"top"`
		List    []struct {
			Token   string  `json:"token"`
			Logprob float64 `json:"logprob"`
		} `json:"top_logprobs"`
	}
	var tokens []token
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '{' {
		var wrapped struct {
			Content []token `json:"content"`
		}
		if err := json.Unmarshal(b, &wrapped); err != nil {
			return err
		}
		tokens = wrapped.Content
	} else if err := json.Unmarshal(b, &tokens); err != nil {
		return err
	}
	*l = make(Logprobs, 0, len(tokens))
	for i, t := range tokens {
		if t.Token == nil || t.Logprob == nil {
			return fmt.Errorf("logprobs[%d]: want token and logprob", i)
		}
		if *t.Logprob > 0 {
			return fmt.Errorf("logprobs[%d]: %g is not the logarithm of a probability", i, *t.Logprob)
		}
		out := record.TokenLogprob{Token: *t.Token, Logprob: *t.Logprob, Top: t.Top}
		if len(t.List) > 0 {
			out.Top = make(map[string]float64, len(t.List))
			for _, alt := range t.List {
				out.Top[alt.Token] = alt.Logprob
			}
		}
		*l = append(*l, out)
	}
	return nil
}

// CheckLikelihoods says what is wrong with likelihoods that were written down, or nil.
func CheckLikelihoods(list []record.Likelihood) error {
	for i, l := range list {
		switch {
		case l.Text == "":
			return fmt.Errorf("likelihoods[%d]: want text, logprob and tokens", i)
		case math.IsNaN(l.Logprob) || l.Logprob > 0:
			return fmt.Errorf("likelihoods[%d]: %g is not the logarithm of a probability", i, l.Logprob)
		case l.Tokens < 1:
			return fmt.Errorf("likelihoods[%d]: %d is not a number of tokens", i, l.Tokens)
		}
	}
	return nil
}

// ToolCalls is a list of the calls that a model asks for, in telltale's own shape or in that of
// OpenAI's chat API. Arguments may be their JSON text or the object itself.
type ToolCalls []record.ToolCall

// UnmarshalJSON reads either shape.
func (l *ToolCalls) UnmarshalJSON(b []byte) error {
	type call struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}
	var list []struct {
		call
		ID       string `json:"id"`
		Function *call  `json:"function"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*l = make(ToolCalls, 0, len(list))
	for i, c := range list {
		f := c.call
		if c.Function != nil {
			f = *c.Function
		}
		if f.Name == "" {
			return fmt.Errorf("tool_calls[%d]: want name and arguments", i)
		}
		out := record.ToolCall{ID: c.ID, Name: f.Name}
		if len(f.Arguments) > 0 {
			var err error
			if out.Arguments, err = Text(f.Arguments); err != nil {
				return fmt.Errorf("tool_calls[%d]: %w", i, err)
			}
		}
		*l = append(*l, out)
	}
	return nil
}

// Text is a JSON value as an answer's text: a string as it is, anything else as compact JSON.
func Text(raw []byte) (string, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && raw[0] == '"' {
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return "", err
	}
	return compact.String(), nil
}

// NotNegative says whether v is a finite number of at least 0, as a cost or a time must be.
func NotNegative(v float64) bool { return v >= 0 && !math.IsInf(v, 1) }
