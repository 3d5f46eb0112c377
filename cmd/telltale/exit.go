package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// The exit codes. This file is their documentation; docs/exit-codes.md and --help repeat it.
const (
	exitPassed      = 0   // the gate passed
	exitFailed      = 1   // the gate failed: something is worse than what was asked
	exitUsage       = 2   // a mistake in the command line, the suite or the data; nothing was run or written
	exitUndecided   = 3   // the run ended but the data do not decide
	exitNotRun      = 4   // the run could not be carried out: a provider is unreachable, every sample failed, a disk is full
	exitInterrupted = 130 // ended by a signal; --resume goes on
)

const exitHelp = `Exit codes: 0 passed, 1 gate failed, 2 usage or configuration, 3 undecided, 4 could not run, 130 interrupted.`

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// verdictError carries the gate's verdict out of a command that has already shown it.
type verdictError struct{ verdict verdict.Verdict }

func (e *verdictError) Error() string { return "the run is " + e.verdict.String() }

// exitCode maps an error to its exit code and to the message that is still to be shown.
func exitCode(ctx context.Context, err error) (code int, message string) {
	if err == nil {
		return exitPassed, ""
	}
	if v, ok := errors.AsType[*verdictError](err); ok {
		switch v.verdict {
		case verdict.Pass:
			return exitPassed, ""
		case verdict.Fail:
			return exitFailed, ""
		case verdict.Error:
			return exitNotRun, ""
		default:
			return exitUndecided, ""
		}
	}
	if _, ok := errors.AsType[*app.Interrupted](err); ok {
		return exitInterrupted, "telltale: " + err.Error()
	}
	if _, ok := errors.AsType[*app.CouldNotRun](err); ok {
		return exitNotRun, "error: " + err.Error()
	}
	if es, ok := errors.AsType[config.Errors](err); ok {
		return exitUsage, mistakes(es)
	}
	if e, ok := errors.AsType[*config.Error](err); ok {
		return exitUsage, mistakes(config.Errors{e})
	}
	if e, ok := errors.AsType[*usageError](err); ok {
		return exitUsage, "error: " + e.Error()
	}
	if ctx.Err() != nil {
		return exitInterrupted, "telltale: interrupted"
	}
	return exitNotRun, "error: " + err.Error()
}

// maxMistakes is how many mistakes are listed: one at the root of a large file can make many.
const maxMistakes = 50

// mistakes lists what is wrong, one a line, and counts.
func mistakes(es config.Errors) string {
	var b strings.Builder
	for _, e := range es[:min(len(es), maxMistakes)] {
		fmt.Fprintf(&b, "error: %s\n", e.Error())
	}
	if len(es) > maxMistakes {
		fmt.Fprintf(&b, "and %d more\n", len(es)-maxMistakes)
	}
	if len(es) > 1 {
		fmt.Fprintf(&b, "%d mistakes; nothing was run", len(es))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
