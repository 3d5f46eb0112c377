package app

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/store"
	"github.com/telltale-llm/telltale/internal/store/clickhouse"
	"github.com/telltale-llm/telltale/internal/store/duckdb"
)

// work stores what comes over the bus for as long as the process is a worker. Where nothing is stored because the bus
// belongs to another store, failed is told, unless the process has users to serve: they come first, and status says it.
func (s *Service) work(ctx context.Context, failed chan<- error) {
	server := s.state.Load().server
	if !server.Has(config.RoleWorker) {
		return
	}
	err := s.consume(ctx)
	if err == nil || ctx.Err() != nil || s.ending.Load() {
		return
	}
	s.storeHeld.Store(&err)
	if !server.Has(config.RoleGateway) && !server.Has(config.RoleIngest) {
		failed <- err
		return
	}
	s.o.Log.Error("nothing is stored", "error", err)
}

// consume stores what comes over the bus, once there are a bus and a store and the one may be stored in the other.
func (s *Service) consume(ctx context.Context) error {
	b, ok := await(ctx, &s.bus)
	if !ok {
		return nil
	}
	st, ok := await(ctx, &s.store)
	if !ok {
		return nil
	}
	ctx, release, err := s.hold(ctx, b)
	if err != nil {
		return err
	}
	defer release()
	options := pipeline.WorkerOptions{
		Source: b, Stream: exchangeStream, Durable: storeConsumer, Store: countingStore{st, &s.stored, s.metrics.put}, Codec: s.codec, Log: s.o.Log,
		Scorers: s.scorers, Secret: s.state.Load().server.Privacy.Key, Live: s.live,
	}
	wait := s.outcomesWanted(ctx, b)
	options.Evidence = pipeline.EvidenceOptions{Sink: b.Publisher(evidenceStream, bus.PublisherOptions{}), Outcomes: wait.any, Unit: wait.unit, Find: st.Exchange, Outside: wait.outside}
	bucket, err := b.Bucket(ctx, budgetBucket)
	switch {
	case err == nil:
		options.Ledger = pipeline.BucketLedger{Bucket: bucket}
	case s.ending.Load():
		return nil // the bus was closed while the consumer started: what is on it is stored after the next start
	default:
		s.o.Log.Error("budgets of scorers hold for this process only", "error", err)
	}
	w, err := pipeline.NewWorker(options)
	if err != nil {
		return err
	}
	s.worker.Store(w)
	if err := w.Run(ctx); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// openStore opens the database that the configuration names.
func openStore(ctx context.Context, server *config.Server) (store.Store, error) {
	if server.Store.URL != "" {
		return clickhouse.Open(ctx, clickhouse.Options{URL: server.Store.URL, Cluster: server.Store.Cluster, Retention: server.Retention})
	}
	return duckdb.Open(ctx, filepath.Join(server.Data, storeFolder), duckdb.Options{Memory: server.Store.Memory, Threads: server.Store.Threads, Checkpoint: storeCheckpoint, BusyCheckpoint: storeBusyCheckpoint, Busy: collectLess})
}

// ServeGC is how much garbage a server lets come together, in percent of what is in use, when GOGC says nothing: much is in
// use for long, unlike in an evaluation, and at full load of the gateway each percent is several hundred kilobytes. busyGC is
// that while thousands of exchanges a second are stored, where collecting takes from storing.
const (
	ServeGC = 60
	busyGC  = 200
)

// collectLess lets more garbage come together while the store is busy.
func collectLess(busy bool) {
	switch {
	case os.Getenv("GOGC") != "":
	case busy:
		debug.SetGCPercent(busyGC)
	default:
		debug.SetGCPercent(ServeGC)
	}
}

const (
	storeFolder = "store"
	// storeCheckpoint is how much the database gathers in memory before it is compressed into the file. At 256MB storing
	// takes 6% less of the processor, and the memory of a server under full load is twice as large.
	storeCheckpoint = "32MB"
	// storeBusyCheckpoint takes its place while thousands of exchanges a second are stored.
	storeBusyCheckpoint = "128MB"
)

// retain deletes what is older than it is kept for.
func (s *Service) retain(ctx context.Context) {
	if !s.state.Load().server.Has(config.RoleWorker) {
		return
	}
	st, ok := await(ctx, &s.store)
	var deleted time.Time
	for ; ok && ctx.Err() == nil; waitFor(ctx, retainEvery) {
		if now := time.Now(); now.Sub(deleted) >= deleteEvery(s.state.Load().server) && s.deleteOld(ctx, st, now) {
			deleted = now
		}
		if b, err := s.bus.get(); err == nil {
			if err := b.Trim(ctx, exchangeStream); err != nil && ctx.Err() == nil {
				s.o.Log.Warn("what has been stored stays on the bus until its max_age", "error", err)
			}
		}
	}
}

// deleteEvery is how often old exchanges are deleted. In ClickHouse that writes a day's parts anew, and its own TTL drops whole
// days besides. A little less than a day, so that the hour does not move.
func deleteEvery(server *config.Server) time.Duration {
	if server.Store.URL != "" {
		return 24*time.Hour - retainEvery/2
	}
	return 0
}

// deleteOld says whether it could.
func (s *Service) deleteOld(ctx context.Context, st store.Store, now time.Time) bool {
	d, err := st.Delete(ctx, s.state.Load().server.Retention, now)
	switch {
	case err != nil && ctx.Err() == nil:
		s.o.Log.Error("old exchanges cannot be deleted", "error", err)
	case d != (store.Deleted{}):
		s.o.Log.Info("deleted what is older than it is kept for", "exchanges", d.Exchanges, "content", d.Content, "rollups", d.Rollups)
	}
	return err == nil
}

func waitFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
