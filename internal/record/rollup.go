package record

import "time"

// Rollup is what the exchanges of one window have in common: counts and mergeable sketches of one route, variant, snapshot and
// segment. Storing it again under the same ID replaces it.
type Rollup struct {
	ID       string    `json:"id"`
	Route    string    `json:"route"`
	Variant  string    `json:"variant"`
	Snapshot string    `json:"snapshot"`
	Segment  string    `json:"segment,omitempty"`
	Start    time.Time `json:"start"`  // UTC, in microseconds
	Length   float64   `json:"length"` // seconds
	// Counts are sums by name. They may be added up over roll-ups.
	Counts map[string]float64 `json:"counts,omitempty"`
	// Sketches are DDSketches by name, as protobuf.
	Sketches map[string][]byte `json:"sketches,omitempty"`
}
