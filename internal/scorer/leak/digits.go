package leak

// number is a run of digits that begins and ends at the bounds of a word, perhaps in groups parted
// by single signs.
type number struct {
	start, end int    // in the text
	digits     string // without the signs
	groups     string // length of each group and the sign after it, such as 3-2-4
}

// Limits of a number: the longest of any type has 19 digits, in at most 8 groups.
const (
	mostDigits = 19
	mostGroups = 8
)

// numbers calls f with every number that begins at text[i], the longest last. text[i] is a digit at
// which a word or a group begins.
func numbers(text string, i int, f func(number)) {
	var digits [mostDigits]byte
	var layout [2 * mostGroups]byte
	n, groups, l := 0, 0, 0
	for j := i; j < len(text) && groups < mostGroups; groups++ {
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
		if j == len(text) || !inWord(text[j]) {
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

func separator(c byte) bool { return c == ' ' || c == '-' || c == '.' || c == '/' || c == '+' }
