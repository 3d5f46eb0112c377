package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// AddScores stores scores that came apart from their exchanges, reasons first: whoever sees a score sees its reason. Two processes
// that put the same one at the same moment put two equal rows, which are one for every reader.
func (s *Store) AddScores(ctx context.Context, ls []record.Late) error {
	rows, err := store.FlattenLate(ls)
	if err != nil {
		return err
	}
	s.put.Lock()
	defer s.put.Unlock()
	if rows, err = store.NewLate(rows, s.storedLate(ctx)); err != nil {
		return fmt.Errorf("store: scores: %w", err)
	}
	if len(rows) == 0 {
		return ctx.Err()
	}
	if err := store.WithoutForgotten(rows, s.ask(ctx)); err != nil {
		return fmt.Errorf("store: scores: %w", err)
	}
	marks := xxhash.New()
	var said []store.LateRow
	for i := range rows {
		_, _ = marks.WriteString(rows[i].ID + "\n" + rows[i].Name + "\n" + rows[i].Mark + "\n")
		if rows[i].Reason != "" {
			said = append(said, rows[i])
		}
	}
	token := strconv.FormatUint(marks.Sum64(), 16)
	if len(said) > 0 {
		err = s.conn.insert(ctx, "reasons", store.ReasonColumns, token, len(said), func(i int) []any {
			r := &said[i]
			return []any{r.Time, r.ID, r.Key, r.Name, r.Mark, r.Reason}
		})
		if err == nil {
			err = s.unsay(ctx, said)
		}
	}
	if err == nil {
		err = s.conn.insert(ctx, "scores", store.ScoreColumns, token, len(rows), func(i int) []any {
			r := &rows[i]
			return []any{r.Time, r.ID, r.Key, r.Name, r.Mark, r.Value, r.Data}
		})
	}
	if err != nil {
		return fmt.Errorf("store: scores: %w", err)
	}
	return nil
}

// unsay deletes reasons whose exchange another process has forgotten since they were looked at. Forget marks exchanges before it
// deletes reasons for the last time, so that one of the two finds them.
func (s *Store) unsay(ctx context.Context, said []store.LateRow) error {
	still := slices.Clone(said)
	if err := store.WithoutForgotten(still, s.ask(ctx)); err != nil {
		return err
	}
	for i := range still {
		if still[i].Reason == "" {
			if err := s.conn.exec(ctx, `ALTER TABLE reasons`+s.local()+s.on()+` DELETE WHERE key = ? AND id = ?`+wait, still[i].Key, still[i].ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask runs the queries that both engines share.
func (s *Store) ask(ctx context.Context) func(string, func(func(...any) error) error) error {
	return func(query string, each func(func(...any) error) error) error {
		return s.each(ctx, query, nil, func(r rows) error { return each(r.Scan) })
	}
}

// LateScores finds the scores that came apart from exchanges.
func (s *Store) LateScores(ctx context.Context, exchanges []string, window time.Duration) ([]store.Scored, error) {
	found, err := store.FindScored(exchanges, window, dialect, " FINAL", func(query string, args []any, each func(func(...any) error) error) error {
		return s.each(ctx, query+final, args, func(r rows) error { return each(r.Scan) })
	})
	if err != nil {
		return nil, fmt.Errorf("store: scores: %w", err)
	}
	return found, nil
}

func (s *Store) storedLate(ctx context.Context) func(string, func(id, name, mark string)) error {
	return func(keys string, each func(id, name, mark string)) error {
		return s.each(ctx, `SELECT id, name, mark FROM scores WHERE key IN (`+keys+`)`, nil, func(r rows) error {
			var id, name, mark string
			err := r.Scan(&id, &name, &mark)
			each(id, name, mark)
			return err
		})
	}
}

// addLate gives exchanges the scores that came apart from them.
func (s *Store) addLate(ctx context.Context, xs []record.Exchange, reasons bool) error {
	return store.AddLate(xs, " FINAL", reasons, func(query string, each func(func(...any) error) error) error {
		return s.ask(ctx)(query+final, each)
	})
}
