package scorer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/telltale-llm/telltale/internal/config"
)

// structureKinds are the checks on the answer's form.
func structureKinds() []Kind {
	return []Kind{
		{Name: "is-json", Summary: "the output is one JSON value; with a value, one that conforms to that JSON Schema", Version: "1",
			Value: Optional, Build: withoutConfig(buildIsJSON)},
		{Name: "json-schema", Summary: "the output is one JSON value that conforms to the JSON Schema in value", Version: "1",
			Value: Required, Build: withoutConfig(buildIsJSON)},
		{Name: "contains-json", Summary: "the output contains a JSON object or array; with a value, one that conforms to that JSON Schema", Version: "1",
			Value: Optional, Build: withoutConfig(buildContainsJSON)},
		{Name: "is-xml", Summary: "the output is a well-formed XML document; with a value, one that has its requiredElements", Version: "1",
			Value: Optional, Build: withoutConfig(buildIsXML)},
		{Name: "contains-xml", Summary: "the output contains a well-formed XML element; with a value, its requiredElements", Version: "1",
			Value: Optional, Build: withoutConfig(buildContainsXML)},
	}
}

// schemaURL is the name under which a schema is compiled. It has a scheme of its own so that a
// relative $ref cannot become the path of a file.
const schemaURL = "telltale:///schema"

// noLoading refuses every reference out of the schema: a check must not reach for the network or
// for files that are not part of the suite.
type noLoading struct{}

func (noLoading) Load(url string) (any, error) {
	return nil, fmt.Errorf("a $ref to %s is not followed: a schema must hold all it refers to", quote(strings.TrimPrefix(url, "telltale:///")))
}

// patternTimeout is thrown by a schema's pattern, whose interface has no room for an error, and
// caught by conforms.
type patternTimeout struct{ err error }

type schemaPattern struct{ expression }

func (p schemaPattern) String() string { return p.expression.(fmt.Stringer).String() }

func (p schemaPattern) MatchString(s string) bool {
	start, _, err := p.find(s)
	if err != nil {
		panic(patternTimeout{err})
	}
	return start >= 0
}

// schemaOf compiles the assertion's value: a mapping, true or false, or a JSON or YAML text of one.
// It is nil when there is no value.
func schemaOf(s Spec) (*jsonschema.Schema, error) {
	value := s.Value
	if t, ok := value.(string); ok {
		if v, err := decodeJSON(t); err == nil {
			value = v
		} else if err := yaml.Unmarshal([]byte(t), &value); err != nil {
			return nil, badValue(s, "the schema is neither JSON nor YAML: "+firstLine(err), "a JSON Schema")
		}
		if value == nil {
			return nil, badValue(s, "the schema is empty", "a JSON Schema")
		}
	}
	switch value.(type) {
	case nil:
		return nil, nil
	case map[string]any, bool:
	default:
		return nil, badValue(s, fmt.Sprintf("a JSON Schema cannot be %s", jsonType(value)), "a mapping, true or false")
	}
	doc, err := asJSON(value)
	if err != nil {
		return nil, badValue(s, "the schema is not JSON: "+err.Error(), "a JSON Schema")
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoading{})
	c.AssertFormat()
	c.UseRegexpEngine(func(pattern string) (jsonschema.Regexp, error) {
		e, err := compileExpression(pattern)
		if err != nil {
			return nil, err
		}
		return schemaPattern{e}, nil
	})
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, badSchema(s, err)
	}
	schema, err := c.Compile(schemaURL)
	if err != nil {
		return nil, badSchema(s, err)
	}
	return schema, nil
}

func badSchema(s Spec, err error) *config.Error {
	if outer, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		err = outer.Err
	}
	if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return &config.Error{Pos: s.ValuePos, Problem: "not a valid JSON Schema: " + violations(invalid)}
	}
	if refused, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return &config.Error{Pos: s.ValuePos, Problem: refused.Err.Error()}
	}
	return &config.Error{Pos: s.ValuePos, Problem: "not a valid JSON Schema: " + strings.ReplaceAll(firstLine(err), schemaURL, "")}
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func jsonType(v any) string {
	switch v.(type) {
	case []any:
		return "a list"
	case string:
		return "a text"
	}
	return fmt.Sprintf("%v", v)
}

// conforms validates v and says where it does not conform. The error is about not being able to tell.
func conforms(schema *jsonschema.Schema, v any) (problem string, err error) {
	defer func() {
		if p := recover(); p != nil {
			timeout, ok := p.(patternTimeout)
			if !ok {
				panic(p)
			}
			err = timeout.err
		}
	}()
	err = schema.Validate(v)
	if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return violations(invalid), nil
	}
	return "", err
}

// violations lists the innermost causes, at most three.
func violations(e *jsonschema.ValidationError) string {
	printer := message.NewPrinter(language.English)
	var list []string
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			at := "the root"
			if len(e.InstanceLocation) > 0 {
				at = "/" + strings.Join(e.InstanceLocation, "/")
			}
			list = append(list, "at "+at+": "+config.Clip(e.ErrorKind.LocalizedString(printer), 120))
		}
		for _, c := range e.Causes {
			walk(c)
		}
	}
	walk(e)
	if n := len(list); n > 3 {
		list = append(list[:3], fmt.Sprintf("and %d more", n-3))
	}
	return strings.Join(list, "; ")
}

func buildIsJSON(s Spec) (Scorer, error) {
	schema, err := schemaOf(s)
	if err != nil {
		return nil, err
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		v, err := decodeJSON(in.Response.Output)
		if err != nil {
			return judged(false, "the output is not JSON: %v", err), nil
		}
		if schema == nil {
			return judged(true, "the output is JSON"), nil
		}
		problem, err := conforms(schema, v)
		if err != nil {
			return Result{}, err
		}
		if problem != "" {
			return judged(false, "the JSON does not conform to the schema: %s", problem), nil
		}
		return judged(true, "the output is JSON that conforms to the schema"), nil
	}), nil
}

func buildContainsJSON(s Spec) (Scorer, error) {
	schema, err := schemaOf(s)
	if err != nil {
		return nil, err
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		out := in.Response.Output
		first, found, checked, problem := 0, false, 0, ""
		var failure error
		err := eachJSON(out, func(start, end int) bool {
			if schema == nil {
				first, found = start, true
				return false
			}
			v, err := decodeJSON(out[start:end])
			if err != nil {
				return true // nested deeper than the decoder goes
			}
			p, err := conforms(schema, v)
			switch {
			case err != nil:
				failure = err
				return false
			case p == "":
				first, found = start, true
				return false
			case problem == "":
				problem = p
			}
			checked++
			return true
		})
		switch {
		case found:
			return judged(true, "the output contains JSON%s at character %d", conforming(schema), position(out, first)), nil
		case failure != nil:
			return Result{}, failure
		case err != nil:
			return Result{}, err
		case checked == 0:
			return judged(false, "the output contains no JSON object or array"), nil
		case checked == 1:
			return judged(false, "the JSON in the output does not conform to the schema: %s", problem), nil
		}
		return judged(false, "none of the %d JSON values in the output conforms to the schema; the first: %s", checked, problem), nil
	}), nil
}

func conforming(schema *jsonschema.Schema) string {
	if schema == nil {
		return ""
	}
	return " that conforms to the schema"
}
