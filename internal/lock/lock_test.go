package lock

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// One holder at a time.
func TestDirIsHeldByOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	var work sync.WaitGroup
	var holders atomic.Int32
	for range 20 {
		work.Go(func() {
			unlock, err := Dir(dir)
			if err != nil {
				t.Error(err)
				return
			}
			if n := holders.Add(1); n != 1 {
				t.Errorf("%d holders", n)
			}
			holders.Add(-1)
			unlock()
		})
	}
	work.Wait()
}

func TestDirThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Dir(file); err == nil {
		t.Error("a file was locked as a folder")
	}
}

// A file is one holder's until that closes it.
func TestFileIsHeldUntilClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, b := open(), open()
	defer func() { _ = b.Close() }()
	if err := File(a); err != nil {
		t.Fatal(err)
	}
	if err := File(b); !errors.Is(err, ErrHeld) {
		t.Errorf("%v, want %v", err, ErrHeld)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := File(b); err != nil {
		t.Errorf("%v after the holder closed it", err)
	}
	if err := File(a); err == nil || errors.Is(err, ErrHeld) {
		t.Errorf("%v of a closed file", err)
	}
}
