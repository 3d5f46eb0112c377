package pyjinja

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tEnd tokenKind = iota
	tText
	tOpenExpr  // {{
	tCloseExpr // }}
	tOpenStmt  // {%
	tCloseStmt // %}
	tName
	tString
	tInt
	tFloat
	tOp
)

type token struct {
	kind tokenKind
	text string
	line int
}

// operators, the longer before those they begin with.
var operators = []string{"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "(", ")", "[", "]", "{", "}", ",", ":", ".", "|", "="}

type lexer struct {
	s      string
	i      int
	line   int
	tokens []token
	// literal reads strings as Python does, which ends them at a line end.
	literal bool
}

func (l *lexer) errorf(problem string) error { return &Error{Line: l.line, Problem: problem} }

func (l *lexer) add(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind, text, l.line})
}

// lex splits a template into text and the tokens of its tags. A minus at a tag's edge removes the
// white space beside it.
func lex(s string) ([]token, error) {
	l := &lexer{s: s, line: 1}
	trimNext := false
	for {
		at := strings.IndexByte(l.s[l.i:], '{')
		for at >= 0 && !strings.HasPrefix(l.s[l.i+at:], "{{") && !strings.HasPrefix(l.s[l.i+at:], "{%") && !strings.HasPrefix(l.s[l.i+at:], "{#") {
			next := strings.IndexByte(l.s[l.i+at+1:], '{')
			if next < 0 {
				at = -1
				break
			}
			at += 1 + next
		}
		text := l.s[l.i:]
		if at >= 0 {
			text = l.s[l.i : l.i+at]
		}
		shown := text
		if trimNext {
			shown = strings.TrimLeftFunc(shown, unicode.IsSpace)
		}
		if at < 0 {
			l.add(tText, shown)
			l.add(tEnd, "the end of the template")
			return l.tokens, nil
		}
		open := l.s[l.i+at : l.i+at+2]
		l.i += at + 2
		if strings.HasPrefix(l.s[l.i:], "-") {
			shown = strings.TrimRightFunc(shown, unicode.IsSpace)
			l.i++
		} else if strings.HasPrefix(l.s[l.i:], "+") {
			l.i++
		}
		l.add(tText, shown)
		l.line += strings.Count(text, "\n")
		var err error
		if trimNext, err = l.tag(open); err != nil {
			return nil, err
		}
	}
}

// tag reads a tag behind its opening mark and says whether white space after it is removed.
func (l *lexer) tag(open string) (trim bool, err error) {
	switch open {
	case "{#":
		end := strings.Index(l.s[l.i:], "#}")
		if end < 0 {
			return false, l.errorf("a comment without #}")
		}
		text := l.s[l.i : l.i+end]
		l.line += strings.Count(text, "\n")
		l.i += end + 2
		return strings.HasSuffix(text, "-"), nil
	case "{%":
		l.add(tOpenStmt, open)
		if trim, err = l.inside("%}"); err != nil {
			return false, err
		}
		l.add(tCloseStmt, "%}")
		if n := len(l.tokens); n >= 3 && l.tokens[n-2].text == "raw" && l.tokens[n-2].kind == tName && l.tokens[n-3].kind == tOpenStmt {
			return l.raw(trim)
		}
		return trim, nil
	}
	l.add(tOpenExpr, open)
	trim, err = l.inside("}}")
	l.add(tCloseExpr, "}}")
	return trim, err
}

// raw reads up to {% endraw %}; its tokens are replaced by the text.
func (l *lexer) raw(trimFirst bool) (trim bool, err error) {
	l.tokens = l.tokens[:len(l.tokens)-3]
	rest := l.s[l.i:]
	for at := 0; ; {
		k := strings.Index(rest[at:], "{%")
		if k < 0 {
			return false, l.errorf("raw without endraw")
		}
		at += k
		inner := rest[at+2:]
		end := strings.Index(inner, "%}")
		if end < 0 {
			return false, l.errorf("raw without endraw")
		}
		if strings.TrimSpace(strings.Trim(inner[:end], "-+")) != "endraw" {
			at += 2
			continue
		}
		text := rest[:at]
		l.i += at + 2 + end + 2
		l.line += strings.Count(text, "\n")
		if trimFirst {
			text = strings.TrimLeftFunc(text, unicode.IsSpace)
		}
		if strings.HasPrefix(inner, "-") {
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		}
		l.add(tText, text)
		return strings.HasSuffix(inner[:end], "-"), nil
	}
}

// inside reads tokens up to the closing mark.
func (l *lexer) inside(closing string) (trim bool, err error) {
	depth := 0
	for {
		for l.i < len(l.s) && isSpace(l.s[l.i]) {
			if l.s[l.i] == '\n' {
				l.line++
			}
			l.i++
		}
		if l.i >= len(l.s) {
			return false, l.errorf("a tag without " + closing)
		}
		rest := l.s[l.i:]
		if depth == 0 {
			if strings.HasPrefix(rest, closing) {
				l.i += 2
				return false, nil
			}
			if strings.HasPrefix(rest, "-"+closing) || strings.HasPrefix(rest, "+"+closing) {
				l.i += 3
				return rest[0] == '-', nil
			}
		}
		if err := l.token(); err != nil {
			return false, err
		}
		if t := l.tokens[len(l.tokens)-1]; t.kind == tOp {
			switch t.text {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth = max(depth-1, 0)
			}
		}
	}
}

// token reads one token of an expression.
func (l *lexer) token() error {
	rest := l.s[l.i:]
	c := rest[0]
	switch {
	case c == '"' || c == '\'':
		return l.string(c)
	case '0' <= c && c <= '9':
		return l.number()
	}
	r, size := utf8.DecodeRuneInString(rest)
	if r == '_' || unicode.IsLetter(r) {
		n := size
		for n < len(rest) {
			r, size := utf8.DecodeRuneInString(rest[n:])
			if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
				break
			}
			n += size
		}
		l.add(tName, rest[:n])
		l.i += n
		return nil
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			l.add(tOp, op)
			l.i += len(op)
			return nil
		}
	}
	return l.errorf("unexpected character " + strconv.QuoteRune(r))
}

func (l *lexer) number() error {
	rest := l.s[l.i:]
	n, kind := 0, tInt
	digits := func() {
		for n < len(rest) && ('0' <= rest[n] && rest[n] <= '9' || rest[n] == '_') {
			n++
		}
	}
	digits()
	if n+1 < len(rest) && rest[n] == '.' && '0' <= rest[n+1] && rest[n+1] <= '9' {
		kind = tFloat
		n++
		digits()
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		m := n + 1
		if m < len(rest) && (rest[m] == '+' || rest[m] == '-') {
			m++
		}
		if m < len(rest) && '0' <= rest[m] && rest[m] <= '9' {
			kind, n = tFloat, m
			digits()
		}
	}
	l.add(kind, strings.ReplaceAll(rest[:n], "_", ""))
	l.i += n
	return nil
}

// string reads a quoted string with Python's escapes.
func (l *lexer) string(quote byte) error {
	var b strings.Builder
	i := l.i + 1
	for i < len(l.s) {
		c := l.s[i]
		switch {
		case c == quote:
			l.add(tString, b.String())
			l.line += strings.Count(l.s[l.i:i], "\n")
			l.i = i + 1
			return nil
		case c == '\n' && l.literal:
			return l.errorf("a string that does not end on its line")
		case c == '\\' && i+1 < len(l.s):
			n, err := escape(&b, l.s[i:])
			if err != "" {
				return l.errorf(err)
			}
			i += n
		default:
			b.WriteByte(c)
			i++
		}
	}
	return l.errorf("a string without its closing quote")
}

// escape writes what the escape at the start of s stands for and returns its length.
func escape(b *strings.Builder, s string) (n int, problem string) {
	hex := func(digits int) (int, string) {
		if len(s) < 2+digits {
			return 0, "an escape that is cut short"
		}
		v, err := strconv.ParseUint(s[2:2+digits], 16, 32)
		if err != nil || v > unicode.MaxRune {
			return 0, "not an escape: " + s[:2+digits]
		}
		b.WriteRune(rune(v))
		return 2 + digits, ""
	}
	switch s[1] {
	case '\n':
	case '\\', '\'', '"':
		b.WriteByte(s[1])
	case 'n':
		b.WriteByte('\n')
	case 't':
		b.WriteByte('\t')
	case 'r':
		b.WriteByte('\r')
	case 'a':
		b.WriteByte('\a')
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'v':
		b.WriteByte('\v')
	case 'x':
		return hex(2)
	case 'u':
		return hex(4)
	case 'U':
		return hex(8)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		n := 1
		v := 0
		for n < len(s) && n < 4 && '0' <= s[n] && s[n] <= '7' {
			v = v*8 + int(s[n]-'0')
			n++
		}
		b.WriteRune(rune(v))
		return n, ""
	default: // Python keeps an escape that it does not know
		b.WriteByte('\\')
		b.WriteByte(s[1])
	}
	return 2, ""
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}
