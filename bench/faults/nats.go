package main

import (
	"errors"
	"os"
	"os/signal"
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
