package guard

import (
	"bytes"
	"strings"
)

// readResponse reads the response object that begins at at. Repeated says that its texts came in pieces before.
func (a *Answer) readResponse(d *doc, at int, repeated bool) {
	o := a.owner(0)
	c := choice{owner: o}
	m := open(d.b, at)
	for m.next() {
		switch string(m.name()) {
		case "output":
			c.message = m.val
			list := open(d.b, m.val.start)
			for list.next() {
				a.readItem(d, o, list.n-1, list.val, repeated)
			}
		case "output_text":
			d.readOnce(o, isAnswer, m.val)
		case "status":
			c.finish = m.val
		case "incomplete_details":
			c.probs = m.val
		}
	}
	d.bad = d.bad || m.bad || m.close != '}'
	c.place = place{at, max(m.end, at)}
	if !repeated {
		d.choices = append(d.choices, c)
	}
}

// readItem reads an item of the output: a message, a reasoning, a call.
func (a *Answer) readItem(d *doc, o *owner, index int, at place, repeated bool) {
	m := open(d.b, at.start)
	var typ string
	for m.next() {
		if string(m.name()) == "type" {
			typ = text(d.b, m.val)
		}
	}
	kind := isAnswer
	switch {
	case typ == "reasoning":
		kind = isReasoning
	case typ != "message":
		kind = isTool
	}
	m = open(d.b, at.start)
	for m.next() {
		switch string(m.name()) {
		case "content", "summary":
			list := open(d.b, m.val.start)
			for list.next() {
				a.readPart(d, o, key{kind, index, list.n - 1}, list.val, repeated)
			}
		case "arguments", "input", "code":
			if kind == isTool {
				d.take(o, key{isTool, index, 0}, m.val, repeated)
			}
		}
	}
}

// readPart reads a part of an item's content.
func (a *Answer) readPart(d *doc, o *owner, k key, at place, repeated bool) {
	before := len(d.pieces)
	var probs place
	m := open(d.b, at.start)
	for m.next() {
		switch string(m.name()) {
		case "text", "transcript":
			d.take(o, answerKey(k), m.val, repeated)
		case "refusal":
			d.take(o, key{isRefusal, k.a, k.b}, m.val, repeated)
		case "logprobs":
			probs = m.val
		}
	}
	for i := before; i < len(d.pieces); i++ {
		d.pieces[i].probs, d.pieces[i].without = probs, "[]"
	}
}

// answerKey is the key of a text: those of all messages are one, as they are to the user.
func answerKey(k key) key {
	if k.kind == isAnswer {
		return key{}
	}
	return k
}

func (d *doc) take(o *owner, k key, at place, repeated bool) {
	if repeated {
		d.readOnce(o, k.kind, at)
	} else {
		d.read(o, k, at)
	}
}

// responseEvent reads an event of the responses API.
func (a *Answer) responseEvent(d *doc) {
	o := a.owner(0)
	var typ string
	var at struct{ response, item, part, delta, probs, sequence place }
	var output, content int
	var once []place
	m := open(d.b, skipSpace(d.b, 0))
	for m.next() {
		switch string(m.name()) {
		case "type":
			typ = text(d.b, m.val)
		case "response":
			at.response = m.val
		case "item":
			at.item = m.val
		case "part":
			at.part = m.val
		case "delta":
			at.delta = m.val
		case "output_index":
			output = number(d.b, m.val, 0)
		case "content_index", "summary_index":
			content = number(d.b, m.val, 0)
		case "logprobs":
			at.probs = m.val
		case "sequence_number":
			d.number = number(d.b, m.val, 0)
		case "text", "refusal", "arguments", "input", "code", "transcript":
			once = append(once, m.val)
		}
	}
	d.bad = m.bad || skipSpace(d.b, m.end) != len(d.b)
	name, _ := strings.CutPrefix(typ, "response.")
	k := key{kindOf(name), output, content}
	d.index = output
	switch name {
	case "output_item.added":
		d.event = itemStart
	case "output_item.done":
		d.event = itemEnd
	case "content_part.added":
		d.event = partStart
	case "content_part.done":
		d.event = partEnd
	}
	before := len(d.pieces)
	a.quiet = true
	defer func() { a.quiet = false }()
	switch {
	case strings.HasSuffix(name, ".delta"):
		a.quiet = false
		if !strings.HasPrefix(name, "audio.delta") {
			d.read(o, answerKey(k), at.delta)
		}
	case name == "created":
		d.event = startEvent
		a.template.body = bytes.Clone(at.response.of(d.b))
	case name == "completed", name == "incomplete", name == "failed", name == "error", typ == "error":
		o.flush()
		d.event = lastEvent
		if !at.response.none() {
			a.readResponse(d, at.response.start, true)
		}
	default:
		if strings.HasSuffix(name, ".done") {
			o.flush()
		}
		for _, p := range once {
			d.readOnce(o, k.kind, p)
		}
		if !at.part.none() {
			a.readPart(d, o, k, at.part, true)
		}
		if !at.item.none() {
			a.readItem(d, o, output, at.item, true)
		}
	}
	for i := before; i < len(d.pieces) && !at.probs.none(); i++ {
		d.pieces[i].probs, d.pieces[i].without = at.probs, "[]"
	}
}

// kindOf is what the text of an event is, by its name.
func kindOf(name string) kind {
	switch {
	case strings.Contains(name, "reasoning"):
		return isReasoning
	case strings.HasPrefix(name, "refusal"):
		return isRefusal
	case strings.HasPrefix(name, "output_text"), strings.HasPrefix(name, "content_part"), strings.HasPrefix(name, "audio"):
		return isAnswer
	case strings.HasPrefix(name, "output_item"):
		return isAnswer // the item says itself what it is
	}
	return isTool
}

// refusedResponse is refusal for the responses API.
func (a *Answer) refusedResponse(to []edit, _ *doc, c *choice) []edit {
	message := append(append([]byte(`{"type":"message","id":"msg_guard","status":"incomplete","role":"assistant","content":[{"type":"output_text","annotations":[],"text":`), quote(a.g.c.Refusal)...), "}]}"...)
	if !c.message.none() {
		to = append(to, edit{c.message, append(append([]byte{'['}, message...), ']')})
	}
	const why = `{"reason":"content_filter"}`
	if !c.finish.none() {
		to = append(to, edit{c.finish, []byte(`"incomplete"`)})
	}
	if !c.probs.none() {
		return append(to, edit{c.probs, []byte(why)})
	}
	return append(to, edit{place{c.end - 1, c.end - 1}, []byte(`,"incomplete_details":` + why)})
}

// shownItem is the message of the responses API that is being passed on.
type shownItem struct {
	sequence int
	items    int    // of the output that have begun
	id       string // of the message that is open; empty for none
	index    int
	part     bool // its text has begun
	content  int
	text     []byte
}

// showsItem notes what an event of the responses API that is passed on does.
func (a *Answer) showsItem(e *event, b []byte) {
	if a.template.body == nil {
		return
	}
	s := &a.s.shown.item
	s.sequence = max(s.sequence, e.number)
	switch e.kind {
	case itemStart:
		s.items = max(s.items, e.index+1)
		if typ, id := item(b); typ == "message" {
			s.id, s.index, s.part, s.text = id, e.index, false, s.text[:0]
		}
	case itemEnd:
		s.id = ""
	case partStart:
		s.part, s.content = true, 0
		for m := open(b, skipSpace(b, 0)); m.next(); {
			if string(m.name()) == "content_index" {
				s.content = number(b, m.val, 0)
			}
		}
	case partEnd:
		s.part = false
	}
	for i := range e.pieces {
		if p := &e.pieces[i]; p.ch.key == (key{}) && !p.once {
			s.text = unquote(s.text, splice(nil, p.of(b), p.from, p.ch.spans, a.g.stand))
		}
	}
}

// item is the type and id of the item that an event speaks of.
func item(b []byte) (typ, id string) {
	for m := open(b, skipSpace(b, 0)); m.next(); {
		if string(m.name()) != "item" {
			continue
		}
		for in := open(b, m.val.start); in.next(); {
			switch string(in.name()) {
			case "type":
				typ = text(b, in.val)
			case "id":
				id = text(b, in.val)
			}
		}
	}
	return typ, id
}

// cutResponse appends the events that end a response with a refusal.
func (a *Answer) cutResponse(dst []byte) []byte {
	s := &a.s.shown.item
	named := func(name, rest string) {
		s.sequence++
		dst = append(append(append(append(dst, "event: response."...), name...), "\ndata: {\"type\":\"response."...), name...)
		dst = append(append(append(append(dst, `","sequence_number":`...), itoa(s.sequence)...), rest...), "}\n\n"...)
	}
	var o *owner
	if len(a.owners) > 0 {
		o = a.owners[0]
	}
	if s.id == "" {
		s.id, s.index, s.part, s.text = "msg_guard", s.items, false, s.text[:0]
		named("output_item.added", `,"output_index":`+itoa(s.index)+`,"item":{"id":"msg_guard","type":"message","status":"in_progress","role":"assistant","content":[]}`)
	}
	where := `,"item_id":` + string(quote(s.id)) + `,"output_index":` + itoa(s.index) + `,"content_index":` + itoa(s.content)
	part := func(t string) string {
		return `{"type":"output_text","annotations":[],"text":` + string(quote(t)) + "}"
	}
	if !s.part {
		named("content_part.added", where+`,"part":`+part(""))
	}
	said := a.said(o)
	named("output_text.delta", where+`,"delta":`+string(quote(said))+`,"logprobs":[]`)
	all := string(s.text) + said
	named("output_text.done", where+`,"text":`+string(quote(all))+`,"logprobs":[]`)
	named("content_part.done", where+`,"part":`+part(all))
	item := `{"id":` + string(quote(s.id)) + `,"type":"message","status":"incomplete","role":"assistant","content":[` + part(all) + "]}"
	named("output_item.done", `,"output_index":`+itoa(s.index)+`,"item":`+item)
	body := a.template.body
	if body == nil {
		body = []byte(`{"object":"response","status":"in_progress","output":[]}`)
	}
	var edits []edit
	replaced := map[string]bool{}
	m := open(body, skipSpace(body, 0))
	for m.next() {
		var to string
		switch name := string(m.name()); name {
		case "status":
			to = `"incomplete"`
		case "incomplete_details":
			to = `{"reason":"content_filter"}`
		case "output":
			to = "[" + item + "]"
		default:
			continue
		}
		replaced[string(m.name())] = true
		edits = append(edits, edit{m.val, []byte(to)})
	}
	if !replaced["incomplete_details"] && m.end > 0 {
		edits = append(edits, edit{place{m.end - 1, m.end - 1}, []byte(`,"incomplete_details":{"reason":"content_filter"}`)})
	}
	named("incomplete", `,"response":`+string(apply(nil, body, edits)))
	return dst
}
