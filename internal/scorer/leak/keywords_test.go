package leak

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestKeywords(t *testing.T) {
	words := []string{"ey", "s.", "key", "api", "apikey", "hvs.", "q~", "_pub", "4b1d", "keyx"}
	k := newKeywords(words)
	f := func(text string) {
		t.Helper()
		var got, want []string
		k.find(text, func(word, end int) {
			got = append(got, fmt.Sprint(words[word], " ", end))
		})
		low := string(foldASCII(text))
		for i := range text {
			for _, w := range words {
				if strings.HasPrefix(low[i:], w) {
					want = append(want, fmt.Sprint(w, " ", i+len(w)))
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("")
	f("e")
	f("ey")
	f("Ey")
	f("s.")
	f("they say S. and APIKEYX")
	f("yeY")
	f("_PUB_pub?pub 4b1D")
	f("\x05\x19y") // the same five bits as letters
	const letters = "eyEYs.kKapAPIivhq~_ub4d1x ë\x00\xff"
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		b := make([]byte, r.IntN(24))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		f(string(b))
	}
}

func foldASCII(s string) []byte {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// Rules that look only around their keywords find what they find in the whole text.
func TestUnbroken(t *testing.T) {
	s := allSecrets(t)
	token := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6Ik" + ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	vault := "s." + "aB3dE6gH9jK2mN5pQ8sT1vW4"
	f := func(text string) {
		t.Helper()
		var got, want []Span
		got = s.Find(text)
		for _, r := range s.rules {
			if r.common <= 0 {
				continue
			}
			for _, loc := range r.pattern().FindAllStringSubmatchIndex(text, -1) {
				if start, end, ok := s.secret(r, text, loc); ok {
					want = append(want, Span{r.id, start, end})
				}
			}
		}
		got = slices.DeleteFunc(got, func(s Span) bool { return s.Type == genericRule })
		slices.SortFunc(want, func(a, b Span) int { return a.Start - b.Start })
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	for _, secret := range []string{token, vault} {
		if len(s.Find("It is "+secret)) == 0 {
			t.Fatalf("%q is not found", secret)
		}
		for _, before := range []string{"", " ", "They say. ", "x", "_", "\n", "\"", "ey", "days.", "é", "\u00a0"} {
			for _, after := range []string{"", " ", "\n", ";", "\"", "'", "`", "\\n", "\\r", ".", "x", ", they", "\u00a0", " " + token, "\t" + vault + " they"} {
				f(before + secret + after)
			}
		}
	}
}
