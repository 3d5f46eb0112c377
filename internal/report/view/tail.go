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

// tail follows the journals of a run as they grow and counts their samples: the first, and one for each
// further round of repeats that the gate asked for. It is not safe for concurrent use.
type tail struct {
	rounds []*round

	all     report.Tally
	combos  []comboTally
	errors  map[string]int
	recent  []happening // the latest first
	tokens  int64
	cost    float64
	priced  bool
	changed time.Time
	pace    []moment
}

// round is what is kept of one journal: two bytes for each sample, for a sample may be written again when it had no
// answer before.
type round struct {
	name    string
	file    os.FileInfo // of the journal that was read, to notice another one in its place
	offset  int64
	header  header
	seen    []uint8        // by index: 1 + verdict
	at      []uint8        // by index: place in combos
	reasons map[int]string // of samples in error, by index
	sitting int
}

// header is what is used of the journal's first line.
type header struct {
	Journal int       `json:"telltale_journal"`
	ID      string    `json:"id"`
	Total   int       `json:"total"`
	Started time.Time `json:"started"`
	// Looks are the gate's decisions before this round.
	Looks []record.Look `json:"looks"`
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

// errReplaced says that another journal is where one was that has been read.
var errReplaced = errors.New("the journal was replaced")

// read takes in what was added to the journals since the last call. When one was replaced, all are read anew.
func (t *tail) read(root *os.Root, now time.Time) error {
	err := t.readRounds(root)
	if errors.Is(err, errReplaced) {
		*t = tail{}
		err = t.readRounds(root)
	}
	if err != nil {
		return err
	}
	t.keepPace(now)
	return nil
}

func (t *tail) readRounds(root *os.Root) error {
	t.changed = time.Time{}
	for i := range maxRounds {
		r := &round{name: roundFile(i + 1)}
		if i < len(t.rounds) {
			r = t.rounds[i]
		}
		err := t.readRound(root, r)
		switch {
		case errors.Is(err, fs.ErrNotExist) && i == 0:
			return errNoJournal
		case errors.Is(err, fs.ErrNotExist) && i < len(t.rounds):
			return errReplaced
		case errors.Is(err, fs.ErrNotExist), err == nil && r.offset == 0: // not there, or its header is not
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// readRound takes in what was added to one journal.
func (t *tail) readRound(root *os.Root, in *round) error {
	f, err := root.Open(in.name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if in.file != nil && (!os.SameFile(in.file, info) || info.Size() < in.offset) {
		return errReplaced
	}
	in.file = info
	if info.ModTime().After(t.changed) {
		t.changed = info.ModTime()
	}
	if _, err := f.Seek(in.offset, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(f, 1<<18)
	for {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && in.offset == 0 {
			err = t.head(in, line)
		} else if err == nil {
			err = t.line(in, line)
		}
		if err != nil {
			return fmt.Errorf("%s at byte %d: %w", in.name, in.offset, err)
		}
		in.offset += int64(len(line))
	}
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

// head reads a journal's first line.
func (t *tail) head(in *round, line []byte) error {
	if err := json.Unmarshal(line, &in.header); err != nil || in.header.Journal != 1 {
		return errors.New("not a journal of this version of telltale")
	}
	if in.header.Total < 0 || in.header.Total > maxTotal-t.total() {
		return fmt.Errorf("%d planned samples are more than %d", in.header.Total, maxTotal)
	}
	if len(t.rounds) > 0 && in.header.ID != t.rounds[0].header.ID {
		return errors.New("it is the journal of another run")
	}
	in.reasons = map[int]string{}
	if t.errors == nil {
		t.errors = map[string]int{}
	}
	t.rounds = append(t.rounds, in)
	return nil
}

// total is the number of samples planned in all rounds so far.
func (t *tail) total() int {
	n := 0
	for _, r := range t.rounds {
		n += r.header.Total
	}
	return n
}

func (t *tail) line(in *round, line []byte) error {
	if line[0] == '#' {
		if bytes.Contains(line, []byte(`"seconds"`)) { // the end of a sitting; else its beginning
			in.sitting++
		}
		return nil
	}
	place, body, ok := bytes.Cut(line, []byte("\t"))
	place, _, _ = bytes.Cut(place, []byte("=")) // compared with the other answers to its case
	i, err := strconv.Atoi(string(place))
	if !ok || err != nil || i < 0 || i >= in.header.Total {
		return errors.New("a line that is not an index, a tab and a sample")
	}
	var s record.Sample
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("sample %d: %w", i, err)
	}
	t.add(in, i, &s)
	return nil
}

func (t *tail) add(in *round, i int, s *record.Sample) {
	combo := t.combo(s.Provider, s.Prompt)
	if missing := i + 1 - len(in.seen); missing > 0 {
		in.seen, in.at = append(in.seen, make([]uint8, missing)...), append(in.at, make([]uint8, missing)...)
	}
	if in.seen[i] > 0 {
		was := verdict.Verdict(in.seen[i] - 1)
		t.all.Sub(was)
		t.combos[in.at[i]].Sub(was)
		if why, ok := in.reasons[i]; ok {
			t.errors[why]--
			delete(in.reasons, i)
		}
	}
	v := s.Verdict
	in.seen[i], in.at[i] = 1+uint8(v), uint8(combo)
	t.all.Add(v)
	t.combos[combo].Add(v)
	if v == verdict.Error {
		why := metric.Reason(s.Error)
		in.reasons[i] = why
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
