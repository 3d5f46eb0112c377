// Command rollout measures how often telltale takes back a canary that does no harm, and how soon one that does.
//
// It simulates traffic request by request: each is given to an arm with the propensity of the moment, and fails with the
// rate of its arm at that moment. The outcomes go, as evidence, through what a rollout puts them through, and through the
// rules that teams use instead: a fixed threshold, a pooled z-test looked at again and again, a normal mixture test. Over
// traffic in which both arms fail alike it counts who takes the canary back; over traffic in which the canary fails more
// often, after how many requests, beside the bound that no test with this alpha can beat.
//
// The same seed gives the same figures. Results are printed as Markdown, and go into a document between two marker lines
// when -doc names one. With -enforce a missed bar makes it fail.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/telltale-llm/telltale/bench/figures"
)

const (
	beginMark = "<!-- rollout figures: written by make bench-rollout -->"
	endMark   = "<!-- end of rollout figures -->"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "rollout:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("rollout", flag.ContinueOnError)
	runs := f.Int("runs", 4000, "simulated rollouts of each row")
	seed := f.Uint64("seed", 1, "seed of the simulation")
	doc := f.String("doc", "", "`file` whose figures are replaced")
	enforce := f.Bool("enforce", false, "fail when a bar is missed")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if *runs < 1 || f.NArg() > 0 {
		return fmt.Errorf("want -runs from 1 and no other arguments, got %d and %q", *runs, f.Args())
	}
	var harmless, harmful []row
	var missed []string
	for _, sc := range scenarios() {
		r, err := simulate(sc, *runs, *seed)
		if err != nil {
			return fmt.Errorf("%s: %w", sc.name, err)
		}
		if sc.ratio == 1 {
			harmless = append(harmless, r)
		} else {
			harmful = append(harmful, r)
		}
		missed = append(missed, r.missed()...)
	}
	text := markdown(harmless, harmful, *runs)
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

func markdown(harmless, harmful []row, runs int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d simulated rollouts in each row, alpha %g. False rollbacks: the share of rollouts of a canary that is exactly as good as the baseline that were taken back within the horizon, with the exact 95%% interval.\n\n", runs, alpha)
	b.WriteString("| both arms alike | horizon | telltale | fixed threshold | naive z | mSPRT |\n|---|---:|---:|---:|---:|---:|\n")
	for i := range harmless {
		r := &harmless[i]
		low, high := r.interval(ours)
		fmt.Fprintf(&b, "| %s | %d | %.2f%% (%.2f to %.2f) | %.1f%% | %.1f%% | %.2f%% |\n", r.name, r.horizon, 100*r.share(ours), 100*low, 100*high,
			100*r.share(threshold), 100*r.share(naive), 100*r.share(mixture))
	}
	b.WriteString("\nRequests, both arms together, until a canary that is worse was taken back; × is the ratio to the information bound ln(1/alpha)/I. A rule whose false rollbacks are not bounded is soon with the bad ones too; its column says nothing by itself.\n\n")
	b.WriteString("| canary | found | bound | telltale: median | mean | bar | threshold | naive z | mSPRT |\n|---|---:|---:|---:|---:|---|---:|---:|---:|\n")
	for i := range harmful {
		r := &harmful[i]
		median, mean := r.delay(ours)
		others := make([]string, 0, 3)
		for _, m := range []method{threshold, naive, mixture} {
			text := "–"
			if at, _ := r.delay(m); at <= float64(r.horizon) {
				text = fmt.Sprintf("%.0f", at)
			}
			others = append(others, text)
		}
		fmt.Fprintf(&b, "| %s | %.1f%% | %.0f | %.0f (%.2f×) | %.0f (%.2f×) | %s | %s |\n", r.name, 100*r.share(ours), r.bound, median, median/r.bound, mean, mean/r.bound,
			r.bar(), strings.Join(others, " | "))
	}
	return b.String()
}
