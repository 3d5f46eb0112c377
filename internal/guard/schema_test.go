package guard

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRepairs(t *testing.T) {
	g := build(t, "schema: {type: object, required: [a]}")
	f := func(in, want string) {
		t.Helper()
		for _, r := range repairs(in) {
			if g.conforms(r) == "" {
				if r != want {
					t.Errorf("%q became %q, want %q", in, r, want)
				}
				return
			}
		}
		if want != "" {
			t.Errorf("%q cannot be repaired, want %q", in, want)
		}
	}
	f("```json\n{\"a\": 1}\n```", `{"a": 1}`)
	f("```\n[1]\n```\nor\n```js\n{\"a\": 2}\n```", `{"a": 2}`)
	f("```{\"a\": 1}```", `{"a": 1}`)
	f(`Here: {"a": {"b": "}"}}. Fine?`, `{"a": {"b": "}"}}`)
	f(`{"b": 1} {"a": 1}`, `{"a": 1}`)
	f(`{"a": 1,}`, `{"a":1}`)
	f(`{'a': 'it\'s', b: [1,2,],}`, `{"a":"it's","b":[1,2]}`)
	f(`{“a”: “x”}`, `{"a":"x"}`)
	f(`{"a": True, "b": None, "c": .5, "d": +1}`, `{"a":true,"b":null,"c":0.5,"d":1}`)
	f("{\"a\": 1 // one\n, /* two */ \"b\": 2 # three\n}", `{"a":1,"b":2}`)
	f("{\"a\": \"two\nlines\"}", `{"a":"two\nlines"}`)
	f(`{"a": "cut of`, `{"a":"cut of"}`)
	f(`{"a": [1, {"b": 2`, `{"a":[1,{"b":2}]}`)
	f(`{"a": 1 "b": 2}`, `{"a":1,"b":2}`)
	f(`{"a": "C:\dir"}`, `{"a":"C:\\dir"}`)
	f(`no JSON at all`, "")
	f(`{"b": 1}`, "")
	f(`{"a"}`, "")
	f(`[1, 2`, "")
	f("```", "")
	f("", "")
}

func FuzzMend(f *testing.F) {
	for _, s := range []string{`{'a': 1,}`, "{\"a\": [1, {\"b\": 2", `{“a”: .5} x`, "[/*", `{a:{b:'\u12'`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, ok := mend(s)
		if ok && !json.Valid([]byte(out)) {
			t.Errorf("%q became %q", s, out)
		}
		repairs(s)
	})
}

func TestNewRefuses(t *testing.T) {
	f := func(section, want string) {
		t.Helper()
		_, err := try(section)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "server.yaml:") {
			t.Errorf("%s: %v, want %q", section, err, want)
		}
	}
	f("filters: [{name: w, pii: [emial], action: block}]", `no such type of personal data: "emial"`)
	f("filters: [{name: w, pii: [phone], regions: [Atlantis], action: block}]", "no such region")
	f("filters: [{name: w, phrases: [\"\u200b\"], action: block}]", "nothing of the phrase can be seen")
	f("filters: [{name: w, phrases: [sorry], action: block}]", "the filter w finds something in the refusal")
	f("filters: [{name: w, phrases: [gone], action: replace, replacement: '<Gone>'}]", "finds something in it")
	f("filters: [{name: w, phrases: [x], action: replace, replacement: \"\u200b \"}]", "nothing of it can be seen")
	f("schema: {type: nonsense}", "not a valid JSON Schema")
	f("schema: {$ref: other.json}", "is not followed")
	f("schema: {pattern: '('}", "not a valid JSON Schema")
}
