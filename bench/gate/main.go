// Command gate measures how often the regression gate is wrong.
//
// It simulates many runs of a suite against the baseline's run, answer by answer, and puts each pair through what
// telltale puts it through: the samples are compared by package compare and judged by package gate, with further
// repeats where the gate asks for them. Over runs of an unchanged system it counts how often the gate fails; over runs
// with a true drop, how often it finds it.
//
// It measures neither speed nor a model, and reads and writes no run's directory. The same seed gives the same
// figures. Results are printed as Markdown, and go into a document between two marker lines when -doc names one. With
// -enforce a missed bar makes it fail.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/telltale-llm/telltale/bench/figures"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Bars that the gate has to clear.
const (
	mostFalse = 0.06 // of the runs of an unchanged system may fail, and of those worse by the margin pass, at alpha 0.05
	leastHits = 0.95 // of the runs with a drop of twice the planned effect must fail
)

const (
	beginMark = "<!-- gate figures: written by make bench-gate -->"
	endMark   = "<!-- end of gate figures -->"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("gate", flag.ContinueOnError)
	suites := f.Int("suites", 2000, "simulated suites of each row")
	seed := f.Uint64("seed", 1, "seed of the simulation")
	doc := f.String("doc", "", "`file` whose figures are replaced")
	enforce := f.Bool("enforce", false, "fail when a bar is missed")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if *suites < 1 || f.NArg() > 0 {
		return fmt.Errorf("want -suites from 1 and no other arguments, got %d and %q", *suites, f.Args())
	}
	var rows []row
	var missed []string
	for _, sc := range scenarios() {
		r, err := simulate(sc, *suites, *seed)
		if err != nil {
			return fmt.Errorf("%s: %w", sc.name, err)
		}
		rows = append(rows, r)
		if why := r.missed(); why != "" {
			missed = append(missed, why)
		}
	}
	text := markdown(rows, *suites)
	fmt.Print(text)
	if *doc != "" {
		if err := figures.Replace(*doc, beginMark, endMark, text); err != nil {
			return err
		}
	}
	if *enforce && len(missed) > 0 {
		return errors.New(strings.Join(missed, "; "))
	}
	return nil
}

func markdown(rows []row, suites int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d suites in each row, alpha %g; the planned effect is the drop that a single comparison finds with 80%% power. In brackets the 95%% interval of the share that the bar is about.\n\n", suites, alpha)
	b.WriteString("| gate | cases | margin, × planned | true drop, × planned | fails | passes | undecided | answers per case | bar |\n|---|---:|---:|---:|---:|---:|---:|---:|---|\n")
	for _, r := range rows {
		interval, _ := stats.Wilson(float64(r.decisive()), float64(r.runs), stats.Level)
		fmt.Fprintf(&b, "| %s | %d | %g | %g | %.2f%% | %.2f%% | %.2f%% | %.2f | %s (%.1f–%.1f%%) |\n", r.name, r.size(), cmp.Or(r.margin, 1), r.drop,
			100*r.share(r.failed), 100*r.share(r.passed), 100*r.share(r.undecided), float64(r.answers)/float64(r.runs), r.bar(), 100*interval.Low, 100*interval.High)
	}
	return b.String()
}
