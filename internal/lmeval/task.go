package lmeval

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// The keys of a task, by what is done with them.
var (
	// readKeys are understood.
	readKeys = []string{
		"task", "output_type", "dataset_path", "dataset_name", "dataset_kwargs", "training_split", "validation_split", "test_split", "fewshot_split",
		"doc_to_text", "doc_to_target", "doc_to_choice", "description", "target_delimiter", "fewshot_delimiter", "fewshot_config", "num_fewshot",
		"metric_list", "generation_kwargs", "repeats", "filter_list", "gen_prefix", "include",
	}
	// idleKeys decide nothing about what is run or judged.
	idleKeys = []string{"task_alias", "tag", "group", "group_alias", "metadata", "should_decontaminate", "doc_to_decontamination_query", "task_list", "version"}
	// vitalKeys make the task another one if they are left out.
	vitalKeys = map[string]string{
		"process_docs":    "documents that Python code changes first are not supported",
		"process_results": "results that Python code computes are not supported",
		"custom_dataset":  "a dataset that Python code makes is not supported",
		"use_prompt":      "prompts of promptsource are not supported",
		"doc_to_image":    "images are not supported",
		"doc_to_audio":    "audio is not supported",
		"class":           "a task that is a Python class is not supported",
	}
)

// parameters are what the command line may set.
var parameters = []string{"dataset_path", "include_path", "num_fewshot", "prefix"}

// maxInclude bounds how deeply files include one another.
const maxInclude = 20

// merged is a task's keys with those of the files it includes.
type merged struct {
	pos  config.Pos
	file string
	vals map[string]any
	keys map[string]config.Pos
}

func (m *merged) at(key string) config.Pos {
	if p, ok := m.keys[key]; ok {
		return p
	}
	return m.pos.At(key)
}

// loader reads one file with all it includes.
type loader struct {
	opts    Options
	dir     string // of the file that is read first
	errs    config.Errors
	left    config.Errors // what cannot be run
	ignored config.Errors // what makes no difference here
	content []string
	library *library
}

func (l *loader) fail(p config.Pos, value any, problem, want string) {
	e := &config.Error{Pos: p, Problem: problem, Want: want}
	if value != nil {
		e.Value = fmt.Sprint(value)
	}
	l.errs = append(l.errs, e)
}

func (l *loader) unsupported(p config.Pos, value any, problem string) {
	if slices.ContainsFunc(l.left, func(e *config.Error) bool { return e.Pos == p && e.Problem == problem }) {
		return // of one file for two splits
	}
	e := &config.Error{Pos: p, Problem: problem}
	switch v := value.(type) {
	case nil:
	case config.Tagged:
		e.Value = v.Tag + " " + v.Value
	case map[string]any, []any:
	default:
		e.Value = fmt.Sprint(v)
	}
	l.left = append(l.left, e)
}

// read reads a file and merges what it includes; its own keys win.
func (l *loader) read(path string, data []byte, depth int) (*merged, bool) {
	o, repeated, err := config.ParseObjectLast(path, data)
	if err != nil {
		l.errs.Append(config.Pos{File: path}, err)
		return nil, false
	}
	for _, e := range repeated {
		if !slices.ContainsFunc(l.ignored, func(o *config.Error) bool { return o.Pos == e.Pos }) {
			l.ignored = append(l.ignored, e)
		}
	}
	l.content = append(l.content, string(data))
	m := &merged{pos: config.Pos{File: path}, file: path, vals: map[string]any{}, keys: map[string]config.Pos{}}
	if !l.includes(m, o, depth) {
		return nil, false
	}
	maps.Copy(m.vals, o.Map)
	maps.Copy(m.keys, o.Keys)
	delete(m.vals, "include")
	return m, true
}

// includes merges the files that o includes into m. It is false when one of them cannot be had, which
// is then among the errors.
func (l *loader) includes(m *merged, o config.Object, depth int) bool {
	var names []any
	switch v := o.Map["include"].(type) {
	case nil:
		return true
	case []any:
		names = v
	default:
		names = []any{v}
	}
	at := o.At("include")
	if depth >= maxInclude {
		l.errs = append(l.errs, config.Errorf(at, "files include one another more than %d deep", maxInclude))
		return false
	}
	for _, n := range names {
		name, ok := n.(string)
		if !ok || name == "" {
			l.fail(at, n, "not a path", "the path of a task file")
			return false
		}
		path := beside(o.Pos.File, name)
		data, err := l.opts.Read(path)
		if err != nil {
			l.errs = append(l.errs, &config.Error{Pos: at, Value: name, Problem: "cannot read the file", Err: err})
			return false
		}
		sub, ok := l.read(path, data, depth+1)
		if !ok {
			return false
		}
		delete(sub.vals, "task_list")
		maps.Copy(m.vals, sub.vals)
		maps.Copy(m.keys, sub.keys)
	}
	return true
}

// beside is the path that a file means by a name.
func beside(file, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(file), name)
}

// Load reads the file of a task or of a group of tasks. Its error is config.Errors.
func Load(path string, data []byte, opts Options) (*Loaded, error) {
	l := &loader{opts: opts, dir: filepath.Dir(path)}
	l.library = newLibrary(l)
	out := &Loaded{Path: path}
	m, ok := l.read(path, data, 0)
	if ok {
		if _, isList := m.vals["task"].([]any); isList {
			l.groups(out, m)
		} else if t := l.task(m); t != nil {
			out.Tasks = append(out.Tasks, t)
		}
	}
	l.unusedVars()
	if err := l.errs.Err(); err != nil {
		config.Locate(err, opts.Read)
		return nil, err
	}
	config.Locate(l.left, opts.Read)
	out.Unsupported, out.Ignored, out.content = l.left, l.ignored, l.content
	return out, nil
}

func (l *loader) unusedVars() {
	for _, name := range slices.Sorted(maps.Keys(l.opts.Vars)) {
		if !slices.Contains(parameters, name) {
			l.errs = append(l.errs, &config.Error{Pos: config.Pos{Key: "--var " + name}, Problem: "a task has no such parameter", Want: strings.Join(parameters, ", ")})
		}
	}
}

// task turns keys into a Task; nil when something vital cannot be done.
func (l *loader) task(m *merged) *Task {
	t := &Task{Pos: m.pos, Name: l.text(m, "task", "")}
	if t.Name == "" {
		l.fail(m.at("task"), nil, "a task without a name", "task: with a name")
	}
	runs := l.keys(m)
	t.Output = l.text(m, "output_type", "generate_until")
	switch t.Output {
	case "generate_until", "multiple_choice", "loglikelihood", "loglikelihood_rolling":
	default:
		l.fail(m.at("output_type"), t.Output, "not an output type", "generate_until, multiple_choice, loglikelihood or loglikelihood_rolling")
	}
	t.targetDelimiter = l.text(m, "target_delimiter", " ")
	t.shotDelimiter = l.text(m, "fewshot_delimiter", "\n\n")
	t.text = l.field(m, "doc_to_text", &runs)
	t.target = l.field(m, "doc_to_target", &runs)
	t.choice = l.field(m, "doc_to_choice", &runs)
	t.prefix = l.field(m, "gen_prefix", &runs)
	t.description = l.field(m, "description", &runs)
	if t.Output == "loglikelihood_rolling" {
		t.start = l.opts.Vars["prefix"]
	}
	if runs {
		l.required(m, t)
	}
	l.metrics(m, t)
	l.generation(m, t)
	if m.vals["class"] == nil && m.vals["custom_dataset"] == nil {
		runs = l.splits(m, t) && runs
	}
	runs = l.shots(m, t) && runs
	if !runs {
		return nil
	}
	if len(t.Metrics) == 0 && len(l.errs) == 0 {
		l.unsupported(m.at("metric_list"), nil, "no metric of the task "+t.Name+" can be computed")
		return nil
	}
	return t
}

func (l *loader) required(m *merged, t *Task) {
	if !t.text.set && m.vals["doc_to_text"] == nil && t.Output != "loglikelihood_rolling" {
		l.fail(m.at("doc_to_text"), nil, "the task does not say how a document becomes a prompt", "a template or the name of a field")
	}
	if !t.target.set && m.vals["doc_to_target"] == nil {
		l.fail(m.at("doc_to_target"), nil, "the task does not say what the right answer is", "a template or the name of a field")
	}
	if t.Output == "multiple_choice" && m.vals["doc_to_choice"] == nil {
		l.fail(m.at("doc_to_choice"), nil, "a multiple choice without choices", "a list, a template of one, or the name of a field")
	}
}

// keys reports keys that nobody knows and those that cannot be obeyed. It returns false when the
// task is another one without them.
func (l *loader) keys(m *merged) bool {
	runs := true
	for _, k := range slices.Sorted(maps.Keys(m.vals)) {
		v := m.vals[k]
		why, vital := vitalKeys[k]
		switch {
		case v == nil || slices.Contains(readKeys, k) || slices.Contains(idleKeys, k):
		case k == "unsafe_code":
			if v != false {
				l.unsupported(m.at(k), v, "code that the model writes is not run")
				runs = false
			}
		case vital:
			l.unsupported(m.at(k), v, why)
			runs = false
		case m.vals["class"] != nil: // the class knows what it is for
		default:
			l.errs = append(l.errs, &config.Error{Pos: m.at(k), Problem: fmt.Sprintf("unknown key %q", k), Want: "a key of a task of lm-evaluation-harness"})
		}
	}
	return runs
}

func (l *loader) text(m *merged, key, def string) string {
	switch v := m.vals[key].(type) {
	case nil:
		return def
	case string:
		return v
	case int64, float64, bool:
		if key == "task" || key == "group" {
			return fmt.Sprint(v)
		}
		l.fail(m.at(key), v, "not a text", "a text")
	default:
		l.fail(m.at(key), nil, "not a text", "a text")
	}
	return def
}

func (l *loader) whole(m *merged, key string, def int64) (int64, bool) {
	switch v := m.vals[key].(type) {
	case nil:
		return def, true
	case int64:
		if v >= 0 && v < 1<<31 {
			return v, true
		}
	}
	l.fail(m.at(key), m.vals[key], "not a number of that kind", "a whole number from 0")
	return def, false
}

// field reads a part of a document.
func (l *loader) field(m *merged, key string, runs *bool) field {
	v := m.vals[key]
	if tag, ok := v.(config.Tagged); ok {
		l.unsupported(m.at(key), tag, "a Python function is not supported here")
		*runs = false
		return field{}
	}
	if list, ok := v.([]any); ok && key != "doc_to_text" {
		v = list
	} else if _, ok := v.(map[string]any); ok && key == "doc_to_choice" {
		l.unsupported(m.at(key), nil, "choices as a mapping are not supported, for its order is not kept; write a list")
		*runs = false
		return field{}
	}
	f, err := newField(m.at(key), v)
	if err != nil {
		l.errs.Append(m.at(key), err)
	}
	return f
}

// shots reads how the few-shot examples are found.
func (l *loader) shots(m *merged, t *Task) bool {
	n, _ := l.whole(m, "num_fewshot", 0)
	if s, ok := l.opts.Vars["num_fewshot"]; ok {
		v, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			l.errs = append(l.errs, &config.Error{Pos: config.Pos{Key: "--var num_fewshot"}, Value: s, Problem: "not a number of examples", Want: "a whole number from 0"})
		}
		n = int64(v)
	}
	if t.Output == "loglikelihood_rolling" {
		n = 0 // nothing stands before the text
	}
	t.shots = int(n)
	t.shotText, t.shotTarget, t.shotChoice, t.shotPrefix = t.text, t.target, t.choice, t.prefix
	t.shotTargetDelimiter = t.targetDelimiter
	splitName := l.text(m, "fewshot_split", "")
	runs := true
	if tag, ok := m.vals["fewshot_config"].(config.Tagged); ok {
		l.unsupported(m.at("fewshot_config"), tag, "a Python function is not supported here")
		return t.shots == 0
	}
	c, _ := m.vals["fewshot_config"].(map[string]any)
	if m.vals["fewshot_config"] != nil && c == nil {
		l.fail(m.at("fewshot_config"), nil, "not a mapping", "a mapping with sampler, split or samples")
	}
	sub := &merged{pos: m.at("fewshot_config"), vals: c, keys: map[string]config.Pos{}}
	for _, k := range slices.Sorted(maps.Keys(c)) {
		if c[k] == nil {
			continue
		}
		switch k {
		case "sampler":
			switch c[k] {
			case "default":
			case "first_n":
				t.firstN = true
			default:
				l.unsupported(sub.at(k), c[k], "this sampler is not supported")
				runs = false
			}
		case "split":
			splitName = l.text(sub, k, "")
		case "samples":
			list, ok := c[k].([]any)
			if !ok {
				l.unsupported(sub.at(k), c[k], "examples that Python code makes are not supported")
				runs = false
			}
			t.samples = list
		case "doc_to_text":
			t.shotText = l.field(sub, k, &runs)
		case "doc_to_target":
			t.shotTarget = l.field(sub, k, &runs)
		case "doc_to_choice":
			t.shotChoice = l.field(sub, k, &runs)
		case "gen_prefix":
			t.shotPrefix = l.field(sub, k, &runs)
		case "target_delimiter":
			t.shotTargetDelimiter = l.text(sub, k, " ")
		case "fewshot_delimiter":
			t.shotDelimiter = l.text(sub, k, "\n\n")
		default:
			l.unsupported(sub.at(k), c[k], "this setting of few-shot examples is not supported")
			runs = false
		}
	}
	if t.shots == 0 {
		return true // whatever the examples would be, there are none
	}
	// The harness compares the two names, and takes two that are both not set for the same.
	t.excludeSelf = splitName == l.text(m, "test_split", "")
	if splitName != "" || t.samples == nil {
		t.samples = nil
		if splitName == "" {
			for _, k := range []string{"training_split", "validation_split", "test_split"} {
				if splitName = l.text(m, k, ""); splitName != "" {
					break
				}
			}
		}
		var ok bool
		t.pool, ok = l.split(m, splitName)
		runs = runs && ok
	}
	return runs
}

// hashable is what of a file decides what its tasks ask.
func (l *Loaded) hashable() []byte {
	b, err := json.Marshal(l.content)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return b
}
