package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// bench measures all targets and keeps what it saw.
type bench struct {
	options
	dir     string
	names   []string // of the targets, in the order of the table
	missing []string // gateways that are not installed
	// p50 and p99 of each target at each rate, in seconds; medians over the rounds.
	p50, p99 map[string]map[float64]float64
	failures map[string]int
	ttft     map[string]float64
	peak     map[string]float64 // requests a second
	memory   map[string]memory
	captured captures
	sent     int64 // through telltale
	example  map[string]string
	took     time.Duration
}

// starts are the gateways by name.
func (b *bench) starts() []struct {
	name  string
	start func(ctx context.Context, upstream string) (*target, error)
} {
	return []struct {
		name  string
		start func(ctx context.Context, upstream string) (*target, error)
	}{
		{"nginx", func(ctx context.Context, up string) (*target, error) { return startNginx(ctx, b.nginx, b.dir, up) }},
		{"telltale", func(ctx context.Context, up string) (*target, error) {
			return startTelltale(ctx, b.telltale, b.dir, up)
		}},
		{"Portkey", func(ctx context.Context, up string) (*target, error) { return startPortkey(ctx, b.tools, up) }},
	}
}

func (b *bench) measure(ctx context.Context) error {
	b.p50, b.p99 = map[string]map[float64]float64{}, map[string]map[float64]float64{}
	b.ttft, b.peak, b.memory, b.failures = map[string]float64{}, map[string]float64{}, map[string]memory{}, map[string]int{}
	b.example = map[string]string{}
	start := time.Now()
	defer func() { b.took = time.Since(start) }()
	if err := b.latencies(ctx); err != nil {
		return err
	}
	return b.throughput(ctx)
}

// finish notes what a target holds when a phase has ended, and waits until telltale has stored all that it saw in it.
func (b *bench) finish(ctx context.Context, targets []*target) error {
	for _, t := range targets {
		if m := t.memory(); m.peak > b.memory[t.name].peak {
			b.memory[t.name] = m
		}
		if t.api == "" {
			continue
		}
		c, err := t.settled(ctx)
		if err != nil {
			return err
		}
		b.captured.Seen += c.Seen
		b.captured.Stored += c.Stored
		b.sent += t.sent.Load()
	}
	return ctx.Err()
}

// launch starts the model and every gateway that is there in front of it.
func (b *bench) launch(ctx context.Context, latency string) (targets []*target, stop func() error, err error) {
	sim, err := startSim(ctx, b.telltale, latency)
	if err != nil {
		return nil, nil, err
	}
	stop = func() error {
		var errs []error
		for _, t := range slices.Backward(targets) {
			errs = append(errs, t.stop())
		}
		return errors.Join(append(errs, sim.stop())...)
	}
	targets = []*target{direct(sim)}
	b.names, b.missing = []string{"no gateway"}, nil
	for _, g := range b.starts() {
		t, err := g.start(ctx, sim.url)
		switch {
		case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
			b.missing = append(b.missing, g.name)
		case err != nil:
			return nil, nil, errors.Join(err, stop())
		default:
			targets = append(targets, t)
			b.names = append(b.names, t.name)
		}
	}
	return targets, stop, nil
}

// latencies measures with a model that takes 20 ms, each target in turn, and turns anew for each round.
func (b *bench) latencies(ctx context.Context) (err error) {
	targets, stop, err := b.launch(ctx, "20ms")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, rate := range b.rates {
		p50, p99 := map[string][]float64{}, map[string][]float64{}
		for round := range b.rounds {
			for _, t := range targets {
				l := newLoad(t, false)
				l.open(ctx, rate, b.seconds/10, 1) // connections are made before they are measured
				a := l.open(ctx, rate, b.seconds, uint64(round)+2)
				l.close()
				b.count(t, a)
				p50[t.name], p99[t.name] = append(p50[t.name], a.quantile(.5)), append(p99[t.name], a.quantile(.99))
			}
		}
		for name := range p50 {
			if b.p50[name] == nil {
				b.p50[name], b.p99[name] = map[float64]float64{}, map[float64]float64{}
			}
			b.p50[name][rate], b.p99[name][rate] = middle(p50[name]), middle(p99[name])
		}
	}
	for _, t := range targets {
		var firsts []float64
		for round := range b.rounds {
			l := newLoad(t, true)
			l.open(ctx, streamRate, b.seconds/10, 1)
			a := l.open(ctx, streamRate, b.seconds, uint64(round)+2)
			l.close()
			b.count(t, a)
			firsts = append(firsts, quantile(a.first, .5))
		}
		b.ttft[t.name] = middle(firsts)
	}
	return b.finish(ctx, targets)
}

// throughput measures with a model that answers at once.
func (b *bench) throughput(ctx context.Context) (err error) {
	targets, stop, err := b.launch(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	rates := map[string][]float64{}
	for range b.rounds {
		for _, t := range targets {
			l := newLoad(t, false)
			l.closed(ctx, peakConns, b.seconds/10)
			a := l.closed(ctx, peakConns, b.seconds)
			l.close()
			b.count(t, a)
			rates[t.name] = append(rates[t.name], float64(len(a.latency))/a.elapsed.Seconds())
			if t.api != "" {
				if _, err := t.settled(ctx); err != nil {
					return err
				}
			}
		}
	}
	for _, t := range targets {
		b.peak[t.name] = middle(rates[t.name])
	}
	return b.finish(ctx, targets)
}

func (b *bench) count(t *target, a answers) {
	if b.failures[t.name] += a.failed; a.failed > 0 {
		b.example[t.name] = a.example
	}
}

// middle is the median; NaN of none.
func middle(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if len(s) == 0 {
		return math.NaN()
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// added is what a target takes longer than the model alone.
func (b *bench) added(of map[string]map[float64]float64, name string, rate float64) float64 {
	return of[name][rate] - of["no gateway"][rate]
}

// missed says which bars telltale did not clear. What was not measured is missed.
func (b *bench) missed() error {
	var errs []error
	if len(b.missing) > 0 {
		errs = append(errs, fmt.Errorf("not installed: %s", strings.Join(b.missing, ", ")))
	}
	p50, p99 := b.added(b.p50, "telltale", barRate), b.added(b.p99, "telltale", barRate)
	if !(p50 <= barP50) {
		errs = append(errs, fmt.Errorf("p50 at %d requests a second: %.2f ms added, bar %.2f", barRate, p50*1e3, barP50*1e3))
	}
	if !(p99 <= barP99) {
		errs = append(errs, fmt.Errorf("p99 at %d requests a second: %.2f ms added, bar %.2f", barRate, p99*1e3, barP99*1e3))
	}
	if share := b.peak["telltale"] / b.peak["nginx"]; !(share >= barShare) {
		errs = append(errs, fmt.Errorf("throughput: %.0f%% of nginx's, bar %.0f%%", 100*share, 100*barShare))
	}
	if m := b.memory["telltale"].peak; !(m > 0 && m < barMemory) {
		errs = append(errs, fmt.Errorf("memory: %d MB, bar %d", m>>20, barMemory>>20))
	}
	if c := b.captured; b.sent == 0 || c.Seen != b.sent || c.Stored != b.sent {
		errs = append(errs, fmt.Errorf("sent %d, saw %d, stored %d", b.sent, c.Seen, c.Stored))
	}
	// A gateway that fails requests is no measure for another.
	for _, name := range b.names {
		if n := b.failures[name]; n > 0 {
			errs = append(errs, fmt.Errorf("%s: %d requests failed, such as: %s", name, n, b.example[name]))
		}
	}
	return errors.Join(errs...)
}
