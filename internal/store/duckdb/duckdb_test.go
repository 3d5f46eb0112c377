//go:build cgo

package duckdb

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
	"github.com/telltale-llm/telltale/internal/store/storetest"
)

// writerEnv makes the test program put exchanges into a directory until it is killed.
const writerEnv = "TELLTALE_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		os.Exit(write(dir))
	}
	goleak.VerifyTestMain(m)
}

func opened(t *testing.T) store.Store {
	t.Helper()
	return openedIn(t, t.TempDir(), Options{}, migrations)
}

func openedIn(t *testing.T, dir string, opts Options, steps []string) *Store {
	t.Helper()
	s, err := open(t.Context(), dir, opts, steps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) { storetest.Run(t, opened) }

// TestBins runs the suite's series with quantiles from bins.
func TestBins(t *testing.T) {
	storetest.Series(t, func(t *testing.T) store.Store {
		s := openedIn(t, t.TempDir(), Options{}, migrations)
		s.exactRows = 1
		return s
	})
}

func sample(i int) record.Exchange {
	return record.Exchange{
		ID: fmt.Sprintf("id-%08d", i), Time: time.Unix(1_760_000_000+int64(i), 0).UTC(), Route: "r", Variant: "baseline", User: fmt.Sprintf("USERMARK%05d", i%1000),
		Redaction: "1", Content: &record.Content{Output: fmt.Sprintf("CONTENTMARK%05d of exchange %d", i%1000, i)},
	}
}

func samples(from, n int) []record.Exchange {
	xs := make([]record.Exchange, n)
	for i := range xs {
		xs[i] = sample(from + i)
	}
	return xs
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := openedIn(t, dir, Options{}, migrations)
	if _, err := s.Put(t.Context(), samples(0, 100)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), samples(0, 1)); !errors.Is(err, errClosed) {
		t.Errorf("put after close: %v", err)
	}
	if _, err := os.Stat(s.path + ".wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a write-ahead log is left: %v", err)
	}
	s = openedIn(t, dir, Options{}, migrations)
	for i, want := range []int{50, 0} { // before and, at the latest then, after the filter is loaded
		if n, err := s.Put(t.Context(), samples(50, 100)); err != nil || n != want {
			t.Errorf("%d, %v; want %d", n, err, want)
		}
		if i == 0 {
			s.load.Wait()
			if !s.seen.ready {
				t.Error("the filter is not ready")
			}
		}
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	openedIn(t, dir, Options{}, migrations)
	_, err := Open(t.Context(), dir, Options{})
	var locked *store.LockedError
	if !errors.As(err, &locked) || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Fatalf("%v", err)
	}
}

func TestOptions(t *testing.T) {
	f := func(want string, o Options) {
		t.Helper()
		if _, err := Open(t.Context(), t.TempDir(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f(`memory "much": want a size such as 512MB`, Options{Memory: "much"})
	f(`memory "1GB'; DROP": want a size`, Options{Memory: "1GB'; DROP"})
	f(`checkpoint "-1MB"`, Options{Checkpoint: "-1MB"})
	f(`threads -1`, Options{Threads: -1})
}

// TestMigration opens a database that version 1 wrote with a version 2, and that again with version 1.
func TestMigration(t *testing.T) {
	dir := t.TempDir()
	s := openedIn(t, dir, Options{}, migrations[:1])
	if _, err := s.Put(t.Context(), samples(0, 3)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	first, next := migrations[:len(migrations):len(migrations)], len(migrations)+1
	s = openedIn(t, dir, Options{}, first)
	want, err := s.Exchange(t.Context(), sample(1).ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A step that fails changes nothing.
	if _, err := open(t.Context(), dir, Options{}, append(first, `ALTER TABLE rollups ADD COLUMN length DOUBLE; ALTER TABLE nothing DROP COLUMN x`)); err == nil || !strings.Contains(err.Error(), fmt.Sprint("tables to version ", next)) {
		t.Fatalf("%v", err)
	}
	s = openedIn(t, dir, Options{}, append(first, `ALTER TABLE rollups ADD COLUMN length DOUBLE; UPDATE rollups SET length = 10`))
	if st, err := s.Stats(t.Context()); err != nil || st.Schema != next || st.Exchanges != 3 {
		t.Errorf("%+v, %v", st, err)
	}
	if got, err := s.Exchange(t.Context(), want.ID); err != nil || got.Content.Output != want.Content.Output {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = open(t.Context(), dir, Options{}, first)
	var newer *store.SchemaError
	if !errors.As(err, &newer) || newer.Has != next || newer.Want != len(first) {
		t.Errorf("%v", err)
	}
}

// found counts a text in the bytes of all files of a directory.
func found(t *testing.T, dir, text string) (n int) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		n += bytes.Count(b, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestErased looks for what was deleted in the bytes of the files. Compression is off, for it would hide what is there. Without
// compression the engine moves texts within a block and leaves a copy where a few of them were: hence the allowance.
func TestErased(t *testing.T) {
	dir := t.TempDir()
	s := openedIn(t, dir, Options{}, append([]string{strings.ReplaceAll(migrations[0], "USING COMPRESSION zstd", "")}, migrations[1:]...))
	if _, err := s.writer.ExecContext(t.Context(), `SET force_compression = 'uncompressed'`); err != nil {
		t.Fatal(err)
	}
	const n, allowance = 150_000, 3 // two row groups, the first of which keeps rows
	for i := 0; i < n; i += 10_000 {
		if _, err := s.Put(t.Context(), samples(i, 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	f := func(mark string, want int) {
		t.Helper()
		if got := found(t, dir, mark); got < want || got > want+allowance {
			t.Errorf("%s: %d in the files, want %d", mark, got, want)
		}
	}
	if d, err := s.Forget(t.Context(), []string{"USERMARK00007", "USERMARK00008"}); err != nil || d.Exchanges != 300 || d.Content != 300 {
		t.Fatalf("%+v, %v", d, err)
	}
	f("USERMARK00007", 0)
	f("CONTENTMARK00007", 0)
	f("CONTENTMARK00009", 150)
	now := sample(n).Time
	s.small = 0 // as a table that is too large to be written anew
	if d, err := s.Delete(t.Context(), config.Retention{Content: 20_000 * time.Second, Exchanges: 50_000 * time.Second}, now); err != nil || d.Exchanges != 100_000 || d.Content != 129_740 {
		t.Fatalf("%+v, %v", d, err)
	}
	f("CONTENTMARK00009", 20)
	f("USERMARK00009", 50)
}

// TestScrubLater interrupts a deletion between its transaction and the writing over: the next one makes up for it, though there is
// nothing left to delete. Meanwhile another connection changes something, which a checkpoint has to wait for.
func TestScrubLater(t *testing.T) {
	s := openedIn(t, t.TempDir(), Options{}, migrations)
	if _, err := s.Put(t.Context(), samples(0, 10_000)); err != nil {
		t.Fatal(err)
	}
	other, err := s.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.ExecContext(t.Context(), `CREATE TABLE elsewhere (v INTEGER)`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.Forget(ctx, []string{"USERMARK00007"}); err == nil {
		t.Fatal("checkpointed under an open change")
	}
	due := func() (tables int) {
		t.Helper()
		if err := s.db.QueryRowContext(t.Context(), `SELECT count(*) FROM duckdb_tables() WHERE table_name = 'scrub'`).Scan(&tables); err != nil {
			t.Fatal(err)
		}
		return tables
	}
	if due() != 1 {
		t.Fatal("nothing says that writing over is due")
	}
	go func() { _ = other.Rollback() }()
	if d, err := s.Forget(t.Context(), []string{"USERMARK00007"}); err != nil || d.Content != 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	if due() != 0 {
		t.Error("still due")
	}
}

// TestNotInPlain stores with compression, as in use, through several checkpoints: no file holds a text of the content as it is,
// which would outlive deleting.
func TestNotInPlain(t *testing.T) {
	dir := t.TempDir()
	s := openedIn(t, dir, Options{Checkpoint: "2MB"}, migrations)
	for i := 0; i < 20_000; i += 2_500 {
		if _, err := s.Put(t.Context(), samples(i, 2_500)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Forget(t.Context(), []string{"USERMARK00007"}); err != nil {
		t.Fatal(err)
	}
	for _, mark := range []string{"USERMARK00007", "CONTENTMARK00007"} {
		if n := found(t, dir, mark); n != 0 {
			t.Errorf("%s: %d in the files", mark, n)
		}
	}
}

// TestSpace deletes as much as it adds: the file stays as large as it was.
func TestSpace(t *testing.T) {
	s := openedIn(t, t.TempDir(), Options{}, migrations)
	var most int64
	for round := range 4 {
		for i := range 5 {
			xs := samples((round*5+i)*10_000, 10_000)
			for k := range xs {
				xs[k].Content = nil
			}
			if _, err := s.Put(t.Context(), xs); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Delete(t.Context(), config.Retention{Exchanges: 75_000 * time.Second}, sample((round+1)*50_000).Time); err != nil {
			t.Fatal(err)
		}
		st, err := s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: %d exchanges, %d bytes, %d of them free", round, st.Exchanges, st.Bytes, st.Free)
		if round == 2 {
			most = st.Bytes
		}
		if round > 2 && st.Bytes > most+most/4 {
			t.Errorf("%d bytes after %d though as much was deleted as added", st.Bytes, most)
		}
	}
}

// write puts batches and prints how many exchanges are stored for certain, until someone kills it.
func write(dir string) int {
	s, err := Open(context.Background(), dir, Options{Checkpoint: "1MB"})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	st, err := s.Stats(context.Background())
	for n := int(st.Exchanges); err == nil; n += 500 {
		// The last batch again, as a consumer does that was killed before it could acknowledge.
		if _, err = s.Put(context.Background(), samples(max(n-500, 0), 1000)); err == nil {
			fmt.Println(n + 500)
		}
	}
	fmt.Println("error:", err)
	return 1
}

// TestKilled kills a writer with SIGKILL at random points. What it reported as stored is there, once, with its content.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	reported := 0
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for stop := 3 + rand.IntN(12); stop > 0 && lines.Scan(); stop-- {
			if _, err := fmt.Sscan(lines.Text(), &reported); err != nil {
				t.Fatalf("writer: %s", lines.Text())
			}
		}
		time.AfterFunc(time.Duration(rand.IntN(30))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			if _, err := fmt.Sscan(lines.Text(), &reported); err != nil {
				t.Fatalf("writer: %s", lines.Text())
			}
		}
		_ = cmd.Wait()

		s := openedIn(t, dir, Options{}, migrations)
		var rows, ids, contents int
		err = s.db.QueryRowContext(t.Context(), `SELECT count(*), count(DISTINCT id), (SELECT count(DISTINCT id) FROM content) FROM exchanges`).Scan(&rows, &ids, &contents)
		if err != nil || rows != ids || contents != rows || rows < reported {
			t.Errorf("round %d: %d rows of %d exchanges, %d contents, %v; the writer had stored %d", round, rows, ids, contents, err, reported)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull fills a small file system. Puts fail and store nothing, reading goes on, and after room is made puts succeed.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	s, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 10<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for range 500 {
		n, perr := s.Put(t.Context(), samples(stored, 1000))
		if err = perr; err != nil {
			break
		}
		stored += n
	}
	if err == nil {
		t.Fatal("the disk never filled")
	}
	check := func(when string) {
		t.Helper()
		var rows, ids int
		err := s.db.QueryRowContext(t.Context(), `SELECT count(*), count(DISTINCT id) FROM exchanges`).Scan(&rows, &ids)
		if err != nil || rows != ids || rows < stored {
			t.Errorf("%s: %d rows, %d ids, %v; %d were reported as stored", when, rows, ids, err, stored)
		}
	}
	t.Logf("%d stored, then: %v", stored, err)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	n, err := s.Put(t.Context(), samples(stored, 1000))
	if err != nil {
		t.Logf("put after room was made: %v", err)
		if err := s.Close(); err != nil {
			t.Logf("close: %v", err)
		}
		if s, err = Open(t.Context(), dir, Options{}); err != nil {
			t.Fatal(err)
		}
		n, err = s.Put(t.Context(), samples(stored, 1000))
	}
	if err != nil {
		t.Errorf("put: %v", err)
	}
	stored += n
	check("after room was made")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestInterrupted(t *testing.T) {
	s := openedIn(t, t.TempDir(), Options{}, migrations)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := s.each(ctx, `SELECT count(*) FROM range(100000000) a, range(1000) b WHERE hash(a.range, b.range) = 1`, nil, func(*sql.Rows) error { return nil })
	if err == nil || time.Since(begin) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
}
