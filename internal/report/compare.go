package report

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/telltale-llm/telltale/internal/record"
)

// ComparisonFile is the name of a comparison's file for machines.
const ComparisonFile = "compare.json"

// WriteComparison writes a comparison's files into dir, which is there already. Each is complete or absent.
func WriteComparison(dir string, c *record.Comparison) error {
	return writeNamed(dir, ComparisonFile, func(w io.Writer) error { return ComparisonJSON(w, c) })
}

// ComparisonJSON writes compare.json: indented, lists present even when empty.
func ComparisonJSON(w io.Writer, c *record.Comparison) error {
	out := *c
	if out.Pairs == nil {
		out.Pairs = []record.SnapshotPair{}
	}
	if out.Metrics == nil {
		out.Metrics = []record.Difference{}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(&out); err != nil {
		return fmt.Errorf("report: comparison as JSON: %w", err)
	}
	return nil
}
