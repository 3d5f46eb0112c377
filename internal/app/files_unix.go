//go:build unix

package app

import "golang.org/x/sys/unix"

// openFiles is how many files and connections the process may have open.
func openFiles() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	return uint64(l.Max), nil //nolint:unconvert // signed on some systems; Go raises its own limit to this
}
