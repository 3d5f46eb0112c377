// Package provider holds what all providers share: what they say about themselves, the price
// table, and the shapes in which token counts and log-probabilities are written down.
//
// A provider answers one request with one attempt: `Complete(ctx, record.Request)
// (record.Response, error)`, where the error is a *record.Failure. Retries, back-off, concurrency
// and caching are the runner's. Each wire format is a subpackage: openai, exec, recorded, echo. A
// subpackage reads its own part of the suite strictly and reports a user's mistake as a
// *config.Error before anything is sent. What a provider was configured with becomes part of the
// snapshot through Info; keys and time limits do not.
package provider

import (
	"context"
	"errors"
	"maps"
	"path/filepath"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Info is what a provider says about itself. It never holds a secret.
type Info struct {
	// ID is the provider's id as the suite gives it, such as openai:chat:gpt-4.1-mini.
	ID string
	// Model is what is asked for; empty when the provider has no such notion.
	Model string
	// Params are the parameters that decide behaviour, JSON values only: no keys, no header
	// values, no time limits.
	Params map[string]any
	// Cacheable says that an answer may be kept under snapshot, request and repeat and used
	// again. It is false where the snapshot does not cover what decides the answer (a program)
	// and where asking again costs nothing (a recorded file).
	Cacheable bool
	// Deterministic says that the same request always has the same answer.
	Deterministic bool
	// MaxConcurrency is how many requests the provider works on at a time; what is above it only
	// waits. 0 means as many as it is given.
	MaxConcurrency int
	// Quote says what a call that uses these tokens would cost in US dollars, nil when it is not known. It is
	// itself nil where no call has a price.
	Quote func(record.Usage) *float64 `json:"-"`
	// Warnings are for the user: nothing is wrong yet, but should be known.
	Warnings []string
}

// Snapshot returns the provider's part of a snapshot: the prompt, its template and the id are
// the caller's to add.
func (i Info) Snapshot() record.Snapshot {
	return record.Snapshot{Provider: i.ID, Model: i.Model, Params: maps.Clone(i.Params)}
}

// Dir is the folder against which a provider's paths are resolved: that of the suite file.
func Dir(p config.Provider) string {
	if p.Pos.File == "" {
		return "."
	}
	return filepath.Dir(p.Pos.File)
}

// Interrupted returns the failure of a call whose context has ended, or nil while it has not.
func Interrupted(ctx context.Context) *record.Failure {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	kind := record.Canceled
	if errors.Is(err, context.DeadlineExceeded) {
		kind = record.Timeout
	}
	return &record.Failure{Kind: kind, Err: context.Cause(ctx)}
}

// Refused is the failure of a call that need not be made: its context has ended, or it asks a provider that cannot
// give one for the likelihood of a text. It is nil for all others.
func Refused(ctx context.Context, id string, req *record.Request) *record.Failure {
	if f := Interrupted(ctx); f != nil {
		return f
	}
	return NoLikelihoods(id, req)
}

// NoLikelihoods is the failure of a provider that cannot give the likelihood of a given text, nil when
// none is asked for.
func NoLikelihoods(id string, req *record.Request) *record.Failure {
	if len(req.Continuations) == 0 && !req.ScorePrompt {
		return nil
	}
	return &record.Failure{Kind: record.BadRequest, Message: id + " cannot give the likelihood of a given text: that takes completions with echo, as openai:completion:MODEL (vllm:completion:MODEL, …) has them, or a recorded file"}
}
