package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// outage is a part of the server that is gone for a while, again and again.
type outage struct {
	name, dir, data string
	more            string // configuration
	begin, end      func(ctx context.Context, round int) error
	// starts says that the part is looked at when the server starts: it is taken away before a start, and the server is
	// started again for each outage.
	starts bool
	last   time.Duration // how long the last of the outages lasts; a window when 0
	// flood is how long large requests come on top at the end of the last outage, so that something has to be left out.
	flood time.Duration
	back  time.Duration // that the server may take to notice that the part is back
}

// measured is what the outages did.
type measured struct {
	turns                 []turn
	failed, asked         int
	example               error
	caughtUp              time.Duration // the longest, from the end of an outage until everything was stored
	seen, stored, dropped int64
	doubles               int
	reasons               map[string]int64
	peak                  int64
}

// trial is one server with its load.
type trial struct {
	outage
	o     options
	s     *server
	m     *measured
	users *users
	stop  context.CancelFunc
	load  sync.WaitGroup
	names int
}

const warm = 1500 * time.Millisecond // connections are made, files opened

// try runs the server with outages under load.
func (g outage) try(ctx context.Context, o options) (m measured, err error) {
	model, url, err := startModel(ctx, o.telltale)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, model.stop()) }()
	t := trial{outage: g, o: o, m: &m}
	if t.s, err = newServer(o.telltale, g.dir, g.data, url, g.more); err != nil {
		return m, err
	}
	m.reasons = map[string]int64{}
	if err := t.open(ctx); err != nil {
		return m, err
	}
	defer func() {
		t.quiet()
		err = errors.Join(err, t.s.process().stop())
	}()
	return m, t.rounds(ctx)
}

// open starts the server and the load.
func (t *trial) open(ctx context.Context) error {
	if err := t.s.start(ctx); err != nil {
		return err
	}
	if err := t.s.ready(ctx); err != nil {
		return errors.Join(err, t.s.process().kill())
	}
	loading, stop := context.WithCancel(ctx)
	t.names++
	u := newUsers(t.s, "user-"+letters(t.names), 0)
	t.users, t.stop = u, stop
	t.load.Go(func() { u.send(loading, t.o.rate, t.o.seed+uint64(t.names)) })
	return nil
}

// close ends the load, waits until all is stored, and ends the server.
func (t *trial) close(ctx context.Context) error {
	t.quiet()
	if err := t.account(ctx); err != nil {
		return err
	}
	return t.s.process().stop()
}

// quiet ends the load.
func (t *trial) quiet() {
	t.stop()
	t.load.Wait()
	for _, r := range t.users.replies {
		if t.m.asked++; r.err != nil {
			t.m.failed, t.m.example = t.m.failed+1, r.err
		}
	}
	t.users.replies = nil
}

// window measures for a while.
func (t *trial) window(ctx context.Context, length time.Duration, into *[]reply) {
	wait(ctx, warm)
	from := time.Now()
	wait(ctx, length)
	to := time.Now()
	wait(ctx, time.Second) // for the last answers
	*into = append(*into, t.users.between(from, to)...)
}

// rounds are windows without the fault and with it in turns, until it is clear whether users are slower with it.
func (t *trial) rounds(ctx context.Context) error {
	m := t.m
	for n := 0; n < t.o.rounds+moreRounds && ctx.Err() == nil; n++ {
		if n >= t.o.rounds && (t.o.patient || compare(m.turns, t.o.seed).clear(barSlower)) {
			break
		}
		m.turns = append(m.turns, turn{})
		if err := t.round(ctx, n, &m.turns[n]); err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		v := compare(m.turns, t.o.seed)
		slog.Info("round", "of", t.name, "normal_p99_ms", 1e3*notice(m.turns[n].normal).p99, "broken_p99_ms", 1e3*notice(m.turns[n].broken).p99, "ratio", v.ratio, "low", v.low, "high", v.high)
	}
	t.quiet()
	if err := t.account(ctx); err != nil {
		return err
	}
	have, err := t.s.stored(ctx)
	if err != nil {
		return err
	}
	m.stored, m.doubles = int64(len(have.ids)), have.doubles()
	return nil
}

// round takes the part away and gives it back.
func (t *trial) round(ctx context.Context, n int, into *turn) error {
	m := t.m
	last := n == t.o.rounds-1
	if t.starts && n > 0 { // so that both windows are a young server's
		if err := t.close(ctx); err != nil {
			return err
		}
		if err := t.open(ctx); err != nil {
			return err
		}
	}
	t.window(ctx, t.o.window, &into.normal)
	if t.starts {
		if err := t.close(ctx); err != nil {
			return err
		}
	}
	if err := t.begin(ctx, n); err != nil {
		return err
	}
	if t.starts {
		if err := t.open(ctx); err != nil {
			return err
		}
	}
	length := t.o.window
	if last && t.last > 0 {
		length = t.last
	}
	t.window(ctx, length, &into.broken)
	if last && t.flood > 0 {
		large := newUsers(t.s, "flood", 60_000)
		flooding, stop := context.WithTimeout(ctx, t.flood)
		large.send(flooding, floodRate, t.o.seed)
		stop()
		for _, r := range large.replies {
			if m.asked++; r.err != nil {
				m.failed, m.example = m.failed+1, r.err
			}
		}
	}
	st, err := t.s.status(ctx)
	if err != nil {
		return err
	}
	slog.Info("at the end of the outage", "capture", st.Capture, "bus", st.Bus, "store", st.Store)
	ended := time.Now()
	if err := t.end(ctx, n); err != nil {
		return err
	}
	err = eventually(ctx, t.back+2*time.Minute, "what waited was not stored", func() (bool, error) {
		st, err := t.s.status(ctx)
		m.caughtUp = max(m.caughtUp, time.Since(ended))
		// The load goes on: a second's worth of it is always on its way.
		return err == nil && st.Store.OK && st.Bus.OK && st.Capture.Seen-st.Capture.Stored-st.dropped() < int64(3*t.o.rate), nil
	})
	if err != nil {
		return fmt.Errorf("%w; the server's log ends with %s", err, t.s.tail())
	}
	return ctx.Err()
}

const floodRate = 180 // large requests a second

// account adds what the present process counts, once all of it is stored.
func (t *trial) account(ctx context.Context) error {
	st, err := t.s.settled(ctx, 2*time.Minute)
	if err != nil {
		return err
	}
	m := t.m
	m.peak = max(m.peak, t.s.process().peak())
	m.seen, m.dropped = m.seen+st.Capture.Seen, m.dropped+st.dropped()
	for why, n := range st.Capture.Dropped {
		m.reasons[why] += n
	}
	if st.Capture.Seen != st.Capture.Stored+st.dropped() {
		return fmt.Errorf("the status says that %d were seen, %d stored and %d dropped", st.Capture.Seen, st.Capture.Stored, st.dropped())
	}
	return nil
}

// report makes a row of the table; flooded says that something must have been left out.
func (m *measured) report(o options, name, length string, flooded time.Duration) (out outcome) {
	var all turn
	for _, t := range m.turns {
		all.normal, all.broken = append(all.normal, t.normal...), append(all.broken, t.broken...)
	}
	normal, broken := notice(all.normal), notice(all.broken)
	v := compare(m.turns, o.seed)
	ms := func(v noticed) string { return fmt.Sprintf("%.2f / %.2f", 1e3*v.p50, 1e3*v.p99) }
	why := ""
	for reason, n := range m.reasons {
		why += fmt.Sprintf(" (%s %d)", reason, n)
	}
	out.row = fmt.Sprintf("| %s | %s | %s | %s | %.3f (%.3f to %.3f) | %d of %d | %.1f s | %d | %d | %d%s | %d | %d |\n", name, length, ms(normal), ms(broken), v.ratio, v.low, v.high,
		m.failed, m.asked, m.caughtUp.Seconds(), m.seen, m.stored, m.dropped, why, m.doubles, m.peak>>20)
	switch {
	case o.patient:
	case v.low > barSlower:
		out.miss("p99 of users' requests is %.2f ms, %.3f times the normal one (%.3f to %.3f), bar %g", 1e3*broken.p99, v.ratio, v.low, v.high, barSlower)
	case !(v.high <= barSlower):
		out.miss("whether p99 of users' requests is within %g times the normal one is undecided: %.3f (%.3f to %.3f)", barSlower, v.ratio, v.low, v.high)
	}
	if m.failed > 0 {
		out.miss("%d requests failed, such as: %w", m.failed, m.example)
	}
	// The least that must have happened for this to say anything.
	least := int64(o.rate * o.window.Seconds() * float64(len(m.turns)))
	if m.seen < least || int64(m.asked) != m.seen || m.seen != m.stored+m.dropped || m.doubles > 0 {
		out.miss("%d asked, %d seen (at least %d wanted), %d stored, %d dropped, %d twice", m.asked, m.seen, least, m.stored, m.dropped, m.doubles)
	}
	if flooded > 0 && m.dropped == 0 && !o.patient {
		out.miss("nothing was left out, so this does not show that losses are counted")
	}
	return out
}

func heading(o options) string {
	return fmt.Sprintf(`
%.0f requests a second in front of a model that takes 20 ms. Latencies are users' p50 / p99 in ms, of windows of %v without the fault and with it in turns, at least %d of each; the ratio is that of the p99, with its 95%% interval (bootstrap of turns, and of seconds within). The bar is an interval below %g.

| fault | for | normal | with the fault | p99 ratio | failed requests | all stored after, at the longest | seen | stored | left out and counted | stored twice | peak memory, MB |
|---|---|---|---|---|---|---|---|---|---|---|---|
`, o.rate, o.window, o.rounds, barSlower)
}
