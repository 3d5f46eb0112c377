package guard

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// textAPI is the API of Guard.Text.
const textAPI = "text"

// Options say what an answer is.
type Options struct {
	API     string // record.APIChat and the like; an answer of another API passes as it is
	Stream  bool   // server-sent events
	Request []byte // the request as it was sent, for the number of choices
	// Encoding is the answer's Content-Encoding. A guard cannot read a compressed answer.
	Encoding string
	// Before is the verdict of the answer before, when this one is asked for because of it.
	Before *Verdict
}

// Answer reads one answer. It is used by one goroutine and keeps nothing of what it is given.
type Answer struct {
	g      *Guard
	o      Options
	report Report
	tried  tried

	owners   []*owner
	choices  int // that were asked for
	template template

	in   []byte // bytes that have come: events that are not passed on yet, and the beginning of one
	out  []byte
	sent bool // something has been returned

	s stream

	raw     bool    // everything passes from here on
	unread  Failure // why the answer cannot be read at all
	done    bool    // nothing that comes matters any more
	quiet   bool    // what is found is a repetition
	whole   bool    // everything is held to the end
	changed bool
	status  int
	next    Next
	outcome Outcome
}

// want is what has to happen because of something found.
type want uint8

const (
	nothing want = iota
	wantBlock
	wantAgain
	wantFail
)

// Answer begins an answer.
func (g *Guard) Answer(o Options) *Answer {
	a := &Answer{g: g, o: o, choices: 1, whole: g.Whole()}
	a.report = Report{Guard: g.c.Name, Version: g.c.Version, ID: g.c.ID}
	if b := o.Before; b != nil {
		a.tried, a.report = b.tried, b.Report
		a.report.Hits = slices.Clone(b.Report.Hits)
	}
	switch o.API {
	case record.APIChat, record.APICompletions:
		a.choices = asked(o.Request)
	case record.APIMessages, record.APIResponses, textAPI:
	default:
		a.raw = true
	}
	a.raw = a.raw || !g.Reads()
	if !a.raw && o.Encoding != "" && o.Encoding != "identity" {
		a.unread = FailEncoding
	}
	return a
}

// asked is the number of choices that a request asks for.
func asked(body []byte) int {
	w := open(body, skipSpace(body, 0))
	n := 1
	for w.next() {
		if string(w.name()) == "n" {
			n = max(1, number(body, w.val, 1))
		}
	}
	return n
}

// Status is the status to answer with, 0 for the upstream's. It is known once Push or End has returned anything.
func (a *Answer) Status() int { return a.status }

// Done says that nothing more of the answer is needed: the upstream may be let go, and End called.
func (a *Answer) Done() bool { return a.done }

// Push takes the next piece and returns what is to be passed on, which is valid until the next call.
func (a *Answer) Push(piece []byte) []byte {
	switch {
	case a.done:
		return nil
	case a.raw:
		a.sent = a.sent || len(piece) > 0
		return piece
	}
	a.out = a.out[:0]
	if a.unread != "" {
		a.in = append(a.in, piece...)
		a.fail(a.unread)
		return a.give()
	}
	if !a.o.Stream {
		a.in = append(a.in, piece...)
		if int64(len(a.in)) > a.g.c.MaxAnswer {
			a.fail(FailTooLarge)
		}
	} else {
		a.events(piece)
	}
	return a.give()
}

func (a *Answer) give() []byte {
	a.sent = a.sent || len(a.out) > 0
	return a.out
}

// End takes the end of the answer. Whole says that it came to its end, rather than that the connection was lost. It
// returns the rest of what is to be passed on.
func (a *Answer) End(whole bool) ([]byte, Verdict) {
	a.out = a.out[:0]
	if !a.done && !a.raw {
		switch {
		case a.unread != "":
			a.fail(a.unread)
		case a.o.Stream:
			a.endStream(whole)
		case !whole:
			a.refuse(FailCut)
		default:
			a.document()
		}
	}
	out := a.give()
	v := Verdict{Outcome: a.outcome, Status: a.status, Next: a.next, tried: a.tried, Report: a.report}
	if v.Outcome == Passed && a.changed {
		v.Outcome = Changed
	}
	v.Report.Outcome = v.Outcome.String()
	v.Report.sort()
	return out, v
}

// owner is one answer of those that are asked for together: a choice. The other APIs have one.
type owner struct {
	a        *Answer
	index    int
	channels []*channel
	want     want
	cause    int // the rule that made want
	failure  Failure
	blocked  bool
	finished bool
	told     bool   // something of its text has been passed on
	fix      []byte // what its text is replaced by to conform to the schema
	fixed    bool
}

// kind is what a text is.
type kind uint8

const (
	isAnswer kind = iota
	isRefusal
	isReasoning
	isTool
)

// channel is one text that arrives in pieces.
type channel struct {
	*filter
	owner *owner
	key   key
	held  []byte // the text, where a schema has to be checked
}

// key tells the channels of an owner apart.
type key struct {
	kind kind
	a, b int
}

// found is told by the filter of what it found.
func (c *channel) found(rule int, kind string, broken bool) {
	o, a := c.owner, c.owner.a
	r := &a.g.rules.list[rule]
	if !a.quiet {
		a.report.hit(r.name, kind)
	}
	if o.want != nothing {
		return
	}
	action := r.action
	if action == config.GuardReask {
		if a.canAsk() {
			o.want, o.cause = wantAgain, rule
			return
		}
		action = r.otherwise
	}
	if action == config.GuardBlock || broken {
		o.want, o.cause = wantBlock, rule
	}
}

func (c *channel) undecidable(f Failure) {
	if o := c.owner; o.want == nothing {
		o.want, o.failure = wantFail, f
	}
}

// canAsk says whether the model can still be asked again.
func (a *Answer) canAsk() bool { return !a.sent && !a.tried.ask && a.choices == 1 }

func (a *Answer) owner(index int) *owner {
	for _, o := range a.owners {
		if o.index == index {
			return o
		}
	}
	o := &owner{a: a, index: index}
	a.owners = append(a.owners, o)
	return o
}

// channel returns the channel of a key. What is undecided in the owner's others is decided now: clients show reasoning, text
// and calls apart, and one shall not wait for what may come in another.
func (o *owner) channel(k key) *channel {
	var c *channel
	for _, x := range o.channels {
		if x.key == k {
			c = x
		} else if x.gone < x.pos {
			x.flush()
		}
	}
	if c == nil {
		c = o.fresh(k)
		o.channels = append(o.channels, c)
	}
	return c
}

// fresh returns a channel that no other piece belongs to.
func (o *owner) fresh(k key) *channel {
	c := &channel{owner: o, key: k}
	c.filter = newFilter(&o.a.g.rules, c, k.kind == isTool)
	return c
}

// flush decides about everything that the owner has said.
func (o *owner) flush() {
	for _, c := range o.channels {
		if c.gone < c.pos {
			c.flush()
		}
	}
}

// passes says whether texts of a kind are not looked at.
func (a *Answer) passes(k kind) bool {
	return k == isTool && a.g.c.ToolCalls == config.GuardPass || k == isReasoning && a.g.c.Reasoning == config.GuardPass
}

// piece is a string of a document that belongs to a channel: from is where it begins in the channel's text.
type piece struct {
	place
	ch       *channel
	from, to int
	once     bool   // the whole text, which came before in pieces
	json     bool   // not a string but what a string would hold
	probs    place  // what repeats the text as tokens
	without  string // what takes its place
}

// read gives a string to a channel of an owner; what is not a string, or an empty one, is none.
func (d *doc) read(o *owner, k key, at place) *piece {
	if !isText(d.b, at) || at.end-at.start == 2 || o.a.passes(k.kind) {
		return nil
	}
	c := o.channel(k)
	lit := at.of(d.b)
	p := piece{place: at, ch: c, from: c.pos + c.tails}
	if raw := lit[1 : len(lit)-1]; bytes.IndexByte(raw, '\\') < 0 {
		c.take(raw)
	} else {
		d.scratch = unquote(d.scratch[:0], lit)
		c.take(d.scratch)
	}
	if o.a.g.schema != nil && k.kind == isAnswer {
		c.held = unquote(c.held, lit)
	}
	p.to = c.pos + c.tails
	d.pieces = append(d.pieces, p)
	return &d.pieces[len(d.pieces)-1]
}

// readOnce gives a string to a channel that it is all of: one that came in pieces before is repeated whole.
func (d *doc) readOnce(o *owner, k kind, at place) *piece {
	if !isText(d.b, at) || at.end-at.start == 2 || o.a.passes(k) {
		return nil
	}
	c := o.fresh(key{kind: k})
	d.scratch = unquote(d.scratch[:0], at.of(d.b))
	c.take(d.scratch)
	c.flush()
	d.pieces = append(d.pieces, piece{place: at, ch: c, to: c.pos, once: true})
	return &d.pieces[len(d.pieces)-1]
}

// readJSON gives the arguments of a tool call to a channel that are no string but JSON themselves.
func (d *doc) readJSON(o *owner, k key, at place) {
	if isText(d.b, at) {
		d.read(o, k, at)
		return
	}
	if at.end-at.start <= 4 || o.a.passes(k.kind) {
		return // {} or null
	}
	c := o.channel(k)
	from := c.pos
	c.take(at.of(d.b))
	d.pieces = append(d.pieces, piece{place: at, ch: c, from: from, to: c.pos, json: true})
}

// choice is where a document speaks of one owner.
type choice struct {
	*owner
	place                        // of the choice, of those APIs that have several
	message, text, finish, probs place
}

// doc is a JSON document of an answer: the whole of it, or the data of an event.
type doc struct {
	b       []byte
	pieces  []piece
	choices []choice
	scratch []byte
	bad     bool // not what the API sends
	event   eventKind
	index   int // of the block or item that an event speaks of
	number  int // of the event, where they have numbers
}

// again asks for another attempt, if there is one left, and says whether there is.
func (a *Answer) again(ask bool, text, why string) bool {
	if a.sent || a.choices > 1 {
		return false
	}
	switch {
	case ask && !a.tried.ask:
		a.tried.ask = true
		a.next = Next{Text: text}
	case a.g.c.Fallback != "" && a.g.on(config.GuardBlock) && !a.tried.model:
		a.tried.model = true
		a.next = Next{Model: a.g.c.Fallback}
		a.report.Model = a.g.c.Fallback
	default:
		return false
	}
	a.report.Asked = why
	a.outcome, a.done = Again, true
	a.out, a.in = a.out[:0], nil
	return true
}

// act does what a finding asks for. It returns true when the answer does not go on as it came.
func (a *Answer) act(o *owner) bool {
	w := o.want
	o.want = nothing
	switch w {
	case wantFail:
		a.fail(o.failure)
		return true
	case wantAgain, wantBlock:
		r := &a.g.rules.list[o.cause]
		text := r.ask
		if text == "" {
			text = defaultAsk
		}
		if a.again(w == wantAgain, text, r.name) {
			return true
		}
		o.blocked, o.finished = true, false
		a.outcome = Blocked
	}
	return false
}

const defaultAsk = "Your last answer held something that must not be in an answer. Answer again without it, and do not mention this."

// fail is for an answer that the guard cannot read.
func (a *Answer) fail(why Failure) {
	a.report.Failure = why
	if a.g.c.OnError == config.GuardPass {
		a.outcome, a.raw = Failed, true
		a.out = append(a.out, a.in[a.s.head-a.s.base:]...)
		a.in = nil
		return
	}
	a.refuse(why)
}

// refuse ends the answer with an error or, when some of it has been passed on, with the refusal.
func (a *Answer) refuse(why Failure) {
	a.report.Failure = why
	a.outcome, a.done = Failed, true
	if a.o.Stream && (a.sent || len(a.out) > 0) {
		for _, o := range a.owners {
			o.blocked = o.blocked || !o.finished
		}
		a.cutOff()
	} else {
		a.status = http.StatusBadGateway
		a.out = a.errorBody(a.out[:0], why)
	}
	a.in = nil
}

// document reads an answer that has come whole and writes it as it is passed on.
func (a *Answer) document() {
	d := &doc{b: a.in}
	a.readDocument(d)
	for _, o := range a.owners {
		o.flush()
	}
	if d.bad {
		a.fail(FailMalformed)
		return
	}
	for _, o := range a.owners {
		if a.act(o) {
			return
		}
	}
	for _, o := range a.owners {
		if a.conform(o) {
			return
		}
	}
	edits := a.edits(nil, d.b, d.pieces)
	for i := range d.choices {
		if d.choices[i].blocked {
			edits = a.refusal(edits, d, &d.choices[i])
		}
	}
	if len(edits) == 0 {
		a.out = append(a.out, a.in...)
		return
	}
	a.changed = true
	sortEdits(edits)
	a.out = apply(a.out, a.in, edits)
}

// edits appends the changes to a document's texts.
func (a *Answer) edits(to []edit, b []byte, pieces []piece) []edit {
	for i := range pieces {
		p := &pieces[i]
		if p.ch.owner.blocked {
			continue
		}
		spans := p.ch.spans
		if p.once && p.ch.owner.fixed && p.ch.key.kind == isAnswer {
			spans = []span{{0, p.to, fixRule, ""}}
		}
		if len(spans) == 0 || spans[0].start >= p.to || spans[len(spans)-1].end <= p.from {
			continue
		}
		lit := p.of(b)
		stand := func(x span) string {
			if x.rule == fixRule {
				return string(p.ch.owner.fix)
			}
			s := a.g.stand(x)
			if p.ch.key.kind == isTool {
				return string(appendInside(nil, s))
			}
			return s
		}
		var out []byte
		if p.json {
			out = spliceJSON(nil, lit, p.from, spans, stand)
		} else {
			out = splice(nil, lit, p.from, spans, stand)
		}
		if bytes.Equal(out, lit) {
			continue
		}
		to = append(to, edit{p.place, out})
		if !p.probs.none() && !isNull(b, p.probs) {
			to = append(to, edit{p.probs, []byte(p.without)})
		}
	}
	return to
}
