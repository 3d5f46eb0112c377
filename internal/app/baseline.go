package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/telltale-llm/telltale/internal/baseline"
	"github.com/telltale-llm/telltale/internal/config"
)

// BaselineOptions say which run becomes a baseline, and how.
type BaselineOptions struct {
	// Dir is the folder of baselines; see BaselinesDir.
	Dir  string
	Name string
	// RunDir is the directory of a finished run.
	RunDir string
	// Force puts the run in the place of another baseline of that name.
	Force bool
	// AllowErrors takes a run with samples that have no verdict because of an error.
	AllowErrors bool
	// Outputs keeps the answers.
	Outputs bool
}

// BaselineSet is a baseline that was written.
type BaselineSet struct {
	*baseline.Stored
	// Former says that there was one of that name; Changes is what is different, nil when the former could not be
	// read, for which Unreadable says why.
	Former     bool
	Changes    *baseline.Changes
	Unreadable error
	// Same says that it is what was there already.
	Same bool
}

// SetBaseline stores a finished run as a baseline. Mistakes are *config.Error, and nothing is written then.
func SetBaseline(o BaselineOptions) (*BaselineSet, error) {
	if err := baseline.CheckName(o.Name); err != nil {
		return nil, err
	}
	dir := BaselinesDir(o.Dir)
	f, err := OpenRun(o.RunDir)
	if err != nil {
		return nil, err
	}
	if err := whole(f, o.AllowErrors); err != nil {
		return nil, err
	}
	unlock, err := baseline.Lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := &BaselineSet{}
	former, err := baseline.Open(dir, o.Name)
	switch {
	case err == nil:
		out.Former = true
	case !isNotFound(dir, o.Name):
		out.Former, out.Unreadable = true, err
	}
	if out.Former && !o.Force {
		if former != nil && former.Run().ID == f.Run.ID {
			return nil, &config.Error{Pos: config.Pos{File: filepath.Join(dir, o.Name+".json")}, Problem: "is there already, of a run with the same id " + f.Run.ID,
				Hint: "--force writes it again"}
		}
		return nil, &config.Error{Pos: config.Pos{File: filepath.Join(dir, o.Name+".json")}, Problem: "is there already",
			Hint: "--force puts this run in its place; telltale compare " + o.Name + " " + o.RunDir + " says what that would change"}
	}
	// What is compared with is read before it is replaced.
	before, err := remembered(former)
	if err != nil {
		return nil, err
	}
	out.Stored, err = baseline.Write(dir, o.Name, baseline.Source{Run: f.Run, Samples: ReadSamples(f.Dir), Outputs: o.Outputs})
	if err != nil {
		if isMistake(err) {
			return nil, err
		}
		return nil, &CouldNotRun{err}
	}
	if before != nil {
		out.Same = former.ContentID() == out.ContentID()
		out.Changes, err = before.To(out.Stored)
	}
	return out, err
}

// remembered reads the former baseline; nil for none.
func remembered(former *baseline.Stored) (*baseline.Before, error) {
	if former == nil {
		return nil, nil
	}
	return baseline.Remember(former)
}

// isNotFound says whether there is no baseline of that name, rather than one that cannot be read.
func isNotFound(dir, name string) bool {
	names, err := baseline.Names(dir)
	if err != nil {
		return false
	}
	for _, n := range names {
		if n == name {
			return false
		}
	}
	return true
}

// whole refuses a run that would be a poor thing to compare with.
func whole(f *Finished, allowErrors bool) error {
	sum, at := &f.Run.Summary, config.Pos{File: f.Dir}
	switch {
	case sum.Finished == 0:
		return &config.Error{Pos: at, Problem: "the run has no finished sample", Want: "a finished run"}
	case sum.Finished < sum.Planned:
		why := ""
		if sum.Stopped != "" {
			why = " (" + sum.Stopped + ")"
		}
		return &config.Error{Pos: at, Problem: fmt.Sprintf("the run has %d of its %d samples%s", sum.Finished, sum.Planned, why), Want: "a finished run", Hint: "telltale run --resume --out " + f.Dir + " goes on with it"}
	case sum.Errored > 0 && !allowErrors:
		return &config.Error{Pos: at, Problem: fmt.Sprintf("%d of the run's %d samples are errors, which no later run can be compared with", sum.Errored, sum.Finished), Want: "a run without errors",
			Hint: "telltale run --resume --out " + f.Dir + " tries them again; --allow-errors takes the run as it is"}
	}
	return nil
}

// RemoveBaseline takes a baseline away.
func RemoveBaseline(dir, name string) error {
	dir = BaselinesDir(dir)
	if err := baseline.CheckName(name); err != nil {
		return err
	}
	if isNotFound(dir, name) {
		return baseline.NotFound(dir, name)
	}
	unlock, err := baseline.Lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	err = baseline.Remove(dir, name)
	if _, mistake := errors.AsType[*config.Error](err); err != nil && !mistake {
		return &CouldNotRun{err}
	}
	return err
}

// BaselineRef is a baseline for machines.
type BaselineRef struct {
	Name     string            `json:"name"`
	ID       string            `json:"id,omitempty"`
	Contents baseline.Contents `json:"samples,omitzero"`
	Run      json.RawMessage   `json:"run,omitempty"`
	Error    string            `json:"error,omitempty"`
}

// Baselines lists a folder of them.
func Baselines(dir string) ([]baseline.Entry, error) { return baseline.List(BaselinesDir(dir)) }

// OpenBaseline reads a baseline and checks it whole.
func OpenBaseline(dir, name string) (*baseline.Stored, error) {
	return baseline.Open(BaselinesDir(dir), name)
}
