package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/template"
)

// Prompt is a compiled prompt. It is safe for concurrent use.
type Prompt struct {
	pos      config.Pos
	text     *template.Template
	messages []message
	examples []any
	// source is the whole template in one text, for the snapshot.
	source string
}

type message struct {
	role string
	text *template.Template
	// parts is set for multi-modal messages.
	parts []messagePart
	// user and assistant are set for a message that stands for one pair per example.
	user, assistant *template.Template
}

type messagePart struct {
	text, image *template.Template
	detail      string
}

// CompilePrompt parses a prompt's templates. The error is a *config.Error.
func CompilePrompt(p config.Prompt) (*Prompt, error) {
	out := &Prompt{pos: p.Pos, examples: p.Examples}
	parse := func(s string) (*template.Template, error) {
		t, err := template.Parse(s)
		if err != nil {
			return nil, &config.Error{Pos: p.Pos, Value: config.Clip(s, 60), Err: err}
		}
		return t, nil
	}
	source, err := json.Marshal(p.Messages)
	if err != nil {
		return nil, err
	}
	out.source = string(source)
	if len(p.Messages) == 0 {
		out.source = p.Text
		out.text, err = parse(p.Text)
		return out, err
	}
	for _, m := range p.Messages {
		c := message{role: m.Role}
		switch {
		case m.Each != nil:
			if len(p.Examples) == 0 {
				return nil, config.Errorf(p.Pos, "the messages ask for examples, but the prompt gives none")
			}
			if c.user, err = parse(m.Each.User); err == nil {
				c.assistant, err = parse(m.Each.Assistant)
			}
		case m.Parts != nil:
			for _, part := range m.Parts {
				mp := messagePart{detail: part.Detail}
				if part.ImageURL != "" {
					mp.image, err = parse(part.ImageURL)
				} else {
					mp.text, err = parse(part.Text)
				}
				if err != nil {
					return nil, err
				}
				c.parts = append(c.parts, mp)
			}
		default:
			c.text, err = parse(m.Text)
		}
		if err != nil {
			return nil, err
		}
		out.messages = append(out.messages, c)
	}
	if len(p.Examples) > 0 {
		b, err := json.Marshal(p.Examples)
		if err != nil {
			return nil, err
		}
		out.source += string(b)
	}
	return out, nil
}

// Source is the prompt's template, whole.
func (p *Prompt) Source() string { return p.source }

// Render fills the prompt with a case's variables.
func (p *Prompt) Render(c *Case) ([]record.Message, error) {
	vars := c.Vars
	if p.examples != nil {
		vars = maps.Clone(vars)
		vars["examples"] = p.examples
	}
	if p.text != nil {
		text, err := p.text.Render(vars)
		if err != nil {
			return nil, err
		}
		if ms, ok, err := chat(text); ok || err != nil {
			return surround(ms, c), err
		}
		return []record.Message{{Role: "user", Content: c.Prefix + text + c.Suffix}}, nil
	}
	var out []record.Message
	for i := range p.messages {
		ms, err := p.messages[i].render(vars, p.examples)
		if err != nil {
			return nil, err
		}
		out = append(out, ms...)
	}
	return surround(out, c), nil
}

// surround puts prefix and suffix around the last text message.
func surround(ms []record.Message, c *Case) []record.Message {
	if n := len(ms) - 1; n >= 0 && ms[n].Parts == nil {
		ms[n].Content = c.Prefix + ms[n].Content + c.Suffix
	}
	return ms
}

// chat reads a rendered text that is a list of chat messages in JSON or YAML, as promptfoo does.
func chat(text string) ([]record.Message, bool, error) {
	trimmed := strings.TrimSpace(text)
	if strings.HasPrefix(trimmed, "- role:") {
		b, err := yaml.YAMLToJSON([]byte(strings.TrimLeft(text, "\r\n")))
		if err != nil {
			return nil, false, fmt.Errorf("the rendered prompt starts like chat messages in YAML but is none: %w; use {{ name | dump }} for text inside YAML", err)
		}
		trimmed = strings.TrimSpace(string(b))
	}
	if !strings.HasPrefix(trimmed, "[") || !strings.Contains(trimmed, `"role"`) {
		return nil, false, nil
	}
	var ms []record.Message
	d := json.NewDecoder(bytes.NewReader([]byte(trimmed)))
	if err := d.Decode(&ms); err != nil {
		return nil, false, fmt.Errorf("the rendered prompt starts like a list of chat messages but is not one: %w; use {{ name | dump }} for text inside JSON", err)
	}
	for i, m := range ms {
		if m.Role == "" {
			return nil, false, fmt.Errorf("message %d of the rendered prompt has no role", i)
		}
	}
	return ms, len(ms) > 0, nil
}

func (m *message) render(vars map[string]any, examples []any) ([]record.Message, error) {
	if m.user != nil {
		return m.renderExamples(vars, examples)
	}
	if m.parts == nil {
		text, err := m.text.Render(vars)
		return []record.Message{{Role: m.role, Content: text}}, err
	}
	out := record.Message{Role: m.role}
	for _, p := range m.parts {
		if p.image == nil {
			text, err := p.text.Render(vars)
			if err != nil {
				return nil, err
			}
			out.Parts = append(out.Parts, record.Part{Text: text})
			continue
		}
		url, err := p.image.Render(vars)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(url, "data:image/") && !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
			return nil, fmt.Errorf("image_url %q: want an http(s) address or a data:image/… URI", config.Clip(url, 60))
		}
		out.Parts = append(out.Parts, record.Part{ImageURL: url, Detail: p.detail})
	}
	return []record.Message{out}, nil
}

func (m *message) renderExamples(vars map[string]any, examples []any) ([]record.Message, error) {
	var out []record.Message
	for i, e := range examples {
		own, _ := e.(map[string]any)
		with := maps.Clone(vars)
		if with == nil {
			with = map[string]any{}
		}
		maps.Copy(with, own)
		for _, turn := range []struct {
			role string
			t    *template.Template
		}{{"user", m.user}, {"assistant", m.assistant}} {
			text, err := turn.t.Render(with)
			if err != nil {
				return nil, fmt.Errorf("example %d: %w", i, err)
			}
			out = append(out, record.Message{Role: turn.role, Content: text})
		}
	}
	return out, nil
}

// CheckPrompt renders the prompt for a case and reports what is wrong as a *config.Error at the case.
func CheckPrompt(p *Prompt, c *Case, at config.Pos) error {
	messages, err := p.Render(c)
	if err == nil {
		if len(c.Turns) > 0 && lastOfUser(messages) < 0 {
			return &config.Error{Pos: at.At("turns"), Problem: fmt.Sprintf("the prompt at %s has no message of the user, before which the turns would stand", p.pos), Want: "a prompt that ends with a message of the user"}
		}
		return nil
	}
	e := &config.Error{Pos: at, Problem: fmt.Sprintf("the prompt at %s cannot be rendered", p.pos), Err: err}
	if m, ok := errors.AsType[*template.MissingError](err); ok {
		e.Pos = at.At("vars." + m.Name)
		e.Err = nil
		e.Problem = fmt.Sprintf("variable %q is not given, but the prompt at %s uses it", m.Name, p.pos)
		given := append([]string(nil), m.Given...)
		sort.Strings(given)
		e.Want = "a value for it; the case has " + strings.Join(given, ", ")
		if len(given) == 0 {
			e.Want = "a value for it; the case has no variables"
		}
	}
	return e
}
