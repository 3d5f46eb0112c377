package bus

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
)

// TestMain runs the test, or, in a child process, the part of one that is to be killed.
func TestMain(m *testing.M) {
	switch os.Getenv("TELLTALE_BUS_CHILD") {
	case "":
	case "publish":
		childPublish()
		return
	case "node":
		childNode()
		return
	}
	flag.Parse()
	code := m.Run()
	if code == 0 {
		// The server library keeps two of its own for the life of the process.
		if err := goleak.Find(goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*Server).startOSSignalHandler")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func quiet() *slog.Logger {
	if testing.Testing() && testing.Verbose() && os.Getenv("TELLTALE_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// quick is the tuning of tests: the disk is looked at often, and small ones will do.
func quick() tuning {
	t := defaultTuning
	t.reserve, t.watch, t.patience = 1<<20, 50*time.Millisecond, time.Second
	return t
}

func openEmbedded(t testing.TB, dir string, cfg config.BusConfig) *Bus {
	t.Helper()
	b, err := open(context.Background(), cfg, dir, quiet(), quick())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// natsServer is a real server that listens on loopback.
func natsServer(t testing.TB, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "outside", Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: filepath.Join(dir, "nats"), SyncAlways: true,
		JetStreamMaxStore: 1 << 50,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

func openExternal(t testing.TB, dir string, cfg config.BusConfig) *Bus {
	t.Helper()
	s := natsServer(t, dir, -1)
	cfg.URL = s.ClientURL()
	return openEmbedded(t, dir, cfg)
}
