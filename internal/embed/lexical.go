// Package embed turns texts into vectors on this machine: a built-in lexical embedding that needs
// nothing, and sentence encoders from a directory that the user names, in ONNX and pure Go.
//
// A text becomes tokens, tokens become vectors, and vectors are pooled into one for the text. The
// package compares no vectors and knows no assertions: package scorer declares the interface that
// both encoders satisfy, and decides what they are good for. Embedding servers are providers.
package embed

import (
	"context"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/telltale-llm/telltale/internal/record"
)

// Lexical is an embedding by letters and words alone: hashed words, pairs of words and pieces of
// words, with signs that cancel collisions out (Weinberger et al. 2009, arXiv:0902.2206). It knows no
// meaning: "car" and "automobile" have nothing in common. Its vectors are unit vectors and the same
// everywhere. It is safe for concurrent use.
type Lexical struct{}

// lexicalName identifies the embedding; the number changes whenever a text may get another vector.
const lexicalName = "lexical/1"

const (
	textDims  = 2048
	tokenDims = 256
	// What a piece of a word and a pair of words weigh next to a whole word.
	pieceWeight = 0.3
	pairWeight  = 0.4
	// fullLength is from how many letters on a word has its full weight: short words are mostly those
	// that every text has.
	fullLength = 6
	// Pieces of words have so many letters, the marks at both ends included.
	shortest, longest = 3, 4
)

// Name identifies the embedding in signatures.
func (Lexical) Name() string { return lexicalName }

// Embed returns a unit vector for each text.
func (Lexical) Embed(ctx context.Context, texts []string) ([][]float32, record.Usage, error) {
	out := make([][]float32, len(texts))
	for i, t := range texts {
		if err := ctx.Err(); err != nil {
			return nil, record.Usage{}, err
		}
		out[i] = lexicalText(t)
	}
	return out, record.Usage{}, nil
}

// EmbedTokens returns the words of each text with a vector of the pieces of each.
func (l Lexical) EmbedTokens(ctx context.Context, texts []string) ([][]string, [][][]float32, error) {
	tokens, vectors := make([][]string, len(texts)), make([][][]float32, len(texts))
	for i, t := range texts {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		tokens[i] = l.Tokens(t)
		vectors[i] = make([][]float32, len(tokens[i]))
		for k, w := range tokens[i] {
			v := make([]float32, tokenDims)
			addHashed(v, w, 1)
			pieces(w, func(p string) { addHashed(v, p, 1) })
			vectors[i][k] = unit(v)
		}
	}
	return tokens, vectors, nil
}

// Tokens returns the words of a text: runs of letters and digits in lower case, and each character
// of a script that is written without spaces. A text without any has its other characters.
func (Lexical) Tokens(text string) []string {
	text = strings.ToLower(norm.NFKC.String(text))
	var out []string
	start := -1
	end := func(at int) {
		if start >= 0 {
			out = append(out, text[start:at])
			start = -1
		}
	}
	for i, r := range text {
		switch {
		case unspaced(r):
			end(i)
			out = append(out, string(r))
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			if start < 0 {
				start = i
			}
		default:
			end(i)
		}
	}
	end(len(text))
	if out != nil {
		return out
	}
	for _, r := range text {
		if !unicode.IsSpace(r) {
			out = append(out, string(r))
		}
	}
	return out
}

func unspaced(r rune) bool {
	return r >= 0x0e00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

func lexicalText(text string) []float32 {
	v := make([]float32, textDims)
	previous := ""
	for _, w := range (Lexical{}).Tokens(text) {
		n := utf8.RuneCountInString(w)
		weight := float32(min(n, fullLength)) / fullLength
		if r, _ := utf8.DecodeRuneInString(w); unspaced(r) {
			weight = 1
		}
		addHashed(v, w, weight)
		pieces(w, func(p string) { addHashed(v, p, weight*pieceWeight) })
		if previous != "" {
			addHashed(v, previous+" "+w, pairWeight)
		}
		previous = w
	}
	// What is there many times counts less than so many times.
	for i, x := range v {
		v[i] = float32(math.Copysign(math.Sqrt(math.Abs(float64(x))), float64(x)))
	}
	return unit(v)
}

// pieces calls f with every run of shortest to longest letters of a word between two marks.
func pieces(word string, f func(string)) {
	marked := "\x02" + word + "\x03"
	var starts [64]int
	at := starts[:0]
	for i := range marked {
		at = append(at, i)
	}
	at = append(at, len(marked))
	for n := shortest; n <= longest; n++ {
		for i := 0; i+n < len(at); i++ {
			f(marked[at[i]:at[i+n]])
		}
	}
}

// addHashed adds a feature to the number that its hash chooses, with the sign that it chooses.
func addHashed(v []float32, feature string, weight float32) {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := uint64(offset)
	for i := range len(feature) {
		h = (h ^ uint64(feature[i])) * prime
	}
	// FNV leaves the high bits of short texts alike.
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	if h>>63 == 1 {
		weight = -weight
	}
	// The first number is that of a text without features.
	v[1+h%uint64(len(v)-1)] += weight
}

// unit scales v to length 1. A vector of zeros becomes the first unit vector, which nothing else is
// like.
func unit(v []float32) []float32 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		v[0] = 1
		return v
	}
	scale := 1 / math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) * scale)
	}
	return v
}
