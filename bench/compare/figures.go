package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// machine is what the figures were measured on.
type machine struct {
	system, cpu string
	cores       int
	memory      int64  // bytes; 0 when not known
	load        string // before the benchmark; empty when not known
}

func describeMachine() machine {
	m := machine{system: runtime.GOOS + "/" + runtime.GOARCH, cores: runtime.NumCPU()}
	m.cpu = procField("/proc/cpuinfo", "model name")
	var kib int64
	if _, err := fmt.Sscan(procField("/proc/meminfo", "MemTotal"), &kib); err == nil {
		m.memory = kib << 10
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.load, _, _ = strings.Cut(string(b), " ")
	}
	return m
}

// procField returns the first value of a "name: value" line, or "".
func procField(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (m machine) String() string {
	cpu := m.cpu
	if cpu == "" {
		cpu = "processor not known"
	}
	s := fmt.Sprintf("%d cores (%s), %s", m.cores, cpu, m.system)
	if m.memory > 0 {
		s = fmt.Sprintf("%d cores (%s), %.0f GB of memory, %s", m.cores, cpu, float64(m.memory)/(1<<30), m.system)
	}
	if m.load != "" {
		s += "; load " + m.load + " before the start"
	}
	return s
}

func megabytes(n int64) float64 { return float64(n) / (1 << 20) }

// markdown renders what was measured.
func (b *bench) markdown() string {
	var w strings.Builder
	fmt.Fprintf(&w, "Measured on %s: %s. Go %s", time.Now().UTC().Format("2006-01-02"), b.machine, strings.TrimPrefix(runtime.Version(), "go"))
	if b.theirs != nil {
		fmt.Fprintf(&w, "; promptfoo %s on Node %s", b.other.version, strings.TrimPrefix(b.other.nodeVersion, "v"))
	}
	fmt.Fprintf(&w, ". %d cases with 3 assertions each, %d requests at a time, medians of %d rounds.\n\n", b.cases, b.concurrency, b.rounds)
	fmt.Fprintln(&w, "| | telltale | promptfoo | ratio |")
	fmt.Fprintln(&w, "|---|---:|---:|---:|")
	row := func(name, format string, ratio string, f func(result) float64) {
		theirs := "–"
		if b.theirs != nil {
			theirs = fmt.Sprintf(format, median(b.theirs, f))
		} else {
			ratio = "–"
		}
		fmt.Fprintf(&w, "| %s | %s | %s | %s |\n", name, fmt.Sprintf(format, median(b.ours, f)), theirs, ratio)
	}
	over := func(f func(result) float64) float64 { return median(b.ours, f) / median(b.theirs, f) }
	ownRate := func(r result) float64 { return r.ownRate }
	cpuEach := func(r result) float64 { return r.cpu.Seconds() / float64(r.cases) * 1e6 }
	mb := func(r result) float64 { return megabytes(r.peak) }
	row("throughput, start to end of the process", "%.0f cases/s", fmt.Sprintf("%.1f×", b.speedup()), result.rate)
	row("throughput while evaluating, by the tool's own clock", "%.0f cases/s", fmt.Sprintf("%.1f×", over(ownRate)), ownRate)
	row("CPU time for each case", "%.0f µs", fmt.Sprintf("1/%.0f", 1/over(cpuEach)), cpuEach)
	row("peak memory", "%.0f MB", fmt.Sprintf("1/%.1f", 1/b.memory()), mb)
	row("wall time", "%.2f s", "", func(r result) float64 { return r.wall.Seconds() })
	fmt.Fprintf(&w, "\nThroughput of each round, in cases a second: telltale %s", list(b.ours))
	if b.theirs != nil {
		fmt.Fprintf(&w, "; promptfoo %s", list(b.theirs))
		if b.otherCases != b.cases {
			fmt.Fprintf(&w, " (on %d cases only)", b.otherCases)
		}
	}
	fmt.Fprintf(&w, ".\n")
	if b.theirs != nil {
		fmt.Fprintf(&w, "Every run failed exactly the cases that have to fail, in both tools.\n")
	}
	if l := b.largest; l != nil {
		fmt.Fprintf(&w, "\n%d cases through telltale, all reports written: %.0f MB at the peak, %.1f s, %.0f cases/s.\n", l.cases, megabytes(l.peak), l.wall.Seconds(), l.rate())
	}
	return w.String()
}

func list(rs []result) string {
	parts := make([]string, len(rs))
	for i, r := range rs {
		parts[i] = fmt.Sprintf("%.0f", r.rate())
	}
	return strings.Join(parts, ", ")
}

// Lines between which a document holds the figures.
const (
	beginMark = "<!-- figures: written by make bench -->"
	endMark   = "<!-- end of figures -->"
)
