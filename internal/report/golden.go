package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	gold "github.com/telltale-llm/telltale/internal/golden"
)

// GoldenChange is what becomes of the accepted outputs of a case.
type GoldenChange struct {
	// Title names the case and, where it matters, the snapshot; Input is what was asked.
	Title, Input string
	// Added are accepted anew, Dropped no more; Kept stay.
	Added, Kept, Dropped []string
}

// How much of a text is shown around what changed and of what changed in one place, in words, and of a text without a
// counterpart, in runes.
const (
	contextWords = 8
	changedWords = 200
	goldenRunes  = 600
)

// GoldenChanges writes the differences between what is accepted and what would be, word by word:
// what goes stands in [-…-] and what comes in {+…+}.
func GoldenChanges(w io.Writer, list []GoldenChange, opts TerminalOptions) error {
	t := newTerminal(opts)
	for i := range list {
		c := &list[i]
		t.line(t.paint(fit(c.Title, t.Width), bold))
		if c.Input != "" {
			t.wrap("    ", "asked: "+logLine(c.Input, 200), dim)
		}
		former := append(append([]string{}, c.Dropped...), c.Kept...)
		shown := map[string]bool{}
		for _, added := range c.Added {
			if len(former) == 0 {
				t.wrap("  ", "+ "+logLine(added, goldenRunes), green)
				continue
			}
			like := nearest(former, added)
			shown[like] = true
			t.words("  ~ ", gold.Words(like, added))
		}
		for _, dropped := range c.Dropped {
			if !shown[dropped] {
				t.wrap("  ", "- "+logLine(dropped, goldenRunes), red)
			}
		}
		if n := len(c.Kept); n > 0 {
			t.wrap("  ", fmt.Sprintf("= %s accepted before %s", count(n), map[bool]string{true: "stays", false: "stay"}[n == 1]), dim)
		}
	}
	return t.flush(w)
}

// nearest is the text that shares most with another, by the letters at both ends.
func nearest(list []string, to string) string {
	best, most := list[0], -1
	for _, s := range list {
		n := 0
		for n < len(s) && n < len(to) && s[n] == to[n] {
			n++
		}
		head := n
		for tail := 0; head+tail < min(len(s), len(to)) && s[len(s)-1-tail] == to[len(to)-1-tail]; tail++ {
			n++
		}
		if n > most {
			best, most = s, n
		}
	}
	return best
}

// words writes a comparison, wrapped, with long stretches of what is the same left out.
func (t *terminal) words(first string, pieces []gold.Piece) {
	const rest = "    "
	line, used := first, width(first)
	put := func(text, shown string) {
		if n := width(text); used+n+1 > t.Width && used > len(rest) {
			t.line(line)
			line, used = rest, len(rest)
		}
		if used > len(rest) {
			line, used = line+" ", used+1
		}
		line, used = line+shown, used+width(text)
	}
	for i, p := range pieces {
		text := p.Text
		if looksAlike(pieces, i) {
			text = spelled(text)
		}
		fields := strings.Fields(strings.ReplaceAll(text, "\n", " ↵ "))
		if p.Op == gold.Same {
			fields = elided(fields, i > 0, i < len(pieces)-1)
		} else if n := len(fields); n > changedWords {
			fields = slices.Concat(fields[:changedWords/2], []string{fmt.Sprintf("(… %s words more …)", count(n-changedWords))}, fields[n-changedWords/2:])
		}
		fields = strings.Fields(logLine(strings.Join(fields, " "), 1<<16))
		if len(fields) == 0 && p.Op != gold.Same {
			fields = []string{"␣"} // white space alone
		}
		open, end, styles := "", "", []style(nil)
		switch p.Op {
		case gold.Removed:
			open, end, styles = "[-", "-]", []style{red}
		case gold.Added:
			open, end, styles = "{+", "+}", []style{green}
		}
		for k, f := range fields {
			if k == 0 {
				f = open + f
			}
			if k == len(fields)-1 {
				f += end
			}
			for _, part := range chunks(f, t.Width-len(rest)-1) {
				painted := part
				if p.Op != gold.Same {
					painted = t.paint(part, styles...)
				}
				put(part, painted)
			}
		}
	}
	t.line(line)
}

// looksAlike says whether what changed cannot be seen: other code points for the same letters, or other white space.
func looksAlike(pieces []gold.Piece, i int) bool {
	p := pieces[i]
	if p.Op == gold.Same {
		return false
	}
	visible := func(s string) string { return strings.Join(strings.Fields(norm.NFKC.String(s)), " ") }
	seen := visible(p.Text)
	if seen == "" {
		return true
	}
	for _, k := range []int{i - 1, i + 1} {
		if k >= 0 && k < len(pieces) && pieces[k].Op != gold.Same && pieces[k].Op != p.Op && visible(pieces[k].Text) == seen {
			return true
		}
	}
	return false
}

// spelled writes what is not a plain letter, space or line end by its code point.
func spelled(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '\n' || r >= ' ' && r < 0x7f {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return b.String()
}

// chunks cuts a word that is wider than a line.
func chunks(s string, columns int) []string {
	if width(s) <= columns {
		return []string{s}
	}
	var out []string
	runes := []rune(s)
	for len(runes) > 0 {
		n := min(len(runes), columns/2)
		out, runes = append(out, string(runes[:n])), runes[n:]
	}
	return out
}

// elided leaves out the middle of what is the same, and its outer parts where nothing changed before or after.
func elided(words []string, before, after bool) []string {
	head, tail := 0, 0
	if before {
		head = contextWords
	}
	if after {
		tail = contextWords
	}
	if len(words) <= head+tail+1 {
		return words
	}
	out := append([]string{}, words[:head]...)
	out = append(out, "…")
	return append(out, words[len(words)-tail:]...)
}

// GoldenShow writes what is accepted.
func GoldenShow(w io.Writer, f *gold.File, cases []string, opts TerminalOptions) error {
	t := newTerminal(opts)
	if len(cases) == 0 {
		t.line(fmt.Sprintf("%s  %s", t.paint(fit(f.Path(), t.Width-20), bold), numbered(f.Len(), "output")))
	}
	for _, k := range f.Keys() {
		if len(cases) > 0 && !slices.Contains(cases, k.Case) {
			continue
		}
		t.line(t.paint(fit(GoldenTitle(k), t.Width), bold))
		for i, o := range f.Exactly(k) {
			if len(cases) > 0 {
				if i > 0 {
					t.line("")
				}
				t.block(o)
				continue
			}
			t.wrap("  ", "“"+logLine(o, 200)+"”")
		}
	}
	return t.flush(w)
}

// block writes a text line by line.
func (t *terminal) block(s string) {
	for line := range strings.Lines(s + "\n") {
		t.line("  | " + logLine(strings.TrimSuffix(line, "\n"), 1<<20))
	}
}

// GoldenTitle names what outputs are accepted of.
func GoldenTitle(k gold.Key) string {
	s := "case " + logLine(k.Case, 100)
	if k.Provider != "" {
		s += " · " + logLine(k.Provider, 60)
	}
	if k.Prompt != "" {
		s += " · " + logLine(k.Prompt, 60)
	}
	return s
}
