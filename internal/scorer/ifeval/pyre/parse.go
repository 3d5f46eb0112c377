package pyre

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// unlimited is the upper bound of a repeat without one.
const unlimited = int(^uint(0) >> 1)

// maxRepeat bounds {m,n}; Python's own bound is higher and of no use.
const maxRepeat = 1 << 20

// maxNesting bounds groups within groups, so that parsing cannot exhaust the stack.
const maxNesting = 200

type parser struct {
	expr   string
	in     []rune
	pos    int
	flags  Flags
	groups int
	open   []int          // groups being parsed, which may not be referred to
	names  map[string]int // of named groups
	depth  int
}

func (p *parser) parse() (node, error) {
	if err := p.globalFlags(); err != nil {
		return nil, err
	}
	n, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if p.pos < len(p.in) {
		return nil, p.fail(p.pos, "unbalanced parenthesis")
	}
	return n, nil
}

func (p *parser) fail(at int, format string, args ...any) error {
	return &SyntaxError{Expr: p.expr, Offset: at, Problem: fmt.Sprintf(format, args...)}
}

func (p *parser) more() bool { return p.pos < len(p.in) }

// take moves past s if it comes next.
func (p *parser) take(s string) bool {
	rs := []rune(s)
	if len(p.in)-p.pos < len(rs) || !slices.Equal(p.in[p.pos:p.pos+len(rs)], rs) {
		return false
	}
	p.pos += len(rs)
	return true
}

// globalFlags reads (?flags) at the very start, the only place where Python allows them.
func (p *parser) globalFlags() error {
	for p.pos+2 < len(p.in) && p.in[0] == '(' && p.in[1] == '?' {
		end := slices.Index(p.in[p.pos:], ')')
		if end < 3 || !p.take("(?") {
			return nil
		}
		letters := string(p.in[p.pos : p.pos+end-2])
		if strings.Trim(letters, "aiLmsux") != "" {
			p.pos -= 2
			return nil
		}
		f, err := p.letters(letters)
		if err != nil {
			return err
		}
		p.flags |= f
		p.pos += end - 1
		if p.pos+1 >= len(p.in) || p.in[p.pos] != '(' || p.in[p.pos+1] != '?' {
			return nil
		}
	}
	return nil
}

func (p *parser) letters(s string) (Flags, error) {
	var f Flags
	for _, c := range s {
		switch c {
		case 'i':
			f |= IgnoreCase
		case 'm':
			f |= Multiline
		case 's':
			f |= DotAll
		case 'x':
			f |= Verbose
		case 'u': // Unicode, which text is anyway
		default:
			return 0, p.fail(p.pos, "flag %q is not supported", c)
		}
	}
	return f, nil
}

func (p *parser) alternatives() (node, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.fail(p.pos, "more than %d nested groups", maxNesting)
	}
	defer func() { p.depth-- }()
	var alts alternation
	for {
		s, err := p.sequence()
		if err != nil {
			return nil, err
		}
		alts = append(alts, s)
		if !p.take("|") {
			break
		}
	}
	if len(alts) == 1 {
		return alts[0], nil
	}
	return alts, nil
}

func (p *parser) sequence() (node, error) {
	var seq sequence
	for p.more() && p.in[p.pos] != '|' && p.in[p.pos] != ')' {
		if p.flags&Verbose != 0 && p.skipVerbose() {
			continue
		}
		start := p.pos
		low, high, ok, err := p.bounds()
		if err != nil {
			return nil, err
		}
		if ok {
			if err := p.repeat(seq, start, low, high); err != nil {
				return nil, err
			}
			continue
		}
		n, err := p.item()
		if err != nil {
			return nil, err
		}
		if n != nil { // nil is a comment
			seq = append(seq, n)
		}
	}
	return seq, nil
}

// repeat makes the last item of seq a repeated one.
func (p *parser) repeat(seq sequence, start, low, high int) error {
	if len(seq) == 0 {
		return p.fail(start, `nothing to repeat (write \%c for the character itself)`, p.in[start])
	}
	last := len(seq) - 1
	switch seq[last].(type) {
	case assertion:
		return p.fail(start, `nothing to repeat (write \%c for the character itself)`, p.in[start])
	case *repeat:
		return p.fail(start, `multiple repeat (write \%c for the character itself)`, p.in[start])
	}
	lazy := p.take("?")
	if !lazy && p.take("+") {
		return p.fail(p.pos-1, `multiple repeat (write \+ for the character itself)`)
	}
	seq[last] = &repeat{body: seq[last], low: low, high: high, lazy: lazy, single: isSingle(seq[last])}
	return nil
}

// skipVerbose passes over white space and comments.
func (p *parser) skipVerbose() bool {
	switch c := p.in[p.pos]; {
	case c == ' ' || '\t' <= c && c <= '\r':
		p.pos++
		return true
	case c == '#':
		for p.more() && p.in[p.pos] != '\n' {
			p.pos++
		}
		return true
	}
	return false
}

// bounds reads *, +, ?, {m}, {m,}, {,n} or {m,n}. Any other brace is an ordinary character.
func (p *parser) bounds() (low, high int, ok bool, err error) {
	if !p.more() {
		return 0, 0, false, nil
	}
	switch p.in[p.pos] {
	case '*':
		p.pos++
		return 0, unlimited, true, nil
	case '+':
		p.pos++
		return 1, unlimited, true, nil
	case '?':
		p.pos++
		return 0, 1, true, nil
	case '{':
	default:
		return 0, 0, false, nil
	}
	end := slices.Index(p.in[p.pos:], '}')
	if end < 2 {
		return 0, 0, false, nil
	}
	from, to, comma := strings.Cut(string(p.in[p.pos+1:p.pos+end]), ",")
	if strings.Trim(from+to, "0123456789") != "" || !comma && from == "" {
		return 0, 0, false, nil
	}
	low, high = 0, unlimited
	if from != "" {
		low = count(from)
	}
	if !comma {
		high = low
	} else if to != "" {
		high = count(to)
	}
	if low > maxRepeat || high > maxRepeat && high != unlimited {
		return 0, 0, false, p.fail(p.pos, "repeat of more than %d", maxRepeat)
	}
	if low > high {
		return 0, 0, false, p.fail(p.pos, "min repeat greater than max repeat")
	}
	p.pos += end + 1
	return low, high, true, nil
}

// count reads a number of digits; one that is too long is more than maxRepeat.
func count(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return maxRepeat + 1
	}
	return n
}

func (p *parser) item() (node, error) {
	c := p.in[p.pos]
	switch c {
	case '\\':
		return p.escape()
	case '[':
		return p.class()
	case '(':
		return p.group()
	}
	p.pos++
	switch c {
	case '.':
		return &set{negated: true, ranges: newline(p.flags)}, nil
	case '^':
		if p.flags&Multiline != 0 {
			return atLineStart, nil
		}
		return atStart, nil
	case '$':
		if p.flags&Multiline != 0 {
			return atLineEnd, nil
		}
		return atLastLineEnd, nil
	}
	return p.literal(c), nil
}

// newline is what a dot leaves out.
func newline(f Flags) []interval {
	if f&DotAll != 0 {
		return nil
	}
	return []interval{{'\n', '\n'}}
}

func (p *parser) literal(c rune) node {
	if p.flags&IgnoreCase != 0 {
		return char{fold(c), true}
	}
	return char{c, false}
}
