package app

import (
	"context"
	"errors"
	"maps"
	"os"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/anthropic"
	"github.com/telltale-llm/telltale/internal/provider/echo"
	"github.com/telltale-llm/telltale/internal/provider/exec"
	"github.com/telltale-llm/telltale/internal/provider/google"
	"github.com/telltale-llm/telltale/internal/provider/httpjson"
	"github.com/telltale-llm/telltale/internal/provider/openai"
	"github.com/telltale-llm/telltale/internal/provider/recorded"
	"github.com/telltale-llm/telltale/internal/provider/sequence"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
	"github.com/telltale-llm/telltale/internal/sim"
)

// client is what every provider package gives.
type client interface {
	runner.Provider
	Check(ctx context.Context) error
	Describe() provider.Info
	Close() error
}

// opened is a provider of the suite, ready for requests.
type opened struct {
	spec     config.Provider
	provider client
	info     provider.Info
	// transform makes the output from the model's; may be nil.
	transform *scorer.Transform
	// tools are the functions that the model may call; nil when there are none.
	tools *scorer.Toolset
	// pace keeps its requests apart; nil leaves that to the suite.
	pace *runner.Pacer
}

// params are the provider's parameters for its snapshot, with its transform.
func (o *opened) params() map[string]any {
	if o.transform == nil {
		return o.info.Params
	}
	out := maps.Clone(o.info.Params)
	if out == nil {
		out = map[string]any{}
	}
	out["transform"] = o.transform.Source()
	return out
}

func (o *opened) close() error { return o.provider.Close() }

// openProviders opens all providers of a suite and reports all mistakes together.
func openProviders(s *config.Suite, o *RunOptions) ([]*opened, error) {
	prices, err := provider.LoadPrices(o.Prices)
	if err != nil {
		return nil, err
	}
	var out []*opened
	var errs config.Errors
	for _, spec := range s.Providers {
		own := *o
		own.Env = withEnv(o.Env, s.Env, spec.Env)
		p, err := openOne(spec, prices, &own)
		if err != nil {
			errs.Append(spec.Pos, err)
			continue
		}
		out = append(out, p)
	}
	if err := errs.Err(); err != nil {
		for _, p := range out {
			err = errors.Join(err, p.close())
		}
		return nil, err
	}
	return out, nil
}

// withEnv is the environment with the variables that a suite and a provider set; the latter win.
func withEnv(env func(string) (string, bool), suite, own map[string]string) func(string) (string, bool) {
	if len(suite) == 0 && len(own) == 0 {
		return env
	}
	return func(name string) (string, bool) {
		for _, set := range []map[string]string{own, suite} {
			if v, ok := set[name]; ok {
				return v, true
			}
		}
		if env == nil {
			return "", false
		}
		return env(name)
	}
}

func openProvider(spec config.Provider, prices *provider.Prices, o *RunOptions) (client, error) {
	if c, ok := o.given(spec); ok {
		return c, nil
	}
	kind, _, _ := strings.Cut(spec.ID, ":")
	switch kind {
	case "echo":
		return echo.FromConfig(spec)
	case "exec":
		return exec.FromConfig(spec, os.Environ())
	case "recorded":
		return recorded.FromConfig(spec)
	case "sim":
		return openSim(spec)
	case "sequence":
		return sequence.FromConfig(spec, func(inner config.Provider) (sequence.Inner, error) { return openProvider(inner, prices, o) })
	}
	env := wire.Env{Lookup: o.Env, Prices: prices, Unasked: o.planning}
	switch {
	case openai.Recognises(spec.ID):
		return openai.FromConfig(spec, env)
	case anthropic.Recognises(spec.ID):
		return anthropic.FromConfig(spec, env)
	case google.Recognises(spec.ID):
		return google.FromConfig(spec, env)
	case httpjson.Recognises(spec.ID):
		return httpjson.FromConfig(spec, env)
	}
	return nil, unknownProvider(spec)
}

func unknownProvider(spec config.Provider) error {
	e := &config.Error{Pos: spec.Pos, Value: spec.ID, Problem: "unknown provider",
		Want: "openai:chat:MODEL or another server of that API, anthropic:MODEL, google:MODEL, http, exec:COMMAND, recorded, sequence, echo or sim"}
	kind, _, _ := strings.Cut(spec.ID, ":")
	switch kind {
	case "bedrock":
		e.Hint = "Bedrock's own address for OpenAI's API works as openai:chat:MODEL with config: {base_url: https://bedrock-runtime.REGION.amazonaws.com/openai/v1, apiKeyEnvar: AWS_BEARER_TOKEN_BEDROCK}"
	case "vertex", "mistral", "cohere":
		e.Hint = "a server that speaks OpenAI's API works as openai:chat:MODEL with config: {base_url: …}"
	case "go":
		e.Problem, e.Want = "is a Go function, which only a Go test can give", "a test that runs the suite with package telltaletest"
	case "file", "python", "javascript":
		e.Hint = "a program works as exec:COMMAND: it reads a request and writes an answer as lines of JSON"
	}
	return e
}

// simulated is the built-in simulated model as a provider.
type simulated struct {
	*sim.Model
	info provider.Info
}

// openSim reads sim or sim:VERSION with the simulator's own configuration.
func openSim(spec config.Provider) (client, error) {
	c, err := sim.FromObject(spec.Config)
	if err != nil {
		return nil, err
	}
	_, version, named := strings.Cut(spec.ID, ":")
	if named {
		c.Defaults.Version = version
	}
	m, err := sim.New(sim.Options{Config: c})
	if err != nil {
		return nil, &config.Error{Pos: spec.Pos, Value: spec.ID, Err: err}
	}
	params := maps.Clone(spec.Config.Map)
	if named {
		if params == nil {
			params = map[string]any{}
		}
		params["version"] = version
	}
	return &simulated{Model: m, info: provider.Info{ID: spec.ID, Model: m.Name(), Params: params, Deterministic: true}}, nil
}

// Check has nothing to check.
func (s *simulated) Check(context.Context) error { return nil }

// Describe returns the provider's part of a snapshot.
func (s *simulated) Describe() provider.Info { return s.info }

// Close has nothing to close.
func (s *simulated) Close() error { return nil }
