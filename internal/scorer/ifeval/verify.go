package ifeval

import (
	"fmt"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/scorer/ifeval/pyre"
	"github.com/telltale-llm/telltale/internal/scorer/language"
)

// verifiers makes the check of each instruction from its arguments. Where it finds fault with
// them, what it returns is not used.
var verifiers = map[string]func(*args) check{
	"keywords:existence":                            existence,
	"keywords:frequency":                            frequency,
	"keywords:forbidden_words":                      forbidden,
	"keywords:letter_frequency":                     letterFrequency,
	"language:response_language":                    responseLanguage,
	"length_constraints:number_sentences":           numberSentences,
	"length_constraints:number_paragraphs":          numberParagraphs,
	"length_constraints:number_words":               numberWords,
	"length_constraints:nth_paragraph_first_word":   nthParagraphFirstWord,
	"detectable_content:number_placeholders":        numberPlaceholders,
	"detectable_content:postscript":                 postscript,
	"detectable_format:number_bullet_lists":         numberBullets,
	"detectable_format:constrained_response":        constrained,
	"detectable_format:number_highlighted_sections": numberHighlights,
	"detectable_format:multiple_sections":           multipleSections,
	"detectable_format:json_format":                 jsonFormat,
	"detectable_format:title":                       title,
	"combination:two_responses":                     twoAnswers,
	"combination:repeat_prompt":                     repeatPrompt,
	"startend:end_checker":                          endChecker,
	"startend:quotation":                            quotation,
	"change_case:capital_word_frequency":            capitalWordFrequency,
	"change_case:english_capital":                   englishCapital,
	"change_case:english_lowercase":                 englishLowercase,
	"punctuation:no_comma":                          noComma,
}

// counted makes a check of a number.
func counted(l limit, what string, count func(s string) int) check {
	return func(t *text) (bool, string, error) {
		n := count(t.s)
		return l.holds(n), fmt.Sprintf("%d %s, want %v", n, what, l), nil
	}
}

// found makes a check of something that is there or not.
func found(there, absent string, holds func(s string) bool) check {
	return func(t *text) (bool, string, error) {
		if holds(t.s) {
			return true, there, nil
		}
		return false, absent, nil
	}
}

func existence(a *args) check {
	words := a.strs("keywords")
	res := make([]*pyre.Regexp, len(words))
	for i, w := range words {
		res[i] = a.regexp("keywords", w, pyre.IgnoreCase)
	}
	return func(t *text) (bool, string, error) {
		var missing []string
		for _, re := range res {
			ok, err := re.Match(t.s)
			if err != nil {
				return false, "", err
			}
			if !ok {
				missing = append(missing, re.String())
			}
		}
		if missing != nil {
			return false, fmt.Sprintf("lacks %q", missing), nil
		}
		return true, "has every keyword", nil
	}
}

func frequency(a *args) check {
	keyword := strip(a.str("keyword"))
	if keyword == "" {
		a.fail("keyword", "blank", "a word")
	}
	l := a.limit("frequency", "relation")
	re := a.regexp("keyword", keyword, pyre.IgnoreCase)
	return func(t *text) (bool, string, error) {
		n, err := re.Count(t.s)
		return l.holds(n), fmt.Sprintf("%q %d times, want %v", keyword, n, l), err
	}
}

func forbidden(a *args) check {
	words := a.strs("forbidden_words")
	res := make([]*pyre.Regexp, len(words))
	for i, w := range words {
		res[i] = a.regexp("forbidden_words", `\b`+w+`\b`, pyre.IgnoreCase)
	}
	return func(t *text) (bool, string, error) {
		for i, re := range res {
			ok, err := re.Match(t.s)
			if err != nil {
				return false, "", err
			}
			if ok {
				return false, fmt.Sprintf("has %q", words[i]), nil
			}
		}
		return true, "has no forbidden word", nil
	}
}

func letterFrequency(a *args) check {
	letter := lower(a.letter("letter"))
	l := a.limit("let_frequency", "let_relation")
	return func(t *text) (bool, string, error) {
		n := strings.Count(t.lower(), letter)
		return l.holds(n), fmt.Sprintf("%q %d times, want %v", letter, n, l), nil
	}
}

func responseLanguage(a *args) check {
	want := a.str("language")
	if a.err == nil && !language.Known(want) {
		a.fail("language", "unknown language", "zh or one of "+strings.Join(language.Codes(), ", "))
	}
	return func(t *text) (bool, string, error) {
		ok, reason := inLanguage(t.s, want)
		return ok, reason, nil
	}
}

// inLanguage says whether s is in a language. Text without letters is taken to be, as in the reference.
func inLanguage(s, want string) (bool, string) {
	code, ok := language.Detect(s)
	if !ok {
		return true, "no language can be detected"
	}
	return language.Is(code, want), fmt.Sprintf("language %s, want %s", code, want)
}

func numberSentences(a *args) check {
	l := a.limit("num_sentences", "relation")
	return counted(l, "sentences", func(s string) int { return len(splitSentences(s)) })
}

func numberParagraphs(a *args) check {
	want := a.count("num_paragraphs", 0)
	return func(t *text) (bool, string, error) {
		n, ok := paragraphs(t.s)
		if !ok {
			return false, "a blank paragraph between ***", nil
		}
		return n == want, fmt.Sprintf("%d paragraphs, want %d", n, want), nil
	}
}

func numberWords(a *args) check {
	return counted(a.limit("num_words", "relation"), "words", words)
}

func nthParagraphFirstWord(a *args) check {
	num := a.count("num_paragraphs", 1)
	nth := a.count("nth_paragraph", 1)
	if nth > num {
		a.fail("nth_paragraph", "greater than num_paragraphs", fmt.Sprintf("at most %d", num))
	}
	want := lower(a.str("first_word"))
	return func(t *text) (bool, string, error) {
		n, word, ok := nthParagraph(t.s, nth)
		switch {
		case !ok:
			return false, fmt.Sprintf("%d paragraphs and none, or a blank one, at place %d", n, nth), nil
		case n != num:
			return false, fmt.Sprintf("%d paragraphs, want %d", n, num), nil
		}
		return word == want, fmt.Sprintf("paragraph %d begins with %q, want %q", nth, word, want), nil
	}
}

func numberPlaceholders(a *args) check {
	return counted(limit{n: a.count("num_placeholders", 0)}, "placeholders", placeholders)
}

func postscript(a *args) check {
	marker := strip(a.str("postscript_marker"))
	has := func(s string) (bool, error) { return strings.Contains(s, lower(marker)), nil }
	switch {
	case marker == "P.P.S":
		has = func(s string) (bool, error) { return spelled(s, "p.", "p.", "s"), nil }
	case marker == "P.S.":
		has = func(s string) (bool, error) { return spelled(s, "p.", "s."), nil }
	case !isPlain(marker):
		has = a.regexp("postscript_marker", `\s*`+lower(marker)+`.*$`, pyre.Multiline).Match
	}
	return func(t *text) (bool, string, error) {
		ok, err := has(t.lower())
		if !ok {
			return false, fmt.Sprintf("no postscript that begins with %q", marker), err
		}
		return true, fmt.Sprintf("has a postscript that begins with %q", marker), err
	}
}

// spelled says whether s has the parts in a row, with at most one white-space character between them.
func spelled(s string, parts ...string) bool {
next:
	for i := 0; ; i++ {
		at := strings.Index(s[i:], parts[0])
		if at < 0 {
			return false
		}
		i += at
		end := i + len(parts[0])
		for _, p := range parts[1:] {
			if end = skipOneSpace(s, end); !strings.HasPrefix(s[end:], p) {
				continue next
			}
			end += len(p)
		}
		return true
	}
}

func numberBullets(a *args) check {
	want := a.count("num_bullets", 0)
	return func(t *text) (bool, string, error) {
		n := bullets(t.s)
		return n == want, fmt.Sprintf("%d bullets, want %d", n, want), nil
	}
}

// options are the answers of constrained_response.
var options = []string{"My answer is yes.", "My answer is no.", "My answer is maybe."}

func constrained(*args) check {
	return found("has one of the options", "has none of "+fmt.Sprintf("%q", options), func(s string) bool {
		return slices.ContainsFunc(options, func(o string) bool { return strings.Contains(s, o) })
	})
}

func numberHighlights(a *args) check {
	return counted(limit{n: a.count("num_highlights", 0)}, "highlighted parts", highlights)
}

func multipleSections(a *args) check {
	splitter := strip(a.str("section_spliter"))
	l := limit{n: a.count("num_sections", 0)}
	what := fmt.Sprintf("sections that begin with %q and a number", splitter)
	if isPlain(splitter) {
		return counted(l, what, func(s string) int { return sections(s, splitter) })
	}
	re := a.regexp("section_spliter", `\s?`+splitter+`\s?\d+\s?`, 0)
	return func(t *text) (bool, string, error) {
		n, err := re.Count(t.s)
		if err != nil {
			return false, "", err
		}
		// The reference splits at the matches and counts the parts, to which Python adds one for
		// each group of the expression.
		n *= 1 + re.Groups()
		return l.holds(n), fmt.Sprintf("%d %s, want %v", n, what, l), nil
	}
}

func jsonFormat(*args) check {
	return found("is JSON", "is not JSON", wrappedJSON)
}

func title(*args) check {
	return found("has a title in << >>", "no title in << >>", titled)
}

func twoAnswers(*args) check {
	return found("has two different responses", "not two different responses with ****** between them", twoResponses)
}

func repeatPrompt(a *args) check {
	prompt := lower(strip(a.str("prompt_to_repeat")))
	if a.err == nil && a.values["prompt_to_repeat"] == "" {
		a.fail("prompt_to_repeat", "empty", "the text to repeat")
	}
	return func(t *text) (bool, string, error) {
		if strings.HasPrefix(lower(strip(t.s)), prompt) {
			return true, "begins with the request", nil
		}
		return false, "does not begin with the request, word for word", nil
	}
}

func endChecker(a *args) check {
	phrase := strip(a.str("end_phrase"))
	lowered := lower(phrase)
	return func(t *text) (bool, string, error) {
		if strings.HasSuffix(lower(strings.Trim(strip(t.s), `"`)), lowered) {
			return true, fmt.Sprintf("ends with %q", phrase), nil
		}
		return false, fmt.Sprintf("does not end with %q", phrase), nil
	}
}

func quotation(*args) check {
	return found("is in double quotation marks", "is not in double quotation marks", func(s string) bool {
		s = strip(s)
		return len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"'
	})
}

func capitalWordFrequency(a *args) check {
	return counted(a.limit("capital_frequency", "capital_relation"), "words in capitals", capitalWords)
}

func englishCapital(*args) check {
	return oneCase("capitals", allUpper)
}

func englishLowercase(*args) check {
	return oneCase("lower case", allLower)
}

// oneCase makes a check of English text in one case.
func oneCase(what string, holds func(string) bool) check {
	return func(t *text) (bool, string, error) {
		if !holds(t.s) {
			return false, "is not all in " + what, nil
		}
		ok, reason := inLanguage(t.s, "en")
		return ok, reason, nil
	}
}

func noComma(*args) check {
	return func(t *text) (bool, string, error) {
		n := strings.Count(t.s, ",")
		return n == 0, fmt.Sprintf("%d commas, want none", n), nil
	}
}
