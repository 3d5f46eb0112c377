// Package app is the only place where telltale's parts are connected: it loads a suite, opens its
// dataset and providers, compiles its checks, has the runner execute the plan, and turns the
// finished samples into metrics, a verdict and reports.
//
// It prints nothing and knows no flags; package main does that. It decides nothing itself: verdicts
// are package gate's.
package app

import (
	"errors"
	"fmt"
)

// Version is the telltale version, set by the linker for releases.
var Version = "0.1.0-dev"

// CouldNotRun says that the run could not be carried out although what the user wrote is sound: a
// provider is not reachable, a disk is full.
type CouldNotRun struct{ Err error }

// Error is the cause's message.
func (e *CouldNotRun) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *CouldNotRun) Unwrap() error { return e.Err }

// Interrupted says that the run was ended from outside and can be resumed.
type Interrupted struct {
	Dir         string
	Done, Total int
	Stopped     string
}

// Error says how far the run came.
func (e *Interrupted) Error() string {
	if e.Dir == "" {
		return e.Stopped + "; nothing was run"
	}
	return fmt.Sprintf("%s after %d of %d samples, which are kept in %s", e.Stopped, e.Done, e.Total, e.Dir)
}

// joinClose adds the error of closing to err.
func joinClose(err *error, close func() error) {
	*err = errors.Join(*err, close())
}
