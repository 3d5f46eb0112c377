package language

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync"
)

// gen.go makes it: go run gen.go -from LANGDETECT_FOLDER -out profiles.bin.gz

// profiles holds the n-gram frequencies of every language; gen.go describes the layout.
//
//go:embed profiles.bin.gz
var profiles []byte

// levels is the number of steps per halving in which a frequency is stored; a step is 1.1%.
const levels = 64

// span is the range of a table's entries that belongs to one n-gram.
type span struct{ start, end uint32 }

// table gives the frequency of each n-gram in each language that has it.
type table struct {
	codes []string // sorted
	grams map[gram]span
	lang  []uint8   // index into codes
	freq  []float32 // share among the language's n-grams of that length
	kanji map[rune]rune
}

// load returns the tables. What is embedded was made by gen.go and is covered by the tests, so
// that an error here is a broken build.
var load = sync.OnceValue(func() *table {
	t, err := decode(profiles)
	if err != nil {
		panic(fmt.Sprintf("language: profiles.bin.gz: %v", err))
	}
	return t
})

// decode reads what gen.go wrote.
func decode(compressed []byte) (*table, error) {
	z, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	r := reader{b: raw}
	t := &table{kanji: map[rune]rune{}}
	for range r.uvarint() {
		t.codes = append(t.codes, string(r.bytes(r.uvarint())))
	}
	for range r.uvarint() {
		first := rune(r.uvarint())
		for range r.uvarint() {
			t.kanji[rune(r.uvarint())] = first
		}
	}
	n, total := r.uvarint(), r.uvarint()
	if r.failed || n > len(raw) || total > len(raw) {
		return nil, fmt.Errorf("damaged header")
	}
	names := reader{b: r.bytes(r.uvarint())}
	counts, langs := r.bytes(n), r.bytes(total)
	high, low := r.bytes(total), r.bytes(total)
	if r.failed {
		return nil, fmt.Errorf("cut short")
	}
	t.grams = make(map[gram]span, n)
	t.lang = make([]uint8, total)
	t.freq = make([]float32, total)
	var name []rune
	k := uint32(0)
	for _, count := range counts {
		shared := names.uvarint()
		name = append(name[:min(shared, len(name))], []rune(string(names.bytes(names.uvarint())))...)
		var g gram
		for _, c := range name {
			g = g<<21 | gram(c)
		}
		t.grams[g] = span{k, k + uint32(count)}
		lang := -1
		for range count {
			lang += int(langs[k])
			t.lang[k] = uint8(lang)
			t.freq[k] = float32(math.Exp2(-float64(int(high[k])<<8|int(low[k])) / levels))
			k++
		}
	}
	if names.failed || int(k) != total {
		return nil, fmt.Errorf("%d entries, want %d", k, total)
	}
	return t, nil
}

// reader reads varints and byte strings; it remembers that it ran out.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) uvarint() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxInt32 {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.failed = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}
