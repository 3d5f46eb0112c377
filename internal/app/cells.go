package app

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/runner"
)

// cells are the pairs of a provider and a prompt that cases may be asked in: those of the suite first,
// then those of providers that single tests bring along, as they are met in the scan. Once the scan has
// ended, pairs in which nothing is asked are dropped, and nothing is added any more.
type cells struct {
	prompts []*runner.Prompt
	list    []*cell
	// own holds the providers of single tests by what they say.
	own map[string]*opened
	// plain are the suite's own cells; index the places of all in the plan, -1 for none, nil before it is made.
	plain []int
	index []int
	// everywhere holds plain as places in the plan; nil before it is made.
	everywhere []int
	// repeats is the most answers that any case has; uneven says that a case has repeats of its own.
	repeats int
	uneven  bool
	// counted are the cases that are not in quarantine, clusters their groups and those without one.
	counted, clusters int
	groups            map[string]bool
}

// cell is one pair, with what is planned in it.
type cell struct {
	provider *opened
	prompt   int
	own      bool // of a single test
	samples  int
	// cases are those with as many answers as the suite says; counted are those that are not in quarantine.
	cases, counted int
	// quarantined is the part of samples that does not count, and tags leaves out.
	quarantined int
	tags        map[string]int
}

func newCells(s *config.Suite, providers []*opened, prompts []*runner.Prompt) *cells {
	c := &cells{prompts: prompts, own: map[string]*opened{}, groups: map[string]bool{}}
	for _, p := range providers {
		for i := range s.Prompts {
			if p.spec.Takes(&s.Prompts[i]) {
				c.plain = append(c.plain, len(c.list))
				c.list = append(c.list, &cell{provider: p, prompt: i})
			}
		}
	}
	return c
}

// asked returns the places of the cells in which a case is asked.
func (s *session) asked(t *config.Test) ([]int, error) {
	from := s.cells.plain
	if t.Own != nil {
		p, err := s.ownProvider(t)
		if err != nil {
			return nil, err
		}
		from = s.cells.of(p)
	}
	if t.Own == nil && t.Providers == nil && t.Prompts == nil && s.cells.everywhere != nil {
		return s.cells.everywhere, nil
	}
	if err := s.known(t); err != nil {
		return nil, err
	}
	out := make([]int, 0, len(from))
	for _, i := range from {
		c := s.cells.list[i]
		named := t.Own != nil || config.RefersAny(t.Providers, c.provider.spec.Names()...)
		if named && config.RefersAny(t.Prompts, s.suite.Prompts[c.prompt].Names()...) {
			out = append(out, i)
		}
	}
	if len(out) == 0 {
		return nil, &config.Error{Pos: t.Pos, Problem: "the test is asked nowhere: no provider that it names is asked a prompt that it names", Want: "providers and prompts that go together"}
	}
	return s.cells.placed(out), nil
}

// known reports references of a test that name nothing.
func (s *session) known(t *config.Test) error {
	var errs config.Errors
	var providers, prompts []string
	for i := range s.suite.Prompts {
		prompts = append(prompts, s.suite.Prompts[i].Label)
	}
	for _, p := range s.providers {
		providers = append(providers, p.spec.Name())
	}
	for _, ref := range t.Prompts {
		if !slices.ContainsFunc(s.suite.Prompts, func(p config.Prompt) bool { return config.Refers(ref, p.Names()...) }) {
			errs = append(errs, &config.Error{Pos: t.Pos.At("prompts"), Value: ref, Problem: "no prompt has this label", Want: "one of " + strings.Join(prompts, ", ")})
		}
	}
	for _, ref := range t.Providers {
		if t.Own == nil && !slices.ContainsFunc(s.providers, func(p *opened) bool { return config.Refers(ref, p.spec.Names()...) }) {
			errs = append(errs, &config.Error{Pos: t.Pos.At("providers"), Value: ref, Problem: "no provider of the suite has this label or id", Want: "one of " + strings.Join(providers, ", ")})
		}
	}
	return errs.Err()
}

// placed turns places in the list into places in the plan.
func (c *cells) placed(list []int) []int {
	if c.index == nil {
		return list
	}
	out := make([]int, 0, len(list))
	for _, i := range list {
		if c.index[i] >= 0 {
			out = append(out, c.index[i])
		}
	}
	return out
}

// of lists a provider's cells.
func (c *cells) of(p *opened) []int {
	var out []int
	for i, cell := range c.list {
		if cell.provider == p {
			out = append(out, i)
		}
	}
	return out
}

// promptsOf lists the prompts of some cells, each once.
func (c *cells) promptsOf(list []int) []int {
	out := make([]int, 0, len(c.prompts))
	for _, i := range list {
		if p := c.list[i].prompt; !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// used says whether a provider is asked anything.
func (c *cells) used(p *opened) bool {
	return slices.ContainsFunc(c.list, func(c *cell) bool { return c.provider == p && c.samples > 0 })
}

// ownProvider finds or opens the provider that a single test names. One of the suite's that is called so
// is that one.
func (s *session) ownProvider(t *config.Test) (*opened, error) {
	spec := *t.Own
	key := record.HashJSON([]any{spec.ID, spec.Label, spec.Config.Map})
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.cells.own[key]; ok {
		return p, nil
	}
	for _, p := range s.providers {
		if spec.Label == "" && len(spec.Config.Map) == 0 && (spec.ID == p.spec.Label || spec.ID == p.spec.ID && len(p.spec.Config.Map) == 0) {
			s.cells.own[key] = p
			return p, nil
		}
	}
	if len(s.cells.own) >= maxOwnProviders {
		return nil, &config.Error{Pos: t.Pos.At("provider"), Value: spec.ID, Problem: fmt.Sprintf("the tests bring more than %d different providers along", maxOwnProviders)}
	}
	p, err := s.openOwn(spec)
	if err != nil {
		return nil, err
	}
	s.cells.own[key] = p
	s.providers = append(s.providers, p)
	for i := range s.suite.Prompts {
		s.cells.list = append(s.cells.list, &cell{provider: p, prompt: i, own: true})
	}
	return p, nil
}

// maxOwnProviders bounds the providers of single tests; each is a column of the results.
const maxOwnProviders = 100

func (s *session) openOwn(spec config.Provider) (*opened, error) {
	prices, err := s.services.prices()
	if err != nil {
		return nil, err
	}
	base := spec.Name()
	for n := 2; slices.ContainsFunc(s.providers, func(p *opened) bool { return p.spec.Name() == spec.Name() }); n++ {
		spec.Label = fmt.Sprintf("%s (%d)", base, n)
	}
	own := *s.o
	own.Env = withEnv(s.o.Env, s.suite.Env, spec.Env)
	return openOne(spec, prices, &own)
}

// openOne opens one provider.
func openOne(spec config.Provider, prices *provider.Prices, o *RunOptions) (*opened, error) {
	c, err := openProvider(spec, prices, o)
	if err != nil {
		return nil, err
	}
	p := &opened{spec: spec, provider: c, info: c.Describe()}
	for _, w := range p.info.Warnings {
		o.Notice(w)
	}
	if spec.DelayMS != nil {
		p.pace = runner.NewPacer(time.Duration(*spec.DelayMS) * time.Millisecond)
	}
	return p, nil
}

// count adds a case to what is planned in its cells.
func (s *session) count(c *runner.Case) {
	repeats := s.suite.Samples
	if c.Repeats > 0 {
		repeats = c.Repeats
	}
	s.cells.repeats = max(s.cells.repeats, repeats)
	s.cells.uneven = s.cells.uneven || repeats != s.suite.Samples
	held := s.quarantine.holds(c)
	if !held {
		s.cells.cluster(c.Group)
	}
	for _, i := range c.Cells {
		cell := s.cells.list[i]
		cell.samples += repeats
		if repeats == s.suite.Samples {
			cell.cases++
		}
		if held {
			cell.quarantined += repeats
			s.quarantine.samples += repeats
			continue
		}
		cell.counted++
		if c.Critical {
			s.critical += repeats
		}
		cell.countTags(c.Tags, repeats)
	}
}

// cluster counts a case by its group.
func (c *cells) cluster(group string) {
	c.counted++
	if c.groups[group] {
		return
	}
	c.clusters++
	if group != "" {
		c.groups[group] = true
	}
}

// countTags counts the samples of each tag, of as many tags as can have metrics of their own.
func (c *cell) countTags(tags []string, n int) {
	for i, tag := range tags {
		if slices.Contains(tags[:i], tag) {
			continue
		}
		if c.tags == nil {
			c.tags = map[string]int{}
		}
		if _, ok := c.tags[tag]; ok || len(c.tags) < maxTagNames {
			c.tags[tag] += n
		}
	}
}

// maxTagNames bounds the tags that are counted; a tag is meant to be shared by many cases.
const maxTagNames = 10_000

// settle fixes which cells the plan has: those in which something is asked.
func (s *session) settle() []*cell {
	var kept []*cell
	s.cells.index = make([]int, len(s.cells.list))
	for i, c := range s.cells.list {
		s.cells.index[i] = -1
		if c.samples == 0 {
			if !c.own {
				s.o.Notice(fmt.Sprintf("%s is not asked %q: every test names others", c.provider.spec.Name(), s.suite.Prompts[c.prompt].Label))
			}
			continue
		}
		s.cells.index[i] = len(kept)
		kept = append(kept, c)
	}
	s.cells.everywhere = s.cells.placed(s.cells.plain)
	return kept
}

// compares reports comparisons of answers for which there is nothing to compare.
func compares(c *runner.Case, t *config.Test, cells int, inOrder bool) error {
	var errs config.Errors
	others := 0
	for _, check := range c.Checks {
		if comp, ok := check.(runner.Comparison); !ok || !comp.Compares() {
			others++
		}
	}
	for _, check := range c.Checks {
		comp, ok := check.(runner.Comparison)
		if !ok || !comp.Compares() {
			continue
		}
		needs, _ := check.(interface{ NeedsScores() bool })
		switch {
		case cells < 2:
			errs = append(errs, &config.Error{Pos: t.Pos.At("assert"), Value: check.Type(), Problem: "compares the answers of several providers or prompts, and this test has one of each", Want: "at least two providers or prompts"})
		case needs != nil && needs.NeedsScores() && others == 0:
			errs = append(errs, &config.Error{Pos: t.Pos.At("assert"), Value: check.Type(), Problem: "compares what the other assertions give, and there are none", Want: "at least one other assertion"})
		case inOrder:
			errs = append(errs, &config.Error{Pos: t.Pos.At("assert"), Value: check.Type(), Problem: "answers cannot be compared where tests store outputs for one another (storeOutputAs)", Want: "one of the two"})
		}
	}
	return errs.Err()
}
