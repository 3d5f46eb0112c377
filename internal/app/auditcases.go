package app

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// DefaultAuditCases is how many cases an audit of scorers tries, maxAuditPlaces how many assertions it lists at most.
const (
	DefaultAuditCases = 1000
	maxAuditPlaces    = 10_000
)

// drawn are the cases that an audit tries, with the outputs that are cut and swapped. Of more cases than are asked for, those
// with the lowest hashes of their ids are drawn, so that the same are drawn each time, whatever their order.
type drawn struct {
	most int // 0 for all
	all  int // cases seen
	list []drawnCase
	// good has the output of a case, at its place in list, by id.
	good map[string]string
	at   map[string]int
}

type drawnCase struct {
	id, hash, good string
	order          int
}

// add takes a case with the output that it holds itself.
func (d *drawn) add(id, good string) {
	d.all++
	one := drawnCase{id: id, good: good, order: d.all}
	if d.most > 0 {
		one.hash = record.HashBytes([]byte(id))
	}
	d.list = append(d.list, one)
	if d.most > 0 && len(d.list) >= 2*d.most {
		d.cut()
	}
}

func (d *drawn) cut() {
	if d.most == 0 || len(d.list) <= d.most {
		return
	}
	slices.SortFunc(d.list, func(a, b drawnCase) int {
		return cmp.Or(strings.Compare(a.hash, b.hash), cmp.Compare(a.order, b.order))
	})
	clear(d.list[d.most:])
	d.list = d.list[:d.most]
}

// finish puts what was drawn in order.
func (d *drawn) finish() {
	d.cut()
	slices.SortFunc(d.list, func(a, b drawnCase) int { return cmp.Compare(a.order, b.order) })
	d.good, d.at = make(map[string]string, len(d.list)), make(map[string]int, len(d.list))
	for i, c := range d.list {
		d.at[c.id] = i
	}
}

// keep remembers a case's output, the first that is not blank.
func (d *drawn) keep(id, output string) {
	if _, ok := d.at[id]; ok && d.good[id] == "" && strings.TrimSpace(output) != "" {
		d.good[id] = output
	}
}

// other is a good output of another case that differs from good; ok is false where there is none near.
func (d *drawn) other(id, good string) (output string, ok bool) {
	at, tried := d.at[id], 0
	for i := 1; i <= len(d.list) && tried < 20; i++ {
		other := d.good[d.list[(at+i)%len(d.list)].id]
		if other == "" {
			continue
		}
		if tried++; other != good {
			return other, true
		}
	}
	return "", false
}

// collect draws the cases and gathers the outputs that are truncated and swapped: those of the run, else those that the
// suite holds.
func (t *trial) collect(ctx context.Context, dir string) error {
	for c, err := range t.s.cases(ctx) {
		if err != nil {
			return err
		}
		t.drawn.add(c.ID, expected(&c))
	}
	t.drawn.finish()
	if dir != "" {
		f, err := OpenRun(dir)
		if err != nil {
			return err
		}
		for s, err := range ReadSamples(f.Dir) {
			if err != nil {
				return err
			}
			if s.Error == "" {
				t.drawn.keep(s.Case, s.Output)
			}
		}
	}
	for _, c := range t.drawn.list {
		t.drawn.keep(c.id, c.good)
	}
	return nil
}

// anyNew says whether a case that was not drawn has an assertion that is written in a place of its own.
func (t *trial) anyNew(checks []runner.Check) bool {
	return slices.ContainsFunc(checks, func(c runner.Check) bool {
		a, ok := c.(*scorer.Assertion)
		return ok && t.hasNew(a)
	})
}

func (t *trial) hasNew(a *scorer.Assertion) bool {
	return t.index[a.Pos()] == nil || slices.ContainsFunc(a.Parts(), t.hasNew)
}
