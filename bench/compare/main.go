// Command compare measures telltale against promptfoo on one suite and one server.
//
// It writes a suite in promptfoo's format and its cases into a temporary directory, starts telltale sim
// on loopback, and runs both tools on that same file in turn, several rounds, each as a user would: as a
// process of its own, from start-up to written results. It checks that the server was asked once for
// every case and that both tools failed the same cases, and then compares throughput and memory. Last it
// runs a large suite through telltale alone, to show that memory does not follow the number of cases.
//
// It is not a benchmark of single functions (go test -bench has those), and it measures no model: the
// simulated server answers at once, so that what is measured is the tools.
//
// Nothing it starts reaches another machine. Results are printed as Markdown, and go into a document
// between two marker lines when -doc names one. With -enforce a missed bar makes it fail; wrong
// results always do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/telltale-llm/telltale/bench/figures"
)

// Bars that the comparison has to clear.
const (
	leastSpeedup   = 30.0      // telltale's throughput, in multiples of promptfoo's
	mostMemory     = 1.0 / 3   // telltale's peak memory, as a share of promptfoo's
	mostLargeBytes = 300 << 20 // telltale's peak memory for the large suite
)

// options are the command line.
type options struct {
	telltale     string
	tools        string
	cases        int
	otherCases   int
	large        int
	rounds       int
	concurrency  int
	enforce      bool
	doc          string
	keep         string
	skipPromptfo bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.StringVar(&o.telltale, "telltale", "bin/telltale", "the built `binary`")
	f.StringVar(&o.tools, "tools", "bench", "`directory` in which npm ci was run")
	f.IntVar(&o.cases, "cases", 10_000, "cases of the compared suite")
	f.IntVar(&o.otherCases, "promptfoo-cases", 0, "give promptfoo only the first `N` of them (0: all)")
	f.IntVar(&o.large, "large", 200_000, "cases of the suite for telltale alone (0: leave it out)")
	f.IntVar(&o.rounds, "rounds", 3, "how often each tool runs")
	f.IntVar(&o.concurrency, "concurrency", 64, "requests at a time")
	f.BoolVar(&o.enforce, "enforce", false, "fail when a bar is missed")
	f.StringVar(&o.doc, "doc", "", "`file` whose figures are replaced")
	f.StringVar(&o.keep, "keep", "", "work in this `directory` and leave it there")
	f.BoolVar(&o.skipPromptfo, "telltale-only", false, "leave promptfoo out")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected arguments %q", f.Args())
	}
	if o.cases < 100 || o.otherCases < 0 || o.large < 0 || o.rounds < 1 || o.concurrency < 1 {
		return o, fmt.Errorf("want -cases from 100, -rounds and -concurrency from 1, and no negative numbers")
	}
	if o.otherCases == 0 || o.otherCases > o.cases {
		o.otherCases = o.cases
	}
	if o.enforce && (o.skipPromptfo || o.otherCases != o.cases) {
		return o, fmt.Errorf("-enforce needs promptfoo on all the cases")
	}
	return o, nil
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "telltale-bench-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if o.telltale, err = filepath.Abs(o.telltale); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b := &bench{options: o, dir: dir, machine: describeMachine()}
	if err := b.measure(ctx); err != nil {
		return err
	}
	text := b.markdown()
	fmt.Println(text)
	if o.doc != "" {
		if err := figures.Replace(o.doc, beginMark, endMark, text); err != nil {
			return err
		}
	}
	if missed := b.missed(); o.enforce && missed != nil {
		return missed
	}
	return nil
}
