package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sort"
	"time"
)

// bench is one execution of the benchmark and what it has measured.
type bench struct {
	options
	dir     string
	machine machine
	server  *server
	other   promptfoo

	ours, theirs []result
	largest      *result
	simCPU       time.Duration
}

// result is one run of one tool.
type result struct {
	usage
	outcome
	cases int
}

// rate is the whole process's throughput in cases a second, from its start to its end.
func (r result) rate() float64 { return float64(r.cases) / r.wall.Seconds() }

// measure runs everything, the tools in turn.
func (b *bench) measure(ctx context.Context) (err error) {
	if !b.skipPromptfo {
		if b.other, err = findPromptfoo(ctx, b.tools); err != nil {
			return err
		}
	}
	if b.server, err = startServer(ctx, b.telltale); err != nil {
		return err
	}
	defer func() {
		var stopErr error
		b.simCPU, stopErr = b.server.stop()
		err = errors.Join(err, stopErr)
	}()
	for round := range b.rounds {
		r, err := b.once(ctx, fmt.Sprintf("telltale-%d", round), b.cases, func(dir string) command {
			return telltaleCommand(b.telltale, dir, b.concurrency)
		}, readTelltale)
		if err != nil {
			return err
		}
		b.ours = append(b.ours, r)
		if b.skipPromptfo {
			continue
		}
		r, err = b.once(ctx, fmt.Sprintf("promptfoo-%d", round), b.otherCases, func(dir string) command {
			return b.other.command(dir, b.concurrency)
		}, readPromptfoo)
		if err != nil {
			return err
		}
		b.theirs = append(b.theirs, r)
	}
	if b.large == 0 {
		return nil
	}
	r, err := b.once(ctx, "large", b.large, func(dir string) command {
		return telltaleCommand(b.telltale, dir, b.concurrency)
	}, readTelltale)
	b.largest = &r
	return err
}

// once runs one tool on n cases in a directory of its own, and checks that it did all of the work and no other.
func (b *bench) once(ctx context.Context, name string, n int, build func(dir string) command, read func(dir string) (outcome, error)) (r result, err error) {
	dir := filepath.Join(b.dir, name)
	if err := os.RemoveAll(dir); err != nil {
		return r, err
	}
	failing, err := writeSuite(dir, b.server.baseURL, n)
	if err != nil {
		return r, err
	}
	before, err := b.server.requests(ctx)
	if err != nil {
		return r, err
	}
	r.cases = n
	if r.usage, err = build(dir).run(ctx); err != nil {
		return r, err
	}
	after, err := b.server.requests(ctx)
	if err != nil {
		return r, err
	}
	if r.outcome, err = read(dir); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(os.Stderr, "%-12s %7d cases  %7.2f s  %6.0f cases/s  %7.2f s CPU  %5.0f MB\n", name, n, r.wall.Seconds(), r.rate(), r.cpu.Seconds(), megabytes(r.peak))
	if err := verify(r, failing, after-before); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	if b.keep == "" {
		return r, os.RemoveAll(dir)
	}
	return r, nil
}

// verify compares what a tool found with what is known of the suite.
func verify(r result, failing map[string]bool, requests int) error {
	if requests != r.cases {
		return fmt.Errorf("the server had %d requests, want one for each of the %d cases", requests, r.cases)
	}
	if r.passed != r.cases-len(failing) || r.failed != len(failing) || r.errored != 0 {
		return fmt.Errorf("%d passed, %d failed, %d errors; want %d, %d and 0", r.passed, r.failed, r.errored, r.cases-len(failing), len(failing))
	}
	if !maps.Equal(r.outcome.failing, failing) {
		return fmt.Errorf("other cases failed than those that have to")
	}
	return nil
}

// median of f over the results, the mean of the middle two for an even number.
func median(rs []result, f func(result) float64) float64 {
	values := make([]float64, len(rs))
	for i, r := range rs {
		values[i] = f(r)
	}
	return middle(values)
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sort.Float64s(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func peak(r result) float64 { return float64(r.peak) }

// speedup is the median over the rounds of telltale's throughput in multiples of promptfoo's. Both runs of a round share what else the
// machine was doing at the time.
func (b *bench) speedup() float64 {
	ratios := make([]float64, len(b.theirs))
	for i := range ratios {
		ratios[i] = b.ours[i].rate() / b.theirs[i].rate()
	}
	return middle(ratios)
}

// memory is telltale's median peak memory as a share of promptfoo's.
func (b *bench) memory() float64 { return median(b.ours, peak) / median(b.theirs, peak) }

// missed says which bars were missed. A figure that was not measured is a miss too.
func (b *bench) missed() error {
	var errs []error
	if s := b.speedup(); !(s >= leastSpeedup) {
		errs = append(errs, fmt.Errorf("throughput is %.1f times promptfoo's, want at least %.0f", s, leastSpeedup))
	}
	if m := b.memory(); !(m <= mostMemory) {
		errs = append(errs, fmt.Errorf("peak memory is %.2f of promptfoo's, want at most a third", m))
	}
	switch {
	case b.largest == nil:
		errs = append(errs, fmt.Errorf("the large suite was not run"))
	case b.largest.peak >= mostLargeBytes:
		errs = append(errs, fmt.Errorf("%d cases took %.0f MB, want less than %.0f", b.largest.cases, megabytes(b.largest.peak), megabytes(mostLargeBytes)))
	}
	return errors.Join(errs...)
}
