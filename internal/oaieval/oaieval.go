// Package oaieval reads the registry files of OpenAI's evals and makes suites of them: the classes Match,
// Includes and FuzzyMatch, and model-graded classification by the specs of a registry's folder modelgraded.
//
// A registry file names evals, each with a class and a file of samples {input, ideal}. The package opens
// no files by itself, runs nothing and judges nothing; samples are read as a dataset. What a class
// needs that is not here is reported with file and key.
package oaieval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// PromptVar is the variable that holds a sample's chat messages as JSON.
const PromptVar = "evals_prompt"

// Options is what reading a registry file needs from outside.
type Options struct {
	Read   func(path string) ([]byte, error)
	Exists func(path string) bool
	Glob   func(pattern string) ([]string, error)
	// Judge returns what grades, with the settings that an eval asks for; nil when none is named.
	Judge func(settings map[string]any) any
	// Vars are the parameters of the command line: eval picks one of the file's evals, registry is the
	// folder that holds modelgraded and data, judge is Judge's affair.
	Vars map[string]string
}

// Eval is one eval that can be run.
type Eval struct {
	Name  string
	Pos   config.Pos
	Class string
	// Generation is what the class asks of the model.
	Generation map[string]any

	// answers is how many completions a grader sees together.
	answers int
	// args are the spec's own arguments, pairs its inputs.
	args    map[string]any
	pairs   []pair
	tests   config.Tests
	shots   []json.RawMessage // few-shot messages
	asserts []config.Assertion
}

// Loaded is what a file holds: its evals and what of it cannot be run.
type Loaded struct {
	Path        string
	Evals       []*Eval
	Unsupported config.Errors
	// Ignored lists what makes no difference, for a warning.
	Ignored config.Errors
	content []byte
}

// entry is a mapping of the file with a class.
type entry struct {
	name string
	pos  config.Pos
	vals map[string]any
}

// Recognises says whether a YAML file is a registry of evals.
func Recognises(path string, data []byte) bool {
	if !strings.Contains(string(data), "class:") {
		return false
	}
	// A registry file with mistakes, such as a repeated key, is one all the same: Load reports them.
	o, _ := config.ParseObject(path, data)
	found := false
	for k, v := range o.Map {
		if slices.Contains([]string{"prompts", "providers", "targets", "tests", "scenarios", "task"}, k) {
			return false
		}
		m, _ := v.(map[string]any)
		class, _ := m["class"].(string)
		found = found || strings.Contains(class, ":")
	}
	return found
}

// Load reads a registry file. Its error is config.Errors.
func Load(path string, data []byte, opts Options) (*Loaded, error) {
	o, err := config.ParseObject(path, data)
	if err != nil {
		return nil, err
	}
	out := &Loaded{Path: path, content: data}
	l := &loader{opts: opts, out: out, dir: filepath.Dir(path)}
	picked, pick := opts.Vars["eval"]
	if m, ok := o.Map[picked].(map[string]any); ok && m["class"] == nil {
		if id, ok := m["id"].(string); ok {
			picked = id // an alias
		}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(o.Map)) {
		m, ok := o.Map[name].(map[string]any)
		switch {
		case !ok:
			l.fail(o.At(name), o.Map[name], "not an eval", "a mapping with class and args, or with id")
			continue
		case m["class"] == nil && m["id"] != nil: // the name by which an eval is called, with its description
			for _, k := range slices.Sorted(maps.Keys(m)) {
				if k != "id" && !slices.Contains(evalKeys, k) {
					out.Ignored = append(out.Ignored, &config.Error{Pos: o.At(name).At(k), Problem: "evals does not look at this key"})
				}
			}
			continue
		case m["class"] == nil:
			l.keys(o.At(name), m, append([]string{"id"}, evalKeys...))
			continue
		}
		names = append(names, name)
		if !pick || name == picked {
			l.eval(entry{name: name, pos: o.At(name), vals: m})
		}
	}
	if pick && !slices.Contains(names, picked) {
		l.errs = append(l.errs, &config.Error{Pos: config.Pos{Key: "--var eval"}, Value: picked, Problem: "the file has no such eval", Want: "one of " + strings.Join(names, ", ")})
	}
	for _, name := range slices.Sorted(maps.Keys(opts.Vars)) {
		if !slices.Contains([]string{"eval", "judge", "registry"}, name) {
			l.errs = append(l.errs, &config.Error{Pos: config.Pos{Key: "--var " + name}, Problem: "a registry file has no such parameter", Want: "eval, judge, registry"})
		}
	}
	if err := l.errs.Err(); err != nil {
		config.Locate(err, opts.Read)
		return nil, err
	}
	config.Locate(out.Unsupported, opts.Read)
	config.Locate(out.Ignored, opts.Read)
	return out, nil
}

type loader struct {
	opts Options
	out  *Loaded
	dir  string
	errs config.Errors
}

func (l *loader) fail(p config.Pos, value any, problem, want string) {
	e := &config.Error{Pos: p, Problem: problem, Want: want}
	if value != nil {
		e.Value = fmt.Sprint(value)
	}
	l.errs = append(l.errs, e)
}

func (l *loader) unsupported(p config.Pos, value any, problem string) {
	e := &config.Error{Pos: p, Problem: problem}
	if value != nil {
		e.Value = fmt.Sprint(value)
	}
	l.out.Unsupported = append(l.out.Unsupported, e)
}

// classes are the classes of evals that can be run.
var classes = []string{"Match", "Includes", "FuzzyMatch", "ModelBasedClassify"}

// evalKeys are those of evals and of their names that decide nothing.
var evalKeys = []string{"description", "metrics", "disclaimer", "key", "group", "registry_path"}

// keys reports keys that are not known.
func (l *loader) keys(at config.Pos, m map[string]any, known []string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, k) {
			l.fail(at.At(k), m[k], "unknown key of an eval", "one of "+strings.Join(known, ", "))
		}
	}
}

// eval reads one eval.
func (l *loader) eval(e entry) {
	class, _ := e.vals["class"].(string)
	at := func(key string) config.Pos { return e.pos.At(key) }
	l.keys(e.pos, e.vals, append([]string{"class", "args"}, evalKeys...))
	_, name, _ := strings.Cut(class, ":")
	if !slices.Contains(classes, name) {
		l.unsupported(at("class"), class, "this class of evals is not supported; "+strings.Join(classes, ", ")+" are")
		return
	}
	args, ok := e.vals["args"].(map[string]any)
	if !ok {
		l.fail(at("args"), nil, "an eval without arguments", "args: with samples_jsonl")
		return
	}
	ev := &Eval{Name: e.name, Pos: e.pos, Class: name, Generation: map[string]any{}}
	argsAt := func(key string) config.Pos { return at("args").At(key) }
	known := map[string]bool{"samples_jsonl": true}
	whole := func(key string) (int64, bool) {
		known[key] = true
		v, given := args[key]
		n, ok := v.(int64)
		if given && (!ok || n < 0) {
			l.fail(argsAt(key), v, "not a number of that kind", "a whole number from 0")
		}
		return n, given && ok
	}
	// The classes take max_tokens; of these only FuzzyMatch passes a bound on, one of its own.
	whole("max_tokens")
	switch name {
	case "Match":
		ev.Generation["temperature"] = 0.0
		ev.assert(config.Assertion{Type: "cel", Value: "vars.ideal.exists(o, output.startsWith(o))", Metric: "accuracy"})
		n, _ := whole("num_few_shot")
		known["few_shot_jsonl"] = true
		if n > 0 {
			ev.shots = l.fewShot(args["few_shot_jsonl"], argsAt("few_shot_jsonl"), int(n))
		}
	case "Includes":
		known["ignore_case"] = true
		kind := "contains-any"
		if args["ignore_case"] == true {
			kind = "icontains-any"
		}
		ev.assert(config.Assertion{Type: kind, Value: "{{ideal}}", Metric: "accuracy"})
	case "FuzzyMatch":
		ev.Generation["temperature"], ev.Generation["max_tokens"] = 0.0, int64(16)
		ev.assert(config.Assertion{Type: "fuzzy-match", Value: "{{ideal}}", Metric: "accuracy"})
		ev.assert(config.Assertion{Type: "f1", Value: "{{ideal}}", Metric: "f1_score"})
	case "ModelBasedClassify":
		for _, k := range []string{"eval_type", "modelgraded_spec", "modelgraded_spec_args", "sample_kwargs", "eval_kwargs", "multicomp_n", "match_fn", "metaeval"} {
			known[k] = true
		}
		if !l.grade(ev, args, argsAt) {
			return
		}
	}
	for _, k := range slices.Sorted(maps.Keys(args)) {
		if !known[k] {
			l.unsupported(argsAt(k), args[k], "this argument of "+name+" is not supported")
		}
	}
	path, ok := args["samples_jsonl"].(string)
	if !ok || path == "" {
		l.fail(argsAt("samples_jsonl"), args["samples_jsonl"], "no file of samples", "samples_jsonl: with a path")
		return
	}
	ev.tests = config.Tests{Pos: argsAt("samples_jsonl"), Path: l.path(path), Format: "jsonl"}
	l.out.Evals = append(l.out.Evals, ev)
}

// path finds a file of samples: from the registry file's folder, or from the folder data of the registry.
func (l *loader) path(p string) string {
	if filepath.IsAbs(p) || strings.Contains(p, "://") || l.opts.Exists(filepath.Join(l.dir, p)) {
		return p
	}
	for _, dir := range l.registry("data") {
		file := filepath.Join(dir, p)
		if !l.opts.Exists(file) {
			continue
		}
		// Paths of a suite are relative to its folder.
		if rel, err := filepath.Rel(l.dir, file); err == nil {
			return rel
		}
		return file
	}
	return p
}

// registry lists the folders of that name: of the registry that the command line names, or beside the
// file's folder, or in it.
func (l *loader) registry(name string) []string {
	out := []string{filepath.Join(l.dir, "..", name), filepath.Join(l.dir, name)}
	if dir := l.opts.Vars["registry"]; dir != "" {
		out = slices.Insert(out, 0, filepath.Join(dir, name))
	}
	return out
}

// fewShot reads the first n examples: lines of {"sample": [messages]}.
func (l *loader) fewShot(v any, at config.Pos, n int) []json.RawMessage {
	path, ok := v.(string)
	if !ok {
		l.fail(at, v, "few-shot examples without a file", "few_shot_jsonl: with a path")
		return nil
	}
	file := l.path(path)
	if !filepath.IsAbs(file) {
		file = filepath.Join(l.dir, file)
	}
	data, err := l.opts.Read(file)
	if err != nil {
		l.errs = append(l.errs, &config.Error{Pos: at, Value: path, Problem: "cannot read the file", Err: err})
		return nil
	}
	var out []json.RawMessage
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for i, line := range lines[:min(n, len(lines))] {
		var row struct{ Sample []json.RawMessage }
		if err := json.Unmarshal([]byte(line), &row); err != nil || len(row.Sample) == 0 {
			l.errs = append(l.errs, &config.Error{Pos: config.Pos{File: file, Line: i + 1, Key: "sample"}, Problem: "not an example", Want: `{"sample": [messages]}`, Err: err})
			return nil
		}
		out = append(out, row.Sample...)
	}
	return out
}

// Suite makes a suite of what was loaded.
func (l *Loaded) Suite() (*config.Suite, error) {
	pos := config.Pos{File: l.Path}
	if len(l.Evals) == 0 {
		return nil, &config.Error{Pos: pos, Problem: "nothing of the file can be run", Want: "at least one eval"}
	}
	s := &config.Suite{Path: l.Path, Samples: 1, Description: "evals of OpenAI's registry"}
	if len(l.Evals) == 1 {
		s.Description = "eval " + l.Evals[0].Name
	}
	s.Prompts = []config.Prompt{{Pos: pos, Label: "input", Text: "{{" + PromptVar + "}}"}}
	for _, e := range l.Evals {
		source, asserts := e.tests, e.asserts
		if len(l.Evals) == 1 {
			s.Default.Assert, asserts = asserts, nil
		} else {
			asserts = slices.Clone(asserts)
			for i := range asserts {
				asserts[i].Metric = e.Name + "." + asserts[i].Metric
			}
		}
		source.Row = func(p config.Pos, n int, row map[string]any) (config.Test, error) {
			c, err := e.row(p, n, row)
			c.Assert = asserts
			if len(l.Evals) > 1 {
				c.Tags = []string{e.Name}
			}
			return c, err
		}
		s.Tests = append(s.Tests, source)
	}
	h := sha256.Sum256(l.content)
	s.Hash = hex.EncodeToString(h[:8])
	return s, nil
}

// Answers is how many answers the model gives to each sample.
func (e *Eval) Answers() int { return max(1, e.answers) }

// assert adds an assertion of the eval.
func (e *Eval) assert(a config.Assertion) {
	a.Pos, a.ValuePos, a.ProviderPos = e.Pos, e.Pos, e.Pos
	a.Config.Pos = e.Pos
	e.asserts = append(e.asserts, a)
}

// row makes the case of a sample.
func (e *Eval) row(p config.Pos, n int, row map[string]any) (config.Test, error) {
	c := config.Test{Pos: p, ID: fmt.Sprintf("%s/%d", e.Name, n), Vars: maps.Clone(row)}
	maps.Copy(c.Vars, e.args)
	key, err := e.asked(p, row, &c)
	if err != nil {
		return c, err
	}
	var messages []json.RawMessage
	add := func(v any) error {
		b, err := json.Marshal(v)
		messages = append(messages, b)
		return err
	}
	switch in := row[key].(type) {
	case string: // evals asks with it as a system message
		if err := add(map[string]any{"role": "system", "content": in}); err != nil {
			return c, &config.Error{Pos: p.At(key), Err: err}
		}
	case []any:
		if len(in) == 0 {
			return c, &config.Error{Pos: p.At(key), Problem: "the list of chat messages is empty", Want: "at least one"}
		}
		for i, m := range in {
			o, ok := m.(map[string]any)
			role, isText := o["role"].(string)
			if !ok || !isText {
				return c, &config.Error{Pos: p.At(fmt.Sprintf("%s[%d]", key, i)), Problem: "not a chat message", Want: `{"role": …, "content": …}`}
			}
			if !slices.Contains([]string{"system", "developer", "user", "assistant", "tool"}, role) {
				return c, &config.Error{Pos: p.At(fmt.Sprintf("%s[%d].role", key, i)), Value: role, Problem: "not a role", Want: "system, developer, user, assistant or tool"}
			}
			if err := add(map[string]any{"role": role, "content": o["content"]}); err != nil {
				return c, &config.Error{Pos: p.At(key), Err: err}
			}
		}
	default:
		return c, &config.Error{Pos: p.At(key), Problem: "the sample has no " + key, Want: "a text or a list of chat messages"}
	}
	if len(e.shots) > 0 {
		if _, chat := row["input"].([]any); !chat || len(messages) == 0 {
			return c, &config.Error{Pos: p.At("input"), Problem: "few-shot examples need a chat", Want: "a list of chat messages"}
		}
		messages = slices.Insert(messages, len(messages)-1, e.shots...)
	}
	b, err := json.Marshal(messages)
	if err != nil {
		return c, &config.Error{Pos: p.At("input"), Err: err}
	}
	c.Vars[PromptVar] = string(b)
	if e.Class == "ModelBasedClassify" {
		return c, nil
	}
	ideal, ok := row["ideal"]
	list, isList := ideal.([]any)
	if !isList {
		list = []any{ideal}
	}
	for _, v := range list {
		if _, text := v.(string); !ok || !text {
			return c, &config.Error{Pos: p.At("ideal"), Problem: "the sample has no ideal answer", Want: "a text, or a list of texts"}
		}
	}
	if len(list) == 0 {
		return c, &config.Error{Pos: p.At("ideal"), Problem: "the list of ideal answers is empty", Want: "at least one"}
	}
	c.Vars["ideal"] = list
	return c, nil
}

// asked says which part of a sample the model is asked. A sample that has its answers already is not
// asked: c then holds the answer.
func (e *Eval) asked(p config.Pos, row map[string]any, c *config.Test) (string, error) {
	if e.pairs == nil {
		return "input", nil
	}
	key := ""
	for _, in := range e.pairs {
		v, given := row[in.output]
		text, isText := v.(string)
		switch {
		case !given && key != "":
			return "", &config.Error{Pos: p.At(in.input), Problem: "the spec asks the model " + key + " and " + in.input + " for one sample: several prompts are not supported", Want: "samples that hold " + in.output}
		case !given:
			key = in.input
		case !isText:
			return "", &config.Error{Pos: p.At(in.output), Problem: "the answer in the sample is not a text", Want: "a text"}
		case c.Output == nil:
			c.Output = &text
		}
	}
	if key == "" {
		return e.pairs[0].input, nil
	}
	c.Output = nil
	return key, nil
}

// Report says in one line what of an eval is run.
func (e *Eval) Report() string {
	var kinds []string
	for _, a := range e.asserts {
		kinds = append(kinds, a.Metric+" by "+a.Type)
	}
	if e.answers > 1 {
		kinds = append(kinds, fmt.Sprintf("%d answers at a time", e.answers))
	}
	return fmt.Sprintf("%s: %s on %s: %s", e.Name, e.Class, e.tests.Path, strings.Join(kinds, ", "))
}
