package scorer

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

func TestVarsTransform(t *testing.T) {
	vars := map[string]any{"topic": " Tea ", "n": int64(2), "list": []any{"a", "b"}}
	f := func(source, want string) {
		t.Helper()
		tr, err := NewVarsTransform(source, config.Pos{}, "", nil)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			return
		}
		got, err := tr.Vars(t.Context(), vars, "case 1")
		b, _ := json.Marshal(got)
		if err != nil || string(b) != want {
			t.Errorf("%s: %s, %v, want %s", source, b, err, want)
		}
	}
	f("{ loud: vars.topic.toUpperCase() }", `{"loud":" TEA "}`)
	f("return { ...vars, loud: vars.topic.trim(), 'other name': vars.topic.length };", `{"loud":"Tea","other name":5}`)
	f("({...context.vars, a: 'x, y: {z}', b: vars.list[1]})", `{"a":"x, y: {z}","b":"b"}`)
	f(`{"a": vars.topic.trim(), "b": vars.n + 1}`, `{"a":"Tea","b":3}`)
	f("return {\n  a: vars.topic.trim(),\n  b: vars.topic.replace('T', 't'),\n}", `{"a":"Tea","b":" tea "}`)
	f("{ ...vars, sessionId: context.uuid }", `{"sessionId":"`+uuidOf("case 1")+`"}`)
	f("{ ...vars, image: `![image](${vars.list[0]})` }", `{"image":"![image](a)"}`)
	if a := uuidOf("a"); len(a) != 36 || a[14] != '8' || a == uuidOf("b") {
		t.Errorf("uuid %s", a)
	}
	g := func(source, want string) {
		t.Helper()
		why := VarsTransformProblem(source, CodeRefused)
		if !strings.Contains(why, want) || VarsTransformProblem(source, CodeAllowed) != "" {
			t.Errorf("%s: %q, want %q", source, why, want)
		}
	}
	g("file://vars.js", "--allow-code")
	g("{ topic }", "--allow-code")
	g("{ a: fetch(vars.topic) }", "--allow-code")
	g("const a = 1; return {a}", "--allow-code")
	if tr, err := NewVarsTransform("vars.topic", config.Pos{}, "", nil); err == nil {
		if _, err := tr.Vars(t.Context(), vars, "case 1"); err == nil || !strings.Contains(err.Error(), "not variables by name") {
			t.Errorf("%v", err)
		}
	}
}

func TestVarsTransformAsCode(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip(err)
	}
	services := &Services{AllowCode: true}
	t.Cleanup(func() {
		if err := services.Close(); err != nil {
			t.Error(err)
		}
	})
	tr, err := NewVarsTransform("const up = vars.topic.toUpperCase();\nreturn { ...vars, up };", config.Pos{}, t.TempDir(), services)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tr.Vars(t.Context(), map[string]any{"topic": "tea"}, "case 1")
	if err != nil || got["up"] != "TEA" || got["topic"] != "tea" {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzSplitObject(f *testing.F) {
	for _, s := range []string{"{a: 1}", "return {...vars, 'b c': f(x, [1, 2])};", "({})", "{a: '\\', b: 2}", "{", "((", "{a:}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parts, ok := splitObject(s)
		if ok && len(parts) == 0 {
			t.Error("an object without entries")
		}
	})
}
