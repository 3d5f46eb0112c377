//go:build cgo

package duckdb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

var dialect = store.Dialect{
	Contains: func(column string) string { return "contains(" + column + ", ?)" },
	Time:     "?",
	Bind:     func(t time.Time) any { return t.UTC() },
	Score:    "x.score_values[list_position(x.score_names, ?)]",
	HasScore: "list_contains(x.score_names, ?)",
	Text:     "VARCHAR",
	Int:      "BIGINT",
}

// Exchange finds one exchange with its content.
func (s *Store) Exchange(ctx context.Context, id string) (record.Exchange, error) {
	c := (&store.Filter{}).Where(dialect)
	c.Add("x.key = ?", store.KeyOf(id))
	c.Add("x.id = ?", id)
	rows, err := s.rows(ctx, c, 1)
	if err != nil {
		return record.Exchange{}, fmt.Errorf("store: exchange %s: %w", id, err)
	}
	if len(rows) == 0 {
		return record.Exchange{}, fmt.Errorf("store: exchange %s: %w", id, store.ErrNotFound)
	}
	xs, err := s.withContent(ctx, rows)
	if err == nil {
		err = s.addLate(ctx, xs, true)
	}
	if err != nil {
		return record.Exchange{}, fmt.Errorf("store: exchange %s: %w", id, err)
	}
	return xs[0], nil
}

// Snapshot finds one snapshot.
func (s *Store) Snapshot(ctx context.Context, id string) (snap record.Snapshot, err error) {
	var data string
	err = s.db.QueryRowContext(ctx, `SELECT data FROM snapshots WHERE id = ?`, id).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	if err == nil {
		err = json.Unmarshal([]byte(data), &snap)
	}
	if err != nil {
		return snap, fmt.Errorf("store: snapshot %s: %w", id, err)
	}
	return snap, nil
}

// List returns a page.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	page, err := s.list(ctx, q)
	if err != nil {
		return store.Page{}, err
	}
	if err := s.addLate(ctx, page.Exchanges, q.Content); err != nil {
		return store.Page{}, fmt.Errorf("store: list: %w", err)
	}
	return page, nil
}

func (s *Store) list(ctx context.Context, q store.Query) (store.Page, error) {
	at, err := q.Prepare()
	if err != nil {
		return store.Page{}, err
	}
	if q.Text != "" {
		return s.search(ctx, q, at)
	}
	rows, err := s.newest(ctx, q, at)
	if err != nil {
		return store.Page{}, fmt.Errorf("store: list: %w", err)
	}
	var page store.Page
	if len(rows) > q.Limit {
		rows = rows[:q.Limit]
		page.Next = store.Place{Time: rows[q.Limit-1].Time, ID: rows[q.Limit-1].ID}.Cursor()
	}
	if q.Content {
		page.Exchanges, err = s.withContent(ctx, rows)
	} else {
		page.Exchanges, err = store.Exchanges(rows, nil)
	}
	if err != nil {
		return store.Page{}, fmt.Errorf("store: list: %w", err)
	}
	return page, nil
}

func (s *Store) rows(ctx context.Context, c *store.Conditions, limit int) ([]store.Row, error) {
	query := `SELECT ` + store.ReadColumns + ` FROM exchanges x` + c.SQL() + fmt.Sprintf(` ORDER BY x.time DESC, x.id DESC LIMIT %d`, limit)
	var out []store.Row
	err := s.each(ctx, query, c.Args, func(rows *sql.Rows) error {
		out = append(out, store.Row{})
		return rows.Scan(out[len(out)-1].Targets()...)
	})
	return out, err
}

// newest finds a page's rows, and one more if there are more.
func (s *Store) newest(ctx context.Context, q store.Query, at *store.Place) ([]store.Row, error) {
	if len(q.Scores) > 0 {
		return s.newestScored(ctx, q, at)
	}
	c := q.Where(dialect)
	if at != nil {
		c.Before(at)
	}
	return s.rows(ctx, c, q.Limit+1)
}

// newestScored is newest for a query with scores, by ranges of time as in search: the lists of scores are long to read, and
// those that came apart are joined, which the engine would do for every exchange before it knows the newest.
func (s *Store) newestScored(ctx context.Context, q store.Query, at *store.Place) ([]store.Row, error) {
	oldest, newest, err := s.span(ctx)
	if err != nil || newest.IsZero() {
		return nil, err
	}
	var late bool
	query, args := q.LateFound()
	if err := s.db.QueryRowContext(ctx, query, args...).Scan(&late); err != nil {
		return nil, err
	}
	d := dialect
	d.NoneApart = !late
	var out []store.Row
	for from, to := range q.Windows(oldest, newest, at) {
		f := q.Filter
		f.From, f.To = from, to
		c := f.Where(d)
		if at != nil {
			c.Before(at)
		}
		rows, err := s.rows(ctx, c, q.Limit+1-len(out))
		if err != nil {
			return nil, err
		}
		if out = append(out, rows...); len(out) > q.Limit {
			break
		}
	}
	return out, nil
}

// withContent reads the rows' content: the range of time lets DuckDB skip most of the table.
func (s *Store) withContent(ctx context.Context, rows []store.Row) ([]record.Exchange, error) {
	if len(rows) == 0 {
		return []record.Exchange{}, nil
	}
	contents := make(map[string]*store.ContentRow, len(rows))
	query := `SELECT ` + store.ContentColumns + ` FROM content WHERE time BETWEEN ? AND ? AND key IN (` + store.Keys(rows) + `)`
	err := s.each(ctx, query, []any{rows[len(rows)-1].Time.UTC(), rows[0].Time.UTC()}, func(rows *sql.Rows) error {
		var c store.ContentRow
		if err := rows.Scan(c.Targets()...); err != nil {
			return err
		}
		contents[c.ID] = &c
		return nil
	})
	if err != nil {
		return nil, err
	}
	return store.Exchanges(rows, contents)
}

// search finds exchanges by text. The condition finds some too many (see store.Filter.HasText), so the page is filled
// from as many queries as it takes. Ranges of time are searched from the newest back, each twice as long as the one before:
// a query for the whole table would join all of it before it knows the newest.
func (s *Store) search(ctx context.Context, q store.Query, at *store.Place) (store.Page, error) {
	page := store.Page{Exchanges: []record.Exchange{}}
	oldest, newest, err := s.span(ctx)
	if err != nil || newest.IsZero() {
		return page, err
	}
	for from, to := range q.Windows(oldest, newest, at) {
		more, err := s.searchWindow(ctx, q, &page, from, to, at)
		if err != nil {
			return store.Page{}, fmt.Errorf("store: list: %w", err)
		}
		if more {
			last := page.Exchanges[len(page.Exchanges)-1]
			page.Next = store.Place{Time: last.Time, ID: last.ID}.Cursor()
			break
		}
	}
	return page, nil
}

// searchWindow adds what the window holds to the page, and says whether there is more than the page has room for.
func (s *Store) searchWindow(ctx context.Context, q store.Query, page *store.Page, from, to time.Time, at *store.Place) (bool, error) {
	f := q.Filter
	f.From, f.To = from, to
	c := f.Where(dialect)
	if at != nil {
		c.Before(at)
	}
	// Also a bound for the other table, which the engine would not conclude.
	c.Add("c.time >= ?", from.UTC())
	c.Add("c.time < ?", to.UTC())
	query := `SELECT ` + store.Qualified("x", store.ReadColumns) + `, ` + store.Qualified("c", store.ContentColumns) +
		` FROM exchanges x JOIN content c ON c.key = x.key AND c.id = x.id` + c.SQL() + ` ORDER BY x.time DESC, x.id DESC`
	more := false
	err := s.each(ctx, query, c.Args, func(rows *sql.Rows) error {
		var r store.Row
		var c store.ContentRow
		if err := rows.Scan(append(r.Targets(), c.Targets()...)...); err != nil {
			return err
		}
		x, ok, err := q.Found(&r, &c)
		if err != nil || !ok {
			return err
		}
		if len(page.Exchanges) == q.Limit {
			more = true
			return errEnough
		}
		page.Exchanges = append(page.Exchanges, x)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return more, err
}

var errEnough = errors.New("enough")

// span is the range of the stored exchanges' times, zero when there are none. DuckDB knows it from its statistics.
func (s *Store) span(ctx context.Context) (oldest, newest time.Time, err error) {
	var from, to sql.NullTime
	err = s.db.QueryRowContext(ctx, `SELECT min(time), max(time) FROM exchanges`).Scan(&from, &to)
	return from.Time.UTC(), to.Time.UTC(), err
}

// Rollups returns roll-ups.
func (s *Store) Rollups(ctx context.Context, q store.RollupQuery) ([]record.Rollup, error) {
	c := q.Where(dialect)
	out := []record.Rollup{}
	err := s.each(ctx, `SELECT x.data FROM rollups x`+c.SQL()+` ORDER BY x.start, x.id`, c.Args, func(rows *sql.Rows) error {
		var data string
		if err := rows.Scan(&data); err != nil {
			return err
		}
		out = append(out, record.Rollup{})
		return json.Unmarshal([]byte(data), &out[len(out)-1])
	})
	if err != nil {
		return nil, fmt.Errorf("store: rollups: %w", err)
	}
	return out, nil
}

// Stats counts what is there.
func (s *Store) Stats(ctx context.Context) (store.Stats, error) {
	var st store.Stats
	err := s.db.QueryRowContext(ctx, `SELECT 'duckdb ' || version(), (SELECT max(version) FROM telltale_schema),
		(SELECT count(*) FROM exchanges), (SELECT count(*) FROM content WHERE said), (SELECT count(*) FROM snapshots),
		(SELECT count(*) FROM rollups)`).Scan(&st.Engine, &st.Schema, &st.Exchanges, &st.Content, &st.Snapshots, &st.Rollups)
	if err == nil {
		st.Oldest, st.Newest, err = s.span(ctx)
	}
	if err == nil {
		err = s.db.QueryRowContext(ctx, `SELECT free_blocks * block_size FROM pragma_database_size() WHERE database_name = 'exchanges_db'`).Scan(&st.Free)
	}
	if err != nil {
		return st, fmt.Errorf("store: stats: %w", err)
	}
	for _, name := range []string{s.path, s.path + ".wal"} {
		if info, err := os.Stat(name); err == nil {
			st.Bytes += info.Size()
		}
	}
	return st, nil
}
