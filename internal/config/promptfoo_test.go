package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// shown is a value as JSON, for comparing.
func shown(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// promptfooSuite uses every key that is promptfoo's.
const promptfooSuite = `
env: {GREETING: "hi ${FROM}", PORT: 8080}
prompts: {file://a.txt: first, "Say {{x}}": second}
providers:
  - {id: echo, label: a, prompts: [first], transform: output.trim(), env: {KEY: v}}
  - {id: echo, label: b}
assertionTemplates:
  polite: {type: contains, value: please, weight: 2}
  both: [{type: contains, value: a}, {type: contains, value: b}]
defaultTest:
  vars: {who: "{{env.GREETING}}", note: "about {{x}}"}
  options: {provider: echo, rubricPrompt: file://rubric.txt, prefix: "P "}
  assert: [{$ref: "#/assertionTemplates/polite"}]
tests:
  - vars: {x: [one, "{{who}} two"], n: [1, 2], doc: file://docs/*.txt, y: file://y.yaml}
    assert:
      - {$ref: "#/assertionTemplates/polite", weight: 3}
      - {type: assert-set, threshold: 0.5, metric: m, assert: {$ref: "#/assertionTemplates/both"}}
      - {type: is-json, value: {properties: {a: {$ref: "#/definitions/x"}}}}
      - {type: contains-any, value: [file://a.txt, plain], provider: {id: echo}, transform: output.trim(), contextTransform: output}
      - {type: javascript, value: "file://check.js:fn"}
  - {vars: {x: z}, providerOutput: {b: 1, a: 2}, options: {postprocess: output, disableDefaultAsserts: true}}
  - {vars: file://v*.yaml}
  - {turns: [{user: "Hello {{x}}", assert: [{type: contains, value: hi}]}]}
scenarios:
  - description: S
    config:
      - {vars: {lang: fr}, assert: [{type: contains, value: "{{lang}}"}]}
      - {vars: {lang: de}, threshold: 0.5}
    tests:
      - {id: t, vars: {x: a}, options: {disableDefaultAsserts: true}}
      - file://more.yaml
derived: {quality: "(m + polite) / 2"}
derivedMetrics: [{name: total, value: "m / __count"}]
evaluateOptions: {maxEvalTimeMs: 2000, timeoutMs: 5}
commandLineOptions: {maxConcurrency: 3, repeat: 2, share: true}
sharing: false
`

func TestPromptfooSuite(t *testing.T) {
	l, err := load(t, promptfooSuite, map[string]string{
		"a.txt": " A \n", "docs/1.txt": "d1\n", "docs/2.txt": "d2", "y.yaml": "k: [1, 2]", "rubric.txt": "Judge {{output}}",
		"v1.yaml": "a: 1\nb: 1", "v2.yaml": "b: 2", "more.yaml": "- vars: {x: b}",
	}, map[string]string{"FROM": "me"}, false)
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, got any, want string) {
		t.Helper()
		if s := shown(t, got); s != want {
			t.Errorf("%s: %s, want %s", what, s, want)
		}
	}
	f("env", l.Env, `{"GREETING":"hi me","PORT":"8080"}`)
	f("prompts", []string{l.Prompts[0].Label + "=" + l.Prompts[0].Text, l.Prompts[1].Label + "=" + l.Prompts[1].Text}, `["first= A ","second=Say {{x}}"]`)
	f("takes", []bool{l.Providers[0].Takes(&Prompt{Label: "first"}), l.Providers[0].Takes(&Prompt{Label: "second"}), l.Providers[1].Takes(&Prompt{Label: "second"})}, `[true,false,true]`)
	f("provider", []any{l.Providers[0].Transform, l.Providers[0].Env}, `["output.trim()",{"KEY":"v"}]`)
	f("default", []any{l.Default.Vars, l.Default.Templates, l.Default.Provider, l.Default.RubricPrompt}, `[{"note":"about {{x}}","who":"hi me"},["note"],"echo","Judge {{output}}"]`)
	f("default assert", Contents(l.Default.Assert), `[{"type":"contains","value":"please","weight":2}]`)
	cases := l.Tests[0].Inline
	f("cases", len(cases), "7") // two x with two docs; then one, one, one
	first := cases[0]
	f("vars", first.Vars, `{"doc":"d1","n":[1,2],"x":"one","y":"{\"k\":[1,2]}"}`)
	f("no template", first.Templates, "null")
	f("template", cases[1].Templates, `["x"]`)
	f("asserts", Contents(first.Assert), `[{"type":"contains","value":"please","weight":3},`+
		`{"assert":[{"type":"contains","value":"a"},{"type":"contains","value":"b"}],"metric":"m","threshold":0.5,"type":"assert-set"},`+
		`{"type":"is-json","value":{"properties":{"a":{"$ref":"#/definitions/x"}}}},`+
		`{"contextTransform":"output","provider":{"id":"echo"},"transform":"output.trim()","type":"contains-any","value":["A","plain"]},`+
		`{"type":"javascript","value":"file://check.js:fn"}]`)
	merged := cases[1].Merge(&l.Default)
	f("merged", []any{merged.Templates, merged.Vars["note"], merged.Prefix}, `[["x","note"],"about {{x}}","P "]`)
	f("extras", cases[4].Extras(), `{"output":"{\"a\":2,\"b\":1}","transform":"output"}`)
	f("files", cases[5].Vars, `{"a":1,"b":2}`)
	f("turns", cases[6].Extras(), `{"turns":[{"assert":[{"type":"contains","value":"hi"}],"user":"Hello {{x}}"}]}`)
	var scenario []string
	for _, c := range l.Tests[1].Inline {
		scenario = append(scenario, fmt.Sprintf("%s %v %v %d %v %s", c.ID, c.Vars["lang"], c.Vars["x"], len(c.Assert), c.NoDefaults, c.Description))
	}
	f("scenario", scenario, `["t/0 fr a 1 true S"," fr b 1 false S","t/1 de a 0 true S"," de b 0 false S"]`)
	f("derived", []any{l.Derived[0].Name, l.Derived[0].Expr, l.Derived[1].Name, l.Derived[1].Sums}, `["quality","(m + polite) / 2","total",true]`)
	f("options", []any{l.Evaluate.MaxConcurrency, l.Samples, l.Budget.Time, l.Evaluate.TimeoutMS}, `[3,2,2,5]`)
	var ignored []string
	for _, e := range l.Ignored {
		ignored = append(ignored, e.Key)
	}
	f("ignored", ignored, `["commandLineOptions.share","sharing"]`)
}

// What cannot be transformed is not judged as it is.
func TestUnsupportedTransforms(t *testing.T) {
	f := func(suite string, wantCases, wantAsserts int, wantErr string) {
		t.Helper()
		l, err := load(t, suite, nil, nil, true)
		if err != nil || wantErr != "" {
			if err == nil || wantErr == "" || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("error %v, want %q", err, wantErr)
			}
			return
		}
		if n := len(l.Tests[0].Inline); n != wantCases {
			t.Errorf("%d cases, want %d", n, wantCases)
		}
		if n := len(l.Tests[0].Inline[0].Assert); n != wantAsserts {
			t.Errorf("%d assertions, want %d", n, wantAsserts)
		}
		if len(l.Unsupported) != 1 {
			t.Errorf("unsupported: %v", l.Unsupported)
		}
	}
	const bad = "forbidden()"
	f(base+"tests: [{options: {transform: "+bad+"}}, {vars: {a: b}}]", 1, 0, "")
	f(base+"tests: [{assert: [{type: equals, value: a, transform: "+bad+"}, {type: equals, value: b}]}]", 1, 1, "")
	f(base+"tests: [{assert: [{type: assert-set, assert: [{type: equals, value: a, transform: "+bad+"}]}]}]", 1, 0, "")
	f(base+"defaultTest: {options: {transform: "+bad+"}}\ntests: [{}]", 0, 0, "no case can be judged without it")
	f("prompts: hi\nproviders: [{id: echo, transform: "+bad+"}]\ntests: [{}]", 0, 0, "no case can be judged without it")
}

func TestEnvDefaults(t *testing.T) {
	l, err := load(t, "providers: echo\nenv: {A: own}\nprompts: \"{{env.A}} {{ env.NOPE | default('d') }} {{env.FROM_ENV}}\"\ntests: [{}]", nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Prompts[0].Text; got != "own d from env" {
		t.Errorf("prompt %q", got)
	}
}
