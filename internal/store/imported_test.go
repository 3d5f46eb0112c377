package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/telltale-llm/telltale/internal/record"
)

// TestParquetThereAndBack reads what was exported as what it was.
func TestParquetThereAndBack(t *testing.T) {
	latency, cost, seed, pass := .5, .001, int64(-7), true
	full := record.Exchange{
		ID: "a", Source: "gateway", Time: time.Date(2026, 1, 31, 12, 0, 0, 1000, time.UTC), Route: "main", Variant: "canary", Snapshot: "s", Propensity: .25,
		API: record.APIChat, Stream: true, Provider: "p", Upstream: "u", Model: "m", Served: "m-1", Fingerprint: "fp", Endpoint: "/v1/chat/completions", Status: 200,
		FinishReason: "stop", Latency: &latency, TTFT: &latency, Cost: &cost, Usage: &record.Usage{Prompt: 1, Completion: 2, Total: 3, Cached: 1, Reasoning: 1},
		Params: map[string]any{"temperature": .5}, Seed: &seed, User: "anna", Session: "s", Tags: map[string]string{"a": "b", "c": ""}, Client: "ci", Retries: 1, Attempts: 2,
		InputHash: "h", InputBytes: 10, OutputBytes: 20, Inclusion: .5, Redaction: "1-x", Found: map[string]int{"email": 2}, Embedding: []float32{1, -2.5}, Cut: []string{"output"},
		Scores:   []record.OnlineScore{{Name: "tox", Value: &latency, Pass: &pass, Reason: "why"}},
		Assigned: &record.Assignment{Rollout: "tone", Stage: 1, Pairs: "b"}, Guard: &record.Guarded{Name: "strict", ID: "g", Outcome: "passed"},
		Refused: true, ErrorKind: record.Server, Error: "e", Gaps: &record.Gaps{Count: 1}, Logprobs: &record.LogprobSummary{Tokens: 1}, TopK: []record.TokenLogprob{{Token: "a"}},
		TraceID: "t", SpanID: "sp", ParentID: "pa",
		Content: &record.Content{System: "be brief", Input: []record.Message{{Role: "user", Content: "hello"}}, Output: "hi", Body: json.RawMessage(`{"a":1}`)},
	}
	for v, i := reflect.ValueOf(full), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("field %s has no value in this test: give it one, and a column", v.Type().Field(i).Name)
		}
	}
	in := []record.Exchange{full}
	for i := range 200 {
		in = append(in, record.Exchange{ID: "x" + strconv.Itoa(i), Time: full.Time, API: record.APIOther})
	}
	var b bytes.Buffer
	if _, err := ExportPages(t.Context(), func(context.Context, Query) (Page, error) { return Page{Exchanges: in}, nil }, Query{}, &b); err != nil {
		t.Fatal(err)
	}
	var out []record.Exchange
	if err := ReadParquet(bytes.NewReader(b.Bytes()), int64(b.Len()), func(row int, x *record.Exchange) error {
		if row != len(out)+1 {
			t.Errorf("row %d, want %d", row, len(out)+1)
		}
		out = append(out, *x)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(out) != len(in) {
		t.Fatalf("%d exchanges, want %d", len(out), len(in))
	}
	for i := range in {
		want, err := json.Marshal(&in[i])
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(&out[i])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("exchange %d:\n%s\nwant\n%s", i, got, want)
		}
	}
	if !reflect.DeepEqual(out[0].Content, full.Content) {
		t.Errorf("content %+v", out[0].Content)
	}
}

// TestParquetOfOthers refuses files that are no export of exchanges, and says where.
func TestParquetOfOthers(t *testing.T) {
	read := func(data []byte) error {
		return ReadParquet(bytes.NewReader(data), int64(len(data)), func(int, *record.Exchange) error { return nil })
	}
	write := func(rows any) []byte {
		t.Helper()
		var b bytes.Buffer
		w := parquet.NewWriter(&b)
		v := reflect.ValueOf(rows)
		for i := range v.Len() {
			if err := w.Write(v.Index(i).Interface()); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, data := range [][]byte{nil, []byte("PAR1"), []byte("PAR1 and so on PAR1"), write([]struct{ A int }{{1}})} {
		if err := read(data); err == nil {
			t.Errorf("%.20q was read", data)
		}
	}
	bad := "{"
	whole := write([]exported{{ID: "a", Time: 1}, {ID: "b", Time: 1, Params: &bad}})
	err := read(whole)
	if row, ok := errors.AsType[*RowError](err); !ok || row.Row != 2 || row.Column != "params" || row.Value != "{" || row.Want == "" {
		t.Errorf("%v, want row 2, column params", err)
	}
	column := func(rows any, want ColumnError) {
		t.Helper()
		got, ok := errors.AsType[*ColumnError](read(write(rows)))
		if !ok || got.Column != want.Column || got.Problem != want.Problem || !strings.Contains(got.Want, want.Want) || !strings.Contains(got.Value, want.Value) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	type start struct {
		ID   string `parquet:"id"`
		Time int64  `parquet:"time,timestamp(microsecond)"`
	}
	column([]struct {
		start
		Mood string `parquet:"mood"`
	}{{start{"a", 1}, "glad"}}, ColumnError{Column: "mood", Problem: "is not known", Value: "byte_array"})
	column([]struct {
		start
		Status string `parquet:"status"`
	}{{start{"a", 1}, "200"}}, ColumnError{Column: "status", Problem: "is of another type", Value: "byte_array", Want: "int32"})
	column([]struct {
		start
		Tags []string `parquet:"tags"`
	}{{start{"a", 1}, nil}}, ColumnError{Column: "tags", Problem: "is of another type", Value: "list of byte_array", Want: "group of list of group"})
	column([]struct {
		ID   string `parquet:"id"`
		Time int64  `parquet:"time,timestamp(millisecond)"`
	}{{"a", 1}}, ColumnError{Column: "time", Problem: "is of another type", Value: "millis", Want: "micros"})
	column([]struct {
		ID string `parquet:"id"`
	}{{"a"}}, ColumnError{Column: "time", Problem: "is missing"})
	if row, ok := errors.AsType[*RowError](read(write([]exported{{ID: "a"}}))); !ok || row.Column != "time" {
		t.Errorf("no time: %v", row)
	}
	if err := read(write([]struct {
		ID      *string  `parquet:"id,optional"`
		Time    *int64   `parquet:"time,timestamp(microsecond),optional"`
		Latency *float64 `parquet:"latency,optional"`
	}{{ptr("a"), ptr(int64(1)), nil}})); err != nil {
		t.Errorf("optional columns, as others write them: %v", err)
	}
	for n := range len(whole) { // cut anywhere it is refused, or read as far as it goes, and nothing panics
		if err := read(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were read", n, len(whole))
		}
	}
	if err := read(write([]struct {
		ID   string `parquet:"id"`
		Time int64  `parquet:"time,timestamp(microsecond)"`
	}{{"a", 1}})); err != nil {
		t.Errorf("columns that are left out: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }
