package app

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/golden"
	"github.com/telltale-llm/telltale/internal/lock"
	"github.com/telltale-llm/telltale/internal/record"
)

// goldenFile is the file of accepted outputs of golden assertions that name none, against the suite's folder.
func goldenFile(suite string) string {
	name := filepath.Base(suite)
	return filepath.Join("golden", strings.TrimSuffix(name, filepath.Ext(name))+".jsonl")
}

// Choice says which outputs of a run are accepted.
type Choice string

// The choices. The zero value takes what has no accepted output and what matched none.
const (
	AcceptOpen    Choice = ""
	AcceptMissing Choice = "missing" // cases without an accepted output
	AcceptFailed  Choice = "failed"  // cases whose output matched none
	AcceptAll     Choice = "all"     // every answer, in the place of all that was accepted of these cases
)

// AcceptOptions say which outputs of which run become golden.
type AcceptOptions struct {
	RunDir string
	Choice Choice
	// Cases restricts it to these; none takes all.
	Cases []string
	// Keep keeps all that was accepted before. Without it, what was accepted of a case is dropped when no answer of
	// the run matched any of it, and with AcceptAll what no answer of the run is.
	Keep bool
	// Prune removes what is accepted of cases that the run does not have.
	Prune bool
}

// Acceptance is what would be accepted: shown first, then written.
type Acceptance struct {
	RunDir  string         `json:"run"`
	Changes []GoldenChange `json:"changes"`
	// Cases counts the cases with a change, Skipped the samples that have no answer to accept.
	Cases   int `json:"cases"`
	Skipped int `json:"without_answer,omitempty"`
	// Obsolete lists the cases of which something is accepted and that the run does not have.
	Obsolete []string `json:"obsolete,omitempty"`
	Notes    []string `json:"notes,omitempty"`
	files    map[string]*golden.File
	// hashes are those of the files as they were read.
	hashes map[string]string
}

// GoldenChange is what becomes of the accepted outputs of a case.
type GoldenChange struct {
	File        string `json:"file"`
	Case        string `json:"case"`
	Description string `json:"description,omitempty"`
	Provider    string `json:"provider,omitempty"`
	Prompt      string `json:"prompt,omitempty"`
	// Input is the last message that was sent.
	Input   string   `json:"input,omitempty"`
	Added   []string `json:"added"`
	Kept    []string `json:"kept,omitempty"`
	Dropped []string `json:"dropped,omitempty"`
	// Gone says that the run has no such case.
	Gone bool `json:"gone,omitempty"`
}

// goldenRun is a run whose outputs may be accepted.
type goldenRun struct {
	o     AcceptOptions
	refs  map[string]record.GoldenRef // by metric
	files map[string]*golden.File
	// changes are in the order of the run.
	changes []*pending
	index   map[pendingKey]*pending
	cases   map[string]bool // met
	skipped int
}

type pendingKey struct {
	file string
	golden.Key
}

// pending gathers what a run says of one key.
type pending struct {
	pendingKey
	description, input string
	add                []string
	stay               []string // answers that are accepted already
	matched            bool     // some answer matched what is accepted
}

// Accept works out what would be accepted. Mistakes are *config.Error. Nothing is written before Write.
func Accept(o AcceptOptions) (*Acceptance, error) {
	f, err := OpenRun(o.RunDir)
	if err != nil {
		return nil, err
	}
	g := &goldenRun{o: o, refs: map[string]record.GoldenRef{}, files: map[string]*golden.File{}, index: map[pendingKey]*pending{}, cases: map[string]bool{}}
	a := &Acceptance{RunDir: o.RunDir, Changes: []GoldenChange{}, files: g.files, hashes: map[string]string{}}
	if err := g.open(f, a); err != nil {
		return nil, err
	}
	for s, err := range ReadSamples(f.Dir) {
		if err != nil {
			return nil, err
		}
		g.cases[s.Case] = true
		if len(o.Cases) == 0 || slices.Contains(o.Cases, s.Case) {
			g.sample(&s, s.Scores)
		}
	}
	for _, id := range o.Cases {
		if g.cases[id] {
			continue
		}
		e := &config.Error{Pos: config.Pos{Key: "--case"}, Value: id, Problem: "the run has no such case"}
		if near := config.Nearest(id, slices.Sorted(maps.Keys(g.cases))); near != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return nil, e
	}
	a.Skipped = g.skipped
	g.conclude(a)
	if err := g.obsolete(f, a); err != nil {
		return nil, err
	}
	return a, nil
}

// open reads the golden files of the run.
func (g *goldenRun) open(f *Finished, a *Acceptance) error {
	if len(f.Run.Golden) == 0 {
		return &config.Error{Pos: config.Pos{File: f.Dir}, Problem: "the run has no golden assertion", Want: "a run of a suite with an assertion of type golden"}
	}
	if _, err := os.Stat(f.Run.Suite.Path); errors.Is(err, fs.ErrNotExist) {
		return &config.Error{Pos: config.Pos{File: f.Dir}, Value: f.Run.Suite.Path, Problem: "the run's suite is not here, so its golden files would not be either", Hint: "work in the folder where the run was made"}
	}
	for _, ref := range f.Run.Golden {
		if other, twice := g.refs[ref.Metric]; twice && other.File != ref.File {
			return &config.Error{Pos: config.Pos{File: f.Dir}, Value: ref.Metric, Problem: fmt.Sprintf("assertions of this metric compare with several files, %s and %s", other.File, ref.File), Want: "a metric of its own for each file"}
		}
		g.refs[ref.Metric] = ref
		if g.files[ref.File] != nil {
			continue
		}
		file, err := golden.Load(filepath.FromSlash(ref.File))
		if err != nil {
			return err
		}
		g.files[ref.File] = file
		a.hashes[ref.File] = file.Hash()
		if a.hashes[ref.File] != ref.Hash {
			a.Notes = append(a.Notes, ref.File+" has changed since the run; what is accepted by now is left out")
		}
	}
	return nil
}

// sample takes the golden scores of a sample.
func (g *goldenRun) sample(s *record.Sample, scores []record.Score) {
	for i := range scores {
		score := &scores[i]
		g.sample(s, score.Scores)
		ref, ok := g.refs[score.Name]
		if !ok || score.Type != "golden" || score.Turn != 0 {
			continue
		}
		if s.Error != "" {
			g.skipped++
			continue
		}
		whole := golden.Key{Case: s.Case, Provider: s.Provider, Prompt: s.Prompt}
		accepted := g.files[ref.File].Accepted(whole)
		key := pendingKey{ref.File, golden.Key{Case: s.Case}}
		if ref.PerSnapshot {
			key.Key = whole
		}
		p := g.index[key]
		if p == nil {
			p = &pending{pendingKey: key, description: s.Description}
			if n := len(s.Input); n > 0 {
				p.input = s.Input[n-1].Text()
			}
			g.index[key] = p
			g.changes = append(g.changes, p)
		}
		passed := score.Pass != nil && *score.Pass
		failed := score.Pass != nil && !*score.Pass
		there := slices.Contains(accepted, s.Output)
		p.matched = p.matched || passed || there
		switch {
		case there:
			p.stay = append(p.stay, s.Output)
		case g.chosen(len(accepted) == 0, failed) && !slices.Contains(p.add, s.Output):
			p.add = append(p.add, s.Output)
		}
	}
}

// chosen says whether an output is to be accepted.
func (g *goldenRun) chosen(missing, failed bool) bool {
	switch g.o.Choice {
	case AcceptMissing:
		return missing
	case AcceptFailed:
		return failed && !missing
	case AcceptAll:
		return true
	}
	return missing || failed
}

// conclude makes changes of what was gathered.
func (g *goldenRun) conclude(a *Acceptance) {
	cases := map[string]bool{}
	for _, p := range g.changes {
		c := GoldenChange{File: p.file, Case: p.Case, Description: p.description, Provider: p.Provider, Prompt: p.Prompt, Input: p.input, Added: p.add}
		slices.Sort(c.Added)
		for _, former := range g.files[p.file].Exactly(p.Key) {
			keep := g.o.Keep || p.matched
			if g.o.Choice == AcceptAll {
				keep = g.o.Keep || slices.Contains(p.stay, former)
			}
			if keep {
				c.Kept = append(c.Kept, former)
			} else {
				c.Dropped = append(c.Dropped, former)
			}
		}
		if len(c.Added) == 0 && (len(c.Dropped) == 0 || g.o.Choice != AcceptAll) {
			continue
		}
		cases[p.Case] = true
		a.Changes = append(a.Changes, c)
	}
	slices.SortStableFunc(a.Changes, func(x, y GoldenChange) int { return strings.Compare(x.File, y.File) })
	a.Cases = len(cases)
}

// obsolete finds what is accepted of cases that the run does not have, and with Prune drops it.
func (g *goldenRun) obsolete(f *Finished, a *Acceptance) error {
	part := f.Run.Summary.Finished < f.Run.Summary.Planned || f.Run.Dataset.Cases < f.Run.Dataset.Rows
	if part && g.o.Prune {
		return &config.Error{Pos: config.Pos{File: f.Dir}, Problem: "the run has only a part of the suite's cases, which does not show what is obsolete", Want: "a finished run of all cases for --prune"}
	}
	if part || len(g.o.Cases) > 0 {
		return nil
	}
	for _, path := range slices.Sorted(maps.Keys(g.files)) {
		for _, k := range g.files[path].Keys() {
			if g.cases[k.Case] {
				continue
			}
			if !slices.Contains(a.Obsolete, k.Case) {
				a.Obsolete = append(a.Obsolete, k.Case)
			}
			if g.o.Prune {
				a.Changes = append(a.Changes, GoldenChange{File: path, Case: k.Case, Provider: k.Provider, Prompt: k.Prompt, Added: []string{}, Dropped: g.files[path].Exactly(k), Gone: true})
			}
		}
	}
	return nil
}

// Restrict keeps only the changes for which keep says so.
func (a *Acceptance) Restrict(keep func(*GoldenChange) bool) {
	kept := a.Changes[:0]
	cases := map[string]bool{}
	for i := range a.Changes {
		if c := &a.Changes[i]; keep(c) {
			kept = append(kept, *c)
			if !c.Gone {
				cases[c.Case] = true
			}
		}
	}
	a.Changes, a.Cases = kept, len(cases)
}

// Files returns the files that would be written, sorted.
func (a *Acceptance) Files() []string {
	var out []string
	for _, c := range a.Changes {
		if !slices.Contains(out, c.File) {
			out = append(out, c.File)
		}
	}
	slices.Sort(out)
	return out
}

// Outputs counts the outputs that would be accepted.
func (a *Acceptance) Outputs() int {
	n := 0
	for i := range a.Changes {
		n += len(a.Changes[i].Added)
	}
	return n
}

// Write accepts what was shown, each file whole or not at all. A file that changed meanwhile is a *config.Error.
func (a *Acceptance) Write() error {
	unlock, err := a.lock()
	if err != nil {
		return &CouldNotRun{err}
	}
	defer unlock()
	for _, path := range a.Files() {
		now, err := golden.Load(filepath.FromSlash(path))
		if err != nil {
			return err
		}
		if now.Hash() != a.hashes[path] {
			return &config.Error{Pos: config.Pos{File: path}, Problem: "was changed while its differences were shown", Hint: "accept again"}
		}
	}
	for _, path := range a.Files() {
		file := a.files[path]
		for i := range a.Changes {
			if c := &a.Changes[i]; c.File == path {
				file.Set(golden.Key{Case: c.Case, Provider: c.Provider, Prompt: c.Prompt}, slices.Concat(c.Kept, c.Added))
			}
		}
		if err := file.Write(); err != nil {
			if isMistake(err) {
				return err
			}
			return &CouldNotRun{err}
		}
	}
	return nil
}

// lock keeps others from writing the files, in the order of their folders so that nobody waits for one another.
func (a *Acceptance) lock() (unlock func(), err error) {
	var held []func()
	unlock = func() {
		for _, u := range held {
			u()
		}
	}
	var dirs []string
	for _, path := range a.Files() {
		dir, err := filepath.Abs(filepath.Dir(filepath.FromSlash(path)))
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		u, err := lock.Dir(dir)
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, u)
	}
	return unlock, nil
}

// OpenGolden reads a golden file that must be there.
func OpenGolden(path string) (*golden.File, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "the golden file cannot be read", Err: cause(err), Hint: "telltale golden accept RUN_DIR writes one"}
	}
	return golden.Load(path)
}
