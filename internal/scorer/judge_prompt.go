package scorer

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/template"
)

//go:embed prompts/*.txt
var promptFiles embed.FS

// judgePrompt is what a judge is asked: telltale's own words, or a suite's rubricPrompt. It is safe for
// concurrent use.
type judgePrompt struct {
	name     string
	hash     string
	own      bool // a suite's, not telltale's
	plain    bool // the answer is not JSON, whatever the prompt says
	messages []templateMessage
	// text is a suite's text that may turn out to be JSON with messages once it is filled in.
	text *template.Template
}

type templateMessage struct {
	role string
	text *template.Template
}

// builtInPrompts holds telltale's own prompts by name.
var builtInPrompts = sync.OnceValue(func() map[string]*judgePrompt {
	parse := func(name string) (*template.Template, string) {
		b, err := promptFiles.ReadFile("prompts/" + name + ".txt")
		if err != nil {
			panic(err)
		}
		t, err := template.Parse(strings.TrimSpace(string(b)))
		if err != nil {
			panic(fmt.Sprintf("prompts/%s.txt: %v", name, err))
		}
		return t, t.Source()
	}
	system, systemText := parse("system")
	out := map[string]*judgePrompt{}
	for _, name := range []string{
		"llm-rubric", "g-eval-steps", "g-eval", "pairwise", "factuality", "closed-qa", "answer-relevance", "context-recall", "context-relevance",
		"context-precision", "context-faithfulness-statements", "context-faithfulness", "golden", "select-best",
	} {
		user, text := parse(name)
		out[name] = &judgePrompt{name: "prompt", hash: shortHash([]string{systemText, text}), messages: []templateMessage{{"system", system}, {"user", user}}}
	}
	return out
})

// step is one of the prompts of a kind: the file of telltale's own, and the key and the place by which
// a rubricPrompt replaces it.
type step struct{ file, key string }

// promptsOf returns the prompts of a kind: telltale's own, or those in rubricPrompt. A kind with one
// step takes a text or a list of chat messages. One with several takes a mapping by their keys, or a
// list with a prompt for each.
func promptsOf(s Spec, steps ...step) ([]*judgePrompt, error) {
	pos := s.Pos.At("rubricPrompt")
	out := make([]*judgePrompt, len(steps))
	for i, st := range steps {
		p := *builtInPrompts()[st.file]
		if len(steps) > 1 {
			p.name = st.key
		}
		out[i] = &p
	}
	given, err := givenPrompts(s.RubricPrompt, pos, steps)
	if err != nil {
		return nil, err
	}
	for i, v := range given {
		if v == nil {
			continue
		}
		p, err := ownPrompt(v, pos)
		if err != nil {
			return nil, err
		}
		p.name = out[i].name
		out[i] = p
	}
	return out, nil
}

// givenPrompts assigns the parts of a rubricPrompt to the steps.
func givenPrompts(v any, pos config.Pos, steps []step) ([]any, error) {
	if v == nil {
		return nil, nil
	}
	if len(steps) == 1 {
		return []any{v}, nil
	}
	keys := make([]string, len(steps))
	for i := range steps {
		keys[i] = steps[i].key
	}
	want := "a mapping of " + strings.Join(keys, " and ") + ", or a list of as many prompts"
	switch v := v.(type) {
	case map[string]any:
		out := make([]any, len(steps))
		found := 0
		for i, k := range keys {
			if out[i] = v[k]; out[i] != nil {
				found++
			}
		}
		if found != len(v) {
			return nil, &config.Error{Pos: pos, Problem: "a prompt for a step that there is not", Want: want}
		}
		return out, nil
	case []any:
		if len(v) == len(steps) {
			return v, nil
		}
	}
	return nil, &config.Error{Pos: pos, Problem: fmt.Sprintf("this kind asks its judge %d things", len(steps)), Want: want}
}

// ownPrompt reads a suite's prompt: a text, a text with chat messages in JSON or YAML, a message or a
// list of messages. Values are filled into the texts of messages, never into the JSON around them, so
// that they cannot change its structure.
func ownPrompt(v any, pos config.Pos) (*judgePrompt, error) {
	p := &judgePrompt{own: true, hash: shortHash(v)}
	if s, ok := v.(string); ok {
		list, isList := messageList(s)
		if !isList {
			t, err := template.Parse(s)
			if err != nil {
				return nil, &config.Error{Pos: pos, Err: err}
			}
			if strings.TrimSpace(s) == "" {
				return nil, &config.Error{Pos: pos, Problem: "the prompt is empty", Want: "a text or a list of chat messages"}
			}
			p.text = t
			return p, nil
		}
		v = list
	}
	if one, ok := v.(map[string]any); ok {
		v = []any{one}
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, &config.Error{Pos: pos, Value: fmt.Sprint(v), Problem: "not a prompt", Want: "a text or a list of chat messages"}
	}
	for i, e := range list {
		m, _ := e.(map[string]any)
		role, isRole := m["role"].(string)
		content, isText := m["content"].(string)
		if !isRole || !isText || len(m) != 2 {
			return nil, &config.Error{Pos: pos.At(fmt.Sprintf("[%d]", i)), Problem: "not a chat message", Want: "role and content, both texts"}
		}
		t, err := template.Parse(content)
		if err != nil {
			return nil, &config.Error{Pos: pos.At(fmt.Sprintf("[%d].content", i)), Err: err}
		}
		p.messages = append(p.messages, templateMessage{role, t})
	}
	return p, nil
}

// messageList reads a text that holds a list of messages before anything is filled in.
func messageList(s string) ([]any, bool) {
	s = strings.TrimSpace(s)
	var list []any
	switch {
	case strings.HasPrefix(s, "["):
		if json.Unmarshal([]byte(s), &list) != nil {
			return nil, false
		}
	case strings.HasPrefix(s, "- role:") || strings.HasPrefix(s, "- content:"):
		if yaml.Unmarshal([]byte(s), &list) != nil {
			return nil, false
		}
	default:
		return nil, false
	}
	if len(list) == 0 {
		return nil, false
	}
	for _, e := range list {
		if m, ok := e.(map[string]any); !ok || m["role"] == nil {
			return nil, false
		}
	}
	return list, true
}

// material marks a text of unknown intent. In telltale's own prompts it stands between tags that it
// cannot close; a suite's own prompt gets it as it is.
type material struct{ tag, text string }

// render fills the prompt in. A suite's own prompt sees the case's variables too, which never take the
// place of what the judge is to see.
func (p *judgePrompt) render(in *Input, vars map[string]any) ([]record.Message, error) {
	all := make(map[string]any, len(vars)+len(in.Vars))
	if p.own {
		for k, v := range in.Vars {
			all[k] = v
		}
	}
	for k, v := range vars {
		switch v := v.(type) {
		case material:
			all[k] = v.text
			if !p.own {
				all[k] = v.fenced()
			}
		default:
			all[k] = v
		}
	}
	if p.text == nil {
		out := make([]record.Message, len(p.messages))
		for i, m := range p.messages {
			text, err := m.text.Render(all)
			if err != nil {
				return nil, fmt.Errorf("the judge's prompt: %w", err)
			}
			out[i] = record.Message{Role: m.role, Content: text}
		}
		return out, nil
	}
	text, err := p.text.Render(all)
	if err != nil {
		return nil, fmt.Errorf("the judge's prompt: %w", err)
	}
	// Only a template that is written as JSON may become messages, lest an answer do so by itself.
	if strings.HasPrefix(strings.TrimSpace(p.text.Source()), "[") {
		var messages []record.Message
		if err := json.Unmarshal([]byte(text), &messages); err == nil && len(messages) > 0 && messages[0].Role != "" {
			return messages, nil
		}
	}
	return []record.Message{{Role: "user", Content: text}}, nil
}

// asksJSON says whether the judge's provider should be told to give JSON: servers refuse that for a
// prompt that does not mention it.
func (p *judgePrompt) asksJSON(messages []record.Message) bool {
	if p.plain {
		return false
	}
	for i := range messages {
		if strings.Contains(strings.ToLower(messages[i].Text()), "json") {
			return true
		}
	}
	return false
}

// fenced puts the text between tags. Their number is a hash of the text, which therefore cannot hold it.
func (m material) fenced() string {
	tag := m.tag + "-" + record.HashBytes([]byte(m.tag + "\n" + m.text))[:12]
	for i := 0; strings.Contains(m.text, tag); i++ {
		tag = m.tag + "-" + record.HashBytes(fmt.Appendf(nil, "%s\n%d\n%s", m.tag, i, m.text))[:12]
	}
	return "<" + tag + ">\n" + m.text + "\n</" + tag + ">"
}

// asText is a value as a judge sees it: a text as it is, anything else as JSON.
func asText(v any) string {
	if s, ok := text(v); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
