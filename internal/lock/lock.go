// Package lock keeps processes from changing one thing at once. A folder's lock is waited for: who reads what is there, decides
// and writes holds it for all of that. A file's is taken or refused, for as long as the file is open: it says that a process
// lives which works on the file. Both order those who ask for them and nobody else, keep no one from reading, and end with the
// process, however that ends.
package lock

import (
	"errors"
	"os"
)

// ErrHeld says that another open file, in this process or another, has the lock.
var ErrHeld = errors.New("the lock is held")

// Dir makes a folder, unless it is there, and waits until no other holder of its lock is left, in this process or another.
// The lock ends with unlock, or with the process. A file system without locks does without.
func Dir(path string) (unlock func(), err error) {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, err
	}
	f, err := hold(path)
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// File takes the lock of an open file, until that is closed, or returns ErrHeld. A file system without locks is an error.
func File(f *os.File) error {
	if err := try(f); err != nil {
		if errors.Is(err, ErrHeld) {
			return err
		}
		return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return nil
}
