package scorer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// TestExecChild is the judging program: the test binary, run again with TELLTALE_JUDGE set. It
// exits by itself, so that the test framework writes nothing to the standard output.
func TestExecChild(t *testing.T) {
	mode := os.Getenv("TELLTALE_JUDGE")
	if mode == "" {
		t.Skip("only runs as a program")
	}
	judgeForTest(mode)
	os.Exit(0)
}

// judgeForTest is the program: it accepts answers that contain the word in vars.want.
func judgeForTest(mode string) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var req struct {
			ID, Output, Prompt string
			Vars, Metadata     map[string]any
		}
		if err := json.Unmarshal(in.Bytes(), &req); err != nil || req.Vars == nil || req.Metadata == nil {
			fmt.Fprintln(os.Stderr, "bad request:", in.Text())
			os.Exit(2)
		}
		want, _ := req.Vars["want"].(string)
		good := strings.Contains(req.Output, want)
		switch mode {
		case "pass":
			fmt.Printf(`{"id":%q,"pass":%v,"reason":"looked for %s"}`+"\n", req.ID, good, want)
		case "both":
			fmt.Printf(`{"id":%q,"pass":%v,"score":0.5,"detail":{"n":1}}`+"\n", req.ID, good)
		case "score":
			score := 0.25
			if good {
				score = 0.75
			}
			fmt.Printf(`{"id":%q,"score":%g}`+"\n", req.ID, score)
		case "leak":
			fmt.Fprintln(os.Stderr, "the token is "+os.Getenv("JUDGE_TOKEN"))
			os.Exit(1)
		default:
			fmt.Println(mode)
		}
	}
}

func judgeOf(t *testing.T, mode string, threshold *float64, settings map[string]any) Scorer {
	t.Helper()
	env := map[string]any{"TELLTALE_JUDGE": mode, "GORACE": "atexit_sleep_ms=0"}
	if more, ok := settings["env"].(map[string]any); ok {
		for k, v := range more {
			env[k] = v
		}
	}
	s, err := buildExec(Spec{Value: []any{os.Args[0], "-test.run=^TestExecChild$"}, Threshold: threshold, Config: config.Object{Map: map[string]any{"env": env}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.(*execScorer).Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func execInput(output string) *Input {
	return &Input{Vars: map[string]any{"want": "blue"}, Response: &record.Response{Output: output}}
}

func TestExec(t *testing.T) {
	half, most := 0.5, 0.9
	f := func(mode string, threshold *float64, output string, value float64, pass bool, reason string) {
		t.Helper()
		got, err := judgeOf(t, mode, threshold, nil).Score(t.Context(), execInput(output))
		if err != nil {
			t.Errorf("%s: %v", mode, err)
			return
		}
		if got.Value != value || got.Pass == nil || *got.Pass != pass || !strings.Contains(got.Reason, reason) {
			t.Errorf("%s of %q: %+v (pass %v), want %g, %v, %q", mode, output, got, got.Pass, value, pass, reason)
		}
	}
	f("pass", nil, "blue sky", 1, true, "looked for blue")
	f("pass", nil, "red sky", 0, false, "looked for blue")
	f("pass", &half, "blue sky", 1, true, "")
	f("both", nil, "blue sky", 0.5, true, "accepts")
	f("both", &most, "blue sky", 0.5, false, "threshold 0.9")
	f("both", &half, "red sky", 0.5, false, "rejects")
	f("score", &half, "blue sky", 0.75, true, "score of 0.75")
	f("score", &half, "red sky", 0.25, false, "threshold 0.5")
}

func TestExecCannotJudge(t *testing.T) {
	half := 0.5
	f := func(mode string, threshold *float64, part string) {
		t.Helper()
		got, err := judgeOf(t, mode, threshold, nil).Score(t.Context(), execInput("blue"))
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: got %+v, %v; want an error with %q", mode, got, err, part)
		}
	}
	f("score", nil, "no threshold")
	f(`{}`, nil, "neither pass nor score")
	f(`{"reason":"well"}`, &half, "neither pass nor score")
	f(`{"pass":null,"score":null}`, &half, "neither pass nor score")
	f(`{"score":1.5,"pass":true}`, nil, "between 0 and 1")
	f(`{"score":"high"}`, &half, "cannot be read")
	f(`{"pass":"yes"}`, nil, "cannot be read")
	f(`{"error":"no model","pass":true}`, nil, "no model")
	f(`[true]`, nil, "not a JSON object")
	f("I think it is good", nil, "I think it is good")
}

func TestExecKeepsSecrets(t *testing.T) {
	s := judgeOf(t, "leak", nil, map[string]any{"env": map[string]any{"JUDGE_TOKEN": "very-secret-token"}})
	_, err := s.Score(t.Context(), execInput("x"))
	if err == nil || strings.Contains(err.Error(), "very-secret-token") || !strings.Contains(err.Error(), "the token is") {
		t.Errorf("got %v", err)
	}
}

func TestExecConcurrently(t *testing.T) {
	s := judgeOf(t, "pass", nil, nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			got, err := s.Score(t.Context(), execInput(strings.Repeat("blue", i%2)))
			if err != nil || *got.Pass != (i%2 == 1) {
				t.Errorf("%d: %+v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestExecMistakes(t *testing.T) {
	f := func(value any, settings map[string]any, part string) {
		t.Helper()
		_, err := buildExec(Spec{Value: value, Config: config.Object{Map: settings}})
		var e *config.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v, %v: got %v, want a config error with %q", value, settings, err, part)
		}
	}
	f("", nil, "empty")
	f("a | b", nil, "shell")
	f(3, nil, "neither a line")
	f("./no-such-program", nil, "no-such-program")
	f("true", map[string]any{"timeot": "1s"}, "timeot")
	f("true", map[string]any{"timeout": "soon"}, "timeout")
	f("true", map[string]any{"workers": int64(0)}, "workers")
	f("true", map[string]any{"env": map[string]any{"A": []any{"s3cret"}}}, "value of A")
}
