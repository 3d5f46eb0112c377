package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// junitFile is what a CI system reads of junit.xml.
type junitFile struct {
	XMLName  xml.Name `xml:"testsuites"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Suites   []struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Cases    []struct {
			Name    string    `xml:"name,attr"`
			Class   string    `xml:"classname,attr"`
			Failure []outcome `xml:"failure"`
			Error   []outcome `xml:"error"`
			Skipped []outcome `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

type outcome struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Body    string `xml:",chardata"`
}

// readJUnit parses junit.xml and checks that every count in an attribute is the number of elements.
func readJUnit(t *testing.T, text string) junitFile {
	t.Helper()
	var f junitFile
	if err := xml.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("junit.xml is not well-formed: %v", err)
	}
	var tests, failures, errs int
	seen := map[string]bool{}
	for _, s := range f.Suites {
		var sf, se, ss int
		for _, c := range s.Cases {
			sf, se, ss = sf+len(c.Failure), se+len(c.Error), ss+len(c.Skipped)
			if key := c.Class + "\x00" + c.Name; seen[key] && !strings.Contains(c.Name, "script") {
				t.Errorf("two tests are named %s in %s", c.Name, c.Class)
			} else {
				seen[key] = true
			}
		}
		if len(s.Cases) != s.Tests || sf != s.Failures || se != s.Errors || ss != s.Skipped {
			t.Errorf("suite %s says tests %d failures %d errors %d skipped %d, has %d %d %d %d", s.Name, s.Tests, s.Failures, s.Errors, s.Skipped, len(s.Cases), sf, se, ss)
		}
		tests, failures, errs = tests+s.Tests, failures+sf, errs+se
	}
	if tests != f.Tests || failures != f.Failures || errs != f.Errors {
		t.Errorf("the file says tests %d failures %d errors %d, has %d %d %d", f.Tests, f.Failures, f.Errors, tests, failures, errs)
	}
	return f
}

func TestJUnitCounts(t *testing.T) {
	for _, s := range scenes() {
		readJUnit(t, render(t, JUnitFile, s))
	}
}

// Suites whose samples come interleaved and are too large for memory are sorted through a file.
func TestJUnitSortsSuites(t *testing.T) {
	d := newDemo()
	d.cases, d.providers, d.prompts, d.passShare, d.caseMajor = 400, []string{"a", "b"}, []string{"p", "q"}, 0.3, true
	f := readJUnit(t, render(t, JUnitFile, scene{src: d.source()}))
	if len(f.Suites) != 5 {
		t.Fatalf("%d suites, want the gate and 4", len(f.Suites))
	}
	for _, s := range f.Suites[1:] {
		for i, c := range s.Cases {
			if want := strconv.Itoa(1000 + i); c.Name != want || !strings.HasSuffix(c.Class, s.Name) {
				t.Fatalf("test %d of suite %s is %s of %s", i, s.Name, c.Name, c.Class)
			}
		}
	}
}

func TestJUnitUndecidedIsNotAPass(t *testing.T) {
	gate := func(s scene) []outcome {
		var out []outcome
		for _, c := range readJUnit(t, render(t, JUnitFile, s)).Suites[0].Cases {
			out = append(append(out, c.Error...), c.Failure...)
		}
		return out
	}
	f := func(name string, s scene, want int) {
		t.Helper()
		if got := gate(s); len(got) != want {
			t.Errorf("%s: %d tests of the gate are red, want %d: %v", name, len(got), want, got)
		}
	}
	f("passed", passedCase(), 0)
	f("undecided", undecidedCase(), 3)
	f("no gate", emptyCase(), 1)
	stopped := passedCase()
	stopped.src.Run.Gate.Decision = verdict.Decision{Reason: "the run stopped early"}
	f("undecided although every check passed", stopped, 1)
	if got := gate(stopped)[0]; got.Type != "undecided" || !strings.Contains(got.Message, "UNDECIDED: the run stopped early") {
		t.Errorf("the gate says %+v", got)
	}
}

func TestJUnitRefusesAnotherStream(t *testing.T) {
	f := func(samples ...record.Sample) {
		t.Helper()
		d := collect(t, list(record.Sample{Case: "a", Verdict: verdict.Pass})())
		err := JUnit(io.Discard, Source{Run: &record.Run{}, Digest: d, Samples: list(samples...)})
		if err == nil {
			t.Error("counts that do not match their samples were written")
		}
	}
	f()
	f(record.Sample{Case: "a", Verdict: verdict.Fail})
	f(record.Sample{Case: "a", Verdict: verdict.Pass, Provider: "other"})
	f(record.Sample{Case: "a", Verdict: verdict.Pass}, record.Sample{Case: "b", Verdict: verdict.Pass})
}

func TestJSON(t *testing.T) {
	for _, s := range scenes() {
		text := render(t, JSONFile, s)
		if !strings.HasSuffix(text, "}\n") || strings.Contains(text, ": null,\n  \"") && s.name == "empty" {
			t.Errorf("%s: run.json ends in %q or holds a null list", s.name, text[len(text)-5:])
		}
		var back record.Run
		if err := json.Unmarshal([]byte(text), &back); err != nil {
			t.Fatal(err)
		}
		if back.Gate.Verdict != s.src.Run.Gate.Verdict || back.Summary.Finished != s.src.Run.Summary.Finished {
			t.Errorf("%s: read back as %+v", s.name, back.Gate)
		}
	}
	err := JSON(io.Discard, &record.Run{ID: "r1", Metrics: map[string]record.Metric{"m": {Mean: new(math.NaN())}}})
	if err == nil || !strings.Contains(err.Error(), "r1") {
		t.Errorf("NaN: err = %v, want one that names the run", err)
	}
}

// TestHTMLIsSealed checks what the page's safety rests on.
func TestHTMLIsSealed(t *testing.T) {
	for _, s := range scenes() {
		text := render(t, HTMLFile, s)
		within := func(open, shut string) string {
			t.Helper()
			if strings.Count(text, open) != 1 {
				t.Fatalf("%s: %q occurs %d times", s.name, open, strings.Count(text, open))
			}
			_, rest, _ := strings.Cut(text, open)
			body, _, _ := strings.Cut(rest, shut)
			return body
		}
		policy := within(`<meta http-equiv="Content-Security-Policy" content="`, `"`)
		if !strings.HasPrefix(policy, "default-src &#39;none&#39;; ") || strings.Contains(policy, "unsafe") {
			t.Errorf("policy is %s", policy)
		}
		for _, part := range []string{within("<style>", "</style>"), within("<script>", "</script>")} {
			if !strings.Contains(policy, htmlHash(part)) {
				t.Errorf("%s: the policy does not hold the hash of %.40q", s.name, part)
			}
		}
		rest := strings.NewReplacer(pageStyle, "", pageScript, "").Replace(text)
		// Quotes in text are escaped, so whatever looks like an attribute is one.
		for _, m := range regexp.MustCompile(`([\w:-]+)="([^"]*)"`).FindAllStringSubmatch(rest, -1) {
			name := strings.ToLower(m[1])
			if strings.HasPrefix(name, "on") || name == "src" || name == "style" || strings.HasSuffix(name, "action") || strings.HasSuffix(name, "href") && !strings.HasPrefix(m[2], "#") {
				t.Errorf("%s: the page holds %s", s.name, m[0])
			}
		}
		if strings.Contains(strings.ToLower(rest), "<img") || strings.Contains(rest, "@import") {
			t.Errorf("%s: an element of a model's making", s.name)
		}
		if strings.Contains(pageStyle, "url(") && regexp.MustCompile(`url\([^#]`).MatchString(pageStyle) {
			t.Error("the style sheet loads something")
		}
	}
}

func TestUndecidedLooksUndecided(t *testing.T) {
	f := func(s scene, format string, wants ...string) {
		t.Helper()
		text := render(t, format, s)
		at := 0
		for _, w := range wants {
			i := strings.Index(text[at:], w)
			if i < 0 {
				t.Errorf("%s of %s lacks %q after byte %d", format, s.name, w, at)
				continue
			}
			at += i
		}
		if strings.Contains(text, "PASSED: ") || strings.Contains(text, "banner v-pass") || strings.HasPrefix(text, "✓") {
			t.Errorf("%s of %s looks like a pass", format, s.name)
		}
	}
	for _, s := range []scene{undecidedCase(), emptyCase()} {
		f(s, "terminal.txt", "? UNDECIDED")
		f(s, MarkdownFile, "## ? UNDECIDED: ")
		f(s, HTMLFile, "<title>UNDECIDED: ", `<header class="banner v-undecided">`, "<h1>UNDECIDED</h1>")
	}
	stopped := "Stopped early: the budget of $0.005 is spent. 16 of 200 samples finished."
	f(undecidedCase(), "terminal.txt", "UNDECIDED  stopped early; ", stopped, "Gate", "Metrics")
	f(undecidedCase(), MarkdownFile, "Stopped early&#58; the budget of &#36;0.005 is spent.", "### Gate")
	f(undecidedCase(), HTMLFile, stopped, `id="gate"`)
}

// A metric without observations shows as such, whatever number it carries.
func TestNoDataIsNeverZero(t *testing.T) {
	for _, m := range []record.Metric{{Kind: "rate"}, {Kind: "mean", Unit: "s", Missing: 3}, {Kind: "rate", Mean: new(0.0)}, {Kind: "mean", N: 5, Mean: new(math.NaN())}, {Kind: "corpus", N: 5}} {
		r := newMetricRow("m", m, nil)
		if r.value != noData || r.statement() != noData || r.interval != "" || r.count != "" || whisker(r) != "" {
			t.Errorf("%+v shows as %q, %q", m, r.value, r.statement())
		}
	}
	if got := overall(&record.Run{Summary: record.Summary{Errored: 4}}); got.value != noData || got.Missing != 4 {
		t.Errorf("a pass rate of errors only is %q with %d missing", got.value, got.Missing)
	}
}

func TestMismatchIsSaid(t *testing.T) {
	s := passedCase()
	s.src.Run.Summary.Passed++
	for _, format := range []string{"terminal.txt", MarkdownFile, HTMLFile} {
		if !strings.Contains(render(t, format, s), "do not match the summary") {
			t.Errorf("%s hides that the samples are not those of the summary", format)
		}
	}
}

func TestLimits(t *testing.T) {
	f := func(want string, at ...float64) {
		t.Helper()
		run := &record.Run{Gate: record.Gate{Checks: []verdict.Decision{{Metric: "m", Want: want}}}}
		got := limits(run)["m"]
		if len(got) != len(at) || len(at) == 1 && got[0].at != at[0] {
			t.Errorf("limits of %q = %v, want %v", want, got, at)
		}
	}
	f(">= 0.95", 0.95)
	f(">=95%", 0.95)
	f("low >= 0.9", 0.9)
	f("mean <= 250ms", 0.25)
	f("< 1e-3", 0.001)
	f("<= $0.05", 0.05)
	f("mean<=0.05 usd", 0.05)
	f("> -1", -1)
	f("p95 <= 2s")
	f("n >= 100")
	f("between 1 and 2")
	f(">= 1.2.3")
	f("")
}

// The deciding number is in the unit of what was asked, not always in that of the metric.
func TestDecidingValue(t *testing.T) {
	run := &record.Run{Metrics: map[string]record.Metric{"r": {Kind: "rate", N: 1, Mean: new(1.0)}, "latency": {Kind: "mean", N: 5, Mean: new(0.4), Unit: "s"}}}
	f := func(metric, want string, value float64, text string) {
		t.Helper()
		if got := decidingValue(run, verdict.Decision{Metric: metric, Want: want, Value: &value}); got != text {
			t.Errorf("%s %s: %v shows as %q, want %q", metric, want, value, got, text)
		}
	}
	f("r", ">= 0.9", 1, "100.00%")
	f("r", "n >= 100", 1, "1")
	f("r", "count>=100", 1, "1")
	f("latency", "p95 <= 2s", 1.83, "1.83 s")
	f("latency", "n >= 9", 5, "5")
	f(record.MetricErrorRate, "<= 1%", 0.02, "2.00%")
	f("r", "<= 1", math.NaN(), noData)
}

// Two snapshots make two checks of each line of the gate: two tests with names of their own.
func TestJUnitChecksOfSnapshots(t *testing.T) {
	s := passedCase()
	s.src.Run.Gate.Checks = append(s.src.Run.Gate.Checks, s.src.Run.Gate.Checks...)
	readJUnit(t, render(t, JUnitFile, s))
}

func TestTerminalFitsItsWidth(t *testing.T) {
	for _, s := range append(scenes(), alikeScene()) {
		for i, w := range []int{50, 64, 80, 100, 140} {
			s.opts = TerminalOptions{Width: w, Dir: "results/of/a/run", ASCII: i%2 == 1}
			text := render(t, "terminal.txt", s)
			for line := range strings.SplitSeq(text, "\n") {
				if width(line) > w {
					t.Errorf("%s at %d: %d columns: %s", s.name, w, width(line), line)
				}
			}
			lines := strings.Split(strings.TrimSpace(text), "\n")
			if lines[0] != lines[len(lines)-1] || !strings.Contains(lines[0], word(s.src.Run.Gate.Verdict)) {
				t.Errorf("%s: first line %q, last line %q", s.name, lines[0], lines[len(lines)-1])
			}
		}
	}
}

// alikeScene has metrics whose long names, some of them wide, begin alike.
func alikeScene() scene {
	src := small().source()
	mean := -0.25
	for i := range 12 {
		src.Run.Metrics[fmt.Sprintf("the share of answers about refunds that name the right amount %d", i)] = record.Metric{Kind: "mean", Mean: &mean, N: 1}
		src.Run.Metrics[fmt.Sprintf("正確さ・日本語の指標名がとても長い場合の割合です👩‍👩‍👧‍👦%d", i)] = record.Metric{Kind: "mean", Mean: &mean, N: 1}
	}
	return scene{name: "alike", src: src}
}

func TestTerminalTellsNamesApart(t *testing.T) {
	s := alikeScene()
	for _, w := range []int{50, 80} {
		s.opts.Width = w
		text := render(t, "terminal.txt", s)
		for i := range 12 {
			if !regexp.MustCompile(fmt.Sprintf(`(?m)^  the share .*….* %d\b`, i)).MatchString(text) || !regexp.MustCompile(fmt.Sprintf(`(?m)^  正確さ.*👩‍👩‍👧‍👦%d\b`, i)).MatchString(text) {
				t.Errorf("%d columns: the metrics that end in %d cannot be told from others:\n%s", w, i, text)
			}
		}
	}
}

func TestMiddle(t *testing.T) {
	f := func(s string, columns int, want string) {
		t.Helper()
		got := middle(s, columns)
		if got != want || width(got) > max(columns, 1) {
			t.Errorf("%q in %d columns: %q, want %q", s, columns, got, want)
		}
	}
	f("accuracy", 8, "accuracy")
	f("accuracy.1", 8, "accur….1")
	f("正確さの割合.12", 9, "正確さ…12")
	f("👩‍👩‍👧‍👦👩‍👩‍👧‍👦👩‍👩‍👧‍👦", 5, "👩‍👩‍👧‍👦…👩‍👩‍👧‍👦")
	f("accuracy", 1, "…")
}

// harmless checks that a log does not obey what a model wrote.
func harmless(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "::") || ciCommand.MatchString(line) {
			t.Errorf("a CI system obeys the line %q", line)
		}
		for _, r := range line {
			if unicode.IsControl(r) || acts(r) {
				t.Errorf("character %U in the line %q", r, line)
			}
		}
	}
}

func TestTerminalIsHarmless(t *testing.T) {
	for _, w := range []int{50, 80, 200} {
		s := hostileCase()
		s.opts.Width = w
		harmless(t, render(t, "terminal.txt", s))
	}
	for _, s := range scenes() {
		s.opts.Color = false
		if strings.Contains(render(t, "terminal.txt", s), "\x1b") {
			t.Errorf("%s: colours without being asked for", s.name)
		}
	}
}

func TestMarkdownIsHarmless(t *testing.T) {
	text := render(t, MarkdownFile, hostileCase())
	ours := strings.NewReplacer("<code>", "", "</code>", "", "<br>", "", "<details>", "", "</details>", "", "<summary>", "", "</summary>", "", "<em>", "", "</em>", "").Replace(text)
	ours = regexp.MustCompile(`(?m)^> `).ReplaceAllString(ours, "")
	if i := strings.IndexAny(ours, "<>`[]$@"); i >= 0 {
		t.Errorf("unescaped: %q", ours[max(0, i-40):min(len(ours), i+40)])
	}
	columns := 0
	for line := range strings.SplitSeq(text, "\n") {
		n := strings.Count(line, "|")
		if n == 0 {
			columns = 0
			continue
		}
		if columns == 0 {
			columns = n
		}
		if n != columns {
			t.Errorf("a row of %d bars in a table of %d: %s", n, columns, line)
		}
	}
}

func TestWriteDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "out")
	if err := WriteDir(dir, failedCase().src); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), "junit.xml report.html report.md run.json"; got != want {
		t.Errorf("the folder holds %s, want %s", got, want)
	}
	for _, format := range []string{JSONFile, JUnitFile, MarkdownFile, HTMLFile} {
		got, err := os.ReadFile(filepath.Join(dir, format))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != render(t, format, failedCase()) {
			t.Errorf("%s is not what its function writes", format)
		}
	}
}

// When anything fails there is no run.json and no debris.
func TestWriteDirFails(t *testing.T) {
	f := func(src Source, want error) {
		t.Helper()
		dir := t.TempDir()
		err := WriteDir(dir, src)
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("err = %v, want %v", err, want)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() == JSONFile || strings.HasSuffix(e.Name(), ".tmp") {
				t.Errorf("%s was left behind", e.Name())
			}
		}
	}
	f(Source{}, nil)
	f(Source{Run: &record.Run{}}, nil)
	f(Source{Run: &record.Run{}, Samples: broken}, errRead)
	f(Source{Run: &record.Run{}, Samples: broken, Digest: NewCollector().Digest()}, nil)
	f(Source{Run: &record.Run{Seed: 1, Summary: record.Summary{Cost: math.NaN()}}, Samples: list()}, nil)
}

type failingWriter struct{}

var errWrite = errors.New("disk full")

func (failingWriter) Write([]byte) (int, error) { return 0, errWrite }

func TestWriteErrorsSurface(t *testing.T) {
	for format, write := range formats {
		if err := write(failingWriter{}, failedCase()); !errors.Is(err, errWrite) {
			t.Errorf("%s: err = %v, want %v", format, err, errWrite)
		}
	}
}

// Whatever a model writes, every format stays well-formed.
func FuzzOutput(f *testing.F) {
	for _, s := range []string{"", hostile, "]]>", "\xff\xfe", "| a |\n|---|", "\u2028</style>", "::stop-commands::x", strings.Repeat("\n", 5000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := record.Sample{Case: text, Output: text, Verdict: verdict.Fail, Tags: []string{text}, Vars: map[string]any{"v": text},
			Scores: []record.Score{{Name: "s", Pass: new(false), Value: new(0.0), Reason: text, Detail: text}}}
		src := Source{Run: &record.Run{Summary: record.Summary{Planned: 1, Finished: 1, Failed: 1}}, Samples: list(s)}
		var b bytes.Buffer
		if err := JUnit(&b, src); err != nil {
			t.Fatal(err)
		}
		readJUnit(t, b.String())
		b.Reset()
		if err := Terminal(&b, src, TerminalOptions{}); err != nil {
			t.Fatal(err)
		}
		harmless(t, b.String())
		b.Reset()
		if err := HTML(&b, src); err != nil {
			t.Fatal(err)
		}
		if strings.Count(b.String(), "<script") != 1+len(dataBlock.FindAllString(b.String(), -1)) || strings.Count(b.String(), "</style") != 1 {
			t.Error("the page has elements of a model's making")
		}
	})
}

func BenchmarkJUnit(b *testing.B) {
	d := newDemo()
	samples := make([]record.Sample, d.plan())
	for i := range samples {
		samples[i] = d.sample(i)
	}
	src := Source{Run: d.run(), Samples: list(samples...)}
	src.Digest, _ = digest(src.Samples(), nil)
	for b.Loop() {
		if err := JUnit(io.Discard, src); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(samples))/b.Elapsed().Seconds(), "samples/s")
}

func BenchmarkHTML(b *testing.B) {
	d := newDemo()
	d.expects, d.words = true, 100
	samples := make([]record.Sample, d.plan())
	for i := range samples {
		samples[i] = d.sample(i)
	}
	src := Source{Run: d.run(), Samples: list(samples...)}
	src.Digest, _ = digest(src.Samples(), nil)
	for b.Loop() {
		if err := HTML(io.Discard, src); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(samples))/b.Elapsed().Seconds(), "samples/s")
}

// A gate that decided several times says so in every report, and one that decided once says nothing of looks.
func TestLooks(t *testing.T) {
	look := record.Look{Repeats: 2, Margins: []record.LookMargin{{Metric: "acc", Diff: new(-0.01), Bound: new(-0.04), Outcome: "underpowered"}, {Metric: "none"}}}
	for i, want := range []bool{false, true} {
		src := Source{Run: &record.Run{Looks: slices.Repeat([]record.Look{look}, i+1)}, Digest: NewCollector().Digest()}
		src.Run.Gate.Checks = []verdict.Decision{{Metric: "acc"}}
		var html, text bytes.Buffer
		if err := HTML(&html, src); err != nil {
			t.Fatal(err)
		}
		if err := Terminal(&text, src, TerminalOptions{Width: 200}); err != nil {
			t.Fatal(err)
		}
		var md bytes.Buffer
		if err := Markdown(&md, src); err != nil {
			t.Fatal(err)
		}
		for name, out := range map[string]string{"HTML": html.String(), "Markdown": md.String(), "terminal": text.String()} {
			if got := strings.Count(out, "After 2 answers to each case"); (got == 2) != want || got == 1 {
				t.Errorf("%s with %d looks: named %d times", name, i+1, got)
			}
		}
	}
	if got, want := LookLine(&look), "After 2 answers to each case: undecided (acc -0.0100, at worst -0.0400, underpowered; none no data)."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
