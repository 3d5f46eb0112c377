package store

import (
	"context"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/telltale-llm/telltale/internal/record"
)

// exported is a row of an exported file: the fields of record.Exchange under their JSON names. What is a tree there is JSON
// here. Times are in microseconds, UTC.
type exported struct {
	ID               string            `parquet:"id"`
	Time             int64             `parquet:"time,timestamp(microsecond)"`
	Source           string            `parquet:"source,dict"`
	Route            string            `parquet:"route,dict"`
	Variant          string            `parquet:"variant,dict"`
	Snapshot         string            `parquet:"snapshot,dict"`
	Propensity       float64           `parquet:"propensity"`
	API              string            `parquet:"api,dict"`
	Stream           bool              `parquet:"stream"`
	Provider         string            `parquet:"provider,dict"`
	Upstream         string            `parquet:"upstream,dict"`
	Model            string            `parquet:"model,dict"`
	Served           string            `parquet:"served,dict"`
	Fingerprint      string            `parquet:"fingerprint,dict"`
	Endpoint         string            `parquet:"endpoint,dict"`
	Status           int32             `parquet:"status"`
	ErrorKind        string            `parquet:"error_kind,dict"`
	Error            string            `parquet:"error"`
	FinishReason     string            `parquet:"finish_reason,dict"`
	Refused          bool              `parquet:"refused"`
	Latency          *float64          `parquet:"latency,optional"`
	TTFT             *float64          `parquet:"ttft,optional"`
	Gaps             *string           `parquet:"gaps,optional"`
	PromptTokens     *int64            `parquet:"prompt_tokens,optional"`
	CompletionTokens *int64            `parquet:"completion_tokens,optional"`
	TotalTokens      *int64            `parquet:"total_tokens,optional"`
	CachedTokens     *int64            `parquet:"cached_tokens,optional"`
	ReasoningTokens  *int64            `parquet:"reasoning_tokens,optional"`
	Cost             *float64          `parquet:"cost,optional"`
	Params           *string           `parquet:"params,optional"`
	Seed             *int64            `parquet:"seed,optional"`
	Logprobs         *string           `parquet:"logprobs,optional"`
	TopK             *string           `parquet:"top_k,optional"`
	User             string            `parquet:"user"`
	Session          string            `parquet:"session"`
	Tags             map[string]string `parquet:"tags"`
	Client           string            `parquet:"client,dict"`
	Retries          int32             `parquet:"retries"`
	Attempts         int32             `parquet:"attempts"`
	TraceID          string            `parquet:"trace_id"`
	SpanID           string            `parquet:"span_id"`
	ParentID         string            `parquet:"parent_id"`
	InputHash        string            `parquet:"input_hash"`
	InputBytes       int64             `parquet:"input_bytes"`
	OutputBytes      int64             `parquet:"output_bytes"`
	System           *string           `parquet:"system,optional"`
	Input            *string           `parquet:"input,optional"` // messages
	Output           *string           `parquet:"output,optional"`
	ToolCalls        *string           `parquet:"tool_calls,optional"`
	Refusal          *string           `parquet:"refusal,optional"`
	Body             *string           `parquet:"body,optional"`
	Inclusion        float64           `parquet:"inclusion"`
	Redaction        string            `parquet:"redaction,dict"`
	Found            map[string]int64  `parquet:"found"`
	Embedding        []float32         `parquet:"embedding"`
	Scores           *string           `parquet:"scores,optional"`
	Cut              []string          `parquet:"cut"`
	Assigned         *string           `parquet:"assigned,optional"`
	Guard            *string           `parquet:"guard,optional"`
}

const (
	exportPage  = 2_000
	exportGroup = 20_000 // rows of a row group: what a reader loads at once
)

// ExportPages is Store.Export by way of List: a page at a time, so that memory does not grow with what is exported, newest
// first. What arrives meanwhile is newer than the pages and is left out.
func ExportPages(ctx context.Context, list func(context.Context, Query) (Page, error), q Query, w io.Writer) (n int64, err error) {
	out := parquet.NewGenericWriter[exported](w, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		parquet.MaxRowsPerRowGroup(exportGroup), parquet.CreatedBy("telltale", "", ""))
	q.Limit, q.Cursor = exportPage, ""
	for {
		page, err := list(ctx, q)
		if err != nil {
			return n, fmt.Errorf("export: %w", err)
		}
		rows := make([]exported, len(page.Exchanges))
		for i := range page.Exchanges {
			if rows[i], err = export(&page.Exchanges[i]); err != nil {
				return n, fmt.Errorf("export: exchange %s: %w", page.Exchanges[i].ID, err)
			}
		}
		if _, err := out.Write(rows); err != nil {
			return n, fmt.Errorf("export: %w", err)
		}
		n += int64(len(rows))
		if page.Next == "" {
			break
		}
		q.Cursor = page.Next
	}
	if err := out.Close(); err != nil {
		return n, fmt.Errorf("export: %w", err)
	}
	return n, nil
}

func export(x *record.Exchange) (exported, error) {
	e := exported{
		ID: x.ID, Time: x.Time.UnixMicro(), Source: x.Source, Route: x.Route, Variant: x.Variant, Snapshot: x.Snapshot,
		Propensity: x.Propensity, API: x.API, Stream: x.Stream, Provider: x.Provider, Upstream: x.Upstream, Model: x.Model,
		Served: x.Served, Fingerprint: x.Fingerprint, Endpoint: x.Endpoint, Status: int32(x.Status), ErrorKind: string(x.ErrorKind),
		Error: x.Error, FinishReason: x.FinishReason, Refused: x.Refused, Latency: x.Latency, TTFT: x.TTFT, Cost: x.Cost, Seed: x.Seed,
		User: x.User, Session: x.Session, Tags: x.Tags, Client: x.Client, Retries: int32(x.Retries), Attempts: int32(x.Attempts),
		TraceID: x.TraceID, SpanID: x.SpanID, ParentID: x.ParentID, InputHash: x.InputHash, InputBytes: x.InputBytes,
		OutputBytes: x.OutputBytes, Inclusion: x.Inclusion, Redaction: x.Redaction, Embedding: x.Embedding, Cut: x.Cut,
	}
	if u := x.Usage; u != nil {
		e.PromptTokens, e.CompletionTokens, e.TotalTokens = whole(u.Prompt), whole(u.Completion), whole(u.Total)
		e.CachedTokens, e.ReasoningTokens = whole(u.Cached), whole(u.Reasoning)
	}
	if len(x.Found) > 0 {
		e.Found = make(map[string]int64, len(x.Found))
		for k, v := range x.Found {
			e.Found[k] = int64(v)
		}
	}
	var err error
	tree := func(to **string, there bool, v any) {
		if !there || err != nil {
			return
		}
		var s string
		s, err = encode(v)
		*to = &s
	}
	tree(&e.Gaps, x.Gaps != nil, x.Gaps)
	tree(&e.Params, len(x.Params) > 0, x.Params)
	tree(&e.Logprobs, x.Logprobs != nil, x.Logprobs)
	tree(&e.TopK, len(x.TopK) > 0, x.TopK)
	tree(&e.Scores, len(x.Scores) > 0, x.Scores)
	tree(&e.Assigned, x.Assigned != nil, x.Assigned)
	tree(&e.Guard, x.Guard != nil, x.Guard)
	if c := x.Content; c != nil {
		e.System, e.Output, e.Refusal = &c.System, &c.Output, &c.Refusal
		tree(&e.Input, len(c.Input) > 0, c.Input)
		tree(&e.ToolCalls, len(c.ToolCalls) > 0, c.ToolCalls)
		if len(c.Body) > 0 {
			body := string(c.Body)
			e.Body = &body
		}
	}
	return e, err
}
