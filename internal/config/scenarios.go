package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// scenarios makes the cases of promptfoo's scenarios: every entry of a scenario's config with every
// one of its tests.
func (l *loader) scenarios(d *decoder, n ast.Node, p Pos) []Tests {
	items := d.listed(n, p)
	var out []Tests
	for _, it := range items {
		item, at := it.node, it.pos
		if s, _, _, ok := d.text(item, at); ok {
			for _, file := range l.glob(strings.TrimPrefix(s, "file://"), at) {
				if sub, node, ok := l.yamlFile(file, at); ok {
					out = append(out, l.scenarios(sub, node, sub.pos(node, Pos{}))...)
					l.errs = append(l.errs, sub.errs...)
				}
			}
			continue
		}
		if t, ok := l.scenario(d, item, at); ok {
			out = append(out, t)
		}
	}
	if len(items) == 0 {
		l.errs = append(l.errs, &Error{Pos: p, Problem: "the list is empty", Want: "at least one scenario with config and tests"})
	}
	return out
}

func (l *loader) scenario(d *decoder, n ast.Node, p Pos) (Tests, bool) {
	var w wireScenario
	d.into(n, p, reflect.ValueOf(&w).Elem())
	if !w.Config.set {
		d.fail(p, "", "a scenario without config", "config: a list of cases that each of the tests is joined with")
		return Tests{}, false
	}
	before := len(l.params.unsupported)
	data := l.caseList(d, w.Config.node, w.Config.pos)
	tests := []Test{{Pos: p}}
	if w.Tests.set {
		tests = l.caseList(d, w.Tests.node, w.Tests.pos)
	}
	out := Tests{Pos: p, Inline: []Test{}}
	for i := range data {
		l.entries++
		conversation := fmt.Sprintf("scenario entry %d", l.entries)
		for _, t := range tests {
			if t.ID != "" && len(data) > 1 {
				t.ID = fmt.Sprintf("%s/%d", t.ID, i)
			}
			t = t.within(&data[i])
			t.Conversation = conversation
			if t.Description == "" {
				t.Description = w.Description
			}
			out.Inline = append(out.Inline, l.expand(t.varies(&l.def))...)
		}
	}
	if len(out.Inline) == 0 && len(l.errs) == 0 && len(d.errs) == 0 && len(l.params.unsupported) == before {
		l.errs = append(l.errs, &Error{Pos: p, Problem: "the scenario makes no case", Want: "at least one entry of config and one of tests"})
	}
	return out, len(out.Inline) > 0
}

// within joins a scenario's test with one entry of its config. Whether the suite's defaults are left
// out is another matter than the entry's own assertions, which stay.
func (t Test) within(data *Test) Test {
	none := t.NoDefaults || data.NoDefaults
	t.NoDefaults = false
	if t.ID == "" {
		t.ID = data.ID
	}
	t = t.Merge(data)
	t.NoDefaults = none
	return t
}

// caseList reads cases that are needed at once: inline, or in YAML, JSON and JSONL files.
func (l *loader) caseList(d *decoder, n ast.Node, p Pos) []Test {
	var out []Test
	for _, it := range d.listed(n, p) {
		item, at := it.node, it.pos
		if s, _, _, ok := d.text(item, at); ok {
			out = append(out, l.caseFiles(strings.TrimPrefix(s, "file://"), at)...)
			continue
		}
		var w wireTest
		d.into(item, at, reflect.ValueOf(&w).Elem())
		if t, ok := l.test(&w); ok {
			out = append(out, t)
		}
	}
	return out
}

func (l *loader) caseFiles(path string, p Pos) []Test {
	if isProgram(path) {
		l.params.unsupported = append(l.params.unsupported, &Error{Pos: p, Value: path, Problem: "tests computed by code are not supported"})
		return nil
	}
	var out []Test
	for _, file := range l.glob(path, p) {
		switch strings.ToLower(filepath.Ext(file)) {
		case ".yaml", ".yml", ".json":
			sub, node, ok := l.yamlFile(file, p)
			if !ok {
				continue
			}
			out = append(out, l.caseList(sub, node, sub.pos(node, Pos{}))...)
			l.errs = append(l.errs, sub.errs...)
		default:
			l.errs = append(l.errs, &Error{Pos: p, Value: file, Problem: "cases for a scenario cannot be read from this file", Want: "a YAML or JSON file; other files may stand under tests"})
		}
	}
	return out
}
