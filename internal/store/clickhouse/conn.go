package clickhouse

import (
	"context"
	"fmt"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// conn is all that the store wants of an engine, so that its SQL also runs on one without a server.
type conn interface {
	// exec runs a statement; values are bound to question marks.
	exec(ctx context.Context, statement string, args ...any) error
	query(ctx context.Context, query string, args ...any) (rows, error)
	// insert puts n rows into the columns of a table as one block. The token lets the engine recognise a block that it
	// was sent before. Values have the types of the columns, pointers for nullable ones.
	insert(ctx context.Context, table, columns, token string, n int, row func(i int) []any) error
	close() error
}

// rows is what a query finds.
type rows interface {
	Next() bool
	Scan(to ...any) error
	Err() error
	Close() error
}

// asyncBelow is the number of rows under which the server gathers inserts of several clients into one block; it
// acknowledges when that is written. Larger ones are blocks of their own.
const asyncBelow = 1000

// native speaks ClickHouse's own protocol.
type native struct {
	conn driver.Conn
	// settings go with an insert of so many rows; the token is that of conn.insert.
	settings func(rows int, token string) driver.Settings
}

func insertSettings(rows int, token string) driver.Settings {
	settings := driver.Settings{
		// A file of history may have a day in each row.
		"max_partitions_per_insert_block": 0,
		// Written on the shard when the insert returns, not queued on this one.
		"distributed_foreground_insert":                      1,
		"insert_deduplicate":                                 1,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
	}
	if rows < asyncBelow {
		// The block that the server makes has no token of ours.
		settings["async_insert"], settings["wait_for_async_insert"], settings["async_insert_deduplicate"] = 1, 1, 0
		return settings
	}
	settings["async_insert"], settings["insert_deduplication_token"] = 0, token
	return settings
}

func (n native) exec(ctx context.Context, statement string, args ...any) error {
	return n.conn.Exec(ctx, statement, args...)
}

func (n native) query(ctx context.Context, query string, args ...any) (rows, error) {
	return n.conn.Query(ctx, query, args...)
}

func (n native) insert(ctx context.Context, table, columns, token string, count int, row func(i int) []any) error {
	batch, err := n.conn.PrepareBatch(driver.Context(ctx, driver.WithSettings(n.settings(count, token))), "INSERT INTO "+table+" ("+columns+")")
	if err != nil {
		return err
	}
	for i := range count {
		if err := batch.Append(row(i)...); err != nil {
			_ = batch.Abort()
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return batch.Send()
}

func (n native) close() error { return n.conn.Close() }
