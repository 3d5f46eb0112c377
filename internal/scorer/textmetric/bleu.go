package textmetric

import (
	"fmt"
	"math"
)

// SacreBLEU is the release of sacreBLEU whose numbers BLEU and CHRF reproduce, as signatures name it.
const SacreBLEU = "2.6.0"

// Smoothing is what BLEU does about an n-gram order without a match. The zero value is exp.
type Smoothing uint8

// The smoothing methods.
const (
	SmoothExp   Smoothing = iota // halve the precision of a phantom match at each such order (NIST)
	SmoothFloor                  // put the smoothing value in place of zero matches; default 0.1
	SmoothAddK                   // add the smoothing value to the counts above order 1; default 1
	SmoothNone                   // an order without a match makes the score 0
)

var smoothingNames = [...]string{"exp", "floor", "add-k", "none"}

// String returns the name used in signatures.
func (s Smoothing) String() string {
	if int(s) < len(smoothingNames) {
		return smoothingNames[s]
	}
	return fmt.Sprintf("smoothing(%d)", uint8(s))
}

// ParseSmoothing returns the method of that name: exp, floor, add-k or none.
func ParseSmoothing(name string) (Smoothing, bool) {
	for i, n := range smoothingNames {
		if n == name {
			return Smoothing(i), true
		}
	}
	return 0, false
}

// Level says whether a number is about one sentence or about a corpus.
type Level uint8

// The levels. For BLEU, the sentence level leaves out the orders that the sentence is too short
// for (sacreBLEU's effective order).
const (
	Corpus Level = iota
	Sentence
)

// BLEU holds the options of BLEU (Papineni et al., 2002) as sacreBLEU computes it. The zero value
// is sacreBLEU's default. Scores go from 0 to 100.
type BLEU struct {
	Tokenizer Tokenizer
	Smoothing Smoothing
	// SmoothValue is the value of the floor and add-k methods; 0 means the method's default.
	SmoothValue float64
	MaxOrder    int // highest n-gram order; 0 means 4
	Lowercase   bool
}

func (b BLEU) order() int {
	if b.MaxOrder <= 0 {
		return 4
	}
	return b.MaxOrder
}

func (b BLEU) smoothValue() float64 {
	switch {
	case b.SmoothValue != 0:
		return b.SmoothValue
	case b.Smoothing == SmoothFloor:
		return 0.1
	default:
		return 1
	}
}

// Signature returns sacreBLEU's signature for numbers of that level. nrefs is the number of
// references per sentence, or below 0 when it varies; 0 leaves it out. sacreBLEU does not name a
// highest order other than 4; here "order" does.
func (b BLEU) Signature(level Level, nrefs int) string {
	smooth := b.Smoothing.String()
	if b.Smoothing == SmoothFloor || b.Smoothing == SmoothAddK {
		smooth = fmt.Sprintf("%s[%.2f]", smooth, b.smoothValue())
	}
	eff := "no"
	if level == Sentence {
		eff = "yes"
	}
	sig := fmt.Sprintf("%scase:%s|eff:%s|tok:%s|smooth:%s", refsPart(nrefs), casePart(b.Lowercase), eff, b.Tokenizer, smooth)
	if b.order() != 4 {
		sig += fmt.Sprintf("|order:%d", b.order())
	}
	return sig + "|version:" + SacreBLEU
}

func refsPart(nrefs int) string {
	switch {
	case nrefs == 0:
		return ""
	case nrefs < 0:
		return "nrefs:var|"
	default:
		return fmt.Sprintf("nrefs:%d|", nrefs)
	}
}

func casePart(lowercase bool) string {
	if lowercase {
		return "lc"
	}
	return "mixed"
}

// BLEURefs is the references of one sentence, prepared.
type BLEURefs struct {
	bleu    BLEU
	vocab   vocab
	grams   *grams
	lengths []int
}

// References prepares refs. With several, an n-gram matches as often as the reference that holds
// it most often, and the length to reach is that of the reference nearest in length, the shorter
// one on a tie.
func (b BLEU) References(refs []string) *BLEURefs {
	r := &BLEURefs{bleu: b, vocab: vocab{}}
	ids := make([][]int32, len(refs))
	for i, ref := range refs {
		ids[i] = r.vocab.add(b.tokens(ref))
		r.lengths = append(r.lengths, len(ids[i]))
	}
	r.grams = newGrams(b.order(), ids...)
	return r
}

func (b BLEU) tokens(s string) []string {
	if b.Lowercase {
		s = lower(s)
	}
	return b.Tokenizer.Tokens(s)
}

// Stats returns the sufficient statistics of hyp: its length, the length to reach, then the
// matches and the totals of each order, 2+2·MaxOrder numbers in all. Statistics of sentences add up.
func (r *BLEURefs) Stats(hyp string) []float64 {
	n := r.bleu.order()
	ids := r.vocab.find(r.bleu.tokens(hyp))
	stats := make([]float64, 2+2*n)
	stats[0], stats[1] = float64(len(ids)), float64(closest(len(ids), r.lengths))
	r.grams.matches(ids, stats[2:2+n])
	for k := 1; k <= n; k++ {
		stats[1+n+k] = float64(gramCount(len(ids), k))
	}
	return stats
}

func closest(length int, lengths []int) int {
	best, bestDiff := 0, -1
	for _, l := range lengths {
		diff := max(length-l, l-length)
		if bestDiff < 0 || diff < bestDiff || diff == bestDiff && l < best {
			best, bestDiff = l, diff
		}
	}
	return best
}

// Score makes the score, from 0 to 100, of statistics: of one sentence, or summed over a corpus.
// It is NaN when stats does not have 2+2·MaxOrder numbers, as when there was no sentence at all.
func (b BLEU) Score(level Level, stats []float64) float64 {
	order := b.order()
	if len(stats) != 2+2*order {
		return math.NaN()
	}
	hypLen, refLen := stats[0], stats[1]
	matches, totals := stats[2:2+order], stats[2+order:]
	matched := 0.0
	for _, m := range matches {
		matched += m
	}
	if matched == 0 || hypLen == 0 {
		return 0
	}
	penalty := 1.0
	if hypLen < refLen {
		penalty = math.Exp(1 - refLen/hypLen)
	}
	logs, used, phantom := 0.0, 0, 1.0
	for n := range order {
		m, total := matches[n], totals[n]
		if b.Smoothing == SmoothAddK && n > 0 {
			m, total = m+b.smoothValue(), total+b.smoothValue()
		}
		if total == 0 {
			break
		}
		switch {
		case m > 0:
		case b.Smoothing == SmoothExp:
			phantom /= 2
			m = phantom
		case b.Smoothing == SmoothFloor:
			m = b.smoothValue()
		default:
			return 0
		}
		logs += math.Log(100 * m / total)
		used = n + 1
	}
	// At corpus level an order that no sentence reached counts as a precision of 0.
	if level == Corpus && used < order {
		return 0
	}
	return penalty * math.Exp(logs/float64(used))
}
