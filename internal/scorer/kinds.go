package scorer

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// kindTable is every Kind, sorted by name, and where to find it by name or alias.
type kindTable struct {
	kinds  []Kind
	byName map[string]int
	names  []string // names and aliases, sorted
}

// table is built at first use and never changes.
var table = sync.OnceValue(func() *kindTable {
	t := &kindTable{byName: map[string]int{}}
	t.kinds = slices.Concat(textKinds(), structureKinds(), invariantKinds(), operationalKinds(), celKinds(), referenceKinds(), ifevalKinds(), execKinds(),
		likelihoodKinds(), semanticKinds(), safetyKinds(), judgeKinds(), toolKinds(), markupKinds(), codeKinds(), compositeKinds(), calibrationKinds(), comparisonKinds(), harnessKinds(), goldenKinds())
	slices.SortFunc(t.kinds, func(a, b Kind) int { return strings.Compare(a.Name, b.Name) })
	for i, k := range t.kinds {
		for _, name := range append([]string{k.Name}, k.Aliases...) {
			if _, taken := t.byName[name]; taken {
				panic(fmt.Sprintf("scorer: two kinds are called %q", name))
			}
			t.byName[name] = i
			t.names = append(t.names, name)
		}
	}
	slices.Sort(t.names)
	return t
})

// Kinds returns every kind of assertion, sorted by name.
func Kinds() []Kind { return slices.Clone(table().kinds) }

// Lookup returns the Kind of that name or alias, without a not- prefix.
func Lookup(name string) (Kind, bool) {
	t := table()
	i, ok := t.byName[name]
	if !ok {
		return Kind{}, false
	}
	return t.kinds[i], true
}

// Nearest returns the known name or alias that name was probably meant to be, or "".
func Nearest(name string) string {
	name = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(name), "_", "-"))
	best, bestD := "", len(name)/3+1
	for _, known := range table().names {
		if d := distance([]rune(name), []rune(known)); d < bestD {
			best, bestD = known, d
		}
	}
	return best
}

// Assertion types of promptfoo that telltale knows of but does not run, by what they would need.
// Names that end in ":" or "-" stand for everything that begins so.
var unsupported = [...]struct {
	why   string
	names []string
}{
	{"needs a judge of a kind that telltale does not have; llm-rubric may do", []string{
		"agent-rubric", "search-rubric", "research-rubric", "video-rubric", "conversation-relevance", "citation-faithfulness", "noise-sensitivity",
		"pi", "trajectory:goal-success",
	}},
	{"needs a classifier or guardrails of the provider, which telltale does not run yet; see toxicity, moderation and pii", []string{"classifier", "guardrails", "guardrail"}},
	{"runs code that telltale does not run; write the check as cel, or as a program for exec", []string{"ruby", "webhook"}},
	{"needs the skills that an agent reports, which telltale does not record", []string{"skill-used"}},
	{"needs traces of the system under test, which telltale does not record yet", []string{"trajectory:", "trace-"}},
	{"reads traces in promptfoo; for the provider's own count use tokens with a threshold", []string{"tokens-used"}},
	{"belongs to promptfoo's own red-team service", []string{"promptfoo:"}},
	{"is a grade given by hand in promptfoo's web page", []string{"human"}},
}

// Unsupported says whether name, without a not- prefix, is an assertion type of promptfoo that
// telltale cannot run, and why.
func Unsupported(name string) (why string, ok bool) {
	if _, known := Lookup(name); known {
		return "", false
	}
	for _, group := range unsupported {
		for _, n := range group.names {
			open := strings.HasSuffix(n, ":") || strings.HasSuffix(n, "-")
			if name == n || open && strings.HasPrefix(name, n) {
				return group.why, true
			}
		}
	}
	return "", false
}
