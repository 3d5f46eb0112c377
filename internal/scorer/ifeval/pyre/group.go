package pyre

import (
	"slices"
	"strings"
	"unicode"
)

// group reads what an opening parenthesis begins. The node is nil for a comment.
func (p *parser) group() (node, error) {
	start := p.pos
	p.pos++
	if !p.take("?") {
		return p.capture(start, "")
	}
	switch {
	case p.take("P<"):
		name, err := p.name('>')
		if err != nil {
			return nil, err
		}
		if _, ok := p.names[name]; ok {
			return nil, p.fail(start, "redefinition of group name %q", name)
		}
		return p.capture(start, name)
	case p.take("P="):
		name, err := p.name(')')
		if err != nil {
			return nil, err
		}
		g, ok := p.names[name]
		if !ok {
			return nil, p.fail(start, "unknown group name %q", name)
		}
		return p.reference(g, start)
	case p.take("#"):
		end := slices.Index(p.in[p.pos:], ')')
		if end < 0 {
			return nil, p.fail(start, "missing ), unterminated comment")
		}
		p.pos += end + 1
		return nil, nil
	case p.take(":"):
		return p.body(start)
	case p.take("="):
		n, err := p.body(start)
		return &look{body: n}, err
	case p.take("!"):
		n, err := p.body(start)
		return &look{body: n, negated: true}, err
	case p.take("<="), p.take("<!"):
		return p.behind(start, p.in[p.pos-1] == '!')
	}
	return p.scopedFlags(start)
}

// body reads up to the closing parenthesis. The flags that hold inside end with it.
func (p *parser) body(start int) (node, error) {
	flags := p.flags
	n, err := p.alternatives()
	p.flags = flags
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, p.fail(start, "missing ), unterminated subpattern")
	}
	return n, nil
}

func (p *parser) capture(start int, name string) (node, error) {
	p.groups++
	g := p.groups
	if name != "" {
		if p.names == nil {
			p.names = map[string]int{}
		}
		p.names[name] = g
	}
	p.open = append(p.open, g)
	n, err := p.body(start)
	p.open = p.open[:len(p.open)-1]
	return &capture{body: n, group: g}, err
}

func (p *parser) behind(start int, negated bool) (node, error) {
	n, err := p.body(start)
	if err != nil {
		return nil, err
	}
	low, high := n.width()
	if low != high {
		return nil, p.fail(start, "look-behind requires fixed-width pattern")
	}
	return &look{body: n, negated: negated, back: low}, nil
}

// scopedFlags reads (?i:…) and (?i-s:…).
func (p *parser) scopedFlags(start int) (node, error) {
	end := p.pos
	for end < len(p.in) && strings.ContainsRune("aiLmsux-", p.in[end]) {
		end++
	}
	if end == p.pos || end >= len(p.in) || p.in[end] != ':' {
		if end > p.pos && end < len(p.in) && p.in[end] == ')' {
			return nil, p.fail(start, "global flags not at the start of the expression")
		}
		return nil, p.fail(start, "group (?%s is not supported", string(p.in[p.pos:min(p.pos+1, len(p.in))]))
	}
	on, off, _ := strings.Cut(string(p.in[p.pos:end]), "-")
	set, err := p.letters(on)
	if err != nil {
		return nil, err
	}
	clear, err := p.letters(off)
	if err != nil {
		return nil, err
	}
	flags := p.flags
	p.flags = p.flags&^clear | set
	p.pos = end + 1
	n, err := p.body(start)
	p.flags = flags
	return n, err
}

// name reads a group's name, which is a Python identifier.
func (p *parser) name(end rune) (string, error) {
	n := slices.Index(p.in[p.pos:], end)
	if n < 1 {
		return "", p.fail(p.pos, "missing group name")
	}
	s := p.in[p.pos : p.pos+n]
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return "", p.fail(p.pos, "bad character in group name %q", string(s))
		}
	}
	p.pos += n + 1
	return string(s), nil
}

func (p *parser) reference(g, at int) (node, error) {
	if g > p.groups {
		return nil, p.fail(at, "invalid group reference %d", g)
	}
	if slices.Contains(p.open, g) {
		return nil, p.fail(at, "cannot refer to an open group")
	}
	return &backref{group: g, fold: p.flags&IgnoreCase != 0}, nil
}
