//go:build cgo

package duckdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"

	engine "github.com/duckdb/duckdb-go/v2"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// AddScores stores scores that came apart from their exchanges. As for exchanges there is no index: what is stored is found by
// scanning the column key.
func (s *Store) AddScores(ctx context.Context, ls []record.Late) error {
	rows, err := store.FlattenLate(ls)
	if err != nil {
		return err
	}
	s.write.Lock()
	defer s.write.Unlock()
	if s.closed {
		return errClosed
	}
	fresh, err := store.NewLate(rows, func(keys string, each func(id, name, mark string)) error {
		return s.each(ctx, `SELECT id, name, mark FROM scores WHERE key IN (`+keys+`)`, nil, func(found *sql.Rows) error {
			var id, name, mark string
			err := found.Scan(&id, &name, &mark)
			each(id, name, mark)
			return err
		})
	})
	if err == nil {
		err = store.WithoutForgotten(fresh, func(query string, each func(func(...any) error) error) error {
			return s.each(ctx, query, nil, func(found *sql.Rows) error { return each(found.Scan) })
		})
	}
	if err == nil && len(fresh) > 0 {
		err = s.change(ctx, func(_ *sql.Tx, conn *sql.Conn) error {
			return conn.Raw(func(raw any) error { return appendLate(ctx, raw.(driver.Conn), fresh) })
		})
	}
	if err != nil {
		return fmt.Errorf("store: scores: %w", err)
	}
	keys := make([]int64, len(fresh))
	for i := range fresh {
		keys[i] = fresh[i].Key
	}
	s.judged.add(keys)
	return ctx.Err()
}

func (s *Store) loadJudged(ctx context.Context) error {
	return s.loadKeys(ctx, s.judged, `SELECT DISTINCT key FROM scores`)
}

func appendLate(ctx context.Context, conn driver.Conn, rows []store.LateRow) error {
	err := appender(ctx, conn, "scores", func(a *engine.Appender) error {
		for i := range rows {
			r := &rows[i]
			if err := a.AppendRow(r.Time, r.ID, r.Key, r.Name, r.Mark, optional(r.Value), r.Data); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return appender(ctx, conn, "reasons", func(a *engine.Appender) error {
		for i := range rows {
			r := &rows[i]
			if r.Reason == "" {
				continue
			}
			if err := a.AppendRow(r.Time, r.ID, r.Key, r.Name, r.Mark, r.Reason); err != nil {
				return err
			}
		}
		return nil
	})
}

// LateScores finds the scores that came apart from exchanges. It is asked for every batch, most of whose exchanges nobody has
// judged: to look ten thousand up in the table would take half as long as to store them.
func (s *Store) LateScores(ctx context.Context, exchanges []string, window time.Duration) ([]store.Scored, error) {
	keys := make([]int64, len(exchanges))
	for i, id := range exchanges {
		keys[i] = store.KeyOf(id)
	}
	judged := make([]string, 0, 16)
	for _, i := range s.judged.maybe(keys, nil) {
		judged = append(judged, exchanges[i])
	}
	found, err := store.FindScored(judged, window, dialect, "", func(query string, args []any, each func(func(...any) error) error) error {
		return s.each(ctx, query, args, func(rows *sql.Rows) error { return each(rows.Scan) })
	})
	if err != nil {
		return nil, fmt.Errorf("store: scores: %w", err)
	}
	return found, nil
}

// addLate gives exchanges the scores that came apart from them.
func (s *Store) addLate(ctx context.Context, xs []record.Exchange, reasons bool) error {
	return store.AddLate(xs, "", reasons, func(query string, each func(func(...any) error) error) error {
		return s.each(ctx, query, nil, func(rows *sql.Rows) error { return each(rows.Scan) })
	})
}
