package textmetric

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestParseNumber(t *testing.T) {
	f := func(in string, want Number) {
		t.Helper()
		if got, ok := ParseNumber(in); got != want || ok != (want != "") {
			t.Errorf("ParseNumber(%q) = %q, %v, want %q", in, got, ok, want)
		}
	}
	f("18", "18")
	f("18.0", "18")
	f("18.", "18")
	f("$1,234.50", "1234.5")
	f("-$3.10", "-3.1")
	f("007", "7")
	f("-0.00", "0")
	f(".5", "0.5")
	f("9007199254740993", "9007199254740993") // beyond what a float64 tells apart
	f("", "")
	f("-", "")
	f("...", "")
	f(",", "")
	f("1.2.3", "")
	f("--1", "")
	f("1-", "")
	f("1e3", "")
	f("٣", "")
}

func TestStrictNumber(t *testing.T) {
	f := func(text, marker string, want Number) {
		t.Helper()
		if got, ok := StrictNumber(text, marker); got != want || ok != (want != "") {
			t.Errorf("StrictNumber(%q, %q) = %q, %v, want %q", text, marker, got, ok, want)
		}
	}
	f("It is 9.\n#### 18", GSM8KMarker, "18")
	f("#### -1,200.", GSM8KMarker, "-1200")
	f("#### 1 or #### 2", GSM8KMarker, "1")
	f("#### none, so #### 2", GSM8KMarker, "2")
	f("##### 4", GSM8KMarker, "4")
	f("####18", GSM8KMarker, "")
	f("#### $18", GSM8KMarker, "") // the published rule has no dollar sign
	f("#### ...", GSM8KMarker, "")
	f("#### ", GSM8KMarker, "")
	f("18", GSM8KMarker, "")
	f("so\nA: 18", "A:", "18")
}

func TestFlexibleNumber(t *testing.T) {
	f := func(text string, want Number) {
		t.Helper()
		if got, ok := FlexibleNumber(text); got != want || ok != (want != "") {
			t.Errorf("FlexibleNumber(%q) = %q, %v, want %q", text, got, ok, want)
		}
	}
	f("First 3, then 18.", "18")
	f("She pays $1,200.50", "1200.5")
	f("10-12", "-12")
	f("minus -5", "-5")
	f("7", "7")
	f("18 eggs!", "18")
	f("5 - 3", "3")
	f("18 and so on...", "") // the last match is not a number
	f("no digits.", "")
	f("", "")
	f("--", "")
}

// The scanner must find what the published expression finds.
func FuzzFlexibleNumber(f *testing.F) {
	rule := regexp.MustCompile(`(-?[$0-9.,]{2,})|(-?[0-9]+)`)
	strict := regexp.MustCompile(`#### (-?[0-9.,]+)`)
	for _, s := range []string{"a 1 b -2.5 c", "--..5-,", "$ $$ -$-5", "#### -,1 #### 2", "####  #### 7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got []string
		eachNumeral(s, func(m string) { got = append(got, m) })
		want := rule.FindAllString(s, -1)
		if len(got) != len(want) {
			t.Fatalf("%q: %q, want %q", s, got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%q: %q, want %q", s, got, want)
			}
		}
		n, ok := StrictNumber(s, GSM8KMarker)
		if m := strict.FindStringSubmatch(s); m == nil && ok {
			t.Fatalf("%q: strict %q, but the expression does not match", s, n)
		} else if m != nil {
			if w, wok := ParseNumber(m[1]); w != n || wok != ok {
				t.Fatalf("%q: strict %q, want %q", s, n, w)
			}
		}
		if n, ok := ReferenceNumber(s); ok {
			if back, ok := ParseNumber(string(n)); !ok || back != n {
				t.Fatalf("%q: %q is not canonical", s, n)
			}
		}
	})
}

func TestReferenceNumber(t *testing.T) {
	f := func(text string, want Number) {
		t.Helper()
		if got, ok := ReferenceNumber(text); got != want || ok != (want != "") {
			t.Errorf("ReferenceNumber(%q) = %q, %v, want %q", text, got, ok, want)
		}
	}
	f(" 18 ", "18")
	f("$2,125", "2125")
	f("1e3", "1000")
	f("9 * 2 = <<9*2=18>>18\n#### 18", "18")
	f("9 * 2 = <<9*2=18>>18\nA: 1,875", "1875")
	f("The answer is 18.", "18")
	f("9 or 18", "") // which one is not said
	f("1/2", "")
	f("#### eighteen, or 18", "") // marked, but not a number
	f("inf", "")
	f("NaN", "")
	f("eighteen", "")
	f("", "")
}

// Of the 1,319 GSM8K test questions, OpenAI's verdicts on the solutions of its two fine-tuned models
// are reproduced for every single one, by either rule.
func TestGSM8KVerdicts(t *testing.T) {
	dir := os.Getenv("TELLTALE_TESTDATA")
	if dir == "" {
		t.Skip("TELLTALE_TESTDATA is not set: no GSM8K solutions to compare with")
	}
	file, err := os.Open(filepath.Join(dir, "gsm8k", "solutions_finetuning.jsonl"))
	if err != nil {
		t.Skipf("no GSM8K solutions: %v", err)
	}
	defer file.Close()
	type solution struct {
		Correct bool   `json:"is_correct"`
		Text    string `json:"solution"`
	}
	rules := map[string]func(string) (Number, bool){
		"marker A:": func(s string) (Number, bool) { return StrictNumber(s, "A:") },
		"flexible":  FlexibleNumber,
	}
	right := map[string]int{}
	lines := 0
	sc := bufio.NewScanner(file)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var row struct {
			Truth string   `json:"ground_truth"`
			Small solution `json:"6b_finetuning"`
			Large solution `json:"175b_finetuning"`
		}
		if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		lines++
		want, ok := ReferenceNumber(row.Truth)
		if !ok {
			t.Fatalf("line %d: no number in the ground truth %q", lines, row.Truth)
		}
		for name, rule := range rules {
			for model, s := range map[string]solution{"6b": row.Small, "175b": row.Large} {
				got, ok := rule(s.Text)
				correct := ok && got == want
				if correct != s.Correct {
					t.Errorf("line %d, %s, %s: %q against %q is %v, published as %v", lines, model, name, got, want, correct, s.Correct)
				}
				if correct {
					right[model+" "+name]++
				}
			}
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	for name := range rules {
		if lines != 1319 || right["6b "+name] != 286 || right["175b "+name] != 458 {
			t.Errorf("%s: %d and %d of %d, want 286 and 458 of 1319", name, right["6b "+name], right["175b "+name], lines)
		}
	}
}
