// Command telltale evaluates language-model systems and says, with stated uncertainty, whether they
// are still good.
//
// This package turns flags into options for package app and results into output and an exit code;
// it holds one file per subcommand and no logic of its own.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() { os.Exit(Main()) }

// Main runs the command line of the process and returns its exit code.
func Main() int {
	// Samples in flight are few and live shortly: collecting them four times as late costs some
	// 30 MB and saves a tenth of the processor. GOGC overrides it.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	// The first signal ends the work cleanly; after it a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
}

// collectEarly makes the garbage collector run early, for work that keeps much and has little in flight: a comparison of
// runs. There it costs no time that can be measured, and takes a third of the memory. The function that it returns
// ends that. Each first gives back what the work before has left behind: the collector's next goal would else be a
// multiple of that. After the comparison the collector is Go's own, for what is left in pieces takes room besides. GOGC
// overrides both.
func collectEarly() (done func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	debug.FreeOSMemory()
	debug.SetGCPercent(20)
	return func() {
		debug.FreeOSMemory()
		debug.SetGCPercent(100)
	}
}

// streams are the process's standard streams, replaced in tests.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func run(ctx context.Context, args []string, s streams) int {
	root := newRootCmd(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code, message := exitCode(ctx, err)
	if message != "" {
		fmt.Fprintln(s.err, message)
	}
	return code
}
