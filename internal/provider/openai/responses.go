package openai

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

// responses is the dialect of the responses API.
type responses struct {
	head, tail []byte
	seed       wire.Seed
	stream     bool
	text       bool // the suite gives a text format of its own
}

// responses reads the settings that have another shape in this API than in the suite.
func (s *suite) responses(opts *Options) {
	body := map[string]any{}
	// The API has no seed and refuses it; only a suite that asks for one sends it.
	if !s.Has("seed") {
		opts.Seed.Off = true
	}
	if n := s.Any("max_tokens"); n != nil {
		if s.Has("max_output_tokens") {
			s.Reject("max_tokens", "max_tokens is another name for max_output_tokens", "one of them")
		}
		s.Tokens("max_tokens")
		body["max_output_tokens"] = n
	}
	if effort := s.String("reasoning_effort", ""); effort != "" {
		if s.Has("reasoning") {
			s.Reject("reasoning_effort", "reasoning_effort is another name for reasoning.effort", "one of them")
		}
		body["reasoning"] = map[string]any{"effort": effort}
	}
	text := map[string]any{}
	if v := s.String("verbosity", ""); v != "" {
		text["verbosity"] = v
	}
	if format := s.Value("response_format"); format != nil {
		text["format"] = textFormat(format)
	}
	if len(text) > 0 {
		if s.Has("text") {
			s.Reject("text", "the format of the text is given twice", "text, or response_format and verbosity")
		}
		body["text"] = text
	}
	if s.Bool("logprobs", false) || s.Has("top_logprobs") {
		body["include"] = []any{"message.output_text.logprobs"}
		if list := s.Strings("include"); list != nil {
			for _, v := range list {
				body["include"] = append(body["include"].([]any), v)
			}
		}
	}
	opts.Body = body
}

// textFormat turns the response_format of chat completions into the format of this API, in which a
// schema's name and rules stand beside its type.
func textFormat(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var w struct {
		Type   string                     `json:"type"`
		Schema map[string]json.RawMessage `json:"json_schema"`
	}
	if json.Unmarshal(raw, &w) != nil || w.Type != "json_schema" || w.Schema == nil {
		return v
	}
	out := map[string]any{"type": w.Type}
	for k, v := range w.Schema {
		out[k] = v
	}
	return out
}

func newResponses(opts *Options) (*responses, error) {
	r := &responses{seed: opts.Seed, stream: opts.Stream}
	r.head = append(wire.AppendString([]byte(`{"model":`), opts.Model), `,"input":[`...)
	_, r.text = opts.Body["text"]
	var err error
	r.tail, err = staticBody(opts.Body, ownKeys)
	return r, err
}

func (r *responses) encode(req *record.Request) []byte {
	b := append(make([]byte, 0, len(r.head)+len(r.tail)+256), r.head...)
	for i := range req.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendItem(b, &req.Messages[i])
	}
	b = append(append(b, ']'), r.tail...)
	if req.JSON && !r.text {
		b = append(b, `,"text":{"format":{"type":"json_object"}}`...)
	}
	if seed, ok := r.seed.Of(req.Seed); ok {
		b = strconv.AppendInt(append(b, `,"seed":`...), seed, 10)
	}
	if r.stream || req.Stream {
		b = append(b, `,"stream":true`...)
	}
	return append(b, '}')
}

// appendItem writes a message as an item of the input. What the assistant said before is of another
// type than what it is told.
func appendItem(b []byte, m *record.Message) []byte {
	b = append(wire.AppendString(append(b, `{"role":`...), m.Role), `,"content":`...)
	if len(m.Parts) == 0 {
		return append(wire.AppendString(b, m.Content), '}')
	}
	kind := "input_text"
	if m.Role == "assistant" {
		kind = "output_text"
	}
	for i, p := range m.Parts {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		b = append(b, sep)
		if p.ImageURL == "" {
			b = append(append(append(b, `{"type":"`...), kind...), `","text":`...)
			b = append(wire.AppendString(b, p.Text), '}')
			continue
		}
		b = wire.AppendString(append(b, `{"type":"input_image","image_url":`...), p.ImageURL)
		if p.Detail != "" {
			b = wire.AppendString(append(b, `,"detail":`...), p.Detail)
		}
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

func (r *responses) answer(p *Provider) answering { return &responseAnswer{p: p} }

// responseObject is an answer of the responses API.
type responseObject struct {
	Model      string         `json:"model"`
	Status     string         `json:"status"`
	Error      *wire.APIError `json:"error"`
	Incomplete *struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
	Output []outputItem `json:"output"`
	Usage  *struct {
		Input   int `json:"input_tokens"`
		Output  int `json:"output_tokens"`
		Total   int `json:"total_tokens"`
		Details struct {
			Cached int `json:"cached_tokens"`
		} `json:"input_tokens_details"`
		OutputDetails struct {
			Reasoning int `json:"reasoning_tokens"`
		} `json:"output_tokens_details"`
	} `json:"usage"`
}

// outputItem is a message, a function call, or something else that is left out: reasoning, the
// calls of tools that the server runs by itself.
type outputItem struct {
	Type    string `json:"type"`
	Role    string `json:"role"`
	Content []struct {
		Type     string         `json:"type"`
		Text     string         `json:"text"`
		Refusal  string         `json:"refusal"`
		Logprobs []tokenLogprob `json:"logprobs"`
	} `json:"content"`
	CallID    string    `json:"call_id"`
	Name      string    `json:"name"`
	Arguments arguments `json:"arguments"`
	Input     string    `json:"input"` // of a custom tool
}

// responseAnswer is one answer being read.
type responseAnswer struct {
	p      *Provider
	out    record.Response
	object *responseObject
}

func (a *responseAnswer) response() *record.Response { return &a.out }

func (a *responseAnswer) whole(body []byte) *record.Failure {
	var o responseObject
	if err := json.Unmarshal(body, &o); err != nil {
		return &record.Failure{Kind: record.Malformed, Message: "not a response object: " + a.p.client.Clean(err.Error(), wire.ShownText)}
	}
	return a.fill(&o)
}

// fill makes the answer of a finished response object.
func (a *responseAnswer) fill(o *responseObject) *record.Failure {
	if o.Error.Says() {
		return a.p.client.APIFailure(o.Error)
	}
	switch o.Status {
	case "completed", "incomplete", "":
	default:
		return &record.Failure{Kind: record.Server, Message: "the response has the status " + a.p.client.Clean(o.Status, 60)}
	}
	out := &a.out
	out.Model = o.Model
	if u := o.Usage; u != nil {
		counts := usage{Prompt: u.Input, Completion: u.Output, Total: u.Total}
		counts.PromptDetails.Cached, counts.CompletionDetails.Reasoning = u.Details.Cached, u.OutputDetails.Reasoning
		var f *record.Failure
		if out.Usage, f = counts.record(); f != nil {
			return f
		}
	}
	var text, refusal strings.Builder
	var list []toolCall
	for _, item := range o.Output {
		switch item.Type {
		case "function_call":
			list = append(list, toolCall{ID: item.CallID, Type: "function", Function: &function{item.Name, item.Arguments}})
		case "custom_tool_call":
			list = append(list, toolCall{ID: item.CallID, Type: "function", Function: &function{item.Name, arguments(item.Input)}})
		}
		for _, c := range item.Content {
			if item.Type != "message" {
				break // the steps of reasoning have a content too
			}
			text.WriteString(c.Text)
			refusal.WriteString(c.Refusal)
			out.Logprobs = appendLogprobs(out.Logprobs, c.Logprobs)
		}
	}
	incomplete := o.Incomplete != nil && o.Incomplete.Reason != ""
	if len(o.Output) == 0 && !incomplete {
		return &record.Failure{Kind: record.Empty, Message: "the response has no output"}
	}
	out.Refusal = refusal.String()
	out.Output = output(&message{Content: content(text.String()), Refusal: out.Refusal, ToolCalls: list})
	out.ToolCalls = calls(list, nil)
	switch {
	case incomplete && o.Incomplete.Reason == "max_output_tokens":
		out.FinishReason = "length"
	case incomplete:
		out.FinishReason = o.Incomplete.Reason
	case len(list) > 0:
		out.FinishReason = "tool_calls"
	default:
		out.FinishReason = "stop"
	}
	return nil
}

// Event takes in one event of a stream. The last one carries the whole response object, so that
// the pieces only tell when the first token came.
func (a *responseAnswer) Event(name string, data []byte, start time.Time) (wire.Progress, *record.Failure) {
	var e struct {
		Type     string          `json:"type"`
		Response *responseObject `json:"response"`
		Error    *wire.APIError  `json:"error"`
		Message  string          `json:"message"` // of an error event
		Code     string          `json:"code"`
	}
	client := a.p.client
	kind := struct {
		Type string `json:"type"`
	}{}
	if err := json.Unmarshal(data, &kind); err != nil {
		return wire.More, client.BadEvent(name, data, err)
	}
	if strings.HasSuffix(kind.Type, ".delta") {
		if a.out.TTFT == 0 && (kind.Type == "response.output_text.delta" || kind.Type == "response.refusal.delta" || strings.HasSuffix(kind.Type, "_call_arguments.delta")) {
			a.out.TTFT = time.Since(start)
		}
		return wire.More, nil
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return wire.More, client.BadEvent(name, data, err)
	}
	switch {
	case e.Error.Says():
		return wire.More, client.APIFailure(e.Error)
	case e.Type == "error" || name == "error":
		return wire.More, client.APIFailure(&wire.APIError{Message: e.Message, Code: e.Code})
	}
	switch e.Type {
	case "response.completed", "response.incomplete", "response.failed", "response.cancelled":
		if e.Response == nil {
			return wire.More, &record.Failure{Kind: record.Malformed, Message: "the last event of the stream has no response: " + client.Excerpt(data)}
		}
		a.object = e.Response
		return wire.Last, nil
	}
	return wire.More, nil
}

// Finish makes the answer of the last event.
func (a *responseAnswer) Finish() *record.Failure {
	if a.object == nil {
		return &record.Failure{Kind: record.Empty, Message: "the stream has no response"}
	}
	return a.fill(a.object)
}
