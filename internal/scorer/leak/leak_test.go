package leak

import (
	"os"
	"strings"
	"testing"
	"unicode"
)

func TestMask(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := Mask(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("12345", "*****")
	f("123-45-6789", "1**-**-****")
	f("4111 1111 1111 1111", "4*** **** **** ***1")
	f("jane.doe@acme.org", "j***.***@****.**g")
	f("ghp_"+strings.Repeat("a", 36), "gh*_****************aa")
	f("日本語テキスト\n\x00", "日******  ")
}

// No mask may give away more than one in six characters.
func FuzzMask(f *testing.F) {
	f.Add("jane@example.org")
	f.Add("\xff\x00日本")
	f.Fuzz(func(t *testing.T, s string) {
		total, shown := 0, 0
		for _, r := range s {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				total++
			}
		}
		for _, r := range Mask(s) {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				shown++
			}
		}
		if shown > 4 || shown > total/6 {
			t.Errorf("%q shows %d of %d: %q", s, shown, total, Mask(s))
		}
	})
}

func TestSettle(t *testing.T) {
	got := settle([]ranked{{Span{"weak", 0, 10}, 2}, {Span{"strong", 8, 12}, 1}, {Span{"apart", 12, 14}, 3}, {Span{"short", 20, 22}, 1}, {Span{"long", 20, 25}, 1}})
	want := []Span{{"strong", 8, 12}, {"apart", 12, 14}, {"long", 20, 25}}
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// What is in signatures must be what is compiled in.
func TestVersions(t *testing.T) {
	b, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for module, version := range map[string]string{"github.com/zricethezav/gitleaks/v8": RulesVersion, "github.com/nyaruka/phonenumbers": NumbersVersion} {
		_, number, _ := strings.Cut(version, "/")
		if !strings.Contains(string(b), module+" v"+number) {
			t.Errorf("go.mod does not have %s in version %s", module, number)
		}
	}
}
