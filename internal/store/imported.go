package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/telltale-llm/telltale/internal/record"
)

// RowError is a row of a Parquet file that is no exchange. Rows count from 1; Column may be empty.
type RowError struct {
	Row    int
	Column string
	Err    error
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
// that the file lacks are as if they were empty, but for id and time. It ends with fn's first error, with a *RowError, or with
// one that says why the file cannot be read.
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
	for _, name := range []string{"id", "time"} {
		if _, ok := file.Schema().Lookup(name); !ok {
			return fmt.Errorf("the file has no column %s; want one that telltale exchanges export --format parquet wrote", name)
		}
	}
	in := parquet.NewGenericReader[exported](file)
	defer func() { err = errors.Join(err, in.Close()) }()
	rows := make([]exported, importRows)
	for at := 0; ; {
		clear(rows)
		n, err := in.Read(rows)
		for i := range n {
			at++
			x, column, err := imported(&rows[i])
			if err != nil {
				return &RowError{at, column, err}
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

// imported is the inverse of export. After an error it names the column.
func imported(e *exported) (x *record.Exchange, column string, err error) {
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
		if from == nil || err != nil {
			return
		}
		if err = json.Unmarshal([]byte(*from), to); err != nil {
			column = name
		}
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
	return x, column, err
}

func textOf(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
