package config

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRefers(t *testing.T) {
	f := func(ref string, want bool, names ...string) {
		t.Helper()
		if got := Refers(ref, names...); got != want {
			t.Errorf("Refers(%q, %q) = %v", ref, names, got)
		}
	}
	f("a", true, "a")
	f("a", true, "", "a")
	f("a", false, "ab", "b:a", "")
	f("a", true, "a:b")
	f("a*", true, "ab")
	f("a:*", true, "a:b")
	f("a:*", false, "a")
	f("*", true, "x")
	f("", false, "")
	p := Prompt{Label: "file.txt#2", ID: "second", Text: " Say {{x}} "}
	f("file.txt", true, p.Names()...)
	f("second", true, p.Names()...)
	f("Say {{x}}", true, p.Names()...)
	if !RefersAny(nil, "x") || RefersAny([]string{}, "x") {
		t.Error("no references at all stand for everything, an empty list for nothing")
	}
}

func TestCSVPrompts(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		prompts, labels := csvPrompts(text)
		b, err := json.Marshal([]any{prompts, labels})
		if err != nil || string(b) != want {
			t.Errorf("%q: %s, want %s", text, b, want)
		}
	}
	f("prompt,label\n\"Say, {{x}}\",one\nShout {{x}},\n,empty\n", `[["Say, {{x}}","Shout {{x}}"],["one",""]]`)
	f("Prompt\nSay {{x}}\n\nShout {{x}}", `[["Say {{x}}","Shout {{x}}"],["",""]]`)
	f("Say {{x}}\r\nShout {{x}}\r\n", `[["Say {{x}}","Shout {{x}}"],["",""]]`)
	f("a,b\n1,2\n", `[null,null]`)
	f("prompt,label\nSay, please, x\n", `[["prompt,label","Say, please, x"],["",""]]`)
	f("", `[null,null]`)
}

func FuzzCSVPrompts(f *testing.F) {
	for _, s := range []string{"prompt,label\na,b\n", "prompt\na\n", "\"", "a,\"b\nc", "prompt,prompt\n1,2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		prompts, labels := csvPrompts(s)
		if len(prompts) != len(labels) {
			t.Errorf("%d prompts and %d labels", len(prompts), len(labels))
		}
	})
}

func TestTextPrompts(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		if got := textPrompts(text); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("a\n---\nb", "a\n", "b")
	f("a\n  ---\t\nb\n----\nc", "a\n", "b\n----\nc")
	f("---\na", "", "a")
}

func TestVariants(t *testing.T) {
	def := Test{Vars: map[string]any{"name": []any{"Ann", "Bob"}, "n": []any{int64(1)}, "x": "y"}}
	f := func(row Test, want string) {
		t.Helper()
		got, err := def.Variants()(row)
		var list []any
		for _, c := range got {
			list = append(list, []any{c.ID, c.Vars})
		}
		b, _ := json.Marshal(list)
		if err != nil || string(b) != want {
			t.Errorf("%s, %v, want %s", b, err, want)
		}
	}
	f(Test{ID: "r", Vars: map[string]any{"q": "1"}}, `[["r/name=0",{"name":"Ann","q":"1"}],["r/name=1",{"name":"Bob","q":"1"}]]`)
	f(Test{Vars: map[string]any{"name": "Eve"}}, `[["",{"name":"Eve"}]]`)
	f(Test{Vars: map[string]any{"q": []any{"a", "b"}, "name": "Eve"}}, `[["",{"name":"Eve","q":["a","b"]}]]`)
	yes := true
	def.keepLists = &yes
	if def.Variants() != nil {
		t.Error("the defaults keep lists as they are")
	}
	if (&Test{Vars: map[string]any{"a": "b"}}).Variants() != nil {
		t.Error("there are no lists")
	}
}
