package pyre

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

func flags(s string) Flags {
	var f Flags
	for letter, flag := range map[string]Flags{"i": IgnoreCase, "m": Multiline, "s": DotAll} {
		if strings.Contains(s, letter) {
			f |= flag
		}
	}
	return f
}

func TestAgreesWithPython(t *testing.T) {
	raw, err := os.ReadFile("testdata/python.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Expr, Flags, Text, Error string
			Count, Groups            int
			Match                    bool
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 200 {
		t.Fatalf("%d cases", len(file.Cases))
	}
	for _, c := range file.Cases {
		re, err := Compile(c.Expr, flags(c.Flags))
		if (err != nil) != (c.Error != "") {
			t.Errorf("%q: error %v, Python's %q", c.Expr, err, c.Error)
			continue
		}
		if err != nil {
			continue
		}
		n, err := re.Count(c.Text)
		if n != c.Count || err != nil {
			t.Errorf("%q (%s) in %q: %d, %v, want %d", c.Expr, c.Flags, c.Text, n, err, c.Count)
		}
		if m, _ := re.Match(c.Text); m != c.Match {
			t.Errorf("%q (%s) in %q: match %v, want %v", c.Expr, c.Flags, c.Text, m, c.Match)
		}
		if re.Groups() != c.Groups {
			t.Errorf("%q: %d groups, want %d", c.Expr, re.Groups(), c.Groups)
		}
	}
}

// A plain word is searched for on another path than other expressions; both must agree.
func TestWordIsTheSameAsAnExpression(t *testing.T) {
	texts := []string{"", "cat", "Cat cats. concat CAT!", "ſtrasse STRASSE", "\u212am km", "é É e\u0301", "a-b a_b", "\xff cat\xfe", "ıI\u0130i"}
	for _, w := range []string{"cat", "s", "k", "i", "É", "a-b", "!", " ", "strasse", "\xff"} {
		for _, expr := range []string{w, `\b` + w + `\b`} {
			for _, f := range []Flags{0, IgnoreCase} {
				plain, err := Compile(expr, f)
				if err != nil {
					t.Fatal(err)
				}
				general, err := Compile("(?:"+expr+")|[^\\s\\S]", f)
				if err != nil {
					t.Fatal(err)
				}
				if plain.word == nil || general.word != nil {
					t.Fatalf("%q does not take both paths", expr)
				}
				for _, s := range texts {
					a, _ := plain.Count(s)
					b, err := general.Count(s)
					if a != b || err != nil {
						t.Errorf("%q in %q: %d as a word, %d as an expression, %v", expr, s, a, b, err)
					}
				}
			}
		}
	}
}

func TestErrors(t *testing.T) {
	f := func(expr, want string) {
		t.Helper()
		_, err := Compile(expr, 0)
		var se *SyntaxError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), want) || se.Expr != expr {
			t.Errorf("%q: %v, want %q", expr, err, want)
		}
	}
	f("c++", `multiple repeat (write \+`)
	f("*a", `nothing to repeat (write \*`)
	f("a**", "multiple repeat")
	f("(a", "missing )")
	f("a)", "unbalanced")
	f("[a", "unterminated character set")
	f("[b-a]", "bad character range")
	f(`\q`, `bad escape \q`)
	f(`\`, "bad escape")
	f(`(?<=a*)b`, "fixed-width")
	f(`\2(a)`, "invalid group reference 2")
	f(`(a\1)`, "open group")
	f(`(?P<x>a)(?P<x>b)`, "redefinition")
	f(`a{3,1}`, "min repeat")
	f(`a{9999999}`, "repeat of more than")
	f(`a(?i)b`, "global flags not at the start")
	f(`(?>a)`, "not supported")
	f(`(?a)b`, "not supported")
	f(strings.Repeat("(", 10_000), "nested")
}

func TestRunawayExpressionIsAnError(t *testing.T) {
	re, err := Compile("(a|aa)+$", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := re.Match(strings.Repeat("a", 200) + "b"); !errors.Is(err, ErrTooComplex) {
		t.Errorf("error %v, want ErrTooComplex", err)
	}
	// Nor may a long text exhaust the stack.
	re, err = Compile("(?:ab|c)*d", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := re.Match(strings.Repeat("ab", 1<<20)); !errors.Is(err, ErrTooComplex) {
		t.Errorf("error %v, want ErrTooComplex", err)
	}
}

func FuzzCount(f *testing.F) {
	for _, s := range []string{"cat", `\bcat\b`, "(a|b)*?c", `[^\W\d]+`, `(?P<n>a)(?P=n)`, "(?i)x{2,3}", "(?<!a)b", "a{,2}", "(?x) a #", "[]-a]"} {
		f.Add(s, "a cat, aab\nxx", uint8(0))
	}
	f.Fuzz(func(t *testing.T, expr, text string, fl uint8) {
		if len(expr) > 60 || len(text) > 60 {
			t.Skip("long texts only slow the search down")
		}
		re, err := Compile(expr, Flags(fl&15))
		if err != nil {
			return
		}
		n, err := re.Count(text)
		if err != nil {
			return
		}
		if m, err := re.Match(text); err == nil && m != (n > 0) {
			t.Fatalf("%q in %q: %d matches, match %v", expr, text, n, m)
		}
	})
}
