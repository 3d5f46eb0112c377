package app

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// onlineScorer scores exchanges with an assertion of the offline evaluator: what gates a pull request is what watches
// production.
type onlineScorer struct {
	name      string
	assertion *scorer.Assertion
}

// compileOnline builds the scorers of a server's configuration. The returned function closes what they use.
func compileOnline(server *config.Server, env func(string) (string, bool), prices string) ([]pipeline.Scoring, func() error, error) {
	if len(server.Scorers) == 0 || !server.Has(config.RoleWorker) {
		return nil, func() error { return nil }, nil
	}
	out, services, err := compileScorers(server, env, prices)
	if err != nil {
		return nil, nil, err
	}
	return out, services.Close, nil
}

// compileScorers is compileOnline with the services that scorers use.
func compileScorers(server *config.Server, env func(string) (string, bool), prices string) ([]pipeline.Scoring, *services, error) {
	dir := filepath.Dir(server.File)
	o := &RunOptions{Suite: server.File, Prices: prices, LoadOptions: LoadOptions{Env: env}}
	services := newServices(&config.Suite{Path: server.File}, dir, o, onlineParallel)
	var out []pipeline.Scoring
	var errs config.Errors
	for _, spec := range server.Scorers {
		a, err := scorer.Compile(spec.Assert, dir, services.forScorers())
		if err != nil {
			errs.Append(spec.Pos, err)
			continue
		}
		if a.NeedsScores() || a.Compares() || a.NeedsTools() {
			errs = append(errs, &config.Error{Pos: spec.Assert.Pos, Value: spec.Assert.Type, Problem: "this kind needs more than one exchange, or what a suite says", Want: "a kind that judges one answer"})
			continue
		}
		out = append(out, pipeline.Scoring{Name: spec.Name, Scorer: &onlineScorer{spec.Name, a}, Share: spec.Share, Routes: spec.Routes, Costs: a.AsksJudge(), Budget: spec.Budget})
	}
	if err := errs.Err(); err != nil {
		return nil, nil, err
	}
	return out, services, nil
}

// onlineParallel bounds the calls of judges at a time.
const onlineParallel = 4

// Score judges the answer of one exchange.
func (s *onlineScorer) Score(ctx context.Context, x *record.Exchange) (record.OnlineScore, float64) {
	out := record.OnlineScore{Name: s.name, Signature: s.assertion.Signature()}
	if x.Failed() {
		out.Error = fmt.Sprintf("there is no answer to judge: %s", x.ErrorKind)
		return out, 0
	}
	in := onlineInput(x)
	r := s.assertion.Score(ctx, in)
	out.Value, out.Pass, out.Reason, out.Error = r.Value, r.Pass, r.Reason, r.Error
	if r.Cost != nil {
		return out, *r.Cost
	}
	return out, 0
}

// onlineInput is an exchange as scorers see answers.
func onlineInput(x *record.Exchange) *scorer.Input {
	messages := x.Content.Input
	if x.Content.System != "" {
		messages = append([]record.Message{{Role: "system", Content: x.Content.System}}, messages...)
	}
	resp := &record.Response{
		Output: x.Content.Output, FinishReason: x.FinishReason, Refusal: x.Content.Refusal, Model: x.Served, Fingerprint: x.Fingerprint,
		Logprobs: x.TopK, ToolCalls: x.Content.ToolCalls, Cost: x.Cost,
	}
	if x.Usage != nil {
		resp.Usage = *x.Usage
	}
	if x.Latency != nil {
		resp.Latency = time.Duration(*x.Latency * float64(time.Second))
	}
	if x.TTFT != nil {
		resp.TTFT = time.Duration(*x.TTFT * float64(time.Second))
	}
	vars := map[string]any{"prompt": record.PromptText(messages)}
	for name, value := range x.Tags {
		vars[name] = value
	}
	return &scorer.Input{Vars: vars, Prompt: record.PromptText(messages), Messages: messages, Response: resp, Case: x.ID, Provider: x.Provider}
}
