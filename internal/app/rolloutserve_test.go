package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/rollout"
)

// models answers with the name of the model that was asked, and counts. Each may take its time.
type models struct {
	*httptest.Server
	slow map[string]time.Duration

	mu        sync.Mutex
	asked     map[string]int
	now, most map[string]int
}

func newModels(t *testing.T, slow map[string]time.Duration) *models {
	t.Helper()
	m := &models{slow: slow, asked: map[string]int{}, now: map[string]int{}, most: map[string]int{}}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Model string
			Tools []any
		}
		if body, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(body, &q) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		m.mu.Lock()
		m.asked[q.Model]++
		m.now[q.Model]++
		m.most[q.Model] = max(m.most[q.Model], m.now[q.Model])
		m.mu.Unlock()
		time.Sleep(m.slow[q.Model])
		m.mu.Lock()
		m.now[q.Model]--
		m.mu.Unlock()
		calls, finish := "", "stop"
		if len(q.Tools) > 0 {
			calls, finish = `,"tool_calls":[{"id":"c1","type":"function","function":{"name":"pay","arguments":"{}"}}]`, "tool_calls"
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"x","object":"chat.completion","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":%q%s},"finish_reason":%q}],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}`,
			q.Model, "I am "+q.Model, calls, finish)
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *models) count(model string) (asked, most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked[model], m.most[model]
}

const variantsText = `
listen: {gateway: '127.0.0.1:0', api: '127.0.0.1:0', otlp_grpc: off}
routes:
  - name: main
    upstreams: [{url: %q}]
    variants: [{name: canary, model: next}]
`

// begin starts a rollout as the command does.
func (s *serving) begin(t *testing.T, document string) api.Rollout {
	t.Helper()
	got, err := s.tryBegin(t, document)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (s *serving) tryBegin(t *testing.T, document string) (api.Rollout, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rollout.yaml")
	if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	var got api.Rollout
	for range 100 {
		if got, err = r.StartRollout(t.Context(), path, "anna", ""); err == nil || !strings.Contains(err.Error(), "not available") {
			break
		}
		time.Sleep(100 * time.Millisecond) // the bus is being opened
	}
	return got, err
}

// until waits for a rollout to be as ok wants it.
func (s *serving) until(t *testing.T, name string, ok func(*api.Rollout) bool) api.Rollout {
	t.Helper()
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	var got api.Rollout
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got, err = r.Rollout(t.Context(), name); err == nil && ok(&got) {
			return got
		}
	}
	b, _ := json.MarshalIndent(got, "", " ")
	t.Fatalf("%v: %s", err, b)
	return got
}

func ended(r *api.Rollout) bool { return rollout.Phase(r.Phase).Final() }

// say sends one request and returns the answer's text and the id by which it is known.
func (s *serving) say(t *testing.T, body string, header ...string) (text, id string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.gateway+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return "", ""
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return "", ""
	}
	defer resp.Body.Close()
	var a struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || resp.StatusCode != http.StatusOK || len(a.Choices) != 1 {
		t.Errorf("%s, %v", resp.Status, err)
		return "", ""
	}
	return a.Choices[0].Message.Content, resp.Header.Get("Telltale-Id")
}

const asking = `{"model":"now","messages":[{"role":"user","content":"who are you?"}]}`

// TestFeedbackRollsBack has users who do not like the candidate: what they say later of its answers withdraws it, each user once.
func TestFeedbackRollsBack(t *testing.T) {
	s := serveYAML(t, fmt.Sprintf(variantsText, newModels(t, nil).URL)+"privacy: {fields: {user: pseudonym}}\n")
	s.begin(t, `
name: swap
route: main
candidate: canary
unit: user
stages: [{weight: 50%, min_duration: 1s, max_duration: 1h, min_samples: 10}, 100%]
signals: [{kind: error_rate, margin: 5%}, {score: feedback, margin: 5%, delay: 4s}]
`)
	s.until(t, "swap", func(r *api.Rollout) bool { return r.Weight == .5 })
	comment := func(id, body string, status int) {
		t.Helper()
		resp, err := http.Post(s.api+"/v1/exchanges/"+id+"/scores", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != status {
			t.Fatalf("%s: %s", resp.Status, b)
		}
	}
	comment("x", `{"name":"feedback"}`, 400)
	saw := map[string]int{}
	for i := 0; ; i++ {
		user := fmt.Sprint("u", i)
		for range 2 { // the second counts no more
			text, id := s.say(t, asking, "telltale-user", user)
			if id == "" {
				t.Fatal("the answer has no id")
			}
			saw[text]++
			comment(id, fmt.Sprintf(`{"name":"feedback","pass":%t,"reason":"%s"}`, text == "I am now", text), 200)
		}
		if i == 200 || t.Failed() {
			break
		}
	}
	got := s.until(t, "swap", ended)
	if got.Phase != string(rollout.RolledBack) || !strings.Contains(got.Decision.Reason, "feedback is worse") {
		t.Errorf("%s: %s", got.Phase, got.Decision.Reason)
	}
	g := got.Signals[1]
	if n := g.BaselineN + g.CandidateN; n > 201 || n < 10 || *g.CandidateRate != 1 || *g.BaselineRate != 0 || got.Refused["unit"] > 0 {
		t.Errorf("%+v, refused %v, saw %v", g, got.Refused, saw)
	}
	if _, err := s.tryBegin(t, "name: x\nroute: elsewhere\ncandidate: canary\n"); err == nil {
		t.Error("a rollout of an unknown route was started")
	}
}

// TestFeedbackNeedsItsUnit refuses users as units where none are kept.
func TestFeedbackNeedsItsUnit(t *testing.T) {
	s := serveYAML(t, fmt.Sprintf(variantsText, "http://127.0.0.1:9")+"privacy: {fields: {user: remove}}\n")
	_, err := s.tryBegin(t, "name: x\nroute: main\nunit: user\ncandidate: canary\nsignals: [{score: feedback, margin: 5%}]\n")
	if err == nil || !strings.Contains(err.Error(), "rollout.yaml:3:7: unit") || !strings.Contains(err.Error(), "the server keeps no users") {
		t.Errorf("%v", err)
	}
	s.begin(t, "name: x\nroute: main\nunit: session\ncandidate: canary\nsignals: [{score: feedback, margin: 5%}]\n")
}

const shadowDoc = `
name: swap
route: main
candidate: canary
stages: [{weight: shadow, min_duration: 1s, max_duration: 1h, min_samples: 20}, {weight: 5%, min_duration: 1h, max_duration: 2h}, 100%]
signals: [{kind: error_rate, margin: 5%}, {kind: format, score: polite, margin: 5%}]
`

// TestShadow compares answers that nobody gets: a candidate that is worse never reaches a user.
func TestShadow(t *testing.T) {
	up := newModels(t, map[string]time.Duration{"next": 50 * time.Millisecond})
	s := serveYAML(t, fmt.Sprintf(variantsText, up.URL)+"scorers: [{name: polite, assert: {type: contains, value: now}}]\n")
	s.begin(t, shadowDoc)
	s.until(t, "swap", func(r *api.Rollout) bool { return r.Phase == string(rollout.Shadowing) })
	sent := 0
	var got api.Rollout
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end) && !ended(&got); {
		for range 20 {
			if text, _ := s.say(t, asking); text != "I am now" {
				t.Fatalf("a user got %q", text)
			}
			sent++
		}
		got = s.until(t, "swap", func(*api.Rollout) bool { return true })
	}
	if got.Phase != string(rollout.RolledBack) || !strings.Contains(got.Decision.Reason, "format is worse") || got.Signals[1].CandidateN == 0 || *got.Signals[1].CandidateRate != 1 || *got.Signals[1].BaselineRate != 0 {
		b, _ := json.Marshal(got)
		t.Errorf("%s", b)
	}
	if asked, most := up.count("next"); most > 4 || asked == 0 {
		t.Errorf("%d copies, %d at a time", asked, most)
	}
	// Nothing is copied any more.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if m := s.scraped(t); total(m["telltale_gateway_shadowed_total"]) > 0 {
			break
		}
	}
	time.Sleep(300 * time.Millisecond)
	before, _ := up.count("next")
	s.say(t, asking)
	time.Sleep(200 * time.Millisecond)
	if after, _ := up.count("next"); after != before {
		t.Errorf("%d more copies after the end", after-before)
	}
}

// TestShadowBounds holds copies to their bounds, counts those that were not sent, and leaves users alone.
func TestShadowBounds(t *testing.T) {
	up := newModels(t, map[string]time.Duration{"next": 400 * time.Millisecond})
	s := serveYAML(t, fmt.Sprintf(variantsText, up.URL)+"scorers: [{name: polite, assert: {type: contains, value: I am}}]\n")
	s.begin(t, shadowDoc+"shadow: {parallel: 2, tokens: 45}\n")
	s.until(t, "swap", func(r *api.Rollout) bool { return r.Phase == string(rollout.Shadowing) })
	const tools = `{"model":"now","messages":[{"role":"user","content":"pay"}],"tools":[{"type":"function","function":{"name":"pay"}}]}`
	for range 40 { // until the plan is in force here
		s.say(t, asking)
		if n, _ := up.count("next"); n > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	start := time.Now()
	for range 30 {
		s.say(t, tools)
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(start)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		s.say(t, asking)
		if total(s.scraped(t)["telltale_gateway_shadow_dropped_total"], "reason", "budget") > 0 {
			break
		}
	}
	m := s.scraped(t)
	asked, most := up.count("next")
	sent, busy, spent := total(m["telltale_gateway_shadowed_total"]), total(m["telltale_gateway_shadow_dropped_total"], "reason", "busy"), total(m["telltale_gateway_shadow_dropped_total"], "reason", "budget")
	// 45 tokens are five answers, and those that were under way when the fifth was counted.
	if most != 2 || asked != int(sent) || asked < 5 || asked > 8 || busy == 0 || spent == 0 {
		t.Errorf("%d copies, %d at a time; sent %v, dropped busy %v, budget %v", asked, most, sent, busy, spent)
	}
	if took > 10*time.Second { // 30 answers after their copies would take 12
		t.Errorf("30 requests took %v", took)
	}
	got := s.until(t, "swap", func(r *api.Rollout) bool { return r.Signals[1].CandidateN == int64(asked) })
	if got.Signals[1].BaselineN < got.Signals[1].CandidateN || got.Refused["unpaired"] > 0 {
		t.Errorf("%+v, %v", got.Signals[1], got.Refused)
	}
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	st, err := r.Status(t.Context())
	if err != nil || st.Shadow["sent"] != int64(asked) || st.Shadow["dropped_busy"] == 0 || st.Shadow["dropped_budget"] == 0 {
		t.Errorf("%v, %v", st.Shadow, err)
	}
}

// TestExperimentEnds runs an experiment between two variants, each user on one, until the difference is shown.
func TestExperimentEnds(t *testing.T) {
	s := serveYAML(t, fmt.Sprintf(variantsText, newModels(t, nil).URL)+"scorers: [{name: polite, assert: {type: contains, value: now}}]\n")
	s.begin(t, `
kind: experiment
name: tone
route: main
unit: user
variants: [{name: baseline, weight: 50%}, {name: canary, weight: 50%}]
metric: {score: polite}
stop: {min_duration: 1s, max_duration: 1h, min_samples: 20}
`)
	s.until(t, "tone", func(r *api.Rollout) bool { return r.Phase == string(rollout.Running) })
	first := map[string]string{}
	alone := 0                                     // users without a name
	for text := ""; text != "I am next"; alone++ { // until the plan is in force here
		text, _ = s.say(t, asking)
	}
	sent := 0
	got := api.Rollout{}
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end) && !ended(&got); {
		moved := ""
		for range 50 {
			user := fmt.Sprint("u", sent/2) // each twice
			sent++
			text, _ := s.say(t, asking, "telltale-user", user)
			if was, known := first[user]; known && was != text {
				moved = user
			}
			first[user] = text
		}
		got = s.until(t, "tone", func(*api.Rollout) bool { return true })
		if moved != "" && !ended(&got) {
			t.Fatalf("user %s was on both variants", moved)
		}
	}
	if got.Phase != string(rollout.Done) || got.Result == nil || got.Result.Outcome != rollout.OutcomeSignificant {
		t.Fatalf("%+v", got)
	}
	page := got.Result.Markdown()
	for _, want := range []string{"# Experiment tone", "**canary** is worse than baseline", "| canary |", "significant", "A user counts once"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if v := got.Result.Variants; *v[0].Mean != 1 || *v[1].Mean != 0 || v[0].N+v[1].N > int64(len(first)+alone) {
		t.Errorf("%+v of %d users", v, len(first))
	}
	// Everybody gets the baseline again.
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		all := true
		for i := range 20 {
			text, _ := s.say(t, asking, "telltale-user", fmt.Sprint("u", i))
			all = all && text == "I am now"
		}
		if all {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the experiment goes on for users")
		}
	}
}
