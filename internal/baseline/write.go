package baseline

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/lock"
	"github.com/telltale-llm/telltale/internal/record"
)

// Source is what a baseline is made of.
type Source struct {
	Run *record.Run
	// Samples are those of the run in its order, those of a case one after another.
	Samples iter.Seq2[record.Sample, error]
	// Outputs keeps the answers, and why they failed, along with the scores.
	Outputs bool
}

// Lock makes a folder for baselines, unless it is there, and waits until no other process changes it. Who calls Write or
// Remove holds it, from before looking at what is there: an object that nobody names yet would be swept otherwise. The
// lock ends with unlock, or with the process.
func Lock(dir string) (unlock func(), err error) {
	unlock, err = lock.Dir(dir)
	if err != nil {
		return nil, &config.Error{Pos: config.Pos{File: dir}, Problem: "cannot be made or locked as a folder for baselines", Err: plain(err)}
	}
	return unlock, nil
}

// Write stores a baseline under a name, in place of what was there, and reads it back. The same run gives the same
// bytes. When it is interrupted, what was there before still stands. See Lock.
func Write(dir, name string, from Source) (*Stored, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	objects := filepath.Join(dir, objectsDir)
	if err := os.MkdirAll(objects, 0o777); err != nil {
		return nil, err
	}
	if err := oneSpelling(dir, name); err != nil {
		return nil, err
	}
	removeLitter(dir, objects)
	path := filepath.Join(dir, name+suffix)
	former, _, err := readManifest(path)
	if err != nil {
		former = nil // it is not there, or broken and about to be replaced
	}
	contents, err := writeObject(dir, from)
	if err != nil {
		return nil, err
	}
	data, err := newManifest(from.Run, contents)
	if err != nil {
		return nil, err
	}
	if err := keepLineEnds(dir); err != nil {
		return nil, err
	}
	if err := replace(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}); err != nil {
		return nil, err
	}
	stored, err := Open(dir, name)
	if err != nil {
		return nil, fmt.Errorf("the baseline was written and cannot be read back: %w", err)
	}
	if former != nil && former.Samples.Object != contents.Object {
		return stored, sweep(dir, former.Samples.Object)
	}
	return stored, nil
}

// oneSpelling refuses a name that some file systems take for another one's.
func oneSpelling(dir, name string) error {
	names, err := Names(dir)
	for _, n := range names {
		if n != name && strings.EqualFold(n, name) {
			return &config.Error{Value: name, Problem: fmt.Sprintf("there is a baseline %q, which is the same file where capitals do not count", n), Want: "that name, or another one"}
		}
	}
	return err
}

// writeObject writes the samples under their hash.
func writeObject(dir string, from Source) (c Contents, err error) {
	f, err := os.CreateTemp(filepath.Join(dir, objectsDir), litter)
	if err != nil {
		return c, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), ignoreMissing(os.Remove(f.Name())))
		}
	}()
	h := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, h), 1<<16)
	c.Outputs = from.Outputs
	put := func(line []byte) error {
		line = summed(line)
		c.Lines++
		c.Bytes += int64(len(line))
		_, err := w.Write(line)
		return err
	}
	if err = writeLines(&c, from, put); err != nil {
		return c, err
	}
	if err = errors.Join(w.Flush(), f.Sync(), f.Chmod(0o644), f.Close()); err != nil {
		return c, err
	}
	c.Object = hex.EncodeToString(h.Sum(nil))
	return c, os.Rename(f.Name(), objectPath(dir, c.Object))
}

func writeLines(c *Contents, from Source, put func([]byte) error) error {
	code := codec{header: header{Format: Format}, outputs: from.Outputs}
	for i := range from.Run.Snapshots {
		s := &from.Run.Snapshots[i]
		code.header.Snapshots = append(code.header.Snapshots, cell{s.Provider, s.Prompt})
	}
	head, err := marshal(code.header)
	if err != nil {
		return err
	}
	if err := put(head); err != nil {
		return err
	}
	last, seen := "", map[string]bool{}
	for s, err := range from.Samples {
		if err != nil {
			return err
		}
		if c.Samples == 0 || s.Case != last {
			if seen[s.Case] {
				return fmt.Errorf("the samples of case %q are not together", s.Case)
			}
			last, seen[s.Case] = s.Case, true
			c.Cases++
		}
		c.Samples++
		lines, err := code.write(&s)
		if err != nil {
			return err
		}
		for _, line := range lines {
			if err := put(line); err != nil {
				return err
			}
		}
	}
	if c.Samples == 0 {
		return &config.Error{Problem: "the run has no samples: a baseline of nothing says nothing"}
	}
	return nil
}

// keepLineEnds tells git not to change line ends, unless the folder says something about that already.
func keepLineEnds(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, ".gitattributes"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(attributes)
	return errors.Join(err, f.Close())
}

// replace writes a file that appears under its name when it is complete.
func replace(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), litter)
	if err != nil {
		return err
	}
	if err = errors.Join(write(f), f.Sync(), f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(f.Name())))
	}
	return nil
}

// litter is the pattern of files that are being written. A process that is killed leaves one behind.
const litter = ".part-*"

// removeLitter removes what killed processes left: under the lock nobody else is writing. That it cannot is no reason
// not to go on.
func removeLitter(dirs ...string) {
	for _, dir := range dirs {
		list, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range list {
			if strings.HasPrefix(e.Name(), strings.TrimSuffix(litter, "*")) {
				_ = os.Remove(filepath.Join(dir, e.Name()))
			}
		}
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
