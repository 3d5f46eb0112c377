package telltaletest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const suite = `
providers: [go:mine, {id: echo, label: other}]
prompts: ["{{q}}"]
evaluateOptions: {maxConcurrency: 4}
tests:
  - {id: good, vars: {q: yes please}}
  - {id: bad, vars: {q: "no"}}
  - {id: broken, vars: {q: yes boom}}
  - {id: panics, vars: {q: yes panic}}
  - {id: unjudged, vars: {q: x}, options: {disableDefaultAsserts: true}, assert: [{type: token-f1, value: x}]}
defaultTest:
  assert: [{type: contains, value: "yes"}]
`

func suiteFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "suite.yaml")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

var mine = ProviderFunc(func(_ context.Context, req Request) (Response, error) {
	switch {
	case strings.Contains(req.Prompt, "boom"):
		return Response{}, errors.New("it went boom")
	case strings.Contains(req.Prompt, "panic"):
		panic("out of reach")
	}
	return Response{Output: req.Messages[0].Content, PromptTokens: 3}, nil
})

// TestChild is not a test: it runs a suite in a process of its own, for others to look at the outcome.
func TestChild(t *testing.T) {
	file := os.Getenv("TELLTALETEST_SUITE")
	if file == "" {
		t.Skip("run by other tests")
	}
	var o Options
	if err := json.Unmarshal([]byte(os.Getenv("TELLTALETEST_OPTIONS")), &o); err != nil {
		t.Fatal(err)
	}
	o.Providers = map[string]Provider{"mine": mine}
	if os.Getenv("TELLTALETEST_HANG") != "" {
		o.Providers["mine"] = ProviderFunc(func(ctx context.Context, _ Request) (Response, error) {
			<-ctx.Done()
			return Response{}, ctx.Err()
		})
	}
	Run(t, file, o)
}

type outcome struct {
	code  int
	text  string
	tests map[string]string // name → PASS, FAIL or SKIP
}

var resultLine = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): TestChild(?:/(\S+))? `)

// child runs TestChild with a suite and options.
func child(t *testing.T, text string, o Options, args ...string) outcome {
	t.Helper()
	options, err := json.Marshal(struct {
		Vars                        map[string]string
		Dir                         string
		Failures, Errors, Undecided Policy
	}{o.Vars, o.Dir, o.Failures, o.Errors, o.Undecided})
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, append([]string{"-test.run=^TestChild$", "-test.v"}, args...)...)
	cmd.Env = append(os.Environ(), "TELLTALETEST_SUITE="+suiteFile(t, text), "TELLTALETEST_OPTIONS="+string(options))
	if strings.Contains(text, "# hang") {
		cmd.Env = append(cmd.Env, "TELLTALETEST_HANG=1")
	}
	b, err := cmd.CombinedOutput()
	out := outcome{text: string(b), tests: map[string]string{}}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		out.code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	for _, m := range resultLine.FindAllStringSubmatch(out.text, -1) {
		out.tests[m[2]] = m[1]
	}
	return out
}

func (o outcome) want(t *testing.T, code int, tests map[string]string, texts ...string) {
	t.Helper()
	if (o.code != 0) != (code != 0) {
		t.Errorf("exit code %d, want %d\n%s", o.code, code, o.text)
	}
	for name, want := range tests {
		if o.tests[name] != want {
			t.Errorf("%q is %s, want %s\n%s", name, o.tests[name], want, o.text)
		}
	}
	for _, s := range texts {
		if !strings.Contains(o.text, s) {
			t.Errorf("no %q in\n%s", s, o.text)
		}
	}
}

// Every case that did not pass fails its sub-test, and says why.
func TestFailsClosed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	out := child(t, suite, Options{Dir: dir})
	out.want(t, 1, map[string]string{"": "FAIL", "good": "PASS", "bad": "FAIL", "broken": "FAIL", "panics": "FAIL", "unjudged": "FAIL", "gate": "FAIL"},
		"fail of go:mine, prompt {{q}}", `the output does not contain "yes"`, "output: no", "it went boom", "the provider panicked: out of reach",
		"undecided of other", "no assertion judged this answer", "the run is fail:")
	// The results are those that the command writes.
	b, err := os.ReadFile(filepath.Join(dir, report.JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	var run record.Run
	if err := json.Unmarshal(b, &run); err != nil {
		t.Fatal(err)
	}
	if s := run.Summary; s.Passed != 4 || s.Failed != 2 || s.Errored != 2 || s.Undecided != 2 || run.Metrics[record.MetricLatency].N == 0 {
		t.Errorf("summary %+v, metrics %v", run.Summary, run.Metrics[record.MetricLatency])
	}
}

func TestPolicies(t *testing.T) {
	child(t, suite, Options{Failures: Log, Errors: Skip, Undecided: Log}).want(t, 1,
		map[string]string{"good": "PASS", "bad": "PASS", "broken": "SKIP", "unjudged": "PASS", "gate": "FAIL"}, "it went boom", "the run is fail")
	// A gate that accepts some failures passes the whole.
	lenient := strings.Replace(suite, "tests:", "gate: {pass_rate: \">= 0.2\", error_rate: \"<= 0.5\"}\ntests:", 1)
	child(t, lenient, Options{Failures: Log, Errors: Log, Undecided: Log}).want(t, 0, map[string]string{"": "PASS", "bad": "PASS", "gate": "PASS"})
	child(t, lenient, Options{}).want(t, 1, map[string]string{"bad": "FAIL", "gate": "PASS"})
}

func TestMistakes(t *testing.T) {
	f := func(text, want string, o Options) {
		t.Helper()
		out := child(t, text, o)
		out.want(t, 1, map[string]string{"": "FAIL"}, want)
		if len(out.tests) != 1 {
			t.Errorf("sub-tests in spite of a mistake: %v", out.tests)
		}
	}
	f("providers: [go:mine]\nprompt: x\n", "prompt", Options{})
	f("providers: [echo]\nprompts: [x]\ntests: [{assert: [{type: contains, value: x}]}]\n", "no provider of the suite has that id or label", Options{})
	f("providers: [go:mine, go:yours]\nprompts: [x]\ntests: [{assert: [{type: contains, value: x}]}]\n", "is a Go function", Options{})
	f("providers: [go:mine]\nprompts: ['${what}']\ntests: [{assert: [{type: contains, value: x}]}]\n", "what", Options{})
}

// A suite that hangs is ended before go test ends the process, and says so.
func TestDeadline(t *testing.T) {
	began := time.Now()
	out := child(t, "# hang\nproviders: [go:mine]\nprompts: [x]\ntests: [{assert: [{type: contains, value: x}]}]\n", Options{}, "-test.timeout=4s")
	out.want(t, 1, map[string]string{"": "FAIL"}, "interrupted after 0 of 1 samples")
	if strings.Contains(out.text, "panic: test timed out") || time.Since(began) > 20*time.Second {
		t.Errorf("the process was ended\n%s", out.text)
	}
}

// Runs in parallel tests do not disturb one another, and a provider by label, by id and by name is found.
func TestParallel(t *testing.T) {
	const text = "providers: [%s]\nprompts: [\"{{q}}\"]\nsamples: 2\ntests:\n%s"
	for i, provider := range []string{"go:mine", "{id: 'openai:chat:gpt-4.1-mini', label: mine}", "openai:chat:x"} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			var rows strings.Builder
			for n := range 50 {
				fmt.Fprintf(&rows, "  - {id: case %d, vars: {q: \"%d-%d\"}, assert: [{type: equals, value: \"%d-%d\"}]}\n", n, i, n, i, n)
			}
			var calls atomic.Int32
			name := "mine"
			if provider == "openai:chat:x" {
				name = provider
			}
			got := Run(t, suiteFile(t, fmt.Sprintf(text, provider, rows.String())), Options{Providers: map[string]Provider{
				name: ProviderFunc(func(_ context.Context, req Request) (Response, error) {
					calls.Add(1)
					return Response{Output: req.Prompt, Cost: new(0.5)}, nil
				}),
			}})
			if got.Verdict != "pass" || got.Samples != 100 || got.Passed != 100 || calls.Load() != 100 || got.Metrics["pass_rate"] != 1 || got.Metrics["cost"] != 0.5 {
				t.Errorf("%+v with %d calls", got, calls.Load())
			}
		})
	}
}

// The verdicts are those of the command: the same options give the same run.
func TestSameVerdictsAsTheCommand(t *testing.T) {
	const text = "providers: [sim]\nprompts: [\"{{q}}\"]\nsamples: 3\ngate: {pass_rate: \">= 0.1\"}\ntests:\n" +
		"  - {id: a, vars: {q: How do I get a refund?}, assert: [{type: icontains, value: refund}]}\n" +
		"  - {id: b, vars: {q: What is 2 + 2?}, assert: [{type: icontains, value: refund}]}\n"
	file := suiteFile(t, text)
	got := Run(t, file, Options{Seed: new(int64(5)), Failures: Log})
	o := app.RunOptions{Suite: file, Out: filepath.Join(t.TempDir(), "out"), Seed: new(int64(5)), NoCache: true, LoadOptions: app.LoadOptions{Env: os.LookupEnv}}
	want, err := app.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if s := want.Run.Summary; got.Passed != s.Passed || got.Failed != s.Failed || got.Verdict != want.Run.Gate.Verdict.String() || got.Failed == 0 || got.Passed == 0 {
		t.Errorf("%+v, want %+v", got, s)
	}
}
