package golden

import (
	"strings"
	"unicode"
)

// Op says what became of a piece of text.
type Op uint8

// The three things that can.
const (
	Same Op = iota
	Removed
	Added
)

// Piece is a run of words and the space between them.
type Piece struct {
	Op   Op
	Text string
}

// maxCells bounds the table that a comparison takes, 4 bytes a cell. Beyond it the middle is shown as replaced.
const maxCells = 4_000_000

// Words compares two texts word by word: the pieces without the added ones make before, those without the removed
// ones after.
func Words(before, after string) []Piece {
	a, b := split(before), split(after)
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out pieces
	out.add(Same, a[:head]...)
	out.middle(a[head:len(a)-tail], b[head:len(b)-tail])
	out.add(Same, a[len(a)-tail:]...)
	return out.joined()
}

// joined makes one change of those that have no more than white space between them.
func (p pieces) joined() pieces {
	var out pieces
	for i := 0; i < len(p); {
		if p[i].Op == Same {
			out = append(out, p[i])
			i++
			continue
		}
		var removed, added string
		for ; i < len(p); i++ {
			blank := p[i].Op == Same && strings.TrimSpace(p[i].Text) == "" && i+1 < len(p)
			if p[i].Op == Same && !blank {
				break
			}
			if p[i].Op != Added {
				removed += p[i].Text
			}
			if p[i].Op != Removed {
				added += p[i].Text
			}
		}
		if removed != "" {
			out = append(out, Piece{Removed, removed})
		}
		if added != "" {
			out = append(out, Piece{Added, added})
		}
	}
	return out
}

type pieces []Piece

func (p *pieces) add(op Op, words ...string) {
	for _, w := range words {
		if n := len(*p); n > 0 && (*p)[n-1].Op == op {
			(*p)[n-1].Text += w
			continue
		}
		*p = append(*p, Piece{op, w})
	}
}

// middle follows a longest common subsequence.
func (p *pieces) middle(a, b []string) {
	if (len(a)+1)*(len(b)+1) > maxCells {
		p.add(Removed, a...)
		p.add(Added, b...)
		return
	}
	width := len(b) + 1
	// longest[i*width+j] is the length for a[i:] and b[j:].
	longest := make([]uint32, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				longest[i*width+j] = longest[(i+1)*width+j+1] + 1
			} else {
				longest[i*width+j] = max(longest[(i+1)*width+j], longest[i*width+j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] == b[j]:
			p.add(Same, a[i])
			i, j = i+1, j+1
		case longest[(i+1)*width+j] >= longest[i*width+j+1]:
			p.add(Removed, a[i])
			i++
		default:
			p.add(Added, b[j])
			j++
		}
	}
	p.add(Removed, a[i:]...)
	p.add(Added, b[j:]...)
}

// split parts a text into words and runs of white space, each line end a part of its own.
func split(s string) []string {
	var out []string
	from := 0
	kind := func(r rune) int {
		switch {
		case r == '\n':
			return 2
		case unicode.IsSpace(r):
			return 1
		}
		return 0
	}
	last := -1
	for i, r := range s {
		k := kind(r)
		if i > 0 && (k != last || k == 2) {
			out = append(out, s[from:i])
			from = i
		}
		last = k
	}
	if from < len(s) {
		out = append(out, s[from:])
	}
	return out
}
