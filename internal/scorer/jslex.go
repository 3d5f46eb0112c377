package scorer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// jsKind is what a piece of JavaScript is.
type jsKind uint8

const (
	jsEnd jsKind = iota
	jsName
	jsNumber
	jsString   // text holds what it stands for
	jsTemplate // text holds what is between the backticks, escapes and all
	jsPattern  // text holds pattern, extra the flags
	jsPunct
)

type jsToken struct {
	kind  jsKind
	text  string
	extra string
	// line says that a line end comes before the token.
	line bool
}

// jsPuncts lists the operators, longer ones first.
var jsPuncts = []string{"===", "!==", "**=", "...", "=>", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", "++", "--", "**", "+=", "-=",
	"+", "-", "*", "/", "%", "<", ">", "!", "?", ":", ".", ",", ";", "(", ")", "[", "]", "{", "}", "="}

// lexJS cuts a text into tokens; an error means that it is no JavaScript of the kind that is read here.
func lexJS(s string) ([]jsToken, error) {
	var out []jsToken
	line := false
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == '\n' || c == '\r':
			line = true
			i += size
			continue
		case unicode.IsSpace(c) || c == '\ufeff':
			i += size
			continue
		case strings.HasPrefix(s[i:], "//"):
			end := strings.IndexByte(s[i:], '\n')
			if end < 0 {
				end = len(s) - i
			}
			i += end
			continue
		case strings.HasPrefix(s[i:], "/*"):
			end := strings.Index(s[i+2:], "*/")
			if end < 0 {
				return nil, fmt.Errorf("a comment is not closed")
			}
			i += end + 4
			continue
		}
		t, n, err := lexToken(s[i:], out)
		if err != nil {
			return nil, err
		}
		t.line, line = line, false
		out = append(out, t)
		i += n
	}
	return out, nil
}

// lexToken reads the token at the start of s. before decides whether a slash divides.
func lexToken(s string, before []jsToken) (t jsToken, n int, err error) {
	c, size := utf8.DecodeRuneInString(s)
	switch {
	case c == '_' || c == '$' || unicode.IsLetter(c):
		for n = size; n < len(s); n += size {
			if c, size = utf8.DecodeRuneInString(s[n:]); c != '_' && c != '$' && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
				break
			}
		}
		return jsToken{kind: jsName, text: s[:n]}, n, nil
	case c >= '0' && c <= '9':
		n = len(jsNumberAt.FindString(s))
		if n < len(s) && (s[n] == '_' || s[n] == 'x' || s[n] == 'n' || s[n] >= 'a' && s[n] <= 'z') {
			return t, 0, fmt.Errorf("a number that is not plain decimal")
		}
		return jsToken{kind: jsNumber, text: s[:n]}, n, nil
	case c == '"' || c == '\'' || c == '`':
		return lexQuoted(s, byte(c))
	case c == '/' && !dividesAfter(before):
		return lexRegex(s)
	}
	for _, p := range jsPuncts {
		if strings.HasPrefix(s, p) {
			return jsToken{kind: jsPunct, text: p}, len(p), nil
		}
	}
	return t, 0, fmt.Errorf("unexpected %q", c)
}

// dividesAfter says whether a slash after these tokens is a division and not the start of a pattern.
func dividesAfter(before []jsToken) bool {
	if len(before) == 0 {
		return false
	}
	switch t := before[len(before)-1]; t.kind {
	case jsName:
		return t.text != "return"
	case jsPunct:
		return t.text == ")" || t.text == "]" || t.text == "}"
	}
	return true
}

func lexQuoted(s string, quote byte) (t jsToken, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == quote && quote == '`':
			return jsToken{kind: jsTemplate, text: s[1:i]}, i + 1, nil
		case s[i] == quote:
			return jsToken{kind: jsString, text: b.String()}, i + 1, nil
		case s[i] == '\n' && quote != '`':
			return t, 0, fmt.Errorf("a text is not closed on its line")
		case s[i] == '\\' && i+1 < len(s) && quote == '`':
			i++
		case s[i] == '\\' && i+1 < len(s):
			used, ok := unescapeJS(s[i:], &b)
			if !ok {
				return t, 0, fmt.Errorf("the escape %q", s[i:i+2])
			}
			i += used - 1
		default:
			b.WriteByte(s[i])
		}
	}
	return t, 0, fmt.Errorf("a text is not closed")
}

// unescapeJS writes what the escape at the start of s stands for and returns its length.
func unescapeJS(s string, b *strings.Builder) (n int, ok bool) {
	if i := strings.IndexByte("nrtbfv0", s[1]); i >= 0 {
		b.WriteByte("\n\r\t\b\f\v\x00"[i])
		return 2, true
	}
	switch s[1] {
	case 'u', 'x':
		m := jsEscapeAt.FindStringSubmatch(s)
		if m == nil {
			return 0, false
		}
		var r rune
		if _, err := fmt.Sscanf(m[1]+m[2]+m[3], "%x", &r); err != nil || r > unicode.MaxRune || r >= 0xd800 && r < 0xe000 {
			return 0, false
		}
		b.WriteRune(r)
		return len(m[0]), true
	case '\n':
		return 2, true
	}
	if s[1] >= '1' && s[1] <= '9' {
		return 0, false
	}
	c, size := utf8.DecodeRuneInString(s[1:])
	b.WriteRune(c)
	return 1 + size, true
}

func lexRegex(s string) (t jsToken, n int, err error) {
	class := false
	for i := 1; i < len(s) && s[i] != '\n'; i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '[':
			class = true
		case s[i] == ']':
			class = false
		case s[i] == '/' && !class:
			n = i + 1
			for n < len(s) && s[n] >= 'a' && s[n] <= 'z' {
				n++
			}
			return jsToken{kind: jsPattern, text: s[1:i], extra: s[i+1 : n]}, n, nil
		}
	}
	return t, 0, fmt.Errorf("a pattern is not closed")
}
