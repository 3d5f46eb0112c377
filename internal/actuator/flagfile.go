package actuator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const flagSchema = "https://flagd.dev/schema/v0/flags.json"

// FlagFile writes a flag into a file that flagd serves, as a fractional split over the evaluation's targeting key. Other
// flags of the file stay as they are.
type FlagFile struct{ path, flag string }

// NewFlagFile returns a FlagFile for a flag of this name.
func NewFlagFile(path, flag string) (*FlagFile, error) {
	if path == "" || flag == "" {
		return nil, errors.New("actuator: flag file: want a path and a flag's name")
	}
	return &FlagFile{path, flag}, nil
}

// Name names file and flag.
func (f *FlagFile) Name() string { return "flag " + f.flag + " in " + f.path }

// flag is a flag as flagd reads it.
type flag struct {
	State          string            `json:"state"`
	Variants       map[string]string `json:"variants"`
	DefaultVariant string            `json:"defaultVariant"`
	Targeting      any               `json:"targeting,omitempty"`
}

// shares are flagd's weights: whole numbers, of which it takes the relation.
const shares = 10_000

// Apply replaces the file with one in which the flag has the change's weight. A file that is not JSON stays as it is.
func (f *FlagFile) Apply(_ context.Context, c Change) error {
	doc := map[string]json.RawMessage{}
	flags := map[string]json.RawMessage{}
	old, err := os.ReadFile(f.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		doc["$schema"] = json.RawMessage(`"` + flagSchema + `"`)
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(old, &doc); err != nil {
			return fmt.Errorf("%s is not a flag file: %w", f.path, err)
		}
		if raw, ok := doc["flags"]; ok {
			if err := json.Unmarshal(raw, &flags); err != nil {
				return fmt.Errorf("%s: flags: %w", f.path, err)
			}
		}
	}
	fl := flag{State: "ENABLED", DefaultVariant: c.Baseline, Variants: map[string]string{c.Baseline: c.Baseline, c.Candidate: c.Candidate}}
	switch n := int(c.Weight*shares + .5); {
	case n >= shares:
		fl.DefaultVariant = c.Candidate
	case n > 0:
		fl.Targeting = map[string]any{"fractional": []any{[]any{c.Baseline, shares - n}, []any{c.Candidate, n}}}
	}
	if flags[f.flag], err = json.Marshal(fl); err != nil {
		return err
	}
	if doc["flags"], err = json.Marshal(flags); err != nil {
		return err
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	out = append(out, '\n')
	if bytes.Equal(out, old) {
		return nil
	}
	return replace(f.path, out)
}

// replace writes a file so that readers see the old or the new one, never a part.
func replace(path string, b []byte) (err error) {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
