// Package export writes a finished run for other tools: as a batch of metrics, parameters and tags that
// MLflow's tracking server takes, and as OpenTelemetry events, into a file or to an OTLP endpoint.
//
// It reads the run and streams its samples; it judges and aggregates nothing. Numbers that JSON cannot
// hold are left out, never written as zero. It sends nothing to any address but the one it is given.
package export

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Scope is the name under which telltale's events are known.
const Scope = "telltale"

func finite(x *float64) bool { return x != nil && !math.IsNaN(*x) && !math.IsInf(*x, 0) }

// clip cuts s to n bytes of valid UTF-8 and marks the cut.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	end := n - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
