package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/rollout"
)

// RolloutRow is a rollout as it is shown.
type RolloutRow struct {
	Name, Kind, Route, Baseline, Candidate, Phase string
	Stage                                         int
	Stages                                        []string
	Weight                                        float64
	Created, Since                                time.Time
	Outside                                       bool   // another router than telltale's shares out the requests
	Guarantee                                     string // in what it can be trusted less then
	Reason, BothArms                              string
	Taken                                         int64
	Refused                                       map[string]int64
	Signals                                       []rollout.SignalStatus
	Targets                                       []RolloutTarget
	Sentinels                                     *RolloutSentinels // nil for none
}

// RolloutTarget is a target outside the gateway.
type RolloutTarget struct {
	Name    string
	Current bool // it has followed
	Error   string
}

// Rollouts writes a table of rollouts.
func Rollouts(w io.Writer, rows []RolloutRow, opts TerminalOptions) error {
	t := newTerminal(opts)
	if len(rows) == 0 {
		t.line("no rollouts")
		return t.flush(w)
	}
	// Names of rollouts are whole, for they are what commands take; routes and candidates get what is left.
	longest := 0
	for i := range rows {
		longest = max(longest, width(logLine(rows[i].Name, 64)))
	}
	rest := max(8, (t.Width-longest-rolloutsFixed)/2-1)
	g := newGrid(1)
	var head []cell
	for _, name := range []string{"rollout", "route", "phase", "weight", "started", "candidate"} {
		head = append(head, cell{name, []style{dim}})
	}
	g.add(head...)
	for i := range rows {
		r := &rows[i]
		weight, candidate := percentOf(r.Weight), r.Candidate
		if r.Outside && r.Weight == 0 {
			weight = "open"
		}
		if r.Kind != "rollout" {
			weight, candidate = "", strings.Join(r.Stages, ", ")
		}
		g.add(plain(logLine(r.Name, 64)), plain(logLine(r.Route, rest)), phaseCell(r.Phase), plain(weight), plain(r.Created.UTC().Format(time.DateOnly)), plain(logLine(candidate, rest)))
	}
	for _, line := range g.lines(t) {
		t.line(line)
	}
	return t.flush(w)
}

// rolloutsFixed is the width of phase, weight and day, and of the space between the columns.
const rolloutsFixed = len("rolled back") + len("weight") + len(time.DateOnly) + 5*2

func percentOf(share float64) string { return fmt.Sprintf("%g%%", math.Round(share*1e6)/1e4) }

func phaseCell(phase string) cell {
	text := strings.ReplaceAll(phase, "_", " ")
	switch phase {
	case "rolled_back", "aborted":
		return cell{text, []style{red}}
	case "done":
		return cell{text, []style{green}}
	case "paused":
		return cell{text, []style{yellow}}
	}
	return plain(text)
}

// Rollout writes how one rollout stands: where it is, why it does not go on, and each signal with its evidence.
func Rollout(w io.Writer, r *RolloutRow, opts TerminalOptions) error {
	t := newTerminal(opts)
	t.wrap("", fmt.Sprintf("%s on route %s: %s instead of %s", logLine(r.Name, 64), logLine(r.Route, 64), logLine(r.Candidate, 40), logLine(r.Baseline, 40)))
	stages := make([]string, len(r.Stages))
	for i, s := range r.Stages {
		stages[i] = s
		if i == r.Stage {
			stages[i] = "[" + s + "]"
		}
	}
	t.wrap("", fmt.Sprintf("%s  %s  since %s UTC", strings.ReplaceAll(r.Phase, "_", " "), strings.Join(stages, " > "), r.Since.UTC().Format(time.DateTime)))
	if r.Reason != "" {
		t.wrap("", logLine(r.Reason, 1000))
	}
	if r.Guarantee != "" {
		t.wrap("", logLine("The guarantee is "+r.Guarantee, 1000))
	}
	if r.BothArms != "" {
		t.wrap("", logLine(r.BothArms, 64)+" has become far worse in both arms")
	}
	t.line("")
	t.signals(r.Signals)
	if r.Sentinels != nil {
		t.line("")
		t.wrap("", r.Sentinels.text())
	}
	if n := refusedOf(r.Refused); n > 0 {
		t.line("")
		t.wrap("", fmt.Sprintf("%d pieces of evidence taken, %d not: %s", r.Taken, n, countList(r.Refused)))
	}
	for _, target := range r.Targets {
		text := "has followed"
		if !target.Current {
			text = "has not followed yet"
		}
		if target.Error != "" {
			text += ": " + target.Error
		}
		t.wrap("  ", logLine(target.Name, 100)+" "+logLine(text, 500))
	}
	return t.flush(w)
}

// wideSignals is the width from which the table of signals says how many outcomes there are.
const wideSignals = 100

// signals writes a table of signals, by what they may do.
func (t *terminal) signals(all []rollout.SignalStatus) {
	g := newGrid(1)
	g.right(2, 3, 4, 5)
	var head []cell
	for _, name := range []string{"signal", "state", "baseline", "candidate", "difference", "e-value"} {
		head = append(head, cell{name, []style{dim}})
	}
	g.add(head...)
	for _, role := range []string{config.RoleCritical, config.RoleSupporting, config.RoleObserve} {
		first := true
		for i := range all {
			s := &all[i]
			if s.Role != role {
				continue
			}
			if first {
				g.add(cell{role, []style{dim}})
			}
			first = false
			st := plain(s.State)
			switch s.State {
			case rollout.Worse, rollout.Both:
				st.styles = []style{red}
			case rollout.Within:
				st.styles = []style{green}
			case rollout.WorseWithin:
				st.text = "worse, within" // the margin
			}
			g.add(plain("  "+logLine(s.Name, signalName+max(0, t.Width-wideSignals))), st, plain(t.arm(s.BaselineRate, s.BaselineN)), plain(t.arm(s.CandidateRate, s.CandidateN)), plain(between(s.Low, s.High)), plain(evidenceOf(s)))
		}
	}
	for _, line := range g.lines(t) {
		t.line(line)
	}
	t.line("")
	t.wrap("", "difference: candidate minus baseline in points, at 95%; e-value: of the candidate being worse, and after / where it is withdrawn", dim)
}

// signalName is how much of a signal's name fits besides the numbers.
const signalName = 13

// arm is a rate, and of how many where there is room.
func (t *terminal) arm(rate *float64, n int64) string {
	switch {
	case rate == nil:
		return "–"
	case t.Width < wideSignals:
		return fmt.Sprintf("%.2f%%", 100**rate)
	}
	return fmt.Sprintf("%.2f%% of %d", 100**rate, n)
}

func between(low, high *float64) string {
	if low == nil || high == nil {
		return "–"
	}
	point := func(x float64) string {
		if math.Abs(x) >= 0.1 {
			return fmt.Sprintf("%+.1f", 100*x)
		}
		return fmt.Sprintf("%+.2f", 100*x)
	}
	return point(*low) + " to " + point(*high)
}

// evidenceOf is the highest e-value so far, and the bar at which a signal alone rolls back.
func evidenceOf(s *rollout.SignalStatus) string {
	e := math.Exp(math.Min(s.Peak, 700))
	text := fmt.Sprintf("%.2g", e)
	if e >= 10 && e < 1e4 {
		text = fmt.Sprintf("%.0f", e)
	}
	if s.Bar != nil {
		text += fmt.Sprintf("/%.0f", math.Exp(*s.Bar))
	}
	return text
}

func refusedOf(counts map[string]int64) (n int64) {
	for _, v := range counts {
		n += v
	}
	return n
}

// countList writes counts in the order of their names.
func countList(counts map[string]int64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}

// RolloutHistory writes the transitions of a rollout, oldest first.
func RolloutHistory(w io.Writer, ts []rollout.Transition, opts TerminalOptions) error {
	t := newTerminal(opts)
	for i := range ts {
		h := &ts[i]
		to := strings.ReplaceAll(string(h.To), "_", " ")
		if h.To != h.From || h.Basis != "" {
			to = fmt.Sprintf("%s, stage %d at %s", to, h.Stage+1, percentOf(h.Weight))
		}
		basis := ""
		if h.Basis != "" {
			basis = " (" + strings.ReplaceAll(h.Basis, "_", " ") + ")"
		}
		why := h.Why
		if why == "" {
			why = "no reason given"
		}
		head := fmt.Sprintf("%s  %-27s by ", h.At.UTC().Format(time.DateTime), to)
		t.line(head + logLine(h.By, max(8, t.Width-width(head)-width(basis)-1)) + basis)
		t.wrap("    ", logLine(why, 1000))
		if h.Note != "" {
			t.wrap("    ", logLine(h.Note, 1000))
		}
	}
	return t.flush(w)
}
