package golden

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

func TestParse(t *testing.T) {
	f := func(text string, want map[Key][]string) {
		t.Helper()
		got, err := Parse("g.jsonl", []byte(text))
		if err != nil || !reflect.DeepEqual(got.outputs, want) {
			t.Errorf("%q: %v, %v", text, got.outputs, err)
		}
	}
	f("", map[Key][]string{})
	f("\n\r\n", map[Key][]string{})
	f(`{"case":"a","output":"x"}`, map[Key][]string{{Case: "a"}: {"x"}})
	f(`{"output":"z","case":"a"}`+"\r\n"+`{"case":"a","output":"x"}`+"\n\n"+`{"case":"a","provider":"p","output":""}`, map[Key][]string{{Case: "a"}: {"x", "z"}, {Case: "a", Provider: "p"}: {""}})
	f(`{"case":"a","output":"  x\n"}`, map[Key][]string{{Case: "a"}: {"  x\n"}})
}

func TestParseRefuses(t *testing.T) {
	f := func(text string, parts ...string) {
		t.Helper()
		_, err := Parse("g.jsonl", []byte(text))
		if _, ok := errors.AsType[config.Errors](err); !ok {
			t.Errorf("%q: %v", text, err)
			return
		}
		for _, p := range parts {
			if !strings.Contains(err.Error(), p) {
				t.Errorf("%q: %q does not say %q", text, err, p)
			}
		}
	}
	good := `{"case":"a","output":"x"}` + "\n"
	f(good+`{"case":"a","output":"x"}`, "g.jsonl:2:", "line 1")
	f(good+`{"case":"a","outputs":"y"}`, "g.jsonl:2:", `unknown field "outputs"`)
	f(`{"case":"a"}`, "g.jsonl:1:", "no output")
	f(`{"case":"a","output":null}`, "no output")
	f(`{"output":"x"}`, "no id")
	f(`{"case":"","output":"x"}`, "no id")
	f(`{"case":1,"output":"x"}`, "g.jsonl:1:", "number")
	f(`{"case":"a","output":"x","output":"y"}`, "output: given twice")
	f(`{"case":"a","Output":"x"}`, "Output: unknown key")
	f(`{"case":"a","output":"x"} {}`, "follows")
	f(`{"case":"a","output":"x"`, "g.jsonl:1:")
	f("[]", "g.jsonl:1:")
	f("null", "no id")
	f("<<<<<<< HEAD\n"+good+"=======\n>>>>>>> x\n", "g.jsonl:1:", "g.jsonl:3:", "merge")
	f("{\"case\":\"a\",\"output\":\"\xff\"}", "UTF-8")
	f(strings.Repeat("x\n", 100), "g.jsonl:20:")
}

func TestAccepted(t *testing.T) {
	file, err := Parse("g.jsonl", []byte(`{"case":"a","output":"all"}
{"case":"a","provider":"p","output":"p only"}
{"case":"a","prompt":"q","output":"q only"}
{"case":"a","provider":"p","prompt":"q","output":"both"}
{"case":"a","provider":"p","prompt":"q","output":"all"}
`))
	if err != nil {
		t.Fatal(err)
	}
	f := func(k Key, want ...string) {
		t.Helper()
		if got := file.Accepted(k); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %q, want %q", k, got, want)
		}
	}
	f(Key{"a", "p", "q"}, "all", "p only", "q only", "both")
	f(Key{"a", "p", "x"}, "all", "p only")
	f(Key{"a", "x", "q"}, "all", "q only")
	f(Key{"a", "x", "x"}, "all")
	f(Key{"b", "p", "q"})
	f(Key{"", "p", "q"})
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "g.jsonl")
	file, err := Load(path)
	if err != nil || file.Len() != 0 {
		t.Fatalf("%+v, %v", file, err)
	}
	empty := file.Hash()
	file.Set(Key{Case: "b"}, []string{"two", "one", "two"})
	file.Set(Key{Case: "a", Provider: "p"}, []string{"<b>\n“x” & y"})
	file.Set(Key{Case: "a"}, []string{"x"})
	file.Set(Key{Case: "c"}, []string{"gone"})
	file.Set(Key{Case: "c"}, nil)
	if err := file.Write(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"case":"a","output":"x"}
{"case":"a","provider":"p","output":"<b>\n“x” & y"}
{"case":"b","output":"one"}
{"case":"b","output":"two"}
`
	if string(b) != want {
		t.Errorf("got %s", b)
	}
	again, err := Load(path)
	if err != nil || again.Hash() != file.Hash() || again.Hash() == empty || !reflect.DeepEqual(again.outputs, file.outputs) || again.Len() != 4 {
		t.Errorf("%+v, %v", again, err)
	}
	// What cannot be kept is refused, and the file stays as it is.
	again.Set(Key{Case: "d"}, []string{"\xff"})
	if err := again.Write(); err == nil {
		t.Error("bytes that are no text were written")
	}
	if after, _ := os.ReadFile(path); string(after) != want {
		t.Error("a refused write changed the file")
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestNormalize(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := Normalize(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("  \t\n", "")
	f("The  Sky\nis BLUE.", "the sky is blue")
	f("ＦＵＬＬ　ｗｉｄｔｈ ﬁ ① ²", "full width fi 1 2")
	f("Straße", "strasse")
	f("Ꮡꮡ", "ꮡꮡ") // Cherokee folds to capitals
	f("“It’s” — (fine), «really»!", "it's fine really")
	f("**Bold** and `code`", "bold and code")
	f("3.14, -5; .5 -.5 -$5 100% 1,000 5. (7) - x", "3.14 -5 .5 -.5 -$5 100% 1,000 5 7 x")
	f("−5", "-5")
	f("“It’s −5 %!”", "it's -5")
	f("don't e-mail a.b@c.d #5", "don't e-mail a.b@c.d 5")
	f("5 + 3 = 8 < 9", "5 + 3 = 8 < 9")
	f("e\u0301 \u00e9", "\u00e9 \u00e9")
	f("a\u200bb", "a\u200bb")
	f("%", "")
	f("...", "")
}

// What differs in more than form must not become equal.
func TestNormalizeKeepsNumbersApart(t *testing.T) {
	for _, p := range [][2]string{{"-5", "5"}, {"3.14", "314"}, {"0.5", "05"}, {".5", "5"}, {"5%", "5"}, {"1,5", "15"}, {"$5", "5"}, {"+5", "5"}, {"a<b", "a>b"}, {"no", "not"}, {"2^3", "23"}, {"1/2", "12"}} {
		if Normalize(p[0]) == Normalize(p[1]) {
			t.Errorf("%q and %q are the same after normalization", p[0], p[1])
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"The sky.", "“-$.5%”", "\xff", "İ", "ﷺ", "ß\u0345", "-\u0301", "．５"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := Normalize(s)
		if twice := Normalize(once); twice != once {
			t.Errorf("%q becomes %q and then %q", s, once, twice)
		}
	})
}

func joined(pieces []Piece, without Op) string {
	var b strings.Builder
	for _, p := range pieces {
		if p.Op != without {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

func TestWords(t *testing.T) {
	f := func(before, after, want string) {
		t.Helper()
		var b strings.Builder
		for _, p := range Words(before, after) {
			switch p.Op {
			case Removed:
				b.WriteString("[-" + p.Text + "-]")
			case Added:
				b.WriteString("{+" + p.Text + "+}")
			default:
				b.WriteString(p.Text)
			}
		}
		if b.String() != want {
			t.Errorf("%q, %q: %s, want %s", before, after, b.String(), want)
		}
	}
	f("", "", "")
	f("a", "a", "a")
	f("", "a b", "{+a b+}")
	f("a b", "", "[-a b-]")
	f("the sky is blue", "the sky was blue", "the sky [-is-]{+was+} blue")
	f("a b c d", "a c d e", "a [-b -]c d{+ e+}")
	f("it is blue and so on", "it was grey and so on", "it [-is blue-]{+was grey+} and so on")
	f("one\ntwo", "one\n\ntwo", "one\n{+\n+}two")
}

func FuzzWords(f *testing.F) {
	f.Add("a b c", "a c d")
	f.Add(" \n\n", "\t")
	f.Add("\xff a", "a \xff")
	f.Fuzz(func(t *testing.T, before, after string) {
		p := Words(before, after)
		if joined(p, Added) != before || joined(p, Removed) != after {
			t.Errorf("%q, %q: %+v", before, after, p)
		}
		for i := 1; i < len(p); i++ {
			if p[i].Op == p[i-1].Op || p[i].Text == "" {
				t.Errorf("%q, %q: %+v", before, after, p)
			}
		}
	})
}

func TestLongTextsAreBounded(t *testing.T) {
	a, b := strings.Repeat("a x ", 5000), strings.Repeat("b y ", 5000)
	p := Words("head "+a+"tail", "head "+b+"tail")
	if len(p) != 4 || joined(p, Added) != "head "+a+"tail" {
		t.Errorf("%d pieces", len(p))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"case":"a","output":"x"}` + "\n" + `{"case":"a","provider":"p","prompt":"q","output":"y\u0000"}`))
	f.Add([]byte("{\"case\":\"a\",\"output\":\"\xff\"}"))
	f.Add([]byte("<<<<<<<"))
	f.Add([]byte(`{"case":"\ud800","output":"\ud800"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("g.jsonl", data)
		if err != nil {
			return
		}
		again, err := Parse("g.jsonl", file.encode())
		if err != nil || again.Hash() != file.Hash() || !reflect.DeepEqual(again.outputs, file.outputs) {
			t.Errorf("%q came back as %q, %v", data, file.encode(), err)
		}
	})
}
