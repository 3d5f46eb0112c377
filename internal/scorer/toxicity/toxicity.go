// Package toxicity gives the probability that a text is toxic: insulting, obscene or hateful. Its
// model is linear, on hashed word and character n-grams, small enough to be compiled in and fast
// enough to read every answer of a run.
//
// A text is cut into overlapping passages of the length the model was trained on. Each passage is
// folded (case, width, look-alike letters, leet, stretched and s p a c e d words), the hashes of its
// n-grams are looked up in a table of weights, and their sum goes through a logistic curve that was
// calibrated on texts the training had not seen. The text's odds are the mean of its passages'.
//
// It knows English words, not meaning. It is not for hate without hateful words, quoted or negated
// insults, reclaimed words or other languages; docs/safety.md has the figures. The weights are made
// by `make train-toxicity`, whose code is in the folder train.
package toxicity

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/scorer/phrase"
)

// ErrScript says that a text is mostly not in Latin letters, so that the model cannot read it.
var ErrScript = errors.New("most of its letters are not Latin, and the built-in model reads English only")

// surest bounds the log of the odds, so that sums of odds stay finite.
const surest = 30.0

// Passages have this many words and begin this many words apart. A tweet has at most about 30.
const (
	passageWords = 40
	passageStep  = 20
)

// Params are the numbers of a model.
type Params struct {
	// Weights are those of the known features, by hash, in units of Scale, none of them 0.
	Weights map[uint64]int8
	Scale   float32
	Bias    float32
	// Slope and Offset calibrate (Platt, 1999): the probability is 1/(1+exp(-(Slope·margin+Offset))).
	Slope, Offset float32
}

// Model is a trained model. It is immutable and safe for concurrent use.
type Model struct {
	header
	table []uint32
	mask  uint64
	name  string
	pool  sync.Pool // of *reader
}

// header is the fixed part of a file of weights.
type header struct{ Scale, Bias, Slope, Offset float32 }

// reader is what scoring one text needs to itself.
type reader struct {
	Extractor
	seen    []uint32 // by slot of the table, the number of the passage that last had it
	passage uint32
}

//go:embed weights.bin
var builtin []byte

// Builtin returns the model that is compiled in.
var Builtin = sync.OnceValues(func() (*Model, error) { return Decode(builtin) })

// magic begins a file of weights. Its digit changes with the features or the layout: weights made
// for other features would give numbers without meaning.
const magic = "telltale-toxicity/1\n"

// The file is the magic, the number of bits of the table's size, four float32 and the table.
const headerSize = len(magic) + 1 + 4*4

// Limits of the table's size: 4 KB to 64 MB.
const (
	minBits = 10
	maxBits = 24
)

// Encode writes p as a file of weights. Its table is a hash table with open addressing, at most
// half full, of four bytes a slot: a weight, and 24 bits of the feature's hash by which features
// that training did not know are told from those it did. Without them, every unknown word would
// have the weight of some known one.
func Encode(p Params) []byte {
	bits := minBits
	for 1<<bits < 2*len(p.Weights) {
		bits++
	}
	table := make([]uint32, 1<<bits)
	// In the order of the hashes, so that the same weights make the same bytes.
	for _, h := range slices.Sorted(maps.Keys(p.Weights)) {
		w := p.Weights[h]
		if w == 0 {
			continue
		}
		i := h & (1<<bits - 1)
		for table[i] != 0 {
			i = (i + 1) & (1<<bits - 1)
		}
		table[i] = uint32(uint8(w)) | fingerprint(h)
	}
	b := make([]byte, 0, headerSize+4*len(table))
	b = append(b, magic...)
	b = append(b, byte(bits))
	for _, f := range []float32{p.Scale, p.Bias, p.Slope, p.Offset} {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	for _, e := range table {
		b = binary.LittleEndian.AppendUint32(b, e)
	}
	return b
}

// fingerprint is the upper three bytes of a slot: bits of the hash that do not choose the slot.
func fingerprint(h uint64) uint32 { return uint32(h>>40) << 8 }

// Decode reads what Encode wrote.
func Decode(b []byte) (*Model, error) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return nil, fmt.Errorf("toxicity: the weights do not begin with %q", magic)
	}
	bits := int(b[len(magic)])
	if bits < minBits || bits > maxBits || len(b) != headerSize+4<<bits {
		return nil, fmt.Errorf("toxicity: %d bytes of weights do not hold a table of 2^%d", len(b), bits)
	}
	m := &Model{mask: 1<<bits - 1, table: make([]uint32, 1<<bits)}
	for i, f := range []*float32{&m.Scale, &m.Bias, &m.Slope, &m.Offset} {
		*f = math.Float32frombits(binary.LittleEndian.Uint32(b[len(magic)+1+4*i:]))
		if v := float64(*f); math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("toxicity: number %d of the weights is %v", i, v)
		}
	}
	if m.Slope <= 0 || m.Scale <= 0 {
		return nil, fmt.Errorf("toxicity: slope %v and scale %v must be above 0", m.Slope, m.Scale)
	}
	empty := 0
	for i := range m.table {
		m.table[i] = binary.LittleEndian.Uint32(b[headerSize+4*i:])
		if uint8(m.table[i]) == 0 {
			m.table[i] = 0
			empty++
		}
	}
	if empty == 0 {
		return nil, errors.New("toxicity: the table of weights is full, and no search in it would end")
	}
	sum := sha256.Sum256(b)
	m.name = "builtin/1:" + hex.EncodeToString(sum[:6])
	m.pool.New = func() any { return &reader{seen: make([]uint32, len(m.table))} }
	return m, nil
}

// Name identifies the model for signatures: its version and the hash of its weights.
func (m *Model) Name() string { return m.name }

// Score is what a model says about a text.
type Score struct {
	// Probability that the text is toxic, 0 to 1; 0 for a text without words.
	Probability float64
	// Start and End are the bytes of its worst passage.
	Start, End int
}

// Score judges text. It returns ErrScript for a text that it cannot read.
//
// A passage's odds are calibrated for texts half of which are toxic. If half of all texts of n
// passages have a toxic passage somewhere, each with the same chance, then by Bayes' rule a text's
// odds are the mean of its passages' odds. The most toxic passage alone would not do: of 15
// harmless ones, one is often suspect.
func (m *Model) Score(text string) (Score, error) {
	if foreign(text) {
		return Score{}, ErrScript
	}
	x := m.pool.Get().(*reader)
	defer m.pool.Put(x)
	var worst Score
	top, odds, n := math.Inf(-1), 0.0, 0.0
	passages(text, func(start, end int) {
		margin, ok := m.margin(x, text[start:end])
		if !ok {
			return
		}
		logit := max(-surest, min(surest, float64(m.Slope)*margin+float64(m.Offset)))
		odds += math.Exp(logit)
		n++
		if logit > top {
			top, worst.Start, worst.End = logit, start, end
		}
	})
	if n > 0 {
		odds /= n
		worst.Probability = odds / (1 + odds)
	}
	return worst, nil
}

// Margin is the uncalibrated score of text as one passage; ok is false if it has no words. It is
// what training calibrates.
func (m *Model) Margin(text string) (margin float64, ok bool) {
	x := m.pool.Get().(*reader)
	defer m.pool.Put(x)
	return m.margin(x, text)
}

func (m *Model) margin(x *reader, passage string) (float64, bool) {
	features := x.Features(passage)
	if len(features) == 0 {
		return 0, false
	}
	if x.passage++; x.passage == 0 {
		clear(x.seen)
		x.passage = 1
	}
	// Integers, so that the sum is exact whatever the order. A feature counts once.
	sum := 0
	for _, h := range features {
		for i := h & m.mask; m.table[i] != 0; i = (i + 1) & m.mask {
			if m.table[i]&^0xFF != fingerprint(h) {
				continue
			}
			if x.seen[i] != x.passage {
				x.seen[i] = x.passage
				sum += int(int8(m.table[i]))
			}
			break
		}
	}
	return float64(sum)*float64(m.Scale)*Norm(len(features)) + float64(m.Bias), true
}

// Norm is the factor for a passage of n features. It keeps long passages from being extreme, and
// very short ones, such as a single letter, from hanging on one weight.
func Norm(n int) float64 { return 1 / math.Sqrt(float64(n)+10) }

// foreign says whether most letters of text belong to another script than Latin, look-alikes
// being taken for what they look like.
func foreign(text string) bool {
	latin, other := 0, 0
	for i := 0; i < len(text); i++ {
		if b := text[i]; b >= utf8.RuneSelf {
			other++
		} else if 'a' <= b|0x20 && b|0x20 <= 'z' {
			latin++
		}
	}
	if other <= latin { // bytes outnumber letters, so this settles most texts cheaply
		return false
	}
	latin, other = 0, 0
	for _, r := range (phrase.Folding{Case: true, Width: true, Looks: true}).Fold(text) {
		switch {
		case unicode.Is(unicode.Latin, r):
			latin++
		case unicode.IsLetter(r):
			other++
		}
	}
	return other > latin
}

// passages calls f with the bounds of each passage of text, the last of which reaches its end.
func passages(text string, f func(start, end int)) {
	var starts, ends []int
	in := false
	for i, r := range text {
		space := unicode.IsSpace(r)
		if space && in {
			ends = append(ends, i)
		} else if !space && !in {
			starts = append(starts, i)
		}
		in = !space
	}
	if in {
		ends = append(ends, len(text))
	}
	for at := 0; at < len(starts); at += passageStep {
		last := min(at+passageWords, len(starts))
		f(starts[at], ends[last-1])
		if last == len(starts) {
			return
		}
	}
}
