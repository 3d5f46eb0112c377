package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/telltale-llm/telltale/internal/record"
)

// The names of a comparison's files: for machines, and to read.
const (
	ComparisonFile         = "compare.json"
	ComparisonMarkdownFile = "compare.md"
	ComparisonHTMLFile     = "compare.html"
)

// WriteComparison writes a comparison's files into dir, which is there already: compare.md, compare.html and, last,
// compare.json. Each is complete or absent. gate is the verdict by margins, nil when there were none.
func WriteComparison(dir string, c *record.Comparison, gate *record.Gate) error {
	return errors.Join(
		writeNamed(dir, ComparisonMarkdownFile, func(w io.Writer) error { return ComparisonMarkdown(w, c, gate) }),
		writeNamed(dir, ComparisonHTMLFile, func(w io.Writer) error { return ComparisonHTML(w, c, gate) }),
		writeNamed(dir, ComparisonFile, func(w io.Writer) error { return ComparisonJSON(w, c) }),
	)
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
