package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
)

// The published schemas are made from the types that parse the files.
func TestSchemaGolden(t *testing.T) {
	f := func(file string, of func(map[string]string) ([]byte, error)) {
		t.Helper()
		want, err := of(app.AssertionKinds())
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("../../docs", file)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v; run make generate", err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not what the types say; run make generate", file)
		}
	}
	f("suite.schema.json", config.SuiteSchema)
	f("server.schema.json", config.ServerSchema)
	f("rollout.schema.json", func(map[string]string) ([]byte, error) { return config.RolloutSchema() })
}

// What telltale serve init writes, and what the docs show, is what the schema takes.
func TestServerSchemaTakesConfigurations(t *testing.T) {
	b, err := config.ServerSchema(app.AssertionKinds())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("server.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("server.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	f := func(text string, ok bool) {
		t.Helper()
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(instance); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	f(serverTemplate, true)
	f("routes: [{name: a, models: gpt-*, caps: {max_tokens: 5}, set: {temperature: 0, stop: null}, max_body: 1MiB, upstreams: [{url: 'http://x', weight: 1, cooldown: 5s}]}]", true)
	f("scorers: [{assert: {type: toxicity}, share: 0.5}]\nretention: {content: 7d, exchanges: 0}\nbus: {max_bytes: 10GB}\nprivacy: {mode: mask, kinds: {email: keep}}", true)
	f("routes: [{name: a, upstream: []}]", false)
	f("capture: {content: 2}", false)
	f("nosuch: 1", false)
}

func suiteSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := config.SuiteSchema(app.AssertionKinds())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("suite.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("suite.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON turns YAML into what a JSON Schema judges.
func asJSON(t *testing.T, suite []byte) any {
	t.Helper()
	b, err := yaml.YAMLToJSON(suite)
	if err != nil {
		t.Fatalf("%v in %s", err, suite)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

func TestSchemaTakesTheExamples(t *testing.T) {
	s := suiteSchema(t)
	suites := 0
	err := filepath.WalkDir("../../examples", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Contains(data, []byte("\nproviders:")) {
			return nil // a part of a suite
		}
		suites++
		if err := s.Validate(asJSON(t, data)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if suites < 4 {
		t.Errorf("only %d suites found", suites)
	}
}

// Schema and parser agree: what an editor marks is what telltale refuses, and nothing else.
func TestSchemaAgreesWithTheParser(t *testing.T) {
	s := suiteSchema(t)
	f := func(good bool, suite string) {
		t.Helper()
		schemaErr := s.Validate(asJSON(t, []byte(suite)))
		_, loadErr := config.Load("suite.yaml", []byte(suite), config.Options{
			Env: func(string) (string, bool) { return "3", true },
			Read: func(path string) ([]byte, error) {
				if strings.HasSuffix(path, ".yaml") {
					return []byte("{x: y}"), nil
				}
				return []byte("text"), nil
			},
			Assertion: func(name string) config.Known {
				_, ok := app.AssertionKinds()[name]
				return config.Known{OK: ok}
			},
		})
		if (schemaErr == nil) != good {
			t.Errorf("the schema says %v, want good %v:\n%s", schemaErr, good, suite)
		}
		if (loadErr == nil) != good {
			t.Errorf("the parser says %v, want good %v:\n%s", loadErr, good, suite)
		}
	}
	const base = "providers: [echo]\ntests: [{vars: {q: hi}}]\n"

	// The suite itself.
	f(true, base)
	f(true, "targets: echo\ntests: cases.jsonl\n")
	f(false, "tests: cases.jsonl\n")
	f(false, "providers: [echo]\n")
	f(false, base+"provider: echo\n")
	f(true, base+"$schema: ./suite.schema.json\ndescription: 2026\ntags: [a, 1]\n")
	f(true, base+"tags: {team: support, year: 2026}\n")
	f(true, base+"tags: a, b\n")
	f(true, base+"samples: 3\nseed: -7\ngroups: topic\n")
	f(false, base+"samples: 0\n")
	f(false, base+"samples: many\n")
	f(false, base+"samples: 1.5\n")
	f(true, base+"samples: ${N}\nseed: \"${SEED:-7}\"\n")
	f(true, base+"samples: \"{{env.N}}\"\n")

	// Prompts.
	f(true, base+"prompts: \"{{q}}\"\n")
	f(true, base+"prompts: {raw: \"{{q}}\", label: p, system: Be brief}\n")
	f(true, base+"prompts: [file://p.txt, {file: p.txt}, {id: \"{{q}}\"}, [{role: user, content: \"{{q}}\"}]]\n")
	f(true, base+"prompts: [{messages: [{examples: {user: \"{{a}}\", assistant: \"{{b}}\"}}, {role: user, content: \"{{q}}\"}], examples: [{a: 1, b: 2}]}]\n")
	f(true, base+"prompts: [[{role: user, content: [{type: text, text: \"{{q}}\"}, {type: image_url, image_url: {url: \"https://example.org/a.png\", detail: low}}]}]]\n")
	f(true, base+"prompts: [[{role: user, content: [{type: image_url, image_url: \"https://example.org/a.png\"}]}]]\n")
	f(false, base+"prompts: [{label: p}]\n")
	f(false, base+"prompts: [{raw: \"{{q}}\", function: f}]\n")
	f(false, base+"prompts: [{messages: hello}]\n")
	f(false, base+"prompts: [[{role: narrator, content: x}]]\n")
	f(false, base+"prompts: [[{role: user}]]\n")

	// Providers.
	f(true, "providers: {id: echo, label: e, prompts: \"{{prompt}}\"}\ntests: c.csv\n")
	f(true, "providers: [\"openai:chat:m\", {id: sim, config: {seed: 3}}, {\"openai:chat:n\": {label: n}}, {\"exec:./bot\": }]\ntests: c.csv\n")
	f(false, "providers: [{id: echo, cofnig: {}}]\ntests: c.csv\n")
	f(false, "providers: [{\"openai:chat:n\": {model: n}}]\ntests: c.csv\n")
	f(false, "providers: [{label: e, config: {}}]\ntests: c.csv\n")
	f(false, "providers: [{id: echo, config: fast}]\ntests: c.csv\n")

	// Tests.
	f(true, "providers: {id: echo, delay: 5, prompts: [a]}\nprompts: {raw: \"{{q}}\", label: a}\ntests: c.csv\n")
	f(true, "x-shared: {a: 1}\nproviders: echo\nprompts: {raw: \"{{q}}\", label: a, id: b}\ntests: [{provider: {id: echo}, providers: echo, prompts: [a, \"b*\"], options: {repeat: 2, storeOutputAs: s, transformVars: \"{a: vars.b}\", disableVarExpansion: false, disableConversationVar: true}}]\n")
	f(false, "providers: echo\ntests: [{providers: []}]\n")
	f(false, "providers: echo\ntests: [{options: {repeat: 0}}]\n")
	f(true, "providers: echo\ntests: {path: c.csv, format: csv, sample: 5, filter: [a, \"!b\"], id: i, group: g, tags: t}\n")
	f(true, "providers: echo\ntests: [file://c.csv, {path: \"-\", filter: {tags: a}}, {id: 12, vars: file://v.yaml}]\n")
	f(true, "providers: echo\ntests: {path: \"${IN}\", sample: \"${N}\"}\n")
	f(false, "providers: echo\ntests: {path: c.csv, format: xlsx}\n")
	f(false, "providers: echo\ntests: {path: c.csv, sample: 0}\n")
	f(false, "providers: echo\ntests: {path: c.csv, fields: t}\n")
	f(false, "providers: echo\ntests: {path: c.csv, filter: {tag: a}}\n")
	f(true, "providers: echo\ntests: {vars: {q: 1}, description: d, threshold: 0.5, metadata: {a: [1]}, tags: a, group: g, critical: true, options: {prefix: P, suffix: S, disableVarExpansion: true, disableDefaultAsserts: false}}\n")
	f(false, "providers: echo\ntests: [{vars: {q: 1}, threshold: 1.5}]\n")
	f(false, "providers: echo\ntests: [{vars: {q: 1}, critical: sometimes}]\n")
	f(false, "providers: echo\ntests: [{var: {q: 1}}]\n")
	f(true, base+"defaultTest: {vars: {x: y}, threshold: 1}\n")

	// Assertions.
	f(true, base+"defaultTest: {assert: [{type: not-contains, value: x, weight: 0, metric: m}, {type: latency, threshold: 2000}, {type: language, value: en, config: {}}]}\n")
	f(true, base+"defaultTest: {assert: [{type: contains, value: [1, {a: b}]}, {type: word-count, value: {min: 5}}]}\n")
	f(false, base+"defaultTest: {assert: [{type: cotnains, value: x}]}\n")
	f(false, base+"defaultTest: {assert: [{value: x}]}\n")
	f(false, base+"defaultTest: {assert: [{type: contains, value: x, weight: -1}]}\n")
	f(false, base+"defaultTest: {assert: [{type: contains, value: x, threshold: half}]}\n")
	f(false, base+"defaultTest: {assert: [{type: contains, values: x}]}\n")
	f(false, base+"defaultTest: {assert: {type: contains, value: x}}\n")

	// What to ask of the result, and bounds.
	f(true, base+"gate: {pass_rate: \">= 0.95\", latency: [\"p95 <= 2s\", \"p50 <= 1s\"]}\n")
	f(false, base+"gate: [pass_rate]\n")
	f(false, base+"gate: {pass_rate: {min: 0.95}}\n")
	f(true, base+"budget: {cost: 1.5, tokens: 100000, time: 2m}\n")
	f(true, base+"budget: {time: 90}\n")
	f(false, base+"budget: {cost: 0}\n")
	f(false, base+"budget: {tokens: -1}\n")
	f(false, base+"budget: {time: 0}\n")
	f(false, base+"budget: {dollars: 5}\n")
	f(true, base+"evaluateOptions: {maxConcurrency: 4, repeat: 2, delay: 0, timeoutMs: 30000, cache: false, showProgressBar: true}\n")
	f(false, base+"evaluateOptions: {maxConcurrency: 0}\n")

	// What is promptfoo's.
	f(true, "providers: echo\nscenarios: [{config: [{vars: {a: b}}], tests: [{vars: {c: d}}]}]\ntests: [{}]\n")
	f(false, "providers: echo\nscenarios: [{tests: [{}]}]\n")
	f(true, base+"assertionTemplates: {p: {type: contains, value: x}}\ndefaultTest: {assert: [{$ref: \"#/assertionTemplates/p\", weight: 2}]}\n")
	f(true, base+"defaultTest: {assert: [{type: assert-set, threshold: 0.5, assert: [{type: contains, value: x}]}]}\n")
	f(true, base+"env: {A: b, PORT: 80}\noutputPath: [a.json]\nsharing: false\nmetadata: {a: b}\n")
	f(true, base+"derived: {a: score * 2}\nderivedMetrics: [{name: b, value: a / 2}]\n")
	f(false, base+"derivedMetrics: [{name: b}]\n")
	f(true, base+"commandLineOptions: {maxConcurrency: 2, share: false}\n")
	f(true, base+"prompts: {file://p.txt: one, \"Say {{q}}\": two}\n")
	f(true, base+"defaultTest: {vars: [file://v.yaml], options: {transform: output.trim(), provider: {id: echo}, rubricPrompt: [a]}}\n")
	f(true, "providers: [{id: echo, transform: output.trim(), env: {A: b}}]\ntests: [{vars: {q: 1}, providerOutput: {a: 1}, turns: [{user: hi, assert: []}]}]\n")
	f(false, base+"extensions: [file://a.js:b]\n")
	f(false, base+"evaluateOptions: {concurrency: 4}\n")
}

// Every key that an editor offers says what it is for, and no two definitions say the same.
func TestSchemaIsReadable(t *testing.T) {
	b, err := config.SuiteSchema(app.AssertionKinds())
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if errs := undescribed(doc, "suite"); len(errs) > 0 {
		t.Errorf("keys without a description:\n%v", errors.Join(errs...))
	}
	if n := bytes.Count(b, []byte(`"not-contains"`)); n != 1 {
		t.Errorf("the assertion types are listed %d times", n)
	}
	if strings.Contains(string(b), `\u00`) {
		t.Error("characters are escaped that a reader wants to see")
	}
}

func undescribed(v any, path string) (errs []error) {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			errs = append(errs, undescribed(e, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case map[string]any:
		for key, e := range v {
			if props, ok := e.(map[string]any); ok && key == "properties" {
				for name, p := range props {
					if d, _ := p.(map[string]any)["description"].(string); d == "" {
						errs = append(errs, fmt.Errorf("%s.%s", path, name))
					}
				}
			}
			errs = append(errs, undescribed(e, path+"."+key)...)
		}
	}
	return errs
}
