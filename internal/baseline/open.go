package baseline

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Stored is a baseline that was read and found whole. It is safe for concurrent use.
type Stored struct {
	name     string
	dir      string
	id       string
	contents Contents
	run      *record.Run
	raw      json.RawMessage
	// inputs holds the hash of each case's variables.
	inputs map[string]uint64
}

// Open reads a baseline and checks it to the last line. A name that is not there, a manifest or an object that was
// changed, cut off or lost is a *config.Error that names the file and, where it is known, the line.
func Open(dir, name string) (*Stored, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name+suffix)
	m, run, err := readManifest(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, NotFound(dir, name)
	case err != nil:
		if _, ours := errors.AsType[*config.Error](err); !ours {
			err = &config.Error{Pos: config.Pos{File: path}, Problem: "cannot be read", Err: plain(err)}
		}
		return nil, err
	}
	s := &Stored{name: name, dir: dir, id: m.ID, contents: m.Samples, run: run, raw: m.Run, inputs: map[string]uint64{}}
	if err := s.verify(m); err != nil {
		return nil, err
	}
	return s, nil
}

// Name is the baseline's name.
func (s *Stored) Name() string { return s.name }

// Run is the account of the run, without gate, tags and times.
func (s *Stored) Run() *record.Run { return s.run }

// RunJSON is the account of the run as the manifest has it, without what Run has no values for.
func (s *Stored) RunJSON() json.RawMessage { return s.raw }

// ContentID is the hash of everything the baseline holds.
func (s *Stored) ContentID() string { return s.id }

// Contents describes the object with the samples.
func (s *Stored) Contents() Contents { return s.contents }

// Outputs says whether the samples have their outputs; if not, they have none.
func (s *Stored) Outputs() bool { return s.contents.Outputs }

// Inputs returns the hash of a case's variables, record.HashVars.
func (s *Stored) Inputs(caseID string) (hash string, ok bool) {
	x, ok := s.inputs[caseID]
	return fmt.Sprintf("%016x", x), ok
}

// Samples yields the samples in the order of the run, those of a case one after another, without variables, messages
// and seeds, and without outputs unless they were kept. It may be called any number of times.
func (s *Stored) Samples() iter.Seq2[record.Sample, error] {
	return func(yield func(record.Sample, error) bool) {
		for l, err := range s.lines() {
			if !yield(l.sample, err) || err != nil {
				return
			}
		}
	}
}

// lines decodes the object.
func (s *Stored) lines() iter.Seq2[decoded, error] {
	return func(yield func(decoded, error) bool) {
		path := objectPath(s.dir, s.contents.Object)
		f, err := os.Open(path)
		if err != nil {
			yield(decoded{}, &config.Error{Pos: config.Pos{File: path}, Problem: "cannot be read", Err: plain(err)})
			return
		}
		defer f.Close()
		d := newDecoder(path, f)
		for {
			l, err := d.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

// verify reads the object once: its hash, each line's checksum and content, and the number of lines.
func (s *Stored) verify(m *manifest) error {
	path := objectPath(s.dir, m.Samples.Object)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return lost(s.dir, s.name, m)
	}
	if err != nil {
		return &config.Error{Pos: config.Pos{File: path}, Problem: "cannot be read", Err: plain(err)}
	}
	defer f.Close()
	h := sha256.New()
	d := newDecoder(path, io.TeeReader(f, h))
	got := Contents{Outputs: m.Samples.Outputs}
	last, first := "", true
	for {
		l, err := d.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		got.Samples++
		if id := l.sample.Case; first || id != last {
			first, last = false, id
			got.Cases++
			if _, twice := s.inputs[id]; twice {
				return d.fail("case %q is there twice", id)
			}
			s.inputs[id] = l.vars
		}
	}
	switch end := d.line; {
	case end < m.Samples.Lines:
		d.line++
		return d.fail("the file ends after line %d; %d lines were written", end, m.Samples.Lines)
	case end > m.Samples.Lines:
		d.line = m.Samples.Lines + 1
		return d.fail("the file goes on to line %d; %d lines were written", end, m.Samples.Lines)
	}
	got.Object, got.Lines, got.Bytes = hex.EncodeToString(h.Sum(nil)), d.line, m.Samples.Bytes
	if got.Object != m.Samples.Object {
		return &config.Error{Pos: config.Pos{File: path}, Problem: "the file was changed after it was written: its SHA-256 is " + got.Object, Want: "the file that telltale baseline set wrote", Hint: restore}
	}
	if got != m.Samples {
		return &config.Error{Pos: config.Pos{File: filepath.Join(s.dir, s.name+suffix), Key: "samples"}, Problem: fmt.Sprintf("the object has %d samples of %d cases, not %d of %d", got.Samples, got.Cases, m.Samples.Samples, m.Samples.Cases), Hint: restore}
	}
	return nil
}

const restore = "restore it, from git for one, or set the baseline again"

// maxLine bounds a line of an object, in bytes.
const maxLine = 256 << 20

// decoder reads the lines of an object.
type decoder struct {
	path string
	r    *bufio.Reader
	line int // of the last line read, from 1
	codec
}

func newDecoder(path string, r io.Reader) *decoder {
	return &decoder{path: path, r: bufio.NewReaderSize(r, 1<<16)}
}

// next returns the next sample, or io.EOF.
func (d *decoder) next() (decoded, error) {
	for {
		text, err := d.readLine()
		if err != nil {
			return decoded{}, err
		}
		if d.line == 1 {
			if err := d.readHeader(text); err != nil {
				return decoded{}, d.fail("%v", err)
			}
			continue
		}
		l, isSample, err := d.read(text)
		if err != nil {
			return decoded{}, d.fail("%v", err)
		}
		if isSample {
			return l, nil
		}
	}
}

// readLine returns a line without its end and its checksum.
func (d *decoder) readLine() ([]byte, error) {
	var text []byte
	for {
		part, err := d.r.ReadSlice('\n')
		text = append(text, part...)
		if len(text) > maxLine {
			d.line++
			return nil, d.fail("the line is longer than %d bytes", maxLine)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) {
			if len(text) == 0 && d.line > 0 {
				return nil, io.EOF
			}
			d.line++
			return nil, d.fail("the line is cut off")
		}
		if err != nil {
			return nil, &config.Error{Pos: config.Pos{File: d.path}, Problem: "cannot be read", Err: plain(err)}
		}
		break
	}
	d.line++
	body, err := unsum(text[:len(text)-1])
	if err != nil {
		return nil, d.fail("%v", err)
	}
	return body, nil
}

func (d *decoder) fail(format string, args ...any) *config.Error {
	return &config.Error{Pos: config.Pos{File: d.path, Line: d.line}, Problem: fmt.Sprintf(format, args...), Want: "the file that telltale baseline set wrote", Hint: restore}
}

// parseHash reads the 16 hex digits of record.HashVars.
func parseHash(s string) (uint64, error) {
	if len(s) != 16 {
		return 0, fmt.Errorf("%q is not a hash of 16 digits", s)
	}
	x, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a hash of 16 digits", s)
	}
	return x, nil
}
