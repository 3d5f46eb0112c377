package app

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// ReadSamples yields the samples of a finished run in the order of the plan.
func ReadSamples(dir string) iter.Seq2[record.Sample, error] {
	return readSamples(dir, func(line []byte, s *record.Sample) error { return json.Unmarshal(line, s) })
}

// readOutcomes is ReadSamples for reports that say no more of a sample that passed than where it stands: of
// such samples it leaves out variables, messages and scores.
func readOutcomes(dir string) iter.Seq2[record.Sample, error] {
	return readSamples(dir, func(line []byte, s *record.Sample) error {
		var o outcome
		if err := json.Unmarshal(line, &o); err != nil {
			return err
		}
		if o.Verdict != verdict.Pass {
			return json.Unmarshal(line, s)
		}
		*s = o.Sample
		return nil
	})
}

// judged is a sample as metrics see it: without variables and messages, which take most of the time to read.
type judged struct {
	record.Sample
	Vars     skipped `json:"vars"`
	Input    skipped `json:"input"`
	Logprobs skipped `json:"logprobs"`
	// PromptLogprobs are as many as the prompt has tokens.
	PromptLogprobs skipped `json:"prompt_logprobs"`
}

// outcome is a judged sample without its scores.
type outcome struct {
	judged
	Scores skipped `json:"scores"`
}

// skipped takes any JSON and keeps none.
type skipped struct{}

func (*skipped) UnmarshalJSON([]byte) error { return nil }

func readSamples(dir string, decode func([]byte, *record.Sample) error) iter.Seq2[record.Sample, error] {
	path := filepath.Join(dir, samplesFile)
	return inOrder(fileLines(path), func(n int, line []byte) (record.Sample, error) {
		var s record.Sample
		if err := decode(line, &s); err != nil {
			return s, &config.Error{Pos: config.Pos{File: path, Line: n + 1}, Problem: "not a sample", Want: "the file that telltale run wrote", Err: err}
		}
		return s, nil
	})
}

// fileLines yields the lines of a file, the last one also without a line end.
func fileLines(path string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 1<<20)
		for {
			line, err := r.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return
			}
			if err != nil && !errors.Is(err, io.EOF) {
				yield(nil, err)
				return
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}

// Source returns a finished run for the reports.
func (f *Finished) Source() report.Source {
	return report.Source{Run: f.Run, Digest: f.digest, Samples: func() iter.Seq2[record.Sample, error] { return ReadSamples(f.Dir) }}
}
