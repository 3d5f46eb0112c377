package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// key is sent as the API key; the server takes any.
const key = "none"

// outcome is what a tool found.
type outcome struct {
	passed, failed, errored int
	failing                 map[string]bool // by ticket
	// ownRate is the tool's own figure: cases a second while it evaluated, without start-up and reports.
	ownRate float64
}

// telltaleCommand runs the suite in dir; its results go to dir/telltale.
func telltaleCommand(binary, dir string, concurrency int) command {
	return command{
		args: []string{binary, "run", "promptfooconfig.yaml", "--out", "telltale", "--no-cache", "--concurrency", strconv.Itoa(concurrency)},
		dir:  dir, env: []string{"HOME=" + dir, "OPENAI_API_KEY=" + key},
		ok: []int{0, 1}, // 1: the suite failed, as it has to
	}
}

func readTelltale(dir string) (outcome, error) {
	out := outcome{failing: map[string]bool{}}
	var run struct {
		Summary struct{ Passed, Failed, Errored, Undecided int }
		Times   struct {
			Throughput float64 `json:"samples_per_second"`
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "telltale", "run.json"))
	if err == nil {
		err = json.Unmarshal(b, &run)
	}
	if err != nil {
		return out, err
	}
	out.passed, out.failed, out.errored, out.ownRate = run.Summary.Passed, run.Summary.Failed, run.Summary.Errored+run.Summary.Undecided, run.Times.Throughput
	f, err := os.Open(filepath.Join(dir, "telltale", "samples.jsonl"))
	if err != nil {
		return out, err
	}
	defer f.Close()
	d := json.NewDecoder(bufio.NewReaderSize(f, 1<<20))
	for {
		var s struct {
			Vars    struct{ Ticket string }
			Verdict string
		}
		switch err := d.Decode(&s); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return out, err
		}
		if s.Verdict != "pass" {
			out.failing[s.Vars.Ticket] = true
		}
	}
}

// promptfoo is an installed promptfoo with the Node that runs it.
type promptfoo struct {
	node, script, version, nodeVersion string
}

// findPromptfoo looks for what npm ci has installed. The Node that is pinned beside promptfoo comes before the
// one in PATH, which may be too old for it.
func findPromptfoo(ctx context.Context, dir string) (promptfoo, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return promptfoo{}, err
	}
	home := filepath.Join(dir, "node_modules", "promptfoo")
	var pkg struct {
		Version string
		Bin     map[string]string
	}
	b, err := os.ReadFile(filepath.Join(home, "package.json"))
	if err != nil {
		return promptfoo{}, fmt.Errorf("%w; npm ci in %s installs it", err, dir)
	}
	if err := json.Unmarshal(b, &pkg); err != nil {
		return promptfoo{}, err
	}
	p := promptfoo{script: filepath.Join(home, pkg.Bin["promptfoo"]), version: pkg.Version}
	pinned, _ := filepath.Glob(filepath.Join(dir, "node_modules", "node-*-*64", "bin", "node"))
	if len(pinned) > 0 {
		p.node = pinned[0]
	} else if p.node, err = exec.LookPath("node"); err != nil {
		return p, err
	}
	v, err := exec.CommandContext(ctx, p.node, "--version").Output()
	p.nodeVersion = strings.TrimSpace(string(v))
	return p, err
}

// command runs the suite in dir; its results go to dir/promptfoo.json. All that could reach another machine
// is switched off, and what has no switch runs into a proxy that is not there.
func (p promptfoo) command(dir string, concurrency int) command {
	return command{
		args: []string{p.node, p.script, "eval", "-c", "promptfooconfig.yaml", "--no-cache", "--no-table", "--no-progress-bar", "--no-write", "--no-share",
			"-j", strconv.Itoa(concurrency), "-o", "promptfoo.json"},
		dir: dir, env: []string{
			"HOME=" + dir, "PATH=" + filepath.Dir(p.node) + string(filepath.ListSeparator) + os.Getenv("PATH"), "OPENAI_API_KEY=" + key,
			"PROMPTFOO_CONFIG_DIR=" + filepath.Join(dir, "promptfoo-home"), "PROMPTFOO_DISABLE_TELEMETRY=1", "PROMPTFOO_DISABLE_UPDATE=1",
			"PROMPTFOO_DISABLE_REMOTE_GENERATION=1", "PROMPTFOO_DISABLE_SHARING=1",
			"HTTPS_PROXY=http://127.0.0.1:9", "NO_PROXY=127.0.0.1",
		},
		ok: []int{0, 100}, // 100: some cases failed, as they have to
	}
}

func readPromptfoo(dir string) (outcome, error) {
	out := outcome{failing: map[string]bool{}}
	b, err := os.ReadFile(filepath.Join(dir, "promptfoo.json"))
	if err != nil {
		return out, err
	}
	var file struct {
		Results struct {
			Stats struct {
				Successes, Failures, Errors int
				EvaluationDurationMs        float64
			}
			Results []struct {
				Success  bool
				TestCase struct {
					Vars struct{ Ticket string }
				}
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return out, err
	}
	s := file.Results.Stats
	out.passed, out.failed, out.errored = s.Successes, s.Failures, s.Errors
	if s.EvaluationDurationMs > 0 {
		out.ownRate = float64(len(file.Results.Results)) / s.EvaluationDurationMs * 1000
	}
	for _, r := range file.Results.Results {
		if !r.Success {
			out.failing[r.TestCase.Vars.Ticket] = true
		}
	}
	return out, nil
}
