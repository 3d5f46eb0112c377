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
	count  count
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
	remote string // the address of a file that must be fetched first; path is then where it goes
	size   int64
	mtime  time.Time
	yaml   []config.Test // of a YAML file, once it has been read
}

// The formats by name. auto is by extension.
var formats = []string{"auto", "jsonl", "json", "yaml", "csv", "tsv", "parquet", "arrow", "hf", "ifeval", "gsm8k"}

var extensions = map[string]string{
	".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".yaml": "yaml", ".yml": "yaml", ".csv": "csv", ".tsv": "tsv",
	".parquet": "parquet", ".arrow": "arrow",
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
	if isAddress(path) {
		f, err := newRemote(t, path, opts)
		if err != nil {
			return nil, err
		}
		s.files = []file{f}
		return s, nil
	}
	if t.SHA256 != "" {
		return nil, &config.Error{Pos: t.Pos.At("sha256"), Value: t.SHA256, Problem: "a checksum is for a file at an https address", Want: "no sha256 for a local file"}
	}
	for _, path := range append([]string{path}, t.Files...) {
		if err := s.add(t, path, opts); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// add resolves one path of the source.
func (s *source) add(t config.Tests, path string, opts Options) error {
	if !filepath.IsAbs(path) {
		path = filepath.Join(opts.Dir, path)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		files, err := folder(t, path)
		s.files = append(s.files, files...)
		return err
	}
	if t.Split != "" || t.Format == "hf" {
		key, value := "split", t.Split
		if value == "" {
			key, value = "format", t.Format
		}
		if _, err := os.Stat(path); err != nil {
			return openError(t.Pos, t.Path, path, err)
		}
		return &config.Error{Pos: t.Pos.At(key), Value: value, Problem: path + " is not a folder", Want: "the folder of an exported dataset"}
	}
	paths, err := expand(t, path)
	if err != nil {
		return err
	}
	for _, p := range paths {
		f, err := statFile(t, p)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
	}
	return nil
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
	return f, f.guess(t)
}

// guess finds the format by the extension when none is named.
func (f *file) guess(t config.Tests) error {
	if f.format != "" && f.format != "auto" {
		return nil
	}
	ext := strings.ToLower(filepath.Ext(strings.TrimSuffix(strings.ToLower(f.name), ".gz")))
	f.format = extensions[ext]
	if f.format == "" {
		return &config.Error{
			Pos: t.Pos, Value: t.Path, Problem: "the format cannot be told from the extension " + fmt.Sprintf("%q", ext),
			Want: ".jsonl, .ndjson, .json, .yaml, .yml, .csv or .tsv, each also with .gz, .parquet or .arrow", Hint: "set format: to one of " + strings.Join(formats[1:], ", "),
		}
	}
	return nil
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
	if strings.HasSuffix(strings.TrimSuffix(strings.ToLower(f.name), ".gz"), ".json") {
		return "json"
	}
	return "jsonl"
}
