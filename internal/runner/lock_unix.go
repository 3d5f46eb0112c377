//go:build unix

package runner

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock takes the file for this process; the lock ends with the process.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return ErrLocked
	}
	return fmt.Errorf("lock: %w", err)
}
