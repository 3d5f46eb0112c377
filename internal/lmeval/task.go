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
	content []string
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
	o, err := config.ParseObject(path, data)
	if err != nil {
		l.errs.Append(config.Pos{File: path}, err)
		return nil, false
	}
	l.content = append(l.content, string(data))
	m := &merged{pos: config.Pos{File: path}, file: path, vals: map[string]any{}, keys: map[string]config.Pos{}}
	if err := l.includes(m, o, depth); err != nil {
		l.errs.Append(o.At("include"), err)
		return nil, false
	}
	maps.Copy(m.vals, o.Map)
	maps.Copy(m.keys, o.Keys)
	delete(m.vals, "include")
	return m, true
}

// includes merges the files that o includes into m.
func (l *loader) includes(m *merged, o config.Object, depth int) error {
	var names []any
	switch v := o.Map["include"].(type) {
	case nil:
		return nil
	case []any:
		names = v
	default:
		names = []any{v}
	}
	at := o.At("include")
	if depth >= maxInclude {
		return config.Errorf(at, "files include one another more than %d deep", maxInclude)
	}
	for _, n := range names {
		name, ok := n.(string)
		if !ok || name == "" {
			return &config.Error{Pos: at, Value: fmt.Sprint(n), Problem: "not a path", Want: "the path of a task file"}
		}
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(o.Pos.File), path)
		}
		data, err := l.opts.Read(path)
		if err != nil {
			return &config.Error{Pos: at, Value: name, Problem: "cannot read the file", Err: err}
		}
		sub, ok := l.read(path, data, depth+1)
		if !ok {
			return nil // reported there
		}
		delete(sub.vals, "task_list")
		maps.Copy(m.vals, sub.vals)
		maps.Copy(m.keys, sub.keys)
	}
	return nil
}

// Load reads the file of a task or of a group of tasks. Its error is config.Errors.
func Load(path string, data []byte, opts Options) (*Loaded, error) {
	l := &loader{opts: opts, dir: filepath.Dir(path)}
	out := &Loaded{Path: path}
	m, ok := l.read(path, data, 0)
	if ok {
		if _, isList := m.vals["task"].([]any); isList {
			l.group(out, m)
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
	out.Unsupported, out.content = l.left, l.content
	return out, nil
}

func (l *loader) unusedVars() {
	for _, name := range slices.Sorted(maps.Keys(l.opts.Vars)) {
		if name != "dataset_path" && name != "num_fewshot" {
			l.errs = append(l.errs, &config.Error{Pos: config.Pos{Key: "--var " + name}, Problem: "a task has no such parameter", Want: "dataset_path or num_fewshot"})
		}
	}
}

// group reads the tasks of a group: mappings, or names of tasks whose files stand beside it.
func (l *loader) group(out *Loaded, m *merged) {
	out.Group = l.text(m, "group", "")
	if out.Group == "" {
		l.fail(m.at("group"), nil, "a list of tasks without a name", "group: with the name of the group")
	}
	for _, k := range slices.Sorted(maps.Keys(m.vals)) {
		switch {
		case k == "aggregate_metric_list":
			l.unsupported(m.at(k), nil, "a metric over all tasks of a group is not supported; each task has its own")
		case k != "task" && !slices.Contains(idleKeys, k):
			l.unsupported(m.at(k), nil, "a setting for all tasks of a group is not supported; write it into the tasks")
		}
	}
	for i, item := range m.vals["task"].([]any) {
		at := m.at("task").At(fmt.Sprintf("[%d]", i))
		for _, sub := range l.members(m, item, at, 0) {
			before := len(l.left)
			t := l.task(sub)
			switch {
			case t == nil && len(l.left) == before && len(l.errs) == 0:
				l.unsupported(at, nil, "the task cannot be run")
			case t == nil:
			case slices.ContainsFunc(out.Tasks, func(o *Task) bool { return o.Name == t.Name }):
				l.fail(at, t.Name, "the group has this task twice", "each task once")
			default:
				out.Tasks = append(out.Tasks, t)
			}
		}
	}
}

// members finds the tasks that an item of a group stands for: a mapping is one, a name is a task, or
// all the tasks of a group or with a tag of that name.
func (l *loader) members(m *merged, item any, at config.Pos, depth int) []*merged {
	if depth > maxInclude {
		l.errs = append(l.errs, config.Errorf(at, "groups hold one another more than %d deep", maxInclude))
		return nil
	}
	switch v := item.(type) {
	case string:
		var out []*merged
		for _, f := range l.named(m, v, at) {
			list, nested := f.vals["task"].([]any)
			if !nested {
				out = append(out, f)
				continue
			}
			for i, e := range list {
				out = append(out, l.members(f, e, f.at("task").At(fmt.Sprintf("[%d]", i)), depth+1)...)
			}
		}
		return out
	case map[string]any:
		if sub := l.inline(m, v, at); sub != nil {
			return []*merged{sub}
		}
	default:
		l.fail(at, item, "not a task", "the name of a task or a mapping")
	}
	return nil
}

// named finds the files beside m of a task, or else of a group, or else of all tasks with a tag.
func (l *loader) named(m *merged, name string, at config.Pos) []*merged {
	dir := filepath.Dir(m.file)
	var found [3][]string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		files, err := l.opts.Glob(filepath.Join(dir, pattern))
		if err != nil {
			l.errs.Append(at, err)
			return nil
		}
		for _, f := range files {
			data, err := l.opts.Read(f)
			if err != nil || f == m.file || !strings.Contains(string(data), name) {
				continue
			}
			o, err := config.ParseObject(f, data)
			if err != nil {
				continue
			}
			tags, _ := o.Map["tag"].([]any)
			switch {
			case o.Map["task"] == name:
				found[0] = append(found[0], f)
			case o.Map["group"] == name:
				found[1] = append(found[1], f)
			case o.Map["tag"] == name || slices.Contains(tags, any(name)):
				found[2] = append(found[2], f)
			}
		}
	}
	for _, files := range found {
		var out []*merged
		for _, f := range files {
			data, err := l.opts.Read(f)
			if err != nil {
				l.errs.Append(at, err)
				continue
			}
			if sub, ok := l.read(f, data, 1); ok {
				out = append(out, sub)
			}
		}
		if len(files) > 0 {
			return out
		}
	}
	l.fail(at, name, "no file in "+dir+" has a task, a group or a tag of this name", "one whose file stands beside the group's")
	return nil
}

// inline reads a task that is written into the group, or that changes one from a file.
func (l *loader) inline(m *merged, v map[string]any, at config.Pos) *merged {
	sub := &merged{pos: at, file: m.file, vals: map[string]any{}, keys: map[string]config.Pos{}}
	o := config.Object{Pos: at, Map: v, Keys: map[string]config.Pos{}}
	o.Pos.File = m.file
	if name, ok := v["task"].(string); ok && v["include"] == nil && v["dataset_path"] == nil {
		base := l.named(m, name, at.At("task"))
		if len(base) != 1 {
			return nil
		}
		maps.Copy(sub.vals, base[0].vals)
		maps.Copy(sub.keys, base[0].keys)
	} else if err := l.includes(sub, o, 1); err != nil {
		l.errs.Append(at, err)
		return nil
	}
	for k, e := range v {
		sub.vals[k], sub.keys[k] = e, at.At(k)
	}
	delete(sub.vals, "include")
	return sub
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
	case "generate_until", "multiple_choice", "loglikelihood":
	case "loglikelihood_rolling":
		l.unsupported(m.at("output_type"), t.Output, "the likelihood of whole documents is not supported as a task; the scorer perplexity measures it")
		runs = false
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
	l.required(m, t)
	if n, ok := l.whole(m, "repeats", 1); ok && n > 1 && !l.takesFirst(m) {
		l.unsupported(m.at("repeats"), n, "a result from several answers is not supported")
		runs = false
	}
	l.metrics(m, t)
	l.generation(m, t)
	runs = l.splits(m, t) && runs
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
	if !t.text.set && m.vals["doc_to_text"] == nil {
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
