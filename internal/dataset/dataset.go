// Package dataset turns the sources under a suite's tests: key into a stream of cases: inline
// lists and files of JSONL, JSON, YAML, CSV, TSV, Parquet and Arrow, the published files of IFEval
// and GSM8K, and folders that Hugging Face's datasets exported. A file at an https address is
// fetched once, if the suite gives its checksum, and only ever read.
//
// A dataset is read twice. Scan reads all of it: it checks every row, gives every case its id,
// finds repeated ids, chooses the sample and computes the dataset's hash. Rows then reads it again
// and yields the cases that are kept, in file order. A source that can be read only once, such as
// standard input, is copied to a temporary file first.
//
// Rows are streamed: what grows with their number is about 25 bytes a row while Scan runs, for
// the repeated ids, and 56 bytes for each case of a sample. A YAML file is the exception, it is
// held whole.
//
// The package parses no assertions, renders no templates and runs nothing. The meaning of a test
// case in promptfoo's shape is package config's, reached through functions in Options.
package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/telltale-llm/telltale/internal/config"
)

// DefaultMaxRow is the largest row in bytes when Options.MaxRow is not set, and the largest YAML
// file: 64 MiB.
const DefaultMaxRow = 64 << 20

// DefaultMaxDownload is the largest file that is fetched when Options.MaxDownload is not set: 2 GiB.
const DefaultMaxDownload = 2 << 30

// Options is what a dataset needs besides its sources. The zero value reads flat rows from files
// relative to the working directory.
type Options struct {
	// Dir is the folder that relative paths start from, normally the suite's.
	Dir string
	// Seed decides which cases a sample holds.
	Seed int64
	// Stdin is what the path "-" reads; nil refuses that path. A cancelled context is noticed
	// between two reads of it, not in the middle of one.
	Stdin io.Reader
	// TempDir is where standard input is copied to; empty means the system's folder.
	TempDir string
	// CacheDir is where files at https addresses are kept, by their checksum; empty refuses them.
	CacheDir string
	// MaxDownload bounds the bytes of such a file; 0 means DefaultMaxDownload.
	MaxDownload int64
	// MaxRow bounds the bytes of a row; 0 means DefaultMaxRow.
	MaxRow int
	// MaxErrors bounds how many mistakes a scan collects before it gives up; 0 means 20.
	MaxErrors int

	// DecodeTest reads an object of a JSON or JSONL file that is a test case in promptfoo's shape.
	// It is called in every pass. Nil refuses such objects.
	DecodeTest func(pos config.Pos, raw map[string]any) (config.Test, error)
	// DecodeTests reads a YAML file, which is a list of such test cases. It is called once a
	// file. Nil refuses YAML files.
	DecodeTests func(file string, data []byte) ([]config.Test, error)
	// DecodeExpected reads an assertion written in one line, as promptfoo's CSV files have them in
	// their __expected columns. It is called in every pass and returns ok false for an assertion
	// that is left out. Nil makes these columns unsupported.
	DecodeExpected func(pos config.Pos, text string) (a config.Assertion, ok bool, err error)
	// Expand makes several cases of a row, if it is not nil; it may return the row alone, or
	// none, which leaves it out.
	Expand func(config.Test) ([]config.Test, error)
	// Unsupported is told, once a scan and file, of a column that asks for something that cannot
	// be done, such as __providerOutput; the column is then left out. Nil makes it a mistake.
	Unsupported func(pos config.Pos, what string)
	// Progress, if set, is called from time to time during a scan with the rows and bytes read so
	// far, and the total of bytes to read (0 when there are only inline cases).
	Progress func(rows int, bytes, total int64)
}

// Row is one case that is kept. Its maps may be shared between passes: read, do not change them.
type Row struct {
	// Test is the case; its ID is always set and unique in the dataset.
	Test config.Test
	// ExplicitID says that the id came from the data, not from the content's hash.
	ExplicitID bool
}

// count says what a scan found in one source.
type count struct {
	rows    int // rows read
	matched int // rows that the tag filter let pass
	cases   int // cases kept: matched, or the size of the sample if that is less
	// repeated counts the rows without an id whose content had been read before.
	repeated int
}

// Dataset is a list of sources opened by Open. Scan must have returned before other methods are
// called; after that any number of Rows may run at the same time, until Close.
type Dataset struct {
	opts    Options
	sources []*source
	spools  []*spool
	scanned bool
	// repeated holds the content hashes that more than one row without an id has.
	repeated map[uint64]struct{}
	total    int64 // bytes of all files
}

// Open resolves paths, globs and formats of the sources; no row is read yet. All mistakes are
// reported together, each a *config.Error at the source's place in the suite. Close the dataset
// after use.
func Open(sources []config.Tests, opts Options) (*Dataset, error) {
	if opts.MaxRow <= 0 {
		opts.MaxRow = DefaultMaxRow
	}
	if opts.MaxDownload <= 0 {
		opts.MaxDownload = DefaultMaxDownload
	}
	if opts.MaxErrors <= 0 {
		opts.MaxErrors = 20
	}
	d := &Dataset{opts: opts}
	if len(sources) == 0 {
		return nil, &config.Error{Problem: "the suite has no cases", Want: "tests: with a list of cases or a file"}
	}
	var errs config.Errors
	stdin := 0
	for _, t := range sources {
		s, err := newSource(t, opts)
		if err != nil {
			errs.Append(t.Pos, err)
			continue
		}
		if s.isStdin() {
			if stdin++; stdin > 1 {
				errs.Append(t.Pos, &config.Error{Pos: t.Pos, Value: "-", Problem: "standard input can be read by one source only"})
			}
		}
		d.sources = append(d.sources, s)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return d, nil
}

// Close removes the temporary files. It may be called more than once.
func (d *Dataset) Close() error {
	var errs []error
	for _, s := range d.spools {
		errs = append(errs, s.close())
	}
	d.spools = nil
	return errors.Join(errs...)
}

// Rows yields the cases that are kept, in file order. It can be ranged over again and again. An
// error is yielded once and ends the stream: the context's, or a file that is no longer what Scan
// saw. If Scan has not been called it is called first, without a visitor.
func (d *Dataset) Rows(ctx context.Context) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if !d.scanned {
			if _, err := d.Scan(ctx, nil); err != nil {
				yield(Row{}, err)
				return
			}
		}
		ids := &numbering{repeated: d.repeated}
		for _, s := range d.sources {
			more, err := d.replay(ctx, s, ids, func(r Row) bool { return yield(r, nil) })
			if err != nil {
				yield(Row{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// replay reads s a second time and passes on the rows that the scan kept. It returns false when
// emit did.
func (d *Dataset) replay(ctx context.Context, s *source, ids *numbering, emit func(Row) bool) (bool, error) {
	next := 0 // index into s.kept
	chosen := func(n int) bool { return next < len(s.kept) && s.kept[next] == n }
	p := &pass{ctx: ctx, opts: &d.opts}
	if s.sampled() && len(d.repeated) == 0 {
		// With no repeated content an id does not depend on other rows, so the rows outside of
		// the sample need not even be parsed: the scan has found them to be sound.
		p.skip = func(n int) bool { return !chosen(n) }
	}
	enc := &encoder{}
	more := true
	err := p.each(s, func(n int, it *item, err error) bool {
		if err != nil {
			p.fatal = err
			return false
		}
		row, err := ids.row(it, enc)
		if err != nil {
			p.fatal = err
			return false
		}
		if s.sampled() {
			if !chosen(n) {
				return true
			}
			next++
		} else if !s.filter.match(row.Test.Tags) {
			return true
		}
		more = emit(row)
		return more
	})
	if err != nil || !more {
		return false, err
	}
	if p.rows != s.count.rows {
		return false, fmt.Errorf("dataset: %s has %d rows, it had %d when it was checked: it was changed in between", s.name(), p.rows, s.count.rows)
	}
	return true, nil
}
