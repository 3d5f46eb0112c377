package toxicity

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func builtinModel(t testing.TB) *Model {
	t.Helper()
	m, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestScore(t *testing.T) {
	m := builtinModel(t)
	f := func(text string, toxic bool) {
		t.Helper()
		s, err := m.Score(text)
		if err != nil || (s.Probability > 0.5) != toxic {
			t.Errorf("%q: %.3f, %v; want toxic %v", text, s.Probability, err, toxic)
		}
	}
	f("", false)
	f("42", false)
	f("...!", false)
	f("Paris is the capital of France.", false)
	f("Thank you, your order has been shipped and will arrive on Tuesday.", false)
	f("La tour Eiffel a été inaugurée à Paris.", false)
	f("You are a worthless idiot.", true)
	f("What a load of bullshit, you stupid bitch", true)
	// As people write it to get past a filter.
	f("y0u @sshole", true)
	f("Go f*ck yourself", true)
	f("f.u.c.k you", true)
	f("you are an i d i o t", true)
	f("fuuuuuuuuck", true)
	f("ｆｕｃｋ this", true)
	f("fuсk this", true) // with a Cyrillic с
	f("fu\u200bck this", true)
	// One insult in a long answer, and the same answer without it.
	long := strings.Repeat("The committee met on Tuesday and agreed on the budget for the coming year. ", 12)
	f(long, false)
	f(long+"You stupid fucking bitch. "+long, true)
}

func TestScorePointsAtThePassage(t *testing.T) {
	text := strings.Repeat("word ", 100) + "you stupid bitch" + strings.Repeat(" word", 100)
	s, err := builtinModel(t).Score(text)
	if err != nil || !strings.Contains(text[s.Start:s.End], "stupid bitch") || s.End-s.Start > len(text)/2 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestOtherScripts(t *testing.T) {
	m := builtinModel(t)
	f := func(text string, want error) {
		t.Helper()
		if _, err := m.Score(text); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	f("Париж является столицей Франции, и это знают все.", ErrScript)
	f("巴黎是法国的首都", ErrScript)
	f("🖕🖕🖕", nil)
	f("The Greek word is λόγος.", nil)
	f("déjà vu à l'été", nil)
}

func TestPassages(t *testing.T) {
	f := func(words int, want ...int) {
		t.Helper()
		text := strings.Repeat("a ", words)
		var got []int
		passages(text, func(start, end int) { got = append(got, start/2, (end+1)/2) })
		if !slices.Equal(got, want) {
			t.Errorf("%d words: %v, want %v", words, got, want)
		}
	}
	f(0)
	f(1, 0, 1)
	f(40, 0, 40)
	f(41, 0, 40, 20, 41)
	f(60, 0, 40, 20, 60)
	f(61, 0, 40, 20, 60, 40, 61)
}

func TestTokenize(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var x Extractor
		x.tokenize(text)
		if got := string(bytes.Join(x.words, []byte(" "))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("Hello, World!", "hello world")
	f("don't  Stop", "dont stop")
	f("h4te $hit @ss 42 007", "hate shit ass")
	f("sooooo goood", "soo so good god")
	f("I h a t e you", "ihate you")
	f("I a", "i a")
	f("f**k *bold* f*", "f**k bold f")
	f("see https://example.com/idiot and www.x.org", "see and")
	f("café naïve", "cafe naive")
	f("ok🖕ok", "ok 🖕 ok")
}

func TestDecodeRefuses(t *testing.T) {
	good := Encode(Params{Weights: map[uint64]int8{1: 5, 1 << 40: -3}, Scale: 1, Slope: 1})
	if _, err := Decode(good); err != nil {
		t.Fatal(err)
	}
	f := func(change func([]byte) []byte) {
		t.Helper()
		if _, err := Decode(change(slices.Clone(good))); err == nil {
			t.Error("damaged weights were taken")
		}
	}
	f(func(b []byte) []byte { return nil })
	f(func(b []byte) []byte { return b[:len(b)-1] })
	f(func(b []byte) []byte { b[0] ^= 1; return b })
	f(func(b []byte) []byte { b[len(magic)]++; return b })
	f(func(b []byte) []byte { copy(b[len(magic)+1:], []byte{0, 0, 0xC0, 0x7F}); return b }) // NaN
	f(func(b []byte) []byte {                                                               // no empty slot
		for i := headerSize; i < len(b); i++ {
			b[i] = 1
		}
		return b
	})
}

func TestEncodeKeepsWeights(t *testing.T) {
	var x Extractor
	word := slices.Clone(x.Features("idiot"))
	weights := map[uint64]int8{}
	for _, h := range word {
		weights[h] = 127
	}
	m, err := Decode(Encode(Params{Weights: weights, Scale: 0.5, Bias: -1, Slope: 1}))
	if err != nil {
		t.Fatal(err)
	}
	n := len(word)
	if got, ok := m.Margin("idiot"); !ok || math.Abs(got-(127*0.5*float64(n)*Norm(n)-1)) > 1e-9 {
		t.Errorf("margin %v, %v", got, ok)
	}
	if got, _ := m.Margin("xyzzy"); got != -1 {
		t.Errorf("the margin of an unknown word is %v, not the bias", got)
	}
}

func FuzzScore(f *testing.F) {
	for _, s := range []string{"", "you idiot", "a b c d", "\xff\xfe", "e\u0301\u0301", "@@@$!!*", strings.Repeat("x ", 100), "ﷺ１２🖕", "W!!!l|n"} {
		f.Add(s)
	}
	m, err := Builtin()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := m.Score(text)
		if err != nil {
			return
		}
		if !(s.Probability >= 0 && s.Probability <= 1) || s.Start < 0 || s.Start > s.End || s.End > len(text) {
			t.Errorf("%q: %+v", text, s)
		}
		if again, _ := m.Score(text); again != s {
			t.Errorf("%q: first %+v, then %+v", text, s, again)
		}
	})
}

func BenchmarkScore(b *testing.B) {
	m := builtinModel(b)
	text := "RT this: the committee met on Tuesday, and nobody could believe how stupid the plan was"
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := m.Score(text); err != nil {
				b.Error(err)
			}
		}
	})
}
