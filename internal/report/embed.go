package report

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// The page carries the samples in blocks: lines of JSON, compressed with gzip and written in base64
// as script elements of a type that no browser runs. An index block has a short line for each of
// many samples, enough for the list and its filters; the browser unpacks all of them at the start. A
// text block has the long line for each of a few samples; it is unpacked when one of them is
// looked at or searched. Both lists are in the same order. Base64 cannot end the element it stands
// in, so nothing a model wrote is ever parsed as HTML.

// bounds is what the page carries at most: samples, and bytes of compressed data, which are three
// quarters of what it takes in the file. Where there is more, failures go before passes.
type bounds struct {
	rows  int
	bytes int64
}

var pageBounds = bounds{rows: 100_000, bytes: 48 << 20}

const (
	embedIndexRows = 2000      // rows of an index block
	embedTextBytes = 512 << 10 // bytes of a text block before compression
)

// embedTexts are the limits of a sample's texts while there is room.
var embedTexts = textLimits{text: 16_000, vars: 4000, reason: 1000, detail: 4000}

// embedSmallest is what a sample gets of its texts, in bytes, before it gets none of them.
const embedSmallest = 600

// badWeight is how many passing samples' room one that did not pass may take.
const badWeight = 4

// embedding writes the blocks in one pass over the samples, in memory that does not grow with them.
type embedding struct {
	w     io.Writer
	most  bounds
	run   *record.Run
	held  *record.Quarantines
	d     *Digest
	combo map[combo]int

	index, texts block
	left         [2]int // rows still to come: passed, not passed
	quota        [2]int // of those, rows to write
	raw, packed  int64  // bytes of written blocks, before and after compression
}

// embed writes the samples of src into the page.
func embed(w io.Writer, src Source, most bounds) error {
	e := &embedding{w: w, most: most, run: src.Run, held: src.Run.Flaky.Quarantines(), d: src.Digest, combo: map[combo]int{}}
	e.index.kind, e.texts.kind = "index", "texts"
	for i, s := range src.Digest.combos.list {
		e.combo[s.key] = i
	}
	t := src.Digest.all
	e.left = [2]int{t.Passed, t.Total() - t.Passed}
	// Not all room goes to failures: what passed is there to compare with.
	e.quota[0] = min(e.left[0], max(most.rows-e.left[1], most.rows/10))
	e.quota[1] = min(e.left[1], most.rows-e.quota[0])
	n, all := 0, true
	for s, err := range src.Samples() {
		if err != nil {
			return err
		}
		n++
		if err := e.add(&s, n); err != nil {
			return err
		}
		if e.quota == [2]int{} && n < t.Total() && t.Total() > most.rows {
			// The page is full, and there may be millions more.
			all = false
			break
		}
	}
	if all && n != t.Total() {
		return fmt.Errorf("%d samples were counted and %d are there", t.Total(), n)
	}
	if err := e.flush(&e.index); err != nil {
		return err
	}
	return e.flush(&e.texts)
}

func (e *embedding) add(s *record.Sample, n int) error {
	class := 1
	if s.Verdict == verdict.Pass {
		class = 0
	}
	at, known := e.combo[combo{s.Provider, s.Prompt}]
	if e.left[class] == 0 || !known {
		return fmt.Errorf("sample %d, case %s, is not one of those counted", n, short(s.Case))
	}
	allowed := e.allowance(class)
	e.left[class]--
	if e.quota[class] == 0 {
		return nil
	}
	e.quota[class]--
	lim := embedTexts
	held := e.held.Holds(s.Case, s.Tags)
	r := newRow(s, n, lim)
	for r.size() > allowed && lim.text > 100 {
		lim = textLimits{lim.text / 2, lim.vars / 2, lim.reason / 2, lim.detail / 2}
		r = newRow(s, n, lim)
	}
	r.held = held
	bare := allowed == 0
	if err := e.index.add(indexLine(r, at, bare)); err != nil {
		return err
	}
	if e.index.rows == embedIndexRows {
		if err := e.flush(&e.index); err != nil {
			return err
		}
	}
	var line any = []any{}
	if !bare {
		line = textLine(newRowView(e.run, e.d, r))
	}
	if err := e.texts.add(line); err != nil {
		return err
	}
	if e.texts.raw >= embedTextBytes {
		return e.flush(&e.texts)
	}
	return nil
}

// allowance is how many bytes the next row may take: twice its fair share of the room that is left,
// by how well the rows before were compressed; 0 when there is none.
func (e *embedding) allowance(class int) int {
	ratio := 3.0
	if e.packed > 0 {
		ratio = min(max(float64(e.raw)/float64(e.packed), 1), 20)
	}
	room := float64(e.most.bytes-e.packed) - float64(e.index.raw+e.texts.raw)/ratio
	if room <= 0 {
		return 0
	}
	weight := [2]float64{1, badWeight}
	waiting := float64(e.quota[0]) + badWeight*float64(e.quota[1])
	return max(int(2*room*ratio*weight[class]/max(waiting, 1)), embedSmallest)
}

// block collects the lines of one block.
type block struct {
	kind      string
	line      bytes.Buffer
	out       bytes.Buffer // compressed
	gz        *gzip.Writer
	rows, raw int
}

func (b *block) add(line any) error {
	if b.gz == nil {
		gz, err := gzip.NewWriterLevel(&b.out, gzip.BestSpeed)
		if err != nil {
			return err
		}
		b.gz = gz
	}
	b.line.Reset()
	enc := json.NewEncoder(&b.line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		return err
	}
	b.rows++
	b.raw += b.line.Len()
	_, err := b.gz.Write(b.line.Bytes())
	return err
}

// flush writes a block, if there is anything in it, and empties it.
func (e *embedding) flush(b *block) error {
	if b.rows == 0 {
		return nil
	}
	if err := b.gz.Close(); err != nil {
		return err
	}
	e.raw += int64(b.raw)
	e.packed += int64(b.out.Len())
	if _, err := io.WriteString(e.w, `<script type="text/plain" class="`+b.kind+`" data-rows="`+strconv.Itoa(b.rows)+`">`); err != nil {
		return err
	}
	enc := base64.NewEncoder(base64.StdEncoding, e.w)
	if _, err := enc.Write(b.out.Bytes()); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	if _, err := io.WriteString(e.w, "</script>\n"); err != nil {
		return err
	}
	b.out.Reset()
	b.gz.Reset(&b.out)
	b.rows, b.raw = 0, 0
	return nil
}

// indexLine is what the list shows and filters by. assets/data.js reads it by position.
func indexLine(r *row, combo int, bare bool) []any {
	why := r.output
	if len(r.why) > 0 {
		why = r.why[0]
	}
	score, latency := "", ""
	if r.score != nil {
		score = number(*r.score)
	}
	if r.latency != nil {
		latency = seconds(*r.latency)
	}
	return []any{r.index, r.id, r.repeat, combo, rank(r.verdict), flagged(r), r.score, r.latency, r.cost, score, latency, oneLine(why, rowWhy),
		nonNil(r.tags), failing(r), r.group, bit(bare)}
}

// rowWhy is how many runes of a reason or an output a line of the list has.
const rowWhy = 160

// textLine is all else that is shown of a sample. assets/detail.js reads it by position.
func textLine(v rowView) []any {
	scores := make([][]any, len(v.Scores))
	for i, s := range v.Scores {
		var list [][]any
		for _, in := range s.Instructions {
			list = append(list, []any{in.ID, bit(in.Strict), bit(in.Loose)})
		}
		scores[i] = []any{s.Class, s.Mark, s.Word, s.Name, s.Type, s.Value, s.Reason, s.Detail, list, s.Depth}
	}
	facts := make([][2]string, len(v.Facts))
	for i, f := range v.Facts {
		facts[i] = [2]string{f.Name, f.Value}
	}
	wants := make([][2]string, len(v.Expected))
	for i, x := range v.Expected {
		wants[i] = [2]string{x.name, x.text}
	}
	return []any{nonNil(v.Reasons), scores, v.Input, v.Vars, v.Output, v.Refusal, v.Error, facts, wants, v.MoreScores, v.Turns, v.Calls, v.Raw}
}

// failing lists the scores that did not pass, by name.
func failing(r *row) []string {
	out := []string{}
	seen := map[string]bool{}
	for i := range r.scores {
		s := &r.scores[i]
		bad := s.verdict == verdict.Fail || s.verdict == verdict.Error
		if name := s.label(); bad && s.depth == 0 && !s.ignored && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// flagged is 1 for a critical case, -1 for one in quarantine, which comes after all others, and else 0.
func flagged(r *row) int {
	switch r.flag() {
	case flagCritical:
		return 1
	case flagHeld:
		return -1
	}
	return 0
}
