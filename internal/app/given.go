package app

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/runner"
)

// givenProviders says which of the providers that the caller of Run brings along the suite has asked for.
type givenProviders struct {
	mu   sync.Mutex
	used map[string]bool
}

// given returns the caller's provider for spec: by its label, its id, or NAME for the id go:NAME.
func (o *RunOptions) given(spec config.Provider) (client, bool) {
	if len(o.Providers) == 0 {
		return nil, false
	}
	for _, name := range []string{spec.Name(), spec.ID, strings.TrimPrefix(spec.ID, "go:")} {
		p, ok := o.Providers[name]
		if !ok {
			continue
		}
		if o.asked != nil {
			o.asked.mu.Lock()
			o.asked.used[name] = true
			o.asked.mu.Unlock()
		}
		return &givenProvider{p, provider.Info{ID: spec.ID}}, true
	}
	return nil, false
}

// unasked is the mistake of bringing providers that the suite does not have.
func (o *RunOptions) unasked() error {
	if o.asked == nil {
		return nil
	}
	o.asked.mu.Lock()
	defer o.asked.mu.Unlock()
	var names []string
	for name := range o.Providers {
		if !o.asked.used[name] {
			names = append(names, name)
		}
	}
	if names == nil {
		return nil
	}
	slices.Sort(names)
	return &config.Error{Pos: config.Pos{File: o.Suite, Key: "providers"}, Value: strings.Join(names, ", "),
		Problem: "is given by the caller, but no provider of the suite has that id or label", Want: "a provider such as go:" + names[0]}
}

// givenProvider is the caller's provider as the suite's. Its answers are not cached: the snapshot does
// not cover the code that makes them.
type givenProvider struct {
	runner.Provider
	info provider.Info
}

// Check has nothing to check.
func (g *givenProvider) Check(context.Context) error { return nil }

// Describe returns the provider's part of a snapshot.
func (g *givenProvider) Describe() provider.Info { return g.info }

// Close leaves the provider to the caller.
func (g *givenProvider) Close() error { return nil }
