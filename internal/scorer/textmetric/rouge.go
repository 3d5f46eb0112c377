package textmetric

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// RougeVariant says what ROUGE compares.
type RougeVariant uint8

// The variants.
const (
	RougeN    RougeVariant = iota // n-grams
	RougeL                        // the longest common subsequence of the whole texts
	RougeLsum                     // the union of those of the lines, each token counted once
)

// ROUGE holds the options of ROUGE (Lin, 2004) as Google's rouge-score package computes it: lower
// case, everything but a–z and 0–9 separates tokens, so that a text in another script has none.
// The zero value is ROUGE-1 without a stemmer. Scores go from 0 to 1.
type ROUGE struct {
	Variant RougeVariant
	N       int  // order of RougeN; 0 means 1
	Stem    bool // reduce tokens of more than three characters with PorterStem
}

func (r ROUGE) order() int {
	if r.N <= 0 {
		return 1
	}
	return r.N
}

// Name returns rouge1, rougeL, rougeLsum and so on.
func (r ROUGE) Name() string {
	switch r.Variant {
	case RougeL:
		return "rougeL"
	case RougeLsum:
		return "rougeLsum"
	default:
		return fmt.Sprintf("rouge%d", r.order())
	}
}

// Signature names the recipe.
func (r ROUGE) Signature() string {
	stem := "no"
	if r.Stem {
		stem = "porter-nltk"
	}
	sig := fmt.Sprintf("%s|value:f|refs:max|stemmer:%s", r.Name(), stem)
	if r.Variant == RougeLsum {
		sig += "|split:newline"
	}
	return sig + "|version:rouge-score-0.1.2"
}

// Tokens splits s as rouge-score does.
func (r ROUGE) Tokens(s string) []string {
	var out []string
	buf := make([]byte, 0, 32)
	flush := func() {
		if len(buf) == 0 {
			return
		}
		t := string(buf)
		if r.Stem && len(t) > 3 {
			t = PorterStem(t)
		}
		out = append(out, t)
		buf = buf[:0]
	}
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			buf = append(buf, byte(c))
		case 'A' <= c && c <= 'Z':
			buf = append(buf, byte(c)|0x20)
		// The two characters beyond ASCII whose lower case begins with an ASCII letter.
		case c == '\u212a': // Kelvin sign
			buf = append(buf, 'k')
		case c == '\u0130': // capital I with dot above: an i and a combining dot
			buf = append(buf, 'i')
			flush()
		case c < utf8.RuneSelf || len(buf) > 0:
			flush()
		}
	}
	flush()
	return out
}

// RougeRefs is the references of one text, prepared.
type RougeRefs struct {
	rouge ROUGE
	refs  []rougeRef
}

type rougeRef struct {
	vocab vocab
	total int    // tokens
	grams *grams // for RougeN
	lines []line // for the others
}

// References prepares refs. With several, the one that gives the highest F counts, the first of
// them on a tie.
func (r ROUGE) References(refs []string) *RougeRefs {
	out := &RougeRefs{rouge: r, refs: make([]rougeRef, len(refs))}
	for i, s := range refs {
		ref := rougeRef{vocab: vocab{}}
		var lines [][]int32
		for _, part := range r.parts(s) {
			ids := ref.vocab.add(r.Tokens(part))
			lines = append(lines, ids)
			ref.total += len(ids)
		}
		if r.Variant == RougeN {
			ref.grams = newGrams(r.order(), lines...)
		} else {
			slots := make([]int32, len(ref.vocab))
			for _, ids := range lines {
				ref.lines = append(ref.lines, newLine(ids, slots))
			}
		}
		out.refs[i] = ref
	}
	return out
}

// parts returns what tokens are taken from separately: the lines for RougeLsum, else s.
func (r ROUGE) parts(s string) []string {
	if r.Variant == RougeLsum {
		return strings.Split(s, "\n")
	}
	return []string{s}
}

// HasTokens reports whether any reference has a token at all; without one the score is always 0.
func (rr *RougeRefs) HasTokens() bool {
	for i := range rr.refs {
		if rr.refs[i].total > 0 {
			return true
		}
	}
	return false
}

// Score returns the score of hyp against its best reference, or ErrTooLong.
func (rr *RougeRefs) Score(hyp string) (PRF, error) {
	var parts [][]string
	total := 0
	for _, part := range rr.rouge.parts(hyp) {
		if tokens := rr.rouge.Tokens(part); len(tokens) > 0 {
			parts = append(parts, tokens)
			total += len(tokens)
		}
	}
	var best PRF
	for i := range rr.refs {
		ref := &rr.refs[i]
		if ref.total == 0 || total == 0 {
			continue
		}
		lines := make([][]int32, len(parts))
		for k, tokens := range parts {
			lines[k] = ref.vocab.find(tokens)
		}
		got, err := rr.rouge.score(ref, lines, total)
		if err != nil {
			return PRF{}, err
		}
		if got.F > best.F {
			best = got
		}
	}
	return best, nil
}

// score compares lines, which hold total tokens, with ref; both sides have tokens.
func (r ROUGE) score(ref *rougeRef, lines [][]int32, total int) (PRF, error) {
	switch r.Variant {
	case RougeN:
		m := make([]float64, r.order())
		ref.grams.matches(lines[0], m)
		n := r.order()
		return prf(int(m[n-1]), gramCount(total, n), gramCount(ref.total, n)), nil
	case RougeL:
		slots := make([]int32, len(ref.vocab))
		ref.lines[0].bind(slots)
		same, err := ref.lines[0].lcs(lines[0], slots)
		return prf(same, total, ref.total), err
	default:
		same, err := ref.unionLCS(lines, total)
		return prf(same, total, ref.total), err
	}
}

// unionLCS counts the tokens of the reference that are in a longest common subsequence of their
// line with some line of the answer, each token at most as often as either side holds it.
func (ref *rougeRef) unionLCS(lines [][]int32, total int) (int, error) {
	steps := int64(0)
	for i := range ref.lines {
		l := &ref.lines[i]
		steps += int64(l.words()+1)*int64(total) + int64(len(lines))*int64(len(l.tokens)+pairSteps)
	}
	if steps > maxLCSSteps {
		return 0, tooLong(ref.total, total)
	}
	left := make([]int32, len(ref.vocab)) // how often the answer still has each token
	for _, ids := range lines {
		for _, id := range ids {
			if id >= 0 {
				left[id]++
			}
		}
	}
	slots := make([]int32, len(ref.vocab))
	same := 0
	for i := range ref.lines {
		l := &ref.lines[i]
		l.bind(slots)
		marks := make([]bool, len(l.tokens))
		for _, ids := range lines {
			if err := l.markLCS(ids, slots, marks); err != nil {
				return 0, err
			}
		}
		l.unbind(slots)
		for k, marked := range marks {
			if t := l.tokens[k]; marked && left[t] > 0 {
				left[t]--
				same++
			}
		}
	}
	return same, nil
}
