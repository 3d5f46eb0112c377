package privacy

import (
	"strings"
	"sync"
)

// clean remembers texts in which nothing was found, of the kind that is the same in many exchanges: names of models, prompts of
// applications. It is safe for concurrent use.
type clean struct {
	mu         sync.RWMutex
	now, older map[string]struct{}
	bytes      int // of now
}

// What clean holds at most, twice: so many texts, and so many bytes of them.
const (
	mostClean      = 1024
	mostCleanBytes = 1 << 20
)

func (c *clean) has(s string) bool {
	c.mu.RLock()
	_, ok := c.now[s]
	if ok {
		c.mu.RUnlock()
		return true
	}
	_, ok = c.older[s]
	c.mu.RUnlock()
	if ok {
		c.add(s) // it would be forgotten with the others
	}
	return ok
}

func (c *clean) add(s string) {
	if len(s) > mostCleanBytes/16 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil || len(c.now) >= mostClean || c.bytes+len(s) > mostCleanBytes {
		c.older, c.now, c.bytes = c.now, make(map[string]struct{}), 0
	}
	if _, ok := c.now[s]; !ok {
		c.now[s] = struct{}{}
		c.bytes += len(s)
	}
}

// frequent is value for a text that many exchanges have.
func (p *pass) frequent(f field, s string) string {
	if s == "" || p.rules.redactor.ner != nil || p.rules.untouched(f) {
		return p.value(f, s)
	}
	if p.rules.clean.has(s) {
		return s
	}
	before := p.found.sum()
	out := p.value(f, s)
	if out == s && p.found.sum() == before {
		p.rules.clean.add(strings.Clone(s)) // s may be a part of a whole request
	}
	return out
}

// sum is how much was found.
func (f Found) sum() int {
	n := 0
	for _, k := range f {
		n += k
	}
	return n
}
