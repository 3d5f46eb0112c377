package report

import (
	"bytes"
	"io"
	"os"
)

// spoolBuffer is how much of a part stays in memory.
const spoolBuffer = 64 << 10

// spool sorts a stream into parts: a part's text grows in a buffer, which is appended to one
// temporary file when it is full. Small parts never touch the disk. A part is read back by
// following its extents.
type spool struct {
	file  *os.File
	end   int64
	parts []spoolPart
	err   error // the first failure, reported by copy
}

type spoolPart struct {
	buf     bytes.Buffer
	extents []extent
}

type extent struct{ at, n int64 }

func newSpool(parts int) *spool { return &spool{parts: make([]spoolPart, parts)} }

// part returns where the next piece of part i is written. It is valid until the next call.
func (s *spool) part(i int) sink {
	p := &s.parts[i]
	if p.buf.Len() >= spoolBuffer && s.err == nil {
		s.err = s.spill(p)
	}
	return &p.buf
}

func (s *spool) spill(p *spoolPart) error {
	if s.file == nil {
		f, err := os.CreateTemp("", "telltale-report-*")
		if err != nil {
			return err
		}
		s.file = f
	}
	n, err := s.file.WriteAt(p.buf.Bytes(), s.end)
	if err != nil {
		return err
	}
	p.extents = append(p.extents, extent{s.end, int64(n)})
	s.end += int64(n)
	p.buf.Reset()
	return nil
}

// copy writes all of part i to w.
func (s *spool) copy(i int, w io.Writer) error {
	if s.err != nil {
		return s.err
	}
	p := &s.parts[i]
	for _, e := range p.extents {
		if _, err := io.Copy(w, io.NewSectionReader(s.file, e.at, e.n)); err != nil {
			return err
		}
	}
	_, err := w.Write(p.buf.Bytes())
	return err
}

// close removes the temporary file. There is nothing to be done about an error.
func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
	}
}
