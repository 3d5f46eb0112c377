//go:build cgo

package duckdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	engine "github.com/duckdb/duckdb-go/v2"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// Put stores a batch in one transaction. Callers may flatten their batches at the same time; writing is one after the other.
func (s *Store) Put(ctx context.Context, xs []record.Exchange) (int, error) {
	rows, contents, err := store.FlattenAll(xs)
	if err != nil {
		return 0, err
	}
	s.write.Lock()
	defer s.write.Unlock()
	if s.closed {
		return 0, errClosed
	}
	fresh, err := s.fresh(ctx, rows)
	if err != nil {
		return 0, fmt.Errorf("store: put: %w", err)
	}
	if len(fresh) == 0 {
		return 0, ctx.Err()
	}
	err = s.change(ctx, func(_ *sql.Tx, conn *sql.Conn) error {
		return conn.Raw(func(raw any) error {
			if err := appendRows(ctx, raw.(driver.Conn), rows, fresh); err != nil {
				return err
			}
			return appendContents(ctx, raw.(driver.Conn), contents, fresh)
		})
	})
	if err != nil {
		return 0, fmt.Errorf("store: put: %w", err)
	}
	keys := make([]int64, len(fresh))
	for i, n := range fresh {
		keys[i] = rows[n].Key
	}
	s.seen.add(keys)
	s.keepPace(ctx, rows, contents, time.Now())
	return len(fresh), nil
}

// fresh returns the indexes of the rows to store: the first of each id, without those that are in the table.
func (s *Store) fresh(ctx context.Context, rows []store.Row) ([]int, error) {
	keys := make([]int64, len(rows))
	known := make(map[string]bool, len(rows))
	fresh := make([]int, 0, len(rows))
	for i := range rows {
		keys[i] = rows[i].Key
		if _, twice := known[rows[i].ID]; !twice {
			known[rows[i].ID] = false
			fresh = append(fresh, i)
		}
	}
	doubt := s.seen.maybe(keys, nil)
	if len(doubt) == 0 {
		return fresh, nil
	}
	var sqlText strings.Builder
	sqlText.WriteString(`SELECT id FROM exchanges WHERE key IN (`)
	for n, i := range doubt {
		if n > 0 {
			sqlText.WriteByte(',')
		}
		sqlText.WriteString(strconv.FormatInt(keys[i], 10))
	}
	sqlText.WriteByte(')')
	err := s.each(ctx, sqlText.String(), nil, func(rows *sql.Rows) error {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		if _, asked := known[id]; asked {
			known[id] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	kept := fresh[:0]
	for _, i := range fresh {
		if !known[rows[i].ID] {
			kept = append(kept, i)
		}
	}
	return kept, nil
}

// appender runs f with an appender for the table. Whatever f appended is in the transaction when it returns nil.
func appender(ctx context.Context, conn driver.Conn, table string, f func(*engine.Appender) error) error {
	a, err := engine.NewAppenderFromConn(conn, "", table)
	if err != nil {
		return err
	}
	if err := f(a); err != nil {
		return errors.Join(err, a.Clear(), a.Close())
	}
	return a.CloseWithCancel(ctx)
}

func appendRows(ctx context.Context, conn driver.Conn, rows []store.Row, which []int) error {
	return appender(ctx, conn, "exchanges", func(a *engine.Appender) error {
		var v [49]driver.Value
		for n, i := range which {
			if n%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if err := a.AppendRow(values(&rows[i], v[:0])...); err != nil {
				return err
			}
		}
		return nil
	})
}

// values are the columns of table exchanges, in their order.
func values(r *store.Row, v []driver.Value) []driver.Value {
	v = append(v, r.Time, r.ID, r.Key, r.Source, r.Route, r.Variant, r.Snapshot, r.Propensity, r.Inclusion, r.API, r.Stream,
		r.Provider, r.Upstream, r.Model, r.Served, r.Fingerprint, r.Endpoint, r.Status, r.ErrorKind, r.Error, r.FinishReason,
		r.Refused, r.Failed, optional(r.Latency), optional(r.TTFT), optional(r.Cost), optional(r.PromptTokens),
		optional(r.CompletionTokens), optional(r.TotalTokens), optional(r.CachedTokens), optional(r.ReasoningTokens), r.User,
		r.Session, r.Tags, r.Client, r.Retries, r.Attempts, r.TraceID, r.SpanID, r.ParentID, r.InputHash, r.InputBytes,
		r.OutputBytes, r.Redaction, r.Params, r.Detail)
	if len(r.ScoreNames) == 0 {
		return append(v, nil, nil)
	}
	return append(v, r.ScoreNames, r.ScoreValues)
}

func optional[T any](p *T) driver.Value {
	if p == nil {
		return nil
	}
	return *p
}

func appendContents(ctx context.Context, conn driver.Conn, contents []*store.ContentRow, which []int) error {
	return appender(ctx, conn, "content", func(a *engine.Appender) error {
		for n, i := range which {
			if n%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			c := contents[i]
			if c == nil {
				continue
			}
			err := a.AppendRow(c.Time, c.ID, c.Key, c.Said, c.System, c.Input, c.Output, c.ToolCalls, c.Refusal, c.Body, c.TopK,
				[]byte(c.Embedding), c.Reasons)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// PutSnapshots stores the snapshots that are not there yet.
func (s *Store) PutSnapshots(ctx context.Context, ss []record.Snapshot) error {
	return s.upsert(ctx, `INSERT OR IGNORE INTO snapshots (id, data) VALUES (?, ?)`, len(ss), func(i int) ([]any, error) {
		data, err := json.Marshal(ss[i])
		return []any{ss[i].ID, string(data)}, err
	})
}

// PutRollups stores roll-ups, replacing those with the same ID.
func (s *Store) PutRollups(ctx context.Context, rs []record.Rollup) error {
	const insert = `INSERT OR REPLACE INTO rollups (id, start, route, variant, segment, data) VALUES (?, ?, ?, ?, ?, ?)`
	return s.upsert(ctx, insert, len(rs), func(i int) ([]any, error) {
		data, err := json.Marshal(rs[i])
		return []any{rs[i].ID, rs[i].Start.UTC(), rs[i].Route, rs[i].Variant, rs[i].Segment, string(data)}, err
	})
}

func (s *Store) upsert(ctx context.Context, statement string, n int, args func(int) ([]any, error)) error {
	if n == 0 {
		return nil
	}
	s.write.Lock()
	defer s.write.Unlock()
	return s.change(ctx, func(tx *sql.Tx, _ *sql.Conn) error {
		stmt, err := tx.PrepareContext(ctx, statement)
		if err != nil {
			return err
		}
		defer func() { _ = stmt.Close() }()
		for i := range n {
			a, err := args(i)
			if err == nil {
				_, err = stmt.ExecContext(ctx, a...)
			}
			if err != nil {
				return fmt.Errorf("store: put: %w", err)
			}
		}
		return nil
	})
}

// startSeen fills the filters with what is stored, beside everything else. Until then every batch is compared with the tables.
func (s *Store) startSeen() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.load.Go(func() {
		if s.loadJudged(ctx) == nil {
			s.judged.done()
		}
		if s.loadSeen(ctx) == nil {
			s.seen.done()
		}
	})
}

// loadSeen needs no care for what is put meanwhile: Put adds its keys after its commit, and those committed before the
// query below starts are in its result.
func (s *Store) loadSeen(ctx context.Context) error {
	var n int
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM exchanges`).Scan(&n); err != nil {
		return err
	}
	s.seen.reserve(max(n+n/4, firstRoom))
	return s.loadKeys(ctx, s.seen, `SELECT key FROM exchanges`)
}

func (s *Store) loadKeys(ctx context.Context, to *seen, query string) error {
	batch := make([]int64, 0, 4096)
	err := s.each(ctx, query, nil, func(rows *sql.Rows) error {
		var key int64
		if err := rows.Scan(&key); err != nil {
			return err
		}
		if batch = append(batch, key); len(batch) == cap(batch) {
			to.add(batch)
			batch = batch[:0]
		}
		return nil
	})
	to.add(batch)
	return err
}

// each runs a query and calls f for each row.
func (s *Store) each(ctx context.Context, query string, args []any, f func(*sql.Rows) error) error {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
