package config

import (
	"encoding/csv"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Refers says whether a reference, as a test or a provider has one, names something: its label, its id,
// the beginning of either before a *, or either up to a colon.
func Refers(ref string, names ...string) bool {
	group := ref + ":"
	prefix, open := strings.CutSuffix(ref, "*")
	return slices.ContainsFunc(names, func(name string) bool {
		return name != "" && (name == ref || strings.HasPrefix(name, group) || open && strings.HasPrefix(name, prefix))
	})
}

// RefersAny says whether one of the references names something; nil references name everything.
func RefersAny(refs []string, names ...string) bool {
	return refs == nil || slices.ContainsFunc(refs, func(ref string) bool { return Refers(ref, names...) })
}

// Names are what a reference may call the prompt. A file with several prompts has one label, to which
// numbers are added; a prompt without a label is called by its text, as in promptfoo.
func (p *Prompt) Names() []string {
	names := []string{p.Label, p.ID}
	for _, mark := range []string{"#", " ("} {
		if base, _, numbered := strings.Cut(p.Label, mark); numbered {
			names = append(names, base)
		}
	}
	return append(names, strings.TrimSpace(p.Text))
}

// Names are what a reference may call the provider.
func (p *Provider) Names() []string { return []string{p.Label, p.ID} }

// Takes says whether the provider is asked the prompt.
func (p *Provider) Takes(prompt *Prompt) bool { return RefersAny(p.Prompts, prompt.Names()...) }

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// wireRefs is a list of references, or one alone.
type wireRefs []string

func (v *wireRefs) decodeNode(d *decoder, n ast.Node, p Pos) {
	if s, _, _, ok := d.text(n, d.pos(n, p)); ok {
		*v = wireRefs{s}
		return
	}
	var list wireStrings
	list.decodeNode(d, n, p)
	*v = wireRefs(list)
	if _, null := d.resolve(n).(*ast.NullNode); !null && len(list) == 0 {
		d.fail(d.pos(n, p), "", "an empty list would keep the test from everything", "at least one name")
	}
}

// asks reads what a test says of whom and what it asks, and how often.
func (l *loader) asks(w *wireTest, t *Test) {
	t.Providers, t.Prompts = w.Providers, w.Prompts
	if w.Provider.Any != nil {
		t.Own = l.ownProvider(w.Provider)
	}
	o := w.Options
	if o == nil {
		return
	}
	t.StoreAs, t.Forgets = o.StoreOutputAs, o.DisableConversationVar
	t.TransformVars, t.TransformVarsPos = o.TransformVars.Text, o.TransformVars.Pos
	if o.Repeat != nil {
		t.Repeat = *o.Repeat
		if t.Repeat < 1 || t.Repeat > maxRepeat {
			l.errs = append(l.errs, &Error{Pos: o.Pos.At("repeat"), Value: fmt.Sprint(t.Repeat), Problem: "out of range", Want: fmt.Sprintf("a whole number from 1 to %d", maxRepeat)})
		}
	}
	if t.StoreAs != "" && !variableName.MatchString(t.StoreAs) {
		l.errs = append(l.errs, &Error{Pos: o.Pos.At("storeOutputAs"), Value: t.StoreAs, Problem: "not the name of a variable", Want: "letters, digits and _"})
	}
}

// ownProvider reads the provider of a single test: an id, a mapping, or a reference to a file of one.
func (l *loader) ownProvider(w wireAny) *Provider {
	ref := l.judge(w)
	p, ok, err := ProviderOf(ref, "text", w.Pos)
	if err != nil {
		var errs Errors
		errs.Append(w.Pos, err)
		l.errs = append(l.errs, errs...)
	}
	if !ok {
		return nil
	}
	return &p
}

// varies returns the test with those lists of texts of the defaults that make a case for each item.
func (t Test) varies(def *Test) Test {
	if t.keepLists == nil {
		t.keepLists = def.keepLists
	}
	if t.keepsLists() {
		return t
	}
	lists := map[string]any{}
	for k, v := range def.Vars {
		if _, own := t.Vars[k]; !own && expands(v) {
			lists[k] = v
		}
	}
	if len(lists) > 0 {
		t.Vars = mergeMaps(lists, t.Vars)
	}
	return t
}

func (t *Test) keepsLists() bool { return t.keepLists != nil && *t.keepLists }

// expands says whether a variable stands for several cases: only a list of texts does, as in promptfoo.
func expands(v any) bool {
	items, ok := v.([]any)
	if !ok || len(items) == 0 {
		return false
	}
	_, texts := items[0].(string)
	return texts
}

// Variants returns the cases that the lists in the defaults make of a row of a dataset; nil when there
// are no such lists. The row's own lists stay as they are.
func (t *Test) Variants() func(Test) ([]Test, error) {
	if t.keepsLists() || !slices.ContainsFunc(mapValues(t.Vars), expands) {
		return nil
	}
	def := t
	return func(row Test) ([]Test, error) {
		only := row
		only.Vars = map[string]any{}
		for k := range row.Vars {
			only.Vars[k] = nil
		}
		only = only.varies(def)
		l := &loader{inline: true}
		out := l.expand(only)
		for i := range out {
			out[i].Vars = mergeMaps(out[i].Vars, row.Vars)
		}
		return out, l.errs.Err()
	}
}

func mapValues(m map[string]any) []any {
	out := make([]any, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// csvPrompts reads prompts from a CSV file as promptfoo does: a column prompt and perhaps one label, or,
// without a comma in the file, one prompt a line.
func csvPrompts(text string) (prompts, labels []string) {
	if rows, ok := promptColumns(text); ok {
		for _, row := range rows {
			prompts, labels = append(prompts, row[0]), append(labels, row[1])
		}
		return prompts, labels
	}
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		header := i == 0 && strings.EqualFold(strings.TrimSpace(line), "prompt")
		if !header && strings.TrimSpace(line) != "" {
			prompts, labels = append(prompts, line), append(labels, "")
		}
	}
	return prompts, labels
}

// promptColumns reads rows of prompt and label; ok is false for a text that is no such table.
func promptColumns(text string) (rows [][2]string, ok bool) {
	if !strings.Contains(text, ",") {
		return nil, false
	}
	r := csv.NewReader(strings.NewReader(text))
	r.LazyQuotes, r.TrimLeadingSpace = true, true
	all, err := r.ReadAll()
	if err != nil || len(all) == 0 {
		return nil, false
	}
	column := map[string]int{}
	for i, name := range all[0] {
		column[strings.TrimSpace(name)] = i
	}
	at, has := column["prompt"]
	if !has {
		return nil, true
	}
	for _, row := range all[1:] {
		out := [2]string{strings.TrimSpace(row[at])}
		if i, has := column["label"]; has {
			out[1] = strings.TrimSpace(row[i])
		}
		if out[0] != "" {
			rows = append(rows, out)
		}
	}
	return rows, true
}
