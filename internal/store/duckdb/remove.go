//go:build cgo

package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/store"
)

// Deleting is real in steps, because DuckDB alone only hides: DELETE marks rows in their row group (122,880 rows), which is
// dropped when all of its rows are marked; an UPDATE writes a column anew, but the old column may share a block with others
// that stay; and blocks that are freed keep their bytes until they are used again. So:
//
//  1. A table that loses rows out of its middle (Forget), or that is small, is written anew without them and the old one dropped.
//     In a large one that loses its oldest rows, those are marked, and emptied where they share a row group with rows that stay.
//  2. CHECKPOINT drops what is not used and empties the write-ahead log.
//  3. The freed blocks are written over. The file does not shrink unless they are at its end; new records use them.
//
// The transaction of step 1 makes a table, scrub, which the last step drops: what was interrupted between them is found by
// the next deletion.
const (
	rowGroup  = 122_880
	small     = 4 * rowGroup // rows that stay, up to which a table is written anew
	blockSize = 256 << 10

	// DuckDB refuses a CHECKPOINT while any other connection changes something, be it only its settings.
	checkpointWait  = 30 * time.Second
	checkpointEvery = 20 * time.Millisecond
)

// erased empties the columns of each table that hold texts or identify a person. Times, ids and measurements may stay.
var erased = map[string][]string{
	"reasons":   {"reason"},
	"scores":    {"data"},
	"content":   {"system", "input", "output", "tool_calls", "refusal", "body", "top_k", "embedding", "reasons"},
	"exchanges": {"user_id", "session", "tags", "error", "params", "trace_id", "span_id", "parent_id", "input_hash"},
}

// Delete removes what is too old.
func (s *Store) Delete(ctx context.Context, keep config.Retention, now time.Time) (store.Deleted, error) {
	var d store.Deleted
	var late int64
	s.write.Lock()
	defer s.write.Unlock()
	err := s.change(ctx, func(tx *sql.Tx, _ *sql.Conn) error {
		content := keep.Content
		if keep.Exchanges > 0 && (content <= 0 || keep.Exchanges < content) {
			content = keep.Exchanges
		}
		if err := s.expire(ctx, tx, "content", now, content, &d.Content); err != nil {
			return err
		}
		if err := s.expire(ctx, tx, "exchanges", now, keep.Exchanges, &d.Exchanges); err != nil {
			return err
		}
		if err := s.expire(ctx, tx, "reasons", now, content, &late); err != nil {
			return err
		}
		n := late
		if err := s.expire(ctx, tx, "scores", now, keep.Exchanges, &late); err != nil {
			return err
		}
		late += n
		if d.Content+d.Exchanges+late > 0 {
			if err := due(ctx, tx); err != nil {
				return err
			}
		}
		if keep.Rollups <= 0 {
			return nil
		}
		return run(ctx, tx, &d.Rollups, `DELETE FROM rollups WHERE start < ?`, now.Add(-keep.Rollups).UTC())
	})
	if err == nil {
		err = s.scrub(ctx)
	}
	if err != nil {
		return store.Deleted{}, fmt.Errorf("store: delete: %w", err)
	}
	return d, nil
}

// expire removes the rows of a table that are older than age.
func (s *Store) expire(ctx context.Context, tx *sql.Tx, table string, now time.Time, age time.Duration, n *int64) error {
	if age <= 0 {
		return nil
	}
	before := now.Add(-age).UTC()
	var old, stay int64
	var first sql.NullInt64
	query := `SELECT count(*) FILTER (time < ?), count(*) FILTER (time >= ?), min(rowid) FILTER (time >= ?) FROM ` + table
	if err := tx.QueryRowContext(ctx, query, before, before, before).Scan(&old, &stay, &first); err != nil || old == 0 {
		return err
	}
	if stay <= s.small {
		*n = old
		return rewrite(ctx, tx, table, `SELECT * FROM `+table+` WHERE time >= ?`, before)
	}
	// Row groups before the one of the first row that stays have none that stays.
	var empty []string
	for _, column := range erased[table] {
		empty = append(empty, column+" = ''")
	}
	var emptied int64
	query = `UPDATE ` + table + ` SET ` + strings.Join(empty, ", ") + ` WHERE time < ? AND rowid > ?`
	if err := run(ctx, tx, &emptied, query, before, first.Int64-rowGroup); err != nil {
		return err
	}
	return run(ctx, tx, n, `DELETE FROM `+table+` WHERE time < ?`, before)
}

// rewrite replaces a table by what the query finds in it.
func rewrite(ctx context.Context, tx *sql.Tx, table, query string, args ...any) error {
	var create string
	if err := tx.QueryRowContext(ctx, `SELECT sql FROM duckdb_tables() WHERE table_name = ?`, table).Scan(&create); err != nil {
		return err
	}
	_, columns, ok := strings.Cut(create, "(")
	if !ok {
		return fmt.Errorf("table %s: cannot read its definition %q", table, create)
	}
	var n int64
	for _, statement := range []string{`CREATE TABLE rewritten (` + columns, `INSERT INTO rewritten ` + query, `DROP TABLE ` + table, `ALTER TABLE rewritten RENAME TO ` + table} {
		a := args
		if !strings.HasPrefix(statement, "INSERT") {
			a = nil
		}
		if err := run(ctx, tx, &n, statement, a...); err != nil {
			return err
		}
	}
	return nil
}

// Forget removes what these users said and what identifies them. Both tables are written anew, so that several users at once
// cost no more than one: about a minute for ten million exchanges, and room on the disk for a second copy.
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
	theirs := `user_id IN (` + strings.TrimSuffix(strings.Repeat("?, ", len(users)), ", ") + `)`
	s.write.Lock()
	defer s.write.Unlock()
	err := s.change(ctx, func(tx *sql.Tx, _ *sql.Conn) error {
		said := `id IN (SELECT id FROM exchanges WHERE ` + theirs + `)`
		err := tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM exchanges WHERE `+theirs+`), (SELECT count(*) FROM content WHERE `+said+`)`,
			append(append([]any{}, args...), args...)...).Scan(&d.Exchanges, &d.Content)
		if err != nil || d.Exchanges == 0 {
			return err
		}
		if err := due(ctx, tx); err != nil {
			return err
		}
		if d.Content > 0 {
			if err := rewrite(ctx, tx, "content", `SELECT * FROM content WHERE NOT `+said, args...); err != nil {
				return err
			}
		}
		if err := rewrite(ctx, tx, "reasons", `SELECT * FROM reasons WHERE NOT `+said, args...); err != nil {
			return err
		}
		// The users are bound once, not once for each column.
		var replace []string
		for _, column := range erased["exchanges"] {
			replace = append(replace, `CASE WHEN theirs THEN '' ELSE `+column+` END AS `+column)
		}
		replace = append(replace, `CASE WHEN theirs THEN '`+store.Forgotten+`' ELSE redaction END AS redaction`)
		return rewrite(ctx, tx, "exchanges", `SELECT * EXCLUDE (theirs) REPLACE (`+strings.Join(replace, ", ")+`) FROM (SELECT *, `+theirs+` AS theirs FROM exchanges)`, args...)
	})
	if err == nil {
		err = s.scrub(ctx)
	}
	if err != nil {
		return store.Deleted{}, fmt.Errorf("store: forget: %w", err)
	}
	return d, nil
}

func run(ctx context.Context, tx *sql.Tx, n *int64, query string, args ...any) error {
	r, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	*n, err = r.RowsAffected()
	return err
}

// due says that blocks are going to be freed that must be written over.
func due(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS scrub (v UBIGINT)`)
	return err
}

// scrub writes changes into the file and then over the blocks that they freed, if any deletion has made that due: a table as
// large as all of these takes their place and is dropped.
func (s *Store) scrub(ctx context.Context) error {
	var is bool
	if err := s.writer.QueryRowContext(ctx, `SELECT count(*) > 0 FROM duckdb_tables() WHERE table_name = 'scrub'`).Scan(&is); err != nil || !is {
		return err
	}
	if err := s.checkpoint(ctx); err != nil {
		return err
	}
	var free int64
	if err := s.writer.QueryRowContext(ctx, `SELECT free_blocks FROM pragma_database_size() WHERE database_name = 'exchanges_db'`).Scan(&free); err != nil {
		return err
	}
	if free > 0 {
		const numbers = blockSize / 8
		fill := fmt.Sprintf(`CREATE OR REPLACE TABLE scrub AS SELECT hash(i) AS v FROM range(%d) t(i)`, free*numbers)
		if _, err := s.writer.ExecContext(ctx, fill); err != nil {
			return err
		}
		// Without this one the last row group would never leave memory.
		if err := s.checkpoint(ctx); err != nil {
			return err
		}
	}
	if _, err := s.writer.ExecContext(ctx, `DROP TABLE scrub`); err != nil {
		return err
	}
	return s.checkpoint(ctx)
}

// checkpoint waits for others that change something.
func (s *Store) checkpoint(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkpointWait)
	defer cancel()
	for {
		_, err := s.writer.ExecContext(ctx, `CHECKPOINT`)
		if err == nil || !strings.Contains(err.Error(), "other write transactions active") {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(checkpointEvery):
		}
	}
}
