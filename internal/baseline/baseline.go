// Package baseline keeps runs in a form that is meant for git: small, the same bytes for the same run, and checked
// when they are read.
//
// A folder holds NAME.json, the manifest of each baseline (the run with its snapshots, recipes and metrics), and
// objects/SHA256.jsonl, its samples with one line each: scores, hashes of variables and output, times and tokens, and
// the output itself only if it was asked for. Write takes a run's samples as they stream by; Open checks everything and
// yields them again, thin but with all that package compare needs. What a comparison means is not this package's
// business, nor where a run comes from.
//
// Nothing is ever half written: objects and manifests appear under their names when they are complete, the object
// first.
package baseline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Format names the layout of manifests and objects. It changes when an older telltale could misread them.
const Format = "telltale-baseline/1"

const (
	objectsDir   = "objects"
	objectSuffix = ".jsonl"
	suffix       = ".json"
	// attributes keep git from changing line ends, which would change the hashes.
	attributes = "*.json text eol=lf\nobjects/*.jsonl -text linguist-generated\n"
	maxName    = 100
	// maxManifest bounds what is read of a manifest, in bytes.
	maxManifest = 64 << 20
)

// manifest is NAME.json.
type manifest struct {
	Format string `json:"format"`
	// ID is the content hash of the baseline: of the object's hash and the run.
	ID      string          `json:"id"`
	Samples Contents        `json:"samples"`
	Run     json.RawMessage `json:"run"`
}

// Contents describes the object that holds a baseline's samples.
type Contents struct {
	// Object is the SHA-256 of the file, which is also its name.
	Object string `json:"object"`
	// Lines and Bytes are the size of the file, Cases and Samples what is in it.
	Lines   int   `json:"lines"`
	Bytes   int64 `json:"bytes"`
	Cases   int   `json:"cases"`
	Samples int   `json:"samples"`
	// Outputs says that the answers themselves are kept.
	Outputs bool `json:"outputs,omitempty"`
}

// trimmed is a run as a manifest keeps it: without what a comparison makes anew and what differs between two runs that
// came out the same.
type trimmed struct {
	record.Run
	ByTag      *struct{} `json:"by_tag,omitempty"`
	Gate       *struct{} `json:"gate,omitempty"`
	Comparison *struct{} `json:"comparison,omitempty"`
	Looks      *struct{} `json:"looks,omitempty"`
	Flaky      *struct{} `json:"flaky,omitempty"`
	Times      *struct{} `json:"times,omitempty"`
}

// newManifest describes a run whose samples are in an object.
func newManifest(run *record.Run, c Contents) ([]byte, error) {
	short := trimmed{Run: *run}
	if filepath.IsAbs(short.Suite.Path) {
		short.Suite.Path = filepath.Base(short.Suite.Path)
	}
	short.Suite.Path = filepath.ToSlash(short.Suite.Path)
	raw, err := marshal(short)
	if err != nil {
		return nil, err
	}
	id, err := contentID(c.Object, raw)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(manifest{Format, id, c, raw})
	return b.Bytes(), err
}

// contentID hashes what a baseline holds, whatever the white space of its manifest.
func contentID(object string, run json.RawMessage) (string, error) {
	var b bytes.Buffer
	b.WriteString(Format + "\n" + object + "\n")
	if err := json.Compact(&b, run); err != nil {
		return "", err
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:]), nil
}

// readManifest reads and checks NAME.json. Mistakes are *config.Error.
func readManifest(path string) (*manifest, *record.Run, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, nil, err
	}
	return parseManifest(path, data)
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxManifest {
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "too large for a baseline", Want: "the file that telltale baseline set wrote"}
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// parseManifest decodes a manifest and checks that it is as it was written.
func parseManifest(path string, data []byte) (*manifest, *record.Run, error) {
	const wrote = "the file that telltale baseline set wrote"
	at := config.Pos{File: path}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var m manifest
	if err := d.Decode(&m); err != nil {
		at.Line = lineAt(data, d, err)
		e := &config.Error{Pos: at, Problem: "not a baseline", Want: wrote, Err: err}
		if bytes.Contains(data, []byte("<<<<<<<")) {
			e.Hint = "it holds both sides of a merge: take one of them, or set the baseline again"
		}
		return nil, nil, e
	}
	if rest := bytes.TrimSpace(data[d.InputOffset():]); len(rest) > 0 {
		at.Line = 1 + bytes.Count(data[:d.InputOffset()], []byte("\n"))
		return nil, nil, &config.Error{Pos: at, Problem: "something follows after the end", Want: wrote}
	}
	if m.Format != Format {
		at.Key = "format"
		return nil, nil, &config.Error{Pos: at, Value: m.Format, Problem: "a format that this telltale does not know", Want: Format, Hint: "set the baseline again, or use the telltale that wrote it"}
	}
	if !hash256.MatchString(m.Samples.Object) {
		at.Key = "samples.object"
		return nil, nil, &config.Error{Pos: at, Value: m.Samples.Object, Problem: "not a SHA-256", Want: "64 digits from 0 to f"}
	}
	var run record.Run
	if err := json.Unmarshal(m.Run, &run); err != nil {
		at.Key = "run"
		return nil, nil, &config.Error{Pos: at, Problem: "not a run", Want: wrote, Err: err}
	}
	id, err := contentID(m.Samples.Object, m.Run)
	if err != nil || id != m.ID {
		at.Key = "id"
		return nil, nil, &config.Error{Pos: at, Value: m.ID, Problem: "the baseline was changed after it was written: its content hash is " + id, Want: wrote, Hint: "restore it, or set the baseline again"}
	}
	return &m, &run, nil
}

var hash256 = regexp.MustCompile(`^[0-9a-f]{64}$`)

// lineAt is the line of a decoding error.
func lineAt(data []byte, d *json.Decoder, err error) int {
	offset := d.InputOffset()
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = e.Offset
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = e.Offset
	}
	offset = min(max(offset, 0), int64(len(data)))
	return 1 + bytes.Count(data[:offset], []byte("\n"))
}

// CheckName refuses names that would not do as a file's name everywhere.
func CheckName(name string) error {
	const want = "letters, digits, dots, dashes and underscores, beginning with a letter or digit"
	switch {
	case len(name) > maxName:
		return &config.Error{Value: name, Problem: "the name of a baseline is too long", Want: fmt.Sprintf("at most %d letters", maxName)}
	case !validName.MatchString(name):
		return &config.Error{Value: name, Problem: "not a name for a baseline", Want: want}
	case name == "run":
		// Its manifest would make the folder look like the directory of a run.
		return &config.Error{Value: name, Problem: "not a name for a baseline: run.json is the file of a run", Want: "another name"}
	case deviceName.MatchString(name):
		return &config.Error{Value: name, Problem: "not a name for a baseline: on Windows no file can be called that", Want: "another name"}
	}
	return nil
}

var deviceName = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)`)

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Names lists the baselines in a folder, sorted. A folder that is not there has none.
func Names(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &config.Error{Pos: config.Pos{File: dir}, Problem: "cannot be read as a folder of baselines", Err: plain(err)}
	}
	var names []string
	for _, f := range list {
		name, ok := strings.CutSuffix(f.Name(), suffix)
		if ok && !f.IsDir() && CheckName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Entry is a baseline in a list.
type Entry struct {
	Name string
	ID   string
	Contents
	Run *record.Run
	// RunJSON is Run as the manifest has it.
	RunJSON json.RawMessage
	// Err says why the manifest cannot be used; the rest is then empty.
	Err error
}

// List reads the manifests of a folder, sorted by name. Objects are not read: that is Open's work.
func List(dir string) ([]Entry, error) {
	names, err := Names(dir)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, len(names))
	for i, name := range names {
		m, run, err := readManifest(filepath.Join(dir, name+suffix))
		if err == nil {
			_, err = os.Stat(objectPath(dir, m.Samples.Object))
			if err != nil {
				err = lost(dir, name, m)
			}
		}
		if err != nil {
			out[i] = Entry{Name: name, Err: err}
			continue
		}
		out[i] = Entry{Name: name, ID: m.ID, Contents: m.Samples, Run: run, RunJSON: m.Run}
	}
	return out, nil
}

// Remove takes a baseline away, and its object when no other baseline of the folder needs it. The error is a
// *config.Error when there is none of that name. See Lock.
func Remove(dir, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	path := filepath.Join(dir, name+suffix)
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return NotFound(dir, name)
	}
	if err != nil {
		return err
	}
	// A broken manifest can be removed too; what it named then stays.
	m, _, _ := parseManifest(path, data)
	if err := os.Remove(path); err != nil {
		return err
	}
	if m == nil {
		return nil
	}
	return sweep(dir, m.Samples.Object)
}

// sweep removes an object that no baseline names. While a manifest cannot be read its object is not known, and
// everything stays.
func sweep(dir, object string) error {
	list, err := List(dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(e Entry) bool { return e.Err != nil || e.Object == object }) {
		return nil
	}
	return ignoreMissing(os.Remove(objectPath(dir, object)))
}

// NotFound says that a folder has no baseline of a name, and which it has.
func NotFound(dir, name string) *config.Error {
	e := &config.Error{Value: name, Problem: "there is no such baseline in " + dir}
	names, err := Names(dir)
	switch {
	case err != nil:
		e.Err = err
	case len(names) == 0:
		e.Hint = "telltale baseline set NAME RUN_DIR makes one; there is none yet"
	default:
		e.Want = "one of " + strings.Join(names, ", ")
		if near := config.Nearest(name, names); near != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", near)
		}
	}
	return e
}

func objectPath(dir, object string) string {
	return filepath.Join(dir, objectsDir, object+objectSuffix)
}

func lost(dir, name string, m *manifest) *config.Error {
	return &config.Error{Pos: config.Pos{File: objectPath(dir, m.Samples.Object)}, Problem: fmt.Sprintf("the samples of baseline %q are not there", name),
		Hint: "commit the folder " + filepath.Join(dir, objectsDir) + " along with the manifests, or set the baseline again"}
}

// plain drops the path that a file error repeats.
func plain(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// marshal writes compact JSON without escaping what HTML would need.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
