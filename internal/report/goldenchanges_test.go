package report

import (
	"strings"
	"testing"
)

// A difference that cannot be seen is spelled out, and one of very many words is cut.
func TestGoldenChangesAreVisible(t *testing.T) {
	f := func(before, after string, want ...string) {
		t.Helper()
		var b strings.Builder
		if err := GoldenChanges(&b, []GoldenChange{{Title: "case a", Added: []string{after}, Dropped: []string{before}}}, TerminalOptions{}); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(strings.Fields(b.String()), " ")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%q and %q: want %q in\n%s", before, after, w, b.String())
			}
		}
		if len(got) > 4000 {
			t.Errorf("%d bytes are shown", len(got))
		}
	}
	f("caf\u00e9 au lait", "cafe\u0301 au lait", `[-caf\u00e9-] {+cafe\u0301+} au lait`)
	f("a b", "a\u00a0b", `a [-␣-] {+\u00a0+} b`)
	f("l1\nl2", "l1\r\nl2", `{+\r+} ↵`)
	f("\uff21 is", "A is", `[-\uff21-] {+A+} is`)
	f("straße", "Straße", `[-straße-] {+Straße+}`)
	f(strings.Repeat("one ", 30_000), strings.Repeat("two ", 30_000), "[-one one", "(… 29,800 words more …)", "two two+}")
}
