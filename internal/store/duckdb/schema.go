//go:build cgo

package duckdb

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/telltale-llm/telltale/internal/store"
)

// storageVersion is the format of new files: the first that compresses long texts with zstd.
const storageVersion = "v1.2.0"

// migrations bring the tables from version n to n+1, in order. One that was released is never changed.
//
// exchanges has no index: appending to one would cost more than everything else. What is looked for by id is found by
// scanning the column key, eight bytes a row. Rows come nearly in order of time, so that a range of time skips the rest by
// the minimum and maximum that DuckDB keeps of each 122,880 rows. The columns of content and those that identify a person
// are plain texts: DuckDB changes such columns in place, and forgetting depends on it.
var migrations = []string{`
CREATE TABLE exchanges (
	time TIMESTAMP NOT NULL, id VARCHAR NOT NULL, key BIGINT NOT NULL,
	source VARCHAR, route VARCHAR, variant VARCHAR, snapshot VARCHAR, propensity DOUBLE, inclusion DOUBLE,
	api VARCHAR, stream BOOLEAN, provider VARCHAR, upstream VARCHAR, model VARCHAR, served VARCHAR, fingerprint VARCHAR,
	endpoint VARCHAR, status INTEGER, error_kind VARCHAR, error VARCHAR, finish_reason VARCHAR, refused BOOLEAN,
	failed BOOLEAN, latency DOUBLE, ttft DOUBLE, cost DOUBLE,
	prompt_tokens BIGINT, completion_tokens BIGINT, total_tokens BIGINT, cached_tokens BIGINT, reasoning_tokens BIGINT,
	user_id VARCHAR, session VARCHAR, tags VARCHAR, client VARCHAR, retries INTEGER, attempts INTEGER,
	trace_id VARCHAR, span_id VARCHAR, parent_id VARCHAR, input_hash VARCHAR, input_bytes BIGINT, output_bytes BIGINT,
	redaction VARCHAR, params VARCHAR, detail VARCHAR, score_names VARCHAR[], score_values DOUBLE[]
);
CREATE TABLE content (
	time TIMESTAMP NOT NULL, id VARCHAR NOT NULL, key BIGINT NOT NULL, said BOOLEAN,
	system VARCHAR USING COMPRESSION zstd, input VARCHAR USING COMPRESSION zstd, output VARCHAR USING COMPRESSION zstd,
	tool_calls VARCHAR, refusal VARCHAR, body VARCHAR USING COMPRESSION zstd, top_k VARCHAR USING COMPRESSION zstd,
	embedding BLOB, reasons VARCHAR
);
CREATE TABLE snapshots (id VARCHAR PRIMARY KEY, data VARCHAR NOT NULL);
CREATE TABLE rollups (
	id VARCHAR PRIMARY KEY, start TIMESTAMP NOT NULL, route VARCHAR, variant VARCHAR, segment VARCHAR, data VARCHAR NOT NULL
);
`, `
CREATE TABLE scores (
	time TIMESTAMP NOT NULL, id VARCHAR NOT NULL, key BIGINT NOT NULL, name VARCHAR, mark VARCHAR, value DOUBLE, data VARCHAR
);
CREATE TABLE reasons (
	time TIMESTAMP NOT NULL, id VARCHAR NOT NULL, key BIGINT NOT NULL, name VARCHAR, mark VARCHAR, reason VARCHAR
);
`}

// migrate makes or updates the tables, each step with its version in one transaction.
func migrate(ctx context.Context, conn *sql.Conn, path string, steps []string) error {
	const table = `CREATE TABLE IF NOT EXISTS telltale_schema (version INTEGER NOT NULL, applied TIMESTAMP NOT NULL DEFAULT current_timestamp)`
	if _, err := conn.ExecContext(ctx, table); err != nil {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	has, err := schemaVersion(ctx, conn)
	if err != nil {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	if has > len(steps) {
		return &store.SchemaError{Path: path, Has: has, Want: len(steps)}
	}
	for i := has; i < len(steps); i++ {
		if err := step(ctx, conn, i+1, steps[i]); err != nil {
			return fmt.Errorf("store: %s: tables to version %d: %w", path, i+1, err)
		}
	}
	return nil
}

func schemaVersion(ctx context.Context, conn interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (int, error) {
	var v int
	err := conn.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM telltale_schema`).Scan(&v)
	return v, err
}

func step(ctx context.Context, conn *sql.Conn, version int, statements string) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, statements); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO telltale_schema (version) VALUES (?)`, version); err != nil {
		return err
	}
	return tx.Commit()
}
