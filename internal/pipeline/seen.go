package pipeline

import (
	"hash/maphash"

	"github.com/telltale-llm/telltale/internal/record"
)

// seen remembers the ids of exchanges that were counted, and in which batch: the last one to two million of them, in
// about 50 MB. It is used by one goroutine.
type seen struct {
	seed       maphash.Seed
	now, older map[uint64]uint64 // hash of an id to the hash of its batch
}

const seenSize = 1 << 20

func newSeen() *seen { return &seen{seed: maphash.MakeSeed(), now: map[uint64]uint64{}} }

// has says whether the id was counted in another batch.
func (s *seen) has(batch, id string) bool {
	h := maphash.String(s.seed, id)
	in, ok := s.now[h]
	if !ok {
		in, ok = s.older[h]
	}
	return ok && in != maphash.String(s.seed, batch)
}

func (s *seen) any(batch string, xs []record.Exchange) bool {
	for i := range xs {
		if s.has(batch, xs[i].ID) {
			return true
		}
	}
	return false
}

func (s *seen) add(batch string, xs []record.Exchange) {
	b := maphash.String(s.seed, batch)
	for i := range xs {
		if len(s.now) >= seenSize {
			s.older, s.now = s.now, map[uint64]uint64{}
		}
		s.now[maphash.String(s.seed, xs[i].ID)] = b
	}
}
