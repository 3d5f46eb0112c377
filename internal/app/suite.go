package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/lmeval"
	"github.com/telltale-llm/telltale/internal/oaieval"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// LoadOptions is what loading a suite needs besides its path.
type LoadOptions struct {
	Vars            map[string]string
	Env             func(string) (string, bool)
	SkipUnsupported bool
	// AllowCode lets the suite run its own JavaScript and Python.
	AllowCode bool
	// Providers stand in the place of the suite's own, as the command line gives them; Gate likewise.
	ProviderIDs, Gate []string
}

// LoadSuite reads a suite file and everything it refers to, datasets excepted. Mistakes are
// *config.Error or config.Errors.
func LoadSuite(path string, o LoadOptions) (*config.Loaded, error) {
	data, err := readBounded(path)
	if err != nil {
		e := &config.Error{Pos: config.Pos{File: path}, Problem: "cannot read the suite file", Err: cause(err)}
		if errors.Is(err, fs.ErrNotExist) {
			e.Hint = "give the path of a suite, such as telltale.yaml or promptfooconfig.yaml"
		}
		return nil, e
	}
	loaded, err := o.load(path, data)
	if err == nil && len(o.Gate) > 0 {
		loaded.Gate, loaded.Regression.Margins, err = givenGate(o.Gate)
		if len(loaded.Regression.Margins) == 0 {
			// The suite's baseline is that of its own margins, and may not be there yet.
			loaded.Regression.Baseline = ""
		}
	}
	return loaded, err
}

// load reads a suite, or makes one of a file that another tool has for the same purpose.
func (o *LoadOptions) load(path string, data []byte) (*config.Loaded, error) {
	switch {
	case lmeval.Recognises(path, data):
		return loadTask(path, data, *o)
	case oaieval.Recognises(path, data):
		return loadEvals(path, data, *o)
	}
	opts := loadOptions(*o)
	if len(o.ProviderIDs) > 0 {
		var err error
		if opts.Providers, err = config.GivenProviders("--provider", o.ProviderIDs, opts); err != nil {
			return nil, err
		}
	}
	return config.Load(path, data, opts)
}

// givenGate reads the checks of a command line, such as "pass_rate >= 0.9" and "accuracy margin 0.02".
func givenGate(checks []string) (out []config.Check, margins []config.Margin, err error) {
	for _, c := range checks {
		pos := config.Pos{Key: "--gate"}
		text := strings.TrimSpace(c)
		end := strings.IndexAny(text, " <>=")
		if tag := strings.Index(text, "[tag="); tag > 0 && tag < end {
			end = 1 + strings.IndexByte(text, ']')
		}
		if end <= 0 {
			return nil, nil, &config.Error{Pos: pos, Value: c, Problem: "not a check", Want: `a metric and a bound or a margin, such as "pass_rate >= 0.9" or "accuracy margin 0.02"`}
		}
		metric, expr := text[:end], strings.TrimSpace(text[end:])
		if amount, isMargin := strings.CutPrefix(expr, "margin "); isMargin {
			m, err := config.GivenMargin(pos, metric, amount)
			if err != nil {
				return nil, nil, err
			}
			margins = append(margins, m)
			continue
		}
		out = append(out, config.Check{Pos: pos, Metric: metric, Expr: expr})
	}
	return out, margins, nil
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
		Read: readBounded, Glob: glob, Here: here,
		Assertion:     func(name string) config.Known { return known(name, o.code()) },
		Transform:     func(source string) string { return scorer.TransformProblem(source, o.code()) },
		TransformVars: func(source string) string { return scorer.VarsTransformProblem(source, o.code()) },
	}
}

// code is the policy that AllowCode stands for.
func (o *LoadOptions) code() scorer.CodePolicy {
	if o.AllowCode {
		return scorer.CodeAllowed
	}
	return scorer.CodeRefused
}

// rowOptions is loadOptions for what stands in a dataset. A file that was fetched from elsewhere
// may ask only for checks that read the answer: no files of this machine, and no code.
func rowOptions(file string, o LoadOptions) config.Options {
	opts := loadOptions(o)
	if !strings.Contains(file, "://") {
		return opts
	}
	opts.Read, opts.Glob, opts.Env = nil, nil, nil
	opts.Assertion = func(name string) config.Known {
		switch name {
		case "exec", "javascript", "python", "ruby", "webhook":
			return config.Known{Unsupported: "a dataset that was fetched from elsewhere cannot run anything"}
		case "bertscore": // its config names files
			return config.Known{Unsupported: "a dataset that was fetched from elsewhere cannot read files"}
		}
		return known(name, scorer.CodeRefused)
	}
	opts.Judge = func(any) string { return "a dataset that was fetched from elsewhere cannot name a provider" }
	opts.Transform = func(source string) string { return scorer.TransformProblem(source, scorer.CodeRefused) }
	opts.TransformVars = func(source string) string { return scorer.VarsTransformProblem(source, scorer.CodeRefused) }
	return opts
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
func known(name string, code scorer.CodePolicy) config.Known {
	if scorer.NeedsCode(name) && code == scorer.CodeRefused {
		return config.Known{Unsupported: "runs code of the suite's; --allow-code lets it"}
	}
	if _, ok := scorer.Lookup(name); ok {
		return config.Known{OK: true, Lines: lineLists[name], Code: scorer.NeedsCode(name)}
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
