package leak

// number is a run of digits that begins and ends at the bounds of a word, perhaps in groups parted
// by single signs.
type number struct {
	start, end int    // in the text
	digits     string // without the signs
	groups     string // length of each group and the sign after it, such as 3-2-4
}

// Limits of a number: the longest of any type has 19 digits, usually in at most 8 groups.
const (
	mostDigits = 19
	mostGroups = 8
)

// fewestDigits is the least that a card's or a national number has.
const fewestDigits = 9

// numbers calls f with every number of up to most groups and at least fewestDigits that begins at text[i], the longest last.
// text[i] is a digit at which a word or a group begins.
func numbers(text string, i, most int, f func(number)) {
	var digits [mostDigits]byte
	var layout [2 * mostDigits]byte
	n, groups, l := 0, 0, 0
	for j := i; j < len(text) && groups < most; groups++ {
		from := j
		for j < len(text) && isDigit(text[j]) {
			if n == mostDigits {
				return
			}
			digits[n] = text[j]
			n++
			j++
		}
		if j == from || j-from > 19 {
			return
		}
		layout[l] = "0123456789abcdefghij"[j-from]
		l++
		if n >= fewestDigits && (j == len(text) || !inWord(text[j])) {
			f(number{start: i, end: j, digits: string(digits[:n]), groups: string(layout[:l])})
		}
		if j+1 >= len(text) || !isDigit(text[j+1]) || !separator(text[j]) {
			return
		}
		layout[l] = text[j]
		l++
		j++
	}
}

// listed says whether the comma at text[i], which stands between digits, parts two numbers as in a table, and not the
// thousands or the fraction of one: those have at most three digits after it, and no sign follows them.
func listed(text string, i int) bool {
	if text[i] != ',' {
		return false
	}
	j := i + 1
	for j < len(text) && isDigit(text[j]) {
		j++
	}
	return j-i-1 > 3 || j+1 < len(text) && text[j] == '-' && isDigit(text[j+1])
}

// withinSingles says whether the digit at text[i] is one of single digits in a row, and not the first.
func withinSingles(text string, i int) bool {
	return i > 1 && (i+1 == len(text) || !isDigit(text[i+1])) && separator(text[i-1]) && isDigit(text[i-2]) && (i == 2 || !inWord(text[i-3]))
}

// singlesGoOn says whether a single digit in a row of them follows what ends at text[end].
func singlesGoOn(text string, end int) bool {
	return end+1 < len(text) && separator(text[end]) && isDigit(text[end+1]) && (end+2 == len(text) || !isDigit(text[end+2]))
}

func separator(c byte) bool { return c == ' ' || c == '-' || c == '.' || c == '/' || c == '+' }
