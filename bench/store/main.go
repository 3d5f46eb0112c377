//go:build cgo

// Command store measures the embedded store: appending, the series of the last hour and pages, with millions of exchanges
// stored. It prints a table, can write it into a document, and fails where a bar is missed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	var o options
	flag.IntVar(&o.rows, "rows", 10_000_000, "exchanges that are stored before anything is measured")
	flag.IntVar(&o.append, "append", 1_000_000, "exchanges that are appended and measured")
	flag.IntVar(&o.batch, "batch", 10_000, "exchanges of one Put")
	flag.IntVar(&o.rate, "rate", 300, "exchanges a second in stored time: 300 puts a million into the last hour")
	flag.Float64Var(&o.content, "content", .1, "share of the first exchanges that has content of 1 KB; all appended ones have")
	flag.StringVar(&o.dir, "dir", "", "directory of the database; a temporary one, which is removed, when empty")
	flag.StringVar(&o.memory, "memory", "", "memory_limit; the store's default when empty")
	flag.BoolVar(&o.enforce, "enforce", false, "exit with 1 when a bar is missed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	start := time.Now()
	missed, err := run(ctx, o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench store:", err)
		os.Exit(4)
	}
	fmt.Printf("\ntook %s\n", time.Since(start).Round(time.Second))
	if o.enforce && missed > 0 {
		os.Exit(1)
	}
}
