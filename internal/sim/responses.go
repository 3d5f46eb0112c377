package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// responsesRequest is the body of /v1/responses. A seed and stop sequences are taken although the
// API does not know them.
type responsesRequest struct {
	sampling
	Instructions string          `json:"instructions"`
	Input        json.RawMessage `json:"input"`
	MaxTokens    *int            `json:"max_output_tokens"`
	TopLogprobs  int             `json:"top_logprobs"`
	Include      []string        `json:"include"`
	Text         struct {
		Format *responseFormat `json:"format"`
	} `json:"text"`
}

// prompt reads the input: a string, or a list of items, of which messages and the outputs of
// functions count.
func (r *responsesRequest) prompt() ([]record.Message, *apiError) {
	var lead []record.Message
	if r.Instructions != "" {
		lead = append(lead, record.Message{Role: "system", Content: r.Instructions})
	}
	in := bytes.TrimSpace(r.Input)
	if len(in) > 0 && in[0] == '"' {
		var s string
		if err := json.Unmarshal(in, &s); err != nil {
			return nil, badRequest("input", "%v", err)
		}
		return append(lead, record.Message{Role: "user", Content: s}), nil
	}
	var items []struct {
		wireMessage
		Type   string `json:"type"`
		Output string `json:"output"`
	}
	if err := json.Unmarshal(in, &items); err != nil {
		return nil, badRequest("input", "want a string or a list of items")
	}
	var ms []wireMessage
	for i, item := range items {
		switch {
		case item.Type == "message" || item.Type == "" && item.Role != "":
			ms = append(ms, item.wireMessage)
		case item.Type == "function_call_output":
			ms = append(ms, wireMessage{Role: "tool", Content: content{text: item.Output}})
		case item.Type == "":
			return nil, badRequest(fmt.Sprintf("input[%d]", i), "an item without role and type")
		}
	}
	return messages(ms, lead...)
}

func (r *responsesRequest) query() (Query, *apiError) {
	if err := r.check(); err != nil {
		return Query{}, err
	}
	ms, err := r.prompt()
	if err != nil {
		return Query{}, err
	}
	most, err := limit("max_output_tokens", r.MaxTokens)
	if err != nil {
		return Query{}, err
	}
	format, err := r.Text.Format.format("text.format")
	if err != nil {
		return Query{}, err
	}
	if r.TopLogprobs < 0 || r.TopLogprobs > maxTopLogprobs {
		return Query{}, badRequest("top_logprobs", "%d is out of range; want 0 to %d", r.TopLogprobs, maxTopLogprobs)
	}
	return Query{Model: r.Model, Messages: ms, Seed: r.Seed, Temperature: r.Temperature, MaxTokens: most, Stop: r.Stop, Format: format}, nil
}

func (c *call) responses() *apiError {
	var r responsesRequest
	if err := decodeBody(c.body, &r); err != nil {
		return err
	}
	q, err := r.query()
	if err != nil {
		return err
	}
	as, err := c.draw(&q, 1)
	if err != nil {
		return err
	}
	s := &response{c: c, r: &r, a: &as[0], created: time.Now().Unix()}
	for _, f := range r.Include {
		s.logprobs = s.logprobs || f == "message.output_text.logprobs"
	}
	return c.deliver(as, r.Stream, s)
}

// response writes the answer of /v1/responses.
type response struct {
	c        *call
	r        *responsesRequest
	a        *Answer
	created  int64
	logprobs bool
	sequence int
	prev     string
	alts     []alternative
}

// status is how the answer ended.
func (s *response) status() string {
	if s.a.FinishReason == "length" {
		return "incomplete"
	}
	return "completed"
}

// object appends the response object as it is in the given status. Before it is finished it has no
// output and no usage.
func (s *response) object(b []byte, status string, failed *apiError) []byte {
	b = append(b, `{"id":"resp_`...)
	b = appendHex(b, s.c.id)
	b = append(b, `","object":"response","created_at":`...)
	b = appendInt(b, int(s.created))
	b = append(b, `,"status":"`...)
	b = append(b, status...)
	b = append(b, `","background":false,"error":`...)
	if failed != nil {
		b = append(b, `{"code":"server_error","message":`...)
		b = appendString(b, failed.message)
		b = append(b, '}')
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"incomplete_details":`...)
	if status == "incomplete" {
		b = append(b, `{"reason":"max_output_tokens"}`...)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"instructions":`...)
	b = appendOrNull(b, s.r.Instructions)
	b = append(b, `,"max_output_tokens":`...)
	if s.r.MaxTokens != nil {
		b = appendInt(b, *s.r.MaxTokens)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"model":`...)
	b = appendString(b, s.a.Model)
	b = append(b, `,"output":[`...)
	done := status == "completed" || status == "incomplete"
	if done {
		b = s.item(b, status, s.a.Text)
	}
	b = append(b, `],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"service_tier":"default","store":false,"temperature":`...)
	temperature := 1.0
	if s.r.Temperature != nil {
		temperature = *s.r.Temperature
	}
	b = appendFloat(b, temperature)
	b = append(b, `,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1,"truncation":"disabled","usage":`...)
	if done {
		b = append(b, `{"input_tokens":`...)
		b = appendInt(b, s.a.PromptTokens)
		b = append(b, `,"input_tokens_details":{"cached_tokens":0},"output_tokens":`...)
		b = appendInt(b, s.a.Tokens)
		b = append(b, `,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":`...)
		b = appendInt(b, s.a.PromptTokens+s.a.Tokens)
		b = append(b, '}')
	} else {
		b = append(b, "null"...)
	}
	return append(b, `,"user":null,"metadata":{}}`...)
}

// item appends the output message; text is what it holds so far.
func (s *response) item(b []byte, status, text string) []byte {
	b = append(b, `{"id":"msg_`...)
	b = appendHex(b, s.c.id)
	b = append(b, `","type":"message","status":"`...)
	b = append(b, status...)
	b = append(b, `","role":"assistant","content":[`...)
	if status != "in_progress" {
		b = s.part(b, text)
	}
	return append(b, `]}`...)
}

// part appends the message's text with its log-probabilities.
func (s *response) part(b []byte, text string) []byte {
	b = append(b, `{"type":"output_text","text":`...)
	b = appendString(b, text)
	b = append(b, `,"annotations":[],"logprobs":`...)
	s.prev = ""
	b = s.tokens(b, text)
	return append(b, '}')
}

// tokens appends the list of log-probabilities of text's tokens, empty when not asked for.
func (s *response) tokens(b []byte, text string) []byte {
	b = append(b, '[')
	for first := true; s.logprobs && len(text) > 0; first = false {
		token := text[:nextToken(text)]
		text = text[len(token):]
		if !first {
			b = append(b, ',')
		}
		b, s.alts = appendTokenLogprob(b, s.a, s.prev, token, s.r.TopLogprobs, s.alts)
		s.prev = token
	}
	return append(b, ']')
}

func (s *response) whole(b []byte) []byte { return s.object(b, s.status(), nil) }

// event opens an event with its type and the next sequence number.
func (s *response) event(e *sse, name string) {
	e.buf = append(event(e.buf, name), `,"sequence_number":`...)
	e.buf = appendInt(e.buf, s.sequence)
	s.sequence++
}

// place appends where in the output an event belongs.
func (s *response) place(e *sse) {
	e.buf = append(e.buf, `,"item_id":"msg_`...)
	e.buf = appendHex(e.buf, s.c.id)
	e.buf = append(e.buf, `","output_index":0,"content_index":0`...)
}

func (s *response) end(e *sse) {
	e.buf = append(e.buf, endOfEvent...)
	e.send()
}

// snapshot sends an event that carries the whole response object.
func (s *response) snapshot(e *sse, name, status string, failed *apiError) {
	s.event(e, name)
	e.buf = append(e.buf, `,"response":`...)
	e.buf = s.object(e.buf, status, failed)
	s.end(e)
}

func (s *response) start(e *sse) {
	s.snapshot(e, "response.created", "in_progress", nil)
	s.snapshot(e, "response.in_progress", "in_progress", nil)
	s.event(e, "response.output_item.added")
	e.buf = append(e.buf, `,"output_index":0,"item":`...)
	e.buf = s.item(e.buf, "in_progress", "")
	s.end(e)
	s.event(e, "response.content_part.added")
	s.place(e)
	e.buf = append(e.buf, `,"part":`...)
	e.buf = s.part(e.buf, "")
	s.end(e)
}

func (s *response) token(e *sse, _ int, token string) {
	s.event(e, "response.output_text.delta")
	s.place(e)
	e.buf = append(e.buf, `,"delta":`...)
	e.buf = appendString(e.buf, token)
	e.buf = append(e.buf, `,"logprobs":`...)
	e.buf = s.tokens(e.buf, token)
	s.end(e)
}

func (s *response) finish(e *sse) {
	s.event(e, "response.output_text.done")
	s.place(e)
	e.buf = append(e.buf, `,"text":`...)
	e.buf = appendString(e.buf, s.a.Text)
	e.buf = append(e.buf, `,"logprobs":`...)
	s.prev = ""
	e.buf = s.tokens(e.buf, s.a.Text)
	s.end(e)
	s.event(e, "response.content_part.done")
	s.place(e)
	e.buf = append(e.buf, `,"part":`...)
	e.buf = s.part(e.buf, s.a.Text)
	s.end(e)
	s.event(e, "response.output_item.done")
	e.buf = append(e.buf, `,"output_index":0,"item":`...)
	e.buf = s.item(e.buf, s.status(), s.a.Text)
	s.end(e)
	s.snapshot(e, "response."+s.status(), s.status(), nil)
}

func (s *response) fail(e *sse, err *apiError) { s.snapshot(e, "response.failed", "failed", err) }
