package duckdb

import "sync"

// seen tells keys that were certainly never stored from those that may have been: a Bloom filter in blocks of one cache
// line, so that a look-up costs one miss. Layers are added as it fills, up to a bound; after that the last one overfills and
// answers "maybe" more often. It has no say until everything stored has been added: ready.
type seen struct {
	mu     sync.RWMutex
	ready  bool
	bound  int // bytes of all layers
	bytes  int
	layers []layer
}

type layer struct {
	blocks []block
	keys   int
	room   int
}

type block [8]uint64

const (
	bitsPerKey = 24 // one wrong "maybe" in about 5,000
	firstRoom  = 1 << 20
)

func newSeen(bound int) *seen { return &seen{bound: bound} }

// reserve makes room for so many keys at once.
func (s *seen) reserve(keys int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grow(keys)
}

func (s *seen) grow(keys int) {
	n := keys * bitsPerKey / 512
	if rest := (s.bound - s.bytes) / 64; n > rest {
		n = rest
	}
	if n < 1 {
		if len(s.layers) > 0 {
			return
		}
		n = 1
	}
	s.layers = append(s.layers, layer{blocks: make([]block, n), room: n * 512 / bitsPerKey})
	s.bytes += n * 64
}

// add adds keys.
func (s *seen) add(keys []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if n := len(s.layers); n == 0 || s.layers[n-1].keys >= s.layers[n-1].room {
			room := firstRoom
			if n > 0 {
				room = 2 * s.layers[n-1].room
			}
			s.grow(room)
		}
		l := &s.layers[len(s.layers)-1]
		l.keys++
		b, bits := l.place(key)
		for range 7 {
			b[bits>>6&7] |= 1 << (bits & 63)
			bits >>= 9
		}
	}
}

// maybe appends those of the keys to out that may have been added, as indexes.
func (s *seen) maybe(keys []int64, out []int) []int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, key := range keys {
		if !s.ready || s.has(key) {
			out = append(out, i)
		}
	}
	return out
}

func (s *seen) has(key int64) bool {
next:
	for i := range s.layers {
		b, bits := s.layers[i].place(key)
		for range 7 {
			if b[bits>>6&7]&(1<<(bits&63)) == 0 {
				continue next
			}
			bits >>= 9
		}
		return true
	}
	return false
}

func (s *seen) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
}

// place is the key's block, by its upper half, and the seven places of nine bits in it, by a second mix of all of it.
func (l *layer) place(key int64) (*block, uint64) {
	k := uint64(key)
	at := (k >> 32) * uint64(len(l.blocks)) >> 32
	k = (k ^ k>>33) * 0xff51afd7ed558ccd
	return &l.blocks[at], k ^ k>>29
}
