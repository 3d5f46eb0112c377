// Package language says what natural language a text is written in.
//
// It is for scorers: the language invariant and IFEval's language and letter-case verifiers. It is
// not for telling scripts, dialects or mixed texts apart, and it is only as good as 55 tables of
// letter frequencies are: words out of context, lists of names and text in capitals are often
// taken for another language.
//
// The method is that of Nakatani Shuyo's language-detection, which most published benchmarks use
// through its Python port langdetect: the text is cut into n-grams of one to three letters, some are
// drawn at random, and a naive Bayes classifier is updated with each until one language is certain.
// The tables are the ones langdetect 1.0.9 carries (see NOTICE), so that verdicts agree with those
// benchmarks also where the method errs. What differs: the draws come from a fixed seed, and
// a text that is not settled by the first seven trials gets seventy more, so that Detect always
// gives one answer, the one that langdetect gives most often.
//
// Data passes through in one direction: text → normalised letters → n-grams found in the tables →
// code. The tables are read from the binary at the first use.
package language

import (
	"math/rand/v2"
	"slices"
)

// The classifier's constants, from language-detection.
const (
	smoothing   = 0.5  // added to every frequency, in units of 1/baseFreq
	smoothingSD = 0.05 // its standard deviation over trials
	baseFreq    = 10_000
	maxDraws    = 1000 // n-grams drawn in a trial that does not converge
	checkEvery  = 5    // draws between two tests of convergence
	converged   = 0.99999
	trials      = 7
	maxRunes    = 10_000 // what is read of a text
	// latinPerOthers: Latin letters are dropped when there are this many times more others.
	latinPerOthers = 2
)

// Our own constants: when more trials are made, how many, and the seed of the draws.
const (
	settled      = 0.9 // mean probability of the best language
	extraTrials  = 70
	seed1, seed2 = 0x74656c6c, 0x74616c65
)

// Codes returns the codes that Detect can return, sorted: ISO 639-1, with zh-cn and zh-tw for
// simplified and traditional Chinese.
func Codes() []string { return slices.Clone(load().codes) }

// Known says whether Detect can return code, or whether code is zh, which stands for both Chinese codes.
func Known(code string) bool {
	_, ok := slices.BinarySearch(load().codes, code)
	return ok || code == "zh"
}

// Is says whether the detected code is the wanted language; zh is either Chinese code.
func Is(code, want string) bool {
	return code == want || want == "zh" && (code == "zh-cn" || code == "zh-tw")
}

// Detect returns the code of the language that text is written in, one of Codes. It returns false when text
// has no letter that the tables know, such as digits only. Only the first 10,000 characters are
// read. The answer depends on text alone. Detect is safe for concurrent use.
func Detect(text string) (string, bool) {
	t := load()
	d := draws{table: t, grams: t.ngrams(text)}
	// A new source for every text, so that the answer does not depend on what was asked before.
	rng := rand.New(rand.NewPCG(seed1, seed2))
	mean := make([]float64, len(t.codes))
	prob := make([]float64, len(t.codes))
	if _, ok := d.next(rng); !ok {
		return "", false
	}
	n := 0
	for ; n < trials; n++ {
		d.trial(rng, prob, mean)
	}
	if slices.Max(mean) < settled*trials {
		for ; n < trials+extraTrials; n++ {
			d.trial(rng, prob, mean)
		}
	}
	best := 0
	for i, p := range mean {
		if p > mean[best] {
			best = i
		}
	}
	return t.codes[best], true
}

// draws picks from the n-grams of one text. Those that the tables do not know are dropped when they
// are first drawn, so that few of a long text's n-grams need looking up.
type draws struct {
	*table
	grams []gram
	spans []span // of the grams drawn before; empty for the others
}

// next returns a known n-gram, each occurrence as likely as any other, or false when there is none.
func (d *draws) next(rng *rand.Rand) (span, bool) {
	if d.spans == nil {
		d.spans = make([]span, len(d.grams))
	}
	for n := len(d.grams); n > 0; n = len(d.grams) {
		i := rng.IntN(n)
		if d.spans[i] == (span{}) {
			s, ok := d.table.grams[d.grams[i]]
			if !ok {
				d.grams[i], d.spans[i] = d.grams[n-1], d.spans[n-1]
				d.grams, d.spans = d.grams[:n-1], d.spans[:n-1]
				continue
			}
			d.spans[i] = s
		}
		return d.spans[i], true
	}
	return span{}, false
}

// trial draws n-grams until one language is certain and adds the probabilities to sum. prob is
// scratch space.
func (d *draws) trial(rng *rand.Rand, prob, sum []float64) {
	for i := range prob {
		prob[i] = 1 / float64(len(prob))
	}
	// Each draw multiplies the probability of language i with weight + p(gram|i). The common factor
	// weight cancels in the normalisation, so languages that lack the n-gram need no work.
	weight := (smoothing + smoothingSD*rng.NormFloat64()) / baseFreq
	for draw := 0; ; draw++ {
		g, _ := d.next(rng)
		for k := g.start; k < g.end; k++ {
			prob[d.lang[k]] *= 1 + float64(d.freq[k])/weight
		}
		if draw%checkEvery == 0 && (normalise(prob) > converged || draw >= maxDraws) {
			break
		}
	}
	for i, p := range prob {
		sum[i] += p
	}
}

// normalise scales prob to a sum of 1 and returns the greatest.
func normalise(prob []float64) float64 {
	sum, top := 0.0, 0.0
	for _, p := range prob {
		sum += p
	}
	for i := range prob {
		prob[i] /= sum
		top = max(top, prob[i])
	}
	return top
}
