package runner

import (
	"context"
	"iter"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// judging is a check that costs what a judge would, with an outcome or an error.
func judging(s record.Score) Check {
	s.Name, s.Type = "ok", "ok"
	return checkFunc(func(*scorer.Input) record.Score { return s })
}

func judgedPlan(t *testing.T, n int, answer record.Response, s record.Score) *Plan {
	plan := planOf(t, n, 1, providerFunc(func(context.Context, record.Request) (record.Response, error) { return answer, nil }))
	cases := plan.Cases
	plan.Cases = func(ctx context.Context) iter.Seq2[Case, error] {
		return func(yield func(Case, error) bool) {
			for c, err := range cases(ctx) {
				c.Checks = []Check{judging(s)}
				if !yield(c, err) {
					return
				}
			}
		}
	}
	return plan
}

// What judging takes counts against the budget as the answers do, also when it comes to nothing, and also
// what an earlier sitting of the run spent on it.
func TestBudgetCountsJudging(t *testing.T) {
	f := func(answer record.Response, s record.Score, b config.Budget, wantStop string, low, high int) {
		t.Helper()
		plan := judgedPlan(t, 100, answer, s)
		path := filepath.Join(t.TempDir(), "j")
		j, err := CreateJournal(path, Header{ID: plan.ID, Total: plan.Total()})
		if err != nil {
			t.Fatal(err)
		}
		out, err := Run(t.Context(), plan, j, Options{Concurrency: 4, Budget: b})
		if err != nil || !strings.Contains(out.Stopped, wantStop) || out.Done < low || out.Done > high {
			t.Errorf("%+v: %+v, %v; want %q after %d to %d samples", b, out, err, wantStop, low, high)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if j, err = OpenJournal(path); err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		done := j.Done()
		out, err = Run(t.Context(), plan, j, Options{Concurrency: 4, Budget: b})
		if err != nil || !strings.Contains(out.Stopped, wantStop) || out.Done > max(high, done+1) {
			t.Errorf("%+v: resumed after %d: %+v, %v", b, done, out, err)
		}
	}
	yes, one := true, 1.0
	judged := func(s record.Score) record.Score {
		s.Value, s.Pass = &one, &yes
		return s
	}
	free := record.Response{Output: "x", Cost: new(0.0)}
	f(free, judged(record.Score{Cost: new(0.01), Usage: &record.Usage{Total: 7}}), config.Budget{Cost: 0.105}, "cost budget", 9, 10)
	f(free, record.Score{Error: "no verdict", Cost: new(0.01), Usage: &record.Usage{Total: 7}}, config.Budget{Cost: 0.105}, "cost budget", 9, 10)
	f(free, judged(record.Score{Usage: &record.Usage{Total: 10}}), config.Budget{Tokens: 250}, "token budget", 24, 25)
	f(free, judged(record.Score{Usage: &record.Usage{Total: 10}, Judge: &record.Judging{Calls: 1, Unpriced: 1}}), config.Budget{Cost: 1},
		"the price of the judge of ok is not known", 1, 8)
	// A recorded answer has neither a price nor tokens, and the judge's price is known.
	f(record.Response{Output: "x"}, judged(record.Score{Cost: new(0.01), Usage: &record.Usage{Total: 10}}), config.Budget{Cost: 0.105}, "cost budget of", 9, 10)
}
