package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/scorer/toxicity"
)

// corpora returns the folder with the real corpora, or skips the test.
func corpora(t *testing.T) string {
	t.Helper()
	root := os.Getenv("TELLTALE_TESTDATA")
	if root == "" {
		t.Skip("TELLTALE_TESTDATA is not set")
	}
	return filepath.Join(root, "toxicity")
}

// The weights that are committed must be as good as the documentation says.
func TestBuiltinOnHeldOutTweets(t *testing.T) {
	dir := corpora(t)
	davidson, err := readDavidson(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := toxicity.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	p := measure(m, only(davidson, testPart))
	if n := len(p.labels); n < 4500 {
		t.Errorf("%d held-out tweets, want about 4,950", n)
	}
	if a := auc(p.margins, p.labels); !(a >= 0.975) {
		t.Errorf("AUC %.4f on held-out tweets, want at least 0.975", a)
	}
	if e, b := ece(p), brier(p); !(e < 0.05) || !(b < 0.06) {
		t.Errorf("ECE %.3f, Brier %.3f", e, b)
	}
	if os.Getenv("TELLTALE_LONG") == "" {
		return // the race detector, or a busy machine, would make the time mean nothing
	}
	start, n := time.Now(), 0
	for n < 100_000 {
		for _, e := range davidson[:min(len(davidson), 100_000-n)] {
			if _, err := m.Score(e.text); err != nil && !errors.Is(err, toxicity.ErrScript) {
				t.Fatal(err)
			}
			n++
		}
	}
	took := time.Since(start)
	t.Logf("%d tweets in %v on one core", n, took)
	if took > 10*time.Second {
		t.Errorf("%d tweets took %v, want at most 10s", n, took)
	}
}

// The same data must give the same bytes, and those must be the ones that are committed.
func TestLongTrainingIsDeterministic(t *testing.T) {
	dir := corpora(t)
	if os.Getenv("TELLTALE_LONG") == "" {
		t.Skip("TELLTALE_LONG is not set: training takes ten seconds")
	}
	out := filepath.Join(t.TempDir(), "weights.bin")
	var report bytes.Buffer
	if err := run(dir, out, &report); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../weights.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("training made other weights than the committed ones; run make train-toxicity and update docs/safety.md")
	}
}

// invented writes small corpora in the formats of the real ones.
func invented(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var tweets, pairs strings.Builder
	tweets.WriteString(",count,hate_speech,offensive_language,neither,class,tweet\n")
	pairs.WriteString("toxic\tneutral1\tneutral2\tneutral3\n")
	for i := range 300 {
		fmt.Fprintf(&tweets, "%d,3,0,3,0,1,\"RT @someone: you zorgling fool, number%c of many\"\n", i, 'a'+i%26)
		fmt.Fprintf(&tweets, "%d,3,0,0,3,2,@other what a pleasant day%c with &amp; without you http://t.co/x\n", i, 'a'+i*7%26)
		fmt.Fprintf(&pairs, "the zorgling plan%c%c is bad\tthe plan%c is not good\t\t\n", 'a'+i%26, 'a'+i/26, 'a'+i%26)
	}
	for name, content := range map[string]string{
		"davidson_labeled_data.csv": tweets.String(), "paradetox.tsv": pairs.String(),
		"hatecheck_test_suite_cases.csv": ",functionality,case_id,test_case,label_gold\n0,insult_h,1,You zorgling!,hateful\n1,plain_nh,2,A pleasant day.,non-hateful\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRunOnInventedData(t *testing.T) {
	dir := invented(t)
	train := func() ([]byte, string) {
		out := filepath.Join(t.TempDir(), "w")
		var report bytes.Buffer
		if err := run(dir, out, &report); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return b, report.String()
	}
	first, report := train()
	second, _ := train()
	if !bytes.Equal(first, second) {
		t.Error("the same data gave other weights")
	}
	m, err := toxicity.Decode(first)
	if err != nil {
		t.Fatal(err)
	}
	bad, _ := m.Score("what a zorgling")
	good, _ := m.Score("what a pleasant day")
	if !(bad.Probability > 0.5 && good.Probability < 0.5) {
		t.Errorf("the learnt word has %v, the other %v", bad.Probability, good.Probability)
	}
	for _, want := range []string{"davidson", "AUC", "insult_h", "100.0%"} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in the report:\n%s", want, report)
		}
	}
}

func TestRunRefusesBadData(t *testing.T) {
	f := func(file, content, want string) {
		t.Helper()
		dir := invented(t)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(dir, "", &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("davidson_labeled_data.csv", "class,tweet\n7,x\n", `csv:2: class "7"`)
	f("davidson_labeled_data.csv", "kind,tweet\n1,x\n", `no column "class"`)
	f("davidson_labeled_data.csv", "class,tweet\n", "no rows")
	f("hatecheck_test_suite_cases.csv", "functionality,test_case,label_gold\na,b,maybe\n", `label_gold "maybe"`)
	if err := run(t.TempDir(), "", &bytes.Buffer{}); err == nil {
		t.Error("a folder without data was taken")
	}
}

func TestAUC(t *testing.T) {
	f := func(scores, labels []float64, want float64) {
		t.Helper()
		if got := auc(scores, labels); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("auc(%v, %v) = %v, want %v", scores, labels, got, want)
		}
	}
	f([]float64{1, 2, 3, 4}, []float64{0, 0, 1, 1}, 1)
	f([]float64{4, 3, 2, 1}, []float64{0, 0, 1, 1}, 0)
	f([]float64{1, 1, 1, 1}, []float64{0, 1, 0, 1}, 0.5)
	f([]float64{1, 2, 2, 3}, []float64{0, 0, 1, 1}, 0.875)
	f([]float64{1, 2}, []float64{1, 1}, math.NaN())
}

// Platt's curve must find the one that the labels were drawn from.
func TestPlatt(t *testing.T) {
	var margins, labels, weights []float64
	for m := -3.0; m <= 3; m += 0.25 {
		p := 1 / (1 + math.Exp(-(2*m - 0.5)))
		margins = append(margins, m, m)
		labels = append(labels, 1, 0)
		weights = append(weights, 1e4*p, 1e4*(1-p))
	}
	a, b := platt(margins, labels, weights)
	if math.Abs(a-2) > 0.01 || math.Abs(b+0.5) > 0.01 {
		t.Errorf("slope %v, offset %v; want 2 and -0.5", a, b)
	}
}

func TestCleanTweet(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := cleanTweet(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	f("!!! RT @user_1: you &amp; me http://t.co/x", "!!! you & me")
	f("&#8220;@a: PART&#8221;", "“ PART”")
}
