package app

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/baseline"
	"github.com/telltale-llm/telltale/internal/compare"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/report"
)

// BaselinesEnv names the folder of baselines; DefaultBaselines is where they are without it, seen from the working
// directory.
const (
	BaselinesEnv     = "TELLTALE_BASELINES"
	DefaultBaselines = "baselines"
)

// BaselinesDir is the folder of baselines: the one that was given, or else that of the environment or the default.
func BaselinesDir(given string) string {
	if given != "" {
		return given
	}
	if dir := os.Getenv(BaselinesEnv); dir != "" {
		return dir
	}
	return DefaultBaselines
}

// baselineDirs are the folders in which a name is looked for, the first that has it first: the user's own, and without
// TELLTALE_BASELINES also the one beside a suite in dir.
func baselineDirs(dir string) []string {
	dirs := []string{BaselinesDir("")}
	if os.Getenv(BaselinesEnv) == "" {
		if beside := filepath.Join(dir, DefaultBaselines); beside != dirs[0] && !sameDir(beside, dirs[0]) {
			dirs = append(dirs, beside)
		}
	}
	return dirs
}

// openSide opens one side of a comparison: the directory of a finished run, relative to dir, or else a stored baseline.
// path is the directory; empty for a baseline.
func openSide(name, dir string) (side compare.Side, path string, err error) {
	path = name
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	f, err := OpenRun(path)
	if err == nil {
		return runSide(name, f), path, nil
	}
	// What holds a run.json is a run, also one that cannot be read.
	if (&runDir{path: path}).has(report.JSONFile) || baseline.CheckName(name) != nil {
		return side, path, err
	}
	dirs := baselineDirs(dir)
	for _, d := range dirs {
		_, missing := os.Stat(filepath.Join(d, name+".json"))
		if errors.Is(missing, fs.ErrNotExist) {
			continue
		}
		stored, err := baseline.Open(d, name)
		if err != nil {
			return side, "", err
		}
		return storedSide(name, stored), "", nil
	}
	if _, missing := os.Stat(path); missing == nil {
		return side, path, err
	}
	return side, path, neither(name, dirs)
}

// storedSide is a baseline as a side of a comparison.
func storedSide(name string, s *baseline.Stored) compare.Side {
	return compare.Side{Name: name, Baseline: s.ContentID(), Run: s.Run(), Samples: s.Samples, NoOutputs: !s.Outputs(), Inputs: s.Inputs}
}

// neither says that a name is no run and no baseline, and what there is.
func neither(name string, dirs []string) *config.Error {
	e := &config.Error{Pos: config.Pos{File: name}, Problem: "neither the directory of a run nor a stored baseline"}
	var all []string
	for _, d := range dirs {
		names, err := baseline.Names(d)
		if err != nil {
			e.Err = err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == 0 {
		e.Want = "a directory with " + report.JSONFile
		e.Hint = "there is no baseline in " + strings.Join(dirs, " or ") + "; telltale baseline set NAME RUN_DIR makes one"
		return e
	}
	e.Want = "the directory of a run, or one of the baselines " + strings.Join(all, ", ")
	if near := config.Nearest(name, all); near != "" {
		e.Hint = "did you mean \"" + near + "\"?"
	}
	return e
}
