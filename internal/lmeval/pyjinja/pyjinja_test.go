package pyjinja

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// plainJSON turns decoded JSON into what templates take.
func plainJSON(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = plainJSON(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainJSON(v[k])
		}
	}
	return v
}

// The vectors are what Jinja2 3.1.6 renders through lm_eval.utils.apply_template of lm-eval 0.4.13.
func TestAsJinja2Renders(t *testing.T) {
	data, err := os.ReadFile("testdata/jinja.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vars    map[string]any
		Vectors []struct{ Template, Want string }
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	vars := plainJSON(file.Vars).(map[string]any)
	if len(file.Vectors) < 45 {
		t.Fatalf("%d vectors", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		tm, err := Parse(v.Template)
		if err != nil {
			t.Errorf("%s\n  %v", v.Template, err)
			continue
		}
		got, err := tm.Render(vars)
		if err != nil || got != v.Want {
			t.Errorf("%s\n  got  %q %v\n  want %q", v.Template, got, err, v.Want)
		}
	}
}

func TestMistakes(t *testing.T) {
	vars := map[string]any{"d": map[string]any{"a": int64(1), "b": int64(2)}, "l": []any{"x"}, "s": "str"}
	f := func(source, want string) {
		t.Helper()
		tm, err := Parse(source)
		if err == nil {
			_, err = tm.Render(vars)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", source, err, want)
		}
	}
	f("{{ nope }}", "'nope' is undefined")
	f("{{ s.nope }}", "'nope' of a string is undefined")
	f("{{ d.nope.x }}", "'nope' of a mapping is undefined")
	f("{{ l[3] }}", "item 3 of a list of 1 is undefined")
	f("a\nb {{ l.index('y') }}", "template line 2: index: 'y' is not in the list")
	f("{{ d }}", "order of a mapping")
	f("{{ d.values()|list }}", "order of a mapping")
	f("{% for k in d %}{% endfor %}", "order of a mapping")
	f("{{ s", "a tag without }}")
	f("{{ 'a }}", "without its closing quote")
	f("{% if s %}", "want endif")
	f("{% endif %}", "endif")
	f("{% for x in l %}{% endif %}", "want endfor")
	f("{% macro m() %}{% endmacro %}", "{% macro %} is not supported")
	f("{% include 'x' %}", "{% include %} is not supported")
	f("{{ s|nope }}", "the filter nope is not supported")
	f("{{ s is nope }}", "the test nope is not supported")
	f("{{ s + 1 }}", "+ cannot be used with a string and a whole number")
	f("{{ 1 / 0 }}", "division by zero")
	f("{{ 9223372036854775807 + 1 }}", "too large")
	f("{{ 'x' * 99999999 }}", "more than")
	f("{{ range(10000000) }}", "more than 100000")
	f("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", "too many steps")
	f("{{ "+strings.Repeat("(", 500)+"1"+strings.Repeat(")", 500)+" }}", "nested more than")
	f(strings.Repeat("{% if s %}", 500), "nested more than")
	f("{{ @ }}", "unexpected character")
	f("{# x", "a comment without #}")
	f("{% raw %} x", "raw without endraw")
	f("{{ s() }}", "a string cannot be called")
	f("{{ {1: 2} }}", "only strings can be keys")
	f("{{ s.replace('t') }}", "replace: want two arguments")
	f("{{ s.split(1) }}", "split: argument 1 is a whole number")
	f("{{ (1 if none) + 1 }}", "+ cannot be used")
}

func TestLiteral(t *testing.T) {
	f := func(source, want string) {
		t.Helper()
		v, err := Literal(source)
		got := "error"
		if err == nil {
			got, err = repr(v)
		}
		if got != want {
			t.Errorf("%s: %s %v, want %s", source, got, err, want)
		}
	}
	f(`["a", 'b\'s', "c\n"]`, `['a', "b's", 'c\n']`)
	f(` [1, -2.5, True, None]`, `[1, -2.5, True, None]`)
	f(`("a",)`, `('a',)`)
	f(`"a" 'b'`, `'ab'`)
	f(`3`, `3`)
	f(`{'a': [1]}`, `{'a': [1]}`)
	f(`[a]`, `error`)
	f(`[1, 2`, `error`)
	f("['a\nb']", `error`)
	f(`it's`, `error`)
	f(`[not 1]`, `error`)
	f(`1 + 1`, `error`)
	f(``, `error`)
}

func FuzzRender(f *testing.F) {
	for _, s := range []string{"a {{ b.c[1:]|join(', ') }}", "{% for x in y %}{{ loop.index }}{% else %}z{% endfor %}", "{%- if a is not none and b in c -%}{%+ endif %}", "{{ 'x' ~ -1 ** 2 if a else {'b': [1, 2.5]} }}", "{% set x = 1 %}{% raw %}{{{% endraw %}", "{{{}}}"} {
		f.Add(s)
	}
	vars := map[string]any{"a": "x", "b": map[string]any{"c": []any{"p", int64(2)}}, "y": []any{1.5, nil, true}, "c": []any{}}
	f.Fuzz(func(t *testing.T, s string) {
		tm, err := Parse(s)
		if err != nil {
			return
		}
		if out, err := tm.Render(vars); err == nil {
			_, _ = Literal(out)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	tm, err := Parse("Question: {{question.strip()}}\n{% for c in choices %}{{ 'ABCD'[loop.index0] }}. {{ c }}\n{% endfor %}Answer:")
	if err != nil {
		b.Fatal(err)
	}
	vars := map[string]any{"question": " What is the capital of France? ", "choices": []any{"Paris", "Rome", "Berlin", "Madrid"}}
	for b.Loop() {
		if _, err := tm.Render(vars); err != nil {
			b.Fatal(err)
		}
	}
}
