package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/store"
)

// wait makes a mutation finish on all replicas before the statement returns.
const wait = " SETTINGS mutations_sync = 2"

// Delete removes what is too old: whole days by dropping their partitions, the rest by writing the day's parts anew. The TTL of
// the tables does the same in the server's own time, so once a day is often enough. Parts that were replaced are deleted from
// the disk after a minute.
func (s *Store) Delete(ctx context.Context, keep config.Retention, now time.Time) (store.Deleted, error) {
	var d store.Deleted
	content := keep.Content
	if keep.Exchanges > 0 && (content <= 0 || keep.Exchanges < content) {
		content = keep.Exchanges
	}
	var uncounted int64
	for _, t := range []struct {
		name, column string
		age          time.Duration
		n            *int64
	}{{"content", "time", content, &d.Content}, {"reasons", "time", content, &uncounted}, {"scores", "time", keep.Exchanges, &uncounted}, {"exchanges", "time", keep.Exchanges, &d.Exchanges}, {"rollups", "start", keep.Rollups, &d.Rollups}, {"minutes", "minute", keep.Rollups, &uncounted}} {
		if t.age <= 0 {
			continue
		}
		if err := s.deleteBefore(ctx, t.name, t.column, now.Add(-t.age), t.n); err != nil {
			return d, fmt.Errorf("store: delete: %w", err)
		}
	}
	return d, nil
}

func (s *Store) deleteBefore(ctx context.Context, name, column string, before time.Time, n *int64) error {
	old := ` WHERE ` + column + ` < ` + dialect.Time
	from := name + " FINAL"
	if err := s.one(ctx, `SELECT toInt64(count()) FROM `+from+old, []any{dialect.Bind(before)}, n); err != nil || *n == 0 {
		return err
	}
	alter := `ALTER TABLE ` + name + s.local() + s.on()
	if name != "minutes" { // whose partitions are months
		var days []string
		err := s.each(ctx, `SELECT DISTINCT toString(toDate(`+column+`)) FROM `+name+` WHERE `+column+` < toStartOfDay(`+dialect.Time+`)`, []any{dialect.Bind(before)}, func(r rows) error {
			days = append(days, "")
			return r.Scan(&days[len(days)-1])
		})
		if err != nil {
			return err
		}
		for _, day := range days {
			if err := s.conn.exec(ctx, alter+` DROP PARTITION ?`, day); err != nil {
				return err
			}
		}
	}
	return s.conn.exec(ctx, alter+` DELETE`+old+wait, dialect.Bind(before))
}

// erased empties the columns that identify a person, and marks the exchange.
const erased = `user_id = '', session = '', tags = '', error = '', params = '', trace_id = '', span_id = '', parent_id = '', input_hash = '', redaction = '` + store.Forgotten + `'`

// forgetBatch bounds the ids of one mutation.
const forgetBatch = 5000

// Forget removes what these users said and what identifies them, by writing the parts that hold their exchanges anew.
func (s *Store) Forget(ctx context.Context, users []string) (store.Deleted, error) {
	var d store.Deleted
	if len(users) == 0 {
		return d, nil
	}
	args := make([]any, len(users))
	for i, u := range users {
		if u == "" {
			return d, &store.QueryError{Field: "users", Want: "names that are not empty"}
		}
		args[i] = u
	}
	theirs := ` WHERE user_id IN (` + list(len(users)) + `)`
	var found []store.Row
	err := s.each(ctx, `SELECT id, key FROM exchanges FINAL`+theirs, args, func(r rows) error {
		found = append(found, store.Row{})
		x := &found[len(found)-1]
		return r.Scan(&x.ID, &x.Key)
	})
	if err != nil || len(found) == 0 {
		return d, err
	}
	// Reasons once more after the exchanges are marked: see unsay.
	for _, t := range []struct {
		name string
		n    *int64
	}{{"content", &d.Content}, {"reasons", new(int64)}, {"exchanges", &d.Exchanges}, {"reasons", new(int64)}} {
		if t.name == "exchanges" {
			// By keys too: what was put since they were looked for keeps its user until it is forgotten with its content.
			for i := 0; i < len(found) && err == nil; i += forgetBatch {
				keys := store.Keys(found[i:min(i+forgetBatch, len(found))])
				err = s.conn.exec(ctx, `ALTER TABLE exchanges`+s.local()+s.on()+` UPDATE `+erased+theirs+` AND key IN (`+keys+`)`+wait, args...)
			}
			*t.n = int64(len(found))
		} else {
			*t.n, err = s.unsaid(ctx, t.name, found)
		}
		if err != nil {
			return d, fmt.Errorf("store: forget: %w", err)
		}
	}
	return d, nil
}

// unsaid deletes the rows of exchanges from a table of texts and says how many there were. By ids, because a mutation of a
// replicated table may not ask another table.
func (s *Store) unsaid(ctx context.Context, table string, found []store.Row) (total int64, err error) {
	for i := 0; i < len(found); i += forgetBatch {
		part := found[i:min(i+forgetBatch, len(found))]
		ids := make([]any, len(part))
		for k := range part {
			ids[k] = part[k].ID
		}
		said := ` WHERE key IN (` + store.Keys(part) + `) AND id IN (` + list(len(part)) + `)`
		var n int64
		if err := s.one(ctx, `SELECT toInt64(count()) FROM `+table+` FINAL`+said, ids, &n); err != nil {
			return total, err
		}
		if n == 0 {
			continue
		}
		total += n
		if err := s.conn.exec(ctx, `ALTER TABLE `+table+s.local()+s.on()+` DELETE`+said+wait, ids...); err != nil {
			return total, err
		}
	}
	return total, nil
}
