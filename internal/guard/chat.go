package guard

import (
	"strconv"

	"github.com/telltale-llm/telltale/internal/record"
)

// template is what events and answers of the guard's own take over from the upstream's.
type template struct {
	chat  []byte // members of a chunk before choices, with a comma behind each
	body  []byte // the response object of the responses API, as it was created
	usage int    // output tokens, as far as the upstream has said
}

// readDocument reads an answer that has come whole.
func (a *Answer) readDocument(d *doc) {
	if !whole(d.b) {
		d.bad = true
		return
	}
	switch a.o.API {
	case record.APIMessages:
		a.readMessage(d, skipSpace(d.b, 0))
	case record.APIResponses:
		a.readResponse(d, skipSpace(d.b, 0), false)
	case textAPI:
		w := open(d.b, skipSpace(d.b, 0))
		for w.next() {
			if string(w.name()) == "text" {
				d.read(a.owner(0), key{}, w.val)
				d.choices = append(d.choices, choice{owner: a.owner(0), text: w.val})
			}
		}
	default:
		a.readChat(d)
	}
}

// readEvent reads the data of an event.
func (a *Answer) readEvent(d *doc) {
	switch a.o.API {
	case record.APIMessages:
		a.messageEvent(d)
	case record.APIResponses:
		a.responseEvent(d)
	default:
		a.readChat(d)
	}
}

// readChat reads an answer or chunk of the chat and completions APIs.
func (a *Answer) readChat(d *doc) {
	top := open(d.b, skipSpace(d.b, 0))
	keep := a.template.chat == nil
	for top.next() {
		switch string(top.name()) {
		case "choices":
			a.readChoices(d, top.val)
		case "id", "object", "created", "model", "system_fingerprint", "service_tier":
			if keep {
				a.template.chat = append(append(a.template.chat, d.b[top.key.start:top.val.end]...), ',')
			}
		}
	}
	d.bad = d.bad || top.bad || top.close != '}' || skipSpace(d.b, top.end) != len(d.b)
}

func (a *Answer) readChoices(d *doc, at place) {
	list := open(d.b, at.start)
	for list.next() {
		c := choice{place: list.val}
		index := list.n - 1
		var delta place
		m := open(d.b, list.val.start)
		for m.next() {
			switch string(m.name()) {
			case "index":
				index = number(d.b, m.val, index)
			case "delta", "message":
				delta = m.val
			case "text":
				c.text = m.val
			case "finish_reason":
				c.finish = m.val
			case "logprobs":
				c.probs = m.val
			}
		}
		c.owner, c.message = a.owner(index), delta
		if !c.blocked {
			from := len(d.pieces)
			d.read(c.owner, key{}, c.text)
			if !delta.none() {
				a.readTurn(d, c.owner, delta)
			}
			for i := from; i < len(d.pieces); i++ {
				d.pieces[i].probs, d.pieces[i].without = c.probs, "null"
			}
			if !isNull(d.b, c.finish) && text(d.b, c.finish) != "" {
				c.flush()
				c.finished = true
				d.event = finishEvent
			}
		}
		d.choices = append(d.choices, c)
	}
}

// readTurn reads the message of a choice, or what a chunk adds to it.
func (a *Answer) readTurn(d *doc, o *owner, at place) {
	m := open(d.b, at.start)
	for m.next() {
		switch string(m.name()) {
		case "content":
			d.read(o, key{}, m.val)
			d.parts(o, key{}, m.val)
		case "refusal":
			d.read(o, key{kind: isRefusal}, m.val)
		case "reasoning_content":
			d.read(o, key{kind: isReasoning}, m.val)
		case "reasoning", "thinking":
			d.read(o, key{kind: isReasoning, a: 1}, m.val)
		case "reasoning_details":
			d.parts(o, key{kind: isReasoning, a: 2}, m.val)
		case "audio":
			audio := open(d.b, m.val.start)
			for audio.next() {
				if string(audio.name()) == "transcript" {
					d.read(o, key{kind: isAnswer, a: 1}, audio.val)
				}
			}
		case "tool_calls":
			d.calls(o, m.val)
		case "function_call":
			d.call(o, key{kind: isTool, a: -1}, m.val)
		}
	}
}

// parts reads the texts of a list of parts.
func (d *doc) parts(o *owner, k key, at place) {
	list := open(d.b, at.start)
	if list.close != ']' {
		return
	}
	for list.next() {
		part := open(d.b, list.val.start)
		for part.next() {
			switch string(part.name()) {
			case "text", "summary":
				d.read(o, k, part.val)
			}
		}
	}
}

func (d *doc) calls(o *owner, at place) {
	list := open(d.b, at.start)
	for list.next() {
		index := list.n - 1
		call := open(d.b, list.val.start)
		var inner [2]place
		for call.next() {
			switch string(call.name()) {
			case "index":
				index = number(d.b, call.val, index)
			case "function":
				inner[0] = call.val
			case "custom":
				inner[1] = call.val
			}
		}
		for _, at := range inner {
			if !at.none() {
				d.call(o, key{kind: isTool, a: index}, at)
			}
		}
	}
}

func (d *doc) call(o *owner, k key, at place) {
	m := open(d.b, at.start)
	for m.next() {
		switch string(m.name()) {
		case "arguments", "input":
			d.readJSON(o, k, m.val)
		}
	}
}

// refusal appends the changes that make the answer of a blocked owner a refusal.
func (a *Answer) refusal(to []edit, d *doc, c *choice) []edit {
	said := quote(a.g.c.Refusal)
	switch a.o.API {
	case textAPI:
		return append(to, edit{c.text, said})
	case record.APIMessages:
		return a.refusedMessage(to, d, c)
	case record.APIResponses:
		return a.refusedResponse(to, d, c)
	}
	if !c.message.none() {
		turn := append(append([]byte(`{"role":"assistant","content":`), said...), `,"refusal":null}`...)
		to = append(to, edit{c.message, turn})
	}
	if !c.text.none() {
		to = append(to, edit{c.text, said})
	}
	if !c.probs.none() {
		to = append(to, edit{c.probs, []byte("null")})
	}
	if !c.finish.none() {
		return append(to, edit{c.finish, []byte(`"content_filter"`)})
	}
	return append(to, edit{place{c.end - 1, c.end - 1}, []byte(`,"finish_reason":"content_filter"`)})
}

// cut takes the choice out of the array that it is in; leading says that none is left before it.
func (c *choice) cut(b []byte, leading bool) edit {
	p := c.place
	if leading {
		p.end = skipSpace(b, p.end)
		if p.end < len(b) && b[p.end] == ',' {
			p.end++
		}
		return edit{place: p}
	}
	for p.start > 0 && b[p.start] != ',' {
		p.start--
	}
	return edit{place: p}
}

// cutOff writes the events that end a stream with a refusal.
func (a *Answer) cutOff() {
	switch a.o.API {
	case record.APIMessages:
		a.out = a.cutMessage(a.out)
		return
	case record.APIResponses:
		a.out = a.cutResponse(a.out)
		return
	}
	if len(a.owners) == 0 {
		a.owner(0).blocked = true
	}
	for _, o := range a.owners {
		if o.blocked && !o.finished {
			o.finished = true
			a.out = a.refusalEvents(a.out, o)
		}
	}
	a.out = append(a.out, "data: [DONE]\n\n"...)
}

// refusalEvents appends the chunks that end a choice with a refusal.
func (a *Answer) refusalEvents(dst []byte, o *owner) []byte {
	said := quote(a.said(o))
	before := func() {
		dst = append(dst, "data: {"...)
		dst = append(dst, a.template.chat...)
		dst = append(dst, `"choices":[{"index":`...)
		dst = appendInt(dst, o.index)
	}
	if a.o.API == record.APICompletions {
		before()
		dst = append(append(dst, `,"text":`...), said...)
		return append(dst, `,"logprobs":null,"finish_reason":"content_filter"}]}`+"\n\n"...)
	}
	before()
	dst = append(append(dst, `,"delta":{"role":"assistant","content":`...), said...)
	dst = append(dst, `},"finish_reason":null}]}`+"\n\n"...)
	before()
	return append(dst, `,"delta":{},"finish_reason":"content_filter"}]}`+"\n\n"...)
}

// said is the refusal as it goes on from what has been passed on.
func (a *Answer) said(o *owner) string {
	if o != nil && o.told {
		return "\n\n" + a.g.c.Refusal
	}
	return a.g.c.Refusal
}

func itoa(n int) string { return strconv.Itoa(n) }

func appendInt(dst []byte, n int) []byte { return strconv.AppendInt(dst, int64(n), 10) }
