package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/runner"
)

// rounds are the journals of a run: the suite's repeats of each case, then further ones that the gate asked
// for. Each has a plan and a file of its own, since a sample's index depends on the number of repeats.
type rounds struct {
	journals []*runner.Journal
	// repeats is the number of answers per case in each journal, planned that of all its samples.
	repeats, planned []int
	// ran is how many of them have been run in this sitting.
	ran int
	// account is what those came to.
	account runner.Account
	began   time.Time
}

func (r *rounds) add(j *runner.Journal, repeats, planned int) {
	r.journals, r.repeats, r.planned = append(r.journals, j), append(r.repeats, repeats), append(r.planned, planned)
}

// scaled is a number of samples of the first round, grown to all rounds. Cases have no repeats of their own once there
// is a second one.
func (r *rounds) scaled(n int) int {
	if len(r.repeats) == 1 {
		return n
	}
	return n / r.repeats[0] * r.all()
}

func (r *rounds) scaledTags(tags map[string]int) map[string]int {
	if len(r.repeats) == 1 {
		return tags
	}
	out := make(map[string]int, len(tags))
	for tag, n := range tags {
		out[tag] = r.scaled(n)
	}
	return out
}

// perCase is the number of answers per case in the first n rounds.
func (r *rounds) perCase(n int) int {
	sum := 0
	for _, k := range r.repeats[:n] {
		sum += k
	}
	return sum
}

// all is the number of answers per case.
func (r *rounds) all() int { return r.perCase(len(r.repeats)) }

func (r *rounds) done() int {
	n := 0
	for _, j := range r.journals {
		n += j.Done()
	}
	return n
}

func (r *rounds) total() int {
	n := 0
	for _, planned := range r.planned {
		n += planned
	}
	return n
}

// elapsed is the time spent on all samples, over all sittings.
func (r *rounds) elapsed() time.Duration {
	var sum time.Duration
	for _, j := range r.journals {
		sum += j.Elapsed()
	}
	return sum
}

func (r *rounds) sittings() int {
	n := 0
	for _, j := range r.journals {
		n = max(n, j.Sittings)
	}
	return n
}

func (r *rounds) close() error {
	var errs []error
	for _, j := range r.journals {
		errs = append(errs, j.Close())
	}
	r.journals = nil
	return errors.Join(errs...)
}

// run executes the rounds that have not been run in this sitting, one after the other, within one budget.
func (r *rounds) run(ctx context.Context, whole *runner.Plan, opts runner.Options) (out runner.Outcome, err error) {
	budget := opts.Budget.Time
	for ; r.ran < len(r.journals); r.ran++ {
		plan := *whole
		plan.First, plan.Repeats, plan.Samples = r.perCase(r.ran), r.repeats[r.ran], r.planned[r.ran]
		opts.Before = r.account
		if budget > 0 && r.ran > 0 {
			// What is left, and at least enough to say that nothing is.
			opts.Budget.Time = max(budget-time.Since(r.began).Seconds(), 1e-3)
		}
		j := r.journals[r.ran]
		out, err = runner.Run(ctx, &plan, j, opts)
		j.Rest()
		r.account = out.Account
		if err != nil || out.Stopped != "" {
			return out, err
		}
	}
	return out, nil
}

// maxRounds bounds the files that a run's journals may be.
const maxRounds = 8

// roundFile is the journal of a round, from 1.
func roundFile(n int) string {
	if n == 1 {
		return journalFile
	}
	return fmt.Sprintf("journal.%d.jsonl", n)
}

func roundFiles() []string {
	var out []string
	for n := 1; n <= maxRounds; n++ {
		out = append(out, roundFile(n))
	}
	return out
}

// removeRounds removes the journals, the first one first: without it a run with results counts as finished,
// whatever else is left.
func (d *runDir) removeRounds() error {
	for _, name := range roundFiles() {
		if err := os.Remove(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// resumeRounds opens the further journals of a run that is resumed, and takes up the looks before the last.
func (s *session) resumeRounds(dir *runDir, r *rounds) error {
	for n := 2; n <= maxRounds && dir.has(roundFile(n)); n++ {
		j, err := runner.OpenJournal(dir.file(roundFile(n)))
		if errors.Is(err, runner.ErrNoHeader) {
			if err := os.Remove(dir.file(roundFile(n))); err != nil {
				return &CouldNotRun{err}
			}
			return nil
		}
		if err != nil {
			return &CouldNotRun{err}
		}
		repeats := 0
		if s.looks != nil && n <= len(s.looks.Repeats) {
			repeats = s.looks.Repeats[n-1] - r.all()
		}
		if j.Header.ID != s.plan.ID || repeats <= 0 || j.Header.Total != s.plan.Count*len(s.plan.Cells)*repeats || len(j.Header.Looks) != n-1 {
			return errors.Join(&config.Error{Pos: config.Pos{Key: "--resume"}, Value: dir.file(roundFile(n)), Problem: "is not the journal of this run", Hint: "name another directory, or give --force without --resume to start anew"}, j.Close())
		}
		r.add(j, repeats, r.planned[0]/r.repeats[0]*repeats)
		s.looks.Past = j.Header.Looks
	}
	return nil
}

// nextRound starts the journal of further repeats, so that each case has perCase answers. look is the decision that
// asked for them.
func (s *session) nextRound(dir *runDir, r *rounds, look *record.Look, perCase int) error {
	n, repeats := len(r.journals)+1, perCase-r.all()
	s.looks.Past = append(slices.Clip(s.looks.Past), *look)
	h := s.header()
	h.Total, h.Looks = s.plan.Count*len(s.plan.Cells)*repeats, s.looks.Past
	j, err := runner.CreateJournal(dir.file(roundFile(n)), h)
	if err != nil {
		return &CouldNotRun{err}
	}
	s.o.Notice(fmt.Sprintf("not enough evidence yet: drawing %s to each case (look %d of at most %d)", plural(repeats, "more answer"), n, len(s.looks.Repeats)))
	r.add(j, repeats, r.planned[0]/r.repeats[0]*repeats)
	return nil
}

// beyondBudget says why the budget does not reach for so many answers per case; empty when it does, or when it is
// not known.
func (s *session) beyondBudget(r *rounds, perCase int) string {
	spent := r.account.Spent
	if spent.Samples == 0 {
		return ""
	}
	more := float64(r.planned[0] / r.repeats[0] * (perCase - r.all()))
	short := func(spent, budget float64) bool {
		return budget > 0 && spent+spent/float64(r.account.Spent.Samples)*more > budget
	}
	if short(spent.Cost, s.suite.Budget.Cost) || short(float64(spent.Tokens), float64(s.suite.Budget.Tokens)) {
		return fmt.Sprintf("the gate would draw more answers, but the budget does not reach for %.0f samples", more)
	}
	return ""
}
