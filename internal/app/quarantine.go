package app

import (
	"fmt"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/dataset"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/runner"
)

// quarantine is the suite's list of cases that do not count, as it stands on the day of the run.
type quarantine struct {
	written []config.Quarantine
	list    []record.Quarantine
	held    *record.Quarantines
	// seen says which entries name a case, clash which have been found to name a critical one.
	seen, clash []bool
	mistakes    config.Errors
	// samples is how many are planned of cases in quarantine.
	samples int
}

// newQuarantine decides which entries hold at the time now. It is decided once, so that a run that lasts past
// midnight has one answer.
func newQuarantine(written []config.Quarantine, now time.Time) *quarantine {
	q := &quarantine{written: written, seen: make([]bool, len(written)), clash: make([]bool, len(written))}
	for _, w := range written {
		entry := record.Quarantine{Case: w.Case, Hold: record.Hold{Until: w.Until, Reason: w.Reason}}
		entry.Expire(now)
		q.list = append(q.list, entry)
	}
	q.held = record.NewQuarantines(q.list)
	return q
}

// holds says whether the case does not count.
func (q *quarantine) holds(c *runner.Case) bool { return q.held.Holds(c.ID, c.Tags) }

// meet remembers that there is such a case. One that must pass cannot be one that does not count, also not once the
// quarantine has expired: the suite would say two things about it. critical is the place that says that it must.
func (q *quarantine) meet(c *runner.Case, critical config.Pos) {
	for _, i := range q.held.Named(c.ID, c.Tags) {
		q.seen[i] = true
		if !c.Critical || q.clash[i] {
			continue
		}
		q.clash[i] = true
		w := &q.written[i]
		q.mistakes = append(q.mistakes, &config.Error{Pos: w.Pos.At("case"), Value: w.Case,
			Problem: fmt.Sprintf("case %q is in quarantine here (line %d) and critical at %s", c.ID, w.Pos.Line, config.Pos{File: critical.File, Line: critical.Line}),
			Want:    "one of the two: a critical case must pass, and one in quarantine does not count"})
	}
}

// check reports what is wrong with the entries once all cases have been met. A command line that leaves out cases
// may leave out those in quarantine; unlike a critical case, nobody misses them.
func (q *quarantine) check(narrowed bool, notice func(string)) error {
	errs := q.mistakes
	for i, w := range q.written {
		switch {
		case q.seen[i]:
		case narrowed:
			notice(fmt.Sprintf("%s is in quarantine, and not among the cases that are run", w.Case))
		default:
			errs = append(errs, &config.Error{Pos: w.Pos.At("case"), Value: w.Case, Problem: "no case has this id or tag", Want: "the id of a case, or tag=NAME"})
		}
	}
	return errs.Err()
}

// narrowed says that the command line leaves out cases of the suite.
func (o *RunOptions) narrowed() bool { return o.Sample > 0 || len(o.Tags) > 0 }

// today is the time by which a quarantine holds or has expired.
func (o *RunOptions) today() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// criticalAt is the place that makes a case critical.
func (s *session) criticalAt(row *dataset.Row, c *runner.Case) config.Pos {
	if !row.Test.Critical && !s.suite.Default.Critical {
		for _, named := range s.suite.Regression.Critical {
			if names(named.Name, c.ID, c.Tags) {
				return named.Pos
			}
		}
	}
	if !row.Test.Critical && s.suite.Default.Critical {
		return s.suite.Default.Pos
	}
	return row.Test.Pos
}

// flaky is the account of the repeats, nil when there is nothing to say.
func (s *session) flaky(account *record.Flakiness, run *record.Run) *record.Flakiness {
	if run.Repeats < 2 && len(account.Quarantine) == 0 {
		return nil
	}
	if run.Summary.Stopped != "" {
		// What was not run may fail.
		for i := range account.Quarantine {
			account.Quarantine[i].Release = 0
		}
	}
	for i := range account.Quarantine {
		if q := &account.Quarantine[i]; q.Expired {
			run.Warnings = append(run.Warnings, fmt.Sprintf("the quarantine of %s expired after %s (%s): it counts again", q.Case, q.Until, q.Reason))
		}
	}
	return account
}
