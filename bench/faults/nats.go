package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// The bench starts itself as a NATS server when these are in the environment.
const (
	natsDir  = "TELLTALE_FAULTS_NATS_DIR"
	natsPort = "TELLTALE_FAULTS_NATS_PORT"
)

// runNATS is a NATS server with JetStream that syncs what it acknowledges, until it is interrupted.
func runNATS(dir, port string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: n, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, MaxPayload: 4 << 20})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		return errors.New("not ready")
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	<-c
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// tryNATS takes the NATS server away that the bus lives on: in turns it is killed and started again, and stopped where it is,
// so that its connections stay open and nothing answers.
func tryNATS(ctx context.Context, o options, dir string) (out outcome, err error) {
	dir = filepath.Join(dir, "nats")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, err
	}
	self, err := os.Executable()
	if err != nil {
		return out, err
	}
	address, err := freeAddress()
	if err != nil {
		return out, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return out, err
	}
	var nats *process
	begin := func(ctx context.Context) (err error) {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), natsDir+"="+filepath.Join(dir, "jetstream"), natsPort+"="+port)
		cmd.Stderr = os.Stderr
		nats, err = start(cmd, "nats")
		return err
	}
	if err := begin(ctx); err != nil {
		return out, err
	}
	if err := eventually(ctx, 30*time.Second, "NATS does not listen", func() (bool, error) {
		return listens(ctx, address)
	}); err != nil {
		return out, errors.Join(err, nats.stop())
	}
	g := outage{name: "NATS", dir: dir, data: filepath.Join(dir, "data"), more: fmt.Sprintf("bus: {url: %q, replicas: 1, max_bytes: 512MiB}\n", "nats://"+address), back: time.Minute,
		begin: func(_ context.Context, round int) error {
			if round%2 == 1 {
				return nats.freeze()
			}
			return nats.kill()
		},
		end: func(ctx context.Context, round int) error {
			if round%2 == 1 {
				return nats.thaw()
			}
			return begin(ctx)
		},
	}
	m, err := g.try(ctx, o)
	if err = errors.Join(err, nats.thaw(), nats.stop()); err != nil {
		return out, err
	}
	return m.report(o, "NATS killed, and stopped", fmt.Sprintf("%d × %v", len(m.turns), o.window), 0), nil
}
