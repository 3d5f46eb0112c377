package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// source is one entry of the suite's tests: with its files.
type source struct {
	tests  config.Tests
	files  []file // one without a path for inline cases
	filter filter
	count  Count
	tagged bool  // a row had a tag
	kept   []int // numbers of the rows of the sample, ascending, after a scan
}

// file is one file of a source.
type file struct {
	path   string // empty for inline cases
	name   string // for messages
	format string
	spool  *spool // set once the content has been copied
	copy   bool   // it can be read only once, so it must be copied
	size   int64
	mtime  time.Time
	yaml   []config.Test // of a YAML file, once it has been read
}

// The formats by name. auto is by extension.
var formats = []string{"auto", "jsonl", "json", "yaml", "csv", "tsv", "ifeval", "gsm8k"}

var extensions = map[string]string{
	".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".yaml": "yaml", ".yml": "yaml", ".csv": "csv", ".tsv": "tsv",
}

func newSource(t config.Tests, opts Options) (*source, error) {
	s := &source{tests: t}
	var err error
	if s.filter, err = newFilter(t.Pos, t.Tags); err != nil {
		return nil, err
	}
	if t.Sample < 0 {
		return nil, &config.Error{Pos: t.Pos.At("sample"), Value: fmt.Sprint(t.Sample), Problem: "not a size", Want: "a number of cases, 0 for all"}
	}
	if t.Path == "" {
		s.files = []file{{name: t.Pos.File}}
		return s, nil
	}
	if t.Format != "" && !slices.Contains(formats, t.Format) {
		return nil, &config.Error{Pos: t.Pos.At("format"), Value: t.Format, Problem: "unknown format", Want: "one of " + strings.Join(formats, ", ")}
	}
	path := strings.TrimPrefix(t.Path, "file://")
	if path == "-" {
		if opts.Stdin == nil {
			return nil, &config.Error{Pos: t.Pos, Value: t.Path, Problem: "there is no standard input to read cases from"}
		}
		f := file{path: path, name: "<stdin>", format: t.Format, copy: true}
		if f.format == "" || f.format == "auto" {
			f.format = "jsonl"
		}
		s.files = []file{f}
		return s, nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(opts.Dir, path)
	}
	paths, err := expand(t, path)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		f, err := statFile(t, p)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
	}
	return s, nil
}

// expand resolves a glob; a path that exists as it is written is not taken for one.
func expand(t config.Tests, path string) ([]string, error) {
	if !strings.ContainsAny(path, "*?[") {
		return []string{path}, nil
	}
	if _, err := os.Lstat(path); err == nil {
		return []string{path}, nil
	}
	pos := t.Pos
	if strings.Contains(path, "**") {
		return nil, &config.Error{Pos: pos, Value: t.Path, Problem: "** is not supported", Want: "a pattern of *, ? and [a-z] within single folders"}
	}
	paths, err := filepath.Glob(path)
	if err != nil {
		return nil, &config.Error{Pos: pos, Value: t.Path, Problem: "not a pattern", Want: "a pattern of *, ? and [a-z]", Err: err}
	}
	if len(paths) == 0 {
		return nil, &config.Error{Pos: pos, Value: t.Path, Problem: "no file matches (" + path + ")", Want: "at least one"}
	}
	slices.Sort(paths)
	return paths, nil
}

func statFile(t config.Tests, path string) (file, error) {
	pos := t.Pos
	f := file{path: path, name: path, format: t.Format}
	info, err := os.Stat(path)
	if err != nil {
		return f, openError(t.Pos, t.Path, path, err)
	}
	if info.IsDir() {
		return f, &config.Error{Pos: pos, Value: t.Path, Problem: path + " is a folder", Want: "a file", Hint: "name the files in it: " + filepath.Join(t.Path, "*.jsonl")}
	}
	f.copy = !info.Mode().IsRegular()
	f.size, f.mtime = info.Size(), info.ModTime()
	if f.format == "" || f.format == "auto" {
		ext := strings.ToLower(filepath.Ext(strings.TrimSuffix(strings.ToLower(path), ".gz")))
		f.format = extensions[ext]
		if f.format == "" {
			return f, &config.Error{
				Pos: pos, Value: t.Path, Problem: "the format cannot be told from the extension " + fmt.Sprintf("%q", ext),
				Want: ".jsonl, .ndjson, .json, .yaml, .yml, .csv or .tsv, each also with .gz", Hint: "set format: to one of " + strings.Join(formats[1:], ", "),
			}
		}
	}
	return f, nil
}

func openError(pos config.Pos, value, path string, err error) error {
	e := &config.Error{Pos: pos, Value: value, Problem: "cannot read " + path, Err: err}
	if errors.Is(err, fs.ErrNotExist) {
		e.Problem, e.Err, e.Want = "there is no file "+path, nil, "an existing file"
	} else if pe, ok := errors.AsType[*fs.PathError](err); ok {
		e.Err = pe.Err
	}
	return e
}

func (s *source) isStdin() bool {
	return len(s.files) == 1 && s.files[0].path == "-"
}

func (s *source) sampled() bool { return s.tests.Sample > 0 }

// name is the source as messages call it.
func (s *source) name() string {
	if s.tests.Path == "" {
		return s.tests.Pos.String()
	}
	return s.tests.Path
}

// container is how the rows of f are written down, for formats that do not say.
func (f *file) container() string {
	if f.format != "ifeval" && f.format != "gsm8k" {
		return f.format
	}
	if strings.HasSuffix(strings.TrimSuffix(strings.ToLower(f.path), ".gz"), ".json") {
		return "json"
	}
	return "jsonl"
}
