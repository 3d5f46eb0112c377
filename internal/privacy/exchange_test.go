package privacy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// planted are values of every kind, each where its form alone tells what it is.
var planted = []string{
	"jane.doe@acme.org", "4111 1111 1111 1111", "378282246310005", "GB82 WEST 1234 5698 7654 32", "86.121.97.248", "2a02:8071:b5c2::1f", "123-45-6789", "+1 212 736 5000",
	"ghp" + "_9fK2mX7qLs4Tz8VbN1cR6yWd3HgJ5pEa0uQi", "AB 12 34 56 C",
}

// full is an exchange with a value in every field that holds text.
func full(value string) *record.Exchange {
	quoted, _ := json.Marshal(value)
	body := fmt.Sprintf(`{"model": "m", "user": %s, "messages": [{"role": "user", "content": [{"type": "text", "text": %s}]}], "metadata": {"x": %s}}`, quoted, quoted, quoted)
	inner, _ := json.Marshal(body)
	var tokens []record.TokenLogprob
	for _, piece := range append([]string{"It is ", ""}, strings.SplitAfter(value, "")...) {
		tokens = append(tokens, record.TokenLogprob{Token: piece, Top: map[string]float64{piece: -.1, value: -3}})
	}
	tokens = append(tokens, record.TokenLogprob{Token: "."})
	return &record.Exchange{
		ID: "1", Model: "m " + value, Served: value, Endpoint: "/v1/users/" + strings.ReplaceAll(value, " ", "%20"), Error: "no such user " + value, User: value, Session: "s " + value,
		Tags: map[string]string{"a": value, "b " + value: "x"}, FinishReason: value,
		Params: map[string]any{"stop": []any{value}, "user": value, "nested": map[string]any{"deep": []string{value}}, "n": 1.0, "logit_bias": map[string]any{value: 1.0}, value: "k", "x": []any{map[string]any{"a " + value: nil}}},
		Cut:    []string{"input", "params." + value},
		TopK:   tokens,
		Scores: []record.OnlineScore{{Name: "x", Reason: "it says " + value, Error: value, Label: value}},
		Content: &record.Content{
			System: "Know: " + value, Output: "It is " + value + ".", Refusal: "I will not tell " + value, Body: json.RawMessage(body),
			Input: []record.Message{{Role: "user", Content: value}, {Role: "tool", Content: body}, {Role: "user", Parts: []record.Part{{Text: value}, {ImageURL: "https://x.org/?q=" + value}}},
				{Role: "tool", Content: `{"json": ` + string(inner) + `}`}},
			ToolCalls: []record.ToolCall{{Name: "send", Arguments: fmt.Sprintf(`{"to": %s, "n": 3}`, quoted)}, {Name: "broken", Arguments: `{"to": "` + value}},
		},
	}
}

func TestExchange(t *testing.T) {
	for _, m := range []string{"mask", "remove", "pseudonym"} {
		r := redactor(t, config.Privacy{Mode: m, Key: testKey, KeyID: "k1"})
		for _, value := range planted {
			x := full(value)
			if err := r.Exchange(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(x)
			if err != nil {
				t.Fatal(err)
			}
			if survives(string(b), value) {
				t.Errorf("%s: %q survives: %s", m, value, config.Clip(string(b), 3000))
			}
			if x.Redaction != r.Version() || len(x.Found) == 0 {
				t.Errorf("%s: redaction %q, found %v", m, x.Redaction, x.Found)
			}
			if !json.Valid(x.Content.Body) || !json.Valid([]byte(x.Content.ToolCalls[0].Arguments)) {
				t.Errorf("%s: not JSON any more: %s, %s", m, x.Content.Body, x.Content.ToolCalls[0].Arguments)
			}
			text := ""
			for _, token := range x.TopK {
				text += token.Token
			}
			if text != x.Content.Output {
				t.Errorf("%s: tokens %q, output %q", m, text, x.Content.Output)
			}
			found := x.Found
			x.Found = nil
			before, _ := json.Marshal(x)
			if err := r.Exchange(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			x.Found = nil
			if after, _ := json.Marshal(x); string(after) != string(before) {
				t.Errorf("%s: a second time changes\n%s\n%s\n%v", m, before, after, found)
			}
		}
	}
}

func TestExchangeKeepsWhatIsPlain(t *testing.T) {
	r := redactor(t, config.Privacy{})
	x, want := ordinary(t), ordinary(t)
	if err := r.Exchange(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	want.Redaction = r.Version()
	got, _ := json.Marshal(x)
	if plain, _ := json.Marshal(want); string(got) != string(plain) {
		t.Errorf("%s\n%s", got, plain)
	}
	// A body that was cut is not JSON: it must go, for the record could not be written with it.
	x.Content.Body = json.RawMessage(`{"a": "4111111111111`)
	if err := r.Exchange(t.Context(), x); err != nil || x.Content.Body != nil || len(x.Cut) != 1 {
		t.Errorf("%v, %s, %v", err, x.Content.Body, x.Cut)
	}
}

func TestExchangeFields(t *testing.T) {
	r := redactor(t, config.Privacy{Key: testKey, KeyID: "k1", Fields: map[string]string{"user": "pseudonym", "session": "mask", "tags.mail": "remove", "tags.team": "keep"}})
	x := &record.Exchange{User: "jane@acme.org", Session: "s-1", Tags: map[string]string{"mail": "jane", "team": "jane@acme.org", "other": "jane@acme.org"},
		Content: &record.Content{Output: "jane@acme.org"}}
	if err := r.Exchange(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(x.User, "email_k1_") || x.Session != "[SESSION]" || x.Tags["mail"] != "" || x.Tags["team"] != "jane@acme.org" || x.Tags["other"] != "[EMAIL]" || x.Content.Output != "[EMAIL]" {
		t.Errorf("%+v %+v", x, x.Content)
	}
	y := &record.Exchange{User: "u-17"}
	if err := r.Exchange(t.Context(), y); err != nil || !strings.HasPrefix(y.User, "user_k1_") {
		t.Errorf("%v %q", err, y.User)
	}
}

// names answers as Presidio does: every Jane is a person.
func names(t *testing.T, calls *atomic.Int64, status int) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		calls.Add(1)
		var ask struct {
			Text     string   `json:"text"`
			Language string   `json:"language"`
			Entities []string `json:"entities"`
			Score    float64  `json:"score_threshold"`
		}
		if err := json.NewDecoder(req.Body).Decode(&ask); err != nil || req.URL.Path != "/analyze" || req.Method != http.MethodPost || ask.Language != "en" || ask.Score != .5 {
			t.Errorf("%s %s: %+v, %v", req.Method, req.URL.Path, ask, err)
		}
		w.WriteHeader(status)
		var out []map[string]any
		if i := strings.Index(ask.Text, "Jané Doe"); i >= 0 {
			n := len([]rune(ask.Text[:i]))
			out = append(out, map[string]any{"start": n, "end": n + 8, "entity_type": "PERSON", "score": .85}, map[string]any{"start": 0, "end": 1, "entity_type": "PERSON", "score": .1},
				map[string]any{"start": n, "end": 10_000, "entity_type": "PERSON", "score": .9})
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestService(t *testing.T) {
	var calls atomic.Int64
	server := names(t, &calls, http.StatusOK)
	cfg := config.Privacy{NER: &config.NER{URL: server.URL, Language: "en", MinScore: .5, Timeout: 5 * time.Second, Failing: "drop"}}
	r, err := New(cfg, Options{Client: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	x := &record.Exchange{Content: &record.Content{Output: "日本 é Jané Doe, jane@acme.org", Body: json.RawMessage(`{"messages": [{"role": "user", "content": "I am Jané Doe"}]}`)}}
	if err := r.Exchange(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if x.Content.Output != "日本 é [PERSON], [EMAIL]" || !strings.Contains(string(x.Content.Body), `"I am [PERSON]"`) || x.Found["person"] != 2 {
		t.Errorf("%+v %s %v", x.Content, x.Content.Body, x.Found)
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}
}

func TestServiceFails(t *testing.T) {
	f := func(failing string, wantContent bool) {
		t.Helper()
		var calls atomic.Int64
		server := names(t, &calls, http.StatusServiceUnavailable)
		cfg := config.Privacy{NER: &config.NER{URL: server.URL, Language: "en", MinScore: .5, Timeout: 5 * time.Second, Failing: failing}}
		r, err := New(cfg, Options{Client: server.Client()})
		if err != nil {
			t.Fatal(err)
		}
		x := &record.Exchange{Error: "No Jané Doe", Content: &record.Content{Output: "I am Jané Doe, jane@acme.org", Input: []record.Message{{Content: "Who are you?"}}}}
		if err := r.Exchange(t.Context(), x); err != nil || x.Redaction == "" || x.Found["unchecked"] != 1 {
			t.Errorf("%s: %v %+v", failing, err, x)
		}
		if (x.Content != nil) != wantContent || (x.Error != "") != wantContent || wantContent && x.Content.Output != "I am Jané Doe, [EMAIL]" {
			t.Errorf("%s: %+v %q", failing, x.Content, x.Error)
		}
		if calls.Load() != 1 {
			t.Errorf("%s: %d calls of a service that fails", failing, calls.Load())
		}
	}
	f("drop", false)
	f("keep", true)
}

func TestServiceInterrupted(t *testing.T) {
	var calls atomic.Int64
	server := names(t, &calls, http.StatusOK)
	r, err := New(config.Privacy{NER: &config.NER{URL: server.URL, Language: "en", MinScore: .5}}, Options{Client: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x := &record.Exchange{Content: &record.Content{Output: "I am Jané Doe"}}
	if err := r.Exchange(ctx, x); err == nil || x.Content != nil || x.Redaction != "" || strings.Contains(err.Error(), "Jan") {
		t.Errorf("%v %+v", err, x)
	}
}
