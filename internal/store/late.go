package store

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/record"
)

// LateRow is a score that came apart from its exchange, in a table of its own: exchanges are never changed by what comes
// later. Its reason is in another one, because it is deleted as early as content.
type LateRow struct {
	Time   time.Time
	ID     string // of the exchange
	Key    int64
	Name   string
	Mark   string // tells it from others of the same ID and name
	Value  *float64
	Data   string // JSON of the score without its reason
	Reason string
}

// The columns of tables scores and reasons.
const (
	ScoreColumns  = `time, id, key, name, mark, value, data`
	ReasonColumns = `time, id, key, name, mark, reason`
)

// FlattenLate turns scores into rows, each once. The error is an *InvalidError.
func FlattenLate(ls []record.Late) ([]LateRow, error) {
	rows := make([]LateRow, 0, len(ls))
	known := make(map[string]bool, len(ls))
	for i := range ls {
		l := &ls[i]
		s := l.Score
		r := LateRow{Time: l.Time.UTC().Truncate(time.Microsecond), ID: l.Exchange, Key: KeyOf(l.Exchange), Name: clean(s.Name), Mark: clean(l.Mark), Value: s.Value, Reason: clean(s.Reason)}
		why := checkLate(l)
		if why == "" {
			s.Reason = ""
			var err error
			if r.Data, err = encode(&s); err != nil {
				why = err.Error()
			}
		}
		if why != "" {
			return nil, &InvalidError{Index: i, ID: l.Exchange, Why: why}
		}
		if which := r.which(); !known[which] {
			known[which] = true
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func checkLate(l *record.Late) string {
	switch {
	case l.Score.Name == "":
		return "a score without a name"
	case len(l.Score.Name) > maxID || len(l.Mark) > maxID:
		return fmt.Sprintf("the name or mark of a score has more than %d bytes", maxID)
	case !utf8.ValidString(l.Exchange):
		return "its id is not UTF-8"
	case l.Score.Value != nil && (math.IsNaN(*l.Score.Value) || math.IsInf(*l.Score.Value, 0)):
		return "a score that is not a number"
	}
	return check(&record.Exchange{ID: l.Exchange, Time: l.Time, Redaction: l.Redaction})
}

// which is what tells a score from all others.
func (r *LateRow) which() string { return r.ID + "\x00" + r.Name + "\x00" + r.Mark }

// NewLate returns those of the rows that are not stored, in their order. stored calls its function with the ID, name and
// mark of every stored score whose key is in the list, for IN.
func NewLate(rows []LateRow, stored func(keys string, each func(id, name, mark string)) error) ([]LateRow, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	known := map[string]bool{}
	keys := make([]string, len(rows))
	for i := range rows {
		keys[i] = strconv.FormatInt(rows[i].Key, 10)
	}
	err := stored(strings.Join(keys, ","), func(id, name, mark string) {
		known[(&LateRow{ID: id, Name: name, Mark: mark}).which()] = true
	})
	if err != nil {
		return nil, err
	}
	fresh := make([]LateRow, 0, len(rows))
	for i := range rows {
		if !known[rows[i].which()] {
			fresh = append(fresh, rows[i])
		}
	}
	return fresh, nil
}

// WithoutForgotten empties the reasons of rows whose exchange has been forgotten. ask runs a query and calls its function for
// each row.
func WithoutForgotten(rows []LateRow, ask func(query string, each func(scan func(...any) error) error) error) error {
	var keys []string
	for i := range rows {
		if rows[i].Reason != "" {
			keys = append(keys, strconv.FormatInt(rows[i].Key, 10))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	forgotten := map[string]bool{}
	err := ask(`SELECT id FROM exchanges WHERE key IN (`+strings.Join(keys, ",")+`) AND redaction = '`+Forgotten+`'`, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		forgotten[id] = true
		return err
	})
	for i := range rows {
		if forgotten[rows[i].ID] {
			rows[i].Reason = ""
		}
	}
	return err
}

// LateSQL finds the scores of exchanges by their keys, in the order in which they were made, for Late to scan. Final is what
// the engine wants after the name of a table. Without reasons that column is empty.
func LateSQL(keys, final string, reasons bool) string {
	if !reasons {
		return `SELECT s.id, s.data, '' FROM scores AS s` + final + ` WHERE s.key IN (` + keys + `) ORDER BY s.time, s.name, s.mark`
	}
	// With IN on both sides the engines read no more of the second table than of the first.
	return `SELECT s.id, s.data, coalesce(r.reason, '') FROM scores AS s` + final + ` LEFT JOIN (SELECT id, name, mark, reason FROM reasons` + final +
		` WHERE key IN (` + keys + `)) AS r ON r.id = s.id AND r.name = s.name AND r.mark = s.mark WHERE s.key IN (` + keys + `) ORDER BY s.time, s.name, s.mark`
}

// AddLate adds scores that LateSQL found to their exchanges. ask runs the query and calls its function for each row.
func AddLate(xs []record.Exchange, final string, reasons bool, ask func(query string, each func(scan func(...any) error) error) error) error {
	if len(xs) == 0 {
		return nil
	}
	at := make(map[string]int, len(xs))
	keys := make([]string, len(xs))
	for i := range xs {
		at[xs[i].ID] = i
		keys[i] = strconv.FormatInt(KeyOf(xs[i].ID), 10)
	}
	return ask(LateSQL(strings.Join(keys, ","), final, reasons), func(scan func(...any) error) error {
		var id, data, reason string
		if err := scan(&id, &data, &reason); err != nil {
			return err
		}
		i, ok := at[id]
		if !ok {
			return nil // another id with the same key
		}
		var s record.OnlineScore
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			return fmt.Errorf("score of exchange %s: %w", id, err)
		}
		s.Reason = reason
		xs[i].Scores = append(xs[i].Scores, s)
		return nil
	})
}
