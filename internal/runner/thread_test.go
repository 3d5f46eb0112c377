package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// threadPlan has n cases in two conversations, answered by two cells.
func threadPlan(t *testing.T, n int, p Provider) *Plan {
	t.Helper()
	plan := planOf(t, n, 2, p)
	prompt, err := CompilePrompt(config.Prompt{Text: "{% for e in _conversation %}{{ e.input | length }}/{{ e.output }} {% endfor %}{{ x }}"})
	if err != nil {
		t.Fatal(err)
	}
	plan.Cells[0].Prompt, plan.Cells[0].Remembers = prompt, true
	second := plan.Cells[0]
	second.ProviderName = "second"
	plan.Cells = append(plan.Cells, second)
	cases := plan.Cases
	plan.Cases = func(ctx context.Context) iter.Seq2[Case, error] {
		return func(yield func(Case, error) bool) {
			i := 0
			for c, err := range cases(ctx) {
				c.Conversation = fmt.Sprint(i % 2)
				plain := c
				c.Complete = func(vars map[string]any) (Case, error) {
					out := plain
					out.Vars = maps.Clone(plain.Vars)
					maps.Copy(out.Vars, vars)
					return out, nil
				}
				if i++; !yield(c, err) {
					return
				}
			}
		}
	}
	return plan
}

func outputs(t *testing.T, j *Journal) []string {
	t.Helper()
	var out []string
	for _, line := range samplesOf(t, j) {
		var s record.Sample
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, ConversationVar) {
			t.Errorf("the conversation is among the variables: %s", line)
		}
		out = append(out, s.Output+s.Error)
	}
	return out
}

// Whatever the concurrency and wherever the run is cut off, each case sees the whole conversation before it.
func TestConversationsAreInOrder(t *testing.T) {
	answer := providerFunc(func(_ context.Context, req record.Request) (record.Response, error) {
		return record.Response{Output: fmt.Sprintf("[%d]", len(req.Prompt))}, nil
	})
	plan := threadPlan(t, 9, answer)
	j := journalFor(t, plan)
	if _, err := Run(t.Context(), plan, j, Options{Concurrency: 1}); err != nil {
		t.Fatal(err)
	}
	want := strings.Join(outputs(t, j), " ")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(want, "[1] [1] [1] [1] [1] [1] [1] [1] [7] [7] [7] [7]") {
		t.Fatalf("outputs %s", want)
	}
	for stop := int64(0); stop < 36; stop += 5 {
		path := filepath.Join(t.TempDir(), "j")
		j, err := CreateJournal(path, Header{ID: "p", Total: plan.Total()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var n atomic.Int64
		cut := threadPlan(t, 9, providerFunc(func(c context.Context, req record.Request) (record.Response, error) {
			if n.Add(1) == stop {
				cancel()
				return record.Response{}, context.Cause(ctx)
			}
			return answer(c, req)
		}))
		if _, err := Run(ctx, cut, j, Options{Concurrency: 8}); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if j, err = OpenJournal(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), plan, j, Options{Concurrency: 8}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(outputs(t, j), " "); got != want {
			t.Errorf("stopped at %d: %s\nwant %s", stop, got, want)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A case without an answer ends its conversation, and no other; a resumed run goes on with it.
func TestConversationBreaks(t *testing.T) {
	fail := true
	plan := threadPlan(t, 6, providerFunc(func(_ context.Context, req record.Request) (record.Response, error) {
		if fail && req.Case == "2" {
			return record.Response{}, &record.Failure{Kind: record.Server, Status: 503}
		}
		return record.Response{Output: "a" + req.Case}, nil
	}))
	plan.Repeats = 1
	plan.Cells = plan.Cells[:1]
	path := filepath.Join(t.TempDir(), "j")
	j, err := CreateJournal(path, Header{ID: "p", Total: plan.Total()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), plan, j, Options{Concurrency: 4}); err != nil {
		t.Fatal(err)
	}
	got := outputs(t, j)
	if got[0] != "a0" || got[1] != "a1" || got[3] != "a3" || got[5] != "a5" || !strings.HasPrefix(got[4], "server (HTTP 503): case 2, from which this one goes on") {
		t.Errorf("%q", got)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	fail = false
	if j, err = OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := Run(t.Context(), plan, j, Options{Concurrency: 4}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(outputs(t, j), " "); got != "a0 a1 a2 a3 a4 a5" {
		t.Errorf("%q", got)
	}
}

func TestStoredOutputs(t *testing.T) {
	plan := threadPlan(t, 4, providerFunc(func(_ context.Context, req record.Request) (record.Response, error) {
		return record.Response{Output: fmt.Sprint(req.Vars["kept"], "+", req.Case)}, nil
	}))
	plan.Stores = true
	plan.Cells[0].Remembers, plan.Cells[1].Remembers = false, false
	plan.Cells[0].Prompt, plan.Cells[1].Prompt = planOf(t, 1, 1, nil).Cells[0].Prompt, planOf(t, 1, 1, nil).Cells[0].Prompt
	cases := plan.Cases
	plan.Cases = func(ctx context.Context) iter.Seq2[Case, error] {
		return func(yield func(Case, error) bool) {
			for c, err := range cases(ctx) {
				if c.ID != "1" {
					c.StoreAs = "kept"
				}
				if !yield(c, err) {
					return
				}
			}
		}
	}
	j := journalFor(t, plan)
	defer j.Close()
	if _, err := Run(t.Context(), plan, j, Options{Concurrency: 8}); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("<nil>+0 ", 4) + strings.Repeat("<nil>+0+1 ", 4) + strings.Repeat("<nil>+0+2 ", 4) + strings.Repeat("<nil>+0+2+3 ", 4)
	if got := strings.Join(outputs(t, j), " "); got+" " != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestPromptsInYAML(t *testing.T) {
	p, err := CompilePrompt(config.Prompt{Text: "- role: system\n  content: Be {{x}}\n- role: user\n  content: |\n    Say {{x}}\n"})
	if err != nil {
		t.Fatal(err)
	}
	ms, err := p.Render(&Case{Case: record.Case{Vars: map[string]any{"x": "brief"}}})
	if err != nil || len(ms) != 2 || ms[0].Role != "system" || ms[1].Content != "Say brief\n" {
		t.Errorf("%+v, %v", ms, err)
	}
}
