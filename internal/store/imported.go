package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/telltale-llm/telltale/internal/record"
)

// RowError is a row of a Parquet file that is no exchange. Rows count from 1; Column may be empty, and then Value and Want are.
type RowError struct {
	Row    int
	Column string
	Value  string // what is there, shortened
	Want   string
	Err    error
}

// ColumnError is a column that a Parquet file of exchanges does not have, or that is something else.
type ColumnError struct {
	Column  string
	Value   string // what is there; empty for nothing
	Problem string
	Want    string
	Hint    string
}

func (e *ColumnError) Error() string {
	text := "column " + e.Column + ": " + e.Problem
	if e.Value != "" {
		text += " (" + e.Value + ")"
	}
	if e.Want != "" {
		text += ", want " + e.Want
	}
	return text
}

// maxColumnErrors bounds the mistakes that are told of one file.
const maxColumnErrors = 20

// checkColumns compares a file's columns with those of an export. A column that is not known is refused, because what it says
// would be lost; one that is missing is empty, but for id and time. Any column may be optional: that is how other tools
// write them.
func checkColumns(file *parquet.Schema) error {
	ours := map[string]parquet.Field{}
	for _, f := range parquet.SchemaOf(exported{}).Fields() {
		ours[f.Name()] = f
	}
	var errs []error
	add := func(e *ColumnError) {
		if len(errs) < maxColumnErrors {
			errs = append(errs, e)
		}
	}
	known := map[string]bool{}
	for _, f := range file.Fields() {
		name := f.Name()
		want, ok := ours[name]
		switch {
		case !ok:
			add(&ColumnError{Column: name, Value: kindOf(f), Problem: "is not known", Want: "columns of telltale exchanges export", Hint: "a newer telltale has written the file: import it with that one, or leave the column out"})
		case known[name]:
			add(&ColumnError{Column: name, Problem: "is there twice", Want: "each column once"})
		case kindOf(f) != kindOf(want):
			add(&ColumnError{Column: name, Value: kindOf(f), Problem: "is of another type", Want: kindOf(want)})
		}
		known[name] = true
	}
	for _, name := range []string{"id", "time"} {
		if !known[name] {
			add(&ColumnError{Column: name, Problem: "is missing", Want: "a file that telltale exchanges export --format parquet wrote"})
		}
	}
	return errors.Join(errs...)
}

// kindOf is a column's type in words, with those within it, but without their names and without whether they are optional.
func kindOf(n parquet.Node) string {
	text := "group"
	if n.Leaf() {
		text = strings.ToLower(n.Type().Kind().String())
		if l := n.Type().LogicalType(); l != nil {
			if t, ok := l.Value.(*format.TimestampType); ok { // whether it is said to be UTC or not
				text = "timestamp in " + strings.ToLower(t.Unit.String())
			}
		}
	} else {
		var parts []string
		for _, f := range n.Fields() {
			parts = append(parts, kindOf(f))
		}
		text += " of " + strings.Join(parts, ", ")
	}
	if n.Repeated() {
		text = "list of " + text
	}
	return text
}

func (e *RowError) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("row %d: %v", e.Row, e.Err)
	}
	return fmt.Sprintf("row %d: column %s: %v", e.Row, e.Column, e.Err)
}

func (e *RowError) Unwrap() error { return e.Err }

// importRows is how many rows are read at a time.
const importRows = 64

// ReadParquet reads what Export wrote, a few rows at a time, and gives each exchange to fn, in the order of the file. Columns
// that the file lacks are as if they were empty, but for id and time. It ends with fn's first error, with *ColumnErrors before
// any row is read, with a *RowError, or with an error that says why the file cannot be read.
func ReadParquet(r io.ReaderAt, size int64, fn func(row int, x *record.Exchange) error) (err error) {
	defer func() {
		if p := recover(); p != nil { // the library's way to say that a file is broken
			err = fmt.Errorf("not a Parquet file of exchanges: %v", p)
		}
	}()
	file, err := parquet.OpenFile(r, size)
	if err != nil {
		return fmt.Errorf("not a Parquet file: %w", err)
	}
	if err := checkColumns(file.Schema()); err != nil {
		return err
	}
	in := parquet.NewGenericReader[exported](file)
	defer func() { err = errors.Join(err, in.Close()) }()
	rows := make([]exported, importRows)
	for at := 0; ; {
		clear(rows)
		n, err := in.Read(rows)
		for i := range n {
			at++
			x, err := imported(&rows[i])
			if err != nil {
				err.Row = at
				return err
			}
			if err := fn(at, x); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &RowError{Row: at + 1, Err: err}
		}
	}
}

// imported is the inverse of export. An error lacks the row only.
func imported(e *exported) (x *record.Exchange, bad *RowError) {
	x = &record.Exchange{
		ID: e.ID, Time: time.UnixMicro(e.Time).UTC(), Source: e.Source, Route: e.Route, Variant: e.Variant, Snapshot: e.Snapshot,
		Propensity: e.Propensity, API: e.API, Stream: e.Stream, Provider: e.Provider, Upstream: e.Upstream, Model: e.Model,
		Served: e.Served, Fingerprint: e.Fingerprint, Endpoint: e.Endpoint, Status: int(e.Status), ErrorKind: record.FailureKind(e.ErrorKind),
		Error: e.Error, FinishReason: e.FinishReason, Refused: e.Refused, Latency: e.Latency, TTFT: e.TTFT, Cost: e.Cost, Seed: e.Seed,
		User: e.User, Session: e.Session, Tags: e.Tags, Client: e.Client, Retries: int(e.Retries), Attempts: int(e.Attempts),
		TraceID: e.TraceID, SpanID: e.SpanID, ParentID: e.ParentID, InputHash: e.InputHash, InputBytes: e.InputBytes,
		OutputBytes: e.OutputBytes, Inclusion: e.Inclusion, Redaction: e.Redaction, Embedding: e.Embedding, Cut: e.Cut,
	}
	if e.PromptTokens != nil || e.CompletionTokens != nil || e.TotalTokens != nil {
		x.Usage = &record.Usage{Prompt: number(e.PromptTokens), Completion: number(e.CompletionTokens), Total: number(e.TotalTokens),
			Cached: number(e.CachedTokens), Reasoning: number(e.ReasoningTokens)}
	}
	if len(e.Found) > 0 {
		x.Found = make(map[string]int, len(e.Found))
		for k, v := range e.Found {
			x.Found[k] = int(v)
		}
	}
	tree := func(name string, from *string, to any) {
		if from == nil || bad != nil {
			return
		}
		if err := json.Unmarshal([]byte(*from), to); err != nil {
			bad = &RowError{Column: name, Value: shortened(*from), Want: "JSON of an exchange's " + name, Err: err}
		}
	}
	if e.Time == 0 {
		return nil, &RowError{Column: "time", Value: "0", Want: "microseconds since 1970, UTC", Err: errors.New("the time is missing")}
	}
	tree("gaps", e.Gaps, &x.Gaps)
	tree("params", e.Params, &x.Params)
	tree("logprobs", e.Logprobs, &x.Logprobs)
	tree("top_k", e.TopK, &x.TopK)
	tree("scores", e.Scores, &x.Scores)
	if e.System != nil || e.Input != nil || e.Output != nil || e.Refusal != nil || e.ToolCalls != nil || e.Body != nil {
		c := &record.Content{System: textOf(e.System), Output: textOf(e.Output), Refusal: textOf(e.Refusal)}
		tree("input", e.Input, &c.Input)
		tree("tool_calls", e.ToolCalls, &c.ToolCalls)
		tree("body", e.Body, &c.Body)
		x.Content = c
	}
	tree("assigned", e.Assigned, &x.Assigned)
	tree("guard", e.Guard, &x.Guard)
	return x, bad
}

func shortened(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func textOf(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
