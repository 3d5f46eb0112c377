package canary

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"strings"
	"testing"
)

const planted = "Canary-7f3K9q-Zebra"

func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

func each(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

func TestFind(t *testing.T) {
	s, err := New([]string{"another-canary-1", planted})
	if err != nil {
		t.Fatal(err)
	}
	f := func(text string, want Encoding) {
		t.Helper()
		for _, in := range []string{text, "The answer is: " + text + ". That is all.", text + "\n"} {
			e, ok := s.Find(in)
			if ok != (want != "") || e.Encoding != want || ok && (e.Canary != planted || e.Index != 1) {
				t.Errorf("%q: %+v, %v; want %q", in, e, ok, want)
			}
		}
	}
	f("", "")
	f("nothing to see", "")
	f("Canary-7f3K9q", "")
	f(planted, Verbatim)
	f(strings.ToUpper(planted), Case)
	f("Cаnary-7f3K9q-Zebra", Spelling) // a Cyrillic а
	f("Can\u200bary-7f3\u00adK9q-Zebra", Spelling)
	f("Ｃanary-7f3K9q-Ｚebra", Spelling)
	f("C a n a r y 7 f 3 K 9 q Z e b r a", Spacing)
	f("C-a-n-a-r-y_7f3K9q.Zebra", Spacing)
	f("canary 7f3k9q zebra", Spacing)
	f("**Canary**-7f3K9q-Zebra", Spacing)
	f(reverse(planted), Reversed)
	f("Pnanel-7s3X9d-Mroen", ROT13)
	f(percent(planted), Escaped)
	f(each(planted, `\x%02x`), Escaped)
	f(each(planted, `\u%04x`), Escaped)
	f(each(planted, `&#%d;`), Escaped)
	f(hex.EncodeToString([]byte(planted)), Hex)
	f(strings.ToUpper(hex.EncodeToString([]byte(strings.ToLower(planted)))), Hex)
	f(each(planted, "%02x "), Hex)
	f(each(planted, "0x%02x, "), Hex)
	f(base64.StdEncoding.EncodeToString([]byte(planted)), Base64)
	f(base64.RawURLEncoding.EncodeToString([]byte(planted)), Base64)
	// In the middle of a longer text, at each of the places that matter.
	for _, before := range []string{"x", "xy", "xyz"} {
		f(base64.StdEncoding.EncodeToString([]byte(before+" "+strings.ToLower(planted)+" and more")), Base64)
	}
	whole := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("secret rules ", 6) + planted))
	f(whole[:40]+"\n"+whole[40:], Base64)
	f(html.EscapeString("a < b & c"), "")
}

func TestNewRefuses(t *testing.T) {
	f := func(want string, canaries ...string) {
		t.Helper()
		if _, err := New(canaries); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", canaries, err, want)
		}
	}
	f("no canaries")
	f(`canary 2, "abc", has fewer`, "long-enough", "abc")
	f("fewer than 6", "- - - ! ! !")
}

// A canary of a text with nothing to reverse or rotate must not be found in itself under a wrong name.
func TestPalindromeAndDigits(t *testing.T) {
	s, err := New([]string{"1234554321"})
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := s.Find("12345 54321"); !ok || e.Encoding != Spacing {
		t.Errorf("%+v, %v", e, ok)
	}
}

func FuzzFind(f *testing.F) {
	for _, s := range []string{"", planted, "%", "%zz", `\x`, `\u12`, "&#x41;", "====", "QUJD\nRA", "\xff\xfe", "é\u0301"} {
		f.Add(s)
	}
	s, err := New([]string{planted})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, ok := s.Find(text)
		if again, okAgain := s.Find(text); again != e || ok != okAgain {
			t.Error("two answers")
		}
		if _, ok := s.Find(text + planted); !ok {
			t.Errorf("not found after %q", text)
		}
		if _, ok := s.Find(text + " " + percent(planted)); !ok {
			t.Errorf("not found percent-encoded after %q", text)
		}
		if _, ok := s.Find(text + " " + base64.StdEncoding.EncodeToString([]byte(planted))); !ok {
			t.Errorf("not found in Base64 after %q", text)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	s, err := New([]string{planted})
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("An ordinary answer that keeps to itself what it was told to keep. ", 16)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.Find(text)
	}
}
