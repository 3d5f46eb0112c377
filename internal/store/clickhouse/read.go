package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

var dialect = store.Dialect{
	Contains: func(column string) string { return "position(" + column + ", ?) > 0" },
	// A bound time.Time would lose what is below a second.
	Time:     "fromUnixTimestamp64Micro(toInt64(?), 'UTC')",
	Bind:     func(t time.Time) any { return t.UnixMicro() },
	Score:    "x.score_values[indexOf(x.score_names, ?)]",
	HasScore: "has(x.score_names, ?)",
	Text:     "String",
	Int:      "Int64",
}

// final makes one row of those with the same time and id. Such rows are in the same partition.
const final = " SETTINGS do_not_merge_across_partitions_select_final = 1, distributed_product_mode = 'local'"

// Exchange finds one exchange with its content.
func (s *Store) Exchange(ctx context.Context, id string) (record.Exchange, error) {
	c := (&store.Filter{}).Where(dialect)
	c.Add("x.key = ?", store.KeyOf(id))
	c.Add("x.id = ?", id)
	found, err := s.rows(ctx, c, 1)
	var xs []record.Exchange
	switch {
	case err != nil:
	case len(found) == 0:
		err = store.ErrNotFound
	default:
		xs, err = s.withContent(ctx, found)
	}
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
	err = s.one(ctx, `SELECT data FROM snapshots FINAL WHERE id = ? LIMIT 1`, []any{id}, &data)
	if err == nil && data == "" {
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

// List fills a page from ranges of time, the newest first, each twice as long as the one before: the order of the table lets
// the server read only these, and FINAL is cheap on little.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	at, err := q.Prepare()
	if err != nil {
		return store.Page{}, err
	}
	page := store.Page{Exchanges: []record.Exchange{}}
	oldest, newest, err := s.span(ctx)
	if err != nil {
		return store.Page{}, fmt.Errorf("store: list: %w", err)
	}
	if newest.IsZero() {
		return page, nil
	}
	for from, to := range q.Windows(oldest, newest, at) {
		more, err := s.window(ctx, q, &page, from, to, at)
		if err != nil {
			return store.Page{}, fmt.Errorf("store: list: %w", err)
		}
		if more {
			last := page.Exchanges[len(page.Exchanges)-1]
			page.Next = store.Place{Time: last.Time, ID: last.ID}.Cursor()
			break
		}
	}
	if err := s.addLate(ctx, page.Exchanges, q.Content); err != nil {
		return store.Page{}, fmt.Errorf("store: list: %w", err)
	}
	return page, nil
}

// window adds what it holds to the page, and says whether there is more than the page has room for.
func (s *Store) window(ctx context.Context, q store.Query, page *store.Page, from, to time.Time, at *store.Place) (bool, error) {
	f := q.Filter
	f.From, f.To = from, to
	c := f.Where(dialect)
	if at != nil {
		c.Before(at)
	}
	if q.Text != "" {
		return s.searchWindow(ctx, q, page, c, from, to)
	}
	room := q.Limit - len(page.Exchanges)
	found, err := s.rows(ctx, c, room+1)
	if err != nil {
		return false, err
	}
	more := len(found) > room
	if more {
		found = found[:room]
	}
	var xs []record.Exchange
	if q.Content {
		xs, err = s.withContent(ctx, found)
	} else {
		xs, err = store.Exchanges(found, nil)
	}
	page.Exchanges = append(page.Exchanges, xs...)
	return more, err
}

// searchWindow reads all that the condition on the content finds, which is too much (see store.Filter.HasText). Rows of an
// exchange and its content are on the same shard.
func (s *Store) searchWindow(ctx context.Context, q store.Query, page *store.Page, c *store.Conditions, from, to time.Time) (bool, error) {
	c.Add("c.time >= "+dialect.Time, dialect.Bind(from))
	c.Add("c.time < "+dialect.Time, dialect.Bind(to))
	query := `SELECT ` + store.Qualified("x", store.ReadColumns) + `, ` + store.Qualified("c", store.ContentColumns) +
		` FROM exchanges AS x FINAL INNER JOIN content AS c FINAL ON c.id = x.id` + c.SQL() + ` ORDER BY x.time DESC, x.id DESC` + final
	more := false
	err := s.each(ctx, query, c.Args, func(found rows) error {
		var r store.Row
		var c store.ContentRow
		if err := found.Scan(append(r.Targets(), c.Targets()...)...); err != nil {
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

func (s *Store) rows(ctx context.Context, c *store.Conditions, limit int) ([]store.Row, error) {
	query := `SELECT ` + store.Qualified("x", store.ReadColumns) + ` FROM exchanges AS x FINAL` + c.SQL() + fmt.Sprintf(` ORDER BY x.time DESC, x.id DESC LIMIT %d`, limit) + final
	var out []store.Row
	err := s.each(ctx, query, c.Args, func(found rows) error {
		out = append(out, store.Row{})
		return found.Scan(out[len(out)-1].Targets()...)
	})
	return out, err
}

// withContent reads the rows' content: time and key are what the server can skip by.
func (s *Store) withContent(ctx context.Context, found []store.Row) ([]record.Exchange, error) {
	if len(found) == 0 {
		return []record.Exchange{}, nil
	}
	contents := make(map[string]*store.ContentRow, len(found))
	query := `SELECT ` + store.ContentColumns + ` FROM content FINAL WHERE time >= ` + dialect.Time + ` AND time <= ` + dialect.Time + ` AND key IN (` + store.Keys(found) + `)` + final
	args := []any{dialect.Bind(found[len(found)-1].Time), dialect.Bind(found[0].Time)}
	err := s.each(ctx, query, args, func(r rows) error {
		var c store.ContentRow
		if err := r.Scan(c.Targets()...); err != nil {
			return err
		}
		contents[c.ID] = &c
		return nil
	})
	if err != nil {
		return nil, err
	}
	return store.Exchanges(found, contents)
}

// span is the range of the stored exchanges' times, zero when there are none.
func (s *Store) span(ctx context.Context) (oldest, newest time.Time, err error) {
	for _, end := range []struct {
		order string
		to    *time.Time
	}{{"ASC", &oldest}, {"DESC", &newest}} {
		if err := s.one(ctx, `SELECT time FROM exchanges ORDER BY time `+end.order+` LIMIT 1`, nil, end.to); err != nil {
			return oldest, newest, err
		}
		*end.to = end.to.UTC()
	}
	return oldest, newest, nil
}

// Rollups returns roll-ups.
func (s *Store) Rollups(ctx context.Context, q store.RollupQuery) ([]record.Rollup, error) {
	c := q.Where(dialect)
	out := []record.Rollup{}
	err := s.each(ctx, `SELECT x.data FROM rollups AS x FINAL`+c.SQL()+` ORDER BY x.start, x.id`+final, c.Args, func(r rows) error {
		var data string
		if err := r.Scan(&data); err != nil {
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

// Stats counts what is there. On a cluster Bytes are those of the node that was asked.
func (s *Store) Stats(ctx context.Context) (store.Stats, error) {
	var st store.Stats
	var version int32
	err := s.one(ctx, `SELECT 'clickhouse ' || version(), (SELECT toInt32(max(version)) FROM telltale_schema),
		(SELECT toInt64(count()) FROM exchanges FINAL), (SELECT toInt64(count()) FROM content FINAL WHERE said),
		(SELECT toInt64(count()) FROM snapshots FINAL), (SELECT toInt64(count()) FROM rollups FINAL),
		(SELECT toInt64(sum(bytes_on_disk)) FROM system.parts WHERE database = currentDatabase())`, nil,
		&st.Engine, &version, &st.Exchanges, &st.Content, &st.Snapshots, &st.Rollups, &st.Bytes)
	st.Schema = int(version)
	if err == nil {
		st.Oldest, st.Newest, err = s.span(ctx)
	}
	if err != nil {
		return st, fmt.Errorf("store: stats: %w", err)
	}
	return st, nil
}

// Export writes Parquet.
func (s *Store) Export(ctx context.Context, q store.Query, w io.Writer) (int64, error) {
	return store.ExportPages(ctx, s.List, q, w)
}

func list(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }
