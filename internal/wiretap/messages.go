package wiretap

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// part is one piece of a message's content while it is read: the members may come in any order.
type part struct {
	kind   string
	text   string
	url    string
	detail string
	media  string
	data   []byte // inline content, as base64
	name   string
	args   string
	nested []record.Part
}

// chatMessage reads a message of the chat and messages APIs. Leading system messages become the system prompt. Results
// of tools that Anthropic puts into a user's message become messages of their own with the role tool. Calls of tools in
// earlier answers are written as NAME(ARGUMENTS), one a line, below the text.
func (r *request) chatMessage() {
	c := &r.c
	var m record.Message
	var calls []string
	var results []record.Message
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "role":
			m.Role = clip(c.str(), maxName)
		case "content":
			var more []string
			more, results = r.content(&m)
			calls = append(calls, more...)
		case "refusal":
			if s := c.str(); s != "" {
				m.Parts = append(m.Parts, record.Part{Text: s})
			}
		case "tool_calls":
			for c.open('['); c.more(']'); {
				calls = append(calls, r.earlierCall())
			}
		case "function_call":
			calls = append(calls, r.earlierCall())
		default:
			c.skip()
		}
	}
	r.add(m, calls, results)
}

// add appends a message with what belongs to it.
func (r *request) add(m record.Message, calls []string, results []record.Message) {
	r.input = append(r.input, results...)
	for _, call := range calls {
		m.Parts = append(m.Parts, record.Part{Text: call})
	}
	if m.Content != "" && len(m.Parts) > 0 {
		m.Parts = append([]record.Part{{Text: m.Content}}, m.Parts...)
	}
	m = plain(m)
	if m.Role == "" && m.Content == "" && m.Parts == nil || len(results) > 0 && m.Content == "" && m.Parts == nil {
		return
	}
	if (m.Role == "system" || m.Role == "developer") && len(r.input) == 0 {
		r.addSystem(m.Text())
		return
	}
	r.input = append(r.input, m)
}

// plain joins a message of texts alone into its content.
func plain(m record.Message) record.Message {
	if len(m.Parts) == 0 {
		return m
	}
	for _, p := range m.Parts {
		if p.ImageURL != "" {
			m.Content = ""
			return m
		}
	}
	m.Content, m.Parts = m.Text(), nil
	return m
}

// earlierCall reads a tool call that a message of the request repeats.
func (r *request) earlierCall() string {
	c := &r.c
	var name, args string
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "function", "custom":
			for c.open('{'); c.more('}'); {
				switch string(c.key()) {
				case "name":
					name = c.str()
				case "arguments", "input":
					args = c.str()
				default:
					c.skip()
				}
			}
		case "name":
			name = c.str()
		case "arguments":
			args = c.str()
		default:
			c.skip()
		}
	}
	return name + "(" + args + ")"
}

// content reads a message's content, a string or a list of parts, into m. It returns the calls of tools in it and the
// results of tools.
func (r *request) content(m *record.Message) (calls []string, results []record.Message) {
	c := &r.c
	if c.space() != '[' {
		m.Content = c.str()
		return nil, nil
	}
	for c.open('['); c.more(']'); {
		if c.space() == '"' {
			m.Parts = append(m.Parts, record.Part{Text: c.str()})
			continue
		}
		p := r.part()
		switch p.kind {
		case "tool_use", "server_tool_use", "mcp_tool_use":
			calls = append(calls, p.name+"("+p.args+")")
		case "tool_result":
			result := record.Message{Role: "tool", Content: p.text, Parts: p.nested}
			results = append(results, plain(result))
		default:
			if kept, ok := p.record(); ok {
				m.Parts = append(m.Parts, kept)
			}
		}
	}
	if len(m.Parts) == 1 && m.Parts[0].ImageURL == "" {
		m.Content, m.Parts = m.Parts[0].Text, nil
	}
	return calls, results
}

// record is what is kept of a part.
func (p *part) record() (record.Part, bool) {
	switch {
	case p.data != nil:
		mark := record.InlineMark(p.media, p.data)
		if p.kind == "image" || p.kind == "image_url" || p.kind == "input_image" {
			return record.Part{ImageURL: mark, Detail: p.detail}, true
		}
		return record.Part{Text: "[" + p.kind + " " + mark + "]"}, true
	case p.url != "":
		return record.Part{ImageURL: p.url, Detail: p.detail}, true
	case p.text != "":
		return record.Part{Text: p.text}, true
	case len(p.nested) > 0:
		return record.Part{Text: record.Message{Parts: p.nested}.Text()}, true
	case p.kind == "thinking" || p.kind == "redacted_thinking" || p.kind == "text" || p.kind == "":
		return record.Part{}, false
	}
	return record.Part{Text: "[" + clip(p.kind, maxName) + "]"}, true
}

// setURL takes an address, of which a data URI's content is not kept.
func (p *part) setURL(raw []byte, escaped bool) {
	const scheme = "data:"
	if len(raw) > len(scheme) && strings.EqualFold(string(raw[:len(scheme)]), scheme) {
		s := text(raw, escaped)
		head, data, _ := strings.Cut(s[len(scheme):], ",")
		p.media, _, _ = strings.Cut(head, ";")
		p.data = []byte(data)
		return
	}
	p.url = clip(text(raw, escaped), 8*maxName)
}

// part reads one piece of content.
func (r *request) part() part {
	c := &r.c
	var p part
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "type":
			p.kind = c.str()
		case "text", "refusal":
			p.text = c.str()
		case "image_url":
			r.imageURL(&p)
		case "detail":
			p.detail = c.str()
		case "source", "input_audio", "file":
			r.source(&p)
		case "file_data":
			r.inline(&p)
		case "name":
			p.name = c.str()
		case "input":
			p.args = strings.ToValidUTF8(string(c.raw()), "\ufffd")
		case "content":
			var m record.Message
			r.content(&m)
			p.nested = m.Parts
			if m.Content != "" {
				p.text = m.Content
			}
		default:
			c.skip()
		}
	}
	return p
}

// imageURL reads OpenAI's two shapes of an image: an object of the chat API, a string of the responses API.
func (r *request) imageURL(p *part) {
	c := &r.c
	if c.space() == '"' {
		p.setURL(c.rawString())
		return
	}
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "url":
			if c.space() == '"' {
				p.setURL(c.rawString())
			} else {
				c.skip()
			}
		case "detail":
			p.detail = c.str()
		default:
			c.skip()
		}
	}
}

// source reads inline or referenced content: Anthropic's source, OpenAI's audio and files.
func (r *request) source(p *part) {
	c := &r.c
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "media_type", "format":
			p.media = c.str()
		case "data", "file_data":
			r.inline(p)
		case "url":
			if c.space() == '"' {
				p.setURL(c.rawString())
			} else {
				c.skip()
			}
		case "file_id":
			p.url = "file:" + clip(c.str(), maxName)
		default:
			c.skip()
		}
	}
}

// inline reads content in base64, bare or as a data URI.
func (r *request) inline(p *part) {
	if r.c.space() != '"' {
		r.c.skip()
		return
	}
	raw, escaped := r.c.rawString()
	if bytes.HasPrefix(raw, []byte("data:")) {
		p.setURL(raw, escaped)
		return
	}
	p.data = raw
}

// items reads the input of the responses API: a string, or a list of messages, calls and results.
func (r *request) items() {
	c := &r.c
	if c.space() == '"' {
		r.input = append(r.input, record.Message{Role: "user", Content: c.str()})
		return
	}
	for c.open('['); c.more(']'); {
		r.item()
		r.thin()
	}
}

func (r *request) item() {
	c := &r.c
	var kind, name, args string
	var m, output record.Message
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "type":
			kind = c.str()
		case "role":
			m.Role = clip(c.str(), maxName)
		case "content":
			r.content(&m)
		case "name":
			name = c.str()
		case "arguments", "input":
			args = c.str()
		case "output":
			r.content(&output)
		default:
			c.skip()
		}
	}
	switch {
	case kind == "function_call_output" || kind == "custom_tool_call_output":
		output.Role = "tool"
		r.input = append(r.input, plain(output))
	case kind == "function_call" || kind == "custom_tool_call":
		r.input = append(r.input, record.Message{Role: "assistant", Content: name + "(" + args + ")"})
	case m.Role != "":
		r.add(m, nil, nil)
	}
}

// texts reads what completions, embeddings and moderations take: a string, a list of strings, of tokens, of lists of
// tokens, or of parts. Each string is a message.
func (r *request) texts() {
	c := &r.c
	switch c.space() {
	case '"':
		r.input = append(r.input, record.Message{Role: "user", Content: c.str()})
		return
	case '[':
	default:
		c.skip()
		return
	}
	tokens := 0
	for c.open('['); c.more(']'); {
		r.thin()
		switch c.space() {
		case '"':
			r.input = append(r.input, record.Message{Role: "user", Content: c.str()})
		case '{':
			p := r.part()
			if kept, ok := p.record(); ok {
				r.input = append(r.input, plain(record.Message{Role: "user", Parts: []record.Part{kept}}))
			}
		case '[':
			for c.open('['); c.more(']'); {
				c.skip()
				tokens++
			}
		default:
			c.skip()
			tokens++
		}
	}
	if tokens > 0 {
		r.input = append(r.input, record.Message{Role: "user", Content: fmt.Sprintf("[%d tokens]", tokens)})
	}
}

// maxMessages bounds the messages that are read of one request.
const maxMessages = 8192

// thin drops the first half of the messages when there are too many. Called once for each that is read.
func (r *request) thin() {
	if len(r.input) > maxMessages {
		r.input = append(r.input[:0], r.input[maxMessages/2:]...)
		r.x.Cut = addCut(r.x.Cut, "input")
	}
}

// trim returns the system prompt and the messages within n bytes. Of the messages the last are kept, for these are what
// was answered.
func (r *request) trim(n int) (system string, input []record.Message) {
	system = strings.Join(r.system, "\n\n")
	if len(system) > n {
		system = clip(system, n)
		r.x.Cut = addCut(r.x.Cut, "system")
	}
	n -= len(system)
	for i := len(r.input) - 1; i >= 0; i-- {
		m := &r.input[i]
		length := messageBytes(m)
		if length <= n {
			n -= length
			continue
		}
		r.x.Cut = addCut(r.x.Cut, "input")
		if i < len(r.input)-1 {
			return system, r.input[i+1:]
		}
		return system, []record.Message{{Role: m.Role, Content: clip(m.Text(), n)}}
	}
	return system, r.input
}

func messageBytes(m *record.Message) int {
	n := len(m.Role) + len(m.Content)
	for _, p := range m.Parts {
		n += len(p.Text) + len(p.ImageURL)
	}
	return n
}
