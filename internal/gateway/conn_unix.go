//go:build unix

package gateway

import (
	"errors"
	"syscall"
	"time"
)

// peeker looks at what has arrived.
type peeker struct {
	look  func(fd uintptr)
	found error
}

// quiet says whether a rested connection can be used: nothing may have arrived meanwhile. It asks the system, which takes a
// microsecond, so each connection is asked: an upstream that sends more than an answer would answer somebody else's request.
func (c *conn) quiet(time.Duration) bool {
	if c.br.Buffered() > 0 {
		return false
	}
	if c.sys == nil {
		return c.alive()
	}
	p := &c.peek
	if p.look == nil {
		p.look = func(fd uintptr) {
			var b [1]byte
			_, _, p.found = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT) //nolint:gosec // a descriptor is small
		}
	}
	if err := c.sys.Control(p.look); err == nil && errors.Is(p.found, syscall.EAGAIN) {
		return true
	}
	return c.nc != c.raw && c.alive()
}
