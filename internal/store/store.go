// Package store says how exchanges are kept and found again, and holds what its two implementations share: the flat row of
// an exchange, the conditions of a query as SQL, cursors, following and exporting.
//
// It is not a queue: who puts records in batches them, and tries again what failed; putting the same exchange twice keeps
// one. It does not redact, and refuses what has not been redacted. It does not compute roll-ups, it keeps them.
//
// Data passes through it so: record.Exchange → Row and ContentRow (flat, in two tables, because content is deleted earlier
// than the rest) → the implementation's batch insert; and back the same way. Package duckdb is the default and lives in the
// process; package clickhouse is for many machines; package storetest holds what both must do.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Store keeps exchanges, the snapshots they belong to and the roll-ups made of them. All methods may be called at the same
// time from several goroutines, stop when their context ends, and return an error that wraps its cause.
type Store interface {
	// Put stores a batch whole or not at all and says how many of its exchanges were new. Exchanges are told apart by
	// ID: one that is there, or twice in the batch, is left as it is. A batch of 1,000 to 10,000 is fastest. A record
	// that cannot be stored at all gives an *InvalidError, and nothing of the batch is stored.
	Put(ctx context.Context, xs []record.Exchange) (added int, err error)
	// PutSnapshots stores what is not there yet.
	PutSnapshots(ctx context.Context, ss []record.Snapshot) error
	// PutRollups stores roll-ups; one with the same ID is replaced.
	PutRollups(ctx context.Context, rs []record.Rollup) error
	// AddScores stores scores that came apart from their exchanges, whole or not at all. One that is there, by exchange, name and
	// mark, is left as it is. They are found with their exchange, also when that comes later, after the scores that it came
	// with. One that cannot be stored at all gives an *InvalidError.
	AddScores(ctx context.Context, ls []record.Late) error
	// LateScores returns all scores that came apart from exchanges of certain windows: those windows, in multiples of the
	// length since 1970, in which one of these exchanges lies that has such a score. In order of time and ID of the exchange,
	// then as they were made; without reasons.
	LateScores(ctx context.Context, exchanges []string, window time.Duration) ([]Scored, error)

	// Exchange returns one exchange with its content, or ErrNotFound.
	Exchange(ctx context.Context, id string) (record.Exchange, error)
	// Snapshot returns one snapshot, or ErrNotFound.
	Snapshot(ctx context.Context, id string) (record.Snapshot, error)
	// List returns a page of exchanges, newest first. Without Query.Content the content is not read and Exchange.Content
	// is nil, as are Embedding, TopK and the scores' reasons.
	List(ctx context.Context, q Query) (Page, error)
	// Series returns counts, errors, quantiles, tokens and cost by interval and group, ordered by time, then group.
	// Intervals without an exchange are left out.
	Series(ctx context.Context, q SeriesQuery) ([]Point, error)
	// Rollups returns the roll-ups whose window starts within the range, ordered by start, then ID.
	Rollups(ctx context.Context, q RollupQuery) ([]record.Rollup, error)

	// Delete removes what is older than its class of data is kept. Content goes with its exchange at the latest.
	Delete(ctx context.Context, keep config.Retention, now time.Time) (Deleted, error)
	// Forget removes the content of the exchanges of these users, named as they are stored, and whatever identifies
	// them: user, session, tags, error text, parameters, trace ids, input hash. The measurements stay. Their Redaction becomes
	// Forgotten, and scores that come later lose their reasons.
	Forget(ctx context.Context, users []string) (Deleted, error)
	// Export writes all exchanges that the query's filter finds as Parquet, in no particular order, and says how many.
	// Limit and Cursor are not used; Content says whether the content columns are filled.
	Export(ctx context.Context, q Query, w io.Writer) (int64, error)
	Stats(ctx context.Context) (Stats, error)
	// Close waits for what is under way and makes it durable.
	Close() error
}

// Deleted counts rows that were removed. For Forget, Exchanges counts those that were made anonymous.
type Deleted struct {
	Exchanges int64 `json:"exchanges"`
	Content   int64 `json:"content"`
	Rollups   int64 `json:"rollups"`
}

// Stats says what is there. Times are zero when nothing is.
type Stats struct {
	Engine    string    `json:"engine"` // duckdb or clickhouse, with its version
	Schema    int       `json:"schema"` // version of the tables
	Exchanges int64     `json:"exchanges"`
	Content   int64     `json:"content"` // exchanges whose content is there
	Snapshots int64     `json:"snapshots"`
	Rollups   int64     `json:"rollups"`
	Bytes     int64     `json:"bytes"` // on disk
	Free      int64     `json:"free"`  // of Bytes, what new records will use first
	Oldest    time.Time `json:"oldest"`
	Newest    time.Time `json:"newest"`
}

// Forgotten is Exchange.Redaction of an exchange whose user has been forgotten.
const Forgotten = "forgotten"

// ErrNotFound says that no record has the ID.
var ErrNotFound = errors.New("not found")

// QueryError is a mistake in a query: a value that cannot be used, and what was expected.
type QueryError struct {
	Field string
	Value string
	Want  string
}

func (e *QueryError) Error() string {
	return fmt.Sprintf("query: %s %q: want %s", e.Field, e.Value, e.Want)
}

// InvalidError is a record that can never be stored. Its place in the batch lets the caller leave it out.
type InvalidError struct {
	Index int
	ID    string
	Why   string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("exchange %d of the batch (id %q) cannot be stored: %s", e.Index, e.ID, e.Why)
}

// LockedError says that another process has the database open.
type LockedError struct {
	Path   string
	Holder string // such as "process 4711", or empty
}

func (e *LockedError) Error() string {
	by := "another process"
	if e.Holder != "" {
		by = e.Holder
	}
	return fmt.Sprintf("%s is in use by %s: only one process at a time can open it. Stop that one, or ask it over its HTTP API", e.Path, by)
}

// SchemaError says that the tables were made by a newer version.
type SchemaError struct {
	Path string
	Has  int
	Want int // the newest that this version knows
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("%s has tables of version %d, this telltale knows versions up to %d: use the telltale that wrote it, or a newer one. Nothing was changed", e.Path, e.Has, e.Want)
}
