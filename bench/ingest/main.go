// Command ingest measures how many exchanges a second telltale serve takes in, redacts, publishes, and stores such that a
// query finds them: over OTLP (protobuf over HTTP, plain and gzip) and as NDJSON, 1 KB of content each; and how long
// after its acknowledgement an exchange is found at the rate of the bar.
//
// Everything runs on this machine, the sender too, so that the rate is that of all cores together. Senders wait for each
// answer and come again when they are told to, as exporters do. The rate counts from the first request until the last
// exchange that was acknowledged is in the store, so that no queue can hide in it. When the server has ended, its database is
// opened and looked through: ids and texts must be as many as were acknowledged, and none may hold what was to be redacted.
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

	"github.com/telltale-llm/telltale/bench/figures"
)

const (
	barRate   = 15_000 // exchanges a second
	barMemory = 2 << 30
	barText   = 1000 // bytes
	beginMark = "<!-- ingest figures: written by make bench-ingest -->"
	closeMark = "<!-- end of ingest figures -->"
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
	f.StringVar(&o.only, "only", "", "`names` of the formats to try, with commas: otlp, otlp-paced, otlp-gzip, ndjson; all when empty")
	f.StringVar(&o.doc, "doc", "", "`file` whose figures are replaced")
	f.DurationVar(&o.seconds, "time", 30*time.Second, "time of each measurement")
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
		if err := figures.Replace(o.doc, beginMark, closeMark, text); err != nil {
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
		miss := func(text string, args ...any) { errs = append(errs, fmt.Errorf(r.name+": "+text, args...)) }
		if r.pace == 0 && !(r.rate() >= barRate) {
			miss("%.0f exchanges a second, bar %d", r.rate(), barRate)
		}
		if !(r.peak > 0 && r.peak < barMemory) {
			miss("%d MB, bar %d", r.peak>>20, barMemory>>20)
		}
		f := r.found
		if r.taken == 0 || r.stored != r.taken || f.exchanges != r.taken || f.ids != r.taken || f.texts != r.taken {
			miss("%d acknowledged, %d found by the server, %d in the database, of them %d with an id and %d with a text of their own", r.taken, r.stored, f.exchanges, f.ids, f.texts)
		}
		if f.leaked > 0 || f.marked == 0 {
			miss("%d texts with an address, %d with what stands for one", f.leaked, f.marked)
		}
		if f.bytes < barText*f.exchanges {
			miss("%d bytes of text in %d exchanges, want %d each", f.bytes, f.exchanges, barText)
		}
	}
	return errors.Join(errs...)
}
