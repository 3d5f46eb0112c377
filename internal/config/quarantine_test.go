package config

import (
	"strings"
	"testing"
)

func TestQuarantine(t *testing.T) {
	with := func(list string) (*Loaded, error) {
		return load(t, base+"\ntests: [{vars: {x: 1}}]\nquarantine:\n"+list, nil, nil, false)
	}
	l, err := with("  - {case: slow-7, until: 2026-12-01, reason: times out upstream}\n  - case: tag=beta\n    until: \"2027-01-31\"\n    reason: the feature is not out yet\n")
	if err != nil {
		t.Fatal(err)
	}
	q := l.Quarantine
	if len(q) != 2 || q[0].Case != "slow-7" || q[0].Until != "2026-12-01" || q[0].Reason != "times out upstream" || q[1].Case != "tag=beta" || q[0].Pos.Line == 0 || q[1].Pos.Line != q[0].Pos.Line+1 {
		t.Fatalf("%+v", q)
	}
	// The reason does not make another suite; the date does.
	hash := func(list string) string {
		t.Helper()
		l, err := with(list)
		if err != nil {
			t.Fatal(err)
		}
		return l.Hash
	}
	one := hash("  - {case: a, until: 2026-12-01, reason: x}\n")
	if one != hash("  - {case: a, until: 2026-12-01, reason: y}\n") || one == hash("  - {case: a, until: 2026-12-02, reason: x}\n") || one == hash("  - {case: b, until: 2026-12-01, reason: x}\n") || one == hash("  []\n") {
		t.Error("the hash does not follow cases and dates alone")
	}

	f := func(list string, want ...string) {
		t.Helper()
		_, err := with(list)
		if err == nil {
			t.Errorf("%s is taken", list)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s\n  gives %v\n  without %q", list, err, w)
			}
		}
	}
	f("  - {until: 2026-12-01, reason: x}\n", "case", "a case's id, or tag=NAME")
	f("  - {case: , until: 2026-12-01, reason: x}\n", "case")
	f("  - {case: tag=, until: 2026-12-01, reason: x}\n", `"tag="`)
	f("  - {case: a, reason: x}\n", "until", "YYYY-MM-DD")
	f("  - {case: a, until: soon, reason: x}\n", `"soon"`, "YYYY-MM-DD")
	f("  - {case: a, until: 2026-02-30, reason: x}\n", "2026-02-30", "YYYY-MM-DD")
	f("  - {case: a, until: 2026-12-01T00:00:00Z, reason: x}\n", "YYYY-MM-DD")
	f("  - {case: a, until: 01.12.2026, reason: x}\n", "YYYY-MM-DD")
	f("  - {case: a, until: 0026-12-01, reason: x}\n", "YYYY-MM-DD")
	f("  - {case: a, until: 2026-12-01}\n", "reason")
	f("  - {case: a, until: 2026-12-01, reason: \"  \"}\n", "reason")
	f("  - {case: a, until: 2026-12-01, reason: x, untill: y}\n", "untill")
	f("  - {case: a, until: 2026-12-01, reason: x}\n  - {case: a, until: 2026-12-02, reason: y}\n", "already, by line")
	f("  - slow-7\n", "quarantine[0]")
	f("  slow-7: 2026-12-01\n", "quarantine")
	f(strings.Repeat("  - {case: a, until: 2026-12-01, reason: x}\n", maxQuarantine+1), "at most 1000")
}
