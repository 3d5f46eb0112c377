package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// LoadOptions is what loading a suite needs besides its path.
type LoadOptions struct {
	Vars            map[string]string
	Env             func(string) (string, bool)
	SkipUnsupported bool
}

// LoadSuite reads a suite file and everything it refers to, datasets excepted. Mistakes are
// *config.Error or config.Errors.
func LoadSuite(path string, o LoadOptions) (*config.Loaded, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		e := &config.Error{Pos: config.Pos{File: path}, Problem: "cannot read the suite file", Err: cause(err)}
		if errors.Is(err, fs.ErrNotExist) {
			e.Hint = "give the path of a suite, such as telltale.yaml or promptfooconfig.yaml"
		}
		return nil, e
	}
	return config.Load(path, data, loadOptions(o))
}

// cause drops the path and operation that the message names already.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func loadOptions(o LoadOptions) config.Options {
	return config.Options{
		Vars: o.Vars, Env: o.Env, SkipUnsupported: o.SkipUnsupported,
		Read: readBounded, Glob: glob, Here: here, Assertion: known,
	}
}

// maxReference bounds a file that a suite refers to; datasets are streamed and have no such bound.
const maxReference = 64 << 20

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		return nil, errors.New("it is a directory")
	case info.Size() > maxReference:
		return nil, fmt.Errorf("%d bytes are more than %d", info.Size(), maxReference)
	}
	return os.ReadFile(path)
}

func glob(pattern string) ([]string, error) {
	files, err := filepath.Glob(pattern)
	sort.Strings(files)
	return files, err
}

// here finds a file from the working directory; a pattern counts when it matches something.
func here(path string) (string, bool) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", false
	}
	if _, err := os.Stat(abs); err == nil {
		return abs, true
	}
	files, err := filepath.Glob(abs)
	return abs, err == nil && len(files) > 0
}

// lineLists are the kinds whose value is a list of phrases, so that a text file gives one a line.
var lineLists = map[string]bool{
	"contains-any": true, "contains-all": true, "icontains-any": true, "icontains-all": true,
	"forbidden": true, "forbidden-phrases": true,
}

// known tells the loader about an assertion type.
func known(name string) config.Known {
	if _, ok := scorer.Lookup(name); ok {
		return config.Known{OK: true, Lines: lineLists[name]}
	}
	if why, ok := scorer.Unsupported(name); ok {
		return config.Known{Unsupported: why}
	}
	k := config.Known{Hint: "docs/scorers.md lists the kinds"}
	if near := scorer.Nearest(name); near != "" {
		k.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	return k
}

// AssertionKinds returns each known assertion type with a line about it, for the suite's JSON Schema.
func AssertionKinds() map[string]string {
	out := map[string]string{}
	for _, k := range scorer.Kinds() {
		out[k.Name] = k.Summary
		for _, alias := range k.Aliases {
			out[alias] = "the same as " + k.Name
		}
	}
	return out
}
