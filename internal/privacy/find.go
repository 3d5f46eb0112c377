package privacy

import (
	"context"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/scorer/leak"
)

// pass is the redaction of one exchange or text. It is used by one goroutine.
type pass struct {
	ctx   context.Context
	rules *rules
	found Found
	known []searched // long texts that were looked through: a request holds its messages twice
	// service is what the service for names said of the texts of this pass, and failed that it did not answer.
	service map[string][]finding
	calls   int
	failed  error
}

// searched is what find found in a text.
type searched struct {
	text, about string
	found       []finding
}

func (p *pass) field(name string) field { return p.rules.field(name) }

const (
	// A text is redacted again until nothing is found, because what was hidden by a stronger finding may remain; each
	// round takes letters away, and few texts need a third.
	mostRounds = 16
	// shortestMemo is the length from which a text is remembered, and mostMemos how many are.
	shortestMemo = 64
	mostMemos    = 256
	// mostViews is how often escapes are decoded within escapes.
	mostViews = 3
)

// text redacts a plain text. About is what is said of it where it came from, such as a key of JSON; it may be empty.
func (p *pass) text(f field, s, about string) string {
	if s == "" || p.rules.untouched(f) {
		return s
	}
	cur := s
	for round := range mostRounds {
		found := p.find(cur, about)
		if round == 0 && p.rules.redactor.ner != nil {
			found = p.rules.redactor.marks.spare(cur, settle(slices.Concat(found, p.names(cur))))
		}
		next, replaced := p.replace(f, cur, found, round == 0)
		if !replaced {
			return next
		}
		cur = next
	}
	return maskOf("redacted")
}

// replace puts what the modes say in the place of the findings and counts them; kept ones only in the first round.
func (p *pass) replace(f field, s string, found []finding, first bool) (out string, replaced bool) {
	if len(found) == 0 {
		return s, false
	}
	var b strings.Builder
	last := 0
	for _, x := range found {
		m := p.rules.modeOf(f, x.kind)
		if m != keep || first {
			p.found[x.kind]++
		}
		if m == keep {
			continue
		}
		replaced = true
		b.WriteString(s[last:x.start])
		b.WriteString(p.stands(m, x.kind, s[x.start:x.end]))
		last = x.end
	}
	if !replaced {
		return s, false
	}
	b.WriteString(s[last:])
	return b.String(), true
}

// stands is what takes the place of a value.
func (p *pass) stands(m mode, kind, value string) string {
	switch m {
	case remove:
		return ""
	case pseudonym:
		if r := p.rules.redactor; len(r.keys) > 0 {
			return r.token(r.keys[0], kind, value)
		}
	}
	return maskOf(kind)
}

// find returns the findings in a text, settled and in order, but for the service's. They are not to be changed.
func (p *pass) find(text, about string) []finding {
	if len(text) < shortestMemo {
		return p.look(text, about)
	}
	for i := range p.known {
		// What is said of a long text from outside is not looked at.
		if k := &p.known[i]; k.text == text && (k.about == about || len(text) > longestAbout) {
			return k.found
		}
	}
	found := p.look(text, about)
	if len(p.known) < mostMemos {
		p.known = append(p.known, searched{text, about, found})
	}
	return found
}

// look searches a text.
func (p *pass) look(text, about string) []finding {
	var found []finding
	// Escapes may be nested, as in JSON within a URL. Each view is searched; most texts are their only one.
	view, at := fold(text)
	for n := 0; ; n++ {
		found = p.search(found, view, at, about)
		decoded, inner := unescape(view)
		if inner == nil || n == mostViews {
			break
		}
		at = compose(at, inner)
		folded, inner := fold(decoded)
		if inner != nil {
			at = compose(at, inner)
		}
		view = folded
	}
	for _, pat := range p.rules.patterns {
		for _, loc := range pat.re.FindAllStringSubmatchIndex(text, -1) {
			start, end := loc[0], loc[1]
			if len(loc) > 2 && loc[2] >= 0 {
				start, end = loc[2], loc[3]
			}
			if start < end {
				found = append(found, finding{pat.kind, start, end, rankOwn})
			}
		}
	}
	return p.rules.redactor.marks.spare(text, settle(found))
}

// search looks through one view. Words near a value may stand in about, which is put before a short text.
func (p *pass) search(found []finding, view string, at []int32, about string) []finding {
	text, shift := view, 0
	if about != "" && len(view) <= longestAbout && strings.ContainsAny(view, "0123456789") {
		text = about + ": " + view
		shift = len(about) + 2
	}
	from := 0 // where the value begins that about is said of
	add := func(kind string, rank, start, end, shift int) {
		if start, end = max(start-shift, from), min(end-shift, len(view)); start < end {
			start, end = span(at, start, end)
			found = append(found, finding{kind, start, end, rank})
		}
	}
	persons := func(text string, shift int) {
		for _, s := range p.rules.personal.Find(text) {
			rank := rankChecked
			if s.Type == leak.Phone {
				rank = rankPhone
			}
			add(s.Type, rank, s.Start, s.End, shift)
		}
	}
	persons(text, shift)
	if shift == 0 {
		cells(view, func(start, end int, about string) {
			from = start
			persons(about+": "+view[start:end], len(about)+2-start)
		})
		from = 0
	}
	for _, s := range p.rules.secrets.Find(view) {
		add(kindSecret, rankSecret, s.Start, s.End, 0)
	}
	if p.rules.words != nil {
		p.rules.words.find(view, func(kind string, start, end int) { add(kind, rankOwn, start, end, 0) })
	}
	return found
}

// longestAbout is the length up to which a value takes its key for context: a longer one speaks for itself.
const longestAbout = 80
