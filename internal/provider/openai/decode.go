package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

// completion is an answer, whole or one event of a stream: a whole one has messages, an event has deltas.
type completion struct {
	Model             string         `json:"model"`
	SystemFingerprint string         `json:"system_fingerprint"`
	Choices           []choice       `json:"choices"`
	Usage             *usage         `json:"usage"`
	Error             *wire.APIError `json:"error"`
}

type choice struct {
	Index        int       `json:"index"`
	Message      message   `json:"message"`
	Delta        message   `json:"delta"`
	FinishReason string    `json:"finish_reason"`
	Logprobs     *logprobs `json:"logprobs"`
	// Error is how OpenRouter reports that the model behind it failed in mid-answer.
	Error *wire.APIError `json:"error"`
}

// message is what the model said. Reasoning that some servers show beside it is left out.
type message struct {
	Content      content    `json:"content"`
	Refusal      string     `json:"refusal"`
	ToolCalls    []toolCall `json:"tool_calls"`
	FunctionCall *function  `json:"function_call"` // the form before tools
}

// content is text; null and absent are the empty text. Some servers write a list of parts.
type content string

// UnmarshalJSON takes a string, null, or a list of text parts.
func (c *content) UnmarshalJSON(b []byte) error {
	if n := len(b); n >= 2 && b[0] == '"' && bytes.IndexByte(b, '\\') < 0 && utf8.Valid(b) {
		*c = content(b[1 : n-1]) // nothing to decode
		return nil
	}
	if len(b) == 0 || b[0] != '[' {
		return json.Unmarshal(b, (*string)(c))
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		if p.Type == "text" || p.Type == "output_text" {
			*c += content(p.Text)
		}
	}
	return nil
}

// toolCall is one call the model wants made. In a stream it arrives in pieces under its index.
type toolCall struct {
	Index    *int            `json:"index,omitempty"`
	ID       string          `json:"id,omitempty"`
	Type     string          `json:"type,omitempty"`
	Function *function       `json:"function,omitempty"`
	Custom   json.RawMessage `json:"custom,omitempty"`
}

type function struct {
	Name      string    `json:"name"`
	Arguments arguments `json:"arguments"`
}

// arguments are the JSON text of a call's arguments. Some servers write the object itself.
type arguments string

// UnmarshalJSON takes the text, or any other value as compact JSON.
func (a *arguments) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	s, err := provider.Text(b)
	*a = arguments(s)
	return err
}

type logprobs struct {
	Content []tokenLogprob `json:"content"`
}

type tokenLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Top     []struct {
		Token   string  `json:"token"`
		Logprob float64 `json:"logprob"`
	} `json:"top_logprobs"`
}

// usage are the token counts, in the places where servers put them.
type usage struct {
	Prompt        int `json:"prompt_tokens"`
	Completion    int `json:"completion_tokens"`
	Total         int `json:"total_tokens"`
	PromptDetails struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	// Cost is OpenRouter's price of the call in US dollars.
	Cost *float64 `json:"cost"`
	// CacheHit is DeepSeek's count of cached prompt tokens.
	CacheHit int `json:"prompt_cache_hit_tokens"`
}

func (u *usage) record() (record.Usage, *record.Failure) {
	out := record.Usage{
		Prompt: u.Prompt, Completion: u.Completion, Total: u.Total,
		Cached: max(u.PromptDetails.Cached, u.CacheHit), Reasoning: u.CompletionDetails.Reasoning,
	}
	if out.Total == 0 {
		out.Total = out.Prompt + out.Completion
	}
	for _, n := range [...]int{u.Prompt, u.Completion, u.Total, out.Cached, out.Reasoning} {
		if n < 0 {
			return record.Usage{}, &record.Failure{Kind: record.Malformed, Message: fmt.Sprintf("the usage counts %d tokens", n)}
		}
	}
	return out, nil
}

// decode reads a whole answer.
func (p *Provider) decode(body []byte) (record.Response, *record.Failure) {
	var c completion
	if err := json.Unmarshal(body, &c); err != nil {
		return record.Response{}, &record.Failure{Kind: record.Malformed, Message: "not a chat completion: " + p.client.Clean(err.Error(), wire.ShownText)}
	}
	if c.Error.Says() {
		return record.Response{}, p.client.APIFailure(c.Error)
	}
	var out record.Response
	if f := p.fill(&out, &c); f != nil {
		return record.Response{}, f
	}
	var first *choice
	for i := range c.Choices {
		if c.Choices[i].Index == 0 {
			first = &c.Choices[i]
			break
		}
	}
	if first == nil {
		return record.Response{}, &record.Failure{Kind: record.Empty, Message: "the answer has no choices"}
	}
	if first.Error.Says() {
		return record.Response{}, p.client.APIFailure(first.Error)
	}
	out.FinishReason = first.FinishReason
	out.Refusal = first.Message.Refusal
	if first.Logprobs != nil {
		out.Logprobs = appendLogprobs(make([]record.TokenLogprob, 0, len(first.Logprobs.Content)), first.Logprobs.Content)
	}
	out.Output = output(&first.Message)
	out.ToolCalls = calls(first.Message.ToolCalls, first.Message.FunctionCall)
	return out, nil
}

// fill takes over what stands beside the choices.
func (p *server) fill(out *record.Response, c *completion) *record.Failure {
	if c.Model != "" {
		out.Model = c.Model
	}
	if c.SystemFingerprint != "" {
		out.Fingerprint = c.SystemFingerprint
	}
	if c.Usage == nil {
		return nil
	}
	u, fail := c.Usage.record()
	if fail != nil {
		return fail
	}
	out.Usage = u
	if cost := c.Usage.Cost; cost != nil && p.flavour.costReported && provider.NotNegative(*cost) {
		out.Cost = cost
	}
	return nil
}

// output is what the model said as text: its words, or else its tool calls as JSON, or else its refusal.
func output(m *message) string {
	switch {
	case m.Content != "":
		return string(m.Content)
	case len(m.ToolCalls) > 0:
		calls := make([]toolCall, len(m.ToolCalls))
		for i, c := range m.ToolCalls {
			c.Index = nil // the place in the list says it
			calls[i] = c
		}
		return wire.JSON(calls)
	case m.FunctionCall != nil:
		return wire.JSON(m.FunctionCall)
	}
	return m.Refusal
}

// calls lists the tool calls of an answer; a call of the form before tools is one of them.
func calls(list []toolCall, old *function) []record.ToolCall {
	var out []record.ToolCall
	for _, c := range list {
		call := record.ToolCall{ID: c.ID}
		switch {
		case c.Function != nil:
			call.Name, call.Arguments = c.Function.Name, string(c.Function.Arguments)
		case len(c.Custom) > 0:
			var custom struct {
				Name  string    `json:"name"`
				Input arguments `json:"input"`
			}
			if json.Unmarshal(c.Custom, &custom) == nil {
				call.Name, call.Arguments = custom.Name, string(custom.Input)
			}
		}
		out = append(out, call)
	}
	if old != nil && len(list) == 0 {
		out = append(out, record.ToolCall{Name: old.Name, Arguments: string(old.Arguments)})
	}
	return out
}

func appendLogprobs(out []record.TokenLogprob, in []tokenLogprob) []record.TokenLogprob {
	for _, t := range in {
		l := record.TokenLogprob{Token: t.Token, Logprob: t.Logprob}
		if len(t.Top) > 0 {
			l.Top = make(map[string]float64, len(t.Top))
			for _, alt := range t.Top {
				l.Top[alt.Token] = alt.Logprob
			}
		}
		out = append(out, l)
	}
	return out
}
