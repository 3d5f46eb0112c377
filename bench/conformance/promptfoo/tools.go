package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/loopback"
	"github.com/telltale-llm/telltale/internal/sim"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// server is the simulated model that both tools ask.
type server struct {
	url  string
	stop context.CancelFunc
	done chan error
}

func startServer(ctx context.Context, file string) (*server, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := sim.Load(file, data)
	if err != nil {
		return nil, err
	}
	m, err := sim.New(sim.Options{Config: c})
	if err != nil {
		return nil, err
	}
	ln, err := loopback.Listen(ctx, loopback.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	s := &server{url: "http://" + ln.Addr().String() + "/v1", stop: stop, done: make(chan error, 1)}
	go func() { s.done <- sim.Serve(ctx, ln, sim.NewServer(m, sim.ServerOptions{})) }()
	return s, nil
}

func (s *server) close() error {
	s.stop()
	return <-s.done
}

// variables are what the suites take from the environment.
func variables(url string) map[string]string {
	return map[string]string{"SIM_URL": url, "OPENAI_API_KEY": "conformance"}
}

// allowsCode says whether a suite asks for its own code to run, in its first line.
func allowsCode(suite string) (bool, error) {
	b, err := os.ReadFile(suite)
	first, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.Contains(string(first), "--allow-code"), err
}

// runTelltale runs a suite in this process. missing names what telltale does not have yet.
func runTelltale(ctx context.Context, suite, out, url string) (rows []row, missing string, err error) {
	code, err := allowsCode(suite)
	if err != nil {
		return nil, "", err
	}
	env := variables(url)
	load := app.LoadOptions{AllowCode: code, Env: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}}
	peek := load
	peek.SkipUnsupported = true
	loaded, err := app.LoadSuite(suite, peek)
	if err != nil {
		return nil, "", err
	}
	if len(loaded.Unsupported) > 0 {
		return nil, loaded.Unsupported[0].Error(), nil
	}
	f, err := app.Run(ctx, app.RunOptions{Suite: suite, LoadOptions: load, Out: out, NoCache: true, Retries: -1, Notice: func(string) {}})
	if err != nil {
		return nil, "", err
	}
	column := columns(loaded.Suite)
	for s, err := range app.ReadSamples(f.Dir) {
		if err != nil {
			return nil, "", err
		}
		test, err := testName(s.Vars)
		if err != nil {
			return nil, "", err
		}
		v := map[verdict.Verdict]string{verdict.Pass: passed, verdict.Fail: failed}[s.Verdict]
		if v == "" {
			v = errored
		}
		rows = append(rows, row{Column: column(s.Provider, s.Prompt), Test: test, Verdict: v})
	}
	sortRows(rows)
	return rows, "", nil
}

// columns finds the place of a provider and a prompt among those that a suite asks, as promptfoo counts
// them. What a test's own provider answers stands in the column of the suite's first.
func columns(s *config.Suite) func(provider, prompt string) int {
	at := map[[2]string]int{}
	n := 0
	for i := range s.Providers {
		for k := range s.Prompts {
			if !s.Providers[i].Takes(&s.Prompts[k]) {
				continue
			}
			for _, provider := range []string{s.Providers[i].Name(), ""} {
				if _, taken := at[[2]string{provider, s.Prompts[k].Label}]; !taken {
					at[[2]string{provider, s.Prompts[k].Label}] = n
				}
			}
			n++
		}
	}
	return func(provider, prompt string) int {
		if i, ok := at[[2]string{provider, prompt}]; ok {
			return i
		}
		return at[[2]string{"", prompt}]
	}
}

// result is what is read of promptfoo's output file.
type result struct {
	Results struct {
		Results []struct {
			PromptIdx     int            `json:"promptIdx"`
			Vars          map[string]any `json:"vars"`
			Success       bool           `json:"success"`
			FailureReason int            `json:"failureReason"` // 1 an assertion, 2 an error
		} `json:"results"`
	} `json:"results"`
}

// runPromptfoo runs a suite through promptfoo from npm, with a configuration folder and a home of its own.
func runPromptfoo(ctx context.Context, npm, suite, dir, url string) ([]row, error) {
	npm, err := filepath.Abs(npm)
	if err != nil {
		return nil, err
	}
	if suite, err = filepath.Abs(suite); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "promptfoo"), 0o755); err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "promptfoo.json")
	cmd := exec.CommandContext(ctx, node(npm), filepath.Join(npm, "node_modules", "promptfoo", "dist", "src", "main.js"),
		"eval", "-c", suite, "--no-cache", "--no-table", "--no-progress-bar", "--no-write", "-o", out)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NO_PROXY=*", "PROMPTFOO_CONFIG_DIR=" + filepath.Join(dir, "promptfoo"),
		"PROMPTFOO_DISABLE_TELEMETRY=1", "PROMPTFOO_DISABLE_UPDATE=1", "PROMPTFOO_DISABLE_SHARING=1", "PROMPTFOO_SELF_HOSTED=1",
		"PROMPTFOO_DISABLE_REMOTE_GENERATION=1", "PROMPTFOO_DISABLE_TEMPLATE_ENV_VARS=false",
	}
	for name, value := range variables(url) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	said, runErr := cmd.CombinedOutput()
	b, err := os.ReadFile(out)
	if err != nil {
		// Its exit code is 100 when a test has failed; without an output file it has not run.
		return nil, errors.Join(fmt.Errorf("promptfoo wrote nothing (npm ci in %s installs it)", npm), runErr, fmt.Errorf("%s", tail(said)))
	}
	var r result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	var rows []row
	for _, one := range r.Results.Results {
		test, err := testName(one.Vars)
		if err != nil {
			return nil, err
		}
		v := failed
		switch {
		case one.Success:
			v = passed
		case one.FailureReason == 2:
			v = errored
		}
		rows = append(rows, row{Column: one.PromptIdx, Test: test, Verdict: v})
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("promptfoo ran no test: %s", tail(said))
	}
	sortRows(rows)
	return rows, nil
}

// node is the Node that npm installed for promptfoo, or the one on the PATH.
func node(npm string) string {
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	own := filepath.Join(npm, "node_modules", "node-"+runtime.GOOS+"-"+arch, "bin", "node")
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return "node"
}

func tail(b []byte) string {
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return string(b)
}
