package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// maxDead bounds the files of frames that were put aside; further ones are only counted and logged.
const maxDead = 256

// deadLetters are the frames that were put aside: dir/dead/STREAM-FRAME.frame, with the reason in a .txt beside it.
type deadLetters struct {
	dir    string
	stream string
	mu     sync.Mutex
}

func newDeadLetters(dir, stream string) *deadLetters {
	return &deadLetters{dir: filepath.Join(dir, "dead"), stream: stream}
}

var errManyDead = errors.New("too many frames have been put aside already")

func (d *deadLetters) write(seq uint64, frame []byte, why string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(files) >= 2*maxDead {
		return errManyDead
	}
	name := filepath.Join(d.dir, fmt.Sprintf("%s-%d", d.stream, seq))
	if err := os.WriteFile(name+".frame", frame, 0o600); err != nil {
		return err
	}
	return os.WriteFile(name+".txt", []byte(why+"\n"), 0o600)
}
