package guard

import (
	"bytes"
)

// stream reads server-sent events. Offsets are in the bytes of the whole stream; base is that of in[0].
type stream struct {
	base int
	head int // where the first event begins that has not been passed on
	next int // where the event begins that is coming
	line int // where its line under way begins
	scan int // up to where that has been looked through

	data  place // of the event that is coming
	joint []byte
	datas int
	name  place
	bad   bool

	queue []event
	from  int // the first in queue that has not been passed on
	doc   doc
	open  bool // the text that is gathered first is there
	ended bool
	shown shown
}

// event is one that is held back.
type event struct {
	place
	data    place
	joint   []byte // its data where that is more than one line
	pieces  []piece
	choices []choice
	made    []byte // an event of the guard's own
	kind    eventKind
	index   int
	number  int
}

// eventKind is what an event does, as far as that matters for ending a stream early.
type eventKind uint8

const (
	otherEvent   eventKind = iota
	startEvent             // of the message
	textStart              // of a block of text
	blockStart             // of another block
	blockEnd               // of a block
	finishEvent            // says why the answer ended
	lastEvent              // nothing comes after it
	commentEvent           // for nobody
	itemStart              // of an item of the output
	itemEnd
	partStart // of a part of an item
	partEnd
)

// events takes the next bytes of a stream.
func (a *Answer) events(piece []byte) {
	a.in = append(a.in, piece...)
	for !a.done && !a.raw && a.line() {
		a.event()
	}
	if a.done || a.raw {
		return
	}
	if int64(len(a.in)) > a.g.c.MaxAnswer {
		a.fail(FailTooLarge)
		return
	}
	if s := &a.s; s.head > s.base {
		a.in = a.in[:copy(a.in, a.in[s.head-s.base:])]
		s.base = s.head
	}
}

// line reads lines until an event is whole.
func (a *Answer) line() bool {
	s := &a.s
	for {
		i := bytes.IndexByte(a.in[s.scan-s.base:], '\n')
		if i < 0 {
			s.scan = s.base + len(a.in)
			return false
		}
		at, end := s.line, s.scan+i
		s.line, s.scan = end+1, end+1
		if a.field(at, end) {
			return true
		}
	}
}

// field reads the line in[at:end] and says whether it ends an event.
func (a *Answer) field(at, end int) bool {
	s := &a.s
	line := bytes.TrimSuffix(a.in[at-s.base:end-s.base], []byte{'\r'})
	if at == 0 {
		trimmed := bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		at += len(line) - len(trimmed)
		line = trimmed
	}
	if len(line) == 0 {
		return true
	}
	// A carriage return ends a line too; nobody sends one, and clients would read something else than is read here.
	s.bad = s.bad || bytes.IndexByte(line, '\r') >= 0
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		colon = len(line)
	}
	value := min(colon+1, len(line))
	if value < len(line) && line[value] == ' ' {
		value++
	}
	p := place{at + value, at + len(line)}
	switch string(line[:colon]) {
	case "data":
		if s.datas++; s.datas == 2 {
			s.joint = bytes.Clone(a.in[s.data.start-s.base : s.data.end-s.base])
		}
		if s.datas > 1 {
			s.joint = append(append(s.joint, '\n'), line[value:]...)
		}
		s.data = p
	case "event":
		s.name = p
	}
	return false
}

// event reads the event that is whole.
func (a *Answer) event() {
	s := &a.s
	e := event{place: place{s.next, s.line}, data: s.data, joint: s.joint, kind: commentEvent}
	has, bad := s.datas > 0, s.bad
	s.next, s.data, s.joint, s.datas, s.bad = s.line, place{}, nil, 0, false
	d := &s.doc
	*d = doc{pieces: d.pieces[:0], choices: d.choices[:0], scratch: d.scratch[:0]}
	if has {
		d.b = a.dataOf(&e)
		d.event = otherEvent
		switch trimmed := bytes.TrimSpace(d.b); {
		case len(trimmed) == 0:
		case string(trimmed) == "[DONE]":
			d.event = lastEvent
		case bad || trimmed[0] != '{':
			d.bad = true
		default:
			a.readEvent(d)
		}
		e.kind, e.index, e.number = d.event, d.index, d.number
	}
	s.name = place{}
	if d.bad {
		a.fail(FailMalformed)
		return
	}
	if d.event == lastEvent {
		for _, o := range a.owners {
			o.flush()
			o.finished = true
		}
	}
	e.pieces, e.choices = d.pieces, d.choices
	for _, o := range a.owners {
		if o.want == nothing {
			continue
		}
		if a.act(o) {
			return
		}
		if o.blocked && a.stop(&e) {
			return
		}
	}
	a.pass(e)
	a.drain()
}

func (a *Answer) dataOf(e *event) []byte {
	if e.joint != nil {
		return e.joint
	}
	if e.data.none() {
		return nil
	}
	return a.in[e.data.start-a.s.base : e.data.end-a.s.base]
}

// pass gives an event on, or holds it back behind what is.
func (a *Answer) pass(e event) {
	s := &a.s
	if s.from == len(s.queue) && a.mayPass() && a.ready(&e) {
		a.emit(&e)
		return
	}
	e.pieces, e.choices = append([]piece(nil), e.pieces...), append([]choice(nil), e.choices...)
	if s.from > 0 && len(s.queue) == cap(s.queue) {
		s.queue = s.queue[:copy(s.queue, s.queue[s.from:])]
		s.from = 0
	}
	s.queue = append(s.queue, e)
}

// mayPass says whether enough of the stream has come for any of it to be passed on.
func (a *Answer) mayPass() bool {
	s := &a.s
	if s.open || s.ended {
		return true
	}
	if a.whole {
		return false
	}
	seen := int64(0)
	done := len(a.owners) > 0
	for _, o := range a.owners {
		done = done && (o.finished || o.blocked)
		for _, c := range o.channels {
			seen += int64(c.pos)
		}
	}
	s.open = done || seen >= a.g.c.Hold
	return s.open
}

// ready says whether everything about an event is known.
func (a *Answer) ready(e *event) bool {
	for i := range e.pieces {
		p := &e.pieces[i]
		if p.ch.owner.blocked || p.once {
			continue
		}
		if known := p.ch.decided(); p.to > known {
			a.report.Held = max(a.report.Held, p.ch.pos-known)
			return false
		}
	}
	return true
}

// drain passes on what is known by now.
func (a *Answer) drain() {
	s := &a.s
	if s.from == len(s.queue) || !a.mayPass() {
		return
	}
	for s.from < len(s.queue) && a.ready(&s.queue[s.from]) {
		a.emit(&s.queue[s.from])
		s.queue[s.from] = event{}
		s.from++
	}
	if s.from == len(s.queue) {
		s.queue, s.from = s.queue[:0], 0
	}
}

// emit writes an event. What it says of a choice that was blocked is left out.
func (a *Answer) emit(e *event) {
	if e.made != nil {
		a.out = append(a.out, e.made...)
		return
	}
	s := &a.s
	s.head = e.end
	raw := a.in[e.start-s.base : e.end-s.base]
	b := a.dataOf(e)
	gone := 0
	var edits []edit
	for i := range e.choices {
		if c := &e.choices[i]; c.blocked {
			edits = append(edits, c.cut(b, gone == i))
			gone++
		}
	}
	if gone > 0 && gone == len(e.choices) {
		a.changed = true
		return
	}
	a.shows(e, b)
	edits = a.edits(edits, b, e.pieces)
	for i := range e.pieces {
		p := &e.pieces[i]
		p.ch.owner.told = p.ch.owner.told || p.ch.key.kind == isAnswer
		if !p.once {
			p.ch.forget(p.to)
		}
	}
	if len(edits) == 0 {
		a.out = append(a.out, raw...)
		return
	}
	a.changed = true
	sortEdits(edits)
	if e.joint == nil {
		a.out = append(a.out, raw[:e.data.start-e.start]...)
		a.out = apply(a.out, b, edits)
		a.out = append(a.out, raw[e.data.end-e.start:]...)
		return
	}
	a.out = oneLine(a.out, raw, apply(nil, b, edits))
}

// oneLine writes an event with its data in one line: between the tokens of JSON a line break is a space.
func oneLine(dst, raw, data []byte) []byte {
	wrote := false
	for line := range bytes.Lines(raw) {
		if !bytes.HasPrefix(line, []byte("data")) {
			dst = append(dst, line...)
			continue
		}
		if !wrote {
			dst = append(dst, "data: "...)
			dst = append(dst, bytes.ReplaceAll(data, []byte{'\n'}, []byte{' '})...)
			dst = append(dst, '\n')
			wrote = true
		}
	}
	return dst
}

// stop ends the answers of owners that were blocked by an event. It returns true when no others go on.
func (a *Answer) stop(e *event) bool {
	alive := len(a.owners) < a.choices
	for _, x := range a.owners {
		alive = alive || !x.blocked && !x.finished
	}
	if alive {
		return a.stopOne()
	}
	s := &a.s
	s.ended = true
	for _, q := range append(s.queue[s.from:], *e) {
		if a.speaks(&q) {
			a.changed = true
			continue
		}
		a.emit(&q)
	}
	s.queue, s.from = nil, 0
	a.cutOff()
	a.done = true
	return true
}

// stopOne ends the answers of those that were blocked, while others go on.
func (a *Answer) stopOne() bool {
	for _, o := range a.owners {
		if o.blocked && !o.finished {
			o.finished = true
			a.pass(event{made: a.refusalEvents(nil, o)})
		}
	}
	return false
}

// speaks says whether an event holds text of an owner that was blocked, or says why it ended.
func (a *Answer) speaks(e *event) bool {
	if e.kind == finishEvent || e.kind == lastEvent {
		return true
	}
	for i := range e.pieces {
		if e.pieces[i].ch.owner.blocked {
			return true
		}
	}
	return false
}

// endStream takes the end of a stream.
func (a *Answer) endStream(complete bool) {
	s := &a.s
	if complete && s.base+len(a.in) > s.next {
		// An event without the blank line behind it: servers close right after their last line.
		s.scan = s.base + len(a.in)
		if s.line < s.scan {
			at := s.line
			s.line = s.scan
			a.field(at, s.scan)
		}
		a.event()
	}
	if a.done || a.raw {
		return
	}
	s.ended = true
	for _, o := range a.owners {
		o.flush()
		if o.want == nothing {
			continue
		}
		if a.act(o) || o.blocked && a.stop(&event{made: []byte{}}) {
			return
		}
	}
	if complete {
		for _, o := range a.owners {
			if a.conform(o) {
				return
			}
		}
	} else if a.whole {
		a.refuse(FailCut)
		return
	}
	a.drain()
}
