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
		writeNamed(dir, ComparisonFile, func(w io.Writer) error { return ComparisonJSON(w, c, gate) }),
	)
}

// ComparisonJSON writes compare.json: indented, lists present even when empty. gate is the verdict by margins, nil when there
// were none.
func ComparisonJSON(w io.Writer, c *record.Comparison, gate *record.Gate) error {
	out := struct {
		record.Comparison
		Gate *record.Gate `json:"gate,omitempty"`
	}{*c, gate}
	out.Pairs, out.Metrics, out.Slices = present(c.Pairs), present(c.Metrics), present(c.Slices)
	out.Flips, out.Warnings = present(c.Flips), present(c.Warnings)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(&out); err != nil {
		return fmt.Errorf("report: comparison as JSON: %w", err)
	}
	return nil
}

// present makes an empty list of none, which JSON would write as null or leave out.
func present[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
