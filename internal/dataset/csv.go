package dataset

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
)

// What a column of a CSV file is. Columns that begin with two underscores are promptfoo's.
type columnKind uint8

const (
	variable columnKind = iota
	ignored
	description
	threshold
	prefix
	suffix
	metadata
	metadataList // __metadata:key[]: parts between commas; \, is a comma within a part
)

type column struct {
	kind columnKind
	name string // of the variable or the metadata key
	head string // as the header has it
}

// csvReader reads a table as RFC 4180 has it, with a header line. Every value is a string.
type csvReader struct {
	in      *csv.Reader
	limit   *rowLimit
	file    string
	columns []column
	fields  []string
	line    int
}

// rowLimit ends a row that is too large, such as one with a quote that is never closed: csv.Reader
// itself would read on to the end of the file.
type rowLimit struct {
	in        io.Reader
	left, max int
}

var errRowLimit = errors.New("row limit")

// Read implements io.Reader.
func (l *rowLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errRowLimit
	}
	n, err := l.in.Read(p)
	l.left -= n
	return n, err
}

func newCSV(in io.Reader, f *file, p *pass) (*csvReader, error) {
	r := &csvReader{file: f.name, limit: &rowLimit{in: in, max: p.opts.MaxRow}}
	r.in = csv.NewReader(bufio.NewReaderSize(r.limit, 64<<10))
	if f.format == "tsv" {
		r.in.Comma = '\t'
	}
	r.in.FieldsPerRecord = -1
	r.in.ReuseRecord = true
	switch err := r.next(); {
	case errors.Is(err, io.EOF):
		return r, nil // an empty file has no rows
	case err != nil:
		return nil, err
	}
	return r, r.header(p)
}

// promptfooColumns are the special columns that ask for something that is not done here.
var promptfooColumns = regexp.MustCompile(`^__(expected\d*|metric|provider|providerOutput|config:.*)$`)

func (r *csvReader) header(p *pass) error {
	var errs config.Errors
	seen := map[string]int{}
	for i, head := range r.fields {
		pos := r.at()
		name := strings.TrimSpace(head)
		c := column{name: name, head: name}
		if name == "" && i == 0 && len(r.fields) > 1 {
			// What pandas writes before the first column is the number of the row.
			c.kind = ignored
			r.columns = append(r.columns, c)
			continue
		}
		if name == "" {
			errs = append(errs, &config.Error{Pos: pos, Problem: fmt.Sprintf("column %d has no name", i+1), Want: "a name for every column in the first line", Hint: "name the column or leave it out (pandas: to_csv(index=False))"})
		} else if first, dup := seen[name]; dup {
			errs = append(errs, &config.Error{Pos: pos, Value: name, Problem: fmt.Sprintf("columns %d and %d have the same name", first, i+1), Want: "a different name for every column"})
		}
		seen[name] = i + 1
		switch key, isMeta := strings.CutPrefix(name, "__metadata:"); {
		case isMeta:
			c.kind = metadata
			c.name = key
			if list, ok := strings.CutSuffix(key, "[]"); ok {
				c.kind, c.name = metadataList, list
			}
			if c.name == "" {
				errs = append(errs, &config.Error{Pos: pos, Value: name, Problem: "no metadata key", Want: "__metadata:key"})
			}
		case name == "__description":
			c.kind = description
		case name == "__threshold":
			c.kind = threshold
		case name == "__prefix":
			c.kind = prefix
		case name == "__suffix":
			c.kind = suffix
		case promptfooColumns.MatchString(name):
			c.kind = ignored
			if p.unsupported != nil {
				p.unsupported(pos, "column "+name)
			}
		}
		r.columns = append(r.columns, c)
	}
	return errs.Err()
}

func (r *csvReader) at() config.Pos { return config.Pos{File: r.file, Line: r.line} }

func (r *csvReader) next() error {
	r.limit.left = r.limit.max
	var err error
	r.fields, err = r.in.Read()
	if err == nil {
		r.line, _ = r.in.FieldPos(0)
		return nil
	}
	if errors.Is(err, io.EOF) {
		return err
	}
	if errors.Is(err, errRowLimit) {
		line, _ := r.in.FieldPos(0)
		return tooLarge(config.Pos{File: r.file, Line: max(line, r.line+1)}, r.limit.max)
	}
	pe, ok := errors.AsType[*csv.ParseError](err)
	if !ok {
		return readError(r.at(), err)
	}
	pos := config.Pos{File: r.file, Line: pe.Line, Column: pe.Column}
	e := &config.Error{Pos: pos, Problem: "a stray quote", Want: `quotes around the whole value, and "" for a quote in it`}
	if errors.Is(pe.Err, csv.ErrQuote) {
		e.Problem = "a quoted value is not closed, or has a stray quote"
		if pe.StartLine != pe.Line {
			e.Problem += fmt.Sprintf(" (the row begins on line %d)", pe.StartLine)
		}
	}
	return e
}

func (r *csvReader) decode(it *item) error {
	t := &it.test
	it.idField = "id"
	if len(r.fields) != len(r.columns) {
		return &config.Error{
			Pos: t.Pos, Problem: fmt.Sprintf("the row has %d values", len(r.fields)),
			Want: fmt.Sprintf("%d, as many as the header has names", len(r.columns)),
			Hint: "a value with a comma, a quote or a line end needs quotes around it",
		}
	}
	t.Vars = make(map[string]any, len(r.columns))
	for i, c := range r.columns {
		v := r.fields[i]
		if !utf8.ValidString(v) {
			return fieldError(t.Pos, c.head, strings.ToValidUTF8(v, "\ufffd"), "bytes that are not UTF-8", "a file in UTF-8")
		}
		switch c.kind {
		case variable:
			t.Vars[c.name] = v
		case description:
			t.Description = v
		case threshold:
			if err := readThreshold(t, c, v); err != nil {
				return err
			}
		case prefix:
			t.Prefix = v
		case suffix:
			t.Suffix = v
		case metadata, metadataList:
			if t.Metadata == nil {
				t.Metadata = map[string]any{}
			}
			if c.kind == metadata {
				t.Metadata[c.name] = v
			} else {
				t.Metadata[c.name] = splitList(v)
			}
		}
	}
	return nil
}

func readThreshold(t *config.Test, c column, v string) error {
	if v = strings.TrimSpace(v); v == "" {
		return nil
	}
	f, err := parseShare(v)
	if err != nil {
		return fieldError(t.Pos, c.head, v, "not a threshold", "a number from 0 to 1")
	}
	t.Threshold = &f
	return nil
}

// splitList reads a,b\,c as a and "b,c".
func splitList(v string) []any {
	out := []any{}
	var part strings.Builder
	add := func() {
		if s := strings.TrimSpace(part.String()); s != "" {
			out = append(out, s)
		}
		part.Reset()
	}
	for i := 0; i < len(v); i++ {
		switch {
		case v[i] == '\\' && i+1 < len(v) && v[i+1] == ',':
			part.WriteByte(',')
			i++
		case v[i] == ',':
			add()
		default:
			part.WriteByte(v[i])
		}
	}
	add()
	return out
}
