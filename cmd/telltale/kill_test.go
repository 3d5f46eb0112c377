package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/sim"
)

const (
	killCases    = 300
	killRepeats  = 2
	killSamples  = killCases * killRepeats
	killTogether = 8
)

// bench is a folder with a suite and a server that it asks.
type bench struct {
	dir string
	// served counts the chat requests that reached the server.
	served atomic.Int64
	// hold, when set, holds back the answers from the request of that number on until release is closed.
	hold    atomic.Int64
	release chan struct{}
}

// newBench serves a simulated model and writes a suite of killSamples samples against it.
func newBench(t *testing.T, latency string) *bench {
	t.Helper()
	d, err := sim.ParseTimes(latency)
	if err != nil {
		t.Fatal(err)
	}
	cfg := sim.Config{Seed: 5}
	cfg.Override(func(b *sim.Behaviour) { b.Latency.TTFT = d })
	model, err := sim.New(sim.Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: t.TempDir(), release: make(chan struct{})}
	h := sim.NewServer(model, sim.ServerOptions{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/chat/completions") {
			if n, hold := b.served.Add(1), b.hold.Load(); hold > 0 && n >= hold {
				select {
				case <-b.release:
				case <-r.Context().Done():
				}
			}
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	var rows bytes.Buffer
	for i := range killCases {
		fmt.Fprintf(&rows, "{\"id\": \"case-%d\", \"x\": \"question %d about a refund\"}\n", i, i)
	}
	b.write(t, "cases.jsonl", rows.String())
	b.write(t, "suite.yaml", fmt.Sprintf(`
prompts: ["{{x}}"]
providers: [{id: "openai:chat:sim", config: {base_url: %q}}]
tests: cases.jsonl
defaultTest: {assert: [{type: icontains, value: refund}, {type: rouge-l, value: You can return any item}]}
samples: %d
evaluateOptions: {maxConcurrency: %d, cache: false}
gate: {pass_rate: ">= 0.01"}
`, server.URL+"/v1", killRepeats, killTogether))
	return b
}

func (b *bench) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// command is telltale as a process of its own, in the bench's folder.
func (b *bench) command(t *testing.T, args ...string) (cmd *exec.Cmd, output *bytes.Buffer) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), "telltale", args...)
	cmd.Dir = b.dir
	output = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, output
}

// run runs telltale to its end and returns its exit code and what it printed.
func (b *bench) run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	cmd, output := b.command(t, args...)
	return exitOf(t, cmd.Run()), output.String()
}

func exitOf(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	return exit.ExitCode()
}

// size is the size of a file below the bench's folder, 0 when there is none.
func (b *bench) size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(b.dir, path))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// until waits for a condition while the process runs and says whether it came to hold before the
// process ended by itself. ended gets the process's end.
func until(ended <-chan error, condition func() bool) (held bool, err error) {
	for {
		select {
		case err := <-ended:
			return false, err
		default:
		}
		if condition() {
			return true, nil
		}
		time.Sleep(200 * time.Microsecond)
	}
}

func started(t *testing.T, cmd *exec.Cmd) <-chan error {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended
}

// TestKilled kills a run ten times at points drawn from a seed: while it starts, in the middle, and
// while it writes its results. What was journaled is never asked again, nothing is lost, and the
// results are those of a run that nobody disturbed.
func TestKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t, "uniform(2ms, 8ms)")
	if code, out := b.run(t, "run", "suite.yaml", "--out", "whole"); code != 0 {
		t.Fatalf("undisturbed run: exit %d\n%s", code, out)
	}
	undisturbed := b.served.Swap(0)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const journal = "killed/journal.jsonl"
	perSample := b.size(t, "whole/samples.jsonl") / killSamples
	for kill := range 10 {
		args := []string{"run", "suite.yaml", "--out", "killed"}
		if kill > 0 {
			args = append(args, "--resume")
		}
		cmd, output := b.command(t, args...)
		before := b.size(t, journal)
		var point func() bool
		switch {
		case kill == 9:
			point = func() bool {
				return b.size(t, "killed/samples.jsonl.part") > 0 || b.size(t, "killed/samples.jsonl") > 0
			}
		case kill%4 == 0: // anywhere, most often before the first sample
			at := time.Now().Add(time.Duration(random.Int64N(int64(60 * time.Millisecond))))
			point = func() bool { return time.Now().After(at) }
		default:
			grown := before + 1 + random.Int64N(2*perSample*killSamples/10)
			point = func() bool { return b.size(t, journal) >= grown }
		}
		ended := started(t, cmd)
		held, err := until(ended, point)
		if !held {
			if code := exitOf(t, err); code != 0 {
				t.Fatalf("sitting %d: exit %d\n%s", kill, code, output)
			}
			t.Logf("sitting %d: finished before it could be killed", kill)
			break
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-ended
		t.Logf("sitting %d: killed with %d bytes of journal, %d new", kill, b.size(t, journal), b.size(t, journal)-before)
	}
	if code, out := b.run(t, "run", "suite.yaml", "--out", "killed", "--resume"); code != 0 {
		t.Fatalf("last sitting: exit %d\n%s", code, out)
	}
	b.checkWhole(t, "killed")
	if n := b.served.Load(); n < undisturbed || n > undisturbed+11*killTogether {
		t.Errorf("%d requests, want %d and at most %d in flight each time", n, undisturbed, killTogether)
	}
}

// TestKilledExtending kills a run that draws more and more answers, in each of its rounds, while a round begins and
// while results are written. What was journaled is never asked again, and the looks are those of a run that nobody
// disturbed.
func TestKilledExtending(t *testing.T) {
	t.Parallel()
	const (
		cases = 40
		most  = 8 // answers per case: 1, 2, 4 and 8
	)
	b := newBench(t, "uniform(2ms, 8ms)")
	suite, err := os.ReadFile(filepath.Join(b.dir, "suite.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(suite), "samples: ")
	head = strings.Replace(head, "tests: cases.jsonl", fmt.Sprintf("tests: {path: cases.jsonl, sample: %d}", cases), 1)
	b.write(t, "base.yaml", head+"seed: 3\ngate: {pass_rate: \">= 0.01\"}\n")
	b.write(t, "extend.yaml", head+fmt.Sprintf(`
evaluateOptions: {maxConcurrency: %d, cache: false}
gate: {baseline: base, pass_rate: {margin: 0.001}, on_undecided: extend, max_samples: %d}
`, killTogether, most))
	if code, out := b.run(t, "run", "base.yaml", "--out", "base"); code != 0 {
		t.Fatalf("baseline: exit %d\n%s", code, out)
	}
	b.served.Store(0)
	if code, out := b.run(t, "run", "extend.yaml", "--out", "whole"); code != exitUndecided {
		t.Fatalf("undisturbed run: exit %d\n%s", code, out)
	}
	undisturbed := b.served.Swap(0)
	if undisturbed != cases*most {
		t.Fatalf("%d requests, want %d", undisturbed, cases*most)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	journals := func() (size int64) {
		for _, name := range []string{"journal.jsonl", "journal.2.jsonl", "journal.3.jsonl", "journal.4.jsonl"} {
			size += b.size(t, "killed/"+name)
		}
		return size
	}
	perSample := b.size(t, "whole/samples.jsonl") / (cases * most)
	kills := 0
	for ; kills < 12; kills++ {
		args := []string{"run", "extend.yaml", "--out", "killed"}
		if kills > 0 {
			args = append(args, "--resume")
		}
		cmd, output := b.command(t, args...)
		before := journals()
		grown := before + 1 + random.Int64N(2*perSample*cases*most/10)
		point := func() bool { return journals() >= grown }
		switch kills % 4 {
		case 1: // while the next round begins
			next := "killed/journal.2.jsonl"
			for n := 2; n < 4 && b.size(t, next) > 0; n++ {
				next = fmt.Sprintf("killed/journal.%d.jsonl", n+1)
			}
			point = func() bool { return b.size(t, next) > 0 }
		case 3: // while a look is taken
			point = func() bool { return b.size(t, "killed/samples.jsonl.part") > 0 }
		}
		ended := started(t, cmd)
		held, err := until(ended, point)
		if !held {
			if code := exitOf(t, err); code != exitUndecided {
				t.Fatalf("sitting %d: exit %d\n%s", kills, code, output)
			}
			t.Logf("sitting %d: finished before it could be killed", kills)
			break
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-ended
		t.Logf("sitting %d: killed with %d bytes in the journals", kills, journals())
	}
	if code, out := b.run(t, "run", "extend.yaml", "--out", "killed", "--resume"); code != exitUndecided {
		t.Fatalf("last sitting: exit %d\n%s", code, out)
	}
	whole, errWhole := timeless(filepath.Join(b.dir, "whole", "samples.jsonl"))
	killed, errKilled := timeless(filepath.Join(b.dir, "killed", "samples.jsonl"))
	if err := errors.Join(errWhole, errKilled); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(whole, killed) {
		t.Errorf("samples.jsonl: %s", firstDifference(whole, killed))
	}
	if one, two := b.runJSON(t, "whole"), b.runJSON(t, "killed"); one != two {
		t.Errorf("run.json: %s", firstDifference([]byte(one), []byte(two)))
	}
	if journals() != 0 {
		t.Error("journals are still there")
	}
	if n := b.served.Load(); n < undisturbed || n > undisturbed+int64(kills+1)*killTogether {
		t.Errorf("%d requests, want %d and at most %d in flight each of %d times", n, undisturbed, killTogether, kills)
	}
}

// checkWhole checks that a run directory holds every sample exactly once, with the results of the
// run in the directory whole.
func (b *bench) checkWhole(t *testing.T, dir string) {
	t.Helper()
	text, err := timeless(filepath.Join(b.dir, dir, "samples.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(text) {
		var s record.Sample
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("sample %d: %v", n, err)
		}
		if want := fmt.Sprintf("case-%d", n/killRepeats); s.Case != want || s.Repeat != n%killRepeats || s.Error != "" {
			t.Fatalf("line %d is %s #%d (error %q), want %s #%d", n+1, s.Case, s.Repeat, s.Error, want, n%killRepeats)
		}
		n++
	}
	if n != killSamples {
		t.Errorf("%d samples, want %d", n, killSamples)
	}
	whole, err := timeless(filepath.Join(b.dir, "whole", "samples.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, whole) {
		t.Errorf("samples.jsonl: %s", firstDifference(whole, text))
	}
	if one, two := b.runJSON(t, "whole"), b.runJSON(t, dir); one != two {
		t.Errorf("run.json: %s", firstDifference([]byte(one), []byte(two)))
	}
	if b.size(t, dir+"/journal.jsonl") != 0 {
		t.Error("the journal is still there")
	}
}

// runJSON is run.json without times and without the one metric that is a time.
func (b *bench) runJSON(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	var run record.Run
	if err := json.Unmarshal(text, &run); err != nil {
		t.Fatal(err)
	}
	run.Times = record.Times{}
	if run.Metrics["latency"].Mean == nil {
		t.Error("no latency")
	}
	delete(run.Metrics, "latency")
	if c := run.Comparison; c != nil {
		c.Metrics = slices.DeleteFunc(c.Metrics, func(d record.Difference) bool { return d.Metric == "latency" })
	}
	text, err = json.MarshalIndent(run, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestInterrupted ends a run with one signal and goes on with the command that it prints.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	b := newBench(t, "uniform(2ms, 8ms)")
	if code, out := b.run(t, "run", "suite.yaml", "--out", "whole"); code != 0 {
		t.Fatalf("undisturbed run: exit %d\n%s", code, out)
	}
	for i, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		dir := fmt.Sprintf("it's ended %d", i)
		cmd, output := b.command(t, "run", "suite.yaml", "--out", dir)
		ended := started(t, cmd)
		if held, err := until(ended, func() bool { return b.size(t, dir+"/journal.jsonl") > 20_000 }); !held {
			t.Fatalf("ended by itself: %v\n%s", err, output)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if code := exitOf(t, <-ended); code != exitInterrupted {
			t.Fatalf("exit %d, want %d\n%s", code, exitInterrupted, output)
		}
		text := output.String()
		_, resume, ok := strings.Cut(text, "go on with: ")
		if !ok || !strings.Contains(text, "interrupted after ") || !strings.Contains(text, "of 600 samples, which are kept in "+dir) {
			t.Fatalf("the message does not say how to go on:\n%s", text)
		}
		if b.size(t, dir+"/run.json") != 0 {
			t.Error("an interrupted run has results")
		}
		shell := exec.CommandContext(t.Context(), "sh", "-c", strings.TrimSpace(resume))
		shell.Dir = b.dir
		if out, err := shell.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", resume, err, out)
		}
		b.checkWhole(t, dir)
	}
}

// TestInterruptedWaiting ends a run that waits for its server: it does not wait for the answers.
func TestInterruptedWaiting(t *testing.T) {
	t.Parallel()
	b := newBench(t, "1h")
	cmd, output := b.command(t, "run", "suite.yaml", "--out", "out")
	ended := started(t, cmd)
	if held, err := until(ended, func() bool { return b.served.Load() > 0 }); !held {
		t.Fatalf("ended by itself: %v\n%s", err, output)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(t, <-ended); code != exitInterrupted {
		t.Fatalf("exit %d, want %d\n%s", code, exitInterrupted, output)
	}
	if !strings.Contains(output.String(), "after 0 of 600 samples") {
		t.Errorf("unexpected message:\n%s", output)
	}
}

// TestInterruptedReading ends telltale while it reads its dataset, before anything is run or written.
func TestInterruptedReading(t *testing.T) {
	t.Parallel()
	b := &bench{dir: t.TempDir()}
	b.write(t, "suite.yaml", "prompts: [\"{{x}}\"]\nproviders: [echo]\ntests: {path: \"-\"}\n")
	cmd, output := b.command(t, "run", "suite.yaml", "--out", "out")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	ended := started(t, cmd)
	rows := strings.Repeat("{\"x\": 1}\n", 100_000) // far more than a pipe holds: it is read once it is written
	if _, err := io.WriteString(input, rows); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	go func() {
		for err == nil { // a signal is noticed between two reads
			_, err = io.WriteString(input, rows)
		}
	}()
	if code := exitOf(t, <-ended); code != exitInterrupted {
		t.Fatalf("exit %d, want %d\n%s", code, exitInterrupted, output)
	}
	if want := "telltale: interrupted while reading the dataset; nothing was run\n"; output.String() != want {
		t.Errorf("message %q, want %q", output, want)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "out")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

// TestTwoProcesses lets nobody into a directory in which a run is under way.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	b := newBench(t, "uniform(2ms, 8ms)")
	if code, out := b.run(t, "run", "suite.yaml", "--out", "whole"); code != 0 {
		t.Fatalf("undisturbed run: exit %d\n%s", code, out)
	}
	b.hold.Store(b.served.Load() + 100)
	cmd, output := b.command(t, "run", "suite.yaml", "--out", "shared")
	ended := started(t, cmd)
	if held, err := until(ended, func() bool { return b.size(t, "shared/journal.jsonl") > 2000 }); !held {
		t.Fatalf("ended by itself: %v\n%s", err, output)
	}
	f := func(want string, flags ...string) {
		t.Helper()
		code, out := b.run(t, append([]string{"run", "suite.yaml", "--out", "shared"}, flags...)...)
		if code != exitUsage || !strings.Contains(out, `error: --out: "shared": `) || !strings.Contains(out, want) {
			t.Errorf("exit %d, want %d and %q:\n%s", code, exitUsage, want, out)
		}
	}
	f("holds an unfinished run")
	f("another telltale is running", "--resume")
	f("another telltale is running", "--force")
	close(b.release)
	if code := exitOf(t, <-ended); code != 0 {
		t.Fatalf("the first run was disturbed: exit %d\n%s", code, output)
	}
	b.checkWhole(t, "shared")
}
