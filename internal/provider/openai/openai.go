// Package openai is the provider for OpenAI's API and for every server that speaks it: Azure,
// OpenRouter, vLLM, llama.cpp, Ollama, LocalAI and others by base URL. It knows chat completions,
// responses, completions, embeddings and moderations.
//
// It is written over net/http by hand because a regression tool has to know exactly what it sends
// and what came back (docs/adr/0002-openai-client.md). It makes one attempt a call; retries belong
// to the runner. A request passes through it like this: static parameters, encoded once, are joined
// with the sample's messages and seed; package wire sends it and hands over the answer, as one JSON
// document or as a stream of events; it becomes a record.Response, and whatever goes wrong a
// record.Failure whose text has been redacted.
package openai

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

// Options are a provider's settings after the suite has been read.
type Options struct {
	ID    string // as the suite has it, such as openai:chat:gpt-4.1-mini
	Model string
	// BaseURL is the address up to and without /chat/completions.
	BaseURL string
	// APIVersion is Azure's api-version.
	APIVersion string
	// Key is the API key; empty sends none.
	Key string
	// Headers are sent besides our own. Their values are treated as secrets.
	Headers map[string]string
	// Organization is sent as OpenAI-Organization.
	Organization string
	// Body holds the parameters of every request, such as temperature.
	Body map[string]any
	// Seed says which seed to send.
	Seed wire.Seed
	// Stream asks for every answer as a stream, not only where a request asks for it.
	Stream bool
	// NoStreamUsage leaves out stream_options, which some servers refuse.
	NoStreamUsage bool
	// BatchSize is how many texts go into one request of completions with echo, or of embeddings;
	// 0 means the endpoint's default.
	BatchSize int
	Timeout   time.Duration // 0: wire.DefaultTimeout
	MaxBytes  int64         // 0: wire.DefaultMaxBytes
	// Cost is given by the user and wins over Prices.
	Cost     wire.Cost
	Prices   *provider.Prices
	Warnings []string
}

// server is what all endpoints of one server share.
type server struct {
	opts    Options
	flavour flavour
	base    *url.URL
	url     *url.URL
	client  *wire.Client
	params  map[string]any
}

// newServer checks the options that all endpoints have.
func newServer(opts Options) (*server, error) {
	f, at, model, problem := parseID(opts.ID)
	if problem != "" {
		return nil, fmt.Errorf("openai: %q: %s", opts.ID, problem)
	}
	if opts.Model == "" {
		opts.Model = model
	}
	if opts.Model == "" {
		return nil, fmt.Errorf("openai: %q names no model", opts.ID)
	}
	if opts.BaseURL == "" {
		opts.BaseURL = f.base
	}
	base, err := wire.ParseBase(opts.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("openai: base URL: %w", err)
	}
	if opts.APIVersion == "" {
		opts.APIVersion = azureVersion
	}
	s := &server{opts: opts, flavour: f, base: base, url: f.endpoint(base, at.path, opts.Model, opts.APIVersion)}
	secrets := []string{opts.Key}
	for _, v := range opts.Headers {
		secrets = append(secrets, v)
	}
	s.client = wire.New(wire.Options{Base: base, Header: header(f, &opts), Secrets: secrets, Timeout: opts.Timeout, MaxBytes: opts.MaxBytes})
	s.params = s.describe()
	return s, nil
}

func header(f flavour, opts *Options) http.Header {
	h := http.Header{
		"Content-Type":   {"application/json"},
		"User-Agent":     {"telltale"},
		wire.RetryHeader: {"0"},
	}
	if opts.Organization != "" {
		h.Set("OpenAI-Organization", opts.Organization)
	}
	switch {
	case opts.Key == "":
	case f.deployments:
		h.Set("Api-Key", opts.Key)
	default:
		h.Set("Authorization", "Bearer "+opts.Key)
	}
	for k, v := range opts.Headers {
		h.Set(k, v)
	}
	return h
}

// describe returns the parameters that decide behaviour.
func (s *server) describe() map[string]any {
	params := map[string]any{}
	for k, v := range s.opts.Body {
		params[k] = v
	}
	s.opts.Seed.Describe(params)
	if s.opts.BaseURL != s.flavour.base {
		params["base_url"] = wire.Shown(s.base)
	}
	if s.flavour.deployments {
		params["api_version"] = s.url.Query().Get("api-version")
	}
	if names := wire.SortedKeys(s.opts.Headers); len(names) > 0 {
		params["headers"] = names // the values may be secrets
	}
	if s.opts.Organization != "" {
		params["organization"] = s.opts.Organization
	}
	return params
}

// Describe returns the provider's part of a snapshot.
func (s *server) Describe() provider.Info {
	return provider.Info{
		ID: s.opts.ID, Model: s.opts.Model, Params: s.params, Cacheable: true, Warnings: s.opts.Warnings,
		Quote: func(u record.Usage) *float64 { return s.cost(record.Response{Usage: u}) },
	}
}

// Check asks whether the server is there and takes the key, without asking the model anything.
func (s *server) Check(ctx context.Context) error {
	u := *s.base
	u.Path, u.RawPath = u.Path+"/models", ""
	return s.client.Check(ctx, &u)
}

// Close closes idle connections.
func (s *server) Close() error { return s.client.Close() }

// cost is the price of an answer in US dollars; nil when it is not known.
func (s *server) cost(r record.Response) *float64 {
	if r.Cost != nil { // the server said so itself
		return r.Cost
	}
	if cost, given := s.opts.Cost.Of(r.Usage); given {
		return cost
	}
	for _, model := range []string{r.Model, s.opts.Model} {
		price, ok := s.opts.Prices.Find(model)
		if ok && (price.Own || s.priced()) {
			return price.Cost(r.Usage)
		}
	}
	return nil
}

// priced says whether the vendor's price list applies: only where the vendor itself is asked.
func (s *server) priced() bool {
	if !s.flavour.priced {
		return false
	}
	host := s.base.Hostname()
	if s.flavour.deployments {
		return strings.HasSuffix(host, ".azure.com")
	}
	return host == "api.openai.com"
}

// Provider asks one model of one server. It is safe for concurrent use.
type Provider struct {
	*server
	dialect dialect
}

// dialect is how one of the endpoints that answer prompts is spoken.
type dialect interface {
	// encode returns the body of a request. The same request has the same bytes.
	encode(req *record.Request) []byte
	// answer returns what reads one answer.
	answer(p *Provider) answering
}

// answering is one answer being read, whole or as a stream.
type answering interface {
	wire.Sink
	whole(body []byte) *record.Failure
	response() *record.Response
}

// New returns a provider that answers prompts. The error says which option is wrong.
func New(opts Options) (*Provider, error) {
	_, at, _, _ := parseID(opts.ID)
	s, err := newServer(opts)
	if err != nil {
		return nil, err
	}
	p := &Provider{server: s}
	switch at.name {
	case chatEndpoint:
		p.dialect, err = newEncoder(&s.opts, s.flavour.modelInPath(s.base))
	case responsesEndpoint:
		p.dialect, err = newResponses(&s.opts)
	case completionEndpoint:
		p.dialect, err = newCompletions(&s.opts, s.flavour.modelInPath(s.base))
	default:
		err = fmt.Errorf("%s answers no prompts", opts.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("openai: %w", err)
	}
	return p, nil
}

// Complete sends one request and reads its answer. The error is a *record.Failure.
func (p *Provider) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	if len(req.Continuations) > 0 || req.ScorePrompt {
		c, ok := p.dialect.(*completions)
		if !ok {
			return record.Response{}, provider.NoLikelihoods(p.opts.ID, &req)
		}
		return p.likelihoods(ctx, c, req)
	}
	return p.ask(ctx, p.dialect.encode(&req), req.Attempt)
}

// ask sends one body and reads the answer to it.
func (p *Provider) ask(ctx context.Context, body []byte, attempt int) (record.Response, error) {
	a := p.dialect.answer(p)
	latency, fail := p.client.Do(ctx, wire.Call{URL: p.url, Body: body, Attempt: attempt, Whole: a.whole, Stream: a})
	if fail != nil {
		return record.Response{}, fail
	}
	out := a.response()
	out.Latency = latency
	out.Cost = p.cost(*out)
	return *out, nil
}
