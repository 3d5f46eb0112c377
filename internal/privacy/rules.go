package privacy

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/scorer/leak"
)

// mode is what is done to a value.
type mode uint8

const (
	unset mode = iota
	mask
	remove
	pseudonym
	keep
)

var modeNames = map[string]mode{"": unset, "mask": mask, "remove": remove, "pseudonym": pseudonym, "keep": keep}

// rules are those of one route.
type rules struct {
	redactor *Redactor
	personal *leak.Personal
	secrets  *leak.Secrets
	patterns []pattern
	words    *dictionary
	modes    []layer // the first that says something counts
	fields   map[string]field
	clean    *clean
}

// layer is what one section says about modes: the route's before the server's.
type layer struct {
	fields, kinds map[string]mode
	all           mode
}

// with returns the rules of a section on top of those of base, which is nil for the server's own.
func (rs rules) with(cfg config.Privacy, base *rules, kinds []string, errs *config.Errors) *rules {
	own := layer{fields: map[string]mode{}, kinds: map[string]mode{}, all: modeNames[cfg.Mode]}
	names := append(slices.Clone(kinds), leak.NationalID)
	for kind, m := range cfg.Kinds {
		if !slices.Contains(names, kind) {
			e := &config.Error{Pos: cfg.Pos.At("kinds." + kind), Value: kind, Problem: "there is no such kind", Want: strings.Join(names, ", ")}
			if best := config.Nearest(kind, names); best != "" {
				e.Hint, e.Want = "did you mean "+best+"?", ""
			}
			*errs = append(*errs, e)
		}
		own.kinds[kind] = modeNames[m]
	}
	for field, m := range cfg.Fields {
		own.fields[field] = modeNames[m]
	}
	var lists []config.PrivacyWords
	for _, x := range cfg.Patterns {
		re, err := regexp.Compile(x.Pattern)
		if err != nil {
			*errs = append(*errs, &config.Error{Pos: x.Pos.At("pattern"), Value: x.Pattern, Problem: "not a regular expression", Err: err})
			continue
		}
		rs.patterns = append(rs.patterns, pattern{x.Name, re})
		if x.Mode != "" {
			own.kinds[x.Name] = modeNames[x.Mode]
		}
	}
	for _, x := range cfg.Words {
		lists = append(lists, x)
		if x.Mode != "" {
			own.kinds[x.Name] = modeNames[x.Mode]
		}
	}
	rs.modes = []layer{own}
	if base != nil {
		rs.modes = append(rs.modes, base.modes...)
		rs.patterns = append(rs.patterns, base.patterns...)
		if base.words != nil {
			lists = append(lists, base.words.lists...)
		}
	}
	if len(lists) > 0 {
		rs.words = newDictionary(lists)
	}
	for _, l := range rs.modes {
		asks := l.all == pseudonym
		for _, m := range l.kinds {
			asks = asks || m == pseudonym
		}
		for _, m := range l.fields {
			asks = asks || m == pseudonym
		}
		if asks && (len(rs.redactor.keys) == 0) {
			*errs = append(*errs, &config.Error{Pos: cfg.Pos, Problem: "pseudonyms are asked for and there is no key to make them with", Want: "key_env or key_file"})
			break
		}
	}
	rs.clean = new(clean)
	fields := map[string]field{}
	for _, name := range append([]string{"", "params", "tags"}, config.PrivacyFields...) {
		fields[name] = rs.field(name)
	}
	rs.fields = fields
	return &rs
}

// field is a field of an exchange with what a route says about it.
type field struct {
	name string
	mode []mode // by layer
}

func (rs *rules) field(name string) field {
	if f, ok := rs.fields[name]; ok {
		return f
	}
	f := field{name: name, mode: make([]mode, len(rs.modes))}
	for i, l := range rs.modes {
		m := l.fields[name]
		if name == "body" && m == unset {
			// The request holds both the system's text and the input: it takes the mode that both have.
			if both := l.fields["input"]; both == l.fields["system"] {
				m = both
			}
		}
		f.mode[i] = m
	}
	return f
}

// fixed is the field's own mode; unset when it has none.
func (f field) fixed() mode {
	for _, m := range f.mode {
		if m != unset {
			return m
		}
	}
	return unset
}

// untouched says whether the field is to be left as it is, whatever is in it.
func (rs *rules) untouched(f field) bool {
	if f.fixed() == unset {
		return false
	}
	for i, l := range rs.modes {
		if f.mode[i] != unset {
			return f.mode[i] == keep
		}
		if l.all != unset || len(l.kinds) > 0 {
			return false
		}
	}
	return false
}

// modeOf is what is done to a finding. A route's word counts before the server's, and within each the field's
// before the kind's before that for all.
func (rs *rules) modeOf(f field, kind string) mode {
	for i, l := range rs.modes {
		if f.mode[i] != unset {
			return f.mode[i]
		}
		if m := l.kinds[kind]; m != unset {
			return m
		}
		if m := l.kinds[leak.NationalID]; m != unset && national(kind) {
			return m
		}
		if l.all != unset {
			return l.all
		}
	}
	return mask
}

// national says whether a kind is a national identity number: they are named by their country.
func national(kind string) bool {
	return len(kind) > 3 && kind[2] == '-' && slices.Contains(nationalKinds, kind)
}

var nationalKinds = slices.DeleteFunc(leak.PersonalTypes(), func(t string) bool { return len(t) < 4 || t[2] != '-' })

// finding is one thing found in a text, text[start:end].
type finding struct {
	kind       string
	start, end int
	rank       int // the lower is the more certain
}

// Ranks of findings that overlap. Package leak has settled those of persons among themselves.
const (
	rankOwn = iota
	rankSecret
	rankChecked
	rankPhone
	rankService
)

// settle keeps the most certain of findings that overlap, then the longest, in the order of the text.
func settle(found []finding) []finding {
	if len(found) < 2 {
		return found
	}
	slices.SortFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.end-b.start, a.end-a.start), cmp.Compare(a.start, b.start), cmp.Compare(a.kind, b.kind))
	})
	// The bytes that winners cover are marked, so that a text full of findings takes no longer than its length asks.
	last := 0
	for _, f := range found {
		last = max(last, f.end)
	}
	taken := make([]bool, last)
	var out []finding
	for _, f := range found {
		if slices.Contains(taken[f.start:f.end], true) {
			continue
		}
		for i := f.start; i < f.end; i++ {
			taken[i] = true
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b finding) int { return cmp.Compare(a.start, b.start) })
	return out
}
