package dataset

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/telltale-llm/telltale/internal/config"
)

// arrowReader reads the rows of an Arrow IPC file or stream, one record batch after the other. The
// line of a row is its number, from 1.
type arrowReader struct {
	name    string
	shape   shape
	batches arrowBatches
	batch   arrow.RecordBatch
	row     int // in batch
	line    int
}

// arrowBatches yields record batches and io.EOF at the end.
type arrowBatches interface {
	Read() (arrow.RecordBatch, error)
}

// newArrow opens f as Arrow: the file format when it begins with its magic, else the stream format
// that Hugging Face's datasets writes.
func newArrow(at io.ReaderAt, size int64, f *file, rows shape) (r *arrowReader, err error) {
	pos := config.Pos{File: f.name}
	defer rescue(pos, "Arrow", &err)
	if size == 0 {
		return nil, &config.Error{Pos: pos, Problem: "the file is empty", Want: "an Arrow file"}
	}
	in := io.NewSectionReader(at, 0, size)
	magic := make([]byte, len(ipc.Magic))
	if n, err := at.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, readError(pos, err)
	} else if string(magic[:n]) == string(ipc.Magic) {
		file, err := ipc.NewFileReader(in)
		if err != nil {
			return nil, notArrow(pos, err)
		}
		return newArrowReader(f, file.Schema(), file, rows)
	}
	stream, err := ipc.NewReader(in)
	if err != nil {
		return nil, notArrow(pos, err)
	}
	return newArrowReader(f, stream.Schema(), stream, rows)
}

func notArrow(pos config.Pos, err error) error {
	return &config.Error{Pos: pos, Problem: "not an Arrow file, or a damaged one", Err: said(err)}
}

func newArrowReader(f *file, schema *arrow.Schema, in arrowBatches, rows shape) (*arrowReader, error) {
	seen := map[string]bool{}
	for _, c := range schema.Fields() {
		if seen[c.Name] {
			return nil, &config.Error{Pos: config.Pos{File: f.name}, Value: c.Name, Problem: "two columns have this name", Want: "a different name for every column"}
		}
		seen[c.Name] = true
	}
	return &arrowReader{name: f.name, shape: rows, batches: in}, nil
}

func (r *arrowReader) next() (err error) {
	defer rescue(r.at(), "Arrow", &err)
	r.line++
	r.row++
	for r.batch == nil || r.row >= int(r.batch.NumRows()) {
		r.batch, r.row = nil, 0
		batch, err := r.batches.Read()
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		if err != nil {
			return damaged(r.at(), "Arrow", err)
		}
		r.batch = batch
	}
	return nil
}

func (r *arrowReader) at() config.Pos { return config.Pos{File: r.name, Line: r.line} }

func (r *arrowReader) decode(it *item) (err error) {
	defer rescue(r.at(), "Arrow", &err)
	schema := r.batch.Schema()
	obj := make(map[string]any, schema.NumFields())
	for i, c := range schema.Fields() {
		v, err := arrowValue(r.batch.Column(i), r.row, 0)
		if err != nil {
			return fieldError(r.at(), c.Name, nil, err.Error(), "")
		}
		obj[c.Name] = v
	}
	return r.shape(obj, it)
}

// lists are the arrays whose values are ranges of another one.
type arrowList interface {
	ListValues() arrow.Array
	ValueOffsets(i int) (start, end int64)
}

// arrowValue turns a value into what JSON holds, as parquetValue does.
func arrowValue(a arrow.Array, i, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	if a.IsNull(i) {
		return nil, nil
	}
	switch a := a.(type) {
	case *array.Map:
		return arrowMap(a, i, depth)
	case arrowList:
		from, to := a.ValueOffsets(i)
		out := make([]any, 0, to-from)
		for k := from; k < to; k++ {
			v, err := arrowValue(a.ListValues(), int(k), depth+1)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", k-from, err)
			}
			out = append(out, v)
		}
		return out, nil
	case *array.Struct:
		fields := a.DataType().(*arrow.StructType).Fields()
		out := make(map[string]any, len(fields))
		for k, f := range fields {
			v, err := arrowValue(a.Field(k), i, depth+1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			out[f.Name] = v
		}
		return out, nil
	case *array.Dictionary:
		return arrowValue(a.Dictionary(), a.GetValueIndex(i), depth+1)
	case array.ExtensionArray:
		return arrowValue(a.Storage(), i, depth+1)
	}
	return arrowScalar(a, i)
}

func arrowMap(a *array.Map, i, depth int) (any, error) {
	from, to := a.ValueOffsets(i)
	out := make(map[string]any, to-from)
	for k := from; k < to; k++ {
		key, err := arrowValue(a.Keys(), int(k), depth+1)
		if err != nil {
			return nil, err
		}
		v, err := arrowValue(a.Items(), int(k), depth+1)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprint(key)
		if _, dup := out[name]; dup {
			return nil, fmt.Errorf("the key %q is twice in a map", clip(name))
		}
		out[name] = v
	}
	return out, nil
}

func arrowScalar(a arrow.Array, i int) (any, error) {
	switch a := a.(type) {
	case *array.String:
		return arrowText(a.Value(i))
	case *array.LargeString:
		return arrowText(a.Value(i))
	case *array.StringView:
		return arrowText(a.Value(i))
	case *array.Binary:
		return bytesOrText(a.Value(i)), nil
	case *array.LargeBinary:
		return bytesOrText(a.Value(i)), nil
	case *array.BinaryView:
		return bytesOrText(a.Value(i)), nil
	case *array.FixedSizeBinary:
		return base64.StdEncoding.EncodeToString(a.Value(i)), nil
	case *array.Boolean:
		return a.Value(i), nil
	case *array.Int8:
		return int64(a.Value(i)), nil
	case *array.Int16:
		return int64(a.Value(i)), nil
	case *array.Int32:
		return int64(a.Value(i)), nil
	case *array.Int64:
		return a.Value(i), nil
	case *array.Uint8:
		return int64(a.Value(i)), nil
	case *array.Uint16:
		return int64(a.Value(i)), nil
	case *array.Uint32:
		return int64(a.Value(i)), nil
	case *array.Uint64:
		return unsigned(a.Value(i)), nil
	case *array.Float16:
		return float(float64(a.Value(i).Float32()))
	case *array.Float32:
		return float(float64(a.Value(i)))
	case *array.Float64:
		return float(a.Value(i))
	case *array.Timestamp:
		t := a.DataType().(*arrow.TimestampType)
		return timestamp(int64(a.Value(i)), t.Unit.Multiplier(), t.TimeZone != ""), nil
	case *array.Date32:
		return a.Value(i).ToTime().Format(time.DateOnly), nil
	case *array.Date64:
		return a.Value(i).ToTime().Format(time.DateOnly), nil
	case *array.Time32:
		return clock(int64(a.Value(i)), a.DataType().(*arrow.Time32Type).Unit.Multiplier()), nil
	case *array.Time64:
		return clock(int64(a.Value(i)), a.DataType().(*arrow.Time64Type).Unit.Multiplier()), nil
	case *array.Decimal128:
		return decimal(a.Value(i).BigInt(), a.DataType().(*arrow.Decimal128Type).Scale)
	case *array.Decimal256:
		return decimal(a.Value(i).BigInt(), a.DataType().(*arrow.Decimal256Type).Scale)
	}
	return nil, fmt.Errorf("a column of type %s cannot be read", a.DataType())
}

// arrowText copies a text out of the batch, whose memory is used again.
func arrowText(s string) (any, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New("bytes that are not UTF-8")
	}
	return string([]byte(s)), nil
}
