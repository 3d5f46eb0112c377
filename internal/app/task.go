package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/dataset"
	"github.com/telltale-llm/telltale/internal/lmeval"
	"github.com/telltale-llm/telltale/internal/oaieval"
)

// loadTask makes a suite of a task file of lm-evaluation-harness.
func loadTask(path string, data []byte, o LoadOptions) (*config.Loaded, error) {
	providers, err := o.providers("a task")
	if err != nil {
		return nil, err
	}
	task, err := lmeval.Load(path, data, taskOptions(o))
	if err != nil {
		return nil, err
	}
	if err := refuse(task.Unsupported, o.SkipUnsupported && len(task.Tasks) > 0); err != nil {
		return nil, err
	}
	suite, err := task.Suite(documentsOf(filepath.Dir(path)))
	if err != nil {
		config.Locate(err, readBounded)
		return nil, err
	}
	out := &config.Loaded{Suite: suite, Unsupported: task.Unsupported, Ignored: task.Ignored}
	var list []asked
	for _, t := range task.Tasks {
		list = append(list, asked{t.Name, t.Pos.At("generation_kwargs"), t.Generation, t.Answers})
	}
	return out, generation(out, providers, list)
}

func taskOptions(o LoadOptions) lmeval.Options {
	return lmeval.Options{
		Read: readBounded, Glob: glob, Vars: o.Vars, JSONLines: jsonLines,
		Exists: exists, Files: yamlFiles,
	}
}

// maxTaskFiles bounds the files in which tasks are looked for; the harness itself has 14,000.
const maxTaskFiles = 50_000

// yamlFiles lists the YAML files in a folder and beneath, without hidden folders.
func yamlFiles(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch ext := filepath.Ext(path); {
		case err != nil && path == dir:
			return err
		case err != nil: // a folder that cannot be read holds no tasks
			return fs.SkipDir
		case d.IsDir() && path != dir && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || ext != ".yaml" && ext != ".yml":
			return nil
		case len(out) == maxTaskFiles:
			return fmt.Errorf("%s holds more than %d YAML files", dir, maxTaskFiles)
		}
		out = append(out, path)
		return nil
	})
	return out, err
}

// refuse makes errors of what cannot be run, unless it may be left out.
func refuse(left config.Errors, skip bool) error {
	if skip {
		return nil
	}
	for _, e := range left {
		if e.Hint == "" {
			e.Hint = "leave it out with --skip-unsupported"
		}
	}
	return left.Err()
}

// providers reads those that the command line gives; what says what cannot do without.
func (o *LoadOptions) providers(what string) ([]config.Provider, error) {
	if len(o.ProviderIDs) == 0 {
		return nil, &config.Error{Pos: config.Pos{Key: "--provider"}, Problem: what + " names no provider", Want: "--provider ID, such as --provider openai:completion:MODEL"}
	}
	opts := loadOptions(*o)
	opts.Vars = nil // they are the task's
	return config.GivenProviders("--provider", o.ProviderIDs, opts)
}

// asked is what a task or an eval asks of the model.
type asked struct {
	name     string
	pos      config.Pos
	settings map[string]any
	answers  int // to one sample
}

// generation gives each provider the settings that are asked for, where its own configuration has none.
func generation(out *config.Loaded, providers []config.Provider, list []asked) error {
	var want *asked
	for i := range list {
		a := &list[i]
		switch {
		case a.settings == nil:
		case want == nil:
			want = a
		case fmt.Sprint(want.settings) != fmt.Sprint(a.settings) || max(1, want.answers) != max(1, a.answers):
			return &config.Error{Pos: a.pos, Problem: want.name + " and " + a.name + " ask the model with different settings, and a run has one", Want: "a run for each"}
		}
	}
	out.Providers = providers
	if want == nil || len(want.settings) == 0 {
		return nil
	}
	for i := range providers {
		p := &providers[i]
		if !takesSettings(p.ID) {
			out.Ignored = append(out.Ignored, &config.Error{Pos: want.pos, Problem: fmt.Sprintf("the settings %s are not for the provider %s", strings.Join(slices.Sorted(maps.Keys(want.settings)), ", "), p.ID)})
			continue
		}
		merged := maps.Clone(want.settings)
		if stop, ok := merged["stop"].([]any); ok && len(stop) > 4 && !strings.Contains(p.ID, ":completion") {
			merged["stop"] = stop[:4]
			out.Ignored = append(out.Ignored, &config.Error{Pos: want.pos, Problem: "a chat takes at most 4 texts at which an answer ends: the others are left out, as the harness does"})
		}
		maps.Copy(merged, p.Config.Map)
		p.Config.Map = merged
	}
	for i := range providers {
		if want.answers > 1 {
			providers[i] = repeated(providers[i], want.answers)
		}
	}
	return nil
}

// repeated is a provider that asks p several times for each sample.
func repeated(p config.Provider, answers int) config.Provider {
	out := p
	out.ID, out.Label = "sequence", p.Name()
	out.Config.Map = map[string]any{
		"mode": "repeat", "answers": int64(answers), "provider": map[string]any{"id": p.ID, "label": p.Name(), "config": p.Config.Map},
	}
	return out
}

// loadEvals makes a suite of a registry file of OpenAI's evals.
func loadEvals(path string, data []byte, o LoadOptions) (*config.Loaded, error) {
	providers, err := o.providers("an eval")
	if err != nil {
		return nil, err
	}
	opts := evalOptions(o)
	if opts.Judge, err = grader(o, providers); err != nil {
		return nil, err
	}
	evals, err := oaieval.Load(path, data, opts)
	if err != nil {
		return nil, err
	}
	if err := refuse(evals.Unsupported, o.SkipUnsupported && len(evals.Evals) > 0); err != nil {
		return nil, err
	}
	suite, err := evals.Suite()
	if err != nil {
		return nil, err
	}
	for _, e := range evals.Evals {
		if e.Class == "ModelBasedClassify" && opts.Judge == nil {
			return nil, &config.Error{Pos: config.Pos{Key: "--var judge"}, Problem: e.Name + " is graded by a model, and with several providers none is taken for it", Want: "--var judge=ID, such as --var judge=openai:chat:gpt-4.1"}
		}
	}
	out := &config.Loaded{Suite: suite, Unsupported: evals.Unsupported, Ignored: evals.Ignored}
	var list []asked
	for _, e := range evals.Evals {
		list = append(list, asked{e.Name, e.Pos, e.Generation, e.Answers()})
	}
	err = generation(out, providers, list)
	if e, ok := errors.AsType[*config.Error](err); ok {
		e.Hint = "--var eval=NAME runs one of the file's evals"
	}
	return out, err
}

func evalOptions(o LoadOptions) oaieval.Options {
	return oaieval.Options{Read: readBounded, Exists: exists, Glob: glob, Vars: o.Vars}
}

// grader is the model that grades: the one that the command line names (--var judge), or else the one
// that is asked, as evals has it. Of several that are asked none is chosen.
func grader(o LoadOptions, asked []config.Provider) (func(settings map[string]any) any, error) {
	var spec config.Provider
	switch id, named := o.Vars["judge"]; {
	case named:
		opts := loadOptions(o)
		opts.Vars = nil
		given, err := config.GivenProviders("--var judge", []string{id}, opts)
		if err != nil {
			return nil, err
		}
		spec = given[0]
	case len(asked) == 1:
		spec = asked[0]
	default:
		return nil, nil
	}
	return func(settings map[string]any) any {
		merged := map[string]any{}
		if takesSettings(spec.ID) {
			maps.Copy(merged, settings)
		}
		maps.Copy(merged, spec.Config.Map)
		return map[string]any{"id": spec.ID, "config": merged}
	}, nil
}

// takesSettings says whether a provider is a model that is told how to answer.
func takesSettings(id string) bool {
	switch kind, _, _ := strings.Cut(id, ":"); kind {
	case "exec", "recorded", "echo", "sim", "sequence", "http", "https", "go":
		return false
	}
	return true
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// documentsOf reads documents of a source, the first n of them or all.
func documentsOf(dir string) func(config.Tests, int) ([]map[string]any, error) {
	return func(source config.Tests, n int) ([]map[string]any, error) {
		var out []map[string]any
		enough := errors.New("enough documents")
		source.Row = func(p config.Pos, i int, doc map[string]any) (config.Test, error) {
			if n > 0 && len(out) == n {
				return config.Test{}, enough
			}
			out = append(out, doc)
			return config.Test{ID: fmt.Sprint(i)}, nil
		}
		d, err := dataset.Open([]config.Tests{source}, dataset.Options{Dir: dir, MaxErrors: 1, CacheDir: DefaultCacheDir})
		if err != nil {
			return nil, err
		}
		_, err = d.Scan(context.Background(), nil)
		if n > 0 && len(out) == n && errors.Is(err, enough) {
			err = nil
		}
		return slices.Clip(out), errors.Join(err, d.Close())
	}
}

// jsonLines looks at how a file begins.
func jsonLines(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head, _ := bufio.NewReader(f).Peek(512)
	head = bytes.TrimLeftFunc(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), unicode.IsSpace)
	return len(head) > 0 && head[0] == '{'
}
