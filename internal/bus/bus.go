// Package bus carries records from those who make them to those who store and judge them, on NATS JetStream: embedded
// in the process with its files under the data directory and no port, or an external cluster; the code is the same.
//
// Records travel in frames of a few hundred kilobytes or a few milliseconds, whichever comes first. A frame is one
// message of the stream with a message id of its own, and the server syncs it to disk before it acknowledges it (the
// embedded one always; an external one when its configuration says sync_interval: always). So what a Publisher says is
// published survives loss of power. A consumer is durable: it acknowledges a batch of frames after its function returned
// nil, and continues there after a crash. Delivery is at least once; a record's id makes it exactly once for whoever
// stores it, and Batch.ID does the same for sums over records.
//
// Everything is bounded: the publisher's buffer, frames on their way, the stream on disk. What does not fit is counted
// by reason. The package knows nothing of what records hold, and must be given nothing that may not be written to disk.
//
// Buckets are small key-value stores with compare-and-set for the state that decides.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/telltale-llm/telltale/internal/config"
)

// Bus is a connection to JetStream. It is safe for concurrent use.
type Bus struct {
	cfg  config.BusConfig
	tune tuning
	dir  string // of the bus' own files
	log  *slog.Logger
	nc   *nats.Conn
	js   jetstream.JetStream

	embedded *embedded // nil with an external cluster
	lowDisk  atomic.Bool

	stop   context.Context // ends consumers and the watch over the disk
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	streams    map[string]*stream
	publishers map[*Publisher]struct{}
	consumers  map[*consumer]struct{}
	limits     map[string]int64 // of streams, see Limit
}

// stream remembers whether a stream is known to be there as configured.
type stream struct {
	mu    sync.Mutex
	ready bool
}

// tuning holds what only tests change.
type tuning struct {
	reserve   uint64        // free bytes of the disk below which nothing is published
	watch     time.Duration // how often the disk and the embedded server are looked at
	patience  time.Duration // how long the embedded server may be ill before it is started again
	duplicate time.Duration // how long message ids are remembered
	maxStore  int64         // bytes of all streams; the streams' own limits are what counts
}

var defaultTuning = tuning{reserve: ReserveBytes, watch: time.Second, patience: 5 * time.Second, duplicate: 10 * time.Minute, maxStore: 1 << 50}

// ErrInUse says that another process has the directory.
var ErrInUse = errors.New("bus: the directory is in use by another process")

var nameRE = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Open starts the embedded server with its files in dir/bus, or connects to cfg.URL. An external cluster that cannot be
// reached is no error: the connection is tried again for ever, and publishers count what they cannot hold meanwhile.
func Open(ctx context.Context, cfg config.BusConfig, dir string, log *slog.Logger) (*Bus, error) {
	return open(ctx, cfg, dir, log, defaultTuning)
}

func open(ctx context.Context, cfg config.BusConfig, dir string, log *slog.Logger, tune tuning) (*Bus, error) {
	if err := check(cfg); err != nil {
		return nil, err
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 10 << 30
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 72 * time.Hour
	}
	cfg.Replicas = max(cfg.Replicas, 1)
	b := &Bus{
		cfg: cfg, tune: tune, dir: filepath.Join(dir, "bus"), log: log, streams: map[string]*stream{},
		publishers: map[*Publisher]struct{}{}, consumers: map[*consumer]struct{}{},
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	opts := []nats.Option{
		nats.Name("telltale"), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		// A publish without a connection fails at once: the publisher is what remembers frames.
		nats.ReconnectBufSize(-1), nats.Timeout(5 * time.Second), nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(b.disconnected), nats.ReconnectHandler(b.reconnected),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Debug("bus connection", "err", err) }),
	}
	url := cfg.URL
	if url == "" {
		e, err := startEmbedded(ctx, b.dir, tune, log)
		if err != nil {
			return nil, err
		}
		b.embedded = e
		opts = append(opts, nats.InProcessServer(e))
	} else {
		opts = append(opts, nats.RetryOnFailedConnect(true))
		if cfg.Creds != "" {
			opts = append(opts, nats.UserCredentials(cfg.Creds))
		}
	}
	if err := b.connect(url, opts); err != nil {
		if b.embedded != nil {
			b.embedded.close()
		}
		return nil, err
	}
	b.stop, b.cancel = context.WithCancel(context.Background())
	b.wg.Go(b.watch)
	return b, nil
}

func check(cfg config.BusConfig) error {
	switch cfg.Full {
	case "", "drop-oldest", "refuse":
	default:
		return &config.Error{Pos: cfg.Pos.At("full"), Value: cfg.Full, Problem: "no such policy", Want: "drop-oldest or refuse"}
	}
	if cfg.URL == "" && cfg.Replicas > 1 {
		return &config.Error{Pos: cfg.Pos.At("replicas"), Value: strconv.Itoa(cfg.Replicas), Problem: "the embedded bus has one replica", Want: "1, or the url of a cluster"}
	}
	if cfg.Creds != "" {
		if _, err := os.Stat(cfg.Creds); err != nil {
			return &config.Error{Pos: cfg.Pos.At("creds"), Value: cfg.Creds, Problem: "cannot be read", Want: "a credentials file", Err: err}
		}
	}
	return nil
}

func (b *Bus) connect(url string, opts []nats.Option) error {
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return fmt.Errorf("bus: connect: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return fmt.Errorf("bus: %w", err)
	}
	b.nc, b.js = nc, js
	return nil
}

func (b *Bus) disconnected(_ *nats.Conn, err error) {
	if err != nil {
		b.log.Warn("the connection to the bus is lost; it is tried again", "err", err)
	}
}

func (b *Bus) reconnected(*nats.Conn) {
	b.forget()
	b.log.Info("connected to the bus again")
}

// forget makes publishers and consumers look at their streams again.
func (b *Bus) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams = map[string]*stream{}
}

// restartEvery bounds how often the embedded server is started again.
const restartEvery = 10 * time.Second

// watch looks after the disk and the embedded server, which stores nothing more after a write has failed.
func (b *Bus) watch() {
	t := time.NewTicker(b.tune.watch)
	defer t.Stop()
	var well, restarted time.Time // a stream that is being made looks ill for a moment
	for {
		select {
		case <-b.stop.Done():
			return
		case <-t.C:
		}
		if b.embedded == nil {
			continue
		}
		free, err := freeBytes(b.dir)
		low := err == nil && free < b.tune.reserve
		if b.lowDisk.Swap(low) != low {
			b.log.Warn("space on the bus' disk", "low", low, "free_bytes", free, "reserve_bytes", b.tune.reserve)
		}
		ill := b.embedded.ill()
		if ill == "" || well.IsZero() {
			well = time.Now()
		}
		if time.Since(well) < b.tune.patience || free < minFree || time.Since(restarted) < restartEvery {
			continue
		}
		b.log.Warn("the embedded bus is started again", "because", ill)
		if err := b.embedded.restart(b.stop); err != nil {
			b.log.Error("the embedded bus does not start", "err", err)
		}
		restarted = time.Now()
		b.forget()
	}
}

// minFree is what the embedded server needs to start.
const minFree = 1 << 20

func streamName(name string) string { return "telltale-" + name }
func subject(name string) string    { return "telltale." + name }

// ensure makes the stream, or changes it to what is configured, once per connection.
func (b *Bus) ensure(ctx context.Context, name string) error {
	if !nameRE.MatchString(name) {
		return fmt.Errorf("bus: stream %q: want letters, digits, - and _", name)
	}
	b.mu.Lock()
	s := b.streams[name]
	if s == nil {
		s = &stream{}
		b.streams[name] = s
	}
	b.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready {
		return nil
	}
	discard := jetstream.DiscardOld
	if b.cfg.Full == "refuse" {
		discard = jetstream.DiscardNew
	}
	_, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamName(name), Subjects: []string{subject(name)}, Storage: jetstream.FileStorage, Replicas: b.cfg.Replicas,
		MaxBytes: b.maxBytes(name), MaxAge: b.cfg.MaxAge, Discard: discard, AllowDirect: true,
		Duplicates: min(b.tune.duplicate, b.cfg.MaxAge),
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	s.ready = true
	return nil
}

// Limit bounds a stream in place of the configuration's max_bytes, which is meant for records with their content. It is to be
// called before the stream is used.
func (b *Bus) Limit(stream string, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limits == nil {
		b.limits = map[string]int64{}
	}
	b.limits[stream] = bytes
}

func (b *Bus) maxBytes(stream string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n, ok := b.limits[stream]; ok {
		return n
	}
	return b.cfg.MaxBytes
}

// Publisher returns a new publisher to a stream, which is made when it is first needed. Bus.Drain closes it, if its
// owner has not.
func (b *Bus) Publisher(stream string, opts PublisherOptions) *Publisher {
	p := newPublisher(opts, b.log.With("stream", stream), b.sender(stream))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.publishers[p] = struct{}{}
	return p
}

// sender publishes frames to a stream.
func (b *Bus) sender(name string) send {
	return func(ctx context.Context, id string, frame []byte) (bool, error) {
		if b.lowDisk.Load() {
			return false, &DropError{DiskFull}
		}
		if err := b.ensure(ctx, name); err != nil {
			return false, classify(err)
		}
		msg := &nats.Msg{Subject: subject(name), Data: frame}
		ack, err := b.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(streamName(name)), jetstream.WithRetryAttempts(0))
		if err != nil {
			if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
				b.forget() // the stream is gone, or its leader
			}
			return false, classify(err)
		}
		return ack.Duplicate, nil
	}
}

// Drain publishes everything that publishers hold, ends consumers after the batches they are at, and closes the bus.
// When the context ends first, publishers drop and count the rest.
func (b *Bus) Drain(ctx context.Context) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	var errs []error
	publishers := make([]*Publisher, 0, len(b.publishers))
	for p := range b.publishers {
		publishers = append(publishers, p)
	}
	b.mu.Unlock()
	for _, p := range publishers {
		errs = append(errs, p.Close(ctx))
	}
	b.cancel()
	done := make(chan struct{})
	go func() {
		b.wg.Wait()
		close(done)
	}()
	<-done
	b.nc.Close()
	if b.embedded != nil {
		b.embedded.close()
	}
	return errors.Join(errs...)
}

// Close is Drain without waiting for publishers: what they hold is dropped.
func (b *Bus) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := b.Drain(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
