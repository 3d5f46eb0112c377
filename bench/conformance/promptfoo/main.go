// Command promptfoo runs the suites in this folder twice against one simulated model server, through
// promptfoo from npm and through telltale, and compares the two verdicts on every test.
//
// The suites are promptfoo configurations of our own writing that cover the keys and the assertion
// types that both tools have. What promptfoo decided is kept in golden/, so that a test compares
// telltale with it without npm. make conformance-promptfoo runs this program; -update writes golden/ anew.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "bench/conformance/promptfoo", "folder of the suites")
	flag.StringVar(&o.npm, "npm", "bench", "folder in which npm ci was run")
	flag.BoolVar(&o.update, "update", false, "keep what promptfoo decides in golden/")
	flag.Parse()
	o.only = flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

type options struct {
	dir, npm string
	update   bool
	only     []string // names of suites; empty means all
}

func run(ctx context.Context, o options, w io.Writer) (err error) {
	suites, err := suiteFiles(o.dir, o.only)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "conformance-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	server, err := startServer(ctx, filepath.Join(o.dir, "sim.yaml"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "suite\ttests\tpass\tfail\terror\tdifferent")
	var differences []string
	for _, suite := range suites {
		name := nameOf(suite)
		theirs, err := runPromptfoo(ctx, o.npm, suite, filepath.Join(temp, name), server.url)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		ours, missing, err := runTelltale(ctx, suite, filepath.Join(temp, name, "telltale"), server.url)
		if err != nil {
			return fmt.Errorf("%s: telltale: %w", name, err)
		}
		if o.update {
			if err := writeGolden(o.dir, name, theirs); err != nil {
				return err
			}
		}
		n := count(theirs)
		if missing != "" {
			fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\tnot run: %s\n", name, len(theirs), n[passed], n[failed], n[errored], missing)
			differences = append(differences, name+": "+missing)
			continue
		}
		diff := compare(theirs, ours)
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\n", name, len(theirs), n[passed], n[failed], n[errored], len(diff))
		for _, d := range diff {
			differences = append(differences, name+": "+d)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(differences) > 0 {
		return fmt.Errorf("telltale and promptfoo differ:\n  %s", strings.Join(differences, "\n  "))
	}
	return nil
}

// suiteFiles lists the suites by name.
func suiteFiles(dir string, only []string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "suites", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, fmt.Errorf("no suites in %s", dir))
	}
	if len(only) == 0 {
		return files, nil
	}
	var out []string
	for _, f := range files {
		for _, name := range only {
			if strings.HasPrefix(nameOf(f), name) {
				out = append(out, f)
			}
		}
	}
	return out, nil
}

func nameOf(file string) string { return strings.TrimSuffix(filepath.Base(file), ".yaml") }
