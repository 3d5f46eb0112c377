package dataset

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
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
	metadataList      // __metadata:key[]: parts between commas; \, is a comma within a part
	expected          // __expected, __expectedN: an assertion in one line
	expectedThreshold // __config:__expectedN:threshold
	metricName        // __metric: of all the row's assertions
)

type column struct {
	kind columnKind
	name string // of the variable or the metadata key; of an expectedThreshold the column it belongs to
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

	decodeExpected func(pos config.Pos, text string) (config.Assertion, bool, error)
	// made, when set, makes the case from the fields, and every column is a plain one.
	made shape
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

func newCSV(in io.Reader, f *file, p *pass, made shape) (*csvReader, error) {
	r := &csvReader{file: f.name, made: made, limit: &rowLimit{in: in, max: p.opts.MaxRow}, decodeExpected: p.opts.DecodeExpected}
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

var (
	expectedColumn = regexp.MustCompile(`^__expected\d*$`)
	// configColumn is the one form of __config columns that promptfoo takes.
	configColumn = regexp.MustCompile(`^__config:(__expected\d*):threshold$`)
	// oneUnderscore is what is written in the place of a special column by mistake.
	oneUnderscore = regexp.MustCompile(`^_(expected\d*|description|threshold|metric|prefix|suffix|metadata:.*|config:.*)$`)
	// promptfooColumns are the special columns that ask for something that is not done here.
	promptfooColumns = regexp.MustCompile(`^__(provider|providerOutput|config:.*)$`)
)

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
		if r.made != nil {
			r.columns = append(r.columns, c)
			continue
		}
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
		case p.opts.DecodeExpected != nil && expectedColumn.MatchString(name):
			c.kind = expected
		case p.opts.DecodeExpected != nil && configColumn.MatchString(name):
			c.kind, c.name = expectedThreshold, configColumn.FindStringSubmatch(name)[1]
		case p.opts.DecodeExpected != nil && name == "__metric":
			c.kind = metricName
		case promptfooColumns.MatchString(name), name == "__metric", expectedColumn.MatchString(name):
			c.kind = ignored
			if p.unsupported != nil {
				p.unsupported(pos, "column "+name)
			}
		case strings.HasPrefix(name, "__"), oneUnderscore.MatchString(name):
			// As a variable it would be left unread, and what it asks for never be checked.
			errs = append(errs, &config.Error{
				Pos: pos, Value: name, Problem: "a column that is neither one of promptfoo's nor a variable",
				Want: "__expected, __expectedN, __description, __threshold, __metric, __prefix, __suffix or __metadata:KEY, or a name without two underscores",
			})
		}
		r.columns = append(r.columns, c)
	}
	for _, c := range r.columns {
		if _, ok := seen[c.name]; c.kind == expectedThreshold && !ok {
			errs = append(errs, &config.Error{Pos: r.at(), Value: c.head, Problem: "the table has no column " + c.name, Want: "the column whose assertion the threshold is for"})
		}
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
	asserts := false
	for i, c := range r.columns {
		v := r.fields[i]
		if !utf8.ValidString(v) {
			return fieldError(t.Pos, c.head, strings.ToValidUTF8(v, "\ufffd"), "bytes that are not UTF-8", "a file in UTF-8")
		}
		if strings.IndexByte(v, 0) >= 0 {
			return fieldError(t.Pos, c.head, v, "a NUL byte", "text in UTF-8")
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
		case expected, expectedThreshold, metricName:
			asserts = true
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
	switch {
	case r.made != nil:
		return r.made(t.Vars, it)
	case asserts:
		return r.assertions(t)
	}
	return nil
}

// assertions reads the columns __expected…, __config:… and __metric. An empty cell asks for nothing.
func (r *csvReader) assertions(t *config.Test) error {
	var metric string
	thresholds := map[string]*float64{}
	for i, c := range r.columns {
		v := strings.TrimSpace(r.fields[i])
		switch {
		case v == "":
		case c.kind == metricName:
			metric = v
		case c.kind == expectedThreshold:
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
				return fieldError(t.Pos, c.head, v, "not a threshold", "a number")
			}
			thresholds[c.name] = &f
		}
	}
	for i, c := range r.columns {
		if c.kind != expected || strings.TrimSpace(r.fields[i]) == "" {
			continue
		}
		a, ok, err := r.decodeExpected(t.Pos.At(c.head), r.fields[i])
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		a.Metric = metric
		if own := thresholds[c.head]; own != nil {
			a.Threshold = own
		}
		t.Assert = append(t.Assert, a)
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
