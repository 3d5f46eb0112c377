package figures

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	f := func(before, want string, ok bool) {
		t.Helper()
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Replace(path, "<!-- a -->", "<!-- b -->", "new\n")
		if got, _ := os.ReadFile(path); string(got) != want || (err == nil) != ok {
			t.Errorf("%q: %q, %v", before, got, err)
		}
	}
	f("x\n<!-- a -->\nold\n<!-- b -->\ny\n", "x\n<!-- a -->\nnew\n<!-- b -->\ny\n", true)
	f("<!-- a -->\n<!-- b -->", "<!-- a -->\nnew\n<!-- b -->", true)
	f("<!-- a -->\nold\n", "<!-- a -->\nold\n", false)
	f("<!-- b -->\n<!-- a -->\n", "<!-- b -->\n<!-- a -->\n", false)
	if err := Replace(path+".none", "a", "b", ""); err == nil {
		t.Error("a document that is not there")
	}
}
