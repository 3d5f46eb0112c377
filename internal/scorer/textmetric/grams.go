package textmetric

// grams holds the n-grams of one reference, or of several with each n-gram's largest count in any
// one of them. An n-gram is a node of a trie, reached from the node of its first n−1 tokens, so
// that orders 1 to max are counted in one walk and compared exactly, without building keys.
// It is read-only once built.
type grams struct {
	order int // the highest
	next  pairTable
	count []int32 // by node; node 0 is the root
}

// newGrams returns the n-grams up to the given order of texts, given as token numbers.
func newGrams(order int, texts ...[]int32) *grams {
	size := 0
	for _, t := range texts {
		size += len(t) * order
	}
	g := &grams{order: order, next: newPairTable(size), count: make([]int32, 1, size+1)}
	var own []int32
	for _, t := range texts {
		own = append(own[:0], make([]int32, len(g.count))...)
		for i := range t {
			node := int32(0)
			for n := 0; n < order && i+n < len(t); n++ {
				node = g.next.putIfAbsent(pair(node, t[i+n]), int32(len(g.count)))
				if int(node) == len(g.count) {
					g.count = append(g.count, 0)
					own = append(own, 0)
				}
				own[node]++
				g.count[node] = max(g.count[node], own[node])
			}
		}
	}
	return g
}

// matches adds to m[n-1] the number of n-grams of text that g holds too, each at most as often as
// g holds it, for every order n. A token number below 0 is one that no reference has.
func (g *grams) matches(text []int32, m []float64) {
	seen := make([]int32, len(g.count))
	for i := range text {
		node := int32(0)
		for n := 0; n < g.order && i+n < len(text) && text[i+n] >= 0; n++ {
			if node = g.next.get(pair(node, text[i+n])); node == 0 {
				break
			}
			if seen[node] < g.count[node] {
				m[n]++
			}
			seen[node]++
		}
	}
}

// gramCount returns how many n-grams a text of length tokens has.
func gramCount(length, n int) int {
	return max(0, length-n+1)
}

func pair(node, token int32) uint64 { return uint64(uint32(node))<<32 | uint64(uint32(token)) }

// pairTable maps pairs to node numbers above 0: open addressing, never resized. It exists because
// nearly all the time of chrF goes into such look-ups, and the built-in map is several times slower.
type pairTable struct {
	keys  []uint64
	nodes []int32
	shift uint
}

// newPairTable returns a table for at most size pairs.
func newPairTable(size int) pairTable {
	bits := uint(3)
	for 1<<bits < size+size/2+1 {
		bits++
	}
	return pairTable{keys: make([]uint64, 1<<bits), nodes: make([]int32, 1<<bits), shift: 64 - bits}
}

// slot returns the first slot to try: a finalizer that spreads all bits of the key.
func (t *pairTable) slot(key uint64) uint64 {
	key ^= key >> 32
	key *= 0xd6e8feb86659fd93
	key ^= key >> 32
	key *= 0xd6e8feb86659fd93
	return key >> t.shift
}

func (t *pairTable) get(key uint64) int32 {
	mask := uint64(len(t.nodes) - 1)
	for i := t.slot(key); ; i = (i + 1) & mask {
		if t.nodes[i] == 0 || t.keys[i] == key {
			return t.nodes[i]
		}
	}
}

func (t *pairTable) putIfAbsent(key uint64, node int32) int32 {
	mask := uint64(len(t.nodes) - 1)
	for i := t.slot(key); ; i = (i + 1) & mask {
		if t.nodes[i] == 0 {
			t.keys[i], t.nodes[i] = key, node
			return node
		}
		if t.keys[i] == key {
			return t.nodes[i]
		}
	}
}

// vocab numbers the distinct tokens of the references from 0.
type vocab map[string]int32

// add returns the numbers of tokens, making new ones where needed.
func (v vocab) add(tokens []string) []int32 {
	out := make([]int32, len(tokens))
	for i, t := range tokens {
		id, ok := v[t]
		if !ok {
			id = int32(len(v))
			v[t] = id
		}
		out[i] = id
	}
	return out
}

// find returns the numbers of tokens, -1 for those that no reference has.
func (v vocab) find(tokens []string) []int32 {
	out := make([]int32, len(tokens))
	for i, t := range tokens {
		id, ok := v[t]
		if !ok {
			id = -1
		}
		out[i] = id
	}
	return out
}
