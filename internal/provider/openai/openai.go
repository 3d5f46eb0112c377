// Package openai is the provider for OpenAI's chat completions API and for every server that
// speaks it: Azure, OpenRouter, vLLM, llama.cpp, Ollama, LocalAI and others by base URL.
//
// It is written over net/http by hand because a regression tool has to know exactly what it sends
// and what came back (docs/adr/0002-openai-client.md). It makes one attempt a call; retries belong
// to the runner. It is not for the other endpoints. A request passes through it like this: static
// parameters, encoded once, are joined with the sample's messages and seed; the answer is read
// within a size limit, as one JSON document or as a stream of events, and turned into a
// record.Response; whatever goes wrong becomes a record.Failure whose text has been redacted.
package openai

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/redact"
)

const (
	// DefaultTimeout bounds one call, from sending to the last byte.
	DefaultTimeout = 5 * time.Minute
	// DefaultMaxBytes bounds an answer.
	DefaultMaxBytes = 16 << 20
	// checkTimeout bounds the question whether a server is there at all.
	checkTimeout = 10 * time.Second
	// maxErrorBody is how much of an error's body is read.
	maxErrorBody = 64 << 10
	// idlePerHost keeps a connection for every request in flight alive.
	idlePerHost = 512
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
	Seed Seed
	// Stream asks for every answer as a stream, not only where a request asks for it.
	Stream bool
	// NoStreamUsage leaves out stream_options, which some servers refuse.
	NoStreamUsage bool
	Timeout       time.Duration // 0: DefaultTimeout
	MaxBytes      int64         // 0: DefaultMaxBytes
	// InputCost and OutputCost are US dollars per token and win over Prices.
	InputCost, OutputCost *float64
	Prices                *provider.Prices
	Warnings              []string
}

// Seed says which seed goes into a request. The zero value sends the sample's own.
type Seed struct {
	Off   bool
	Fixed *int64
}

// Provider asks one model of one server. It is safe for concurrent use.
type Provider struct {
	opts      Options
	flavour   flavour
	url       *url.URL
	base      *url.URL
	header    http.Header
	encoder   encoder
	transport *http.Transport
	redact    *redact.Redactor
	params    map[string]any
	buffers   sync.Pool // *bytes.Buffer
}

// New returns a provider. The error says which option is wrong.
func New(opts Options) (*Provider, error) {
	f, model, problem := parseID(opts.ID)
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
	base, err := parseBase(opts.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("openai: base URL: %w", err)
	}
	if opts.APIVersion == "" {
		opts.APIVersion = azureVersion
	}
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	p := &Provider{opts: opts, flavour: f, base: base, url: endpoint(f, base, opts.Model, opts.APIVersion), transport: newTransport()}
	secrets := []string{opts.Key}
	for _, v := range opts.Headers {
		secrets = append(secrets, v)
	}
	if pass, ok := base.User.Password(); ok {
		secrets = append(secrets, pass)
	}
	for _, vs := range base.Query() {
		secrets = append(secrets, vs...)
	}
	p.redact = redact.New(secrets...)
	p.header = header(f, &opts)
	if p.encoder, err = newEncoder(&opts, f.modelInPath(base)); err != nil {
		return nil, fmt.Errorf("openai: %w", err)
	}
	p.params = p.describe()
	return p, nil
}

// parseBase reads a base URL. The error does not repeat it, for it may hold a password.
func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("want http://HOST or https://HOST, with the path up to /chat/completions")
	}
	u.Fragment = ""
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          idlePerHost * 2,
		MaxIdleConnsPerHost:   idlePerHost,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		// An answer counts against the size limit as it is on the wire; a small compressed one
		// could otherwise become a huge one.
		DisableCompression: true,
	}
}

// retryHeader tells a server which try of a request this is, as OpenAI's own clients do.
const retryHeader = "X-Stainless-Retry-Count"

func header(f flavour, opts *Options) http.Header {
	h := http.Header{
		"Content-Type": {"application/json"},
		"User-Agent":   {"telltale"},
		retryHeader:    {"0"},
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
func (p *Provider) describe() map[string]any {
	params := map[string]any{}
	for k, v := range p.opts.Body {
		params[k] = v
	}
	switch {
	case p.opts.Seed.Off:
		params["seed"] = false
	case p.opts.Seed.Fixed != nil:
		params["seed"] = *p.opts.Seed.Fixed
	}
	if p.opts.BaseURL != p.flavour.base {
		shown := url.URL{Scheme: p.base.Scheme, Host: p.base.Host, Path: p.base.Path}
		params["base_url"] = shown.String()
	}
	if p.flavour.deployments {
		params["api_version"] = p.url.Query().Get("api-version")
	}
	if names := sortedKeys(p.opts.Headers); len(names) > 0 {
		params["headers"] = names // the values may be secrets
	}
	if p.opts.Organization != "" {
		params["organization"] = p.opts.Organization
	}
	return params
}

// Describe returns the provider's part of a snapshot.
func (p *Provider) Describe() provider.Info {
	return provider.Info{
		ID: p.opts.ID, Model: p.opts.Model, Params: p.params, Cacheable: true, Warnings: p.opts.Warnings,
	}
}

// Complete sends one request and reads its answer. The error is a *record.Failure.
func (p *Provider) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	if f := provider.Interrupted(ctx); f != nil {
		return record.Response{}, f
	}
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	body := p.encoder.encode(&req)
	start := time.Now()
	resp, err := p.transport.RoundTrip(p.request(ctx, body, req.Attempt))
	if err != nil {
		return record.Response{}, p.transportFailure(ctx, err, record.Connection)
	}
	defer func() { _ = resp.Body.Close() }() // reading is over; nothing depends on it
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return record.Response{}, p.statusFailure(ctx, resp)
	}
	var out record.Response
	var fail *record.Failure
	if mediaType(resp.Header) == "text/event-stream" {
		out, fail = p.readStream(ctx, cancel, resp.Body, start)
	} else {
		out, fail = p.readWhole(ctx, resp)
	}
	if fail != nil {
		fail.Status = resp.StatusCode
		return record.Response{}, fail
	}
	if out.Latency == 0 {
		out.Latency = time.Since(start)
	}
	out.Cost = p.cost(out)
	return out, nil
}

// request makes the HTTP request. Header and URL are shared by all calls, for a transport only
// reads them; the one header of its own makes a copy necessary on a retry alone.
func (p *Provider) request(ctx context.Context, body []byte, attempt int) *http.Request {
	h := p.header
	if attempt > 0 {
		h = h.Clone()
		h.Set(retryHeader, strconv.Itoa(attempt))
	}
	req := &http.Request{
		Method: http.MethodPost, URL: p.url, Host: p.url.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		// With it the transport can repeat a request that a dying idle connection never carried.
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}
	return req.WithContext(ctx)
}

func mediaType(h http.Header) string {
	ct := h.Get("Content-Type")
	if ct == "application/json" { // nearly always; parsing it costs more than all the rest here
		return ct
	}
	mt, _, err := mime.ParseMediaType(ct)
	if err != nil {
		return ct
	}
	return mt
}

// readWhole reads an answer that is one JSON document.
func (p *Provider) readWhole(ctx context.Context, resp *http.Response) (record.Response, *record.Failure) {
	buf, _ := p.buffers.Get().(*bytes.Buffer)
	if buf == nil {
		buf = new(bytes.Buffer)
	}
	buf.Reset()
	defer p.buffers.Put(buf)
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, p.opts.MaxBytes+1))
	if err != nil {
		return record.Response{}, p.transportFailure(ctx, err, record.Cut)
	}
	if n > p.opts.MaxBytes {
		return record.Response{}, tooLarge(p.opts.MaxBytes)
	}
	out, fail := p.decode(buf.Bytes())
	if fail != nil && fail.Kind == record.Malformed {
		fail.Message += fmt.Sprintf(" (content type %q): %s", p.clean(resp.Header.Get("Content-Type"), 60), p.excerpt(buf.Bytes()))
	}
	return out, fail
}

func tooLarge(limit int64) *record.Failure {
	return &record.Failure{Kind: record.TooLarge, Message: fmt.Sprintf("the answer is larger than max_bytes (%d)", limit)}
}

// cost is the price of an answer in US dollars; nil when it is not known.
func (p *Provider) cost(r record.Response) *float64 {
	if r.Cost != nil { // the server said so itself
		return r.Cost
	}
	if p.opts.InputCost != nil || p.opts.OutputCost != nil {
		var price provider.Price
		if c := p.opts.InputCost; c != nil {
			price.Input = *c * 1e6
		}
		if c := p.opts.OutputCost; c != nil {
			price.Output = *c * 1e6
		}
		return price.Cost(r.Usage)
	}
	for _, model := range []string{r.Model, p.opts.Model} {
		price, ok := p.opts.Prices.Find(model)
		if ok && (price.Own || p.priced()) {
			return price.Cost(r.Usage)
		}
	}
	return nil
}

// priced says whether the vendor's price list applies: only where the vendor itself is asked.
func (p *Provider) priced() bool {
	if !p.flavour.priced {
		return false
	}
	host := p.base.Hostname()
	if p.flavour.deployments {
		return strings.HasSuffix(host, ".azure.com")
	}
	return host == "api.openai.com"
}

// Check asks whether the server is there and takes the key, without asking the model anything.
func (p *Provider) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	u := *p.base
	u.Path, u.RawPath = u.Path+"/models", ""
	req := (&http.Request{Method: http.MethodGet, URL: &u, Host: u.Host, Header: p.header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return p.transportFailure(ctx, err, record.Connection)
	}
	defer func() { _ = resp.Body.Close() }()
	// Servers without a list of models answer 404 or worse, and some guard it more than the chat
	// itself; only a refused key is certain.
	if resp.StatusCode == http.StatusUnauthorized {
		return p.statusFailure(ctx, resp)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBody) // so that the connection can be used again
	return nil
}

// Close closes idle connections.
func (p *Provider) Close() error {
	p.transport.CloseIdleConnections()
	return nil
}

// clean returns text from outside without secrets, shortened to n bytes.
func (p *Provider) clean(s string, n int) string { return config.Clip(p.redact.String(s), n) }
