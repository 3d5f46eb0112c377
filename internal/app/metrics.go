package app

import (
	"maps"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// checkMetrics reports the gate's metrics that no run of this suite can have: a name that is
// misspelt would otherwise be found out after the run is paid for, as undecided.
func (s *session) checkMetrics() error {
	builtin := record.BuiltinUnits()
	names := slices.Collect(maps.Keys(builtin))
	for name := range s.check.signatureMap() {
		if _, taken := builtin[name]; taken {
			name = record.MetricAssert + name
		}
		names = append(names, name)
	}
	names = append(names, s.derived.Names()...)
	slices.Sort(names)
	var errs config.Errors
	if s.check.open() {
		return nil
	}
	check := func(p config.Pos, metric string) {
		if slices.ContainsFunc(names, func(m string) bool { return within(metric, m) }) {
			return
		}
		e := &config.Error{Pos: p, Value: metric, Problem: "the suite has no such metric", Want: "one of " + strings.Join(names, ", ")}
		if near := config.Nearest(metric, names); near != "" {
			e.Hint = "did you mean \"" + near + "\"?"
		}
		errs = append(errs, e)
	}
	for _, c := range s.rules {
		check(c.Pos, c.Metric)
	}
	for _, m := range s.margins {
		check(m.Pos, m.Metric)
	}
	return errs.Err()
}

// within says whether name is the metric m or a part of it, such as ifeval.prompt_strict of ifeval.
func within(name, m string) bool {
	rest, ok := strings.CutPrefix(name, m)
	return ok && (rest == "" || rest[0] == '.')
}
