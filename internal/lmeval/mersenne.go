package lmeval

import (
	"math"
	"math/bits"
)

// mersenne is the generator of Python's random module, MT19937, with what random.Random(seed) and
// sample make of it, so that the few-shot examples of the harness's default sampler are the same.
// Sources: Matsumoto and Nishimura, "Mersenne Twister" (1998), and the documented behaviour of
// CPython's random module.
type mersenne struct {
	mt [624]uint32
	i  int
}

// newMersenne seeds as random.Random(seed) does for a seed of 32 bits.
func newMersenne(seed uint32) *mersenne {
	m := &mersenne{}
	m.init(19650218)
	// init_by_array with the key [seed].
	i := 1
	for range len(m.mt) {
		m.mt[i] = (m.mt[i] ^ (m.mt[i-1]^m.mt[i-1]>>30)*1664525) + seed
		if i++; i >= len(m.mt) {
			m.mt[0] = m.mt[len(m.mt)-1]
			i = 1
		}
	}
	for range len(m.mt) - 1 {
		m.mt[i] = (m.mt[i] ^ (m.mt[i-1]^m.mt[i-1]>>30)*1566083941) - uint32(i)
		if i++; i >= len(m.mt) {
			m.mt[0] = m.mt[len(m.mt)-1]
			i = 1
		}
	}
	m.mt[0] = 0x80000000
	return m
}

func (m *mersenne) init(seed uint32) {
	m.mt[0] = seed
	for i := 1; i < len(m.mt); i++ {
		m.mt[i] = 1812433253*(m.mt[i-1]^m.mt[i-1]>>30) + uint32(i)
	}
	m.i = len(m.mt)
}

// next returns 32 random bits.
func (m *mersenne) next() uint32 {
	if m.i >= len(m.mt) {
		for k := range m.mt {
			y := m.mt[k]&0x80000000 | m.mt[(k+1)%624]&0x7fffffff
			m.mt[k] = m.mt[(k+397)%624] ^ y>>1 ^ (y&1)*0x9908b0df
		}
		m.i = 0
	}
	y := m.mt[m.i]
	m.i++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// below returns a number from 0 to n-1, for n from 1 to 2³²-1.
func (m *mersenne) below(n int) int {
	k := bits.Len(uint(n))
	for {
		if r := int(m.next() >> (32 - k)); r < n {
			return r
		}
	}
}

// sample draws k of the numbers from 0 to n-1 without putting any back, as random.sample does.
func (m *mersenne) sample(n, k int) []int {
	out := make([]int, k)
	most := 21
	if k > 5 {
		most += int(math.Pow(4, math.Ceil(math.Log(float64(k*3))/math.Log(4))))
	}
	if n <= most { // a small population is drawn from a copy of it
		pool := make([]int, n)
		for i := range pool {
			pool[i] = i
		}
		for i := range out {
			j := m.below(n - i)
			out[i] = pool[j]
			pool[j] = pool[n-i-1]
		}
		return out
	}
	taken := make(map[int]bool, k)
	for i := range out {
		j := m.below(n)
		for taken[j] {
			j = m.below(n)
		}
		taken[j] = true
		out[i] = j
	}
	return out
}
