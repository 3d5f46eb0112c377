package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// outage is a part of the server that is gone for a while.
type outage struct {
	dir, data string
	more      string // configuration
	length    time.Duration
	// broken from the start: the part is gone before the server starts. Then normal is measured afterwards only.
	fromStart bool
	begin     func(ctx context.Context) error
	end       func(ctx context.Context) error
	// flood is how long large requests come on top at the end of the outage, so that something has to be dropped.
	flood time.Duration
	back  time.Duration // that the server may take to notice that the part is back
}

// measured is what an outage did.
type measured struct {
	before, during, after noticed
	caughtUp              time.Duration // from the end of the outage until everything was stored
	seen, stored, dropped int64
	doubles               int
	reasons               map[string]int64
	peak                  int64
}

// try runs the server with an outage under load.
func (g *outage) try(ctx context.Context, o options) (m measured, err error) {
	model, url, err := startModel(ctx, o.telltale)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, model.stop()) }()
	s, err := newServer(o.telltale, g.dir, g.data, url, g.more)
	if err != nil {
		return m, err
	}
	if g.fromStart {
		if err := g.begin(ctx); err != nil {
			return m, err
		}
	}
	if err := s.start(ctx); err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.process().stop()) }()
	if err := s.ready(ctx); err != nil {
		return m, err
	}
	u := newUsers(s, "user", 0)
	loading, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	load.Go(func() { u.send(loading, o.rate, o.seed) })
	err = g.phases(ctx, o, s, u, &m)
	stop()
	load.Wait()
	if err != nil {
		return m, err
	}
	return m, g.account(ctx, s, &m)
}

// phases measures before, in and after the outage.
func (g *outage) phases(ctx context.Context, o options, s *server, u *users, m *measured) error {
	const warm = 2 * time.Second // connections are made, files opened
	if !g.fromStart {
		wait(ctx, warm)
		t := time.Now()
		wait(ctx, o.phase)
		m.before = notice(u.between(t, time.Now().Add(-time.Second)))
		slog.Info("before", "p99_ms", 1e3*m.before.p99)
		if err := g.begin(ctx); err != nil {
			return err
		}
	}
	wait(ctx, warm)
	t := time.Now()
	wait(ctx, g.length)
	m.during = notice(u.between(t, time.Now().Add(-time.Second)))
	slog.Info("in the outage", "p99_ms", 1e3*m.during.p99)
	if g.flood > 0 {
		large := newUsers(s, "flood", 60_000)
		flooding, stop := context.WithTimeout(ctx, g.flood)
		large.send(flooding, floodRate, o.seed)
		stop()
	}
	st, err := s.status(ctx)
	if err != nil {
		return err
	}
	slog.Info("at the end of the outage", "capture", st.Capture, "bus", st.Bus, "store", st.Store)
	ended := time.Now()
	if err := g.end(ctx); err != nil {
		return err
	}
	if err := eventually(ctx, g.back+2*time.Minute, "what waited was not stored", func() (bool, error) {
		st, err := s.status(ctx)
		m.caughtUp = time.Since(ended)
		// The load goes on: a second's worth of it is always on its way.
		return err == nil && st.Store.OK && st.Capture.Seen-st.Capture.Stored-st.dropped() < int64(3*o.rate), nil
	}); err != nil {
		return fmt.Errorf("%w; the server's log ends with %s", err, s.tail())
	}
	wait(ctx, warm)
	t = time.Now()
	wait(ctx, o.phase)
	m.after = notice(u.between(t, time.Now().Add(-time.Second)))
	slog.Info("after", "p99_ms", 1e3*m.after.p99)
	return ctx.Err()
}

const floodRate = 120 // large requests a second

// account compares what was seen with what was stored and what was counted as dropped.
func (g *outage) account(ctx context.Context, s *server, m *measured) error {
	st, err := s.settled(ctx, 2*time.Minute)
	if err != nil {
		return err
	}
	m.peak = s.process().peak()
	have, err := s.stored(ctx)
	if err != nil {
		return err
	}
	m.seen, m.dropped, m.reasons = st.Capture.Seen, st.dropped(), st.Capture.Dropped
	m.stored = int64(len(have.ids))
	m.doubles = twice(have.ids) + twice(have.sessions)
	if st.Capture.Stored != m.stored {
		return fmt.Errorf("the status says that %d are stored, and %d are", st.Capture.Stored, m.stored)
	}
	return nil
}

func (m *measured) report(o options, name string, length time.Duration) (out outcome) {
	normal := m.after.p99
	if m.before.n > 0 {
		normal = max(m.before.p99, m.after.p99)
	}
	ms := func(v noticed) string {
		if v.n == 0 {
			return "not measured"
		}
		return fmt.Sprintf("%.2f / %.2f", 1e3*v.p50, 1e3*v.p99)
	}
	failed := m.before.failed + m.during.failed + m.after.failed
	out.row = fmt.Sprintf("| %s | %v | %s | %s | %s | %d | %.1f s | %d | %d | %d %v | %d | %d |\n", name, length, ms(m.before), ms(m.during), ms(m.after), failed, m.caughtUp.Seconds(),
		m.seen, m.stored, m.dropped, m.reasons, m.doubles, m.peak>>20)
	if limit := normal*barSlower + barTolerate.Seconds(); !o.patient && !(m.during.p99 <= limit) {
		out.miss("p99 of users' requests is %.2f ms, normal %.2f, bar %.2f", 1e3*m.during.p99, 1e3*normal, 1e3*limit)
	}
	if failed > 0 {
		out.miss("%d requests failed, such as: %w", failed, errors.Join(m.before.example, m.during.example, m.after.example))
	}
	if m.seen == 0 || m.seen != m.stored+m.dropped || m.doubles > 0 {
		out.miss("%d seen, %d stored, %d dropped, %d twice", m.seen, m.stored, m.dropped, m.doubles)
	}
	return out
}

// tryDisk fills the disk under the data directory while the server runs.
func tryDisk(ctx context.Context, o options, dir string) (out outcome, err error) {
	dir = filepath.Join(dir, "disk")
	disk := filepath.Join(dir, "mount")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		return out, err
	}
	if text, err := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", disk).CombinedOutput(); err != nil {
		out.row = fmt.Sprintf("| disk full | not measured: a small disk cannot be mounted here (%.80s) | | | | | | | | | | |\n", text)
		out.unmeasured = true
		out.miss("not measured: %w", err)
		return out, nil
	}
	defer func() {
		err = errors.Join(err, exec.CommandContext(context.WithoutCancel(ctx), "umount", disk).Run())
	}()
	filler := filepath.Join(disk, "filler")
	g := outage{dir: dir, data: filepath.Join(disk, "data"), length: o.outage, flood: 30 * time.Second, back: time.Minute,
		begin: func(context.Context) error { return fill(filler) },
		end:   func(context.Context) error { return os.Remove(filler) },
	}
	m, err := g.try(ctx, o)
	if err != nil {
		return out, err
	}
	return m.report(o, "disk full", o.outage), nil
}

// fill writes to a file until the disk is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<16)
	for err == nil {
		_, err = f.Write(block)
	}
	return f.Close()
}

// tryNATS stops the NATS server that the bus lives on, and starts it again.
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
	g := outage{dir: dir, data: filepath.Join(dir, "data"), more: fmt.Sprintf("bus: {url: %q, replicas: 1, max_bytes: 512MiB}\n", "nats://"+address), length: o.outage, back: time.Minute,
		begin: func(context.Context) error { return nats.kill() }, end: begin}
	m, err := g.try(ctx, o)
	if err = errors.Join(err, nats.stop()); err != nil {
		return out, err
	}
	return m.report(o, "NATS stopped", o.outage), nil
}

func heading(o options) string {
	return fmt.Sprintf(`
%.0f requests a second in front of a model that takes 20 ms. Latencies are users' p50 / p99 in ms; with a fault p99 may be %g times the normal one and %v more.

| fault | for | before | with the fault | after | failed requests | everything stored after | seen | stored | dropped and counted | stored twice | peak memory, MB |
|---|---|---|---|---|---|---|---|---|---|---|---|
`, o.rate, barSlower, barTolerate)
}
