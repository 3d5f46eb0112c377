package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// bodiesEach is how many bodies each sender has, so that texts differ by more than one word.
const bodiesEach = 8

// load is one measurement under way.
type load struct {
	format
	options
	s      *server
	bodies [][]*body // of each sender

	began       time.Time
	next        atomic.Uint64 // number of the next exchange
	turn        atomic.Int64  // number of the next request
	taken, busy atomic.Int64

	mu   sync.Mutex
	acks []ack
}

// ack says how many exchanges were acknowledged by then.
type ack struct {
	at    time.Time
	taken int64
}

// prepare makes the bodies, before the clock runs.
func (l *load) prepare() error {
	r := rand.New(rand.NewPCG(1, 2))
	l.bodies = make([][]*body, l.conns)
	for i := range l.bodies {
		for range bodiesEach {
			b, err := l.body(r, l.batch)
			if err != nil {
				return err
			}
			l.bodies[i] = append(l.bodies[i], b)
		}
	}
	return nil
}

// run sends, and waits until everything that was taken is stored.
func (l *load) run(ctx context.Context, r *row) error {
	sending, stop := context.WithTimeout(ctx, l.seconds)
	defer stop()
	failures := make(chan error, l.conns+1)
	l.began = time.Now()
	var senders, watch sync.WaitGroup
	for _, bodies := range l.bodies {
		senders.Go(func() {
			if err := l.send(sending, bodies); err != nil {
				failures <- err
				stop()
			}
		})
	}
	if l.profile != "" {
		senders.Go(func() {
			if err := l.s.profiled(ctx, filepath.Join(l.profile, l.name+".pprof"), l.seconds*3/4); err != nil {
				failures <- err
			}
		})
	}
	watching, sent := context.WithCancel(ctx)
	defer sent()
	watch.Go(func() { l.watch(watching, r) })
	senders.Wait()
	r.sending = time.Since(l.began)
	sent()
	watch.Wait()
	close(failures)
	var err error
	for e := range failures {
		err = errors.Join(err, e)
	}
	if err != nil {
		return err
	}
	r.taken, r.again = l.taken.Load(), l.busy.Load()
	for r.stored < r.taken && time.Since(l.began) < 3*l.seconds && ctx.Err() == nil {
		l.look(ctx, r)
		r.took = time.Since(l.began)
		time.Sleep(50 * time.Millisecond)
	}
	slices.Sort(r.lags)
	return ctx.Err()
}

// watch looks twice a second how far storing is behind.
func (l *load) watch(ctx context.Context, r *row) {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			l.look(ctx, r)
		}
	}
}

// look asks what is stored. The lag is the age of the oldest acknowledgement that is not stored yet.
func (l *load) look(ctx context.Context, r *row) {
	n, err := l.s.stored(ctx)
	if err != nil {
		if ctx.Err() == nil {
			slog.Warn("status", "error", err)
		}
		return
	}
	now := time.Now()
	r.stored = n
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, a := range l.acks {
		if a.taken > n {
			r.lags = append(r.lags, now.Sub(a.at))
			l.acks = l.acks[i:]
			return
		}
	}
}

func (l *load) acknowledged(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks = append(l.acks, ack{time.Now(), l.taken.Add(int64(n))})
}

// due waits until the next request is due.
func (l *load) due(ctx context.Context) {
	if l.pace == 0 {
		return
	}
	n := l.turn.Add(1) - 1
	at := l.began.Add(time.Duration(float64(n) * float64(l.batch) / float64(l.pace) * float64(time.Second)))
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(at)):
	}
}

// send sends one request after the other until the time is over. The request that is under way then is finished.
func (l *load) send(ctx context.Context, bodies []*body) error {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableCompression: true, WriteBufferSize: 64 << 10}}
	defer client.CloseIdleConnections()
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		l.due(ctx)
		if ctx.Err() != nil {
			return nil
		}
		b := bodies[i%len(bodies)]
		n := uint64(len(b.parts))
		b.fresh(l.next.Add(n)-n+1<<32, time.Now())
		data := b.data
		if l.zipped {
			if data, err = zip(b.data, &buf, z); err != nil {
				return err
			}
		}
		if taken, err := l.deliver(ctx, client, data); err != nil {
			return err
		} else if taken {
			l.acknowledged(len(b.parts))
		}
	}
}

// deliver sends a request again until it is taken, or the time is over.
func (l *load) deliver(ctx context.Context, client *http.Client, data []byte) (taken bool, err error) {
	for {
		status, said, err := l.post(context.WithoutCancel(ctx), client, data)
		if err != nil {
			return false, err
		}
		if status == http.StatusOK {
			return true, nil
		}
		if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
			return false, fmt.Errorf("answered %d: %.300s", status, said)
		}
		l.busy.Add(1)
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (l *load) post(ctx context.Context, client *http.Client, data []byte) (status int, said []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.s.api+l.path, bytes.NewReader(data))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", l.media)
	if l.zipped {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	said, err = io.ReadAll(resp.Body)
	return resp.StatusCode, said, err
}
