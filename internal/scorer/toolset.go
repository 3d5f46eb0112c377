package scorer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Toolset is the functions that a model may call. It is safe for concurrent use.
type Toolset struct {
	functions map[string]toolFunction
}

type toolFunction struct {
	schema *jsonschema.Schema // nil takes any object
	// free says that the argument is a text of any form.
	free bool
}

// ProviderTools returns the functions among a provider's parameters, under tools and functions; nil
// when there are none. The error is a *config.Error at pos.
func ProviderTools(params map[string]any, pos config.Pos) (*Toolset, error) {
	var all []any
	for _, key := range []string{"tools", "functions"} {
		switch v := params[key].(type) {
		case nil:
		case []any:
			all = append(all, v...)
		default:
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return NewToolset(all, pos)
}

// NewToolset compiles definitions of tools in the forms of OpenAI (chat, responses and the older
// functions), Anthropic, Google and MCP: one, or a list. Tools that the provider itself runs have no
// name or schema and are passed over. The error is a *config.Error at pos.
func NewToolset(definitions any, pos config.Pos) (*Toolset, error) {
	t := &Toolset{functions: map[string]toolFunction{}}
	list, ok := definitions.([]any)
	if !ok {
		list = []any{definitions}
	}
	if err := t.add(list, pos, 0); err != nil {
		return nil, err
	}
	if len(t.functions) == 0 {
		return nil, &config.Error{Pos: pos, Problem: "no function is defined here", Want: "definitions such as {type: function, function: {name, parameters}}"}
	}
	return t, nil
}

// googleKeys hold lists of functions within one tool of Google's.
var googleKeys = [...]string{"functionDeclarations", "function_declarations"}

func (t *Toolset) add(list []any, pos config.Pos, depth int) error {
	for i, item := range list {
		at := pos.At(fmt.Sprintf("[%d]", i))
		m, ok := item.(map[string]any)
		if !ok {
			return &config.Error{Pos: at, Value: fmt.Sprint(item), Problem: "not the definition of a tool", Want: "a mapping with name and parameters"}
		}
		nested := false
		for _, key := range googleKeys {
			inner, ok := m[key].([]any)
			if !ok || depth > 0 {
				continue
			}
			nested = true
			if err := t.add(inner, at.At(key), depth+1); err != nil {
				return err
			}
		}
		if nested {
			continue
		}
		if err := t.define(m, at); err != nil {
			return err
		}
	}
	return nil
}

func (t *Toolset) define(m map[string]any, at config.Pos) error {
	typ, _ := m["type"].(string)
	free := typ == "custom" && m["input_schema"] == nil
	for _, key := range []string{"function", "custom"} {
		if inner, ok := m[key].(map[string]any); ok {
			m = inner
			break
		}
	}
	name, _ := m["name"].(string)
	if name == "" {
		if typ != "" && typ != "function" && typ != "custom" {
			return nil // run by the provider
		}
		return &config.Error{Pos: at, Problem: "the definition of a function without a name", Want: "name and parameters"}
	}
	if _, twice := t.functions[name]; twice {
		return &config.Error{Pos: at, Value: name, Problem: "the function is defined twice"}
	}
	f := toolFunction{free: free}
	for _, key := range []string{"parameters", "input_schema", "inputSchema", "parametersJsonSchema"} {
		parameters, given := m[key]
		if !given || parameters == nil {
			continue
		}
		if err := mustBeSchema(parameters, at.At(key)); err != nil {
			return err
		}
		schema, err := schemaOf(Spec{Value: lowerTypes(parameters), ValuePos: at.At(key)})
		if err != nil {
			return err
		}
		f.schema = schema
		break
	}
	t.functions[name] = f
	return nil
}

func mustBeSchema(v any, at config.Pos) error {
	switch v.(type) {
	case map[string]any, bool:
		return nil
	}
	return &config.Error{Pos: at, Value: fmt.Sprint(v), Problem: "not a JSON Schema", Want: "a mapping"}
}

// lowerTypes turns Google's names of types, OBJECT and STRING, into those of JSON Schema.
func lowerTypes(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = lowerTypes(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			if name, ok := e.(string); ok && k == "type" {
				switch name {
				case "OBJECT", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "NULL":
					e = strings.ToLower(name)
				}
			}
			out[k] = lowerTypes(e)
		}
		return out
	}
	return v
}

// problem says what is wrong with a call, "" when nothing is. The error is about not being able to tell.
func (t *Toolset) problem(c *record.ToolCall) (string, error) {
	f, ok := t.functions[c.Name]
	if !ok {
		return fmt.Sprintf("there is no function %s", quote(c.Name)), nil
	}
	if f.free {
		return "", nil
	}
	arguments, problem := argumentsOf(c)
	if problem != "" {
		return problem, nil
	}
	if f.schema == nil {
		return "", nil
	}
	problem, err := conforms(f.schema, arguments)
	if problem != "" {
		problem = fmt.Sprintf("the arguments of %s do not conform to its schema: %s", c.Name, problem)
	}
	return problem, err
}

// argumentsOf decodes a call's arguments, which must be a JSON object. No text at all is an empty one:
// some servers write that for a function without parameters.
func argumentsOf(c *record.ToolCall) (arguments map[string]any, problem string) {
	if c.Arguments == "" {
		return map[string]any{}, ""
	}
	v, err := decodeJSON(c.Arguments)
	if err != nil {
		return nil, fmt.Sprintf("the arguments of %s are not JSON: %v", c.Name, err)
	}
	arguments, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Sprintf("the arguments of %s are not a JSON object: %s", c.Name, quote(c.Arguments))
	}
	return arguments, ""
}

// maxToolsFile bounds a file of definitions.
const maxToolsFile = 16 << 20

// readTools replaces file:// references, the whole or items of a list, by what the files hold; a list in
// a list's place is spliced in.
func readTools(v any, at config.Pos, dir string) (any, error) {
	switch v := v.(type) {
	case string:
		path, ok := strings.CutPrefix(v, "file://")
		if !ok {
			var out any
			if err := yaml.Unmarshal([]byte(v), &out); err != nil {
				return nil, &config.Error{Pos: at, Value: v, Problem: "neither JSON nor YAML: " + firstLine(err), Want: "definitions of tools, or file:// with a path"}
			}
			return out, nil
		}
		return toolsFile(path, at, dir)
	case []any:
		var out []any
		for i, e := range v {
			if _, ok := e.(string); !ok {
				out = append(out, e)
				continue
			}
			inner, err := readTools(e, at.At(fmt.Sprintf("[%d]", i)), dir)
			if err != nil {
				return nil, err
			}
			if list, ok := inner.([]any); ok {
				out = append(out, list...)
				continue
			}
			out = append(out, inner)
		}
		return out, nil
	}
	return v, nil
}

func toolsFile(path string, at config.Pos, dir string) (any, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	bad := func(problem string, err error) error {
		return &config.Error{Pos: at, Value: path, Problem: problem, Want: "a JSON or YAML file with definitions of tools", Err: err}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, bad("", err)
	case !info.Mode().IsRegular() || info.Size() > maxToolsFile:
		return nil, bad("not a file of at most 16 MiB", nil)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, bad("", err)
	}
	var out any
	if err := yaml.Unmarshal(data, &out); err != nil {
		return nil, bad("neither JSON nor YAML: "+firstLine(err), nil)
	}
	return out, nil
}
