//go:build cgo

package duckdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	engine "github.com/duckdb/duckdb-go/v2"

	"github.com/telltale-llm/telltale/internal/store"
)

// Store is an open database.
type Store struct {
	path string
	opts Options
	lock *os.File
	conn *engine.Connector
	db   *sql.DB

	// write is held by whoever changes tables: DuckDB lets transactions that change the same rows fail, here they wait.
	write  sync.Mutex
	writer *sql.Conn
	pace   pace
	seen   *seen
	judged *seen // exchanges with scores that came apart from them
	load   sync.WaitGroup
	stop   context.CancelFunc
	closed bool

	// The constants of these names, or what a test wants.
	exactRows, small int64
}

var _ store.Store = (*Store)(nil)

// Open opens the database file of a directory and makes both if they are not there. Another process that has it open gives a
// *store.LockedError, tables of a newer telltale a *store.SchemaError. The context bounds opening only.
func Open(ctx context.Context, dir string, opts Options) (*Store, error) {
	return open(ctx, dir, opts, migrations)
}

func open(ctx context.Context, dir string, opts Options, steps []string) (_ *Store, err error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &Store{path: filepath.Join(dir, File), opts: opts, seen: newSeen(opts.SeenBytes), judged: newSeen(opts.SeenBytes), exactRows: exactRows, small: small}
	if s.lock, err = acquire(s.path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.release()
		}
	}()
	giveBack()
	// The file is attached to an instance of its own. Opened by its path it would come from a cache of instances, in which
	// opening waits, spinning, for a former instance of the same file that has not quite ended.
	if s.conn, err = engine.NewConnector("", s.configure(dir)); err != nil {
		return nil, fmt.Errorf("store: open %s: %w", s.path, err)
	}
	s.db = sql.OpenDB(s.conn)
	// Readers share the engine's threads; more connections would only queue there.
	s.db.SetMaxOpenConns(8)
	s.db.SetMaxIdleConns(4)
	if s.writer, err = s.db.Conn(ctx); err != nil {
		return nil, fmt.Errorf("store: open %s: %w", s.path, err)
	}
	if err := migrate(ctx, s.writer, s.path, steps); err != nil {
		return nil, err
	}
	if err := os.Chmod(s.path, 0o600); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.startSeen()
	return s, nil
}

// configure prepares each connection, and attaches the file with the first: attaching again would change nothing, and yet count
// as a change that a CHECKPOINT must not meet.
func (s *Store) configure(dir string) func(driver.ExecerContext) error {
	settings := []string{
		fmt.Sprintf("SET memory_limit = '%s'", s.opts.Memory),
		fmt.Sprintf("SET threads = %d", s.opts.Threads),
		fmt.Sprintf("SET temp_directory = '%s'", quote(filepath.Join(dir, "tmp"))),
		// Rows are read back in order of time, never of insertion.
		"SET preserve_insertion_order = false",
		// Else a checkpoint merges up to three row groups' worth of rows from small ones, uncompressed in memory: hundreds of
		// megabytes, a second or more, and the file grows by as much. Rows of one checkpoint stay together instead, which also keeps
		// those of different age out of each other's blocks.
		"SET max_vacuum_tasks = 0",
		"SET TimeZone = 'UTC'",
	}
	attach := fmt.Sprintf("ATTACH '%s' AS exchanges_db (STORAGE_VERSION '%s')", quote(s.path), storageVersion)
	var mu sync.Mutex
	attached := false
	return func(conn driver.ExecerContext) error {
		do := func(query string) error {
			if _, err := conn.ExecContext(context.Background(), query, nil); err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
			return nil
		}
		for _, set := range settings {
			if err := do(set); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if !attached {
			// keepPace changes it, for all connections.
			if err := do(fmt.Sprintf("SET wal_autocheckpoint = '%s'", s.opts.Checkpoint)); err != nil {
				return err
			}
			if err := do(attach); err != nil {
				return err
			}
			attached = true
		}
		return do("USE exchanges_db")
	}
}

// Close waits for the write under way and writes everything into the database file.
func (s *Store) Close() error {
	s.write.Lock()
	defer s.write.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.release()
}

// release closes what is open, in the opposite order.
func (s *Store) release() error {
	var errs []error
	if s.stop != nil {
		s.stop()
		s.load.Wait()
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// change runs f in a transaction on the one connection that writes.
func (s *Store) change(ctx context.Context, f func(*sql.Tx, *sql.Conn) error) error {
	if s.closed {
		return errClosed
	}
	// A context that ends during COMMIT would leave open whether it happened.
	tx, err := s.writer.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return err
	}
	if err := f(tx, s.writer); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}
