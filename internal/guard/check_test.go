package guard

import (
	"strings"
	"testing"
)

// A text comes out of a stream as it does whole, in pieces of any size.
func TestCheck(t *testing.T) {
	const filters = `
filters:
  - {name: words, phrases: [nightjar], action: block}
  - {name: person, pii: [email], action: replace}
  - {name: ids, patterns: ['EMP-\d{6}'], action: reask, otherwise: replace}
`
	g := build(t, filters)
	f := func(in string, want ...string) {
		t.Helper()
		for _, piece := range []int{0, 1, 3, 1000} {
			got := ""
			for _, c := range g.Check(in, piece) {
				got += "|" + c.Report.Outcome + ": " + c.Text
			}
			expected := want[0]
			if piece == 1 {
				expected = want[len(want)-1]
			}
			if got != "|"+expected && (piece != 3 || len(want) == 1) {
				t.Errorf("%q by %d: %q, want %q", in, piece, got, expected)
			}
		}
	}
	f("", "passed: ")
	f("Grüße, 世界", "passed: Grüße, 世界")
	f("to jane@acme.org now", "changed: to [EMAIL] now")
	f("nightjar", "blocked: "+g.c.Refusal)
	f("EMP-123456", "again: |changed: [REMOVED]")
	// A stream that has begun cannot be asked for again, and its refusal comes after what was shown.
	f("I know EMP-123456 ", "again: |changed: I know [REMOVED] ", "changed: I know [REMOVED] ")
	f("I know nightjar", "blocked: "+g.c.Refusal, "blocked: I \n\n"+g.c.Refusal)
	g = build(t, "schema: {type: object}\nask: false\n")
	f(`{"a":1}`, `passed: {"a":1}`)
	f("```json\n{\"a\":1}\n```", `changed: {"a":1}`)
	f("no", "failed: ")
	if c := g.Check("no", 2)[0]; c.Report.Failure != FailSchema || strings.Contains(c.Text, "no") {
		t.Errorf("%+v", c)
	}
	g = build(t, "caps: {max_tokens: 5}\n")
	f("as it is", "passed: as it is")
}
