package runner

import (
	"crypto/sha256"
	"encoding/binary"
)

// Seed derives a sample's seed from the run's: the first 31 bits of a SHA-256 over seed, case and
// repeat. All providers and prompts get the same seed for one case and repeat, so that they can be
// compared in pairs; 31 bits are what every server takes.
func Seed(seed int64, caseID string, repeat int) int64 {
	b := make([]byte, 0, 16+len(caseID))
	b = binary.BigEndian.AppendUint64(b, uint64(seed))
	b = binary.BigEndian.AppendUint64(b, uint64(repeat))
	b = append(b, caseID...)
	h := sha256.Sum256(b)
	return int64(binary.BigEndian.Uint32(h[:4]) >> 1)
}
