package embed

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

func lexicalCosine(t *testing.T, a, b string) float64 {
	t.Helper()
	v, _, err := Lexical{}.Embed(t.Context(), []string{a, b})
	if err != nil {
		t.Fatal(err)
	}
	dot := 0.0
	for i := range v[0] {
		dot += float64(v[0][i]) * float64(v[1][i])
	}
	return dot
}

func TestLexicalGivesUnitVectors(t *testing.T) {
	for _, text := range []string{"", " \n", "a", "!!!", "The cat sat.", "日本語のテキスト", "\xff\xfe", strings.Repeat("word ", 1000), strings.Repeat("x", 5000)} {
		v, _, err := Lexical{}.Embed(t.Context(), []string{text, text})
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, x := range v[0] {
			sum += float64(x) * float64(x)
		}
		if math.Abs(sum-1) > 1e-5 || !reflect.DeepEqual(v[0], v[1]) {
			t.Errorf("%.20q: length %v", text, math.Sqrt(sum))
		}
	}
}

// What shares words is closer than what shares pieces of words, and that than what shares nothing.
func TestLexicalOrder(t *testing.T) {
	const text = "You can return the order within thirty days of delivery."
	f := func(other string, low, high float64) {
		t.Helper()
		if c := lexicalCosine(t, text, other); c < low || c > high {
			t.Errorf("cosine %.3f with %q, want %v to %v", c, other, low, high)
		}
	}
	f(text, 0.9999, 1.0001)
	f("you can return the order within thirty days of delivery", 0.9999, 1.0001)
	f("Within thirty days of delivery you can return the order.", 0.8, 0.999)
	f("You can return the orders within thirty day of the delivery", 0.7, 0.95)
	f("You cannot return this order once it has been delivered.", 0.2, 0.7)
	f("Paris is a city in France with many museums.", -0.1, 0.15)
	f("", 0, 0)
	// A word and its plural share their pieces.
	if a, b := lexicalCosine(t, "invoices", "invoice"), lexicalCosine(t, "invoices", "payments"); a < 0.25 || b > 0.2 || a < b+0.2 {
		t.Errorf("invoices: invoice %.3f, payments %.3f", a, b)
	}
	if c := lexicalCosine(t, "返品は三十日以内", "三十日以内に返品"); c < 0.4 {
		t.Errorf("Japanese: %.3f", c)
	}
}

func TestLexicalTokens(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		if got := (Lexical{}).Tokens(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q has the words %q, want %q", text, got, want)
		}
	}
	f("The cat's 2 hats, ﬁne.", "the", "cat", "s", "2", "hats", "fine")
	f("日本 text", "日", "本", "text")
	f("?!", "?", "!")
	f(" \t")
	tokens, vectors, err := Lexical{}.EmbedTokens(t.Context(), []string{"a cat", ""})
	if err != nil || len(tokens[0]) != 2 || len(vectors[0]) != 2 || len(vectors[0][1]) != tokenDims || len(tokens[1]) != 0 {
		t.Errorf("%v, %d vectors, %v", tokens, len(vectors[0]), err)
	}
}

// The vectors are part of results that are kept: another build must give the same. A change here needs
// another number in lexicalName.
func TestLexicalIsFixed(t *testing.T) {
	v := lexicalText("The quick brown fox")
	h := 0.0
	for i, x := range v {
		h += float64(x) * float64(i%97+1)
	}
	if math.Abs(h-10.485980) > 1e-4 {
		t.Errorf("the sum is %.6f", h)
	}
}

func BenchmarkLexical(b *testing.B) {
	text := []string{strings.Repeat("You can return the order within thirty days of delivery. ", 5)}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := (Lexical{}).Embed(b.Context(), text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncoder(b *testing.B) {
	e := openTiny(b)
	for b.Loop() {
		if _, _, err := e.Embed(b.Context(), []string{"the cat sat on the mat"}); err != nil {
			b.Fatal(err)
		}
	}
}
