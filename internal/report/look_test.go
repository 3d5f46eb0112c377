package report

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var lookAt = flag.String("look", "", "write demo reports into this folder, to look at them")

var lookSamples = flag.Int("look-samples", 300, "samples of the large demo report")

// TestLook writes the reports of three demo runs for a person to look at:
// go test ./internal/report -run TestLook -look DIR
func TestLook(t *testing.T) {
	dir := *lookAt
	if dir == "" {
		dir = t.TempDir()
	}
	large := newDemo()
	large.cases, large.providers, large.caseMajor, large.seed, large.expects, large.words = *lookSamples/2, []string{"openai:chat:gpt-4.1-mini", "openai:chat:gpt-4.1"}, true, 11, true, 150
	large.byTag = true
	two := newDemo()
	two.providers, two.repeats, two.cases = []string{"openai:chat:gpt-4.1-mini", "openai:chat:gpt-4.1"}, 2, 150
	for name, src := range map[string]Source{"large": large.source(), "failed": newDemo().source(), "two": two.source(), "undecided": undecidedCase().src, "passed": passedCase().src,
		"hostile": hostileCase().src, "nodata": emptyCase().src} {
		if err := WriteDir(filepath.Join(dir, name), src); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(dir, name, "terminal.txt"))
		if err != nil {
			t.Fatal(err)
		}
		if err := Terminal(f, src, TerminalOptions{Width: 100, Dir: "out/" + name}); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
