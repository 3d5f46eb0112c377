package lmeval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// split is where the documents of one part of a task's dataset are.
type split struct {
	name  string
	tests config.Tests
}

// loaders are the names that datasets has for formats of files.
var loaders = map[string]string{"json": "json", "csv": "csv", "parquet": "parquet", "arrow": "arrow"}

// fileSettings are the settings of a dataset that are data_files itself, or make no difference to files
// that are here.
var fileSettings = []string{"data_files", "trust_remote_code", "verification_mode", "download_mode", "cache_dir", "streaming"}

// splits finds the documents that are asked.
func (l *loader) splits(m *merged, t *Task) bool {
	name := l.text(m, "test_split", "")
	if name == "" {
		name = l.text(m, "validation_split", "")
	}
	if name == "" {
		l.fail(m.at("test_split"), nil, "the task does not say which documents are asked", "test_split or validation_split")
		return false
	}
	var ok bool
	t.eval, ok = l.split(m, name)
	return ok
}

// split finds the files of a split.
func (l *loader) split(m *merged, name string) (split, bool) {
	at := m.at("dataset_path")
	path := l.text(m, "dataset_path", "")
	if p, ok := l.opts.Vars["dataset_path"]; ok {
		path, at = p, config.Pos{Key: "--var dataset_path"}
		return l.folder(m, at, path, name)
	}
	if path == "" {
		l.fail(at, nil, "the task has no dataset", "json, csv, parquet or arrow with data_files, or the path of an exported folder")
		return split{}, false
	}
	format, isLoader := loaders[path]
	if !isLoader {
		return l.folder(m, at, path, name)
	}
	kw, _ := m.vals["dataset_kwargs"].(map[string]any)
	kwAt := m.at("dataset_kwargs")
	for _, k := range slices.Sorted(maps.Keys(kw)) {
		if !slices.Contains(fileSettings, k) {
			l.unsupported(kwAt.At(k), kw[k], "this setting of a dataset is not supported")
			return split{}, false
		}
	}
	files, at := l.dataFiles(kw["data_files"], kwAt.At("data_files"), name)
	if len(files) == 0 {
		return split{}, false
	}
	s := split{name: name, tests: config.Tests{Pos: at, Format: format, Path: files[0], Files: files[1:]}}
	switch {
	case format == "csv" && strings.HasSuffix(files[0], ".tsv"):
		s.tests.Format = "tsv"
	case format == "json" && !strings.HasSuffix(files[0], ".jsonl") && l.opts.JSONLines(l.full(files[0])):
		s.tests.Format = "jsonl"
	case format == "json" && strings.HasSuffix(files[0], ".jsonl"):
		s.tests.Format = "jsonl"
	}
	return s, true
}

// dataFiles reads data_files: a path, a list of them, or either by split.
func (l *loader) dataFiles(v any, at config.Pos, name string) ([]string, config.Pos) {
	if m, ok := v.(map[string]any); ok {
		if m[name] == nil {
			l.fail(at, name, "data_files has no such split", "one of "+strings.Join(slices.Sorted(maps.Keys(m)), ", "))
			return nil, at
		}
		v, at = m[name], at.At(name)
	} else if v != nil && name != "train" {
		l.fail(at, name, "data_files without splits is the split train", "a mapping of splits to files, or test_split: train")
		return nil, at
	}
	var list []any
	switch v := v.(type) {
	case string:
		list = []any{v}
	case []any:
		list = v
	}
	var out []string
	for _, e := range list {
		s, ok := e.(string)
		if !ok || s == "" {
			out = nil
			break
		}
		out = append(out, l.path(at, s))
	}
	if out == nil {
		l.fail(at, nil, "no files", "a path, or a list of paths")
	}
	return out, at
}

// path finds a file from the folder of the file that names it, or else from the working directory,
// where the harness looks. A path in the task's own folder stays as it is written.
func (l *loader) path(at config.Pos, p string) string {
	if filepath.IsAbs(p) || strings.Contains(p, "://") {
		return p
	}
	dir := filepath.Dir(at.File)
	here := filepath.Join(dir, p)
	if !l.exists(here) && l.exists(p) {
		here = p
	} else if dir == l.dir {
		return p
	}
	if abs, err := filepath.Abs(here); err == nil {
		return abs
	}
	return here
}

// exists says whether there is such a file or folder, or one that a pattern matches.
func (l *loader) exists(path string) bool {
	if l.opts.Exists(path) {
		return true
	}
	found, err := l.opts.Glob(path)
	return err == nil && len(found) > 0
}

// full is a path that a source has, from the working directory.
func (l *loader) full(path string) string {
	if filepath.IsAbs(path) || strings.Contains(path, "://") {
		return path
	}
	return filepath.Join(l.dir, path)
}

// folder takes an exported dataset, or reports one that would have to be fetched.
func (l *loader) folder(m *merged, at config.Pos, path, name string) (split, bool) {
	found := path
	if at.File != "" {
		found = l.path(at, path)
	} else if abs, err := filepath.Abs(path); err == nil {
		found = abs
	}
	if !l.opts.Exists(l.full(found)) {
		e := &config.Error{Pos: at, Value: path, Problem: "this dataset is not on this machine, and telltale fetches none from the Hugging Face Hub",
			Hint: "export it with save_to_disk of Python's datasets and give the folder: --var dataset_path=FOLDER"}
		if !slices.ContainsFunc(l.left, func(o *config.Error) bool { return o.Pos == e.Pos }) {
			l.left = append(l.left, e)
		}
		return split{name: name, tests: config.Tests{Pos: at, Path: path}}, l.opts.WithoutData
	}
	part, named := l.part(m, found)
	if v := m.vals["dataset_name"]; v != nil && at.File != "" && !named {
		l.unsupported(m.at("dataset_name"), v, "the folder has no folder of this name in it, and a part is not found otherwise; give the part's own folder")
		return split{}, false
	}
	return split{name: name, tests: config.Tests{Pos: at, Path: part, Format: "hf", Split: name}}, true
}

// part finds the folder that a task means in one that holds several datasets, laid out as on the Hub, or
// several parts of one. named says that it was found by its dataset_name.
func (l *loader) part(m *merged, dir string) (path string, named bool) {
	hub, name := l.text(m, "dataset_path", ""), ""
	if v, ok := m.vals["dataset_name"].(string); ok && filepath.IsLocal(v) {
		name = v
	}
	for _, sub := range []string{filepath.Join(hub, name), hub, name} {
		if sub == "" || !filepath.IsLocal(sub) || !l.opts.Exists(l.full(filepath.Join(dir, sub))) {
			continue
		}
		return filepath.Join(dir, sub), name != "" && sub != hub
	}
	return dir, false
}

// generation reads what the model is asked to do.
func (l *loader) generation(m *merged, t *Task) {
	if t.Output != "generate_until" {
		return
	}
	t.Generation = map[string]any{"temperature": 0.0, "max_tokens": int64(256)}
	until := []any{t.shotDelimiter}
	v := m.vals["generation_kwargs"]
	kw, ok := v.(map[string]any)
	if v != nil && !ok {
		l.fail(m.at("generation_kwargs"), nil, "not a mapping", "a mapping with until, max_gen_toks, temperature")
	}
	at := m.at("generation_kwargs")
	for _, k := range slices.Sorted(maps.Keys(kw)) {
		v := kw[k]
		switch k {
		case "do_sample": // the harness does not send it to a server
		case "until":
			switch v := v.(type) {
			case nil:
				until = nil
			case string:
				until = []any{v}
			case []any:
				until = v
			default:
				l.fail(at.At(k), v, "not a list of texts", "the texts at which the answer ends")
			}
		case "max_gen_toks", "max_tokens":
			if n, ok := v.(int64); !ok || n < 1 {
				l.fail(at.At(k), v, "not a number of tokens", "a whole number from 1")
			}
			t.Generation["max_tokens"] = v
		case "temperature":
			f, ok := config.Number(v)
			if !ok {
				l.fail(at.At(k), v, "not a number", "a number from 0")
			}
			t.Generation[k] = f
		default:
			t.Generation[k] = v
		}
	}
	if len(until) > 0 {
		t.Generation["stop"] = until
	}
}

// Suite makes a suite of what was loaded. documents reads the first n documents of a source, all of
// them when n is 0; it is asked only for few-shot examples.
func (l *Loaded) Suite(documents func(source config.Tests, n int) ([]map[string]any, error)) (*config.Suite, error) {
	s := &config.Suite{Path: l.Path, Samples: 1, Description: "tasks of lm-evaluation-harness"}
	if len(l.Tasks) == 1 {
		s.Description = "task " + l.Tasks[0].Name + " of lm-evaluation-harness"
	}
	pos := config.Pos{File: l.Path}
	s.Derived = l.derived()
	s.Prompts = []config.Prompt{{Pos: pos, Label: "task", Messages: []config.PromptMessage{{Role: "user", Text: "{{" + PromptVar + "}}"}}}}
	if len(l.Tasks) == 1 {
		s.Prompts[0].Label = l.Tasks[0].Name
	}
	var errs config.Errors
	for _, t := range l.Tasks {
		if t.shots > 0 {
			pool, err := t.examples(documents)
			if err == nil {
				t.fewshot, err = newFewshot(t, pool)
			}
			if err != nil {
				errs.Append(t.Pos, err)
				continue
			}
		}
		source := t.eval.tests
		asserts := t.assertions(l.Group != "")
		if len(l.Tasks) == 1 {
			s.Default.Assert, asserts = asserts, nil
		}
		source.Row = func(p config.Pos, n int, doc map[string]any) (config.Test, error) {
			c, err := t.Row(p, n, typed(source.Format, doc))
			c.Assert = asserts
			if len(l.Tasks) > 1 {
				c.Tags = []string{t.Name}
			}
			return c, err
		}
		s.Tests = append(s.Tests, source)
	}
	if len(l.Tasks) == 0 {
		errs = append(errs, &config.Error{Pos: pos, Problem: "nothing of the file can be run", Want: "at least one task"})
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	h := sha256.Sum256(l.hashable())
	s.Hash = hex.EncodeToString(h[:8])
	return s, nil
}

// examples reads the documents that few-shot examples are drawn from.
func (t *Task) examples(documents func(config.Tests, int) ([]map[string]any, error)) ([]map[string]any, error) {
	if t.samples != nil {
		var out []map[string]any
		for i, s := range t.samples {
			m, ok := s.(map[string]any)
			if !ok {
				return nil, &config.Error{Pos: t.Pos.At(fmt.Sprintf("fewshot_config.samples[%d]", i)), Problem: "not a document", Want: "a mapping of fields"}
			}
			out = append(out, m)
		}
		return out, nil
	}
	n := 0
	if t.firstN && !t.excludeSelf {
		n = t.shots
	}
	out, err := documents(t.pool.tests, n)
	for i := range out {
		out[i] = typed(t.pool.tests.Format, out[i])
	}
	return out, err
}

// typed gives the values of a CSV file the types that datasets finds in them: whole numbers, numbers,
// booleans, and null for an empty one. It looks at each value alone, where datasets looks at the column.
func typed(format string, doc map[string]any) map[string]any {
	if format != "csv" && format != "tsv" {
		return doc
	}
	for k, v := range doc {
		s, _ := v.(string)
		switch {
		case s == "":
			doc[k] = nil
		case s == "True" || s == "False":
			doc[k] = s == "True"
		case strings.Trim(s, "0123456789.eE+-") == "":
			if n, err := strconv.ParseInt(s, 10, 64); err == nil {
				doc[k] = n
			} else if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsInf(f, 0) {
				doc[k] = f
			}
		}
	}
	return doc
}

// Checks are the assertions of the task's metrics, each under its own name.
func (t *Task) Checks() []config.Assertion { return t.assertions(false) }

// assertions are the task's metrics.
func (t *Task) assertions(named bool) []config.Assertion {
	var out []config.Assertion
	for _, m := range t.Metrics {
		conf := m.config
		if len(m.groups) > 0 {
			conf = maps.Clone(conf)
			groups := make([]any, len(m.groups))
			for i, g := range m.groups {
				groups[i] = g
			}
			conf["groups"] = groups
		}
		a := config.Assertion{
			Pos: m.Pos, Type: Kind, ValuePos: m.Pos, Metric: m.title(),
			Config: config.Object{Pos: m.Pos, Map: conf, Keys: map[string]config.Pos{}},
		}
		if named {
			a.Metric = t.Name + "." + a.Metric
		}
		out = append(out, a)
	}
	return out
}

// Report says in one line a task what of it is run.
func (t *Task) Report() string {
	var names []string
	for _, m := range t.Metrics {
		n := m.Name
		if m.Filter != "none" {
			n += " (" + m.Filter + ")"
		}
		names = append(names, n)
	}
	shots := "no examples"
	switch {
	case t.shots == 1:
		shots = "1 example"
	case t.shots > 1:
		shots = fmt.Sprintf("%d examples", t.shots)
	}
	gen := ""
	if t.Answers > 1 {
		shots += fmt.Sprintf(", %d answers", t.Answers)
	}
	if t.Generation != nil {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(t.Generation); err == nil {
			gen = ", asked with " + strings.TrimSpace(b.String())
		}
	}
	return fmt.Sprintf("%s: %s on split %s of %s, %s, metrics %s%s", t.Name, t.Output, t.eval.name, t.eval.tests.Path, shots, strings.Join(names, ", "), gen)
}
