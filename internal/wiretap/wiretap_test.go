package wiretap

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/telltale-llm/telltale/internal/record"
)

func TestClassify(t *testing.T) {
	f := func(method, path, want string) {
		t.Helper()
		if got := Classify(method, path); got != want {
			t.Errorf("%s %s is %s, want %s", method, path, got, want)
		}
	}
	f("POST", "/v1/chat/completions", record.APIChat)
	f("POST", "/support/v1/chat/completions?api-version=1", record.APIChat)
	f("POST", "/openai/deployments/x/chat/completions", record.APIChat)
	f("POST", "/v1/responses", record.APIResponses)
	f("POST", "/v1/responses/", record.APIResponses)
	f("GET", "/v1/responses/resp_1", record.APIOther)
	f("POST", "/v1/completions", record.APICompletions)
	f("POST", "/v1/embeddings", record.APIEmbeddings)
	f("GET", "/v1/models", record.APIModels)
	f("GET", "/v1/models/gpt-4.1", record.APIModels)
	f("POST", "/v1/moderations", record.APIModerations)
	f("POST", "/v1/messages", record.APIMessages)
	f("POST", "/v1/messages/count_tokens", record.APICountTokens)
	f("POST", "/v1/threads/t/messages", record.APIOther)
	f("POST", "/v1/messages/batches", record.APIOther)
	f("DELETE", "/v1/chat/completions", record.APIOther)
	f("POST", "/chatty", record.APIOther)
}

// read reads an exchange of a path.
func read(path, req, ans string, o Options) record.Exchange {
	x := record.Exchange{}
	header := http.Header{"Content-Type": {"application/json"}}
	if strings.HasPrefix(ans, "data:") || strings.HasPrefix(ans, "event:") || strings.HasPrefix(ans, ":") {
		header.Set("Content-Type", "text/event-stream; charset=utf-8")
	}
	Read(&x, &Request{Path: path, Body: []byte(req)}, &Answer{Status: 200, Headers: header, Body: []byte(ans)}, o)
	return x
}

// check compares x with what is wanted, as JSON, after removing fields that every row has.
func check(t *testing.T, x record.Exchange, want string) {
	t.Helper()
	x.InputBytes, x.OutputBytes, x.Status, x.Endpoint = 0, 0, 0, ""
	x.InputHash = ""
	if x.Content != nil {
		x.Content.Body = nil
	}
	got, err := json.Marshal(&x)
	if err != nil {
		t.Fatal(err)
	}
	var g, w map[string]any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%v in %s", err, want)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "source", "time", "route", "variant", "snapshot", "propensity", "inclusion"} {
		delete(g, name)
	}
	if lp, ok := g["logprobs"].(map[string]any); ok {
		delete(lp, "histogram")
	}
	if !reflect.DeepEqual(g, w) {
		got, _ := json.Marshal(g)
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

const chatRequest = `{"model":"gpt-4.1","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}],"temperature":0.2,"seed":7,"user":"u1","store":true,"stream_options":{"include_usage":true}}`

func TestChat(t *testing.T) {
	x := read("/v1/chat/completions", `{"messages":[
		{"content":"Be brief.","role":"developer"},
		{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"low"}},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]},
		{"role":"assistant","content":null,"tool_calls":[{"id":"c0","type":"function","function":{"name":"look","arguments":"{\"a\":1}"}}]},
		{"role":"tool","tool_call_id":"c0","content":"a cat"}],
		"model":"gpt-4.1","tools":[{"type":"function","function":{"name":"look"}}],"tool_choice":"auto","max_tokens":5,"logit_bias":{"50256":-100},"stop":["x"],"presence_penalty":null,
		"metadata":{"team":"a"},"safety_identifier":"s1","user":"u1","seed":9007199254740993,"n":2,"unknown":[1,true]}`,
		`{"model":"gpt-4.1-2025","system_fingerprint":"fp_1","choices":[{"index":1,"message":{"content":"other"}},{"finish_reason":"tool_calls","index":0,"message":{"role":"assistant","content":"A \u00e9\n","refusal":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"look","arguments":"{}"}},{"id":"c2","type":"function","function":{"name":"find","arguments":"{\"q\":\"\"}"}}]}}],
		"usage":{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}}}`,
		Options{Price: func(model string, u record.Usage) *float64 {
			cost := float64(u.Prompt)
			if model != "gpt-4.1-2025" {
				cost = -1
			}
			return &cost
		}})
	check(t, x, `{"api":"openai.chat","model":"gpt-4.1","served":"gpt-4.1-2025","fingerprint":"fp_1","finish_reason":"tool_calls",
		"usage":{"prompt":10,"completion":4,"total":14,"cached":3,"reasoning":2},"cost":10,"seed":9007199254740992,"user":"s1","tags":{"team":"a"},"cut":["choices"],
		"params":{"tools":[{"type":"function","function":{"name":"look"}}],"tool_choice":"auto","max_tokens":5,"logit_bias":{"50256":-100},"stop":["x"],"n":2,"unknown":[1,true]},
		"content":{"system":"Be brief.","input":[
			{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"sha256:63c1dd951ffedf6f image/png 3 bytes","detail":"low"}},{"type":"text","text":"[input_audio sha256:63c1dd951ffedf6f wav 3 bytes]"}]},
			{"role":"assistant","content":"look({\"a\":1})"},{"role":"tool","content":"a cat"}],
			"output":"A é\n","tool_calls":[{"id":"c1","name":"look","arguments":"{}"},{"id":"c2","name":"find","arguments":"{\"q\":\"\"}"}]}}`)

	check(t, read("/v1/chat/completions", chatRequest, `{"choices":[{"index":0,"message":{"content":null,"refusal":"No."},"finish_reason":"stop"}]}`, Options{}),
		`{"api":"openai.chat","model":"gpt-4.1","finish_reason":"stop","refused":true,"seed":7,"user":"u1","params":{"temperature":0.2},
		"content":{"system":"Be brief.","input":[{"role":"user","content":"Hi"}],"refusal":"No."}}`)
}

func TestChatFailures(t *testing.T) {
	f := func(ans string, kind record.FailureKind, text string) {
		t.Helper()
		x := read("/v1/chat/completions", chatRequest, ans, Options{})
		if x.ErrorKind != kind || x.Error != text {
			t.Errorf("%s: got %s %q, want %s %q", ans, x.ErrorKind, x.Error, kind, text)
		}
	}
	f(`<html>`, record.Malformed, "the answer is not of the API's format: <html>")
	f(`{"choices":[{"message":{"content":"a"`, record.Malformed, `the answer is not of the API's format: {"choices":[{"message":{"content":"a"`)
	f(`{"choices":[]}`, record.Empty, "the answer has no choice and no output")
	f(`{}`, record.Empty, "the answer has no choice and no output")
	f(`{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}`, record.Empty, "the answer has no text, call or refusal")
	f(`{"choices":[{"message":{"content":""},"finish_reason":"content_filter"}]}`, "", "")
	f(`{"error":{"message":"slow down","type":"rate_limit_error"}}`, record.RateLimited, "slow down")
	f(`{"error":"nope"}`, record.Server, "nope")
	f(``, record.Malformed, "the answer is not of the API's format: ")
	f("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n", record.Cut, "the stream ended without its last event")
	f("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"overloaded\",\"code\":429}}\n\n", record.RateLimited, "overloaded")
	f("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\nevent: error\ndata: {\"message\":\"broken\"}\n\n", record.Server, "broken")
	f("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}", "", "")
	f("data: [DONE]\n\n", record.Empty, "the answer has no choice and no output")
	f("data: hello\n\n", record.Malformed, "the stream is not of the API's format")
}

func TestStatus(t *testing.T) {
	f := func(status int, body string, kind record.FailureKind, text string) {
		t.Helper()
		var x record.Exchange
		Read(&x, &Request{Path: "/v1/messages", Body: []byte(`{"model":"m"}`)}, &Answer{Status: status, Body: []byte(body)}, Options{})
		if x.ErrorKind != kind || x.Error != text || x.Status != status {
			t.Errorf("%d %s: got %s %q, want %s %q", status, body, x.ErrorKind, x.Error, kind, text)
		}
	}
	f(401, `{"error":{"message":"bad key","type":"invalid_request_error","code":"invalid_api_key"}}`, record.Auth, "bad key")
	f(403, ``, record.Auth, "")
	f(404, `{"type":"error","error":{"type":"not_found_error","message":"no model"},"request_id":"r"}`, record.NotFound, "no model")
	f(400, `{"error":{"message":"too long","code":"context_length_exceeded"}}`, record.BadRequest, "too long")
	f(413, `{"type":"error","error":{"type":"request_too_large","message":"big"}}`, record.BadRequest, "big")
	f(429, `{"error":{"message":"quota","type":"insufficient_quota"}}`, record.RateLimited, "quota")
	f(529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, record.Server, "Overloaded")
	f(502, `{"error":{"type":"rate_limit_error","message":"wait"}}`, record.RateLimited, "wait")
	f(504, `<html>Gateway time-out</html>`, record.Timeout, "<html>Gateway time-out</html>")
	f(500, `{"detail":"oops"}`, record.Server, "oops")
	f(302, ``, record.BadRequest, "")
	f(0, ``, record.Connection, "")
}

func TestConnectionWins(t *testing.T) {
	var x record.Exchange
	Read(&x, &Request{Path: "/v1/chat/completions", Body: []byte(chatRequest)}, &Answer{
		Status: 200, Headers: http.Header{"Content-Type": {"text/event-stream"}}, Failure: record.Canceled, Error: "the client went away",
		Body: []byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"),
	}, Options{})
	if x.ErrorKind != record.Canceled || x.Error != "the client went away" || x.Content.Output != "a" {
		t.Errorf("got %+v", x)
	}
}

const chatStream = `: comment

data: {"model":"gpt-4.1-2025","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

data: {"model":"gpt-4.1-2025","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":"Hel"},"logprobs":{"content":[{"token":"Hel","logprob":-0.5,"bytes":[72],"top_logprobs":[{"token":"Hel","logprob":-0.5},{"token":"x","logprob":-2}]}]}}]}

data: {"model":"gpt-4.1-2025","choices":[{"index":0,"delta":{"content":"lo"},"logprobs":{"content":[{"token":"lo","logprob":-1.5,"top_logprobs":[]}]}}]}

data: {"choices":[{"index":1,"delta":{"content":"other"}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"look","arguments":""}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":null}

data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}

data: [DONE]

`

func TestChatStream(t *testing.T) {
	x := read("/v1/chat/completions", chatRequest, chatStream, Options{TopK: true})
	check(t, x, `{"api":"openai.chat","stream":true,"model":"gpt-4.1","served":"gpt-4.1-2025","fingerprint":"fp_1","finish_reason":"tool_calls","seed":7,"user":"u1","params":{"temperature":0.2},
		"usage":{"prompt":9,"completion":3,"total":12},"cut":["choices"],
		"logprobs":{"tokens":2,"mean":-1,"min":-1.5,"entropy":0.9235207134394658,"top1":0.6065306597126334},
		"top_k":[{"token":"Hel","logprob":-0.5,"top":{"Hel":-0.5,"x":-2}},{"token":"lo","logprob":-1.5}],
		"content":{"system":"Be brief.","input":[{"role":"user","content":"Hi"}],"output":"Hello","tool_calls":[{"id":"c1","name":"look","arguments":"{\"a\":1}"}]}}`)
}

const legacyAnswer = `{"model":"m","choices":[{"text":" there","index":0,"finish_reason":"length","logprobs":{"tokens":["a"," there"],"token_logprobs":[null,-0.25],"top_logprobs":[null,{" there":-0.25,"b":-3}],"text_offset":[0,1]}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`

func TestCompletions(t *testing.T) {
	x := read("/v1/completions", `{"model":"m","prompt":["a","b"],"suffix":"z","max_tokens":1,"logprobs":2}`, legacyAnswer, Options{TopK: true})
	x.Logprobs.Entropy, x.Logprobs.Top1 = nil, nil
	check(t, x, `{"api":"openai.completions","model":"m","served":"m","finish_reason":"length","params":{"max_tokens":1,"logprobs":2},"usage":{"prompt":1,"completion":1,"total":2},
		"logprobs":{"tokens":1,"mean":-0.25,"min":-0.25},"top_k":[{"token":" there","logprob":-0.25,"top":{" there":-0.25,"b":-3}}],
		"content":{"input":[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"suffix","content":"z"}],"output":" there"}}`)
	x = read("/v1/completions", `{"model":"m","prompt":[[1,2],[3]]}`, "data: {\"choices\":[{\"text\":\"a\",\"index\":0}]}\r\n\r\ndata: {\"choices\":[{\"text\":\"b\",\"index\":0,\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\r\n\r\n", Options{})
	check(t, x, `{"api":"openai.completions","stream":true,"model":"m","finish_reason":"stop","content":{"input":[{"role":"user","content":"[3 tokens]"}],"output":"ab"}}`)
}

func TestOtherAPIs(t *testing.T) {
	check(t, read("/v1/embeddings", `{"model":"e","input":["a","b"],"dimensions":3}`, `{"model":"e1","data":[{"embedding":[1,2,3]},{"embedding":[1,2,3]}],"usage":{"prompt_tokens":2,"total_tokens":2}}`, Options{}),
		`{"api":"openai.embeddings","model":"e","served":"e1","params":{"dimensions":3},"usage":{"prompt":2,"total":2},"content":{"input":[{"role":"user","content":"a"},{"role":"user","content":"b"}],"output":"[2 embeddings]"}}`)
	check(t, read("/v1/moderations", `{"model":"o","input":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}`, `{"model":"o1","results":[{"flagged":false}]}`, Options{}),
		`{"api":"openai.moderations","model":"o","served":"o1","content":{"input":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}],"output":"[1 result]"}}`)
	check(t, read("/v1/messages/count_tokens", `{"model":"claude","system":"S","messages":[{"role":"user","content":"a"}]}`, `{"input_tokens":17}`, Options{}),
		`{"api":"anthropic.count_tokens","model":"claude","content":{"system":"S","input":[{"role":"user","content":"a"}],"output":"[17 tokens]"}}`)
	var x record.Exchange
	Read(&x, &Request{Method: "GET", Path: "/v1/models"}, &Answer{Status: 200, Body: []byte(`{"object":"list","data":[{"id":"m"}]}`)}, Options{})
	check(t, x, `{"api":"openai.models","content":{}}`)
	x = record.Exchange{}
	Read(&x, &Request{Path: "/v1/audio/speech", Body: []byte(`{"model":"tts","input":"a"}`)}, &Answer{Status: 200, Body: []byte{1, 2}}, Options{})
	check(t, x, `{"api":"other","model":"tts","content":{}}`)
	x = read("/v1/embeddings", `{"model":"e","input":"a"}`, `{"object":"list"}`, Options{})
	if x.ErrorKind != record.Malformed {
		t.Errorf("embeddings without data: %s", x.ErrorKind)
	}
}

const messagesRequest = `{"model":"claude-x","max_tokens":100,"system":[{"type":"text","text":"Be "},{"type":"text","text":"kind."}],"thinking":{"type":"enabled"},"metadata":{"user_id":"u9"},
	"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"AAAA"}},{"type":"text","text":"Hi"}]},
	{"role":"assistant","content":[{"type":"text","text":"Looking."},{"type":"tool_use","id":"t0","name":"look","input":{"q":1}}]},
	{"role":"user","content":[{"type":"tool_result","tool_use_id":"t0","content":[{"type":"text","text":"found"}]},{"type":"text","text":"And?"}]}]}`

const messagesWant = `"model":"claude-x","served":"claude-x-1","finish_reason":"tool_use","user":"u9","params":{"max_tokens":100,"thinking":{"type":"enabled"}},
	"usage":{"prompt":35,"completion":7,"total":42,"cached":20},
	"content":{"system":"Be \nkind.","input":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"sha256:63c1dd951ffedf6f image/jpeg 3 bytes"}},{"type":"text","text":"Hi"}]},
	{"role":"assistant","content":"Looking.\nlook({\"q\":1})"},{"role":"tool","content":"found"},{"role":"user","content":"And?"}],
	"output":"Hello","tool_calls":[{"id":"t1","name":"look","arguments":"{\"a\":1}"}]}}`

const messagesStream = `event: message_start
data: {"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","content":[],"model":"claude-x-1","stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":20,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hel"}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"lo"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t1","name":"look","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":":1}"}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":7}}

event: message_stop
data: {"type":"message_stop"}

`

func TestMessages(t *testing.T) {
	check(t, read("/v1/messages", messagesRequest, `{"id":"m1","type":"message","role":"assistant","model":"claude-x-1","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"Hello"},{"type":"tool_use","id":"t1","name":"look","input":{"a":1}}],
		"stop_reason":"tool_use","usage":{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":20,"output_tokens":7}}`, Options{}),
		`{"api":"anthropic.messages",`+messagesWant)
	check(t, read("/v1/messages", messagesRequest, messagesStream, Options{}), `{"api":"anthropic.messages","stream":true,`+messagesWant)

	f := func(stream string, kind record.FailureKind, finish string, refused bool) {
		t.Helper()
		x := read("/v1/messages", messagesRequest, stream, Options{})
		if x.ErrorKind != kind || x.FinishReason != finish || x.Refused != refused {
			t.Errorf("got %s %s %v, want %s %s %v", x.ErrorKind, x.FinishReason, x.Refused, kind, finish, refused)
		}
	}
	cut, _, _ := strings.Cut(messagesStream, "event: message_stop")
	f(cut, record.Cut, "tool_use", false)
	cut, _, _ = strings.Cut(messagesStream, "event: message_delta")
	f(cut+"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", record.Server, "", false)
	f(strings.Replace(messagesStream, `"stop_reason":"tool_use"`, `"stop_reason":"refusal"`, 1), "", "refusal", true)
}

const responsesRequest = `{"model":"gpt-5","instructions":"Be brief.","input":[{"role":"user","content":[{"type":"input_text","text":"Hi"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"}]},
	{"type":"reasoning","summary":[]},{"type":"function_call","call_id":"c0","name":"look","arguments":"{}"},{"type":"function_call_output","call_id":"c0","output":"cat"}],
	"reasoning":{"effort":"low"},"max_output_tokens":50,"previous_response_id":"r0","conversation":{"id":"conv_1"},"prompt":{"id":"p1","version":"2","variables":{"city":"Rome"}}}`

const responsesObject = `{"id":"resp_1","object":"response","status":"incomplete","error":null,"incomplete_details":{"reason":"max_output_tokens"},"model":"gpt-5-1",
	"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello","logprobs":[{"token":"Hello","logprob":-0.5,"top_logprobs":[]}]}]},
	{"type":"function_call","call_id":"c1","name":"look","arguments":"{\"a\":1}"}],
	"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":6,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":16}}`

const responsesWant = `"model":"gpt-5","served":"gpt-5-1","finish_reason":"max_output_tokens","session":"conv_1",
	"params":{"reasoning":{"effort":"low"},"max_output_tokens":50,"prompt":{"id":"p1","version":"2"}},"usage":{"prompt":10,"completion":6,"total":16,"cached":4,"reasoning":2},
	"logprobs":{"tokens":1,"mean":-0.5,"min":-0.5},
	"content":{"system":"Be brief.","input":[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"image_url","image_url":{"url":"sha256:63c1dd951ffedf6f image/png 3 bytes"}}]},
	{"role":"assistant","content":"look({})"},{"role":"tool","content":"cat"},{"role":"variables","content":"{\"city\":\"Rome\"}"}],"output":"Hello","tool_calls":[{"id":"c1","name":"look","arguments":"{\"a\":1}"}]}}`

func responsesStream(terminal string) string {
	object := strings.ReplaceAll(responsesObject, "\n", "")
	return `event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","model":"gpt-5-1","output":[],"usage":null,"error":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":1,"item":{"type":"message","role":"assistant","content":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":2,"item_id":"i","output_index":1,"content_index":0,"delta":"Hel","logprobs":[{"token":"Hello","logprob":-0.5}]}

data: {"type":"response.output_text.delta","sequence_number":3,"item_id":"i","output_index":1,"content_index":0,"delta":"lo","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":4,"text":"Hello"}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":5,"output_index":2,"item":{"type":"function_call","call_id":"c1","name":"look","arguments":""}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":6,"output_index":2,"delta":"{\"a\":1}"}

` + strings.ReplaceAll(terminal, "OBJECT", object)
}

func TestResponses(t *testing.T) {
	check(t, read("/v1/responses", responsesRequest, responsesObject, Options{}), `{"api":"openai.responses",`+responsesWant)
	last := "event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"sequence_number\":7,\"response\":OBJECT}\n\n"
	check(t, read("/v1/responses", responsesRequest, responsesStream(last), Options{}), `{"api":"openai.responses","stream":true,`+responsesWant)

	f := func(terminal string, kind record.FailureKind, text, finish string) {
		t.Helper()
		x := read("/v1/responses", responsesRequest, responsesStream(terminal), Options{})
		if x.ErrorKind != kind || x.Error != text || x.FinishReason != finish {
			t.Errorf("got %s %q %s, want %s %q %s", x.ErrorKind, x.Error, x.FinishReason, kind, text, finish)
		}
		if x.Content.Output != "Hello" || x.Content.ToolCalls[0].Arguments != `{"a":1}` || x.Logprobs.Tokens != 1 {
			t.Errorf("got %+v", x.Content)
		}
	}
	f("", record.Cut, "the stream ended without its last event", "")
	f("event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n", "", "", "completed")
	f("data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"broke\"}}}\n\n", record.Server, "broke", "failed")
	f("event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"slow\",\"param\":null}\n\n", record.RateLimited, "slow", "")

	x := read("/v1/responses", `{"model":"m","input":"Hi"}`, `{"status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"No."}]}]}`, Options{})
	if !x.Refused || x.Content.Refusal != "No." || x.ErrorKind != "" || x.Content.Input[0].Content != "Hi" {
		t.Errorf("got %+v", x)
	}
	x = read("/v1/responses", `{"model":"m","input":"Hi","background":true}`, `{"status":"queued","output":[]}`, Options{})
	if x.ErrorKind != "" || x.FinishReason != "queued" {
		t.Errorf("got %s %s", x.ErrorKind, x.FinishReason)
	}
}

// streams are whole streams by path.
var streams = map[string]string{
	"/v1/chat/completions": chatStream,
	"/v1/messages":         messagesStream,
	"/v1/responses":        responsesStream("event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":OBJECT}\n\n"),
}

func TestStreamsInAnyPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for path, stream := range streams {
		want := read(path, chatRequest, stream, Options{TopK: true})
		for range 200 {
			s := NewStream(Classify("POST", path), Options{TopK: true})
			for rest := []byte(stream); len(rest) > 0; {
				n := 1 + random.IntN(min(len(rest), 80))
				s.Write(rest[:n], 0)
				rest = rest[n:]
			}
			var x record.Exchange
			Read(&x, &Request{Path: path, Body: []byte(chatRequest)}, &Answer{Status: 200, Stream: s, Size: int64(len(stream))}, Options{TopK: true})
			if !reflect.DeepEqual(x, want) {
				t.Fatalf("%s: got %+v, want %+v", path, x, want)
			}
		}
	}
}

func TestTimes(t *testing.T) {
	chunk := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
	body := "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n" + strings.Repeat(chunk, 4) + "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
	first := strings.Index(body, chunk)
	var marks []Mark
	for i, ms := range []int{100, 200, 210, 230, 260} {
		marks = append(marks, Mark{End: first + i*len(chunk), At: time.Duration(ms) * time.Millisecond})
	}
	marks = append(marks, Mark{End: len(body), At: time.Second})
	var x record.Exchange
	Read(&x, &Request{Path: "/v1/chat/completions"}, &Answer{Status: 200, Headers: http.Header{"Content-Type": {"text/event-stream"}}, Body: []byte(body), Marks: marks}, Options{})
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	near("TTFT", *x.TTFT, .2)
	near("latency", *x.Latency, 1)
	near("mean gap", x.Gaps.Mean, .02)
	near("p50", x.Gaps.P50, .02)
	near("largest gap", x.Gaps.Max, .03)
	if x.Gaps.Count != 3 {
		t.Errorf("%d gaps", x.Gaps.Count)
	}

	s := NewStream(record.APIChat, Options{})
	for i := range 10_000 {
		s.Write([]byte(chunk), time.Duration(i+1)*time.Millisecond)
	}
	if g := s.gapSummary(); g.Count != 9999 || len(s.gaps) > maxGaps || math.Abs(g.P95-.001) > 1e-9 {
		t.Errorf("got %+v of %d", g, len(s.gaps))
	}
}

func TestLimits(t *testing.T) {
	long := strings.Repeat("é", 2000)
	req := `{"model":"m","messages":[{"role":"system","content":"S"},{"role":"user","content":"` + long + `"},{"role":"user","content":"last"}],"tools":"` + strings.Repeat("x", maxParam) + `"}`
	ans := strings.Repeat("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"é12345678\"},\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-1}]}}]}\n\n", 300) +
		"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":300}}\n\ndata: [DONE]\n\n"
	x := read("/v1/chat/completions", req, ans, Options{MaxContent: 2000, TopK: true, MaxTokens: 10})
	if len(x.Content.Output) < 999 || len(x.Content.Output) > 1002 || x.Usage.Completion != 300 || x.FinishReason != "length" || x.Logprobs.Tokens != 300 || len(x.TopK) != 10 || x.Failed() {
		t.Errorf("got %d bytes, %+v, %s, %+v, %d tokens", len(x.Content.Output), x.Usage, x.FinishReason, x.Logprobs, len(x.TopK))
	}
	if len(x.Content.Input) != 1 || x.Content.Input[0].Content != "last" || x.Content.System != "S" || x.Content.Body != nil {
		t.Errorf("got %+v", x.Content)
	}
	if want := []string{"params.tools", "input", "body", "top_k", "output"}; !reflect.DeepEqual(x.Cut, want) {
		t.Errorf("cut %q, want %q", x.Cut, want)
	}
	x = read("/v1/chat/completions", `{"messages":[{"role":"user","content":"`+long+`"}]}`, `{}`, Options{MaxContent: 1001})
	if got := x.Content.Input[0].Content; got != long[:496] && got != long[:498] && got != long[:500] {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestManyMessages(t *testing.T) {
	many := strings.Repeat(`{"role":"user","content":"a"},`, 3*maxMessages)
	for path, body := range map[string]string{
		"/v1/chat/completions": `{"messages":[` + many + `{"role":"user","content":"last"}]}`,
		"/v1/responses":        `{"input":[` + many + `{"role":"user","content":"last"}]}`,
		"/v1/embeddings":       `{"input":[` + strings.Repeat(`"a",`, 3*maxMessages) + `"last"]}`,
	} {
		x := read(path, body, `{}`, Options{MaxContent: 10 << 20})
		if n := len(x.Content.Input); n > maxMessages+1 || x.Content.Input[n-1].Content != "last" || !reflect.DeepEqual(x.Cut, []string{"input"}) {
			t.Errorf("%s: %d messages, cut %q", path, n, x.Cut)
		}
	}
}

func TestCutCaptures(t *testing.T) {
	var x record.Exchange
	stream := []byte(chatStream)
	Read(&x, &Request{Path: "/v1/chat/completions", Body: []byte(chatRequest)[:100], Cut: true, Size: 999}, &Answer{
		Status: 200, Headers: http.Header{"Content-Type": {"text/event-stream"}}, Body: stream[:500], Tail: stream[len(stream)-250:], Cut: true, Size: 5000,
	}, Options{})
	if x.ErrorKind != "" || x.FinishReason != "tool_calls" || x.Usage == nil || x.Usage.Prompt != 9 || x.InputHash != "" || x.Content.Body != nil || x.InputBytes != 999 || x.OutputBytes != 5000 {
		t.Errorf("got %+v %+v", x, x.Content)
	}
	if want := []string{"input", "body", "output"}; !reflect.DeepEqual(x.Cut, want) {
		t.Errorf("cut %q, want %q", x.Cut, want)
	}
	if len(x.Content.Input) != 1 || x.Content.Input[0].Content != "Hi" {
		t.Errorf("got %+v", x.Content)
	}
	x = record.Exchange{}
	Read(&x, &Request{Path: "/v1/chat/completions"}, &Answer{Status: 200, Body: []byte(`{"choices":[{"message":{"content":"abc`), Cut: true}, Options{})
	if x.ErrorKind != "" || x.Content.Output != "abc" {
		t.Errorf("got %s %+v", x.ErrorKind, x.Content)
	}
}

func TestEncodings(t *testing.T) {
	answer := []byte(`{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}`)
	f := func(name string, w func(io.Writer) io.WriteCloser) {
		t.Helper()
		pack := func(b []byte) []byte {
			var buf bytes.Buffer
			z := w(&buf)
			if _, err := z.Write(b); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			return buf.Bytes()
		}
		h := http.Header{"Content-Encoding": {name}}
		var x record.Exchange
		Read(&x, &Request{Path: "/v1/chat/completions", Headers: h, Body: pack([]byte(chatRequest))}, &Answer{Status: 200, Headers: h, Body: pack(answer)}, Options{})
		if x.Content.Output != "Hello" || x.Content.Input[0].Content != "Hi" || x.Cut != nil || string(x.Content.Body) != chatRequest {
			t.Errorf("%s: got %+v, cut %q, %s %s", name, x.Content, x.Cut, x.ErrorKind, x.Error)
		}
		stream := pack([]byte(chatStream))
		h = http.Header{"Content-Encoding": {name}, "Content-Type": {"text/event-stream"}}
		Read(&x, &Request{Path: "/v1/chat/completions"}, &Answer{Status: 200, Headers: h, Body: stream, Marks: []Mark{{len(stream), time.Second}}}, Options{})
		if x.Content.Output != "Hello" || x.TTFT == nil || *x.TTFT != 1 {
			t.Errorf("%s stream: got %+v, %s %s", name, x.Content, x.ErrorKind, x.Error)
		}
		x = record.Exchange{}
		bomb := pack([]byte(`{"choices":[{"message":{"content":"` + strings.Repeat("a", 1<<20) + `"}}]}`))
		Read(&x, &Request{Path: "/v1/chat/completions"}, &Answer{Status: 200, Headers: http.Header{"Content-Encoding": {name}}, Body: bomb}, Options{MaxDecoded: 10_000})
		if x.ErrorKind != "" || len(x.Content.Output) > 10_000 || !reflect.DeepEqual(x.Cut, []string{"output"}) {
			t.Errorf("%s bomb: %s, %d bytes, cut %q", name, x.ErrorKind, len(x.Content.Output), x.Cut)
		}
	}
	f("gzip", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	f("deflate", func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	f("Deflate", func(w io.Writer) io.WriteCloser { z, _ := flate.NewWriter(w, 5); return z })
	f("br", func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) })
	f("zstd", func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z })
	x := record.Exchange{}
	Read(&x, &Request{Path: "/v1/chat/completions"}, &Answer{Status: 200, Headers: http.Header{"Content-Encoding": {"rot13"}}, Body: answer}, Options{})
	if x.ErrorKind != "" || !reflect.DeepEqual(x.Cut, []string{"output"}) {
		t.Errorf("got %s %q", x.ErrorKind, x.Cut)
	}
}

func TestHeaders(t *testing.T) {
	h := http.Header{}
	h.Set("telltale-user", "hu")
	h.Set("telltale-session", "hs")
	h.Set("telltale-tag-Team-Name", "core")
	h.Set("telltale-tag-team", "b")
	h.Set("x-stainless-retry-count", "2")
	h.Set("anthropic-beta", "b1")
	h.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	var x record.Exchange
	Read(&x, &Request{Path: "/v1/messages", Headers: h, Body: []byte(`{"metadata":{"user_id":"bu","team":"a"}}`)}, nil, Options{})
	if x.User != "hu" || x.Session != "hs" || x.Retries != 2 || !reflect.DeepEqual(x.Tags, map[string]string{"team-name": "core", "team": "b"}) || x.Params["anthropic-beta"] != "b1" {
		t.Errorf("got %+v", x)
	}
	if x.TraceID != "0af7651916cd43dd8448eb211c80319c" || x.ParentID != "b7ad6b7169203331" {
		t.Errorf("trace %s, parent %s", x.TraceID, x.ParentID)
	}
	for _, bad := range []string{"", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x"} {
		h.Set("traceparent", bad)
		h.Set("x-stainless-retry-count", "-1")
		var x record.Exchange
		Read(&x, &Request{Path: "/v1/messages", Headers: h}, nil, Options{})
		if x.TraceID != "" || x.Retries != 0 {
			t.Errorf("%q gives %s", bad, x.TraceID)
		}
	}
}

func TestSnapshotAndInputHash(t *testing.T) {
	base := read("/v1/chat/completions", chatRequest, `{}`, Options{})
	snap := Snapshot(&base, "api.openai.com", "", "")
	f := func(body string, same, sameInput bool) {
		t.Helper()
		x := read("/v1/chat/completions", body, `{}`, Options{})
		if got := Snapshot(&x, "api.openai.com", "", "").ID == snap.ID; got != same {
			t.Errorf("%s: same snapshot %v", body, got)
		}
		if got := x.InputHash == base.InputHash; got != sameInput {
			t.Errorf("%s: same input %v", body, got)
		}
	}
	messages := `"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}]`
	f(`{"temperature":0.2,`+messages+`,"model":"gpt-4.1"}`, true, true)
	f(`{"temperature":0.2,`+messages+`,"model":"gpt-4.1","seed":8,"user":"x","metadata":{"a":"b"},"stream":true,"top_p":null}`, true, true)
	f(`{"temperature":0.2,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Bye"}],"model":"gpt-4.1"}`, true, false)
	f(`{"temperature":0.3,`+messages+`,"model":"gpt-4.1"}`, false, true)
	f(`{"temperature":0.2,`+messages+`,"model":"gpt-4"}`, false, true)
	f(`{"temperature":0.2,`+messages+`,"model":"gpt-4.1","new_switch":true}`, false, true)
	f(`{"temperature":0.2,"messages":[{"role":"system","content":"Be long."},{"role":"user","content":"Hi"}],"model":"gpt-4.1"}`, false, false)
	for _, other := range []record.Snapshot{Snapshot(&base, "other", "", ""), Snapshot(&base, "api.openai.com", "m2", ""), Snapshot(&base, "api.openai.com", "", "g1")} {
		if other.ID == snap.ID {
			t.Errorf("%+v has the same id", other)
		}
	}
	if snap.Template != "Be brief." || snap.Params["temperature"] != .2 {
		t.Errorf("got %+v", snap)
	}
	keyed := read("/v1/chat/completions", chatRequest, `{}`, Options{HashKey: []byte("k")})
	if keyed.InputHash == base.InputHash || len(keyed.InputHash) != 16 {
		t.Errorf("got %s", keyed.InputHash)
	}
}

func FuzzRead(f *testing.F) {
	paths := []string{"/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions", "/v1/embeddings", "/v1/moderations", "/v1/messages/count_tokens", "/v1/other"}
	for path, stream := range streams {
		for i, p := range paths {
			if p == path {
				f.Add(uint8(i), true, []byte(messagesRequest), []byte(stream))
				f.Add(uint8(i), true, []byte(responsesRequest), []byte(stream))
			}
		}
	}
	f.Add(uint8(0), false, []byte(chatRequest), []byte(responsesObject))
	f.Add(uint8(2), false, []byte(responsesRequest), []byte(responsesObject))
	f.Add(uint8(3), false, []byte(`{"prompt":["a",1,[2],{"type":"text"}]}`), []byte(legacyAnswer))
	f.Fuzz(func(t *testing.T, api uint8, stream bool, req, ans []byte) {
		h := http.Header{}
		if stream {
			h.Set("Content-Type", "text/event-stream")
		}
		path := paths[int(api)%len(paths)]
		var x record.Exchange
		Read(&x, &Request{Path: path, Body: req}, &Answer{Status: 200, Headers: h, Body: ans}, Options{MaxContent: 500, TopK: true, MaxTokens: 5})
		b, err := json.Marshal(&x)
		if err != nil {
			t.Fatalf("cannot be written: %v", err)
		}
		var back record.Exchange
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("cannot be read back: %v in %s", err, b)
		}
		if n := len(x.Content.Output) + len(x.Content.Refusal); n > 260 || len(x.TopK) > 5 {
			t.Fatalf("%d bytes, %d tokens are kept", n, len(x.TopK))
		}
		Snapshot(&x, "h", "", "")
	})
}
