package scorer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/redact"
	"github.com/telltale-llm/telltale/internal/worker"
)

// execTimeout bounds one judgement of a program.
const execTimeout = time.Minute

// execKinds returns the kind that leaves the judgement to a program of the user's.
func execKinds() []Kind {
	return []Kind{{
		Name:       "exec",
		Summary:    "a program judges: one long-lived process, lines of JSON (docs/providers.md)",
		Version:    "1",
		Value:      Required,
		Threshold:  Optional,
		Continuous: true,
		Build:      buildExec,
	}}
}

// buildExec reads the command and its settings. The program is started at the first judgement.
func buildExec(s Spec) (Scorer, error) {
	var errs config.Errors
	r := s.Config.Reader()
	command, err := worker.CommandOf(s.Value)
	if err != nil {
		errs = append(errs, &config.Error{Pos: s.ValuePos, Problem: err.Error(), Want: "a command, or a list of its words"})
	}
	// The values may be secrets: Reader would show them.
	extra, err := worker.EnvironmentOf(r.Any("env"))
	if err != nil {
		errs = append(errs, &config.Error{Pos: s.Config.At("env"), Problem: err.Error(), Want: "a list of names to pass on, or a mapping of names to values"})
	}
	dir := s.Dir
	if cwd := r.String("cwd", ""); cwd != "" {
		if !filepath.IsAbs(cwd) {
			cwd = filepath.Join(dir, cwd)
		}
		dir = cwd
	}
	timeout := r.Duration("timeout", execTimeout)
	workers := r.Int("workers", 1)
	if workers < 1 || workers > 1000 {
		r.Fail("workers", "out of range", "a whole number from 1 to 1000")
	}
	errs.Append(s.Pos, r.Finish())
	if err := errs.Err(); err != nil {
		return nil, err
	}
	env, secrets := extra.Build(os.Environ())
	x := &execScorer{redact: redact.New(secrets...), threshold: s.Threshold}
	x.pool, err = worker.New(worker.Options{
		Command: command, Dir: dir, Env: env, Timeout: timeout, Workers: workers, Redact: x.redact.String,
	})
	if err != nil {
		return nil, &config.Error{Pos: s.ValuePos, Value: command[0], Err: err, Hint: "a program is looked up in PATH, or, with a slash in its name, from the folder of the suite file (or cwd)"}
	}
	return x, nil
}

// execScorer asks the program. Its process lives until Close.
type execScorer struct {
	pool      *worker.Pool
	redact    *redact.Redactor
	threshold *float64
}

type execRequest struct {
	ID       string           `json:"id"`
	Output   string           `json:"output"`
	Prompt   string           `json:"prompt"`
	Messages []record.Message `json:"messages,omitempty"`
	Vars     map[string]any   `json:"vars"`
	Metadata map[string]any   `json:"metadata"`
}

type execAnswer struct {
	Pass   *bool           `json:"pass"`
	Score  *float64        `json:"score"`
	Reason string          `json:"reason"`
	Detail json.RawMessage `json:"detail"`
	Error  json.RawMessage `json:"error"`
}

// Score sends the answer to the program and reads its judgement. Anything but a judgement is an
// error, never a pass.
func (x *execScorer) Score(ctx context.Context, in *Input) (Result, error) {
	got, err := x.pool.Call(ctx, func(id string) ([]byte, error) {
		req := execRequest{ID: id, Prompt: in.Prompt, Messages: in.Messages, Vars: in.Vars, Metadata: in.Metadata}
		if in.Response != nil {
			req.Output = in.Response.Output
		}
		if req.Vars == nil {
			req.Vars = map[string]any{}
		}
		if req.Metadata == nil {
			req.Metadata = map[string]any{}
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		err := enc.Encode(req)
		return bytes.TrimRight(b.Bytes(), "\n"), err
	})
	if err != nil {
		return Result{}, err
	}
	var a execAnswer
	if err := json.Unmarshal(got.Line, &a); err != nil {
		return Result{}, fmt.Errorf("the program's answer cannot be read: %w: %s", err, x.show(string(got.Line)))
	}
	if len(a.Error) > 0 && string(a.Error) != "null" && string(a.Error) != `""` {
		return Result{}, fmt.Errorf("the program reports: %s", x.show(string(a.Error)))
	}
	res, err := x.judge(&a)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %s", err, x.show(string(got.Line)))
	}
	if len(a.Detail) > 0 && string(a.Detail) != "null" {
		res.Detail = a.Detail
	}
	return res, nil
}

// judge turns the program's word into a result. Without a score, pass counts as 1 or 0; with a
// threshold, both the program and the threshold must be content.
func (x *execScorer) judge(a *execAnswer) (Result, error) {
	var res Result
	switch {
	case a.Score != nil:
		if !(*a.Score >= 0 && *a.Score <= 1) {
			return res, errors.New("the score is not between 0 and 1")
		}
		res.Value = *a.Score
	case a.Pass == nil:
		return res, errors.New("the program's answer has neither pass nor score")
	case *a.Pass:
		res.Value = 1
	}
	if a.Pass == nil && x.threshold == nil {
		return res, errors.New("the program's answer has no pass, and there is no threshold for its score")
	}
	pass := a.Pass == nil || *a.Pass
	if x.threshold != nil && res.Value < *x.threshold {
		pass = false
	}
	res.Pass = &pass
	res.Reason = x.show(a.Reason)
	if res.Reason == "" {
		verb := "rejects"
		if pass {
			verb = "accepts"
		}
		res.Reason = fmt.Sprintf("the program %s the answer with a score of %g", verb, res.Value)
		if x.threshold != nil {
			res.Reason += fmt.Sprintf(" (threshold %g)", *x.threshold)
		}
	}
	return res, nil
}

func (x *execScorer) show(s string) string { return config.Clip(x.redact.String(s), 1000) }

// Close ends the program.
func (x *execScorer) Close() error { return x.pool.Close() }

// shape says that a program always judges, also without a threshold.
func (x *execScorer) shape() shape { return shape{continuous: true, graded: true, judges: true} }
