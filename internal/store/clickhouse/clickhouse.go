// Package clickhouse keeps exchanges in ClickHouse, from version 24.8: for many machines and more than one writes.
//
// It is not the way to learn who was first: two processes that put the same exchange at the same moment both say that it was
// new. It is stored once all the same (see Put).
//
// On a cluster each table is two, one with the rows on each node, replicated and in shards by the hash of the id, and one over
// all nodes (see table). Reading uses FINAL: of rows with the same time and id one is seen, whether or not the server has merged
// them yet. minutes is the exception: it adds up what is inserted, and is used for long ranges only.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/store"
)

// Options say how to use the server.
type Options struct {
	// URL is clickhouse://user:password@host:9000,host2:9000/database, with TLS by secure=true. The database must exist.
	URL string
	// Cluster is the name of a cluster in the server's configuration; empty is a single server.
	Cluster string
	// Retention is given to the server as TTL, besides what Delete does when it is called.
	Retention config.Retention
	// Conns bounds the connections, 8 when 0.
	Conns int
}

// Store is a connection to a server.
type Store struct {
	conn    conn
	name    string // for messages, without credentials
	cluster string
	// put is held while ids are looked for and rows are put, so that this process never puts an exchange twice.
	put sync.Mutex
}

var _ store.Store = (*Store)(nil)

// maxQuery is room for the keys of a batch of 10,000 and for long texts that are looked for; the server's own bound is 256 KB.
const maxQuery = 64 << 20

var clusterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// Open connects and makes or updates the tables.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Cluster != "" && !clusterName.MatchString(o.Cluster) {
		return nil, fmt.Errorf("store: cluster %q: want letters, digits, _, . and -", o.Cluster)
	}
	options, err := driver.ParseDSN(o.URL)
	if err != nil || len(options.Addr) == 0 {
		// The cause may hold the password.
		return nil, errors.New("store: the ClickHouse URL cannot be read: want clickhouse://user:password@host:9000/database")
	}
	options.MaxOpenConns, options.MaxIdleConns = 8, 8
	if o.Conns > 0 {
		options.MaxOpenConns, options.MaxIdleConns = o.Conns, o.Conns
	}
	if options.DialTimeout == 0 {
		options.DialTimeout = 10 * time.Second
	}
	if options.Settings == nil {
		options.Settings = driver.Settings{}
	}
	options.Settings["max_query_size"] = maxQuery
	options.Compression = &driver.Compression{Method: driver.CompressionLZ4}
	c, err := driver.Open(options)
	if err != nil {
		return nil, fmt.Errorf("store: ClickHouse at %s: %w", options.Addr[0], err)
	}
	s, err := open(ctx, native{c, insertSettings}, options.Addr[0]+"/"+options.Auth.Database, o, migrations)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return s, nil
}

func open(ctx context.Context, c conn, name string, o Options, steps [][]table) (*Store, error) {
	s := &Store{conn: c, name: "ClickHouse " + name, cluster: o.Cluster}
	if err := s.migrate(ctx, steps); err != nil {
		var newer *store.SchemaError
		if errors.As(err, &newer) {
			return nil, err
		}
		return nil, fmt.Errorf("store: %s: %w", s.name, err)
	}
	if err := s.expire(ctx, o.Retention); err != nil {
		return nil, fmt.Errorf("store: %s: %w", s.name, err)
	}
	return s, nil
}

// Close closes the connections. What was put is on the server.
func (s *Store) Close() error { return s.conn.close() }

// each runs a query and calls f for each row.
func (s *Store) each(ctx context.Context, query string, args []any, f func(rows) error) error {
	found, err := s.conn.query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		if err := f(found); err != nil {
			return err
		}
	}
	if err := found.Err(); err != nil {
		return err
	}
	return ctx.Err()
}

// one scans the only row of a query; without a row the targets stay as they are.
func (s *Store) one(ctx context.Context, query string, args []any, to ...any) error {
	return s.each(ctx, query, args, func(r rows) error { return r.Scan(to...) })
}

// Ping asks a server for its version and changes nothing.
func Ping(ctx context.Context, address string) (version string, err error) {
	options, err := driver.ParseDSN(address)
	if err != nil || len(options.Addr) == 0 {
		return "", errors.New("the ClickHouse URL cannot be read: want clickhouse://user:password@host:9000/database")
	}
	options.DialTimeout = 5 * time.Second
	c, err := driver.Open(options)
	if err != nil {
		return "", err
	}
	v, err := c.ServerVersion()
	if err == nil {
		err = c.Ping(ctx)
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return "", err
	}
	return v.Version.String(), nil
}
