package config

import (
	"fmt"
	"strings"
	"time"
)

// Quarantine takes a case, or those that have a tag, out of what the gate counts until a date.
type Quarantine struct {
	Pos    Pos
	Case   string // an id, or tag=NAME
	Until  string // YYYY-MM-DD, the last day on which it holds, in UTC
	Reason string
}

// wireHeld is an entry as it is written.
type wireHeld struct {
	Pos    Pos      `json:"-"`
	Case   wireText `json:"case" jsonschema:"description=A case's id or tag=NAME"`
	Until  wireText `json:"until" jsonschema:"description=Last day on which it holds such as 2026-12-31; in UTC"`
	Reason wireText `json:"reason" jsonschema:"description=Why; every report says it"`
}

// maxQuarantine bounds the entries; each is in every report.
const maxQuarantine = 1000

// quarantine checks the entries. All three keys are required, so that none lasts for ever or for no reason.
func (l *loader) quarantine(list []wireHeld) []Quarantine {
	fail := func(p Pos, value, problem, want string) {
		l.errs = append(l.errs, &Error{Pos: p, Value: value, Problem: problem, Want: want})
	}
	if len(list) > maxQuarantine {
		fail(list[maxQuarantine].Pos, fmt.Sprint(len(list)), "too many cases in quarantine", fmt.Sprintf("at most %d entries; tag=NAME stands for all cases that have a tag", maxQuarantine))
		return nil
	}
	first := map[string]Pos{}
	var out []Quarantine
	for i := range list {
		w := &list[i]
		q := Quarantine{Pos: w.Pos, Case: w.Case.Text, Until: w.Until.Text, Reason: w.Reason.Text}
		before := len(l.errs)
		// The place of a key that was left empty is the key's own.
		at := func(key string, t wireText) Pos {
			if t.Pos.Line > 0 {
				return t.Pos
			}
			return w.Pos.At(key)
		}
		if tag, isTag := strings.CutPrefix(q.Case, "tag="); q.Case == "" || isTag && strings.TrimSpace(tag) == "" {
			fail(at("case", w.Case), q.Case, missing(q.Case, "not a case", "no case"), "a case's id, or tag=NAME")
		} else if p, twice := first[q.Case]; twice {
			fail(w.Case.Pos, q.Case, fmt.Sprintf("is in quarantine already, by line %d", p.Line), "one entry for each case or tag")
		} else {
			first[q.Case] = w.Case.Pos
		}
		if t, err := time.Parse(time.DateOnly, q.Until); err != nil || t.Year() < 2000 {
			fail(at("until", w.Until), q.Until, missing(q.Until, "not a date", "no date"), "the last day on which the quarantine holds, as YYYY-MM-DD")
		}
		if q.Reason == "" {
			fail(at("reason", w.Reason), "", "no reason", "a text that says why the case is in quarantine")
		}
		if len(l.errs) == before {
			out = append(out, q)
		}
	}
	return out
}

// missing is what is wrong with a text that may have been left out.
func missing(text, wrong, none string) string {
	if text == "" {
		return none
	}
	return wrong
}

// quarantineContent is what of the quarantine determines a verdict, without places and reasons.
func (s *Suite) quarantineContent() []any {
	var out []any
	for _, q := range s.Quarantine {
		out = append(out, []any{"quarantine", q.Case, q.Until})
	}
	return out
}
