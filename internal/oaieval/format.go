package oaieval

import (
	"errors"
	"fmt"
	"strings"

	"github.com/telltale-llm/telltale/internal/lmeval/pyjinja"
)

// Format is a text with names in braces, as Python's str.format fills it in. Doubled braces are plain ones.
type Format struct{ parts []formatPart }

type formatPart struct {
	text string
	name string // empty for text
}

// ParseFormat reads a text whose fields are plain names. Formats, conversions and attributes, which evals
// does not fill in, are errors.
func ParseFormat(s string) (*Format, error) {
	f := &Format{}
	var text strings.Builder
	for i := 0; i < len(s); i++ {
		double := i+1 < len(s) && s[i+1] == s[i]
		switch {
		case (s[i] == '{' || s[i] == '}') && double:
			text.WriteByte(s[i])
			i++
		case s[i] == '}':
			return nil, errors.New("a single } in a text that Python's format fills in; write }} for a plain one")
		case s[i] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return nil, errors.New("a { without }; write {{ for a plain one")
			}
			name := s[i+1 : i+end]
			if name == "" || strings.ContainsAny(name, "!:.[]{") {
				return nil, fmt.Errorf("the field {%s} is not the name of a variable", name)
			}
			f.parts = append(f.parts, formatPart{text: text.String()}, formatPart{name: name})
			text.Reset()
			i += end
		default:
			text.WriteByte(s[i])
		}
	}
	f.parts = append(f.parts, formatPart{text: text.String()})
	return f, nil
}

// Fill puts values in place of names. A chat becomes a text as evals writes it, and everything else what
// Python's str makes of it.
func (f *Format) Fill(vars map[string]any) (string, error) {
	var b strings.Builder
	for _, p := range f.parts {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		v, ok := vars[p.name]
		if !ok {
			return "", fmt.Errorf("the prompt asks for {%s}, which neither the sample nor modelgraded_spec_args has", p.name)
		}
		text, err := Text(v)
		if err != nil {
			return "", fmt.Errorf("%s: %w", p.name, err)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// Text is a value as it stands in a prompt.
func Text(v any) (string, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return pyjinja.Str(v)
	}
	messages := make([]map[string]any, len(list))
	for i, e := range list {
		if messages[i], ok = e.(map[string]any); !ok {
			return pyjinja.Str(v)
		}
	}
	if len(messages) == 1 {
		return pyjinja.Str(messages[0]["content"])
	}
	var b strings.Builder
	for _, m := range messages {
		role, _ := m["role"].(string)
		if name, ok := m["name"].(string); ok {
			role = name
		}
		switch role {
		case "system", "":
			role = ""
		case "example_user":
			role = "User: "
		case "example_assistant":
			role = "Assistant: "
		default:
			role = strings.ToUpper(role[:1]) + strings.ToLower(role[1:]) + ": "
		}
		content, err := pyjinja.Str(m["content"])
		if err != nil {
			return "", err
		}
		b.WriteString(role + content + "\n")
	}
	return strings.TrimLeft(b.String(), " \t\r\n"), nil
}
