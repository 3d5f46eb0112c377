// Package guard is the fast hotfix of a route: it changes requests on their way to a model, and looks for what must not be
// in the answers while they pass.
//
// A config.Guard is compiled once by New. The gateway gives each request to Request, and each answer of status 200 to an
// Answer, piece by piece as it comes, and passes on what it gets back. An answer in which nothing is found passes byte for
// byte. A streamed one is held back only as far as what has come may still turn out to be a finding, event by event; what
// the bound is depends on the filters and is written in docs/guards.md. Nothing found is ever reported, only how often and
// by which filter.
//
// It sends nothing itself, starts nothing, and reads no clock: asking a model again is what it asks its caller for, in a
// Verdict. It is not for deciding whether an answer is good, which scorers do, nor for redacting what is kept, which is
// package privacy's work.
package guard

import (
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/scorer/leak"
)

// Guard is a compiled guard. It is immutable and safe for concurrent use.
type Guard struct {
	c      config.Guard
	rules  rules
	schema *jsonschema.Schema // nil for none
	caps   []limit
}

// New compiles a guard. The error is config.Errors.
func New(c config.Guard) (*Guard, error) {
	g := &Guard{c: c}
	var errs config.Errors
	refuse := func(p config.Pos, value, problem, want string) {
		errs = append(errs, &config.Error{Pos: p, Value: value, Problem: problem, Want: want})
	}
	t := newTrie()
	for i := range c.Filters {
		f := &c.Filters[i]
		g.rules.list = append(g.rules.list, rule{f.Name, f.Action, f.Otherwise, f.Replacement, f.Ask})
		for _, p := range f.Phrases {
			if !t.add(p, i, f.Words) {
				refuse(f.Pos.At("phrases"), p, "nothing of the phrase can be seen", "letters, digits or signs")
			}
		}
		for _, s := range f.Patterns {
			p, err := newPattern(s, i, f.Window, "")
			if err != nil {
				refuse(f.Pos.At("patterns"), s, "not a regular expression", "RE2 syntax")
				continue
			}
			g.rules.patterns = append(g.rules.patterns, p)
		}
		if err := g.finder(i, f); err != nil {
			refuse(f.Pos.At("pii"), strings.Join(f.PII, ", "), err.Error(), "all, or of "+strings.Join(append(leak.PersonalTypes(), leak.NationalID), ", "))
		}
	}
	if len(t.nodes) > 1 {
		g.rules.phrases = t
	}
	g.rules.close()
	if len(c.Schema) > 0 {
		var err error
		if g.schema, err = compileSchema(c.Schema); err != nil {
			refuse(c.SchemaPos, "", err.Error(), "a JSON Schema that holds all it refers to")
		}
	}
	g.caps = limits(c.Caps)
	g.checkTexts(refuse)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return g, nil
}

// finder compiles what a filter looks for that has a form.
func (g *Guard) finder(i int, f *config.OutputFilter) error {
	if len(f.PII) == 0 && !f.Secrets {
		return nil
	}
	find := &finder{rule: i, window: max(f.Window, leastForFinder), lead: shortWord, thorough: f.Thorough}
	if f.Thorough {
		find.lead = f.Window / 4
	}
	var err error
	if len(f.PII) > 0 {
		o := leak.PersonalOptions{Types: f.PII, Regions: f.Regions, Thorough: f.Thorough, Reserved: true}
		if len(f.PII) == 1 && f.PII[0] == "all" {
			o.Types = nil
		}
		if find.personal, err = leak.NewPersonal(o); err != nil {
			return err
		}
	}
	if f.Secrets {
		if find.secrets, err = leak.NewSecrets(nil); err != nil {
			return err
		}
		p, err := newPattern(privateKey, i, leastForKey, kindSecret)
		if err != nil {
			return fmt.Errorf("the pattern of private keys: %w", err)
		}
		g.rules.patterns = append(g.rules.patterns, p)
	}
	g.rules.finders = append(g.rules.finders, find)
	return nil
}

// leastForKey is the window of the pattern of private keys: its first line fits.
const leastForKey = 256

// checkTexts refuses what the guard itself would write and then find.
func (g *Guard) checkTexts(refuse func(p config.Pos, value, problem, want string)) {
	if i, _ := g.search(g.c.Refusal); i >= 0 {
		refuse(g.c.Pos.At("refusal"), "", "the filter "+g.rules.list[i].name+" finds something in the refusal", "a text that no filter finds anything in")
	}
	for i := range g.c.Filters {
		f := &g.c.Filters[i]
		if f.Replacement == "" {
			continue
		}
		if !strings.ContainsFunc(f.Replacement, func(r rune) bool { return !space(r) && !unseen(r) }) {
			refuse(f.Pos.At("replacement"), f.Replacement, "nothing of it can be seen", "a text, so that what is before and behind does not grow together")
		}
		if k, _ := g.search(f.Replacement); k >= 0 {
			refuse(f.Pos.At("replacement"), f.Replacement, "the filter "+g.rules.list[k].name+" finds something in it", "a text that no filter finds anything in")
		}
	}
}

// finding is a watcher that remembers the first rule.
type finding struct {
	rule  int
	count int
}

func (w *finding) found(rule int, _ string, _ bool) {
	if w.count++; w.count == 1 {
		w.rule = rule
	}
}

func (w *finding) undecidable(Failure) {}

// search returns the first filter that finds something in a text, or -1, and how often anything is found.
func (g *Guard) search(s string) (rule, count int) {
	w := &finding{rule: -1}
	f := newFilter(&g.rules, w, false)
	f.take([]byte(s))
	f.flush()
	return w.rule, w.count
}

// Name is the guard's name, Version the user's version of it, and ID identifies what it does.
func (g *Guard) Name() string { return g.c.Name }

// Version is the user's version of the guard.
func (g *Guard) Version() string { return g.c.Version }

// ID identifies what the guard does: 16 hex digits.
func (g *Guard) ID() string { return g.c.ID }

// Reads says whether answers have to go through an Answer. The upstream must then be asked for an answer that is not
// compressed, and the answer's Content-Length does not hold any more.
func (g *Guard) Reads() bool { return !g.rules.empty() || g.schema != nil }

// Whole says that nothing of an answer is passed on before all of it has come, also of a stream.
func (g *Guard) Whole() bool { return g.schema != nil }

// Fallback returns the model that is to be asked when no upstream has answered, or the answer was an error; "" for none. A
// call that already went to it, as the Verdict before says, has none.
func (g *Guard) Fallback(before *Verdict) string {
	if g.on("error") && (before == nil || !before.tried.model) {
		return g.c.Fallback
	}
	return ""
}

func (g *Guard) on(what string) bool {
	for _, on := range g.c.FallbackOn {
		if on == what {
			return true
		}
	}
	return false
}

// stand is what takes the place of a span.
func (g *Guard) stand(x span) string {
	if x.rule >= 0 && g.rules.list[x.rule].replacement != "" {
		return g.rules.list[x.rule].replacement
	}
	if x.kind != "" {
		return "[" + strings.ToUpper(strings.ReplaceAll(x.kind, "-", "_")) + "]"
	}
	return "[REMOVED]"
}

// Text returns a whole text as the guard lets it through, and what it would do. Blocked texts come back as the refusal, and so do
// those of which nothing is passed on.
func (g *Guard) Text(s string) (string, Report) {
	c := g.Check(s, 0)[0]
	if c.Text == "" && s != "" {
		return g.c.Refusal, c.Report
	}
	return c.Text, c.Report
}

// errBody says that a request cannot be changed as the guard wants it.
var errBody = errors.New("the request's body is not a JSON object")
