package httpjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/template"
)

// chat is a prompt of several messages: their JSON where a text is wanted, the list itself where a
// value is.
type chat struct {
	text string
	list any
}

// String makes it print as its JSON.
func (c chat) String() string { return c.text }

// body is the request's body: JSON whose texts are templates, or one template for the whole.
type body struct {
	json *node
	text *template.Template
	// looksJSON says that the filled text must be valid JSON.
	looksJSON bool
}

// node is a JSON value. A text without a template, and everything else without one inside, is kept
// encoded.
type node struct {
	encoded []byte
	text    *template.Template
	// name is set for a text that is one variable alone, whose value keeps its shape.
	name string
	list []*node
	keys []string // of a mapping, in order; list holds the values
	dict bool
}

// newBody reads a body as the suite has it. shown is the body without credentials, for the snapshot.
func newBody(v any, parse func(string) (*template.Template, error)) (b *body, shown any, secrets []string, err error) {
	text, isText := v.(string)
	if isText {
		var decoded any
		if json.Unmarshal([]byte(text), &decoded) != nil {
			t, err := parse(text)
			trimmed := strings.TrimSpace(text)
			return &body{text: t, looksJSON: strings.HasPrefix(trimmed, "{") && !strings.HasPrefix(trimmed, "{{") && !strings.HasPrefix(trimmed, "{%") || strings.HasPrefix(trimmed, "[")}, text, nil, err
		}
		v = decoded
	}
	shown, secrets = mask(v, "")
	n, err := newNode(v, parse)
	return &body{json: n}, shown, secrets, err
}

// mask replaces the values of fields that are credentials by their names.
func mask(v any, name string) (shown any, secrets []string) {
	switch v := v.(type) {
	case string:
		if secretName(name) && !template.IsTemplate(v) {
			return "[redacted]", []string{v}
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			var found []string
			out[k], found = mask(e, k)
			secrets = append(secrets, found...)
		}
		return out, secrets
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			var found []string
			out[i], found = mask(e, name)
			secrets = append(secrets, found...)
		}
		return out, secrets
	}
	return v, nil
}

func newNode(v any, parse func(string) (*template.Template, error)) (*node, error) {
	switch v := v.(type) {
	case string:
		if !template.IsTemplate(v) {
			return &node{encoded: wire.AppendString(nil, v)}, nil
		}
		t, err := parse(v)
		if err != nil {
			return nil, err
		}
		n := &node{text: t}
		if names, ok := t.Names(); ok && len(names) == 1 && strings.HasPrefix(v, "{{") && strings.HasSuffix(v, "}}") {
			n.name = names[0]
		}
		return n, nil
	case []any:
		n := &node{}
		for _, e := range v {
			sub, err := newNode(e, parse)
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, sub)
		}
		return n, nil
	case map[string]any:
		n := &node{dict: true, keys: wire.SortedKeys(v)}
		for _, k := range n.keys {
			if template.IsTemplate(k) {
				return nil, fmt.Errorf("the key %q is a template: only values can be", k)
			}
			sub, err := newNode(v[k], parse)
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, sub)
		}
		return n, nil
	}
	encoded, err := json.Marshal(v)
	return &node{encoded: encoded}, err
}

// media is the content type when the suite gives none.
func (b *body) media() string {
	if b.json != nil || b.looksJSON {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

func (b *body) render(vars map[string]any) ([]byte, error) {
	if b.json != nil {
		return b.json.render(nil, vars)
	}
	if !b.looksJSON {
		text, err := b.text.Render(escaped(b.text, vars, asIs))
		return []byte(text), err
	}
	text, err := b.text.Render(escaped(b.text, vars, insideQuotes))
	if err != nil {
		return nil, err
	}
	if !json.Valid([]byte(text)) {
		return nil, errors.New("the filled template is not JSON: texts belong in quotes, lists and mappings without")
	}
	return []byte(text), nil
}

// insideQuotes is a text as it stands between the quotes of a JSON string.
func insideQuotes(s string) string {
	b := wire.AppendString(nil, s)
	return string(b[1 : len(b)-1])
}

func asIs(s string) string { return s }

// escaped replaces texts by what escape makes of them, and lists and mappings by their JSON unless the
// template may look inside them.
func escaped(t *template.Template, vars map[string]any, escape func(string) string) map[string]any {
	_, simple := t.Names()
	out := make(map[string]any, len(vars))
	for k, v := range vars {
		switch v := v.(type) {
		case string:
			out[k] = escape(v)
		case chat:
			out[k] = escape(v.text)
		case []any, map[string]any:
			if !simple {
				out[k] = v
				continue
			}
			out[k] = wire.JSON(v)
		default:
			out[k] = v
		}
	}
	return out
}

func (n *node) render(b []byte, vars map[string]any) ([]byte, error) {
	switch {
	case n.encoded != nil:
		return append(b, n.encoded...), nil
	case n.text != nil:
		return n.value(b, vars)
	}
	open, end := byte('['), byte(']')
	if n.dict {
		open, end = '{', '}'
	}
	b = append(b, open)
	for i, sub := range n.list {
		if i > 0 {
			b = append(b, ',')
		}
		if n.dict {
			b = append(wire.AppendString(b, n.keys[i]), ':')
		}
		var err error
		if b, err = sub.render(b, vars); err != nil {
			if n.dict {
				err = fmt.Errorf("%s: %w", n.keys[i], err)
			}
			return nil, err
		}
	}
	return append(b, end), nil
}

// value renders a template. One variable alone keeps the shape of its value.
func (n *node) value(b []byte, vars map[string]any) ([]byte, error) {
	if v, given := vars[n.name]; given && n.name != "" {
		if c, ok := v.(chat); ok {
			v = c.list
		}
		if s, ok := v.(string); ok {
			return wire.AppendString(b, s), nil
		}
		return append(b, wire.JSON(v)...), nil
	}
	text, err := n.text.Render(escaped(n.text, vars, asIs))
	if err != nil {
		return nil, err
	}
	return wire.AppendString(b, text), nil
}
