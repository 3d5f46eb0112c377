package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

// guardText is a configuration with a guard of every kind, before the routes' upstream.
const guardText = `
guards:
  - {name: stop, refusal: "I cannot say.", filters: [{name: rumour, phrases: [project nightjar], action: block}]}
  - {name: mask, filters: [{name: people, pii: [email], action: replace}]}
  - {name: ask, filters: [{name: rumour, phrases: [project nightjar], action: reask, ask: "Do not name projects.", otherwise: block}]}
  - {name: patch, system: {append: "Be kind."}, caps: {max_tokens: 50}}
  - {name: form, ask: true, schema: {type: object, required: [age], properties: {age: {type: integer}}}}
  - {name: fall, fallback: {model: safe, on: [error]}, filters: [{name: rumour, phrases: [project nightjar], action: block}]}
routes:
`

// scripted answers by the request's body.
type scripted struct {
	mu     sync.Mutex
	bodies []string
	answer func(n int, body string, w http.ResponseWriter)
}

func (m *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	m.bodies = append(m.bodies, string(b))
	n := len(m.bodies)
	m.mu.Unlock()
	m.answer(n, string(b), w)
}

func says(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}]}`, text)
}

// streams sends words as events, one piece each.
func streams(w http.ResponseWriter, words ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, word := range words {
		_, _ = fmt.Fprintf(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", word)
		_ = http.NewResponseController(w).Flush()
	}
	_, _ = io.WriteString(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
}

// guarded starts a gateway whose route has a guard.
func guardedBy(t *testing.T, name string, answer func(n int, body string, w http.ResponseWriter)) (*server, *scripted) {
	t.Helper()
	m := &scripted{answer: answer}
	text := guardText + "  - {name: main, guard: " + name + ", pass_key: true, retries: 0, upstreams: [{name: up, url: '" + serve(t, m.ServeHTTP) + "'}]}\n"
	cfg, err := config.LoadServer("server.yaml", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return start(t, cfg, Options{}), m
}

const (
	askPlain  = `{"model":"m","messages":[{"role":"user","content":"Hello"}]}`
	askStream = `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}]}`
)

func TestGuardBlocks(t *testing.T) {
	s, _ := guardedBy(t, "stop", func(_ int, body string, w http.ResponseWriter) {
		if strings.Contains(body, `"stream":true`) {
			streams(w, "We call it pro", "ject night", "jar, and it is", " secret.")
			return
		}
		w.Header().Set("Etag", "x")
		says(w, "We call it Project Nightjar.")
	})
	for _, ask := range []string{askPlain, askStream} {
		resp, got := post(t, s, "/v1/chat/completions", ask, "accept-encoding", "gzip")
		x := s.tapped(t)
		if resp.StatusCode != http.StatusOK || strings.Contains(strings.ToLower(got), "jar") || !strings.Contains(got, "I cannot say.") || !strings.Contains(got, "content_filter") || resp.Header.Get("Etag") != "" {
			t.Errorf("%s: %d %s", ask, resp.StatusCode, got)
		}
		if x.Guard == nil || x.Guard.Outcome != "blocked" || x.Guard.Hits[0].Filter != "rumour" || string(x.Answer) != got || strings.Contains(strings.ToLower(string(x.Answer)), "jar") {
			t.Errorf("%s: captured %+v, %s", ask, x.Guard, x.Answer)
		}
	}
	// What is not an answer of a model is not looked at.
	if resp, _ := post(t, s, "/v1/embeddings", `{"model":"m","input":"x"}`); resp.StatusCode != http.StatusOK {
		t.Errorf("%d", resp.StatusCode)
	}
	if x := s.tapped(t); x.Guard != nil {
		t.Errorf("%+v", x.Guard)
	}
}

// TestGuardMasks also shows that the first words of a stream do not wait for its end.
func TestGuardMasks(t *testing.T) {
	seen := make(chan struct{})
	s, m := guardedBy(t, "mask", nil)
	m.answer = func(_ int, _ string, w http.ResponseWriter) {
		streams(w, "Good morning, it is nice to hear from you today. ", "Write to ")
		_ = http.NewResponseController(w).Flush()
		<-seen
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(askStream))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 256)
	n, err := io.ReadAtLeast(resp.Body, first, 100)
	if err != nil || !strings.Contains(string(first[:n]), "Good morning") {
		t.Fatalf("%v %q", err, first[:n])
	}
	close(seen)
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	s.tapped(t)

	m.answer = func(_ int, _ string, w http.ResponseWriter) {
		says(w, "Write to anna.larsen@nordlys-hotel.no, please.")
	}
	_, got := post(t, s, "/v1/chat/completions", askPlain)
	if x := s.tapped(t); strings.Contains(got, "anna.") || !strings.Contains(got, "Write to [") || x.Guard.Outcome != "changed" {
		t.Errorf("%s, %+v", got, x.Guard)
	}
	const clean = "Nothing to see."
	m.answer = func(_ int, _ string, w http.ResponseWriter) { says(w, clean) }
	_, got = post(t, s, "/v1/chat/completions", askPlain)
	if x := s.tapped(t); !strings.Contains(got, clean) || x.Guard.Outcome != "passed" {
		t.Errorf("%s, %+v", got, x.Guard)
	}
}

func TestGuardAsksAgain(t *testing.T) {
	better := true
	s, m := guardedBy(t, "ask", func(_ int, body string, w http.ResponseWriter) {
		text := "It is project nightjar."
		if better && strings.Contains(body, "Do not name projects.") {
			text = "It is a project."
		}
		if strings.Contains(body, `"stream":true`) {
			streams(w, text)
			return
		}
		says(w, text)
	})
	for _, ask := range []string{askPlain, askStream} {
		m.bodies = nil
		_, got := post(t, s, "/v1/chat/completions", ask)
		x := s.tapped(t)
		if strings.Contains(got, "nightjar") || !strings.Contains(got, "It is a project.") || len(m.bodies) != 2 || x.Guard.Asked != "rumour" || x.Attempts != 2 || !strings.Contains(string(x.SentBody), "Do not name") {
			t.Errorf("%s: %s\n%q\n%+v", ask, got, m.bodies, x.Guard)
		}
	}
	better, m.bodies = false, nil
	_, got := post(t, s, "/v1/chat/completions", askPlain)
	if x := s.tapped(t); strings.Contains(got, "nightjar") || len(m.bodies) != 2 || x.Guard.Outcome != "blocked" {
		t.Errorf("%s %q %+v", got, m.bodies, x.Guard)
	}
}

func TestGuardRequests(t *testing.T) {
	s, m := guardedBy(t, "patch", func(_ int, _ string, w http.ResponseWriter) { says(w, "ok") })
	post(t, s, "/v1/chat/completions", `{"model":"m","max_tokens":500,"messages":[{"role":"user","content":"Hello"}]}`)
	if x := s.tapped(t); !strings.Contains(m.bodies[0], "Be kind.") || !strings.Contains(m.bodies[0], `"max_tokens":50`) || strings.Contains(m.bodies[0], "500") || string(x.SentBody) != m.bodies[0] {
		t.Errorf("%q", m.bodies)
	}
	resp, got := post(t, s, "/v1/chat/completions", `{"model":"m","max_tokens":"many","messages":[]}`)
	if s.tapped(t); resp.StatusCode != http.StatusBadRequest || len(m.bodies) != 1 {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
}

func TestGuardSchema(t *testing.T) {
	s, m := guardedBy(t, "form", func(n int, _ string, w http.ResponseWriter) {
		says(w, []string{"```json\n{\"age\": 3,}\n```", "three", `{"age": 4}`, "three", "four"}[n-1])
	})
	f := func(status int, want string, asks int) {
		t.Helper()
		before := len(m.bodies)
		resp, got := post(t, s, "/v1/chat/completions", askPlain)
		if x := s.tapped(t); resp.StatusCode != status || !strings.Contains(got, want) || len(m.bodies)-before != asks || x.Status != status {
			t.Errorf("%d %s after %d, %+v", resp.StatusCode, got, len(m.bodies)-before, x.Guard)
		}
	}
	f(200, `\"age\":3`, 1)  // mended
	f(200, `\"age\": 4`, 2) // asked again
	f(502, `schema`, 2)
}

func TestGuardFallsBack(t *testing.T) {
	s, m := guardedBy(t, "fall", func(_ int, body string, w http.ResponseWriter) {
		if !strings.Contains(body, `"safe"`) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		says(w, "safe and sound")
	})
	resp, got := post(t, s, "/v1/chat/completions", askPlain)
	if x := s.tapped(t); resp.StatusCode != http.StatusOK || !strings.Contains(got, "safe and sound") || len(m.bodies) != 2 || x.Guard.Model != "safe" {
		t.Errorf("%d %s %q %+v", resp.StatusCode, got, m.bodies, x.Guard)
	}
}

// TestGuardCut breaks an answer off: the client's breaks off too, and nothing forbidden was passed on.
func TestGuardCut(t *testing.T) {
	s, _ := guardedBy(t, "stop", func(_ int, _ string, w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"It is project night\"}}]}\n\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(askStream))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if resp, err := s.client.Do(req); err == nil {
		b, rerr := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if rerr == nil && resp.StatusCode == http.StatusOK && !strings.Contains(string(b), "error") && !strings.Contains(string(b), "content_filter") {
			t.Errorf("an answer that was cut off looks whole: %q", b)
		}
	}
	if x := s.tapped(t); x.ErrorKind == "" || x.Guard == nil {
		t.Errorf("%+v", x)
	}
}

// TestGuardOfVariant gives a variant a guard of its own.
func TestGuardOfVariant(t *testing.T) {
	m := &scripted{answer: func(_ int, _ string, w http.ResponseWriter) { says(w, "project nightjar") }}
	text := guardText + "  - {name: main, pass_key: true, upstreams: [{name: up, url: '" + serve(t, m.ServeHTTP) + "'}], variants: [{name: strict, guard: stop}]}\n"
	cfg, err := config.LoadServer("server.yaml", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg, Options{})
	f := func(weight float64, want string) {
		t.Helper()
		if err := s.SetPlan("main", &Plan{Rollout: "guard", Unit: "request", Salt: []byte("s"), Arms: []Arm{{"strict", weight}}, Shadow: nil}); err != nil {
			t.Fatal(err)
		}
		_, got := post(t, s, "/v1/chat/completions", askPlain)
		if s.tapped(t); !strings.Contains(got, want) {
			t.Errorf("weight %v: %s", weight, got)
		}
	}
	f(0, "project nightjar")
	f(1, "I cannot say.")
}
