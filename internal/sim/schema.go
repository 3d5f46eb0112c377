package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// schema is the part of JSON Schema that an instance is made for. Patterns, formats other than
// those of filler.str, and conditions between fields are not looked at.
type schema struct {
	Type        any                `json:"type"`
	Properties  properties         `json:"properties"`
	Items       *schema            `json:"items"`
	PrefixItems []*schema          `json:"prefixItems"`
	Enum        []any              `json:"enum"`
	Const       json.RawMessage    `json:"const"`
	AnyOf       []*schema          `json:"anyOf"`
	OneOf       []*schema          `json:"oneOf"`
	AllOf       []*schema          `json:"allOf"`
	Ref         string             `json:"$ref"`
	Defs        map[string]*schema `json:"$defs"`
	Definitions map[string]*schema `json:"definitions"`
	Minimum     *float64           `json:"minimum"`
	Maximum     *float64           `json:"maximum"`
	MinItems    int                `json:"minItems"`
	MaxItems    *int               `json:"maxItems"`
	MinLength   int                `json:"minLength"`
	MaxLength   *int               `json:"maxLength"`
	Format      string             `json:"format"`
}

// UnmarshalJSON also takes true and false, which say nothing about the instance.
func (s *schema) UnmarshalJSON(b []byte) error {
	if t := string(bytes.TrimSpace(b)); t == "true" || t == "false" {
		return nil
	}
	type plain schema
	return json.Unmarshal(b, (*plain)(s))
}

// property is one field of an object.
type property struct {
	name   string
	schema *schema
}

// properties keeps the order in which fields were declared, in which a model answers too.
type properties []property

// UnmarshalJSON reads an object in order.
func (p *properties) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("properties: want an object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var s schema
		if err := d.Decode(&s); err != nil {
			return err
		}
		*p = append(*p, property{name.(string), &s})
	}
	return nil
}

// parseSchema reads a JSON Schema, which must be an object.
func parseSchema(b []byte) (*schema, error) {
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		return nil, fmt.Errorf("want a JSON Schema, an object")
	}
	var s schema
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

const (
	maxSchemaDepth = 12
	maxInstance    = 1 << 16 // bytes, after which lists stay at their shortest
	maxItems       = 64
)

// filler makes an instance of a schema that carries an answer.
type filler struct {
	w    *writer
	text string
	root *schema
	n    int // values made, which keeps draws apart
}

func (f *filler) value(b []byte, s *schema, name string, depth int) []byte {
	f.n++
	if s == nil || depth > maxSchemaDepth || len(b) > maxInstance {
		return append(b, "null"...)
	}
	if s.Ref != "" {
		return f.value(b, f.resolve(s.Ref), name, depth+1)
	}
	for _, list := range [][]*schema{s.AnyOf, s.OneOf, s.AllOf} {
		if len(list) > 0 {
			return f.value(b, list[0], name, depth+1)
		}
	}
	switch {
	case len(s.Const) > 0:
		return append(b, s.Const...)
	case len(s.Enum) > 0:
		return f.enum(b, s.Enum)
	}
	switch kind(s) {
	case "object":
		b = append(b, '{')
		for i, p := range s.Properties {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, p.name)
			b = append(b, ':')
			b = f.value(b, p.schema, p.name, depth+1)
		}
		return append(b, '}')
	case "array":
		return f.list(b, s, name, depth)
	case "integer", "number":
		return f.number(b, s, name)
	case "boolean":
		return strconv.AppendBool(b, draw(f.w.key, forField, f.n) < 0.5)
	case "null":
		return append(b, "null"...)
	}
	return appendString(b, f.str(s, name))
}

// kind returns the type of the instance: the first that is not null, or what the fields imply.
func kind(s *schema) string {
	switch t := s.Type.(type) {
	case string:
		return t
	case []any:
		for _, e := range t {
			if e, ok := e.(string); ok && e != "null" {
				return e
			}
		}
		return "null"
	}
	switch {
	case s.Properties != nil:
		return "object"
	case s.Items != nil || s.PrefixItems != nil:
		return "array"
	}
	return "string"
}

func (f *filler) resolve(ref string) *schema {
	if ref == "#" {
		return f.root
	}
	if name, ok := strings.CutPrefix(ref, "#/$defs/"); ok {
		return f.root.Defs[name]
	}
	if name, ok := strings.CutPrefix(ref, "#/definitions/"); ok {
		return f.root.Definitions[name]
	}
	return nil
}

// enum chooses the answer's intent when it is among the values.
func (f *filler) enum(b []byte, values []any) []byte {
	v := values[pick(f.w.key, forField, f.n, len(values))]
	for _, e := range values {
		if s, ok := e.(string); ok && strings.EqualFold(s, f.w.intent) {
			v = e
		}
	}
	enc, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, enc...)
}

func (f *filler) list(b []byte, s *schema, name string, depth int) []byte {
	n := max(s.MinItems, 1)
	if s.MaxItems != nil {
		n = min(n, *s.MaxItems)
	}
	n = max(min(n, maxItems), len(s.PrefixItems))
	b = append(b, '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		item := s.Items
		if i < len(s.PrefixItems) {
			item = s.PrefixItems[i]
		}
		if item == nil {
			item = &schema{}
		}
		b = f.value(b, item, name, depth+1)
	}
	return append(b, ']')
}

func (f *filler) number(b []byte, s *schema, name string) []byte {
	low, high := 0.0, 100.0
	if s.Minimum != nil {
		low, high = *s.Minimum, *s.Minimum+100
	}
	if s.Maximum != nil {
		high = *s.Maximum
		low = min(low, high)
	}
	v := low + draw(f.w.key, forField, f.n)*(high-low)
	if f.w.number != "" && !strings.Contains(name, "confidence") {
		if n, err := strconv.ParseFloat(f.w.number, 64); err == nil && (s.Minimum == nil || n >= low) && (s.Maximum == nil || n <= high) {
			v = n
		}
	} else if strings.Contains(name, "confidence") && s.Maximum == nil && s.Minimum == nil {
		return f.w.confidence(b)
	}
	if kind(s) == "integer" {
		// Rounding up keeps the minimum, unless that leaves the range.
		if v = math.Ceil(v); v > high {
			v = math.Floor(high)
		}
		return strconv.AppendFloat(b, v, 'f', 0, 64)
	}
	if r := math.Round(v*100) / 100; r >= low && r <= high || f.w.number != "" {
		v = r
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// str chooses a string by the field's format and name, and keeps it within its length.
func (f *filler) str(s *schema, name string) string {
	v := f.text
	switch s.Format {
	case "date":
		v = "2025-01-15"
	case "time":
		v = "09:00:00Z"
	case "date-time":
		v = "2025-01-15T09:00:00Z"
	case "email":
		v = "support@example.com"
	case "uri":
		v = "https://example.com/support"
	case "uuid":
		v = "123e4567-e89b-42d3-a456-426614174000"
	default:
		switch strings.ToLower(name) {
		case "intent", "category", "label", "topic", "type", "class":
			v = f.w.intent
		}
	}
	runes := []rune(v)
	for len(runes) < s.MinLength && len(runes) < maxInstance {
		runes = append(runes, '.')
	}
	if s.MaxLength != nil && len(runes) > *s.MaxLength {
		runes = runes[:max(*s.MaxLength, 0)]
	}
	return string(runes)
}
