package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// machine is what the figures depend on.
type machine struct {
	cpu      string
	memoryMB int64
	load     string // of the last minute, before the start
}

func look() (m machine) {
	m.cpu = procField("/proc/cpuinfo", "model name")
	var kib int64
	if _, err := fmt.Sscan(procField("/proc/meminfo", "MemTotal"), &kib); err == nil {
		m.memoryMB = kib >> 10
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.load, _, _ = strings.Cut(string(b), " ")
	}
	return m
}

// procField reads the first value under a name, as in "name : value".
func procField(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (b *bench) markdown(m machine) string {
	var s strings.Builder
	fmt.Fprintf(&s, "Measured on %s: %d cores (%s), %d GB of memory, %s/%s; load %s before the start. Go %s.\n", time.Now().UTC().Format(time.DateOnly),
		runtime.NumCPU(), m.cpu, (m.memoryMB+512)>>10, runtime.GOOS, runtime.GOARCH, m.load, strings.TrimPrefix(runtime.Version(), "go"))
	fmt.Fprintf(&s, "%v a measurement, median of %d rounds; %v in all. Latencies are what the gateway adds to the model's own, in ms (p50 / p99).\n\n", b.seconds, b.rounds, b.took.Round(time.Second))
	s.WriteString("| |")
	for _, r := range b.rates {
		fmt.Fprintf(&s, " %g/s |", r)
	}
	fmt.Fprintf(&s, " first token, streams at %d/s | most requests/s", streamRate)
	s.WriteString(", model of 0 ms | peak memory, MB | failed |\n|---|")
	s.WriteString(strings.Repeat("---|", len(b.rates)+4) + "\n")
	for _, name := range b.names {
		fmt.Fprintf(&s, "| %s |", name)
		for _, r := range b.rates {
			if name == "no gateway" {
				fmt.Fprintf(&s, " (%.2f / %.2f) |", 1e3*b.p50[name][r], 1e3*b.p99[name][r])
			} else {
				fmt.Fprintf(&s, " %.2f / %.2f |", 1e3*b.added(b.p50, name, r), 1e3*b.added(b.p99, name, r))
			}
		}
		if name == "no gateway" {
			fmt.Fprintf(&s, " (%.2f) | %.0f | | %d |\n", 1e3*b.ttft[name], b.peak[name], b.failures[name])
			continue
		}
		fmt.Fprintf(&s, " %.2f | %.0f | %d | %d |\n", 1e3*(b.ttft[name]-b.ttft["no gateway"]), b.peak[name], b.memory[name].peak>>20, b.failures[name])
	}
	fmt.Fprintf(&s, "\n%d requests were sent through telltale; it saw %d exchanges and stored %d. Its throughput was %.0f%% of nginx's. Of its memory %d MB were pages of files, mostly of the program itself.",
		b.sent, b.captured.Seen, b.captured.Stored, 100*b.peak["telltale"]/b.peak["nginx"], b.memory["telltale"].file>>20)
	if len(b.missing) > 0 {
		fmt.Fprintf(&s, " Not installed, so not measured: %s.", strings.Join(b.missing, ", "))
	}
	s.WriteString("\n")
	return s.String()
}
