package textmetric

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Tokenizer is one of sacreBLEU's ways to split a text into tokens. The zero value is its default.
type Tokenizer uint8

// The tokenizers.
const (
	Tok13a  Tokenizer = iota // mteval-v13a: ASCII punctuation apart, except within numbers
	TokIntl                  // mteval-v14 international: Unicode punctuation and symbols apart
	TokChar                  // every character is a token
	TokNone                  // split at white space only
)

var tokenizerNames = [...]string{"13a", "intl", "char", "none"}

// String returns the name used in signatures.
func (t Tokenizer) String() string {
	if int(t) < len(tokenizerNames) {
		return tokenizerNames[t]
	}
	return fmt.Sprintf("tokenizer(%d)", uint8(t))
}

// ParseTokenizer returns the tokenizer of that name: 13a, intl, char or none.
func ParseTokenizer(name string) (Tokenizer, bool) {
	for i, n := range tokenizerNames {
		if n == name {
			return Tokenizer(i), true
		}
	}
	return 0, false
}

// Tokens splits s. White space at its end is dropped first, as sacreBLEU does.
func (t Tokenizer) Tokens(s string) []string {
	s = trimRight(s)
	switch t {
	case Tok13a:
		return fields(split13a(s))
	case TokIntl:
		return fields(splitIntl(s))
	case TokChar:
		out := make([]string, 0, utf8.RuneCountInString(s))
		for i, r := range s {
			if !isSpace(r) {
				n := utf8.RuneLen(r)
				if r == utf8.RuneError {
					_, n = utf8.DecodeRuneInString(s[i:])
				}
				out = append(out, s[i:i+n])
			}
		}
		return out
	default:
		return fields(s)
	}
}

// symbol13a holds the ASCII characters that mteval-v13a always sets apart.
var symbol13a = func() (t [256]bool) {
	for _, span := range []string{"{~", "[`", " &", "(+", ":@", "//"} {
		for c := span[0]; c <= span[1]; c++ {
			t[c] = true
		}
	}
	return t
}()

// split13a puts spaces around the tokens of s. The four rules are applied one after the other to
// the whole text, because each sees the spaces that the ones before it put in. They work on bytes:
// all they look for is ASCII, and a byte of a longer character counts as any non-digit does.
func split13a(s string) string {
	s = strings.ReplaceAll(s, "<skipped>", "")
	s = strings.ReplaceAll(s, "-\n", "")
	s = strings.ReplaceAll(s, "\n", " ")
	if strings.Contains(s, "&") {
		// &amp; comes before &lt; and &gt;, so that &amp;lt; ends as <, but after &quot;.
		s = strings.ReplaceAll(s, "&quot;", `"`)
		s = strings.ReplaceAll(s, "&amp;", "&")
		s = strings.ReplaceAll(s, "&lt;", "<")
		s = strings.ReplaceAll(s, "&gt;", ">")
	}
	a := make([]byte, 0, len(s)+len(s)/2+16)
	a = append(a, ' ')
	for i := 0; i < len(s); i++ {
		if symbol13a[s[i]] {
			a = append(a, ' ', s[i], ' ')
		} else {
			a = append(a, s[i])
		}
	}
	a = append(a, ' ')
	b := make([]byte, 0, cap(a))
	// A full stop or comma after a non-digit.
	b = spacePairs(b, a, func(x, y byte) bool { return !isDigit(x) && (y == '.' || y == ',') }, after)
	// A full stop or comma before a non-digit.
	a = spacePairs(a[:0], b, func(x, y byte) bool { return (x == '.' || x == ',') && !isDigit(y) }, before)
	// A dash after a digit.
	b = spacePairs(b[:0], a, func(x, y byte) bool { return isDigit(x) && y == '-' }, after)
	return string(b)
}

// spacing says where the spaces go about a pair "xy".
type spacing uint8

const (
	before spacing = iota // " x y"
	after                 // "x y "
)

// spacePairs appends src to dst with spaces put about every pair of bytes that match accepts, from
// left to right without overlap.
func spacePairs(dst, src []byte, match func(x, y byte) bool, where spacing) []byte {
	for i := 0; i < len(src); i++ {
		if i+1 == len(src) || !match(src[i], src[i+1]) {
			dst = append(dst, src[i])
			continue
		}
		if where == before {
			dst = append(dst, ' ', src[i], ' ', src[i+1])
		} else {
			dst = append(dst, src[i], ' ', src[i+1], ' ')
		}
		i++
	}
	return dst
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// splitIntl puts spaces around the tokens of s: punctuation that does not stand between two
// numbers, and every symbol.
func splitIntl(s string) string {
	src := []rune(s)
	tmp := make([]rune, 0, len(src)+len(src)/2+8)
	for i := 0; i < len(src); i++ {
		tmp = append(tmp, src[i])
		if i+1 < len(src) && !unicode.IsNumber(src[i]) && unicode.IsPunct(src[i+1]) {
			i++
			tmp = append(tmp, ' ', src[i], ' ')
		}
	}
	var b strings.Builder
	b.Grow(len(s) + len(s)/2)
	put := func(r rune) {
		if unicode.IsSymbol(r) {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
			return
		}
		b.WriteRune(r)
	}
	for i := 0; i < len(tmp); i++ {
		if i+1 < len(tmp) && unicode.IsPunct(tmp[i]) && !unicode.IsNumber(tmp[i+1]) {
			b.WriteByte(' ')
			put(tmp[i])
			b.WriteByte(' ')
			i++
		}
		put(tmp[i])
	}
	return b.String()
}
