package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// Scored is a score that came apart from its exchange, with what it is counted under.
type Scored struct {
	Exchange, Route, Variant, Snapshot string
	Time                               time.Time // of the exchange
	// Had says that the exchange came with a value of this score.
	Had   bool
	Score record.OnlineScore
}

// scoredRanges bounds the ranges of time of one query.
const scoredRanges = 100

// FindScored is LateScores for both engines. ask runs a query and calls its function for each row; final is what the engine
// wants after the name of a table.
func FindScored(exchanges []string, window time.Duration, d Dialect, final string, ask func(query string, args []any, each func(scan func(...any) error) error) error) ([]Scored, error) {
	if len(exchanges) == 0 {
		return nil, nil
	}
	asked := make(map[string]bool, len(exchanges))
	keys := make([]string, len(exchanges))
	for i, id := range exchanges {
		asked[id] = true
		keys[i] = strconv.FormatInt(KeyOf(id), 10)
	}
	// Most batches are of exchanges that nobody has judged yet.
	var scored []string
	err := ask(`SELECT DISTINCT key FROM scores WHERE key IN (`+strings.Join(keys, ",")+`)`, nil, func(scan func(...any) error) error {
		var key int64
		err := scan(&key)
		scored = append(scored, strconv.FormatInt(key, 10))
		return err
	})
	if err != nil || len(scored) == 0 {
		return nil, err
	}
	starts := map[int64]bool{}
	err = ask(`SELECT id, time FROM exchanges WHERE key IN (`+strings.Join(scored, ",")+`)`, nil, func(scan func(...any) error) error {
		var id string
		var at time.Time
		err := scan(&id, &at)
		if asked[id] {
			micros, length := at.UnixMicro(), window.Microseconds()
			starts[micros-((micros%length)+length)%length] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []Scored
	ranges := joined(starts, window)
	for len(ranges) > 0 {
		n := min(len(ranges), scoredRanges)
		query, args := scoredSQL(ranges[:n], d, final)
		ranges = ranges[n:]
		err := ask(query, args, func(scan func(...any) error) error {
			var s Scored
			var data string
			if err := scan(&s.Exchange, &s.Route, &s.Variant, &s.Snapshot, &s.Time, &s.Had, &data); err != nil {
				return err
			}
			s.Time = s.Time.UTC()
			if err := json.Unmarshal([]byte(data), &s.Score); err != nil {
				return fmt.Errorf("score of exchange %s: %w", s.Exchange, err)
			}
			out = append(out, s)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// joined makes ranges of windows that follow one another, in their order.
func joined(starts map[int64]bool, window time.Duration) [][2]time.Time {
	sorted := make([]int64, 0, len(starts))
	for at := range starts {
		sorted = append(sorted, at)
	}
	slices.Sort(sorted)
	var out [][2]time.Time
	for _, at := range sorted {
		from := time.UnixMicro(at).UTC()
		if n := len(out); n > 0 && out[n-1][1].Equal(from) {
			out[n-1][1] = from.Add(window)
			continue
		}
		out = append(out, [2]time.Time{from, from.Add(window)})
	}
	return out
}

func scoredSQL(ranges [][2]time.Time, d Dialect, final string) (string, []any) {
	var parts []string
	var args []any
	for _, r := range ranges {
		parts = append(parts, "x.time >= "+d.Time+" AND x.time < "+d.Time)
		args = append(args, d.Bind(r[0]), d.Bind(r[1]))
	}
	// The first two are implied by the rest; they are there for the engine to skip blocks by them.
	where := " WHERE x.time >= " + d.Time + " AND x.time < " + d.Time + " AND (" + strings.Join(parts, " OR ") + ")"
	args = append([]any{d.Bind(ranges[0][0]), d.Bind(ranges[len(ranges)-1][1])}, args...)
	return `SELECT x.id, x.route, x.variant, x.snapshot, x.time, ` + `CASE WHEN ` + strings.Replace(d.HasScore, "?", "s.name", 1) + ` THEN true ELSE false END AS had, s.data FROM exchanges AS x` + final +
		` INNER JOIN (SELECT id, time AS made, name, mark, data FROM scores` + final + ` WHERE key IN (SELECT x.key FROM exchanges AS x` + where + `)) AS s ON s.id = x.id` + where +
		` ORDER BY x.time, x.id, s.made, s.name, s.mark`, slices.Concat(args, args)
}
