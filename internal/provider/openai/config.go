package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
)

// Env is what reading a provider's settings needs from outside the suite.
type Env struct {
	// Lookup reads an environment variable; nil means that none is set.
	Lookup func(string) (string, bool)
	// Prices is the price table; nil prices nothing.
	Prices *provider.Prices
}

// get returns the first variable that is set and not empty, with its name.
func (e Env) get(names ...string) (value, name string) {
	if e.Lookup == nil {
		return "", ""
	}
	for _, n := range names {
		if v, ok := e.Lookup(n); ok && strings.TrimSpace(v) != "" {
			return strings.TrimSpace(v), n
		}
	}
	return "", ""
}

// bodyKeys are settings that go into the request as they are.
var bodyKeys = []string{
	"temperature", "max_tokens", "max_completion_tokens", "top_p", "frequency_penalty", "presence_penalty", "stop",
	"response_format", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "reasoning_effort",
	"verbosity", "logprobs", "top_logprobs", "logit_bias", "user", "metadata", "store", "service_tier", "modalities", "audio",
	"prediction", "prompt_cache_key", "safety_identifier",
}

// fileKeys are those of them that may be a file:// reference to JSON or YAML.
var fileKeys = []string{"response_format", "tools", "functions"}

// suite reads one provider of a suite and collects the mistakes in it.
type suite struct {
	*config.Reader
	spec config.Provider
	errs config.Errors
}

// key returns which of a setting's spellings is used, the first when none is.
func (s *suite) key(names ...string) string {
	used := ""
	for _, n := range names {
		if !s.Has(n) {
			continue
		}
		if used != "" {
			s.errs = append(s.errs, config.Errorf(s.spec.Config.At(n), "%s is another name for %s: give one of them", n, used))
			continue
		}
		used = n
	}
	if used == "" {
		return names[0]
	}
	return used
}

// reject reports a mistake without repeating the value, which may be a secret.
func (s *suite) reject(key, problem, want string) {
	s.errs = append(s.errs, &config.Error{Pos: s.spec.Config.At(key), Problem: problem, Want: want})
}

// FromConfig reads the provider's part of a suite. Mistakes are config.Errors; a missing key is one.
func FromConfig(p config.Provider, env Env) (*Provider, error) {
	f, model, problem := parseID(p.ID)
	if problem != "" {
		return nil, &config.Error{Pos: p.Pos, Value: p.ID, Problem: problem, Want: "such as openai:chat:gpt-4.1-mini"}
	}
	s := &suite{Reader: p.Config.Reader(), spec: p}
	opts := Options{ID: p.ID, Model: model, Prices: env.Prices, Body: map[string]any{}}
	if m := s.String(s.key("model", "deploymentName"), ""); m != "" {
		opts.Model = m
	}
	if opts.Model == "" {
		s.errs = append(s.errs, &config.Error{Pos: p.Pos, Value: p.ID, Problem: "no model is named", Want: "such as openai:chat:gpt-4.1-mini"})
	}
	own := s.address(&opts, f, env)
	s.credentials(&opts, f, env, own)
	s.bounds(&opts)
	s.body(&opts)
	s.errs.Append(p.Config.Pos, s.Finish())
	if err := s.errs.Err(); err != nil {
		return nil, err
	}
	out, err := New(opts)
	if err != nil {
		return nil, &config.Error{Pos: p.Pos, Value: p.ID, Err: err}
	}
	return out, nil
}

// address finds the server. It reports whether that is the flavour's own service.
func (s *suite) address(opts *Options, f flavour, env Env) (own bool) {
	baseKey := s.key("apiBaseUrl", "api_base_url", "base_url", "baseUrl")
	base := s.String(baseKey, "")
	hostKey := s.key("apiHost", "api_host")
	host := s.String(hostKey, "")
	opts.APIVersion = s.String(s.key("apiVersion", "api_version"), "")
	fromEnv := ""
	switch {
	case base != "" && host != "":
		s.reject(hostKey, "both a host and a base URL are given", "one of them")
	case host != "":
		base = hostURL(f, host)
		baseKey = hostKey
	case base == "":
		if base, fromEnv = env.get(f.baseVars...); base == "" {
			if host, fromEnv = env.get(f.hostVars...); host != "" {
				base = hostURL(f, host)
			}
		}
	}
	if base == "" {
		base = f.base
	}
	if base == "" {
		s.errs = append(s.errs, &config.Error{
			Pos: s.spec.Pos, Value: s.spec.ID, Problem: "no server is named",
			Hint: fmt.Sprintf("give apiHost or apiBaseUrl, or set %s", f.baseVars[0]),
		})
		return false
	}
	u, err := parseBase(base)
	if err != nil {
		if fromEnv != "" {
			s.errs = append(s.errs, &config.Error{Pos: s.spec.Pos, Problem: "environment variable " + fromEnv + ": " + err.Error()})
		} else {
			s.reject(baseKey, err.Error(), "such as http://localhost:8000/v1")
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
	literalKey := s.key("apiKey", "api_key")
	switch v := s.Any(literalKey).(type) {
	case nil:
	case string:
		opts.Key = strings.TrimSpace(v)
	default:
		s.reject(literalKey, "not a string", "a string, or better apiKeyEnvar")
	}
	varKey := s.key("apiKeyEnvar", "api_key_envar", "api_key_env")
	variable := s.String(varKey, "")
	required := s.Bool(s.key("apiKeyRequired", "api_key_required"), own && f.keyRequired || variable != "")
	names := f.keyVars
	if variable != "" {
		names = []string{variable}
	}
	if opts.Key != "" {
		if variable == "" {
			opts.Warnings = append(opts.Warnings, fmt.Sprintf("%s: the suite holds an API key; name an environment variable with apiKeyEnvar instead", s.spec.Config.At(literalKey)))
		}
	} else {
		opts.Key, _ = env.get(names...)
	}
	if opts.Key == "" && required {
		at := s.spec.Pos
		if variable != "" {
			at = s.spec.Config.At(varKey)
		}
		s.errs = append(s.errs, &config.Error{
			Pos: at, Value: s.spec.ID, Problem: fmt.Sprintf("no API key: environment variable %s is not set", strings.Join(names, " or ")),
			Hint: "set it, or name another one with apiKeyEnvar; apiKeyRequired: false sends none",
		})
	}
	if strings.ContainsAny(opts.Key, "\r\n\x00") {
		s.reject(literalKey, "the API key holds a line break", "one line")
	}
	opts.Organization = s.String("organization", "")
	if opts.Organization == "" && own && f.name == "OpenAI" {
		opts.Organization, _ = env.get("OPENAI_ORGANIZATION")
	}
	opts.Headers = s.headers()
}

func (s *suite) headers() map[string]string {
	v := s.Any("headers")
	if v == nil {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		s.reject("headers", "not a mapping", "a mapping of header names to values")
		return nil
	}
	out := make(map[string]string, len(m))
	for _, name := range sortedKeys(m) {
		switch v := m[name].(type) {
		case string:
			if strings.ContainsAny(v, "\r\n\x00") {
				s.reject("headers."+name, "the value holds a line break", "one line")
			}
			out[name] = v
		case int64, uint64, float64, bool:
			out[name] = fmt.Sprint(v)
		default:
			s.reject("headers."+name, "not a string", "a string")
		}
		if name == "" || strings.ContainsAny(name, " \t\r\n:\"(),/;<=>?@[\\]{}") {
			s.reject("headers", fmt.Sprintf("%q is not the name of a header", name), "a name such as X-Team")
		}
	}
	return out
}

// bounds reads time, size and price.
func (s *suite) bounds(opts *Options) {
	opts.Timeout = s.Duration("timeout", DefaultTimeout)
	if opts.Timeout < time.Millisecond {
		s.Fail("timeout", "too short", "at least 1ms")
	}
	key := s.key("max_bytes", "maxBytes")
	opts.MaxBytes = int64(s.Int(key, DefaultMaxBytes))
	if opts.MaxBytes < 1 {
		s.Fail(key, "not above 0", "a number of bytes")
	}
	opts.Stream = s.Bool("stream", false)
	opts.NoStreamUsage = !s.Bool(s.key("stream_usage", "streamUsage"), true)
	both := s.price("cost")
	opts.InputCost, opts.OutputCost = s.price(s.key("inputCost", "input_cost")), s.price(s.key("outputCost", "output_cost"))
	if opts.InputCost == nil {
		opts.InputCost = both
	}
	if opts.OutputCost == nil {
		opts.OutputCost = both
	}
	if (opts.InputCost == nil) != (opts.OutputCost == nil) {
		s.Fail(s.key("inputCost", "input_cost", "outputCost", "output_cost"), "only one of the two prices is given", "inputCost and outputCost, or cost for both")
	}
	switch v := s.Any("seed").(type) {
	case nil:
	case bool:
		opts.Seed.Off = !v
	case int64:
		opts.Seed.Fixed = &v
	default:
		s.Fail("seed", "not a seed", "true (the sample's own), false (none) or a whole number")
	}
}

func (s *suite) price(key string) *float64 {
	v := s.Float(key)
	if v != nil && *v < 0 {
		s.Fail(key, "below 0", "US dollars per token")
	}
	return v
}

// body collects the parameters of the request.
func (s *suite) body(opts *Options) {
	for _, k := range bodyKeys {
		v := s.Any(k)
		if v == nil {
			continue
		}
		if path, ok := v.(string); ok && slices.Contains(fileKeys, k) && strings.HasPrefix(path, "file://") {
			v = s.file(k, strings.TrimPrefix(path, "file://"))
		}
		s.check(k, v)
		opts.Body[k] = v
	}
	extra := s.Any("passthrough")
	if extra == nil {
		return
	}
	m, ok := extra.(map[string]any)
	if !ok {
		s.Fail("passthrough", "not a mapping", "extra fields of the request")
		return
	}
	for _, k := range sortedKeys(m) {
		if slices.Contains(ownKeys, k) || k == "n" {
			s.reject("passthrough."+k, k+" is telltale's own to set", "another field; the model is in the id, the number of answers is samples")
		}
	}
	maps.Copy(opts.Body, m)
}

// check catches what no server accepts, before the first request is paid for.
func (s *suite) check(key string, v any) {
	number := func(low, high float64) {
		if f, ok := config.Number(v); !ok || f < low || f > high {
			s.Fail(key, "out of range", fmt.Sprintf("a number from %g to %g", low, high))
		}
	}
	switch key {
	case "temperature":
		number(0, 2)
	case "top_p":
		number(0, 1)
	case "frequency_penalty", "presence_penalty":
		number(-2, 2)
	case "max_tokens", "max_completion_tokens":
		if f, ok := config.Number(v); !ok || f != float64(int64(f)) || f < 1 {
			s.Fail(key, "not a number of tokens", "a whole number from 1")
		}
	case "top_logprobs":
		number(0, 20)
	case "logprobs":
		if _, ok := v.(bool); !ok {
			s.Fail(key, "not a boolean", "true or false; how many alternatives is top_logprobs")
		}
	case "stop":
		s.Strings(key)
	}
}

// file reads a JSON or YAML file beside the suite. JSON goes out as it was written: models fill in
// a schema's properties in the order in which it lists them, and a decoded mapping has none.
func (s *suite) file(key, path string) any {
	if !filepath.IsAbs(path) {
		path = filepath.Join(provider.Dir(s.spec), path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			err = pe.Err
		}
		s.errs = append(s.errs, &config.Error{Pos: s.spec.Config.At(key), Value: path, Problem: "cannot read the file", Err: err})
		return nil
	}
	if json.Valid(data) {
		var b bytes.Buffer
		if err := json.Compact(&b, data); err == nil {
			return json.RawMessage(b.Bytes())
		}
	}
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil || v == nil {
		s.errs = append(s.errs, &config.Error{Pos: config.Pos{File: path}, Problem: "not JSON or YAML", Err: err})
		return nil
	}
	return v
}
