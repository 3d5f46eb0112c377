package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// sitting is the life of one process, from its start to its kill.
type sitting struct {
	from, to time.Time
	serving  time.Time // since when; zero when it was killed before
	ids      []string  // records that the bus had acknowledged, by the log
}

// least is the number of records that must have been acknowledged at the least, for the sitting to say anything.
func (s *sitting) least(rate float64) int {
	if s.serving.IsZero() {
		return 0
	}
	return int(rate * s.to.Sub(s.serving).Seconds() / 4)
}

// lost is what is missing in the end.
type lost struct {
	answered, missing int
	oldest            time.Duration // how long before the kill the first missing exchange was answered
	acknowledged      int           // exchanges
	gone, several     int           // of these not in the store, and there more than once
	idle              int           // sittings in which too few were acknowledged
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
	s.logged = true
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
	last := sitting{from: time.Now()}
	err = s.ready(ctx)
	last.serving = time.Now()
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
	killReport(&out, o, u, have, sittings, last, reporters)
	return out, nil
}

// killAgain starts and kills the server. In every other sitting reporters send exchanges too.
func killAgain(ctx context.Context, o options, s *server, reporters []*reporter) ([]sitting, error) {
	rng := rand.New(rand.NewPCG(o.seed, 2))
	var out []sitting
	at := int64(0) // in the log
	for n := range o.kills {
		if err := s.start(ctx); err != nil {
			return nil, err
		}
		one := sitting{from: time.Now()}
		// One in five is killed while it starts, the others at any time after.
		life := time.Duration(rng.Int64N(int64(600 * time.Millisecond)))
		if n%5 != 4 {
			if err := s.ready(ctx); err != nil {
				return nil, err
			}
			one.serving = time.Now()
			life = 300*time.Millisecond + time.Duration(rng.Int64N(int64(4*time.Second)))
		}
		living, end := context.WithCancel(ctx)
		var wg sync.WaitGroup
		if n%2 == 0 {
			for _, r := range reporters {
				wg.Go(func() { r.send(living, 10*time.Millisecond) })
			}
		}
		wait(ctx, life)
		err := s.process().kill()
		one.to = time.Now()
		end()
		wg.Wait()
		if err != nil {
			return nil, errors.Join(err, errors.New(s.tail()))
		}
		if one.ids, at, err = s.acknowledged(at); err != nil {
			return nil, err
		}
		slog.Info("killed", "time", n+1, "after", one.to.Sub(one.from).Round(time.Millisecond), "acknowledged", len(one.ids))
		out = append(out, one)
	}
	return out, ctx.Err()
}

// compare looks for what was answered between the start and the kill of a process, and for what the bus acknowledged.
func (l *lost) compare(u *users, have stored, one sitting) {
	for _, r := range u.between(one.from.Add(-time.Second), one.to) {
		if r.err != nil || r.done.Before(one.from) || r.done.After(one.to) {
			continue
		}
		l.answered++
		if have.sessions[r.session] == 0 {
			l.missing++
			l.oldest = max(l.oldest, one.to.Sub(r.done))
		}
	}
	for _, id := range one.ids {
		if have.snapshots[id] > 0 {
			continue // that is the record of a snapshot
		}
		l.acknowledged++
		switch n := have.ids[id]; {
		case n == 0:
			l.gone++
		case n > 1:
			l.several++
		}
	}
}

func killReport(out *outcome, o options, u *users, have stored, sittings []sitting, last sitting, reporters []*reporter) {
	var l, end lost
	fewest := math.MaxInt
	for _, one := range sittings {
		l.compare(u, have, one)
		if one.serving.IsZero() {
			continue
		}
		fewest = min(fewest, len(one.ids))
		if len(one.ids) < one.least(o.rate) {
			l.idle++
		}
	}
	end.compare(u, have, last)
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
| exchanges that the bus had acknowledged before a kill | %d |
| the fewest of one life, of those that came to serve | %d |
| acknowledged and not in the store | %d |
| acknowledged and there twice | %d |
| requests answered before a kill | %d |
| of these in the store at the end | %d |
| missing: not yet on the bus at the kill | %d |
| the earliest of the missing was answered before its kill by | %d ms |
| exchanges that the ingest acknowledged (sent again after each kill until they were: %d requests) | %d |
| of these missing | %d |
| exchanges stored twice, of %d | %d |
| answered by the last process and missing | %d of %d |
`, len(sittings), l.acknowledged, fewest, l.gone, l.several, l.answered, l.answered-l.missing, l.missing, l.oldest.Milliseconds(), tries, reported, gone,
		len(have.ids), have.doubles(), end.missing, end.answered)
	if l.idle > 0 || end.answered == 0 || reported == 0 || l.acknowledged == 0 {
		out.miss("too little happened for this to say anything: in %d lives too few exchanges were acknowledged; %d in all, %d reported, %d answered at the end", l.idle, l.acknowledged, reported, end.answered)
	}
	if l.oldest > barInFlight {
		out.miss("an exchange that was answered %v before the kill is missing, bar %v", l.oldest, barInFlight)
	}
	if l.gone+l.several+gone+have.doubles()+end.missing > 0 {
		out.miss("of the acknowledged exchanges %d are missing and %d there twice; %d of the ingest's are missing, %d are there twice in all, %d of the last process are missing", l.gone, l.several, gone, have.doubles(), end.missing)
	}
}
