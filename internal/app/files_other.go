//go:build !unix

package app

import "errors"

// openFiles is not limited.
func openFiles() (uint64, error) { return 0, errors.ErrUnsupported }
