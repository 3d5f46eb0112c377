// Command gateway measures what a gateway costs: telltale serve with capture, redaction and roll-ups on, beside nginx as
// a plain reverse proxy and beside Portkey's gateway, all in front of the same simulated model, under the same open-loop
// load, in one run.
//
// Requests start at the times of one Poisson process, whatever became of those before, and latency counts from the time
// at which a request should have started, so that a slow gateway cannot hide its queue. Each gateway's figures stand
// beside those of the model without any gateway. It says nothing of machines with more cores, nor of networks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/bench/figures"
)

// Bars that telltale has to clear.
const (
	barRate    = 300   // requests a second at which the latency bars hold
	barP50     = .0008 // seconds that telltale may add
	barP99     = .003
	barShare   = .35       // of nginx's highest throughput
	barMemory  = 300 << 20 // bytes
	beginMark  = "<!-- gateway figures: written by make bench-gateway -->"
	endMark    = "<!-- end of gateway figures -->"
	peakConns  = 64 // concurrent requests when throughput is measured
	streamRate = 100
)

type options struct {
	telltale, tools, nginx, doc string
	rates                       []float64
	seconds                     time.Duration
	rounds                      int
	enforce                     bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("gateway", flag.ContinueOnError)
	f.StringVar(&o.telltale, "telltale", "bin/telltale", "telltale's binary")
	f.StringVar(&o.tools, "tools", "bench", "`folder` with node_modules that hold @portkey-ai/gateway; without it Portkey is left out")
	f.StringVar(&o.nginx, "nginx", "nginx", "nginx's binary; without it nginx is left out")
	f.StringVar(&o.doc, "doc", "", "`file` whose figures are replaced")
	rates := f.String("rates", "100,300,1000", "requests a second")
	f.DurationVar(&o.seconds, "time", 3*time.Second, "time of each measurement")
	f.IntVar(&o.rounds, "rounds", 3, "measurements of each figure; the median counts")
	f.BoolVar(&o.enforce, "enforce", false, "fail when a bar is missed, or a gateway that it is measured against is not there")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for s := range strings.SplitSeq(*rates, ",") {
		r, err := strconv.ParseFloat(s, 64)
		if err != nil || !(r > 0) || r > 1e5 {
			return o, fmt.Errorf("-rates %q: want numbers above 0 with commas", *rates)
		}
		o.rates = append(o.rates, r)
	}
	if o.rounds < 1 || o.seconds < time.Second || f.NArg() > 0 {
		return o, fmt.Errorf("want -rounds from 1, -time from 1s and no other arguments")
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
	dir, err := os.MkdirTemp("", "bench-gateway-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{options: o, dir: dir}
	m := look()
	if err := b.measure(ctx); err != nil {
		return err
	}
	text := b.markdown(m)
	fmt.Print(text)
	if o.doc != "" {
		if err := figures.Replace(o.doc, beginMark, endMark, text); err != nil {
			return err
		}
	}
	if o.enforce {
		return b.missed()
	}
	return nil
}
