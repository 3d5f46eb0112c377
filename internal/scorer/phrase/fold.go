package phrase

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Folding says which differences between two spellings do not count. Three never do: invisible
// characters, which of the canonically equivalent forms a letter is in (é as one code point or
// two), and how long a run of white space is.
type Folding struct {
	// Case ignores case, by Unicode's simple case folding, and ß equals ss.
	Case bool
	// Width ignores compatibility forms: full-width, half-width, ligatures, mathematical, circled
	// and superscript letters (Unicode NFKD).
	Width bool
	// Looks reads letters that look like an ASCII letter as that letter.
	Looks bool
}

// Fold returns s folded.
func (f Folding) Fold(s string) string {
	g := folder{Folding: f}
	g.fold(s)
	return string(g.out)
}

// Compose returns s folded and recomposed (NFC), for reading on by something that expects text.
func (f Folding) Compose(s string) string { return norm.NFC.String(f.Fold(s)) }

// folder holds the state of one folding. With places set it also remembers where each byte of the
// output came from; with substituted set, which bytes of it were read by their looks.
type folder struct {
	Folding
	out         []byte
	places      bool
	from, to    []int32 // for each output byte, the span of the input it came from
	substituted []int32 // offsets in out of letters read by their looks, ascending
	nonASCII    bool    // whether the input held anything but ASCII
	space       bool    // whether out ends with a folded run of white space
	seg         []byte  // scratch
}

func (g *folder) fold(s string) {
	for i := 0; i < len(s); {
		b := s[i]
		if b < utf8.RuneSelf {
			if g.Case && 'A' <= b && b <= 'Z' {
				b += 'a' - 'A'
			}
			if b == ' ' || '\t' <= b && b <= '\r' {
				g.blank(i, i+1)
			} else {
				g.space = false
				g.out = append(g.out, b)
				if g.places {
					g.place(i, i+1)
				}
			}
			i++
			continue
		}
		// A run between ASCII characters can be normalized by itself: ASCII never combines with
		// what stands before it, and decomposition never changes it.
		j := i + 1
		for j < len(s) && s[j] >= utf8.RuneSelf {
			j++
		}
		g.nonASCII = true
		g.run(s[i:j], i)
		i = j
	}
}

// run folds a stretch of non-ASCII text that begins at offset base.
func (g *folder) run(s string, base int) {
	form := norm.NFD
	if g.Width {
		form = norm.NFKD
	}
	for i := 0; i < len(s); {
		p := form.PropertiesString(s[i:])
		n := max(p.Size(), 1)
		end := i + n
		for end < len(s) {
			q := form.PropertiesString(s[end:])
			if q.CCC() == 0 && q.LeadCCC() == 0 {
				break
			}
			end += max(q.Size(), 1)
		}
		from, to := base+i, base+end
		switch r, size := utf8.DecodeRuneInString(s[i:]); {
		case end > i+n:
			// Marks follow, and their order may have to change.
			g.seg = form.AppendString(g.seg[:0], s[i:end])
			g.decoded(g.seg, from, to)
		case r == utf8.RuneError && size <= 1:
			g.byte(s[i], from, to)
		case hangulFirst <= r && r <= hangulLast:
			g.hangul(r-hangulFirst, from, to)
		case p.Decomposition() != nil:
			g.decoded(p.Decomposition(), from, to)
		default:
			g.rune(r, from, to)
		}
		i = end
	}
}

// Hangul syllables decompose by arithmetic (Unicode, section 3.12), not by table.
const (
	hangulFirst, hangulLast = 0xAC00, 0xD7A3
	vowels, finals          = 21, 28
)

func (g *folder) hangul(s rune, from, to int) {
	g.rune(0x1100+s/(vowels*finals), from, to)
	g.rune(0x1161+s%(vowels*finals)/finals, from, to)
	if t := s % finals; t != 0 {
		g.rune(0x11A7+t, from, to)
	}
}

// decoded folds an already normalized piece.
func (g *folder) decoded(seg []byte, from, to int) {
	for len(seg) > 0 {
		r, n := utf8.DecodeRune(seg)
		if r == utf8.RuneError && n == 1 {
			g.byte(seg[0], from, to)
		} else {
			g.rune(r, from, to)
		}
		seg = seg[n:]
	}
}

func (g *folder) rune(r rune, from, to int) {
	switch {
	case invisible(r) || g.Looks && overlay(r):
		return
	case unicode.IsSpace(r):
		g.blank(from, to)
		return
	}
	if g.Looks {
		if b := lookalike(r); b != 0 {
			g.substituted = append(g.substituted, int32(len(g.out)))
			r = rune(b)
		}
	}
	if g.Case {
		if r == 'ß' || r == 'ẞ' {
			g.byte('s', from, to)
			g.byte('s', from, to)
			return
		}
		r = FoldRune(r)
	}
	before := len(g.out)
	g.out = utf8.AppendRune(g.out, r)
	g.space = false
	if g.places {
		for range g.out[before:] {
			g.place(from, to)
		}
	}
}

func (g *folder) byte(b byte, from, to int) {
	g.space = false
	g.out = append(g.out, b)
	if g.places {
		g.place(from, to)
	}
}

// blank adds one space for a whole run of white space.
func (g *folder) blank(from, to int) {
	if g.space {
		if g.places {
			g.to[len(g.to)-1] = int32(to)
		}
		return
	}
	g.space = true
	g.out = append(g.out, ' ')
	if g.places {
		g.place(from, to)
	}
}

func (g *folder) place(from, to int) {
	g.from = append(g.from, int32(from))
	g.to = append(g.to, int32(to))
}

// FoldRune returns the representative of all runes that differ from r only by case: the lower-case
// ASCII letter where there is one, else the smallest of them.
func FoldRune(r rune) rune {
	switch {
	case 0 <= r && int(r) < len(folded):
		return folded[r]
	case 0x2E80 <= r && r < 0xA640: // East Asian scripts have no case
		return r
	}
	return foldRune(r)
}

// folded holds FoldRune of the Latin, Greek, Cyrillic and Armenian letters.
var folded = func() (t [0x0590]rune) {
	for r := range t {
		t[r] = foldRune(rune(r))
	}
	return t
}()

func foldRune(r rune) rune {
	least := r
	for q := unicode.SimpleFold(r); q != r; q = unicode.SimpleFold(q) {
		least = min(least, q)
	}
	switch {
	case 'A' <= least && least <= 'Z':
		return least + 'a' - 'A'
	case least == 0x0345:
		return 'Ι' // the iota below a letter is a mark; its fellows are letters
	}
	return least
}

// FoldCase returns s with every rune replaced by FoldRune of it. The number of runes stays the same.
func FoldCase(s string) string {
	i := 0
	for i < len(s) && s[i] < utf8.RuneSelf && !('A' <= s[i] && s[i] <= 'Z') {
		i++
	}
	if i == len(s) {
		return s
	}
	out := make([]byte, i, len(s)+8)
	copy(out, s)
	for i < len(s) {
		b := s[i]
		if b < utf8.RuneSelf {
			if 'A' <= b && b <= 'Z' {
				b += 'a' - 'A'
			}
			out = append(out, b)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			out = append(out, b)
		} else {
			out = utf8.AppendRune(out, FoldRune(r))
		}
		i += n
	}
	return string(out)
}
