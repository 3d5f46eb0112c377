package textmetric

import (
	"math"
	"slices"
)

// TER is the translation edit rate (Snover et al. 2006) as sacreBLEU computes it with its defaults:
// lower case, words between white space, and Tercom's limits on how shifts are searched for. It is
// the number of edits (insertions, deletions, substitutions and shifts of a phrase, 1 each) for 100
// words of the reference: 0 is best, and it may exceed 100.
type TER struct{}

// The limits of Tercom, and sacreBLEU's own on the number of shifts that are tried.
const (
	terShiftSize  = 10   // words of a phrase that is moved
	terShiftFar   = 50   // places between a phrase and its match
	terBeam       = 25   // cells beside the diagonal that are looked at
	terCandidates = 1000 // shifts tried for one sentence
)

// TERRefs is the references of one sentence, prepared.
type TERRefs struct{ refs [][]string }

// References prepares refs. With several, the fewest edits count, over the mean length.
func (TER) References(refs []string) *TERRefs {
	out := &TERRefs{refs: make([][]string, len(refs))}
	for i, s := range refs {
		out.refs[i] = terWords(s)
	}
	return out
}

func terWords(s string) []string { return fields(lower(s)) }

// Stats returns the edits and the mean length of the references. Statistics of sentences add up.
func (r *TERRefs) Stats(hyp string) []float64 {
	words := terWords(hyp)
	edits, length := math.Inf(1), 0.0
	for _, ref := range r.refs {
		edits = min(edits, float64(terEdits(words, ref)))
		length += float64(len(ref))
	}
	if len(r.refs) == 0 {
		return []float64{0, 0}
	}
	return []float64{edits, length / float64(len(r.refs))}
}

// Score makes the rate of statistics, 100 for edits of an empty reference, NaN for statistics of
// another length.
func (TER) Score(stats []float64) float64 {
	switch {
	case len(stats) != 2:
		return math.NaN()
	case stats[1] > 0:
		return 100 * stats[0] / stats[1]
	case stats[0] > 0:
		return 100
	}
	return 0
}

// terEdits moves the phrase that helps most until none does, and counts the moves and the edits that
// are left.
func terEdits(words, ref []string) int {
	if len(ref) == 0 {
		return len(words)
	}
	n := vocab{}
	r := n.add(ref)
	// A word that the reference lacks equals no other.
	h := make([]int32, len(words))
	copy(h, n.find(words))
	t := &terSearch{ref: r, hyp: h}
	moves := 0
	for {
		gain, moved := t.best()
		if t.tried >= terCandidates || gain <= 0 {
			break
		}
		moves++
		t.hyp = moved
	}
	return moves + t.table(t.hyp)
}

// terCell is a cell of the table of edit distances, with the edit that led to it.
type terCell struct {
	cost int32
	op   terOp
}

type terOp uint8

const (
	terNone terOp = iota
	terSame
	terChange // a word of the hypothesis became one of the reference
	terDrop   // a word of the hypothesis has none
	terAdd    // a word of the reference has none
)

const terFar = math.MaxInt32 / 2

// terSearch looks for shifts of one hypothesis. The table's rows up to known are those of base.
type terSearch struct {
	ref, hyp []int32
	rows     [][]terCell
	base     []int32
	known    int
	tried    int
}

// table fills the table for a hypothesis and returns its distance. Rows of words that it has in
// common with the one before stay, for a row depends on the words before it and the length alone.
func (t *terSearch) table(hyp []int32) int {
	n, m := len(hyp), len(t.ref)
	if len(t.rows) != n+1 {
		t.rows = make([][]terCell, n+1)
		for i := range t.rows {
			t.rows[i] = make([]terCell, m+1)
		}
		for j := range t.rows[0] {
			t.rows[0][j] = terCell{int32(j), terAdd}
		}
		t.known = 0
	}
	same := 0
	for same < t.known && t.base[same] == hyp[same] {
		same++
	}
	ratio := 1.0
	if n > 0 {
		ratio = float64(m) / float64(n)
	}
	beam := terBeam
	if terBeam < ratio/2 {
		beam = int(math.Ceil(ratio/2 + terBeam))
	}
	for i := same + 1; i <= n; i++ {
		diagonal := int(math.Floor(float64(i) * ratio))
		from, to := max(0, diagonal-beam), min(m+1, diagonal+beam)
		if i == n {
			to = m + 1
		}
		t.row(i, from, to, hyp[i-1])
	}
	t.base, t.known = append(t.base[:0], hyp...), n
	return int(t.rows[n][m].cost)
}

// row fills a row within the beam. Of edits that cost the same, a word that stays or changes comes
// first, then one that is dropped, then one that is added.
func (t *terSearch) row(i, from, to int, word int32) {
	row, above := t.rows[i], t.rows[i-1]
	for j := range row {
		row[j] = terCell{terFar, terNone}
	}
	for j := from; j < to; j++ {
		if j == 0 {
			row[0] = terCell{above[0].cost + 1, terDrop}
			continue
		}
		c := terCell{above[j-1].cost + 1, terChange}
		if word == t.ref[j-1] {
			c = terCell{above[j-1].cost, terSame}
		}
		if v := above[j].cost + 1; v < c.cost {
			c = terCell{v, terDrop}
		}
		if v := row[j-1].cost + 1; v < c.cost {
			c = terCell{v, terAdd}
		}
		if c.cost < terFar {
			row[j] = c
		}
	}
}

// terAlignment says for each word of the reference the last word of the hypothesis up to it (-1 for
// none), and which words of both take part in no match.
type terAlignment struct {
	at             []int
	refErr, hypErr []bool
}

// align follows the table back from its end.
func (t *terSearch) align() terAlignment {
	i, j := len(t.hyp), len(t.ref)
	a := terAlignment{at: make([]int, j), refErr: make([]bool, j), hypErr: make([]bool, i)}
	for i > 0 || j > 0 {
		switch t.rows[i][j].op {
		case terSame, terChange:
			i, j = i-1, j-1
			changed := t.rows[i+1][j+1].op == terChange
			a.at[j], a.refErr[j], a.hypErr[i] = i, changed, changed
		case terAdd:
			j--
			a.at[j], a.refErr[j] = i-1, true
		default:
			i--
			a.hypErr[i] = true
		}
	}
	return a
}

// terMove is a shift that was tried. Shifts are ranked by gain, then longer phrases, then phrases and
// then places nearer to the start.
type terMove struct{ gain, size, from, to int }

func (m terMove) beats(o terMove) bool {
	for _, d := range [...]int{m.gain - o.gain, m.size - o.size, o.from - m.from, o.to - m.to} {
		if d != 0 {
			return d > 0
		}
	}
	return false
}

// best tries the shifts of phrases that stand elsewhere in the reference and returns the gain of the
// best with the hypothesis it makes.
func (t *terSearch) best() (gain int, moved []int32) {
	before := t.table(t.hyp)
	a := t.align()
	var best terMove
	found := false
	try := func(from, size, to int) {
		t.tried++
		shifted := terShift(t.hyp, from, size, to)
		m := terMove{before - t.table(shifted), size, from, to}
		if !found || m.beats(best) {
			best, found, moved = m, true, shifted
		}
	}
	for from := range t.hyp {
		for at := range t.ref {
			if at-from > terShiftFar || from-at > terShiftFar {
				continue
			}
			for size := 1; size <= terShiftSize && from+size <= len(t.hyp) && at+size <= len(t.ref) && t.hyp[from+size-1] == t.ref[at+size-1]; size++ {
				if !slices.Contains(a.hypErr[from:from+size], true) || !slices.Contains(a.refErr[at:at+size], true) || from <= a.at[at] && a.at[at] < from+size {
					continue
				}
				t.places(a, at, size, func(to int) { try(from, size, to) })
				if t.tried >= terCandidates {
					return best.gain, moved
				}
			}
		}
	}
	return best.gain, moved
}

// places lists where a phrase could be put so that it stands at a place of the reference.
func (t *terSearch) places(a terAlignment, at, size int, put func(to int)) {
	last := -1
	for k := at - 1; k < at+size && k < len(t.ref); k++ {
		to := 0
		if k >= 0 {
			to = a.at[k] + 1
		}
		if to != last {
			last = to
			put(to)
		}
	}
}

// terShift moves size words from a place to before another; a place within or just behind the phrase
// counts from the phrase's start once it is taken out.
func terShift(words []int32, from, size, to int) []int32 {
	out := make([]int32, 0, len(words))
	phrase := words[from : from+size]
	switch {
	case to < from:
		out = append(out, words[:to]...)
		out = append(out, phrase...)
		out = append(out, words[to:from]...)
		return append(out, words[from+size:]...)
	case to <= from+size:
		to = min(size+to, len(words))
	}
	out = append(out, words[:from]...)
	out = append(out, words[from+size:to]...)
	out = append(out, phrase...)
	return append(out, words[to:]...)
}
