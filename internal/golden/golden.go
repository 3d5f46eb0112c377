// Package golden keeps outputs that a person has accepted: which texts are a good answer to which case.
//
// A golden file is JSON Lines, one accepted output a line, sorted, so that a change of one answer is a change of one
// line. Parse reads it strictly, Accepted finds what holds for a sample, Set and Write change it. How an output is
// compared with the accepted ones is the scorer's business; Normalize and Words are what it and those who show
// differences have in common.
package golden

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
)

// Key says what an accepted output is an answer to. Provider and Prompt are labels; an empty one stands for all.
type Key struct {
	Case     string
	Provider string
	Prompt   string
}

// compare sorts by case first.
func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Case, o.Case), cmp.Compare(k.Provider, o.Provider), cmp.Compare(k.Prompt, o.Prompt))
}

// entry is a line of the file.
type entry struct {
	Case     string  `json:"case"`
	Provider string  `json:"provider,omitempty"`
	Prompt   string  `json:"prompt,omitempty"`
	Output   *string `json:"output"`
}

// File is a golden file in memory. It is safe for concurrent use as long as nobody calls Set.
type File struct {
	path string
	// outputs are sorted and distinct.
	outputs map[Key][]string
}

// MaxSize bounds a golden file, in bytes: it is held in memory.
const MaxSize = 256 << 20

// Load reads a golden file. One that is not there is empty. Mistakes are config.Errors or *config.Error.
func Load(path string) (*File, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &File{path: path, outputs: map[Key][]string{}}, nil
	case err == nil && info.Size() > MaxSize:
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: fmt.Sprintf("%d bytes are too many for a golden file", info.Size()), Want: fmt.Sprintf("at most %d", MaxSize)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "the golden file cannot be read", Err: err}
	}
	return Parse(path, data)
}

// maxMistakes bounds how many mistakes of a file are reported.
const maxMistakes = 20

// Parse reads the content of a golden file; path is for messages.
func Parse(path string, data []byte) (*File, error) {
	f := &File{path: path, outputs: map[Key][]string{}}
	lines := map[line]int{}
	var errs config.Errors
	n := 0
	for text := range bytes.Lines(data) {
		n++
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		at := config.Pos{File: path, Line: n}
		e, err := parseLine(text)
		if err != nil {
			err.Pos.File, err.Pos.Line = at.File, at.Line
			errs = append(errs, err)
			if len(errs) == maxMistakes {
				break
			}
			continue
		}
		k := Key{e.Case, e.Provider, e.Prompt}
		if first, twice := lines[line{k, *e.Output}]; twice {
			errs = append(errs, &config.Error{Pos: at, Value: e.Case, Problem: fmt.Sprintf("the same output of the same case as in line %d", first), Want: "each accepted output once"})
			continue
		}
		lines[line{k, *e.Output}] = n
		f.outputs[k] = append(f.outputs[k], *e.Output)
	}
	for _, list := range f.outputs {
		slices.Sort(list)
	}
	return f, errs.Err()
}

// line is what makes a line different from others.
type line struct {
	Key
	output string
}

const lineForm = `{"case": "…", "output": "…"}, and provider or prompt for an output that is accepted of that one only`

// parseLine reads one accepted output. The error has no place yet.
func parseLine(text []byte) (entry, *config.Error) {
	var e entry
	switch {
	case bytes.HasPrefix(text, []byte("<<<<<<<")), bytes.HasPrefix(text, []byte("=======")), bytes.HasPrefix(text, []byte(">>>>>>>")):
		return e, &config.Error{Value: string(text), Problem: "a conflict of a merge", Want: "the lines to keep", Hint: "both sides may stay: a case can have several accepted outputs"}
	case !utf8.Valid(text):
		return e, &config.Error{Problem: "not UTF-8", Want: lineForm}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return e, &config.Error{Value: string(text), Problem: "not an accepted output", Want: lineForm, Err: err}
	}
	if rest := bytes.TrimSpace(text[d.InputOffset():]); len(rest) > 0 {
		return e, &config.Error{Value: string(rest), Problem: "something follows after the object", Want: "one object on each line"}
	}
	if key, why := badKey(text); why != "" {
		return e, &config.Error{Pos: config.Pos{Key: key}, Problem: why, Want: lineForm}
	}
	switch {
	case e.Case == "":
		return e, &config.Error{Value: string(text), Problem: "the case has no id", Want: lineForm}
	case e.Output == nil:
		return e, &config.Error{Value: string(text), Problem: "there is no output", Want: lineForm}
	}
	return e, nil
}

// badKey finds a key of a flat object that is there twice or in capitals, which the decoder lets pass.
func badKey(text []byte) (key, why string) {
	d := json.NewDecoder(bytes.NewReader(text))
	seen := map[string]bool{}
	for i := 0; ; i++ {
		t, err := d.Token()
		if err != nil {
			return "", ""
		}
		key, ok := t.(string)
		switch {
		case !ok || i%2 == 0:
		case !slices.Contains([]string{"case", "provider", "prompt", "output"}, key):
			return key, "unknown key"
		case seen[key]:
			return key, "given twice"
		default:
			seen[key] = true
		}
	}
}

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Hash is the hash of what the file holds, whatever its order and line ends: 16 hex digits.
func (f *File) Hash() string {
	h := sha256.Sum256(f.encode())
	return hex.EncodeToString(h[:8])
}

// Len is the number of accepted outputs.
func (f *File) Len() int {
	n := 0
	for _, list := range f.outputs {
		n += len(list)
	}
	return n
}

// Accepted returns the outputs that are accepted of a sample: those of its case for all, for its provider, for its
// prompt and for both. They are distinct.
func (f *File) Accepted(k Key) []string {
	var out []string
	for _, one := range []Key{{Case: k.Case}, {Case: k.Case, Provider: k.Provider}, {Case: k.Case, Prompt: k.Prompt}, k} {
		for _, o := range f.outputs[one] {
			if !slices.Contains(out, o) {
				out = append(out, o)
			}
		}
	}
	return out
}

// Exactly returns the outputs of just this key, sorted. The result must not be changed.
func (f *File) Exactly(k Key) []string { return f.outputs[k] }

// Keys returns what there are accepted outputs of, sorted.
func (f *File) Keys() []Key {
	keys := make([]Key, 0, len(f.outputs))
	for k := range f.outputs {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, Key.compare)
	return keys
}

// Set puts outputs in the place of those of a key; none removes it.
func (f *File) Set(k Key, outputs []string) {
	if len(outputs) == 0 {
		delete(f.outputs, k)
		return
	}
	outputs = slices.Clone(outputs)
	slices.Sort(outputs)
	f.outputs[k] = slices.Compact(outputs)
}

func (f *File) encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, k := range f.Keys() {
		for _, o := range f.outputs[k] {
			// Texts and nothing else: it cannot fail.
			_ = e.Encode(entry{k.Case, k.Provider, k.Prompt, &o})
		}
	}
	return b.Bytes()
}

// Write puts the file in its place, whole or not at all. Bytes that are not UTF-8 cannot be kept and are refused.
func (f *File) Write() (err error) {
	for k, list := range f.outputs {
		for _, s := range append([]string{k.Case, k.Provider, k.Prompt}, list...) {
			if !utf8.ValidString(s) {
				return &config.Error{Pos: config.Pos{File: f.path}, Value: k.Case, Problem: "the output is not UTF-8 and cannot be kept in a golden file"}
			}
		}
	}
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".part-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(f.encode())
	if err = errors.Join(err, tmp.Sync(), tmp.Chmod(0o644), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
