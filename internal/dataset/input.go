package dataset

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// spool is a copy of an input that can be read only once. The temporary file is readable by its
// owner alone. Where the system allows it, the file has no name any more once it is open, so that
// it is gone even after kill -9.
type spool struct {
	f    *os.File
	name string // to remove on close; empty when already removed
	size int64
}

func (s *spool) close() error {
	err := s.f.Close()
	if s.name != "" {
		err = errors.Join(err, os.Remove(s.name))
	}
	return err
}

// spoolAll copies every input that needs it and has not been copied yet, fetches what is elsewhere,
// and adds up the sizes.
func (d *Dataset) spoolAll(ctx context.Context) error {
	d.total = 0
	for _, s := range d.sources {
		for i := range s.files {
			f := &s.files[i]
			if f.remote != "" && !f.fetched() {
				if err := d.fetch(ctx, s, f); err != nil {
					return err
				}
			}
			if f.copy && f.spool == nil {
				sp, err := d.copyInput(ctx, s, f)
				if err != nil {
					return err
				}
				f.spool, f.size = sp, sp.size
				d.spools = append(d.spools, sp)
			}
			d.total += f.size
		}
	}
	return nil
}

func (d *Dataset) copyInput(ctx context.Context, s *source, f *file) (_ *spool, err error) {
	in := d.opts.Stdin
	if f.path != "-" {
		src, err := os.Open(f.path)
		if err != nil {
			return nil, openError(s.tests.Pos, s.tests.Path, f.path, err)
		}
		defer src.Close()
		in = src
	}
	tmp, err := os.CreateTemp(d.opts.TempDir, "telltale-cases-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("dataset: copy of %s: %w", f.name, err)
	}
	sp := &spool{f: tmp}
	if os.Remove(tmp.Name()) != nil {
		sp.name = tmp.Name()
	}
	if sp.size, err = io.Copy(tmp, &contextReader{ctx, in}); err != nil {
		return nil, fmt.Errorf("dataset: copy of %s: %w", f.name, errors.Join(err, sp.close()))
	}
	return sp, nil
}

// contextReader fails once its context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// input is an open file: decompressed, without a byte order mark, counting the bytes read from disk.
type input struct {
	*bufio.Reader
	src  io.Reader
	file *os.File // nil for a spool
	read int64
}

// counter is what the buffer of an input reads from.
type counter struct{ in *input }

func (c counter) Read(p []byte) (int, error) {
	n, err := c.in.src.Read(p)
	c.in.read += int64(n)
	return n, err
}

// close closes the file. It was only read, so there is no error to report.
func (in *input) close() {
	if in.file != nil {
		in.file.Close()
	}
}

const bufferSize = 128 << 10

// open opens f, which must be what it was when the dataset was opened.
func (f *file) open(s *source) (*input, error) {
	in := &input{}
	if f.spool != nil {
		in.src = io.NewSectionReader(f.spool.f, 0, f.spool.size)
	} else {
		file, err := os.Open(f.path)
		if err != nil {
			return nil, openError(s.tests.Pos, s.tests.Path, f.path, err)
		}
		in.file, in.src = file, file
		if err := f.unchanged(file); err != nil {
			file.Close()
			return nil, err
		}
	}
	if err := in.decode(f); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// openAt opens f for reading at any place.
func (f *file) openAt(s *source) (io.ReaderAt, *input, error) {
	in := &input{}
	if f.spool != nil {
		return counting{f.spool.f, &in.read}, in, nil
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, nil, openError(s.tests.Pos, s.tests.Path, f.path, err)
	}
	in.file = file
	if err := f.unchanged(file); err != nil {
		in.close()
		return nil, nil, err
	}
	return counting{file, &in.read}, in, nil
}

// unchanged fails if the file was written to since Open: the two passes must see the same rows.
func (f *file) unchanged(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("dataset: %w", err)
	}
	if info.Size() != f.size || !info.ModTime().Equal(f.mtime) {
		return fmt.Errorf("dataset: %s was changed while it was being read", f.name)
	}
	return nil
}

// decode looks at the first bytes: gzip, byte order mark.
func (in *input) decode(f *file) error {
	in.Reader = bufio.NewReaderSize(counter{in}, bufferSize)
	pos := config.Pos{File: f.name}
	head, err := in.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("dataset: %s: %w", f.name, err)
	}
	if bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in.Reader)
		if err != nil {
			return &config.Error{Pos: pos, Problem: "not a gzip file", Err: err}
		}
		in.Reader = bufio.NewReaderSize(z, bufferSize)
	} else if strings.HasSuffix(strings.ToLower(f.name), ".gz") {
		return &config.Error{Pos: pos, Problem: "not a gzip file", Want: "gzip data, as the name says"}
	}
	head, err = in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return readError(pos, err)
	}
	if bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		_, err := in.Discard(3)
		return err
	}
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		return &config.Error{Pos: pos, Problem: "the file is in UTF-16", Want: "UTF-8"}
	}
	return nil
}

// readError tells a broken archive, which is the user's to mend, from a failing disk.
func readError(pos config.Pos, err error) error {
	if errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(flate.CorruptInputError)) {
		return &config.Error{Pos: pos, Problem: "the gzip data is damaged", Err: err}
	}
	return fmt.Errorf("dataset: %s: %w", pos.File, err)
}
