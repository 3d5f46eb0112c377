package ifeval

import (
	"strings"
	"unicode/utf8"
)

// This file counts what the reference finds with fixed regular expressions. Each function names
// the expression; matches are counted as Python's re.findall does, from left to right without overlap.

// placeholders counts \[.*?\].
func placeholders(s string) int {
	n := 0
	for i := 0; i < len(s); {
		open := strings.IndexByte(s[i:], '[')
		if open < 0 {
			break
		}
		i += open + 1
		end := strings.IndexAny(s[i:], "]\n")
		if end < 0 {
			break
		}
		if s[i+end] == ']' {
			n++
		}
		i += end + 1
	}
	return n
}

// bullets counts ^\s*\*[^\*].*$ and ^\s*-.*$, both over several lines. White space before a bullet
// may span lines, and so may the character after the asterisk.
func bullets(s string) int {
	n := 0
	for pos := lineStart(s, 0); pos >= 0 && pos < len(s); {
		i := skipSpace(s, pos)
		if i+1 < len(s) && s[i] == '*' && s[i+1] != '*' {
			n++
			_, size := utf8.DecodeRuneInString(s[i+1:])
			pos = lineStart(s, lineEnd(s, i+1+size))
			continue
		}
		// The lines up to i lead to the same place, and so to no bullet either.
		pos = lineStart(s, i+1)
	}
	for pos := lineStart(s, 0); pos >= 0 && pos < len(s); {
		i := skipSpace(s, pos)
		if i < len(s) && s[i] == '-' {
			n++
		}
		pos = lineStart(s, i+1)
	}
	return n
}

// highlights counts \*[^\n\*]*\* and \*\*[^\n\*]*\*\* whose inside is not blank. A double
// highlight's inside is never found by the first expression as well: that takes its first two
// asterisks for an empty highlight.
func highlights(s string) int {
	return marked(s, "*") + marked(s, "**")
}

func marked(s, mark string) int {
	n := 0
	for i := 0; ; {
		open := strings.Index(s[i:], mark)
		if open < 0 {
			return n
		}
		start := i + open + len(mark)
		end := strings.IndexAny(s[start:], "*\n")
		switch {
		case end < 0:
			return n
		case strings.HasPrefix(s[start+end:], mark):
			if !blank(s[start : start+end]) {
				n++
			}
			i = start + end + len(mark)
		default:
			i += open + 1
		}
	}
}

// titled says whether some <<[^\n]+>> has something between its brackets.
func titled(s string) bool {
	for line := range strings.SplitSeq(s, "\n") {
		i := strings.Index(line, "<<")
		j := strings.LastIndex(line, ">>")
		if i < 0 || j < i+3 {
			continue
		}
		inside := strings.TrimRight(strings.TrimLeft(line[i:j+2], "<"), ">")
		if !blank(inside) {
			return true
		}
	}
	return false
}

// sections counts \s?SPLITTER\s?\d+\s? for a splitter without special characters.
func sections(s, splitter string) int {
	n := 0
	for i := 0; ; {
		at := strings.Index(s[i:], splitter)
		if at < 0 {
			return n
		}
		i += at
		j := skipOneSpace(s, i+len(splitter))
		end := j
		for end < len(s) {
			r, size := utf8.DecodeRuneInString(s[end:])
			if !isDigit(r) {
				break
			}
			end += size
		}
		if end == j {
			if i == len(s) {
				return n
			}
			_, size := utf8.DecodeRuneInString(s[i:])
			i += size
			continue
		}
		n++
		i = skipOneSpace(s, end)
	}
}

// paragraphs counts the parts between \s?\*\*\*\s?, of which only the first and the last may be
// blank; then they do not count. It returns false when another is blank. The white space around
// the stars makes no difference to what is blank, so it stays where it is.
func paragraphs(s string) (int, bool) {
	parts := strings.Split(s, "***")
	n := len(parts)
	for i, p := range parts {
		if !blank(p) {
			continue
		}
		if i != 0 && i != len(parts)-1 {
			return 0, false
		}
		n--
	}
	return n, true
}

// twoResponses says whether exactly two different parts, split at six asterisks, are not blank,
// and none between them is.
func twoResponses(s string) bool {
	parts := strings.Split(s, "******")
	var answers []string
	for i, p := range parts {
		switch p = strip(p); {
		case p != "":
			answers = append(answers, p)
		case i != 0 && i != len(parts)-1:
			return false
		}
	}
	return len(answers) == 2 && answers[0] != answers[1]
}

// words counts \w+.
func words(s string) int {
	n, in := 0, false
	for _, r := range s {
		w := isWord(r)
		if w && !in {
			n++
		}
		in = w
	}
	return n
}

// nthParagraph returns the number of paragraphs of s, split at blank lines, and the first word of
// the nth in lower case, up to the first sign. The number leaves out blank paragraphs while n
// counts them, as the reference has it. It returns false when there is no nth or it is blank.
func nthParagraph(s string, n int) (count int, word string, ok bool) {
	parts := strings.Split(s, "\n\n")
	count = len(parts)
	for _, p := range parts {
		if blank(p) {
			count--
		}
	}
	if n > count {
		return count, "", false
	}
	f := fields(parts[n-1])
	if len(f) == 0 {
		return count, "", false
	}
	word = strings.TrimLeft(strings.TrimLeft(f[0], "'"), `"`)
	if i := strings.IndexAny(word, `.,?!'"`); i >= 0 {
		word = word[:i]
	}
	return count, lowerEach(word), true
}

// lowerEach lowers letter by letter: without the context, no sigma is final.
func lowerEach(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteString(lower(string(r)))
	}
	return b.String()
}
