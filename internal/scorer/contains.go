package scorer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/scorer/phrase"
)

// texts reads a list of texts, or a comma-separated string of them.
func texts(s Spec) ([]string, error) {
	var list []string
	switch v := s.Value.(type) {
	case []any:
		for i, e := range v {
			t, ok := text(e)
			if !ok {
				return nil, &config.Error{Pos: s.ValuePos.At(fmt.Sprintf("[%d]", i)), Problem: fmt.Sprintf("%v is not a text", e), Want: "a list of texts"}
			}
			list = append(list, t)
		}
	default:
		t, ok := text(v)
		if !ok {
			return nil, badValue(s, "the value is a mapping", "a list of texts")
		}
		var err error
		if list, err = splitCommas(t); err != nil {
			return nil, badValue(s, err.Error(), "texts separated by commas; double quotes around one that holds a comma")
		}
	}
	if len(list) == 0 {
		return nil, badValue(s, "the list is empty: such a check always has the same outcome", "at least one text")
	}
	for i, t := range list {
		if t == "" {
			return nil, &config.Error{Pos: s.ValuePos.At(fmt.Sprintf("[%d]", i)), Problem: "an empty text is contained in everything", Want: "a text"}
		}
	}
	return list, nil
}

// splitCommas splits at commas and trims white space; empty fields are dropped. A field in double
// quotes keeps its commas and white space; \" and "" in it are a quote, \\ a backslash.
func splitCommas(s string) ([]string, error) {
	var fields []string
	for {
		s = strings.TrimLeftFunc(s, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
		if s == "" {
			return fields, nil
		}
		if s[0] != '"' {
			field, rest, _ := strings.Cut(s, ",")
			fields = append(fields, strings.TrimSpace(field))
			s = rest
			continue
		}
		var field strings.Builder
		i := 1
		for ; ; i++ {
			if i >= len(s) {
				return nil, errors.New("a double quote is not closed")
			}
			next := byte(0)
			if i+1 < len(s) {
				next = s[i+1]
			}
			if s[i] == '\\' && (next == '"' || next == '\\') || s[i] == '"' && next == '"' {
				i++
			} else if s[i] == '"' {
				break
			}
			field.WriteByte(s[i])
		}
		fields = append(fields, field.String())
		s = strings.TrimLeftFunc(s[i+1:], unicode.IsSpace)
		if s != "" && s[0] != ',' {
			return nil, errors.New("after a closing quote there is no comma")
		}
	}
}

// What a containment asks for.
const (
	oneText = iota
	anyText
	allTexts
	textPrefix
	textSuffix
)

// containment is the family of contains checks.
type containment struct {
	want     int
	foldCase bool
}

// Above this number of texts one automaton is faster than one search for each.
const manyTexts = 8

func (c containment) build(s Spec) (Scorer, error) {
	var list []string
	switch c.want {
	case anyText, allTexts:
		var err error
		if list, err = texts(s); err != nil {
			return nil, err
		}
	default:
		t, ok := text(s.Value)
		if !ok {
			return nil, badValue(s, "the value is not a text", "a text or a number")
		}
		if t == "" {
			return nil, badValue(s, "an empty text is contained in everything", "a text")
		}
		list = []string{t}
	}
	search := list
	if c.foldCase {
		search = make([]string, len(list))
		for i, t := range list {
			search[i] = phrase.FoldCase(t)
		}
	}
	var many *phrase.Matcher
	if len(list) > manyTexts {
		many = phrase.NewMatcher(search)
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		out := in.Response.Output
		if c.foldCase {
			out = phrase.FoldCase(out)
		}
		switch c.want {
		case anyText:
			return containsAny(out, list, search, many), nil
		case allTexts:
			return containsAll(out, list, search, many), nil
		case textPrefix:
			return boundary(strings.HasPrefix(out, search[0]), "begin", "begins", list[0], head(in.Response.Output)), nil
		case textSuffix:
			return boundary(strings.HasSuffix(out, search[0]), "end", "ends", list[0], tail(in.Response.Output)), nil
		}
		i := strings.Index(out, search[0])
		if i < 0 {
			return judged(false, "the output does not contain %s", quote(list[0])), nil
		}
		return judged(true, "the output contains %s at character %d", quote(list[0]), position(out, i)), nil
	}), nil
}

func boundary(pass bool, verb, verbs, want, got string) Result {
	if pass {
		return judged(true, "the output %s with %s", verbs, quote(want))
	}
	return judged(false, "the output does not %s with %s but with %s", verb, quote(want), strconv.Quote(got))
}

// head and tail show the ends of a text.
func head(s string) string { return config.Clip(s, 40) }

func tail(s string) string {
	if len(s) <= 40 {
		return s
	}
	i := len(s) - 40
	for i < len(s) && !utf8.RuneStart(s[i]) {
		i++
	}
	return "…" + s[i:]
}

func containsAny(out string, list, search []string, many *phrase.Matcher) Result {
	found, at := -1, 0
	if many != nil {
		many.Scan(out, func(p, start, _ int) bool {
			found, at = p, start
			return false
		})
	} else {
		for p, t := range search {
			if i := strings.Index(out, t); i >= 0 {
				found, at = p, i
				break
			}
		}
	}
	if found < 0 {
		return judged(false, "the output contains none of %s", enumerate(list))
	}
	return judged(true, "the output contains %s at character %d", quote(list[found]), position(out, at))
}

func containsAll(out string, list, search []string, many *phrase.Matcher) Result {
	var missing []string
	if many != nil {
		found := make(map[string]bool, len(search))
		distinct := make(map[string]bool, len(search))
		for _, t := range search {
			distinct[t] = true
		}
		many.Scan(out, func(p, _, _ int) bool {
			found[search[p]] = true
			return len(found) < len(distinct)
		})
		for i, t := range search {
			if !found[t] {
				missing = append(missing, list[i])
			}
		}
	} else {
		for i, t := range search {
			if !strings.Contains(out, t) {
				missing = append(missing, list[i])
			}
		}
	}
	if len(missing) == 0 {
		return judged(true, "the output contains all of %s", enumerate(list))
	}
	return judged(false, "the output does not contain %s", enumerate(missing))
}

// enumerate shows the first few of a list.
func enumerate(list []string) string {
	var b strings.Builder
	for i, t := range list {
		if i == 5 {
			fmt.Fprintf(&b, " and %d more", len(list)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(t))
	}
	return b.String()
}
