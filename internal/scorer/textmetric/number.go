package textmetric

import (
	"strconv"
	"strings"
)

// Number is a decimal number in one canonical spelling, so that equal numbers are equal strings,
// whatever their size: no plus sign, no zeros at either end, no minus zero.
type Number string

var numeralMarks = strings.NewReplacer(",", "", "$", "")

// ParseNumber reads a decimal number after removing commas, dollar signs and full stops at its end.
func ParseNumber(s string) (Number, bool) {
	s = strings.TrimRight(numeralMarks.Replace(s), ".")
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	if whole == "" && fraction == "" || !allDigits(whole) || !allDigits(fraction) {
		return "", false
	}
	whole, fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	if whole == "" {
		whole = "0"
	}
	n := whole
	if fraction != "" {
		n += "." + fraction
	}
	if negative && n != "0" {
		n = "-" + n
	}
	return Number(n), true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// GSM8KMarker stands before the final answer of a GSM8K solution.
const GSM8KMarker = "####"

// StrictNumber returns the number that first follows marker and a space: with GSM8KMarker the rule
// `#### (\-?[0-9\.\,]+)`. It is false when there is none or when what was found is not a number.
func StrictNumber(text, marker string) (Number, bool) {
	marker += " "
	for {
		_, rest, ok := strings.Cut(text, marker)
		if !ok {
			return "", false
		}
		n := 0
		if strings.HasPrefix(rest, "-") {
			n = 1
		}
		end := n
		for end < len(rest) && (isDigit(rest[end]) || rest[end] == '.' || rest[end] == ',') {
			end++
		}
		if end > n {
			return ParseNumber(rest[:end])
		}
		// Nothing of the marker can begin inside the marker found, unless it repeats itself.
		text = text[len(text)-len(rest)-len(marker)+1:]
	}
}

// FlexibleNumber returns the last match of `(-?[$0-9.,]{2,})|(-?[0-9]+)` in text. It is false when
// there is no match or when the last one, such as "...", is not a number.
func FlexibleNumber(text string) (Number, bool) {
	last := ""
	eachNumeral(text, func(s string) { last = s })
	return ParseNumber(last)
}

// eachNumeral calls f with every match of the flexible rule, from left to right.
func eachNumeral(text string, f func(string)) {
	for i := 0; i < len(text); {
		start := i
		if text[i] == '-' {
			i++
		}
		run := i
		for i < len(text) && (isDigit(text[i]) || text[i] == '$' || text[i] == '.' || text[i] == ',') {
			i++
		}
		switch {
		case i-run >= 2, i-run == 1 && isDigit(text[run]):
			f(text[start:i])
		case i == start:
			i++
		}
	}
}

// ReferenceNumber returns the number that a reference stands for: the text itself when it is a
// number, else what follows "####", else what follows "A:" at the start of a line (the two forms in
// which GSM8K solutions are published), else the only number that the text holds. It is false when
// there is none, or several and none is marked.
func ReferenceNumber(text string) (Number, bool) {
	text = strings.TrimSpace(text)
	if n, ok := ParseNumber(text); ok {
		return n, true
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		// Scientific notation; infinities and NaN do not come through ParseNumber.
		return ParseNumber(strconv.FormatFloat(f, 'f', -1, 64))
	}
	if strings.Contains(text, GSM8KMarker) {
		return StrictNumber(text, GSM8KMarker)
	}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "A:") {
			return StrictNumber(line, "A:")
		}
	}
	var found []Number
	eachNumeral(text, func(s string) {
		if n, ok := ParseNumber(s); ok {
			found = append(found, n)
		}
	})
	if len(found) != 1 {
		return "", false
	}
	return found[0], true
}
