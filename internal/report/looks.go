package report

import (
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// LookLine is one decision of a gate that draws more repeats, in a sentence: after how many answers, what it said, and
// of each margin the difference and the worst that the data left open.
func LookLine(l *record.Look) string {
	var b strings.Builder
	b.WriteString("After " + numbered(l.Repeats, "answer") + " to each case: " + l.Verdict.String())
	for i, m := range l.Margins {
		if i == maxLookMargins {
			b.WriteString("; and " + count(len(l.Margins)-i) + " more")
			break
		}
		sep := "; "
		if i == 0 {
			sep = " ("
		}
		b.WriteString(sep + logLine(m.Metric, keepName) + " ")
		switch {
		case !finite(m.Diff):
			b.WriteString(noData)
		case !finite(m.Bound):
			b.WriteString(signed(*m.Diff, "", false))
		default:
			b.WriteString(signed(*m.Diff, "", false) + ", at worst " + signed(*m.Bound, "", false))
		}
		if m.Outcome != "" {
			b.WriteString(", " + m.Outcome)
		}
	}
	if len(l.Margins) > 0 {
		b.WriteString(")")
	}
	return b.String() + "."
}

// maxLookMargins bounds the margins that a look names.
const maxLookMargins = 4

// lookLines tells how a gate came to its verdict when it decided more than once.
func lookLines(run *record.Run) []string {
	if len(run.Looks) < 2 {
		return nil
	}
	out := make([]string, len(run.Looks))
	for i := range run.Looks {
		out[i] = LookLine(&run.Looks[i])
	}
	return out
}
