package scorer

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Tokens of oneHot are the words, each with a direction of its own.
func (e oneHot) Tokens(text string) []string { return strings.Fields(text) }

func (e oneHot) EmbedTokens(ctx context.Context, texts []string) (tokens [][]string, vectors [][][]float32, err error) {
	for _, text := range texts {
		words := e.Tokens(text)
		list, _, err := e.Embed(ctx, words)
		if err != nil {
			return nil, nil, err
		}
		tokens, vectors = append(tokens, words), append(vectors, list)
	}
	return tokens, vectors, nil
}

func semanticExamples() map[string]example {
	e := example{value: []any{"a blue sky", "an azure sky"}, pass: says("an azure sky"), fail: says("grass")}
	b := e
	b.threshold = new(0.9)
	return map[string]example{"similar": e, "similar:dot": e, "similar:euclidean": e, "bertscore": b}
}

// planar embeds the texts that it knows in a plane, and counts how many it was asked for.
type planar struct {
	name  string
	known map[string][]float32
	asked *int
	err   error
}

func (p planar) Name() string { return p.name }

func (p planar) Embed(_ context.Context, texts []string) ([][]float32, record.Usage, error) {
	var out [][]float32
	for _, t := range texts {
		*p.asked++
		out = append(out, p.known[t])
	}
	return out, record.Usage{Total: len(texts)}, p.err
}

func newPlanar() planar {
	return planar{name: "plane/1", asked: new(int), known: map[string][]float32{"east": {1, 0}, "north": {0, 1}, "north-east": {3, 3}, "west": {-1, 0}, "nowhere": {0, 0}}}
}

func similar(t *testing.T, e Embedder, a config.Assertion) *Assertion {
	t.Helper()
	c, err := Compile(a, "", &Services{Embedder: func(any, config.Pos) (Embedder, error) { return e, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// By hand.
func TestSimilar(t *testing.T) {
	f := func(typ, out string, threshold float64, pass bool, value, metric float64) {
		t.Helper()
		c := similar(t, newPlanar(), config.Assertion{Type: typ, Value: []any{"east", "west"}, Threshold: &threshold})
		r := says(out)
		s := c.Score(t.Context(), &Input{Response: &r})
		if s.Error != "" || *s.Pass != pass || math.Abs(*s.Value-value) > 1e-9 || math.Abs(s.Measures[0].Value-metric) > 1e-9 {
			t.Errorf("%s of %s: %+v, want %v, %v and the metric %v", typ, out, s, pass, value, metric)
		}
	}
	f("similar", "east", 1, true, 1, 1)
	f("similar", "north-east", 0.7, true, math.Sqrt2/2, math.Sqrt2/2)
	f("similar", "north-east", 0.71, false, math.Sqrt2/2, math.Sqrt2/2)
	f("similar:cosine", " ", 0.1, false, 0, 0)
	f("similar:dot", "north-east", 3, true, 3, 3)
	f("similar:euclidean", "north", 1.5, true, 1/(1+math.Sqrt2), 1/(1+math.Sqrt2))
	f("similar:euclidean", "north", 1.4, false, 1/(1+math.Sqrt2), 1/(1+math.Sqrt2))

	// A cosine below 0 is no share of anything, but the metric has it.
	c := similar(t, newPlanar(), config.Assertion{Type: "similar", Value: "east"})
	r := says("west")
	if s := c.Score(t.Context(), &Input{Response: &r}); *s.Value != 0 || s.Measures[0].Value != -1 || *s.Pass {
		t.Errorf("%+v", s)
	}
	// The opposite of likeness.
	c = similar(t, newPlanar(), config.Assertion{Type: "similar", Value: "east", Not: true})
	r = says("north-east")
	if s := c.Score(t.Context(), &Input{Response: &r}); !*s.Pass || math.Abs(*s.Value-(1-math.Sqrt2/2)) > 1e-9 {
		t.Errorf("%+v", s)
	}
}

// References are asked for once, and what asking took is in the score.
func TestSimilarAsksOnce(t *testing.T) {
	e := newPlanar()
	c := similar(t, e, config.Assertion{Type: "similar", Value: []any{"east", "west"}})
	for i, want := range []int{3, 4, 5} {
		r := says("north")
		s := c.Score(t.Context(), &Input{Response: &r})
		if *e.asked != want || s.Usage == nil || s.Usage.Total != []int{3, 1, 1}[i] {
			t.Errorf("asked for %d texts, want %d; usage %+v", *e.asked, want, s.Usage)
		}
	}
	if want := "similar/1|plane/1|threshold=0.75"; c.Signature() != want {
		t.Errorf("signature %s, want %s", c.Signature(), want)
	}
}

func TestSimilarFailsClosed(t *testing.T) {
	f := func(e planar, out, want string) {
		t.Helper()
		c := similar(t, e, config.Assertion{Type: "similar", Value: "east", Threshold: new(-1.0)})
		r := says(out)
		if s := c.Score(t.Context(), &Input{Response: &r}); s.Pass != nil || !strings.Contains(s.Error, want) {
			t.Errorf("%+v, want %q", s, want)
		}
	}
	f(newPlanar(), "nowhere", "no direction")
	f(newPlanar(), "unknown", "cannot be compared")
	e := newPlanar()
	e.err = errors.New("overloaded")
	f(e, "east", "overloaded")
	e = newPlanar()
	e.known["east"] = []float32{float32(math.NaN()), 1}
	f(e, "north", "NaN")
}

func TestSemanticMistakes(t *testing.T) {
	f := func(a config.Assertion, want string) {
		t.Helper()
		a.Pos = config.Pos{File: "s.yaml", Line: 3, Key: "assert[0]"}
		_, err := Compile(a, t.TempDir(), &Services{Embedder: openOneHot})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "s.yaml:3") {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
	}
	f(config.Assertion{Type: "similar"}, "needs a value")
	f(config.Assertion{Type: "similar", Value: " "}, "blank")
	f(config.Assertion{Type: "similar", Value: "x", Threshold: new(1.5)}, "-1 to 1")
	f(config.Assertion{Type: "similar:euclidean", Value: "x", Threshold: new(-1.0)}, "threshold")
	bert := func(c map[string]any) config.Assertion {
		return config.Assertion{Type: "bertscore", Value: "x", Config: config.Object{Pos: config.Pos{File: "s.yaml", Line: 3}, Map: c}}
	}
	f(bert(map[string]any{"of": "f2"}), "precision or recall")
	f(bert(map[string]any{"baseline": 1.0}), "from 0 to below 1")
	f(bert(map[string]any{"baseline": map[string]any{"f1": 0.5}}), "precision, recall and f1")
	f(bert(map[string]any{"idf": "none.txt"}), "one reference text a line")

	_, err := Compile(config.Assertion{Type: "bertscore", Value: "x", Pos: config.Pos{File: "s.yaml"}}, "", &Services{Embedder: func(any, config.Pos) (Embedder, error) { return newPlanar(), nil }})
	if err == nil || !strings.Contains(err.Error(), "onnx:DIR") {
		t.Errorf("an embedder without tokens: %v", err)
	}
	if _, err := Compile(config.Assertion{Type: "similar", Value: "x"}, "", nil); err == nil {
		t.Error("similar is built without an embedder")
	}
}

// By hand: of "a b c" against "a b d e", 2 of 3 tokens match and 2 of 4.
func TestBERTScoreOfWords(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "refs.txt"), []byte("a b\na d\n\na e\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(c map[string]any, want float64) {
		t.Helper()
		a, err := Compile(config.Assertion{Type: "bertscore", Value: []any{"x y", "a b d e"}, Config: config.Object{Map: c}}, dir, &Services{Embedder: openOneHot})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r := says("a b c")
			s := a.Score(t.Context(), &Input{Response: &r})
			if s.Error != "" || s.Pass != nil || math.Abs(s.Measures[0].Value-want) > 1e-9 || *s.Value != max(0, s.Measures[0].Value) {
				t.Errorf("%v: %+v, want %v", c, s, want)
			}
		}
	}
	p, r := 2.0/3, 0.5
	f1 := 2 * p * r / (p + r)
	f(nil, f1)
	f(map[string]any{"of": "precision"}, p)
	f(map[string]any{"of": "recall", "baseline": 0.4}, (r-0.4)/0.6)
	f(map[string]any{"of": "recall", "baseline": map[string]any{"precision": 0.1, "recall": 0.75, "f1": 0.2}}, -1)
	// a is in all three texts, b, d and e in one each, c in none.
	one, none := math.Log(4.0/2), math.Log(4)
	f(map[string]any{"of": "precision", "idf": "refs.txt"}, one/(one+none))
	f(map[string]any{"of": "recall", "idf": "file://refs.txt"}, one/(3*one))
}

// Numbers of an embedding that knows no meaning are called lexical, and warned of.
func TestLexicalIsNamed(t *testing.T) {
	e := newPlanar()
	e.name = "lexical/1"
	c := similar(t, e, config.Assertion{Type: "similar", Value: "east"})
	r := says("north")
	if s := c.Score(t.Context(), &Input{Response: &r}); !strings.HasPrefix(s.Reason, "lexical ") {
		t.Errorf("reason %q", s.Reason)
	}
	if c.Caution() != LexicalCaution || !strings.Contains(c.Signature(), "lexical/1") {
		t.Errorf("caution %q, signature %s", c.Caution(), c.Signature())
	}
	if c := similar(t, newPlanar(), config.Assertion{Type: "similar", Value: "east"}); c.Caution() != "" {
		t.Errorf("caution %q", c.Caution())
	}
}
