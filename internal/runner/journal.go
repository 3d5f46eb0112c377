package runner

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/lock"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Header is the journal's first line: what the run is, so that only the same run is resumed.
type Header struct {
	Journal int               `json:"telltale_journal"` // format version
	ID      string            `json:"id"`
	Parts   map[string]string `json:"parts"` // what ID is the hash of, by name
	Total   int               `json:"total"`
	Started time.Time         `json:"started"`
	// Looks are the decisions before the samples of this journal, when it holds further repeats of a run.
	Looks []record.Look `json:"looks,omitempty"`
}

const journalVersion = 1

// Journal is an append-only file of finished samples, one a line: the sample's index in the plan, a
// tab, the sample as JSON. A line is written with one system call, so that after kill -9 at most the
// last line is incomplete; opening the journal cuts that one off. It is flushed to the disk once a
// second. A sample may be appended again (it had no answer before): the last line counts. One that was
// compared with the other answers to its case is appended with "=", what the comparison cost and the
// tokens it used between index and tab.
//
// Memory: 8 bytes per planned sample.
type Journal struct {
	Header Header
	// Sittings counts how often the journal has been opened before, Seconds the time spent then.
	Sittings int
	Seconds  float64

	mu      sync.Mutex
	file    *os.File
	size    int64
	offsets []int64                 // by index: 1 + offset of the line, 0 when not finished
	retry   []bool                  // nil, or by index: finished without an answer in an earlier sitting
	earlier map[verdict.Verdict]int // samples of earlier sittings that stand
	judged  []verdict.Verdict       // by index, while the journal is read
	// compared says, by index, that an earlier sitting compared the sample with the others of its case; may be nil.
	compared []bool
	done     int
	spent    Spent
	opened   time.Time
	rested   time.Duration // time spent in this sitting, once it rests

	stop   chan struct{} // ends the goroutine that flushes
	synced sync.WaitGroup
	dirty  bool
	wrote  bool         // a sample in this sitting
	begun  time.Time    // the last sitting that was read, while it has no end
	begins *sittingNote // to be written before the first sample
	unsaid bool         // it made samples
	failed error        // of flushing
}

// CreateJournal starts a journal; the file must not exist.
func CreateJournal(path string, h Header) (*Journal, error) {
	h.Journal = journalVersion
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	j := &Journal{Header: h, file: f, offsets: make([]int64, h.Total), opened: time.Now()}
	if err := claim(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b, err := json.Marshal(h)
	if err == nil {
		err = j.write(append(b, '\n'))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	j.keepFlushed()
	return j, f.Sync()
}

// keepFlushed flushes the file once a second, outside the path of the samples.
func (j *Journal) keepFlushed() {
	j.stop = make(chan struct{})
	j.synced.Go(func() {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-j.stop:
				return
			case <-t.C:
			}
			j.mu.Lock()
			dirty := j.dirty
			j.dirty = false
			j.mu.Unlock()
			if !dirty {
				continue
			}
			if err := j.file.Sync(); err != nil {
				j.mu.Lock()
				j.failed = err
				j.mu.Unlock()
			}
		}
	})
}

// OpenJournal opens an unfinished journal to go on with it. Samples without an answer are made anew.
func OpenJournal(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	j := &Journal{file: f, opened: time.Now()}
	if err := claim(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err == nil {
		err = j.read()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	j.goOn(info.ModTime())
	j.keepFlushed()
	return j, nil
}

// goOn begins a sitting, which is noted with its first sample. One before it that was killed has said
// nothing of its time: it lasted at least until the journal was last written to.
func (j *Journal) goOn(written time.Time) {
	note := sittingNote{Started: &j.opened}
	if j.unsaid {
		note.Seconds = max(written.Sub(j.begun).Seconds(), 0.001)
		j.Sittings++
		j.Seconds += note.Seconds
	}
	j.begins = &note
}

// note writes a note.
func (j *Journal) note(n sittingNote) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return j.write(append(append([]byte("#"), b...), '\n'))
}

// ErrNoHeader says that a process ended before it had written the journal's first line: there is
// nothing in it.
var ErrNoHeader = errors.New("no complete header")

// ErrLocked says that another process is at work on the run.
var ErrLocked = errors.New("another telltale is running in this directory")

// claim takes the file for this process.
func claim(f *os.File) error {
	err := lock.File(f)
	if errors.Is(err, lock.ErrHeld) {
		return ErrLocked
	}
	return err
}

// read indexes the journal and cuts off an incomplete last line.
func (j *Journal) read() error {
	r := bufio.NewReaderSize(j.file, 1<<20)
	line, err := readLine(r)
	if err != nil {
		return ErrNoHeader
	}
	if err := json.Unmarshal(line, &j.Header); err != nil || j.Header.Journal != journalVersion {
		return fmt.Errorf("not a journal of this version of telltale: %q", bytes.TrimSpace(line))
	}
	if j.Header.Total < 0 || j.Header.Total > 1<<32 {
		return fmt.Errorf("header: total %d is out of range", j.Header.Total)
	}
	j.begun = j.Header.Started
	j.offsets = make([]int64, j.Header.Total)
	j.retry = make([]bool, j.Header.Total)
	j.compared = make([]bool, j.Header.Total)
	j.judged = make([]verdict.Verdict, j.Header.Total)
	j.size = int64(len(line))
	for {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := j.index(line); err != nil {
			return fmt.Errorf("at byte %d: %w", j.size, err)
		}
		j.size += int64(len(line))
	}
	j.done, j.earlier = 0, map[verdict.Verdict]int{}
	for i, at := range j.offsets {
		if at > 0 && !j.retry[i] {
			j.done++
			j.earlier[j.judged[i]]++
		}
	}
	j.judged = nil
	info, err := j.file.Stat()
	if err == nil && info.Size() != j.size {
		err = j.file.Truncate(j.size)
	}
	if err != nil {
		return err
	}
	_, err = j.file.Seek(j.size, io.SeekStart)
	return err
}

// readLine returns a whole line with its end, or io.EOF when only part of one is left.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err == nil {
		return line, nil
	}
	return nil, err
}

// index takes in one line of an earlier sitting.
func (j *Journal) index(line []byte) error {
	if rest, ok := bytes.CutPrefix(line, []byte("#")); ok {
		var note sittingNote
		if err := json.Unmarshal(rest, &note); err != nil {
			return fmt.Errorf("note %q: %w", bytes.TrimSpace(rest), err)
		}
		if note.Seconds > 0 || note.Started == nil {
			j.Sittings++
			j.Seconds += note.Seconds
			j.begun, j.unsaid = time.Time{}, false
		}
		if note.Started != nil {
			j.begun = *note.Started
		}
		return nil
	}
	at, body, ok := bytes.Cut(line, []byte("\t"))
	at, price, compared := bytes.Cut(at, []byte("="))
	i, err := strconv.Atoi(string(at))
	if !ok || err != nil || i < 0 || i >= len(j.offsets) {
		return fmt.Errorf("line %q: want the index of a sample, from 0 to %d, a tab and the sample", clip(line), len(j.offsets)-1)
	}
	var s struct {
		Verdict verdict.Verdict `json:"verdict"`
		Error   string          `json:"error"`
		Cached  bool            `json:"cached"`
		Cost    float64         `json:"cost"`
		Usage   *record.Usage   `json:"usage"`
		Scores  []struct {
			Cost  float64       `json:"cost"`
			Usage *record.Usage `json:"usage"`
		} `json:"scores"`
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("sample %d: %w", i, err)
	}
	j.unsaid = !j.begun.IsZero()
	j.offsets[i] = 1 + j.size
	j.retry[i] = s.Error != ""
	j.judged[i] = s.Verdict
	if j.compared[i] = compared; compared {
		return j.addPrice(price)
	}
	if s.Error == "" && !s.Cached {
		j.spent.Samples++
	}
	// A conversation that broke off was paid for as far as it went.
	if !s.Cached {
		j.spent.Cost += s.Cost
		if s.Usage != nil {
			j.spent.Tokens += int64(s.Usage.Total)
		}
	}
	for _, score := range s.Scores {
		j.spent.Cost += score.Cost
		if score.Usage != nil {
			j.spent.Tokens += int64(score.Usage.Total)
		}
	}
	return nil
}

// addPrice takes in what a comparison took: all else of its line has been counted before.
func (j *Journal) addPrice(price []byte) error {
	cost, tokens, ok := strings.Cut(string(price), ",")
	c, err := strconv.ParseFloat(cost, 64)
	t, tokensErr := strconv.ParseInt(tokens, 10, 64)
	if !ok || err != nil || tokensErr != nil {
		return fmt.Errorf("%q: want the cost and the tokens of a comparison", price)
	}
	j.spent.Cost += c
	j.spent.Tokens += t
	return nil
}

// Compared says whether the sample has been compared with the others of its case in an earlier sitting.
func (j *Journal) Compared(index int) bool { return j.compared != nil && j.compared[index] }

// Sample reads a finished sample; nil when there is none.
func (j *Journal) Sample(index int) (*record.Sample, error) {
	j.mu.Lock()
	at := j.offsets[index]
	j.mu.Unlock()
	if at == 0 {
		return nil, nil
	}
	var buf []byte
	line, err := j.line(at-1, &buf)
	if err != nil {
		return nil, fmt.Errorf("journal: sample %d: %w", index, err)
	}
	_, body, _ := bytes.Cut(line, []byte("\t"))
	s := &record.Sample{}
	if err := json.Unmarshal(body, s); err != nil {
		return nil, fmt.Errorf("journal: sample %d: %w", index, err)
	}
	return s, nil
}

func clip(b []byte) []byte { return b[:min(len(b), 80)] }

// sittingNote ends a sitting, with the time it took, or begins one, or does both when the one before was killed.
type sittingNote struct {
	Seconds float64    `json:"seconds,omitempty"`
	Started *time.Time `json:"started,omitempty"`
}

// Has says whether the sample is finished and need not be made.
func (j *Journal) Has(index int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.offsets[index] > 0 && (j.retry == nil || !j.retry[index])
}

// Done is the number of finished samples.
func (j *Journal) Done() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done
}

// Earlier counts the samples of earlier sittings by verdict.
func (j *Journal) Earlier(v verdict.Verdict) int { return j.earlier[v] }

// Spent is what the samples of earlier sittings used.
func (j *Journal) Spent() Spent { return j.spent }

// Append adds a finished sample. When it returns, the sample survives the end of the process.
func (j *Journal) Append(index int, s *record.Sample) error {
	return j.append(index, s, "")
}

// Replace puts a sample in the place of the same answer before it was compared with the others of its
// case. cost and tokens are what the comparison took.
func (j *Journal) Replace(index int, s *record.Sample, cost float64, tokens int64) error {
	return j.append(index, s, fmt.Sprintf("=%s,%d", strconv.FormatFloat(cost, 'g', -1, 64), tokens))
}

func (j *Journal) append(index int, s *record.Sample, mark string) error {
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	buf.WriteString(strconv.Itoa(index))
	buf.WriteString(mark)
	buf.WriteByte('\t')
	if err := encode(buf, s); err != nil {
		return fmt.Errorf("sample %s: %w", s.Case, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.begins != nil {
		if err := j.note(*j.begins); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		j.begins = nil
	}
	at := j.size
	if err := j.write(buf.Bytes()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if j.offsets[index] == 0 || j.retry != nil && j.retry[index] {
		j.done++
	}
	j.offsets[index] = 1 + at
	if j.retry != nil {
		j.retry[index] = false
	}
	j.dirty, j.wrote = true, true
	return j.failed
}

func (j *Journal) write(b []byte) error {
	n, err := j.file.Write(b)
	j.size += int64(n)
	if err != nil && n > 0 {
		// Half a line would hide the next one.
		if terr := j.file.Truncate(j.size - int64(n)); terr == nil {
			j.size -= int64(n)
			_, _ = j.file.Seek(j.size, io.SeekStart)
		}
	}
	return err
}

// Flush writes the journal to the disk.
func (j *Journal) Flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Sync()
}

// Elapsed is the time spent in all sittings, this one included.
func (j *Journal) Elapsed() time.Duration {
	return time.Duration(j.Seconds*float64(time.Second)) + j.sitting()
}

// sitting is the time spent in this sitting.
func (j *Journal) sitting() time.Duration {
	if j.rested > 0 {
		return j.rested
	}
	return time.Since(j.opened)
}

// Rest says that no more samples come in this sitting, though the journal stays open to be read.
func (j *Journal) Rest() {
	if j.rested == 0 {
		j.rested = max(time.Since(j.opened), 1)
	}
}

// Close notes the time spent, if a sample was made in it, and closes the file and its lock.
func (j *Journal) Close() error {
	close(j.stop)
	j.synced.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	if j.wrote {
		err = j.note(sittingNote{Seconds: j.sitting().Seconds()})
	}
	return errors.Join(err, j.file.Close())
}

// Each calls f with every finished sample in the order of the plan: its index, and its JSON with a
// line end, valid until f returns.
func (j *Journal) Each(f func(index int, line []byte) error) error {
	var buf []byte
	for i := range j.offsets {
		if err := j.at(i, &buf, f); err != nil {
			return err
		}
	}
	return nil
}

// at calls f with one sample when it is finished. buf is kept from one call to the next.
func (j *Journal) at(i int, buf *[]byte, f func(index int, line []byte) error) error {
	at := j.offsets[i]
	if at == 0 {
		return nil
	}
	line, err := j.line(at-1, buf)
	if err != nil {
		return fmt.Errorf("journal: sample %d: %w", i, err)
	}
	_, body, _ := bytes.Cut(line, []byte("\t"))
	return f(i, body)
}

// EachOf calls f with every finished sample of several journals of the same cases, each with so many
// repeats: by case and cell (provider and prompt), then by journal and repeat. The index is the sample's in the
// plan that has the repeats of all.
func EachOf(journals []*Journal, repeats []int, f func(index int, line []byte) error) error {
	if len(journals) == 1 {
		return journals[0].Each(f)
	}
	var buf []byte
	index := 0
	for cell := range journals[0].Header.Total / repeats[0] {
		for k, j := range journals {
			for r := range repeats[k] {
				at := index
				index++
				if err := j.at(cell*repeats[k]+r, &buf, func(_ int, line []byte) error { return f(at, line) }); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// line reads the line at an offset into buf, which grows as needed.
func (j *Journal) line(at int64, buf *[]byte) ([]byte, error) {
	if *buf == nil {
		*buf = make([]byte, 8<<10)
	}
	for {
		n, err := j.file.ReadAt(*buf, at)
		if end := bytes.IndexByte((*buf)[:n], '\n'); end >= 0 {
			return (*buf)[:end+1], nil
		}
		if err != nil {
			return nil, err
		}
		*buf = make([]byte, 2*len(*buf))
	}
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// encode writes one line of JSON in which <, > and & stay as they are: the files are for reading.
func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
