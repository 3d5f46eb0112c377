package sim

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// client talks to a server for one test.
type client struct {
	t   *testing.T
	url string
}

func serve(t *testing.T, text string, o ServerOptions) (*client, *Server) {
	t.Helper()
	s := NewServer(newModel(t, load(t, text)), o)
	ts := httptest.NewServer(s)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ts.Close()
	})
	return &client{t: t, url: ts.URL}, s
}

func (c *client) do(path, body string, header ...string) (*http.Response, error) {
	c.t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return http.DefaultClient.Do(r)
}

// post returns the status and the decoded body, which must be one JSON value.
func (c *client) post(path, body string, header ...string) (int, any, http.Header) {
	c.t.Helper()
	resp, err := c.do(path, body, header...)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		c.t.Fatalf("%s: %v in %s", path, err, b)
	}
	return resp.StatusCode, v, resp.Header
}

// sseEvent is one event of a stream: its name, empty for OpenAI's older APIs, and its data.
type sseEvent struct {
	name string
	raw  string
	data any
}

// stream reads a stream strictly: lines "event:" and "data:" alone, one of each per event, an empty
// line after each event, JSON or [DONE] as data.
func (c *client) stream(path, body string) ([]sseEvent, error) {
	c.t.Helper()
	resp, err := c.do(path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		c.t.Fatalf("status %d, %v", resp.StatusCode, resp.Header)
	}
	var out []sseEvent
	var e sseEvent
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if e.raw == "" {
				c.t.Fatal("an event without data")
			}
			if e.raw != "[DONE]" {
				if err := json.Unmarshal([]byte(e.raw), &e.data); err != nil {
					return out, fmt.Errorf("data %s: %w", e.raw, err)
				}
			}
			out = append(out, e)
			e = sseEvent{}
			continue
		}
		key, value, ok := strings.Cut(line, ": ")
		switch {
		case ok && key == "event" && e.name == "" && e.raw == "":
			e.name = value
		case ok && key == "data" && e.raw == "":
			e.raw = value
		default:
			c.t.Fatalf("line %q", line)
		}
	}
	return out, lines.Err()
}

// at follows keys and indexes into a decoded value.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func want(t *testing.T, v any, expected any, path ...any) {
	t.Helper()
	if got := at(v, path...); !reflect.DeepEqual(got, expected) {
		t.Errorf("%v: got %v, want %v", path, got, expected)
	}
}

const refundAnswer = "You can return any item within 30 days of delivery for a full refund. Refunds reach your account within 5 business days."

func TestChat(t *testing.T) {
	c, _ := serve(t, "", ServerOptions{})
	status, v, h := c.post("/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"refund"}]}],"temperature":0,"logprobs":true,"top_logprobs":3,"n":2,"unknown":[1]}`)
	if status != 200 || h.Get("X-Request-Id") == "" || h.Get("Openai-Processing-Ms") == "" || h.Get("X-Ratelimit-Remaining-Tokens") == "" || h.Get("Content-Type") != "application/json" {
		t.Errorf("%d, %v", status, h)
	}
	want(t, v, "chat.completion", "object")
	want(t, v, "m", "model")
	for i := range 2 {
		want(t, v, float64(i), "choices", i, "index")
		want(t, v, refundAnswer, "choices", i, "message", "content")
		want(t, v, "assistant", "choices", i, "message", "role")
		want(t, v, nil, "choices", i, "message", "refusal")
		want(t, v, "stop", "choices", i, "finish_reason")
		tokens, text := at(v, "choices", i, "logprobs", "content").([]any), ""
		for _, e := range tokens {
			text += at(e, "token").(string)
			top := at(e, "top_logprobs").([]any)
			if lp := at(e, "logprob").(float64); lp > 0 || len(top) != 3 || at(top, 0, "logprob").(float64) < at(top, 1, "logprob").(float64) {
				t.Errorf("token %v", e)
			}
			sum := 0.0
			for k := range top {
				sum += math.Exp(at(top, k, "logprob").(float64))
			}
			if sum > 1.000001 {
				t.Errorf("the alternatives' probabilities add up to %g", sum)
			}
		}
		if text != refundAnswer {
			t.Errorf("the tokens are %q", text)
		}
	}
	want(t, v, float64(countTokens(refundAnswer)*2), "usage", "completion_tokens")
	want(t, v, float64(3+4+1), "usage", "prompt_tokens")
	want(t, v, float64(8+countTokens(refundAnswer)*2), "usage", "total_tokens")
	if fp, _ := at(v, "system_fingerprint").(string); !strings.HasPrefix(fp, "fp_") {
		t.Errorf("fingerprint %q", fp)
	}
}

func TestChatStream(t *testing.T) {
	c, s := serve(t, "", ServerOptions{})
	f := func(extra string, usage bool) {
		t.Helper()
		events, err := c.stream("/v1/chat/completions", `{"model":"sim","stream":true,"messages":[{"role":"user","content":"refund"}],"temperature":0,"logprobs":true,"n":2`+extra+`}`)
		if err != nil || len(events) < 5 || events[len(events)-1].raw != "[DONE]" {
			t.Fatalf("%v, %v", events, err)
		}
		events = events[:len(events)-1]
		if usage {
			last := events[len(events)-1].data
			want(t, last, []any{}, "choices")
			want(t, last, float64(2*countTokens(refundAnswer)), "usage", "completion_tokens")
			events = events[:len(events)-1]
		}
		texts, probs, finish := [2]string{}, [2]string{}, [2]any{}
		for k, e := range events {
			want(t, e.data, "chat.completion.chunk", "object")
			want(t, e.data, at(events[0].data, "id"), "id")
			if u, has := e.data.(map[string]any)["usage"]; has != usage || u != nil {
				t.Errorf("usage of a chunk: %v, %v", u, has)
			}
			i := int(at(e.data, "choices", 0, "index").(float64))
			if k < 2 {
				want(t, e.data, "assistant", "choices", 0, "delta", "role")
			}
			text, _ := at(e.data, "choices", 0, "delta", "content").(string)
			texts[i] += text
			list, _ := at(e.data, "choices", 0, "logprobs", "content").([]any)
			for _, p := range list {
				probs[i] += at(p, "token").(string)
			}
			if r := at(e.data, "choices", 0, "finish_reason"); r != nil {
				finish[i] = r
			}
		}
		if texts != [2]string{refundAnswer, refundAnswer} || probs != texts || finish != [2]any{"stop", "stop"} {
			t.Errorf("texts %q, tokens %q, finish %v", texts, probs, finish)
		}
	}
	f("", false)
	f(`,"stream_options":{"include_usage":true}`, true)
	if st := s.Stats(); st.Streams != 2 || st.InFlight != 0 || st.ByRoute["chat"] != 2 {
		t.Errorf("%+v", st)
	}
}

// TestSameAsInProcess: a request with a seed has the same answer over every way in.
func TestSameAsInProcess(t *testing.T) {
	c, s := serve(t, "mode: generated", ServerOptions{})
	for seed := range int64(20) {
		a := s.m.Answer(Query{Messages: user("tell"), Seed: &seed})
		_, v, _ := c.post("/v1/chat/completions", fmt.Sprintf(`{"messages":[{"role":"user","content":"tell"}],"seed":%d}`, seed))
		want(t, v, a.Text, "choices", 0, "message", "content")
		_, v, _ = c.post("/v1/messages", fmt.Sprintf(`{"max_tokens":999,"messages":[{"role":"user","content":"tell"}],"seed":%d}`, seed))
		want(t, v, a.Text, "content", 0, "text")
		_, v, _ = c.post("/v1/responses", fmt.Sprintf(`{"input":"tell","seed":%d}`, seed))
		want(t, v, a.Text, "output", 0, "content", 0, "text")
		_, v, _ = c.post("/v1/completions", fmt.Sprintf(`{"prompt":"tell","max_tokens":999,"seed":%d}`, seed))
		want(t, v, a.Text, "choices", 0, "text")
	}
}

func TestResponseFormat(t *testing.T) {
	c, _ := serve(t, "{arithmetic: 1, versions: {no: {script: [{regression: refusals}]}}}", ServerOptions{})
	f := func(question, schema string) {
		t.Helper()
		body := fmt.Sprintf(`{"messages":[{"role":"user","content":%q}],"temperature":0,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":%s}}}`, question, schema)
		_, v, _ := c.post("/v1/chat/completions", body)
		text, _ := at(v, "choices", 0, "message", "content").(string)
		instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			return
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
		if err != nil {
			t.Fatal(err)
		}
		compiler := jsonschema.NewCompiler()
		if err := compiler.AddResource("s.json", doc); err != nil {
			t.Fatal(err)
		}
		compiled, err := compiler.Compile("s.json")
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(instance); err != nil {
			t.Errorf("%s is not an instance of %s: %v", text, schema, err)
		}
	}
	f("refund", `{"type":"object","properties":{"intent":{"enum":["shipping","refund"]},"reply":{"type":"string","maxLength":20}},"required":["intent","reply"],"additionalProperties":false}`)
	f("What is 3 + 4?", `{"type":"object","properties":{"answer":{"type":"integer","minimum":7,"maximum":7}},"required":["answer"]}`)
	f("refund", `{"type":"object","properties":{"n":{"type":"integer","minimum":3,"maximum":4},"x":{"type":"number","minimum":0.011,"maximum":0.012},"ok":{"type":"boolean"},"none":{"type":"null"},"d":{"type":["string","null"],"minLength":500}},"required":["n","x","ok","none","d"]}`)
	f("refund", `{"type":"array","minItems":2,"items":{"$ref":"#/$defs/a"},"$defs":{"a":{"anyOf":[{"const":{"k":1}},{"type":"string"}]}}}`)
	f("refund", `{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"items":true}`)
	_, v, _ := c.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"refund"}],"response_format":{"type":"json_object"}}`)
	if text, _ := at(v, "choices", 0, "message", "content").(string); !json.Valid([]byte(text)) {
		t.Errorf("json_object: %q", text)
	}
	_, v, _ = c.post("/v1/chat/completions", `{"model":"sim-no","messages":[{"role":"user","content":"refund"}],"response_format":{"type":"json_schema","json_schema":{"schema":{}}}}`)
	want(t, v, nil, "choices", 0, "message", "content")
	if r, _ := at(v, "choices", 0, "message", "refusal").(string); r == "" {
		t.Error("a refusal in place of a schema is not in the refusal field")
	}
}

func TestCompletions(t *testing.T) {
	c, _ := serve(t, "mode: echo", ServerOptions{})
	_, v, _ := c.post("/v1/completions", `{"prompt":["The cat sat","A dog"],"echo":true,"logprobs":2,"max_tokens":0}`)
	want(t, v, "text_completion", "object")
	want(t, v, "The cat sat", "choices", 0, "text")
	want(t, v, []any{"The", " cat", " sat"}, "choices", 0, "logprobs", "tokens")
	want(t, v, []any{0.0, 3.0, 7.0}, "choices", 0, "logprobs", "text_offset")
	want(t, v, nil, "choices", 0, "logprobs", "token_logprobs", 0)
	want(t, v, 1.0, "choices", 1, "index")
	if lp, ok := at(v, "choices", 0, "logprobs", "token_logprobs", 1).(float64); !ok || lp >= 0 {
		t.Errorf("logprob %v", lp)
	}
	_, again, _ := c.post("/v1/completions", `{"prompt":"See: The cat sat","echo":true,"logprobs":0,"max_tokens":0}`)
	want(t, again, at(v, "choices", 0, "logprobs", "token_logprobs", 2), "choices", 0, "logprobs", "token_logprobs", 4)
	_, v, _ = c.post("/v1/completions", `{"prompt":"one two three four five six seven eight nine ten eleven twelve a b c d e f"}`)
	want(t, v, "length", "choices", 0, "finish_reason")
	want(t, v, 16.0, "usage", "completion_tokens")
	events, err := c.stream("/v1/completions", `{"prompt":"one two","stream":true,"stream_options":{"include_usage":true}}`)
	if err != nil || len(events) != 5 {
		t.Fatalf("%v, %v", events, err)
	}
	want(t, events[1].data, " two", "choices", 0, "text")
	want(t, events[2].data, "stop", "choices", 0, "finish_reason")
	want(t, events[3].data, 2.0, "usage", "completion_tokens")
}

func TestMessages(t *testing.T) {
	c, _ := serve(t, "", ServerOptions{})
	status, v, h := c.post("/v1/messages", `{"model":"sim","max_tokens":100,"system":[{"type":"text","text":"Be nice."}],"messages":[{"role":"user","content":"refund"}],"temperature":0}`)
	if status != 200 || h.Get("Request-Id") == "" || h.Get("X-Request-Id") != "" {
		t.Errorf("%d, %v", status, h)
	}
	want(t, v, "message", "type")
	want(t, v, "text", "content", 0, "type")
	want(t, v, refundAnswer, "content", 0, "text")
	want(t, v, "end_turn", "stop_reason")
	want(t, v, float64(countTokens(refundAnswer)), "usage", "output_tokens")
	input := at(v, "usage", "input_tokens")
	_, v, _ = c.post("/v1/messages/count_tokens", `{"model":"sim","system":"Be nice.","messages":[{"role":"user","content":"refund"}]}`)
	want(t, v, input, "input_tokens")
	_, v, _ = c.post("/v1/messages", `{"max_tokens":2,"messages":[{"role":"user","content":"refund"}]}`)
	want(t, v, "max_tokens", "stop_reason")
	_, v, _ = c.post("/v1/messages", `{"max_tokens":200,"stop_sequences":[" 30"],"messages":[{"role":"user","content":"refund"}]}`)
	want(t, v, "stop_sequence", "stop_reason")
	want(t, v, " 30", "stop_sequence")
}

func TestMessagesStream(t *testing.T) {
	c, _ := serve(t, "", ServerOptions{})
	events, err := c.stream("/v1/messages", `{"model":"sim","stream":true,"max_tokens":100,"messages":[{"role":"user","content":"refund"}],"temperature":0}`)
	if err != nil {
		t.Fatal(err)
	}
	order, text := "", ""
	for _, e := range events {
		want(t, e.data, e.name, "type")
		if e.name == "content_block_delta" {
			text += at(e.data, "delta", "text").(string)
			continue
		}
		order += e.name + " "
	}
	if order != "message_start content_block_start ping content_block_stop message_delta message_stop " || text != refundAnswer {
		t.Errorf("%s: %q", order, text)
	}
	want(t, events[0].data, []any{}, "message", "content")
	want(t, events[len(events)-2].data, "end_turn", "delta", "stop_reason")
	want(t, events[len(events)-2].data, float64(countTokens(refundAnswer)), "usage", "output_tokens")
}

func TestResponses(t *testing.T) {
	c, _ := serve(t, "", ServerOptions{})
	_, v, _ := c.post("/v1/responses", `{"model":"sim","instructions":"Be nice.","input":[{"role":"user","content":[{"type":"input_text","text":"refund"}]}],"temperature":0}`)
	want(t, v, "response", "object")
	want(t, v, "completed", "status")
	want(t, v, refundAnswer, "output", 0, "content", 0, "text")
	want(t, v, float64(countTokens(refundAnswer)), "usage", "output_tokens")
	f := func(extra, last, text string) {
		t.Helper()
		events, err := c.stream("/v1/responses", `{"model":"sim","input":"refund","stream":true,"temperature":0`+extra+`}`)
		if err != nil {
			t.Fatal(err)
		}
		order, deltas := "", ""
		for i, e := range events {
			want(t, e.data, float64(i), "sequence_number")
			want(t, e.data, e.name, "type")
			if e.name == "response.output_text.delta" {
				deltas += at(e.data, "delta").(string)
				continue
			}
			order += strings.TrimPrefix(e.name, "response.") + " "
		}
		if order != "created in_progress output_item.added content_part.added output_text.done content_part.done output_item.done "+last+" " || deltas != text {
			t.Errorf("%s: %q", order, deltas)
		}
		end := events[len(events)-1].data
		want(t, end, last, "response", "status")
		want(t, end, text, "response", "output", 0, "content", 0, "text")
	}
	f("", "completed", refundAnswer)
	f(`,"max_output_tokens":2`, "incomplete", "You can")
}

func TestEmbeddings(t *testing.T) {
	c, _ := serve(t, "", ServerOptions{})
	_, v, _ := c.post("/v1/embeddings", `{"model":"e","input":["refund my order","Refund the order!","capital of France","",[1,2]],"dimensions":64}`)
	vectors := make([][]float64, 5)
	for i := range vectors {
		for _, x := range at(v, "data", i, "embedding").([]any) {
			vectors[i] = append(vectors[i], x.(float64))
		}
		if d := dot(vectors[i], vectors[i]); len(vectors[i]) != 64 || math.Abs(d-1) > 1e-6 {
			t.Errorf("vector %d: %d dimensions, squared length %g", i, len(vectors[i]), d)
		}
	}
	if near, far := dot(vectors[0], vectors[1]), dot(vectors[0], vectors[2]); near < 0.4 || far > 0.3 || near <= far {
		t.Errorf("similarities %g and %g", near, far)
	}
	_, v, _ = c.post("/v1/embeddings", `{"input":"refund my order","dimensions":64,"encoding_format":"base64"}`)
	raw, err := base64.StdEncoding.DecodeString(at(v, "data", 0, "embedding").(string))
	if err != nil || len(raw) != 256 {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	for i, x := range vectors[0] {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])); float64(got) != float64(float32(x)) {
			t.Fatalf("base64 differs at %d: %g and %g", i, got, x)
		}
	}
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func TestModerationsAndModels(t *testing.T) {
	c, _ := serve(t, "versions: {v2: {mode: echo}}", ServerOptions{})
	_, v, _ := c.post("/v1/moderations", `{"input":["You stupid idiot.","How are you?"]}`)
	want(t, v, true, "results", 0, "flagged")
	want(t, v, true, "results", 0, "categories", "harassment")
	want(t, v, false, "results", 0, "categories", "violence")
	want(t, v, false, "results", 1, "flagged")
	_, v, _ = c.post("/v1/models", "")
	want(t, v, "sim", "data", 0, "id")
	want(t, v, "sim-v2", "data", 1, "id")
	_, v, _ = c.post("/v1/models/sim-v2", "")
	want(t, v, "sim-v2", "id")
	if status, _, _ := c.post("/v1/models/sim-v3", ""); status != 404 {
		t.Errorf("an unknown version has status %d", status)
	}
}
