package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/otlp"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

const (
	importBatch = 1 << 20  // bytes sent at a time
	importLine  = 16 << 20 // bytes of one exchange
	importTries = 60       // of one batch while the server is busy
)

// ImportExchanges sends the exchanges in a file of JSON lines, or a Parquet file, to the server and says how many. The progress
// is told in bytes of the file. A line or row that is no exchange is a config error with the file and its number; what came
// before it is sent.
func ImportExchanges(ctx context.Context, r *Remote, path string, progress func(done, total int64)) (sent int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, &config.Error{Pos: config.Pos{File: path}, Problem: "cannot be read", Err: err}
	}
	defer joinClose(&err, f.Close)
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	in := &importer{ctx: ctx, to: r, path: path}
	magic := make([]byte, len(parquetMagic))
	if _, err := f.ReadAt(magic, 0); err == nil && string(magic) == parquetMagic {
		return in.parquet(f, info.Size(), progress)
	}
	lines := bufio.NewReaderSize(f, 1<<20)
	for done := int64(0); ; {
		line, err := readLine(lines)
		if errors.Is(err, errLongLine) {
			return in.sent, errors.Join(in.flush(), &config.Error{Pos: config.Pos{File: path, Line: in.read + 1}, Problem: "the line is too long", Want: fmt.Sprintf("at most %d MiB", importLine>>20)})
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return in.sent, &CouldNotRun{Err: err}
		}
		done += int64(len(line))
		if len(line) > 0 {
			if err := in.add(line); err != nil {
				return in.sent, err
			}
		}
		if progress != nil {
			progress(done, info.Size())
		}
		if err != nil {
			return in.sent, in.flush()
		}
	}
}

// parquetMagic is how Parquet files begin, whatever they are called.
const parquetMagic = "PAR1"

// parquet sends the rows of a Parquet file. Its progress is that of the reads.
func (in *importer) parquet(f io.ReaderAt, size int64, progress func(done, total int64)) (int, error) {
	at := &countedReads{ReaderAt: f}
	err := store.ReadParquet(at, size, func(_ int, x *record.Exchange) error {
		line, err := json.Marshal(x)
		if err != nil {
			return err
		}
		if progress != nil {
			progress(min(at.done.Load(), size), size)
		}
		return in.add(line)
	})
	if errs := columnErrors(in.path, err); len(errs) > 0 {
		return in.sent, errs
	}
	row, bad := errors.AsType[*store.RowError](err)
	_, told := errors.AsType[config.Errors](err)
	_, failed := errors.AsType[*CouldNotRun](err)
	switch {
	case err == nil:
		if progress != nil {
			progress(size, size)
		}
		return in.sent, in.flush()
	case told || failed || in.ctx.Err() != nil:
		return in.sent, err
	case bad:
		return in.sent, errors.Join(in.flush(), &config.Error{Pos: config.Pos{File: in.path, Line: row.Row, Key: row.Column}, Value: row.Value, Problem: fmt.Sprintf("row %d cannot be read", row.Row), Want: row.Want, Err: row.Err})
	}
	return in.sent, errors.Join(in.flush(), &config.Error{Pos: config.Pos{File: in.path}, Problem: "cannot be read", Err: err})
}

// columnErrors are those of a file's columns as mistakes of the user's.
func columnErrors(path string, err error) config.Errors {
	var all []error
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		all = many.Unwrap()
	} else if err != nil {
		all = []error{err}
	}
	var out config.Errors
	for _, one := range all {
		if many, ok := one.(interface{ Unwrap() []error }); ok {
			out = append(out, columnErrors(path, errors.Join(many.Unwrap()...))...)
		} else if c, ok := errors.AsType[*store.ColumnError](one); ok {
			out = append(out, &config.Error{Pos: config.Pos{File: path, Key: c.Column}, Value: c.Value, Problem: "the column " + c.Problem, Want: c.Want, Hint: c.Hint})
		}
	}
	return out
}

// countedReads counts the bytes that were read.
type countedReads struct {
	io.ReaderAt
	done atomic.Int64
}

func (r *countedReads) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	r.done.Add(int64(n))
	return n, err
}

var errLongLine = errors.New("line too long")

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > importLine {
			return nil, errLongLine
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// importer gathers lines into batches.
type importer struct {
	ctx   context.Context
	to    *Remote
	path  string
	batch bytes.Buffer
	read  int // lines
	held  int // exchanges in the batch
	sent  int
}

func (in *importer) add(line []byte) error {
	in.read++
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	// What the server would refuse is found here, so that it is named by the file's own line.
	if _, errs := otlp.ReadExchanges(line, importLine); len(errs) > 0 {
		for _, e := range errs {
			e.File, e.Line = in.path, in.read
		}
		return errors.Join(in.flush(), errs)
	}
	if in.batch.Len()+len(line) > importBatch {
		if err := in.flush(); err != nil {
			return err
		}
	}
	in.batch.Write(line)
	if line[len(line)-1] != '\n' {
		in.batch.WriteByte('\n')
	}
	if in.held++; in.batch.Len() >= importBatch {
		return in.flush()
	}
	return nil
}

// flush sends the batch, and waits while the server says that it is busy.
func (in *importer) flush() error {
	if in.held == 0 {
		return nil
	}
	for try := 1; ; try++ {
		taken, err := in.to.Send(in.ctx, in.batch.Bytes())
		refusal, refused := errors.AsType[*Refusal](err)
		switch {
		case err == nil:
			in.sent += taken.Accepted
			in.batch.Reset()
			in.held = 0
			return nil
		case in.ctx.Err() != nil:
			return in.ctx.Err()
		case !refused || refusal.Status != http.StatusTooManyRequests && refusal.Status != http.StatusServiceUnavailable || try == importTries:
			return err
		}
		wait := time.Second
		if s, err := strconv.Atoi(refusal.RetryAfter); err == nil && s > 0 {
			wait = time.Duration(min(s, 60)) * time.Second
		}
		waitFor(in.ctx, wait)
	}
}
