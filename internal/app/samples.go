package app

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
)

// ReadSamples yields the samples of a finished run in the order of the plan.
func ReadSamples(dir string) iter.Seq2[record.Sample, error] {
	return func(yield func(record.Sample, error) bool) {
		path := filepath.Join(dir, samplesFile)
		f, err := os.Open(path)
		if err != nil {
			yield(record.Sample{}, err)
			return
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 1<<20)
		for n := 1; ; n++ {
			line, err := r.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return
			}
			if err != nil && !errors.Is(err, io.EOF) {
				yield(record.Sample{}, err)
				return
			}
			var s record.Sample
			if err := json.Unmarshal(line, &s); err != nil {
				yield(record.Sample{}, fmt.Errorf("%s:%d: %w", path, n, err))
				return
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// Source returns a finished run for the reports.
func (f *Finished) Source() report.Source {
	return report.Source{Run: f.Run, Samples: func() iter.Seq2[record.Sample, error] { return ReadSamples(f.Dir) }}
}
