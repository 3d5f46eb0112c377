//go:build unix

package dataset

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

func TestNamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("no named pipes here:", err)
	}
	done := make(chan error, 1)
	go func() { done <- os.WriteFile(path, []byte("{\"id\": \"a\"}\n"), 0) }()
	d := open(t, testOptions(), config.Tests{Path: path})
	if got, _ := ids(t, d); len(got) != 1 {
		t.Errorf("%q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
