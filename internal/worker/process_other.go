//go:build !unix

package worker

import "os/exec"

// ownGroup does nothing: there are no process groups here.
func ownGroup(*exec.Cmd) {}

// killGroup kills the program. What it started is left alone.
func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
