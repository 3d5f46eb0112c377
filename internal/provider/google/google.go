// Package google is the provider for Google's Gemini API (AI Studio keys), through the vendor's own SDK.
//
// It makes one attempt a call: the SDK does not retry, for that belongs to the runner. The SDK sends
// through package wire's transport, so that failures, size limits and redaction are those of all
// providers. It is not for Vertex. A request passes through it like this: system messages become the
// system instruction, the others the contents; the text parts of the first candidate are the output,
// its function calls the tool calls; thoughts are left out.
package google

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/genai"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

const home = "https://generativelanguage.googleapis.com"

// noKey is sent where none is wanted, for the SDK insists on one and would look for it in the environment.
const noKey = "none"

// Recognises says whether an id belongs to this package.
func Recognises(id string) bool { return strings.HasPrefix(id, "google:") }

// settings are those of the SDK's generation config that a suite may set, by its spellings; the last
// one is the SDK's.
var settings = [][]string{
	{"temperature"}, {"top_p", "topP"}, {"top_k", "topK"}, {"max_tokens", "max_output_tokens", "maxOutputTokens"},
	{"stop", "stop_sequences", "stopSequences"}, {"presence_penalty", "presencePenalty"}, {"frequency_penalty", "frequencyPenalty"},
	{"logprobs_enabled", "responseLogprobs"}, {"top_logprobs", "logprobs"},
	{"response_mime_type", "responseMimeType"}, {"response_schema", "responseSchema"}, {"response_json_schema", "responseJsonSchema"},
	{"safety_settings", "safetySettings"}, {"tools"}, {"tool_config", "toolConfig"}, {"thinking_config", "thinkingConfig"},
	{"service_tier", "serviceTier"}, {"cached_content", "cachedContent"},
}

// Provider asks one model. It is safe for concurrent use.
type Provider struct {
	id, model string
	stream    bool
	seed      wire.Seed
	base      *url.URL
	client    *wire.Client
	models    *genai.Models
	config    genai.GenerateContentConfig
	params    map[string]any
	cost      wire.Cost
	prices    *provider.Prices
	warnings  []string
}

// FromConfig reads the provider's part of a suite: google:MODEL. Mistakes are config.Errors.
func FromConfig(p config.Provider, env wire.Env) (*Provider, error) {
	s := wire.ReadSettings(p)
	out := &Provider{id: p.ID, model: strings.TrimPrefix(p.ID, "google:"), prices: env.Prices, params: map[string]any{}}
	if kind, _, more := strings.Cut(out.model, ":"); more {
		return nil, &config.Error{Pos: p.Pos, Value: p.ID, Problem: "google:" + kind + " is not supported", Want: "google:MODEL"}
	}
	if m := s.String("model", ""); m != "" {
		out.model = m
	}
	if out.model == "" {
		s.Errs = append(s.Errs, &config.Error{Pos: p.Pos, Value: p.ID, Problem: "no model is named", Want: "such as google:gemini-2.5-flash"})
	}
	base, own := s.Address(home, []string{"GOOGLE_GEMINI_BASE_URL", "GOOGLE_API_BASE_URL"}, env)
	key, warning := s.APIKey(wire.Credential{Names: []string{"GEMINI_API_KEY", "GOOGLE_API_KEY"}, Required: own}, env)
	if warning != "" {
		out.warnings = append(out.warnings, warning)
	}
	headers := s.Headers()
	timeout, maxBytes := s.Bounds()
	out.cost = s.Cost()
	out.stream = s.Bool("stream", false)
	out.seed = s.Seed()
	version := s.String(s.Key("apiVersion", "api_version"), "v1beta")
	out.generation(s)
	passthrough := s.Body(nil, nil, []string{"contents", "systemInstruction", "generationConfig"})
	if err := s.Err(); err != nil {
		return nil, err
	}
	maps.Copy(out.params, passthrough)
	if err := out.open(base, version, key, headers, passthrough, timeout, maxBytes); err != nil {
		return nil, &config.Error{Pos: p.Pos, Value: p.ID, Problem: "the client cannot be made"}
	}
	return out, nil
}

// generation reads what decides the answer. promptfoo has it under generationConfig too.
func (p *Provider) generation(s *wire.Settings) {
	s.Range("temperature", 0, 2)
	raw := map[string]any{}
	for _, names := range settings {
		key := s.Key(names...)
		v := s.Value(key)
		if v == nil {
			continue
		}
		if text, ok := v.(string); ok && strings.HasPrefix(names[0], "stop") {
			v = []any{text}
		}
		raw[names[len(names)-1]] = v
	}
	switch g := s.Any("generationConfig").(type) {
	case nil:
	case map[string]any:
		for k, v := range g {
			for _, names := range settings {
				for _, n := range names {
					if n == k {
						k = names[len(names)-1]
					}
				}
			}
			if _, twice := raw[k]; twice {
				s.Reject("generationConfig", k+" is given twice", "one place for each setting")
			}
			raw[k] = v
		}
	default:
		s.Reject("generationConfig", "not a mapping", "a mapping of settings")
	}
	if raw["seed"] != nil {
		s.Reject("generationConfig", "seed stands beside generationConfig", "seed: NUMBER")
	}
	data, err := json.Marshal(raw)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		err = d.Decode(&p.config)
	}
	if err != nil {
		s.Errs = append(s.Errs, &config.Error{Pos: s.Spec.Config.Pos, Problem: "the settings do not fit the API", Err: errors.New(strings.TrimPrefix(err.Error(), "json: "))})
	}
	maps.Copy(p.params, raw)
}

// open makes the SDK's client.
func (p *Provider) open(base *url.URL, version, key string, headers map[string]string, passthrough map[string]any, timeout time.Duration, maxBytes int64) error {
	base.Path = strings.TrimSuffix(base.Path, "/"+version)
	p.base = base
	secrets := []string{key}
	h, more := http.Header{"User-Agent": {"telltale"}}, http.Header{}
	if key == "" {
		key = noKey
	}
	h.Set("X-Goog-Api-Key", key)
	for _, name := range wire.SortedKeys(headers) {
		h.Set(name, headers[name])
		more.Set(name, headers[name])
		secrets = append(secrets, headers[name])
	}
	p.client = wire.New(wire.Options{Base: base, Header: h, Secrets: secrets, Timeout: timeout, MaxBytes: maxBytes})
	options := genai.HTTPOptions{BaseURL: base.String() + "/", APIVersion: version, Headers: more}
	if len(passthrough) > 0 {
		options.ExtraBody = passthrough
	}
	c, err := genai.NewClient(context.Background(), &genai.ClientConfig{
		APIKey: key, Backend: genai.BackendGeminiAPI, HTTPClient: &http.Client{Transport: p.client.RoundTripper()}, HTTPOptions: options,
	})
	if err != nil {
		return err // it may hold the key: not to be shown
	}
	p.models = c.Models
	p.seed.Describe(p.params)
	if base.String() != home {
		p.params["base_url"] = wire.Shown(base)
	}
	if names := wire.SortedKeys(headers); len(names) > 0 {
		p.params["headers"] = names // the values may be secrets
	}
	return nil
}

// Describe returns the provider's part of a snapshot.
func (p *Provider) Describe() provider.Info {
	quote := func(u record.Usage) *float64 { return (&answer{p: p, out: record.Response{Usage: u}}).price() }
	return provider.Info{ID: p.id, Model: p.model, Params: p.params, Cacheable: true, Warnings: p.warnings, Quote: quote}
}

// Check asks whether the server is there and takes the key, without asking the model anything.
func (p *Provider) Check(ctx context.Context) error {
	u := *p.base
	u.Path += "/v1beta/models"
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
	contents, settings, fail := p.encode(&req)
	if fail != nil {
		return record.Response{}, fail
	}
	a := &answer{p: p, start: time.Now()}
	if p.stream || req.Stream {
		fail = a.stream(ctx, x, contents, settings)
	} else {
		fail = a.whole(ctx, x, contents, settings)
	}
	if fail != nil {
		return record.Response{}, fail
	}
	a.out.Latency = time.Since(a.start)
	if fail := a.finish(); fail != nil {
		return record.Response{}, fail
	}
	return a.out, nil
}

// encode makes the contents and the settings of one request.
func (p *Provider) encode(req *record.Request) ([]*genai.Content, *genai.GenerateContentConfig, *record.Failure) {
	settings := p.config
	if seed, ok := p.seed.Of(req.Seed); ok {
		s := int32(seed)
		settings.Seed = &s
	}
	if req.JSON && settings.ResponseMIMEType == "" && len(settings.Tools) == 0 {
		settings.ResponseMIMEType = "application/json"
	}
	var contents []*genai.Content
	var system []*genai.Part
	for i := range req.Messages {
		m := &req.Messages[i]
		if m.Role == "system" || m.Role == "developer" {
			if text := m.Text(); text != "" {
				system = append(system, &genai.Part{Text: text})
			}
			continue
		}
		role := genai.RoleUser
		if m.Role == "assistant" {
			role = genai.RoleModel
		}
		parts, err := encodeParts(m)
		if err != nil {
			return nil, nil, &record.Failure{Kind: record.BadRequest, Message: err.Error()}
		}
		if len(parts) > 0 {
			contents = append(contents, &genai.Content{Role: role, Parts: parts})
		}
	}
	if len(system) > 0 {
		settings.SystemInstruction = &genai.Content{Parts: system}
	}
	if len(contents) == 0 {
		return nil, nil, &record.Failure{Kind: record.BadRequest, Message: "the prompt has no text besides the system's"}
	}
	return contents, &settings, nil
}

func encodeParts(m *record.Message) ([]*genai.Part, error) {
	if len(m.Parts) == 0 {
		if m.Content == "" {
			return nil, nil
		}
		return []*genai.Part{{Text: m.Content}}, nil
	}
	var out []*genai.Part
	for _, part := range m.Parts {
		media, content, inline := wire.DataURI(part.ImageURL)
		switch {
		case inline:
			blob := &genai.Blob{MIMEType: media}
			if err := json.Unmarshal([]byte(`"`+content+`"`), &blob.Data); err != nil {
				return nil, fmt.Errorf("an image is not base64")
			}
			out = append(out, &genai.Part{InlineData: blob})
		case part.ImageURL != "":
			out = append(out, &genai.Part{FileData: &genai.FileData{FileURI: part.ImageURL}})
		case part.Text != "":
			out = append(out, &genai.Part{Text: part.Text})
		}
	}
	return out, nil
}
