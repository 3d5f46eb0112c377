package compare

import (
	"cmp"
	"hash/fnv"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// estimator makes the differences of a comparison.
type estimator struct {
	table *table
	opts  *Options
	head  *record.Run
}

// job is one difference to be made.
type job struct {
	name string
	pair int
	tag  int // -1 for all cases
}

// all makes the differences of each pair over all cases and over those of each tag. The result does not depend on
// how many processors share the work.
func (e *estimator) all(names []string, tags []int) (whole, slices []record.Difference) {
	var jobs []job
	for pair := range e.table.pairs {
		for _, name := range names {
			jobs = append(jobs, job{name, pair, -1})
		}
	}
	n := len(jobs)
	for pair := range e.table.pairs {
		for _, tag := range tags {
			for _, name := range names {
				if e.head.Metrics[name].Kind != kindDerived {
					jobs = append(jobs, job{name, pair, tag})
				}
			}
		}
	}
	base, head := byName(&e.table.base.reader), byName(&e.table.head.reader)
	out := make([]record.Difference, len(jobs))
	var next atomic.Int64
	var work sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		work.Go(func() {
			g := &gatherer{t: e.table}
			for {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) {
					return
				}
				out[i] = e.difference(g, jobs[i], base, head)
			}
		})
	}
	work.Wait()
	return out[:n:n], out[n:]
}

// tags are the tags of paired cases, in the order in which they came, without those that all paired cases have, for
// their slice is the whole; but with those that were asked for. Of more than maxTags the most frequent are taken, and more
// says how many are not.
func (e *estimator) tags() (out []int, more int) {
	t := e.table
	count := make([]int, len(t.tagNames))
	paired := 0
	for i := range t.cases {
		row := &t.cases[i]
		if !row.paired() {
			continue
		}
		paired++
		if row.tagSet >= 0 {
			for _, tag := range t.tagSets[row.tagSet] {
				count[tag]++
			}
		}
	}
	asked := func(tag int) int {
		if slices.Contains(e.opts.Tags, t.tagNames[tag]) {
			return 1
		}
		return 0
	}
	for tag, n := range count {
		if n > 0 && (n < paired || asked(tag) > 0) {
			out = append(out, tag)
		}
	}
	if more = len(out) - maxTags; more <= 0 {
		return out, 0
	}
	slices.SortStableFunc(out, func(x, y int) int { return cmp.Or(asked(y)-asked(x), count[y]-count[x]) })
	out = out[:maxTags]
	slices.Sort(out)
	return out, more
}

func byName(r *metric.Reader) map[string]int {
	out := map[string]int{}
	for i := range r.Len() {
		out[r.Definition(i).Name] = i
	}
	return out
}

func (h *half) column(id int, known bool) *column {
	if !known || id >= len(h.columns) {
		return nil
	}
	return h.columns[id]
}

func (e *estimator) difference(x *gatherer, j job, base, head map[string]int) record.Difference {
	m := e.head.Metrics[j.name]
	d := record.Difference{Metric: j.name, Pair: j.pair, Kind: m.Kind, Unit: m.Unit, Signature: m.Signature, Better: metric.Better(j.name, m.Unit)}
	if b, ok := e.opts.Better[j.name]; ok {
		d.Better = b
	}
	if m.Kind == kindDerived {
		// Which way is better is not known of a formula.
		d.Better = e.opts.Better[j.name]
		d.Why = "it is computed from other metrics and has no observations of its own to pair"
		return d
	}
	keep := func(*caseRow) bool { return true }
	if j.tag >= 0 {
		d.Tag = e.table.tagNames[j.tag]
		keep = func(row *caseRow) bool {
			return row.tagSet >= 0 && containsTag(e.table.tagSets[row.tagSet], uint16(j.tag))
		}
	}
	idB, okB := base[j.name]
	idH, okH := head[j.name]
	var kind string
	switch {
	case okB && okH:
		kb, kh := e.table.base.reader.Definition(idB), e.table.head.reader.Definition(idH)
		kind = kb.Kind
		if metric.IsCorpus(kb.Kind) != metric.IsCorpus(kh.Kind) || metric.IsCorpus(kb.Kind) && kb.Kind != kh.Kind {
			d.Why = "its observations are of kind " + kb.Kind + " in the base and " + kh.Kind + " in the head"
			return d
		}
	case okB:
		kind = e.table.base.reader.Definition(idB).Kind
	case okH:
		kind = e.table.head.reader.Definition(idH).Kind
	}
	g := x.gather(j.pair, e.table.base.halves[j.pair].column(idB, okB), e.table.head.halves[j.pair].column(idH, okH), keep)
	d.Missing, d.Pairs, d.Clusters = g.missing, g.cases, len(g.base)
	if g.cases == 0 {
		d.Why = "no paired case has an observation in both runs"
		return d
	}
	one := &estimate{d: &d, g: g, opts: e.opts, draws: stats.Draws{Seed: e.seed(j)}}
	if finisher, ok := strings.CutPrefix(kind, "corpus/"); ok {
		one.corpus(finisher)
	} else {
		one.ratio()
	}
	return d
}

func containsTag(set []uint16, tag uint16) bool {
	for _, t := range set {
		if t == tag {
			return true
		}
	}
	return false
}

// seed depends on what is estimated, so that a number does not change with what else is compared.
func (e *estimator) seed(j job) uint64 {
	h := fnv.New64a()
	tag := ""
	if j.tag >= 0 {
		tag = e.table.tagNames[j.tag]
	}
	for _, s := range []string{j.name, tag, e.table.pairs[j.pair].BaseID, e.table.pairs[j.pair].HeadID} {
		_, _ = h.Write([]byte(s))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64() ^ e.opts.Seed
}
