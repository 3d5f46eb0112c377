package textmetric

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// vectors is testdata/vectors.json: figures of the reference packages it names.
type vectors struct {
	Source map[string]string
	Readme struct {
		Hypotheses []string
		References [][]string
		Default    float64
		SmoothNone float64 `json:"smooth_none"`
		TokNone    float64 `json:"tok_none"`
		Intl       float64
	}
	Pairs []struct {
		Name       string
		Hypothesis string
		References []string
	}
	Tokens map[string]map[string][]string
	BLEU   map[string]struct {
		Sentence, Plain   map[string]float64
		CorpusFirst       float64 `json:"corpus_first"`
		CorpusAll         float64 `json:"corpus_all"`
		SignatureSentence string  `json:"signature_sentence"`
		SignatureFirst    string  `json:"signature_first"`
		SignatureAll      string  `json:"signature_all"`
	}
	CHRF map[string]struct {
		Sentence       map[string]float64
		CorpusFirst    float64 `json:"corpus_first"`
		CorpusAll      float64 `json:"corpus_all"`
		SignatureFirst string  `json:"signature_first"`
		SignatureAll   string  `json:"signature_all"`
	}
	TER struct {
		Sentence    map[string]float64
		CorpusFirst float64 `json:"corpus_first"`
		CorpusAll   float64 `json:"corpus_all"`
		Moved       [][3]any
	}
	GLEU map[string]struct {
		Sentence map[string]float64
		Corpus   float64
	}
	METEOR map[string]map[string]float64
	Rouge  map[string]map[string]map[string][3]float64
	Squad  struct {
		Normal map[string]string
		Exact  map[string]bool
		F1     map[string]float64
	}
}

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func loadVectors(t testing.TB) *vectors {
	t.Helper()
	v := &vectors{}
	readJSON(t, "vectors.json", v)
	if len(v.Pairs) < 60 || v.Source["sacrebleu"] != SacreBLEU {
		t.Fatalf("vectors.json: %d pairs of %v", len(v.Pairs), v.Source)
	}
	return v
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-9) {
		t.Errorf("%s: %.12g, want %.12g", what, got, want)
	}
}

func add(sum *[]float64, stats []float64) {
	if *sum == nil {
		*sum = make([]float64, len(stats))
	}
	for i, x := range stats {
		(*sum)[i] += x
	}
}

func TestTokens(t *testing.T) {
	v := loadVectors(t)
	for name, want := range v.Tokens {
		tok, ok := ParseTokenizer(name)
		if !ok {
			t.Fatalf("no tokenizer %q", name)
		}
		for _, p := range v.Pairs {
			if w, ok := want[p.Name]; ok {
				if got := tok.Tokens(p.Hypothesis); !slices.Equal(got, w) {
					t.Errorf("%s/%s: %q, want %q", name, p.Name, got, w)
				}
			}
		}
	}
}

// The three sentences with two references of the sacreBLEU README and its test suite.
func TestBLEUReadme(t *testing.T) {
	v := loadVectors(t)
	f := func(b BLEU, want, vector float64) {
		t.Helper()
		var sum []float64
		for i, h := range v.Readme.Hypotheses {
			add(&sum, b.References(v.Readme.References[i]).Stats(h))
		}
		got := b.Score(Corpus, sum)
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%+v: %v, want %v", b, got, want)
		}
		near(t, b.Signature(Corpus, 2), got, vector)
	}
	f(BLEU{}, 48.530827, v.Readme.Default)
	f(BLEU{Smoothing: SmoothNone}, 48.530827, v.Readme.SmoothNone)
	f(BLEU{Tokenizer: TokNone}, 49.1919566, v.Readme.TokNone)
	f(BLEU{Tokenizer: TokIntl}, 43.91623493, v.Readme.Intl)
}

var bleuConfigs = map[string]BLEU{
	"13a":            {},
	"none-smoothing": {Smoothing: SmoothNone},
	"floor":          {Smoothing: SmoothFloor},
	"floor-0.3":      {Smoothing: SmoothFloor, SmoothValue: 0.3},
	"add-k":          {Smoothing: SmoothAddK},
	"add-k-0.5":      {Smoothing: SmoothAddK, SmoothValue: 0.5},
	"intl":           {Tokenizer: TokIntl},
	"char":           {Tokenizer: TokChar},
	"none":           {Tokenizer: TokNone},
	"lowercase":      {Lowercase: true},
	"order-2":        {MaxOrder: 2},
	"order-6":        {MaxOrder: 6},
}

func TestBLEUVectors(t *testing.T) {
	v := loadVectors(t)
	if len(v.BLEU) != len(bleuConfigs) {
		t.Fatalf("%d configurations in the vectors, %d here", len(v.BLEU), len(bleuConfigs))
	}
	for name, want := range v.BLEU {
		b, ok := bleuConfigs[name]
		if !ok {
			t.Fatalf("no configuration %q", name)
		}
		var first, all []float64
		for _, p := range v.Pairs {
			stats := b.References(p.References).Stats(p.Hypothesis)
			near(t, name+"/sentence/"+p.Name, b.Score(Sentence, stats), want.Sentence[p.Name])
			near(t, name+"/plain/"+p.Name, b.Score(Corpus, stats), want.Plain[p.Name])
			add(&all, stats)
			add(&first, b.References(p.References[:1]).Stats(p.Hypothesis))
		}
		near(t, name+"/first", b.Score(Corpus, first), want.CorpusFirst)
		near(t, name+"/all", b.Score(Corpus, all), want.CorpusAll)
		sigs := func(got, want string) {
			t.Helper()
			if b.MaxOrder != 0 { // sacreBLEU does not name the order
				want = strings.Replace(want, "|version", "|order:"+string(rune('0'+b.MaxOrder))+"|version", 1)
			}
			if got != want {
				t.Errorf("%s: signature %s, want %s", name, got, want)
			}
		}
		sigs(b.Signature(Sentence, 1), want.SignatureSentence)
		sigs(b.Signature(Corpus, 1), want.SignatureFirst)
		sigs(b.Signature(Corpus, -1), want.SignatureAll)
	}
}

var chrfConfigs = map[string]CHRF{
	"chrf":       {},
	"chrf++":     {WordOrder: 2},
	"lowercase":  {Lowercase: true},
	"space":      {Whitespace: true},
	"nc4-nw1-b3": {CharOrder: 4, WordOrder: 1, Beta: 3},
}

func TestCHRFVectors(t *testing.T) {
	v := loadVectors(t)
	if len(v.CHRF) != len(chrfConfigs) {
		t.Fatalf("%d configurations in the vectors, %d here", len(v.CHRF), len(chrfConfigs))
	}
	for name, want := range v.CHRF {
		c, ok := chrfConfigs[name]
		if !ok {
			t.Fatalf("no configuration %q", name)
		}
		var first, all []float64
		for _, p := range v.Pairs {
			stats := c.References(p.References).Stats(p.Hypothesis)
			near(t, name+"/"+p.Name, c.Score(stats), want.Sentence[p.Name])
			add(&all, stats)
			add(&first, c.References(p.References[:1]).Stats(p.Hypothesis))
		}
		near(t, name+"/first", c.Score(first), want.CorpusFirst)
		near(t, name+"/all", c.Score(all), want.CorpusAll)
		if got := c.Signature(1); got != want.SignatureFirst {
			t.Errorf("%s: signature %s, want %s", name, got, want.SignatureFirst)
		}
		if got := c.Signature(-1); got != want.SignatureAll {
			t.Errorf("%s: signature %s, want %s", name, got, want.SignatureAll)
		}
	}
	if got := (CHRF{WordOrder: 2}).Name(); got != "chrF2++" {
		t.Errorf("name %s", got)
	}
}

func TestTERVectors(t *testing.T) {
	v := loadVectors(t)
	if len(v.TER.Moved) < 200 || len(v.TER.Sentence) != len(v.Pairs) {
		t.Fatalf("%d and %d sentences", len(v.TER.Moved), len(v.TER.Sentence))
	}
	var first, all []float64
	for _, p := range v.Pairs {
		stats := TER{}.References(p.References).Stats(p.Hypothesis)
		near(t, "ter/"+p.Name, TER{}.Score(stats), v.TER.Sentence[p.Name])
		add(&all, stats)
		add(&first, TER{}.References(p.References[:1]).Stats(p.Hypothesis))
	}
	near(t, "ter/first", TER{}.Score(first), v.TER.CorpusFirst)
	near(t, "ter/all", TER{}.Score(all), v.TER.CorpusAll)
	for _, m := range v.TER.Moved {
		hyp, ref := m[0].(string), m[1].(string)
		near(t, "ter of "+hyp, TER{}.Score(TER{}.References([]string{ref}).Stats(hyp)), m[2].(float64))
	}
	if got := (TER{}).Score([]float64{1}); !math.IsNaN(got) {
		t.Errorf("one statistic: %v", got)
	}
}

func TestGLEUVectors(t *testing.T) {
	v := loadVectors(t)
	for name, want := range v.GLEU {
		tok, _ := ParseTokenizer(name)
		g := GLEU{Tokenizer: tok}
		var sum []float64
		for _, p := range v.Pairs {
			stats := g.References(p.References).Stats(p.Hypothesis)
			near(t, name+"/"+p.Name, g.Score(stats), want.Sentence[p.Name])
			add(&sum, stats)
		}
		near(t, name+"/corpus", g.Score(sum), want.Corpus)
	}
}

func TestMETEORVectors(t *testing.T) {
	v := loadVectors(t)
	for name, want := range v.METEOR {
		tok, _ := ParseTokenizer(name)
		m := METEOR{Tokenizer: tok}
		for _, p := range v.Pairs {
			near(t, name+"/"+p.Name, m.References(p.References).Score(p.Hypothesis), want[p.Name])
		}
	}
	if sig := (METEOR{}).Signature(); !strings.Contains(sig, "synonyms:off") {
		t.Errorf("the signature does not say that synonyms are off: %s", sig)
	}
}

func TestROUGEVectors(t *testing.T) {
	v := loadVectors(t)
	variants := []ROUGE{{}, {N: 2}, {N: 3}, {Variant: RougeL}, {Variant: RougeLsum}}
	for key, want := range v.Rouge {
		for _, r := range variants {
			r.Stem = key == "stemmer"
			for _, p := range v.Pairs {
				got, err := r.References(p.References).Score(p.Hypothesis)
				if err != nil {
					t.Fatal(err)
				}
				w := want[p.Name][r.Name()]
				what := key + "/" + r.Name() + "/" + p.Name
				near(t, what+"/precision", got.Precision, w[0])
				near(t, what+"/recall", got.Recall, w[1])
				near(t, what+"/f", got.F, w[2])
			}
		}
	}
}

func TestSQuADVectors(t *testing.T) {
	v := loadVectors(t)
	for _, p := range v.Pairs {
		if w, ok := v.Squad.Normal[p.Name]; ok {
			if got := NormalizeAnswer(p.Hypothesis); got != w {
				t.Errorf("%s: %q, want %q", p.Name, got, w)
			}
		}
		g := NewGolds(p.References)
		if got := g.ExactMatch(p.Hypothesis); got != v.Squad.Exact[p.Name] {
			t.Errorf("%s: exact match %v, want %v", p.Name, got, v.Squad.Exact[p.Name])
		}
		near(t, p.Name, g.F1(p.Hypothesis).F, v.Squad.F1[p.Name])
	}
}

func TestStemVectors(t *testing.T) {
	var v struct{ Stems map[string]string }
	readJSON(t, "stems.json", &v)
	if len(v.Stems) < 1000 {
		t.Fatalf("only %d stems", len(v.Stems))
	}
	for word, want := range v.Stems {
		if got := PorterStem(lower(word)); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
}
