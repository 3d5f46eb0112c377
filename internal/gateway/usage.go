package gateway

import (
	"bytes"
	"net/http"
	"strings"
)

// maxHeld bounds an event that is held until it is whole; a longer one passes as it is.
const maxHeld = 1 << 20

// hold takes the usage out of a stream for which the route, and not the client, asked for it: the event that has
// nothing else is held back, and the field is cut out of the others. Everything else passes byte for byte, in whole
// events.
type hold struct {
	buf []byte // an event that is not whole yet
	out []byte
	raw bool // the stream cannot be split into events of a sane size
}

// holding says whether the answer's usage is to be held back.
func (c *call) holding() bool {
	return c.route.hold && c.facts.stream && !c.facts.usage && (c.rest == "/chat/completions" || c.rest == "/completions")
}

func (c *call) newHold(resp *http.Response) *hold {
	if !c.holding() || resp.StatusCode != http.StatusOK || len(resp.Header["Content-Encoding"]) > 0 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return nil
	}
	return &hold{}
}

// push takes a piece of the stream and returns what may pass now. The result is valid until the next call.
func (h *hold) push(p []byte) []byte {
	if h.raw {
		return p
	}
	h.out = h.out[:0]
	h.buf = append(h.buf, p...)
	done := 0
	for {
		n := eventEnd(h.buf[done:])
		if n == 0 {
			break
		}
		h.out = filterEvent(h.out, h.buf[done:done+n])
		done += n
	}
	h.buf = h.buf[:copy(h.buf, h.buf[done:])]
	if len(h.buf) > maxHeld {
		h.raw = true
		h.out = append(h.out, h.buf...)
		h.buf = nil
	}
	return h.out
}

// rest returns what the stream ended with.
func (h *hold) rest() []byte {
	b := h.buf
	h.buf = nil
	return b
}

// eventEnd returns the length of the first whole event with its blank line, or 0.
func eventEnd(b []byte) int {
	at := 0
	for {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		switch {
		case at < len(b) && b[at] == '\n':
			return at + 1
		case at+1 < len(b) && b[at] == '\r' && b[at+1] == '\n':
			return at + 2
		}
	}
}

// filterEvent appends the event without its usage, or nothing when the usage was all it had.
func filterEvent(dst, event []byte) []byte {
	start := 0
	if !bytes.HasPrefix(event, []byte("data:")) {
		if start = bytes.Index(event, []byte("\ndata:")) + 1; start == 0 {
			return append(dst, event...)
		}
	}
	from := start + len("data:")
	to := from + bytes.IndexByte(event[from:], '\n')
	data := event[from:to]
	usage, bare := false, false
	m := open(data)
	for m.next() {
		switch string(m.key()) {
		case "usage":
			usage = true
		case "choices":
			v := bytes.TrimSpace(m.value())
			bare = len(v) >= 2 && v[0] == '[' && len(bytes.TrimSpace(v[1:len(v)-1])) == 0
		}
	}
	if m.err != nil || !usage {
		return append(dst, event...)
	}
	if bare {
		return dst
	}
	dst = append(dst, event[:from]...)
	dst, _, _ = apply(dst, data, []edit{{key: "usage", remove: true}}, true)
	return append(dst, event[to:]...)
}
