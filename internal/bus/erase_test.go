package bus

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

// What was consumed leaves the disk, in its bytes; what is waited for stays, also in the same file.
func TestErase(t *testing.T) {
	dir := t.TempDir()
	b := openEmbedded(t, dir, config.BusConfig{})
	ctx := ctxFor(t)
	if err := b.Erase(ctx, "x"); err != nil {
		t.Fatalf("a stream that is not there: %v", err)
	}
	p := b.Publisher("x", PublisherOptions{FrameBytes: 1 << 10})
	put := func(text string, n int) {
		t.Helper()
		for i := range n {
			id := text + string(rune('a'+i))
			if err := p.Put(ctx, []Item{{id, []byte(id)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	on := func(text string) bool {
		t.Helper()
		found := false
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			found = found || bytes.Contains(data, []byte(text))
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return found
	}
	put("first-secret-", 5)
	if err := b.Erase(ctx, "x"); err != nil || !on("first-secret-") {
		t.Fatalf("erased although nobody has consumed it: %v", err)
	}
	consume(ctx, t, b, ConsumeOptions{Stable: true}, collect(5), nil)
	put("second-", 3)
	for on("first-secret-") { // an acknowledgement may still be on its way
		if err := b.Erase(ctx, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if !on("second-") {
		t.Error("what is waited for is gone")
	}
	c := collect(3)
	consume(ctx, t, b, ConsumeOptions{Stable: true}, c, nil)
	if len(c.times) != 3 {
		t.Error(c.times)
	}
	for _, s := range b.Consumers() {
		if s.LostFrames != 0 {
			t.Errorf("counted as lost: %+v", s)
		}
	}
	for on("second-") { // an acknowledgement may still be on its way
		if err := b.Trim(ctx, "x"); err != nil {
			t.Fatal(err)
		}
	}
	put("third-", 1)
	consume(ctx, t, b, ConsumeOptions{Stable: true}, collect(1), nil)
}
