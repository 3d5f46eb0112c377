package metric

import (
	"fmt"
	"slices"

	"github.com/telltale-llm/telltale/internal/record"
)

// slice is the part of a run whose cases have one tag.
type slice struct {
	parts []*scope // by snapshot
	whole *scope   // nil for a single snapshot
}

// slice returns the slice of a tag; nil when there are too many tags to keep another.
func (a *Aggregator) slice(tag string) *slice {
	if s, ok := a.tags[tag]; ok {
		return s
	}
	if len(a.tags) >= maxTags {
		a.problems.add("by_tag", fmt.Sprintf("cases had more than %d tags, and later ones have no metrics", maxTags), "tag "+tag)
		return nil
	}
	s := &slice{}
	for range a.opts.Snapshots {
		s.parts = append(s.parts, newScope())
	}
	if a.opts.Snapshots > 1 {
		s.whole = newScope()
	}
	a.tags[tag] = s
	return s
}

// enter collects the scopes that a sample belongs to.
func (a *Aggregator) enter(snapshot int, tags []string) {
	a.at = append(a.at[:0], a.parts[snapshot])
	if a.whole != nil {
		a.at = append(a.at, a.whole)
	}
	for i, tag := range tags {
		if slices.Contains(tags[:i], tag) {
			continue
		}
		s := a.slice(tag)
		if s == nil {
			continue
		}
		a.at = append(a.at, s.parts[snapshot])
		if s.whole != nil {
			a.at = append(a.at, s.whole)
		}
	}
}

// finishTags publishes the slices that the plan or a sample has. What is wrong with an observation has
// been said of the whole run.
func (a *Aggregator) finishTags(p Plan, r *Result) {
	found := &problems{}
	for range a.parts {
		r.SnapshotTags = append(r.SnapshotTags, map[string]map[string]record.Metric{})
	}
	for tag, s := range a.tags {
		planned, known := p.tag(tag, len(s.parts))
		all, seen := 0, 0
		for i, sc := range s.parts {
			all += planned[i]
			seen += sc.samples
		}
		if !known && seen == 0 {
			continue
		}
		if r.Tags == nil {
			r.Tags = map[string]map[string]record.Metric{}
		}
		for i, sc := range s.parts {
			r.SnapshotTags[i][tag] = a.metrics(found, sc, max(planned[i]-sc.samples, 0))
		}
		if s.whole != nil {
			r.Tags[tag] = a.metrics(found, s.whole, max(all-seen, 0))
		} else {
			r.Tags[tag] = r.SnapshotTags[0][tag]
		}
	}
}

// tag returns how many samples with a tag are planned of each snapshot; known is false for a tag that the
// plan does not have.
func (p *Plan) tag(tag string, snapshots int) (planned []int, known bool) {
	planned = make([]int, snapshots)
	for i := range min(snapshots, len(p.Tags)) {
		n, has := p.Tags[i][tag]
		planned[i], known = n, known || has
	}
	return planned, known
}
