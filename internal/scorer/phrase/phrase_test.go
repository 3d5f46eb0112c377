package phrase

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestMatcherFindsEveryOccurrence(t *testing.T) {
	f := func(patterns []string, text string, want ...string) {
		t.Helper()
		var got []string
		NewMatcher(patterns).Scan(text, func(p, start, end int) bool {
			if text[start:end] != patterns[p] {
				t.Errorf("%q at %d–%d of %q is not it", patterns[p], start, end, text)
			}
			got = append(got, fmt.Sprintf("%s@%d", patterns[p], start))
			return true
		})
		if !slices.Equal(got, want) {
			t.Errorf("%q in %q: found %q, want %q", patterns, text, got, want)
		}
	}
	f([]string{"he", "she", "his", "hers"}, "ushers", "she@1", "he@2", "hers@2")
	f([]string{"a", "aa", "aaa"}, "aaa", "a@0", "aa@0", "a@1", "aaa@0", "aa@1", "a@2")
	f([]string{"abcd", "bc"}, "abce", "bc@1")
	f([]string{"x"}, "")
	f(nil, "text")
	f([]string{"", "t"}, "tt", "t@0", "t@1")
	f([]string{"ä", "a"}, "äa", "ä@0", "a@2")
}

// naiveScan finds what Scan does by looking for every pattern at every place.
func naiveScan(patterns []string, text string) []string {
	var got []string
	for end := 1; end <= len(text); end++ {
		for start := 0; start < end; start++ {
			if i := slices.Index(patterns, text[start:end]); i >= 0 {
				got = append(got, fmt.Sprint(i, start, end))
			}
		}
	}
	return got
}

func FuzzMatcher(f *testing.F) {
	f.Add("he,she,his,hers", "ushers")
	f.Add("a,ab,bab,bc,bca,c,caa", "abccab")
	f.Add("\xff,\x00\xff", "\x00\xff\xff")
	f.Fuzz(func(t *testing.T, list, text string) {
		if len(text) > 200 {
			text = text[:200]
		}
		patterns := strings.Split(list, ",")
		var got []string
		NewMatcher(patterns).Scan(text, func(p, start, end int) bool {
			got = append(got, fmt.Sprint(p, start, end))
			return true
		})
		want := naiveScan(patterns, text)
		if !slices.Equal(got, want) {
			t.Fatalf("%q in %q: found %v, want %v", patterns, text, got, want)
		}
	})
}

func TestFold(t *testing.T) {
	f := func(folding Folding, in, want string) {
		t.Helper()
		if got := folding.Fold(in); got != norm.NFD.String(want) {
			t.Errorf("%+v folds %q to %q, want %q", folding, in, got, want)
		}
	}
	none, all := Folding{}, Folding{Case: true, Width: true, Looks: true}
	f(none, "Kill  the\r\n\tLights ", "Kill the Lights ")
	f(none, "e\u0301é", "éé")
	f(none, "kil\u200bl\u00ad him\ufe0f", "kill him")
	f(none, "a\u00a0\u3000b", "a b")
	f(none, "ﬁ Ａ", "ﬁ Ａ")
	f(none, "\xff\xfe", "\xff\xfe")
	f(Folding{Case: true}, "STRASSE Straße K σίσυφος", "strasse strasse k ΣΊΣΥΦΟΣ")
	f(Folding{Width: true}, "ﬁ Ａ 𝐤𝒾𝓁𝓁 ①", "fi A kill 1")
	f(Folding{Looks: true}, "раypаl Αpple", "paypal Apple")
	f(Folding{Looks: true}, "b\u0336o\u0336mb", "bomb")
	f(all, "ＫΙ\u200bӀӀ", "kill")
}

func TestShortcutsAgreeWithTheTables(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if FoldRune(r) != foldRune(r) {
			t.Errorf("FoldRune(%U) = %U, want %U", r, FoldRune(r), foldRune(r))
		}
		ignorable := unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Cf) &&
			!unicode.Is(unicode.Prepended_Concatenation_Mark, r) && (r < 0xFFF9 || r > 0xFFFB) && (r < 0x13430 || r > 0x1343F)
		if invisible(r) != ignorable {
			t.Errorf("invisible(%U) = %v", r, !ignorable)
		}
	}
}

func TestFoldCaseKeepsTheNumberOfRunes(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got := FoldCase(in)
		if got != want || utf8.RuneCountInString(got) != utf8.RuneCountInString(in) {
			t.Errorf("FoldCase(%q) = %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("already low", "already low")
	f("Hello WÖRLD", "hello w\u00d6rld") // the least of ö and Ö
	f("hello wörld", "hello w\u00d6rld")
	f("\xffA", "\xffa")
}

func TestSetFind(t *testing.T) {
	all := Options{Folding: Folding{Case: true, Width: true, Looks: true}}
	word := all
	word.WholeWord = true
	f := func(opts Options, phrases []string, text, phrase, as string) {
		t.Helper()
		s, err := NewSet(phrases, opts)
		if err != nil {
			t.Fatal(err)
		}
		m, ok := s.Find(text)
		if ok != (phrase != "") || m.Phrase != phrase || text[m.Start:m.End] != as {
			t.Errorf("%+v in %q: found %q as %q, want %q as %q", opts, text, m.Phrase, text[m.Start:m.End], phrase, as)
		}
	}
	f(all, []string{"kill yourself"}, "go and KILL\n  yourself now", "kill yourself", "KILL\n  yourself")
	f(all, []string{"bomb"}, "a b\u200bo\u00admb!", "bomb", "b\u200bo\u00admb")
	f(all, []string{"kill"}, "to kіll", "kill", "kіll") // Cyrillic і
	f(all, []string{"kill"}, "to 𝐤𝐢𝐥𝐥", "kill", "𝐤𝐢𝐥𝐥")
	f(all, []string{"Nazi"}, "Νazis", "Nazi", "Νazi") // Greek capital Nu, whose small form looks like v
	f(all, []string{"вова"}, "это Вова", "вова", "Вова")
	f(all, []string{"cop"}, "сор", "cop", "сор") // the Russian for litter, by its looks
	f(all, []string{"сор"}, "a cop", "", "")     // but not the other way round
	f(all, []string{"ано"}, "año", "", "")
	f(all, []string{"cafe"}, "un café", "", "") // the last letter is another one
	f(all, []string{"café"}, "un cafe\u0301", "café", "cafe\u0301")
	f(Options{}, []string{"Kill"}, "kill", "", "")
	f(Options{}, []string{"kill"}, "kіll", "", "")
	f(word, []string{"ass"}, "a class assembles", "", "")
	f(word, []string{"ass"}, "an ass!", "ass", "ass")
	f(word, []string{"ass"}, "as\u200bs", "ass", "as\u200bs")
	f(word, []string{"c++"}, "uses c++17", "c++", "c++") // no boundary is asked of a sign
	f(word, []string{"c++"}, "abc++", "", "")
	f(word, []string{"cop"}, "scop cop", "cop", "cop")
	f(all, []string{"a b"}, "a", "", "")
	f(all, []string{"fi"}, "oﬃce", "fi", "ﬃ")
	f(all, []string{"x"}, "\xff", "", "")
}

func TestNewSetRefusesPhrasesThatCannotBeFound(t *testing.T) {
	f := func(phrases ...string) {
		t.Helper()
		if _, err := NewSet(phrases, Options{}); err == nil {
			t.Errorf("NewSet(%q) was accepted", phrases)
		}
	}
	f()
	f("")
	f("ok", " \t")
	f("\u200b\u00ad")
}

// naiveFind says whether any phrase is in the text, by folding whole strings and trying each place.
func naiveFind(phrases []string, text string, opts Options) bool {
	fold := func(s string, looks bool) string {
		form := norm.NFD
		if opts.Width {
			form = norm.NFKD
		}
		var b strings.Builder
		blank := false
		for _, r := range form.String(s) {
			if invisible(r) || looks && overlay(r) {
				continue
			}
			if unicode.IsSpace(r) {
				if !blank {
					b.WriteByte(' ')
				}
				blank = true
				continue
			}
			blank = false
			// Letters read by their looks are marked, so that the search can ask for one.
			if looks {
				if l := lookalike(r); l != 0 {
					b.WriteByte(1)
					r = rune(l)
				}
			}
			if opts.Case {
				if r == 'ß' || r == 'ẞ' {
					b.WriteString("ss")
					continue
				}
				r = FoldRune(r)
			}
			b.WriteRune(r)
		}
		return b.String()
	}
	has := func(p, text string, looks bool) bool {
		p = strings.ReplaceAll(p, "\x01", "")
		for i := 0; i < len(text); i++ {
			for j := i + 1; j <= len(text); j++ {
				span := text[i:j]
				if looks && !strings.Contains(span, "\x01") || strings.ReplaceAll(span, "\x01", "") != p {
					continue
				}
				before, _ := utf8.DecodeLastRuneInString(strings.TrimRight(text[:i], "\x01"))
				after, _ := utf8.DecodeRuneInString(strings.TrimLeft(text[j:], "\x01"))
				first, _ := utf8.DecodeRuneInString(p)
				last, _ := utf8.DecodeLastRuneInString(p)
				switch {
				case unicode.Is(unicode.Mn, after):
				case opts.WholeWord && (inWord(first) && inWord(before) || inWord(last) && inWord(after)):
				default:
					return true
				}
			}
		}
		return false
	}
	for _, p := range phrases {
		if has(fold(p, false), fold(text, false), false) {
			return true
		}
		if opts.Looks && has(fold(p, true), fold(text, true), true) {
			return true
		}
	}
	return false
}

func FuzzSetFind(f *testing.F) {
	f.Add("kill,bomb", "kіll the b\u200bomb", uint8(15))
	f.Add("cop", "сор", uint8(4))
	f.Add("straße", "STRASSE", uint8(1))
	f.Add("fi", "oﬃce e\u0301\u0336", uint8(7))
	f.Add("a b", "a\u3000\u200b\nb", uint8(0))
	f.Fuzz(func(t *testing.T, list, text string, flags uint8) {
		if len(text) > 80 || len(list) > 40 || !utf8.ValidString(text) || !utf8.ValidString(list) || strings.ContainsRune(text+list, 1) {
			t.Skip("out of the reference's reach")
		}
		opts := Options{Folding: Folding{Case: flags&1 != 0, Width: flags&2 != 0, Looks: flags&4 != 0}, WholeWord: flags&8 != 0}
		phrases := strings.Split(list, ",")
		s, err := NewSet(phrases, opts)
		if err != nil {
			return
		}
		m, ok := s.Find(text)
		if want := naiveFind(phrases, text, opts); ok != want {
			t.Fatalf("%+v: %q in %q: found %v (%+v), want %v", opts, phrases, text, ok, m, want)
		}
		if ok && (m.Start < 0 || m.End > len(text) || m.Start >= m.End) {
			t.Fatalf("%q in %q: bad place %+v", phrases, text, m)
		}
	})
}

func randomWords(n int, rng *rand.Rand) []string {
	words := make([]string, n)
	for i := range words {
		b := make([]byte, 5+rng.IntN(12))
		for j := range b {
			b[j] = byte('a' + rng.IntN(26))
		}
		words[i] = string(b)
	}
	return words
}

func BenchmarkSetFind(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	ascii := strings.Join(randomWords(300, rng), " ")
	for _, text := range []struct{ name, s string }{{"ascii", ascii}, {"russian", strings.Repeat("Все счастливые семьи похожи друг на друга. ", 60)}} {
		for _, n := range []int{10, 1000, 10000} {
			s, err := NewSet(randomWords(n, rng), Options{Folding: Folding{Case: true, Width: true, Looks: true}})
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/%d", text.name, n), func(b *testing.B) {
				b.SetBytes(int64(len(text.s)))
				b.ReportAllocs()
				for b.Loop() {
					s.Find(text.s)
				}
			})
		}
	}
}

func BenchmarkMatcher(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	text := strings.Join(randomWords(300, rng), " ")
	for _, n := range []int{10, 1000, 10000} {
		m := NewMatcher(randomWords(n, rng))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				m.Scan(text, func(int, int, int) bool { return true })
			}
		})
	}
}
