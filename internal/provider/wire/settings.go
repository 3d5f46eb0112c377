package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
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
	// Unasked says that nothing will be asked, so that an API key need not be there.
	Unasked bool
}

// Get returns the first variable that is set and not empty, with its name.
func (e Env) Get(names ...string) (value, name string) {
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

// Settings reads one provider of a suite and collects the mistakes in it.
type Settings struct {
	*config.Reader
	Spec config.Provider
	Errs config.Errors
}

// ReadSettings returns a strict reader of a provider's config.
func ReadSettings(p config.Provider) *Settings {
	return &Settings{Reader: p.Config.Reader(), Spec: p}
}

// Err returns all mistakes, with each key that nobody asked for; nil when there is none.
func (s *Settings) Err() error {
	s.Errs.Append(s.Spec.Config.Pos, s.Finish())
	return s.Errs.Err()
}

// Key returns which of a setting's spellings is used, the first when none is.
func (s *Settings) Key(names ...string) string {
	used := ""
	for _, n := range names {
		if !s.Has(n) {
			continue
		}
		if used != "" {
			s.Errs = append(s.Errs, config.Errorf(s.Spec.Config.At(n), "%s is another name for %s: give one of them", n, used))
			continue
		}
		used = n
	}
	if used == "" {
		return names[0]
	}
	return used
}

// Reject reports a mistake without repeating the value, which may be a secret.
func (s *Settings) Reject(key, problem, want string) {
	s.Errs = append(s.Errs, &config.Error{Pos: s.Spec.Config.At(key), Problem: problem, Want: want})
}

// Credential says where a provider's API key comes from.
type Credential struct {
	// Names are the environment variables that may hold it, the first that is set wins.
	Names []string
	// Required is the default of apiKeyRequired; a variable that the suite names is required anyway.
	Required bool
}

// APIKey finds the key: in the suite, with a warning, or in the environment.
func (s *Settings) APIKey(c Credential, env Env) (key, warning string) {
	literal := s.Key("apiKey", "api_key")
	switch v := s.Any(literal).(type) {
	case nil:
	case string:
		key = strings.TrimSpace(v)
	default:
		s.Reject(literal, "not a string", "a string, or better apiKeyEnvar")
	}
	varKey := s.Key("apiKeyEnvar", "api_key_envar", "api_key_env")
	variable := s.String(varKey, "")
	required := s.Bool(s.Key("apiKeyRequired", "api_key_required"), c.Required || variable != "")
	names := c.Names
	if variable != "" {
		names = []string{variable}
	}
	if key == "" {
		key, _ = env.Get(names...)
	} else if variable == "" {
		warning = fmt.Sprintf("%s: the suite holds an API key; name an environment variable with apiKeyEnvar instead", s.Spec.Config.At(literal))
	}
	if key == "" && required && !env.Unasked {
		at := s.Spec.Pos
		if variable != "" {
			at = s.Spec.Config.At(varKey)
		}
		s.Errs = append(s.Errs, &config.Error{
			Pos: at, Value: s.Spec.ID, Problem: fmt.Sprintf("no API key: environment variable %s is not set", strings.Join(names, " or ")),
			Hint: "set it, or name another one with apiKeyEnvar; apiKeyRequired: false sends none",
		})
	}
	if strings.ContainsAny(key, "\r\n\x00") {
		s.Reject(literal, "the API key holds a line break", "one line")
	}
	return key, warning
}

// Address finds the server of a provider that has one of its own: in the suite, in the environment,
// or def. own says that it is the vendor's. Nil means that a mistake was reported.
func (s *Settings) Address(def string, vars []string, env Env) (base *url.URL, own bool) {
	key := s.Key("apiBaseUrl", "api_base_url", "base_url", "baseUrl")
	text, variable := s.String(key, ""), ""
	if hostKey := s.Key("apiHost", "api_host"); s.Has(hostKey) {
		if text != "" {
			s.Reject(hostKey, "both a host and a base URL are given", "one of them")
		}
		if text = s.String(hostKey, ""); !strings.Contains(text, "://") {
			text = "https://" + text
		}
		key = hostKey
	}
	if text == "" {
		text, variable = env.Get(vars...)
	}
	if text == "" {
		text = def
	}
	base, err := ParseBase(text)
	switch {
	case err == nil:
		d, _ := url.Parse(def)
		return base, d != nil && d.Host == base.Host
	case variable != "":
		s.Errs = append(s.Errs, &config.Error{Pos: s.Spec.Pos, Problem: "environment variable " + variable + ": " + err.Error()})
	default:
		s.Reject(key, err.Error(), "such as "+def)
	}
	return nil, false
}

// Headers reads further headers. Their values are never shown.
func (s *Settings) Headers() map[string]string {
	v := s.Any("headers")
	if v == nil {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		s.Reject("headers", "not a mapping", "a mapping of header names to values")
		return nil
	}
	out := make(map[string]string, len(m))
	for _, name := range SortedKeys(m) {
		switch v := m[name].(type) {
		case string:
			if strings.ContainsAny(v, "\r\n\x00") {
				s.Reject("headers."+name, "the value holds a line break", "one line")
			}
			out[name] = v
		case int64, uint64, float64, bool:
			out[name] = fmt.Sprint(v)
		default:
			s.Reject("headers."+name, "not a string", "a string")
		}
		if name == "" || strings.ContainsAny(name, " \t\r\n:\"(),/;<=>?@[\\]{}") {
			s.Reject("headers", fmt.Sprintf("%q is not the name of a header", name), "a name such as X-Team")
		}
	}
	return out
}

// Bounds reads the limits of a call in time and size.
func (s *Settings) Bounds() (timeout time.Duration, maxBytes int64) {
	timeout = s.Duration("timeout", DefaultTimeout)
	if timeout < time.Millisecond {
		s.Fail("timeout", "too short", "at least 1ms")
	}
	key := s.Key("max_bytes", "maxBytes")
	maxBytes = int64(s.Int(key, DefaultMaxBytes))
	if maxBytes < 1 {
		s.Fail(key, "not above 0", "a number of bytes")
	}
	return timeout, maxBytes
}

// Cost reads the price of a token, when the suite gives one.
func (s *Settings) Cost() Cost {
	both := s.price("cost")
	c := Cost{Input: s.price(s.Key("inputCost", "input_cost")), Output: s.price(s.Key("outputCost", "output_cost"))}
	if c.Input == nil {
		c.Input = both
	}
	if c.Output == nil {
		c.Output = both
	}
	if (c.Input == nil) != (c.Output == nil) {
		s.Fail(s.Key("inputCost", "input_cost", "outputCost", "output_cost"), "only one of the two prices is given", "inputCost and outputCost, or cost for both")
	}
	return c
}

func (s *Settings) price(key string) *float64 {
	v := s.Float(key)
	if v != nil && *v < 0 {
		s.Fail(key, "below 0", "US dollars per token")
	}
	return v
}

// Seed says which seed goes into a request. The zero value sends the sample's own.
type Seed struct {
	Off   bool
	Fixed *int64
}

// seedBits masks a seed to what every server takes: several hold it in 32 bits, some signed.
const seedBits = 1<<31 - 1

// Of returns the seed to send for a sample's own; ok is false when none is sent.
func (s Seed) Of(sample int64) (seed int64, ok bool) {
	switch {
	case s.Off:
		return 0, false
	case s.Fixed != nil:
		return *s.Fixed, true
	}
	return sample & seedBits, true
}

// Describe adds the setting to a snapshot's parameters where it is not the default.
func (s Seed) Describe(params map[string]any) {
	switch {
	case s.Off:
		params["seed"] = false
	case s.Fixed != nil:
		params["seed"] = *s.Fixed
	}
}

// Seed reads which seed to send.
func (s *Settings) Seed() (out Seed) {
	switch v := s.Any("seed").(type) {
	case nil:
	case bool:
		out.Off = !v
	case int64:
		out.Fixed = &v
	default:
		s.Fail("seed", "not a seed", "true (the sample's own), false (none) or a whole number")
	}
	return out
}

// Range reports a setting that is not a number from low to high. It does not look at one that is not set.
func (s *Settings) Range(key string, low, high float64) {
	v := s.Any(key)
	if v == nil {
		return
	}
	if f, ok := config.Number(v); !ok || f < low || f > high {
		s.Fail(key, "out of range", fmt.Sprintf("a number from %g to %g", low, high))
	}
}

// Tokens reports a setting that is not a number of tokens.
func (s *Settings) Tokens(key string) {
	v := s.Any(key)
	if v == nil {
		return
	}
	if f, ok := config.Number(v); !ok || f != float64(int64(f)) || f < 1 {
		s.Fail(key, "not a number of tokens", "a whole number from 1")
	}
}

// Value returns the setting at key; a file:// reference is replaced by the JSON or YAML in that file
// beside the suite. JSON comes as it was written (json.RawMessage): models fill in a schema's
// properties in the order in which it lists them, and a decoded mapping has none.
func (s *Settings) Value(key string) any {
	v := s.Any(key)
	path, ok := v.(string)
	if !ok || !strings.HasPrefix(path, "file://") {
		return v
	}
	path = strings.TrimPrefix(path, "file://")
	if !filepath.IsAbs(path) {
		path = filepath.Join(provider.Dir(s.Spec), path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			err = pe.Err
		}
		s.Errs = append(s.Errs, &config.Error{Pos: s.Spec.Config.At(key), Value: path, Problem: "cannot read the file", Err: err})
		return nil
	}
	if json.Valid(data) {
		var b bytes.Buffer
		if err := json.Compact(&b, data); err == nil {
			return json.RawMessage(b.Bytes())
		}
	}
	var out any
	if err := yaml.Unmarshal(data, &out); err != nil || out == nil {
		e := &config.Error{Pos: config.Pos{File: path}, Problem: "not JSON or YAML", Err: err, Want: "a file of either"}
		if syntax, ok := errors.AsType[yaml.Error](err); ok {
			e.Err = errors.New(syntax.GetMessage())
			if tk := syntax.GetToken(); tk != nil && tk.Position != nil {
				e.Line, e.Column = tk.Position.Line, tk.Position.Column
			}
		}
		s.Errs = append(s.Errs, e)
		return nil
	}
	return out
}

// list reports tools and functions that are no list.
func (s *Settings) list(key string, v any) {
	if key != "tools" && key != "functions" || v == nil {
		return
	}
	raw, isRaw := v.(json.RawMessage)
	if _, isList := v.([]any); !isList && !(isRaw && raw[0] == '[') {
		s.Reject(key, "not a list", "a list of definitions, or file:// to one")
	}
}

// Body collects the settings that go into a request as they are: those of keys, a file:// reference
// read for those that are in files, and everything under passthrough but the fields in own, which
// are not the suite's to set.
func (s *Settings) Body(keys, files, own []string) map[string]any {
	body := map[string]any{}
	for _, k := range keys {
		if v := s.Any(k); v != nil {
			body[k] = v
		}
	}
	for _, k := range files {
		if s.Any(k) != nil {
			body[k] = s.Value(k)
			s.list(k, body[k])
		}
	}
	switch extra := s.Any("passthrough").(type) {
	case nil:
	case map[string]any:
		for _, k := range SortedKeys(extra) {
			for _, o := range own {
				if k == o {
					s.Reject("passthrough."+k, k+" is telltale's own to set", "another field; the model is in the id, the number of answers is samples")
				}
			}
			body[k] = extra[k]
		}
	default:
		s.Fail("passthrough", "not a mapping", "extra fields of the request")
	}
	return body
}
