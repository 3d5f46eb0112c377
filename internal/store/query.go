package store

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// Filter says which exchanges are meant. Conditions on different fields must all hold; of a list one must. The zero value
// means all.
type Filter struct {
	From       time.Time            `json:"from,omitzero"` // inclusive; zero is unbounded
	To         time.Time            `json:"to,omitzero"`   // exclusive; zero is unbounded
	Routes     []string             `json:"routes,omitempty"`
	Variants   []string             `json:"variants,omitempty"`
	Snapshots  []string             `json:"snapshots,omitempty"`
	Models     []string             `json:"models,omitempty"` // as asked, or as served
	Sources    []string             `json:"sources,omitempty"`
	Statuses   []int                `json:"statuses,omitempty"`
	ErrorKinds []record.FailureKind `json:"error_kinds,omitempty"`
	Outcome    Outcome              `json:"outcome,omitempty"`
	MinLatency float64              `json:"min_latency,omitempty"` // seconds
	// Users and Sessions are as stored. One person may be stored under several names: as a client sent it, and as a
	// pseudonym of each key.
	Users    []string          `json:"users,omitempty"`
	Sessions []string          `json:"sessions,omitempty"`
	Trace    string            `json:"trace,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	// Text is looked for as it is, upper and lower case told apart, in the texts of the content: system, messages,
	// answer, refusal, arguments of tool calls. The request's body is not searched: it holds the same texts.
	Text   string        `json:"text,omitempty"`
	Scores []ScoreFilter `json:"scores,omitempty"`
}

// Outcome tells exchanges apart by whether they were answered.
type Outcome string

// The outcomes. Requests that the client gave up are neither.
const (
	AnyOutcome Outcome = ""
	Answered   Outcome = "answered"
	Failed     Outcome = "failed"
)

// ScoreFilter wants an exchange that has the score, above or below a value where given. Both bounds exclude the value.
type ScoreFilter struct {
	Name  string   `json:"name"`
	Above *float64 `json:"above,omitempty"`
	Below *float64 `json:"below,omitempty"`
}

// Limits of a page.
const (
	DefaultLimit = 100
	MaxLimit     = 10_000
)

// Query asks for a page of exchanges.
type Query struct {
	Filter
	Content bool   `json:"content,omitempty"` // read the content too
	Limit   int    `json:"limit,omitempty"`   // DefaultLimit when 0, at most MaxLimit
	Cursor  string `json:"cursor,omitempty"`  // Page.Next of the page before
}

// Page is part of the answer to a Query. Next is empty on the last page. Exchanges that arrive while one pages do not move
// those on later pages: each page continues after the last one's time and ID.
type Page struct {
	Exchanges []record.Exchange `json:"exchanges"`
	Next      string            `json:"next,omitempty"`
}

// Place is where a page ended: the time and ID of its last exchange.
type Place struct {
	Time time.Time
	ID   string
}

// Cursor writes a place as an opaque text.
func (p Place) Cursor() string {
	b := make([]byte, 9, 9+len(p.ID))
	b[0] = 1 // version
	binary.BigEndian.PutUint64(b[1:], uint64(p.Time.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, p.ID...))
}

// ParseCursor reads what Cursor wrote.
func ParseCursor(s string) (Place, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 10 || b[0] != 1 {
		return Place{}, &QueryError{Field: "cursor", Value: s, Want: "the next of an earlier page"}
	}
	return Place{Time: time.UnixMicro(int64(binary.BigEndian.Uint64(b[1:]))).UTC(), ID: string(b[9:])}, nil
}

// Prepare checks the query, fills its default limit and reads its cursor; the place is nil without one.
func (q *Query) Prepare() (*Place, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	switch {
	case q.Limit == 0:
		q.Limit = DefaultLimit
	case q.Limit < 0 || q.Limit > MaxLimit:
		return nil, &QueryError{Field: "limit", Value: fmt.Sprint(q.Limit), Want: fmt.Sprintf("1 to %d", MaxLimit)}
	}
	if q.Cursor == "" {
		return nil, nil
	}
	p, err := ParseCursor(q.Cursor)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// Check finds values that cannot be used.
func (f *Filter) Check() error {
	switch f.Outcome {
	case AnyOutcome, Answered, Failed:
	default:
		return &QueryError{Field: "outcome", Value: string(f.Outcome), Want: "answered or failed"}
	}
	if f.MinLatency < 0 || math.IsNaN(f.MinLatency) || math.IsInf(f.MinLatency, 0) {
		return &QueryError{Field: "min_latency", Value: fmt.Sprint(f.MinLatency), Want: "seconds, not negative"}
	}
	if !f.From.IsZero() && !f.To.IsZero() && f.To.Before(f.From) {
		return &QueryError{Field: "to", Value: f.To.Format(time.RFC3339Nano), Want: "a time after from"}
	}
	for _, s := range f.Scores {
		if s.Name == "" {
			return &QueryError{Field: "scores", Want: "the name of a score"}
		}
		for _, v := range []*float64{s.Above, s.Below} {
			if v != nil && math.IsNaN(*v) {
				return &QueryError{Field: "scores." + s.Name, Value: "NaN", Want: "a number"}
			}
		}
	}
	return nil
}

// HasText says whether the content's texts hold the filter's Text. The conditions that Where makes find more than these,
// because they look into the JSON of the messages.
func (f *Filter) HasText(c *record.Content) bool {
	if f.Text == "" {
		return true
	}
	if c == nil {
		return false
	}
	text := clean(f.Text)
	if strings.Contains(c.Output, text) || strings.Contains(c.System, text) || strings.Contains(c.Refusal, text) {
		return true
	}
	for i := range c.Input {
		if strings.Contains(c.Input[i].Text(), text) {
			return true
		}
	}
	for i := range c.ToolCalls {
		if strings.Contains(c.ToolCalls[i].Arguments, text) || strings.Contains(c.ToolCalls[i].Name, text) {
			return true
		}
	}
	return false
}

// Found turns a row that the conditions of Where found into an exchange, if its content has the text.
func (q *Query) Found(r *Row, c *ContentRow) (x record.Exchange, ok bool, err error) {
	x, err = r.Exchange(c)
	if err != nil || !q.HasText(x.Content) {
		return x, false, err
	}
	if !q.Content {
		x, err = r.Exchange(nil)
	}
	return x, err == nil, err
}

// Everything says whether the filter has no condition.
func (f *Filter) Everything() bool { return reflect.ValueOf(*f).IsZero() }

// Windows are ranges of time, end exclusive, that hold all that the query can find, the newest first: ten minutes, then each
// twice as long as the one before. A page is mostly filled from the first ones, so that not everything has to be sorted or
// joined to find the newest. oldest and newest are of what is stored.
func (q *Query) Windows(oldest, newest time.Time, at *Place) iter.Seq2[time.Time, time.Time] {
	if q.From.After(oldest) {
		oldest = q.From
	}
	to := newest.Add(time.Microsecond)
	if !q.To.IsZero() && q.To.Before(to) {
		to = q.To
	}
	if at != nil && at.Time.Before(to) {
		to = at.Time.Add(time.Microsecond)
	}
	return func(yield func(time.Time, time.Time) bool) {
		for length := 10 * time.Minute; to.After(oldest); length *= 2 {
			from := to.Add(-length)
			if from.Before(oldest) {
				from = oldest
			}
			if !yield(from, to) {
				return
			}
			to = from
		}
	}
}

// RollupQuery asks for roll-ups. Empty lists mean all.
type RollupQuery struct {
	From, To time.Time // of the window's start; To is exclusive, zero unbounded
	Routes   []string
	Variants []string
	Segments []string
}
