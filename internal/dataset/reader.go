package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/telltale-llm/telltale/internal/config"
)

// reader moves through the rows of one file.
type reader interface {
	// next moves to the next row. io.EOF ends the file; any other error means that the rest of it
	// cannot be read.
	next() error
	// at is the place of the row that next moved to.
	at() config.Pos
	// decode reads that row into an item whose place is set. An error concerns this row alone.
	decode(it *item) error
}

// item is a row as its format reads it, before ids, groups and tags are taken from its fields.
type item struct {
	test config.Test
	// idField is the field that holds the id when the source names none; empty: there is none.
	idField string
	// idKey is the field that the id came from, for messages.
	idKey string
	// identity is what a row without an id is identified by; nil means all its variables.
	identity map[string]any
}

// shape reads an object as a row; the item's place is set.
type shape func(obj map[string]any, it *item) error

// reader opens f. The input is nil when there is nothing to close.
func (f *file) reader(s *source, p *pass) (reader, *input, error) {
	if f.path == "" {
		return &listReader{tests: s.tests.Inline}, nil, nil
	}
	if f.format == "yaml" {
		if f.yaml == nil {
			if err := f.loadYAML(s, p.opts); err != nil {
				return nil, nil, err
			}
		}
		return &listReader{tests: f.yaml}, nil, nil
	}
	var rows shape
	switch {
	case s.tests.Row != nil:
		rows = p.madeRow(s)
	case f.format == "ifeval":
		rows = ifevalRow
	case f.format == "gsm8k":
		rows = gsm8kRow
	default:
		rows = p.objectRow
	}
	if f.format == "parquet" || f.format == "arrow" {
		at, in, err := f.openAt(s)
		if err != nil {
			return nil, nil, err
		}
		var r reader
		if f.format == "parquet" {
			r, err = newParquet(at, f.size, f, rows)
		} else {
			r, err = newArrow(at, f.size, f, rows)
		}
		if err != nil {
			in.close()
			return nil, nil, err
		}
		return r, in, nil
	}
	in, err := f.open(s)
	if err != nil {
		return nil, nil, err
	}
	switch f.container() {
	case "jsonl":
		return &jsonlReader{in: in.Reader, file: f.name, max: p.opts.MaxRow, shape: rows}, in, nil
	case "json":
		return &jsonReader{in: in.Reader, file: f.name, max: p.opts.MaxRow, line: 1, shape: rows}, in, nil
	case "csv", "tsv":
		var made shape
		if s.tests.Row != nil {
			made = rows
		}
		r, err := newCSV(in.Reader, f, p, made)
		if err != nil {
			in.close()
			return nil, nil, err
		}
		return r, in, nil
	}
	in.close()
	return nil, nil, fmt.Errorf("dataset: no reader for format %q", f.format)
}

// listReader yields cases that are already in memory.
type listReader struct {
	tests []config.Test
	n     int
}

func (r *listReader) next() error {
	if r.n == len(r.tests) {
		return io.EOF
	}
	r.n++
	return nil
}

func (r *listReader) at() config.Pos { return r.tests[r.n-1].Pos }

func (r *listReader) decode(it *item) error {
	it.setTest(r.tests[r.n-1])
	return nil
}

// setTest takes a case that is of the suite's own shape.
func (it *item) setTest(t config.Test) {
	it.test = t
	if t.ID != "" {
		it.idKey = "id"
	}
}

func (f *file) loadYAML(s *source, opts *Options) error {
	if opts.DecodeTests == nil {
		return &config.Error{Pos: s.tests.Pos, Value: s.tests.Path, Problem: "YAML files of cases cannot be read here"}
	}
	in, err := f.open(s)
	if err != nil {
		return err
	}
	defer in.close()
	data, err := io.ReadAll(io.LimitReader(in, int64(opts.MaxRow)+1))
	if err != nil {
		return readError(config.Pos{File: f.name}, err)
	}
	if len(data) > opts.MaxRow {
		return &config.Error{Pos: config.Pos{File: f.name}, Problem: "the YAML file is too large", Want: fmt.Sprintf("at most %d MiB; JSONL has no limit", opts.MaxRow>>20)}
	}
	tests, err := opts.DecodeTests(f.name, data)
	if err != nil {
		if isMistake(err) {
			return err
		}
		return &config.Error{Pos: config.Pos{File: f.name}, Err: err}
	}
	if tests == nil {
		tests = []config.Test{} // read, and empty
	}
	f.yaml = tests
	return nil
}

// jsonlReader reads one object a line.
type jsonlReader struct {
	in    *bufio.Reader
	file  string
	max   int
	shape shape
	line  int
	text  []byte // the line, valid until the next read
	long  []byte // holds a line larger than the buffer
}

func (r *jsonlReader) next() error {
	for {
		r.line++
		if err := r.readLine(); err != nil {
			return err
		}
		if len(bytes.TrimLeft(r.text, " \t\r")) > 0 {
			return nil
		}
	}
}

func (r *jsonlReader) readLine() error {
	text, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		r.long = r.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) {
			r.long = append(r.long, text...)
			if len(r.long) > r.max {
				return tooLarge(config.Pos{File: r.file, Line: r.line}, r.max)
			}
			text, err = r.in.ReadSlice('\n')
		}
		r.long = append(r.long, text...)
		text = r.long
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return readError(config.Pos{File: r.file, Line: r.line}, err)
	}
	if errors.Is(err, io.EOF) && len(text) == 0 {
		return io.EOF
	}
	if len(text) > r.max {
		return tooLarge(config.Pos{File: r.file, Line: r.line}, r.max)
	}
	r.text = bytes.TrimRight(text, "\r\n")
	return nil
}

func tooLarge(pos config.Pos, limit int) error {
	size := fmt.Sprintf("%d bytes", limit)
	if limit >= 1<<20 {
		size = fmt.Sprintf("%d MiB", limit>>20)
	}
	return &config.Error{Pos: pos, Problem: "the row is too large", Want: "at most " + size}
}

func (r *jsonlReader) at() config.Pos { return config.Pos{File: r.file, Line: r.line} }

func (r *jsonlReader) decode(it *item) error {
	text := string(r.text)
	obj, bad := parseObject(text)
	if bad != nil {
		e := bad.at(r.at(), text)
		if r.line == 1 && text[0] == '[' {
			e.Hint = "this looks like a JSON list: set format: json"
		}
		return e
	}
	return r.shape(obj, it)
}
