package export

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/parquet-go/parquet-go"

	"github.com/telltale-llm/telltale/internal/record"
)

// parquetSample is a row of the Parquet file: a sample with what is of any shape as JSON. Columns are only
// ever added, at the end; docs/exports.md describes them.
type parquetSample struct {
	Case             string         `parquet:"case,dict"`
	Group            *string        `parquet:"group,optional,dict"`
	Tags             []string       `parquet:"tags,list"`
	Critical         bool           `parquet:"critical"`
	Provider         string         `parquet:"provider,dict"`
	Prompt           string         `parquet:"prompt,dict"`
	Repeat           int64          `parquet:"repeat"`
	Seed             int64          `parquet:"seed"`
	Verdict          string         `parquet:"verdict,dict"`
	Score            *float64       `parquet:"score,optional"`
	Output           string         `parquet:"output"`
	Error            *string        `parquet:"error,optional"`
	FinishReason     *string        `parquet:"finish_reason,optional,dict"`
	Refusal          *string        `parquet:"refusal,optional"`
	Model            *string        `parquet:"model,optional,dict"`
	Fingerprint      *string        `parquet:"fingerprint,optional,dict"`
	Latency          *float64       `parquet:"latency,optional"`
	TTFT             *float64       `parquet:"ttft,optional"`
	Cost             *float64       `parquet:"cost,optional"`
	PromptTokens     *int64         `parquet:"prompt_tokens,optional"`
	CompletionTokens *int64         `parquet:"completion_tokens,optional"`
	TotalTokens      *int64         `parquet:"total_tokens,optional"`
	Cached           bool           `parquet:"cached"`
	Retries          int64          `parquet:"retries"`
	Vars             string         `parquet:"vars,json"`
	Input            string         `parquet:"input,json"`
	Scores           []parquetScore `parquet:"scores,list"`
}

// parquetScore is one score of a sample.
type parquetScore struct {
	Name   string   `parquet:"name,dict"`
	Type   string   `parquet:"type,dict"`
	Value  *float64 `parquet:"value,optional"`
	Pass   *bool    `parquet:"pass,optional"`
	Weight *float64 `parquet:"weight,optional"`
	Reason *string  `parquet:"reason,optional"`
	Error  *string  `parquet:"error,optional"`
}

// Bounds on what is kept in memory while a file is written.
const (
	parquetGroup = 20_000   // rows of a row group
	parquetBytes = 64 << 20 // of text in a row group
)

// WriteParquet writes samples as a Parquet file, one row a sample in their order, compressed with
// Zstandard. It holds one row group at a time. rows counts what was written.
func WriteParquet(w io.Writer, samples iter.Seq2[record.Sample, error]) (rows int, err error) {
	out := parquet.NewGenericWriter[parquetSample](w, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(parquetGroup),
		parquet.CreatedBy("telltale", "1", ""))
	held := 0
	for s, err := range samples {
		if err != nil {
			return rows, err
		}
		row, err := newParquetSample(&s)
		if err != nil {
			return rows, fmt.Errorf("sample %d: %w", rows+1, err)
		}
		if _, err := out.Write([]parquetSample{row}); err != nil {
			return rows, err
		}
		rows++
		if held += len(row.Output) + len(row.Vars) + len(row.Input); held > parquetBytes {
			held = 0
			if err := out.Flush(); err != nil {
				return rows, err
			}
		}
	}
	return rows, out.Close()
}

func newParquetSample(s *record.Sample) (parquetSample, error) {
	vars, err := json.Marshal(s.Vars)
	if err != nil {
		return parquetSample{}, err
	}
	input, err := json.Marshal(s.Input)
	if err != nil {
		return parquetSample{}, err
	}
	row := parquetSample{
		Case: s.Case, Group: filledText(s.Group), Tags: s.Tags, Critical: s.Critical, Provider: s.Provider, Prompt: s.Prompt,
		Repeat: int64(s.Repeat), Seed: s.Seed, Verdict: s.Verdict.String(), Score: s.Score, Output: s.Output, Error: filledText(s.Error),
		FinishReason: filledText(s.FinishReason), Refusal: filledText(s.Refusal), Model: filledText(s.Model), Fingerprint: filledText(s.Fingerprint),
		Latency: s.Latency, TTFT: s.TTFT, Cost: s.Cost, Cached: s.Cached, Retries: int64(s.Retries), Vars: string(vars), Input: string(input),
	}
	if u := s.Usage; u != nil {
		prompt, completion, total := int64(u.Prompt), int64(u.Completion), int64(u.Total)
		row.PromptTokens, row.CompletionTokens, row.TotalTokens = &prompt, &completion, &total
	}
	for i := range s.Scores {
		c := &s.Scores[i]
		weight := 1.0
		if c.Weight != nil {
			weight = *c.Weight
		}
		row.Scores = append(row.Scores, parquetScore{
			Name: c.Name, Type: c.Type, Value: c.Value, Pass: c.Pass, Weight: &weight, Reason: filledText(c.Reason), Error: filledText(c.Error),
		})
	}
	return row, nil
}

// filledText is null for an empty text.
func filledText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
