package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// FlakyOptions say which runs telltale flaky looks at.
type FlakyOptions struct {
	// Runs are directories of finished runs, and folders that hold some.
	Runs []string
	// MinRate leaves out flaky cases with a lower flake rate, 0 to 0.5.
	MinRate float64
	// Now is the clock by which a quarantine has expired; nil for the system's.
	Now func() time.Time
	// Notice is told of what a user should know, one sentence at a time.
	Notice func(string)
}

// Flaky says how cases fared over runs. It reads the samples twice, as a stream, and keeps about 100 bytes for each
// case. Mistakes of the user are *config.Error or config.Errors.
func Flaky(o FlakyOptions) (*record.FlakyHistory, error) {
	o.Notice = once(o.Notice)
	runs, err := findRuns(o)
	if err != nil {
		return nil, err
	}
	h := newHistory(runs)
	for i := range runs {
		if err := h.read(i, h.count); err != nil {
			return nil, err
		}
	}
	h.choose(o.MinRate)
	for i := range runs {
		if !h.anyChosen(i) {
			continue
		}
		if err := h.read(i, h.detail); err != nil {
			return nil, err
		}
	}
	now := time.Now()
	if o.Now != nil {
		now = o.Now()
	}
	for _, c := range h.chosen {
		if c.Quarantine != nil {
			c.Quarantine.Expire(now)
		}
	}
	return &h.out, nil
}

// findRuns opens the runs, oldest first.
func findRuns(o FlakyOptions) ([]*Finished, error) {
	var errs config.Errors
	var out []*Finished
	add := func(dir string) {
		if slices.ContainsFunc(out, func(f *Finished) bool { return sameDir(f.Dir, dir) }) {
			o.Notice(dir + " is given twice, and counted once")
			return
		}
		f, err := OpenRun(dir)
		if err != nil {
			errs.Append(config.Pos{File: dir}, err)
			return
		}
		out = append(out, f)
	}
	for _, dir := range o.Runs {
		d := &runDir{path: dir}
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			errs = append(errs, &config.Error{Pos: config.Pos{File: dir}, Problem: "cannot be read", Want: "the directory of a finished run, or a folder of several", Err: cause(err)})
			continue
		case !info.IsDir():
			errs = append(errs, &config.Error{Pos: config.Pos{File: dir}, Problem: "is a file", Want: "the directory of a finished run, or a folder of several"})
			continue
		case d.has(report.JSONFile) || d.has(journalFile):
			add(dir)
			continue
		}
		within, err := runsIn(dir, o.Notice)
		if err == nil && len(within) == 0 {
			err = &config.Error{Pos: config.Pos{File: dir}, Problem: "holds neither " + report.JSONFile + " nor folders with one", Want: "the directory of a finished run, or a folder of several, such as .telltale/runs"}
		}
		errs.Append(config.Pos{File: dir}, err)
		for _, run := range within {
			add(run)
		}
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b *Finished) int { return a.Run.Times.Started.Compare(b.Run.Times.Started) })
	return out, nil
}

// runsIn lists the finished runs right below a folder.
func runsIn(dir string, notice func(string)) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, &config.Error{Pos: config.Pos{File: dir}, Problem: "cannot be read", Err: cause(err)}
	}
	var out []string
	for _, e := range entries {
		d := &runDir{path: filepath.Join(dir, e.Name())}
		switch {
		case d.has(report.JSONFile):
			out = append(out, d.path)
		case d.has(journalFile):
			notice(d.path + " holds an unfinished run, and is left out")
		}
	}
	return out, nil
}

// history collects what is known of every case.
type history struct {
	out  record.FlakyHistory
	runs []*Finished
	// series finds the series of a run's provider and prompt.
	series []map[[2]string]int
	// at finds a case by its series, id and input; cases are in the order in which they were met.
	at    map[uint64]int32
	cases []trail
	held  []*record.Quarantines
	// newest is the newest run of each series.
	newest []int
	// chosen finds the cases to list.
	chosen map[uint64]*record.CaseHistory
}

// trail is one case over the runs, as little as its state needs.
type trail struct {
	key                                uint64
	passed, failed, errored, undecided uint32
	// runPassed and runFailed are of the run last.
	runPassed, runFailed    uint32
	beforePassed, beforeBad uint32 // answers before the streak
	streak                  uint32 // answers in the last runs that all went the same way
	series, first, last     int32
	since                   int32
	passing                 bool // the way of the streak
	held                    bool
}

func newHistory(runs []*Finished) *history {
	h := &history{runs: runs, at: map[uint64]int32{}, chosen: map[uint64]*record.CaseHistory{}}
	h.out.Series = []record.HistorySeries{}
	known := map[[2]string]int{}
	for i, f := range runs {
		run := f.Run
		h.out.Runs = append(h.out.Runs, record.HistoryRun{Dir: f.Dir, ID: run.ID, Suite: run.Suite.Path, SuiteHash: run.Suite.Hash, Dataset: run.Dataset.Hash, Started: run.Times.Started,
			Verdict: run.Gate.Verdict.String(), Repeats: run.Repeats, Finished: run.Summary.Finished})
		h.held = append(h.held, run.Flaky.Quarantines())
		scorers := recipes(run)
		places := map[[2]string]int{}
		for _, s := range run.Snapshots {
			key := [2]string{s.ID, scorers}
			at, ok := known[key]
			if !ok {
				at = len(h.out.Series)
				known[key] = at
				h.out.Series = append(h.out.Series, record.HistorySeries{Provider: s.Provider, Prompt: s.Prompt, Snapshot: s.ID, Scorers: scorers, Cases: []record.CaseHistory{}})
				h.newest = append(h.newest, i)
			}
			h.out.Series[at].Runs = append(h.out.Series[at].Runs, i)
			h.newest[at] = i
			places[[2]string{s.Provider, s.Prompt}] = at
		}
		h.series = append(h.series, places)
	}
	return h
}

// recipes is the hash of what judged a run. The metrics that every run has are left out: whether there is a latency
// depends on the cache, and none of them judges.
func recipes(run *record.Run) string {
	m := maps.Clone(run.Scorers)
	for name := range record.BuiltinUnits() {
		delete(m, name)
	}
	return record.HashJSON(m)
}

// answer is what the history needs of a sample.
type answer struct {
	Case     string          `json:"case"`
	Tags     []string        `json:"tags"`
	Critical bool            `json:"critical"`
	Vars     json.RawMessage `json:"vars"`
	Provider string          `json:"provider"`
	Prompt   string          `json:"prompt"`
	Verdict  verdict.Verdict `json:"verdict"`
	Cached   bool            `json:"cached"`
	Error    string          `json:"error"`

	series int
	key    uint64
}

// read passes the answers of a run on.
func (h *history) read(run int, use func(run int, a *answer)) error {
	path := filepath.Join(h.runs[run].Dir, samplesFile)
	places := h.series[run]
	for a, err := range inOrder(fileLines(path), func(n int, line []byte) (answer, error) {
		var a answer
		err := json.Unmarshal(line, &a)
		series, known := places[[2]string{a.Provider, a.Prompt}]
		at := config.Pos{File: path, Line: n + 1}
		switch {
		case err != nil || a.Case == "":
			return a, &config.Error{Pos: at, Problem: "not a sample", Want: "the file that telltale run wrote", Err: err}
		case !known:
			return a, &config.Error{Pos: at, Problem: fmt.Sprintf("a sample of provider %q and prompt %q, which %s beside it does not have", a.Provider, a.Prompt, report.JSONFile), Want: "the files of one run"}
		}
		if a.Error != "" {
			a.Verdict = verdict.Error
		}
		a.series, a.key = series, caseKey(series, a.Case, a.Vars)
		return a, nil
	}) {
		if err != nil {
			if !isMistake(err) {
				err = &config.Error{Pos: config.Pos{File: path}, Problem: "cannot be read", Err: cause(err)}
			}
			return err
		}
		use(run, &a)
	}
	return nil
}

// caseKey tells cases apart: with other variables it is another case.
func caseKey(series int, id string, vars []byte) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d\x00%d\x00", series, len(id))
	_, _ = h.Write([]byte(id))
	_, _ = h.Write(vars)
	return h.Sum64()
}

// count adds an answer to its case.
func (h *history) count(run int, a *answer) {
	at, known := h.at[a.key]
	if !known {
		at = int32(len(h.cases))
		h.at[a.key] = at
		h.cases = append(h.cases, trail{key: a.key, series: int32(a.series), first: int32(run), last: int32(run), since: -1})
	}
	t := &h.cases[at]
	if run == h.newest[a.series] && h.held[run].Holds(a.Case, a.Tags) {
		t.held = true
	}
	if a.Cached && int(t.first) != run {
		// The answer is that of an earlier run, and says nothing new.
		h.out.Series[a.series].Again++
		return
	}
	if int(t.last) != run {
		t.settle()
		t.last = int32(run)
	}
	switch a.Verdict {
	case verdict.Pass:
		t.passed++
		t.runPassed++
	case verdict.Fail:
		t.failed++
		t.runFailed++
	case verdict.Error:
		t.errored++
	default:
		t.undecided++
	}
}

// settle ends the run at hand: it goes on with the streak or ends it.
func (t *trail) settle() {
	p, f := t.runPassed, t.runFailed
	t.runPassed, t.runFailed = 0, 0
	if p+f == 0 {
		return
	}
	if p > 0 && f > 0 || t.streak > 0 && t.passing != (p > 0) {
		if t.passing {
			t.beforePassed += t.streak
		} else {
			t.beforeBad += t.streak
		}
		t.streak, t.since = 0, -1
	}
	if p > 0 && f > 0 {
		t.beforePassed += p
		t.beforeBad += f
		return
	}
	if t.streak == 0 {
		t.since, t.passing = t.last, p > 0
	}
	t.streak += p + f
}

// repeats are all answers that say something.
func (t *trail) repeats() record.Repeats {
	return record.Repeats{Passed: int(t.passed), Failed: int(t.failed), Errored: int(t.errored), Undecided: int(t.undecided)}
}

// state is that of the answers pooled. A case that turned once, from passes to failures or back, is no coin that is
// flipped; two answers on each side are asked for, since one alone may be chance.
func (t *trail) state() string {
	state := t.repeats().State()
	if state != record.HealthFlaky || t.streak < 2 {
		return state
	}
	switch {
	case !t.passing && t.beforeBad == 0 && t.beforePassed > 1:
		return record.HealthBroken
	case t.passing && t.beforePassed == 0 && t.beforeBad > 1:
		return record.HealthSteady
	}
	return state
}

// choose decides which cases are listed.
func (h *history) choose(minRate float64) {
	type choice struct {
		at        int
		class     int
		rate, low float64
	}
	lists := make([][]choice, len(h.out.Series))
	for i := range h.cases {
		t := &h.cases[i]
		t.settle()
		s := &h.out.Series[t.series]
		c := choice{at: i, class: -1}
		switch t.state() {
		case record.HealthFlaky:
			s.Flaky++
			if rate, low, _ := metric.Flake(t.repeats()); rate != nil && *rate >= minRate {
				c.class, c.rate, c.low = 0, *rate, *low
			}
		case record.HealthBroken:
			s.Broken++
			c.class = 1
		case record.HealthSteady:
			s.Steady++
			if t.failed > 0 {
				c.class = 2
			}
		default:
			s.Unknown++
		}
		if c.class < 0 && t.held {
			c.class = 3
		}
		if c.class >= 0 {
			lists[t.series] = append(lists[t.series], c)
		}
	}
	for i, list := range lists {
		slices.SortFunc(list, func(a, b choice) int {
			return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(b.rate, a.rate), cmp.Compare(b.low, a.low), cmp.Compare(a.at, b.at))
		})
		s := &h.out.Series[i]
		n := min(len(list), record.MaxHealth)
		s.More = len(list) - n
		for _, c := range list[:n] {
			s.Cases = append(s.Cases, h.cases[c.at].history())
		}
		for j, c := range list[:n] {
			h.chosen[h.cases[c.at].key] = &s.Cases[j]
		}
	}
}

// history is what is known of a case without its name.
func (t *trail) history() record.CaseHistory {
	c := record.CaseHistory{Repeats: t.repeats(), State: t.state(), Runs: []record.CaseRun{}}
	if c.State == record.HealthFlaky || t.passed == 0 || t.failed == 0 {
		c.Rate, c.Low, c.High = metric.Flake(c.Repeats)
	}
	since := int(t.since)
	switch {
	case t.streak == 0:
	case !t.passing:
		c.FailingSince, c.PassedBefore = &since, t.beforePassed > 0
	case t.beforeBad > 0:
		c.PassingSince = &since
	}
	return c
}

func (h *history) anyChosen(run int) bool {
	for _, at := range h.series[run] {
		if len(h.out.Series[at].Cases) > 0 {
			return true
		}
	}
	return false
}

// detail adds an answer to the history of a case that is listed.
func (h *history) detail(run int, a *answer) {
	c := h.chosen[a.key]
	if c == nil {
		return
	}
	if c.Case == "" {
		c.Case, c.Input = a.Case, record.HashBytes(a.Vars)
	}
	if run == h.newest[a.series] {
		c.Critical = a.Critical
		c.Quarantine = h.held[run].Hold(h.held[run].Find(a.Case, a.Tags))
	}
	if n := len(c.Runs); n == 0 || c.Runs[n-1].Run != run {
		c.Runs = append(c.Runs, record.CaseRun{Run: run})
	}
	r := &c.Runs[len(c.Runs)-1]
	metric.Count(&r.Repeats, a.Verdict)
	if a.Cached {
		r.Cached++
	}
}
