package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func runSuite(t *testing.T, suite string, vars map[string]string) *record.Run {
	t.Helper()
	f, err := Run(t.Context(), RunOptions{
		LoadOptions: LoadOptions{Vars: vars, Env: func(string) (string, bool) { return "", false }},
		Suite:       suite, Out: filepath.Join(t.TempDir(), "out"), NoCache: true, Retries: -1,
		Notice: func(string) {}, Planned: func(int, int, string) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f.Run
}

// The published judgements of GPT-3.5 on PandaLM's test set agree with the majority of its annotators on
// 710 of 999 pairs, when the 38 ties and the 25 answers that are no verdict count as ties.
func TestPandaLM(t *testing.T) {
	data := os.Getenv("TELLTALE_TESTDATA")
	if data == "" {
		t.Skip("TELLTALE_TESTDATA is not set: it names the folder that holds pandalm")
	}
	f := func(judge, field string, agree, ties, invalid float64) {
		t.Helper()
		run := runSuite(t, "../../examples/pandalm/telltale.yaml", map[string]string{
			"pairs": filepath.Join(data, "pandalm", "testset-v1.json"), "judge": filepath.Join(data, "pandalm", judge), "verdict": field,
		})
		for name, want := range map[string]float64{"pairwise.agree": agree, "pairwise.tie": ties, "pairwise.invalid": invalid, "pass_rate": agree} {
			m := run.Metrics[name]
			if m.N != 999 || m.Missing != 0 || m.Count == nil || *m.Count != want {
				t.Errorf("%s: %s = %+v, want %v of 999", judge, name, m, want)
			}
		}
		if run.Summary.JudgeCalls != 999 || run.Summary.JudgeInvalid != int(invalid) {
			t.Errorf("%s: %+v", judge, run.Summary)
		}
	}
	f("gpt-3.5-turbo-testset-v1.json", "gpt_result", 710, 63, 25)
	f("pandalm-7b-testset-v1.json", "pandalm_result", 667, 107, 0)
}

// judgeServer answers with the replies in turn and remembers the bodies of the requests.
type judgeServer struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []map[string]any
}

func newJudgeServer(t *testing.T, replies ...string) *judgeServer {
	s := &judgeServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			fmt.Fprint(w, `{"data":[]}`)
			return
		}
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body) // a bad one fails the test by its absence
		s.mu.Lock()
		reply := replies[len(s.bodies)%len(replies)]
		s.bodies = append(s.bodies, body)
		s.mu.Unlock()
		content, _ := json.Marshal(reply) // a string always can be
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"model":"j","choices":[{"message":{"content":%s},"finish_reason":"stop"}],"usage":{"prompt_tokens":90,"completion_tokens":10}}`, content)
	}))
	t.Cleanup(s.Close)
	return s
}

func writeSuite(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "telltale.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A judge over the wire: named once for all tests, at temperature 0, told to give JSON, asked again after
// an answer that is no verdict, and accounted for beside the answers.
func TestJudgeEndToEnd(t *testing.T) {
	server := newJudgeServer(t, "I like it", `{"reason":"short","score":0.9,"pass":true}`)
	suite := writeSuite(t, `
prompts: ["{{q}}"]
providers: [echo]
defaultTest:
  options:
    provider: {id: "openai:chat:j", config: {base_url: `+server.URL+`/v1, inputCost: 0.001, outputCost: 0.002}}
  assert: [{type: llm-rubric, value: "is about {{q}}", threshold: 0.5}]
tests: [{vars: {q: one}}, {vars: {q: two}}]
`)
	run := runSuite(t, suite, nil)
	s := run.Summary
	if s.Passed != 2 || s.JudgeCalls != 4 || s.JudgeInvalid != 2 || s.JudgeTokens.Total != 400 || s.JudgeCost < 0.43 || s.JudgeCost > 0.45 || s.Cost != 0 {
		t.Errorf("summary %+v", s)
	}
	if m := run.Metrics["llm-rubric.invalid"]; m.Mean == nil || *m.Mean != 0.5 || !strings.Contains(m.Signature, "judge=openai:chat:j@") {
		t.Errorf("invalid %+v", m)
	}
	seeds := map[any]bool{}
	for _, b := range server.bodies {
		seeds[b["seed"]] = true
		if b["temperature"] != 0.0 || fmt.Sprint(b["response_format"]) != "map[type:json_object]" || b["model"] != "j" {
			t.Errorf("asked %v", b)
		}
	}
	if len(seeds) != 4 {
		t.Errorf("seeds %v, want one for each call", seeds)
	}
}

// One mistake in a judge is reported once, whatever the number of cases; a case that lacks what a judge
// needs is found before anything is asked.
func TestJudgeMistakesAreFoundFirst(t *testing.T) {
	f := func(suite string, want ...string) {
		t.Helper()
		_, err := Run(t.Context(), RunOptions{Suite: writeSuite(t, suite), Out: filepath.Join(t.TempDir(), "out"), NoCache: true, Notice: func(string) {}})
		var list config.Errors
		list.Append(config.Pos{}, err)
		if len(list) != len(want) {
			t.Fatalf("%v, want %q", err, want)
		}
		for i, w := range want {
			if !strings.Contains(list[i].Error(), w) {
				t.Errorf("%v, want %q", list[i], w)
			}
		}
	}
	const head = "prompts: ['{{q}}']\nproviders: [echo]\ntests: [{vars: {q: one}}, {vars: {q: two}}]\n"
	f(head+"defaultTest: {assert: [{type: closed-qa, value: 'v {{q}}'}]}", "no model is named that judges")
	f(head+"defaultTest: {options: {provider: 'nosuch:model'}, assert: [{type: closed-qa, value: 'v {{q}}'}]}", "nosuch:model")
	f(head+"defaultTest: {options: {provider: echo}, vars: {query: q}, assert: [{type: context-relevance}]}",
		`vars.context: variable "context" is not given`, `vars.context: variable "context" is not given`)
}

func TestTemperatureOfJudges(t *testing.T) {
	f := func(id string, in map[string]any, want any) {
		t.Helper()
		got, given := atTemperature0(config.Provider{ID: id, Config: config.Object{Map: in}}).Config.Map["temperature"]
		if !given {
			got = "none"
		}
		if got != want {
			t.Errorf("%s %v: %v, want %v", id, in, got, want)
		}
	}
	f("openai:chat:gpt-4.1", nil, int64(0))
	f("openai:chat:gpt-4.1", map[string]any{"temperature": 0.7}, 0.7)
	f("openai:chat:gpt-4.1", map[string]any{"temperature": nil}, nil)
	f("openai:chat:o3-mini", nil, "none")
	f("openai:responses:gpt-5", nil, "none")
	f("anthropic:messages:claude-sonnet-4-5", nil, int64(0))
	f("anthropic:messages:claude-sonnet-4-5", map[string]any{"thinking": map[string]any{}}, "none")
	f("google:gemini-2.5-pro", map[string]any{"top_p": 1.0}, int64(0))
	f("recorded", map[string]any{"path": "x"}, "none")
	f("exec:./judge", nil, "none")
}
