package scorer

import (
	"bufio"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func referenceKind(t testing.TB, name string) Kind {
	t.Helper()
	for _, k := range referenceKinds() {
		if k.Name == name {
			return k
		}
	}
	t.Fatalf("no kind %q", name)
	return Kind{}
}

// referenceSpec is what a suite's assertion becomes, with the kind's default threshold filled in.
func referenceSpec(k Kind, value any, cfg map[string]any, threshold *float64) Spec {
	pos := config.Pos{File: "suite.yaml", Line: 7, Key: "tests[0].assert[0]"}
	if threshold == nil {
		threshold = k.Default
	}
	return Spec{Pos: pos, Value: value, ValuePos: pos.At("value"), Threshold: threshold, Config: config.Object{Pos: pos.At("config"), Map: cfg}}
}

func scoreReference(t testing.TB, s Scorer, output string) Result {
	t.Helper()
	res, err := s.Score(t.Context(), &Input{Response: &record.Response{Output: output}})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// Every kind judges something right and something wrong.
func TestReferenceKindsCanPassAndFail(t *testing.T) {
	seen := map[string]bool{}
	f := func(kind string, value any, cfg map[string]any, threshold float64, good, bad string) {
		t.Helper()
		seen[kind] = true
		k := referenceKind(t, kind)
		var th *float64
		if threshold > 0 {
			th = &threshold
		}
		s, err := k.Build(referenceSpec(k, value, cfg, th))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			return
		}
		for out, want := range map[string]bool{good: true, bad: false} {
			res := scoreReference(t, s, out)
			if res.Pass == nil || *res.Pass != want || res.Reason == "" {
				t.Errorf("%s of %q: %+v, want pass %v", kind, out, res, want)
			}
			if !k.Continuous && (res.Value == 1) != want {
				t.Errorf("%s of %q: value %v, want pass %v", kind, out, res.Value, want)
			}
		}
		if c, ok := s.(conventional); !ok || c.convention() == "" {
			t.Errorf("%s has no convention", kind)
		}
	}
	ref := "the cat sat on the mat"
	list := []any{"a dog ran", ref}
	f("exact-match", "Eiffel Tower", nil, 0, "The Eiffel tower!", "Eiffel Tower, Paris")
	f("exact-match", []any{"Paris", int64(12)}, nil, 0, "12.", "13")
	f("exact-match", "Paris", map[string]any{"normalize": "none"}, 0, "Paris", "paris")
	f("numeric-answer", int64(18), nil, 0, "So it is $18.00.", "18 or 19")
	f("numeric-answer", "9*2=18\n#### 18", map[string]any{"mode": "strict"}, 0, "#### 18\nor 19", "18")
	f("numeric-answer", "A: 1,800", map[string]any{"mode": "strict", "marker": "A:"}, 0, "A: 1800", "#### 1800")
	f("numeric-answer", 2.5, nil, 0, "2.50", "2.05")
	f("numeric-answer", uint64(18446744073709551615), nil, 0, "18446744073709551615", "18446744073709551614")
	f("f1", ref, nil, 0.7, "cat sat on mat", "dog ran")
	f("bleu", ref, nil, 0, ref, "a dog ran away")
	f("bleu", list, map[string]any{"tokenizer": "char", "smoothing": "floor", "smooth_value": 0.2, "max_order": int64(3), "lowercase": true}, 0, "The CAT sat on the mat", "xyz")
	f("chrf", ref, nil, 0.6, "the cat sat on a mat", "dogs run")
	f("chrf", list, map[string]any{"char_order": int64(4), "word_order": int64(1), "beta": int64(3), "lowercase": true, "whitespace": true}, 0.9, "THE CAT SAT ON THE MAT", "dogs run")
	f("chrf++", ref, map[string]any{"beta": int64(1)}, 0.6, "the cat sat on a mat", "dogs run")
	f("gleu", ref, map[string]any{"lowercase": true, "tokenizer": "intl"}, 0, "The cat sat on the mat", "cat mat")
	f("rouge-n", ref, nil, 0, "The cat sat on a mat.", "cat")
	f("rouge-n", ref, map[string]any{"n": int64(3)}, 0.75, ref, "The cat sat on a mat.")
	f("rouge-1", "connected cats", map[string]any{"stemmer": true}, 1, "connecting cat", "dogs")
	f("rouge-2", list, nil, 0.9, ref, "mat the on sat cat the")
	f("rouge-l", ref, nil, 0.9, ref, "mat the on sat cat the")
	f("rouge-lsum", "one two\nthree four", nil, 0.9, "three four\none two", "four three two one")
	f("meteor", ref, nil, 0, ref, "dogs run")
	for _, k := range referenceKinds() {
		if !seen[k.Name] {
			t.Errorf("%s has no row", k.Name)
		}
		if k.Version == "" || k.Summary == "" || k.Value != Required || !k.ValueIsReference {
			t.Errorf("%s is not fully described: %+v", k.Name, k)
		}
	}
}

// Mistakes are config errors that name the place.
func TestReferenceKindsRefuse(t *testing.T) {
	f := func(kind string, value any, cfg map[string]any, threshold *float64, key, want string) {
		t.Helper()
		k := referenceKind(t, kind)
		_, err := k.Build(referenceSpec(k, value, cfg, threshold))
		var list config.Errors
		list.Append(config.Pos{}, err)
		if len(list) == 0 {
			t.Errorf("%s with %v, %v was built", kind, value, cfg)
			return
		}
		if _, ok := errors.AsType[*config.Error](err); !ok {
			t.Errorf("%s: %v is no config error", kind, err)
		}
		if !strings.Contains(err.Error(), want) || !strings.HasSuffix(list[0].Key, key) || list[0].File != "suite.yaml" {
			t.Errorf("%s: %v at %q, want %q at %q", kind, err, list[0].Key, want, key)
		}
	}
	for _, k := range referenceKinds() {
		f(k.Name, nil, nil, nil, "", "there is no value to compare with")
		f(k.Name, map[string]any{"a": "b"}, nil, nil, "value", "not a")
		f(k.Name, "7", map[string]any{"tokeniser": "13a"}, nil, "config.tokeniser", "unknown key")
		if k.Continuous {
			f(k.Name, []any{}, nil, nil, "value", "empty")
			f(k.Name, []any{"a", []any{}}, nil, nil, "value[1]", "not a text")
			f(k.Name, " \n", nil, nil, "value", "blank")
			f(k.Name, "a", nil, new(1.5), "threshold", "at most 1")
			f(k.Name, "a", nil, new(0.0), "threshold", "every answer")
			f(k.Name, "a", nil, new(math.NaN()), "threshold", "at most 1")
		}
	}
	f("exact-match", []any{}, nil, nil, "value", "empty")
	f("exact-match", "a", map[string]any{"normalize": "all"}, nil, "normalize", "squad or none")
	f("numeric-answer", "nine", nil, nil, "value", "which number")
	f("numeric-answer", "1/2", nil, nil, "value", "which number")
	f("numeric-answer", true, nil, nil, "value", "not a number")
	f("numeric-answer", "1", map[string]any{"mode": "loose"}, nil, "mode", "strict or flexible")
	f("numeric-answer", "1", map[string]any{"mode": "strict", "marker": " "}, nil, "marker", "blank")
	f("numeric-answer", "1", map[string]any{"marker": "####"}, nil, "marker", "unknown key")
	f("bleu", "a", map[string]any{"tokenizer": "zh"}, nil, "tokenizer", "13a, intl, char or none")
	f("bleu", "a", map[string]any{"smoothing": "laplace"}, nil, "smoothing", "exp, floor, add-k or none")
	f("bleu", "a", map[string]any{"smooth_value": 0.1}, nil, "smooth_value", "exp has no value")
	f("bleu", "a", map[string]any{"smoothing": "floor", "smooth_value": -1.0}, nil, "smooth_value", "above 0")
	f("bleu", "a", map[string]any{"max_order": int64(0)}, nil, "max_order", "from 1 to 9")
	f("chrf", "a", map[string]any{"char_order": 1.5}, nil, "char_order", "whole number")
	f("chrf++", "a", map[string]any{"word_order": int64(1)}, nil, "word_order", "unknown key")
	f("rouge-1", "a", map[string]any{"stemmer": "yes"}, nil, "stemmer", "true or false")
	f("rouge-1", "a", map[string]any{"n": int64(2)}, nil, "n", "unknown key")
	f("rouge-l", "今天", nil, nil, "value", "chrf")
}

// Without a threshold and without a default there is a number but no judgement.
func TestReferenceKindsMeasure(t *testing.T) {
	for _, k := range referenceKinds() {
		if !k.Continuous {
			continue
		}
		s, err := k.Build(referenceSpec(k, "the cat sat on the mat", nil, nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range []string{"", "the cat", "the cat sat on the mat", strings.Repeat("cat ", 1000)} {
			res := scoreReference(t, s, out)
			if (res.Pass == nil) != (k.Default == nil) || !(res.Value >= 0 && res.Value <= 1) {
				t.Errorf("%s of %.20q: %+v", k.Name, out, res)
			}
			if out == "" && (res.Value != 0 || res.Pass != nil && *res.Pass) {
				t.Errorf("%s of an empty answer: %+v", k.Name, res)
			}
		}
		if k.Name != "f1" && k.Caution == "" {
			t.Errorf("%s has no caution", k.Name)
		}
	}
}

func TestReferenceReasons(t *testing.T) {
	f := func(kind string, value any, threshold *float64, out, want string) {
		t.Helper()
		k := referenceKind(t, kind)
		s, err := k.Build(referenceSpec(k, value, nil, threshold))
		if err != nil {
			t.Fatal(err)
		}
		if got := scoreReference(t, s, out).Reason; got != want {
			t.Errorf("%s of %q: %q, want %q", kind, out, got, want)
		}
	}
	f("rouge-n", "a b c d", nil, "a b", "rouge1 0.6667 is below 0.75")
	f("rouge-1", "a b c d", nil, "a b", "rouge1 is 0.6667")
	f("rouge-1", "a b c d", new(0.66667), "a b", "rouge1 0.6666666666666666 is below 0.66667")
	f("bleu", "a b c d", nil, "a b c d", "sentence BLEU 1.0000 is at least 0.5")
	f("exact-match", "Paris", nil, "Rome", `the output "Rome" is not the reference "Paris"`)
	f("exact-match", []any{"Paris", "Lyon"}, nil, "Rome", `the output "Rome" is not one of the references "Paris", "Lyon"`)
	f("numeric-answer", "18", nil, "It is 17.", "the answer is 17, not 18")
	f("numeric-answer", "18", nil, "no idea", "the last thing in the output that looks like a number is none; 18 was expected")
}

// The three sentences of the sacreBLEU README, by way of the measures that a run sums. The figures
// are those of sacreBLEU 2.6.0, and of NLTK 3.10.4 for GLEU.
func TestCorpusMeasures(t *testing.T) {
	outputs := []string{"The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."}
	refs := [][]any{
		{"The dog bit the man.", "The dog had bit the man."},
		{"It was not unexpected.", "No one was surprised."},
		{"The man bit him first.", "The man had bitten the dog."},
	}
	f := func(kind string, cfg map[string]any, want float64) {
		t.Helper()
		k := referenceKind(t, kind)
		var sum []float64
		var name string
		for i, out := range outputs {
			s, err := k.Build(referenceSpec(k, refs[i], cfg, nil))
			if err != nil {
				t.Fatal(err)
			}
			res := scoreReference(t, s, out)
			if len(res.Measures) != 2 || res.Measures[0].Metric != "." || res.Measures[0].Value != res.Value ||
				res.Measures[1].Metric != ".corpus" || i > 0 && res.Measures[1].Kind != name {
				t.Fatalf("%s: measures %+v", kind, res.Measures)
			}
			name = res.Measures[1].Kind
			if sum == nil {
				sum = make([]float64, len(res.Measures[1].Stats))
			}
			for j, x := range res.Measures[1].Stats {
				sum[j] += x
			}
		}
		for _, n := range []string{name, strings.TrimPrefix(name, "corpus/")} {
			finish, ok := CorpusFinisher(n)
			if !ok {
				t.Fatalf("no finisher for %q", n)
			}
			if got := finish(sum); math.Abs(got-want) > 1e-6 {
				t.Errorf("%s: %v, want %v", n, got, want)
			}
			if !math.IsNaN(finish(nil)) {
				t.Errorf("%s of nothing is a number", n)
			}
		}
	}
	f("bleu", nil, 48.530827)
	f("bleu", map[string]any{"smoothing": "none"}, 48.530827)
	f("bleu", map[string]any{"tokenizer": "none"}, 49.1919566)
	f("bleu", map[string]any{"tokenizer": "intl"}, 43.91623493)
	f("bleu", map[string]any{"smoothing": "add-k", "smooth_value": 0.5, "lowercase": true, "max_order": int64(2)}, 61.537443990402004)
	f("chrf", nil, 59.72751782684763)
	f("chrf++", map[string]any{"lowercase": true, "whitespace": true, "beta": int64(3), "char_order": int64(5)}, 65.53016965857637)
	f("gleu", nil, 0.5185185185185185)
}

func TestCorpusFinisherRefuses(t *testing.T) {
	for _, kind := range []string{"", "corpus/", "bleu", "corpus/bleu:", "corpus/rouge:n=1", "bleu:tok=13a",
		"bleu:tok=zh,lc=false,order=4,smooth=exp,value=0", "bleu:tok=13a,lc=false,order=4,smooth=exp,value=NaN",
		"chrf:nc=6,nw=0,beta=2,lc=no,space=false", "chrf:nc=-6,nw=0,beta=2,lc=false,space=false", "gleu:tok=13a,lc=false,order=4,x=1", "perplexity:", "perplexity:letter", "perplexity"} {
		if _, ok := CorpusFinisher(kind); ok {
			t.Errorf("there is a finisher for %q", kind)
		}
	}
}

// OpenAI's verdicts on two models' GSM8K solutions, by way of the kind.
func TestNumericAnswerOnGSM8K(t *testing.T) {
	dir := os.Getenv("TELLTALE_TESTDATA")
	if dir == "" {
		t.Skip("TELLTALE_TESTDATA is not set: no GSM8K solutions to score")
	}
	file, err := os.Open(filepath.Join(dir, "gsm8k", "solutions_finetuning.jsonl"))
	if err != nil {
		t.Skipf("no GSM8K solutions: %v", err)
	}
	defer file.Close()
	k := referenceKind(t, "numeric-answer")
	type solution struct {
		Correct bool   `json:"is_correct"`
		Text    string `json:"solution"`
	}
	modes := []map[string]any{nil, {"mode": "strict", "marker": "A:"}}
	right := map[string]int{}
	sc := bufio.NewScanner(file)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var row map[string]json.RawMessage
		if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		var truth string
		if err := json.Unmarshal(row["ground_truth"], &truth); err != nil {
			t.Fatal(err)
		}
		for _, cfg := range modes {
			s, err := k.Build(referenceSpec(k, truth, cfg, nil))
			if err != nil {
				t.Fatal(err)
			}
			for _, model := range []string{"6b_finetuning", "175b_finetuning"} {
				var sol solution
				if err := json.Unmarshal(row[model], &sol); err != nil {
					t.Fatal(err)
				}
				res := scoreReference(t, s, sol.Text)
				if *res.Pass != sol.Correct {
					t.Errorf("%v of %q: %s, published as %v", cfg, sol.Text, res.Reason, sol.Correct)
				}
				if *res.Pass {
					right[model]++
				}
			}
		}
	}
	if right["6b_finetuning"] != 2*286 || right["175b_finetuning"] != 2*458 {
		t.Errorf("right in both modes together: %v, want twice 286 and 458", right)
	}
}

func BenchmarkReferenceKinds(b *testing.B) {
	ref := strings.Repeat("The pump was checked at 9:30 and the pressure was 2.5 bar. ", 10)
	out := strings.Repeat("The pump was cleaned at 9:45 and a pressure of 2.4 bar was read. ", 10)
	for _, k := range referenceKinds() {
		b.Run(k.Name, func(b *testing.B) {
			value := any(ref)
			if k.Name == "numeric-answer" {
				value = int64(9)
			}
			spec := referenceSpec(k, value, nil, nil)
			for b.Loop() {
				s, err := k.Build(spec)
				if err != nil {
					b.Fatal(err)
				}
				scoreReference(b, s, out)
			}
		})
	}
}

// Whatever name has a finisher is the name that its recipe is written as, and nothing panics.
func FuzzCorpusFinisher(f *testing.F) {
	f.Add("corpus/calibration:measure=ece_debiased,bins=2,confidence=logprob", 6)
	f.Add("corpus/bleu:tok=13a,lc=false,order=4,smooth=exp,value=0", 10)
	f.Add("chrf:nc=6,nw=2,beta=2,lc=true,space=false", 24)
	f.Add("gleu:tok=13a,lc=false,order=4", 2)
	f.Add("perplexity:bits-per-byte", 2)
	f.Fuzz(func(t *testing.T, kind string, n int) {
		finish, ok := CorpusFinisher(kind)
		if !ok {
			return
		}
		if n < 0 || n > 500 {
			return
		}
		if v := finish(make([]float64, n)); v != 0 && !math.IsNaN(v) {
			t.Errorf("%s of %d zeros = %v", kind, n, v)
		}
	})
}
