package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/runner"
)

const (
	journalFile = "journal.jsonl"
	samplesFile = "samples.jsonl"
)

// runDir is the directory of one run.
type runDir struct {
	path string
	// made says that this process created the directory, and may remove it again.
	made bool
}

// ours are the files telltale writes into a run's directory.
func ours() []string {
	return append([]string{report.JSONFile, samplesFile, report.JUnitFile, report.MarkdownFile, report.HTMLFile, report.CommentFile, report.CodeQualityFile}, roundFiles()...)
}

func (d *runDir) file(name string) string { return filepath.Join(d.path, name) }

func (d *runDir) has(name string) bool {
	_, err := os.Stat(d.file(name))
	return err == nil
}

// defaultDir is where a run goes when no directory is named: one that is not there yet.
func defaultDir(suite string, now time.Time) string {
	name := strings.TrimSuffix(filepath.Base(suite), filepath.Ext(suite))
	if name == "telltale" || name == "promptfooconfig" {
		if abs, err := filepath.Abs(suite); err == nil {
			name = filepath.Base(filepath.Dir(abs))
		}
	}
	first := filepath.Join(".telltale", "runs", name+"-"+now.UTC().Format("20060102-150405"))
	dir := first
	for n := 2; n < 1000; n++ {
		if _, err := os.Lstat(dir); err != nil {
			break
		}
		dir = first + "-" + strconv.Itoa(n)
	}
	return dir
}

// check refuses a directory whose content would be lost, before anything is done.
func (d *runDir) check(force, resume bool) error {
	info, err := os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	at := config.Pos{Key: "--out"}
	if err != nil {
		return &config.Error{Pos: at, Value: d.path, Problem: "cannot be used", Err: cause(err)}
	}
	if !info.IsDir() {
		return &config.Error{Pos: at, Value: d.path, Problem: "is a file", Want: "a directory"}
	}
	if force || resume {
		return nil
	}
	switch {
	case d.has(journalFile) && d.has(report.JSONFile):
		return &config.Error{Pos: at, Value: d.path, Problem: "holds a run with samples that can be tried again or are missing", Hint: "--resume goes on with it; --force throws it away"}
	case d.has(journalFile):
		return &config.Error{Pos: at, Value: d.path, Problem: "holds an unfinished run", Hint: "--resume goes on with it; --force throws it away"}
	case d.has(report.JSONFile):
		return &config.Error{Pos: at, Value: d.path, Problem: "holds a finished run", Hint: "name another directory, or give --force to replace it"}
	}
	for _, name := range ours() {
		if d.has(name) {
			return &config.Error{Pos: at, Value: d.file(name), Problem: "is there already", Hint: "name another directory, or give --force to replace it"}
		}
	}
	return nil
}

// openJournal starts the run's journal, or opens the one that is resumed.
func (d *runDir) openJournal(h runner.Header, force, resume bool) (*runner.Journal, error) {
	if _, err := os.Stat(d.path); errors.Is(err, fs.ErrNotExist) {
		d.made = true
	}
	if err := os.MkdirAll(d.path, 0o777); err != nil {
		return nil, &config.Error{Pos: config.Pos{Key: "--out"}, Value: d.path, Problem: "cannot be created", Err: cause(err)}
	}
	if resume && d.has(journalFile) {
		j, err := runner.OpenJournal(d.file(journalFile))
		switch {
		case errors.Is(err, runner.ErrNoHeader):
			if err := os.Remove(d.file(journalFile)); err != nil {
				return nil, &CouldNotRun{err}
			}
		case errors.Is(err, runner.ErrLocked):
			return nil, &config.Error{Pos: config.Pos{Key: "--out"}, Value: d.path, Err: err}
		case err != nil:
			return nil, &CouldNotRun{err}
		default:
			if err := sameRun(j.Header, h, d.path); err != nil {
				return nil, errors.Join(err, j.Close())
			}
			return j, nil
		}
	}
	if force {
		if err := d.clear(); err != nil {
			return nil, err
		}
	}
	j, err := runner.CreateJournal(d.file(journalFile), h)
	switch {
	case errors.Is(err, fs.ErrExist), errors.Is(err, runner.ErrLocked):
		return nil, &config.Error{Pos: config.Pos{Key: "--out"}, Value: d.path, Err: runner.ErrLocked}
	case err != nil:
		return nil, &CouldNotRun{err}
	}
	return j, nil
}

// clear removes the files of an earlier run, unless a process is at work on them.
func (d *runDir) clear() error {
	if d.has(journalFile) {
		j, err := runner.OpenJournal(d.file(journalFile))
		if errors.Is(err, runner.ErrLocked) {
			return &config.Error{Pos: config.Pos{Key: "--out"}, Value: d.path, Err: err}
		}
		if err == nil {
			if err := j.Close(); err != nil {
				return &CouldNotRun{err}
			}
		}
	}
	for _, name := range ours() {
		if err := os.Remove(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &CouldNotRun{err}
		}
	}
	return nil
}

// sameRun says what differs between the run in the journal and the one asked for.
func sameRun(have, want runner.Header, dir string) error {
	if have.ID == want.ID && have.Total == want.Total {
		return nil
	}
	var changed []string
	for name, v := range want.Parts {
		if have.Parts[name] != v {
			changed = append(changed, name)
		}
	}
	sort.Strings(changed)
	return &config.Error{Pos: config.Pos{Key: "--resume"}, Value: dir, Problem: "the run there is another one: changed since: " + strings.Join(changed, ", "),
		Hint: "undo the change, name another directory, or give --force without --resume to start anew"}
}

// finished returns the run that the directory holds, when it holds a complete one.
func (d *runDir) finished() (*record.Run, error) {
	b, err := os.ReadFile(d.file(report.JSONFile))
	if err != nil {
		return nil, err
	}
	var run record.Run
	if err := json.Unmarshal(b, &run); err != nil {
		return nil, fmt.Errorf("%s: %w", d.file(report.JSONFile), err)
	}
	return &run, nil
}

// undo removes what an attempt that came to nothing has made.
func (d *runDir) undo() error {
	err := os.Remove(d.file(journalFile))
	if d.made {
		err = errors.Join(err, os.Remove(d.path))
	}
	return err
}
