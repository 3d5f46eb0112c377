package app

import (
	"path/filepath"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// gateLine is a line of the gate: what a decision of it can be found by.
type gateLine struct {
	pos          config.Pos
	metric, text string
}

// gateLines are the lines of the suite's gate.
func gateLines(s *config.Suite) []gateLine {
	var out []gateLine
	for _, c := range s.Gate {
		out = append(out, gateLine{c.Pos, strings.TrimSpace(c.Metric), strings.TrimSpace(c.Expr)})
	}
	for _, m := range s.Regression.Margins {
		out = append(out, gateLine{m.Pos, strings.TrimSpace(m.Metric), ""})
	}
	return out
}

// Place finds the line of the suite that asked for a decision; a decision that nobody wrote has the suite's file
// alone. The path starts from root, when the suite lies below it.
func (f *Finished) Place(root string, d verdict.Decision) report.Place {
	out := report.Place{File: below(root, f.Run.Suite.Path)}
	best := -1
	for i, a := range f.lines {
		if a.metric != d.Metric || a.pos.File == "" {
			continue
		}
		if a.text == d.Want {
			best = i
			break
		}
		if a.text == "" || best < 0 {
			best = i
		}
	}
	if best >= 0 {
		out = PlaceOf(root, f.lines[best].pos)
	}
	return out
}

// PlaceOf is a position in a file the user wrote, the path starting from root when the file lies below it.
func PlaceOf(root string, p config.Pos) report.Place {
	if p.File == "" {
		return report.Place{}
	}
	return report.Place{File: below(root, p.File), Line: p.Line, Column: p.Column}
}

// below returns path as seen from root, with slashes, or as it is when it lies elsewhere.
func below(root, path string) string {
	if root == "" {
		return filepath.ToSlash(path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return filepath.ToSlash(path)
	}
	rel, err := filepath.Rel(root, abs)
	if err != nil || strings.HasPrefix(rel, "..") {
		return filepath.ToSlash(path)
	}
	return filepath.ToSlash(rel)
}
