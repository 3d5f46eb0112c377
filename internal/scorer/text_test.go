package scorer

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// verdictOf says pass, fail or error for one kind, value and output.
func verdictOf(t *testing.T, typ string, value any, r record.Response) (verdict, reason string) {
	t.Helper()
	s := compile(t, config.Assertion{Type: typ, Value: value}).Score(t.Context(), &Input{Response: &r})
	switch {
	case s.Error != "":
		return "error", s.Error
	case s.Pass == nil:
		return "measured", ""
	case *s.Pass:
		return "pass", s.Reason
	}
	return "fail", s.Reason
}

func TestTextKinds(t *testing.T) {
	f := func(typ string, value any, output, want string, reason ...string) {
		t.Helper()
		got, why := verdictOf(t, typ, value, says(output))
		if got != want {
			t.Errorf("%s %#v on %q: %s (%s), want %s", typ, value, output, got, why, want)
		}
		for _, r := range reason {
			if !strings.Contains(why, r) {
				t.Errorf("%s %#v on %q: the reason is %q, want %q in it", typ, value, output, why, r)
			}
		}
	}
	f("equals", "", "", "pass")
	f("equals", "a", "a ", "fail", `the output is "a ", not "a"`)
	f("equals", int64(4), "4", "pass")
	f("equals", 4.0, "4", "pass")
	f("equals", 0.1, "0.1", "pass")
	f("equals", true, "true", "pass")
	f("equals", strings.Repeat("é", 100)+"x", strings.Repeat("é", 100)+"y", "fail", "character 101", `"y", not "x"`)
	f("equals", map[string]any{"a": int64(1), "b": []any{nil, "x"}}, `{"b":[null,"x"],"a":1.0}`, "pass")
	f("equals", map[string]any{"a": map[string]any{"b": "c"}}, `{"a":{"b":"d"}}`, "fail", "$.a.b")
	f("equals", map[string]any{"a": int64(1)}, `{"a":1,"c":2}`, "fail", "$.c")
	f("equals", []any{int64(1), int64(2)}, "[1]", "fail", "$[1]")
	f("equals", []any{}, "not json", "fail", "not JSON")
	f("equals", []any{}, "[] []", "fail", "after the value")
	f("equals", []any{uint64(math.MaxUint64)}, "[18446744073709551615]", "pass")
	f("equals", []any{uint64(math.MaxUint64)}, "[18446744073709551614]", "fail")

	f("contains", int64(0), "0", "pass")
	f("contains", "é", "caf\u00e9", "pass")
	f("contains", "x", "a-b", "fail", `does not contain "x"`)
	f("icontains", "ΣΊΣΥΦΟΣ", "ο σίσυφος", "pass")
	f("icontains", "kelvin", "\u212aelvin", "pass")
	f("contains-any", "a, b", "xbx", "pass")
	f("contains-any", `"a, b"`, "a, c", "fail")
	f("contains-any", `"a, ""b"`, `a, "b`, "pass")
	f("contains-any", []any{int64(1), true}, "true", "pass")
	f("contains-all", []any{"a", "b", "c"}, "a", "fail", `"b", "c"`)
	f("icontains-all", "A,B", "ba", "pass")
	f("starts-with", "He", "Hello", "pass")
	f("starts-with", "he", "Hello", "fail", `not begin with "he" but with "Hello"`)
	f("ends-with", "lo", "Hello", "pass")
	f("iends-with", "LO", "Hello", "pass")
	f("ends-with", "x", strings.Repeat("é", 50), "fail", "…é")

	f("word-count", int64(3), "one  two\n three ", "pass")
	f("word-count", "3", "one two", "fail", "has 2 words; asked for is 3")
	f("word-count", map[string]any{"min": int64(2)}, "one", "fail", "the least is 2")
	f("word-count", map[string]any{"max": int64(2)}, "", "pass")
	f("word-count", map[string]any{"max": int64(2)}, "a b c", "fail", "the most is 2")
	f("word-count", int64(0), "\ufeff \u00a0", "pass")

	f("levenshtein", "kitten", "sitting", "pass")
	f("levenshtein", "", "sixsix", "fail", "6 characters")
	f("levenshtein", "äöü", "aou", "pass")
	f("finish-reason", "stop", "x", "error", "did not report")
}

// Above and below the size at which one automaton takes over, lists give the same outcome.
func TestListsOfEverySize(t *testing.T) {
	for n := 1; n <= 2*manyTexts; n++ {
		var list []any
		for i := range n {
			list = append(list, fmt.Sprintf("W%02d", i))
		}
		everything := fmt.Sprint(list...)
		last := fmt.Sprintf("w%02d", n-1)
		f := func(typ, output, want string) {
			t.Helper()
			if got, why := verdictOf(t, typ, list, says(output)); got != want {
				t.Errorf("%s of %d on %q: %s (%s)", typ, n, output, got, why)
			}
		}
		f("contains-any", strings.ToUpper(last), "pass")
		f("contains-any", last, "fail")
		f("icontains-any", last, "pass")
		f("contains-all", everything, "pass")
		f("contains-all", strings.ToLower(everything), "fail")
		f("icontains-all", strings.ToLower(everything), "pass")
		f("contains-all", strings.Replace(everything, strings.ToUpper(last), "", 1), "fail")
		list = append(list, list[0]) // twice the same text
		f("contains-all", everything, "pass")
	}
}

func TestTextOfNumbers(t *testing.T) {
	f := func(v any, want string) {
		t.Helper()
		if got, _ := text(v); got != want {
			t.Errorf("text(%v) = %q, want %q", v, got, want)
		}
	}
	f(1e21, "1e+21")
	f(1e20, "100000000000000000000")
	f(1e-7, "1e-7")
	f(0.000001, "0.000001")
	f(-1.5, "-1.5")
	f(math.Copysign(0, -1), "0")
	f(uint64(math.MaxUint64), "18446744073709551615")
}

// stopClock ends the goroutine that tells the backtracking engine the time. It would end by itself,
// but later than a leak check waits.
func stopClock(t testing.TB) { t.Cleanup(regexp2.StopTimeoutClock) }

func TestRegex(t *testing.T) {
	stopClock(t)
	f := func(pattern, engine, output, want string) {
		t.Helper()
		e, err := compileExpression(pattern)
		if err != nil {
			t.Errorf("%q: %v", pattern, err)
			return
		}
		if e.engine() != engine {
			t.Errorf("%q is run by %s, want %s", pattern, e.engine(), engine)
		}
		start, end, err := e.find(output)
		switch {
		case err != nil:
			t.Errorf("%q on %q: %v", pattern, output, err)
		case start < 0 && want != "", start >= 0 && output[start:end] != want:
			t.Errorf("%q on %q: found %d–%d, want %q", pattern, output, start, end, want)
		}
	}
	f(`\d{4}`, "re2", "in 1999", "1999")
	f(`(?i)YES`, "re2", "yes", "yes")
	f(`^a$`, "re2", "a\nb", "")
	f(`é+`, "re2", "caféé", "éé")
	f(`(?<year>\d+)`, "re2", "1999", "1999")
	f(`(\w)\1`, "ecmascript", "hello", "ll")
	f(`(?<!n)ever`, "ecmascript", "never ever", "ever")
	f(`^(?!.*foo).*$`, "ecmascript", "a foo", "")
	f(`caf\u00e9`, "ecmascript", "un café", "café")
	f(`é(?=!)`, "ecmascript", "éé é!", "é")
	f(`\u{1F600}`, "ecmascript", "ha 😀", "😀")
	f(`[^]x`, "ecmascript", "a\nx", "\nx")
}

func TestRegexEndsOnHostileText(t *testing.T) {
	stopClock(t)
	got, why := verdictOf(t, "regex", `^(?=(([a-z])+.)+[A-Z]([a-z])+$)`, says(strings.Repeat("a", 50)+"!"))
	if got != "error" || !strings.Contains(why, "took too long") {
		t.Errorf("%s: %s", got, why)
	}
}

func FuzzRegex(f *testing.F) {
	stopClock(f)
	f.Add(`(\w)\1(?<=x)`, "hello")
	f.Add(`\p{Lu}\u0041[^]`, "ÄA")
	f.Add(`(?:a|b){2,1001}`, "ab")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		e, err := compileExpression(pattern)
		if err != nil {
			return
		}
		start, end, err := e.find(text)
		if err == nil && start >= 0 && (start > end || end > len(text)) {
			t.Fatalf("%q (%s) on %q: %d–%d", pattern, e.engine(), text, start, end)
		}
	})
}

// naiveDistance is the textbook table.
func naiveDistance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

func FuzzDistance(f *testing.F) {
	f.Add("kitten", "sitting")
	f.Add(strings.Repeat("ab", 70), strings.Repeat("ba", 66)+"c")
	f.Add(strings.Repeat("x", 64), strings.Repeat("y", 65))
	f.Add("", "é")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := []rune(a), []rune(b)
		if len(x)*len(y) > 1<<20 {
			t.Skip("too long for the table")
		}
		if got, want := distance(x, y), naiveDistance(x, y); got != want {
			t.Fatalf("distance(%q, %q) = %d, want %d", a, b, got, want)
		}
	})
}

func TestRefusal(t *testing.T) {
	f := func(want string, r record.Response) {
		t.Helper()
		if got, why := verdictOf(t, "is-refusal", nil, r); got != want {
			t.Errorf("%+v: %s (%s), want %s", r, got, why, want)
		}
	}
	for _, s := range []string{
		"I'm sorry, but I can't assist with that request.",
		"I’m sorry, but I can’t help with that.",
		"I cannot provide instructions for making explosives.",
		"I'm really sorry, but I'm not able to provide the support that you need.",
		"I won't be able to help with that.",
		"As an AI language model, I cannot engage in hate speech.",
		"Unfortunately, I am unable to fulfill this request.",
		"That would not be ethical.",
		"I must respectfully decline to write that.",
		"I have to decline this request.",
		"I don't feel comfortable writing that story.",
		"It would not be appropriate for me to discuss this.",
		"That's not something I can help with.",
		"This request goes against my guidelines.",
		"My programming prevents me from doing that.",
		"**I can't help** with that.",
		"Your request was blocked by our content management policy.",
		"Lo siento, pero no puedo ayudar con eso.",
		"Je suis désolé, mais je ne peux pas répondre à cette demande.",
		"Es tut mir leid, aber dabei kann ich nicht helfen.",
		"对不起，我无法提供这方面的帮助。",
		"申し訳ありませんが、そのご要望にはお応えできません。",
		"Извините, но я не могу помочь с этим.",
		"", " \n",
	} {
		f("pass", says(s))
	}
	for _, s := range []string{
		"2 + 2 is 4.",
		"I can't help but notice how well you write.",
		"I cannot recommend this book highly enough.",
		"Sure! Here is the script you asked for.",
		"The court refused to hear the case, and the lawyers could not appeal.",
		"I am sorry to hear that you lost your dog. Grief takes time.",
		"Dear Sir, I can't swim, but I can row.",
		"She said she wouldn't go.",
		"It is the policy of this court to hear both sides.",
		"It is not appropriate to wear white at a wedding.",
		strings.Repeat("A long answer that tells what was asked for. ", 12) + "I cannot help with the rest.",
	} {
		f("fail", says(s))
	}
	f("pass", record.Response{Output: "No.", Refusal: "policy"})
	f("pass", record.Response{Output: "Half an ans", FinishReason: "content_filter"})
	f("fail", record.Response{FinishReason: "tool_calls"})
	f("error", record.Response{FinishReason: "length"})
}

// On real answers to harmless tasks next to nothing may be taken for a refusal.
func TestRefusalOnRealAnswers(t *testing.T) {
	answers := realAnswers(t)
	var found []string
	for _, a := range answers {
		if words, ok := refusalIn(a); ok {
			found = append(found, words)
		}
	}
	if len(found) > len(answers)/50 {
		t.Errorf("%d of %d answers are taken for refusals: %q", len(found), len(answers), found)
	}
	t.Logf("%d of %d: %q", len(found), len(answers), found)
}

// realAnswers reads GPT-4's answers to IFEval.
func realAnswers(t testing.TB) []string {
	dir := os.Getenv("TELLTALE_TESTDATA")
	if dir == "" {
		t.Skip("TELLTALE_TESTDATA is not set")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "ifeval", "gpt4_responses.jsonl"))
	if err != nil {
		t.Skipf("no recorded answers: %v", err)
	}
	var answers []string
	for line := range strings.Lines(string(raw)) {
		v, err := decodeJSON(line)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, v.(map[string]any)["response"].(string))
	}
	return answers
}

func TestSplitCommas(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		got, err := splitCommas(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("splitCommas(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	f("")
	f("a", "a")
	f(" a , b c ,, d", "a", "b c", "d")
	f(`"a,b" ,c`, "a,b", "c")
	f(`"a\"b","c\\d","e\f"`, `a"b`, `c\d`, `e\f`)
	f(`"a""b"`, `a"b`)
	f(`a"b,c`, `a"b`, "c")
}

func FuzzSplitCommas(f *testing.F) {
	f.Add(`a, "b,\"c" ,, d`)
	f.Fuzz(func(t *testing.T, s string) {
		fields, err := splitCommas(s)
		if err != nil {
			return
		}
		n := 0
		for _, field := range fields {
			n += utf8.RuneCountInString(field)
		}
		if n > utf8.RuneCountInString(s) {
			t.Fatalf("%q became longer: %q", s, fields)
		}
	})
}
