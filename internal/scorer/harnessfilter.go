package scorer

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/lmeval/pyjinja"
)

// harnessFilter changes an answer before it is compared. vars are the case's own.
type harnessFilter func(answer string, vars map[string]any) (string, error)

// harnessStep changes every answer of a document, or picks some of them.
type harnessStep struct {
	change harnessFilter // nil for a step that picks
	pick   func(answers []string) []string
}

func (s harnessStep) apply(answers []string, vars map[string]any) ([]string, error) {
	if s.change == nil {
		return s.pick(answers), nil
	}
	out := make([]string, len(answers))
	for i, a := range answers {
		var err error
		if out[i], err = s.change(a, vars); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func newHarnessStep(step any, at config.Pos) (harnessStep, error) {
	m, _ := step.(map[string]any)
	switch m["function"] {
	case "take_first":
		return harnessStep{pick: func(a []string) []string { return a[:1] }}, nil
	case "majority_vote":
		return harnessStep{pick: majority}, nil
	case "take_first_k":
		k, ok := m["k"].(int64)
		if !ok || k < 1 {
			return harnessStep{}, &config.Error{Pos: at.At("k"), Value: fmt.Sprint(m["k"]), Problem: "not a number of answers", Want: "a whole number from 1"}
		}
		return harnessStep{pick: func(a []string) []string { return a[:min(len(a), int(k))] }}, nil
	}
	f, err := newHarnessFilter(step, at)
	return harnessStep{change: f}, err
}

// majority picks the answer that is given most often; of several the one that was given first.
func majority(answers []string) []string {
	votes := map[string]int{}
	for _, a := range answers {
		votes[a]++
	}
	best := answers[0]
	for _, a := range answers {
		if votes[a] > votes[best] {
			best = a
		}
	}
	return []string{best}
}

func newHarnessFilter(step any, at config.Pos) (harnessFilter, error) {
	m, ok := step.(map[string]any)
	if !ok {
		return nil, &config.Error{Pos: at, Value: fmt.Sprint(step), Problem: "not a filter", Want: "a mapping with the key function"}
	}
	o := config.Object{Pos: at, Map: m, Keys: map[string]config.Pos{}}
	r := o.Reader()
	name := r.String("function", "")
	var out harnessFilter
	switch name {
	case "remove_whitespace":
		out = func(s string, _ map[string]any) (string, error) { return pyjinja.Strip(s), nil }
	case "lowercase":
		out = func(s string, _ map[string]any) (string, error) { return pyjinja.Lower(s), nil }
	case "uppercase":
		out = func(s string, _ map[string]any) (string, error) { return pyjinja.Upper(s), nil }
	case "map":
		out = mapFilter(r)
	case "regex", "multi_choice_regex":
		f := regexFilter{group: r.Int("group_select", 0), fallback: "[invalid]"}
		if v := r.Any("fallback"); v != nil {
			if f.fallback, ok = v.(string); !ok {
				r.Fail("fallback", "not a text", "a text")
			}
		}
		var err error
		if f.re, err = pythonExpression(r.String("regex_pattern", `#### (\-?[0-9\.\,]+)`)); err != nil {
			r.Fail("regex_pattern", err.Error(), "a regular expression of Python's")
		}
		out = f.apply
		if name == "multi_choice_regex" {
			c := choiceFilter{regexFilter: f, exact: exactMatch{}}
			c.exact.read(r)
			out = c.apply
		}
	default:
		r.Fail("function", "no such filter", "regex, multi_choice_regex, map, remove_whitespace, lowercase, uppercase, take_first, take_first_k or majority_vote")
	}
	return out, r.Finish()
}

// mapFilter replaces an answer by what stands for it. One that nothing stands for becomes the default value, and
// without that a text that equals no target.
func mapFilter(r *config.Reader) harnessFilter {
	table, _ := r.Any("mapping_dict").(map[string]any)
	if r.Any("mapping_dict") != nil && table == nil {
		r.Fail("mapping_dict", "not a mapping", "a mapping of answers to texts")
	}
	def, has := r.Any("default_value"), r.Has("default_value")
	return func(s string, _ map[string]any) (string, error) {
		v, ok := table[s]
		if !ok {
			if !has {
				return nothing, nil
			}
			v = def
		}
		t, ok := text(v)
		if !ok {
			return "", fmt.Errorf("mapping_dict turns %s into something that is not a text", quote(s))
		}
		return t, nil
	}
}

// nothing stands for Python's None, which equals no text.
const nothing = "\x00None"

// regexFilter takes the match of an expression, as re.findall and the harness's choice among its groups have it.
type regexFilter struct {
	re       *regexp2.Regexp
	group    int
	fallback string
}

func (f regexFilter) apply(s string, _ map[string]any) (string, error) {
	m, found, err := f.find(f.re, s)
	if err != nil {
		return "", err
	}
	if !found {
		return f.fallback, nil
	}
	return pyjinja.Strip(m), nil
}

// find returns the selected match: of one group its text, of several the first that is not empty; when all are
// empty the fallback.
func (f regexFilter) find(re *regexp2.Regexp, s string) (text string, found bool, err error) {
	all, err := findAll(re, s)
	if err != nil || len(all) == 0 {
		return "", false, err
	}
	at := f.group
	if at < 0 {
		at += len(all)
	}
	if at < 0 || at >= len(all) {
		return "", false, fmt.Errorf("group_select %d of %d matches: the harness ends with an error here", f.group, len(all))
	}
	groups := all[at]
	if len(groups) == 1 {
		return groups[0], true, nil
	}
	for _, g := range groups {
		if g != "" {
			return g, true, nil
		}
	}
	return f.fallback, true, nil
}

// findAll is re.findall: for each match its whole text, or the text of its groups where it has some.
func findAll(re *regexp2.Regexp, s string) ([][]string, error) {
	var out [][]string
	m, err := re.FindStringMatch(s)
	for ; err == nil && m != nil; m, err = re.FindNextMatch(m) {
		groups := m.Groups()
		if len(groups) == 1 {
			out = append(out, []string{m.String()})
			continue
		}
		var texts []string
		for _, g := range groups[1:] {
			texts = append(texts, g.String())
		}
		out = append(out, texts)
	}
	if err != nil {
		return nil, fmt.Errorf("the regular expression %s took too long: %w", quote(re.String()), err)
	}
	return out, nil
}

// choiceFilter finds a letter, or else the text of a choice, or else a letter behind a colon.
type choiceFilter struct {
	regexFilter
	exact exactMatch
}

func (f choiceFilter) apply(s string, vars map[string]any) (string, error) {
	choices, err := textList(vars, "choices")
	if err != nil {
		return "", err
	}
	if len(choices) > 26 {
		return "", fmt.Errorf("%d choices have no letters", len(choices))
	}
	if m, found, err := f.find(f.re, s); err != nil || found && pyjinja.Strip(m) != "" {
		return pyjinja.Strip(m), err
	}
	letters := map[string]string{}
	var escaped, alphabet []string
	for i, c := range choices {
		m, err := f.exact.normal(pyjinja.Strip(c))
		if err != nil {
			return "", err
		}
		letters[m] = "(" + string(rune('A'+i)) + ")"
		escaped = append(escaped, regexp2.Escape(m))
		alphabet = append(alphabet, string(rune('A'+i)))
	}
	sort.SliceStable(escaped, func(i, j int) bool { return len(escaped[i]) > len(escaped[j]) })
	normal, err := f.exact.normal(s)
	if err != nil {
		return "", err
	}
	byText, err := pythonExpression(strings.Join(escaped, "|"))
	if err != nil {
		return "", err
	}
	if m, found, err := f.find(byText, normal); err != nil || found && pyjinja.Strip(m) != "" {
		if l, ok := letters[pyjinja.Strip(m)]; ok {
			return l, err
		}
		return pyjinja.Strip(m), err
	}
	byLetter, err := pythonExpression(`:[\s]*(` + strings.Join(alphabet, "|") + `)`)
	if err != nil {
		return "", err
	}
	if m, found, err := f.find(byLetter, s); err != nil || found && m != "" {
		return "(" + pyjinja.Strip(m) + ")", err
	}
	return f.fallback, nil
}

// exactMatch compares texts as the harness's exact_match does, which is that of Hugging Face's evaluate.
type exactMatch struct {
	ignoreCase, ignorePunctuation, ignoreNumbers bool
	ignore                                       []*regexp2.Regexp
}

func (e *exactMatch) read(r *config.Reader) {
	e.ignoreCase, e.ignorePunctuation, e.ignoreNumbers = r.Bool("ignore_case", false), r.Bool("ignore_punctuation", false), r.Bool("ignore_numbers", false)
	for _, p := range r.Strings("regexes_to_ignore") {
		re, err := pythonExpression(p)
		if err != nil {
			r.Fail("regexes_to_ignore", err.Error(), "regular expressions of Python's")
			continue
		}
		e.ignore = append(e.ignore, re)
	}
}

func (e *exactMatch) any(answer string, targets []string) (bool, error) {
	got, err := e.normal(answer)
	if err != nil {
		return false, err
	}
	for _, t := range targets {
		want, err := e.normal(t)
		if err != nil {
			return false, err
		}
		if got == want && answer != nothing {
			return true, nil
		}
	}
	return false, nil
}

// normal takes out what is ignored, in the harness's order.
func (e *exactMatch) normal(s string) (string, error) {
	for _, re := range e.ignore {
		var err error
		if s, err = re.Replace(s, "", -1, -1); err != nil {
			return "", fmt.Errorf("the regular expression %s took too long: %w", quote(re.String()), err)
		}
	}
	if e.ignoreCase {
		s = pyjinja.Lower(s)
	}
	if e.ignorePunctuation || e.ignoreNumbers {
		s = strings.Map(func(r rune) rune {
			punctuation := r < 0x7f && (r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{')
			if e.ignorePunctuation && punctuation || e.ignoreNumbers && '0' <= r && r <= '9' {
				return -1
			}
			return r
		}, s)
	}
	return s, nil
}

// pythonExpression compiles a Python regular expression with an engine of .NET's dialect, which
// reads nearly all of it the same way: \d, \w and \s are Unicode, $ is also before a last line end.
// What differs is rewritten: groups are numbered in their order whether they have names or not, \Z is
// the very end, {,n} has a lower bound of 0. What only one of the two knows is an error.
func pythonExpression(pattern string) (*regexp2.Regexp, error) {
	translated, err := fromPython(pattern)
	if err != nil {
		return nil, fmt.Errorf("the regular expression %s %w", quote(pattern), err)
	}
	re, err := regexp2.Compile(translated)
	if err != nil {
		return nil, fmt.Errorf("invalid regular expression %s: %s", quote(pattern), firstLine(err))
	}
	re.MatchTimeout = time.Second
	return re, nil
}

func fromPython(p string) (string, error) {
	var b strings.Builder
	names := map[string]int{}
	groups, class := 0, false
	for i := 0; i < len(p); i++ {
		rest := p[i:]
		switch {
		case p[i] == '\\' && i+1 < len(p):
			switch {
			case p[i+1] == 'Z' && !class:
				b.WriteString(`\z`)
			case p[i+1] == 'z' || p[i+1] == 'G' || p[i+1] == 'p' || p[i+1] == 'P' || p[i+1] == 'N' || p[i+1] == 'k':
				return "", errors.New("has an escape that is not supported: \\" + string(p[i+1]))
			default:
				b.WriteString(p[i : i+2])
			}
			i++
		case class:
			if p[i] == ']' {
				class = false
			}
			if p[i] == '[' {
				b.WriteByte('\\') // a bracket in a class is a plain one to Python
			}
			b.WriteByte(p[i])
		case p[i] == '[':
			class = true
			b.WriteByte('[')
			for _, open := range []string{"[^]", "[]"} { // a bracket that comes first does not close
				if strings.HasPrefix(rest, open) {
					b.WriteString(strings.TrimPrefix(open[:len(open)-1], "[") + `\]`)
					i += len(open) - 1
					break
				}
			}
		case strings.HasPrefix(rest, "(?P<"):
			end := strings.IndexByte(rest, '>')
			if end < 0 {
				return "", errors.New("has a group whose name does not end")
			}
			groups++
			names[rest[4:end]] = groups
			b.WriteByte('(')
			i += end
		case strings.HasPrefix(rest, "(?P="):
			end := strings.IndexByte(rest, ')')
			if end < 0 || names[rest[4:end]] == 0 {
				return "", errors.New("refers to a group that there is not")
			}
			fmt.Fprintf(&b, `\k<%d>`, names[rest[4:end]])
			i += end
		case strings.HasPrefix(rest, "(?P"), strings.HasPrefix(rest, "(?>"), strings.HasPrefix(rest, "(?("), strings.HasPrefix(rest, "(?'"),
			strings.HasPrefix(rest, "(?<") && !strings.HasPrefix(rest, "(?<=") && !strings.HasPrefix(rest, "(?<!"):
			return "", errors.New("has a group of a kind that is not supported")
		case strings.HasPrefix(rest, "{,"):
			b.WriteString("{0,")
			i++
		case p[i] == '(':
			if !strings.HasPrefix(rest, "(?") {
				groups++
			}
			b.WriteByte('(')
		default:
			b.WriteByte(p[i])
		}
	}
	return b.String(), nil
}
