package dataset

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/telltale-llm/telltale/internal/config"
)

var update = flag.Bool("update", false, "rewrite the want sections of testdata/*.txtar")

// place is a position without its column and key.
func place(p config.Pos) string { return config.Pos{File: p.File, Line: p.Line}.String() }

// decodeTest stands in for package config's reader of test cases.
func decodeTest(pos config.Pos, row map[string]any) (config.Test, error) {
	data, err := json.Marshal(row)
	if err != nil {
		return config.Test{}, err
	}
	return decodeJSON(pos, data)
}

func decodeJSON(pos config.Pos, data []byte) (config.Test, error) {
	var raw struct {
		ID, Description, Group string
		Vars, Metadata         map[string]any
		Critical               bool
		Tags                   []string
		Assert                 []struct {
			Type  string
			Value any
		}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&raw); err != nil {
		return config.Test{}, config.Errors{{Pos: pos, Err: err}}
	}
	t := config.Test{
		Pos: pos, ID: raw.ID, Description: raw.Description, Vars: raw.Vars, Metadata: raw.Metadata, Tags: raw.Tags, Group: raw.Group, Critical: raw.Critical,
	}
	for _, a := range raw.Assert {
		t.Assert = append(t.Assert, config.Assertion{Pos: pos, Type: a.Type, Value: a.Value})
	}
	return t, nil
}

// decodeTests takes JSON for YAML, which it is.
func decodeTests(file string, data []byte) (out []config.Test, _ error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	for i, m := range raw {
		t, err := decodeJSON(config.Pos{File: file, Line: i + 1}, m)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// decodeExpected is the real grammar; javascript stands for what cannot be run.
func decodeExpected(pos config.Pos, text string) (config.Assertion, bool, error) {
	a, left, err := config.ParseExpected(pos, text, config.Options{Assertion: func(name string) config.Known {
		if name == "javascript" {
			return config.Known{Unsupported: "no code"}
		}
		return config.Known{OK: true}
	}})
	if err == nil {
		err = left.Err()
	}
	return a, true, err
}

type goldenRow struct {
	ID          string
	Explicit    bool           `json:",omitempty"`
	Source      string         `json:",omitempty"`
	Description string         `json:",omitempty"`
	Vars        map[string]any `json:",omitempty"`
	Assert      []string       `json:",omitempty"`
	Threshold   *float64       `json:",omitempty"`
	Metadata    map[string]any `json:",omitempty"`
	Tags        []string       `json:",omitempty"`
	Group       string         `json:",omitempty"`
	Critical    bool           `json:",omitempty"`
}

// TestGolden runs every testdata/*.txtar: files, a tests.json with the suite's sources and what
// comes of them in want: the rows, or the error.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var sources []config.Tests
			want, wantAt := "", -1
			for i, f := range ar.Files {
				switch f.Name {
				case "tests.json":
					if err := json.Unmarshal(f.Data, &sources); err != nil {
						t.Fatal(err)
					}
				case "want":
					want, wantAt = string(f.Data), i
				default:
					path := filepath.Join(dir, f.Name)
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, f.Data, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i := range sources {
				sources[i].Pos = config.Pos{File: "suite.yaml", Line: 10 + i, Key: "tests"}
			}
			got := strings.ReplaceAll(describe(t, sources, dir), dir+"/", "")
			if *update {
				if wantAt < 0 {
					ar.Files = append(ar.Files, txtar.File{Name: "want"})
					wantAt = len(ar.Files) - 1
				}
				ar.Files[wantAt].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func describe(t *testing.T, sources []config.Tests, dir string) string {
	t.Helper()
	var b strings.Builder
	opts := Options{
		Dir: dir, Seed: 1, DecodeTest: decodeTest, DecodeTests: decodeTests, DecodeExpected: decodeExpected, MaxRow: 2000,
		Unsupported: func(p config.Pos, what string) { fmt.Fprintf(&b, "unsupported: %s: %s\n", p, what) },
	}
	d, err := Open(sources, opts)
	if err != nil {
		return fmt.Sprintf("open: %v\n", err)
	}
	defer d.Close()
	visited := 0
	ref, err := d.Scan(t.Context(), func(Row) error { visited++; return nil })
	if err != nil {
		fmt.Fprintf(&b, "scan: %v\n", err)
		return b.String()
	}
	if visited != ref.Cases {
		t.Errorf("%d rows visited, %d cases", visited, ref.Cases)
	}
	for row, err := range d.Rows(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		c := row.Test
		g := goldenRow{
			ID: c.ID, Explicit: row.ExplicitID, Source: place(c.Pos), Description: c.Description, Vars: c.Vars, Threshold: row.Test.Threshold,
			Metadata: c.Metadata, Tags: c.Tags, Group: c.Group, Critical: c.Critical,
		}
		for _, a := range row.Test.Assert {
			text := fmt.Sprintf("%s=%v", a.Type, a.Value)
			if a.Threshold != nil {
				text += fmt.Sprintf(" at %v", *a.Threshold)
			}
			if a.Metric != "" {
				text += " for " + a.Metric
			}
			g.Assert = append(g.Assert, text)
		}
		var line bytes.Buffer
		enc := json.NewEncoder(&line)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(g); err != nil {
			t.Fatal(err)
		}
		b.Write(line.Bytes())
	}
	fmt.Fprintf(&b, "%d rows, %d cases, hash %s\n", ref.Rows, ref.Cases, ref.Hash)
	return b.String()
}
