// Command faults breaks what is behind telltale's gateway while users send requests, and looks at what the users noticed
// and what was lost: the server is killed again and again, its disk is full, its store cannot be opened, its NATS server is
// gone. Everything runs on this machine, with a simulated model that takes 20 ms.
//
// Requests start at the times of a Poisson process, each with a session of its own, so that every one can be looked for in
// the store afterwards. Latency counts from the time at which a request should have started. Windows with a fault and
// windows without one take turns in the same run, so that what else the machine does meets both, and their p99 are compared
// as a ratio with its confidence interval. It says nothing of machines that lose power: a killed process leaves its writes to
// the system.
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
	"syscall"
	"time"

	"github.com/telltale-llm/telltale/bench/figures"
)

type options struct {
	telltale, only, doc      string
	kills, rounds            int
	rate                     float64
	window, storeAway, flood time.Duration
	seed                     uint64
	enforce, keep            bool
	patient                  bool // latencies are not compared
}

const (
	barSlower = 1.1 // users' p99 with a fault, of the normal one
	// moreRounds are added when the interval of the ratio has the bar in it.
	moreRounds = 3
	// Between an answer and the record of it on the bus lie a queue, a frame that waits 5 ms, and a sync of the disk.
	barInFlight = time.Second
	beginMark   = "<!-- fault figures: written by make bench-faults -->"
	endMark     = "<!-- end of fault figures -->"
)

func main() {
	if dir := os.Getenv(natsDir); dir != "" {
		if err := runNATS(dir, os.Getenv(natsPort)); err != nil {
			fmt.Fprintln(os.Stderr, "faults: nats:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	f.StringVar(&o.telltale, "telltale", "bin/telltale", "telltale's binary")
	f.StringVar(&o.only, "only", "", "`names` of the faults to try, with commas: kill, disk, store, storedisk, nats; all when empty")
	f.StringVar(&o.doc, "doc", "", "`file` whose figures are replaced")
	f.IntVar(&o.kills, "kills", 20, "how often the server is killed")
	f.Float64Var(&o.rate, "rate", 200, "requests a second")
	f.IntVar(&o.rounds, "rounds", 3, "how often each part is taken away and comes back")
	f.DurationVar(&o.window, "window", 7*time.Second, "time of a measurement, with a fault and without one")
	f.DurationVar(&o.storeAway, "store-outage", time.Minute, "time that the store cannot be opened, the last time")
	f.DurationVar(&o.flood, "flood", 20*time.Second, "time of large requests while the disk is full, so that something has to be left out")
	f.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the times at which the server is killed")
	f.BoolVar(&o.enforce, "enforce", false, "fail when a bar is missed")
	f.BoolVar(&o.keep, "keep", false, "keep the directory with the server's files")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.kills < 1 || o.rounds < 1 || !(o.rate > 0) || o.window < time.Second || o.storeAway < o.window || o.flood < 0 || f.NArg() > 0 {
		return o, errors.New("want -kills and -rounds from 1, -rate above 0, -window from 1s, -store-outage from -window and no other arguments")
	}
	return o, nil
}

// fault is one way in which something breaks.
type fault struct {
	name string
	try  func(ctx context.Context, o options, dir string) (outcome, error)
}

// outcome is what a fault did.
type outcome struct {
	text       string // of the document
	row        string // of the table of outages there
	missed     []error
	unmeasured bool // for want of what it needs
}

func (r *outcome) miss(format string, args ...any) {
	r.missed = append(r.missed, fmt.Errorf(format, args...))
}

var faults = [...]fault{{"kill", tryKills}, {"disk", tryDisk}, {"store", tryStore}, {"storedisk", tryStoreDisk}, {"nats", tryNATS}}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if err := hurry(); err != nil {
		slog.Warn("what else the machine does will be in the latencies", "priority", err)
	}
	dir, err := os.MkdirTemp("", "bench-faults-")
	if err != nil {
		return err
	}
	if o.keep {
		slog.Info("files of the servers", "dir", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	var text strings.Builder
	var rows []string
	var missed []error
	for _, f := range faults {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+f.name+",") {
			continue
		}
		slog.Info("trying", "fault", f.name)
		r, err := f.try(ctx, o, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		text.WriteString(r.text)
		if r.row != "" {
			rows = append(rows, r.row)
		}
		for _, m := range r.missed {
			missed = append(missed, fmt.Errorf("%s: %w", f.name, m))
		}
	}
	if len(rows) > 0 {
		text.WriteString(heading(o) + strings.Join(rows, ""))
	}
	fmt.Print(text.String())
	if o.doc != "" {
		if err := figures.Replace(o.doc, beginMark, endMark, text.String()); err != nil {
			return err
		}
	}
	if o.enforce {
		return errors.Join(missed...)
	}
	for _, m := range missed {
		slog.Warn("missed", "bar", m)
	}
	return nil
}
