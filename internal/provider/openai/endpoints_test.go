package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider/providertest"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/sim"
)

// The other endpoints that answer prompts, each whole and as a stream.
func TestEndpointConformance(t *testing.T) {
	for _, endpoint := range []string{"responses", "completion"} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s stream %v", endpoint, stream), func(t *testing.T) { endpointConformance(t, endpoint, stream) })
		}
	}
}

func endpointConformance(t *testing.T, endpoint string, stream bool) {
	with := func(h http.HandlerFunc, more map[string]any) func(t *testing.T) providertest.Provider {
		return func(t *testing.T) providertest.Provider {
			all := map[string]any{"stream": stream, "headers": map[string]any{"X-Secret": headerSecret}}
			for k, v := range more {
				all[k] = v
			}
			base, _ := all["apiBaseUrl"].(string)
			if h != nil {
				base = serve(t, h)
			}
			return provide(t, "openai:"+endpoint+":m", all, base)
		}
	}
	half := map[string]string{"responses": `{"output":[{"type":"message","content":[{"text":"He`, "completion": `{"choices":[{"text":"He`}[endpoint]
	event := map[string]string{
		"responses":  `{"type":"response.output_text.delta","delta":"He"}`,
		"completion": `{"choices":[{"index":0,"text":"He","finish_reason":null}]}`,
	}[endpoint]
	empty := map[string]string{"responses": `{"status":"completed","output":[]}`, "completion": `{"choices":[]}`}[endpoint]
	negative := map[string]string{
		"responses":  `{"status":"completed","output":[{"type":"message"}],"usage":{"input_tokens":-1}}`,
		"completion": `{"choices":[{"text":"a"}],"usage":{"prompt_tokens":-1}}`,
	}[endpoint]
	fails := func(name string, h http.HandlerFunc, kind record.FailureKind, retry bool) providertest.Failing {
		return providertest.Failing{Name: name, New: with(h, map[string]any{"max_bytes": int64(5000)}), Request: asking("q"), Kind: kind, Retry: retry}
	}
	leak := testKey + " and " + headerSecret
	shared := serve(t, echoes(endpoint))
	providertest.Run(t, providertest.Subject{
		New:         with(nil, map[string]any{"apiBaseUrl": shared}),
		Request:     func(n int) record.Request { return asking(fmt.Sprintf("question %d \"é\"", n)) },
		Want:        func(n int) string { return fmt.Sprintf("question %d \"é\"", n) },
		Hang:        with(hangs, nil),
		Impatient:   with(hangs, map[string]any{"timeout": "50ms"}),
		Unreachable: with(nil, map[string]any{"apiBaseUrl": closedPort(t)}),
		Secrets:     []string{testKey, headerSecret},
		Failures: []providertest.Failing{
			fails("503", replies(503, "application/json", `{"error":{"message":"overloaded `+leak+`"}}`), record.Server, true),
			fails("should not retry", providertest.With(replies(503, "text/plain", "no"), "x-should-retry", "false"), record.Server, false),
			fails("429", replies(429, "text/plain", leak), record.RateLimited, true),
			fails("401", replies(401, "application/json", `{"error":{"message":"bad key `+leak+`"}}`), record.Auth, false),
			fails("404", replies(404, "text/plain", leak), record.NotFound, false),
			fails("error in 200", replies(200, "application/json", `{"error":{"message":"`+leak+`","code":503}}`), record.Server, true),
			fails("not JSON", replies(200, "application/json", "Hello "+leak), record.Malformed, false),
			fails("truncated JSON", replies(200, "application/json", half+leak), record.Malformed, false),
			fails("empty", replies(200, "application/json", empty), record.Empty, false),
			fails("negative usage", replies(200, "application/json", negative), record.Malformed, false),
			fails("huge", replies(200, "application/json", strings.Repeat(" ", 6000)), record.TooLarge, false),
			fails("connection cut", cuts("application/json", half), record.Cut, true),
			fails("stream cut", replies(200, "text/event-stream", "data: "+event+"\n\n"), record.Cut, true),
			fails("stream connection cut", cuts("text/event-stream", "data: "+event+"\n\n"), record.Cut, true),
			fails("stream of nothing", replies(200, "text/event-stream", "data: [DONE]\n\n"), record.Empty, false),
			fails("stream not JSON", replies(200, "text/event-stream", "data: Hello "+leak+"\n\n"), record.Malformed, false),
			fails("stream error event", replies(200, "text/event-stream", "event: error\ndata: {\"message\":\"died "+leak+"\"}\n\n"), record.Server, true),
			fails("stream error text", replies(200, "text/event-stream", "event: error\ndata: died "+leak+"\n\n"), record.Server, true),
		},
	})
}

// echoes answers with the prompt, in one piece or word by word.
func echoes(endpoint string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Prompt string
			Input  []struct{ Content string }
			Stream bool
		}
		if json.NewDecoder(r.Body).Decode(&q) != nil {
			http.Error(w, "not found", http.StatusNotFound) // the question for the list of models
			return
		}
		text := q.Prompt
		if len(q.Input) > 0 {
			text = q.Input[0].Content
		}
		quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
		whole := `{"choices":[{"index":0,"text":` + quoted(text) + `,"finish_reason":"stop"}]}`
		if endpoint == "responses" {
			whole = `{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":` + quoted(text) + `}]}]}`
		}
		if !q.Stream {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, whole)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, word := range strings.SplitAfter(text, " ") {
			if endpoint == "responses" {
				fmt.Fprintf(w, "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":%s}\n\n", quoted(word))
			} else {
				fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"text\":%s,\"finish_reason\":null}]}\n\n", quoted(word))
			}
			w.(http.Flusher).Flush()
		}
		if endpoint == "responses" {
			fmt.Fprintf(w, "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":%s}\n\n", whole)
			return
		}
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}
}

// Likelihoods from the simulator, whose offsets count bytes: those of the parts add up to those of the
// whole, whatever goes into one request.
func TestLikelihoodsOfTheSimulator(t *testing.T) {
	model, err := sim.New(sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(sim.NewServer(model, sim.ServerOptions{}))
	t.Cleanup(s.Close)
	req := record.Request{Prompt: "Das Café ist", ScorePrompt: true, Continuations: []string{" geöffnet heute", " zu", " geöffnet"}}
	var first record.Response
	for _, batch := range []int64{1, 2, 16} {
		p := provide(t, "openai:completion:sim", map[string]any{"batch_size": batch}, s.URL+"/v1")
		got, err := p.Complete(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		got.Latency, got.Usage = 0, record.Usage{}
		if first.Likelihoods == nil {
			first = got
		} else if !reflect.DeepEqual(got, first) {
			t.Errorf("batches of %d give %+v, want %+v", batch, got, first)
		}
	}
	if len(first.Likelihoods) != 3 || len(first.PromptLogprobs) == 0 {
		t.Fatalf("got %+v", first)
	}
	long, short := first.Likelihoods[0], first.Likelihoods[2]
	next := record.Request{Prompt: req.Prompt + " geöffnet", Continuations: []string{" heute"}}
	rest, err := provide(t, "openai:completion:sim", nil, s.URL+"/v1").Complete(t.Context(), next)
	if err != nil {
		t.Fatal(err)
	}
	if want := short.Logprob + rest.Likelihoods[0].Logprob; math.Abs(long.Logprob-want) > 1e-9 || long.Tokens != short.Tokens+rest.Likelihoods[0].Tokens {
		t.Errorf("%+v and %+v do not make up %+v", short, rest.Likelihoods[0], long)
	}
}

func TestEmptyContinuation(t *testing.T) {
	p := provide(t, "vllm:completion:m", nil, "http://localhost:1/v1")
	_, err := p.Complete(t.Context(), record.Request{Prompt: "a", Continuations: []string{"b", ""}})
	if f, ok := errors.AsType[*record.Failure](err); !ok || f.Kind != record.BadRequest || !strings.Contains(err.Error(), "continuation 2") {
		t.Errorf("got %v", err)
	}
}

func TestByTokens(t *testing.T) {
	f := func(text string, tokens []string, want []int) {
		t.Helper()
		if got := byTokens(text, tokens); !reflect.DeepEqual(got, want) {
			t.Errorf("%q of %q: %v, want %v", text, tokens, got, want)
		}
	}
	f("ab cd", []string{"ab", " cd"}, []int{2, 5})
	f("ab cd", []string{"ab", " cd", "!"}, []int{2, 5})      // one token made up behind it
	f("ab cd", []string{"<s>", "ab", " cd"}, []int{0, 2, 5}) // a mark in front
	f("ab cd", []string{"ab", " cdx"}, []int{2, 5})          // the last token goes on
	f("ab cd", []string{"ab", " c"}, nil)                    // incomplete
	f("ab", []string{"x", "y"}, nil)                         // another text
	f("é", []string{"bytes:\\xc3", "bytes:\\xa9"}, nil)      // no text of their own
	f("<s>a", []string{"<s>", "a"}, []int{3, 4})             // it may be the text itself
	f("", nil, nil)
}

func TestByOffsets(t *testing.T) {
	f := func(text string, offsets []int, want []int) {
		t.Helper()
		if got := byOffsets(text, offsets); !reflect.DeepEqual(got, want) {
			t.Errorf("%q at %v: %v, want %v", text, offsets, got, want)
		}
	}
	f("aé b", []int{0, 1, 2}, []int{1, 3, 5})
	f("aé b", []int{0, 1, 1, 2, 4}, []int{1, 1, 3, 5})
	f("ab", []int{0, 5}, []int{2})
	f("ab", []int{1, 0}, nil)
	f("ab", nil, nil)
}

// embed asks for the vectors of n texts from a server that gives one answer.
func embed(t *testing.T, body string, n int) ([][]float32, error) {
	t.Helper()
	server := serve(t, replies(200, "application/json", body))
	e, err := EmbedderFromConfig(config.Provider{ID: "openai:embeddings:m", Config: config.Object{Map: map[string]any{"base_url": server, "dimensions": int64(2)}}}, Env{Lookup: testEnv})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	got, _, err := e.Embed(t.Context(), make([]string, n), 0)
	return got, err
}

func TestEmbeddings(t *testing.T) {
	f := func(body string, n int, want any) {
		t.Helper()
		got, err := embed(t, body, n)
		if kind, ok := want.(record.FailureKind); ok {
			if fail, ok := errors.AsType[*record.Failure](err); !ok || fail.Kind != kind {
				t.Errorf("%s: got %v, %v; want %s", body, got, err, kind)
			}
			return
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v; want %v", body, got, err, want)
		}
	}
	f(`{"data":[{"index":1,"embedding":[0.5,1]},{"index":0,"embedding":[2,3]}],"usage":{"prompt_tokens":2}}`, 2, [][]float32{{2, 3}, {0.5, 1}})
	f(`{"data":[{"embedding":"AAAAQAAAgD8="}]}`, 1, [][]float32{{2, 1}})
	f(`{"data":[]}`, 1, record.Empty)
	f(`{"data":[{"index":0,"embedding":[1]}]}`, 2, record.Malformed)
	f(`{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`, 2, record.Malformed)
	f(`{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,2]}]}`, 2, record.Malformed)
	f(`{"data":[{"index":7,"embedding":[1]}]}`, 1, record.Malformed)
	f(`{"data":[{"embedding":"AAAA"}]}`, 1, record.Malformed)
	f(`{"data":[{"embedding":"AADAfw=="}]}`, 1, record.Malformed) // NaN
	f(`{"data":[{"embedding":[]}]}`, 1, record.Malformed)
	f(`{"error":{"message":"no","code":429}}`, 1, record.RateLimited)
	f(`[]`, 1, record.Malformed)
}

func TestModerations(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		server := serve(t, replies(200, "application/json", body))
		m, err := ModeratorFromConfig(config.Provider{ID: "openai:moderation:m", Config: config.Object{Map: map[string]any{"base_url": server}}}, Env{Lookup: testEnv})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close() }()
		scores, flagged, err := m.Moderate(t.Context(), "text", 0)
		got := fmt.Sprint(scores, flagged)
		if fail, ok := errors.AsType[*record.Failure](err); ok {
			got = string(fail.Kind)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
	f(`{"results":[{"flagged":true,"categories":{"b":true,"a":true,"c":false},"category_scores":{"a":0.5,"b":1,"c":0,"d":null}}]}`, "map[a:0.5 b:1 c:0] [a b]")
	f(`{"results":[]}`, "empty")
	f(`{"results":[{"category_scores":{}}]}`, "empty")
	f(`{"results":[{"category_scores":{"a":1.5}}]}`, "malformed")
	f(`{"results":[{"flagged":true,"categories":{"a":false},"category_scores":{"a":1}}]}`, "malformed")
	f(`nothing`, "malformed")
	f(`{"error":"overloaded"}`, "server")
}

func FuzzEcho(f *testing.F) {
	f.Add("Tea or tea", `{"tokens":["Tea"," or"," tea"],"token_logprobs":[null,-1,-2],"top_logprobs":[null,{"a":-1},{}],"text_offset":[0,3,6]}`, 6)
	f.Add("é", `{"tokens":["x","y"],"token_logprobs":[-1,-2],"text_offset":[0,0]}`, 0)
	f.Fuzz(func(t *testing.T, text, lists string, from int) {
		var l textLogprobs
		if json.Unmarshal([]byte(lists), &l) != nil {
			return
		}
		e, fail := newEcho("id", text, &textChoice{Text: text, Logprobs: &l})
		if fail != nil {
			return
		}
		got, fail := e.likelihood(from, "x")
		if fail == nil && (got.Tokens < 1 || math.IsNaN(got.Logprob)) {
			t.Errorf("likelihood %+v", got)
		}
		e.tokens(from)
	})
}
