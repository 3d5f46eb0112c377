package sequence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/providertest"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake answers with its name and the conversation it was given.
type fake struct {
	id     string
	fail   record.FailureKind
	price  *float64
	closed *int
}

func (f *fake) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	if fail := provider.Interrupted(ctx); fail != nil {
		return record.Response{}, fail
	}
	if f.fail == "hang" {
		<-ctx.Done()
		return record.Response{}, provider.Interrupted(ctx)
	}
	if f.fail != "" {
		return record.Response{}, &record.Failure{Kind: f.fail, Message: f.id}
	}
	return record.Response{
		Output: f.id + "(" + strings.ReplaceAll(req.Prompt, "\n", "|") + ")", Usage: record.Usage{Prompt: 1, Completion: 2, Total: 3}, Cost: f.price,
		ToolCalls: []record.ToolCall{{Name: f.id}},
	}, nil
}
func (f *fake) Check(context.Context) error {
	if f.fail == record.Connection {
		return &record.Failure{Kind: record.Connection}
	}
	return nil
}
func (f *fake) Describe() provider.Info {
	return provider.Info{ID: f.id, Deterministic: true, Params: map[string]any{"t": 1}, MaxConcurrency: 3}
}
func (f *fake) Close() error {
	if f.closed != nil {
		*f.closed++
	}
	return nil
}

// open makes a provider of an id: NAME or NAME!FAILURE.
func open(closed *int) func(config.Provider) (Inner, error) {
	return func(p config.Provider) (Inner, error) {
		name, fail, _ := strings.Cut(p.ID, "!")
		if name == "unknown" {
			return nil, &config.Error{Pos: p.Pos, Value: p.ID, Problem: "unknown provider"}
		}
		price := 0.5
		f := &fake{id: name, fail: record.FailureKind(fail), price: &price, closed: closed}
		if name == "free" {
			f.price = nil
		}
		return f, nil
	}
}

func provide(t *testing.T, settings map[string]any) *Provider {
	t.Helper()
	p, err := FromConfig(config.Provider{ID: "sequence", Config: config.Object{Map: settings}}, open(nil))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestConformance(t *testing.T) {
	with := func(settings map[string]any) func(t *testing.T) providertest.Provider {
		return func(t *testing.T) providertest.Provider { return provide(t, settings) }
	}
	providertest.Run(t, providertest.Subject{
		New:     with(map[string]any{"provider": "a", "inputs": []any{"1 {{prompt}}", "2 {{prompt}}"}}),
		Request: func(n int) record.Request { return providertest.Asking(fmt.Sprint(n)) },
		Want:    func(n int) string { return fmt.Sprintf("a(1 %d)\n---\na(2 %d)", n, n) },
		Hang:    with(map[string]any{"providers": []any{"a", "b!hang"}}),
		Failures: []providertest.Failing{
			{Name: "second step", New: with(map[string]any{"providers": []any{"a", "b!rate_limited"}}), Request: providertest.Asking("q"), Kind: record.RateLimited, Retry: true},
			{Name: "all fail", New: with(map[string]any{"mode": "fallback", "providers": []any{"a!auth", "b!server"}}), Request: providertest.Asking("q"), Kind: record.Server, Retry: true},
			{Name: "missing variable", New: with(map[string]any{"provider": "a", "inputs": []any{"{{nothing}}"}}), Request: providertest.Asking("q"), Kind: record.BadRequest},
		},
		Unreachable: with(map[string]any{"providers": []any{"a", "b!connection"}}),
	})
}

func TestSteps(t *testing.T) {
	req := record.Request{Messages: []record.Message{{Role: "system", Content: "S"}, {Role: "user", Content: "q"}}, Vars: map[string]any{"v": "V"}}
	req.Prompt = record.PromptText(req.Messages)
	f := func(settings map[string]any, output, turns string, cost float64) {
		t.Helper()
		got, err := provide(t, settings).Complete(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(got.Turns)
		if got.Output != output || string(raw) != turns {
			t.Errorf("%v:\n got %q, turns %s\nwant %q, turns %s", settings, got.Output, raw, output, turns)
		}
		if cost < 0 && got.Cost != nil || cost >= 0 && (got.Cost == nil || *got.Cost != cost) {
			t.Errorf("%v: cost %v, want %g", settings, got.Cost, cost)
		}
	}
	f(map[string]any{"provider": "a"}, "a(system: S|user: q)", "null", 0.5)
	f(map[string]any{"provider": "a", "inputs": []any{"one {{v}}", "two {{output}}"}, "separator": "+"},
		"a(system: S|user: one V)+a(system: S|user: two a(system: S|user: one V))",
		`[{"user":"one V","output":"a(system: S|user: one V)","tool_calls":[{"name":"a","arguments":""}]}]`, 1)
	f(map[string]any{"provider": "a", "inputs": []any{"one", "two"}, "history": true, "output": "last"},
		"a(system: S|user: one|assistant: a(system: S|user: one)|user: two)",
		`[{"user":"one","output":"a(system: S|user: one)","tool_calls":[{"name":"a","arguments":""}]}]`, 1)
	f(map[string]any{"providers": []any{"a", map[string]any{"id": "free"}}},
		"free(system: S|user: a(system: S|user: q))",
		`[{"user":"q","output":"a(system: S|user: q)","tool_calls":[{"name":"a","arguments":""}]}]`, -1)
	f(map[string]any{"mode": "fallback", "providers": []any{"a!server", "b"}}, "b(system: S|user: q)", "null", 0.5)
}

func TestMistakes(t *testing.T) {
	closed := 0
	f := func(settings map[string]any, part string) {
		t.Helper()
		pos := config.Pos{File: "telltale.yaml", Line: 3, Key: "providers[0]"}
		_, err := FromConfig(config.Provider{ID: "sequence", Pos: pos, Config: config.Object{Pos: pos.At("config"), Map: settings}}, open(&closed))
		var e *config.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), part) || e.File != pos.File {
			t.Errorf("%v: got %v, want %q", settings, err, part)
		}
	}
	f(nil, "no provider takes part")
	f(map[string]any{"provider": "a", "providers": []any{"b"}}, "one of them")
	f(map[string]any{"providers": "a"}, "not a list")
	f(map[string]any{"provider": "a", "mode": "all"}, "no such mode")
	f(map[string]any{"provider": "a", "output": "first"}, "no such output")
	f(map[string]any{"provider": "a", "inputs": []any{"{{ x"}}, "template")
	f(map[string]any{"provider": "a", "inputs": []any{"x"}, "mode": "fallback"}, "fallback")
	f(map[string]any{"provider": "a", "strategy": "x"}, "strategy")
	f(map[string]any{"provider": 5}, "not a provider")
	f(map[string]any{"providers": []any{"a", "unknown"}}, "unknown provider")
	if closed != 1 {
		t.Errorf("%d providers were closed after a mistake in another, want 1", closed)
	}
}

// dice answers each request with a number of its own and fails at some of them.
type dice struct {
	fake
	asked  []record.Request
	failAt map[int]bool
}

func (d *dice) Complete(_ context.Context, req record.Request) (record.Response, error) {
	d.asked = append(d.asked, req)
	if d.failAt[len(d.asked)] {
		return record.Response{}, &record.Failure{Kind: record.Server}
	}
	return record.Response{Output: fmt.Sprint(len(d.asked)), Usage: record.Usage{Total: 3}, Cost: d.price, Latency: 2}, nil
}

func TestRepeat(t *testing.T) {
	price := 0.5
	d := &dice{fake: fake{id: "dice", price: &price}, failAt: map[int]bool{3: true}}
	spec := config.Provider{ID: "sequence", Config: config.Object{Map: map[string]any{"mode": "repeat", "answers": int64(4), "provider": "dice"}}}
	p, err := FromConfig(spec, func(config.Provider) (Inner, error) { return d, nil })
	if err != nil {
		t.Fatal(err)
	}
	req := record.Request{Case: "c", Prompt: "p", Repeat: 1, Seed: 7}
	if _, err := p.Complete(t.Context(), req); err == nil {
		t.Error("the third request failed, and the sample did not")
	}
	resp, err := p.Complete(t.Context(), req)
	if err != nil || resp.Output != "1" || fmt.Sprint(resp.Answers) != "[1 2 4 5]" || resp.Usage.Total != 12 || *resp.Cost != 2 || resp.Latency != 8 {
		t.Errorf("%+v %v", resp, err)
	}
	last := d.asked[len(d.asked)-1]
	if last.Repeat != 7 || last.Seed != 10 {
		t.Errorf("the fourth answer is of repeat %d with seed %d", last.Repeat, last.Seed)
	}
	if resp, err := p.Complete(t.Context(), req); err != nil || fmt.Sprint(resp.Answers) != "[6 7 8 9]" {
		t.Errorf("a finished sample leaves %v %v", resp.Answers, err)
	}
	if i := p.Describe(); i.Params["answers"] != 4 {
		t.Errorf("%+v", i)
	}
	bad := func(conf map[string]any, want string) {
		t.Helper()
		conf["provider"] = "dice"
		if _, err := FromConfig(config.Provider{Config: config.Object{Map: conf}}, func(config.Provider) (Inner, error) { return d, nil }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", conf, err, want)
		}
	}
	bad(map[string]any{"mode": "repeat"}, "2 to 1000")
	bad(map[string]any{"answers": int64(3)}, "is for mode: repeat")
	bad(map[string]any{"mode": "repeat", "answers": int64(3), "inputs": "x"}, "asks each provider the same")
}
