package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
)

// TestExchangeGuarded shows what a guard did to an exchange, and what chose its variant.
func TestExchangeGuarded(t *testing.T) {
	f := func(x record.Exchange, want ...string) {
		t.Helper()
		var b bytes.Buffer
		if err := Exchange(&b, &x, TerminalOptions{Width: 400}); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w+"\n") {
				t.Errorf("no %q in\n%s", w, b.String())
			}
		}
		if len(want) == 0 && (strings.Contains(b.String(), "guard ") || strings.Contains(b.String(), "rollout ")) {
			t.Error(b.String())
		}
	}
	f(record.Exchange{ID: "a"})
	f(record.Exchange{ID: "a", Assigned: &record.Assignment{Rollout: "swap", Stage: 1, Pairs: "b"}, Guard: &record.Guarded{Name: "hot", Version: "3", ID: "beef", Outcome: "passed"}},
		"  rollout      swap, stage 2, a copy of b", "  guard        hot 3 (beef): passed")
	f(record.Exchange{ID: "a", Guard: &record.Guarded{
		Name: "hot", ID: "beef", Outcome: "changed", Hits: map[string]int{"people/email": 2, "ids": 1}, Repaired: true, Asked: "ids", Model: "small", Held: 40, Failure: "cut",
	}}, "  guard        hot (beef): changed, cut; found ids 1×, people/email 2×; repaired; asked again because of ids; fallback small; at most 40 bytes held back")
}

// TestStatsCost shows no cost of nothing where no price was known.
func TestStatsCost(t *testing.T) {
	f := func(cost float64, want string) {
		t.Helper()
		var b bytes.Buffer
		if err := Stats(&b, "chat", nil, []StatsRow{{Count: 3, Cost: cost}}, false, TerminalOptions{Width: 120}); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(b.String()); !strings.HasSuffix(got, want) {
			t.Errorf("%q, want it to end in %q", got, want)
		}
	}
	f(0, " –")
	f(.5, " $0.50")
}
