package export

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func manySamples(n int) iter.Seq2[record.Sample, error] {
	return func(yield func(record.Sample, error) bool) {
		for i := range n {
			s := record.Sample{
				Case: fmt.Sprint("c", i), Provider: "sim", Prompt: "p", Repeat: i % 2, Seed: int64(-i), Verdict: verdict.Pass,
				Vars: map[string]any{"q": "ü", "n": int64(i)}, Input: []record.Message{{Role: "user", Content: "ü"}}, Output: strings.Repeat("x", i%7),
				Scores: []record.Score{{Name: "m", Type: "equals", Value: new(1.0), Pass: new(true)}, {Name: "e", Type: "cel", Error: "broken"}},
			}
			if i%3 == 0 {
				s.Group, s.Tags, s.Score, s.Latency, s.Usage = "g", []string{"a", "b"}, new(0.5), new(0.25), &record.Usage{Prompt: 1, Completion: 2, Total: 3}
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

func TestParquetHoldsTheSamples(t *testing.T) {
	const n = parquetGroup + 500
	var b bytes.Buffer
	rows, err := WriteParquet(&b, manySamples(n))
	if err != nil || rows != n {
		t.Fatal(rows, err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if g := len(file.RowGroups()); g != 2 {
		t.Errorf("%d row groups, want 2", g)
	}
	got, err := parquet.Read[parquetSample](bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil || len(got) != n {
		t.Fatal(len(got), err)
	}
	r := got[3]
	if r.Case != "c3" || *r.Group != "g" || fmt.Sprint(r.Tags) != "[a b]" || *r.Score != 0.5 || *r.TotalTokens != 3 || r.Seed != -3 || r.Repeat != 1 ||
		r.Vars != `{"n":3,"q":"ü"}` || r.Output != "xxx" || r.Verdict != "pass" || r.Cost != nil || r.Error != nil {
		t.Errorf("%+v", r)
	}
	if s := r.Scores; len(s) != 2 || *s[0].Value != 1 || !*s[0].Pass || s[0].Error != nil || s[1].Value != nil || *s[1].Error != "broken" {
		t.Errorf("%+v", r.Scores)
	}
	if got[4].Group != nil || got[4].Score != nil || got[4].TotalTokens != nil {
		t.Errorf("%+v", got[4])
	}
}

// The columns are what others read: none may change its place, name or type.
func TestParquetSchemaIsStable(t *testing.T) {
	var names []string
	for _, f := range parquet.SchemaOf(parquetSample{}).Fields() {
		names = append(names, f.Name())
	}
	want := "case group tags critical provider prompt repeat seed verdict score output error finish_reason refusal model fingerprint " +
		"latency ttft cost prompt_tokens completion_tokens total_tokens cached retries vars input scores"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("columns\n%s, want\n%s", got, want)
	}
}

func TestParquetPassesErrorsOn(t *testing.T) {
	broken := errors.New("samples.jsonl:3: broken")
	_, err := WriteParquet(&bytes.Buffer{}, func(yield func(record.Sample, error) bool) { yield(record.Sample{}, broken) })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}
