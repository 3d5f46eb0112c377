package otlp

import (
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

const (
	maxMessages = 10_000
	maxName     = 256
)

// turn is a message in whatever shape a client wrote it, in one.
type turn struct {
	role   string
	parts  []record.Part
	calls  []record.ToolCall
	refuse string
	finish string
}

// text joins the texts of a turn.
func (t *turn) text() string {
	return record.Message{Parts: t.parts}.Text()
}

// message is the turn as one message of a prompt: calls are written below the text as NAME(ARGUMENTS).
func (t *turn) message() record.Message {
	m := record.Message{Role: t.role, Parts: t.parts}
	for _, c := range t.calls {
		m.Parts = append(m.Parts, record.Part{Text: c.Name + "(" + c.Arguments + ")"})
	}
	for _, p := range m.Parts {
		if p.ImageURL != "" {
			return m
		}
	}
	m.Content, m.Parts = m.Text(), nil
	return m
}

// turns reads messages from a text, a list, or an object that holds them, as clients write requests and answers. role
// is the one of what has none.
func turns(v any, role string) []turn {
	return turnsAt(v, role, 0)
}

// maxNesting bounds how deep messages are looked for.
const maxNesting = 8

func turnsAt(v any, role string, depth int) []turn {
	if depth > maxNesting {
		return nil
	}
	switch v := unpack(v).(type) {
	case string:
		if v != "" {
			return []turn{{role: role, parts: []record.Part{{Text: v}}}}
		}
	case []any:
		var out []turn
		for _, e := range v {
			if len(out) >= maxMessages {
				break
			}
			if s, ok := e.(string); ok { // not decoded: it is what somebody said
				out = append(out, turn{role: role, parts: []record.Part{{Text: s}}})
				continue
			}
			out = append(out, turnsAt(e, role, depth+1)...)
		}
		return out
	case map[string]any:
		return turnsOf(v, role, depth)
	}
	return nil
}

// turnsOf reads an object: a message, or a request or answer that holds messages.
func turnsOf(m map[string]any, role string, depth int) []turn {
	if inner := object(m["message"]); inner != nil { // OpenInference's and choices' wrapper
		t := oneTurn(inner, role)
		if t.finish == "" {
			t.finish = text(m["finish_reason"])
		}
		return []turn{t}
	}
	var out []turn
	for _, name := range []string{"system", "instructions"} {
		for _, t := range turnsAt(m[name], "system", depth+1) {
			t.role = "system"
			out = append(out, t)
		}
	}
	for _, name := range []string{"messages", "choices", "prompt", "input", "output", "candidates"} {
		if inner, ok := m[name]; ok && m["role"] == nil && m["type"] == nil {
			if found := turnsAt(inner, role, depth+1); len(found) > 0 {
				return append(out, found...)
			}
			if name == "messages" {
				return out
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	t := oneTurn(m, role)
	if len(t.parts) == 0 && len(t.calls) == 0 && t.refuse == "" {
		if m["role"] != nil || m["type"] != nil || m["parts"] != nil || m["content"] != nil || len(m) == 0 {
			return nil
		}
		t.parts = []record.Part{{Text: jsonText(m)}} // an object of the user's own, such as a structured answer
	}
	return []turn{t}
}

// oneTurn reads one message.
func oneTurn(m map[string]any, role string) turn {
	t := turn{role: role, finish: text(m["finish_reason"])}
	if r := text(m["role"]); r != "" {
		t.role = clip(r, maxName)
	}
	switch kind := text(m["type"]); kind {
	case "function_call", "tool_call", "tool-call", "tool_use":
		t.calls = append(t.calls, toolCall(m))
		return t
	case "function_call_output":
		t.role = "tool"
		t.part(m["output"])
		return t
	case "reasoning":
		return t
	}
	for _, name := range []string{"content", "parts", "contents", "text"} {
		v := m[name]
		if v == nil {
			continue
		}
		if s, ok := v.(string); ok && name == "content" {
			t.say(s)
			continue
		}
		t.part(v)
	}
	for _, c := range list(unpack(m["tool_calls"])) {
		if c := object(c); c != nil {
			t.calls = append(t.calls, toolCall(c))
		}
	}
	if c := object(m["function_call"]); c != nil {
		t.calls = append(t.calls, toolCall(c))
	}
	if name := text(m["function_call_name"]); name != "" {
		t.calls = append(t.calls, record.ToolCall{Name: clip(name, maxName), Arguments: jsonText(m["function_call_arguments_json"])})
	}
	t.refuse = text(m["refusal"])
	return t
}

func (t *turn) say(s string) {
	if s != "" {
		t.parts = append(t.parts, record.Part{Text: s})
	}
}

// part reads the pieces of a message.
func (t *turn) part(v any) {
	switch v := v.(type) {
	case string:
		t.say(v)
	case []any:
		for _, e := range v {
			if len(t.parts) < maxMessages {
				if s, ok := e.(string); ok {
					t.say(s)
				} else if m := object(e); m != nil {
					t.piece(m)
				}
			}
		}
	case map[string]any:
		t.piece(v)
	}
}

// piece reads one piece in the shapes of the semantic conventions, OpenAI, Anthropic, OpenInference and the AI SDK.
func (t *turn) piece(m map[string]any) {
	if inner := object(m["message_content"]); inner != nil {
		m = inner
	}
	switch kind := text(m["type"]); kind {
	case "text", "input_text", "output_text", "":
		t.say(firstText(m, "text", "content"))
	case "tool_call", "tool-call", "tool_use", "function_call":
		t.calls = append(t.calls, toolCall(m))
	case "tool_call_response", "tool-result", "tool_result":
		if t.role == "user" || t.role == "" {
			t.role = "tool"
		}
		for _, name := range []string{"response", "result", "output", "content"} {
			if v := m[name]; v != nil {
				t.say(resultText(v))
				break
			}
		}
	case "refusal":
		t.refuse = firstText(m, "refusal", "content")
	case "reasoning", "thinking", "redacted_thinking":
	case "image_url", "image", "input_image", "blob", "uri", "file", "input_audio":
		t.media(kind, m)
	default:
		if s := firstText(m, "text", "content"); s != "" {
			t.say(s)
			return
		}
		t.say("[" + clip(kind, maxName) + "]")
	}
}

// resultText is what a tool gave, as text.
func resultText(v any) string {
	if m := object(v); m != nil {
		if s := text(m["value"]); s != "" && len(m) <= 2 { // the AI SDK's {type: text, value}
			return s
		}
	}
	if l := list(v); l != nil {
		inner := turn{role: "tool"}
		inner.part(l)
		if s := inner.text(); s != "" {
			return s
		}
	}
	return jsonText(v)
}

// media keeps the address of an image, or a mark of what came inline.
func (t *turn) media(kind string, m map[string]any) {
	url := firstText(m, "image_url", "uri", "url", "image", "file_id")
	media := firstText(m, "mime_type", "media_type", "mediaType", "modality")
	data := firstText(m, "data", "file_data")
	if kind == "blob" {
		data = firstText(m, "content", "data")
	}
	for _, name := range []string{"image_url", "image", "source", "input_audio", "file"} {
		inner := object(m[name])
		for inner != nil {
			if s := firstText(inner, "url"); s != "" {
				url = s
			}
			if s := firstText(inner, "data", "file_data"); s != "" {
				data = s
			}
			if s := firstText(inner, "media_type", "format"); s != "" {
				media = s
			}
			inner = object(inner["image"]) // OpenInference's image.image.url
		}
	}
	if rest, ok := strings.CutPrefix(url, "data:"); ok {
		head, inline, _ := strings.Cut(rest, ",")
		media, _, _ = strings.Cut(head, ";")
		url, data = "", inline
	}
	switch image := kind == "image_url" || kind == "image" || kind == "input_image" || strings.HasPrefix(media, "image"); {
	case url != "" && (image || kind == "uri"):
		t.parts = append(t.parts, record.Part{ImageURL: clip(url, 2048)})
	case data != "" && image:
		t.parts = append(t.parts, record.Part{ImageURL: record.InlineMark(media, []byte(data))})
	case data != "":
		t.say("[" + kind + " " + record.InlineMark(media, []byte(data)) + "]")
	default:
		t.say("[" + kind + "]")
	}
}

// toolCall reads a call in any of the shapes.
func toolCall(m map[string]any) record.ToolCall {
	if inner := object(m["tool_call"]); inner != nil {
		m = inner
	}
	c := record.ToolCall{ID: clip(firstText(m, "id", "call_id", "toolCallId", "tool_call_id"), maxName), Name: firstText(m, "name", "toolName")}
	f := object(m["function"])
	if f == nil {
		f = m
	} else if c.Name == "" {
		c.Name = text(f["name"])
	}
	c.Name = clip(c.Name, maxName)
	for _, name := range []string{"arguments", "input", "args"} {
		if v, ok := f[name]; ok {
			c.Arguments = jsonText(v)
			break
		}
	}
	return c
}

// said is what was said in one exchange, gathered from wherever a client put it.
type said struct {
	system string
	input  []turn
	output []turn
}

func (s *said) empty() bool { return s.system == "" && len(s.input) == 0 && len(s.output) == 0 }

// missing takes from other what s lacks.
func (s *said) missing(other said) {
	if s.system == "" && len(s.input) == 0 {
		s.system, s.input = other.system, other.input
	}
	if len(s.output) == 0 {
		s.output = other.output
	}
}

// write puts what was said into an exchange, within half of limit bytes for each side. one says that the turns of the
// output are alternatives, of which the first is kept; else they belong together.
func (s *said) write(x *record.Exchange, one bool, limit int) {
	if s.empty() {
		return
	}
	c := &record.Content{}
	system := []string{}
	if s.system != "" {
		system = append(system, s.system)
	}
	for i := range s.input {
		t := &s.input[i]
		if (t.role == "system" || t.role == "developer") && len(c.Input) == 0 {
			if text := t.text(); text != "" && text != s.system {
				system = append(system, text)
			}
			continue
		}
		c.Input = append(c.Input, t.message())
	}
	c.System = strings.Join(system, "\n\n")
	output := s.output
	if one && len(output) > 1 {
		output = output[:1]
		x.Cut = append(x.Cut, "choices")
	}
	var texts []string
	for i := range output {
		t := &output[i]
		if text := t.text(); text != "" {
			texts = append(texts, text)
		}
		c.ToolCalls = append(c.ToolCalls, t.calls...)
		c.Refusal += t.refuse
		if x.FinishReason == "" {
			x.FinishReason = clip(t.finish, maxName)
		}
	}
	c.Output = strings.Join(texts, "\n")
	x.Refused = x.Refused || c.Refusal != ""
	bound(x, c, limit/2)
	x.Content = c
}

// bound cuts content to n bytes for each side. Of the messages the last are kept.
func bound(x *record.Exchange, c *record.Content, n int) {
	cut := func(name string) { x.Cut = append(x.Cut, name) }
	if len(c.System) > n {
		c.System = clip(c.System, n)
		cut("system")
	}
	room := n - len(c.System)
	for i := len(c.Input) - 1; i >= 0; i-- {
		m := c.Input[i]
		size := len(m.Role) + len(m.Content)
		for _, p := range m.Parts {
			size += len(p.Text) + len(p.ImageURL)
		}
		if size <= room {
			room -= size
			continue
		}
		cut("input")
		if i == len(c.Input)-1 {
			c.Input = []record.Message{{Role: m.Role, Content: clip(m.Text(), room)}}
		} else {
			c.Input = c.Input[i+1:]
		}
		break
	}
	room = n
	short := false
	take := func(s string) string {
		short = short || len(s) > room
		s = clip(s, room)
		room -= len(s)
		return s
	}
	c.Output, c.Refusal = take(c.Output), take(c.Refusal)
	for i := range c.ToolCalls {
		if i == 128 {
			c.ToolCalls, short = c.ToolCalls[:i], true
			break
		}
		c.ToolCalls[i].Arguments = take(c.ToolCalls[i].Arguments)
	}
	if short {
		cut("output")
	}
}
