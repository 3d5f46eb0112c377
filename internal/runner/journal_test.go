package runner

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

func sampleNamed(name, errText string) *record.Sample {
	return &record.Sample{Case: name, Error: errText, Output: "<&> " + name, Scores: []record.Score{}}
}

func samplesOf(t *testing.T, j *Journal) []string {
	t.Helper()
	var b bytes.Buffer
	if err := j.Each(func(_ int, line []byte) error { b.Write(line); return nil }); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if b.Len() == 0 {
		return nil
	}
	return lines
}

// A journal cut at any byte opens, holds every whole line before the cut, and goes on.
func TestJournalSurvivesACutAnywhere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.jsonl")
	j, err := CreateJournal(path, Header{ID: "x", Total: 6})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{3, 0, 5, 1} {
		if err := j.Append(i, sampleNamed(fmt.Sprint("case", i), "")); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header := bytes.IndexByte(whole, '\n') + 1
	for cut := header; cut <= len(whole); cut++ {
		p := filepath.Join(dir, "cut.jsonl")
		if err := os.WriteFile(p, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := OpenJournal(p)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		want := 0
		for _, line := range bytes.SplitAfter(whole[header:cut], []byte("\n")) {
			if bytes.HasSuffix(line, []byte("\n")) && line[0] != '#' {
				want++
			}
		}
		if c.Done() != want {
			t.Errorf("cut at %d: %d samples, want %d", cut, c.Done(), want)
		}
		for i := range 6 {
			if !c.Has(i) {
				if err := c.Append(i, sampleNamed(fmt.Sprint("case", i), "")); err != nil {
					t.Fatal(err)
				}
			}
		}
		lines := samplesOf(t, c)
		if len(lines) != 6 {
			t.Fatalf("cut at %d: %d lines", cut, len(lines))
		}
		for i, line := range lines {
			if !strings.Contains(line, fmt.Sprintf(`"case":"case%d"`, i)) {
				t.Fatalf("cut at %d: line %d is %s", cut, i, line)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJournalMakesUnansweredSamplesAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, err := CreateJournal(path, Header{Total: 3})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(j.Append(0, sampleNamed("a", "")))
	must(j.Append(1, sampleNamed("b", "connection: refused")))
	must(j.Close())
	j, err = OpenJournal(path)
	must(err)
	if !j.Has(0) || j.Has(1) || j.Has(2) || j.Done() != 1 {
		t.Errorf("has %v %v %v, done %d", j.Has(0), j.Has(1), j.Has(2), j.Done())
	}
	must(j.Append(1, sampleNamed("b2", "")))
	if !j.Has(1) || j.Done() != 2 {
		t.Errorf("after: has %v, done %d", j.Has(1), j.Done())
	}
	if lines := samplesOf(t, j); len(lines) != 2 || !strings.Contains(lines[1], "b2") {
		t.Errorf("lines %v", lines)
	}
	if _, err := OpenJournal(path); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	must(j.Close())
}

// A sitting that was killed has left no note: it is counted, and lasted until the file was last written to.
func TestJournalCountsKilledSittings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// killed leaves the file as kill -9 would, so many seconds after the sitting began.
	killed := func(j *Journal, began time.Time, seconds int) {
		t.Helper()
		data, err := os.ReadFile(path)
		must(err)
		must(j.Close())
		must(os.WriteFile(path, data, 0o600))
		must(os.Chtimes(path, time.Time{}, began.Add(time.Duration(seconds)*time.Second)))
	}
	check := func(j *Journal, sittings int, seconds float64) {
		t.Helper()
		if j.Sittings != sittings || math.Abs(j.Seconds-seconds) > 0.2 {
			t.Errorf("%d sittings, %v s; want %d, %v s", j.Sittings, j.Seconds, sittings, seconds)
		}
	}
	began := time.Now().Add(-time.Hour)
	j, err := CreateJournal(path, Header{Total: 3, Started: began})
	must(err)
	must(j.Append(0, sampleNamed("a", "")))
	killed(j, began, 5)
	j, err = OpenJournal(path)
	must(err)
	check(j, 1, 5)
	killed(j, began, 5) // nothing was made in it, so that nothing was written
	j, err = OpenJournal(path)
	must(err)
	check(j, 1, 5)
	must(j.Append(1, sampleNamed("b", "")))
	killed(j, time.Now(), 7)
	j, err = OpenJournal(path)
	must(err)
	check(j, 2, 12)
	must(j.Append(2, sampleNamed("c", "")))
	must(j.Close())
	j, err = OpenJournal(path)
	must(err)
	check(j, 3, 12)
	must(j.Close())
}

func TestJournalRefusesWhatItIsNot(t *testing.T) {
	f := func(content, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "j")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJournal(path)
		if err == nil {
			_ = j.Close()
			t.Errorf("opened %q", content)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
	f("", "no complete header")
	f(`{"telltale_journal":1`, "no complete header")
	f(`{"telltale_journal":99}`+"\n", "not a journal")
	f(`{"telltale_journal":1,"total":2}`+"\nhello\n", "want the index")
	f(`{"telltale_journal":1,"total":2}`+"\n7\t{}\n", "from 0 to 1")
	f(`{"telltale_journal":1,"total":2}`+"\n1\t{\n", "sample 1")
	f(`{"telltale_journal":1,"total":-2}`+"\n", "out of range")
}

func FuzzOpenJournal(f *testing.F) {
	f.Add(`{"telltale_journal":1,"total":2}` + "\n1\t{\"case\":\"a\"}\n#{\"seconds\":1}\n0\t{")
	f.Fuzz(func(t *testing.T, s string) {
		path := filepath.Join(t.TempDir(), "j")
		if strings.Contains(s, "total") && len(s) > 300 {
			t.Skip("a header may announce a plan that takes long to index")
		}
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJournal(path)
		if err != nil {
			return
		}
		defer j.Close()
		var b bytes.Buffer
		if err := j.Each(func(_ int, line []byte) error { b.Write(line); return nil }); err != nil {
			t.Errorf("opened but not read: %v", err)
		}
	})
}

func TestCache(t *testing.T) {
	dir := t.TempDir()
	c, err := OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	snap := &record.Snapshot{ID: "s"}
	base := record.Request{Messages: []record.Message{{Role: "user", Content: "hi"}}}
	key := Key(snap, &base)
	if _, ok := c.Get(key); ok {
		t.Fatal("an answer out of nothing")
	}
	cost := 0.5
	c.Put(key, &record.Response{Output: "o", Cost: &cost, Latency: 5})
	if got, ok := c.Get(key); !ok || got.Output != "o" || *got.Cost != 0.5 || got.Latency != 5 {
		t.Fatalf("got %+v, %v", got, ok)
	}
	for i, other := range []record.Request{
		{Messages: []record.Message{{Role: "user", Content: "hi!"}}}, {Messages: base.Messages, Repeat: 1}, {Messages: base.Messages, Seed: 1},
	} {
		if Key(snap, &other) == key {
			t.Errorf("request %d has the same key", i)
		}
	}
	if Key(&record.Snapshot{ID: "t"}, &base) == key {
		t.Error("another snapshot has the same key")
	}
	if err := os.WriteFile(c.path(key), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Get(key); ok {
		t.Error("half a file was taken for an answer")
	}
	for i := range 20 {
		r := base
		r.Repeat = i
		c.Put(Key(snap, &r), &record.Response{Output: strings.Repeat("x", 1000)})
	}
	if err := c.Prune(5000); err != nil {
		t.Fatal(err)
	}
	var left int64
	_ = filepath.Walk(dir, func(_ string, info os.FileInfo, _ error) error {
		if !info.IsDir() {
			left += info.Size()
		}
		return nil
	})
	if left == 0 || left > 5000 {
		t.Errorf("%d bytes are left", left)
	}
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

func BenchmarkJournalAppend(b *testing.B) {
	j, err := CreateJournal(filepath.Join(b.TempDir(), "j"), Header{Total: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	s := sampleNamed("case", "")
	s.Output = strings.Repeat("word ", 100)
	for b.Loop() {
		if err := j.Append(rand.IntN(1<<20), s); err != nil {
			b.Fatal(err)
		}
	}
}
