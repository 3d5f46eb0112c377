package compare

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// table holds what both runs' samples say, by case in the base's order, as numbers and hashes only.
type table struct {
	base, head *side
	pairs      []record.SnapshotPair
	opts       *Options
	// averaged says that the runs have different numbers of repeats: a case then counts once, with the mean of its
	// repeats. Otherwise repeat is paired with repeat.
	averaged bool

	index map[string]int32
	cases []caseRow
	// expected is how many cases the base says it has, up to a bound: there is room for them from the beginning, which
	// takes less than growing does.
	expected int
	// tags and groups number the heads' sets of tags and both runs' groups.
	tags      map[string]uint16
	tagSets   [][]uint16
	tagNames  []string
	tagSetOf  map[string]int32
	groups    map[string]int32
	regrouped int
	noTags    int // cases whose tags are beyond the bound

	onlyHead    int
	onlyHeadIDs []string
	changedIDs  []string
	changed     int
}

// caseRow is what is known of a case of the base.
type caseRow struct {
	id    string
	input uint64
	// group and tagSet are the head's; group is -1 for a case of its own. baseGroup is the base's.
	group, baseGroup, tagSet int32
	inHead, changed          bool
	critical, excluded       bool
}

func (c *caseRow) paired() bool { return c.inHead && !c.changed && !c.excluded }

// side is one run as the table holds it.
type side struct {
	*Side
	which   string
	repeats int
	// pairOf finds the pair of a snapshot's provider and prompt; -1 for one that is not compared.
	pairOf map[[2]string]int
	reader metric.Reader
	halves []*half // by pair
}

// half is what one snapshot contributes. A slot is a case and a repeat.
type half struct {
	columns  []*column // by number of the side's reader
	verdicts []uint8   // 1 + verdict of each case and repeat; 0 for none
	judges   []uint32  // hash of the names of the scores of each case; 0 for none
}

// column is one metric of one half.
type column struct {
	y     []float64 // sums over the observations of each slot
	w     []float64 // sums of weights, for ratios only
	n     []uint16  // observations
	stats []float64
	width int
	bad   int // vectors of another length
}

func newTable(base, head *Side, pairs []record.SnapshotPair, opts *Options) *table {
	t := &table{
		pairs: pairs, opts: opts, index: map[string]int32{}, tags: map[string]uint16{}, tagSetOf: map[string]int32{}, groups: map[string]int32{},
		averaged: repeats(base.Run) != repeats(head.Run),
	}
	for _, tag := range opts.Tags {
		if _, known := t.tags[tag]; !known && len(t.tagNames) < maxTags {
			t.tags[tag] = uint16(len(t.tagNames))
			t.tagNames = append(t.tagNames, tag)
		}
	}
	t.base, t.head = newSide(base, "base", pairs), newSide(head, "head", pairs)
	t.expected = max(0, min(base.Run.Dataset.Cases, base.Run.Summary.Finished, maxExpected))
	t.cases = make([]caseRow, 0, t.expected)
	return t
}

// maxExpected bounds the room that is taken on a run's word.
const maxExpected = 1 << 20

// room is how many cases there must be room for.
func (t *table) room() int { return max(len(t.cases), t.expected) }

func newSide(s *Side, which string, pairs []record.SnapshotPair) *side {
	out := &side{Side: s, which: which, repeats: repeats(s.Run), pairOf: map[[2]string]int{}}
	for i := range s.Run.Snapshots {
		snap := &s.Run.Snapshots[i]
		out.pairOf[[2]string{snap.Provider, snap.Prompt}] = slices.IndexFunc(pairs, func(p record.SnapshotPair) bool {
			if which == "base" {
				return p.Base == Label(snap)
			}
			return p.Head == Label(snap)
		})
	}
	for range pairs {
		out.halves = append(out.halves, &half{})
	}
	return out
}

// read passes over both runs once, the base first.
func (t *table) read() error {
	seen := 0
	var row *caseRow // of the case at hand
	var last string
	var at int32
	for _, s := range []*side{t.base, t.head} {
		last, row = "", nil
		source := s.Numbers
		if source == nil {
			source = s.Samples
		}
		for sample, err := range source() {
			if err != nil {
				return err
			}
			if seen++; seen%512 == 0 && t.opts.Progress != nil {
				t.opts.Progress(seen)
			}
			pair, ok := s.pairOf[[2]string{sample.Provider, sample.Prompt}]
			if !ok {
				return s.strange(&sample, "belongs to no snapshot of the run: %q", sample.Provider+" · "+sample.Prompt)
			}
			if pair < 0 {
				continue
			}
			if sample.Case != last || last == "" {
				last = sample.Case
				if at, row, err = t.enter(s, &sample); err != nil {
					return err
				}
			}
			if row == nil || row.changed {
				continue
			}
			if err := t.add(s, pair, int(at), &sample); err != nil {
				return err
			}
		}
	}
	t.index = nil // no case is looked up any more
	return nil
}

func (s *side) strange(sample *record.Sample, format string, args ...any) error {
	return &config.Error{Pos: config.Pos{File: s.Name}, Problem: fmt.Sprintf("a sample of case %q ", sample.Case) + fmt.Sprintf(format, args...),
		Want: "the samples that telltale run wrote"}
}

// enter finds the row of a case whose first sample is at hand; nil for a case that only the head has.
func (t *table) enter(s *side, sample *record.Sample) (int32, *caseRow, error) {
	at, known := t.index[sample.Case]
	input, err := s.input(sample)
	if err != nil {
		return 0, nil, err
	}
	if s.which == "base" {
		if !known {
			at = int32(len(t.cases))
			t.index[sample.Case] = at
			t.cases = append(t.cases, caseRow{id: sample.Case, input: input, group: -1, baseGroup: t.group(sample.Group), tagSet: -1,
				excluded: t.excludes(sample)})
		}
		return at, &t.cases[at], nil
	}
	if !known {
		t.onlyHead++
		t.onlyHeadIDs = note(t.onlyHeadIDs, sample.Case)
		// Its further samples come right after it, so it is counted once.
		return 0, nil, nil
	}
	row := &t.cases[at]
	if row.inHead {
		return at, row, nil
	}
	row.inHead, row.critical = true, sample.Critical
	row.excluded = row.excluded || t.excludes(sample)
	row.group, row.tagSet = t.group(sample.Group), t.tagSet(sample.Tags)
	if row.input != input {
		row.changed = true
		t.changed++
		t.changedIDs = note(t.changedIDs, sample.Case)
	} else if row.group != row.baseGroup {
		t.regrouped++
	}
	return at, row, nil
}

func (s *side) input(sample *record.Sample) (uint64, error) {
	var hash string
	if s.Inputs == nil {
		hash = record.HashVars(sample.Vars)
	} else {
		var ok bool
		if hash, ok = s.Inputs(sample.Case); !ok {
			return 0, s.strange(sample, "has no hash of its input")
		}
	}
	x, err := strconv.ParseUint(hash, 16, 64)
	if err != nil {
		return 0, s.strange(sample, "has %q as the hash of its input", hash)
	}
	return x, nil
}

// maxNoted bounds the ids that a comparison names.
const maxNoted = 100

func note(ids []string, id string) []string {
	if len(ids) < maxNoted {
		ids = append(ids, id)
	}
	return ids
}

func (t *table) group(name string) int32 {
	if name == "" {
		return -1
	}
	id, ok := t.groups[name]
	if !ok {
		id = int32(len(t.groups))
		t.groups[name] = id
	}
	return id
}

// maxTags bounds the slices, as it bounds the tags that have metrics of their own; knownTags those that are told apart, from which
// the most frequent are chosen.
const (
	maxTags   = 100
	knownTags = 1 << 15
)

// tagSet numbers a set of tags; -1 for none.
func (t *table) tagSet(tags []string) int32 {
	if len(tags) == 0 {
		return -1
	}
	key := fmt.Sprintf("%q", tags)
	id, ok := t.tagSetOf[key]
	if !ok {
		var set []uint16
		for i, tag := range tags {
			if slices.Contains(tags[:i], tag) {
				continue
			}
			n, known := t.tags[tag]
			if !known {
				if len(t.tagNames) >= knownTags {
					t.noTags++
					continue
				}
				n = uint16(len(t.tagNames))
				t.tags[tag] = n
				t.tagNames = append(t.tagNames, tag)
			}
			set = append(set, n)
		}
		id = int32(len(t.tagSets))
		t.tagSetOf[key] = id
		t.tagSets = append(t.tagSets, set)
	}
	return id
}

// add enters one sample of a case that both runs have, or that the base has and the head may have.
func (t *table) add(s *side, pair, at int, sample *record.Sample) error {
	if sample.Repeat < 0 || sample.Repeat >= s.repeats {
		return s.strange(sample, "is repeat %d of %d", sample.Repeat, s.repeats)
	}
	h := s.halves[pair]
	cell := at*s.repeats + sample.Repeat
	h.verdicts = grow(h.verdicts, t.room()*s.repeats)
	if h.verdicts[cell] != 0 {
		return s.strange(sample, "is there twice: repeat %d of %s", sample.Repeat, sample.Provider+" · "+sample.Prompt)
	}
	h.verdicts[cell] = 1 + uint8(metric.Verdict(sample))
	h.judges = grow(h.judges, t.room())
	if names := judges(sample); names != 0 && sample.Error == "" {
		h.judges[at] = names
	}
	numbers, err := s.reader.Read(sample)
	if err != nil {
		return err
	}
	for i := range numbers {
		n := &numbers[i]
		for len(h.columns) <= n.Metric {
			h.columns = append(h.columns, nil)
		}
		if h.columns[n.Metric] == nil {
			h.columns[n.Metric] = &column{}
		}
		h.columns[n.Metric].add(cell, t.room()*s.repeats, n)
	}
	return nil
}

// judges hashes the names and types of the scores that a sample has; 0 for a sample without scores.
func judges(s *record.Sample) uint32 {
	if len(s.Scores) == 0 {
		return 0
	}
	h := fnv.New32a()
	for i := range s.Scores {
		_, _ = h.Write([]byte(s.Scores[i].Name))
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(s.Scores[i].Type))
		_, _ = h.Write([]byte{0})
	}
	return max(h.Sum32(), 1)
}

func (c *column) add(slot, slots int, n *metric.Number) {
	if len(n.Stats) > 0 {
		if c.width == 0 {
			c.width = len(n.Stats)
		}
		if c.width != len(n.Stats) {
			c.bad++
			return
		}
		c.stats = grow(c.stats, slots*c.width)
		for i, x := range n.Stats {
			c.stats[slot*c.width+i] += x
		}
	} else {
		c.y = grow(c.y, slots)
		c.y[slot] += n.Value
	}
	c.n = grow(c.n, slots)
	if n.Weight != 1 && c.w == nil {
		// What came before had a weight of 1 for each observation.
		c.w = make([]float64, len(c.n))
		for i, k := range c.n {
			c.w[i] = float64(k)
		}
	}
	if c.w != nil {
		c.w = grow(c.w, slots)
		c.w[slot] += n.Weight
	}
	c.n[slot] = min(c.n[slot]+1, 1<<15)
}

// grow lengthens s to n.
func grow[T any](s []T, n int) []T {
	if len(s) >= n {
		return s
	}
	if cap(s) < n {
		s = slices.Grow(s, max(n-len(s), len(s)/4))
	}
	return s[:n]
}

// excludes says whether the caller leaves a case out, by what either side says of it.
func (t *table) excludes(sample *record.Sample) bool {
	return t.opts.Exclude != nil && t.opts.Exclude(sample.Case, sample.Tags)
}

func (t *table) pairing() record.Pairing {
	p := record.Pairing{OnlyHead: t.onlyHead, OnlyHeadIDs: t.onlyHeadIDs, Changed: t.changed, ChangedIDs: t.changedIDs}
	for i := range t.cases {
		switch c := &t.cases[i]; {
		case c.paired():
			p.Paired++
		case c.excluded:
			p.Excluded++
		case !c.inHead:
			p.OnlyBase++
			p.OnlyBaseIDs = note(p.OnlyBaseIDs, c.id)
		}
	}
	return p
}

func (t *table) warnings() []string {
	var out []string
	if t.averaged {
		out = append(out, fmt.Sprintf("the base has %d samples of a case and the head %d: the repeats of a case are averaged", t.base.repeats, t.head.repeats))
	}
	if t.regrouped > 0 {
		out = append(out, fmt.Sprintf("%d cases are in another group than in the base; the head's groups are the clusters", t.regrouped))
	}
	if t.noTags > 0 {
		out = append(out, fmt.Sprintf("cases have more than %d tags, and later ones are not looked at", knownTags))
	}
	return out
}

// verdictOf is the verdict of a cell; ok is false when there is no sample.
func (h *half) verdictOf(cell int) (v verdict.Verdict, ok bool) {
	if cell >= len(h.verdicts) || h.verdicts[cell] == 0 {
		return verdict.Undecided, false
	}
	return verdict.Verdict(h.verdicts[cell] - 1), true
}

// judgedAlike refuses the pass rate and the score when paired cases have other assertions than they had.
func (t *table) judgedAlike(names []string) error {
	if !slices.Contains(names, record.MetricPassRate) && !slices.Contains(names, record.MetricScore) {
		return nil
	}
	other, first := 0, ""
	for i := range t.cases {
		if !t.cases[i].paired() {
			continue
		}
		for p := range t.pairs {
			b, h := t.base.halves[p].judges, t.head.halves[p].judges
			if i < len(b) && i < len(h) && b[i] != 0 && h[i] != 0 && b[i] != h[i] {
				if other++; other == 1 {
					first = t.cases[i].id
				}
				break
			}
		}
	}
	if other == 0 {
		return nil
	}
	return &config.Error{
		Problem: fmt.Sprintf("pass_rate and score cannot be compared: %d of the paired cases, the first of them %q, have other assertions in the head than in the base", other, first),
		Hint:    "run the base again with the present suite, or compare other metrics with --metric NAME",
	}
}
