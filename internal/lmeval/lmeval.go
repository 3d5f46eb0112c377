// Package lmeval reads task files of EleutherAI's lm-evaluation-harness and makes suites of them: the
// prompt of each document with its few-shot examples, the choices, the reference answers, and what
// is to be computed from the answers.
//
// It does what the harness of version 0.4.13 does with the same file, to the letter: templates are
// rendered as Jinja2 renders them, few-shot examples are drawn with the harness's own seed and
// generator, delimiters stand where it puts them. What needs Python or the Hugging Face Hub is
// reported with file and key, never replaced by something similar. The package opens no files and
// runs nothing; datasets are read, and answers judged, by others.
package lmeval

import (
	"fmt"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/lmeval/pyjinja"
)

// The variables that a case has besides its document's own fields.
const (
	PromptVar = "lmeval_prompt" // the whole context, few-shot examples included
	TargetVar = "lmeval_target" // the reference answer, or a list of them
	ChoiceVar = "choices"       // the texts of a multiple choice
	GoldVar   = "gold"          // the index of the right one, or a list; -1 is none of them
)

// Kind is the assertion that computes the harness's metrics.
const Kind = "lm-eval"

// Options is what reading a task needs from outside.
type Options struct {
	// Read reads a file; Glob expands a pattern, sorted; Exists tells whether there is such a file
	// or folder.
	Read   func(path string) ([]byte, error)
	Glob   func(pattern string) ([]string, error)
	Exists func(path string) bool
	// Files lists the YAML files in a folder and beneath it, sorted.
	Files func(dir string) ([]string, error)
	// JSONLines says whether a file holds one JSON object a line rather than a list.
	JSONLines func(path string) bool
	// Vars are the parameters of the command line: dataset_path, num_fewshot, include_path (where the
	// tasks of a group are, besides its own folder) and prefix (what stands before a text whose whole
	// likelihood is asked for).
	Vars map[string]string
	// WithoutData loads a task all the same whose dataset is not on this machine, to describe it.
	WithoutData bool
}

// Task is one task, ready to be filled with documents.
type Task struct {
	Name    string
	Pos     config.Pos
	Output  string // generate_until, multiple_choice, loglikelihood or loglikelihood_rolling
	Metrics []Metric
	// Answers is how many answers the model gives to each document.
	Answers int
	// Generation is what the model is asked to do: temperature, max_tokens, stop and whatever else
	// generation_kwargs has.
	Generation map[string]any

	eval, pool split
	samples    []any // few-shot examples given in the file itself
	shots      int
	firstN     bool
	// excludeSelf says that a document is never its own example.
	excludeSelf bool

	// start is the text before one whose whole likelihood is asked for.
	start string

	text, target, choice, prefix, description field
	shotText, shotTarget, shotChoice          field
	shotPrefix                                field
	targetDelimiter, shotDelimiter            string
	shotTargetDelimiter                       string
	fewshot                                   *fewshot
}

// Metric is one number that is computed: a metric behind a filter pipeline.
type Metric struct {
	Pos    config.Pos
	Name   string // as the harness calls it
	Filter string // the pipeline's name; none is the default one
	config map[string]any
	// groups are the metrics of groups that its documents enter, derived those that it enters as a whole.
	groups  []string
	derived []share
}

// title is the metric's name with that of its filter.
func (m Metric) title() string {
	if m.Filter == "none" {
		return m.Name
	}
	return m.Name + "." + m.Filter
}

// Loaded is what a file holds: its tasks and what of it cannot be run.
type Loaded struct {
	Path  string
	Group string // the name of a group of tasks, empty for a single task
	Tasks []*Task
	// Unsupported lists what the harness could do and telltale cannot, with file, line and key.
	Unsupported config.Errors
	// Ignored lists what makes no difference, for a warning.
	Ignored config.Errors
	groups  []*group
	content []string
}

// Recognises says whether a YAML file is a task or a group of the harness rather than a suite.
func Recognises(path string, data []byte) bool {
	if !strings.Contains(string(data), "task") && !strings.Contains(string(data), "include") {
		return false
	}
	// A task with mistakes, such as a repeated key, is one all the same: Load reports them.
	o, _ := config.ParseObject(path, data)
	for _, k := range []string{"prompts", "providers", "targets", "tests", "defaultTest", "scenarios"} {
		if o.Map[k] != nil {
			return false
		}
	}
	has := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return o.Map[k] != nil })
	}
	return has("include") && has("dataset_path", "dataset_name", "dataset_kwargs", "doc_to_text", "doc_to_target", "num_fewshot", "metric_list", "generation_kwargs") ||
		has("task") && has("output_type", "doc_to_text", "dataset_path", "include", "group", "test_split", "validation_split", "class")
}

// field is a part of a document: one of its fields, a template, or a value that is always the same.
type field struct {
	pos      config.Pos
	set      bool
	source   string
	template *pyjinja.Template // nil when value is set
	value    any               // an int64 or a list of the file itself
}

func newField(pos config.Pos, v any) (field, error) {
	f := field{pos: pos, set: true}
	switch v := v.(type) {
	case nil:
		return field{pos: pos}, nil
	case string:
		f.source = v
		t, err := pyjinja.Parse(v)
		if err != nil {
			return f, &config.Error{Pos: pos, Value: config.Clip(v, 60), Err: err}
		}
		f.template = t
	case int64, []any:
		f.value = v
	default:
		return f, &config.Error{Pos: pos, Value: fmt.Sprint(v), Problem: "not a template", Want: "a template or the name of a field"}
	}
	return f, nil
}

// read returns the field of the document that f names, or the text of its template.
func (f field) read(doc map[string]any) (v any, rendered bool, err error) {
	if f.value != nil {
		return f.value, false, nil
	}
	if v, ok := doc[f.source]; ok {
		return v, false, nil
	}
	text, err := f.template.Render(doc)
	if err != nil {
		return nil, true, &config.Error{Pos: f.pos, Value: config.Clip(f.source, 60), Err: err}
	}
	return text, true, nil
}

// textOf reads f as a text; a field that is not set is the empty one.
func (f field) textOf(doc map[string]any) (string, error) {
	if !f.set {
		return "", nil
	}
	v, _, err := f.read(doc)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", &config.Error{Pos: f.pos, Value: f.source, Problem: fmt.Sprintf("the field is %s", kindOf(v)), Want: "a text"}
	}
	return s, nil
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64, uint64:
		return "a whole number"
	case float64:
		return "a number"
	case string:
		return "a text"
	case []any, pyjinja.Tuple:
		return "a list"
	}
	return "a mapping"
}

// digits says whether a rendered text is a number to the harness, which calls Python's isdigit.
func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
