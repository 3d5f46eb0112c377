package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

const (
	// defaultEchoBatch is how many texts are scored in one request.
	defaultEchoBatch = 16
	// maxBatch is the longest list of texts that OpenAI takes in one request.
	maxBatch = 2048
)

// completions is the dialect of the completions API, which answers a text with its continuation. A
// chat is written as the lines of record.PromptText.
type completions struct {
	head, tail []byte
	// scoring is the end of a request for the log-probabilities of a given text.
	scoring  []byte
	streamed []byte
	seed     wire.Seed
	stream   bool
	batch    int
	// answers says that the suite wants an answer of a given length even where a prompt is scored.
	answers bool
}

func newCompletions(opts *Options, noModel bool) (*completions, error) {
	c := &completions{seed: opts.Seed, stream: opts.Stream, streamed: streamed(opts), batch: opts.BatchSize, head: []byte{'{'}}
	if c.batch == 0 {
		c.batch = defaultEchoBatch
	}
	if !noModel {
		c.head = append(wire.AppendString(append(c.head, `"model":`...), opts.Model), ',')
	}
	c.head = append(c.head, `"prompt":`...)
	var err error
	if c.tail, err = staticBody(opts.Body, ownKeys); err != nil {
		return nil, err
	}
	scoring := map[string]any{}
	for k, v := range opts.Body {
		switch k {
		case "stop", "suffix", "best_of", "max_tokens", "logprobs", "temperature", "top_p": // of the answer, which is not wanted
		default:
			scoring[k] = v
		}
	}
	_, c.answers = opts.Body["max_tokens"]
	// One token, and not none, because some servers take 0 for no limit. It is dropped again.
	scoring["max_tokens"], scoring["logprobs"], scoring["temperature"] = 1, 1, 0
	c.scoring, err = staticBody(scoring, ownKeys)
	c.scoring = append(c.scoring, `,"echo":true`...)
	return c, err
}

func (c *completions) encode(req *record.Request) []byte {
	b := append(make([]byte, 0, len(c.head)+len(c.tail)+len(req.Prompt)+128), c.head...)
	b = append(wire.AppendString(b, promptText(req)), c.tail...)
	b = c.appendSeed(b, req)
	if c.stream || req.Stream {
		b = append(b, c.streamed...)
	}
	return append(b, '}')
}

// encodeTexts writes a request that scores texts.
func (c *completions) encodeTexts(req *record.Request, texts []string) []byte {
	b := append([]byte(nil), c.head...)
	if len(texts) == 1 { // what every server understands
		b = wire.AppendString(b, texts[0])
	} else {
		for i, t := range texts {
			sep := byte(',')
			if i == 0 {
				sep = '['
			}
			b = wire.AppendString(append(b, sep), t)
		}
		b = append(b, ']')
	}
	return append(c.appendSeed(append(b, c.scoring...), req), '}')
}

func (c *completions) appendSeed(b []byte, req *record.Request) []byte {
	if seed, ok := c.seed.Of(req.Seed); ok {
		b = strconv.AppendInt(append(b, `,"seed":`...), seed, 10)
	}
	return b
}

func promptText(req *record.Request) string {
	if req.Prompt != "" {
		return req.Prompt
	}
	return record.PromptText(req.Messages)
}

func (c *completions) answer(p *Provider) answering { return &textAnswer{p: p} }

// textCompletion is an answer of the completions API, whole or one event of a stream.
type textCompletion struct {
	Model             string         `json:"model"`
	SystemFingerprint string         `json:"system_fingerprint"`
	Choices           []textChoice   `json:"choices"`
	Usage             *usage         `json:"usage"`
	Error             *wire.APIError `json:"error"`
}

type textChoice struct {
	Index        int           `json:"index"`
	Text         string        `json:"text"`
	FinishReason string        `json:"finish_reason"`
	Logprobs     *textLogprobs `json:"logprobs"`
}

// textLogprobs are parallel lists, one item a token. The first token of an echoed text has none.
type textLogprobs struct {
	Tokens  []string             `json:"tokens"`
	Values  []*float64           `json:"token_logprobs"`
	Top     []map[string]float64 `json:"top_logprobs"`
	Offsets []int                `json:"text_offset"`
}

// record returns the tokens from first to before last. A token without a log-probability is left out.
func (l *textLogprobs) record(first, last int) []record.TokenLogprob {
	var out []record.TokenLogprob
	for i := first; i < last && i < len(l.Values); i++ {
		if l.Values[i] == nil {
			continue
		}
		t := record.TokenLogprob{Token: l.Tokens[i], Logprob: *l.Values[i]}
		if i < len(l.Top) && len(l.Top[i]) > 0 {
			t.Top = l.Top[i]
		}
		out = append(out, t)
	}
	return out
}

// sound says what is wrong with the lists, or "".
func (l *textLogprobs) sound() string {
	switch {
	case len(l.Tokens) != len(l.Values):
		return fmt.Sprintf("%d tokens have %d log-probabilities", len(l.Tokens), len(l.Values))
	case len(l.Offsets) != 0 && len(l.Offsets) != len(l.Tokens):
		return fmt.Sprintf("%d tokens have %d offsets", len(l.Tokens), len(l.Offsets))
	}
	for i, v := range l.Values {
		if v != nil && (math.IsNaN(*v) || *v > 1e-6) {
			return fmt.Sprintf("token %d has the log-probability %g", i, *v)
		}
	}
	return ""
}

// textAnswer is one answer being read.
type textAnswer struct {
	p    *Provider
	out  record.Response
	text strings.Builder
	seen bool
	done bool
}

func (a *textAnswer) response() *record.Response { return &a.out }

func (a *textAnswer) whole(body []byte) *record.Failure {
	c, f := a.p.decodeText(body)
	if f != nil {
		return f
	}
	if f := a.take(c); f != nil {
		return f
	}
	return a.Finish()
}

// decodeText reads a whole answer.
func (p *Provider) decodeText(body []byte) (*textCompletion, *record.Failure) {
	var c textCompletion
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, &record.Failure{Kind: record.Malformed, Message: "not a completion: " + p.client.Clean(err.Error(), wire.ShownText)}
	}
	if c.Error.Says() {
		return nil, p.client.APIFailure(c.Error)
	}
	return &c, nil
}

// take adds what came, whole or in pieces.
func (a *textAnswer) take(c *textCompletion) *record.Failure {
	if f := a.p.fill(&a.out, &completion{Model: c.Model, SystemFingerprint: c.SystemFingerprint, Usage: c.Usage}); f != nil {
		return f
	}
	for _, ch := range c.Choices {
		if ch.Index != 0 {
			continue
		}
		a.seen = true
		a.text.WriteString(ch.Text)
		if l := ch.Logprobs; l != nil {
			if why := l.sound(); why != "" {
				return &record.Failure{Kind: record.Malformed, Message: why}
			}
			a.out.Logprobs = append(a.out.Logprobs, l.record(0, len(l.Tokens))...)
		}
		if ch.FinishReason != "" {
			a.out.FinishReason, a.done = ch.FinishReason, true
		}
	}
	return nil
}

// Event takes in one event of a stream.
func (a *textAnswer) Event(name string, data []byte, start time.Time) (wire.Progress, *record.Failure) {
	var c textCompletion
	client := a.p.client
	if err := json.Unmarshal(data, &c); err != nil {
		return wire.More, client.BadEvent(name, data, err)
	}
	if c.Error.Says() {
		return wire.More, client.APIFailure(c.Error)
	}
	if name == "error" {
		message, code := client.ErrorText(data)
		return wire.More, client.APIFailure(&wire.APIError{Message: message, Code: code})
	}
	before := a.text.Len()
	if f := a.take(&c); f != nil {
		return wire.More, f
	}
	if a.out.TTFT == 0 && a.text.Len() > before {
		a.out.TTFT = time.Since(start)
	}
	if a.done {
		return wire.Complete, nil
	}
	return wire.More, nil
}

// Finish makes the answer of the pieces.
func (a *textAnswer) Finish() *record.Failure {
	if !a.seen {
		return &record.Failure{Kind: record.Empty, Message: "the answer has no choices"}
	}
	a.out.Output = a.text.String()
	return nil
}

// likelihoods answers a request for the likelihood of given texts: the prompt's own tokens, each
// continuation of it, or both. Texts go out in batches, each echoed by the server with the
// log-probabilities of its tokens.
func (p *Provider) likelihoods(ctx context.Context, c *completions, req record.Request) (record.Response, error) {
	prompt := promptText(&req)
	var out record.Response
	texts := make([]string, 0, len(req.Continuations)+1)
	if req.ScorePrompt {
		texts = append(texts, prompt)
	}
	for i, t := range req.Continuations {
		if t == "" {
			return record.Response{}, &record.Failure{Kind: record.BadRequest, Message: fmt.Sprintf("continuation %d is empty: it has no likelihood", i+1)}
		}
		texts = append(texts, prompt+t)
	}
	var total time.Duration
	echoes := make([]echo, 0, len(texts))
	for at := 0; at < len(texts); at += c.batch {
		part := texts[at:min(at+c.batch, len(texts))]
		latency, f := p.echo(ctx, c.encodeTexts(&req, part), req.Attempt, part, &out, &echoes)
		if f != nil {
			return record.Response{}, f
		}
		total += latency
	}
	if req.ScorePrompt {
		out.PromptLogprobs = echoes[0].tokens(0)
		echoes = echoes[1:]
	}
	for i, t := range req.Continuations {
		l, f := echoes[i].likelihood(len(prompt), t)
		if f != nil {
			return record.Response{}, f
		}
		out.Likelihoods = append(out.Likelihoods, l)
	}
	out.Latency = total
	out.Cost = p.cost(out)
	if !c.answers || !req.ScorePrompt || len(req.Continuations) > 0 {
		return out, nil
	}
	// The suite wants an answer too, as its max_tokens says.
	answer, err := p.ask(ctx, c.encode(&req), req.Attempt)
	if err != nil {
		return record.Response{}, err
	}
	answer.PromptLogprobs = out.PromptLogprobs
	answer.Latency += out.Latency
	answer.Usage = sum(answer.Usage, out.Usage)
	answer.Cost = p.cost(record.Response{Model: answer.Model, Usage: answer.Usage})
	return answer, nil
}

func sum(a, b record.Usage) record.Usage {
	return record.Usage{
		Prompt: a.Prompt + b.Prompt, Completion: a.Completion + b.Completion, Total: a.Total + b.Total,
		Cached: a.Cached + b.Cached, Reasoning: a.Reasoning + b.Reasoning,
	}
}

// echo sends one batch and appends what came back for each of its texts.
func (p *Provider) echo(ctx context.Context, body []byte, attempt int, texts []string, out *record.Response, echoes *[]echo) (time.Duration, *record.Failure) {
	return p.client.Do(ctx, wire.Call{URL: p.url, Body: body, Attempt: attempt, Whole: func(body []byte) *record.Failure {
		c, f := p.decodeText(body)
		if f != nil {
			return f
		}
		before := out.Usage
		out.Usage = record.Usage{}
		if f := p.fill(out, &completion{Model: c.Model, SystemFingerprint: c.SystemFingerprint, Usage: c.Usage}); f != nil {
			return f
		}
		out.Usage = sum(before, out.Usage)
		byIndex := make([]*textChoice, len(texts))
		for i := range c.Choices {
			if k := c.Choices[i].Index; k >= 0 && k < len(texts) {
				byIndex[k] = &c.Choices[i]
			}
		}
		for i, ch := range byIndex {
			if ch == nil {
				return &record.Failure{Kind: record.Empty, Message: fmt.Sprintf("the answer has %d choices for %d texts; batch_size: 1 sends them one by one", len(c.Choices), len(texts))}
			}
			e, f := newEcho(p.opts.ID, texts[i], ch)
			if f != nil {
				return f
			}
			*echoes = append(*echoes, e)
		}
		return nil
	}})
}
