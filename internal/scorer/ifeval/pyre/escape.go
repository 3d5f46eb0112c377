package pyre

import (
	"slices"
	"strconv"
	"unicode"
)

// escape reads a backslash outside a class.
func (p *parser) escape() (node, error) {
	start := p.pos
	if p.pos+1 >= len(p.in) {
		return nil, p.fail(start, "bad escape (end of pattern)")
	}
	c := p.in[p.pos+1]
	if s, ok := category(c); ok {
		p.pos += 2
		return s, nil
	}
	switch c {
	case 'A', 'Z', 'b', 'B':
		p.pos += 2
		return map[rune]assertion{'A': atStart, 'Z': atEnd, 'b': atBoundary, 'B': notAtBoundary}[c], nil
	}
	if '1' <= c && c <= '9' {
		return p.numbered(start)
	}
	r, err := p.escapedRune()
	if err != nil {
		return nil, err
	}
	return p.literal(r), nil
}

// numbered reads \1 to \99, or an octal escape of three digits.
func (p *parser) numbered(start int) (node, error) {
	end := start + 2
	if end < len(p.in) && isASCIIDigit(p.in[end]) {
		if p.in[start+1] <= '3' && isOctal(p.in[end]) && end+1 < len(p.in) && isOctal(p.in[end+1]) {
			n, _ := strconv.ParseUint(string(p.in[start+1:end+2]), 8, 32)
			p.pos = end + 2
			return p.literal(rune(n)), nil
		}
		end++
	}
	g, _ := strconv.Atoi(string(p.in[start+1 : end]))
	p.pos = end
	return p.reference(g, start)
}

// escapedRune reads an escape that stands for one character.
func (p *parser) escapedRune() (rune, error) {
	start := p.pos
	c := p.in[p.pos+1]
	p.pos += 2
	switch c {
	case 'a':
		return '\a', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'v':
		return '\v', nil
	case 'x':
		return p.hex(start, 2)
	case 'u':
		return p.hex(start, 4)
	case 'U':
		return p.hex(start, 8)
	case '0':
		end := p.pos
		for end < len(p.in) && end < p.pos+2 && isOctal(p.in[end]) {
			end++
		}
		n, _ := strconv.ParseUint("0"+string(p.in[p.pos:end]), 8, 32)
		p.pos = end
		return rune(n), nil
	}
	if c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
		return 0, p.fail(start, `bad escape \%c`, c)
	}
	return c, nil
}

func (p *parser) hex(start, digits int) (rune, error) {
	end := min(p.pos+digits, len(p.in))
	n, err := strconv.ParseUint(string(p.in[p.pos:end]), 16, 32)
	if err != nil || end-p.pos != digits || n > unicode.MaxRune {
		return 0, p.fail(start, "incomplete escape %s", string(p.in[start:end]))
	}
	p.pos = end
	return rune(n), nil
}

func isOctal(r rune) bool { return '0' <= r && r <= '7' }

func isASCIIDigit(r rune) bool { return '0' <= r && r <= '9' }

// category returns the set that \d, \s, \w or its complement stands for.
func category(c rune) (*set, bool) {
	switch c {
	case 'd':
		return &set{tests: []test{{isDigit, false}}}, true
	case 'D':
		return &set{tests: []test{{isDigit, true}}}, true
	case 's':
		return &set{tests: []test{{isSpace, false}}}, true
	case 'S':
		return &set{tests: []test{{isSpace, true}}}, true
	case 'w':
		return &set{tests: []test{{isWord, false}}}, true
	case 'W':
		return &set{tests: []test{{isWord, true}}}, true
	}
	return nil, false
}

// class reads […].
func (p *parser) class() (node, error) {
	start := p.pos
	p.pos++
	s := &set{negated: p.take("^"), fold: p.flags&IgnoreCase != 0}
	for first := true; ; first = false {
		if !p.more() {
			return nil, p.fail(start, "unterminated character set")
		}
		if p.in[p.pos] == ']' && !first {
			p.pos++
			return s, nil
		}
		at := p.pos
		low, cat, err := p.member()
		if err != nil {
			return nil, err
		}
		ranged := p.pos+1 < len(p.in) && p.in[p.pos] == '-' && p.in[p.pos+1] != ']'
		if !ranged && p.pos < len(p.in) && p.in[p.pos] == '-' && p.pos+1 >= len(p.in) {
			return nil, p.fail(start, "unterminated character set")
		}
		if !ranged {
			if cat != nil {
				s.tests = append(s.tests, cat.tests...)
			} else {
				s.ranges = append(s.ranges, interval{low, low})
			}
			continue
		}
		p.pos++
		high, highCat, err := p.member()
		if err != nil {
			return nil, err
		}
		if cat != nil || highCat != nil || high < low {
			return nil, p.fail(at, "bad character range %s", string(p.in[at:p.pos]))
		}
		s.ranges = append(s.ranges, interval{low, high})
	}
}

// member reads one character of a class, or a category.
func (p *parser) member() (rune, *set, error) {
	c := p.in[p.pos]
	if c != '\\' {
		p.pos++
		return c, nil, nil
	}
	if p.pos+1 >= len(p.in) {
		return 0, nil, p.fail(p.pos, "bad escape (end of pattern)")
	}
	c = p.in[p.pos+1]
	if s, ok := category(c); ok {
		p.pos += 2
		return 0, s, nil
	}
	if c == 'b' {
		p.pos += 2
		return '\b', nil, nil
	}
	if isOctal(c) && c != '0' {
		end := p.pos + 1
		for end < len(p.in) && end < p.pos+4 && isOctal(p.in[end]) {
			end++
		}
		n, _ := strconv.ParseUint(string(p.in[p.pos+1:end]), 8, 32)
		if n > 0o377 {
			return 0, nil, p.fail(p.pos, "octal escape outside of range 0-0o377")
		}
		p.pos = end
		return rune(n), nil, nil
	}
	r, err := p.escapedRune()
	return r, nil, err
}

// isSingle says whether n always takes exactly one character and captures nothing.
func isSingle(n node) bool {
	switch n := n.(type) {
	case char, *set:
		return true
	case sequence:
		return len(n) == 1 && isSingle(n[0])
	case alternation:
		return !slices.ContainsFunc(n, func(a node) bool { return !isSingle(a) })
	}
	return false
}
