package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// longest is a comparison that the longest answer wins, at a cent and ten tokens.
type longest struct {
	calls *atomic.Int64
	hook  func()
}

func (longest) Name() string   { return "longest" }
func (longest) Type() string   { return "longest" }
func (longest) Compares() bool { return true }
func (longest) Unjudged(why string) record.Score {
	return record.Score{Name: "longest", Type: "longest", Error: why}
}
func (longest) Score(context.Context, *scorer.Input) record.Score { panic("asked alone") }
func (l longest) Compare(_ context.Context, rs []scorer.Rival) []record.Score {
	l.calls.Add(1)
	if l.hook != nil {
		l.hook()
	}
	best := 0
	for i, r := range rs {
		if len(r.Input.Response.Output) > len(rs[best].Input.Response.Output) {
			best = i
		}
	}
	out := make([]record.Score, len(rs))
	for i := range out {
		v, pass := 0.0, i == best
		if pass {
			v = 1
		}
		out[i] = record.Score{Name: "longest", Type: "longest", Value: &v, Pass: &pass}
	}
	out[0].Cost, out[0].Usage = new(0.01), &record.Usage{Total: 10}
	return out
}

// comparedPlan asks three cells; the second gives the longest answer. Odd cases are not asked in the first.
func comparedPlan(t *testing.T, n, repeats int, p Provider, l longest) *Plan {
	plan := planOf(t, n, repeats, p)
	cell := plan.Cells[0]
	plan.Cells = nil
	for i := range 3 {
		c := cell
		c.ProviderName = fmt.Sprint("p", i)
		c.Provider = providerFunc(func(ctx context.Context, req record.Request) (record.Response, error) {
			r, err := p.Complete(ctx, req)
			r.Output += strings.Repeat("!", []int{1, 3, 2}[i])
			r.Cost, r.Usage.Total = new(1.0), 100
			return r, err
		})
		plan.Cells = append(plan.Cells, c)
	}
	cases := plan.Cases
	for i := range n {
		plan.Samples += (3 - i%2) * repeats
	}
	plan.Cases = func(ctx context.Context) iter.Seq2[Case, error] {
		return func(yield func(Case, error) bool) {
			i := 0
			for c, err := range cases(ctx) {
				c.Checks = append([]Check{l}, c.Checks...)
				if i%2 == 1 {
					c.Cells = []int{1, 2}
				}
				if i++; !yield(c, err) {
					return
				}
			}
		}
	}
	return plan
}

func verdictsOf(t *testing.T, j *Journal) string {
	t.Helper()
	var b strings.Builder
	for _, line := range samplesOf(t, j) {
		var s record.Sample
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		b.WriteString(s.Verdict.String()[:1])
	}
	return b.String()
}

func says2(_ context.Context, req record.Request) (record.Response, error) {
	return record.Response{Output: req.Prompt}, nil
}

func TestAnswersAreCompared(t *testing.T) {
	for _, concurrency := range []int{1, 8} {
		l := longest{calls: &atomic.Int64{}}
		plan := comparedPlan(t, 3, 2, providerFunc(says2), l)
		j := journalFor(t, plan)
		var last Progress
		out, err := Run(t.Context(), plan, j, Options{Concurrency: concurrency, Progress: func(p Progress) { last = p }})
		if err != nil || out.Done != 16 || l.calls.Load() != 6 {
			t.Fatalf("%+v, %v, %d calls", out, err, l.calls.Load())
		}
		// By case, cell and repeat: the second cell wins.
		if got := verdictsOf(t, j); got != "ffppff"+"ppff"+"ffppff" {
			t.Errorf("verdicts %s", got)
		}
		if last.Done != 16 || last.Passed != 6 || last.Failed != 10 || last.Errored != 0 || last.Tokens != 1660 {
			t.Errorf("progress %+v", last)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A run that is cut off anywhere and resumed compares every case once more at most, pays for each answer
// once, and ends with the same results.
func TestComparisonsAreResumed(t *testing.T) {
	for stop := int64(1); stop <= 6; stop++ {
		l := longest{calls: &atomic.Int64{}}
		var asked atomic.Int64
		p := providerFunc(func(ctx context.Context, req record.Request) (record.Response, error) {
			if ctx.Err() != nil { // a worker may have taken a case up as the run was cut off
				return record.Response{}, ctx.Err()
			}
			asked.Add(1)
			return says2(ctx, req)
		})
		plan := comparedPlan(t, 3, 2, p, l)
		path := filepath.Join(t.TempDir(), "j")
		j, err := CreateJournal(path, Header{ID: "p", Total: plan.Total()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cut := l
		cut.hook = func() {
			if l.calls.Load() == stop {
				cancel() // what this comparison gives is lost
			}
		}
		cutPlan := comparedPlan(t, 3, 2, p, cut)
		if _, err := Run(ctx, cutPlan, j, Options{Concurrency: 4}); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if j, err = OpenJournal(path); err != nil {
			t.Fatal(err)
		}
		var last Progress
		out, err := Run(t.Context(), plan, j, Options{Concurrency: 4, Progress: func(p Progress) { last = p }})
		if err != nil || out.Done != 16 {
			t.Fatalf("%+v, %v", out, err)
		}
		if got := verdictsOf(t, j); got != "ffppff"+"ppff"+"ffppff" {
			t.Errorf("stopped at %d: verdicts %s", stop, got)
		}
		if last != (Progress{}) && (last.Passed != 6 || last.Failed != 10 || last.Errored != 0) {
			t.Errorf("stopped at %d: progress %+v", stop, last)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if j, err = OpenJournal(path); err != nil {
			t.Fatal(err)
		}
		// Only what was in flight when the run was cut off is asked again, and the budget sees it all.
		if n := asked.Load(); n < 16 || n > 20 {
			t.Errorf("stopped at %d: %d answers", stop, n)
		}
		spent := j.Spent()
		if d := spent.Cost - 16 - 0.06; d < -1e-9 || d > 1e-9 || spent.Tokens != 1660 {
			t.Errorf("stopped at %d: spent %+v", stop, spent)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestComparisonWithoutAllAnswers(t *testing.T) {
	l := longest{calls: &atomic.Int64{}}
	fails := true
	p := providerFunc(func(ctx context.Context, req record.Request) (record.Response, error) {
		if fails && req.Case == "1" {
			fails = false
			return record.Response{}, &record.Failure{Kind: record.Server, Status: 503}
		}
		return says2(ctx, req)
	})
	plan := comparedPlan(t, 2, 1, p, l)
	path := filepath.Join(t.TempDir(), "j")
	j, err := CreateJournal(path, Header{ID: "p", Total: plan.Total()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), plan, j, Options{Concurrency: 1}); err != nil {
		t.Fatal(err)
	}
	if got := verdictsOf(t, j); got != "fpf"+"ee" {
		t.Errorf("verdicts %s", got)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := Run(t.Context(), plan, j, Options{Concurrency: 1}); err != nil {
		t.Fatal(err)
	}
	if got := verdictsOf(t, j); got != "fpf"+"pf" {
		t.Errorf("resumed: verdicts %s", got)
	}
}

func TestBudgetLeavesComparisonsOpen(t *testing.T) {
	l := longest{calls: &atomic.Int64{}}
	plan := comparedPlan(t, 4, 1, providerFunc(says2), l)
	j := journalFor(t, plan)
	defer j.Close()
	out, err := Run(t.Context(), plan, j, Options{Concurrency: 1, Budget: config.Budget{Cost: 4.5}})
	if err != nil || !strings.Contains(out.Stopped, "cost budget") || out.Done != 4 {
		t.Fatalf("%+v, %v", out, err)
	}
	// Nothing passes that has not been compared.
	if got := verdictsOf(t, j); got != "fpf"+"e" {
		t.Errorf("verdicts %s", got)
	}
}

func TestLostComparisonFails(t *testing.T) {
	yes, no, one, zero := true, false, 1.0, 0.0
	l := longest{calls: &atomic.Int64{}}
	won, lost := record.Score{Value: &one, Pass: &yes}, record.Score{Value: &zero, Pass: &no}
	open, other := record.Score{Error: "x"}, record.Score{Value: &one, Pass: &yes}
	half := 0.5
	f := func(threshold *float64, weight *float64, comp record.Score, want verdict.Verdict, others ...record.Score) {
		t.Helper()
		c := &Case{Threshold: threshold, Checks: []Check{l}}
		comp.Weight = weight
		s := &record.Sample{Scores: append([]record.Score{comp}, others...)}
		for range others {
			c.Checks = append(c.Checks, checkFunc(nil))
		}
		if got, _ := c.judge(s); got != want {
			t.Errorf("%+v with %d others: %v, want %v", comp, len(others), got, want)
		}
	}
	f(nil, nil, won, verdict.Pass)
	f(nil, nil, lost, verdict.Fail)
	f(nil, nil, open, verdict.Error)
	f(&half, nil, lost, verdict.Fail, other, other)
	f(&half, nil, won, verdict.Fail, lost)
	f(nil, nil, won, verdict.Error, open)
	f(nil, nil, open, verdict.Fail, lost)
	f(nil, &zero, lost, verdict.Pass, other)
	f(nil, &zero, lost, verdict.Undecided)
}
