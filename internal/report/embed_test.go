package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// embedded returns the lines of a page's index and texts.
func embedded(t *testing.T, page string) (index, texts [][]any) {
	t.Helper()
	for _, m := range dataBlock.FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(unpacked(t, m[2])) {
			var v []any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			if strings.Contains(m[1], "index") {
				index = append(index, v)
			} else {
				texts = append(texts, v)
			}
		}
	}
	return index, texts
}

// again starts a stream anew each time.
func again(samples iter.Seq2[record.Sample, error]) func() iter.Seq2[record.Sample, error] {
	return func() iter.Seq2[record.Sample, error] { return samples }
}

func embedPage(t *testing.T, most bounds, samples iter.Seq2[record.Sample, error]) string {
	t.Helper()
	var b bytes.Buffer
	src := Source{Run: &record.Run{}, Digest: collect(t, samples), Samples: again(samples)}
	if err := embed(&b, src, most); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Everything that is there is in the page, in the order of the plan, and nothing is where a browser
// would run it.
func TestEmbedHoldsAll(t *testing.T) {
	d := newDemo()
	d.cases, d.providers, d.expects = 1100, []string{"a", "b"}, true
	page := embedPage(t, pageBounds, d.samples())
	index, texts := embedded(t, page)
	if len(index) != d.plan() || len(texts) != d.plan() {
		t.Fatalf("%d lines and %d texts, want %d", len(index), len(texts), d.plan())
	}
	for i, line := range index {
		if s := d.sample(i); line[0] != float64(i+1) || line[1] != s.Case || line[8] == nil != (s.Cost == nil) {
			t.Fatalf("line %d is %v", i, line)
		}
		if s := d.sample(i); s.Error == "" && texts[i][4] != s.Output {
			t.Fatalf("output %d is %q, want %q", i, texts[i][4], s.Output)
		}
	}
}

// When there is no room for all, failures go first, and some that passed stay to compare with.
func TestEmbedPrefersFailures(t *testing.T) {
	f := func(passed, failed, rows, wantPassed, wantFailed int) {
		t.Helper()
		var samples []record.Sample
		for i := range passed + failed {
			s := record.Sample{Case: fmt.Sprint(i), Verdict: verdict.Pass}
			if i >= passed {
				s.Verdict = verdict.Fail
			}
			samples = append(samples, s)
		}
		index, _ := embedded(t, embedPage(t, bounds{rows, 1 << 20}, list(samples...)()))
		got := [2]int{}
		for _, line := range index {
			if line[4] == 0.0 {
				got[1]++
			} else {
				got[0]++
			}
		}
		if got != [2]int{wantPassed, wantFailed} {
			t.Errorf("%d passed and %d failed of %d: %d and %d are there, want %d and %d", passed, failed, rows, got[0], got[1], wantPassed, wantFailed)
		}
	}
	f(10, 5, 100, 10, 5)
	f(100, 50, 100, 50, 50)
	f(100, 500, 100, 10, 90)
	f(5, 500, 100, 5, 95)
	f(500, 0, 100, 100, 0)
	f(0, 500, 100, 0, 100)
}

// Texts that do not compress cannot make the file larger than its bound by more than a block; what is
// cut says so.
func TestEmbedIsBoundedInBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(' ' + r.IntN(95))
		}
		return string(b)
	}
	var samples []record.Sample
	for i := range 1200 {
		s := record.Sample{Case: fmt.Sprint(i), Verdict: verdict.Pass, Output: noise(r.IntN(8000)), Input: []record.Message{{Role: "user", Content: noise(3000)}}}
		if i%10 == 0 {
			s.Verdict = verdict.Fail
			s.Scores = []record.Score{{Name: "x", Pass: new(false), Value: new(0.0), Reason: noise(200)}}
		}
		samples = append(samples, s)
	}
	const limit = 1 << 20
	page := embedPage(t, bounds{5000, limit}, list(samples...)())
	if n := len(page) * 3 / 4; n > limit+embedTextBytes || n < limit/2 {
		t.Errorf("%d bytes of data, want about %d", n, limit)
	}
	index, texts := embedded(t, page)
	if len(index) != len(samples) || len(texts) != len(samples) {
		t.Fatalf("%d lines, %d texts, want %d", len(index), len(texts), len(samples))
	}
	kept := [2]int{}
	for i := range texts {
		bare := index[i][15] == 1.0
		if bare != (len(texts[i]) == 0) {
			t.Fatalf("sample %d: bare is %v with %d texts", i, bare, len(texts[i]))
		}
		if !bare {
			out := texts[i][4].(string)
			kept[bit(index[i][4] == 0.0)] += len(out)
			if len(out) < len(samples[i].Output) && !strings.Contains(out, "more bytes, all in samples.jsonl]") {
				t.Fatalf("sample %d is cut without saying so", i)
			}
		}
	}
	if kept[1]*9 < 2*kept[0] {
		t.Errorf("failures keep %d bytes of output, passes %d: no preference", kept[1], kept[0])
	}
}

func TestEmbedRefusesAnotherStream(t *testing.T) {
	f := func(samples ...record.Sample) {
		t.Helper()
		d := collect(t, list(record.Sample{Case: "a", Verdict: verdict.Pass})())
		if err := HTML(io.Discard, Source{Run: &record.Run{}, Digest: d, Samples: list(samples...)}); err == nil {
			t.Error("a page of other samples than were counted was written")
		}
	}
	f()
	f(record.Sample{Case: "a", Verdict: verdict.Fail})
	f(record.Sample{Case: "a", Verdict: verdict.Pass, Provider: "other"})
	f(record.Sample{Case: "a", Verdict: verdict.Pass}, record.Sample{Case: "b", Verdict: verdict.Pass})
}

func TestEmbedMemoryIsBounded(t *testing.T) {
	const n = 6000
	text := strings.Repeat("All work and no play makes a dull answer. ", 60)
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var peak int64
	samples := func(yield func(record.Sample, error) bool) {
		for i := range n {
			s := record.Sample{Case: fmt.Sprint(i), Output: text[i%1000:], Verdict: verdict.Verdict(1 + i%2)}
			if i%2000 == 1999 {
				peak = max(peak, live())
			}
			if !yield(s, nil) {
				return
			}
		}
	}
	d := collect(t, samples)
	start := live()
	peak = 0
	if err := HTML(io.Discard, Source{Run: &record.Run{}, Digest: d, Samples: again(samples)}); err != nil {
		t.Fatal(err)
	}
	if grown := peak - start; grown > 12<<20 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
}

func TestExpectations(t *testing.T) {
	f := func(s record.Sample, want ...string) {
		t.Helper()
		var got []string
		for _, e := range expectations(&s, 100) {
			got = append(got, e.name+"="+e.text)
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("expectations = %q, want %q", got, want)
		}
	}
	f(record.Sample{})
	f(record.Sample{Vars: map[string]any{"question": "q", "Expected_Answer": "a", "answer": "a", "n": 3}}, "Expected_Answer=a")
	f(record.Sample{Vars: map[string]any{"references": []any{"x", "y"}, "target": 42.0, "label": " "}}, "references=x", "references=y", "target=42")
	f(record.Sample{Scores: []record.Score{{Name: "num", Detail: map[string]string{"got": "1", "want": "18"}}, {Name: "x", Detail: map[string]any{"reference": "r"}}},
		Vars: map[string]any{"answer": "18"}}, "num=18", "x=r")
	f(record.Sample{Scores: []record.Score{{Name: "s", Detail: struct {
		Want string `json:"want"`
	}{"w"}}, {Name: "l", Detail: []int{1}}, {Name: "e", Detail: "text"}}}, "s=w")
	f(record.Sample{Vars: map[string]any{"gold": []any{"1", "2", "3", "4", "5", "6"}}}, "gold=1", "gold=2", "gold=3", "gold=4")
}

func TestSpread(t *testing.T) {
	f := func(values []float64) {
		t.Helper()
		s := &spread{}
		for _, x := range values {
			s.add(x, &record.Score{Pass: new(true)})
		}
		total := 0
		for i, b := range s.bins {
			from, to := (float64(s.low)+float64(i))*s.width, (float64(s.low)+float64(i+1))*s.width
			want := 0
			for _, x := range values {
				if x >= from && x < to {
					want++
				}
			}
			if b.Passed != want {
				t.Errorf("%v: bin %v to %v holds %d, want %d", values[:min(len(values), 5)], from, to, b.Passed, want)
			}
			total += b.Passed
		}
		if total != len(values) {
			t.Errorf("%d values counted, want %d", total, len(values))
		}
	}
	f([]float64{0})
	f([]float64{0, 0, 0})
	f([]float64{5, 5, 5, -5})
	f([]float64{1e-9, 1e9, -1e12, 0, 3})
	f([]float64{1e300, -1e300, 1e-300})
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		values := make([]float64, 1+r.IntN(300))
		scale := float64(uint64(1) << r.IntN(40))
		for i := range values {
			values[i] = (r.Float64()-0.3)*scale + float64(r.IntN(2))*scale*4
		}
		f(values)
	}
	unit := &spread{}
	for _, x := range []float64{0, 0.5, 1} {
		unit.add(x, &record.Score{})
	}
	if unit.outside || unit.unit[0].Undecided != 1 || unit.unit[10].Undecided != 1 || unit.unit[scoreBins-1].Undecided != 1 || unit.judged() {
		t.Errorf("0, 0.5 and 1 are counted as %+v", unit.unit)
	}
}
