package duckdb

import (
	"fmt"
	"testing"

	"github.com/telltale-llm/telltale/internal/store"
)

func TestSeen(t *testing.T) {
	f := func(bound, keys int, wrong float64) {
		t.Helper()
		s := newSeen(bound)
		key := func(i int) int64 { return store.KeyOf(fmt.Sprint(i)) }
		batch := make([]int64, keys)
		for i := range batch {
			batch[i] = key(i)
		}
		if n := len(s.maybe(batch[:100], nil)); n != 100 {
			t.Errorf("a filter that is not ready ruled out %d keys", 100-n)
		}
		s.add(batch)
		s.done()
		if n := len(s.maybe(batch, nil)); n != keys {
			t.Errorf("%d of %d keys that were added are unknown", keys-n, keys)
		}
		if s.bytes > bound {
			t.Errorf("%d bytes, bound %d", s.bytes, bound)
		}
		for i := range batch {
			batch[i] = key(keys + i)
		}
		if rate := float64(len(s.maybe(batch, nil))) / float64(keys); rate > wrong {
			t.Errorf("bound %d, %d keys: %.5f wrong, want at most %g", bound, keys, rate, wrong)
		}
	}
	f(128<<20, 100_000, .001)
	f(128<<20, 3_000_000, .001) // two layers
	f(64<<10, 100_000, 1)       // overfilled: never wrong about a known key
}

func BenchmarkSeen(b *testing.B) {
	s := newSeen(128 << 20)
	keys := make([]int64, 10_000)
	for i := range keys {
		keys[i] = store.KeyOf(fmt.Sprint(i))
	}
	s.done()
	for b.Loop() {
		s.add(keys)
		s.maybe(keys, nil)
	}
}
