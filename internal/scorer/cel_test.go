package scorer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestCEL(t *testing.T) {
	known := record.Response{Output: `{"ok": true, "n": 3, "items": ["a", "b"]}`, FinishReason: "stop", Latency: 1500 * time.Millisecond,
		TTFT: 200 * time.Millisecond, Cost: new(0.002), Usage: record.Usage{Prompt: 10, Completion: 5, Total: 15}}
	cached := known
	cached.Cached = true
	f := func(expr string, r record.Response, want string) {
		t.Helper()
		c := compile(t, config.Assertion{Type: "cel", Value: expr})
		s := c.Score(t.Context(), &Input{Response: &r, Prompt: "2+2?", Vars: map[string]any{"answer": "4", "n": int64(3), "list": []any{"x"}},
			Metadata: map[string]any{"topic": "sums"}})
		checkScore(t, c, s)
		got := "error: " + s.Error
		if s.Error == "" {
			got = map[bool]string{true: "pass", false: "fail"}[*s.Pass]
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", expr, got, want)
		}
	}
	f(`output.contains("ok")`, known, "pass")
	f(`json.ok`, known, "pass")
	f(`json.n == vars.n && json.n == 3 && json.n < 3.5`, known, "pass")
	f(`json.items.exists(i, i == "b") && size(json.items) == 2`, known, "pass")
	f(`json != null`, says("no json"), "fail")
	f(`json == null`, says("null"), "pass")
	f(`json.n`, known, "error: the expression gave 3; a number needs a threshold")
	f(`json.missing == 1`, known, "error: the expression failed: no such key: missing")
	f(`json.ok`, says("no json"), "error")
	f(`has(json.missing)`, known, "fail")
	f(`prompt == "2+2?" && metadata.topic == "sums" && vars.answer == "4" && "x" in vars.list`, known, "pass")
	f(`finish_reason == "stop" && latency < 2.0 && ttft <= 0.2 && cost < 0.01 && usage.total == 15`, known, "pass")
	f(`math.greatest(usage.prompt, usage.completion) == 10 && output.lowerAscii().size() > 3 && [3, 1].sort()[0] == 1`, known, "pass")

	// What is not known is an error, also where a comparison with nothing would hold.
	f(`finish_reason != "length"`, says("x"), "error: finish_reason is not known")
	f(`latency < 2.0`, says("x"), "error: latency is not known")
	f(`latency < 2.0`, cached, "error: latency says nothing about an answer from the cache")
	f(`cost < 1.0`, says("x"), "error: cost is not known")
	f(`usage.total < 100`, says("x"), "error: the expression failed: no such key: total")
	f(`has(usage.total)`, says("x"), "fail")
}

func TestCELNumbers(t *testing.T) {
	f := func(expr string, threshold *float64, want record.Score) {
		t.Helper()
		c := compile(t, config.Assertion{Type: "cel", Value: expr, Threshold: threshold})
		r := says(`{"score": 0.5}`)
		s := c.Score(t.Context(), &Input{Response: &r})
		checkScore(t, c, s)
		same := (s.Value == nil) == (want.Value == nil) && (s.Value == nil || *s.Value == *want.Value) &&
			(s.Pass == nil) == (want.Pass == nil) && (s.Pass == nil || *s.Pass == *want.Pass)
		if !same || !strings.Contains(s.Error, want.Error) {
			t.Errorf("%s: got %+v, want %+v", expr, s, want)
		}
	}
	f(`double(size(output))`, nil, record.Score{Value: new(14.0)})
	f(`size(output)`, new(14.0), record.Score{Value: new(14.0), Pass: new(true)})
	f(`json.score`, new(0.6), record.Score{Value: new(0.5), Pass: new(false)})
	f(`json.score > 0.1 ? json : json`, new(0.6), record.Score{Error: "want bool or a number"})
	f(`1.0 / 0.0`, nil, record.Score{Error: "not a number"})
	f(`0.0 / 0.0`, new(0.0), record.Score{Error: "not a number"})
	f(`1 / 0`, nil, record.Score{Error: "division by zero"})
	f(`dyn(true)`, new(0.5), record.Score{Error: "cannot be compared"})
}

// An expression that would take very long, or very much memory, ends in an error.
func TestCELEndsOnHostileExpressions(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	f := func(expr string) {
		t.Helper()
		c := compile(t, config.Assertion{Type: "cel", Value: expr})
		r := says(long)
		s := c.Score(t.Context(), &Input{Response: &r})
		if !strings.Contains(s.Error, "limit") && !strings.Contains(s.Error, "exceeds") {
			t.Errorf("%s: %+v", expr, s)
		}
	}
	f(`lists.range(100).all(a, lists.range(100).all(b, lists.range(100).all(c, a + b + c >= 0)))`)
	f(`lists.range(2000000000).size() > 0`)
	f(`output.replace("", output).replace("", output).replace("", output).size() > 0`)
}

func TestCELStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the run was stopped"))
	c := compile(t, config.Assertion{Type: "cel", Value: `lists.range(10000).all(a, a >= 0)`})
	s := c.Score(ctx, &Input{Response: &record.Response{}})
	if !strings.Contains(s.Error, "the run was stopped") {
		t.Errorf("got %+v", s)
	}
}
