package dataset

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

// BenchmarkPass measures one reading of a file. rows/s is what counts.
func BenchmarkPass(b *testing.B) {
	const n = 20_000
	jsonl := rows(n)
	list := "[" + strings.ReplaceAll(strings.TrimSpace(jsonl), "\n", ",\n") + "]"
	var csv strings.Builder
	csv.WriteString("id,question,answer,level,topic\n")
	for i := range n {
		fmt.Fprintf(&csv, "case-%d,\"What is %d plus %d, and why do you say so?\",%d,%d,sums\n", i, i, i, 2*i, i%7)
	}
	bench := func(name, file, content string, t config.Tests, scan bool) {
		b.Run(name, func(b *testing.B) {
			t.Path = write(b, file, content)
			d := open(b, testOptions(), t)
			ref, err := d.Scan(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if scan {
					if _, err := d.Scan(b.Context(), nil); err != nil {
						b.Fatal(err)
					}
					continue
				}
				for _, err := range d.Rows(b.Context()) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(ref.Rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
	for _, scan := range []bool{true, false} {
		pass := map[bool]string{true: "scan", false: "rows"}[scan]
		bench(filepath.Join(pass, "jsonl"), "a.jsonl", jsonl, config.Tests{}, scan)
		bench(filepath.Join(pass, "jsonl-content-ids"), "a.jsonl", jsonl, config.Tests{ID: "-"}, scan)
		bench(filepath.Join(pass, "jsonl-sample"), "a.jsonl", jsonl, config.Tests{Sample: 500}, scan)
		bench(filepath.Join(pass, "json"), "a.json", list, config.Tests{}, scan)
		bench(filepath.Join(pass, "csv"), "a.csv", csv.String(), config.Tests{}, scan)
	}
}
