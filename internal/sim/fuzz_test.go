package sim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzRequest sends any body to every endpoint: the answer is JSON or a stream, and a body that is
// not JSON is never accepted.
func FuzzRequest(f *testing.F) {
	for path := range endpoints {
		f.Add(path, smallChat)
		f.Add(path, hi+`,"stream":true,"logprobs":true}`)
	}
	f.Add("/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:x"}}]}],"response_format":{"type":"json_schema","json_schema":{"schema":{"$ref":"#"}}}}`)
	f.Add("/responses", `{"input":[{"type":"function_call_output","output":"x"}],"text":{"format":{"type":"json_object"}}}`)
	f.Add("/completions", `{"prompt":[[1,2],[3]],"echo":true,"logprobs":3,"n":2}`)
	f.Add("/embeddings", `{"input":[1,2,3],"encoding_format":"base64"}`)
	f.Add("/messages", `{"max_tokens":3,"system":[{"type":"text","text":"x"}],"messages":[{"role":"user","content":[{"type":"tool_result","content":"x"}]}]}`)
	m := newModel(f, Config{Behaviour: Behaviour{Mode: Echo}})
	s := NewServer(m, ServerOptions{MaxBody: 1 << 16})
	f.Fuzz(func(t *testing.T, path, body string) {
		if _, ok := endpoints[path]; !ok {
			path = "/chat/completions"
		}
		r := httptest.NewRequest(http.MethodPost, "/v1"+path, strings.NewReader(body))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code == http.StatusOK && !json.Valid([]byte(body)) {
			t.Errorf("accepted %q", body)
		}
		if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q is answered by %q", body, w.Body)
		}
		for line := range strings.Lines(w.Body.String()) {
			if data, ok := strings.CutPrefix(line, "data: "); ok && data != "[DONE]\n" && !json.Valid([]byte(data)) {
				t.Errorf("%q has the event %q", body, data)
			}
		}
	})
}

// FuzzLoad: a configuration loads or is a mistake of the user's with a file, and what loads can be used.
func FuzzLoad(f *testing.F) {
	f.Add("seed: 1\nmode: echo")
	f.Add("answers: [{match: a, json: {b: [1, null, 2.5]}}]\nversions: {v2: {mode: generated}}")
	f.Add("latency: {ttft: uniform(1, 2)}\nscript: [{from: 1s, regression: latency_ramp, factor: 2}]")
	f.Add("a: &x [1]\nb: *x")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Load("f", []byte(text))
		if err == nil {
			m, err := New(Options{Config: c})
			if err != nil {
				t.Fatalf("New refuses what Load took: %v", err)
			}
			m.Answer(Query{Messages: user("refund")})
			return
		}
		for _, e := range mistakes(t, err) {
			if e.File != "f" {
				t.Errorf("no file: %v", e)
			}
		}
	})
}

// FuzzText: tokens join to the text and are never empty, strings encode as JSON does, sums end.
func FuzzText(f *testing.F) {
	f.Add("What is 12 + 7?")
	f.Add("\xff\u2028 é日本\x00\"\\\n")
	f.Add("don't  stop")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		for s := text; s != ""; n++ {
			k := nextToken(s)
			if k <= 0 || k > len(s) || utf8.ValidString(text) && !utf8.ValidString(s[:k]) {
				t.Fatalf("token of %d bytes of %q", k, s)
			}
			s = s[k:]
		}
		if n != countTokens(text) {
			t.Errorf("%d tokens, counted %d", n, countTokens(text))
		}
		var back string
		if err := json.Unmarshal(appendString(nil, text), &back); err != nil || back != strings.ToValidUTF8(text, "\ufffd") && utf8.ValidString(text) {
			t.Errorf("%q encodes to %s: %v", text, appendString(nil, text), err)
		}
		findSum(text)
	})
}
