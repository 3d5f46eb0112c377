package pipeline

import (
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/record"
)

// maxRecord is the largest record on the bus, in bytes.
const maxRecord = 256 << 10

// Limit is how much of an exchange is kept. The zero value is the default.
type Limit struct {
	// MaxContent bounds the content in bytes: 64 KiB.
	MaxContent int
	// TopK keeps all tokens with their alternatives.
	TopK bool
}

var errTooLarge = errors.New("the record is too large also without its content")

// encode cuts the exchange to size and encodes it. Every field that was shortened is named in Exchange.Cut.
func (l Limit) encode(codec *Codec, x *record.Exchange) ([]byte, error) {
	if l.MaxContent <= 0 {
		l.MaxContent = 64 << 10
	}
	if !l.TopK {
		x.TopK = nil
	}
	if x.Content != nil {
		cutContent(x, l.MaxContent)
	}
	x.Error = clip(x, "error", x.Error, 4<<10)
	// Each step takes away what is missed least, until the record fits.
	steps := []func(){
		func() { x.TopK = drop(x, "top_k", x.TopK) },
		func() { x.Embedding = drop(x, "embedding", x.Embedding) },
		func() {
			if x.Content != nil {
				x.Content = nil
				cut(x, "content")
			}
		},
		func() {
			if x.Params != nil {
				x.Params = nil
				cut(x, "params")
			}
			if x.Tags != nil {
				x.Tags = nil
				cut(x, "tags")
			}
		},
	}
	for i := -1; i < len(steps); i++ {
		if i >= 0 {
			steps[i]()
		}
		b, err := codec.Exchange(x)
		if err != nil {
			return nil, err
		}
		if len(b)+len(x.ID) <= maxRecord {
			return b, nil
		}
	}
	return nil, errTooLarge
}

func cut(x *record.Exchange, field string) {
	if !slices.Contains(x.Cut, field) {
		x.Cut = append(x.Cut, field)
	}
}

func drop[T any](x *record.Exchange, field string, v []T) []T {
	if len(v) > 0 {
		cut(x, field)
	}
	return nil
}

// clip shortens a text at a rune's end.
func clip(x *record.Exchange, field, s string, n int) string {
	if len(s) <= n {
		return s
	}
	cut(x, field)
	n = max(n, 0)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// cutContent keeps within room bytes: first the body goes, which repeats the rest; then old messages, until the answer
// and the last message fit; then the answer is cut to half of the room, system prompt and last message to a quarter.
func cutContent(x *record.Exchange, room int) {
	c := x.Content
	size := contentSize(c)
	if size <= room {
		return
	}
	if c.Body != nil {
		size -= len(c.Body)
		c.Body = nil
		cut(x, "body")
	}
	for size > room && len(c.Input) > 1 {
		size -= messageSize(c.Input[0])
		c.Input = c.Input[1:]
		cut(x, "input")
	}
	if size <= room {
		return
	}
	c.System = clip(x, "system", c.System, room/8)
	c.Refusal = clip(x, "refusal", c.Refusal, room/8)
	for i := range c.Input {
		cutMessage(x, &c.Input[i], room/4)
	}
	c.Output = clip(x, "output", c.Output, room/4)
	calls := 0
	for i, t := range c.ToolCalls {
		if calls += len(t.ID) + len(t.Name) + len(t.Arguments); calls > room/4 {
			c.ToolCalls = c.ToolCalls[:i]
			cut(x, "tool_calls")
			break
		}
	}
}

func cutMessage(x *record.Exchange, m *record.Message, room int) {
	m.Role = clip(x, "input", m.Role, 64)
	m.Content = clip(x, "input", m.Content, room)
	left := room
	for i := range m.Parts {
		p := &m.Parts[i]
		p.Text = clip(x, "input", p.Text, left)
		left -= len(p.Text)
		if len(p.ImageURL) > left { // part of an image is of no use
			p.ImageURL = ""
			cut(x, "input")
		}
		left -= len(p.ImageURL)
	}
}

func contentSize(c *record.Content) int {
	n := len(c.System) + len(c.Output) + len(c.Refusal) + len(c.Body)
	for _, m := range c.Input {
		n += messageSize(m)
	}
	for _, t := range c.ToolCalls {
		n += len(t.ID) + len(t.Name) + len(t.Arguments)
	}
	return n
}

func messageSize(m record.Message) int {
	n := len(m.Role) + len(m.Content)
	for _, p := range m.Parts {
		n += len(p.Text) + len(p.ImageURL)
	}
	return n
}
