package scorer

import (
	"encoding/json"
	"errors"
	"strings"
)

// asJSON brings a decoded YAML or JSON value to the form that decodeJSON gives.
func asJSON(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return decodeJSON(string(b))
}

var errTooTangled = errors.New("the output holds too many overlapping beginnings of JSON to search them all")

// eachJSON yields the spans of the JSON objects and arrays in s from left to right, outermost
// first and without overlap, until yield returns false.
//
// Where a value that begins at i turns out to be broken at j, every container still open at j is
// broken too, for the same reason; their beginnings are not tried again. That makes the search
// linear but for brackets within strings, which a text made for the purpose could still use to
// have the same bytes read many times. Such a text gives errTooTangled.
func eachJSON(s string, yield func(start, end int) bool) error {
	var dead []bool
	var open []int
	budget := 16*len(s) + 1<<16
	for i := 0; i < len(s); {
		k := strings.IndexAny(s[i:], "{[")
		if k < 0 {
			return nil
		}
		i += k
		if dead != nil && dead[i] {
			i++
			continue
		}
		p := jsonScan{s: s, at: i, open: open[:0]}
		ok := p.container()
		open = p.open
		if budget -= p.at - i; budget < 0 {
			return errTooTangled
		}
		if ok {
			if !yield(i, p.at) {
				return nil
			}
			i = p.at
			continue
		}
		if dead == nil {
			dead = make([]bool, len(s))
		}
		for _, start := range p.open {
			dead[start] = true
		}
		i++
	}
	return nil
}

// jsonScan checks the grammar of RFC 8259 from a place in a text on.
type jsonScan struct {
	s    string
	at   int
	open []int // where the containers that are not yet closed begin
}

// What may come next.
const (
	wantValue = iota
	wantValueOrEnd
	wantKey
	wantKeyOrEnd
	wantColon
	wantCommaOrEnd
)

// As deep as encoding/json goes.
const maxDepth = 10000

// container reads the object or array at p.at and leaves p.at behind it, or where it is broken.
func (p *jsonScan) container() bool {
	want := wantValue
	for {
		for p.at < len(p.s) && (p.s[p.at] == ' ' || p.s[p.at] == '\n' || p.s[p.at] == '\r' || p.s[p.at] == '\t') {
			p.at++
		}
		if p.at == len(p.s) {
			return false
		}
		c := p.s[p.at]
		switch {
		case want == wantColon:
			if c != ':' {
				return false
			}
			p.at++
			want = wantValue
		case want == wantCommaOrEnd && c == ',':
			p.at++
			want = wantValue
			if p.inObject() {
				want = wantKey
			}
		case c == '}' && (want == wantKeyOrEnd || want == wantCommaOrEnd && p.inObject()),
			c == ']' && (want == wantValueOrEnd || want == wantCommaOrEnd && !p.inObject()):
			p.at++
			p.open = p.open[:len(p.open)-1]
			if len(p.open) == 0 {
				return true
			}
			want = wantCommaOrEnd
		case want == wantCommaOrEnd:
			return false
		case want == wantKey || want == wantKeyOrEnd:
			if c != '"' || !p.str() {
				return false
			}
			want = wantColon
		case c == '{' || c == '[':
			if len(p.open) == maxDepth {
				return false
			}
			p.open = append(p.open, p.at)
			p.at++
			want = wantValueOrEnd
			if c == '{' {
				want = wantKeyOrEnd
			}
		default:
			if !p.scalar(c) {
				return false
			}
			want = wantCommaOrEnd
		}
	}
}

func (p *jsonScan) inObject() bool { return p.s[p.open[len(p.open)-1]] == '{' }

func (p *jsonScan) scalar(c byte) bool {
	switch c {
	case '"':
		return p.str()
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.word("null")
	}
	return p.number()
}

func (p *jsonScan) word(w string) bool {
	if !strings.HasPrefix(p.s[p.at:], w) {
		return false
	}
	p.at += len(w)
	return true
}

func (p *jsonScan) str() bool {
	for p.at++; p.at < len(p.s); p.at++ {
		switch c := p.s[p.at]; {
		case c == '"':
			p.at++
			return true
		case c < ' ':
			return false
		case c == '\\':
			p.at++
			if p.at == len(p.s) || strings.IndexByte(`"\/bfnrtu`, p.s[p.at]) < 0 {
				return false
			}
			if p.s[p.at] == 'u' {
				for range 4 {
					p.at++
					if p.at == len(p.s) || !isHex(p.s[p.at]) {
						return false
					}
				}
			}
		}
	}
	return false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (p *jsonScan) number() bool {
	if p.peek() == '-' {
		p.at++
	}
	if p.peek() == '0' {
		p.at++
	} else if !p.digits() {
		return false
	}
	if p.peek() == '.' {
		p.at++
		if !p.digits() {
			return false
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		return p.digits()
	}
	return true
}

// peek returns the next byte, or 0 at the end.
func (p *jsonScan) peek() byte {
	if p.at == len(p.s) {
		return 0
	}
	return p.s[p.at]
}

func (p *jsonScan) digits() bool {
	from := p.at
	for c := p.peek(); '0' <= c && c <= '9'; c = p.peek() {
		p.at++
	}
	return p.at > from
}
