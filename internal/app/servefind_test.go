package app

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// posts sends a chat request with pairs of header and value through the gateway.
func (s *serving) posts(t *testing.T, body string, header ...string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.gateway+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
}

// Who is stored under a pseudonym is found by the name that clients send, and by the pseudonym.
func TestPersonsAreFoundByTheirNames(t *testing.T) {
	s := serveIt(t, echoing(t).URL, "privacy: {fields: {user: pseudonym, session: pseudonym}}\n")
	const body = `{"model":"m","messages":[{"role":"user","content":"hello"}]}`
	s.posts(t, body, "telltale-user", "anna.berg@example.org", "telltale-session", "tuesday")
	s.posts(t, body, "telltale-user", "anna.berg@example.org")
	s.posts(t, body, "telltale-user", "ben", "telltale-session", "tuesday")
	s.stored(t, 3)
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	found := func(want int, query url.Values) string {
		t.Helper()
		page, err := r.List(t.Context(), query)
		if err != nil || len(page.Exchanges) != want {
			t.Fatalf("%v: %d found, want %d, %v", query, len(page.Exchanges), want, err)
		}
		if want == 0 {
			return ""
		}
		return page.Exchanges[0].User
	}
	token := found(2, url.Values{"user": {"anna.berg@example.org"}})
	if token == "" || strings.Contains(token, "anna") {
		t.Errorf("stored as %q", token)
	}
	found(2, url.Values{"user": {"Anna.Berg@Example.org"}})
	found(2, url.Values{"user": {token}})
	found(2, url.Values{"session": {"tuesday"}})
	found(1, url.Values{"session": {"tuesday"}, "user": {"ben"}})
	found(0, url.Values{"user": {"anna"}})
	found(0, url.Values{"user": {" "}})
}

// A score that an evaluation sends after the exchange was stored is found with it, once, and without what people wrote. One
// that comes before its exchange is there too.
func TestLateScores(t *testing.T) {
	s := serveIt(t, echoing(t).URL, "")
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	post := func(path, body string) {
		t.Helper()
		for range 600 { // the bus is being opened
			resp, err := http.Post(s.api+path, "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode == http.StatusOK {
				return
			}
			if resp.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("%s: %d %s", path, resp.StatusCode, said)
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatal("no room")
	}
	span := func(id string) {
		t.Helper()
		post("/v1/traces", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"`+id+`","name":"chat m","startTimeUnixNano":"1772360000000000000","endTimeUnixNano":"1772360001000000000",
			"attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.provider.name","value":{"stringValue":"openai"}},{"key":"gen_ai.request.model","value":{"stringValue":"m"}}]}]}]}]}`)
	}
	evaluation := func(id, name string, nanos int) {
		t.Helper()
		post("/v1/logs", fmt.Sprintf(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":%q,"timeUnixNano":"17723610000000%05d","eventName":"gen_ai.evaluation.result","body":{},
			"attributes":[{"key":"gen_ai.evaluation.name","value":{"stringValue":%q}},{"key":"gen_ai.evaluation.score.value","value":{"doubleValue":0.25}},
			{"key":"gen_ai.evaluation.explanation","value":{"stringValue":"It tells anna.berg@example.org too much."}}]}]}]}]}`, id, nanos, name))
	}
	scored := func(n int, names ...string) record.Exchange {
		t.Helper()
		var page store.Page
		for range 600 {
			if page, err = r.List(t.Context(), url.Values{"content": {"true"}}); err == nil && len(page.Exchanges) == n && len(page.Exchanges[0].Scores) == len(names) {
				x := page.Exchanges[0]
				for i := range names {
					if sc := x.Scores[i]; sc.Name != names[i] || *sc.Value != .25 || !strings.Contains(sc.Reason, "[EMAIL]") {
						t.Errorf("%+v", sc)
					}
				}
				return x
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("not scored: %+v, %v", page.Exchanges, err)
		return record.Exchange{}
	}
	span("eee19b7ec3c1b174")
	scored(1)
	evaluation("eee19b7ec3c1b174", "tone", 1000)
	evaluation("eee19b7ec3c1b174", "tone", 1000)
	evaluation("eee19b7ec3c1b174", "facts", 2000)
	evaluation("eee19b7ec3c1b175", "early", 1000)
	x := scored(1, "tone", "facts")
	span("eee19b7ec3c1b174") // sent again
	if page, err := r.List(t.Context(), url.Values{"score": {"tone<0.3"}}); err != nil || len(page.Exchanges) != 1 || page.Exchanges[0].ID != x.ID {
		t.Errorf("%+v, %v", page, err)
	}
	span("eee19b7ec3c1b175")
	for range 600 {
		page, err := r.List(t.Context(), url.Values{"score": {"early"}})
		if err == nil && len(page.Exchanges) == 1 && len(page.Exchanges[0].Scores) == 1 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	page, err := r.List(t.Context(), url.Values{})
	if err != nil || len(page.Exchanges) != 2 || len(page.Exchanges[0].Scores)+len(page.Exchanges[1].Scores) != 3 {
		t.Errorf("%+v, %v", page, err)
	}
}
