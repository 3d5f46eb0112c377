package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	gold "github.com/telltale-llm/telltale/internal/golden"
	"github.com/telltale-llm/telltale/internal/record"
)

const (
	onlineTime  = "2006-01-02 15:04:05.000"
	onlineRunes = 4000 // of each text of one exchange
)

// Exchanges writes a table of exchanges, one a line, newest first.
func Exchanges(w io.Writer, list []record.Exchange, opts TerminalOptions) error {
	t := newTerminal(opts)
	if len(list) == 0 {
		t.line("no exchanges")
		return t.flush(w)
	}
	// What does not fit is left out from the end: the id is what other commands need.
	g := exchangeGrid(list, len(exchangeColumns))
	for n := len(exchangeColumns) - 1; n >= 3 && g.width() > t.Width; n-- {
		g = exchangeGrid(list, n)
	}
	for _, line := range g.lines(t) {
		t.line(line)
	}
	return t.flush(w)
}

var exchangeColumns = []string{"time (UTC)", "id", "outcome", "latency", "tokens", "route", "model"}

func exchangeGrid(list []record.Exchange, columns int) *grid {
	g := newGrid(1)
	g.right(3, 4)
	var head []cell
	for _, name := range exchangeColumns[:columns] {
		head = append(head, cell{name, []style{dim}})
	}
	g.add(head...)
	for i := range list {
		x := &list[i]
		row := []cell{plain(x.Time.UTC().Format("01-02 15:04:05")), plain(logLine(x.ID, 40)), outcomeCell(x), plain(secondsOr(x.Latency, "")), plain(tokensOf(x.Usage)), plain(logLine(routeOf(x), 24)), plain(logLine(x.Model, 30))}
		g.add(row[:columns]...)
	}
	return g
}

// ExchangeLine is one exchange on one line, for following them.
func ExchangeLine(x *record.Exchange) string {
	parts := []string{x.Time.UTC().Format("15:04:05.000"), logLine(x.ID, 40), outcomeOf(x), secondsOr(x.Latency, "?"), logLine(routeOf(x), 40), logLine(x.Model, 40)}
	if x.Content != nil {
		parts = append(parts, quoted(x.Content.Output, 60))
	}
	return strings.Join(parts, "  ")
}

func routeOf(x *record.Exchange) string {
	if x.Variant == "" || x.Variant == "baseline" {
		return x.Route
	}
	return x.Route + "/" + x.Variant
}

func outcomeOf(x *record.Exchange) string {
	switch {
	case x.ErrorKind != "" && x.Status >= 400:
		return fmt.Sprintf("%d %s", x.Status, x.ErrorKind)
	case x.ErrorKind != "":
		return string(x.ErrorKind)
	case x.FinishReason != "":
		return logLine(x.FinishReason, 20)
	case x.Status != 0:
		return fmt.Sprint(x.Status)
	}
	return "ok"
}

func outcomeCell(x *record.Exchange) cell {
	switch {
	case x.Failed():
		return cell{outcomeOf(x), []style{red}}
	case x.ErrorKind != "":
		return cell{outcomeOf(x), []style{yellow}}
	}
	return plain(outcomeOf(x))
}

func secondsOr(s *float64, none string) string {
	if s == nil {
		return none
	}
	return seconds(*s)
}

func tokensOf(u *record.Usage) string {
	if u == nil {
		return ""
	}
	return fmt.Sprintf("%s+%s", count(u.Prompt), count(u.Completion))
}

// Exchange writes all that is known of one exchange.
func Exchange(w io.Writer, x *record.Exchange, opts TerminalOptions) error {
	t := newTerminal(opts)
	t.line(t.paint("Exchange "+fit(x.ID, t.Width-9), bold))
	row := func(name, value string) {
		if value != "" {
			t.named(name, logLine(value, 2000))
		}
	}
	row("time", x.Time.UTC().Format(onlineTime)+" UTC")
	row("outcome", outcomeOf(x))
	row("error", x.Error)
	row("route", fmt.Sprintf("%s, variant %s with probability %s", x.Route, orDash(x.Variant), number(x.Propensity)))
	row("rollout", assignedBy(x.Assigned))
	row("guard", guarded(x.Guard))
	row("api", strings.TrimSpace(x.API+map[bool]string{true: " (streamed)"}[x.Stream]))
	row("model", x.Model+served(x))
	row("upstream", strings.TrimPrefix(x.Upstream+attempts(x), ", "))
	row("snapshot", x.Snapshot)
	row("latency", timesOf(x))
	row("tokens", usageOf(x.Usage))
	if x.Cost != nil {
		row("cost", dollars(*x.Cost))
	}
	row("parameters", pairs(x.Params))
	if x.Seed != nil {
		row("seed", fmt.Sprint(*x.Seed))
	}
	row("user", x.User)
	row("session", x.Session)
	row("tags", pairs(x.Tags))
	row("client", x.Client)
	row("trace", strings.Trim(x.TraceID+" "+x.SpanID, " "))
	row("certainty", certaintyOf(x.Logprobs))
	row("redacted", pairs(x.Found))
	row("cut", strings.Join(x.Cut, ", "))
	for _, s := range x.Scores {
		row("score", scoreOf(&s))
	}
	t.content(x)
	return t.flush(w)
}

// named writes a value after its name; what does not fit goes below it.
func (t *terminal) named(name, value string) {
	const column = 15
	inner := newTerminal(t.TerminalOptions)
	inner.wrap(strings.Repeat(" ", column), value)
	text := inner.b.String()
	if len(text) > column {
		t.b.WriteString(fmt.Sprintf("  %-*s", column-2, name) + text[column:])
	}
}

func (t *terminal) content(x *record.Exchange) {
	if x.Content == nil {
		t.section("Content")
		t.wrap("  ", fmt.Sprintf("not kept: it was sampled with probability %s, or its time is over", number(x.Inclusion)))
		return
	}
	part := func(title, text string) {
		if text == "" {
			return
		}
		t.section(title)
		text, left := cut(text, onlineRunes)
		t.block(text)
		if left > 0 {
			t.line(fmt.Sprintf("  … %s more bytes; --format json has them", count(left)))
		}
	}
	part("System", x.Content.System)
	for _, m := range x.Content.Input {
		part(orDash(logLine(m.Role, 20)), m.Text())
	}
	part("Answer", x.Content.Output)
	part("Refusal", x.Content.Refusal)
	for _, c := range x.Content.ToolCalls {
		part("Tool call "+logLine(c.Name, 60), c.Arguments)
	}
}

// assignedBy says what chose an exchange's variant.
func assignedBy(a *record.Assignment) string {
	if a == nil {
		return ""
	}
	s := fmt.Sprintf("%s, stage %d", logLine(a.Rollout, 64), a.Stage+1)
	if a.Pairs != "" {
		s += ", a copy of " + logLine(a.Pairs, 64)
	}
	return s
}

// guarded says what a guard did to an answer.
func guarded(g *record.Guarded) string {
	if g == nil {
		return ""
	}
	s := logLine(g.Name, 64)
	if g.Version != "" {
		s += " " + logLine(g.Version, 64)
	}
	s += " (" + g.ID + "): " + g.Outcome
	if g.Failure != "" {
		s += ", " + g.Failure
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(g.Hits)) {
		found = append(found, fmt.Sprintf("%s %d×", logLine(name, 64), g.Hits[name]))
	}
	if len(found) > 0 {
		s += "; found " + strings.Join(found, ", ")
	}
	if g.Repaired {
		s += "; repaired"
	}
	if g.Asked != "" {
		s += "; asked again because of " + logLine(g.Asked, 64)
	}
	if g.Model != "" {
		s += "; fallback " + logLine(g.Model, 64)
	}
	if g.Held > 0 {
		s += fmt.Sprintf("; at most %s bytes held back", count(g.Held))
	}
	return s
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func served(x *record.Exchange) string {
	var parts []string
	if x.Served != "" && x.Served != x.Model {
		parts = append(parts, "served "+x.Served)
	}
	if x.Fingerprint != "" {
		parts = append(parts, "fingerprint "+x.Fingerprint)
	}
	if len(parts) == 0 {
		return ""
	}
	return ", " + strings.Join(parts, ", ")
}

func attempts(x *record.Exchange) string {
	s := ""
	if x.Attempts > 1 {
		s = fmt.Sprintf(", %d attempts", x.Attempts)
	}
	if x.Retries > 0 {
		s += fmt.Sprintf(", the client's try %d", x.Retries+1)
	}
	return s
}

func timesOf(x *record.Exchange) string {
	if x.Latency == nil {
		return ""
	}
	s := seconds(*x.Latency)
	if x.TTFT != nil {
		s += ", first token after " + seconds(*x.TTFT)
	}
	if g := x.Gaps; g != nil && g.Count > 0 {
		s += fmt.Sprintf(", between events %s at the median, %s at most", seconds(g.P50), seconds(g.Max))
	}
	return s
}

func usageOf(u *record.Usage) string {
	if u == nil {
		return ""
	}
	s := fmt.Sprintf("%s in, %s out", count(u.Prompt), count(u.Completion))
	if u.Cached > 0 {
		s += fmt.Sprintf(", %s of the prompt cached", count(u.Cached))
	}
	if u.Reasoning > 0 {
		s += fmt.Sprintf(", %s for reasoning", count(u.Reasoning))
	}
	return s
}

func certaintyOf(l *record.LogprobSummary) string {
	if l == nil || l.Tokens == 0 {
		return ""
	}
	s := fmt.Sprintf("mean log-probability %s of %s, least %s", number(l.Mean), numbered(l.Tokens, "token"), number(l.Min))
	if l.Entropy != nil {
		s += ", entropy " + number(*l.Entropy) + " nats"
	}
	return s
}

func scoreOf(s *record.OnlineScore) string {
	out := s.Name
	switch {
	case s.Error != "":
		return out + ": " + s.Error
	case s.Value != nil:
		out += " " + number(*s.Value)
	case s.Label != "":
		out += " " + s.Label
	}
	if s.Reason != "" {
		out += ": " + s.Reason
	}
	return out
}

// pairs is a mapping on one line, in the order of its keys.
func pairs[V any](m map[string]V) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s=%v", k, m[k]))
	}
	return strings.Join(parts, " ")
}

// StatsRow is one interval of one group of a route's numbers. What nothing was measured for is nil.
type StatsRow struct {
	Time                           time.Time
	Group                          []string
	Count                          int64
	ErrorRate                      *float64
	P50, P95, P99, First           *float64 // seconds
	PromptTokens, CompletionTokens int64
	Cost                           float64  // of the exchanges whose cost is known; 0 may be that none is
	Scores                         []string // NAME VALUE
}

// Stats writes a route's numbers. Intervals says that there are several, and each row's time is shown.
func Stats(w io.Writer, title string, by []string, rows []StatsRow, intervals bool, opts TerminalOptions) error {
	t := newTerminal(opts)
	t.line(t.paint(fit(title, t.Width), bold))
	if len(rows) == 0 {
		t.line("  no exchanges")
		return t.flush(w)
	}
	g := newGrid(1)
	var head []cell
	if intervals {
		head = append(head, cell{"time (UTC)", []style{dim}})
	}
	for _, key := range by {
		head = append(head, cell{logLine(key, 20), []style{dim}})
	}
	first := len(head)
	for _, name := range []string{"requests", "errors", "p50", "p95", "p99", "first", "tokens", "cost"} {
		g.right(len(head))
		head = append(head, cell{name, []style{dim}})
	}
	g.add(head...)
	for i := range rows {
		r := &rows[i]
		row := make([]cell, 0, len(head))
		if intervals {
			row = append(row, plain(r.Time.UTC().Format("01-02 15:04:05")))
		}
		for _, name := range r.Group {
			row = append(row, plain(logLine(orDash(name), 30)))
		}
		rate := plain("–")
		if r.ErrorRate != nil {
			if rate = plain(percent(*r.ErrorRate)); *r.ErrorRate > 0 {
				rate.styles = []style{red}
			}
		}
		cost := plain("–")
		if r.Cost > 0 {
			cost = plain(dollars(r.Cost))
		}
		row = append(row[:first], plain(count(int(r.Count))), rate, plain(secondsOr(r.P50, "–")), plain(secondsOr(r.P95, "–")), plain(secondsOr(r.P99, "–")), plain(secondsOr(r.First, "–")),
			plain(rough(float64(r.PromptTokens+r.CompletionTokens))), cost)
		g.add(row...)
	}
	for _, line := range g.lines(t) {
		t.line("  " + line)
	}
	for i := range rows {
		if len(rows[i].Scores) > 0 && len(rows) <= 20 {
			t.wrap("  ", strings.Join(append([]string{strings.Join(rows[i].Group, " ")}, rows[i].Scores...), "  "), dim)
		}
	}
	return t.flush(w)
}

// ReplayView is what a replay is shown by.
type ReplayView struct {
	ID, Upstream string
	Then         string   // the answer of then
	Now          []string // those of now, errors left out
	Errors       []string
	Agree, Alike int
	Largest      int
	Changes      []string // of fingerprint, served model, finish reason
	Notes        []string
}

// Replay writes how the answers of now differ from the one of then.
func Replay(w io.Writer, v *ReplayView, opts TerminalOptions) error {
	t := newTerminal(opts)
	t.line(t.paint("Replay of "+fit(v.ID, t.Width-10), bold))
	n := len(v.Now)
	t.wrap("  ", fmt.Sprintf("%s of %s from %s the same as then", count(v.Agree), numbered(n, "answer"), logLine(v.Upstream, 60)))
	if v.Alike > v.Agree {
		t.wrap("  ", fmt.Sprintf("%s the same but for case, space and punctuation", count(v.Alike)))
	}
	if n > 1 {
		t.wrap("  ", fmt.Sprintf("%s of the answers of now are the same as one another", count(v.Largest)))
	}
	for _, c := range v.Changes {
		t.wrap("  ", "! "+logLine(c, 300), yellow)
	}
	for _, note := range v.Notes {
		t.wrap("  ", "note: "+logLine(note, 300), dim)
	}
	shown := map[string]int{}
	for i, now := range v.Now {
		shown[now]++
		if now == v.Then || shown[now] > 1 {
			continue
		}
		t.section(fmt.Sprintf("Answer %d, against the one of then", i+1))
		t.words("  ", gold.Words(v.Then, now))
	}
	if len(v.Errors) > 0 {
		t.section(numbered(len(v.Errors), "request") + " failed")
		for _, e := range v.Errors[:min(len(v.Errors), 5)] {
			t.wrap("  ", logLine(e, 400), red)
		}
	}
	return t.flush(w)
}
