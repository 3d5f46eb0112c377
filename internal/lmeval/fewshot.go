package lmeval

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/telltale-llm/telltale/internal/config"
)

// shotSeed is the seed that the harness gives to its few-shot sampler (--seed's third part).
const shotSeed = 1234

// fewshot draws the examples of each document. The harness draws them one document after the other
// from one generator, so that what document n gets depends on all documents before it; the draws are
// kept, about 4 bytes an example. It is safe for concurrent use.
type fewshot struct {
	pos         config.Pos
	pool        []map[string]any
	n           int
	firstN      bool
	excludeSelf bool

	mu     sync.Mutex
	random *mersenne
	drawn  [][]uint32
}

func newFewshot(t *Task, pool []map[string]any) (*fewshot, error) {
	f := &fewshot{pos: t.Pos.At("num_fewshot"), pool: pool, n: t.shots, firstN: t.firstN, excludeSelf: t.excludeSelf, random: newMersenne(shotSeed)}
	need := f.n
	if f.excludeSelf && !f.firstN {
		need++ // one is drawn more, in case the document itself is among them
	}
	if len(pool) < need {
		return nil, &config.Error{Pos: f.pos, Value: fmt.Sprint(f.n), Problem: fmt.Sprintf("the few-shot split has %d documents", len(pool)), Want: fmt.Sprintf("at least %d", need)}
	}
	return f, nil
}

// draw returns the examples of document n. Documents must first be asked for in their order.
func (f *fewshot) draw(n int, doc map[string]any) ([]map[string]any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case n > len(f.drawn):
		return nil, fmt.Errorf("lmeval: document %d before document %d", n, len(f.drawn))
	case n == len(f.drawn):
		picked, err := f.pick(doc)
		if err != nil {
			return nil, err
		}
		f.drawn = append(f.drawn, picked)
	}
	out := make([]map[string]any, f.n)
	for i, k := range f.drawn[n] {
		out[i] = f.pool[k]
	}
	return out, nil
}

func (f *fewshot) pick(doc map[string]any) ([]uint32, error) {
	var drawn []int
	switch {
	case f.firstN:
		for i := range f.pool {
			if len(drawn) == f.n {
				break
			}
			if !f.excludeSelf || !same(f.pool[i], doc) {
				drawn = append(drawn, i)
			}
		}
	case !f.excludeSelf || len(doc) == 0:
		drawn = f.random.sample(len(f.pool), f.n)
	default:
		for _, i := range f.random.sample(len(f.pool), f.n+1) {
			if !same(f.pool[i], doc) && len(drawn) < f.n {
				drawn = append(drawn, i)
			}
		}
		if len(drawn) < f.n { // the document is in the pool more than once
			drawn = f.again(doc)
		}
	}
	if len(drawn) < f.n {
		return nil, &config.Error{Pos: f.pos, Value: fmt.Sprint(f.n), Problem: "the few-shot split has too few documents besides the one that is asked", Want: "more documents"}
	}
	out := make([]uint32, f.n)
	for i, k := range drawn {
		out[i] = uint32(k)
	}
	return out, nil
}

// again draws from the pool without any copy of the document.
func (f *fewshot) again(doc map[string]any) []int {
	var rest []int
	for i := range f.pool {
		if !same(f.pool[i], doc) {
			rest = append(rest, i)
		}
	}
	if len(rest) < f.n {
		return nil
	}
	drawn := f.random.sample(len(rest), f.n)
	for i, k := range drawn {
		drawn[i] = rest[k]
	}
	return drawn
}

// same compares documents as they were read, which for documents of one source is what Python does.
func same(a, b map[string]any) bool { return reflect.DeepEqual(a, b) }
