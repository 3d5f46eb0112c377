// Package report shows a finished run to people and machines: on a terminal, as JSON, as JUnit
// XML, as Markdown for a CI job summary, and as one self-contained HTML page.
//
// It decides nothing and computes no metric: verdicts, means and intervals come from the run as
// they are. What it adds is counted from the samples while they stream past: pass rates by tag, by
// group and by provider and prompt, costs, histograms, and a bounded choice of samples to show. A
// Collector makes that Digest in one pass and memory that does not grow with the number of samples;
// every format is written from the run and the Digest. JUnit and the page, which carries the samples
// as data, read them once more.
//
// Whatever a model wrote is hostile text. It is clipped, and escaped for the medium it goes to.
// No data is shown as "no data" and never as zero, and an undecided run never looks like a pass.
package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"github.com/telltale-llm/telltale/internal/record"
)

// The names of the files that WriteDir writes.
const (
	JSONFile     = "run.json"
	JUnitFile    = "junit.xml"
	MarkdownFile = "report.md"
	HTMLFile     = "report.html"
)

// samplesFile is where the reports send a reader for what they leave out. The runner writes it.
const samplesFile = "samples.jsonl"

// Source is a finished run with its samples.
type Source struct {
	Run *record.Run
	// Samples starts a new pass over the samples in plan order. A sample belongs to its reader
	// only until the next one is asked for. Passes may run at the same time.
	Samples func() iter.Seq2[record.Sample, error]
	// Outcomes is a pass that costs less, for what needs no more than outcomes: samples that passed may
	// lack variables, messages and scores in it. Nil takes Samples.
	Outcomes func() iter.Seq2[record.Sample, error]
	// Digest is what a Collector saw of the same samples. Nil costs each format that needs it a
	// pass of its own.
	Digest *Digest
}

// digested returns src with its Digest present and its run checked.
func (src Source) digested() (Source, error) {
	if src.Run == nil {
		return src, errors.New("report: no run")
	}
	if src.Digest != nil {
		return src, nil
	}
	if src.Samples == nil {
		return src, errors.New("report: neither a digest nor samples")
	}
	d, err := digest(src.Samples(), src.Run.Flaky.Quarantines())
	src.Digest = d
	return src, err
}

// WriteDir writes junit.xml, report.md, report.html and, last, run.json into dir, which it
// creates. Each file is complete or absent: it is written under another name, synced and
// renamed. A run.json therefore says that everything else is there.
func WriteDir(dir string, src Source) error {
	src, err := src.digested()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	files := []struct {
		name  string
		write func(io.Writer) error
	}{
		{JUnitFile, func(w io.Writer) error { return JUnit(w, src) }},
		{MarkdownFile, func(w io.Writer) error { return Markdown(w, src) }},
		{HTMLFile, func(w io.Writer) error { return HTML(w, src) }},
	}
	// JUnit and HTML each read all samples: at the same time it takes half as long.
	errs := make([]error, len(files))
	var writers sync.WaitGroup
	for i, f := range files {
		writers.Go(func() { errs[i] = writeNamed(dir, f.name, f.write) })
	}
	writers.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return writeNamed(dir, JSONFile, func(w io.Writer) error { return JSON(w, src.Run) })
}

func writeNamed(dir, name string, write func(io.Writer) error) error {
	if err := WriteFile(filepath.Join(dir, name), write); err != nil {
		return fmt.Errorf("report: %s: %w", name, err)
	}
	return nil
}

// WriteFile makes path appear whole or not at all: what write writes goes to a file beside it, which is synced and
// renamed. Two at a time for one path are not safe; a run's directory has one process at work on it.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	dir, name := filepath.Split(path)
	tmp := filepath.Join(dir, "."+name+".tmp")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}()
	w := bufio.NewWriterSize(f, 64<<10)
	if err := errors.Join(write(w), w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
