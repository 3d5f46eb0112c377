// Package actuator carries what a rollout decides into the world outside telltale's own gateway: a signed webhook, a
// command, a flag file that OpenFeature's flagd serves, the weights of a Gateway API HTTPRoute.
//
// A Driver takes the newest Change and brings each Target to it, again and again until the target took it; what is older
// is left out, for only the newest matters. It decides nothing and knows nothing of evidence.
package actuator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Change is what is wanted of the world.
type Change struct {
	// Revision grows with every change of one rollout.
	Revision  uint64    `json:"revision"`
	Rollout   string    `json:"rollout"`
	Route     string    `json:"route"`
	Baseline  string    `json:"baseline"`
	Candidate string    `json:"candidate"`
	Weight    float64   `json:"weight"` // of the candidate, 0 to 1
	Phase     string    `json:"phase"`
	Stage     int       `json:"stage"`
	Reason    string    `json:"reason,omitempty"`
	Time      time.Time `json:"time"`
}

// Target is a part of the world. Apply brings it to a change; the same change twice is the same as once. It must end with
// its context, and its error must not hold secrets.
type Target interface {
	Name() string
	Apply(ctx context.Context, c Change) error
}

// Times of a Driver.
const (
	applyTimeout = 30 * time.Second
	firstWait    = 500 * time.Millisecond
	longestWait  = 30 * time.Second
)

// TargetState is how far a target is.
type TargetState struct {
	Target  string    `json:"target"`
	Wanted  uint64    `json:"wanted"`  // revision
	Applied uint64    `json:"applied"` // revision that it took
	Error   string    `json:"error,omitempty"`
	Since   time.Time `json:"since,omitzero"` // when it last took one
}

// Driver brings targets to the newest change. It is safe for concurrent use.
type Driver struct {
	log  *slog.Logger
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	wanted  Change
	any     bool
	changed chan struct{} // closed and replaced with every change
	states  []TargetState
}

// NewDriver starts a goroutine for each target; Close ends them.
func NewDriver(targets []Target, log *slog.Logger) *Driver {
	ctx, stop := context.WithCancel(context.Background())
	d := &Driver{log: log, stop: stop, changed: make(chan struct{}), states: make([]TargetState, len(targets))}
	for i, t := range targets {
		d.states[i].Target = t.Name()
		d.wg.Go(func() { d.drive(ctx, i, t) })
	}
	return d
}

// Want replaces what is wanted. An older revision than the present is left out, and so is one that says the same: the revision also grows
// with every batch of evidence. It never blocks.
func (d *Driver) Want(c Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.any {
		same := d.wanted
		same.Revision, same.Time = c.Revision, c.Time
		if c.Revision <= d.wanted.Revision || c == same {
			return
		}
	}
	d.wanted, d.any = c, true
	for i := range d.states {
		d.states[i].Wanted = c.Revision
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

// States lists how far each target is.
func (d *Driver) States() []TargetState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]TargetState(nil), d.states...)
}

// Settle waits until every target took the newest change, or the context ends.
func (d *Driver) Settle(ctx context.Context) error {
	for {
		var late []error
		d.mu.Lock()
		for _, s := range d.states {
			if s.Applied < s.Wanted {
				late = append(late, fmt.Errorf("%s: %s", s.Target, s.Error))
			}
		}
		d.mu.Unlock()
		if len(late) == 0 {
			return nil
		}
		if !pause(ctx, 10*time.Millisecond) {
			return errors.Join(append(late, ctx.Err())...)
		}
	}
}

// Close ends the attempts under way.
func (d *Driver) Close() {
	d.stop()
	d.wg.Wait()
}

func (d *Driver) drive(ctx context.Context, i int, t Target) {
	wait := firstWait
	for ctx.Err() == nil {
		d.mu.Lock()
		c, any, changed, done := d.wanted, d.any, d.changed, d.states[i].Applied
		d.mu.Unlock()
		if !any || done >= c.Revision {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				wait = firstWait
			}
			continue
		}
		err := d.apply(ctx, t, c)
		d.mu.Lock()
		if err == nil {
			d.states[i].Applied, d.states[i].Error, d.states[i].Since = c.Revision, "", time.Now()
		} else {
			d.states[i].Error = err.Error()
		}
		d.mu.Unlock()
		if err == nil {
			wait = firstWait
			continue
		}
		if ctx.Err() != nil {
			return
		}
		d.log.Error("a target does not take the rollout's change", "rollout", c.Rollout, "target", t.Name(), "weight", c.Weight, "error", err)
		select { // a newer change is tried at once
		case <-ctx.Done():
		case <-changed:
			wait = firstWait
		case <-time.After(wait/2 + rand.N(wait/2)):
			wait = min(2*wait, longestWait)
		}
	}
}

func (d *Driver) apply(ctx context.Context, t Target, c Change) (err error) {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return t.Apply(ctx, c)
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
