package logprob

import (
	"math"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
)

func tokens(pairs ...any) []record.TokenLogprob {
	var out []record.TokenLogprob
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, record.TokenLogprob{Token: pairs[i].(string), Logprob: pairs[i+1].(float64)})
	}
	return out
}

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-9*max(1, math.Abs(want)) }

// By hand, from the definitions in lm-evaluation-harness (lm_eval/api/metrics.py: weighted_perplexity is
// exp(-Σll/Σweight), bits_per_byte -Σll/Σbytes/ln 2; words are the pieces of re.split(r"\s+", text)).
// Five tokens of probability 1/2 have Σll = -5 ln 2 over 2 words and 13 bytes.
func TestUnits(t *testing.T) {
	half := -math.Ln2
	text, err := Measure(tokens("Hé", half, "llo", half, " w", half, "orl", half, "d!", half), "unused")
	if err != nil {
		t.Fatal(err)
	}
	f := func(u Unit, units, want float64) {
		t.Helper()
		stats := u.Stats(text)
		if !near(stats[0], 5*half) || stats[1] != units || !near(u.Value(stats), want) {
			t.Errorf("%s: %v gives %v, want %v over %v", u, stats, u.Value(stats), want, units)
		}
		if again, ok := ParseUnit(u.String()); !ok || again != u {
			t.Errorf("%s is read as %v", u, again)
		}
	}
	f(Token, 5, 2)
	f(Word, 2, math.Pow(2, 2.5))
	f(Byte, 13, math.Pow(2, 5.0/13))
	f(BitsPerByte, 13, 5.0/13)
	if _, ok := ParseUnit("letter"); ok {
		t.Error("letter is a unit")
	}
}

// Figures of a corpus come from sums: texts of perplexity 2 over 1 token and 8 over 3 tokens have
// exp((ln 2 + 3 ln 8)/4) = 2^2.5 together, and not the mean 5.
func TestCorpus(t *testing.T) {
	sum := []float64{-math.Ln2 - 3*math.Log(8), 4}
	if got := Token.Value(sum); !near(got, math.Pow(2, 2.5)) {
		t.Errorf("%v", got)
	}
	for _, bad := range [][]float64{nil, {-1}, {-1, 0}, {-1, -2}, {-1, 2, 3}, {-1, math.NaN()}} {
		if v := Token.Value(bad); !math.IsNaN(v) {
			t.Errorf("%v gives %v", bad, v)
		}
	}
	if v := Token.Value([]float64{-1e6, 1}); !math.IsInf(v, 1) {
		t.Errorf("%v", v)
	}
}

// What Python 3.11 says: len(re.split(r"\s+", s)).
func TestWords(t *testing.T) {
	f := func(s string, want int) {
		t.Helper()
		if got := Words(s); got != want {
			t.Errorf("%q has %d words, want %d", s, got, want)
		}
	}
	f("", 1)
	f("one", 1)
	f("one two", 2)
	f(" one  two\n", 4)
	f("a\u00a0b\u2003c\u3000d\u0085e\x1cf\vg\fh", 8)
	f("a\u200bb", 1)
}

func TestMeasureFallsBackToTheWrittenText(t *testing.T) {
	f := func(written string, bytes int, pairs ...any) {
		t.Helper()
		got, err := Measure(tokens(pairs...), written)
		if err != nil || got.Bytes != bytes {
			t.Errorf("%d bytes, %v, want %d", got.Bytes, err, bytes)
		}
	}
	f("written", 2, "a", -1.0, "b", -1.0)
	f("The 日本 x", 9, " ", -1.0, "", -1.0, "", -1.0, "本", -1.0, " x", -1.0) // The is not scored
	f("a b", 3, "\u2581a", -1.0, "\u2581b", -1.0)
	f("a\u2581b", 5, "a\u2581b", -1.0)
	f("日", 3, "\ufffd", -1.0, "\ufffd", -1.0)
	f("日", 3, `bytes:\xe6`, -1.0, `bytes:\x97\xa5`, -1.0)
	f("日", 3, "\xe6", -1.0, "\x97\xa5", -1.0)
}

func TestMeasureRefuses(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(-1), math.Inf(1), 0.1} {
		if got, err := Measure(tokens("a", -1.0, "b", v), ""); err == nil {
			t.Errorf("%v: %+v", v, got)
		}
	}
}

func TestWithin(t *testing.T) {
	f := func(logprob float64, top map[string]float64, k int, within, ok bool) {
		t.Helper()
		gotWithin, gotOK := Within(record.TokenLogprob{Token: "a", Logprob: logprob, Top: top}, k)
		if gotWithin != within || gotOK != ok {
			t.Errorf("%v of %v, %d: %v, %v; want %v, %v", logprob, top, k, gotWithin, gotOK, within, ok)
		}
	}
	f(-0.1, map[string]float64{"a": -0.1}, 1, true, true)
	f(-0.7, map[string]float64{"a": -0.7, "b": -0.7}, 1, true, true)
	f(-2, map[string]float64{"a": -2, "b": -0.2}, 1, false, true)
	f(-2, map[string]float64{"a": -2, "b": -0.2}, 2, true, true)
	f(-2, map[string]float64{"b": -0.2}, 1, false, true)
	f(-9, map[string]float64{"b": -0.2}, 2, false, false) // some other token may be second
	f(-9, map[string]float64{"b": -0.2, "c": -3}, 2, false, true)
	f(-0.1, nil, 1, false, false)
}

// The three ways part: choice 0 has the highest sum, 1 the highest by characters, 2 by bytes. By hand,
// from lm_eval/api/task.py, where acc_norm divides by len(choice) and acc_bytes by its UTF-8 length.
func TestPick(t *testing.T) {
	texts := []string{"no", "certainly not", "ééééééééé"}
	lls := []float64{-2, -4, -3.6} // by characters -1, -0.31, -0.4; by bytes -1, -0.31, -0.2
	for m, want := range map[Choice]int{Acc: 0, AccNorm: 1, AccBytes: 2} {
		if got := m.Pick(lls, texts); got != want {
			t.Errorf("%s picks %d, want %d", m, got, want)
		}
	}
	if got := Acc.Pick([]float64{-2, -1, -1}, []string{"a", "b", "c"}); got != 1 {
		t.Errorf("of equal choices %d is picked", got)
	}
	if got := Acc.Pick([]float64{-2, math.NaN()}, []string{"a", "b"}); got != -1 {
		t.Errorf("NaN: %d", got)
	}
	if got := AccNorm.Pick([]float64{0, -1}, []string{"", "b"}); got != -1 {
		t.Errorf("an empty choice: %d", got)
	}
}
