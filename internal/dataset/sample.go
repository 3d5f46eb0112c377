package dataset

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
)

// sampler keeps the n cases whose hash of seed and id is smallest. Which they are does not depend on
// the order of the rows, and a smaller sample is a part of a larger one with the same seed.
type sampler struct {
	n    int
	seed [8]byte
	buf  []byte
	h    ticketHeap
}

// ticket is a case in the draw: 128 bits of SHA-256(seed, id), the number of the row and its digest.
type ticket struct {
	hi, lo uint64
	row    int
	digest [32]byte
}

func (a *ticket) less(b *ticket) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func newSampler(n int, seed int64) *sampler {
	s := &sampler{n: n}
	binary.BigEndian.PutUint64(s.seed[:], uint64(seed))
	return s
}

func (s *sampler) offer(row int, id string, digest [32]byte) {
	s.buf = append(append(s.buf[:0], s.seed[:]...), id...)
	sum := sha256.Sum256(s.buf)
	t := ticket{hi: binary.BigEndian.Uint64(sum[:8]), lo: binary.BigEndian.Uint64(sum[8:16]), row: row, digest: digest}
	switch {
	case len(s.h) < s.n:
		heap.Push(&s.h, t)
	case t.less(&s.h[0]):
		s.h[0] = t
		heap.Fix(&s.h, 0)
	}
}

// finish writes the digests of the chosen cases in file order and returns their rows.
func (s *sampler) finish(sum hash.Hash) []int {
	slices.SortFunc(s.h, func(a, b ticket) int { return a.row - b.row })
	rows := make([]int, len(s.h))
	for i := range s.h {
		rows[i] = s.h[i].row
		sum.Write(s.h[i].digest[:])
	}
	return rows
}

// ticketHeap has the largest ticket on top.
type ticketHeap []ticket

func (h ticketHeap) Len() int           { return len(h) }
func (h ticketHeap) Less(i, j int) bool { return h[j].less(&h[i]) }
func (h ticketHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *ticketHeap) Push(x any) { *h = append(*h, x.(ticket)) }

// Pop implements heap.Interface.
func (h *ticketHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	return t
}
