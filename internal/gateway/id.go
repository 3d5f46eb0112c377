package gateway

import (
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// newID returns a UUID of version 7 (RFC 9562): milliseconds, then the fraction of the millisecond in twelve bits, so
// that ids sort by time, then 62 random bits.
func newID(now time.Time) string {
	var b [16]byte
	ns := now.UnixNano()
	ms := uint64(ns / 1e6)
	frac := uint64(ns%1e6) * 4096 / 1e6
	r := rand.Uint64()
	for i := range 6 {
		b[i] = byte(ms >> (8 * (5 - i)))
	}
	b[6] = 0x70 | byte(frac>>8)
	b[7] = byte(frac)
	for i := range 8 {
		b[8+i] = byte(r >> (8 * i))
	}
	b[8] = 0x80 | b[8]&0x3f
	var s [36]byte
	hex.Encode(s[0:8], b[0:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:36], b[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}
