package view

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Bounds of what a journal may make the server hold.
const (
	maxTotal  = 1 << 26  // planned samples
	maxLine   = 64 << 20 // bytes of a line
	maxCombos = 200
	maxRecent = 30
	maxErrors = 100 // kinds of errors shown
)

// tail follows a journal as it grows and counts its samples. It keeps two bytes for each
// sample, for a sample may be written again when it had no answer before. It is not safe for
// concurrent use.
type tail struct {
	file   os.FileInfo // of the journal that was read, to notice another one in its place
	offset int64
	header header
	seen   []uint8 // by index: 1 + verdict
	at     []uint8 // by index: place in combos

	all     report.Tally
	combos  []comboTally
	reasons map[int]string // of samples in error, by index
	errors  map[string]int
	recent  []happening // the latest first
	tokens  int64
	cost    float64
	priced  bool
	sitting int
	changed time.Time
	pace    []moment
}

// header is what is used of the journal's first line.
type header struct {
	Journal int       `json:"telltale_journal"`
	ID      string    `json:"id"`
	Total   int       `json:"total"`
	Started time.Time `json:"started"`
}

type comboTally struct {
	provider, prompt string
	others           bool // it holds those that there was no room for too
	report.Tally
}

// comboName leaves the prompt out when there is only one.
func (t *tail) comboName(i int) string {
	c := &t.combos[i]
	if c.others {
		return "all others"
	}
	for j := range t.combos {
		if t.combos[j].prompt != c.prompt {
			return report.Line(c.provider+" · "+c.prompt, 120)
		}
	}
	return report.Line(c.provider, 120)
}

// happening is a sample that did not pass.
type happening struct {
	Case   string `json:"case"`
	Combo  string `json:"combo"`
	Class  string `json:"class"`
	Mark   string `json:"mark"`
	Why    string `json:"why"`
	Output string `json:"output"`
	combo  int
}

// moment is how many samples there were at a time, for the speed.
type moment struct {
	at   time.Time
	done int
}

// errNoJournal says that there is nothing to read yet, or no more.
var errNoJournal = errors.New("there is no journal")

// read takes in what was added since the last call. A journal that was replaced is read anew.
func (t *tail) read(root *os.Root, now time.Time) error {
	f, err := root.Open(journalFile)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoJournal
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if t.file != nil && (!os.SameFile(t.file, info) || info.Size() < t.offset) {
		*t = tail{}
	}
	t.file, t.changed = info, info.ModTime()
	if _, err := f.Seek(t.offset, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(f, 1<<18)
	for {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = t.line(line)
		}
		if err != nil {
			return fmt.Errorf("journal at byte %d: %w", t.offset, err)
		}
		t.offset += int64(len(line))
	}
	t.keepPace(now)
	return nil
}

// readLine returns a whole line, or io.EOF when only part of one is there.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		piece, err := r.ReadSlice('\n')
		if err == nil && line == nil {
			return piece, nil
		}
		line = append(line, piece...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxLine:
			return nil, fmt.Errorf("a line of more than %d bytes", maxLine)
		}
	}
}

func (t *tail) line(line []byte) error {
	if t.offset == 0 {
		if err := json.Unmarshal(line, &t.header); err != nil || t.header.Journal != 1 {
			return errors.New("not a journal of this version of telltale")
		}
		if t.header.Total < 0 || t.header.Total > maxTotal {
			return fmt.Errorf("%d planned samples are more than %d", t.header.Total, maxTotal)
		}
		t.reasons, t.errors = map[int]string{}, map[string]int{}
		return nil
	}
	if line[0] == '#' {
		if bytes.Contains(line, []byte(`"seconds"`)) { // the end of a sitting; else its beginning
			t.sitting++
		}
		return nil
	}
	place, body, ok := bytes.Cut(line, []byte("\t"))
	place, _, _ = bytes.Cut(place, []byte("=")) // compared with the other answers to its case
	i, err := strconv.Atoi(string(place))
	if !ok || err != nil || i < 0 || i >= t.header.Total {
		return errors.New("a line that is not an index, a tab and a sample")
	}
	var s record.Sample
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("sample %d: %w", i, err)
	}
	t.add(i, &s)
	return nil
}

func (t *tail) add(i int, s *record.Sample) {
	combo := t.combo(s.Provider, s.Prompt)
	if missing := i + 1 - len(t.seen); missing > 0 {
		t.seen, t.at = append(t.seen, make([]uint8, missing)...), append(t.at, make([]uint8, missing)...)
	}
	if t.seen[i] > 0 {
		was := verdict.Verdict(t.seen[i] - 1)
		t.all.Sub(was)
		t.combos[t.at[i]].Sub(was)
		if why, ok := t.reasons[i]; ok {
			t.errors[why]--
			delete(t.reasons, i)
		}
	}
	v := s.Verdict
	t.seen[i], t.at[i] = 1+uint8(v), uint8(combo)
	t.all.Add(v)
	t.combos[combo].Add(v)
	if v == verdict.Error {
		why := metric.Reason(s.Error)
		t.reasons[i] = why
		t.errors[why]++
	}
	if !s.Cached {
		if s.Cost != nil {
			t.cost += *s.Cost
			t.priced = true
		}
		if s.Usage != nil {
			t.tokens += int64(s.Usage.Total)
		}
	}
	for j := range s.Scores {
		if c := s.Scores[j].Cost; c != nil {
			t.cost += *c
			t.priced = true
		}
	}
	if v == verdict.Pass {
		return
	}
	name := s.Case
	if s.Repeat > 0 {
		name += " #" + strconv.Itoa(s.Repeat+1)
	}
	h := happening{Case: report.Line(name, 80), combo: combo, Class: v.String(), Mark: report.Mark(v), Why: report.Why(s, 240), Output: report.Line(s.Output, 240)}
	if len(t.recent) == maxRecent {
		t.recent = t.recent[:maxRecent-1]
	}
	t.recent = append([]happening{h}, t.recent...)
}

// combo is the place of a provider with a prompt; the last one takes what there is no room for.
func (t *tail) combo(provider, prompt string) int {
	for i := range t.combos {
		if c := &t.combos[i]; c.provider == provider && c.prompt == prompt {
			return i
		}
	}
	if len(t.combos) == maxCombos {
		t.combos[maxCombos-1].others = true
		return maxCombos - 1
	}
	t.combos = append(t.combos, comboTally{provider: provider, prompt: prompt})
	return len(t.combos) - 1
}

// paceOver is the time over which the speed is measured.
const paceOver = 30 * time.Second

func (t *tail) keepPace(now time.Time) {
	t.pace = append(t.pace, moment{now, t.all.Total()})
	for len(t.pace) > 2 && now.Sub(t.pace[0].at) > paceOver {
		t.pace = t.pace[1:]
	}
}

// speed is in samples a second over the last half minute; 0 when it is not known.
func (t *tail) speed() float64 {
	if len(t.pace) < 2 {
		return 0
	}
	first, last := t.pace[0], t.pace[len(t.pace)-1]
	span := last.at.Sub(first.at).Seconds()
	if span < 0.5 || last.done <= first.done {
		return 0
	}
	return float64(last.done-first.done) / span
}
