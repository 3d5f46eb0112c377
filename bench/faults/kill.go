package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// sitting is the life of one process, from its start to its kill.
type sitting struct {
	from, to  time.Time
	published int64 // records that the bus had acknowledged when the server was last asked
	dropped   int64
	asked     time.Time
	alone     bool // nobody but the gateway published
}

// lost is what is missing in the end.
type lost struct {
	answered, missing int
	oldest            time.Duration // how long before the kill the first missing exchange was answered
	unexplained       int64         // acknowledged records that are not in the store
	uncertain         int           // sittings in which the acknowledged are not known one by one
}

// tryKills kills the server at random points under load, and starts it again on the same files each time.
func tryKills(ctx context.Context, o options, dir string) (out outcome, err error) {
	dir = filepath.Join(dir, "kill")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, err
	}
	model, url, err := startModel(ctx, o.telltale)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, model.stop()) }()
	s, err := newServer(o.telltale, dir, filepath.Join(dir, "data"), url, "")
	if err != nil {
		return out, err
	}
	u := newUsers(s, "kill", 0)
	reporters := []*reporter{asJSON(s), asOTLP(s)}
	loading, stopLoad := context.WithCancel(ctx)
	var load sync.WaitGroup
	load.Go(func() { u.send(loading, o.rate, o.seed) })
	sittings, err := killAgain(ctx, o, s, reporters)
	if err != nil {
		stopLoad()
		load.Wait()
		return out, err
	}
	// The last process lives on, and what it is given must all be there in the end.
	if err := s.start(ctx); err != nil {
		stopLoad()
		load.Wait()
		return out, err
	}
	last := sitting{from: time.Now(), alone: true}
	err = s.ready(ctx)
	wait(ctx, 2*time.Second)
	stopLoad()
	load.Wait()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.process().stop()) }()
	if _, err := s.settled(ctx, 2*time.Minute); err != nil {
		return out, err
	}
	last.to = time.Now()
	have, err := s.stored(ctx)
	if err != nil {
		return out, err
	}
	killReport(&out, u, have, sittings, last, reporters)
	return out, nil
}

// killAgain starts and kills the server. In every other sitting reporters send exchanges too; in the ones between only the
// gateway publishes, so that what the bus has acknowledged can be compared with the store to the record.
func killAgain(ctx context.Context, o options, s *server, reporters []*reporter) ([]sitting, error) {
	rng := rand.New(rand.NewPCG(o.seed, 2))
	var out []sitting
	for n := range o.kills {
		if err := s.start(ctx); err != nil {
			return nil, err
		}
		one := sitting{from: time.Now(), alone: n%2 == 1}
		// One in five is killed while it starts, the others at any time after.
		life := time.Duration(rng.Int64N(int64(600 * time.Millisecond)))
		if n%5 != 4 {
			if err := s.ready(ctx); err != nil {
				return nil, err
			}
			life = 300*time.Millisecond + time.Duration(rng.Int64N(int64(4*time.Second)))
		}
		living, end := context.WithCancel(ctx)
		var wg sync.WaitGroup
		if !one.alone {
			for _, r := range reporters {
				wg.Go(func() { r.send(living, 10*time.Millisecond) })
			}
		}
		wg.Go(func() {
			for wait(living, 30*time.Millisecond) {
				if st, err := s.status(living); err == nil {
					one.published, one.dropped, one.asked = st.Bus.Numbers["published"], st.dropped(), time.Now()
				}
			}
		})
		wait(ctx, life)
		err := s.process().kill()
		one.to = time.Now()
		end()
		wg.Wait()
		if err != nil {
			return nil, errors.Join(err, errors.New(s.tail()))
		}
		slog.Info("killed", "time", n+1, "after", one.to.Sub(one.from).Round(time.Millisecond), "acknowledged", one.published)
		out = append(out, one)
	}
	return out, ctx.Err()
}

// compare looks for what was answered between the start and the kill of a process.
func (l *lost) compare(u *users, have stored, one sitting) {
	inStore := int64(0)
	for _, r := range u.between(one.from.Add(-time.Second), one.to) {
		if r.done.Before(one.from) {
			continue
		}
		found := have.sessions[r.session] > 0
		if found {
			inStore++
		}
		if r.err != nil || r.done.After(one.to) {
			continue
		}
		l.answered++
		if !found {
			l.missing++
			l.oldest = max(l.oldest, one.to.Sub(r.done))
		}
	}
	if !one.alone {
		l.uncertain++
		return
	}
	// One of the acknowledged records is the snapshot that all exchanges here share.
	l.unexplained += max(0, one.published-1-inStore)
}

func killReport(out *outcome, u *users, have stored, sittings []sitting, last sitting, reporters []*reporter) {
	var l, end lost
	dropped := int64(0)
	for _, one := range sittings {
		l.compare(u, have, one)
		dropped += one.dropped
	}
	end.compare(u, have, last)
	doubles := twice(have.ids) + twice(have.sessions)
	reported, tries, gone := 0, 0, 0
	for _, r := range reporters {
		reported, tries = reported+len(r.taken), tries+r.tries
		for _, id := range r.taken {
			if have.ids[id] != 1 && have.sessions[id] != 1 {
				gone++
			}
		}
	}
	out.text = fmt.Sprintf(`The server was killed (SIGKILL) %d times, at random points between its start and 4 s of load, and started again on the same files.

| killed under load | |
|---|---|
| requests answered before a kill | %d |
| of these in the store at the end | %d |
| missing: not yet on the bus at the kill | %d |
| the earliest of the missing was answered before its kill by | %d ms |
| acknowledged by the bus and not in the store | %d |
| exchanges that the ingest acknowledged (sent again after each kill until they were: %d requests) | %d |
| of these missing | %d |
| exchanges stored twice | %d |
| answered by the last process and missing | %d of %d |
`, len(sittings), l.answered, l.answered-l.missing, l.missing, l.oldest.Milliseconds(), l.unexplained, tries, reported, gone, doubles, end.missing, end.answered)
	switch {
	case l.answered == 0 || reported == 0:
		out.miss("no load: %d answered, %d reported", l.answered, reported)
	case l.oldest > barInFlight:
		out.miss("an exchange that was answered %v before the kill is missing, bar %v", l.oldest, barInFlight)
	}
	if l.unexplained > 0 || gone > 0 || doubles > 0 || end.missing > 0 {
		out.miss("%d acknowledged exchanges of the gateway and %d of the ingest are missing, %d are there twice, %d of the last process are missing", l.unexplained, gone, doubles, end.missing)
	}
}
