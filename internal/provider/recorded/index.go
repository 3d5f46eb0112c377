package recorded

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
)

const (
	// maxRow bounds one row; a file without line ends must not fill the memory.
	maxRow = 64 << 20
	// maxMistakes is how many bad rows are reported together.
	maxMistakes = 10
)

// entry is where a row is, under the hash of its key: 24 bytes a row.
type entry struct {
	hash   uint64
	offset int64
	length uint32
}

// index finds rows by their key. Rows stay in the file and are read when asked for.
type index struct {
	file *os.File
	path string
	key  string
	// find returns the key of a row; nil takes the field that key names.
	find    func(row) (field, bool)
	columns map[string]int // of a CSV file
	comma   rune
	seed    maphash.Seed
	entries []entry // by hash, then by place in the file
	// sum is the start of the SHA-256 of the content, in hex.
	sum    string
	buffer sync.Pool // *[]byte
}

// builder reads a file once from start to end.
type builder struct {
	*index
	// any are fields of which a row must have one, the first that it has being the answer.
	any []string
	// check finds what else is wrong with a row, and in which field; nil looks at nothing else.
	check func(row) (key string, err error)
	errs  config.Errors
	rows  int
}

// errEnough stops the reading when there are enough mistakes to show.
var errEnough = errors.New("too many bad rows")

// keyOf is what a row is found by.
func (x *index) keyOf(r row) (field, bool) {
	if x.find != nil {
		return x.find(r)
	}
	return r.field(x.key)
}

// open reads path and indexes it by key, or by what find makes of a row. format is jsonl, json or csv.
// Every row must have the key and at least one of the outputs, and pass check.
func open(path, format, key string, find func(row) (field, bool), outputs []string, check func(row) (string, error)) (*index, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b := &builder{
		index: &index{file: f, path: path, key: key, find: find, seed: maphash.MakeSeed(), comma: ','},
		any:   outputs, check: check,
	}
	if strings.HasSuffix(path, ".tsv") {
		b.comma = '\t'
	}
	if err := b.build(format); err != nil {
		_ = f.Close() // only read from
		return nil, err
	}
	return b.index, nil
}

func (b *builder) build(format string) error {
	base := int64(0)
	var bom [3]byte
	if n, err := b.file.ReadAt(bom[:], 0); n == 3 && err == nil && bom == [3]byte{0xEF, 0xBB, 0xBF} {
		base = 3
	}
	if _, err := b.file.Seek(base, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	in := io.TeeReader(b.file, sum)
	var err error
	switch format {
	case "jsonl":
		err = b.readLines(in, base)
	case "json":
		err = b.readArray(in, base)
	case "csv":
		err = b.readCSV(in, base)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if err := b.errs.Err(); err != nil {
		return err
	}
	if b.rows == 0 {
		return &config.Error{Pos: config.Pos{File: b.path}, Problem: "the file holds no rows"}
	}
	slices.SortFunc(b.entries, func(x, y entry) int {
		switch {
		case x.hash < y.hash:
			return -1
		case x.hash > y.hash:
			return 1
		case x.offset < y.offset:
			return -1
		default:
			return 1
		}
	})
	b.sum = hex.EncodeToString(sum.Sum(nil)[:8])
	return nil
}

// add takes a row into the index. line tells its line when there is something to complain about.
func (b *builder) add(r row, offset int64, length int, line func() int) error {
	b.rows++
	bad := func(key, problem, want string) error {
		b.errs = append(b.errs, &config.Error{Pos: config.Pos{File: b.path, Line: line(), Key: key}, Problem: problem, Want: want})
		if len(b.errs) >= maxMistakes {
			return errEnough
		}
		return nil
	}
	if at := r.notUTF8(); at != "" {
		return bad("", at+" has bytes that are not UTF-8", "a file in UTF-8")
	}
	if key, twice := repeated(r.json); twice {
		return bad(key, "this key is already set in the same object", "every key once")
	}
	if b.check != nil {
		if key, err := b.check(r); err != nil {
			return bad(key, err.Error(), "")
		}
	}
	f, ok := b.keyOf(r)
	if !ok || f.empty() {
		return bad(b.key, "the row has no "+b.key, "the value by which its answer is found")
	}
	text, err := f.bytes()
	if err != nil {
		return bad(b.key, err.Error(), "text")
	}
	found := false
	for _, name := range b.any {
		_, ok := r.field(name)
		found = found || ok
	}
	if !found {
		return bad(b.any[0], "the row has no "+strings.Join(b.any, " or "), "the recorded answer")
	}
	b.entries = append(b.entries, entry{maphash.Bytes(b.seed, text), offset, uint32(length)})
	return nil
}

func (b *builder) readLines(in io.Reader, offset int64) error {
	r := bufio.NewReaderSize(in, 1<<20)
	var long []byte
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long[:0], line...)
			for errors.Is(err, bufio.ErrBufferFull) {
				line, err = r.ReadSlice('\n')
				if long = append(long, line...); len(long) > maxRow {
					return &config.Error{Pos: config.Pos{File: b.path, Line: n}, Problem: fmt.Sprintf("a row of more than %d bytes", maxRow), Want: "one JSON object a line"}
				}
			}
			line = long
		}
		if err != nil && err != io.EOF {
			return err
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			if err := b.addLine(text, offset+int64(bytes.Index(line, text)), n); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		offset += int64(len(line))
	}
}

func (b *builder) addLine(text []byte, offset int64, n int) error {
	line := func() int { return n }
	if text[0] == '{' && json.Valid(text) {
		return b.add(row{json: text}, offset, len(text), line)
	}
	e := &config.Error{Pos: config.Pos{File: b.path, Line: n}, Value: config.Clip(string(text), 80), Problem: "not a JSON object", Want: "one JSON object a line"}
	if !utf8.Valid(text) {
		e.Problem, e.Value, e.Want = "bytes that are not UTF-8", "", "a file in UTF-8"
	} else if text[0] == '{' {
		e.Err = json.Unmarshal(text, new(json.RawMessage))
	}
	b.errs = append(b.errs, e)
	if len(b.errs) >= maxMistakes {
		return errEnough
	}
	return nil
}

// readArray reads a JSON array of objects, one element at a time.
func (b *builder) readArray(in io.Reader, base int64) error {
	dec := json.NewDecoder(bufio.NewReaderSize(in, 1<<20))
	syntax := func(err error) error {
		at := base + dec.InputOffset()
		if se, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = base + se.Offset
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			at, err = math.MaxInt64, io.ErrUnexpectedEOF
		}
		return &config.Error{Pos: config.Pos{File: b.path, Line: b.lineAt(at)}, Problem: "invalid JSON", Err: err, Want: "an array of objects"}
	}
	open, err := dec.Token()
	if err != nil {
		return syntax(err)
	}
	if open != json.Delim('[') {
		return syntax(errors.New("the file does not start with ["))
	}
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return syntax(err)
		}
		offset := base + dec.InputOffset() - int64(len(raw))
		if len(raw) > maxRow || raw[0] != '{' {
			return syntax(fmt.Errorf("the element %s is not an object, or too large", config.Clip(string(raw), 40)))
		}
		if err := b.add(row{json: raw}, offset, len(raw), func() int { return b.lineAt(offset) }); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return syntax(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return syntax(errors.New("something follows the array"))
	}
	return nil
}

// lineAt returns the line at an offset, by reading up to it again. It is for messages.
func (b *builder) lineAt(offset int64) int {
	n := 1
	buf := make([]byte, 64<<10)
	for at := int64(0); at < offset; {
		k, err := b.file.ReadAt(buf[:min(int64(len(buf)), offset-at)], at)
		n += bytes.Count(buf[:k], []byte{'\n'})
		if at += int64(k); err != nil {
			break
		}
	}
	return n
}

// readCSV reads comma-separated rows under a header.
func (b *builder) readCSV(in io.Reader, base int64) error {
	r := csv.NewReader(bufio.NewReaderSize(in, 1<<20))
	r.Comma, r.ReuseRecord = b.comma, true
	header, err := r.Read()
	if err == io.EOF {
		return nil // no rows
	}
	if err != nil {
		return b.csvError(err)
	}
	b.columns = map[string]int{}
	for i, name := range header {
		name = strings.Clone(strings.TrimSpace(name))
		if _, dup := b.columns[name]; dup {
			return config.Errorf(config.Pos{File: b.path, Line: 1, Key: name}, "two columns are called %q", name)
		}
		b.columns[name] = i
	}
	for {
		offset := base + r.InputOffset()
		cells, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return b.csvError(err)
		}
		line, _ := r.FieldPos(0)
		length := base + r.InputOffset() - offset
		if length > maxRow {
			return config.Errorf(config.Pos{File: b.path, Line: line}, "a row of more than %d bytes", maxRow)
		}
		if err := b.add(row{cells: cells, columns: b.columns}, offset, int(length), func() int { return line }); err != nil {
			return err
		}
	}
}

func (b *builder) csvError(err error) error {
	e := &config.Error{Pos: config.Pos{File: b.path}, Problem: "invalid CSV", Err: err}
	if pe, ok := errors.AsType[*csv.ParseError](err); ok {
		e.Line, e.Column, e.Err = pe.Line, pe.Column, pe.Err
	}
	return e
}

// lookup calls found with the nth row, from 0, whose key is exactly key. The row is only valid
// during the call. It returns how many rows with this key it has seen; at most n+1.
func (x *index) lookup(key string, n int, found func(row) error) (rows int, err error) {
	hash := maphash.String(x.seed, key)
	i, _ := slices.BinarySearchFunc(x.entries, hash, func(e entry, h uint64) int {
		if e.hash < h {
			return -1
		}
		if e.hash > h {
			return 1
		}
		return 0
	})
	pooled, _ := x.buffer.Get().(*[]byte)
	if pooled == nil {
		pooled = new([]byte)
	}
	defer x.buffer.Put(pooled)
	for ; i < len(x.entries) && x.entries[i].hash == hash; i++ {
		r, err := x.read(x.entries[i], pooled)
		if err != nil {
			return rows, err
		}
		f, ok := x.keyOf(r)
		if !ok {
			return rows, errChanged
		}
		text, err := f.bytes()
		if err != nil {
			return rows, err
		}
		if string(text) != key {
			continue // another key with the same hash
		}
		if rows++; rows == n+1 {
			return rows, found(r)
		}
	}
	return rows, nil
}

var errChanged = errors.New("the file has changed since it was opened")

// read reads a row from the file into *buf, which grows as needed.
func (x *index) read(e entry, buf *[]byte) (row, error) {
	if cap(*buf) < int(e.length) {
		*buf = make([]byte, e.length)
	}
	b := (*buf)[:e.length]
	if _, err := x.file.ReadAt(b, e.offset); err != nil {
		if err == io.EOF {
			err = errChanged
		}
		return row{}, err
	}
	if x.columns == nil {
		if !json.Valid(b) {
			return row{}, errChanged
		}
		return row{json: b}, nil
	}
	r := csv.NewReader(bytes.NewReader(b))
	r.Comma, r.FieldsPerRecord = x.comma, len(x.columns)
	cells, err := r.Read()
	if err != nil {
		return row{}, errChanged
	}
	return row{cells: cells, columns: x.columns}, nil
}
