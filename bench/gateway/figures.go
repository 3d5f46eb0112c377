package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
)

func (b *bench) markdown() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d cores, linux/%s, Go %s. `make bench-gateway`: %v a measurement, median of %d rounds. Latencies are what the gateway adds to the model's own, in ms (p50 / p99).\n\n",
		runtime.NumCPU(), runtime.GOARCH, strings.TrimPrefix(runtime.Version(), "go"), b.seconds, b.rounds)
	s.WriteString("| |")
	for _, r := range b.rates {
		fmt.Fprintf(&s, " %g/s |", r)
	}
	s.WriteString(" first token, streams at 100/s | most requests/s, model of 0 ms | peak memory, MB | failed |\n|---|")
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
		fmt.Fprintf(&s, " %.2f | %.0f | %d | %d |\n", 1e3*(b.ttft[name]-b.ttft["no gateway"]), b.peak[name], b.memory[name]>>20, b.failures[name])
	}
	fmt.Fprintf(&s, "\ntelltale saw %d exchanges and stored %d.", b.captured.Seen, b.captured.Stored)
	if len(b.missing) > 0 {
		fmt.Fprintf(&s, " Not installed, so not measured: %s.", strings.Join(b.missing, ", "))
	}
	s.WriteString("\n")
	return s.String()
}

// replaceFigures puts text between the document's marker lines.
func replaceFigures(path, text string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(data), beginMark+"\n")
	_, after, closed := strings.Cut(rest, endMark)
	if !found || !closed {
		return errors.New(path + " has no lines " + beginMark + " and " + endMark)
	}
	return os.WriteFile(path, []byte(before+beginMark+"\n"+text+endMark+after), 0o644)
}
