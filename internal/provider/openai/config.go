package openai

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider/wire"
)

// Env is what reading a provider's settings needs from outside the suite.
type Env = wire.Env

// bodyKeys are settings that go into a request as they are, by endpoint.
var bodyKeys = map[string][]string{
	chatEndpoint: {
		"temperature", "max_tokens", "max_completion_tokens", "top_p", "frequency_penalty", "presence_penalty", "stop",
		"tool_choice", "parallel_tool_calls", "function_call", "reasoning_effort",
		"verbosity", "logprobs", "top_logprobs", "logit_bias", "user", "metadata", "store", "service_tier", "modalities", "audio",
		"prediction", "prompt_cache_key", "safety_identifier",
	},
	responsesEndpoint: {
		"temperature", "max_output_tokens", "top_p", "tool_choice", "parallel_tool_calls", "max_tool_calls", "reasoning", "text",
		"top_logprobs", "include", "instructions", "user", "metadata", "store", "service_tier", "truncation", "stop",
		"prompt_cache_key", "safety_identifier", "previous_response_id",
	},
	completionEndpoint: {
		"temperature", "max_tokens", "top_p", "frequency_penalty", "presence_penalty", "stop", "logprobs", "logit_bias", "best_of",
		"suffix", "user",
	},
	embeddingEndpoint: {"dimensions", "user", "encoding_format"},
}

// fileKeys are settings of the same kind that may be a file:// reference to JSON or YAML.
var fileKeys = map[string][]string{
	chatEndpoint:      {"response_format", "tools", "functions"},
	responsesEndpoint: {"tools"},
}

// ownKeys are the fields of a body that cannot be given as parameters.
var ownKeys = []string{"model", "messages", "stream", "stream_options", "seed", "input", "prompt", "echo", "n"}

// suite reads one provider of a suite.
type suite struct{ *wire.Settings }

// FromConfig reads the suite's part of a provider that answers prompts. Mistakes are config.Errors; a
// missing key is one.
func FromConfig(p config.Provider, env Env) (*Provider, error) {
	opts, err := options(p, env, "such as openai:chat:gpt-4.1-mini", chatEndpoint, responsesEndpoint, completionEndpoint)
	if err != nil {
		return nil, err
	}
	out, err := New(opts)
	if err != nil {
		return nil, &config.Error{Pos: p.Pos, Value: p.ID, Err: err}
	}
	return out, nil
}

// options reads the settings of a provider whose id must name one of the endpoints.
func options(p config.Provider, env Env, want string, allowed ...string) (Options, error) {
	f, at, model, problem := parseID(p.ID)
	if problem == "" && !slices.Contains(allowed, at.name) {
		problem = "a model of the " + at.name + " endpoint cannot be used here"
	}
	if problem != "" {
		return Options{}, &config.Error{Pos: p.Pos, Value: p.ID, Problem: problem, Want: want}
	}
	s := &suite{wire.ReadSettings(p)}
	opts := Options{ID: p.ID, Model: model, Prices: env.Prices}
	if m := s.String(s.Key("model", "deploymentName"), ""); m != "" {
		opts.Model = m
	}
	if opts.Model == "" {
		s.Errs = append(s.Errs, &config.Error{Pos: p.Pos, Value: p.ID, Problem: "no model is named", Want: want})
	}
	own := s.address(&opts, f, env)
	s.credentials(&opts, f, env, own)
	opts.Timeout, opts.MaxBytes = s.Bounds()
	opts.Cost = s.Cost()
	s.body(&opts, at.name)
	if f.deployments && at.name == responsesEndpoint && !strings.HasSuffix(strings.TrimRight(opts.BaseURL, "/"), "/v1") {
		s.Errs = append(s.Errs, &config.Error{Pos: p.Pos, Value: p.ID, Problem: "Azure has responses at its newer address only", Want: "an apiBaseUrl that ends in /openai/v1"})
	}
	return opts, s.Err()
}

// address finds the server. It reports whether that is the flavour's own service.
func (s *suite) address(opts *Options, f flavour, env Env) (own bool) {
	baseKey := s.Key("apiBaseUrl", "api_base_url", "base_url", "baseUrl")
	base := s.String(baseKey, "")
	hostKey := s.Key("apiHost", "api_host")
	host := s.String(hostKey, "")
	opts.APIVersion = s.String(s.Key("apiVersion", "api_version"), "")
	fromEnv := ""
	switch {
	case base != "" && host != "":
		s.Reject(hostKey, "both a host and a base URL are given", "one of them")
	case host != "":
		base = hostURL(f, host)
		baseKey = hostKey
	case base == "":
		if base, fromEnv = env.Get(f.baseVars...); base == "" {
			if host, fromEnv = env.Get(f.hostVars...); host != "" {
				base = hostURL(f, host)
			}
		}
	}
	if base == "" {
		base = f.base
	}
	if base == "" {
		s.Errs = append(s.Errs, &config.Error{
			Pos: s.Spec.Pos, Value: s.Spec.ID, Problem: "no server is named",
			Hint: fmt.Sprintf("give apiHost or apiBaseUrl, or set %s", f.baseVars[0]),
		})
		return false
	}
	u, err := wire.ParseBase(base)
	if err != nil {
		if fromEnv != "" {
			s.Errs = append(s.Errs, &config.Error{Pos: s.Spec.Pos, Problem: "environment variable " + fromEnv + ": " + err.Error()})
		} else {
			s.Reject(baseKey, err.Error(), "such as http://localhost:8000/v1")
		}
		return false
	}
	if fromEnv != "" && u.Path == "" && strings.HasSuffix(f.base, "/v1") {
		u.Path = "/v1" // these variables commonly hold the server alone
	}
	opts.BaseURL = u.String()
	return f.deployments && strings.HasSuffix(u.Hostname(), ".azure.com") || sameHost(f.base, u)
}

func hostURL(f flavour, host string) string {
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	host = strings.TrimRight(host, "/")
	if f.deployments {
		return host
	}
	return host + "/v1"
}

func sameHost(base string, u *url.URL) bool {
	b, err := url.Parse(base)
	return err == nil && b.Host != "" && b.Host == u.Host
}

// credentials finds the key and the headers. own says that the server is the flavour's own service.
func (s *suite) credentials(opts *Options, f flavour, env Env, own bool) {
	var warning string
	opts.Key, warning = s.APIKey(wire.Credential{Names: f.keyVars, Required: own && f.keyRequired}, env)
	if warning != "" {
		opts.Warnings = append(opts.Warnings, warning)
	}
	opts.Organization = s.String("organization", "")
	if opts.Organization == "" && own && f.name == "OpenAI" {
		opts.Organization, _ = env.Get("OPENAI_ORGANIZATION")
	}
	opts.Headers = s.Headers()
}

// body collects the parameters of the request.
func (s *suite) body(opts *Options, at string) {
	switch at {
	case embeddingEndpoint, moderationEndpoint, completionEndpoint:
		opts.BatchSize = s.Int("batch_size", 0)
		if opts.BatchSize < 0 || opts.BatchSize > maxBatch {
			s.Fail("batch_size", "out of range", fmt.Sprintf("a number of texts from 1 to %d", maxBatch))
		}
	}
	if at != embeddingEndpoint && at != moderationEndpoint {
		opts.Seed = s.Seed()
		opts.Stream = s.Bool("stream", false)
		opts.NoStreamUsage = !s.Bool(s.Key("stream_usage", "streamUsage"), true)
	}
	if at == responsesEndpoint {
		s.responses(opts)
	}
	for _, k := range slices.Concat(bodyKeys[at], fileKeys[at]) {
		s.check(k, at)
	}
	body := s.Body(bodyKeys[at], fileKeys[at], ownKeys)
	for k, v := range opts.Body {
		body[k] = v
	}
	opts.Body = body
}

// check catches what no server accepts, before the first request is paid for.
func (s *suite) check(key, at string) {
	v := s.Any(key)
	if v == nil {
		return
	}
	switch key {
	case "temperature":
		s.Range(key, 0, 2)
	case "top_p":
		s.Range(key, 0, 1)
	case "frequency_penalty", "presence_penalty":
		s.Range(key, -2, 2)
	case "max_tokens", "max_completion_tokens", "max_output_tokens", "dimensions":
		s.Tokens(key)
	case "top_logprobs":
		s.Range(key, 0, 20)
	case "logprobs":
		if at == completionEndpoint {
			s.Range(key, 0, 20)
		} else if _, ok := v.(bool); !ok {
			s.Fail(key, "not a boolean", "true or false; how many alternatives is top_logprobs")
		}
	case "stop":
		s.Strings(key)
	case "encoding_format":
		if v != "float" && v != "base64" {
			s.Fail(key, "not a format", "float or base64")
		}
	}
}
