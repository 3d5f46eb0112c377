package ifeval

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

type reference struct {
	Verdicts []struct {
		ID            string
		Kwargs        map[string]any
		Response      string
		Strict, Loose bool
	}
	Words []struct {
		Text             string
		Sentences, Words []string
	}
}

func readReference(t testing.TB) reference {
	t.Helper()
	raw, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var r reference
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVerdictsOfTheReference(t *testing.T) {
	type outcome struct{ strict, loose bool }
	seen := map[string]map[outcome]bool{}
	for _, v := range readReference(t).Verdicts {
		c, err := Compile([]string{v.ID}, []map[string]any{v.Kwargs})
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		got, err := c.Check(v.Response)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if r := got[0]; r.Strict != v.Strict || r.Loose != v.Loose || r.ID != v.ID || r.Reason == "" {
			t.Errorf("%s %v on %q: strict %v loose %v (%s), want %v %v", v.ID, v.Kwargs, v.Response, r.Strict, r.Loose, r.Reason, v.Strict, v.Loose)
		}
		if seen[v.ID] == nil {
			seen[v.ID] = map[outcome]bool{}
		}
		seen[v.ID][outcome{v.Strict, v.Loose}] = true
	}
	// Each must be seen to pass and to fail, or the test would not notice a check that does not check.
	for _, id := range IDs() {
		if o := seen[id]; !o[outcome{true, true}] || !o[outcome{false, false}] {
			t.Errorf("%s: cases of %v only", id, o)
		}
	}
}

func TestSentencesAndWordsOfNLTK(t *testing.T) {
	for _, w := range readReference(t).Words {
		got := splitSentences(w.Text)
		if !slices.Equal(got, w.Sentences) {
			t.Errorf("sentences of %q: %q, want %q", w.Text, got, w.Sentences)
			continue
		}
		var words []string
		for _, s := range got {
			words = append(words, treebankWords(s)...)
		}
		if !slices.Equal(words, w.Words) {
			t.Errorf("words of %q: %q, want %q", w.Text, words, w.Words)
		}
	}
}

func TestBlankFollowsNothing(t *testing.T) {
	f := func(response string) {
		t.Helper()
		c, err := Compile([]string{"punctuation:no_comma", "length_constraints:number_words", "language:response_language"},
			[]map[string]any{{}, {"num_words": 5, "relation": "less than"}, {"language": "en"}})
		if err != nil {
			t.Fatal(err)
		}
		rs, err := c.Check(response)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			if r.Strict || r.Loose {
				t.Errorf("%s holds for %q", r.ID, response)
			}
		}
	}
	f("")
	f(" \n\t\u3000\x1f")
}

func TestArguments(t *testing.T) {
	ok := func(id string, kw map[string]any) {
		t.Helper()
		if _, err := Compile([]string{id}, []map[string]any{kw}); err != nil {
			t.Errorf("%v", err)
		}
	}
	for _, n := range []any{3, int64(3), uint64(3), 3.0} {
		ok("detectable_format:number_bullet_lists", map[string]any{"num_bullets": n})
	}
	ok("keywords:existence", map[string]any{"keywords": []string{"a"}})
	ok("keywords:existence", map[string]any{"keywords": []any{"a"}, "num_words": nil, "relation": nil, "other": 5})
	ok("en:punctuation:no_comma", nil)
	ok("language:response_language", map[string]any{"language": "zh"})
	ok("keywords:letter_frequency", map[string]any{"letter": "#", "let_frequency": 4, "let_relation": "at least"})

	f := func(id string, kw map[string]any, arg string, want ...string) {
		t.Helper()
		_, err := Compile([]string{"punctuation:no_comma", id}, []map[string]any{nil, kw})
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s %v: error %v, want an *Error", id, kw, err)
			return
		}
		if e.Index != 1 || e.ID != id || e.Arg != arg {
			t.Errorf("%s %v: %+v, want argument %q of instruction 1", id, kw, e, arg)
		}
		for _, w := range append(want, id) {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v, want it to say %q", err, w)
			}
		}
	}
	f("keywords:exist", nil, "", "unknown instruction", "keywords:existence")
	f("es:punctuation:no_comma", nil, "", "unknown instruction")
	f("keywords:existence", nil, "keywords", "missing", "list")
	f("keywords:existence", map[string]any{"keywords": []any{}}, "keywords", "empty")
	f("keywords:existence", map[string]any{"keywords": []any{"a", 3}}, "keywords", "3")
	f("keywords:existence", map[string]any{"keywords": "a"}, "keywords", `"a"`)
	f("keywords:existence", map[string]any{"keywords": []any{"c++"}}, "keywords", "c++", "multiple repeat")
	f("keywords:forbidden_words", map[string]any{"forbidden_words": []any{"a", "(b"}}, "forbidden_words", "missing )")
	f("keywords:frequency", map[string]any{"keyword": "a", "frequency": 1, "relation": "at most"}, "relation", `"at most"`, "less than")
	f("keywords:frequency", map[string]any{"keyword": " ", "frequency": 1, "relation": "at least"}, "keyword", "blank")
	f("keywords:frequency", map[string]any{"keyword": "a", "frequency": -1, "relation": "at least"}, "frequency", "-1", "0 or more")
	f("keywords:frequency", map[string]any{"keyword": "a", "frequency": 1.5, "relation": "at least"}, "frequency", "1.5", "whole")
	f("keywords:frequency", map[string]any{"keyword": "a", "frequency": "3", "relation": "at least"}, "frequency", `"3"`)
	f("keywords:frequency", map[string]any{"keyword": "a", "frequency": 1}, "relation", "missing")
	f("keywords:letter_frequency", map[string]any{"letter": "ab", "let_frequency": 1, "let_relation": "at least"}, "letter", "one character")
	f("language:response_language", map[string]any{"language": "xx"}, "language", "unknown language")
	f("length_constraints:nth_paragraph_first_word", map[string]any{"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"}, "nth_paragraph", "3")
	f("combination:repeat_prompt", map[string]any{"prompt_to_repeat": nil}, "prompt_to_repeat", "missing")
	f("combination:repeat_prompt", map[string]any{"prompt_to_repeat": ""}, "prompt_to_repeat", "empty")

	if _, err := Compile(nil, nil); err == nil {
		t.Error("no instructions compiled")
	}
	if _, err := Compile([]string{"punctuation:no_comma"}, nil); err == nil {
		t.Error("an id without arguments compiled")
	}
}

func TestRunawayKeywordIsAnError(t *testing.T) {
	c, err := Compile([]string{"keywords:existence"}, []map[string]any{{"keywords": []string{"(a|aa)+$"}}})
	if err != nil {
		t.Fatal(err)
	}
	if rs, err := c.Check(strings.Repeat("a", 200) + "b"); err == nil {
		t.Errorf("verdict %v without knowing", rs)
	}
}

func TestPythonJSON(t *testing.T) {
	f := func(s string, want bool) {
		t.Helper()
		if got := pythonJSON(s); got != want {
			t.Errorf("%.40q: %v, want %v", s, got, want)
		}
	}
	for _, s := range []string{`{}`, `[]`, `[[[]],{"a":[1,-0.5e+3]}]`, `"x\u00e9\ud800"`, "\t1\r\n", "NaN", "-Infinity", `{"a":1,"a":2}`, "0", "\"\u2028\x7f\""} {
		f(s, true)
	}
	for _, s := range []string{"", "{", "[1,]", `{"a":1,}`, "01", "1.", "1e", ".5", "+1", "-", "nul", "True", "'a'", `{"a" 1}`, `{1:2}`, "[1 2]", "1 2", "\"a\nb\"", `"\x41"`, `"\u12g4"`, "\ufeff1", "]", "{]", "[}", "[,1]"} {
		f(s, false)
	}
	f(strings.Repeat("[", 1_000_000)+strings.Repeat("]", 1_000_000), true)
	f(strings.Repeat("[", 1_000_000), false)
	f(strings.Repeat("9", 4300), true)
	f(strings.Repeat("9", 4301), false)
	f(strings.Repeat("9", 5000)+".0", true)
}

func TestLower(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := lower(in); got != want {
			t.Errorf("lower(%q) = %q, want %q", in, got, want)
		}
	}
	f("ABC É", "abc é")
	f("ΟΔΟΣ ΣΑΣ", "οδος σας")
	f("Σ", "σ")
	f("ΑΣ'", "ας'")
	f("ΑΣ'Α", "ασ'α")
	f("İI", "i\u0307i")
}

func TestCheckerIsSafeForConcurrentUse(t *testing.T) {
	c, err := Compile([]string{"length_constraints:number_sentences", "keywords:existence"},
		[]map[string]any{{"num_sentences": 2, "relation": "at least"}, {"keywords": []string{"b.t"}}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			rs, err := c.Check("A bat. It flew.")
			if err != nil || !rs[0].Strict || !rs[1].Strict {
				t.Errorf("%v %v", rs, err)
			}
		})
	}
	wg.Wait()
}

// No answer may take time that grows with the square of its length.
func TestLongAnswers(t *testing.T) {
	ids, kwargs := everyInstruction("word", 3, "at least")
	c, err := Compile(ids, kwargs)
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"\n", " ", "*", "-\n", "[", "<<", ".", "! ", "'", "\"", "a. ", "P. ", "word ", "{", "`", "``", "'\n"} {
		if _, err := c.Check(strings.Repeat(unit, 20_000/len(unit))); err != nil {
			t.Errorf("%q: %v", unit, err)
		}
	}
}

// everyInstruction lists all ids with arguments made of s, n and relation.
func everyInstruction(s string, n int, relation string) ([]string, []map[string]any) {
	kw := map[string]any{
		"keywords": []any{s}, "keyword": s, "frequency": n, "relation": relation, "forbidden_words": []any{s, "x"},
		"letter": s, "let_frequency": n, "let_relation": relation, "language": "en", "num_sentences": n, "num_paragraphs": n,
		"num_words": n, "nth_paragraph": 1, "first_word": s, "num_placeholders": n, "postscript_marker": s, "num_bullets": n,
		"num_highlights": n, "section_spliter": s, "num_sections": n, "prompt_to_repeat": s, "end_phrase": s,
		"capital_frequency": n, "capital_relation": relation,
	}
	if len(s) > 0 {
		kw["letter"] = s[:1]
	}
	ids := IDs()
	kwargs := make([]map[string]any, len(ids))
	for i := range kwargs {
		kwargs[i] = kw
	}
	return ids, kwargs
}

func FuzzCheck(f *testing.F) {
	f.Add("A word. [x] *y* <<z>>\n\n***\n* b\n- c\nP.S. d", "word", 2, "at least")
	f.Add("\"{\"a\": 1}\"", "c++", -1, "less than")
	f.Add("\xff\x1f\u2028İΣ'", `\b(a|b)?`, 0, "at most")
	for i, v := range readReference(f).Verdicts {
		if i%10 == 0 {
			f.Add(v.Response, "a", 1, "less than")
		}
	}
	f.Fuzz(func(t *testing.T, response, s string, n int, relation string) {
		if len(s) > 40 || len(response) > 2000 {
			t.Skip("long texts only slow the search down")
		}
		ids, kwargs := everyInstruction(s, n, relation)
		for i := range ids {
			c, err := Compile(ids[i:i+1], kwargs[i:i+1])
			if err != nil {
				continue
			}
			rs, err := c.Check(response)
			if err != nil {
				continue
			}
			if len(rs) != 1 || rs[0].Strict && !rs[0].Loose || blank(response) && rs[0].Loose {
				t.Fatalf("%s on %q: %+v", ids[i], response, rs)
			}
		}
	})
}

// BenchmarkCheck checks an answer of 250 words against three instructions, as IFEval's prompts have.
func BenchmarkCheck(b *testing.B) {
	response := strings.Repeat("The harbour was quiet that morning. Mr. Hale counted *twelve* boats and wrote it down.\n\n", 16)
	c, err := Compile([]string{"length_constraints:number_sentences", "keywords:forbidden_words", "detectable_format:number_highlighted_sections"},
		[]map[string]any{{"num_sentences": 20, "relation": "at least"}, {"forbidden_words": []string{"storm", "wind"}}, {"num_highlights": 5}})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Check(response); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Check(response); err != nil {
			b.Fatal(err)
		}
	}
}
