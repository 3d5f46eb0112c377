package report

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// JSON writes run.json: indented, map keys sorted, lists and maps present even when empty, with a
// newline at the end. A number that JSON cannot hold (NaN, infinity) is an error, for it must
// have been nil.
func JSON(w io.Writer, run *record.Run) error {
	r := *run
	if r.Snapshots == nil {
		r.Snapshots = []record.Snapshot{}
	}
	if r.Scorers == nil {
		r.Scorers = map[string]string{}
	}
	if r.Metrics == nil {
		r.Metrics = map[string]record.Metric{}
	}
	if r.Gate.Checks == nil {
		r.Gate.Checks = []verdict.Decision{}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(&r); err != nil {
		return fmt.Errorf("report: run %s as JSON: %w", run.ID, err)
	}
	return nil
}
