// Package textmetric compares a text with reference texts: SQuAD exact match and F1, BLEU, chrF,
// GLEU, ROUGE, METEOR and GSM8K numbers, each to the convention under which its figures are
// published.
//
// It is pure arithmetic on strings. It knows nothing of suites, thresholds or verdicts, and it
// measures overlap of wording, not of meaning: on open-ended text these numbers are weak evidence.
//
// Data passes in two steps. A metric's options make a prepared form of the references
// (References), which does the work that does not depend on the answer; the prepared form then
// scores any number of answers and is safe for concurrent use. Corpus metrics yield additive
// sufficient statistics per sentence; the sums over sentences go to the metric's finisher.
// Time and memory grow linearly with the texts, except for the longest common subsequences of
// ROUGE-L and ROUGE-Lsum, which return ErrTooLong above a fixed amount of work.
//
// The conventions are those of sacreBLEU 2.6.0, rouge-score 0.1.2, NLTK 3.10.4 and the SQuAD v1.1
// and GSM8K evaluations; the tests hold figures produced by those packages. Texts are taken as
// UTF-8; a byte that is not is read as U+FFFD.
package textmetric

// PRF is a precision, a recall and their harmonic mean, each from 0 to 1.
type PRF struct {
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F         float64 `json:"f"`
}

// prf returns the PRF of same shared items out of got and want; 0 where nothing is shared.
func prf(same, got, want int) PRF {
	if same == 0 {
		return PRF{}
	}
	p, r := float64(same)/float64(got), float64(same)/float64(want)
	return PRF{Precision: p, Recall: r, F: 2 * p * r / (p + r)}
}
