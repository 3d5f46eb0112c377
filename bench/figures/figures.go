// Package figures writes what a benchmark has measured into a document, between two marker lines that the document has for it.
// Every benchmark has lines of its own. It measures nothing, and makes no text: that is each benchmark's own business.
package figures

import (
	"fmt"
	"os"
	"strings"
)

// Replace puts text between two marker lines of a document, in the place of what stands there. A document without them stays as it
// is, and is an error.
func Replace(path, begin, end, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), begin+"\n")
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s: no lines %q and %q to put the figures between", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+text+end+after), 0o644)
}
