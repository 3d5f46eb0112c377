package runner

import (
	"context"
	"sync"
	"time"
)

// Limiter bounds how many requests a provider gets at a time, and finds the bound by itself: a rate
// limit, a server error or a time-out takes the bound down by 30%, every success raises it a little,
// up to the configured concurrency (additive increase, multiplicative decrease). A pause asked for
// by the server holds all requests back.
type Limiter struct {
	mu       sync.Mutex
	most     float64
	bound    float64
	inUse    int
	resumeAt time.Time
	lowered  time.Time
	waiters  []chan struct{}
}

// NewLimiter returns a limiter that starts at its greatest bound.
func NewLimiter(most int) *Limiter { return &Limiter{most: float64(most), bound: float64(most)} }

type release uint8

const (
	released release = iota
	succeeded
	overloaded
)

// Acquire waits for a place and for the end of any pause.
func (l *Limiter) Acquire(ctx context.Context) error {
	for {
		l.mu.Lock()
		if d := time.Until(l.resumeAt); d > 0 {
			l.mu.Unlock()
			if !sleep(ctx, d) {
				return ctx.Err()
			}
			continue
		}
		if l.inUse < int(l.bound) {
			l.inUse++
			l.mu.Unlock()
			return nil
		}
		turn := make(chan struct{})
		l.waiters = append(l.waiters, turn)
		l.mu.Unlock()
		select {
		case <-turn:
		case <-ctx.Done():
			l.abandon(turn)
			return ctx.Err()
		}
	}
}

// abandon takes a waiter out of the queue; if it was woken meanwhile, it wakes the next one.
func (l *Limiter) abandon(turn chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.waiters {
		if w == turn {
			l.waiters = append(l.waiters[:i], l.waiters[i+1:]...)
			return
		}
	}
	l.wake()
}

// Release gives a place back and learns from how the request ended.
func (l *Limiter) Release(r release) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inUse--
	switch r {
	case succeeded:
		l.bound = min(l.most, l.bound+1/l.bound)
	case overloaded:
		// The requests in flight fail together; they are one piece of news.
		if now := time.Now(); now.Sub(l.lowered) > 500*time.Millisecond {
			l.lowered = now
			l.bound = max(1, l.bound*0.7)
		}
	}
	l.wake()
}

// wake lets as many waiters try as there are places. The caller holds the lock.
func (l *Limiter) wake() {
	for free := int(l.bound) - l.inUse; free > 0 && len(l.waiters) > 0; free-- {
		close(l.waiters[0])
		l.waiters = l.waiters[1:]
	}
}

// Pause holds back every request that has not started for d.
func (l *Limiter) Pause(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := time.Now().Add(d); until.After(l.resumeAt) {
		l.resumeAt = until
	}
}
