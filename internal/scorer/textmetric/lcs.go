package textmetric

import (
	"errors"
	"fmt"
	"math/bits"
)

// ErrTooLong is returned instead of a number when the texts are so long that their longest common
// subsequences would take more than about a second or 64 MB to find. The limits are fixed, so that
// the same texts always give the same outcome.
var ErrTooLong = errors.New("texts too long for a longest common subsequence")

const (
	// maxLCSSteps bounds the 64-bit operations of one score: reference tokens × answer tokens / 64.
	maxLCSSteps = 1 << 29
	// pairSteps is what a pair of lines of ROUGE-Lsum costs however short they are.
	pairSteps = 40
	// maxLCSWords bounds the words of memory that one pair of lines of ROUGE-Lsum may take.
	maxLCSWords = 1 << 23
)

// line is a sequence of token numbers, prepared to have its longest common subsequence with
// other sequences found 64 tokens at a time (Hyyrö, 2004, "Bit-parallel LCS-length computation revisited").
type line struct {
	tokens     []int32
	distinct   []int32
	first, end []int32 // distinct[k] occurs where masks[first[k]:end[k]] say
	masks      []mask
}

// mask says where in one word of 64 positions a token occurs.
type mask struct {
	word int32
	bits uint64
}

// newLine prepares tokens. slots is scratch: one number per token number, all 0, and left so.
func newLine(tokens []int32, slots []int32) line {
	l := line{tokens: tokens}
	var counts []int32
	for _, t := range tokens {
		if slots[t] == 0 {
			l.distinct = append(l.distinct, t)
			counts = append(counts, 0)
			slots[t] = int32(len(l.distinct))
		}
		counts[slots[t]-1]++
	}
	// Room for one mask per occurrence; occurrences in the same word share one.
	l.first, l.end = make([]int32, len(counts)), make([]int32, len(counts))
	room := int32(0)
	for k, n := range counts {
		l.first[k], l.end[k] = room, room
		room += n
	}
	l.masks = make([]mask, room)
	for i, t := range tokens {
		k, word := slots[t]-1, int32(i/64)
		if at := l.end[k]; at == l.first[k] || l.masks[at-1].word != word {
			l.masks[at].word = word
			l.end[k]++
		}
		l.masks[l.end[k]-1].bits |= 1 << (i % 64)
	}
	for _, t := range l.distinct {
		slots[t] = 0
	}
	return l
}

// bind writes into slots where l's tokens are; unbind clears it again.
func (l *line) bind(slots []int32) {
	for k, t := range l.distinct {
		slots[t] = int32(k) + 1
	}
}

func (l *line) unbind(slots []int32) {
	for _, t := range l.distinct {
		slots[t] = 0
	}
}

// at returns the masks of a token, none when l does not hold it.
func (l *line) at(token int32, slots []int32) []mask {
	if token < 0 || slots[token] == 0 {
		return nil
	}
	k := slots[token] - 1
	return l.masks[l.first[k]:l.end[k]]
}

func (l *line) words() int { return (len(l.tokens) + 63) / 64 }

// start returns the state before any token: all ones. A bit becomes 0 where the length of the
// common subsequence grows by one with that position of the line.
func (l *line) start() []uint64 {
	v := make([]uint64, l.words())
	for i := range v {
		v[i] = ^uint64(0)
	}
	return v
}

// advance takes one more token of the other sequence: v = (v + (v & m)) | (v &^ m), touching only
// the words that m or a carry reaches.
func advance(v []uint64, ms []mask) {
	carry := uint64(0)
	w := 0
	for _, m := range ms {
		for ; carry != 0 && w < int(m.word); w++ {
			carry = propagate(v, w)
		}
		w = int(m.word)
		old := v[w]
		var sum uint64
		sum, carry = bits.Add64(old, old&m.bits, carry)
		v[w] = sum | old&^m.bits
		w++
	}
	for ; carry != 0 && w < len(v); w++ {
		carry = propagate(v, w)
	}
}

func propagate(v []uint64, w int) uint64 {
	sum, carry := bits.Add64(v[w], 1, 0)
	v[w] |= sum
	return carry
}

// lcs returns the length of the longest common subsequence of l and other. l is bound to slots.
func (l *line) lcs(other []int32, slots []int32) (int, error) {
	if steps := int64(l.words()) * int64(len(other)); steps > maxLCSSteps {
		return 0, tooLong(len(l.tokens), len(other))
	}
	v := l.start()
	for _, t := range other {
		if ms := l.at(t, slots); len(ms) > 0 {
			advance(v, ms)
		}
	}
	n := 0
	for _, w := range v {
		n += bits.OnesCount64(^w)
	}
	return n, nil
}

// markLCS sets in marks the positions of l that belong to one longest common subsequence with
// other: among equally long ones, the one that rouge-score's table gives when read back from its end.
// l is bound to slots.
func (l *line) markLCS(other []int32, slots []int32, marks []bool) error {
	words := l.words()
	known := 0
	for _, t := range other {
		if len(l.at(t, slots)) > 0 {
			known++
		}
	}
	if known == 0 {
		return nil
	}
	if int64(words)*int64(known+1) > maxLCSWords {
		return tooLong(len(l.tokens), len(other))
	}
	// rows holds the state before any token and after each that l holds too; the others leave it
	// as it is, but they still take part in reading back, where they decide between equals.
	rows := make([]uint64, words*(known+1))
	row := make([]int32, len(other)) // where in rows the state after each token begins
	v, at := l.start(), 0
	copy(rows, v)
	for j, t := range other {
		if ms := l.at(t, slots); len(ms) > 0 {
			advance(v, ms)
			at += words
			copy(rows[at:], v)
		}
		row[j] = int32(at)
	}
	for i, j := len(l.tokens)-1, len(other)-1; i >= 0 && j >= 0; {
		switch {
		case l.tokens[i] == other[j]:
			marks[i] = true
			i--
			j--
		case rows[int(row[j])+i/64]>>(i%64)&1 == 0: // the length grew here, so it came from the left
			j--
		default:
			i--
		}
	}
	return nil
}

func tooLong(a, b int) error { return fmt.Errorf("%w: %d and %d tokens", ErrTooLong, a, b) }
