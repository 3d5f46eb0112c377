package compare

import (
	"cmp"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// How much of a flipped sample is kept, in bytes.
const (
	outputBytes = 2000
	inputBytes  = 1000
	reasonBytes = 400
)

// flipped is a paired sample whose verdict changed.
type flipped struct {
	at       int32
	pair     int
	repeat   int
	from, to verdict.Verdict
	critical bool
}

// rank puts newly failing samples first, then those that lost their verdict, then the others.
func (f *flipped) rank() int {
	switch {
	case f.from == verdict.Pass && f.to == verdict.Fail:
		return 0
	case decided(f.from) && !decided(f.to):
		return 1
	case f.from == verdict.Fail && f.to == verdict.Pass:
		return 2
	}
	return 3
}

func decided(v verdict.Verdict) bool { return v == verdict.Pass || v == verdict.Fail }

// flips counts the paired samples by what became of them, lists those that changed, and fetches what was asked and
// answered in these.
func (t *table) flips(c *record.Comparison) error {
	var list []flipped
	repeats := min(t.base.repeats, t.head.repeats)
	for at := range t.cases {
		row := &t.cases[at]
		if !row.paired() {
			continue
		}
		for pair := range t.pairs {
			for repeat := range repeats {
				from, okB := t.base.halves[pair].verdictOf(at*t.base.repeats + repeat)
				to, okH := t.head.halves[pair].verdictOf(at*t.head.repeats + repeat)
				if !okB || !okH {
					continue
				}
				f := flipped{int32(at), pair, repeat, from, to, row.critical}
				if count(&c.Counts, &f) {
					list = append(list, f)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b flipped) int {
		if d := cmp.Compare(a.rank(), b.rank()); d != 0 {
			return d
		}
		if a.critical != b.critical {
			if a.critical {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.pair, b.pair), cmp.Compare(a.repeat, b.repeat))
	})
	if len(list) > record.MaxFlips {
		list = list[:record.MaxFlips]
	}
	if len(list) == 0 {
		return nil
	}
	wanted := map[string][]int{}
	c.Flips = make([]record.Flip, len(list))
	for i, f := range list {
		id := t.cases[f.at].id
		wanted[id] = append(wanted[id], i)
		c.Flips[i] = record.Flip{Case: id, Pair: f.pair, Repeat: f.repeat, Critical: f.critical, From: f.from.String(), To: f.to.String(), NoOutput: t.base.NoOutputs}
	}
	err := fetch(t.base, wanted, c.Flips, func(f *record.Flip, s *record.Sample) {
		f.BaseOutput, f.BaseReason = config.Clip(s.Output, outputBytes), reasons(s)
	})
	if err != nil {
		return err
	}
	return fetch(t.head, wanted, c.Flips, func(f *record.Flip, s *record.Sample) {
		f.HeadOutput, f.HeadReason = config.Clip(s.Output, outputBytes), reasons(s)
		f.Description, f.Tags = s.Description, s.Tags
		if n := len(s.Input); n > 0 {
			f.Input = config.Clip(s.Input[n-1].Text(), inputBytes)
		}
	})
}

// count adds a sample to the counts and reports whether its verdict changed.
func count(c *record.FlipCounts, f *flipped) bool {
	switch {
	case f.from == f.to:
		c.Same++
		return false
	case decided(f.from) && decided(f.to) && f.to == verdict.Fail:
		c.Worse++
	case decided(f.from) && decided(f.to):
		c.Improved++
	case decided(f.from):
		c.ToError++
	case decided(f.to):
		c.FromError++
	default:
		c.Same++ // from an error to no verdict, or back: none of them is one
		return false
	}
	return true
}

// fetch reads the samples again and hands over those that are wanted. It ends when it has them all.
func fetch(s *side, wanted map[string][]int, list []record.Flip, fill func(*record.Flip, *record.Sample)) error {
	left := len(list)
	for sample, err := range s.Samples() {
		if err != nil {
			return err
		}
		for _, i := range wanted[sample.Case] {
			f := &list[i]
			if pair, ok := s.pairOf[[2]string{sample.Provider, sample.Prompt}]; ok && pair == f.Pair && sample.Repeat == f.Repeat {
				fill(f, &sample)
				left--
			}
		}
		if left == 0 {
			return nil
		}
	}
	return nil
}

// reasons says why a sample is not a pass.
func reasons(s *record.Sample) string {
	if s.Error != "" {
		return config.Clip(s.Error, reasonBytes)
	}
	var out []string
	for i := range s.Scores {
		score := &s.Scores[i]
		switch {
		case score.Error != "":
			out = append(out, score.Name+": "+score.Error)
		case score.Pass != nil && !*score.Pass:
			out = append(out, score.Name+": "+score.Reason)
		}
	}
	return config.Clip(strings.Join(out, "; "), reasonBytes)
}
