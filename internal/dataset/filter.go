package dataset

import (
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// filter keeps cases by tag.
type filter struct{ all, none []string }

func newFilter(pos config.Pos, tags []string) (filter, error) {
	var f filter
	for _, t := range tags {
		name, exclude := strings.CutPrefix(strings.TrimSpace(t), "!")
		name = strings.TrimSpace(name)
		if name == "" {
			return f, &config.Error{Pos: pos.At("filter"), Value: t, Problem: "empty tag", Want: "a tag, or !tag to leave it out"}
		}
		if exclude {
			f.none = append(f.none, name)
		} else {
			f.all = append(f.all, name)
		}
	}
	return f, nil
}

func (f *filter) match(tags []string) bool {
	for _, t := range f.all {
		if !slices.Contains(tags, t) {
			return false
		}
	}
	for _, t := range f.none {
		if slices.Contains(tags, t) {
			return false
		}
	}
	return true
}
