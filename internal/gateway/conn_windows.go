package gateway

import "time"

// peeker looks at what has arrived; here that is left to alive.
type peeker struct{}

// quiet says whether a rested connection can be used: nothing may have arrived meanwhile. One that has rested only shortly is
// not looked at.
func (c *conn) quiet(rest time.Duration) bool {
	return c.br.Buffered() == 0 && (rest < doubtAfter || c.alive())
}
