// Package sequence is the provider that answers with the help of others: several inputs sent one
// after the other, several providers that each work on the answer of the one before, several of
// which the first that answers counts, or one that is asked the same several times.
//
// It makes one attempt at each step and none more. A request passes through it like this: the first
// input (or the prompt) goes to the first provider, each further one to the next; the answers are
// joined, or the last one counts, and the earlier exchanges are kept as turns. It is not a way to
// retry: the runner repeats the whole sequence.
package sequence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/template"
)

// Inner is a provider that takes part.
type Inner interface {
	Complete(ctx context.Context, req record.Request) (record.Response, error)
	Check(ctx context.Context) error
	Describe() provider.Info
	Close() error
}

// The ways in which providers are used.
const (
	turns    = "turns"
	fallback = "fallback"
	repeat   = "repeat"
)

// defaultSeparator is promptfoo's.
const defaultSeparator = "\n---\n"

// maxSteps bounds the calls that one request makes.
const maxSteps = 100

// Provider asks others. It is safe for concurrent use.
type Provider struct {
	id        string
	inners    []Inner
	inputs    []*template.Template
	separator string
	mode      string
	history   bool
	all       bool // the output is all answers, not the last
	several   *several
	cached    bool
	params    map[string]any
}

// FromConfig reads the provider's part of a suite; open opens those that take part. Mistakes are
// config.Errors.
func FromConfig(p config.Provider, open func(config.Provider) (Inner, error)) (*Provider, error) {
	r := p.Config.Reader()
	out := &Provider{id: p.ID, cached: true, params: map[string]any{}}
	var errs config.Errors
	inputs := r.Strings("inputs")
	for _, text := range inputs {
		t, err := template.Parse(text)
		if err != nil {
			errs = append(errs, &config.Error{Pos: p.Config.At("inputs"), Value: config.Clip(text, 60), Err: err})
			continue
		}
		// The cache knows requests by their messages, not by a case's variables.
		names, simple := t.Names()
		out.cached = out.cached && simple && !slices.ContainsFunc(names, func(n string) bool { return n != "prompt" && n != "output" })
		out.inputs = append(out.inputs, t)
	}
	out.separator = r.String("separator", defaultSeparator)
	out.mode = r.String("mode", turns)
	if out.mode != turns && out.mode != fallback && out.mode != repeat {
		r.Fail("mode", "no such mode", "turns, fallback or repeat")
	}
	answers := r.Int("answers", 1)
	out.history = r.Bool("history", false)
	switch which := r.String("output", ""); which {
	case "":
		out.all = len(inputs) > 0
	case "all", "last":
		out.all = which == "all"
	default:
		r.Fail("output", "no such output", "all or last")
	}
	refs := references(r)
	if len(refs) == 0 {
		r.Fail("provider", "no provider takes part", "provider: an id, or providers: a list of them")
	}
	if out.mode != turns && len(inputs) > 0 {
		r.Fail("inputs", out.mode+" asks each provider the same", "no inputs, or mode: turns")
	}
	switch {
	case out.mode != repeat && r.Has("answers"):
		r.Fail("answers", "is for mode: repeat", "mode: repeat")
	case out.mode == repeat && (answers < 2 || answers > maxAnswers):
		r.Fail("answers", "out of range", fmt.Sprintf("how many answers are asked for: 2 to %d", maxAnswers))
	case out.mode == repeat && len(refs) > 1:
		r.Fail("providers", "repeat asks one provider", "provider: an id")
	case out.mode == repeat:
		out.several = newSeveral(answers)
	}
	if max(len(inputs), len(refs)) > maxSteps {
		r.Fail("inputs", "too many steps", fmt.Sprintf("at most %d", maxSteps))
	}
	errs.Append(p.Config.Pos, r.Finish())
	if err := errs.Err(); err != nil {
		return nil, err
	}
	if err := out.open(p, refs, open); err != nil {
		return nil, err
	}
	out.describe(inputs)
	return out, nil
}

// reference is one provider that takes part, with the key under which it stands.
type reference struct {
	key string
	ref any
}

func references(r *config.Reader) []reference {
	var refs []reference
	if v := r.Any("provider"); v != nil {
		refs = append(refs, reference{"provider", v})
	}
	switch list := r.Any("providers").(type) {
	case nil:
	case []any:
		if len(refs) > 0 {
			r.Fail("providers", "provider is given too", "one of them")
		}
		for i, v := range list {
			refs = append(refs, reference{fmt.Sprintf("providers[%d]", i), v})
		}
	default:
		r.Fail("providers", "not a list", "a list of providers")
	}
	return refs
}

func (p *Provider) open(spec config.Provider, refs []reference, open func(config.Provider) (Inner, error)) error {
	var errs config.Errors
	for _, ref := range refs {
		pos := spec.Config.At(ref.key)
		inner, ok, err := config.ProviderOf(ref.ref, "text", pos)
		if err == nil && !ok {
			err = &config.Error{Pos: pos, Problem: "not a provider", Want: "an id, or a mapping with id and config"}
		}
		if err == nil {
			var opened Inner
			if opened, err = open(inner); err == nil {
				p.inners = append(p.inners, opened)
			}
		}
		errs.Append(pos, err)
	}
	if err := errs.Err(); err != nil {
		return errors.Join(err, p.Close())
	}
	return nil
}

func (p *Provider) describe(inputs []string) {
	var steps []any
	for _, inner := range p.inners {
		i := inner.Describe()
		p.cached = p.cached && (i.Cacheable || i.Deterministic)
		steps = append(steps, map[string]any{"id": i.ID, "model": i.Model, "params": i.Params})
	}
	if p.several != nil {
		p.params["answers"] = p.several.n
	}
	p.params["providers"], p.params["mode"] = steps, p.mode
	if len(inputs) > 0 {
		p.params["inputs"] = inputs
	}
	if p.all {
		p.params["separator"] = p.separator
	}
	if p.history {
		p.params["history"] = true
	}
}

// Describe returns the provider's part of a snapshot: those of all that take part.
func (p *Provider) Describe() provider.Info {
	info := provider.Info{ID: p.id, Params: p.params, Deterministic: true, Cacheable: p.cached}
	for _, inner := range p.inners {
		i := inner.Describe()
		info.Deterministic = info.Deterministic && i.Deterministic
		if m := i.MaxConcurrency; m > 0 && (info.MaxConcurrency == 0 || m < info.MaxConcurrency) {
			info.MaxConcurrency = m
		}
		info.Warnings = append(info.Warnings, i.Warnings...)
	}
	return info
}

// Check checks all that take part; of those that fill in for each other, one must be there.
func (p *Provider) Check(ctx context.Context) error {
	var first error
	for _, inner := range p.inners {
		err := inner.Check(ctx)
		if err == nil && p.mode == fallback {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// Close closes all that take part.
func (p *Provider) Close() error {
	var errs []error
	for _, inner := range p.inners {
		errs = append(errs, inner.Close())
	}
	return errors.Join(errs...)
}

// Complete carries out the sequence. The error is the *record.Failure of the step that failed.
func (p *Provider) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	if f := provider.Interrupted(ctx); f != nil {
		return record.Response{}, f
	}
	if p.mode == fallback {
		return p.first(ctx, req)
	}
	if f := provider.NoLikelihoods(p.id, &req); f != nil {
		return record.Response{}, f
	}
	if p.several != nil {
		return p.several.complete(ctx, p.inners[0], req)
	}
	return p.steps(ctx, req)
}

// first returns the first answer.
func (p *Provider) first(ctx context.Context, req record.Request) (resp record.Response, err error) {
	for _, inner := range p.inners {
		resp, err = inner.Complete(ctx, req)
		if err == nil || ctx.Err() != nil {
			return resp, err
		}
	}
	return record.Response{}, err
}

func (p *Provider) steps(ctx context.Context, req record.Request) (record.Response, error) {
	var out record.Response
	var outputs []string
	var said []record.Message // the conversation so far, behind the system's messages
	cost := 0.0
	priced := true
	for i := range max(len(p.inputs), len(p.inners)) {
		step, f := p.step(&req, i, said, outputs)
		if f != nil {
			return record.Response{}, f
		}
		resp, err := p.inners[min(i, len(p.inners)-1)].Complete(ctx, step)
		if err != nil {
			return record.Response{}, err
		}
		if i > 0 {
			last := &out.Turns[len(out.Turns)-1]
			last.Output, last.ToolCalls = out.Output, out.ToolCalls
		}
		out = merge(out, resp)
		out.Turns = append(out.Turns, record.Turn{User: step.Messages[len(step.Messages)-1].Text()})
		if resp.Cost == nil {
			priced = false
		} else {
			cost += *resp.Cost
		}
		outputs = append(outputs, resp.Output)
		if p.history {
			said = append(said, step.Messages[len(systems(step.Messages))+len(said):]...)
			said = append(said, record.Message{Role: "assistant", Content: resp.Output})
		}
	}
	out.Turns = out.Turns[:len(out.Turns)-1] // the last exchange is the answer itself
	if len(out.Turns) == 0 {
		out.Turns = nil
	}
	out.Cost = nil
	if priced {
		out.Cost = &cost
	}
	if p.all {
		out.Output = strings.Join(outputs, p.separator)
	}
	return out, nil
}

// step makes the request of one step.
func (p *Provider) step(req *record.Request, i int, said []record.Message, outputs []string) (record.Request, *record.Failure) {
	step := *req
	if i == 0 && len(p.inputs) == 0 {
		return step, nil
	}
	var text string
	if len(p.inputs) == 0 {
		text = outputs[i-1]
	} else {
		vars := make(map[string]any, len(req.Vars)+2)
		for k, v := range req.Vars {
			vars[k] = v
		}
		vars["prompt"], vars["output"] = req.Prompt, ""
		if i > 0 {
			vars["output"] = outputs[i-1]
		}
		var err error
		if text, err = p.inputs[min(i, len(p.inputs)-1)].Render(vars); err != nil {
			return step, &record.Failure{Kind: record.BadRequest, Message: fmt.Sprintf("input %d: %v", i+1, err)}
		}
	}
	step.Messages = append(slices.Clone(systems(req.Messages)), said...)
	step.Messages = append(step.Messages, record.Message{Role: "user", Content: text})
	step.Prompt = record.PromptText(step.Messages)
	return step, nil
}

// systems are the messages at the start that are the system's.
func systems(ms []record.Message) []record.Message {
	n := 0
	for n < len(ms) && (ms[n].Role == "system" || ms[n].Role == "developer") {
		n++
	}
	return ms[:n]
}

// merge adds a step's answer to those before it: what is used up is summed, the rest is the last one's.
func merge(before, resp record.Response) record.Response {
	out := resp
	out.Turns = before.Turns
	out.Usage = record.Usage{
		Prompt: before.Usage.Prompt + resp.Usage.Prompt, Completion: before.Usage.Completion + resp.Usage.Completion,
		Total: before.Usage.Total + resp.Usage.Total, Cached: before.Usage.Cached + resp.Usage.Cached,
		Reasoning: before.Usage.Reasoning + resp.Usage.Reasoning,
	}
	if before.TTFT > 0 {
		out.TTFT = before.TTFT
	}
	out.Latency = before.Latency + resp.Latency
	return out
}
