package sim

import (
	"math"
	"strconv"
	"strings"
)

// maxTerms bounds the sums that are read.
const maxTerms = 16

// sum answers a message that contains a sum such as "12 + 7", "3 times 4" or "10 / 4 - 1", with
// the configured accuracy. Of several sums the last counts, for examples come first.
func (w *writer) sum(text string) (string, bool) {
	if !strings.ContainsAny(text, "0123456789") {
		return "", false
	}
	source, value, ok := findSum(text)
	if !ok {
		return "", false
	}
	w.intent = "arithmetic"
	if draw(w.key, forSum, 0) >= w.v.accuracy {
		wrong := float64(1 + pick(w.key, forSumError, 0, 9))
		if draw(w.key, forSumError, 1) < 0.5 {
			wrong = -wrong
		}
		value += wrong
	}
	w.number = strconv.FormatFloat(math.Round(value*1e4)/1e4, 'f', -1, 64)
	switch {
	case strings.Contains(text, "####"):
		return source + " = " + w.number + "\n#### " + w.number, true
	case containsFold(text, "only the") || containsFold(text, "just the") || containsFold(text, "only a number"):
		return w.number, true
	}
	return source + " = " + w.number, true
}

// findSum returns the last sum in s as written, and its value.
func findSum(s string) (source string, value float64, ok bool) {
	for i := 0; i < len(s); {
		if !isDigit(s[i]) {
			i++
			continue
		}
		start := i
		var terms [maxTerms]float64
		var ops [maxTerms]byte
		n := 1
		terms[0], i = number(s, i)
		end := i
		for n < maxTerms {
			op, j := operator(s, i)
			if op == 0 {
				break
			}
			v, k := number(s, j)
			if k == j {
				break
			}
			ops[n], terms[n] = op, v
			n++
			i, end = k, k
		}
		if n == 1 {
			continue
		}
		if v := evaluate(terms[:n], ops[:n]); !math.IsInf(v, 0) && !math.IsNaN(v) {
			source, value, ok = s[start:end], v, true
		}
	}
	return source, value, ok
}

// number reads digits with an optional fraction at s[i:] and returns where it ends.
func number(s string, i int) (float64, int) {
	j := i
	for j < len(s) && isDigit(s[j]) {
		j++
	}
	if j == i {
		return 0, i
	}
	if j+1 < len(s) && s[j] == '.' && isDigit(s[j+1]) {
		j++
		for j < len(s) && isDigit(s[j]) {
			j++
		}
	}
	// Digits are always a number; one too large is infinite, and so is no sum.
	v, _ := strconv.ParseFloat(s[i:j], 64)
	return v, j
}

// words are the operators that may be spelled out.
var words = [...]struct {
	text string
	op   byte
}{{"plus", '+'}, {"minus", '-'}, {"times", '*'}, {"multiplied by", '*'}, {"divided by", '/'}, {"×", '*'}, {"÷", '/'}}

// operator reads an operator with the space around it. A minus and a slash need that space, or
// dates, ranges and telephone numbers would be sums.
func operator(s string, i int) (byte, int) {
	start := i
	for i < len(s) && s[i] == ' ' {
		i++
	}
	spaced := i > start
	if i == len(s) {
		return 0, start
	}
	op := byte(0)
	switch s[i] {
	case '+', '*', '-', '/':
		op = s[i]
		i++
	case 'x':
		op = '*'
		i++
	default:
		for _, w := range words {
			if strings.HasPrefix(s[i:], w.text) {
				op = w.op
				i += len(w.text)
				break
			}
		}
	}
	if op == 0 {
		return 0, start
	}
	after := i
	for i < len(s) && s[i] == ' ' {
		i++
	}
	if (op == '-' || op == '/') && (!spaced || i == after) {
		return 0, start
	}
	return op, i
}

// evaluate takes products before sums. The ops stand before their terms; ops[0] is not used.
func evaluate(terms []float64, ops []byte) float64 {
	total, product, sign := 0.0, terms[0], 1.0
	for i := 1; i < len(terms); i++ {
		switch ops[i] {
		case '*':
			product *= terms[i]
		case '/':
			product /= terms[i]
		default:
			total += sign * product
			product, sign = terms[i], 1
			if ops[i] == '-' {
				sign = -1
			}
		}
	}
	return total + sign*product
}
