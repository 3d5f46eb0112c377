package app

import (
	"os"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/lmeval"
	"github.com/telltale-llm/telltale/internal/oaieval"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// TaskInspection says what of a file of tasks or evals runs and what does not.
type TaskInspection struct {
	File string `json:"file"`
	// Runs has a line for each task or eval that runs.
	Runs     []string  `json:"runs"`
	Findings []Finding `json:"findings"`
}

// InspectTasks reads a task file of lm-evaluation-harness, or a registry file of OpenAI's evals, as a run
// would, datasets excepted. The error is of a file that cannot be read or is not of that kind;
// everything else is a finding.
func InspectTasks(path string, o LoadOptions) (*TaskInspection, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "cannot read the file", Err: cause(err)}
	}
	out := &TaskInspection{File: path, Runs: []string{}, Findings: []Finding{}}
	var left, ignored, mistakes config.Errors
	switch {
	case oaieval.Recognises(path, data):
		l, loadErr := oaieval.Load(path, data, evalOptions(o))
		if err = loadErr; err == nil {
			left, ignored = l.Unsupported, l.Ignored
			for _, e := range l.Evals {
				out.Runs = append(out.Runs, e.Report())
			}
		}
	case lmeval.Recognises(path, data):
		opts := taskOptions(o)
		opts.WithoutData = true
		l, loadErr := lmeval.Load(path, data, opts)
		if err = loadErr; err == nil {
			left, ignored = l.Unsupported, l.Ignored
			for _, t := range l.Tasks {
				if bad := mistaken(t); bad != nil {
					mistakes = append(mistakes, bad...)
					continue
				}
				out.Runs = append(out.Runs, t.Report())
			}
		}
	default:
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "neither a task of lm-evaluation-harness nor a registry file of OpenAI's evals",
			Want: "a mapping with task: and output_type:, or evals with class: and args:"}
	}
	var in Inspection
	if err != nil {
		in.mistakes(err)
	}
	seen := map[config.Pos]bool{}
	for _, e := range mistakes {
		if !seen[e.Pos] { // tasks of a group share files
			in.add(Mistake, e)
		}
		seen[e.Pos] = true
	}
	for _, e := range left {
		in.add(LeftOut, e)
	}
	for _, e := range ignored {
		in.add(Ignored, e)
	}
	out.Findings = append(out.Findings, in.Findings...)
	return out, nil
}

// mistaken says what of a task's metrics a run would refuse.
func mistaken(t *lmeval.Task) config.Errors {
	var errs config.Errors
	for _, a := range t.Checks() {
		_, err := scorer.Compile(a, "", &scorer.Services{})
		errs.Append(a.Pos, err)
	}
	config.Locate(errs, readBounded)
	return errs
}
