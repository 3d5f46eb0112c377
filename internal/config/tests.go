package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// tests reads the key tests: a path, a mapping with path, one case, or a list of any of these.
// Consecutive inline cases become one source.
func (l *loader) tests(d *decoder, n ast.Node, p Pos) []Tests {
	items := d.listed(n, p)
	if len(items) == 0 {
		l.errs = append(l.errs, &Error{Pos: p, Problem: "the list is empty", Want: "at least one case"})
	}
	var out []Tests
	for _, it := range items {
		item, at := it.node, it.pos
		if s, _, _, ok := d.text(item, at); ok {
			out = append(out, l.testFile(&wireTestFile{Path: s}, at))
			continue
		}
		if d.has(item, "path") {
			var w wireTestFile
			d.into(item, at, reflect.ValueOf(&w).Elem())
			out = append(out, l.testFile(&w, at))
			continue
		}
		var w wireTest
		d.into(item, at, reflect.ValueOf(&w).Elem())
		t, ok := l.test(&w)
		if !ok {
			continue
		}
		cases := l.expand(t.varies(&l.def))
		if k := len(out) - 1; k >= 0 && out[k].Inline != nil {
			out[k].Inline = append(out[k].Inline, cases...)
			continue
		}
		out = append(out, Tests{Pos: at, Inline: cases})
	}
	return out
}

// has says whether a node is a mapping with the key.
func (d *decoder) has(n ast.Node, key string) bool {
	var values []*ast.MappingValueNode
	switch m := d.resolve(n).(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	}
	for _, v := range values {
		if v.Key.GetToken().Value == key {
			return true
		}
	}
	return false
}

func (l *loader) testFile(w *wireTestFile, p Pos) Tests {
	t := Tests{
		Pos: p, Path: strings.TrimPrefix(w.Path, "file://"), Format: w.Format, SHA256: w.SHA256, Split: w.Split,
		Tags: w.Filter.Tags, ID: w.IDField, Group: w.Group, TagField: w.Tags,
	}
	switch w.Format {
	case "", "auto", "yaml", "json", "jsonl", "csv", "tsv", "parquet", "arrow", "hf", "ifeval", "gsm8k":
	default:
		l.errs = append(l.errs, &Error{Pos: p.At("format"), Value: w.Format, Problem: "not a dataset format", Want: "auto, yaml, json, jsonl, csv, tsv, parquet, arrow, hf, ifeval or gsm8k"})
	}
	if w.Sample != nil {
		t.Sample = *w.Sample
		if t.Sample < 1 {
			l.errs = append(l.errs, &Error{Pos: p.At("sample"), Value: fmt.Sprint(t.Sample), Problem: "too small", Want: "a number of cases from 1"})
		}
	}
	if strings.TrimSpace(t.Path) == "" {
		l.errs = append(l.errs, &Error{Pos: p.At("path"), Problem: "an empty path", Want: "a file, a glob, or - for standard input"})
		return t
	}
	if isProgram(t.Path) {
		l.params.unsupported = append(l.params.unsupported, &Error{Pos: p, Value: w.Path, Problem: "tests computed by code are not supported"})
	}
	t.Path = l.commandLine(t.Path)
	return t
}

func (l *loader) defaultTest(d *decoder, w *wireDefault) *wireTest {
	var t wireTest
	if s, _, _, ok := d.text(w.node, w.pos); ok {
		path, isFile := strings.CutPrefix(s, "file://")
		if !isFile {
			d.fail(w.pos, s, "not a test", "a mapping, or a file:// reference to one")
			return &t
		}
		sub, node, ok := l.yamlFile(path, w.pos)
		if ok {
			sub.into(node, sub.pos(node, Pos{}), reflect.ValueOf(&t).Elem())
			l.errs = append(l.errs, sub.errs...)
		}
		return &t
	}
	d.into(w.node, w.pos, reflect.ValueOf(&t).Elem())
	return &t
}

// test turns a written test into a Test, reading the files it refers to. ok is false when the test
// needs something that telltale cannot do: it is then left out, for without it another thing would be judged.
func (l *loader) test(w *wireTest) (t Test, ok bool) {
	ok = true
	t = Test{
		Pos: w.Pos, ID: w.ID, Description: w.Description, Threshold: w.Threshold, Metadata: w.Metadata,
		Tags: w.Tags, Group: w.Group, Critical: w.Critical, Vars: l.vars(w.Vars), Output: l.givenOutput(w.Output),
	}
	if l.inline {
		t.Templates = templates(t.Vars)
	}
	if o := w.Options; o != nil {
		t.Prefix, t.Suffix, t.NoDefaults = o.Prefix, o.Suffix, o.DisableDefaultAsserts
		t.keepLists = o.DisableVarExpansion
		if o.Transform.Text == "" {
			o.Transform = o.Postprocess
		}
		ok = l.transform(o.Transform)
		t.Transform, t.TransformPos = o.Transform.Text, o.Transform.Pos
		t.Provider, t.RubricPrompt = l.judge(o.Provider), l.rubric(o.RubricPrompt)
		ok = l.canRun(l.opts.TransformVars, o.TransformVars) && ok
	}
	l.asks(w, &t)
	if w.Threshold != nil && (*w.Threshold < 0 || *w.Threshold > 1) {
		l.errs = append(l.errs, &Error{Pos: w.Pos.At("threshold"), Value: fmt.Sprint(*w.Threshold), Problem: "out of range", Want: "a score from 0 to 1"})
	}
	t.Assert = l.assertions(w.Assert)
	for i := range w.Turns {
		turn := &w.Turns[i]
		if strings.TrimSpace(turn.User) == "" {
			l.errs = append(l.errs, &Error{Pos: turn.Pos.At("user"), Problem: "a turn without words of the user", Want: "a template"})
		}
		t.Turns = append(t.Turns, Turn{Pos: turn.Pos, User: turn.User, Assert: l.assertions(turn.Assert)})
	}
	return t, ok
}

// templates lists the variables whose text is a template over other variables.
func templates(vars map[string]any) []string {
	var out []string
	for name, v := range vars {
		if s, ok := v.(string); ok && strings.Contains(s, "{{") {
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out
}

// givenOutput reads an answer that the test itself gives; anything but text becomes JSON.
func (l *loader) givenOutput(w wireAny) *string {
	switch v := w.Any.(type) {
	case nil:
		return nil
	case string:
		return &v
	default:
		b, err := json.Marshal(v)
		if err != nil {
			l.errs = append(l.errs, &Error{Pos: w.Pos, Err: err})
		}
		s := string(b)
		return &s
	}
}

// transform says whether a transform can be run, and lists it when it cannot.
func (l *loader) transform(w atText) bool { return l.canRun(l.opts.Transform, w) }

func (l *loader) canRun(problem func(source string) string, w atText) bool {
	if w.Text == "" || problem == nil {
		return true
	}
	why := problem(w.Text)
	if why != "" {
		l.params.unsupported = append(l.params.unsupported, &Error{Pos: w.Pos, Value: w.Text, Problem: why})
	}
	return why == ""
}

// judge reads what names a judge: an id, a mapping, or a reference to one.
func (l *loader) judge(w wireAny) any {
	if ref, ok := w.Any.(string); ok && strings.HasPrefix(ref, "file://") {
		return l.fileValue(ref, w.Pos, false)
	}
	switch v := w.Any.(type) {
	case nil, string:
	case map[string]any:
		l.judgePaths(v)
	default:
		l.errs = append(l.errs, &Error{Pos: w.Pos, Value: fmt.Sprint(w.Any), Problem: "not a provider", Want: "an id, or a mapping with id and config"})
	}
	if w.Any != nil && l.opts.Judge != nil {
		if why := l.opts.Judge(w.Any); why != "" {
			l.errs = append(l.errs, &Error{Pos: w.Pos, Problem: why})
		}
	}
	return w.Any
}

// judgePaths does for the judges in a mapping what is done for the path of a provider.
func (l *loader) judgePaths(m map[string]any) {
	for key, v := range m {
		inner, ok := v.(map[string]any)
		if !ok {
			continue
		}
		if path, ok := inner["path"].(string); ok && key == "config" {
			inner["path"] = l.commandLine(path)
			continue
		}
		l.judgePaths(inner)
	}
}

// rubric reads a judge's prompt: a text, or a list of messages or texts, or a reference to one.
func (l *loader) rubric(w wireAny) any {
	if ref, ok := w.Any.(string); ok && strings.HasPrefix(ref, "file://") {
		return l.fileValue(ref, w.Pos, false)
	}
	return w.Any
}

func (l *loader) assertions(ws []wireAssertion) []Assertion {
	var out []Assertion
	for i := range ws {
		if a, ok := l.assertion(&ws[i]); ok {
			out = append(out, a)
		}
	}
	return out
}

func (l *loader) assertion(w *wireAssertion) (Assertion, bool) {
	name, not := strings.CutPrefix(w.Type.Name, "not-")
	a := Assertion{
		Pos: w.Pos, Type: name, Not: not, Value: w.Value.Any, ValuePos: w.Value.Pos,
		Threshold: w.Threshold, Weight: w.Weight, Metric: w.Metric, Config: w.Config,
		Provider: l.judge(w.Provider), ProviderPos: w.Provider.Pos, RubricPrompt: l.rubric(w.RubricPrompt),
		Transform: w.Transform.Text, TransformPos: w.Transform.Pos,
		ContextTransform: w.ContextTransform.Text, ContextTransformPos: w.ContextTransform.Pos,
	}
	if a.Config.Pos.File == "" {
		a.Config.Pos = w.Pos.At("config")
	}
	if w.Value.Pos.File == "" {
		a.ValuePos = w.Pos.At("value")
	}
	if w.Type.Pos.File == "" || name == "" {
		l.errs = append(l.errs, &Error{Pos: w.Pos, Problem: "an assertion without a type", Want: "type: such as contains, equals or is-json"})
		return a, false
	}
	if w.Weight != nil && *w.Weight < 0 {
		l.errs = append(l.errs, &Error{Pos: w.Pos.At("weight"), Value: fmt.Sprint(*w.Weight), Problem: "below 0", Want: "a weight from 0"})
	}
	known := Known{OK: true}
	if l.opts.Assertion != nil {
		known = l.opts.Assertion(name)
	}
	switch {
	case known.Unsupported != "":
		l.params.unsupported = append(l.params.unsupported, &Error{Pos: w.Type.Pos, Value: w.Type.Name, Problem: known.Unsupported})
		return a, false
	case !known.OK:
		l.errs = append(l.errs, &Error{Pos: w.Type.Pos, Value: w.Type.Name, Problem: "unknown kind of assertion", Hint: known.Hint})
		return a, false
	}
	if !l.setParts(w, &a) || !l.transform(w.Transform) || !l.transform(w.ContextTransform) {
		return a, false
	}
	before := len(l.params.unsupported)
	switch v := a.Value.(type) {
	case string:
		if strings.HasPrefix(v, "file://") && !strings.Contains(v, "{{") && !known.Code {
			a.Value = l.fileValue(v, a.ValuePos, known.Lines)
		}
	case []any:
		a.Value = l.fileItems(v, a.ValuePos)
	}
	return a, len(l.params.unsupported) == before
}

// setParts reads the parts of an assert-set. One of which no part is left is left out itself.
func (l *loader) setParts(w *wireAssertion, a *Assertion) bool {
	set := a.Type == assertSet || a.Type == calibration
	switch {
	case !set && w.Assert.pos.File != "":
		l.errs = append(l.errs, &Error{Pos: w.Assert.pos, Problem: "only an assert-set and a calibration have parts", Want: "type: assert-set"})
	case set && len(w.Assert.list) == 0:
		l.errs = append(l.errs, &Error{Pos: w.Pos, Problem: a.Type + " without parts", Want: "assert: with at least one assertion"})
	case set:
		a.Assert = l.assertions(w.Assert.list)
		return len(a.Assert) > 0
	}
	return true
}

// assertSet is the type of an assertion that is made of others.
const assertSet = "assert-set"

// calibration is the type of one that also holds a confidence against their outcome.
const calibration = "calibration"

// fileItems reads the items of a list that refer to files.
func (l *loader) fileItems(list []any, p Pos) []any {
	out := slices.Clone(list)
	for i, item := range list {
		if ref, ok := item.(string); ok && strings.HasPrefix(ref, "file://") && !strings.Contains(ref, "{{") {
			out[i] = l.fileValue(ref, p.At(index(i)), false)
		}
	}
	return out
}

// expand makes one case per combination of the variables that hold lists, as promptfoo does.
func (l *loader) expand(t Test) []Test {
	var lists []string
	for k, v := range t.Vars {
		if !t.keepsLists() && expands(v) {
			lists = append(lists, k)
		}
	}
	if len(lists) == 0 {
		return []Test{t}
	}
	sort.Strings(lists)
	out := []Test{t}
	for _, k := range lists {
		items := t.Vars[k].([]any)
		if len(out)*len(items) > 100_000 {
			l.errs = append(l.errs, &Error{Pos: t.Pos.At("vars"), Problem: "the lists make more than 100000 cases", Hint: "options: {disableVarExpansion: true} keeps a list as one value"})
			return out[:1]
		}
		var next []Test
		for _, base := range out {
			for i, item := range items {
				c := base
				c.Vars = mergeMaps(base.Vars, map[string]any{k: item})
				if text, ok := item.(string); ok && l.inline && strings.Contains(text, "{{") {
					c.Templates = append(slices.Clone(base.Templates), k)
				}
				if t.ID != "" {
					c.ID = fmt.Sprintf("%s/%s=%d", base.ID, k, i)
				}
				next = append(next, c)
			}
		}
		out = next
	}
	return out
}

// DecodeTests reads a YAML file of cases: a list, or a mapping with the key tests.
func DecodeTests(file string, data []byte, opts Options) ([]Test, Errors, error) {
	l := &loader{opts: opts, dir: filepath.Dir(file), params: &params{off: true}}
	d := l.decoder(file)
	node, ok := d.parseYAML(data)
	if !ok {
		return nil, nil, d.errs.Err()
	}
	p := Pos{File: file}
	if fs, isMap := d.fields(node, p); isMap {
		for _, f := range fs {
			if f.key == "tests" {
				node, p = f.value, f.pos
			}
		}
	}
	list, isList := d.resolve(node).(*ast.SequenceNode)
	if !isList {
		d.fail(d.pos(node, p), d.show(node), "not a list of cases", "a list of mappings with vars and assert")
		return nil, nil, d.errs.Err()
	}
	var out []Test
	for i, item := range list.Values {
		at := d.pos(item, p.At(index(i)))
		var w wireTest
		d.into(item, at, reflect.ValueOf(&w).Elem())
		if t, ok := l.test(&w); ok {
			if opts.Default != nil {
				t = t.varies(opts.Default)
			}
			out = append(out, l.expand(t)...)
		}
	}
	return out, l.params.unsupported, append(d.errs, l.errs...).Err()
}

// DecodeTest reads one case in the shape that suites have, as it was found in a JSON or JSONL dataset.
// Places inside it are those of the row; a variable that holds a list is one value.
func DecodeTest(p Pos, row map[string]any, opts Options) (Test, Errors, error) {
	if t, ok := plainTest(p, row); ok {
		return t, nil, nil
	}
	return anyTest(p, row, opts)
}

// anyTest reads a row as the YAML of a suite is read.
func anyTest(p Pos, row map[string]any, opts Options) (Test, Errors, error) {
	data, err := json.Marshal(row)
	if err != nil {
		return Test{}, nil, &Error{Pos: p, Err: err}
	}
	l := &loader{opts: opts, dir: filepath.Dir(p.File), params: &params{off: true}}
	d := l.decoder(p.File)
	d.line = p.Line
	node, ok := d.parseYAML(data)
	if !ok {
		return Test{}, nil, d.errs.Err()
	}
	var w wireTest
	d.into(node, p, reflect.ValueOf(&w).Elem())
	t, _ := l.test(&w)
	return t, l.params.unsupported, append(d.errs, l.errs...).Err()
}

// plainTest reads the usual row, names and variables that stand for themselves, at a tenth of what reading it as
// YAML costs. ok is false for every other row, mistakes included.
func plainTest(p Pos, row map[string]any) (t Test, ok bool) {
	p.Column = 0
	t.Pos = p
	for key, v := range row {
		text, isText := v.(string)
		switch key {
		case "vars":
			if t.Vars, ok = v.(map[string]any); !ok {
				return t, false
			}
			for _, e := range t.Vars {
				if !plainValue(e) {
					return t, false
				}
			}
			continue
		case "id":
			t.ID = text
		case "description":
			t.Description = text
		case "group":
			t.Group = text
		default:
			return t, false
		}
		if !isText || !plainValue(text) {
			return t, false
		}
	}
	return t, true
}

// plainValue says that v is a single value with nothing to fill in and no file to read.
func plainValue(v any) bool {
	switch v := v.(type) {
	case string:
		return !strings.HasPrefix(v, "file://")
	case nil, bool, int64, uint64, float64:
		return true
	}
	return false
}

// plainPathError drops the operation and the path, which the message names already.
func plainPathError(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
