package template

import (
	"errors"
	"strings"
	"testing"
)

func TestRender(t *testing.T) {
	vars := map[string]any{
		"name": "Ada", "n": int64(3), "x": 1.5, "list": []any{"a", "b"}, "code": "{{ not_a_template }}",
		"user": map[string]any{"city": "Paris"}, "shots": []any{map[string]any{"q": "1+1", "a": "2"}}, "yes": true,
	}
	f := func(in, want string) {
		t.Helper()
		tpl, err := Parse(in)
		if err != nil {
			t.Errorf("Parse(%q): %v", in, err)
			return
		}
		got, err := tpl.Render(vars)
		if err != nil || got != want {
			t.Errorf("%q = %q, %v; want %q", in, got, err, want)
		}
	}
	f("plain", "plain")
	f("Hello {{name}}!\n", "Hello Ada!\n")
	f("{{ name }} {{n}} {{ x }}", "Ada 3 1.5")
	f("{{ code }}", "{{ not_a_template }}")
	f("{{ name | upper }}", "ADA")
	f("{{ user.city }}", "Paris")
	f("{% for s in shots %}Q: {{s.q}} A: {{s.a}}\n{% endfor %}Q", "Q: 1+1 A: 2\nQ")
	f("{{ list | join(', ') }}", "a, b")
	f("{{ list | dump }}", `["a","b"]`)
	f("{{ shots | dump }} {{ '<&' | dump }}", `[{"a":"2","q":"1+1"}] "<&"`)
	f("{% if yes %}y{% else %}n{% endif %}", "y")
	f("{% if other is defined %}y{% else %}n{% endif %}", "n")
	f("{{ other | default('d') }}", "d")
	f("{# a comment #}x", "x")
	f("{{ '<b>' }}", "<b>")
	f("a { b } }", "a { b } }")
	f("{% raw %}{{ name }}{% endraw %}", "{{ name }}")
}

func TestMissing(t *testing.T) {
	f := func(in, name string) {
		t.Helper()
		tpl, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tpl.Render(map[string]any{"given": "x", "m": map[string]any{}})
		if m, ok := errors.AsType[*MissingError](err); name != "" && (!ok || m.Name != name) {
			t.Errorf("%q: %v; want a missing variable %q", in, err, name)
		}
		if err == nil {
			t.Errorf("%q rendered", in)
		}
	}
	f("{{ nope }}", "nope")
	f("{{ given }} {{ nope }}", "nope")
	f("{% for i in nope %}{{ i }}{% endfor %}", "nope")
	f("{{ nope | upper }}", "nope")
	f("{% if nope %}x{% endif %}", "nope")
	f("{{ m.city }}", "")
}

func TestRefused(t *testing.T) {
	f := func(in string) {
		t.Helper()
		tpl, err := Parse(in)
		if err == nil {
			_, err = tpl.Render(map[string]any{"l": []any{"a"}})
		}
		if err == nil {
			t.Errorf("%q was rendered", in)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: message of several lines: %v", in, err)
		}
	}
	f("{% include '/etc/passwd' %}")
	f("{{ l | random }}")
	f("{{ lipsum() }}")
	f("{{ unclosed")
	f("{% for x in l %}")
	f("{{ l | nosuchfilter }}")
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"{{ a }}", "{% for x in l %}{{x}}{% endfor %}", "{{ a|upper }}", "{#", "{{", "{{ a.b[0] }}", "{%- if a -%}x{% endif %}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "range") || strings.Contains(s, "*") || strings.Contains(s, "lipsum") {
			t.Skip("a template may ask for a text of any length")
		}
		tpl, err := Parse(s)
		if err != nil {
			return
		}
		if out, err := tpl.Render(map[string]any{"a": "A", "l": []any{"x"}}); err == nil && tpl.jinja == nil && !strings.Contains(s, "{{") && out != s {
			t.Errorf("text %q changed to %q", s, out)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	vars := map[string]any{"a": "one", "b": "two"}
	for name, src := range map[string]string{"simple": "Say {{a}} and {{b}}", "jinja": "Say {{a|upper}} and {% if b %}{{b}}{% endif %}"} {
		tpl, err := Parse(src)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := tpl.Render(vars); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
