package scorer

import (
	"context"
	"fmt"
)

// Above this product of the two lengths a distance takes longer than about half a second.
const maxDistanceWork = 1 << 32

func buildLevenshtein(s Spec) (Scorer, error) {
	want, ok := text(s.Value)
	if !ok {
		return nil, badValue(s, "the value is not a text", "a text")
	}
	if *s.Threshold < 0 {
		return nil, thresholdBelow(s, "0")
	}
	ref := []rune(want)
	limit := *s.Threshold
	return Func(func(_ context.Context, in *Input) (Result, error) {
		got := []rune(in.Response.Output)
		if len(got)*len(ref) > maxDistanceWork {
			return Result{}, fmt.Errorf("an output of %d characters is too long to be compared with %d", len(got), len(ref))
		}
		d := distance(got, ref)
		return measured(float64(d), float64(d) <= limit, "%d characters must be edited to get %s; the most is %v", d, quote(want), limit), nil
	}), nil
}

// distance is the Levenshtein distance in characters: the least number of insertions, deletions and
// substitutions that turn a into b. It computes 64 cells of the table at a time (Myers 1999, in the
// block form of Hyyrö 2003).
func distance(a, b []rune) int {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(a) == 0 {
		return len(b)
	}
	blocks := (len(a) + 63) / 64
	// where has, for each character of a, one bit per place it stands at.
	where := make(map[rune][]uint64)
	for i, r := range a {
		bits := where[r]
		if bits == nil {
			bits = make([]uint64, blocks)
			where[r] = bits
		}
		bits[i/64] |= 1 << (i % 64)
	}
	nowhere := make([]uint64, blocks)
	// up and down say where the column goes up or down by one from each cell to the next.
	up, down := make([]uint64, blocks), make([]uint64, blocks)
	for i := range up {
		up[i] = ^uint64(0)
	}
	last := uint64(1) << ((len(a) - 1) % 64)
	d := len(a)
	for _, r := range b {
		match, ok := where[r]
		if !ok {
			match = nowhere
		}
		// The carry into the first block: the top row of the table goes up by one per column.
		inUp, inDown := uint64(1), uint64(0)
		for k := range blocks {
			eq := match[k]
			vert := eq | down[k]
			eq |= inDown
			horiz := (((eq & up[k]) + up[k]) ^ up[k]) | eq
			hUp := down[k] | ^(horiz | up[k])
			hDown := up[k] & horiz
			if k == blocks-1 {
				if hUp&last != 0 {
					d++
				}
				if hDown&last != 0 {
					d--
				}
			}
			outUp, outDown := hUp>>63, hDown>>63
			hUp = hUp<<1 | inUp
			hDown = hDown<<1 | inDown
			up[k] = hDown | ^(vert | hUp)
			down[k] = hUp & vert
			inUp, inDown = outUp, outDown
		}
	}
	return d
}
