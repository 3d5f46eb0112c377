package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// load reads a suite against files in memory.
func load(t *testing.T, suite string, files map[string]string, vars map[string]string, skip bool) (*Loaded, error) {
	t.Helper()
	mem := fstest.MapFS{}
	for name, text := range files {
		mem[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return Load("suite.yaml", []byte(suite), Options{
		Vars: vars,
		Env: func(name string) (string, bool) {
			v, ok := map[string]string{"FROM_ENV": "from env", "COUNT": "7"}[name]
			return v, ok
		},
		Read: func(path string) ([]byte, error) { return fs.ReadFile(mem, path) },
		Glob: func(pattern string) ([]string, error) { return fs.Glob(mem, pattern) },
		Assertion: func(name string) Known {
			switch name {
			case "equals", "contains", "contains-any", "is-json", "assert-set", "javascript":
				return Known{OK: true, Lines: name == "contains-any", Code: name == "javascript"}
			case "llm-rubric":
				return Known{Unsupported: "llm-rubric is not supported yet"}
			}
			return Known{Hint: "did you mean \"contains\"?"}
		},
		Transform: func(source string) string {
			if source == "forbidden()" {
				return "this transform cannot be run"
			}
			return ""
		},
		SkipUnsupported: skip,
	})
}

const base = "providers: echo\nprompts: hi\n"

func TestLoad(t *testing.T) {
	l, err := load(t, `
description: Support
tags: {team: support}
prompts:
  - file://prompts/*.txt
  - "Say {{x}}"
  - - {role: system, content: Be kind}
    - {role: user, content: [{type: text, text: "Look {{x}}"}, {type: image_url, image_url: {url: "{{img}}"}}]}
  - {label: shots, messages: [{examples: {user: "{{q}}", assistant: "{{a}}"}}, {role: user, content: "{{x}}"}], examples: file://shots.jsonl}
providers:
  - echo
  - {id: "openai:chat:m", label: small, config: {temperature: 0, max_tokens: "${COUNT}"}}
  - openai:gpt-4: {config: {seed: 3}}
defaultTest: {vars: {x: d}, assert: [{type: not-contains-any, value: file://forbidden.txt}]}
tests:
  - {vars: {x: [one, two], y: "${NAME}"}, assert: [{type: equals, value: "{{x}}", weight: 2, metric: m}], tags: [a, b], critical: true}
  - {id: c2, vars: {x: file://doc.txt}, threshold: 0.5, options: {prefix: "P "}}
  - file://cases.jsonl
  - {path: more.csv, sample: 5, filter: [a, "!b"], group: topic}
samples: 3
seed: 7
gate: {pass_rate: ">= 0.95", latency: ["p95 <= 2s", "p50 <= 1s"]}
budget: {cost: 1.5, tokens: 1000, time: 2m}
groups: topic
evaluateOptions: {maxConcurrency: 3, cache: false}
`, map[string]string{
		"prompts/a.txt": "A {{x}}\n---\nB {{x}}\n", "prompts/b.txt": "C {{env.FROM_ENV}}\n",
		"forbidden.txt": "bad\n\nworse thing\n", "doc.txt": "the doc\n",
		"shots.jsonl": `{"q":"1+1","a":"2"}`,
	}, map[string]string{"NAME": "${COUNT} as it is"}, false)
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, got any, want string) {
		t.Helper()
		if s := fmt.Sprint(got); s != want {
			t.Errorf("%s: %s, want %s", what, s, want)
		}
	}
	var labels, texts []string
	for _, p := range l.Prompts {
		labels = append(labels, p.Label)
		texts = append(texts, p.Text)
	}
	f("labels", strings.Join(labels, "|"), "prompts/a.txt|prompts/a.txt#2|prompts/b.txt|Say {{x}}|system: Be kind|shots")
	f("texts", strings.Join(texts, "|"), "A {{x}}|B {{x}}|C from env|Say {{x}}||")
	f("parts", l.Prompts[4].Messages[1].Parts, "[{Look {{x}}  } { {{img}} }]")
	f("examples", l.Prompts[5].Examples, "[map[a:2 q:1+1]]")
	f("providers", []string{l.Providers[0].Name(), l.Providers[1].Name(), l.Providers[2].Name()}, "[echo small openai:gpt-4]")
	f("config", l.Providers[1].Config.Map, "map[max_tokens:7 temperature:0]")
	f("seed", l.Providers[2].Config.Map, "map[seed:3]")
	f("default", l.Default.Assert[0].Value, "[bad worse thing]")
	f("default not", l.Default.Assert[0].Not, "true")
	f("sources", len(l.Tests), "3")
	f("expanded", []any{l.Tests[0].Inline[0].Vars, l.Tests[0].Inline[1].Vars}, "[map[x:one y:${COUNT} as it is] map[x:two y:${COUNT} as it is]]")
	f("merged", l.Tests[0].Inline[2].Merge(&l.Default).Vars, "map[x:the doc]")
	f("asserts", len(l.Tests[0].Inline[0].Merge(&l.Default).Assert), "2")
	f("file", l.Tests[1].Path+l.Tests[2].Path, "cases.jsonlmore.csv")
	f("filter", l.Tests[2].Tags, "[a !b]")
	f("gate", []string{l.Gate[0].Metric + l.Gate[0].Expr, l.Gate[2].Metric + l.Gate[2].Expr}, "[pass_rate>= 0.95 latencyp50 <= 1s]")
	f("budget", l.Budget, "{1.5 1000 120}")
	f("line", l.Tests[0].Inline[0].Assert[0].Pos.Line, "16")
	if len(l.Hash) != 16 {
		t.Errorf("hash %q", l.Hash)
	}
}

func TestMistakes(t *testing.T) {
	f := func(suite string, want ...string) {
		t.Helper()
		_, err := load(t, suite, map[string]string{"bad.yaml": "a: [1", "empty.txt": "\n"}, nil, false)
		if err == nil {
			t.Errorf("no error for\n%s", suite)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error lacks %q:\n%v", w, err)
			}
		}
	}
	f("", "suite.yaml: the file is empty")
	f("a: [1\n", "suite.yaml:1:", "invalid YAML")
	f(base+"tests: [{vars: {}}]\ndescripton: x", "suite.yaml:4:1: descripton", "unknown key", `did you mean "description"?`)
	f(base+"tests:\n- vars: {}\n  asert: []", "suite.yaml:5:3: tests[0].asert", `did you mean "assert"?`)
	f(base+"tests: [{vars: {}}]\nseed: 1\nseed: 2", "suite.yaml:5:1: seed", "duplicate key", "line 4")
	f(base+"tests: [{vars: {a: 1, a: 2}}]", "suite.yaml:3:23: tests[0].vars.a", "duplicate key")
	f(base+"tests: [{assert: [{type: containz}]}]", "suite.yaml:3:26: tests[0].assert[0].type", `"containz"`, "unknown kind", "hint")
	f(base+"tests: [{assert: [{value: x}]}]", "without a type")
	f(base+"tests: [{assert: [{type: llm-rubric, value: x}]}]", "suite.yaml:3:26", "not supported", "--skip-unsupported")
	f(base+"tests: [{providers: []}]", "suite.yaml:3:21: tests[0].providers", "empty list")
	f(base+"tests: [{options: {repeat: 0}}]", "tests[0].options.repeat", "out of range")
	f(base+"tests: [{options: {storeOutputAs: a b}}]", "tests[0].options.storeOutputAs", "not the name")
	f(base+"tests: [{assertScoringFunction: file://x.js}]", "suite.yaml:3:10: tests[0].assertScoringFunction", "code")
	f(base+"tests: [{vars: {}}]\nscenarios: []", "suite.yaml:4:12: scenarios", "empty")
	f(base+"tests: [{vars: {}}]\nscenarios: [{tests: [{}]}]", "suite.yaml:4:13: scenarios[0]", "without config")
	f(base+"tests: [{vars: {}}]\nextensions: [file://a.js:x]", "suite.yaml:4:1: extensions", "code", "--skip-unsupported")
	f(base+"tests: [{assert: [{type: assert-set}]}]", "suite.yaml:3:19: tests[0].assert[0]", "without parts")
	f(base+"tests: [{assert: [{type: equals, value: x, assert: [{type: equals, value: x}]}]}]", "only an assert-set and a calibration have parts")
	f(base+"tests: [{assert: [{$ref: '#/assertionTemplates/nope'}]}]", "suite.yaml:3:20: tests[0].assert[0].$ref", "leads nowhere")
	f(base+"tests: [{turns: [{assert: []}]}]", "tests[0].turns[0].user", "without words")
	f(base+"tests: [{options: {transform: forbidden()}}]", "suite.yaml:3:31: tests[0].options.transform", "forbidden()", "cannot be run")
	f(base+"tests: [{}]\nderivedMetrics: [{name: a, value: b}, {name: a, value: c}]", "given twice")
	f(base+"tests: [{}]\nderivedMetrics: [{value: b}]", "without a name")
	f(base+"tests: [{}]\nenv: [a]", "suite.yaml:4:6: env", "not a mapping")
	f(base+"tests: [{assert: [{type: equals, value: x, provider: 7}]}]", "not a provider")
	f(base+"tests: [{vars: {x: file://nope.txt}}]", "suite.yaml:3:17", "nope.txt", "not exist")
	f(base+"tests: [{vars: {x: '${NOPE}'}}]", "suite.yaml:3:20: tests[0].vars.x", "NOPE", "--var NOPE=")
	f(base+"tests: [{vars: {x: '{{env.NOPE}}'}}]", "NOPE is not set")
	f(base+"tests: [{vars: {}}]\nsamples: many", "suite.yaml:4:10: samples", `"many"`, "want a whole number")
	f(base+"tests: [{vars: {}}]\nsamples: 0", "samples", "out of range")
	f(base+"tests: [{vars: {}, threshold: 3}]", "threshold", "from 0 to 1")
	f("prompts: hi\ntests: [{vars: {}}]", "no providers")
	f("providers: echo", "no tests")
	f("providers: []\ntests: [{}]", "suite.yaml:1:12: providers", "empty")
	f("providers: [{config: {}}]\ntests: [{}]", "suite.yaml:1:13: providers[0]", "without an id")
	f("providers: echo\ntests: []", "tests", "empty")
	f("providers: echo\nprompts: nope.txt\ntests: [{}]", "suite.yaml:2:10: prompts", "nope.txt")
	f("providers: echo\nprompts: file://x/*.txt\ntests: [{}]", "matches no file")
	f("providers: echo\nprompts: file://empty.txt\ntests: [{}]", "the prompt file is empty")
	f("providers: echo\nprompts: [[{role: boss, content: x}]]\ntests: [{}]", "suite.yaml:2:12: prompts[0][0]", "boss", "not a role")
	f("providers: [{id: echo, prompts: [zzz]}]\nprompts: [hi]\ntests: [{}]", "zzz", "no prompt has this label")
	f("providers: echo\ntests: {path: a.jsonl, format: xml}", "xml", "want auto")
	f(base+"tests: [{vars: file://bad.yaml}]", "bad.yaml:1:", "invalid YAML")
	f(base+"tests: [{}]\nbudget: {time: never}", "suite.yaml:4:16: budget.time", "never", "not a duration")
	f(base+"tests: [{}]\nbudget: {cost: .inf}", "not a number")
	f(base+"tests: [{}]\nbudget: {cost: -1}", "not above 0")
	f(base+"tests: [{vars: &v {a: *v}, options: {disableVarExpansion: true}}]", "nested more than")
	f(base+"tests: [{}]\n---\na: 1", "a second document")
	f("providers: echo\ntests: [{vars: {a: &a [x,x,x,x,x,x,x,x,x,x], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a], c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b], d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c], e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d], f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e], g: [*f,*f,*f,*f]}, options: {disableVarExpansion: true}}]", "expands to more than")
	_, err := load(t, base+"tests: [{}]", nil, map[string]string{"TYPO": "x"}, false)
	if err == nil || !strings.Contains(err.Error(), "--var TYPO") {
		t.Errorf("unused --var: %v", err)
	}
}

func TestSkipUnsupported(t *testing.T) {
	l, err := load(t, base+"tracing: {}\noutputPath: x.html\ntests: [{vars: {}, assert: [{type: llm-rubric, value: x}, {type: equals, value: y}]}]", nil, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Unsupported) != 2 || l.Unsupported[1].Line != 5 || len(l.Ignored) != 1 || l.Ignored[0].Key != "outputPath" || len(l.Tests[0].Inline[0].Assert) != 1 {
		t.Errorf("unsupported %v, asserts %v", l.Unsupported, l.Tests[0].Inline[0].Assert)
	}
}

func TestHashIgnoresPlaces(t *testing.T) {
	f := func(a, b string, same bool) {
		t.Helper()
		la, err := load(t, a, nil, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		lb, err := load(t, b, nil, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if (la.Hash == lb.Hash) != same {
			t.Errorf("hashes %s and %s of\n%s\nand\n%s", la.Hash, lb.Hash, a, b)
		}
	}
	f(base+"tests: [{}]", "\n\n"+base+"tests: [{}]", true)
	f(base+"tests: [{}]", "providers: echo\nprompts: ho\ntests: [{}]", false)
	f(base+"tests: [{}]\nsamples: 2", base+"tests: [{}]", false)
	f(base+"tests: [{}]\ngate: {pass_rate: '>= 1'}", base+"tests: [{}]", false)
	f(base+"tests: [{}]\ndefaultTest: {assert: [{type: equals, value: a}]}", base+"tests: [{}]\ndefaultTest: {assert: [{type: equals, value: b}]}", false)
}

func TestYAMLFeatures(t *testing.T) {
	l, err := load(t, base+`
tests:
  - &first
    vars:
      x: 0x10
      y: 1_000
      z: 1e3
      q: "12"
      n: ~
      t: true
      lit: |
        two
        lines
      s: 'it''s'
    options: {disableVarExpansion: true}
  - <<: *first
    id: second
`, nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	want := "map[lit:two\nlines n:<nil> q:12 s:it's t:true x:16 y:1000 z:1000]"
	for i, c := range l.Tests[0].Inline {
		if got := fmt.Sprint(c.Vars); got != want {
			t.Errorf("case %d: %s", i, got)
		}
	}
	if l.Tests[0].Inline[1].ID != "second" {
		t.Errorf("id %q", l.Tests[0].Inline[1].ID)
	}
}

func TestSchemaIsCurrent(t *testing.T) {
	if _, err := SuiteSchema(map[string]string{"equals": "x"}); err != nil {
		t.Fatal(err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{base + "tests: [{vars: {a: 1}}]", "a: &x [*x]", "tests: {path: x}", "- 1", "providers:\n  - id: x\n    config: {a: ${B}}\ntests: x"} {
		f.Add(s)
	}
	if examples, err := filepath.Glob("../../examples/*/*.yaml"); err == nil {
		for _, e := range examples {
			if b, err := os.ReadFile(e); err == nil {
				f.Add(string(b))
			}
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := Load("f.yaml", []byte(s), Options{Read: func(string) ([]byte, error) { return nil, fs.ErrNotExist }})
		if err == nil && (len(l.Providers) == 0 || len(l.Tests) == 0 || l.Hash == "") {
			t.Errorf("accepted a suite without providers or tests: %q", s)
		}
	})
}
