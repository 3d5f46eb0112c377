package sim

import (
	"slices"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// completionRequest is the body of /v1/completions.
type completionRequest struct {
	sampling
	Prompt        inputs `json:"prompt"`
	N             *int   `json:"n"`
	MaxTokens     *int   `json:"max_tokens"`
	Echo          bool   `json:"echo"`
	Logprobs      *int   `json:"logprobs"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// defaultMaxTokens is the limit of /v1/completions when the request gives none.
const defaultMaxTokens = 16

func (r *completionRequest) query() (Query, int, *apiError) {
	var q Query
	if err := r.check(); err != nil {
		return q, 0, err
	}
	if len(r.Prompt) == 0 || len(r.Prompt) > maxInputs {
		return q, 0, badRequest("prompt", "%d prompts; want 1 to %d", len(r.Prompt), maxInputs)
	}
	n, err := choices(r.N)
	if err != nil {
		return q, 0, err
	}
	if n*len(r.Prompt) > maxInputs {
		return q, 0, badRequest("n", "%d answers; want at most %d", n*len(r.Prompt), maxInputs)
	}
	if r.Logprobs != nil && (*r.Logprobs < 0 || *r.Logprobs > maxTopLogprobs) {
		return q, 0, badRequest("logprobs", "%d is out of range; want 0 to %d", *r.Logprobs, maxTopLogprobs)
	}
	q = Query{Model: r.Model, Seed: r.Seed, Temperature: r.Temperature, Stop: r.Stop, MaxTokens: defaultMaxTokens}
	if r.MaxTokens != nil {
		q.MaxTokens = *r.MaxTokens
		switch {
		case q.MaxTokens < 0, q.MaxTokens == 0 && !r.Echo:
			return q, 0, badRequest("max_tokens", "%d is too low; want at least 1, or 0 with echo", q.MaxTokens)
		case q.MaxTokens == 0:
			q.MaxTokens = -1
		}
	}
	return q, n, nil
}

func (c *call) completions() *apiError {
	var r completionRequest
	if err := decodeBody(c.body, &r); err != nil {
		return err
	}
	q, n, err := r.query()
	if err != nil {
		return err
	}
	s := &completion{c: c, r: &r, created: time.Now().Unix()}
	for i, p := range r.Prompt {
		q.Messages = []record.Message{{Role: "user", Content: p}}
		if i == 0 {
			if s.as, err = c.draw(&q, n); err != nil {
				return err
			}
		} else {
			for k := range n {
				q.Choice = k
				s.as = append(s.as, c.s.m.Answer(q))
			}
		}
		s.promptTokens += countTokens(p)
	}
	for i := range s.as {
		s.as[i].PromptTokens = s.promptTokens
		p := ""
		if r.Echo {
			p = r.Prompt[i/n]
		}
		s.prompts = append(s.prompts, p)
	}
	s.prev, s.offset = make([]string, len(s.as)), make([]int, len(s.as))
	return c.deliver(s.as, r.Stream, s)
}

// completion writes the answers of /v1/completions.
type completion struct {
	c            *call
	r            *completionRequest
	as           []Answer
	prompts      []string // what each choice echoes
	promptTokens int
	created      int64
	prev         []string
	offset       []int
	alts         []alternative
}

func (s *completion) head(b []byte) []byte {
	b = append(b, `{"id":"cmpl-`...)
	b = appendHex(b, s.c.id)
	b = append(b, `","object":"text_completion","created":`...)
	b = appendInt(b, int(s.created))
	b = append(b, `,"model":`...)
	b = appendString(b, s.as[0].Model)
	b = append(b, `,"system_fingerprint":`...)
	b = appendString(b, s.as[0].Fingerprint)
	return append(b, `,"choices":[`...)
}

func (s *completion) choice(b []byte, i int, text, finish string) []byte {
	b = append(b, `{"text":`...)
	b = appendString(b, text)
	b = append(b, `,"index":`...)
	b = appendInt(b, i)
	b = append(b, `,"logprobs":`...)
	b = s.logprobs(b, i, text)
	b = append(b, `,"finish_reason":`...)
	b = appendOrNull(b, finish)
	return append(b, '}')
}

func (s *completion) whole(b []byte) []byte {
	b = s.head(b)
	for i := range s.as {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.choice(b, i, s.prompts[i]+s.as[i].Text, s.as[i].FinishReason)
	}
	b = append(b, `],"usage":`...)
	b = usage(b, s.as)
	return append(b, '}')
}

// logprobs appends the four parallel lists for the next tokens of a choice. The first token of an
// echoed prompt follows nothing and has no probability.
func (s *completion) logprobs(b []byte, choice int, text string) []byte {
	if s.r.Logprobs == nil {
		return append(b, "null"...)
	}
	a := &s.as[choice]
	var tokens, probs, tops, offsets []byte
	sep := func(list []byte) []byte {
		if len(list) > 0 {
			return append(list, ',')
		}
		return list
	}
	for len(text) > 0 {
		// No token goes over the end of the prompt.
		piece := text
		if rest := len(s.prompts[choice]) - s.offset[choice]; rest > 0 && rest < len(text) {
			piece = text[:rest]
		}
		token := piece[:nextToken(piece)]
		text = text[len(token):]
		tokens = appendString(sep(tokens), token)
		offsets = appendInt(sep(offsets), s.offset[choice])
		probs, tops = sep(probs), sep(tops)
		if s.r.Echo && s.offset[choice] == 0 {
			probs, tops = append(probs, "null"...), append(tops, "null"...)
		} else {
			lp := a.variant.logprob(s.prev[choice], token, a.shift)
			probs = appendFloat(probs, lp)
			s.alts = a.variant.alternatives(s.alts[:0], s.prev[choice], token, lp, *s.r.Logprobs)
			// This endpoint lists the token itself too, also when it is not one of the likeliest.
			if !slices.ContainsFunc(s.alts, func(a alternative) bool { return a.token == token }) && *s.r.Logprobs > 0 {
				s.alts = append(s.alts, alternative{token, lp})
			}
			tops = append(tops, '{')
			for i, alt := range s.alts {
				if i > 0 {
					tops = append(tops, ',')
				}
				tops = appendString(tops, alt.token)
				tops = append(tops, ':')
				tops = appendFloat(tops, alt.logprob)
			}
			tops = append(tops, '}')
		}
		s.offset[choice] += len(token)
		s.prev[choice] = token
	}
	b = append(append(b, `{"tokens":[`...), tokens...)
	b = append(append(b, `],"token_logprobs":[`...), probs...)
	b = append(append(b, `],"top_logprobs":[`...), tops...)
	b = append(append(b, `],"text_offset":[`...), offsets...)
	return append(b, `]}`...)
}

func (s *completion) chunk(e *sse, i int, text, finish string) {
	e.buf = append(e.buf, "data: "...)
	e.buf = s.head(e.buf)
	e.buf = s.choice(e.buf, i, text, finish)
	e.buf = append(e.buf, ']')
	if s.r.StreamOptions.IncludeUsage {
		e.buf = append(e.buf, `,"usage":null`...)
	}
	e.buf = append(e.buf, "}\n\n"...)
	e.send()
}

func (s *completion) start(e *sse) {
	for i, p := range s.prompts {
		if p != "" {
			s.chunk(e, i, p, "")
		}
	}
}

func (s *completion) token(e *sse, choice int, token string) { s.chunk(e, choice, token, "") }

func (s *completion) finish(e *sse) {
	for i := range s.as {
		s.chunk(e, i, "", s.as[i].FinishReason)
	}
	if s.r.StreamOptions.IncludeUsage {
		e.buf = append(e.buf, "data: "...)
		e.buf = s.head(e.buf)
		e.buf = append(e.buf, `],"usage":`...)
		e.buf = usage(e.buf, s.as)
		e.buf = append(e.buf, "}\n\n"...)
		e.send()
	}
	e.buf = append(e.buf, "data: [DONE]\n\n"...)
	e.send()
}

func (s *completion) fail(e *sse, err *apiError) {
	e.buf = append(e.buf, "data: "...)
	e.buf = err.body(e.buf, openAI, "")
	e.buf = append(e.buf, "\n\n"...)
	e.send()
}
