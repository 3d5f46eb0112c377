package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain turns the test binary into the program under test when TELLTALE_CHILD says so.
func TestMain(m *testing.M) {
	if mode := os.Getenv("TELLTALE_CHILD"); mode != "" {
		child(mode)
		return
	}
	goleak.VerifyTestMain(m)
}

// hang blocks for good; an empty select would be noticed by the runtime as a deadlock.
func hang() { time.Sleep(time.Hour) }

type message struct {
	ID   string `json:"id,omitempty"`
	Text string `json:"text"`
}

// child is the program: one behaviour a mode.
func child(mode string) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 32<<20)
	out := bufio.NewWriter(os.Stdout)
	say := func(v any) {
		b, _ := json.Marshal(v)
		out.Write(append(b, '\n'))
		out.Flush()
	}
	var kept []message
	n := 0
	if mode == "banner" {
		fmt.Println("loading the model…")
	}
	for in.Scan() {
		var m message
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			fmt.Fprintln(os.Stderr, "bad request:", err)
			os.Exit(9)
		}
		n++
		switch mode {
		case "echo", "banner":
			say(m)
		case "noid":
			say(message{Text: m.Text})
		case "pairs": // answers two requests at a time, the later one first
			if kept = append(kept, m); len(kept) == 2 {
				say(kept[1])
				say(kept[0])
				kept = nil
			}
		case "crash":
			fmt.Fprintln(os.Stderr, "first line")
			fmt.Fprintln(os.Stderr, "panic: key sk-verysecretkey is bad")
			os.Exit(3)
		case "crash-on-bang":
			if m.Text == "!" {
				os.Exit(4)
			}
			say(m)
		case "hang":
			hang()
		case "hang-on-bang":
			if m.Text == "!" {
				hang()
			}
			say(m)
		case "garbage":
			fmt.Println("Traceback: something")
		case "array":
			fmt.Println(`["not an object"]`)
		case "null":
			fmt.Println(`null`)
		case "twice":
			say(m)
			say(m)
		case "twice-noid":
			say(message{Text: m.Text})
			say(message{Text: m.Text + " again"})
		case "big":
			say(message{ID: m.ID, Text: strings.Repeat("x", 2<<20)})
		case "blank-lines":
			fmt.Print("\n  \r\n")
			say(m)
		case "one-shot":
			say(m)
			return
		case "quit":
			return
		case "close-stdout":
			_ = os.Stdout.Close()
			hang()
		case "grandchild":
			cmd := exec.Command("sleep", "1000")
			cmd.Stdout = os.Stdout
			if err := cmd.Start(); err != nil {
				os.Exit(5)
			}
			say(message{ID: m.ID, Text: strconv.Itoa(cmd.Process.Pid)})
		case "pid":
			say(message{ID: m.ID, Text: strconv.Itoa(os.Getpid())})
		case "env":
			say(message{ID: m.ID, Text: os.Getenv(m.Text)})
		case "numeric-id":
			fmt.Printf("{\"id\":%s,\"text\":\"ok\"}\n", m.ID)
		}
	}
	if mode == "stubborn" {
		hang()
	}
}

func pool(t *testing.T, mode string, change func(*Options)) *Pool {
	t.Helper()
	opts := Options{
		Command: []string{os.Args[0]},
		// Under the race detector a program would otherwise sleep for a second before it exits.
		Env:     append(os.Environ(), "TELLTALE_CHILD="+mode, "GORACE=atexit_sleep_ms=0"),
		Timeout: 20 * time.Second, Grace: 5 * time.Second,
	}
	if change != nil {
		change(&opts)
	}
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func ask(ctx context.Context, p *Pool, text string) (string, error) {
	a, err := p.Call(ctx, func(id string) ([]byte, error) { return json.Marshal(message{id, text}) })
	if err != nil {
		return "", err
	}
	var m struct{ Text string }
	if err := json.Unmarshal(a.Line, &m); err != nil {
		return "", err
	}
	return m.Text, nil
}

func wantError(t *testing.T, err error, reason Reason, parts ...string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason != reason {
		t.Fatalf("got %v, want reason %s", err, reason)
	}
	for _, part := range parts {
		if !strings.Contains(e.Message, part) {
			t.Errorf("message %q lacks %q", e.Message, part)
		}
	}
}

func TestAnswers(t *testing.T) {
	f := func(mode, in, want string) {
		t.Helper()
		p := pool(t, mode, nil)
		for range 3 {
			got, err := ask(t.Context(), p, in)
			if err != nil {
				t.Errorf("%s: %v", mode, err)
			} else if got != want {
				t.Errorf("%s: got %q, want %q", mode, got, want)
			}
		}
	}
	f("echo", "hé\n\"llo", "hé\n\"llo")
	f("noid", "a", "a")
	f("blank-lines", "a", "a")
	f("numeric-id", "a", "ok")
	f("env", "TELLTALE_CHILD", "env")
}

func TestFaults(t *testing.T) {
	f := func(mode string, change func(*Options), reason Reason, parts ...string) {
		t.Helper()
		_, err := ask(t.Context(), pool(t, mode, change), "a")
		wantError(t, err, reason, parts...)
	}
	redacted := func(o *Options) {
		o.Redact = func(s string) string { return strings.ReplaceAll(s, "sk-verysecretkey", "***") }
	}
	quick := func(o *Options) { o.Timeout = 50 * time.Millisecond }
	f("crash", redacted, Exited, "exit status 3", "first line | panic: key *** is bad")
	f("quit", nil, Exited, "exit status 0")
	f("close-stdout", nil, Exited, "signal: killed")
	f("hang", quick, Timeout, "limit 50ms")
	f("garbage", nil, Malformed, "Traceback: something")
	f("array", nil, Malformed, "not an object")
	f("null", nil, Malformed, "null")
	f("banner", nil, Malformed, "loading the model")
	f("big", func(o *Options) { o.MaxLine = 1 << 20 }, TooLarge, "1048576 bytes")
}

func TestNotFound(t *testing.T) {
	_, err := New(Options{Command: []string{"./no-such-program"}, Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("got %v", err)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a pool without a command was made")
	}
}

func TestOutOfOrder(t *testing.T) {
	p := pool(t, "pairs", func(o *Options) { o.Concurrency = 8 })
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			want := strconv.Itoa(i)
			if got, err := ask(t.Context(), p, want); err != nil || got != want {
				t.Errorf("asked %s, got %q, %v", want, got, err)
			}
		})
	}
	wg.Wait()
}

func TestBigLines(t *testing.T) {
	p := pool(t, "echo", nil)
	want := strings.Repeat("y", 3<<20)
	if got, err := ask(t.Context(), p, want); err != nil || got != want {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestBigRequestToProgramThatDoesNotRead(t *testing.T) {
	p := pool(t, "hang", func(o *Options) { o.Timeout = 100 * time.Millisecond; o.Concurrency = 4 })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := ask(t.Context(), p, strings.Repeat("z", 1<<20)); err == nil {
				t.Error("a program that hangs answered")
			}
		})
	}
	wg.Wait()
}

// A second answer to one request must never be taken for the answer to the next one.
func TestUnaskedAnswer(t *testing.T) {
	for _, mode := range []string{"twice", "twice-noid"} {
		p := pool(t, mode, nil)
		malformed := 0
		for i := range 20 {
			want := strconv.Itoa(i)
			got, err := ask(t.Context(), p, want)
			if err == nil && got != want && mode == "twice" {
				t.Errorf("%s: asked %s, got %q", mode, want, got)
			}
			if e, ok := errors.AsType[*Error](err); ok && e.Reason == Malformed {
				malformed++
			}
			h := p.hosts[0]
			h.mu.Lock()
			proc := h.proc
			h.mu.Unlock()
			if proc != nil {
				<-proc.ended // the unasked answer has been seen by then
			}
		}
		if malformed == 0 {
			t.Errorf("%s: nobody was told about the unasked answers", mode)
		}
	}
}

func TestRestart(t *testing.T) {
	p := pool(t, "crash-on-bang", nil)
	for range 8 { // more often than MaxBarren: it answers in between
		if got, err := ask(t.Context(), p, "a"); err != nil || got != "a" {
			t.Fatalf("got %q, %v", got, err)
		}
		_, err := ask(t.Context(), p, "!")
		wantError(t, err, Exited, "exit status 4")
	}
}

func TestRestartAfterTimeout(t *testing.T) {
	p := pool(t, "hang-on-bang", func(o *Options) { o.Timeout = 2 * time.Second })
	first, err := ask(t.Context(), p, "a")
	if err != nil || first != "a" {
		t.Fatalf("got %q, %v", first, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = ask(ctx, p, "!")
	wantError(t, err, Timeout)
	if got, err := ask(t.Context(), p, "b"); err != nil || got != "b" {
		t.Errorf("after the restart: %q, %v", got, err)
	}
}

func TestGivesUp(t *testing.T) {
	p := pool(t, "crash", func(o *Options) { o.MaxBarren = 3 })
	for range 3 {
		_, err := ask(t.Context(), p, "a")
		wantError(t, err, Exited)
	}
	for range 2 {
		_, err := ask(t.Context(), p, "a")
		wantError(t, err, GaveUp, "3 times", "exit status 3")
	}
}

func TestOneShotProgramIsStartedAgain(t *testing.T) {
	p := pool(t, "one-shot", nil)
	answers := 0
	for range 20 {
		if _, err := ask(t.Context(), p, "a"); err == nil {
			answers++
		} else {
			wantError(t, err, Exited)
		}
	}
	if answers < 5 {
		t.Errorf("%d answers of 20", answers)
	}
}

func TestCancel(t *testing.T) {
	p := pool(t, "hang", nil)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	go func() { _, err := ask(ctx, p, "a"); errs <- err }()
	waiting := make(chan error)
	go func() { _, err := ask(ctx, p, "b"); waiting <- err }()
	cancel()
	wantError(t, <-errs, Canceled)
	wantError(t, <-waiting, Canceled)
}

func TestCloseFailsWhatIsUnderWay(t *testing.T) {
	p := pool(t, "hang", nil)
	started := make(chan struct{})
	errs := make(chan error)
	go func() {
		_, err := p.Call(t.Context(), func(id string) ([]byte, error) {
			close(started)
			return json.Marshal(message{id, "a"})
		})
		errs <- err
	}()
	<-started
	_ = p.Close()
	wantError(t, <-errs, Closed)
	_, err := ask(t.Context(), p, "a")
	wantError(t, err, Closed)
}

func TestCloseKillsAStubbornProgram(t *testing.T) {
	p := pool(t, "stubborn", func(o *Options) { o.Grace = 50 * time.Millisecond })
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	pid := p.hosts[0].proc.cmd.Process.Pid
	_ = p.Close()
	if alive(pid) {
		t.Errorf("process %d is still there", pid)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	p := pool(t, "grandchild", nil)
	text, err := ask(t.Context(), p, "")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatal("the grandchild never ran")
	}
	_ = p.Close()
	// The kill is sent before Close returns; the kernel may take a moment to carry it out.
	for deadline := time.Now().Add(5 * time.Second); alive(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("grandchild %d outlived the pool", pid)
		}
	}
}

// alive says whether a process runs: a zombie, waiting to be reaped by someone else, does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func TestWorkersShareTheLoad(t *testing.T) {
	p := pool(t, "pid", func(o *Options) { o.Workers = 3 })
	if p.Slots() != 3 {
		t.Errorf("%d slots, want 3", p.Slots())
	}
	pids := map[string]bool{}
	for range 6 {
		pid, err := ask(t.Context(), p, "")
		if err != nil {
			t.Fatal(err)
		}
		pids[pid] = true
	}
	if len(pids) != 3 {
		t.Errorf("%d processes answered, want 3", len(pids))
	}
}

func BenchmarkCall(b *testing.B) {
	p, err := New(Options{Command: []string{os.Args[0]}, Env: append(os.Environ(), "TELLTALE_CHILD=echo")})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	for b.Loop() {
		if _, err := ask(b.Context(), p, "hello"); err != nil {
			b.Fatal(err)
		}
	}
}
