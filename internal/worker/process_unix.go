//go:build unix

package worker

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the program into a process group of its own: an interrupt typed at the terminal
// does not reach it, and everything it starts can be killed with it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the program and what it started. That it has gone already is not an error.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
