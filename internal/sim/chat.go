package sim

import (
	"math"
	"time"
)

// chatRequest is the body of /v1/chat/completions.
type chatRequest struct {
	sampling
	Messages      []wireMessage   `json:"messages"`
	N             *int            `json:"n"`
	MaxTokens     *int            `json:"max_tokens"`
	MaxCompletion *int            `json:"max_completion_tokens"`
	Logprobs      bool            `json:"logprobs"`
	TopLogprobs   int             `json:"top_logprobs"`
	Format        *responseFormat `json:"response_format"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// query checks the request and turns it into a Query and the number of choices.
func (r *chatRequest) query() (Query, int, *apiError) {
	var q Query
	if err := r.check(); err != nil {
		return q, 0, err
	}
	ms, err := messages(r.Messages)
	if err != nil {
		return q, 0, err
	}
	most, err := limit("max_completion_tokens", r.MaxCompletion, r.MaxTokens)
	if err != nil {
		return q, 0, err
	}
	format, err := r.Format.format("response_format")
	if err != nil {
		return q, 0, err
	}
	n, err := choices(r.N)
	if err != nil {
		return q, 0, err
	}
	if r.TopLogprobs < 0 || r.TopLogprobs > maxTopLogprobs {
		return q, 0, badRequest("top_logprobs", "%d is out of range; want 0 to %d", r.TopLogprobs, maxTopLogprobs)
	}
	if r.TopLogprobs > 0 && !r.Logprobs {
		return q, 0, badRequest("top_logprobs", "top_logprobs needs logprobs to be true")
	}
	q = Query{Model: r.Model, Messages: ms, Seed: r.Seed, Temperature: r.Temperature, MaxTokens: most, Stop: r.Stop, Format: format}
	return q, n, nil
}

func choices(n *int) (int, *apiError) {
	if n == nil {
		return 1, nil
	}
	if *n < 1 || *n > maxChoices {
		return 0, badRequest("n", "%d is out of range; want 1 to %d", *n, maxChoices)
	}
	return *n, nil
}

func (c *call) chat() *apiError {
	var r chatRequest
	if err := decodeBody(c.body, &r); err != nil {
		return err
	}
	q, n, err := r.query()
	if err != nil {
		return err
	}
	as, err := c.draw(&q, n)
	if err != nil {
		return err
	}
	return c.deliver(as, r.Stream, &chat{c: c, r: &r, as: as, created: time.Now().Unix(), prev: make([]string, n)})
}

// chat writes the answers of /v1/chat/completions.
type chat struct {
	c       *call
	r       *chatRequest
	as      []Answer
	created int64
	prev    []string // the last token of each choice
	alts    []alternative
}

// refuses says whether an answer goes into the refusal field: where a schema was asked for, a
// refusal cannot be content.
func (s *chat) refuses(a *Answer) bool {
	return a.Refused && s.r.Format != nil && s.r.Format.Type == "json_schema"
}

func (s *chat) whole(b []byte) []byte {
	b = s.head(b, "chat.completion")
	b = append(b, `"choices":[`...)
	for i := range s.as {
		a := &s.as[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = appendInt(b, i)
		b = append(b, `,"message":{"role":"assistant","content":`...)
		if s.refuses(a) {
			b = append(b, `null,"refusal":`...)
			b = appendString(b, a.Text)
		} else {
			b = appendString(b, a.Text)
			b = append(b, `,"refusal":null`...)
		}
		b = append(b, `,"annotations":[]},"logprobs":`...)
		b = s.logprobs(b, i, a.Text)
		b = append(b, `,"finish_reason":`...)
		b = appendString(b, a.FinishReason)
		b = append(b, '}')
	}
	b = append(b, `],"usage":`...)
	b = usage(b, s.as)
	return append(b, '}')
}

// head opens the object and appends what answers and chunks share.
func (s *chat) head(b []byte, object string) []byte {
	b = append(b, `{"id":"chatcmpl-`...)
	b = appendHex(b, s.c.id)
	b = append(b, `","object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = appendInt(b, int(s.created))
	b = append(b, `,"model":`...)
	b = appendString(b, s.as[0].Model)
	b = append(b, `,"service_tier":"default","system_fingerprint":`...)
	b = appendString(b, s.as[0].Fingerprint)
	return append(b, ',')
}

// logprobs appends the logprobs object for the next tokens of a choice, null when not asked for.
func (s *chat) logprobs(b []byte, choice int, text string) []byte {
	if !s.r.Logprobs {
		return append(b, "null"...)
	}
	a := &s.as[choice]
	field, other := `{"content":[`, `],"refusal":null}`
	if s.refuses(a) {
		field, other = `{"content":null,"refusal":[`, `]}`
	}
	b = append(b, field...)
	for first := true; len(text) > 0; first = false {
		token := text[:nextToken(text)]
		text = text[len(token):]
		if !first {
			b = append(b, ',')
		}
		b, s.alts = appendTokenLogprob(b, a, s.prev[choice], token, s.r.TopLogprobs, s.alts)
		s.prev[choice] = token
	}
	return append(b, other...)
}

// appendTokenLogprob appends one token in the shape of the chat and responses APIs.
func appendTokenLogprob(b []byte, a *Answer, prev, token string, top int, alts []alternative) ([]byte, []alternative) {
	lp := a.variant.logprob(prev, token, a.shift)
	b = appendAlternative(b, alternative{token, lp})
	b = append(b[:len(b)-1], `,"top_logprobs":[`...)
	alts = a.variant.alternatives(alts[:0], prev, token, lp, top)
	for i, alt := range alts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendAlternative(b, alt)
	}
	return append(b, `]}`...), alts
}

func appendAlternative(b []byte, a alternative) []byte {
	b = append(b, `{"token":`...)
	b = appendString(b, a.token)
	b = append(b, `,"logprob":`...)
	b = appendFloat(b, math.Max(a.logprob, -9999))
	b = append(b, `,"bytes":[`...)
	for i := range len(a.token) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendInt(b, int(a.token[i]))
	}
	return append(b, `]}`...)
}

// usage appends the token counts of all choices; the prompt counts once.
func usage(b []byte, as []Answer) []byte {
	n := 0
	for i := range as {
		n += as[i].Tokens
	}
	prompt := as[0].PromptTokens
	b = append(b, `{"prompt_tokens":`...)
	b = appendInt(b, prompt)
	b = append(b, `,"completion_tokens":`...)
	b = appendInt(b, n)
	b = append(b, `,"total_tokens":`...)
	b = appendInt(b, prompt+n)
	return append(b, `,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}`...)
}

// chunk opens a chunk with one choice up to its delta.
func (s *chat) chunk(b []byte, choice int) []byte {
	b = append(b, "data: "...)
	b = s.head(b, "chat.completion.chunk")
	b = append(b, `"choices":[{"index":`...)
	b = appendInt(b, choice)
	return append(b, `,"delta":`...)
}

// end closes a chunk. Where usage was asked for, every chunk but the last has it as null.
func (s *chat) end(e *sse) {
	e.buf = append(e.buf, `}]`...)
	if s.r.StreamOptions.IncludeUsage {
		e.buf = append(e.buf, `,"usage":null`...)
	}
	e.buf = append(e.buf, "}\n\n"...)
	e.send()
}

func (s *chat) start(e *sse) {
	for i := range s.as {
		e.buf = s.chunk(e.buf, i)
		e.buf = append(e.buf, `{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null`...)
		s.end(e)
	}
}

func (s *chat) token(e *sse, choice int, token string) {
	e.buf = s.chunk(e.buf, choice)
	field := `{"content":`
	if s.refuses(&s.as[choice]) {
		field = `{"refusal":`
	}
	e.buf = append(e.buf, field...)
	e.buf = appendString(e.buf, token)
	e.buf = append(e.buf, `},"logprobs":`...)
	e.buf = s.logprobs(e.buf, choice, token)
	e.buf = append(e.buf, `,"finish_reason":null`...)
	s.end(e)
}

func (s *chat) finish(e *sse) {
	for i := range s.as {
		e.buf = s.chunk(e.buf, i)
		e.buf = append(e.buf, `{},"logprobs":null,"finish_reason":`...)
		e.buf = appendString(e.buf, s.as[i].FinishReason)
		s.end(e)
	}
	if s.r.StreamOptions.IncludeUsage {
		e.buf = append(e.buf, "data: "...)
		e.buf = s.head(e.buf, "chat.completion.chunk")
		e.buf = append(e.buf, `"choices":[],"usage":`...)
		e.buf = usage(e.buf, s.as)
		e.buf = append(e.buf, "}\n\n"...)
		e.send()
	}
	e.buf = append(e.buf, "data: [DONE]\n\n"...)
	e.send()
}

func (s *chat) fail(e *sse, err *apiError) {
	e.buf = append(e.buf, "data: "...)
	e.buf = err.body(e.buf, openAI, "")
	e.buf = append(e.buf, "\n\n"...)
	e.send()
}
