package app

import (
	"errors"
	"io/fs"
	"os"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/report"
)

// OpenRun reads the results of a finished run. A directory without them is a *config.Error.
func OpenRun(dir string) (*Finished, error) {
	d := &runDir{path: dir}
	run, err := d.finished()
	switch {
	case err == nil && d.has(samplesFile):
		return &Finished{Run: run, Dir: dir, Resumable: d.has(journalFile)}, nil
	case err == nil:
		return nil, &config.Error{Pos: config.Pos{File: dir}, Problem: "has run.json but no " + samplesFile, Want: "the whole directory of a finished run"}
	case errors.Is(err, fs.ErrNotExist) && d.has(journalFile):
		return nil, &config.Error{Pos: config.Pos{File: dir}, Problem: "holds an unfinished run", Want: "the directory of a finished run", Hint: "telltale run --resume goes on with it"}
	case errors.Is(err, fs.ErrNotExist):
		return nil, &config.Error{Pos: config.Pos{File: dir}, Problem: "holds no " + report.JSONFile, Want: "the directory of a finished run, such as one below .telltale/runs"}
	}
	if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
		return nil, &config.Error{Pos: config.Pos{File: dir}, Problem: "is a file", Want: "the directory of a finished run"}
	}
	return nil, &config.Error{Pos: config.Pos{File: d.file(report.JSONFile)}, Problem: "cannot be read", Err: cause(err)}
}
