// Package recorded is the provider that reads earlier answers from a file.
//
// It is for scoring what a model said before, without asking it again. It is not a cache: nothing
// is ever added to the file. The file is read once when the provider is made: every row is
// checked and indexed by the hash of its key, 24 bytes a row. A request is answered with the row
// whose key equals the variable of that name or else the rendered prompt, read from the file at
// that moment and compared in full, so that memory does not grow with the answers.
package recorded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

// Options say where the answers are and what the fields of a row are called. Names may be dotted
// paths into nested objects. Key defaults to prompt, Output to response or else output; the other
// fields are read only when named.
type Options struct {
	ID     string
	Path   string
	Format string // jsonl, json, csv or exchanges; empty goes by the file's extension
	Key    string
	Output string

	FinishReason string
	Logprobs     string
	Usage        string
	Latency      string // seconds
	Cost         string // US dollars
	Error        string // a row with a text here stands for a failed call
	Model        string
	ToolCalls    string
	Refusal      string
	// PromptLogprobs are those of the prompt's tokens, Likelihoods those of given continuations: a list
	// of text, logprob, tokens and greedy.
	PromptLogprobs string
	Likelihoods    string
}

// Provider answers from the file. It is safe for concurrent use.
type Provider struct {
	opts    Options
	outputs []string
	index   *index
}

// FromConfig reads the provider's settings and the file.
func FromConfig(p config.Provider) (*Provider, error) {
	r := p.Config.Reader()
	opts := Options{
		ID: p.ID, Path: strings.TrimPrefix(r.String("path", ""), "file://"),
		Format: r.String("format", ""), Key: r.String("key", ""), Output: r.String("output", ""),
		FinishReason: r.String("finish_reason", ""), Logprobs: r.String("logprobs", ""),
		Usage: r.String("usage", ""), Latency: r.String("latency", ""), Cost: r.String("cost", ""),
		Error: r.String("error", ""), Model: r.String("model", ""), ToolCalls: r.String("tool_calls", ""), Refusal: r.String("refusal", ""),
		PromptLogprobs: r.String("prompt_logprobs", ""), Likelihoods: r.String("likelihoods", ""),
	}
	if opts.Format == exchanges {
		opts.exchanges(r)
	}
	if tokens := r.String("tokens", ""); tokens != "" {
		if opts.Usage != "" {
			r.Fail("tokens", "tokens is another name for usage", "one of them")
		}
		opts.Usage = tokens
	}
	if opts.Path == "" {
		r.Fail("path", "no file is named", "the file with the recorded answers")
	} else if !filepath.IsAbs(opts.Path) {
		opts.Path = filepath.Join(provider.Dir(p), opts.Path)
	}
	if err := opts.setFormat(); err != nil {
		r.Fail("format", err.Error(), "jsonl, json, csv or exchanges")
	}
	if err := r.Finish(); err != nil {
		return nil, err
	}
	out, err := New(opts)
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return nil, &config.Error{
			Pos: p.Config.At("path"), Value: opts.Path, Problem: "cannot read the recorded answers",
			Err: pe.Err, Hint: "paths are relative to the folder of the suite file",
		}
	}
	return out, err
}

func (o *Options) setFormat() error {
	if o.Format == "" {
		switch ext := strings.ToLower(filepath.Ext(o.Path)); ext {
		case ".jsonl", ".ndjson":
			o.Format = "jsonl"
		case ".json":
			o.Format = "json"
		case ".csv", ".tsv":
			o.Format = "csv"
		case "":
			o.Format = "jsonl"
		default:
			return fmt.Errorf("cannot tell the format of a %s file", ext)
		}
	}
	if !slices.Contains([]string{"jsonl", "json", "csv", exchanges}, o.Format) {
		return fmt.Errorf("%q is not a format", o.Format)
	}
	return nil
}

// New opens the file and indexes it. A bad row is a *config.Error with file and line.
func New(opts Options) (*Provider, error) {
	if err := opts.setFormat(); err != nil {
		return nil, err
	}
	if opts.Key == "" {
		opts.Key = "prompt"
	}
	outputs := []string{opts.Output}
	if opts.Output == "" {
		outputs = []string{"response", "output"}
	}
	format, find, any := opts.Format, (func(row) (field, bool))(nil), outputs
	if format == exchanges {
		opts.fields()
		format, find, any, outputs = "jsonl", messagesOf, exchangeOutputs, []string{opts.Output}
	}
	if opts.Likelihoods != "" {
		any = slices.Concat(any, []string{opts.Likelihoods})
	}
	p := &Provider{opts: opts, outputs: outputs}
	x, err := open(opts.Path, format, opts.Key, find, any, p.check)
	if err != nil {
		return nil, err
	}
	p.index = x
	return p, nil
}

// check reads all of a row that the settings name, so that what is wrong is found before anything is asked.
func (p *Provider) check(r row) (key string, err error) {
	if p.opts.Format == exchanges {
		if role := unknownRole(r); role != "" {
			return "request.messages", fmt.Errorf("%q is not a role", role)
		}
	}
	o := &p.opts
	if o.FinishReason+o.Model+o.Refusal+o.ToolCalls+o.Logprobs+o.PromptLogprobs+o.Likelihoods+o.Usage+o.Latency+o.Cost == "" {
		return "", nil
	}
	if _, err = p.response(r); err == nil {
		return "", nil
	}
	bad, ok := errors.AsType[*fieldError](err)
	if !ok {
		return "", nil // a recorded failure, or no answer, which is looked at by itself
	}
	return bad.name, bad.err
}

// fieldError is what is wrong with a field of a row.
type fieldError struct {
	name string
	err  error
}

// shape is what JSON calls a kind of Go's.
func shape(k reflect.Kind) string {
	switch k {
	case reflect.Slice:
		return "list"
	case reflect.Struct, reflect.Map:
		return "mapping"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	default:
		return "number"
	}
}

func (e *fieldError) Error() string { return e.name + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// Complete returns the recorded answer: the row of the request's repeat among those with its key, or the
// only row there is.
func (p *Provider) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	if f := provider.Interrupted(ctx); f != nil {
		return record.Response{}, f
	}
	most, shown := 0, ""
	for _, key := range p.keys(req) {
		var out record.Response
		take := func(r row) error {
			var err error
			out, err = p.response(r)
			return err
		}
		repeat := req.Repeat
		rows, err := p.index.lookup(key, repeat, take)
		if err == nil && rows == 1 && repeat > 0 {
			// One answer is what the model says every time. Repeats of it narrow no interval, for the
			// samples of a case are one cluster.
			repeat = 0
			rows, err = p.index.lookup(key, repeat, take)
		}
		if err != nil {
			if f, ok := errors.AsType[*record.Failure](err); ok {
				return record.Response{}, f
			}
			return record.Response{}, &record.Failure{Kind: record.Malformed, Message: fmt.Sprintf("%s: the row whose %s is %q: %v", p.opts.Path, p.opts.Key, config.Clip(key, 80), err), Err: err}
		}
		if rows > repeat {
			if f := ordered(&out, req); f != nil {
				return record.Response{}, f
			}
			return out, nil
		}
		if rows > most || shown == "" {
			most, shown = rows, key
		}
	}
	return record.Response{}, &record.Failure{Kind: record.Missing, Message: p.missing(shown, most, req.Repeat)}
}

// ordered puts the recorded likelihoods into the order of what was asked for.
func ordered(out *record.Response, req record.Request) *record.Failure {
	if len(req.Continuations) == 0 {
		return nil
	}
	byText := make(map[string]record.Likelihood, len(out.Likelihoods))
	for _, l := range out.Likelihoods {
		byText[l.Text] = l
	}
	list := make([]record.Likelihood, len(req.Continuations))
	for i, text := range req.Continuations {
		l, ok := byText[text]
		if !ok {
			return &record.Failure{Kind: record.Missing, Message: fmt.Sprintf("no likelihood is recorded for %q", config.Clip(text, 80))}
		}
		list[i] = l
	}
	out.Likelihoods = list
	return nil
}

// keys are what a row may be found by: the variable named like the key, then the prompt.
func (p *Provider) keys(req record.Request) []string {
	if p.opts.Format == exchanges {
		return []string{canonical(req.Messages)}
	}
	v, ok := req.Vars[p.opts.Key]
	if !ok {
		return []string{req.Prompt}
	}
	text, isString := v.(string)
	if !isString {
		b, err := json.Marshal(v)
		if err != nil {
			return []string{req.Prompt}
		}
		text = string(b)
	}
	if text == req.Prompt {
		return []string{text}
	}
	return []string{text, req.Prompt}
}

func (p *Provider) missing(key string, rows, repeat int) string {
	if rows == 0 {
		return fmt.Sprintf("%s has no row whose %s is %q", p.opts.Path, p.opts.Key, config.Clip(key, 120))
	}
	return fmt.Sprintf("%s has only %d rows whose %s is %q, and repeat %d needs one more", p.opts.Path, rows, p.opts.Key, config.Clip(key, 120), repeat+1)
}

// response makes an answer of a row. A row that records a failed call is a *record.Failure.
func (p *Provider) response(r row) (record.Response, error) {
	var out record.Response
	var failure string
	err := errors.Join(
		p.text(r, p.opts.Error, &failure),
		p.text(r, p.opts.FinishReason, &out.FinishReason),
		p.text(r, p.opts.Model, &out.Model),
		p.text(r, p.opts.Refusal, &out.Refusal),
		p.optional(r, p.opts.ToolCalls, func(f field) error {
			var l provider.ToolCalls
			err := f.decode(&l)
			out.ToolCalls = l
			return err
		}),
		p.optional(r, p.opts.Logprobs, func(f field) error {
			var l provider.Logprobs
			err := f.decode(&l)
			out.Logprobs = l
			return err
		}),
		p.optional(r, p.opts.PromptLogprobs, func(f field) error {
			var l provider.Logprobs
			err := f.decode(&l)
			out.PromptLogprobs = l
			return err
		}),
		p.optional(r, p.opts.Likelihoods, func(f field) error {
			if err := f.decode(&out.Likelihoods); err != nil {
				return err
			}
			return provider.CheckLikelihoods(out.Likelihoods)
		}),
		p.optional(r, p.opts.Usage, func(f field) error {
			var u provider.Usage
			if err := f.decode(&u); err != nil {
				return err
			}
			var err error
			out.Usage, err = u.Record()
			return err
		}),
		p.optional(r, p.opts.Latency, func(f field) error {
			seconds, err := notNegative(f)
			out.Latency = time.Duration(seconds * float64(time.Second))
			return err
		}),
		p.optional(r, p.opts.Cost, func(f field) error {
			cost, err := notNegative(f)
			out.Cost = &cost
			return err
		}),
	)
	if err != nil {
		return record.Response{}, err
	}
	if failure != "" {
		never := false
		return record.Response{}, &record.Failure{Kind: record.Server, Retry: &never, Message: "recorded failure: " + config.Clip(failure, 300)}
	}
	for _, name := range p.outputs {
		f, ok := r.field(name)
		if !ok {
			continue
		}
		if !f.cell && f.empty() && len(out.ToolCalls) > 0 {
			out.Output = wire.CallsText(out.ToolCalls)
			return out, nil
		}
		if !f.cell && f.empty() {
			return record.Response{}, &record.Failure{Kind: record.Empty, Message: fmt.Sprintf("the recorded %s is null", name)}
		}
		out.Output, err = f.text()
		return out, err
	}
	switch {
	case len(out.ToolCalls) > 0:
		out.Output = wire.CallsText(out.ToolCalls)
		return out, nil
	case len(out.Likelihoods) > 0:
		return out, nil
	}
	return record.Response{}, errChanged
}

// optional reads a field that is named in the settings and present in the row.
func (p *Provider) optional(r row, name string, read func(field) error) error {
	if name == "" {
		return nil
	}
	f, ok := r.field(name)
	if !ok || f.empty() {
		return nil
	}
	if err := read(f); err != nil {
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			err = fmt.Errorf("a %s, want a %s", te.Value, shape(te.Type.Kind()))
		}
		return &fieldError{name: name, err: err}
	}
	return nil
}

func (p *Provider) text(r row, name string, into *string) error {
	return p.optional(r, name, func(f field) error {
		var err error
		*into, err = f.text()
		return err
	})
}

func notNegative(f field) (float64, error) {
	var v float64
	if err := f.decode(&v); err != nil {
		return 0, err
	}
	if !provider.NotNegative(v) {
		return 0, fmt.Errorf("%g is below 0", v)
	}
	return v, nil
}

// Check has nothing left to check: the file was read when the provider was made.
func (p *Provider) Check(context.Context) error { return nil }

// Describe returns the provider's part of a snapshot: the file's content, not its name.
func (p *Provider) Describe() provider.Info {
	params := map[string]any{"sha256": p.index.sum, "key": p.opts.Key, "output": strings.Join(p.outputs, "|")}
	for name, v := range map[string]string{
		"finish_reason": p.opts.FinishReason, "logprobs": p.opts.Logprobs, "usage": p.opts.Usage, "latency": p.opts.Latency,
		"cost": p.opts.Cost, "error": p.opts.Error, "model": p.opts.Model, "tool_calls": p.opts.ToolCalls, "refusal": p.opts.Refusal,
		"prompt_logprobs": p.opts.PromptLogprobs, "likelihoods": p.opts.Likelihoods,
	} {
		if v != "" {
			params[name] = v
		}
	}
	return provider.Info{ID: p.opts.ID, Params: params, Deterministic: true}
}

// Rows is the number of recorded answers.
func (p *Provider) Rows() int { return len(p.index.entries) }

// Close closes the file.
func (p *Provider) Close() error { return p.index.file.Close() }
