// Package httpjson is the provider "http": any HTTP endpoint, described in the suite by a templated
// request and an expression that finds the answer.
//
// It makes one attempt a call and is spelled as in promptfoo where that is declarative; functions in
// JavaScript are refused. A request passes through it like this: URL, query, headers and body are
// filled with the prompt, the messages and the case's variables, each inserted so that it cannot
// break the format around it; the answer's JSON or text goes through the expression (a path such as
// json.choices[0].message.content is one) and becomes the output. Values of headers are secrets.
package httpjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/template"
)

// Recognises says whether an id belongs to this package: http, or an address.
func Recognises(id string) bool {
	return id == "http" || id == "https" || strings.HasPrefix(id, "http://") || strings.HasPrefix(id, "https://")
}

// Provider asks one endpoint. It is safe for concurrent use.
type Provider struct {
	id       string
	method   string
	base     *url.URL
	path     *template.Template // of the URL behind its host; nil when it holds no template
	query    []field
	headers  []field // those that hold a template
	body     *body
	client   *wire.Client
	output   *expression
	event    *expression // what one event of a stream adds; nil refuses streams
	status   *expression
	usage    *expression
	finish   *expression
	model    *expression
	failed   *expression
	stream   bool
	seed     wire.Seed
	cost     wire.Cost
	params   map[string]any
	cached   bool
	warnings []string
}

// field is a header or a query parameter.
type field struct {
	name string
	text *template.Template
}

// notDeclarative are promptfoo's keys that need code, or that telltale has another place for.
var notDeclarative = map[string]string{
	"request":       "a raw request is not supported: give url, method, headers and body",
	"sessionParser": "sessions are not supported", "sessionSource": "sessions are not supported", "session": "sessions are not supported",
	"signatureAuth": "signed requests are not supported", "auth": "auth is not supported: give the header itself",
	"tls": "own certificates are not supported", "maxRetries": "retries are the run's: --retries", "toolFormat": "toolFormat is not supported",
	"transformToolsFormat": "transformToolsFormat is not supported", "multipart": "multipart bodies are not supported",
}

// FromConfig reads the provider's part of a suite. Mistakes are config.Errors.
func FromConfig(p config.Provider, _ wire.Env) (*Provider, error) {
	s := wire.ReadSettings(p)
	for _, key := range wire.SortedKeys(notDeclarative) {
		if s.Has(key) {
			s.Reject(key, notDeclarative[key], "")
		}
	}
	out := &Provider{id: p.ID, params: map[string]any{}, cached: true}
	address := s.String("url", "")
	if strings.Contains(p.ID, "://") {
		if address != "" && address != p.ID {
			s.Reject("url", "the id is an address too", "one of them")
		}
		address = p.ID
		out.id = shownID(p.ID)
	}
	secrets := out.address(s, address)
	secrets = append(secrets, out.readHeaders(s)...)
	secrets = append(secrets, out.readBody(s)...)
	out.readMethod(s)
	out.expressions(s)
	timeout, maxBytes := s.Bounds()
	out.cost = s.Cost()
	out.stream = s.Bool("stream", false)
	out.seed = s.Seed()
	if err := s.Err(); err != nil {
		return nil, err
	}
	out.seed.Describe(out.params)
	static := http.Header{"User-Agent": {"telltale"}, wire.RetryHeader: {"0"}}
	var names []string
	for name, value := range s.Headers() {
		names = append(names, name)
		if !template.IsTemplate(value) {
			static.Set(name, value)
		}
	}
	if out.body != nil && static.Get("Content-Type") == "" && !slices.ContainsFunc(out.headers, func(f field) bool { return strings.EqualFold(f.name, "Content-Type") }) {
		static.Set("Content-Type", out.body.media())
	}
	if slices.Sort(names); len(names) > 0 {
		out.params["headers"] = names // the values may be secrets
	}
	out.client = wire.New(wire.Options{Base: out.base, Header: static, Secrets: secrets, Timeout: timeout, MaxBytes: maxBytes})
	return out, nil
}

// shownID is an address as an id: without what may be secret in it.
func shownID(id string) string {
	u, err := url.Parse(id)
	if err != nil {
		return "http"
	}
	return wire.Shown(u)
}

// address reads URL and query. It returns what may be secret in them.
func (p *Provider) address(s *wire.Settings, address string) (secrets []string) {
	p.base = &url.URL{}
	if address == "" {
		s.Errs = append(s.Errs, &config.Error{Pos: s.Spec.Pos, Value: s.Spec.ID, Problem: "no address is given", Want: "config: {url: https://…}"})
		return nil
	}
	scheme, rest, _ := strings.Cut(address, "://")
	host, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	if template.IsTemplate(scheme + host) {
		s.Reject("url", "the host cannot be a template: a key could be sent to a place that a case names", "templates in the path and the query only")
		return nil
	}
	if template.IsTemplate(path) {
		p.path = p.template(s, "url", path)
		path = ""
	}
	base, err := wire.ParseBase(scheme + "://" + host + path)
	if err != nil {
		s.Reject("url", "not a URL", "http://HOST/PATH or https://HOST/PATH")
		return nil
	}
	p.base = base
	p.params["url"] = wire.Shown(base)
	if p.path != nil {
		p.params["path"] = p.path.Source()
	}
	key := s.Key("queryParams", "query_params")
	m := s.StringMap(key)
	shown := map[string]any{}
	for _, name := range wire.SortedKeys(m) {
		p.query = append(p.query, field{name, p.template(s, key, m[name])})
		if shown[name] = m[name]; secretName(name) {
			shown[name] = "[redacted]"
			secrets = append(secrets, m[name])
		}
	}
	if len(shown) > 0 {
		p.params["query"] = shown
	}
	return secrets
}

// secretName says whether a field's name tells that its value is a credential.
func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"key", "token", "secret", "password", "passwd", "auth", "credential", "signature"} {
		if strings.Contains(name, word) && !strings.Contains(name, "max_tokens") && !strings.Contains(name, "maxtokens") {
			return true
		}
	}
	return false
}

// template parses a text of the request and looks whether the cache may answer for it: it knows
// requests by their prompt alone.
func (p *Provider) template(s *wire.Settings, key, text string) *template.Template {
	t, err := template.Parse(text)
	if err != nil {
		s.Errs = append(s.Errs, &config.Error{Pos: s.Spec.Config.At(key), Problem: "invalid template", Err: err})
		return nil
	}
	names, simple := t.Names()
	p.cached = p.cached && simple
	for _, n := range names {
		p.cached = p.cached && (n == "prompt" || n == "messages" || n == "seed" || n == "stream")
	}
	return t
}

func (p *Provider) readHeaders(s *wire.Settings) (secrets []string) {
	headers := s.Headers()
	for _, name := range wire.SortedKeys(headers) {
		if value := headers[name]; template.IsTemplate(value) {
			p.headers = append(p.headers, field{name, p.template(s, "headers", value)})
		} else {
			secrets = append(secrets, value)
			if _, credential, ok := strings.Cut(value, " "); ok {
				secrets = append(secrets, credential) // Bearer …
			}
		}
	}
	return secrets
}

func (p *Provider) readBody(s *wire.Settings) (secrets []string) {
	key := "body"
	v := s.Value(key)
	if raw, ok := v.(json.RawMessage); ok {
		v = string(raw)
	}
	if t := s.Any("transformRequest"); t != nil {
		text, isText := t.(string)
		switch {
		case v != nil:
			s.Reject("transformRequest", "the request's body is given too", "one of them")
		case !isText || code(text):
			s.Reject("transformRequest", "code is not supported", `a template such as {"message": "{{prompt}}"}`)
		}
		v, key = t, "transformRequest"
	}
	if v == nil {
		return nil
	}
	b, shown, secrets, err := newBody(v, func(text string) (*template.Template, error) {
		t := p.template(s, key, text)
		if t == nil {
			return nil, errReported
		}
		return t, nil
	})
	if err != nil && !errors.Is(err, errReported) {
		s.Errs = append(s.Errs, &config.Error{Pos: s.Spec.Config.At(key), Err: err})
	}
	p.body = b
	p.params["body"] = shown
	return secrets
}

var errReported = errors.New("reported already")

func (p *Provider) readMethod(s *wire.Settings) {
	def := http.MethodGet
	if p.body != nil {
		def = http.MethodPost
	}
	p.method = strings.ToUpper(s.String("method", def))
	if !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, p.method) {
		s.Fail("method", "not a method", "GET, POST, PUT, PATCH or DELETE")
	}
	if p.method == http.MethodGet && p.body != nil {
		s.Fail("method", "a GET has no body", "POST, or queryParams instead of body")
	}
	p.params["method"] = p.method
}

// expressions reads what finds the answer and what stands beside it.
func (p *Provider) expressions(s *wire.Settings) {
	read := func(names ...string) *expression {
		key := s.Key(names...)
		text := s.String(key, "")
		if text == "" {
			return nil
		}
		e, err := compile(text)
		if err != nil {
			s.Errs = append(s.Errs, &config.Error{Pos: s.Spec.Config.At(key), Value: text, Problem: err.Error(), Want: "a path such as json.choices[0].message.content, or a CEL expression"})
			return nil
		}
		p.params[names[0]] = text
		return e
	}
	p.output = read("transformResponse", "responseParser", "response_parser")
	p.event = read("transformStream", "transform_stream")
	p.status = read("validateStatus", "validate_status")
	p.usage = read("usage", "tokenUsage")
	p.finish = read("finishReason", "finish_reason")
	p.model = read("model")
	p.failed = read("error")
}

// Describe returns the provider's part of a snapshot.
func (p *Provider) Describe() provider.Info {
	return provider.Info{ID: p.id, Params: p.params, Cacheable: p.cached, Warnings: p.warnings}
}

// Check asks whether the server is there; what it says to a GET of its root means nothing.
func (p *Provider) Check(ctx context.Context) error {
	root := url.URL{Scheme: p.base.Scheme, Host: p.base.Host, Path: "/"}
	err := p.client.Check(ctx, &root)
	if f, ok := errors.AsType[*record.Failure](err); ok && f.Status != 0 {
		return nil
	}
	return err
}

// Close closes idle connections.
func (p *Provider) Close() error { return p.client.Close() }

// Complete sends one request and reads its answer. The error is a *record.Failure.
func (p *Provider) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	if f := provider.Refused(ctx, p.id, &req); f != nil {
		return record.Response{}, f
	}
	call, err := p.call(&req)
	if err != nil {
		return record.Response{}, &record.Failure{Kind: record.BadRequest, Message: p.client.Clean(err.Error(), wire.ShownText)}
	}
	a := &answer{p: p, ctx: ctx}
	call.Whole = a.whole
	if p.event != nil {
		call.Stream = a
	}
	call.Got = func(status int, h http.Header) { a.status, a.header = status, h }
	latency, f := p.client.Do(ctx, call)
	if f != nil {
		return record.Response{}, f
	}
	a.out.Latency = latency
	if cost, given := p.cost.Of(a.out.Usage); given {
		a.out.Cost = cost
	}
	return a.out, nil
}

// call fills in the request.
func (p *Provider) call(req *record.Request) (wire.Call, error) {
	vars := p.vars(req)
	c := wire.Call{Method: p.method, Attempt: req.Attempt, Header: p.client.Header(), URL: p.base}
	if p.status != nil {
		c.OK = p.status.accepts
	}
	if p.path != nil || len(p.query) > 0 {
		u := *p.base
		if p.path != nil {
			// Values cannot leave their place in the path or the query.
			text, err := p.path.Render(escaped(p.path, vars, escapeURL))
			if err != nil {
				return c, fmt.Errorf("url: %w", err)
			}
			ref, err := url.Parse(text)
			if err != nil {
				return c, errors.New("url: the filled template is not a URL")
			}
			u.Path, u.RawPath, u.RawQuery = ref.Path, ref.RawPath, ref.RawQuery
		}
		q := u.Query()
		for _, f := range p.query {
			text, err := f.text.Render(escaped(f.text, vars, asIs))
			if err != nil {
				return c, fmt.Errorf("queryParams.%s: %w", f.name, err)
			}
			q.Set(f.name, text)
		}
		if len(p.query) > 0 {
			u.RawQuery = q.Encode()
		}
		c.URL = &u
	}
	if len(p.headers) > 0 {
		c.Header = c.Header.Clone()
		for _, f := range p.headers {
			text, err := f.text.Render(escaped(f.text, vars, asIs))
			if err != nil {
				return c, fmt.Errorf("headers.%s: %w", f.name, err)
			}
			if strings.ContainsAny(text, "\r\n\x00") {
				return c, fmt.Errorf("headers.%s: the filled value holds a line break", f.name)
			}
			c.Header.Set(f.name, text)
		}
	}
	if p.body == nil {
		return c, nil
	}
	var err error
	if c.Body, err = p.body.render(vars); err != nil {
		return c, fmt.Errorf("body: %w", err)
	}
	return c, nil
}

// escapeURL is a value as a part of a path or a query.
func escapeURL(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// vars are what the templates may use.
func (p *Provider) vars(req *record.Request) map[string]any {
	vars := make(map[string]any, len(req.Vars)+5)
	for k, v := range req.Vars {
		vars[k] = v
	}
	vars["messages"] = messages(req.Messages)
	vars["prompt"] = req.Prompt
	if len(req.Messages) > 1 {
		// As promptfoo has it: a chat is the JSON of its messages.
		vars["prompt"] = chat{text: wire.JSON(vars["messages"]), list: vars["messages"]}
	}
	vars["stream"] = p.stream || req.Stream
	if seed, ok := p.seed.Of(req.Seed); ok {
		vars["seed"] = seed
	}
	if _, own := vars["vars"]; !own {
		vars["vars"] = req.Vars
	}
	return vars
}

// messages are plain maps, as templates and JSON want them.
func messages(ms []record.Message) []any {
	raw, err := json.Marshal(ms)
	if err != nil {
		return nil
	}
	var out []any
	_ = json.Unmarshal(raw, &out) // it was just written
	return out
}

// answer is one answer being read.
type answer struct {
	p      *Provider
	ctx    context.Context
	status int
	header http.Header
	out    record.Response
	text   strings.Builder
}
