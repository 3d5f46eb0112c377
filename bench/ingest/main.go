// Command ingest measures how many exchanges a second telltale serve takes in, redacts, publishes, and stores such that a
// query finds them: over OTLP (protobuf over HTTP, plain and gzip) and as NDJSON, 1 KB of content each.
//
// Everything runs on this machine, the sender too, so that the rate is that of all cores together. Senders wait for each
// answer and come again when they are told to, as exporters do. The rate counts from the first request until the last
// exchange that was acknowledged is in the store, so that no queue can hide in it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"time"
)

const (
	barRate   = 15_000 // exchanges a second
	barMemory = 2 << 30
	beginMark = "<!-- ingest figures: written by make bench-ingest -->"
	endMark   = "<!-- end of ingest figures -->"
)

type options struct {
	telltale, only, doc string
	seconds             time.Duration
	conns, batch        int
	memory, profile     string
	enforce             bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("ingest", flag.ContinueOnError)
	f.StringVar(&o.telltale, "telltale", "bin/telltale", "telltale's binary")
	f.StringVar(&o.only, "only", "", "`names` of the formats to try, with commas: otlp, otlp-gzip, ndjson; all when empty")
	f.StringVar(&o.doc, "doc", "", "`file` whose figures are replaced")
	f.DurationVar(&o.seconds, "time", 40*time.Second, "time of each measurement")
	f.IntVar(&o.conns, "conns", 8, "requests under way at a time")
	f.IntVar(&o.batch, "batch", 512, "exchanges in a request, as the collector's batch processor has them at most by default")
	f.StringVar(&o.memory, "store-memory", "", "DuckDB's memory limit; the server's default when empty")
	f.StringVar(&o.profile, "profile", "", "`folder` for a CPU profile of each measurement")
	f.BoolVar(&o.enforce, "enforce", false, "fail when a bar is missed")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.seconds < time.Second || o.conns < 1 || o.batch < 1 || o.batch > 4096 || f.NArg() > 0 {
		return o, errors.New("want -time from 1s, -conns from 1, -batch from 1 to 4096 and no other arguments")
	}
	return o, nil
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	var rows []row
	for _, f := range formats {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+f.name+",") {
			continue
		}
		r, err := measure(ctx, o, f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		slog.Info("measured", "format", f.name, "rate", r.rate())
		rows = append(rows, r)
	}
	text := markdown(o, rows)
	fmt.Print(text)
	if o.doc != "" {
		if err := replaceFigures(o.doc, text); err != nil {
			return err
		}
	}
	if o.enforce {
		return missed(rows)
	}
	return nil
}

// missed says which bars were not cleared.
func missed(rows []row) error {
	var errs []error
	if len(rows) == 0 {
		errs = append(errs, errors.New("nothing was measured"))
	}
	for _, r := range rows {
		if !(r.rate() >= barRate) {
			errs = append(errs, fmt.Errorf("%s: %.0f exchanges a second, bar %d", r.name, r.rate(), barRate))
		}
		if !(r.peak > 0 && r.peak < barMemory) {
			errs = append(errs, fmt.Errorf("%s: %d MB, bar %d", r.name, r.peak>>20, barMemory>>20))
		}
		if r.stored != r.taken || r.taken == 0 {
			errs = append(errs, fmt.Errorf("%s: %d acknowledged, %d stored", r.name, r.taken, r.stored))
		}
	}
	return errors.Join(errs...)
}
