package guard

// readMessage reads an answer of the messages API.
func (a *Answer) readMessage(d *doc, at int) {
	o := a.owner(0)
	c := choice{owner: o, place: place{at, len(d.b)}}
	m := open(d.b, at)
	for m.next() {
		switch string(m.name()) {
		case "content":
			c.message = m.val
			list := open(d.b, m.val.start)
			for list.next() {
				a.readBlock(d, o, list.n-1, list.val)
			}
		case "stop_reason":
			c.finish = m.val
		case "stop_sequence":
			c.probs = m.val // goes when the answer is blocked
		}
	}
	c.place.end = m.end
	d.bad = d.bad || m.bad || m.close != '}'
	d.choices = append(d.choices, c)
}

// readBlock reads a block of content.
func (a *Answer) readBlock(d *doc, o *owner, index int, at place) (typ string) {
	m := open(d.b, at.start)
	for m.next() {
		switch string(m.name()) {
		case "type":
			typ = text(d.b, m.val)
		case "text":
			d.read(o, key{}, m.val)
		case "thinking":
			d.read(o, key{kind: isReasoning, a: index}, m.val)
		case "input":
			d.readJSON(o, key{kind: isTool, a: index}, m.val)
		}
	}
	return typ
}

// messageEvent reads an event of the messages API.
func (a *Answer) messageEvent(d *doc) {
	o := a.owner(0)
	var typ string
	var index int
	var message, block, delta, usage place
	m := open(d.b, skipSpace(d.b, 0))
	for m.next() {
		switch string(m.name()) {
		case "type":
			typ = text(d.b, m.val)
		case "index":
			index = number(d.b, m.val, 0)
		case "message":
			message = m.val
		case "content_block":
			block = m.val
		case "delta":
			delta = m.val
		case "usage":
			usage = m.val
		}
	}
	d.bad = m.bad || skipSpace(d.b, m.end) != len(d.b)
	d.index = index
	switch typ {
	case "message_start":
		d.event = startEvent
		inner := open(d.b, message.start)
		for inner.next() {
			switch string(inner.name()) {
			case "usage":
				a.tokens(d, inner.val)
			case "content":
				list := open(d.b, inner.val.start)
				for list.next() {
					a.readBlock(d, o, list.n-1, list.val)
				}
			}
		}
	case "content_block_start":
		d.event = blockStart
		if a.readBlock(d, o, index, block) == "text" {
			d.event = textStart
		}
	case "content_block_delta":
		inner := open(d.b, delta.start)
		for inner.next() {
			switch string(inner.name()) {
			case "text":
				d.read(o, key{}, inner.val)
			case "thinking":
				d.read(o, key{kind: isReasoning, a: index}, inner.val)
			case "partial_json":
				d.read(o, key{kind: isTool, a: index}, inner.val)
			}
		}
	case "content_block_stop":
		d.event = blockEnd
		o.flush()
	case "message_delta":
		d.event = finishEvent
		a.tokens(d, usage)
		o.flush()
		o.finished = true
	case "message_stop", "error":
		d.event = lastEvent
	}
}

// tokens remembers what the upstream has counted.
func (a *Answer) tokens(d *doc, usage place) {
	m := open(d.b, usage.start)
	if usage.none() {
		return
	}
	for m.next() {
		if string(m.name()) == "output_tokens" {
			a.template.usage = number(d.b, m.val, a.template.usage)
		}
	}
}

// refusedMessage is refusal for the messages API.
func (a *Answer) refusedMessage(to []edit, d *doc, c *choice) []edit {
	said := append(append([]byte(`[{"type":"text","text":`), quote(a.g.c.Refusal)...), "}]"...)
	if !c.message.none() {
		to = append(to, edit{c.message, said})
	}
	if !c.probs.none() {
		to = append(to, edit{c.probs, []byte("null")})
	}
	if !c.finish.none() {
		return append(to, edit{c.finish, []byte(`"refusal"`)})
	}
	return append(to, edit{place{c.end - 1, c.end - 1}, []byte(`,"stop_reason":"refusal"`)})
}

// shown is how far a stream has been passed on.
type shown struct {
	started bool
	open    bool // a block
	text    bool // it is one of text
	index   int  // of the next block
	item    shownItem
}

// shows notes what an event that is passed on does.
func (a *Answer) shows(e *event, b []byte) {
	s := &a.s.shown
	switch e.kind {
	case startEvent:
		s.started = true
	case textStart, blockStart:
		s.open, s.text, s.index = true, e.kind == textStart, e.index
	case blockEnd:
		s.open, s.index = false, e.index+1
	}
	a.showsItem(e, b)
}

// cutMessage appends the events that end a message with a refusal.
func (a *Answer) cutMessage(dst []byte) []byte {
	s := &a.s.shown
	named := func(name, data string) {
		dst = append(append(append(append(append(dst, "event: "...), name...), "\ndata: "...), data...), "\n\n"...)
	}
	stop := func() { named("content_block_stop", `{"type":"content_block_stop","index":`+itoa(s.index)+"}") }
	if s.open && !s.text {
		stop()
		s.open = false
		s.index++
	}
	if !s.open {
		named("content_block_start", `{"type":"content_block_start","index":`+itoa(s.index)+`,"content_block":{"type":"text","text":""}}`)
	}
	var o *owner
	if len(a.owners) > 0 {
		o = a.owners[0]
	}
	named("content_block_delta", `{"type":"content_block_delta","index":`+itoa(s.index)+`,"delta":{"type":"text_delta","text":`+string(quote(a.said(o)))+"}}")
	stop()
	named("message_delta", `{"type":"message_delta","delta":{"stop_reason":"refusal","stop_sequence":null},"usage":{"output_tokens":`+itoa(a.template.usage)+"}}")
	named("message_stop", `{"type":"message_stop"}`)
	return dst
}
