package metric

import (
	"fmt"
	"sort"
)

// problems counts observations that could not be used, by metric and kind of problem.
type problems struct {
	order  []string
	counts map[string]*problem
}

type problem struct {
	first string
	n     int
}

func (p *problems) add(metric, what, where string) {
	key := fmt.Sprintf("metric %q: %s", metric, what)
	if e, ok := p.counts[key]; ok {
		e.n++
		return
	}
	if len(p.order) >= maxProblems {
		return
	}
	if p.counts == nil {
		p.counts = map[string]*problem{}
	}
	p.order = append(p.order, key)
	p.counts[key] = &problem{first: where, n: 1}
}

func (p *problems) list() []string {
	out := make([]string, 0, len(p.order))
	for _, key := range p.order {
		e := p.counts[key]
		out = append(out, fmt.Sprintf("%s (%d×, first in %s)", key, e.n, e.first))
	}
	sort.Strings(out)
	return out
}

// clone returns a copy that shares nothing.
func (p *problems) clone() *problems {
	c := &problems{order: append([]string(nil), p.order...), counts: make(map[string]*problem, len(p.counts))}
	for key, e := range p.counts {
		one := *e
		c.counts[key] = &one
	}
	return c
}
