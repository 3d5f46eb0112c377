package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// SuiteSchema returns the JSON Schema of suite files, made from the types that parse them.
// Assertions lists the known assertion types with a line about each.
//
// It is for editors, so it takes all that Load takes, shorthands and ${NAME} in place of a number
// too, but a key with nothing behind it, and it refuses unknown keys. What depends on more than
// one place, such as a variable that a prompt needs, is left to telltale validate.
func SuiteSchema(assertions map[string]string) ([]byte, error) {
	m := &schemaMaker{assertions: assertions, defs: jsonschema.Definitions{}}
	s := m.object(reflect.TypeFor[wireSuite]())
	s.Version = jsonschema.Version
	s.ID = "https://telltale-llm.github.io/telltale/suite.schema.json"
	s.Title = "telltale suite"
	s.Description = "A regression suite: prompts, providers, tests and a gate."
	either := func(a, b string) *jsonschema.Schema {
		return anyOf(&jsonschema.Schema{Required: []string{a}}, &jsonschema.Schema{Required: []string{b}})
	}
	s.PatternProperties = map[string]*jsonschema.Schema{"^x-": jsonschema.TrueSchema}
	s.AllOf = []*jsonschema.Schema{either("providers", "targets"), either("tests", "scenarios")}
	return m.encode(s)
}

// ServerSchema returns the JSON Schema of a server's configuration; as SuiteSchema.
func ServerSchema(assertions map[string]string) ([]byte, error) {
	m := &schemaMaker{assertions: assertions, defs: jsonschema.Definitions{}}
	s := m.object(reflect.TypeFor[wireServer]())
	s.Version = jsonschema.Version
	s.ID = "https://telltale-llm.github.io/telltale/server.schema.json"
	s.Title = "telltale server"
	s.Description = "What telltale serve does: routes, capture, privacy, access, retention, scorers."
	return m.encode(s)
}

// RolloutSchema returns the JSON Schema of rollouts and experiments; as SuiteSchema.
func RolloutSchema() ([]byte, error) {
	m := &schemaMaker{defs: jsonschema.Definitions{}}
	s := m.object(reflect.TypeFor[wireRollout]())
	s.Version = jsonschema.Version
	s.ID = "https://telltale-llm.github.io/telltale/rollout.schema.json"
	s.Title = "telltale rollout"
	s.Description = "How a candidate replaces a route's baseline in stages, or an experiment with several variants."
	kind := func(name string) *jsonschema.Schema {
		p := jsonschema.NewProperties()
		p.Set("kind", &jsonschema.Schema{Const: name})
		return &jsonschema.Schema{Properties: p}
	}
	experiment := kind(KindExperiment)
	experiment.Required = []string{"kind", "variants", "metric"}
	rollout := kind(KindRollout)
	rollout.Required = []string{"candidate"}
	s.AnyOf = []*jsonschema.Schema{rollout, experiment}
	return m.encode(s)
}

// encode writes the schema with its definitions for a reader.
func (m *schemaMaker) encode(s *jsonschema.Schema) ([]byte, error) {
	s.Definitions = m.defs
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	// The encoder writes for web pages; this file is for reading.
	for _, c := range []struct{ escaped, plain string }{{`\u003c`, "<"}, {`\u003e`, ">"}, {`\u0026`, "&"}} {
		b = bytes.ReplaceAll(b, []byte(c.escaped), []byte(c.plain))
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// schemaMaker makes the schema's definitions, each once, however often it is used.
type schemaMaker struct {
	assertions map[string]string
	defs       jsonschema.Definitions
}

// define returns a reference to a definition, which it makes at first use.
func (m *schemaMaker) define(name string, build func() *jsonschema.Schema) *jsonschema.Schema {
	if _, ok := m.defs[name]; !ok {
		m.defs[name] = &jsonschema.Schema{} // holds the name while it is made
		m.defs[name] = build()
	}
	return &jsonschema.Schema{Ref: "#/$defs/" + name}
}

// object reflects a struct and completes what tags cannot say.
func (m *schemaMaker) object(t reflect.Type) *jsonschema.Schema {
	r := &jsonschema.Reflector{Anonymous: true, DoNotReference: true, ExpandedStruct: true, Mapper: func(at reflect.Type) *jsonschema.Schema {
		if at == t {
			return nil
		}
		return m.shape(at)
	}}
	s := r.ReflectFromType(t)
	s.Version = ""
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		p.Value = m.scalar(p.Value)
		if p.Value.Description == "" {
			p.Value.Description = notes[t][p.Key]
		}
	}
	// What the parser takes and does nothing with is no mistake in an editor either.
	for _, key := range slices.Sorted(maps.Keys(ignoredKeys[t])) {
		s.Properties.Set(key, &jsonschema.Schema{Description: strings.TrimSuffix("Taken for promptfoo's sake, without effect: "+ignoredKeys[t][key], ": ")})
	}
	return s
}

// scalar widens a key's schema to what may be written there: a number where text belongs, and a
// parameter where a number belongs.
func (m *schemaMaker) scalar(s *jsonschema.Schema) *jsonschema.Schema {
	var out *jsonschema.Schema
	switch {
	case s.Type == "string" && s.Enum == nil:
		out = m.text()
	case s.Type == "string", s.Type == "integer", s.Type == "number", s.Type == "boolean":
		one := *s
		one.Description = ""
		out = anyOf(&one, m.parameter())
	default:
		return s
	}
	out.Description = s.Description
	return out
}

func (m *schemaMaker) text() *jsonschema.Schema {
	return m.define("text", func() *jsonschema.Schema {
		return &jsonschema.Schema{Extras: map[string]any{"type": []string{"string", "number", "boolean"}}}
	})
}

func (m *schemaMaker) texts() *jsonschema.Schema { return listOf(m.text()) }

// tags is a list of strings, or one string with commas.
func (m *schemaMaker) tags() *jsonschema.Schema { return anyOf(m.text(), m.texts()) }

func (m *schemaMaker) parameter() *jsonschema.Schema {
	return m.define("parameter", func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Pattern: `\$\{[A-Za-z_]|\{\{-?\s*env\b`, Description: "A parameter, ${NAME} or ${NAME:-default}, filled by --var or the environment"}
	})
}

func anyOf(s ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{AnyOf: s} }
func listOf(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: s}
}

func mappingOf(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", AdditionalProperties: s}
}

// shape returns the schema of a type that has more than one shape, a reference for one that is
// used in several places, and nil for any other.
func (m *schemaMaker) shape(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[duration]():
		return anyOf(&jsonschema.Schema{Type: "number", ExclusiveMinimum: "0"}, &jsonschema.Schema{Type: "string"})
	case reflect.TypeFor[wireAny](), reflect.TypeFor[any]():
		return &jsonschema.Schema{}
	case reflect.TypeFor[Object]():
		return mappingOf(nil)
	case reflect.TypeFor[wireType]():
		return m.assertionTypes()
	case reflect.TypeFor[wireStrings]():
		return m.tags()
	case reflect.TypeFor[wireRefs]():
		list := *m.texts()
		list.MinItems = new(uint64(1))
		return anyOf(m.text(), &list)
	case reflect.TypeFor[wireLabels]():
		return anyOf(mappingOf(m.text()), m.text(), m.texts())
	case reflect.TypeFor[wireFilter]():
		return anyOf(m.text(), m.texts(), m.filter())
	case reflect.TypeFor[wireVars]():
		return anyOf(m.text(), m.texts(), mappingOf(nil))
	case reflect.TypeFor[atText](), reflect.TypeFor[wireText]():
		return m.text()
	case reflect.TypeFor[wireParts]():
		return anyOf(listOf(m.assertion()), m.reference())
	case reflect.TypeFor[wireEnv](), reflect.TypeFor[wireDerived]():
		return mappingOf(m.text())
	case reflect.TypeFor[wireSums]():
		return listOf(&jsonschema.Schema{Type: "object", Required: []string{"name", "value"}})
	case reflect.TypeFor[wireScenarios]():
		one := anyOf(m.text(), m.define("scenario", m.scenario))
		return anyOf(one, listOf(one))
	case reflect.TypeFor[wireGate]():
		return m.gate()
	case reflect.TypeFor[wirePrompts]():
		one := m.define("prompt", m.prompt)
		var keys []any
		for _, key := range jsonKeys(reflect.TypeFor[wirePrompt]()) {
			keys = append(keys, key)
		}
		labels := mappingOf(m.text())
		labels.PropertyNames = &jsonschema.Schema{Not: &jsonschema.Schema{Enum: keys}}
		return anyOf(m.text(), one, labels, listOf(anyOf(m.text(), one, m.messages())))
	case reflect.TypeFor[wireProviders]():
		one := m.define("provider", m.provider)
		return anyOf(one, listOf(one))
	case reflect.TypeFor[wireTests]():
		one := m.define("tests", func() *jsonschema.Schema { return anyOf(m.text(), m.test(), m.define("testFile", m.testFile)) })
		return anyOf(one, listOf(one))
	case reflect.TypeFor[wireDefault]():
		return anyOf(m.text(), m.test())
	case reflect.TypeFor[wireAssertion]():
		return m.assertion()
	case reflect.TypeFor[wireBudget]():
		s := m.object(t)
		for _, key := range []string{"cost", "tokens"} {
			p, _ := s.Properties.Get(key)
			p.AnyOf[0].Minimum, p.AnyOf[0].ExclusiveMinimum = "", "0"
		}
		return s
	case reflect.TypeFor[wireNamed](), reflect.TypeFor[wireFiles]():
		return anyOf(m.text(), m.texts())
	case reflect.TypeFor[wireEvaluate](), reflect.TypeFor[wireOptions](), reflect.TypeFor[wireJudges](), reflect.TypeFor[wireExamplePair](), reflect.TypeFor[wireCommand]():
		return m.object(t)
	case reflect.TypeFor[wireLink]():
		return anyOf(m.text(), m.object(t))
	case reflect.TypeFor[wireShare](), reflect.TypeFor[wireSpan]():
		return anyOf(&jsonschema.Schema{Type: "number", Minimum: "0"}, &jsonschema.Schema{Type: "string"})
	case reflect.TypeFor[wireStage]():
		return anyOf(&jsonschema.Schema{Type: "number", ExclusiveMinimum: "0", Maximum: "1"}, &jsonschema.Schema{Type: "string", Description: "shadow, or a share such as 5%"}, m.object(t))
	case reflect.TypeFor[wireSignal]():
		return m.define("signal", m.signal)
	case reflect.TypeFor[size]():
		return anyOf(&jsonschema.Schema{Type: "integer", ExclusiveMinimum: "0"}, &jsonschema.Schema{Type: "string"})
	case reflect.TypeFor[map[string]any]():
		return mappingOf(nil)
	}
	if t.Kind() == reflect.Struct && strings.HasPrefix(t.Name(), "wire") && (partOf(t, reflect.TypeFor[wireServer]()) || partOf(t, reflect.TypeFor[wireRollout]())) {
		return m.object(t)
	}
	return nil
}

// signal is the kind of one, or a mapping.
func (m *schemaMaker) signal() *jsonschema.Schema {
	all := SignalKinds()
	s := m.object(reflect.TypeFor[wireSignal]())
	kind := &jsonschema.Schema{Type: "string"}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		kind.Enum = append(kind.Enum, name)
		lines = append(lines, all[name])
	}
	kind.Extras = map[string]any{"enumDescriptions": lines}
	one := *kind
	set(s, "kind", &one)
	s.AnyOf = []*jsonschema.Schema{{Required: []string{"kind"}}, {Required: []string{"score"}}}
	for key, words := range map[string][]any{"role": {RoleCritical, RoleSupporting, RoleObserve}, "worse": {"higher", "lower"}} {
		set(s, key, &jsonschema.Schema{Type: "string", Enum: words})
	}
	return anyOf(kind, s)
}

// partOf says whether a type is a part of a configuration, whose parts are reflected one by one so that each
// gets what tags cannot say.
func partOf(t, whole reflect.Type) bool {
	if t == whole {
		return true
	}
	seen := map[reflect.Type]bool{}
	var within func(reflect.Type) bool
	within = func(at reflect.Type) bool {
		for at.Kind() == reflect.Pointer || at.Kind() == reflect.Slice || at.Kind() == reflect.Map {
			at = at.Elem()
		}
		if at == t {
			return true
		}
		if at.Kind() != reflect.Struct || seen[at] {
			return false
		}
		seen[at] = true
		for i := range at.NumField() {
			if jsonKey(at.Field(i)) != "" && within(at.Field(i).Type) {
				return true
			}
		}
		return false
	}
	return within(whole)
}

// assertion is one with a type, or a reference to one of the suite.
func (m *schemaMaker) assertion() *jsonschema.Schema {
	return m.define("assertion", func() *jsonschema.Schema {
		s := m.object(reflect.TypeFor[wireAssertion]())
		s.Required = nil
		s.AnyOf = []*jsonschema.Schema{{Required: []string{"type"}}, {Required: []string{refKey}}}
		s.Properties.Set(refKey, &jsonschema.Schema{Type: "string", Description: "A place of this file such as #/assertionTemplates/NAME"})
		return s
	})
}

// reference is a mapping that stands for another place of the suite.
func (m *schemaMaker) reference() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Required: []string{refKey}}
}

func (m *schemaMaker) scenario() *jsonschema.Schema {
	s := m.object(reflect.TypeFor[wireScenario]())
	cases := func() *jsonschema.Schema {
		one := anyOf(m.text(), m.test())
		return anyOf(one, listOf(one))
	}
	set(s, "config", cases())
	set(s, "tests", cases())
	return s
}

// gate has the reserved keys, and metrics with bounds, margins or lists of them.
func (m *schemaMaker) gate() *jsonschema.Schema {
	amount := anyOf(&jsonschema.Schema{Type: "number", Minimum: "0"}, &jsonschema.Schema{Type: "string"})
	margin := m.define("margin", func() *jsonschema.Schema {
		s := m.object(reflect.TypeFor[wireMargin]())
		set(s, "margin", amount)
		return s
	})
	one := anyOf(&jsonschema.Schema{Type: "string", Description: `A bound such as ">= 0.95", "low >= 90%" or "p95 <= 2s"; see docs/gate.md`}, margin)
	s := m.object(reflect.TypeFor[wireRegression]())
	set(s, "on_undecided", &jsonschema.Schema{Type: "string", Enum: []any{"fail", "warn", "extend"}})
	s.AdditionalProperties = anyOf(one, listOf(one))
	return s
}

// filter is the mapping that a filter may be.
func (m *schemaMaker) filter() *jsonschema.Schema {
	tags := m.tags()
	tags.Description = "Keep cases with all of these tags; !tag excludes"
	s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
	s.Properties.Set("tags", tags)
	return s
}

func (m *schemaMaker) test() *jsonschema.Schema {
	return m.define("test", func() *jsonschema.Schema { return m.object(reflect.TypeFor[wireTest]()) })
}

func (m *schemaMaker) testFile() *jsonschema.Schema { return m.object(reflect.TypeFor[wireTestFile]()) }

// prompt is a mapping with one source: raw, file or messages, or promptfoo's id alone.
func (m *schemaMaker) prompt() *jsonschema.Schema {
	s := m.object(reflect.TypeFor[wirePrompt]())
	set(s, "messages", m.messages())
	set(s, "examples", anyOf(m.text(), listOf(mappingOf(nil))))
	for _, key := range []string{"raw", "file", "messages", "id"} {
		s.AnyOf = append(s.AnyOf, &jsonschema.Schema{Required: []string{key}})
	}
	return s
}

func (m *schemaMaker) messages() *jsonschema.Schema {
	return m.define("messages", func() *jsonschema.Schema {
		s := m.object(reflect.TypeFor[wireMessage]())
		p, _ := s.Properties.Get("role")
		set(s, "role", &jsonschema.Schema{Type: "string", Enum: []any{"system", "developer", "user", "assistant", "tool"}, Description: p.Description})
		set(s, "content", anyOf(m.text(), listOf(m.object(reflect.TypeFor[wirePart]()))))
		s.AnyOf = []*jsonschema.Schema{{Required: []string{"role", "content"}}, {Required: []string{"examples"}}}
		least := uint64(1)
		return &jsonschema.Schema{Type: "array", Items: s, MinItems: &least}
	})
}

// provider is an id, a mapping with an id, or an id that is the key of its settings.
func (m *schemaMaker) provider() *jsonschema.Schema {
	names := &jsonschema.Schema{Type: "string", Enum: []any{"recorded", "echo", "sim"}}
	var keys []any
	settings := func() *jsonschema.Schema {
		s := m.object(reflect.TypeFor[wireProvider]())
		s.Required = nil
		set(s, "id", anyOf(names, m.text()))
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			keys = append(keys, p.Key)
		}
		return s
	}
	full := m.define("providerSettings", settings)
	full.Required = []string{"id"}
	one := uint64(1)
	keyed := &jsonschema.Schema{Type: "object", MinProperties: &one, MaxProperties: &one,
		PropertyNames:        &jsonschema.Schema{Not: &jsonschema.Schema{Enum: keys}},
		AdditionalProperties: anyOf(m.define("providerSettings", settings), &jsonschema.Schema{Type: "null"})}
	return anyOf(names, m.text(), full, keyed)
}

// assertionTypes lists the names that editors complete, each also with not- before it.
func (m *schemaMaker) assertionTypes() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	names := slices.Sorted(maps.Keys(m.assertions))
	var lines []string
	for _, name := range names {
		s.Enum = append(s.Enum, name)
		lines = append(lines, m.assertions[name])
	}
	for _, name := range names {
		s.Enum = append(s.Enum, "not-"+name)
	}
	// Not a keyword of JSON Schema, but editors show it beside each name.
	s.Extras = map[string]any{"enumDescriptions": lines}
	return s
}

// set replaces the schema of a key and keeps its description.
func set(s *jsonschema.Schema, key string, to *jsonschema.Schema) {
	old, _ := s.Properties.Get(key)
	if to.Description == "" {
		to.Description = old.Description
	}
	s.Properties.Set(key, to)
}

// notes describe the keys whose tags do not.
var notes = map[reflect.Type]map[string]string{
	reflect.TypeFor[wireEvaluate](): {
		"maxConcurrency": "Requests at a time for each provider; 16 when it is not set",
		"cache":          "false: neither use nor keep cached answers",
	},
	reflect.TypeFor[wireCommand](): {
		"maxConcurrency": "The same as evaluateOptions.maxConcurrency",
		"repeat":         "The same as samples",
		"delay":          "The same as evaluateOptions.delay",
		"cache":          "The same as evaluateOptions.cache",
	},
	reflect.TypeFor[wireScenario](): {
		"description": "What the scenario is about",
		"tests":       "Cases that each get every configuration",
	},
	reflect.TypeFor[wireTestFile](): {
		"format": "How the file is read; auto, the default, goes by its extension",
	},
	reflect.TypeFor[wireTest](): {
		"description": "What the case is about",
		"assert":      "The checks of an answer, besides those of defaultTest",
		"metadata":    "Data about the case that prompts do not see",
		"options":     "How the case is asked and checked",
		"tags":        "Names to filter by: a list, or one string with commas",
	},
	reflect.TypeFor[wireOptions](): {
		"disableDefaultAsserts": "true: the checks of defaultTest do not apply",
	},
	reflect.TypeFor[wireAssertion](): {
		"threshold": "The least value that passes, or for latency, cost and the like the most; docs/scorers.md says which kinds take one",
	},
	reflect.TypeFor[wireProvider](): {
		"id":      "What answers: openai:chat:MODEL, exec:COMMAND, recorded, echo, sim",
		"label":   "Name in results; the id when it is not set",
		"config":  "The provider's own settings; see docs/providers.md",
		"prompts": "Labels of the prompts that it gets; all when it is not set",
	},
	reflect.TypeFor[wireMessage](): {
		"role":    "Who speaks",
		"content": "A template, or a list of text and image parts",
	},
	reflect.TypeFor[wireExamplePair](): {
		"user":      "Template of the question, filled with one example",
		"assistant": "Template of the answer",
	},
	reflect.TypeFor[wirePart](): {
		"type":      "text or image_url",
		"text":      "A template",
		"image_url": "An address, a data URI or a file:// reference; or a mapping with url and detail",
	},
	reflect.TypeFor[wireLink](): {
		"url":    "An address, a data URI or a file:// reference",
		"detail": "low, high or auto",
	},
}
