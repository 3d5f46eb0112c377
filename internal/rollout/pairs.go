package rollout

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
)

// pairs holds answers of a shadow stage until the other answer to the same request has come, a bounded number of them:
// the oldest is given up for a new one. Answers of the baseline that were never copied go that way.
type pairs struct {
	at    map[uint64]half
	order []uint64 // a ring of the keys as they came
	next  int
	most  int
}

// half is what the signals make of one of the two answers.
type half struct {
	shadow bool
	has    uint32    // signals that it says something of, by bit
	bad    []float64 // their badness, in the order of the bits
}

// At most mostPairs answers wait, and fewer where they hold more than mostNumbers numbers of signals.
const (
	mostPairs   = 1024
	mostNumbers = 8192
)

func newPairs(signals int) *pairs {
	return &pairs{at: map[uint64]half{}, most: min(mostPairs, mostNumbers/signals)}
}

func pairKey(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return max(h.Sum64(), 1)
}

// put keeps an answer; lost says that a shadow's was given up for it.
func (p *pairs) put(key uint64, one half) (lost bool) {
	if len(p.order) < p.most {
		p.order = append(p.order, key)
	} else {
		if old, ok := p.at[p.order[p.next]]; ok {
			lost = old.shadow
			delete(p.at, p.order[p.next])
		}
		p.order[p.next] = key
		p.next = (p.next + 1) % p.most
	}
	p.at[key] = one
	return lost
}

// take returns the other answer and forgets it.
func (p *pairs) take(key uint64, shadow bool) (half, bool) {
	one, ok := p.at[key]
	if !ok || one.shadow == shadow {
		return half{}, false
	}
	delete(p.at, key)
	return one, true
}

// value returns the badness of a signal.
func (h *half) value(signal int) (bad float64, ok bool) {
	if h.has&(1<<signal) == 0 {
		return 0, false
	}
	at := 0
	for i := range signal {
		if h.has&(1<<i) != 0 {
			at++
		}
	}
	return h.bad[at], true
}

type pairsState struct {
	Most  int         `json:"most"`
	Next  int         `json:"next"`
	Order []halfState `json:"order"`
}

// halfState is a place of the ring; Has is nil where the answer has gone.
type halfState struct {
	Key    uint64    `json:"k"`
	Shadow bool      `json:"s,omitempty"`
	Has    *uint32   `json:"h,omitempty"`
	Bad    []float64 `json:"b,omitempty"`
}

// MarshalJSON writes the answers in the order in which they came.
func (p pairs) MarshalJSON() ([]byte, error) {
	s := pairsState{Most: p.most, Next: p.next, Order: make([]halfState, len(p.order))}
	for i, key := range p.order {
		s.Order[i].Key = key
		if one, ok := p.at[key]; ok {
			s.Order[i] = halfState{key, one.shadow, &one.has, one.bad}
		}
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *pairs) UnmarshalJSON(data []byte) error {
	var s pairsState
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	if s.Most < 1 || s.Most > mostPairs || len(s.Order) > s.Most || s.Next < 0 || s.Next >= max(1, len(s.Order)) {
		return fmt.Errorf("pairs: %d at %d are not a state of them", len(s.Order), s.Next)
	}
	*p = pairs{at: make(map[uint64]half, len(s.Order)), next: s.Next, most: s.Most}
	for _, h := range s.Order {
		p.order = append(p.order, h.Key)
		if h.Has == nil {
			continue
		}
		n := 0
		for v := *h.Has; v != 0; v &= v - 1 {
			n++
		}
		if n != len(h.Bad) {
			return fmt.Errorf("pairs: %d values for %d signals", len(h.Bad), n)
		}
		p.at[h.Key] = half{h.Shadow, *h.Has, h.Bad}
	}
	return nil
}
