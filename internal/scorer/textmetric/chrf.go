package textmetric

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// CHRF holds the options of chrF (Popović 2015) and chrF++ (Popović 2017) as sacreBLEU computes
// them, with effective order. The zero value is chrF2: character order 6, no words, β 2. chrF++ is
// WordOrder 2. Scores go from 0 to 100.
type CHRF struct {
	CharOrder  int // highest character n-gram order; 0 means 6
	WordOrder  int // highest word n-gram order; 0 means none
	Beta       int // weight of recall over precision; 0 means 2
	Lowercase  bool
	Whitespace bool // count white space as characters
}

func (c CHRF) charOrder() int {
	if c.CharOrder <= 0 {
		return 6
	}
	return c.CharOrder
}

func (c CHRF) beta() int {
	if c.Beta <= 0 {
		return 2
	}
	return c.Beta
}

func (c CHRF) orders() int { return c.charOrder() + c.WordOrder }

// Name returns chrF2, chrF2++ and so on: β, then a plus for every word order.
func (c CHRF) Name() string {
	name := fmt.Sprintf("chrF%d", c.beta())
	for range c.WordOrder {
		name += "+"
	}
	return name
}

// Signature returns sacreBLEU's signature; nrefs is as for BLEU. It goes with Name, which alone
// holds β.
func (c CHRF) Signature(nrefs int) string {
	space := "no"
	if c.Whitespace {
		space = "yes"
	}
	return fmt.Sprintf("%scase:%s|eff:yes|nc:%d|nw:%d|space:%s|version:%s",
		refsPart(nrefs), casePart(c.Lowercase), c.charOrder(), c.WordOrder, space, SacreBLEU)
}

// CHRFRefs is the references of one sentence, prepared.
type CHRFRefs struct {
	chrf CHRF
	refs []chrfRef
}

type chrfRef struct {
	chars, words      *grams
	vocab             vocab
	charLen, wordsLen int
}

// References prepares refs. With several, the one that gives the highest score counts, the first
// of them on a tie.
func (c CHRF) References(refs []string) *CHRFRefs {
	out := &CHRFRefs{chrf: c, refs: make([]chrfRef, len(refs))}
	for i, s := range refs {
		chars, words := c.split(s)
		r := chrfRef{chars: newGrams(c.charOrder(), chars), charLen: len(chars), wordsLen: len(words)}
		if c.WordOrder > 0 {
			r.vocab = vocab{}
			r.words = newGrams(c.WordOrder, r.vocab.add(words))
		}
		out.refs[i] = r
	}
	return out
}

// split returns the characters of s as token numbers, and its words if they count.
func (c CHRF) split(s string) ([]int32, []string) {
	if c.Lowercase {
		s = lower(s)
	}
	text := s
	if !c.Whitespace {
		text = stripSpace(s)
	}
	chars := make([]int32, 0, utf8.RuneCountInString(text))
	for _, r := range text {
		chars = append(chars, r)
	}
	if c.WordOrder <= 0 {
		return chars, nil
	}
	return chars, chrfWords(s)
}

// chrfWords splits s at white space and one ASCII punctuation mark off each word: the last
// character if it is one, else the first.
func chrfWords(s string) []string {
	var out []string
	for _, w := range fields(s) {
		last, n := utf8.DecodeLastRuneInString(w)
		switch {
		case n == len(w):
			out = append(out, w)
		case isASCIIPunct(last):
			out = append(out, w[:len(w)-1], w[len(w)-1:])
		case isASCIIPunct(rune(w[0])):
			out = append(out, w[:1], w[1:])
		default:
			out = append(out, w)
		}
	}
	return out
}

// Stats returns the sufficient statistics of hyp against its best reference: for every order, the
// n-grams of hyp, those of the reference and the matches; 3·(CharOrder+WordOrder) numbers, characters
// first. Statistics of sentences add up. Without references they are all 0.
func (r *CHRFRefs) Stats(hyp string) []float64 {
	c := r.chrf
	chars, words := c.split(hyp)
	best, bestScore := make([]float64, 3*c.orders()), -1.0
	stats, m := make([]float64, 3*c.orders()), make([]float64, c.orders())
	for i := range r.refs {
		ref := &r.refs[i]
		clear(m)
		ref.chars.matches(chars, m[:c.charOrder()])
		if c.WordOrder > 0 {
			ref.words.matches(ref.vocab.find(words), m[c.charOrder():])
		}
		for k := range c.orders() {
			n, got, want := k+1, len(chars), ref.charLen
			if k >= c.charOrder() {
				n, got, want = k-c.charOrder()+1, len(words), ref.wordsLen
			}
			inHyp, inRef := gramCount(got, n), gramCount(want, n)
			if inRef == 0 {
				inHyp = 0 // nothing could have matched
			}
			stats[3*k], stats[3*k+1], stats[3*k+2] = float64(inHyp), float64(inRef), m[k]
		}
		if s := c.Score(stats); s > bestScore {
			bestScore = s
			best, stats = stats, best
		}
	}
	return best
}

// Score makes the score, from 0 to 100, of statistics: of one sentence, or summed over a corpus.
// Precision and recall are averaged over the orders that both sides have. It is NaN when stats does
// not have 3·(CharOrder+WordOrder) numbers, as when there was no sentence at all.
func (c CHRF) Score(stats []float64) float64 {
	if len(stats) != 3*c.orders() {
		return math.NaN()
	}
	precision, recall, used := 0.0, 0.0, 0.0
	for k := 0; k < len(stats); k += 3 {
		if stats[k] > 0 && stats[k+1] > 0 {
			precision += stats[k+2] / stats[k]
			recall += stats[k+2] / stats[k+1]
			used++
		}
	}
	if precision+recall == 0 {
		return 0
	}
	precision, recall = precision/used, recall/used
	f := float64(c.beta() * c.beta())
	return 100 * (1 + f) * precision * recall / (f*precision + recall)
}
