package textmetric

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// random returns texts over few words, so that they share much in many arrangements.
func random(rng *rand.Rand, most int) string {
	words := []string{"a", "the", "running", "runs", "b", "c.", "d,", "3.5", "été", "猫", "x\n", "—", "I'm"}
	var b strings.Builder
	for range rng.IntN(most + 1) {
		b.WriteString(words[rng.IntN(len(words))])
		b.WriteByte(" \n  "[rng.IntN(4)])
	}
	return b.String()
}

func within(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	if !(got >= low-1e-9 && got <= high+1e-9) {
		t.Errorf("%s = %v, not within %v and %v", what, got, low, high)
	}
}

// checkBounds holds what is true of any two texts.
func checkBounds(t *testing.T, hyp, ref string) {
	t.Helper()
	refs := []string{ref}
	for tok := range Tokenizer(len(tokenizerNames)) {
		for s := range Smoothing(len(smoothingNames)) {
			b := BLEU{Tokenizer: tok, Smoothing: s}
			stats := b.References(refs).Stats(hyp)
			within(t, b.Signature(Sentence, 1), b.Score(Sentence, stats), 0, 100)
			within(t, b.Signature(Corpus, 1), b.Score(Corpus, stats), 0, 100)
			same := b.References(refs).Stats(ref)
			if same[0] > 0 && b.Score(Sentence, same) < 100-1e-9 {
				t.Errorf("BLEU %v of %q with itself = %v", b, ref, b.Score(Sentence, same))
			}
		}
	}
	for _, c := range []CHRF{{}, {WordOrder: 2}, {Whitespace: true, CharOrder: 3}} {
		within(t, c.Name(), c.Score(c.References(refs).Stats(hyp)), 0, 100)
		if strings.TrimFunc(ref, isSpace) != "" {
			within(t, c.Name()+" with itself", c.Score(c.References(refs).Stats(ref)), 100, 100)
		}
	}
	g := GLEU{}
	there, back := g.Score(g.References(refs).Stats(hyp)), g.Score(g.References([]string{hyp}).Stats(ref))
	within(t, "GLEU", there, 0, 1)
	within(t, "GLEU turned round", back, there, there)
	checkRouge(t, hyp, ref)
	m := METEOR{}
	within(t, "METEOR", m.References(refs).Score(hyp), 0, 1)
	golds, turned := NewGolds(refs), NewGolds([]string{hyp})
	f, h := golds.F1(hyp), turned.F1(ref)
	within(t, "F1", f.F, 0, 1)
	within(t, "F1 turned round", h.F, f.F, f.F)
	if golds.ExactMatch(hyp) != turned.ExactMatch(ref) {
		t.Errorf("exact match of %q and %q depends on the order", hyp, ref)
	}
	if golds.ExactMatch(hyp) && f.F < 1 && NormalizeAnswer(hyp) != "" {
		t.Errorf("%q matches %q exactly, but F1 is %v", hyp, ref, f.F)
	}
	if !golds.ExactMatch(ref) {
		t.Errorf("%q does not match itself", ref)
	}
}

func checkRouge(t *testing.T, hyp, ref string) {
	t.Helper()
	for _, r := range []ROUGE{{}, {N: 2}, {Variant: RougeL}, {Variant: RougeLsum}, {Variant: RougeL, Stem: true}} {
		there, err := r.References([]string{ref}).Score(hyp)
		if err != nil {
			t.Fatal(err)
		}
		within(t, r.Name(), there.F, 0, 1)
		if r.Variant != RougeLsum { // its union is taken on the reference's side only
			back, _ := r.References([]string{hyp}).Score(ref)
			within(t, r.Name()+" turned round", back.F, there.F, there.F)
			within(t, r.Name()+" precision and recall", back.Precision, there.Recall, there.Recall)
		}
		refs := r.References([]string{ref})
		if refs.refs[0].total >= r.order() {
			same, _ := refs.Score(ref)
			within(t, r.Name()+" with itself", same.F, 1, 1)
		}
	}
}

func TestInvariants(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		checkBounds(t, random(rng, 30), random(rng, 30))
	}
}

// A further reference can only help the metrics that take the best one.
func TestMoreReferencesNeverHurt(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		hyp, one, two := random(rng, 20), random(rng, 20), random(rng, 20)
		f := func(what string, score func(refs []string) float64) {
			t.Helper()
			if few, more := score([]string{one}), score([]string{one, two}); more < few-1e-9 {
				t.Errorf("%s of %q: %v with a second reference, %v without", what, hyp, more, few)
			}
		}
		f("chrF", func(r []string) float64 { return CHRF{}.Score(CHRF{}.References(r).Stats(hyp)) })
		f("GLEU", func(r []string) float64 { return GLEU{}.Score(GLEU{}.References(r).Stats(hyp)) })
		f("METEOR", func(r []string) float64 { return METEOR{}.References(r).Score(hyp) })
		f("F1", func(r []string) float64 { return NewGolds(r).F1(hyp).F })
		f("ROUGE-L", func(r []string) float64 {
			got, _ := ROUGE{Variant: RougeL}.References(r).Score(hyp)
			return got.F
		})
	}
}

// Statistics of no sentence, or of another metric, make no number.
func TestScoreOfNothingIsNaN(t *testing.T) {
	for _, stats := range [][]float64{nil, {}, {1}, make([]float64, 7)} {
		for name, got := range map[string]float64{
			"BLEU": BLEU{}.Score(Corpus, stats), "chrF": CHRF{}.Score(stats), "GLEU": GLEU{}.Score(stats),
		} {
			if !math.IsNaN(got) {
				t.Errorf("%s of %v = %v, want NaN", name, stats, got)
			}
		}
	}
}

// naiveLCS is the table of the textbook, read back from its end in rouge-score's order.
func naiveLCS(ref, other []int32, marks []bool) int {
	table := make([][]int, len(ref)+1)
	for i := range table {
		table[i] = make([]int, len(other)+1)
	}
	for i, r := range ref {
		for j, o := range other {
			if r == o {
				table[i+1][j+1] = table[i][j] + 1
			} else {
				table[i+1][j+1] = max(table[i][j+1], table[i+1][j])
			}
		}
	}
	for i, j := len(ref), len(other); i > 0 && j > 0; {
		switch {
		case ref[i-1] == other[j-1]:
			marks[i-1] = true
			i, j = i-1, j-1
		case table[i][j-1] > table[i-1][j]:
			j--
		default:
			i--
		}
	}
	return table[len(ref)][len(other)]
}

func TestBitParallelLCS(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		size := 1 + rng.IntN(7)
		ref, other := make([]int32, rng.IntN(300)), make([]int32, rng.IntN(300))
		for i := range ref {
			ref[i] = int32(rng.IntN(size))
		}
		for i := range other {
			other[i] = int32(rng.IntN(size+2)) - 1 // -1 and size are tokens that ref lacks
			if other[i] == int32(size) {
				other[i] = -1
			}
		}
		slots := make([]int32, size)
		l := newLine(ref, slots)
		l.bind(slots)
		want, got := make([]bool, len(ref)), make([]bool, len(ref))
		length := naiveLCS(ref, other, want)
		n, err := l.lcs(other, slots)
		if err != nil || n != length {
			t.Fatalf("length %d, %v, want %d: %v and %v", n, err, length, ref, other)
		}
		if err := l.markLCS(other, slots, got); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("position %d is marked %v, want %v: %v and %v", i, got[i], want[i], ref, other)
			}
		}
	}
}

func TestTooLong(t *testing.T) {
	long := strings.Repeat("word ", 200_000)
	for _, r := range []ROUGE{{Variant: RougeL}, {Variant: RougeLsum}} {
		got, err := r.References([]string{long}).Score(long)
		if !errors.Is(err, ErrTooLong) {
			t.Errorf("%s of 200,000 tokens: %v, %v, want ErrTooLong", r.Name(), got, err)
		}
	}
	lines := strings.ReplaceAll(long[:len(long)/10], " ", "\n")
	if got, err := (ROUGE{Variant: RougeLsum}).References([]string{lines}).Score(lines); !errors.Is(err, ErrTooLong) {
		t.Errorf("rougeLsum of 20,000 lines: %v, %v, want ErrTooLong", got, err)
	}
	got, err := ROUGE{Variant: RougeL}.References([]string{long[:100_000]}).Score(long[:100_000])
	if err != nil || got.F != 1 {
		t.Errorf("ROUGE-L of 20,000 tokens: %v, %v", got, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	b, c, g := BLEU{}.References([]string{"one two three"}), CHRF{WordOrder: 2}.References([]string{"one two three"}), GLEU{}.References([]string{"one two three"})
	r, m, s := ROUGE{Variant: RougeLsum}.References([]string{"one two three"}), METEOR{}.References([]string{"one two three"}), NewGolds([]string{"one two three"})
	done := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 50 {
				b.Stats("one three")
				c.Stats("one three")
				g.Stats("one three")
				m.Score("one three")
				s.F1("one three")
				if _, err := r.Score("one three"); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for range 4 {
		<-done
	}
}

func FuzzBounds(f *testing.F) {
	f.Add("The cat sat.", "A cat sat on the mat.")
	f.Add("", "")
	f.Add("\xff\xfe a", "İ Σ &amp;lt; 3.5-")
	f.Add("a\nb\n\nc", "c\na b")
	f.Fuzz(func(t *testing.T, hyp, ref string) {
		if len(hyp) > 2000 || len(ref) > 2000 {
			return
		}
		checkBounds(t, hyp, ref)
	})
}

func FuzzTokens(f *testing.F) {
	f.Add("a-\nb 1,000.5 -- «x» \xff")
	f.Fuzz(func(t *testing.T, s string) {
		for tok := range Tokenizer(len(tokenizerNames)) {
			for _, w := range tok.Tokens(s) {
				if w == "" || strings.ContainsFunc(w, isSpace) {
					t.Errorf("%v of %q gives the token %q", tok, s, w)
				}
			}
		}
		for _, w := range (ROUGE{Stem: true}).Tokens(s) {
			if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
				t.Errorf("ROUGE of %q gives the token %q", s, w)
			}
		}
		if once := NormalizeAnswer(s); strings.TrimFunc(once, isSpace) != once {
			t.Errorf("%q is normalized to %q", s, once)
		}
		PorterStem(s)
	})
}
