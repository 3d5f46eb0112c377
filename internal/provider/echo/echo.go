// Package echo is the provider that answers with the prompt.
//
// It is for trying out suites, templates and scorers without a model. It never fails but for a
// canceled context, and the same request always has the same answer.
package echo

import (
	"context"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/record"
)

// Provider answers with the prompt. It is safe for concurrent use.
type Provider struct{ id string }

// FromConfig returns the provider, which has no settings.
func FromConfig(p config.Provider) (*Provider, error) {
	if err := p.Config.Reader().Finish(); err != nil {
		return nil, err
	}
	return &Provider{id: p.ID}, nil
}

// Complete returns the prompt.
func (p *Provider) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	if f := provider.Refused(ctx, p.id, &req); f != nil {
		return record.Response{}, f
	}
	return record.Response{Output: req.Prompt, FinishReason: "stop"}, nil
}

// Check has nothing to check.
func (p *Provider) Check(context.Context) error { return nil }

// Describe returns the provider's part of a snapshot.
func (p *Provider) Describe() provider.Info { return provider.Info{ID: p.id, Deterministic: true} }

// Close has nothing to close.
func (p *Provider) Close() error { return nil }
