//go:build cgo

package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // the driver, to fill the tables

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
	"github.com/telltale-llm/telltale/internal/store/duckdb"
)

type options struct {
	rows, append, batch, rate int
	content                   float64
	dir, memory               string
	enforce                   bool
}

// figure is a line of the table; a bar of 0 is none.
type figure struct {
	name, unit string
	value, bar float64
	atLeast    bool
}

func (f figure) missed() bool {
	return f.bar > 0 && (f.atLeast && f.value < f.bar || !f.atLeast && f.value > f.bar)
}

func run(ctx context.Context, o options, out io.Writer) (missed int, err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "telltale-bench-store-"); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	end := time.Now().UTC().Truncate(time.Second)
	if err := fill(ctx, o, end); err != nil {
		return 0, err
	}
	forgetPeak()
	s, err := duckdb.Open(ctx, o.dir, duckdb.Options{Memory: o.memory})
	if err != nil {
		return 0, err
	}
	figures, err := measure(ctx, o, s, end)
	if err = errors.Join(err, s.Close()); err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "%d exchanges stored, %d appended in batches of %d with 1 KB of content each; %d exchanges a second of stored time; %d cores, %s\n\n", o.rows, o.append, o.batch, o.rate, runtime.NumCPU(), runtime.Version())
	for _, f := range figures {
		bar := ""
		if f.bar > 0 {
			bar = fmt.Sprintf("bar %g", f.bar)
		}
		if f.missed() {
			bar += " MISSED"
			missed++
		}
		fmt.Fprintf(out, "%-52s %10.1f %-12s %s\n", f.name, f.value, f.unit, bar)
	}
	return missed, nil
}

// fill makes the tables and puts the first rows in from inside the engine.
func fill(ctx context.Context, o options, end time.Time) error {
	s, err := duckdb.Open(ctx, o.dir, duckdb.Options{Memory: o.memory})
	if err != nil {
		return err
	}
	st, err := s.Stats(ctx)
	if err := errors.Join(err, s.Close()); err != nil || o.rows == 0 || st.Exchanges > 0 {
		return err
	}
	db, err := sql.Open("duckdb", filepath.Join(o.dir, duckdb.File))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	step := int64(1e6) / int64(o.rate)
	start := end.UnixMicro() - int64(o.rows+o.append)*step
	for _, q := range []string{
		"SET memory_limit = '2GB'", "SET preserve_insertion_order = true",
		fmt.Sprintf(bulk, o.rows, start, step),
		fmt.Sprintf(`INSERT INTO content SELECT time, id, key, true, '', '[{"role":"user","content":"' || repeat(md5(id) || ' ', 7) || '"}]',
			repeat(md5(id || 'x') || ' please refund ', 10), '', '', '{"model":"gpt-4o-mini"}', '', '', '' FROM exchanges WHERE random() < %g`, o.content),
		// One exchange in fifty has been judged later.
		`INSERT INTO scores SELECT time + INTERVAL 1 HOUR, id, key, 'judged', 'j@1', random(), '{"name":"judged","value":0.5}' FROM exchanges WHERE random() < .02`,
		"CHECKPOINT",
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%.60s: %w", q, err)
		}
	}
	return db.Close()
}

func measure(ctx context.Context, o options, s store.Store, end time.Time) ([]figure, error) {
	var out []figure
	var busy, longest time.Duration
	var cpu float64
	n := 0
	// Making a batch costs as much as storing it, so it is not done at the same time.
	for b := range batches(o, end) {
		before, t := usage(), time.Now()
		added, err := s.Put(ctx, b)
		if err != nil {
			return nil, err
		}
		took := time.Since(t)
		cpu += usage() - before
		busy += took
		longest = max(longest, took)
		n += added
	}
	if n != o.append {
		return nil, fmt.Errorf("stored %d of %d exchanges", n, o.append)
	}
	if n > 0 {
		out = append(out, figure{name: "appended", unit: "exchanges/s", value: float64(n) / busy.Seconds(), bar: 20_000, atLeast: true},
			figure{name: "processor time of an exchange", unit: "µs", value: cpu / float64(n) * 1e6},
			figure{name: "longest Put (with a checkpoint)", unit: "ms", value: ms(longest)},
			figure{name: "peak memory while appending", unit: "MB", value: peak(), bar: 1000})
		forgetPeak()
	}
	reads := []struct {
		name string
		bar  float64
		do   func() error
	}{
		{"p50, p95, p99, errors by variant and minute, last hour", 300, func() error {
			_, err := s.Series(ctx, store.SeriesQuery{Filter: store.Filter{From: end.Add(-time.Hour), To: end}, Every: time.Minute, By: []store.Key{store.ByVariant}})
			return err
		}},
		{"the same of one route, by 10 s", 0, func() error {
			_, err := s.Series(ctx, store.SeriesQuery{Filter: store.Filter{From: end.Add(-time.Hour), To: end, Routes: []string{"route-1"}}, Every: 10 * time.Second, By: []store.Key{store.ByVariant}})
			return err
		}},
		{"p50, p95, p99, errors by variant and hour, everything", 0, func() error {
			_, err := s.Series(ctx, store.SeriesQuery{Filter: store.Filter{From: end.Add(-1000 * time.Hour), To: end}, Every: time.Hour, By: []store.Key{store.ByVariant}})
			return err
		}},
		{"newest 100", 0, func() error { _, err := s.List(ctx, store.Query{}); return err }},
		{"newest 100 with content", 0, func() error { _, err := s.List(ctx, store.Query{Content: true}); return err }},
		{"newest 100 failed of one route", 0, func() error {
			_, err := s.List(ctx, store.Query{Filter: store.Filter{Outcome: store.Failed, Routes: []string{"route-1"}}})
			return err
		}},
		{"newest 100 of one user", 0, func() error {
			_, err := s.List(ctx, store.Query{Filter: store.Filter{Users: []string{"u_00000a51"}}})
			return err
		}},
		{"newest 100 with a word in the text", 0, func() error {
			_, err := s.List(ctx, store.Query{Filter: store.Filter{Text: "please refund"}})
			return err
		}},
		{"100 with a score above a value", 0, func() error {
			v := .999
			_, err := s.List(ctx, store.Query{Filter: store.Filter{Scores: []store.ScoreFilter{{Name: "toxicity", Above: &v}}}})
			return err
		}},
		{"100 with a score above a value that came later", 0, func() error {
			v := .9
			_, err := s.List(ctx, store.Query{Filter: store.Filter{Scores: []store.ScoreFilter{{Name: "judged", Above: &v}}}})
			return err
		}},
		{"a score that none has", 0, func() error {
			_, err := s.List(ctx, store.Query{Filter: store.Filter{Scores: []store.ScoreFilter{{Name: "helpful"}}}})
			return err
		}},
		{"one exchange by id", 0, func() error {
			_, err := s.Exchange(ctx, fmt.Sprintf("append-%x-0", end.Unix()))
			return err
		}},
	}
	for _, r := range reads {
		v, err := median(r.do)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		out = append(out, figure{name: r.name, unit: "ms", value: v, bar: r.bar})
	}
	st, err := s.Stats(ctx)
	if err != nil {
		return nil, err
	}
	return append(out, figure{name: "on disk", unit: "MB", value: float64(st.Bytes) / 1e6},
		figure{name: "peak memory while reading", unit: "MB", value: peak(), bar: 1000}), nil
}

func batches(o options, end time.Time) iter.Seq[[]record.Exchange] {
	return func(yield func([]record.Exchange) bool) {
		r := rand.New(rand.NewPCG(1, 2))
		step := time.Second / time.Duration(o.rate)
		for n := 0; n < o.append; {
			b := make([]record.Exchange, 0, o.batch)
			for ; len(b) < o.batch && n < o.append; n++ {
				b = append(b, exchange(r, fmt.Sprintf("append-%x-%d", end.Unix(), n), end.Add(-step*time.Duration(o.append-n))))
			}
			if !yield(b) {
				return
			}
		}
	}
}

// median of seven, after one that is not counted.
func median(do func() error) (float64, error) {
	var times []float64
	for i := range 8 {
		t := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		if i > 0 {
			times = append(times, ms(time.Since(t)))
		}
	}
	sort.Float64s(times)
	return times[len(times)/2], nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// usage is the processor time of the process, in seconds.
func usage() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// forgetPeak makes peak start anew, where the system can.
func forgetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// peak is the largest resident set so far, in MB; 0 where the system does not say.
func peak() float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kb / 1024
		}
	}
	return 0
}
