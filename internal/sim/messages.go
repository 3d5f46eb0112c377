package sim

import (
	"github.com/telltale-llm/telltale/internal/record"
)

// messagesRequest is the body of Anthropic's /v1/messages and /v1/messages/count_tokens. A seed
// and a system role among the messages are taken although the API does not know them.
type messagesRequest struct {
	Model       string        `json:"model"`
	System      content       `json:"system"`
	Messages    []wireMessage `json:"messages"`
	MaxTokens   *int          `json:"max_tokens"`
	Stop        stringList    `json:"stop_sequences"`
	Stream      bool          `json:"stream"`
	Temperature *float64      `json:"temperature"`
	Seed        *int64        `json:"seed"`
}

// prompt returns the messages with the system prompt in front.
func (r *messagesRequest) prompt() ([]record.Message, *apiError) {
	if r.System.text != "" || len(r.System.parts) > 0 {
		return messages(r.Messages, record.Message{Role: "system", Content: r.System.text, Parts: r.System.parts})
	}
	return messages(r.Messages)
}

func (r *messagesRequest) query() (Query, *apiError) {
	ms, err := r.prompt()
	if err != nil {
		return Query{}, err
	}
	if r.MaxTokens == nil {
		return Query{}, badRequest("max_tokens", "Field required")
	}
	most, err := limit("max_tokens", r.MaxTokens)
	if err != nil {
		return Query{}, err
	}
	s := sampling{Temperature: r.Temperature, Stop: r.Stop}
	if err := s.check(); err != nil {
		return Query{}, err
	}
	return Query{Model: r.Model, Messages: ms, Seed: r.Seed, Temperature: r.Temperature, MaxTokens: most, Stop: r.Stop}, nil
}

func (c *call) messages() *apiError {
	var r messagesRequest
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
	return c.deliver(as, r.Stream, &message{c: c, a: &as[0]})
}

func (c *call) countTokens() *apiError {
	var r messagesRequest
	if err := decodeBody(c.body, &r); err != nil {
		return err
	}
	ms, err := r.prompt()
	if err != nil {
		return err
	}
	if c.s.m.variant(r.Model) == nil {
		return c.s.m.unknownModel(r.Model).apiError()
	}
	b := append(make([]byte, 0, 32), `{"input_tokens":`...)
	b = appendInt(b, promptTokens(ms))
	c.write(200, append(b, '}'))
	return nil
}

// message writes the answer of /v1/messages.
type message struct {
	c *call
	a *Answer
}

func (s *message) stopReason() string {
	switch {
	case s.a.StopSequence != "":
		return "stop_sequence"
	case s.a.FinishReason == "length":
		return "max_tokens"
	}
	return "end_turn"
}

func (s *message) head(b []byte) []byte {
	b = append(b, `{"id":"msg_`...)
	b = appendHex(b, s.c.id)
	b = append(b, `","type":"message","role":"assistant","model":`...)
	b = appendString(b, s.a.Model)
	return append(b, `,"content":[`...)
}

func (s *message) usage(b []byte, output int) []byte {
	b = append(b, `{"input_tokens":`...)
	b = appendInt(b, s.a.PromptTokens)
	b = append(b, `,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":`...)
	b = appendInt(b, output)
	return append(b, '}')
}

func (s *message) stop(b []byte) []byte {
	b = append(b, `"stop_reason":`...)
	b = appendString(b, s.stopReason())
	b = append(b, `,"stop_sequence":`...)
	return appendOrNull(b, s.a.StopSequence)
}

func (s *message) whole(b []byte) []byte {
	b = s.head(b)
	if s.a.Text != "" {
		b = append(b, `{"type":"text","text":`...)
		b = appendString(b, s.a.Text)
		b = append(b, '}')
	}
	b = append(b, `],`...)
	b = s.stop(b)
	b = append(b, `,"usage":`...)
	b = s.usage(b, s.a.Tokens)
	return append(b, '}')
}

// event opens an event with its type; the caller appends the rest of the object's fields.
func event(b []byte, name string) []byte {
	b = append(b, "event: "...)
	b = append(b, name...)
	b = append(b, "\ndata: {\"type\":\""...)
	b = append(b, name...)
	return append(b, '"')
}

const endOfEvent = "}\n\n"

func (s *message) start(e *sse) {
	e.buf = append(event(e.buf, "message_start"), `,"message":`...)
	e.buf = s.head(e.buf)
	e.buf = append(e.buf, `],"stop_reason":null,"stop_sequence":null,"usage":`...)
	e.buf = s.usage(e.buf, 1)
	e.buf = append(append(e.buf, '}'), endOfEvent...)
	e.send()
	e.buf = append(event(e.buf, "content_block_start"), `,"index":0,"content_block":{"type":"text","text":""}`+endOfEvent...)
	e.send()
	e.buf = append(event(e.buf, "ping"), endOfEvent...)
	e.send()
}

func (s *message) token(e *sse, _ int, token string) {
	e.buf = append(event(e.buf, "content_block_delta"), `,"index":0,"delta":{"type":"text_delta","text":`...)
	e.buf = appendString(e.buf, token)
	e.buf = append(append(e.buf, '}'), endOfEvent...)
	e.send()
}

func (s *message) finish(e *sse) {
	e.buf = append(event(e.buf, "content_block_stop"), `,"index":0`+endOfEvent...)
	e.send()
	e.buf = append(event(e.buf, "message_delta"), `,"delta":{`...)
	e.buf = s.stop(e.buf)
	e.buf = append(e.buf, `},"usage":{"output_tokens":`...)
	e.buf = appendInt(e.buf, s.a.Tokens)
	e.buf = append(append(e.buf, '}'), endOfEvent...)
	e.send()
	e.buf = append(event(e.buf, "message_stop"), endOfEvent...)
	e.send()
}

func (s *message) fail(e *sse, err *apiError) {
	e.buf = append(e.buf, "event: error\ndata: "...)
	e.buf = err.body(e.buf, anthropic, s.c.requestID())
	e.buf = append(e.buf, "\n\n"...)
	e.send()
}
