package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// Standing is what becomes of a part of a suite that was written for promptfoo.
type Standing string

// The standings.
const (
	LeftOut Standing = "left out" // telltale cannot do it; --skip-unsupported runs the rest
	Ignored Standing = "ignored"  // it decides nothing about what is run or judged
	Mistake Standing = "mistake"  // the suite cannot run before it is mended
)

// Finding is one part of a suite that does not run as written.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"`
	Column   int      `json:"column,omitempty"`
	Key      string   `json:"key,omitempty"`
	Value    string   `json:"value,omitempty"`
	Standing Standing `json:"standing"`
	Why      string   `json:"why"`
}

// Place is file:line:column.
func (f *Finding) Place() string {
	return config.Pos{File: f.File, Line: f.Line, Column: f.Column}.String()
}

// Inspection says what of a suite runs and what does not.
type Inspection struct {
	Suite     string `json:"suite"`
	Prompts   int    `json:"prompts"`
	Providers int    `json:"providers"`
	// Cases and Samples are 0 when a mistake keeps the dataset from being read.
	Cases   int `json:"cases"`
	Samples int `json:"samples"`
	// Assertions counts the kinds of assertions that run, of the defaults and of inline cases.
	Assertions map[string]int `json:"assertions"`
	Findings   []Finding      `json:"findings"`
}

// Inspect reads a suite as a run would, and asks no provider. The error is of a suite that cannot be
// read at all; every other mistake is a finding.
func Inspect(ctx context.Context, o RunOptions) (*Inspection, error) {
	o.SkipUnsupported = true
	in := &Inspection{Suite: o.Suite, Assertions: map[string]int{}, Findings: []Finding{}}
	loaded, err := LoadSuite(o.Suite, o.LoadOptions)
	if err != nil {
		if e, one := errors.AsType[*config.Error](err); one && e.Line == 0 && e.Key == "" {
			return nil, err
		}
		in.mistakes(err)
		return in, nil
	}
	seen := map[string]bool{}
	for _, e := range loaded.Unsupported {
		in.add(LeftOut, e)
		seen["left out: "+e.Error()] = true
	}
	for _, e := range loaded.Ignored {
		in.add(Ignored, e)
		seen["ignored: "+e.Error()] = true
	}
	in.Prompts, in.Providers = len(loaded.Prompts), len(loaded.Providers)
	in.count(loaded.Default.Assert)
	for _, t := range loaded.Tests {
		for i := range t.Inline {
			in.count(t.Inline[i].Assert)
		}
	}
	o.Notice = func(text string) {
		// What is left out of a dataset is known as a sentence only.
		if why, ok := strings.CutPrefix(text, "left out: "); ok && !seen[text] {
			in.Findings = append(in.Findings, Finding{File: o.Suite, Standing: LeftOut, Why: why})
		}
	}
	s, err := open(ctx, &o)
	if err != nil {
		in.mistakes(err)
		return in, nil
	}
	in.Cases, in.Samples = s.plan.Count, s.plan.Planned()
	return in, s.Close()
}

// mistakes lists what is wrong; a provider that telltale does not have is left out rather than wrong,
// but nothing runs before there is another.
func (in *Inspection) mistakes(err error) {
	var list config.Errors
	list.Append(config.Pos{File: in.Suite}, err)
	for _, e := range list {
		in.add(Mistake, e)
	}
}

func (in *Inspection) add(s Standing, e *config.Error) {
	plain := *e
	plain.Pos, plain.Value = config.Pos{}, ""
	if s == LeftOut && plain.Hint == "leave it out with --skip-unsupported" {
		plain.Hint = ""
	}
	why := strings.Join(strings.Fields(strings.ReplaceAll(plain.Error(), "\n    hint: ", "; ")), " ")
	in.Findings = append(in.Findings, Finding{
		File: e.File, Line: e.Line, Column: e.Column, Key: e.Key, Value: config.Clip(e.Value, 200), Standing: s, Why: why,
	})
}

func (in *Inspection) count(list []config.Assertion) {
	for i := range list {
		a := &list[i]
		name := a.Type
		if a.Not {
			name = "not-" + name
		}
		in.Assertions[name]++
		in.count(a.Assert)
	}
}

// Summary is one line about the size of what runs.
func (in *Inspection) Summary() string {
	size := plural(in.Prompts, "prompt") + ", " + plural(in.Providers, "provider")
	if in.Samples == 0 {
		return size + "; it does not run before its mistakes are mended"
	}
	return fmt.Sprintf("%s, %s: %s", size, plural(in.Cases, "case"), plural(in.Samples, "sample"))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
