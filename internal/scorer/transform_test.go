package scorer

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

const transformInput = `{"answer":" Yes, “Ünïcode” 😀 ","n":3,"list":["a","b"],"deep":{"x":null}}`

func transformOutput(t *testing.T, source string) (string, error) {
	t.Helper()
	tr, err := NewTransform(source, config.Pos{}, t.TempDir(), nil)
	if err != nil {
		return "", err
	}
	r, err := tr.Response(t.Context(), &Input{
		Vars: map[string]any{"name": "Ann", "n": int64(4), "items": []any{"x", "y"}}, Prompt: "Q?", Response: &record.Response{Output: transformInput},
	})
	if err != nil {
		return "", err
	}
	return r.Output, nil
}

// transformCases are expressions with what node makes of them.
var transformCases = []struct{ source, want string }{
	{"output", transformInput},
	{"output.trim()", transformInput},
	{"output.toUpperCase().slice(0, 9)", `{"ANSWER"`},
	{"JSON.parse(output).answer", " Yes, “Ünïcode” 😀 "},
	{"JSON.parse(output).answer.trim().toLowerCase()", "yes, “ünïcode” 😀"},
	{"JSON.parse(output).n", "3"},
	{"JSON.parse(output)['list'][1]", "b"},
	{"JSON.parse(output).list.length", "2"},
	{"JSON.parse(output).list", `["a","b"]`},
	{"JSON.parse(output).deep?.x?.y ?? 'none'", "none"},
	{"JSON.parse(output).missing || context.vars.name", "Ann"},
	{"JSON.parse(output).n > 2 ? 'many' : 'few'", "many"},
	{"JSON.parse(output).n && 'set'", "set"},
	{"JSON.parse(output).n * 2 + 1", "7"},
	{"'n is ' + JSON.parse(output).n", "n is 3"},
	{"`n is ${JSON.parse(output).n}, ${context.vars.name}!`", "n is 3, Ann!"},
	{"JSON.parse(output).list.map(x => x + '!').join(', ')", "a!, b!"},
	{"JSON.parse(output).list.filter((x) => x !== 'a')", `["b"]`},
	{"JSON.parse(output).list.some(x => x === 'b')", "true"},
	{"JSON.parse(output).list.find(x => x > 'a')", "b"},
	{"output.replace('a', 'A').slice(0, 9)", `{"Answer"`},
	{"output.replace(/[aeiou]/g, '').slice(0, 6)", `{"nswr`},
	{`output.replace(/"(\w+)":/, '<$1>').slice(0, 9)`, "{<answer>"},
	{"output.split(',')[0]", `{"answer":" Yes`},
	{"output.split(',', 1).join('')", `{"answer":" Yes`},
	{`output.match(/"n":(\d+)/)[1]`, "3"},
	{`output.match(/[0-9]+/g).length`, "1"},
	{`/yes/i.test(output)`, "true"},
	{"output.includes('Yes')", "true"},
	{"output.indexOf('n\":3')", "33"},
	{"JSON.parse(output).answer.length", "19"},
	{"'😀'.length", "2"},
	{"JSON.stringify({}.x === undefined)", ""},
	{"parseInt('42 apples')", "42"},
	{"Number('1e3').toFixed(1)", "1000.0"},
	{"Math.round(2.5) - Math.floor(-0.5)", "4"},
	{"[1, 2, 3].slice(-2)", "[2,3]"},
	{"typeof JSON.parse(output)", "object"},
	{"!output.startsWith('[') && output.endsWith('}')", "true"},
	{"context.vars.n + 1", "5"},
	{"context.vars.items.includes('y')", "true"},
	{"return output.trim().length;\n", "73"},
	{"const o = JSON.parse(output);\nconst list = o.list;\nreturn list.reverse().join('-') + o.n;\n", "b-a3"},
	{"const o = JSON.parse(output)\nreturn o.n\n", "3"},
	{"'a-a'.replaceAll('-', '').repeat(2)", "aaaa"},
	{"'ABC'.substring(2, 0)", "AB"},
	{"'ABC'.at(-1) + 'ABC'.charAt(9)", "C"},
	{"0.1 + 0.2", "0.30000000000000004"},
	{"1 === 1.0 && '1' !== 1", "true"},
	{"Object.keys(JSON.parse(output).deep)", `["x"]`},
}

func TestTransforms(t *testing.T) {
	for _, c := range transformCases {
		got, err := transformOutput(t, c.source)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s: %q, want an error", c.source, got)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %q %v, want %q", c.source, got, err, c.want)
		}
	}
}

// What is no JavaScript of the translated kind is CEL.
func TestCELTransforms(t *testing.T) {
	f := func(source, want string) {
		t.Helper()
		if got, err := transformOutput(t, source); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", source, got, err, want)
		}
	}
	f("json.answer", " Yes, “Ünïcode” 😀 ")
	f("size(json.list)", "2")
	f("json.list.map(x, x + vars.name)", `["aAnn","bAnn"]`)
	f("json.answer.lowerAscii().trim()", "yes, “Ünïcode” 😀")
	f("has(json.deep) ? string(json.n) : ''", "3")
}

func TestTransformMistakes(t *testing.T) {
	f := func(source, want string) {
		t.Helper()
		got, err := transformOutput(t, source)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q %v, want an error with %q", source, got, err, want)
		}
	}
	f("nope(output)", "neither JavaScript")
	f("output.split('', 1, 2)", "arguments is not translated")
	f("output.match('a')", "pattern between slashes")
	f("output.replace(/(?=a)b/, '')", "not translated")
	f("file://transform.js", "--allow-code")
	f("fetch(output)", "--allow-code")
	f("JSON.parse('x')", "JSON.parse")
	f("JSON.parse(output).nope", "gives no value")
	f("JSON.parse(output).nope.more", "nothing to take")
	f("null", "gives no value")
	f("output == 1", "use ===")
	f("JSON.parse(output) + ''", "not a text")
	f("output < 1", "string compared with number")
	f("'a'.repeat(1e9)", "too long")
	f("output.toLowerCase(", "neither")
}

// The translation and node agree wherever node is to be had.
func TestTransformsAgreeWithNode(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip(err)
	}
	services := &Services{AllowCode: true}
	defer services.Close()
	in := &Input{Vars: map[string]any{"name": "Ann", "n": int64(4), "items": []any{"x", "y"}}, Prompt: "Q?", Response: &record.Response{Output: transformInput}}
	for _, c := range transformCases {
		call, err := newCodeCall(services, config.Pos{}, t.TempDir(), "transform", c.source)
		if err != nil {
			t.Fatal(err)
		}
		v, err := call.value(t.Context(), in)
		if c.want == "" {
			continue
		}
		got, isText := v.(string)
		if !isText {
			b, _ := json.Marshal(v)
			got = string(b)
		}
		if err != nil || got != c.want {
			t.Errorf("%s: node says %q %v, want %q", c.source, got, err, c.want)
		}
	}
}

func TestAssertionTransforms(t *testing.T) {
	f := func(a config.Assertion, vars map[string]any, output string, wantPass bool, wantErr string) {
		t.Helper()
		s := compile(t, a).Score(t.Context(), &Input{Response: &record.Response{Output: output}, Vars: vars})
		if wantErr != "" {
			if !strings.Contains(s.Error, wantErr) || s.Pass != nil {
				t.Errorf("error %q, pass %v", s.Error, s.Pass)
			}
			return
		}
		if s.Error != "" || s.Pass == nil || *s.Pass != wantPass {
			t.Errorf("%+v, want pass %v", s, wantPass)
		}
	}
	json := config.Assertion{Type: "equals", Value: "b", Transform: "JSON.parse(output).a"}
	f(json, nil, `{"a":"b"}`, true, "")
	f(json, nil, `{"a":"c"}`, false, "")
	f(json, nil, `not json`, false, "JSON.parse")
	f(json, nil, `{}`, false, "gives no value")
	// The context comes from the whole answer.
	cel := config.Assertion{Type: "cel", Value: "output in vars.context", Transform: "JSON.parse(output).a", ContextTransform: "JSON.parse(output).docs"}
	f(cel, nil, `{"a":"x","docs":["x","y"]}`, true, "")
	f(cel, map[string]any{"context": "x"}, `{"a":"x","docs":["y"]}`, false, "")
	f(cel, nil, `{"a":"x","docs":1}`, false, "neither a text nor a list")
	a, b := compile(t, json), compile(t, config.Assertion{Type: "equals", Value: "b"})
	if a.Signature() == b.Signature() {
		t.Errorf("a transform leaves the signature %s as it is", a.Signature())
	}
}

func FuzzTranslateJS(f *testing.F) {
	for _, c := range transformCases {
		f.Add(c.source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		tr, err := NewTransform(source, config.Pos{}, "", nil)
		if err != nil {
			return
		}
		v, err := tr.Value(t.Context(), &Input{Response: &record.Response{Output: transformInput}})
		if err == nil && v == nil {
			t.Errorf("%q gives nothing and no error", source)
		}
	})
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
