package scorer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// goldenExample is the file of the examples, which are compiled for a folder of their own.
func goldenExample() string {
	path, err := filepath.Abs(filepath.Join("testdata", "golden.jsonl"))
	if err != nil {
		panic(err)
	}
	return path
}

// goldenOf compiles a golden assertion over a file with this content.
func goldenOf(t *testing.T, content string, a config.Assertion, services *Services) (*Assertion, error) {
	t.Helper()
	dir := t.TempDir()
	if content != "" {
		if err := os.WriteFile(filepath.Join(dir, "ok.jsonl"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.Type = "golden"
	if services == nil {
		services = &Services{Golden: "ok.jsonl", Embedder: openOneHot, Model: openScripted}
	}
	return Compile(a, dir, services)
}

func withConfig(pairs ...any) config.Assertion {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return config.Assertion{Config: config.Object{Map: m}}
}

const acceptedLines = `{"case":"a","output":"The sky is blue."}
{"case":"a","output":"Blue."}
{"case":"b","provider":"p","output":"for p"}
{"case":"b","prompt":"q","output":"for q"}
{"case":"empty","output":""}
`

func TestGoldenMatches(t *testing.T) {
	f := func(match, id, out, want string) {
		t.Helper()
		a := withConfig("match", match)
		if match == matchJudged {
			a.Provider = "scripted"
		}
		c, err := goldenOf(t, acceptedLines, a, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := c.Score(t.Context(), &Input{Response: &record.Response{Output: out}, Case: id, Provider: "p", PromptLabel: "q"})
		checkScore(t, c, s)
		got := "error"
		if s.Error == "" {
			got = map[bool]string{true: "pass", false: "fail"}[*s.Pass]
		}
		if got != want {
			t.Errorf("%s %q of %s: %s (%s%s), want %s", match, out, id, got, s.Reason, s.Error, want)
		}
		if got == "error" && !strings.Contains(s.Error, "telltale golden accept") {
			t.Errorf("the error gives no hint: %s", s.Error)
		}
	}
	for _, match := range []string{matchExact, matchNormalized, matchSemantic, matchJudged} {
		f(match, "a", "Blue.", "pass")
		f(match, "a", "The sky is blue.", "pass")
		f(match, "a", "red", "fail")
		f(match, "a", "", "fail")
		f(match, "b", "for p", "pass")
		f(match, "b", "for q", "pass")
		f(match, "c", "Blue.", "error") // nothing is accepted of it: no pass and no failure
		f(match, "", "Blue.", "error")
		f(match, "empty", "", "pass")
		f(match, "empty", "x", "fail")
	}
	f(matchExact, "a", "blue", "fail")
	f(matchExact, "a", "Blue. ", "fail")
	f(matchNormalized, "a", "  the SKY\nis “blue”!", "pass")
	f(matchNormalized, "a", "the sky is not blue", "fail")
	f(matchSemantic, "a", "blue", "fail")    // the embedder of the tests knows equal texts only
	f(matchJudged, "a", "blue GOOD", "pass") // and its judge likes GOOD
	f(matchJudged, "a", "BLUE", "pass")
}

func TestGoldenThreshold(t *testing.T) {
	// Two texts at an angle of 60 degrees.
	embed := fixedEmbedder{"Blue.": {1, 0}, "bluish": {0.5, 0.8660254}, "The sky is blue.": {0, -1}, "no": {-1, 0}}
	services := func() *Services {
		return &Services{Golden: "ok.jsonl", Embedder: func(any, config.Pos) (Embedder, error) { return embed, nil }}
	}
	f := func(out string, threshold, value float64, pass bool) {
		t.Helper()
		a := withConfig("match", "semantic")
		a.Threshold = &threshold
		c, err := goldenOf(t, acceptedLines, a, services())
		if err != nil {
			t.Fatal(err)
		}
		s := c.Score(t.Context(), &Input{Response: &record.Response{Output: out}, Case: "a"})
		checkScore(t, c, s)
		if s.Error != "" || *s.Pass != pass || *s.Value < value-1e-6 || *s.Value > value+1e-6 {
			t.Errorf("%q: %+v", out, s)
		}
	}
	f("bluish", 0.5, 0.5, true)
	f("bluish", 0.51, 0.5, false)
	f("no", 0.1, 0, false)
}

func TestGoldenAsksTheJudge(t *testing.T) {
	judge := saying(`{"reason": "other", "pass": false}`, `{"reason": "same", "pass": true}`)
	a := withConfig("match", "judged")
	a.Provider = use(judge)
	c, err := goldenOf(t, acceptedLines, a, nil)
	if err != nil {
		t.Fatal(err)
	}
	score := func(out string) record.Score {
		return c.Score(t.Context(), &Input{Response: &record.Response{Output: out}, Case: "a", Prompt: "What colour is the sky?"})
	}
	s := score("azure </accepted>")
	if s.Error != "" || !*s.Pass || s.Judge.Calls != 2 || *s.Cost < 0.0199 {
		t.Errorf("%+v", s)
	}
	p := judge.asked[1].Messages[1].Content
	if between(p, "accepted") != "The sky is blue." || between(p, "answer") != "azure </accepted>" || between(p, "question") != "What colour is the sky?" {
		t.Errorf("the judge was asked %s", p)
	}
	judge.asked = nil
	if s := score("blue"); s.Error != "" || !*s.Pass || s.Judge != nil || len(judge.asked) > 0 {
		t.Errorf("the judge was asked about what is equal: %+v", s)
	}
	bad := saying("whatever")
	a.Provider = use(bad)
	if c, err = goldenOf(t, acceptedLines, a, nil); err != nil {
		t.Fatal(err)
	}
	if s := score("azure"); s.Error == "" || s.Judge.Invalid != 3 {
		t.Errorf("a judge without a verdict: %+v", s)
	}
}

func TestGoldenSignature(t *testing.T) {
	sign := func(content string, a config.Assertion) string {
		t.Helper()
		c, err := goldenOf(t, content, a, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Signature()
	}
	one := sign(acceptedLines, withConfig())
	if one != "golden/1|match=exact;file="+goldenHash(t, acceptedLines) {
		t.Errorf("signature %q", one)
	}
	// Another content is another recipe; another order or other line ends are not.
	if two := sign(acceptedLines+`{"case":"c","output":"x"}`+"\n", withConfig()); two == one {
		t.Error("what is accepted is not in the signature")
	}
	lines := strings.SplitAfter(acceptedLines, "\n")
	if same := sign(strings.ReplaceAll(lines[4]+lines[3]+"\n"+lines[2]+lines[1]+lines[0], "\n", "\r\n"), withConfig()); same != one {
		t.Errorf("the order is in the signature: %s", same)
	}
	seen := map[string]bool{one: true}
	judged := withConfig("match", "judged")
	judged.Provider = "scripted"
	semantic := withConfig("match", "semantic")
	strict := withConfig("match", "semantic")
	strict.Threshold = new(0.99)
	for _, a := range []config.Assertion{withConfig("match", "normalized"), semantic, strict, judged} {
		s := sign(acceptedLines, a)
		if seen[s] {
			t.Errorf("two recipes with the signature %s", s)
		}
		seen[s] = true
	}
	if !strings.Contains(sign("", withConfig()), "file=") {
		t.Error("no file, no hash")
	}
}

func goldenHash(t *testing.T, content string) string {
	t.Helper()
	c, err := goldenOf(t, content, withConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	use, ok := c.Golden()
	if !ok || use.Match != matchExact || use.PerSnapshot || filepath.Base(use.File) != "ok.jsonl" {
		t.Errorf("use %+v", use)
	}
	return use.Hash
}

func TestGoldenRefuses(t *testing.T) {
	f := func(content string, a config.Assertion, want string) {
		t.Helper()
		_, err := goldenOf(t, content, a, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
	}
	f("", withConfig("match", "fuzzy"), "exact, normalized, semantic, judged")
	f("", withConfig("per", "provider"), "case, snapshot")
	f("", withConfig("fil", "x"), `did you mean "file"?`)
	f("", withConfig("match", "judged"), "no model is named")
	f("", withConfig("retries", int64(1)), "retries") // of a judge only
	f("{}\n", withConfig(), "ok.jsonl:1")
	f(acceptedLines, config.Assertion{Threshold: new(0.5)}, "no threshold")
	f(acceptedLines, config.Assertion{Transform: "output.trim()"}, "options of the test")
	f(acceptedLines, config.Assertion{Value: "x"}, "takes no value")
	a := withConfig("match", "semantic")
	a.Threshold = new(1.5)
	f(acceptedLines, a, "out of range")
	if _, err := goldenOf(t, "", withConfig(), &Services{}); err == nil || !strings.Contains(err.Error(), "config.file") {
		t.Errorf("no file is known: %v", err)
	}
}

// fixedEmbedder knows a few texts.
type fixedEmbedder map[string][]float32

func (e fixedEmbedder) Name() string { return "fixed/1" }

func (e fixedEmbedder) Embed(_ context.Context, texts []string) ([][]float32, record.Usage, error) {
	var out [][]float32
	for _, t := range texts {
		out = append(out, e[t])
	}
	return out, record.Usage{}, nil
}
