package exec

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider/providertest"
	"github.com/telltale-llm/telltale/internal/record"
)

// TestMain turns the test binary into the program under test when TELLTALE_BOT says so.
func TestMain(m *testing.M) {
	if mode := os.Getenv("TELLTALE_BOT"); mode != "" {
		bot(mode)
		return
	}
	goleak.VerifyTestMain(m)
}

const secret = "s3cret-token-value"

// bot is the program. Unless its mode is one of those here it writes the mode itself, with $ID replaced.
func bot(mode string) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var req struct {
			ID, Prompt, Case string
			Messages         []map[string]any
			Vars             map[string]any
			Seed, Repeat     int64
		}
		if err := json.Unmarshal(in.Bytes(), &req); err != nil || req.Messages == nil || req.Vars == nil {
			fmt.Fprintln(os.Stderr, "bad request:", in.Text())
			os.Exit(2)
		}
		switch mode {
		case "echo":
			fmt.Printf(`{"id":%q,"output":%q}`+"\n", req.ID, req.Prompt)
		case "whole":
			out, _ := json.Marshal([]any{req.Prompt, req.Messages, req.Vars, req.Seed, req.Repeat, req.Case})
			fmt.Printf(`{"id":%q,"output":%s,"finish_reason":"stop","model":"m","fingerprint":"f","usage":{"prompt":3,"completion":4},"cost":0.5,"latency":1.5,"logprobs":[{"token":"a","logprob":-1}]}`+"\n", req.ID, out)
		case "hang":
			time.Sleep(time.Hour)
		case "exit":
			fmt.Fprintln(os.Stderr, "cannot log in with "+os.Getenv("BOT_TOKEN"))
			os.Exit(3)
		case "report":
			fmt.Printf(`{"id":%q,"error":"no access with %s"}`+"\n", req.ID, os.Getenv("BOT_TOKEN"))
		case "environment":
			fmt.Printf(`{"id":%q,"output":%q}`+"\n", req.ID, os.Getenv("OPENAI_API_KEY")+"|"+os.Getenv("BOT_TOKEN")+"|"+os.Getenv("PLAIN"))
		default:
			fmt.Println(strings.ReplaceAll(mode, "$ID", req.ID))
		}
	}
}

// program returns a provider of the test binary in a mode.
func program(t *testing.T, mode string, change func(*Options)) *Provider {
	t.Helper()
	opts := Options{ID: "exec:bot", Command: []string{os.Args[0]}, Environ: os.Environ(), Timeout: 30 * time.Second}
	opts.Env.Set = map[string]string{"TELLTALE_BOT": mode, "BOT_TOKEN": secret, "GORACE": "atexit_sleep_ms=0"}
	if change != nil {
		change(&opts)
	}
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func asking(text string) record.Request {
	return record.Request{Prompt: text, Messages: []record.Message{{Role: "user", Content: text}}}
}

func TestConformance(t *testing.T) {
	in := func(mode string) func(t *testing.T) providertest.Provider {
		return func(t *testing.T) providertest.Provider { return program(t, mode, nil) }
	}
	ask := asking("q")
	providertest.Run(t, providertest.Subject{
		New:     in("echo"),
		Request: func(n int) record.Request { return asking(fmt.Sprintf("question <%d> é", n)) },
		Want:    func(n int) string { return fmt.Sprintf("question <%d> é", n) },
		Hang:    in("hang"),
		Impatient: func(t *testing.T) providertest.Provider {
			return program(t, "hang", func(o *Options) { o.Timeout = 50 * time.Millisecond })
		},
		Secrets: []string{secret},
		Failures: []providertest.Failing{
			{Name: "exit", New: in("exit"), Request: ask, Kind: record.Exited, Retry: true},
			{Name: "reported", New: in("report"), Request: ask, Kind: record.Server},
			{Name: "reported, retry", New: in(`{"id":"$ID","error":"busy","retry":true}`), Request: ask, Kind: record.Server, Retry: true},
			{Name: "not JSON", New: in("Loading " + secret), Request: ask, Kind: record.Malformed},
			{Name: "no output", New: in(`{"id":"$ID"}`), Request: ask, Kind: record.Malformed},
			{Name: "null output", New: in(`{"id":"$ID","output":null}`), Request: ask, Kind: record.Malformed},
			{Name: "wrong id", New: in(`{"id":"nobody","output":"x"}`), Request: ask, Kind: record.Malformed},
			{Name: "bad usage", New: in(`{"output":"x","usage":{"prompt":-1}}`), Request: ask, Kind: record.Malformed},
			{Name: "bad cost", New: in(`{"output":"x","cost":-1}`), Request: ask, Kind: record.Malformed},
			{Name: "bad latency", New: in(`{"output":"x","latency":-1}`), Request: ask, Kind: record.Malformed},
			{Name: "bad logprobs", New: in(`{"output":"x","logprobs":[{"token":"a"}]}`), Request: ask, Kind: record.Malformed},
			{Name: "too large", New: func(t *testing.T) providertest.Provider {
				return program(t, `{"output":"`+strings.Repeat("x", 5000)+`"}`, func(o *Options) { o.MaxBytes = 4096 })
			}, Request: ask, Kind: record.TooLarge},
		},
	})
}

func TestWholeProtocol(t *testing.T) {
	p := program(t, "whole", nil)
	defer p.Close()
	req := asking("hi")
	req.Vars, req.Seed, req.Repeat, req.Case = map[string]any{"a": "b"}, 7, 2, "c1"
	got, err := p.Complete(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	cost := 0.5
	want := record.Response{
		Output:       `["hi",[{"content":"hi","role":"user"}],{"a":"b"},7,2,"c1"]`,
		FinishReason: "stop", Model: "m", Fingerprint: "f", Usage: record.Usage{Prompt: 3, Completion: 4, Total: 7},
		Cost: &cost, Latency: 1500 * time.Millisecond, Logprobs: []record.TokenLogprob{{Token: "a", Logprob: -1}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEnvironment(t *testing.T) {
	f := func(change func(*Options), want string) {
		t.Helper()
		p := program(t, "environment", func(o *Options) {
			o.Environ = append(o.Environ, "OPENAI_API_KEY=sk-of-telltale", "PLAIN=x")
			change(o)
		})
		defer p.Close()
		got, err := p.Complete(t.Context(), asking("q"))
		if err != nil || got.Output != want {
			t.Errorf("got %q, %v; want %q", got.Output, err, want)
		}
	}
	f(func(o *Options) {}, "|"+secret+"|x")
	f(func(o *Options) { o.Env.Pass = []string{"OPENAI_API_KEY"} }, "sk-of-telltale|"+secret+"|x")
}

func TestMissingProgramIsNotRetried(t *testing.T) {
	p := program(t, "exit", nil)
	defer p.Close()
	var last *record.Failure
	for range 6 {
		_, err := p.Complete(t.Context(), asking("q"))
		last, _ = errors.AsType[*record.Failure](err)
	}
	if last == nil || last.Kind != record.Exited || last.Retryable() || !strings.Contains(last.Message, "gave up") {
		t.Errorf("got %v", last)
	}
}

func TestFromConfig(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bot.sh"), []byte("#!/bin/sh\nwhile read -r line; do echo '{\"output\":\"'$PWD'\"}'; done\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	suite := config.Pos{File: filepath.Join(dir, "telltale.yaml"), Line: 3}
	from := func(id string, m map[string]any) (*Provider, error) {
		return FromConfig(config.Provider{ID: id, Pos: suite, Config: config.Object{Pos: suite, Map: m}}, os.Environ())
	}
	good := func(id string, m map[string]any, want string) {
		t.Helper()
		p, err := from(id, m)
		if err != nil {
			t.Errorf("%s %v: %v", id, m, err)
			return
		}
		defer p.Close()
		got, err := p.Complete(t.Context(), asking("q"))
		if resolved, rerr := filepath.EvalSymlinks(want); rerr == nil {
			want = resolved
		}
		if err != nil || got.Output != want {
			t.Errorf("%s %v: got %q, %v; want %q", id, m, got.Output, err, want)
		}
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell:", err)
	}
	good("exec:./bot.sh", nil, dir)
	good("exec: ./bot.sh 'an argument'", map[string]any{"timeout": "10s", "workers": int64(2)}, dir)
	good("exec", map[string]any{"command": []any{"./bot.sh", "x"}}, dir)
	good("exec", map[string]any{"command": "../bot.sh", "cwd": "sub"}, filepath.Join(dir, "sub"))

	bad := func(id string, m map[string]any, part string) {
		t.Helper()
		_, err := from(id, m)
		var e *config.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s %v: got %v, want a config error with %q", id, m, err, part)
		}
	}
	bad("exec", nil, "neither a line")
	bad("exec:", nil, "neither a line")
	bad("exec:./bot.sh", map[string]any{"command": "x"}, "one of them")
	bad("exec:./nothere", nil, "nothere")
	bad("exec:./bot.sh | tee", nil, "shell")
	bad("exec:./bot.sh", map[string]any{"worker": int64(1)}, "worker")
	bad("exec:./bot.sh", map[string]any{"workers": int64(0)}, "workers")
	bad("exec:./bot.sh", map[string]any{"env": map[string]any{"A": []any{secret}}}, "value of A")
}

func TestDescribeHidesSecrets(t *testing.T) {
	p := program(t, "echo", func(o *Options) {
		o.Command = append(o.Command, "--key="+secret, "--other=sk-abcdefghijk", "plain")
	})
	defer p.Close()
	b, err := json.Marshal(p.Describe())
	if err != nil || strings.Contains(string(b), secret) || strings.Contains(string(b), "sk-abc") || !strings.Contains(string(b), "plain") {
		t.Errorf("%s, %v", b, err)
	}
	if p.Describe().Cacheable {
		t.Error("a program's answers must not be cached: the snapshot does not cover the program")
	}
}
