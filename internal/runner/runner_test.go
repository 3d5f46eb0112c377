package runner

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type providerFunc func(ctx context.Context, req record.Request) (record.Response, error)

func (f providerFunc) Complete(ctx context.Context, req record.Request) (record.Response, error) {
	return f(ctx, req)
}

type checkFunc func(in *scorer.Input) record.Score

func (f checkFunc) Score(_ context.Context, in *scorer.Input) record.Score { return f(in) }

func (checkFunc) Name() string { return "ok" }
func (checkFunc) Type() string { return "ok" }

func planOf(t *testing.T, n, repeats int, p Provider) *Plan {
	t.Helper()
	prompt, err := CompilePrompt(config.Prompt{Text: "say {{x}}"})
	if err != nil {
		t.Fatal(err)
	}
	yes, one := true, 1.0
	check := checkFunc(func(in *scorer.Input) record.Score {
		return record.Score{Name: "ok", Type: "ok", Value: &one, Pass: &yes}
	})
	return &Plan{
		ID: "p", Count: n, Repeats: repeats, Seed: 1,
		Cells: []Cell{{Provider: p, Prompt: prompt, Limit: NewLimiter(8), ProviderName: "p", PromptName: "q", Snapshot: record.Snapshot{ID: "s"}, Cacheable: true}},
		Cases: func(context.Context) iter.Seq2[Case, error] {
			return func(yield func(Case, error) bool) {
				for i := range n {
					id := fmt.Sprint(i)
					if !yield(Case{Case: record.Case{ID: id, Vars: map[string]any{"x": id}}, Checks: []Check{check}}, nil) {
						return
					}
				}
			}
		},
	}
}

func journalFor(t *testing.T, p *Plan) *Journal {
	t.Helper()
	j, err := CreateJournal(filepath.Join(t.TempDir(), "j"), Header{ID: p.ID, Total: p.Total()})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestRunRetriesAndFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		p := providerFunc(func(ctx context.Context, req record.Request) (record.Response, error) {
			calls.Add(1)
			switch {
			case req.Case == "3":
				return record.Response{}, &record.Failure{Kind: record.BadRequest, Status: 400, Message: "no"}
			case req.Attempt == 0 && req.Case == "5":
				return record.Response{}, &record.Failure{Kind: record.RateLimited, Status: 429, RetryAfter: 20 * time.Second}
			case req.Attempt < 2 && req.Case == "6":
				return record.Response{}, &record.Failure{Kind: record.Server, Status: 500}
			case req.Case == "7":
				return record.Response{}, &record.Failure{Kind: record.Server, Status: 503}
			}
			return record.Response{Output: req.Prompt, Usage: record.Usage{Prompt: 2, Completion: 1}}, nil
		})
		plan := planOf(t, 10, 1, p)
		j := journalFor(t, plan)
		defer j.Close()
		start := time.Now()
		var last Progress
		out, err := Run(t.Context(), plan, j, Options{Concurrency: 1, Retries: 3, Progress: func(p Progress) { last = p }})
		if err != nil || out.Stopped != "" || out.Done != 10 {
			t.Fatalf("%+v, %v", out, err)
		}
		if waited := time.Since(start); waited < 20*time.Second {
			t.Errorf("retry-after of 20 s was not kept: %v", waited)
		}
		if last.Passed != 8 || last.Errored != 2 || last.Tokens != 24 {
			t.Errorf("progress %+v", last)
		}
		lines := samplesOf(t, j)
		for i, want := range map[int]string{0: `"output":"say 0"`, 3: `"error":"bad_request (HTTP 400): no"`, 5: `"retries":1`, 6: `"retries":2`, 7: `"error":"server (HTTP 503)"`} {
			if !strings.Contains(lines[i], want) {
				t.Errorf("sample %d lacks %s: %s", i, want, lines[i])
			}
		}
	})
}

func TestRunIsTheSameWhateverTheOrder(t *testing.T) {
	var want string
	for _, concurrency := range []int{1, 7, 64} {
		p := providerFunc(func(ctx context.Context, req record.Request) (record.Response, error) {
			return record.Response{Output: fmt.Sprint(req.Seed)}, nil
		})
		plan := planOf(t, 200, 3, p)
		j := journalFor(t, plan)
		if _, err := Run(t.Context(), plan, j, Options{Concurrency: concurrency}); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(samplesOf(t, j), "\n")
		if want == "" {
			want = got
		}
		if got != want || strings.Count(got, "\n") != 599 {
			t.Errorf("concurrency %d gives other samples", concurrency)
		}
		_ = j.Close()
	}
}

func TestInterruptLeavesOnlyWholeSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := providerFunc(func(ctx context.Context, req record.Request) (record.Response, error) {
			select {
			case <-time.After(time.Second):
				return record.Response{Output: "x"}, nil
			case <-ctx.Done():
				return record.Response{}, &record.Failure{Kind: record.Canceled, Err: ctx.Err()}
			}
		})
		plan := planOf(t, 100, 1, p)
		j := journalFor(t, plan)
		defer j.Close()
		time.AfterFunc(3500*time.Millisecond, cancel)
		out, err := Run(ctx, plan, j, Options{Concurrency: 4})
		if err != nil || !out.Interrupted || out.Done != 12 {
			t.Fatalf("%+v, %v; want 12 samples and an interruption", out, err)
		}
		out, err = Run(t.Context(), plan, j, Options{Concurrency: 4})
		if err != nil || out.Done != 100 || len(samplesOf(t, j)) != 100 {
			t.Fatalf("resumed: %+v, %v", out, err)
		}
	})
}

func TestBudgets(t *testing.T) {
	f := func(b config.Budget, wantStop string, low, high int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			cost := 0.01
			p := providerFunc(func(ctx context.Context, req record.Request) (record.Response, error) {
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return record.Response{}, ctx.Err()
				}
				return record.Response{Output: "x", Cost: &cost, Usage: record.Usage{Total: 10}}, nil
			})
			plan := planOf(t, 100, 1, p)
			j := journalFor(t, plan)
			defer j.Close()
			out, err := Run(t.Context(), plan, j, Options{Concurrency: 8, Budget: b})
			if err != nil || !strings.Contains(out.Stopped, wantStop) || out.Done < low || out.Done > high || out.Interrupted {
				t.Errorf("%+v: %+v, %v; want %d to %d samples", b, out, err, low, high)
			}
		})
	}
	f(config.Budget{Cost: 0.105}, "cost budget", 9, 10)
	f(config.Budget{Tokens: 250}, "token budget", 24, 25)
	f(config.Budget{Time: 4.5}, "time budget", 32, 32)
}

func TestGivesUpOnADeadProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := providerFunc(func(ctx context.Context, req record.Request) (record.Response, error) {
			return record.Response{}, &record.Failure{Kind: record.Connection, Message: "refused"}
		})
		plan := planOf(t, 1000, 1, p)
		j := journalFor(t, plan)
		defer j.Close()
		out, err := Run(t.Context(), plan, j, Options{Concurrency: 4, Retries: 4})
		if err != nil || out.Unreachable == nil || out.Done > 10 {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := providerFunc(func(ctx context.Context, req record.Request) (record.Response, error) {
			<-ctx.Done()
			return record.Response{}, &record.Failure{Kind: record.Canceled, Err: ctx.Err()}
		})
		plan := planOf(t, 2, 1, p)
		j := journalFor(t, plan)
		defer j.Close()
		out, err := Run(t.Context(), plan, j, Options{Concurrency: 4, Timeout: time.Second})
		if err != nil || out.Done != 2 || !strings.Contains(samplesOf(t, j)[0], "timeout: no answer within 1s") {
			t.Errorf("%+v, %v: %v", out, err, samplesOf(t, j))
		}
	})
}

func TestCacheIsNotForTimedCases(t *testing.T) {
	var calls atomic.Int64
	p := providerFunc(func(ctx context.Context, req record.Request) (record.Response, error) {
		calls.Add(1)
		return record.Response{Output: req.Prompt}, nil
	})
	cache, err := OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := func(timed bool, wantCalls int64) {
		t.Helper()
		plan := planOf(t, 10, 1, p)
		cases := plan.Cases
		plan.Cases = func(ctx context.Context) iter.Seq2[Case, error] {
			return func(yield func(Case, error) bool) {
				for c, err := range cases(ctx) {
					c.Timed = timed
					if !yield(c, err) {
						return
					}
				}
			}
		}
		j := journalFor(t, plan)
		defer j.Close()
		calls.Store(0)
		if _, err := Run(t.Context(), plan, j, Options{Concurrency: 2, Cache: cache}); err != nil {
			t.Fatal(err)
		}
		if calls.Load() != wantCalls {
			t.Errorf("timed %v: %d calls, want %d", timed, calls.Load(), wantCalls)
		}
	}
	f(false, 10)
	f(false, 0)
	f(true, 10)
}

func TestLimiterAdapts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(10)
		for range 3 {
			if err := l.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			l.Release(overloaded)
		}
		if l.bound < 3.4 || l.bound > 3.5 {
			t.Errorf("bound %v after three overloads, want 10·0.7³", l.bound)
		}
		for range 100 {
			_ = l.Acquire(t.Context())
			l.Release(succeeded)
		}
		if l.bound != 10 {
			t.Errorf("bound %v, want back at 10", l.bound)
		}
		l.Pause(5 * time.Second)
		start := time.Now()
		if err := l.Acquire(t.Context()); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("waited %v, %v", time.Since(start), err)
		}
		l.Release(released)
	})
}

func TestLimiterNeverExceedsItsBound(t *testing.T) {
	l := NewLimiter(5)
	var in, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%7 == 0 {
				cancel()
			}
			if l.Acquire(ctx) != nil {
				return
			}
			n := in.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			in.Add(-1)
			l.Release(release(i % 3))
		})
	}
	wg.Wait()
	if most.Load() > 5 || l.inUse != 0 || len(l.waiters) != 0 {
		t.Errorf("at most %d at a time, %d left in use, %d waiting", most.Load(), l.inUse, len(l.waiters))
	}
}

func TestJudge(t *testing.T) {
	score := func(value float64, pass bool, weight float64) record.Score {
		return record.Score{Value: &value, Pass: &pass, Weight: &weight}
	}
	yes, no := score(1, true, 1), score(0, false, 1)
	broken, measured := record.Score{Error: "x"}, record.Score{Value: new(float64)}
	half := 0.5
	f := func(want verdict.Verdict, wantScore float64, threshold *float64, scores ...record.Score) {
		t.Helper()
		got, s := Judge(scores, threshold)
		if got != want || (s == nil) != (wantScore < 0) || s != nil && *s != wantScore {
			t.Errorf("%v: %v %v, want %v %v", scores, got, s, want, wantScore)
		}
	}
	f(verdict.Undecided, -1, nil)
	f(verdict.Undecided, -1, &half)
	f(verdict.Undecided, -1, nil, measured)
	f(verdict.Pass, 1, nil, yes, measured)
	f(verdict.Fail, 0.5, nil, yes, no)
	f(verdict.Pass, 0.5, &half, yes, no)
	f(verdict.Fail, 0.25, &half, yes, score(0, false, 3))
	f(verdict.Error, 1, nil, yes, broken)
	f(verdict.Error, -1, nil, broken)
	f(verdict.Fail, 0, nil, no, broken)
	f(verdict.Error, 1, &half, yes, broken)
	f(verdict.Undecided, -1, nil, score(0, false, 0))
	f(verdict.Pass, 1, nil, yes, score(0, false, 0))
	f(verdict.Pass, 1, nil, score(1500, true, 1))
	f(verdict.Fail, 0, nil, score(1500, false, 1))
	seconds := score(0.4, true, 1)
	seconds.Name, seconds.Measures = "latency", []record.Measure{{Metric: "latency", Value: 0.4, Unit: "s"}}
	f(verdict.Pass, 1, nil, seconds)
}

func TestPromptRender(t *testing.T) {
	f := func(p config.Prompt, want string) {
		t.Helper()
		c, err := CompilePrompt(p)
		if err != nil {
			t.Error(err)
			return
		}
		ms, err := c.Render(&Case{Case: record.Case{Vars: map[string]any{"x": `q "1"`, "img": "data:image/png;base64,AA", "list": []any{"a"}}}, Suffix: "!"})
		got := record.PromptText(ms)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
	text := func(role, s string) config.PromptMessage { return config.PromptMessage{Role: role, Text: s} }
	f(config.Prompt{Text: "say {{x}}"}, `say q "1"!`)
	f(config.Prompt{Text: `[{"role":"system","content":"s"},{"role":"user","content":{{x|dump}}}]`}, "system: s\nuser: q \"1\"!")
	f(config.Prompt{Text: `[{"role":"user","content":"{{x}}"}]`}, `the rendered prompt starts like a list of chat messages but is not one: invalid character '1' after object key:value pair; use {{ name | dump }} for text inside JSON`)
	f(config.Prompt{Messages: []config.PromptMessage{text("system", "be {{x}}"), text("user", "hi")}}, "system: be q \"1\"\nuser: hi!")
	f(config.Prompt{Messages: []config.PromptMessage{{Each: &config.ExamplePair{User: "{{q}}", Assistant: "{{a}}"}}, text("user", "{{x}}")},
		Examples: []any{map[string]any{"q": "1+1", "a": "2"}}}, "user: 1+1\nassistant: 2\nuser: q \"1\"!")
	f(config.Prompt{Text: "{% for e in examples %}{{e.q}};{% endfor %}", Examples: []any{map[string]any{"q": "1"}, map[string]any{"q": "2"}}}, "1;2;!")
	f(config.Prompt{Messages: []config.PromptMessage{{Role: "user", Parts: []config.PromptPart{{Text: "see"}, {ImageURL: "{{img}}"}}}}}, "see")
	f(config.Prompt{Messages: []config.PromptMessage{{Role: "user", Parts: []config.PromptPart{{ImageURL: "{{x}}"}}}}}, `image_url "q \"1\"": want an http(s) address or a data:image/… URI`)
	for _, bad := range []string{"{{", "{% for %}"} {
		_, err := CompilePrompt(config.Prompt{Text: bad})
		if _, ok := errors.AsType[*config.Error](err); !ok {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	seen := map[int64]string{}
	for seed := range int64(3) {
		for c := range 100 {
			for repeat := range 3 {
				s := Seed(seed, fmt.Sprint(c), repeat)
				name := fmt.Sprint(seed, c, repeat)
				if other, dup := seen[s]; dup || s < 0 || s > 1<<31 {
					t.Errorf("seed %d of %s and %s", s, name, other)
				}
				seen[s] = name
			}
		}
	}
}
