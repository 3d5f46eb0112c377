// Package logprob makes the published figures of likelihood out of token log-probabilities:
// perplexity by token, word and byte, bits per byte, next-token accuracy and multiple choice.
//
// It is arithmetic alone. It asks no model, and does not know what the numbers are compared with;
// package scorer judges by them. Logarithms are natural throughout. Figures of several texts come
// from summed statistics, never from the mean of the texts' own figures.
package logprob

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/record"
)

// Unit is what a perplexity is counted by.
type Unit uint8

// The units, as lm-evaluation-harness has them in word_perplexity, byte_perplexity and bits_per_byte;
// Token is the model's own token, whose perplexities are comparable between models of one tokenizer
// only.
const (
	Token Unit = iota
	Word
	Byte
	BitsPerByte
)

var unitNames = [...]string{Token: "token", Word: "word", Byte: "byte", BitsPerByte: "bits-per-byte"}

// String is the unit's name in a suite.
func (u Unit) String() string { return unitNames[u] }

// ParseUnit returns the unit of that name.
func ParseUnit(name string) (Unit, bool) {
	for u, n := range unitNames {
		if n == name {
			return Unit(u), true
		}
	}
	return 0, false
}

// Units are the names of all units.
func Units() []string { return unitNames[:] }

// Text is a text with the log-probabilities of its tokens.
type Text struct {
	// LL is the sum of the log-probabilities.
	LL float64
	// Tokens, Words and Bytes are what the figures are divided by.
	Tokens, Words, Bytes int
}

// maxLogprob allows for rounding above the logarithm of 1.
const maxLogprob = 1e-6

// Measure sums the tokens of a text. Words and bytes are those of the tokens joined together. Where a
// token cannot be written alone they are those of written, the text that the provider gave, from where
// the tokens begin. The error says which token has no log-probability that could be.
func Measure(tokens []record.TokenLogprob, written string) (Text, error) {
	t := Text{Tokens: len(tokens)}
	var joined strings.Builder
	lead := -1 // length of the tokens before the first that cannot be written
	for i := range tokens {
		if v := tokens[i].Logprob; math.IsNaN(v) || math.IsInf(v, 0) || v > maxLogprob {
			return Text{}, fmt.Errorf("token %d, %q, has the log-probability %v", i+1, tokens[i].Token, v)
		}
		t.LL += tokens[i].Logprob
		if lead < 0 && !writable(tokens[i].Token, written) {
			lead = joined.Len()
		}
		joined.WriteString(tokens[i].Token)
	}
	text := joined.String()
	if lead >= 0 {
		from := max(0, strings.Index(written, text[:lead]))
		text = written[from:]
	}
	t.Words, t.Bytes = Words(text), len(text)
	return t, nil
}

// writable says whether a token's text is that of the answer. A part of a character is shown as U+FFFD
// or as nothing, or by OpenAI as bytes:\xe2; some servers show the marks that a vocabulary has for spaces.
func writable(token, written string) bool {
	if token == "" || !utf8.ValidString(token) || strings.HasPrefix(token, `bytes:\x`) {
		return false
	}
	return !strings.ContainsFunc(token, func(r rune) bool {
		return r == utf8.RuneError || (r == '\u2581' || r == '\u0120') && !strings.ContainsRune(written, r)
	})
}

// space is what separates words, as Python's \s does.
var space = regexp.MustCompile(`[\s\v\p{Z}\x{85}\x{1c}-\x{1f}]+`)

// Words counts the words of a text as lm-evaluation-harness does: the pieces between runs of white
// space, an empty one before or behind included.
func Words(s string) int { return len(space.FindAllStringIndex(s, -1)) + 1 }

// Stats are the statistics from which Value makes the figure, and which add up over texts: the
// log-likelihood and the number of units.
func (u Unit) Stats(t Text) []float64 {
	n := t.Tokens
	switch u {
	case Word:
		n = t.Words
	case Byte, BitsPerByte:
		n = t.Bytes
	}
	return []float64{t.LL, float64(n)}
}

// Value is the figure of summed statistics: exp(-LL/n), or for bits per byte -LL/n/ln 2. It is NaN
// without units, and +Inf where the exponential leaves the range of numbers.
func (u Unit) Value(stats []float64) float64 {
	if len(stats) != 2 || !(stats[1] > 0) {
		return math.NaN()
	}
	v := -stats[0] / stats[1]
	if u == BitsPerByte {
		return v / math.Ln2
	}
	return math.Exp(v)
}

// Within says whether a token was among the k likeliest at its place, as far as its listed
// alternatives tell: a listed alternative of the same probability does not outdo it. ok is false when
// they do not tell, because there are none or fewer than k.
func Within(t record.TokenLogprob, k int) (within, ok bool) {
	likelier := 0
	own, listed := t.Top[t.Token]
	if !listed {
		own = t.Logprob
	}
	for _, p := range t.Top {
		if p > own {
			likelier++
		}
	}
	switch {
	case len(t.Top) == 0:
		return false, false
	case likelier >= k:
		return false, true
	}
	// The list is complete from the top down, so that what outdoes a listed token is listed too.
	known := listed || len(t.Top) >= k
	return known, known
}

// Choice is what a log-likelihood is divided by before the likeliest choice is taken.
type Choice uint8

// The three accuracies of lm-evaluation-harness.
const (
	Acc      Choice = iota // the log-likelihood itself
	AccNorm                // by the characters of the choice
	AccBytes               // by the UTF-8 bytes of the choice
)

var choiceNames = [...]string{Acc: "acc", AccNorm: "acc_norm", AccBytes: "acc_bytes"}

// String is the name that the harness has for the accuracy.
func (c Choice) String() string { return choiceNames[c] }

// Choices are all three.
func Choices() []Choice { return []Choice{Acc, AccNorm, AccBytes} }

// Pick returns the likeliest choice; of equal ones the first, as numpy's argmax does. lls are the
// log-likelihoods of the texts, as many as there are, none of which is empty. It is -1 when a
// log-likelihood is no number.
func (c Choice) Pick(lls []float64, texts []string) int {
	best, at := math.Inf(-1), -1
	for i, ll := range lls {
		switch c {
		case AccNorm:
			ll /= float64(utf8.RuneCountInString(texts[i]))
		case AccBytes:
			ll /= float64(len(texts[i]))
		}
		if math.IsNaN(ll) {
			return -1
		}
		if ll > best {
			best, at = ll, i
		}
	}
	return at
}
