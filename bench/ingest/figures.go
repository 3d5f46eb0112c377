package main

import (
	"fmt"
	"runtime"
	"strings"
)

func markdown(o options, rows []row) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%d cores, the sender on them too; linux/%s, Go %s. `make bench-ingest`: %v of sending, %d exchanges a request, redaction and roll-ups on, embedded bus and DuckDB.\n\n",
		runtime.NumCPU(), runtime.GOARCH, strings.TrimPrefix(runtime.Version(), "go"), o.seconds, o.batch)
	t.WriteString("| | exchanges/s, sent to queryable | acknowledged | in the store | lag while sending, s (median / highest) | stored after the last was sent, s | server's CPU, µs each | sender's | peak memory, MB | on disk, bytes each | told to come again |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		each := func(v float64) float64 { return v / float64(max(1, r.stored)) }
		fmt.Fprintf(&t, "| %s | %.0f | %d | %d | %.1f / %.1f | %.1f | %.0f | %.0f | %d | %.0f | %d |\n", r.name, r.rate(), r.taken, r.found.ids, r.lag(.5).Seconds(), r.lag(1).Seconds(),
			(r.took - r.sending).Seconds(), each(float64(r.used.Microseconds())), each(float64(r.own.Microseconds())), r.peak>>20, each(float64(r.disk)), r.again)
	}
	t.WriteString("\n")
	for _, r := range rows {
		fmt.Fprintf(&t, "- %s: %d rows, %d different ids, %d different questions, %.0f bytes of text each; %d have what stands for an address, %d still have one\n",
			r.name, r.found.exchanges, r.found.ids, r.found.texts, float64(r.found.bytes)/float64(max(1, r.found.exchanges)), r.found.marked, r.found.leaked)
	}
	return t.String()
}
