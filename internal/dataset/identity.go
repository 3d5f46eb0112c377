package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
)

// contentID hashes what identifies a row without an id: its variables, or for some formats a part
// of them. The encoded variables are left in enc for the case's digest.
func contentID(it *item, enc *encoder) (uint64, error) {
	if it.identity != nil {
		if err := enc.encode(it.identity); err != nil {
			return 0, err
		}
		v := first64(enc.buf)
		return v, enc.encode(it.test.Vars)
	}
	if err := enc.encode(it.test.Vars); err != nil {
		return 0, err
	}
	return first64(enc.buf), nil
}

func first64(b []byte) uint64 {
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:8])
}

// formatID writes a content hash as record.HashJSON does, with ~2, ~3… for the rows that repeat it.
func formatID(v uint64, nth int) string {
	if nth == 1 {
		return fmt.Sprintf("%016x", v)
	}
	return fmt.Sprintf("%016x~%d", v, nth)
}

// parseID undoes formatID.
func parseID(id string) (v uint64, ok bool) {
	base, nth, cut := strings.Cut(id, "~")
	if len(base) != 16 || strings.ToLower(base) != base {
		return 0, false
	}
	if cut {
		if _, err := strconv.Atoi(nth); err != nil {
			return 0, false
		}
	}
	v, err := strconv.ParseUint(base, 16, 64)
	return v, err == nil
}

// identifier gives ids during the scan and remembers 64 bits of each. The ids it gives are always
// unique among themselves; an id from the data that may have been used before becomes a suspect.
type identifier struct {
	seed     maphash.Seed
	explicit map[uint64]struct{} // hashes of ids from the data
	content  map[uint64]struct{} // content hashes
	repeats  map[uint64]int      // how often, for content seen more than once
	extra    int                 // rows beyond the first of their content
	suspects map[uint64]struct{} // hashes of ids that may be used twice
}

func newIdentifier() *identifier {
	return &identifier{
		seed: maphash.MakeSeed(), explicit: map[uint64]struct{}{}, content: map[uint64]struct{}{},
		repeats: map[uint64]int{}, suspects: map[uint64]struct{}{},
	}
}

// row gives it an id. The encoded variables are left in enc.
func (x *identifier) row(it *item, enc *encoder) (Row, error) {
	row := Row{Test: it.test, ExplicitID: it.test.ID != ""}
	if row.ExplicitID {
		h := maphash.String(x.seed, it.test.ID)
		if _, seen := x.explicit[h]; seen {
			x.suspects[h] = struct{}{}
		}
		x.explicit[h] = struct{}{}
		if v, ok := parseID(it.test.ID); ok {
			if _, seen := x.content[v]; seen {
				x.suspects[h] = struct{}{}
			}
		}
		return row, enc.encode(it.test.Vars)
	}
	v, err := contentID(it, enc)
	if err != nil {
		return row, err
	}
	nth := 1
	if _, seen := x.content[v]; seen {
		nth = max(x.repeats[v], 1) + 1
		x.repeats[v] = nth
		x.extra++
	}
	x.content[v] = struct{}{}
	row.Test.ID = formatID(v, nth)
	if len(x.explicit) > 0 {
		h := maphash.String(x.seed, row.Test.ID)
		if _, seen := x.explicit[h]; seen {
			x.suspects[h] = struct{}{}
		}
	}
	return row, nil
}

func (x *identifier) suspect(id string) bool {
	_, ok := x.suspects[maphash.String(x.seed, id)]
	return ok
}

func (x *identifier) repeatedSet() map[uint64]struct{} {
	out := make(map[uint64]struct{}, len(x.repeats))
	for v := range x.repeats {
		out[v] = struct{}{}
	}
	return out
}

// numbering gives the same ids again, knowing from the scan which content is repeated. It must be
// shown the same rows in the same order, except that all rows may be left out if none is repeated.
type numbering struct {
	repeated map[uint64]struct{}
	n        map[uint64]int
}

func (x *numbering) row(it *item, enc *encoder) (Row, error) {
	row := Row{Test: it.test, ExplicitID: it.test.ID != ""}
	if row.ExplicitID {
		return row, nil
	}
	v, err := contentID(it, enc)
	if err != nil {
		return row, err
	}
	nth := 1
	if _, ok := x.repeated[v]; ok {
		if x.n == nil {
			x.n = map[uint64]int{}
		}
		x.n[v]++
		nth = x.n[v]
	}
	row.Test.ID = formatID(v, nth)
	return row, nil
}
