package ifeval

import (
	"strings"
	"unicode/utf8"
)

// wrappedJSON says whether s is JSON, perhaps in a Markdown fence of three ticks.
func wrappedJSON(s string) bool {
	s = strip(s)
	for _, fence := range []string{"```json", "```Json", "```JSON", "```"} {
		s = strings.TrimPrefix(s, fence)
	}
	return pythonJSON(strip(strings.TrimSuffix(s, "```")))
}

// pythonJSON says whether Python's json.loads accepts s. It takes what Go's does and NaN,
// Infinity and -Infinity besides. Nesting costs no stack: Python gives up at about a thousand levels, which is not a
// verdict on the text.
func pythonJSON(s string) bool {
	var open []byte // the brackets around the place, innermost last
	i := 0
	space := func() {
		for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
			i++
		}
	}
	key := func() bool {
		space()
		n := jsonString(s[i:])
		i += n
		space()
		if n == 0 || i >= len(s) || s[i] != ':' {
			return false
		}
		i++
		return true
	}
	for {
		// A value begins here.
		space()
		if i >= len(s) {
			return false
		}
		switch s[i] {
		case '[', '{':
			bracket := s[i]
			i++
			space()
			if i < len(s) && s[i] == closing(bracket) {
				i++
				break
			}
			open = append(open, bracket)
			if bracket == '{' && !key() {
				return false
			}
			continue
		default:
			n := jsonScalar(s[i:])
			if n == 0 {
				return false
			}
			i += n
		}
		// A value has ended: close brackets up to the next value or the end.
		for {
			space()
			if len(open) == 0 {
				return i == len(s)
			}
			if i >= len(s) {
				return false
			}
			bracket := open[len(open)-1]
			i++
			if s[i-1] == closing(bracket) {
				open = open[:len(open)-1]
				continue
			}
			if s[i-1] != ',' || bracket == '{' && !key() {
				return false
			}
			break
		}
	}
}

func closing(bracket byte) byte {
	if bracket == '[' {
		return ']'
	}
	return '}'
}

// jsonScalar returns the length of the string, number or name that s begins with; 0 if none.
func jsonScalar(s string) int {
	if s[0] == '"' {
		return jsonString(s)
	}
	for _, name := range []string{"null", "true", "false", "NaN", "Infinity", "-Infinity"} {
		if strings.HasPrefix(s, name) {
			return len(name)
		}
	}
	return jsonNumber(s)
}

// jsonString returns the length of the string that s begins with, quotes included; 0 if none. Escaped
// surrogates need no partner.
func jsonString(s string) int {
	if s == "" || s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return 0
		case c == '\\':
			i++
			if i >= len(s) {
				return 0
			}
			if s[i] == 'u' {
				if len(s) < i+5 || strings.Trim(s[i+1:i+5], "0123456789abcdefABCDEF") != "" {
					return 0
				}
				i += 4
			} else if !strings.ContainsRune(`"\/bfnrt`, rune(s[i])) || s[i] >= utf8.RuneSelf {
				return 0
			}
		}
	}
	return 0
}

// maxIntDigits is what Python's int accepts; a longer whole number is an error to json.loads.
const maxIntDigits = 4300

// jsonNumber returns the length of the number that s begins with; 0 if none. As in Python, a
// fraction or an exponent without digits is left over, to be refused by what follows.
func jsonNumber(s string) int {
	digits := func(i int) int {
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		return i
	}
	i := 0
	if s[i] == '-' {
		i++
	}
	start := i
	if i < len(s) && s[i] == '0' {
		i++
	} else {
		i = digits(i)
	}
	if i == start {
		return 0
	}
	whole := i
	if i < len(s) && s[i] == '.' {
		if end := digits(i + 1); end > i+1 {
			i = end
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		if end := digits(j); end > j {
			i = end
		}
	}
	if i == whole && whole-start > maxIntDigits {
		return 0
	}
	return i
}
