package gate

import (
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// TestNothingButQuarantine: however a gate is written, it does not pass when nothing counts.
func TestNothingButQuarantine(t *testing.T) {
	q := &record.Quarantined{Planned: 3, Finished: 3, Passed: 3}
	whole := record.Summary{Planned: 3, Finished: 3, Passed: 3, Quarantined: q}
	one := 1.0
	f := func(rules []Rule, facts Facts) {
		t.Helper()
		facts.Summary = whole.Counted()
		d := Decide(rules, facts)
		if d.Verdict != verdict.Undecided {
			t.Errorf("%v gives %v: %s", rules, d.Verdict, d.Reason)
		}
		said := false
		for _, c := range d.Checks {
			said = said || strings.Contains(c.Reason, "every sample is in quarantine")
		}
		if !said {
			t.Errorf("%v: no check says why: %+v", rules, d.Checks)
		}
	}
	rule := func(metric, expr string) Rule {
		t.Helper()
		r, err := Parse(config.Check{Metric: metric, Expr: expr})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	f(nil, Facts{})
	f([]Rule{rule("pass_rate", ">= 0.5")}, Facts{Metrics: map[string]record.Metric{"pass_rate": {Kind: "rate"}}})
	// A number that needs no sample, such as a derived constant, decides nothing either.
	f([]Rule{rule("constant", ">= 0.5")}, Facts{Metrics: map[string]record.Metric{"constant": {Kind: "derived", N: 1, Mean: &one}}})
	f(nil, Facts{Regression: &Regression{Margins: []Margin{{name: "pass_rate"}}}})
}
