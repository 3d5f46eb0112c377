package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
)

// Workers of one bus must store in one place. Two of them with a DuckDB each would tear the exchanges in two, and nobody
// would notice. So a worker writes into a bucket of a shared bus where it stores, again and again, and one that stores
// elsewhere does not start while another does.
const (
	claimBucket = "workers"
	claimKey    = "store"
	storeIDFile = "store.id"
)

// claimTimes are how often a claim is written, and how long one holds that is not written any more.
type claimTimes struct{ every, holds time.Duration }

var defaultClaim = claimTimes{10 * time.Second, 35 * time.Second}

// claim is who stores, and where.
type claim struct {
	Store   string `json:"store"`
	Host    string `json:"host"`
	Process int    `json:"process"`
}

// heldError says that the records of a bus go to another store.
type heldError struct{ by claim }

func (e *heldError) Error() string {
	return fmt.Sprintf("the exchanges of this bus are stored in another place already (%s, by process %d on %s). All workers of a bus must share one store: DuckDB can have only one worker; for several of them, store.url or --store names a ClickHouse server",
		e.by.kind(), e.by.Process, e.by.Host)
}

func (c *claim) kind() string { kind, _, _ := strings.Cut(c.Store, " "); return kind }

// hold claims the bus for the process' store. The context that it returns ends, with a cause, when the claim is lost.
func (s *Service) hold(ctx context.Context, b *bus.Bus) (context.Context, func(), error) {
	server := s.state.Load().server
	if server.Bus.URL == "" { // the directory of an embedded bus is one process' alone
		return ctx, func() {}, nil
	}
	id, err := storeID(server)
	if err != nil {
		return nil, nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed machine"
	}
	mine := claim{id, host, os.Getpid()}
	bucket, err := s.claimed(ctx, b, mine)
	if err != nil {
		return nil, nil, err
	}
	held, lose := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			waitFor(held, s.claim.every)
			if held.Err() != nil {
				return
			}
			// Any other failure is the bus', which holds the records meanwhile.
			if by, err := mine.put(held, bucket); err == nil && by != nil {
				lose(&heldError{*by})
			}
		}
	}()
	return held, func() { lose(nil); <-done }, nil
}

// claimed returns once the bus is the store's, or says whose it is.
func (s *Service) claimed(ctx context.Context, b *bus.Bus, mine claim) (*bus.Bucket, error) {
	var bucket *bus.Bucket
	var seen uint64 // revision of another store's claim, and since when it has been the last one
	var since time.Time
	for wait := time.Duration(0); ; wait = min(firstRetry, s.claim.every) {
		if waitFor(ctx, wait); ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var err error
		if bucket == nil {
			if bucket, err = b.Bucket(ctx, claimBucket); err != nil {
				s.o.Log.Warn("whether this worker may store is not known yet", "error", err)
				continue
			}
		}
		by, err := mine.put(ctx, bucket)
		if err != nil {
			continue // the bus does not answer, or somebody else wrote meanwhile
		}
		if by == nil {
			return bucket, nil
		}
		e, err := bucket.Get(ctx, claimKey)
		switch {
		case err != nil:
		case seen == 0:
			seen, since = e.Revision, time.Now()
			s.o.Log.Warn("another store may be in use; it is waited for whether its worker still lives", "store", by.kind(), "host", by.Host, "process", by.Process)
		case e.Revision != seen:
			return nil, &heldError{*by}
		case time.Since(since) >= s.claim.holds:
			s.o.Log.Warn("the claim of a worker that has ended is taken over", "store", by.kind(), "host", by.Host, "process", by.Process)
			if err := bucket.Delete(ctx, claimKey, seen); err != nil && !errors.Is(err, bus.ErrConflict) {
				s.o.Log.Warn("the claim cannot be taken over", "error", err)
			}
			seen = 0
		}
	}
}

// put writes the claim, unless there is one for another store, which it returns.
func (c *claim) put(ctx context.Context, bucket *bus.Bucket) (by *claim, err error) {
	e, err := bucket.Get(ctx, claimKey)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		var there claim
		if json.Unmarshal(e.Value, &there) == nil && there.Store != c.Store {
			return &there, nil
		}
	}
	value, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if _, err = bucket.CompareAndSet(ctx, claimKey, value, e.Revision); errors.Is(err, bus.ErrConflict) && e.Revision > 0 {
		return nil, nil // another worker of the same store was faster; if it was not, the next look tells
	}
	return nil, err
}

// storeID tells one store from another, without its credentials. A ClickHouse cluster has many addresses.
func storeID(server *config.Server) (string, error) {
	if server.Store.URL != "" {
		u, err := url.Parse(server.Store.URL)
		if err != nil {
			return "", errors.New("the store's address cannot be read")
		}
		if server.Store.Cluster != "" {
			return "clickhouse cluster " + server.Store.Cluster + u.Path, nil
		}
		return "clickhouse " + u.Host + u.Path, nil
	}
	path := filepath.Join(server.Data, storeIDFile)
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		return "duckdb " + string(b), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(server.Data, 0o700); err != nil {
		return "", err
	}
	id := rand.Text()
	return "duckdb " + id, os.WriteFile(path, []byte(id), 0o600)
}
