// Package telltaletest runs a telltale suite inside go test: a sub-test for each case, one for the gate,
// and the same verdicts as the telltale command gives.
//
//	func TestAssistant(t *testing.T) {
//		telltaletest.Run(t, "testdata/assistant.yaml", telltaletest.Options{
//			Providers: map[string]telltaletest.Provider{
//				"assistant": telltaletest.ProviderFunc(func(ctx context.Context, req telltaletest.Request) (telltaletest.Response, error) {
//					answer, err := assistant.Reply(ctx, req.Prompt)
//					return telltaletest.Response{Output: answer}, err
//				}),
//			},
//		})
//	}
//
// Any provider of the suite works; what Options.Providers gives answers in place of the suite's provider of
// that id or label, so that a team's own code is judged without a server in between. A suite made for
// that names its provider go:assistant.
//
// It fails closed: a sample that failed, ended in an error or has no verdict fails its sub-test, and
// whatever the gate decides other than a pass fails the gate's. The package judges nothing itself.
package telltaletest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Policy is what a sub-test does about a sample that did not pass.
type Policy uint8

// The policies.
const (
	Fail Policy = iota // the sub-test fails
	Skip               // the sub-test is skipped, with the reason, unless something else fails it
	Log                // the reason is logged and the gate decides
)

// Options says how a suite is run. The zero value runs it as telltale run does, without the cache.
type Options struct {
	// Vars fills the suite's parameters ${NAME}.
	Vars map[string]string
	// Env looks up environment variables for the suite; nil means os.LookupEnv.
	Env func(string) (string, bool)
	// Providers answer in place of the suite's providers of that id or label; the key NAME also stands
	// for the id go:NAME. A key that the suite has no use for is an error.
	Providers map[string]Provider

	// Samples, Seed, Tags and Sample override the suite as the flags of telltale run do: answers per
	// case, the run's seed, tags to keep (or !TAG to leave out), cases to keep of each source.
	Samples int
	Seed    *int64
	Tags    []string
	Sample  int

	// Concurrency is how many requests are made at a time for each provider; 0 leaves it to the suite.
	Concurrency int
	// Timeout bounds one attempt, 0 leaves it to the provider. Retries is how often a failed attempt is
	// repeated; 0 means never, for a test should not hide what is flaky.
	Timeout time.Duration
	Retries int
	// AllowCode lets the suite run its own JavaScript and Python, as --allow-code does.
	AllowCode bool
	// Cache is the directory of the cache of answers; empty means none. A Provider's are never cached.
	Cache string
	// Dir is the directory for the results, which must not hold a run; empty means a temporary one.
	Dir string

	// Failures, Errors and Undecided say what a case's sub-test does about samples of these verdicts.
	// The gate's sub-test is not affected.
	Failures, Errors, Undecided Policy
}

// Provider answers requests. It must be safe for concurrent use.
type Provider interface {
	Complete(ctx context.Context, req Request) (Response, error)
}

// ProviderFunc is a function as a Provider.
type ProviderFunc func(ctx context.Context, req Request) (Response, error)

// Complete calls the function.
func (f ProviderFunc) Complete(ctx context.Context, req Request) (Response, error) {
	return f(ctx, req)
}

// Request is one prompt, rendered for one case.
type Request struct {
	// Prompt is the text of a single message, or all messages as "role: text" lines.
	Prompt   string
	Messages []Message
	// Vars are the case's variables. They are shared with the checks and must not be changed.
	Vars map[string]any
	Case string
	// Repeat counts the answers to the same case and prompt from 0; Seed differs between them.
	Repeat int
	Seed   int64
}

// Message is one turn of a chat, its text parts joined by newlines.
type Message struct{ Role, Content string }

// Response is an answer. Only Output is needed; an empty one is judged like any other.
type Response struct {
	Output string
	// Refusal is the model's own refusal, where it says so apart from the output.
	Refusal      string
	FinishReason string
	Model        string
	ToolCalls    []ToolCall
	// PromptTokens and CompletionTokens are 0 when not known.
	PromptTokens, CompletionTokens int
	// Cost in US dollars; nil when not known.
	Cost *float64
	// Latency is measured when it is 0.
	Latency time.Duration
}

// ToolCall is a call of a function that the answer asks for; Arguments is JSON.
type ToolCall struct{ ID, Name, Arguments string }

// Result is what a run came to.
type Result struct {
	// Verdict is pass, fail, error or undecided, and Reason says why.
	Verdict, Reason string
	// Samples counts the finished samples, by verdict too.
	Samples, Passed, Failed, Errored, Undecided int
	// Metrics holds the mean of each metric that there are data of.
	Metrics map[string]float64
	// Dir is where the results are.
	Dir string
}

// Run runs a suite and reports it as sub-tests of t: one for each case, named by its id, in the order of
// the plan, and one named gate. It may be called from parallel tests. A mistake in the suite, or a run
// that could not be carried out, fails t itself at once. Run returns when all sub-tests are done.
func Run(t *testing.T, suite string, o Options) Result {
	t.Helper()
	finished, err := execute(t, suite, o)
	if err != nil {
		t.Fatal(message(err))
	}
	cases(t, finished, o)
	t.Run("gate", func(t *testing.T) { gate(t, finished.Run) })
	s := finished.Run.Summary
	out := Result{Verdict: finished.Run.Gate.Verdict.String(), Reason: finished.Run.Gate.Reason, Dir: finished.Dir, Metrics: map[string]float64{},
		Samples: s.Finished, Passed: s.Passed, Failed: s.Failed, Errored: s.Errored, Undecided: s.Undecided}
	for name, m := range finished.Run.Metrics {
		if m.N > 0 && m.Mean != nil {
			out.Metrics[name] = *m.Mean
		}
	}
	return out
}

// spare is the time kept of a test's deadline to report what there is.
const spare = 2 * time.Second

func execute(t *testing.T, suite string, o Options) (*app.Finished, error) {
	t.Helper()
	ro := app.RunOptions{
		LoadOptions: app.LoadOptions{Vars: o.Vars, Env: o.Env, AllowCode: o.AllowCode}, Suite: suite, Out: o.Dir,
		Samples: o.Samples, Seed: o.Seed, Tags: o.Tags, Sample: o.Sample,
		Concurrency: o.Concurrency, Retries: o.Retries, Timeout: o.Timeout, NoCache: o.Cache == "", CacheDir: o.Cache,
		Notice: func(text string) { t.Log("note: " + text) }, Stdin: strings.NewReader(""),
	}
	if ro.Env == nil {
		ro.Env = os.LookupEnv
	}
	if ro.Out == "" {
		ro.Out = filepath.Join(t.TempDir(), "run")
	}
	if len(o.Providers) > 0 {
		ro.Providers = map[string]runner.Provider{}
		for name, p := range o.Providers {
			if p == nil {
				return nil, fmt.Errorf("Options.Providers[%q] is nil", name)
			}
			ro.Providers[name] = adapter{p, t.Logf}
		}
	}
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-spare))
		defer cancel()
	}
	return app.Run(ctx, ro)
}

// message lists a user's mistakes one a line.
func message(err error) string {
	if es, ok := errors.AsType[config.Errors](err); ok {
		var b strings.Builder
		for _, e := range es {
			b.WriteString("\n" + e.Error())
		}
		return strings.TrimPrefix(b.String(), "\n")
	}
	return err.Error()
}

// adapter is a Provider as the runner knows one.
type adapter struct {
	p   Provider
	log func(format string, args ...any)
}

func (a adapter) Complete(ctx context.Context, req record.Request) (resp record.Response, err error) {
	if len(req.Continuations) > 0 || req.ScorePrompt {
		return resp, &record.Failure{Kind: record.BadRequest, Message: "a Go provider cannot give the likelihood of a given text"}
	}
	in := Request{Prompt: req.Prompt, Vars: req.Vars, Case: req.Case, Repeat: req.Repeat, Seed: req.Seed}
	for _, m := range req.Messages {
		in.Messages = append(in.Messages, Message{m.Role, m.Text()})
	}
	// A panic in the code under test is one sample's failure, not the end of all tests.
	defer func() {
		if r := recover(); r != nil {
			a.log("case %s: the provider panicked: %v\n%s", req.Case, r, debug.Stack())
			err = &record.Failure{Kind: record.Exited, Retry: new(false), Message: fmt.Sprintf("the provider panicked: %v", r)}
		}
	}()
	began := time.Now()
	out, err := a.p.Complete(ctx, in)
	if err != nil {
		if f, ok := errors.AsType[*record.Failure](err); ok {
			return resp, f
		}
		kind := record.Server
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			kind = record.Timeout
		case errors.Is(err, context.Canceled):
			kind = record.Canceled
		}
		return resp, &record.Failure{Kind: kind, Message: err.Error(), Err: err}
	}
	resp = record.Response{Output: out.Output, Refusal: out.Refusal, FinishReason: out.FinishReason, Model: out.Model, Cost: out.Cost, Latency: out.Latency,
		Usage: record.Usage{Prompt: out.PromptTokens, Completion: out.CompletionTokens}}
	for _, c := range out.ToolCalls {
		resp.ToolCalls = append(resp.ToolCalls, record.ToolCall{ID: c.ID, Name: c.Name, Arguments: c.Arguments})
	}
	if resp.Latency == 0 {
		// A clock that is too coarse must not make a measured latency look like none.
		resp.Latency = max(time.Since(began), time.Nanosecond)
	}
	return resp, nil
}

// cases reports the samples, which come case by case.
func cases(t *testing.T, f *app.Finished, o Options) {
	t.Helper()
	var group []record.Sample
	flush := func() {
		if len(group) > 0 {
			t.Run(group[0].Case, func(t *testing.T) { one(t, group, f.Run, o) })
			group = group[:0]
		}
	}
	for s, err := range app.ReadSamples(f.Dir) {
		if err != nil {
			t.Fatal(err)
		}
		if len(group) > 0 && group[0].Case != s.Case {
			flush()
		}
		group = append(group, s)
	}
	flush()
}

// one reports a case: all that did not pass, then what follows from it.
func one(t *testing.T, samples []record.Sample, run *record.Run, o Options) {
	t.Helper()
	skip := false
	for i := range samples {
		s := &samples[i]
		policy := o.Undecided
		switch s.Verdict {
		case verdict.Pass:
			continue
		case verdict.Fail:
			policy = o.Failures
		case verdict.Error:
			policy = o.Errors
		}
		text := describe(s, run)
		switch policy {
		case Skip:
			skip = true
			t.Log(text)
		case Log:
			t.Log(text)
		default:
			t.Error(text)
		}
	}
	if skip && !t.Failed() {
		t.SkipNow()
	}
}

// shown is how many runes of an output a failure shows.
const shown = 400

// describe says what happened to a sample, on a line for each reason.
func describe(s *record.Sample, run *record.Run) string {
	var b strings.Builder
	b.WriteString(s.Verdict.String())
	if len(run.Snapshots) > 1 {
		fmt.Fprintf(&b, " of %s, prompt %s", s.Provider, report.Line(s.Prompt, 80))
	}
	if run.Repeats > 1 {
		fmt.Fprintf(&b, ", answer %d", s.Repeat+1)
	}
	for _, why := range report.Reasons(s) {
		b.WriteString("\n  " + strings.ReplaceAll(strings.TrimSpace(why), "\n", "\n    "))
	}
	if s.Error == "" {
		b.WriteString("\n  output: " + report.Line(s.Output, shown))
	}
	return b.String()
}

// gate reports the run's verdict with each of its checks.
func gate(t *testing.T, run *record.Run) {
	t.Helper()
	for _, c := range run.Gate.Checks {
		t.Logf("%s: %s: %s", c.Verdict, strings.TrimSpace(c.Metric+" "+c.Want), c.Reason)
	}
	if run.Summary.Stopped != "" {
		t.Logf("stopped early: %s", run.Summary.Stopped)
	}
	if run.Gate.Verdict != verdict.Pass {
		t.Errorf("the run is %s: %s", run.Gate.Verdict, run.Gate.Reason)
	}
}
