package report

import (
	"iter"
	"math"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// maxTags and maxGroups bound the number of distinct tags and groups that are counted.
const (
	maxTags   = 500
	maxGroups = 500
)

// Tally counts samples by verdict.
type Tally struct {
	Passed, Failed, Errored, Undecided int
}

func (t *Tally) add(v verdict.Verdict) {
	switch v {
	case verdict.Pass:
		t.Passed++
	case verdict.Fail:
		t.Failed++
	case verdict.Error:
		t.Errored++
	default:
		t.Undecided++
	}
}

// Total is the number of samples counted.
func (t Tally) Total() int { return t.Passed + t.Failed + t.Errored + t.Undecided }

// less is the tally without a part of it.
func (t Tally) less(o Tally) Tally {
	return Tally{t.Passed - o.Passed, t.Failed - o.Failed, t.Errored - o.Errored, t.Undecided - o.Undecided}
}

// judged is the denominator of a pass rate; missing is what it leaves out.
func (t Tally) judged() int  { return t.Passed + t.Failed }
func (t Tally) missing() int { return t.Errored + t.Undecided }

func (t Tally) of(v verdict.Verdict) int {
	switch v {
	case verdict.Pass:
		return t.Passed
	case verdict.Fail:
		return t.Failed
	case verdict.Error:
		return t.Errored
	}
	return t.Undecided
}

// combo is a provider with a prompt: what JUnit shows as a test suite.
type combo struct{ provider, prompt string }

// slice is the tally of a part of the samples.
type slice[K comparable] struct {
	key K
	Tally
	// held is the part of the tally that is in quarantine, and of no rate.
	held Tally
}

// groups keeps tallies in the order in which their keys first appeared.
type groups[K comparable] struct {
	at   map[K]int
	list []slice[K]
}

// get returns the tally of k, or nil when there are limit others already; limit 0 is no limit.
func (s *groups[K]) get(k K, limit int) *Tally {
	i := s.index(k, limit)
	if i < 0 {
		return nil
	}
	return &s.list[i].Tally
}

// index is the place of k's tally in the list, or -1 when there are limit others already.
func (s *groups[K]) index(k K, limit int) int {
	i, ok := s.at[k]
	if !ok {
		if limit > 0 && len(s.list) >= limit {
			return -1
		}
		if s.at == nil {
			s.at = map[K]int{}
		}
		i = len(s.list)
		s.at[k] = i
		s.list = append(s.list, slice[K]{key: k})
	}
	return i
}

// scoreBins is the number of bins of the score histogram over 0 to 1; the last includes 1.
const scoreBins = 20

// Latencies are counted on a logarithmic scale, so that one pass needs no range beforehand: 32
// bins to a doubling, 2.2% wide, from a microsecond to more than a day.
const (
	latencyLow    = 1e-6
	latencyPerOct = 32
	latencyBins   = 37 * latencyPerOct
)

// latencyBin returns the bin of x seconds; the ends take what lies beyond.
func latencyBin(x float64) int {
	i := int(math.Floor(math.Log2(x/latencyLow) * latencyPerOct))
	return min(max(i, 0), latencyBins-1)
}

// latencyEdge is the lower edge of bin i in seconds.
func latencyEdge(i int) float64 {
	return latencyLow * math.Exp2(float64(i)/latencyPerOct)
}

// spend is what the samples of a combination used. Judging is what the scorers paid for.
type spend struct {
	prompt, completion int
	cost, judging      float64
	priced, unpriced   int
	cached             int
}

func (p *spend) add(s *record.Sample) {
	if u := s.Usage; u != nil {
		p.prompt += u.Prompt
		p.completion += u.Completion
	}
	if finite(s.Cost) {
		p.cost += *s.Cost
		p.priced++
	} else {
		p.unpriced++
	}
	if s.Cached {
		p.cached++
	}
	for i := range s.Scores {
		if c := s.Scores[i].Cost; finite(c) {
			p.judging += *c
		}
	}
}

// Digest is what reports need to know of all samples, in bounded memory.
type Digest struct {
	all       Tally
	held      Tally // of all: those in quarantine
	combos    groups[combo]
	spent     []spend // of each of combos
	tags      groups[string]
	moreTag   bool // there were more than maxTags tags
	clusters  groups[string]
	moreGroup bool // there were more than maxGroups groups
	spreads   []*spread
	spreadAt  map[string]*spread
	moreScore bool // there were more than maxSpreads scores

	scores  [scoreBins]Tally
	scored  int
	latency [latencyBins]int
	timed   int
	maxTime float64
	untimed int // samples from telltale's cache: their times are those of an earlier call

	kept keep
}

// Tally returns the counts over all samples.
func (d *Digest) Tally() Tally { return d.all }

// quantile returns the latency at q, to within a bin's width.
func (d *Digest) quantile(q float64) float64 {
	rank := int(math.Ceil(q * float64(d.timed)))
	seen := 0
	for i, n := range d.latency {
		if seen += n; seen >= rank && n > 0 {
			return math.Min(math.Sqrt(latencyEdge(i)*latencyEdge(i+1)), d.maxTime)
		}
	}
	return d.maxTime
}

// Collector makes a Digest of samples that are shown to it one by one, in plan order. It is not
// safe for concurrent use.
type Collector struct {
	d    Digest
	held *record.Quarantines
}

// NewCollector returns an empty Collector.
func NewCollector() *Collector { return &Collector{} }

// Hold names the cases in quarantine: their samples are counted and shown, and are part of no rate. It is called before
// the first Add; nil is none.
func (c *Collector) Hold(q *record.Quarantines) { c.held = q }

// Keeps says whether Add would keep a sample of this verdict for the reports to show. One that it would not
// keep needs neither variables nor messages.
func (c *Collector) Keeps(v verdict.Verdict) bool { return c.d.kept.takes(rank(v)) }

// Add counts s and keeps no reference to it.
func (c *Collector) Add(s *record.Sample) {
	d := &c.d
	d.all.add(s.Verdict)
	at := d.combos.index(combo{s.Provider, s.Prompt}, 0)
	d.combos.list[at].add(s.Verdict)
	if at == len(d.spent) {
		d.spent = append(d.spent, spend{})
	}
	d.spent[at].add(s)
	held := c.held.Holds(s.Case, s.Tags)
	if held {
		d.held.add(s.Verdict)
		d.combos.list[at].held.add(s.Verdict)
	} else {
		d.part(s)
	}
	d.values(s)
	if finite(s.Score) {
		bin := int(math.Floor(*s.Score * scoreBins))
		d.scores[min(max(bin, 0), scoreBins-1)].add(s.Verdict)
		d.scored++
	}
	switch {
	case !finite(s.Latency) || *s.Latency <= 0:
	case s.Cached:
		d.untimed++
	default:
		d.latency[latencyBin(*s.Latency)]++
		d.timed++
		d.maxTime = max(d.maxTime, *s.Latency)
	}
	d.kept.offer(s, d.all.Total(), held)
}

// part counts a sample for the tags and the group it belongs to.
func (d *Digest) part(s *record.Sample) {
	for _, tag := range s.Tags {
		if t := d.tags.get(tag, maxTags); t != nil {
			t.add(s.Verdict)
		} else {
			d.moreTag = true
		}
	}
	if s.Group != "" {
		if t := d.clusters.get(s.Group, maxGroups); t != nil {
			t.add(s.Verdict)
		} else {
			d.moreGroup = true
		}
	}
}

// values counts the values of a sample's scores by size.
func (d *Digest) values(s *record.Sample) {
	for i := range s.Scores {
		sc := &s.Scores[i]
		if !finite(sc.Value) {
			continue
		}
		name := label(sc)
		sp, ok := d.spreadAt[name]
		if !ok {
			if len(d.spreads) == maxSpreads {
				d.moreScore = true
				continue
			}
			if d.spreadAt == nil {
				d.spreadAt = map[string]*spread{}
			}
			name = strings.Clone(name)
			sp = &spread{name: name}
			d.spreadAt[name] = sp
			d.spreads = append(d.spreads, sp)
		}
		sp.add(*sc.Value, sc)
	}
}

// Digest returns what was collected; the Collector must not be used any more.
func (c *Collector) Digest() *Digest { return &c.d }

// digest makes the Digest of samples in one pass, without those in quarantine. It stops at the first error.
func digest(samples iter.Seq2[record.Sample, error], held *record.Quarantines) (*Digest, error) {
	c := NewCollector()
	c.Hold(held)
	for s, err := range samples {
		if err != nil {
			return nil, err
		}
		c.Add(&s)
	}
	return c.Digest(), nil
}
