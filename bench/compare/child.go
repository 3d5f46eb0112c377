package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what one process and its descendants used.
type usage struct {
	wall, cpu time.Duration
	peak      int64 // bytes of resident memory
}

// sampleEvery is how often the memory of a process tree is read. What a process reaches between two readings
// is not lost, since the kernel keeps its peak; only what it reaches after the last one is.
const sampleEvery = 20 * time.Millisecond

// command is a child process: a program, where it works, and its whole environment.
type command struct {
	args []string
	dir  string
	env  []string
	// ok lists the exit codes that are no failure of the benchmark.
	ok []int
}

// run runs the command to its end and measures it.
func (c command) run(ctx context.Context) (usage, error) {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	stop, sampled := make(chan struct{}), make(chan int64)
	go func() { sampled <- peakOfTree(cmd.Process.Pid, stop) }()
	err := cmd.Wait()
	u := usage{wall: time.Since(start)}
	close(stop)
	u.peak = <-sampled
	state := cmd.ProcessState
	if state == nil {
		return u, err
	}
	u.cpu = state.UserTime() + state.SystemTime()
	if u.peak == 0 {
		// Not used where there is something better: on Linux this count starts at what the parent held when
		// it started the child.
		u.peak = peakOf(state)
	}
	for _, code := range c.ok {
		if state.ExitCode() == code {
			return u, nil
		}
	}
	return u, fmt.Errorf("%s ended with %v:\n%s", strings.Join(c.args, " "), state, tail(out.String(), 2000))
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// peakOf is the kernel's count for the process and the descendants it has waited for, whichever was largest.
func peakOf(state *os.ProcessState) int64 {
	r, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" { // in bytes there, in KiB elsewhere
		return r.Maxrss
	}
	return r.Maxrss << 10
}

// peakOfTree reads the memory of a process with all its descendants until stop is closed, and returns the
// peak: the first process's own, as the kernel keeps it, or the largest sum seen. It returns 0 where /proc
// does not have it.
func peakOfTree(pid int, stop <-chan struct{}) int64 {
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	var peak int64
	for {
		select {
		case <-stop:
			return peak
		case <-t.C:
			m := memoryOf(pid)
			peak = max(peak, m.peak, m.resident+descendants(pid))
		}
	}
}

// descendants is the resident memory of all that a process has started, directly or not.
func descendants(pid int) int64 {
	var sum int64
	threads, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children"))
	for _, file := range threads {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the process has ended meanwhile
		}
		for _, child := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(child); err == nil {
				sum += memoryOf(n).resident + descendants(n)
			}
		}
	}
	return sum
}

// memory is what the kernel says of one process, in bytes.
type memory struct{ resident, peak int64 }

func memoryOf(pid int) memory {
	file := filepath.Join("/proc", strconv.Itoa(pid), "status")
	read := func(name string) int64 {
		var kib int64
		_, _ = fmt.Sscan(procField(file, name), &kib) // 0 when the process has ended
		return kib << 10
	}
	return memory{resident: read("VmRSS"), peak: read("VmHWM")}
}
