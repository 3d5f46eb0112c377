package store

import (
	"strings"
	"time"
)

// Dialect is what the engines write differently. Values are bound to question marks.
type Dialect struct {
	// Contains has the form of "x contains ?", with %s for the column.
	Contains func(column string) string
	// Time is how a bound time is written, such as "?"; Bind what is bound for it.
	Time string
	Bind func(time.Time) any
	// Score is the value of a named score, or something no comparison holds for; the name is bound.
	Score string
	// HasScore is whether there is a score of that name; the name is bound.
	HasScore string
	// Text and Int are the names of the types.
	Text, Int string
	// NoneApart says that no score that came apart from its exchange is what the filter wants (see LateFound).
	NoneApart bool
}

// Conditions are SQL conditions that must all hold, with what is bound to them.
type Conditions struct {
	d     Dialect
	parts []string
	Args  []any
}

// SQL joins the conditions, with "WHERE" before them if there are any.
func (c *Conditions) SQL() string {
	if len(c.parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.parts, " AND ")
}

// Add adds a condition.
func (c *Conditions) Add(sql string, args ...any) {
	c.parts = append(c.parts, sql)
	c.Args = append(c.Args, args...)
}

// Before keeps what comes after a place in the order of pages: what is older.
func (c *Conditions) Before(p *Place) {
	at := c.d.Bind(p.Time)
	// The first condition is implied by the second; it is there for the engine to skip blocks by it.
	c.Add("x.time <= "+c.d.Time, at)
	c.Add("(x.time < "+c.d.Time+" OR x.id < ?)", at, p.ID)
}

func in[T any](c *Conditions, column string, values []T, bind func(T) any) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = bind(v)
	}
	c.Add(column+" IN ("+strings.TrimSuffix(strings.Repeat("?, ", len(values)), ", ")+")", args...)
}

func text[S ~string](s S) any { return clean(string(s)) }

// Where turns the filter into conditions on table exchanges, named x, and, for Text, on table content, named c.
func (f *Filter) Where(d Dialect) *Conditions {
	c := &Conditions{d: d}
	if !f.From.IsZero() {
		c.Add("x.time >= "+d.Time, d.Bind(f.From))
	}
	if !f.To.IsZero() {
		c.Add("x.time < "+d.Time, d.Bind(f.To))
	}
	in(c, "x.route", f.Routes, text[string])
	in(c, "x.variant", f.Variants, text[string])
	in(c, "x.snapshot", f.Snapshots, text[string])
	in(c, "x.source", f.Sources, text[string])
	in(c, "x.error_kind", f.ErrorKinds, text)
	in(c, "x.status", f.Statuses, func(n int) any { return int32(n) })
	if n := len(f.Models); n > 0 {
		var m Conditions
		in(&m, "x.model", f.Models, text[string])
		in(&m, "x.served", f.Models, text[string])
		c.Add("("+strings.Join(m.parts, " OR ")+")", m.Args...)
	}
	switch f.Outcome {
	case Failed:
		c.Add("x.failed")
	case Answered:
		c.Add("x.error_kind = ''")
	}
	if f.MinLatency > 0 {
		c.Add("x.latency >= ?", f.MinLatency)
	}
	in(c, "x.user_id", f.Users, text[string])
	in(c, "x.session", f.Sessions, text[string])
	if f.Trace != "" {
		c.Add("x.trace_id = ?", clean(f.Trace))
	}
	for k, v := range f.Tags {
		c.Add(d.Contains("x.tags"), tag(k, v)+tagSep)
	}
	for _, s := range f.Scores {
		c.whereScore(&s)
	}
	if f.Text != "" {
		f.whereText(c)
	}
	return c
}

// whereScore finds scores that came with the exchange, and those that came apart from it.
func (c *Conditions) whereScore(s *ScoreFilter) {
	with, name := []string{c.d.HasScore}, clean(s.Name)
	args := []any{name}
	for _, bound := range s.bounds() {
		with, args = append(with, c.d.Score+bound.sign), append(args, name, bound.value)
	}
	if c.d.NoneApart {
		c.Add(strings.Join(with, " AND "), args...)
		return
	}
	apart, apartArgs := s.apart()
	c.Add("("+strings.Join(with, " AND ")+" OR x.id IN (SELECT id FROM scores WHERE "+apart+"))", append(args, apartArgs...)...)
}

type scoreBound struct {
	sign  string
	value float64
}

func (s *ScoreFilter) bounds() (out []scoreBound) {
	if s.Above != nil {
		out = append(out, scoreBound{" > ?", *s.Above})
	}
	if s.Below != nil {
		out = append(out, scoreBound{" < ?", *s.Below})
	}
	return out
}

// apart is the condition on table scores.
func (s *ScoreFilter) apart() (string, []any) {
	where, args := "name = ? AND value IS NOT NULL", []any{clean(s.Name)}
	for _, bound := range s.bounds() {
		where, args = where+" AND value"+bound.sign, append(args, bound.value)
	}
	return where, args
}

// LateFound is a query that says whether any score that came apart from its exchange is what the filter wants.
func (f *Filter) LateFound() (string, []any) {
	var parts []string
	var all []any
	for i := range f.Scores {
		where, args := f.Scores[i].apart()
		parts, all = append(parts, "("+where+")"), append(all, args...)
	}
	return "SELECT count(*) > 0 FROM scores WHERE " + strings.Join(parts, " OR "), all
}

// escapes tells characters that an encoder of JSON may write in another way.
func escapes(r rune) bool {
	return r < ' ' || r == '"' || r == '\\' || r == '/' || r == '<' || r == '>' || r == '&' || r == 0x7f || r == 0x2028 || r == 0x2029
}

// whereText finds a superset of what HasText does: messages and tool calls are stored as JSON.
func (f *Filter) whereText(c *Conditions) {
	plain := clean(f.Text)
	// The longest run of characters that JSON writes as they are.
	inJSON := ""
	for run := range strings.FieldsFuncSeq(plain, escapes) {
		if len(run) > len(inJSON) {
			inJSON = run
		}
	}
	var parts []string
	for _, column := range []string{"c.output", "c.system", "c.refusal"} {
		parts = append(parts, c.d.Contains(column))
		c.Args = append(c.Args, plain)
	}
	for _, column := range []string{"c.input", "c.tool_calls"} {
		parts = append(parts, c.d.Contains(column))
		c.Args = append(c.Args, inJSON)
	}
	c.parts = append(c.parts, "c.said", "("+strings.Join(parts, " OR ")+")")
}

// Where turns the query into conditions on table rollups, named x.
func (q *RollupQuery) Where(d Dialect) *Conditions {
	c := &Conditions{d: d}
	if !q.From.IsZero() {
		c.Add("x.start >= "+d.Time, d.Bind(q.From))
	}
	if !q.To.IsZero() {
		c.Add("x.start < "+d.Time, d.Bind(q.To))
	}
	in(c, "x.route", q.Routes, text[string])
	in(c, "x.variant", q.Variants, text[string])
	in(c, "x.segment", q.Segments, text[string])
	return c
}
