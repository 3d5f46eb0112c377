package scorer

import (
	"math"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestSets(t *testing.T) {
	contains := func(s string, weight *float64) config.Assertion {
		return config.Assertion{Type: "contains", Value: s, Weight: weight}
	}
	broken := config.Assertion{Type: "cost"} // has no outcome, and no cost is known
	costs := config.Assertion{Type: "cost", Threshold: new(1.0)}
	f := func(threshold *float64, output string, wantPass bool, wantValue float64, wantText string, parts ...config.Assertion) {
		t.Helper()
		c := compile(t, config.Assertion{Type: SetType, Threshold: threshold, Assert: parts})
		s := c.Score(t.Context(), &Input{Response: &record.Response{Output: output}})
		if len(s.Scores) != len(parts) {
			t.Errorf("%d scores of %d parts", len(s.Scores), len(parts))
		}
		if math.IsNaN(wantValue) {
			if s.Pass != nil || s.Value != nil || !strings.Contains(s.Error, wantText) {
				t.Errorf("%+v, want the error %q", s, wantText)
			}
			return
		}
		if s.Error != "" {
			t.Errorf("error %q, want %v", s.Error, wantValue)
			return
		}
		if *s.Pass != wantPass || *s.Value != wantValue || !strings.Contains(s.Reason, wantText) {
			t.Errorf("pass %v value %v reason %q error %q, want %v %v %q", s.Pass, *s.Value, s.Reason, s.Error, wantPass, wantValue, wantText)
		}
	}
	f(nil, "a b", true, 1, "", contains("a", nil), contains("b", nil))
	f(nil, "a", false, 0.5, "1 of 2 parts fail; contains: ", contains("a", nil), contains("b", nil))
	f(new(0.5), "a", true, 0.5, "", contains("a", nil), contains("b", nil))
	f(new(0.7), "a", false, 0.25, "0.25 is below 0.7", contains("a", nil), contains("b", new(3.0)))
	f(new(0.7), "b", true, 0.75, "", contains("a", nil), contains("b", new(3.0)))
	f(nil, "a", true, 1, "", contains("a", nil), contains("b", new(0.0)))
	// A failure is certain, whatever could not be judged; a mean is not.
	f(nil, "a", false, 0, "contains", contains("b", nil), costs)
	f(nil, "a", false, math.NaN(), "cost", contains("a", nil), costs)
	f(new(0.1), "a", false, math.NaN(), "cost", contains("a", nil), costs)
	f(nil, "a", false, math.NaN(), "cost", contains("a", nil), broken)
	// Sets within sets.
	inner := config.Assertion{Type: SetType, Assert: []config.Assertion{contains("a", nil), contains("b", nil)}, Threshold: new(0.5), Metric: "inner"}
	f(nil, "a", false, 0.25, "contains", inner, contains("z", nil))

	not := compile(t, config.Assertion{Type: SetType, Not: true, Assert: []config.Assertion{contains("a", nil)}})
	if s := not.Score(t.Context(), &Input{Response: &record.Response{Output: "b"}}); !*s.Pass {
		t.Errorf("not-assert-set: %+v", s)
	}
	for _, parts := range [][]config.Assertion{nil, {broken}, {contains("a", new(0.0))}, {{Type: "contains"}}, {{Type: "nope", Value: "x"}}} {
		if _, err := Compile(config.Assertion{Type: SetType, Assert: parts}, "", nil); err == nil {
			t.Errorf("%v is taken", parts)
		}
	}
}

func TestSetSignatures(t *testing.T) {
	set := func(value, metric string, weight *float64) config.Assertion {
		return config.Assertion{Type: SetType, Assert: []config.Assertion{{Type: "contains", Value: value, Metric: metric, Weight: weight}}}
	}
	a := compile(t, set("a", "", nil))
	for _, other := range []config.Assertion{set("b", "", nil), set("a", "m", nil), set("a", "", new(2.0))} {
		if compile(t, other).Signature() == a.Signature() {
			t.Errorf("%v has the same signature", other.Assert)
		}
	}
	written := set("{{x}}", "", nil)
	if one, two := a.SignatureAs(written), compile(t, set("b", "", nil)).SignatureAs(written); one != two || one == a.Signature() {
		t.Errorf("signatures of one template: %s and %s", one, two)
	}
	if u := a.Unjudged("no answer"); len(u.Scores) != 1 || u.Scores[0].Error != "no answer" || u.Scores[0].Name != "contains" {
		t.Errorf("unjudged: %+v", u)
	}
}
