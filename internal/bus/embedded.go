package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/telltale-llm/telltale/internal/lock"
)

// startTimeout bounds recovery of the streams' files. Gigabytes of them are read within seconds.
const startTimeout = 2 * time.Minute

// embedded is a NATS server within the process. It can be started again; connections come to the one that runs.
type embedded struct {
	dir  string
	tune tuning
	log  *slog.Logger
	file *os.File // the lock

	mu  sync.Mutex
	srv *server.Server
}

func startEmbedded(ctx context.Context, dir string, tune tuning, log *slog.Logger) (*embedded, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if err := lock.File(f); err != nil {
		if errors.Is(err, lock.ErrHeld) {
			err = ErrInUse
		}
		return nil, fmt.Errorf("bus: %s: %w", dir, errors.Join(err, f.Close()))
	}
	e := &embedded{dir: dir, tune: tune, log: log, file: f}
	srv, err := e.start(ctx)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	e.srv = srv
	return e, nil
}

func (e *embedded) start(ctx context.Context) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName: "telltale", DontListen: true, NoSigs: true, JetStream: true, StoreDir: e.dir, SyncAlways: true,
		JetStreamMaxStore: e.tune.maxStore, JetStreamMaxMemory: 64 << 20, MaxPayload: 4 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("bus: embedded server: %w", err)
	}
	srv.SetLoggerV2(serverLog{e.log.With("part", "nats")}, false, false, false)
	srv.Start()
	deadline := time.Now().Add(startTimeout)
	for !srv.ReadyForConnections(100 * time.Millisecond) {
		if ctx.Err() != nil || time.Now().After(deadline) || !srv.Running() {
			srv.Shutdown()
			return nil, fmt.Errorf("bus: the embedded server did not start in %s with its files in %s", startTimeout, e.dir)
		}
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		return nil, fmt.Errorf("bus: JetStream did not start with its files in %s", e.dir)
	}
	return srv, nil
}

// InProcessConn is a new connection to the server.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return nil, errors.New("bus: the embedded server is being started")
	}
	return srv.InProcessConn()
}

// ill says what is wrong with the server, or "". A write that failed, for want of space or another reason, is
// remembered by the server: it stores nothing more in that stream until it is started again.
func (e *embedded) ill() string {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil || !srv.Running() {
		return "the embedded server is not running"
	}
	if !srv.JetStreamEnabled() {
		return "JetStream is switched off"
	}
	if h := srv.Healthz(nil); h.StatusCode != http.StatusOK {
		return h.Error
	}
	return ""
}

// restart ends the server and starts a new one. When that fails, the next call tries again.
func (e *embedded) restart(ctx context.Context) error {
	e.end()
	srv, err := e.start(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.srv = srv
	return nil
}

func (e *embedded) end() {
	e.mu.Lock()
	srv := e.srv
	e.srv = nil
	e.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

func (e *embedded) close() {
	e.end()
	if err := e.file.Close(); err != nil {
		e.log.Warn("lock of the bus", "err", err)
	}
}

// serverLog passes the server's log on. Its notices are of interest only to those who look for a fault.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l serverLog) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l serverLog) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l serverLog) Fatalf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l serverLog) Debugf(string, ...any)           {}
func (l serverLog) Tracef(string, ...any)           {}
