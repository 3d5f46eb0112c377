package gate

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func parse(t *testing.T, metric, expr string) Rule {
	t.Helper()
	r, err := Parse(config.Check{Metric: metric, Expr: expr})
	if err != nil {
		t.Fatalf("Parse(%s %q): %v", metric, expr, err)
	}
	return r
}

func TestParse(t *testing.T) {
	f := func(metric, expr string, stat Stat, op Op, bar float64, unit string) {
		t.Helper()
		r := parse(t, metric, expr)
		if r.Stat != stat || r.Op != op || math.Abs(r.Bar-bar) > 1e-15 || r.Unit != unit {
			t.Errorf("%s %q: %+v", metric, expr, r)
		}
	}
	f("pass_rate", ">= 0.95", Mean, GreaterEqual, 0.95, "")
	f("pass_rate", ">=95%", Mean, GreaterEqual, 0.95, "%")
	f("pass_rate", "  low   >  90.5 % ", Low, Greater, 0.905, "%")
	f("error_rate", "high<=2e-2", High, LessEqual, 0.02, "")
	f("latency", "p95 <= 2s", P95, LessEqual, 2, "s")
	f("latency", "p99<2500ms", P99, Less, 2.5, "s")
	f("latency", "p50 < 1", P50, Less, 1, "")
	f("cost", "total <= $5", Total, LessEqual, 5, "usd")
	f("cost", "mean <= 0.01usd", Mean, LessEqual, 0.01, "usd")
	f("cost", "<= 0.01 $", Mean, LessEqual, 0.01, "usd")
	f("ifeval.prompt_strict", "count == 417", Count, Equal, 417, "")
	f("pass_rate", "n >= 500", N, GreaterEqual, 500, "")
	f("logprob", "> -1.5", Mean, Greater, -1.5, "")
	f("logprob", "> -1.5e+1", Mean, Greater, -15, "")
}

func TestParseErrors(t *testing.T) {
	pos := config.Pos{File: "telltale.yaml", Line: 7, Column: 3, Key: "gate.x"}
	f := func(metric, expr, want string) {
		t.Helper()
		_, err := Parse(config.Check{Pos: pos, Metric: metric, Expr: expr})
		if err == nil {
			t.Errorf("Parse(%s %q) was taken", metric, expr)
			return
		}
		e, ok := errors.AsType[*config.Error](err)
		if !ok || e.Pos != pos || e.Value != expr || e.Want == "" {
			t.Errorf("%s %q: %#v does not say where, what and what was expected", metric, expr, err)
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s %q: %q does not say %q", metric, expr, err, want)
		}
	}
	f("", ">= 1", "no metric")
	f("pass_rate", "", "nothing is asked")
	f("pass_rate", "0.95", "write >= 0.95")
	f("pass_rate", "=> 0.95", "write >= instead of =>")
	f("pass_rate", "= 0.95", "write ==")
	f("pass_rate", "!= 0.95", "no operator")
	f("pass_rate", ">=", "no number")
	f("pass_rate", ">= .95", "no number")
	f("pass_rate", ">= 1.", "no number")
	f("pass_rate", ">= NaN", "no number")
	f("pass_rate", ">= Inf", "no number")
	f("x", ">= 1e999", "no number")
	f("pass_rate", ">= -", "no number")
	f("pass_rate", "median >= 1", `"median" is not a statistic`)
	f("pass_rate", ">= 0.9 and <= 1", `unknown unit "and <= 1"`)
	f("latency", "<= 2h", `unknown unit "h"`)
	f("cost", "<= $2 usd", "after a number of dollars")
	// What can never fail, or never be met.
	f("pass_rate", ">= 95", "write 95%")
	f("pass_rate", ">= 0", "can never fail")
	f("pass_rate", "> 1", "can never be met")
	f("pass_rate", "<= 100%", "can never fail")
	f("error_rate", "<= 1", "can never fail")
	f("error_rate", "< 0", "can never be met")
	f("score", "== 2", "can never be met")
	f("custom", ">= 150%", "can never be met")
	f("latency", ">= 0s", "can never fail")
	f("pass_rate", "n >= 0", "can never fail")
	f("pass_rate", "count < 0", "can never be met")
	// Fewer samples must not make it easier.
	f("pass_rate", "low <= 0.9", "easier to meet")
	f("error_rate", "high >= 0.1", "easier to meet")
	f("pass_rate", "low == 0.9", "easier to meet")
	// Units that do not fit.
	f("pass_rate", ">= 2s", "not measured in s")
	f("latency", "<= 5%", "not measured in %")
	f("latency", "<= $5", "not measured in usd")
	f("pass_rate", "p95 >= 0.5", "has no p95")
	f("cost", "count >= 5", "total for its sum")
	f("pass_rate", "n >= 5%", "has no unit")
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{">= 0.95", "low >= 90%", "p95<=2s", "total <= $5", "== -1e-3", "n>=", "=> 1", "$", "low", "é >= 1", ">= 1e999"} {
		f.Add("pass_rate", s)
		f.Add("x.y", s)
	}
	f.Fuzz(func(t *testing.T, metric, expr string) {
		r, err := Parse(config.Check{Metric: metric, Expr: expr})
		if err != nil {
			if e, ok := errors.AsType[*config.Error](err); !ok || e.Problem == "" {
				t.Fatalf("%q: %#v is not a user's error with a problem", expr, err)
			}
			return
		}
		if math.IsNaN(r.Bar) || math.IsInf(r.Bar, 0) || r.Op == "" || r.Stat == "" {
			t.Fatalf("%q was read as %+v", expr, r)
		}
		// What was understood can be read again and means the same.
		again, err := Parse(config.Check{Metric: r.Metric, Expr: r.Text})
		if err != nil || again != r {
			t.Fatalf("%q was read as %+v, and again as %+v, %v", expr, r, again, err)
		}
	})
}

func TestContradictions(t *testing.T) {
	f := func(want string, checks ...string) {
		t.Helper()
		var rules []Rule
		for _, c := range checks {
			name, expr, _ := strings.Cut(c, " ")
			r, err := Parse(config.Check{Metric: name, Expr: expr})
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, r)
		}
		if err := Contradictions(rules); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", checks, err, want)
		}
	}
	f("", "m >= 0.9", "m >= 0.8", "m <= 0.95")
	f("", "m >= 0.9", "m == 0.9", "m <= 0.9")
	f("", "m > 0.3", "m == 0.5")
	f("", "m >= 0.9", "n <= 0.5", "m[tag=x] <= 0.5", "m p95 <= 0.5", "m count <= 3")
	f(`nothing can meet this and ">= 0.9"`, "m >= 0.9", "m <= 0.5")
	f(`nothing can meet this and "<= 0.5"`, "m <= 0.5", "m low >= 0.9")
	f("nothing can meet this", "m > 0.9", "m <= 0.9")
	f("nothing can meet this", "m == 0.9", "m < 0.9")
	f("nothing can meet this", "m == 0.9", "m == 0.8")
	f("nothing can meet this", "m[tag=x] p95 >= 2s", "m[tag=x] p95 < 1s")
}

// What a rule asks of a metric that turns out to be a share, and a margin on a metric whose unit is known by then.
func TestFits(t *testing.T) {
	f := func(expr string, known record.Metric, want string) {
		t.Helper()
		r, err := Parse(config.Check{Metric: "m", Expr: expr})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Fits(known); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s of %+v: %v, want %q", expr, known, err, want)
		}
	}
	rate := record.Metric{Kind: "rate"}
	f("<= 0.5", rate, "")
	f("count <= 5", rate, "")
	f("<= 5", record.Metric{Kind: "mean"}, "")
	f("<= 5", rate, "can never fail")
	f("high <= 5", rate, "can never fail")
	f(">= 5", rate, "can never be met")
	g := func(m config.Margin, known record.Metric, want string) {
		t.Helper()
		m.Metric = "m"
		x, err := ParseMargin(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Fits(known); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v of %+v: %v, want %q", m, known, err, want)
		}
	}
	g(config.Margin{Margin: 0.2, Unit: "s"}, record.Metric{Unit: "s"}, "")
	g(config.Margin{Margin: 5}, record.Metric{Kind: "mean"}, "")
	g(config.Margin{Margin: 0.05, Unit: "%", Relative: true}, record.Metric{Unit: "s"}, "")
	g(config.Margin{Margin: 0.2, Unit: "s"}, rate, "is not measured in s")
	g(config.Margin{Margin: 0.02, Unit: "%"}, record.Metric{Unit: "s"}, "is not a share")
	g(config.Margin{Margin: 5, Text: "5"}, rate, "write 5% for a percentage")
	g(config.Margin{Margin: 1}, rate, "can never fail")
}
