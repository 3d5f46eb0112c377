package ifeval

import (
	"strings"
	"unicode/utf8"
)

// This file cuts text into words as NLTK 3.9's word_tokenize does: first into sentences, then by
// a list of substitutions after the Penn Treebank's conventions, each of which puts spaces where
// words are to part. Only the number of words in capitals is needed, but which words are
// in capitals depends on every cut: "CANNOT" is two, "DOG'S" is two, "A.M." is one.

// capitalWords counts the words of text that are in capitals.
func capitalWords(text string) int {
	n := 0
	for _, s := range splitSentences(text) {
		for _, w := range treebankWords(s) {
			if allUpper(w) {
				n++
			}
		}
	}
	return n
}

// treebankWords returns the words and signs of one sentence. Quotes come out as “ and ”.
func treebankWords(s string) []string {
	s = openingQuotes(s)
	s = partFinalPeriod(s, "]})>\"'»”’ ", true)
	s = partColons(s)
	s = padRuns(s, '.', 2)
	s = pad(s, ";@#$%&")
	s = partFinalPeriod(s, "])}>\"'", false)
	s = pad(s, "?!")
	s = partQuoteAtSpace(s)
	s = pad(s, "*")
	s = pad(s, "][(){}<>")
	s = strings.ReplaceAll(s, "--", " -- ")
	s = " " + s + " "
	s = pad(s, "»”’")
	s = strings.ReplaceAll(s, "''", " '' ")
	s = strings.ReplaceAll(s, `"`, " '' ")
	s = collapse(s)
	s = partClitics(s, []string{"'s", "'S", "'m", "'M", "'d", "'D", "'"})
	s = partClitics(s, []string{"'ll", "'LL", "'re", "'RE", "'ve", "'VE", "n't", "N'T"})
	for _, c := range contractions {
		s = c.part(s)
	}
	return fields(s)
}

// pad puts a space on either side of each of the signs.
func pad(s, signs string) string {
	if !strings.ContainsAny(s, signs) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 32)
	for _, r := range s {
		if strings.ContainsRune(signs, r) {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// padRuns puts a space on either side of each run of at least n signs.
func padRuns(s string, sign byte, n int) string {
	if !strings.Contains(s, strings.Repeat(string(sign), n)) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && s[j] == sign {
			j++
		}
		switch {
		case j-i >= n:
			b.WriteString(" " + s[i:j] + " ")
		case j > i:
			b.WriteString(s[i:j])
		default:
			j = i + 1
			b.WriteByte(s[i])
		}
		i = j
	}
	return b.String()
}

// openingQuotes parts opening quotes from the word after them.
func openingQuotes(s string) string {
	s = pad(s, "«“‘„")
	s = padRuns(s, '`', 1)
	if strings.HasPrefix(s, `"`) {
		s = "``" + s[1:]
	}
	s = strings.ReplaceAll(s, "``", " `` ")
	s = quotesAfterBrackets(s)
	return partSingleLetters(s)
}

// quotesAfterBrackets writes a double quote after a space or an opening bracket as “.
func quotesAfterBrackets(s string) string {
	if !strings.Contains(s, `"`) && !strings.Contains(s, "''") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		b.WriteByte(s[i])
		if strings.IndexByte(" ([{<", s[i]) < 0 {
			continue
		}
		switch rest := s[i+1:]; {
		case strings.HasPrefix(rest, `"`):
			b.WriteString(" `` ")
			i++
		case strings.HasPrefix(rest, "''"):
			b.WriteString(" `` ")
			i += 2
		}
	}
	return b.String()
}

// partSingleLetters parts an apostrophe from a single letter after it that is not a clitic.
func partSingleLetters(s string) string {
	if !strings.Contains(s, "'") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		b.WriteByte(s[i])
		if s[i] != '\'' {
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i+1:])
		after, _ := utf8.DecodeRuneInString(s[i+1+n:])
		if n == 0 || !isWord(r) || strings.ContainsRune("mtsdnMTSDNſ", r) || i+1+n < len(s) && isWord(after) {
			continue
		}
		b.WriteByte(' ')
		b.WriteString(s[i+1 : i+1+n])
		i += n
	}
	return b.String()
}

// partFinalPeriod parts the period that only closing signs and white space follow. What
// follows stays with the period unless apart is set.
func partFinalPeriod(s, closers string, apart bool) string {
	i := strings.LastIndexByte(s, '.')
	if i <= 0 || s[i-1] == '.' {
		return s
	}
	rest := strings.TrimLeft(s[i+1:], closers)
	if !blank(rest) {
		return s
	}
	kept := s[i+1 : len(s)-len(rest)]
	if apart {
		return s[:i] + " . " + kept + " "
	}
	return s[:i] + " ." + kept + " "
}

// partColons parts colons and commas that are not within a number.
func partColons(s string) string {
	if !strings.ContainsAny(s, ":,") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != ':' && s[i] != ',' {
			b.WriteByte(s[i])
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i+1:])
		if n == 0 || isDigit(r) {
			b.WriteByte(s[i])
			continue
		}
		// The character after the sign is taken with it: of two signs, only the first parts.
		b.WriteByte(' ')
		b.WriteByte(s[i])
		b.WriteByte(' ')
		b.WriteString(s[i+1 : i+1+n])
		i += n
	}
	s = b.String()
	end := len(strings.TrimSuffix(s, "\n"))
	for _, at := range []int{len(s), end} {
		if at > 0 && (s[at-1] == ':' || s[at-1] == ',') {
			return s[:at-1] + " " + s[at-1:at] + " " + s[at:]
		}
	}
	return s
}

// partQuoteAtSpace parts an apostrophe before a space from the word before it.
func partQuoteAtSpace(s string) string {
	return partClitics(s, nil)
}

// partClitics parts an ending before a space from the word. The word's last character must not be
// an apostrophe or a space. Without endings it is the apostrophe's own rule, where a space may
// come before.
func partClitics(s string, endings []string) string {
	if !strings.Contains(s, "'") {
		return s
	}
	quote := endings == nil
	if quote {
		endings = []string{"'"}
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		_, n := utf8.DecodeRuneInString(s[i:])
		b.WriteString(s[i : i+n])
		before := s[i]
		i += n
		if before == '\'' || before == ' ' && !quote {
			continue
		}
		for _, e := range endings {
			if strings.HasPrefix(s[i:], e) && strings.HasPrefix(s[i+len(e):], " ") {
				b.WriteString(" " + e + " ")
				i += len(e) + 1
				break
			}
		}
	}
	return b.String()
}

// collapse writes each run of white space as one space.
func collapse(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	in := false
	for _, r := range s {
		switch {
		case !isSpace(r):
			b.WriteRune(r)
			in = false
		case !in:
			b.WriteByte(' ')
			in = true
		}
	}
	return b.String()
}

// contraction is a word that is cut in two. Before it there must be a word boundary, or a space
// where spaced is set; after it a word boundary, or a space where spaceAfter is set.
type contraction struct {
	word       string // in lower case
	cut        int
	spaced     bool
	spaceAfter bool
}

var contractions = []contraction{
	{word: "cannot", cut: 3},
	{word: "d'ye", cut: 1},
	{word: "gimme", cut: 3},
	{word: "gonna", cut: 3},
	{word: "gotta", cut: 3},
	{word: "lemme", cut: 3},
	{word: "more'n", cut: 4},
	{word: "wanna", cut: 3, spaceAfter: true},
	{word: "'tis", cut: 2, spaced: true},
	{word: "'twas", cut: 2, spaced: true},
}

func (c contraction) part(s string) string {
	if !containsFold(s, c.word) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		at := i
		if c.spaced && s[i] == ' ' {
			at++
		}
		end := at + len(c.word)
		if (!c.spaced || at > i) && end <= len(s) && equalFold(s[at:end], c.word) && c.bounded(s, at, end) {
			b.WriteString(" " + s[at:at+c.cut] + " " + s[at+c.cut:end] + " ")
			i = end
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

func (c contraction) bounded(s string, start, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:start])
	after, n := utf8.DecodeRuneInString(s[end:])
	if !c.spaced && start > 0 && isWord(before) {
		return false
	}
	if c.spaceAfter {
		return n > 0 && isSpace(after)
	}
	return n == 0 || !isWord(after)
}

func containsFold(s, word string) bool {
	for i := 0; i+len(word) <= len(s); i++ {
		if s[i]|0x20 == word[0]|0x20 && equalFold(s[i:i+len(word)], word) {
			return true
		}
	}
	return false
}

// equalFold compares ASCII letters without regard to case.
func equalFold(s, lowered string) bool {
	for i := range len(lowered) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lowered[i] {
			return false
		}
	}
	return true
}
