package gate

import (
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// A bar that no share can miss is no pass, once the metric turns out to be one.
func TestBarBeyondAShare(t *testing.T) {
	f := func(expr string, want verdict.Verdict) {
		t.Helper()
		r, err := Parse(config.Check{Metric: "toxic", Expr: expr})
		if err != nil {
			t.Fatal(err)
		}
		mean := 0.4
		d := Decide([]Rule{r}, Facts{Summary: finished(100), Metrics: map[string]record.Metric{"toxic": {Kind: "rate", N: 100, Clusters: 100, Mean: &mean, Low: new(0.3), High: new(0.5)}}})
		if d.Verdict != want {
			t.Errorf("%s: %v, %s", expr, d.Verdict, d.Reason)
		}
	}
	f("<= 0.5", verdict.Pass)
	f("<= 5", verdict.Error)
	f("high <= 5", verdict.Error)
	f(">= 5", verdict.Error)
}
