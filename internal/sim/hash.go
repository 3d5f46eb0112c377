package sim

import (
	"math/bits"

	"github.com/telltale-llm/telltale/internal/record"
)

// purpose separates the decisions taken from one key, so that they are independent.
type purpose uint64

const (
	forFault purpose = iota + 1
	forSpike
	forTTFT
	forPerToken
	forVariant
	forSum
	forSumError
	forLength
	forWord
	forStep
	forWording
	forField
	forLogprob
	forAlternative
	forEmbedding
	forModeration
	forID
	forSlow
)

const (
	mulA = 0x9e3779b97f4a7c15
	mulB = 0xd6e8feb86659fd93
)

// mix folds v into h; the result is spread over all 64 bits.
func mix(h, v uint64) uint64 {
	hi, lo := bits.Mul64(h^mulA, v^mulB)
	h ^= hi ^ lo ^ v
	h ^= h >> 32
	h *= mulB
	h ^= h >> 29
	h *= mulA
	return h ^ h>>32
}

// hashString folds s into h, eight bytes at a time.
func hashString(h uint64, s string) uint64 {
	n := uint64(len(s))
	for len(s) >= 8 {
		v := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		h = (h ^ v) * mulA
		h ^= h >> 31
		s = s[8:]
	}
	var v uint64
	for i := range len(s) {
		v |= uint64(s[i]) << (8 * i)
	}
	return mix(h^v, n)
}

// hashMessages is the content's part of every key: roles, texts and image URLs in order.
func hashMessages(h uint64, ms []record.Message) uint64 {
	for i := range ms {
		m := &ms[i]
		h = hashString(h, m.Role)
		h = hashString(h, m.Text())
		for _, p := range m.Parts {
			if p.ImageURL != "" {
				h = hashString(h, p.ImageURL)
			}
		}
	}
	return h
}

// draw returns a number in [0, 1) that is fixed by key, purpose and index.
func draw(key uint64, p purpose, i int) float64 {
	return unit(mix(mix(key, uint64(p)), uint64(i)))
}

// pick returns an index below n that is fixed by key, purpose and index.
func pick(key uint64, p purpose, i, n int) int {
	return int(draw(key, p, i) * float64(n))
}

func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }
