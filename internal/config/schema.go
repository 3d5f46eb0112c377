package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/invopop/jsonschema"
	orderedmap "github.com/pb33f/ordered-map/v2"
)

// SuiteSchema returns the JSON Schema of suite files, made from the types that parse them.
// Assertions lists the known assertion types with a line about each.
func SuiteSchema(assertions map[string]string) ([]byte, error) {
	r := &jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, ExpandedStruct: true,
		Mapper: func(t reflect.Type) *jsonschema.Schema { return mapType(t, assertions) },
	}
	s := r.ReflectFromType(reflect.TypeFor[wireSuite]())
	s.Version = jsonschema.Version
	s.ID = "https://telltale-llm.github.io/telltale/suite.schema.json"
	s.Title = "telltale suite"
	s.Description = "A regression suite: prompts, providers, tests and a gate."
	s.Required = []string{"providers", "tests"}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func str() *jsonschema.Schema                          { return &jsonschema.Schema{Type: "string"} }
func number() *jsonschema.Schema                       { return &jsonschema.Schema{Type: "number"} }
func anyOf(s ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{AnyOf: s} }
func listOf(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: s}
}

func mappingOf(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", AdditionalProperties: s}
}

func mapType(t reflect.Type, assertions map[string]string) *jsonschema.Schema {
	sub := func(t reflect.Type) *jsonschema.Schema {
		r := &jsonschema.Reflector{Anonymous: true, DoNotReference: true, ExpandedStruct: true,
			Mapper: func(t reflect.Type) *jsonschema.Schema { return mapType(t, assertions) }}
		s := r.ReflectFromType(t)
		s.Version = ""
		return s
	}
	anything := mappingOf(nil)
	messages := func() *jsonschema.Schema { return listOf(sub(reflect.TypeFor[wireMessage]())) }
	switch t {
	case reflect.TypeFor[duration]():
		return anyOf(number(), str())
	case reflect.TypeFor[wireAny](), reflect.TypeFor[Object]():
		if t == reflect.TypeFor[Object]() {
			return anything
		}
		return &jsonschema.Schema{}
	case reflect.TypeFor[wireType]():
		return assertionTypes(assertions)
	case reflect.TypeFor[wireStrings]():
		return anyOf(str(), listOf(str()))
	case reflect.TypeFor[wireLabels]():
		return anyOf(mappingOf(str()), listOf(str()))
	case reflect.TypeFor[wireFilter]():
		return anyOf(str(), listOf(str()), &jsonschema.Schema{Type: "object", Properties: properties("tags", anyOf(str(), listOf(str())))})
	case reflect.TypeFor[wireVars]():
		return anyOf(str(), anything)
	case reflect.TypeFor[wireGate]():
		return mappingOf(anyOf(str(), listOf(str())))
	case reflect.TypeFor[wireLink]():
		return anyOf(str(), &jsonschema.Schema{Type: "object", Properties: properties("url", str(), "detail", str()), Required: []string{"url"}})
	case reflect.TypeFor[wirePrompts]():
		one := []*jsonschema.Schema{str(), messages(), sub(reflect.TypeFor[wirePrompt]())}
		return anyOf(str(), listOf(anyOf(one...)))
	case reflect.TypeFor[wireProviders]():
		item := anyOf(str(), sub(reflect.TypeFor[wireProvider]()), anything)
		return anyOf(str(), sub(reflect.TypeFor[wireProvider]()), listOf(item))
	case reflect.TypeFor[wireTests]():
		file, one := sub(reflect.TypeFor[wireTestFile]()), sub(reflect.TypeFor[wireTest]())
		return anyOf(str(), file, listOf(anyOf(str(), one, file)))
	case reflect.TypeFor[wireDefault]():
		return anyOf(str(), sub(reflect.TypeFor[wireTest]()))
	case reflect.TypeFor[nodeAt]():
		// A message's content or a prompt's messages.
		return anyOf(str(), &jsonschema.Schema{Type: "array"})
	}
	return nil
}

// assertionTypes lists the names that editors complete, and takes each with not- before it.
func assertionTypes(assertions map[string]string) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	names := sortedKeys(assertions)
	var enum []any
	for _, prefix := range []string{"", "not-"} {
		for _, name := range names {
			enum = append(enum, prefix+name)
		}
	}
	s.Enum = enum
	return s
}

func properties(pairs ...any) *orderedmap.OrderedMap[string, *jsonschema.Schema] {
	p := jsonschema.NewProperties()
	for i := 0; i < len(pairs); i += 2 {
		p.Set(pairs[i].(string), pairs[i+1].(*jsonschema.Schema))
	}
	return p
}

func sortedKeys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
