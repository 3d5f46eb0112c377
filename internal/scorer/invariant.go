package scorer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	textlang "golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/scorer/language"
	"github.com/telltale-llm/telltale/internal/scorer/phrase"
)

// invariantKinds hold for every answer of a system, whatever it was asked.
func invariantKinds() []Kind {
	return []Kind{
		{Name: "forbidden", Aliases: []string{"forbidden-phrases"}, Version: "1",
			Summary: "the output contains none of the phrases, also not in another case, width, or look-alike letters",
			Value:   Required, Build: buildForbidden},
		{Name: "language", Summary: "the output is in the given language", Version: "1",
			Value: Required, Build: withoutConfig(buildLanguage)},
	}
}

func buildForbidden(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	opts := phrase.Options{
		Folding: phrase.Folding{
			Case:  r.String("case", "insensitive") != "sensitive",
			Width: r.Bool("width", true),
			Looks: r.Bool("homoglyphs", true),
		},
		WholeWord: r.Bool("whole_word", false),
	}
	if c := r.String("case", "insensitive"); c != "sensitive" && c != "insensitive" {
		r.Fail("case", "not a way to compare case", "sensitive or insensitive")
	}
	if err := r.Finish(); err != nil {
		return nil, err
	}
	var phrases []string
	switch v := s.Value.(type) {
	case []any:
		for i, e := range v {
			t, ok := text(e)
			if !ok {
				return nil, &config.Error{Pos: s.ValuePos.At(fmt.Sprintf("[%d]", i)), Problem: fmt.Sprintf("%v is not a phrase", e), Want: "a list of phrases"}
			}
			phrases = append(phrases, t)
		}
	default:
		// One phrase a line; a phrase may well hold a comma.
		t, ok := text(v)
		if !ok {
			return nil, badValue(s, "the value is a mapping", "a list of phrases")
		}
		for line := range strings.Lines(t) {
			if line = strings.TrimSpace(line); line != "" {
				phrases = append(phrases, line)
			}
		}
	}
	if len(phrases) == 0 {
		return nil, badValue(s, "no phrase is forbidden: such a check cannot fail", "at least one phrase")
	}
	set, err := phrase.NewSet(phrases, opts)
	if err != nil {
		return nil, badValue(s, err.Error(), "phrases with something to see in them")
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		out := in.Response.Output
		m, found := set.Find(out)
		if !found {
			return judged(true, "none of the %d forbidden phrases is in the output", set.Len()), nil
		}
		res := judged(false, "the forbidden phrase %s is at character %d", quote(m.Phrase), position(out, m.Start))
		if as := out[m.Start:m.End]; as != m.Phrase {
			res.Reason += " as " + quote(as)
		}
		return res, nil
	}), nil
}

// languageNames maps the English names of the languages that can be told apart to their codes.
var languageNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{"chinese": "zh", "simplified chinese": "zh-cn", "traditional chinese": "zh-tw"}
	for _, code := range language.Codes() {
		base, _, regional := strings.Cut(code, "-")
		tag, err := textlang.Parse(base)
		if err != nil || regional {
			continue
		}
		names[strings.ToLower(display.English.Languages().Name(tag))] = code
	}
	return names
})

// languageCode returns the code for an ISO 639-1 code, with or without a region, or an English name.
func languageCode(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	if code, ok := languageNames()[s]; ok {
		return code, true
	}
	s = strings.ReplaceAll(s, "_", "-")
	if language.Known(s) {
		return s, true
	}
	base, _, _ := strings.Cut(s, "-")
	return base, language.Known(base)
}

func buildLanguage(s Spec) (Scorer, error) {
	value, ok := s.Value.(string)
	want, known := languageCode(value)
	if !ok || !known {
		return nil, badValue(s, "not a language that can be told apart",
			"an English name, or one of "+strings.Join(language.Codes(), ", "))
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		got, ok := language.Detect(in.Response.Output)
		if !ok {
			return Result{}, errors.New("the output holds too little text to tell its language")
		}
		return judged(language.Is(got, want), "the output is in %s; asked for is %s", got, want), nil
	}), nil
}
