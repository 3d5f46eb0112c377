package privacy

import "strings"

// Bounds of a table in a text.
const (
	longestHeading = 40
	mostColumns    = 64
)

// cells calls f with each cell of a table whose first line names the columns, as CSV and Markdown have it, that holds
// as many digits as a telephone; about is the column's name. A text that is no table has none.
func cells(text string, f func(start, end int, about string)) {
	first, _, more := strings.Cut(text, "\n")
	if !more || len(first) > longestHeading*mostColumns || strings.ContainsAny(first, "@0123456789") {
		return
	}
	sign := byte(0)
	most := 0
	for _, c := range []byte(",;\t|") {
		if n := strings.Count(first, string(c)); n > most {
			sign, most = c, n
		}
	}
	if most == 0 || most >= mostColumns {
		return
	}
	headings := strings.Split(strings.TrimRight(first, "\r"), string(sign))
	for i, h := range headings {
		if len(h) > longestHeading {
			return // a sentence
		}
		headings[i] = keyWords("", strings.Trim(h, " \"'*"))
	}
	at := len(first) + 1
	for line := range strings.Lines(text[at:]) {
		row := strings.TrimRight(line, "\r\n")
		if strings.Count(row, string(sign)) == most {
			from := at
			for i, cell := range strings.Split(row, string(sign)) {
				if headings[i] != "" && len(cell) <= longestAbout && digitsIn(cell) >= 7 {
					f(from, from+len(cell), headings[i])
				}
				from += len(cell) + 1
			}
		}
		at += len(line)
	}
}

func digitsIn(s string) int {
	n := 0
	for i := range len(s) {
		if digit(s[i]) {
			n++
		}
	}
	return n
}
