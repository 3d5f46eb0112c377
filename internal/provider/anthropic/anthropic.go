// Package anthropic is the provider for Anthropic's Messages API, through the vendor's own SDK.
//
// It makes one attempt a call: the SDK's retries are off, for they belong to the runner. It reads
// nothing from the environment by itself and follows no redirect; the SDK sends through package
// wire's transport, so that failures, size limits and redaction are those of all providers. It is not
// for Bedrock or Vertex. A request passes through it like this: system messages become the system
// prompt, the others the turns of the chat; the answer's text blocks are the output, its tool_use
// blocks the tool calls; thinking is left out.
package anthropic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

const (
	home = "https://api.anthropic.com"
	// defaultMaxTokens is sent when the suite names no limit, since the API asks for one.
	defaultMaxTokens = 4096
)

// Recognises says whether an id belongs to this package.
func Recognises(id string) bool { return strings.HasPrefix(id, "anthropic:") }

// bodyKeys are settings that go into the request as they are.
var bodyKeys = []string{
	"temperature", "top_p", "top_k", "tool_choice", "thinking", "metadata", "service_tier", "output_config", "output_format", "container",
	"context_management", "inference_geo", "speed",
}

// ownKeys are fields of a request that the suite cannot set.
var ownKeys = []string{"model", "messages", "system", "stream", "max_tokens", "seed"}

// Provider asks one model. It is safe for concurrent use.
type Provider struct {
	id, model string
	maxTokens int64
	stream    bool
	seed      wire.Seed
	base      *url.URL
	client    *wire.Client
	messages  sdk.MessageService
	params    map[string]any
	cost      wire.Cost
	prices    *provider.Prices
	warnings  []string
}

// FromConfig reads the provider's part of a suite: anthropic:messages:MODEL or anthropic:MODEL. Mistakes
// are config.Errors.
func FromConfig(p config.Provider, env wire.Env) (*Provider, error) {
	s := wire.ReadSettings(p)
	out := &Provider{id: p.ID, prices: env.Prices}
	rest := strings.TrimPrefix(p.ID, "anthropic:")
	out.model = strings.TrimPrefix(rest, "messages:")
	switch kind, _, _ := strings.Cut(rest, ":"); kind {
	case "messages":
		if rest == "messages" {
			out.model = ""
		}
	case "completion", "claude-agent-sdk", "claude-code":
		return nil, &config.Error{Pos: p.Pos, Value: p.ID, Problem: "anthropic:" + kind + " is not supported", Want: "anthropic:messages:MODEL"}
	}
	if m := s.String("model", ""); m != "" {
		out.model = m
	}
	if out.model == "" {
		s.Errs = append(s.Errs, &config.Error{Pos: p.Pos, Value: p.ID, Problem: "no model is named", Want: "such as anthropic:messages:claude-sonnet-4-5"})
	}
	base, own := s.Address(home, []string{"ANTHROPIC_BASE_URL"}, env)
	key, warning := s.APIKey(wire.Credential{Names: []string{"ANTHROPIC_API_KEY"}, Required: own}, env)
	if warning != "" {
		out.warnings = append(out.warnings, warning)
	}
	headers := s.Headers()
	timeout, maxBytes := s.Bounds()
	out.cost = s.Cost()
	out.stream = s.Bool("stream", false)
	// The API has no seed and refuses it; only a suite that asks for one sends it.
	out.seed.Off = !s.Has("seed")
	if s.Has("seed") {
		out.seed = s.Seed()
	}
	s.Tokens("max_tokens")
	out.maxTokens = int64(s.Int("max_tokens", defaultMaxTokens))
	s.Range("temperature", 0, 1)
	s.Range("top_p", 0, 1)
	stopKey := s.Key("stop_sequences", "stop")
	stop := s.Strings(stopKey)
	body := s.Body(bodyKeys, []string{"tools"}, ownKeys)
	if err := s.Err(); err != nil {
		return nil, err
	}
	if stop != nil {
		body["stop_sequences"] = stop
	}
	out.open(base, key, headers, body, timeout, maxBytes)
	return out, nil
}

// open makes the SDK's client.
func (p *Provider) open(base *url.URL, key string, headers map[string]string, body map[string]any, timeout time.Duration, maxBytes int64) {
	// The SDK's paths start with v1, which many give as a part of the address.
	base.Path = strings.TrimSuffix(base.Path, "/v1")
	p.base = base
	secrets := []string{key}
	h := http.Header{"User-Agent": {"telltale"}, "Anthropic-Version": {"2023-06-01"}}
	opts := []option.RequestOption{option.WithMaxRetries(0), option.WithHeader("User-Agent", "telltale")}
	if key != "" {
		opts = append(opts, option.WithAPIKey(key))
		h.Set("X-Api-Key", key)
	}
	for _, name := range wire.SortedKeys(headers) {
		opts = append(opts, option.WithHeader(name, headers[name]))
		h.Set(name, headers[name])
		secrets = append(secrets, headers[name])
	}
	p.client = wire.New(wire.Options{Base: base, Header: h, Secrets: secrets, Timeout: timeout, MaxBytes: maxBytes})
	opts = append(opts, option.WithBaseURL(base.String()), option.WithHTTPClient(&http.Client{Transport: p.client.RoundTripper()}),
		option.WithRequestTimeout(p.client.Timeout()))
	for _, k := range wire.SortedKeys(body) {
		opts = append(opts, option.WithJSONSet(strings.ReplaceAll(k, ".", `\.`), body[k]))
	}
	p.messages = sdk.NewMessageService(opts...)

	p.params = map[string]any{"max_tokens": p.maxTokens}
	for k, v := range body {
		p.params[k] = v
	}
	if !p.seed.Off {
		p.seed.Describe(p.params)
		if p.seed.Fixed == nil {
			p.params["seed"] = true
		}
	}
	if base.Host != strings.TrimPrefix(home, "https://") {
		p.params["base_url"] = wire.Shown(base)
	}
	if names := wire.SortedKeys(headers); len(names) > 0 {
		p.params["headers"] = names // the values may be secrets
	}
}

// Describe returns the provider's part of a snapshot.
func (p *Provider) Describe() provider.Info {
	quote := func(u record.Usage) *float64 { return p.price(p.model, u, nil) }
	return provider.Info{ID: p.id, Model: p.model, Params: p.params, Cacheable: true, Warnings: p.warnings, Quote: quote}
}

// Check asks whether the server is there and takes the key, without asking the model anything.
func (p *Provider) Check(ctx context.Context) error {
	u := *p.base
	u.Path += "/v1/models"
	return p.client.Check(ctx, &u)
}

// Close closes idle connections.
func (p *Provider) Close() error { return p.client.Close() }

// Complete sends one request and reads its answer. The error is a *record.Failure.
func (p *Provider) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	if f := provider.Refused(ctx, p.id, &req); f != nil {
		return record.Response{}, f
	}
	ctx, cancel := context.WithTimeout(ctx, p.client.Timeout())
	defer cancel()
	ctx, x := wire.Watch(ctx)
	params, fail := p.encode(&req)
	if fail != nil {
		return record.Response{}, fail
	}
	opts := []option.RequestOption{option.WithHeader(wire.RetryHeader, strconv.Itoa(req.Attempt))}
	if seed, ok := p.seed.Of(req.Seed); ok {
		opts = append(opts, option.WithJSONSet("seed", seed))
	}
	start := time.Now()
	var out record.Response
	var m *sdk.Message
	if p.stream || req.Stream {
		m, fail = p.readStream(ctx, cancel, x, params, opts, start, &out)
	} else {
		var err error
		m, err = p.messages.New(ctx, params, opts...)
		out.Latency = time.Since(start)
		switch {
		case err != nil:
			fail = p.client.Failed(ctx, x, err)
		case x.Failure() != nil:
			fail = x.Failure()
		case m == nil || !m.JSON.Content.Valid():
			fail = p.client.Failed(ctx, x, errors.New("no message"))
		}
	}
	if fail == nil {
		fail = p.fill(&out, m)
	}
	if fail != nil {
		return record.Response{}, fail
	}
	return out, nil
}

// encode makes the SDK's request.
func (p *Provider) encode(req *record.Request) (sdk.MessageNewParams, *record.Failure) {
	params := sdk.MessageNewParams{Model: p.model, MaxTokens: p.maxTokens}
	for i := range req.Messages {
		m := &req.Messages[i]
		if m.Role == "system" || m.Role == "developer" {
			if text := m.Text(); text != "" {
				params.System = append(params.System, sdk.TextBlockParam{Text: text})
			}
			continue
		}
		var blocks []sdk.ContentBlockParamUnion
		parts := m.Parts
		if len(parts) == 0 {
			parts = []record.Part{{Text: m.Content}}
		}
		for _, part := range parts {
			switch media, content, inline := wire.DataURI(part.ImageURL); {
			case inline:
				blocks = append(blocks, sdk.NewImageBlockBase64(media, content))
			case part.ImageURL != "":
				blocks = append(blocks, sdk.NewImageBlock(sdk.URLImageSourceParam{URL: part.ImageURL}))
			case part.Text != "": // the API refuses empty texts
				blocks = append(blocks, sdk.NewTextBlock(part.Text))
			}
		}
		if len(blocks) == 0 {
			continue
		}
		if m.Role == "assistant" {
			params.Messages = append(params.Messages, sdk.NewAssistantMessage(blocks...))
		} else {
			params.Messages = append(params.Messages, sdk.NewUserMessage(blocks...))
		}
	}
	if len(params.Messages) == 0 {
		return params, &record.Failure{Kind: record.BadRequest, Message: "the prompt has no text besides the system's"}
	}
	return params, nil
}

// patience is how long the end of a stream is waited for behind its last event, so that the
// connection can be used again.
const patience = 50 * time.Millisecond

// readStream reads a streamed answer.
func (p *Provider) readStream(ctx context.Context, cancel context.CancelFunc, x *wire.Exchange, params sdk.MessageNewParams, opts []option.RequestOption, start time.Time, out *record.Response) (*sdk.Message, *record.Failure) {
	s := p.messages.NewStreaming(ctx, params, opts...)
	if err := s.Err(); err != nil {
		return nil, p.client.Failed(ctx, x, err)
	}
	defer func() { _ = s.Close() }() // reading is over; nothing depends on it
	m := &sdk.Message{}
	for s.Next() {
		e := s.Current()
		if err := m.Accumulate(e); err != nil {
			return nil, p.client.Failed(ctx, x, err)
		}
		if out.TTFT == 0 && e.Type == "content_block_delta" && (e.Delta.Text != "" || e.Delta.PartialJSON != "") {
			out.TTFT = time.Since(start)
		}
		if e.Type == "message_stop" {
			out.Latency = time.Since(start)
			t := time.AfterFunc(patience, cancel)
			defer t.Stop()
			s.Next()
			return m, nil
		}
	}
	if apiErr, ok := errors.AsType[*sdk.Error](s.Err()); ok {
		f := p.client.APIFailure(streamError(apiErr.RawJSON()))
		f.Status = apiErr.StatusCode
		return nil, f
	}
	if err := s.Err(); err != nil {
		return nil, p.client.Failed(ctx, x, err)
	}
	switch f := x.Failure(); {
	case f != nil:
		return nil, f
	case !x.Streams():
		return nil, p.client.Failed(ctx, x, errors.New("not a stream of events"))
	}
	return nil, &record.Failure{Kind: record.Cut, Message: p.client.HostPort() + " ended the stream without message_stop"}
}

// fill makes the answer of a message.
func (p *Provider) fill(out *record.Response, m *sdk.Message) *record.Failure {
	var text strings.Builder
	for i := range m.Content {
		switch b := &m.Content[i]; b.Type {
		case "text":
			text.WriteString(b.Text)
		case "tool_use":
			out.ToolCalls = append(out.ToolCalls, record.ToolCall{ID: b.ID, Name: b.Name, Arguments: compact(b.Input)})
		}
	}
	if len(m.Content) == 0 && m.StopReason == "" {
		return &record.Failure{Kind: record.Empty, Message: "the message has no content"}
	}
	out.Output = text.String()
	if out.Output == "" && len(out.ToolCalls) > 0 {
		out.Output = wire.CallsText(out.ToolCalls)
	}
	out.Model = m.Model
	out.FinishReason = finish(m.StopReason)
	if m.StopReason == sdk.StopReasonRefusal {
		out.Refusal = m.StopDetails.Explanation
		if out.Refusal == "" {
			out.Refusal = "the model's provider stopped the answer"
		}
	}
	return p.account(out, &m.Usage)
}

// compact takes the white space out of a call's arguments, so that whole and streamed ones are alike.
func compact(raw []byte) string {
	text, err := provider.Text(raw)
	if err != nil {
		return string(raw) // cut off by the limit of tokens: what the model wrote
	}
	return text
}

// finish is the reason in the words that OpenAI's API has, so that assertions hold for both.
func finish(r sdk.StopReason) string {
	switch r {
	case sdk.StopReasonEndTurn, sdk.StopReasonStopSequence:
		return "stop"
	case sdk.StopReasonMaxTokens, sdk.StopReasonModelContextWindowExceeded:
		return "length"
	case sdk.StopReasonToolUse:
		return "tool_calls"
	case sdk.StopReasonRefusal:
		return "content_filter"
	}
	return string(r)
}

// account takes over usage and price. The API counts prompt tokens that were read from its cache, or
// written to it, apart from the others; a written one costs more, by how long it is kept.
func (p *Provider) account(out *record.Response, u *sdk.Usage) *record.Failure {
	for _, n := range []int64{u.InputTokens, u.OutputTokens, u.CacheReadInputTokens, u.CacheCreationInputTokens} {
		if n < 0 {
			return &record.Failure{Kind: record.Malformed, Message: fmt.Sprintf("the usage counts %d tokens", n)}
		}
	}
	prompt := u.InputTokens + u.CacheReadInputTokens + u.CacheCreationInputTokens
	out.Usage = record.Usage{
		Prompt: int(prompt), Completion: int(u.OutputTokens), Total: int(prompt + u.OutputTokens),
		Cached: int(u.CacheReadInputTokens), Reasoning: int(u.OutputTokensDetails.ThinkingTokens),
	}
	var extra func(provider.Price) float64
	if u.CacheCreationInputTokens > 0 {
		long := min(u.CacheCreation.Ephemeral1hInputTokens, u.CacheCreationInputTokens)
		short := u.CacheCreationInputTokens - long
		extra = func(price provider.Price) float64 {
			return price.Input * (0.25*float64(short) + float64(long)) / 1e6
		}
	}
	out.Cost = p.price(out.Model, out.Usage, extra)
	return nil
}

// price is what an answer of the named model costs in US dollars, nil when that is not known. extra is what
// comes on top by the vendor's list; it may be nil.
func (p *Provider) price(served string, u record.Usage, extra func(provider.Price) float64) *float64 {
	if cost, given := p.cost.Of(u); given {
		return cost
	}
	for _, model := range []string{served, p.model} {
		price, ok := p.prices.Find(model)
		if !ok || !price.Own && p.base.Host != strings.TrimPrefix(home, "https://") {
			continue
		}
		cost := price.Cost(u)
		if cost != nil && !price.Own && extra != nil {
			*cost += extra(price)
		}
		return cost
	}
	return nil
}
