// Package exec is the provider that asks a program of the user's: any language, one long-lived
// process, lines of JSON.
//
// It is for systems under test that have no HTTP API, and for anything that needs a few lines of
// glue. It is not a shell: the command is split into words and run as it is. Each request is one
// line on the program's standard input, its answer one line on its standard output; package
// worker does the running, this package says what the lines mean. docs/providers.md has the
// protocol with an example.
package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/redact"
	"github.com/telltale-llm/telltale/internal/worker"
)

// DefaultTimeout bounds one answer, counted from when the program is given the request.
const DefaultTimeout = 5 * time.Minute

// Options are a provider's settings after the suite has been read.
type Options struct {
	ID      string
	Command []string
	Dir     string
	// Env is added to what Environ, the environment of telltale, hands on to every program.
	Env     worker.Environment
	Environ []string
	Timeout time.Duration // 0: DefaultTimeout
	// Workers is the number of processes, Concurrency the requests each has at a time; 0: one.
	Workers, Concurrency int
	MaxBytes             int // of an answer; 0: 16 MiB
}

// Provider asks the program. It is safe for concurrent use.
type Provider struct {
	opts   Options
	pool   *worker.Pool
	params map[string]any
	redact *redact.Redactor
}

// FromConfig reads the provider's part of a suite. environ is the environment of telltale as
// os.Environ returns it.
func FromConfig(p config.Provider, environ []string) (*Provider, error) {
	r := p.Config.Reader()
	opts := Options{ID: p.ID, Environ: environ, Dir: provider.Dir(p)}
	_, line, _ := strings.Cut(p.ID, ":")
	var err error
	switch {
	case line != "" && r.Has("command"):
		r.Fail("command", "the id names a command already", "one of them")
	case line != "":
		if opts.Command, err = worker.Split(line); err != nil {
			return nil, &config.Error{Pos: p.Pos, Value: p.ID, Problem: err.Error(), Want: "exec:PROGRAM ARGUMENTS…"}
		}
	default:
		if opts.Command, err = worker.CommandOf(r.Any("command")); err != nil {
			r.Fail("command", err.Error(), "a command, or a list of its words")
		}
	}
	if cwd := r.String("cwd", ""); cwd != "" {
		if !filepath.IsAbs(cwd) {
			cwd = filepath.Join(opts.Dir, cwd)
		}
		opts.Dir = cwd
	}
	opts.Timeout = r.Duration("timeout", DefaultTimeout)
	opts.Workers = positive(r, "workers", 1)
	opts.Concurrency = positive(r, "concurrency", 1)
	opts.MaxBytes = positive(r, "max_bytes", 16<<20)
	// The values may be secrets: Reader would show them.
	var errs config.Errors
	if opts.Env, err = worker.EnvironmentOf(r.Any("env")); err != nil {
		errs = append(errs, &config.Error{Pos: p.Config.At("env"), Problem: err.Error(), Want: "a list of names to pass on, or a mapping of names to values"})
	}
	errs.Append(p.Config.Pos, r.Finish())
	if err := errs.Err(); err != nil {
		return nil, err
	}
	out, err := New(opts)
	if err != nil {
		return nil, &config.Error{Pos: p.Pos, Value: p.ID, Err: err, Hint: "a program is looked up in PATH, or, with a slash in its name, from the folder of the suite file (or cwd)"}
	}
	return out, nil
}

func positive(r *config.Reader, key string, def int) int {
	n := r.Int(key, def)
	if n < 1 || n > 1<<30 {
		r.Fail(key, "out of range", "a whole number from 1")
	}
	return n
}

// New returns a provider whose program is started at the first request. The error says what is
// wrong with the command.
func New(opts Options) (*Provider, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	env, secrets := opts.Env.Build(opts.Environ)
	p := &Provider{opts: opts, redact: redact.New(secrets...)}
	var err error
	p.pool, err = worker.New(worker.Options{
		Command: opts.Command, Dir: opts.Dir, Env: env, Timeout: opts.Timeout,
		Workers: opts.Workers, Concurrency: opts.Concurrency, MaxLine: opts.MaxBytes, Redact: p.redact.String,
	})
	if err != nil {
		return nil, err
	}
	command := make([]any, len(opts.Command))
	for i, word := range opts.Command {
		command[i] = p.redact.String(word)
	}
	p.params = map[string]any{"command": command}
	if names := opts.Env.Names(); len(names) > 0 {
		p.params["env"] = names
	}
	return p, nil
}

// request is a line for the program.
type request struct {
	ID       string           `json:"id"`
	Prompt   string           `json:"prompt"`
	Messages []record.Message `json:"messages"`
	Vars     map[string]any   `json:"vars"`
	Seed     int64            `json:"seed"`
	Repeat   int              `json:"repeat"`
	Case     string           `json:"case"`
	// Continuations and ScorePrompt ask for likelihoods and prompt_logprobs instead of an output.
	Continuations []string `json:"continuations,omitempty"`
	ScorePrompt   bool     `json:"score_prompt,omitempty"`
}

// answer is a line from the program.
type answer struct {
	Output       json.RawMessage   `json:"output"`
	Error        json.RawMessage   `json:"error"`
	Retry        *bool             `json:"retry"`
	FinishReason string            `json:"finish_reason"`
	Refusal      string            `json:"refusal"`
	Model        string            `json:"model"`
	Fingerprint  string            `json:"fingerprint"`
	Usage        *provider.Usage   `json:"usage"`
	Logprobs     provider.Logprobs `json:"logprobs"`

	ToolCalls      provider.ToolCalls  `json:"tool_calls"`
	PromptLogprobs provider.Logprobs   `json:"prompt_logprobs"`
	Likelihoods    []record.Likelihood `json:"likelihoods"`

	Cost    *float64 `json:"cost"`
	Latency *float64 `json:"latency"`
}

// Complete hands the request to the program and waits for its answer. The error is a *record.Failure.
func (p *Provider) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	if f := provider.Interrupted(ctx); f != nil {
		return record.Response{}, f
	}
	got, err := p.pool.Call(ctx, func(id string) ([]byte, error) {
		vars := req.Vars
		if vars == nil {
			vars = map[string]any{}
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		err := enc.Encode(request{
			ID: id, Prompt: req.Prompt, Messages: req.Messages, Vars: vars, Seed: req.Seed, Repeat: req.Repeat, Case: req.Case,
			Continuations: req.Continuations, ScorePrompt: req.ScorePrompt,
		})
		return bytes.TrimRight(b.Bytes(), "\n"), err
	})
	if err != nil {
		return record.Response{}, failure(err)
	}
	out, err := p.response(got)
	if err == nil && len(out.Likelihoods) != len(req.Continuations) {
		return record.Response{}, &record.Failure{Kind: record.BadRequest, Message: fmt.Sprintf("the program gave %d likelihoods for %d continuations", len(out.Likelihoods), len(req.Continuations))}
	}
	return out, err
}

func (p *Provider) response(got worker.Answer) (record.Response, error) {
	malformed := func(problem string) (record.Response, error) {
		return record.Response{}, &record.Failure{Kind: record.Malformed, Message: fmt.Sprintf("%s: %s", problem, p.show(string(got.Line)))}
	}
	var a answer
	if err := json.Unmarshal(got.Line, &a); err != nil {
		return malformed("the program's answer cannot be read: " + err.Error())
	}
	if present(a.Error) {
		text, _ := provider.Text(a.Error) // it was just parsed
		if text != "" {
			never := false
			f := &record.Failure{Kind: record.Server, Retry: a.Retry, Message: "the program reports: " + p.show(text)}
			if f.Retry == nil {
				f.Retry = &never
			}
			return record.Response{}, f
		}
	}
	if err := provider.CheckLikelihoods(a.Likelihoods); err != nil {
		return malformed(err.Error())
	}
	if !present(a.Output) && len(a.ToolCalls) == 0 && len(a.Likelihoods) == 0 && len(a.PromptLogprobs) == 0 {
		return malformed("the program's answer has neither output nor error")
	}
	out := record.Response{
		FinishReason: a.FinishReason, Refusal: a.Refusal, Model: a.Model, Fingerprint: a.Fingerprint,
		Logprobs: a.Logprobs, Latency: got.Elapsed,
		ToolCalls: a.ToolCalls, PromptLogprobs: a.PromptLogprobs, Likelihoods: a.Likelihoods,
	}
	switch {
	case present(a.Output):
		out.Output, _ = provider.Text(a.Output)
	case len(a.ToolCalls) > 0:
		out.Output = wire.CallsText(a.ToolCalls)
	}
	var err error
	if out.Usage, err = a.Usage.Record(); err != nil {
		return malformed(err.Error())
	}
	if a.Cost != nil {
		if !provider.NotNegative(*a.Cost) {
			return malformed("the cost is below 0")
		}
		out.Cost = a.Cost
	}
	if a.Latency != nil {
		if !provider.NotNegative(*a.Latency) || *a.Latency > 1e6 {
			return malformed("the latency is not a number of seconds")
		}
		out.Latency = time.Duration(*a.Latency * float64(time.Second))
	}
	return out, nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func (p *Provider) show(s string) string { return config.Clip(p.redact.String(s), 300) }

// failure turns a worker's error into a failure.
func failure(err error) *record.Failure {
	e, ok := errors.AsType[*worker.Error](err)
	if !ok {
		return &record.Failure{Kind: record.BadRequest, Message: "the request cannot be written as JSON: " + err.Error()}
	}
	f := &record.Failure{Message: e.Message}
	switch e.Reason {
	case worker.Timeout:
		f.Kind = record.Timeout
	case worker.Canceled, worker.Closed:
		f.Kind = record.Canceled
	case worker.Malformed:
		f.Kind = record.Malformed
	case worker.TooLarge:
		f.Kind = record.TooLarge
	case worker.NotStarted, worker.GaveUp:
		never := false
		f.Kind, f.Retry = record.Exited, &never
	default:
		f.Kind = record.Exited
	}
	return f
}

// Check starts the program. Whether it can answer shows at the first request.
func (p *Provider) Check(context.Context) error {
	if err := p.pool.Start(); err != nil {
		return failure(err)
	}
	return nil
}

// Describe returns the provider's part of a snapshot: the command, not the program behind it. For
// that reason its answers are not to be cached.
func (p *Provider) Describe() provider.Info {
	return provider.Info{ID: p.opts.ID, Params: p.params, MaxConcurrency: p.pool.Slots()}
}

// Close ends the program.
func (p *Provider) Close() error { return p.pool.Close() }
