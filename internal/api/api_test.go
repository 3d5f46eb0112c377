package api

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

// fake answers queries from a list and remembers what it was asked.
type fake struct {
	store.Store
	list   []record.Exchange
	asked  store.Query
	series store.SeriesQuery
	points []store.Point
	fail   error
}

func (f *fake) List(_ context.Context, q store.Query) (store.Page, error) {
	f.asked = q
	if f.fail != nil {
		return store.Page{}, f.fail
	}
	if _, err := q.Prepare(); err != nil {
		return store.Page{}, err
	}
	if q.Cursor == "" && len(f.list) > 1 {
		return store.Page{Exchanges: f.list[:1], Next: store.Place{Time: f.list[0].Time, ID: f.list[0].ID}.Cursor()}, nil
	}
	return store.Page{Exchanges: f.list[min(1, len(f.list)):]}, nil
}

func (f *fake) Exchange(_ context.Context, id string) (record.Exchange, error) {
	for _, x := range f.list {
		if x.ID == id {
			return x, nil
		}
	}
	return record.Exchange{}, store.ErrNotFound
}

func (f *fake) Series(_ context.Context, q store.SeriesQuery) ([]store.Point, error) {
	f.series = q
	return f.points, q.Prepare()
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func serve(t *testing.T, f *fake, change func(*Options)) http.Handler {
	t.Helper()
	o := Options{
		Store:  func() (store.Store, error) { return f, nil },
		Status: func() Status { return Status{Version: "1"} },
		Forget: func(context.Context, string) (store.Deleted, error) { return store.Deleted{Exchanges: 2}, nil },
		Now:    func() time.Time { return noon },
	}
	if change != nil {
		change(&o)
	}
	return New(o)
}

func ask(t *testing.T, h http.Handler, method, target, body string, header ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:4001"
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func two() *fake {
	return &fake{list: []record.Exchange{{ID: "b", Time: noon, Route: "r"}, {ID: "a", Time: noon.Add(-time.Second), Route: "r"}}}
}

func TestListReadsTheFilter(t *testing.T) {
	f := two()
	code, body := ask(t, serve(t, f, nil), "GET", "/v1/exchanges?since=15m&route=r,s&tag=team:support&tag=env:prod&score=toxicity%3E0.5&error=timeout&status=500&outcome=failed&min_latency=1.5&text=refund&content=true&limit=7", "")
	if code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	q := f.asked
	if !q.From.Equal(noon.Add(-15*time.Minute)) || len(q.Routes) != 2 || q.Tags["env"] != "prod" || q.Tags["team"] != "support" || len(q.Scores) != 1 || *q.Scores[0].Above != .5 ||
		q.ErrorKinds[0] != "timeout" || q.Statuses[0] != 500 || q.Outcome != store.Failed || q.MinLatency != 1.5 || q.Text != "refund" || !q.Content || q.Limit != 7 {
		t.Errorf("%+v", q)
	}
	var page struct {
		Exchanges []record.Exchange
		Next      string
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Exchanges) != 1 || page.Next == "" {
		t.Errorf("%v %s", err, body)
	}
}

// People are looked for by what clients call them, and are stored under pseudonyms.
func TestPersonsAreFoundUnderEveryName(t *testing.T) {
	f := two()
	h := serve(t, f, func(o *Options) {
		o.Tokens = func(name string) []string {
			if strings.TrimSpace(name) == "" {
				return nil
			}
			return []string{"email_1_" + name, name, "user_1_" + name}
		}
	})
	asked := func(query string, users, sessions []string) {
		t.Helper()
		for _, target := range []string{"/v1/exchanges?" + query, "/v1/exchanges/export?" + query} {
			f.asked = store.Query{}
			if code, body := ask(t, h, "GET", target, ""); code != 200 || !slices.Equal(f.asked.Users, users) || !slices.Equal(f.asked.Sessions, sessions) {
				t.Errorf("%s: %d, asked for %q and %q; %s", target, code, f.asked.Users, f.asked.Sessions, body)
			}
		}
	}
	asked("user=anna", []string{"anna", "email_1_anna", "user_1_anna"}, nil)
	asked("session=s&user=anna", []string{"anna", "email_1_anna", "user_1_anna"}, []string{"s", "email_1_s", "user_1_s"})
	asked("user=", nil, nil)
	asked("user=%20", []string{" "}, nil) // not everything
	h = serve(t, f, nil)
	asked("user=anna", []string{"anna"}, nil)
}

func TestMistakesAreNamed(t *testing.T) {
	h := serve(t, two(), nil)
	f := func(target string, code int, want string) {
		t.Helper()
		got, body := ask(t, h, "GET", target, "")
		if got != code || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %d and %q", target, got, body, code, want)
		}
	}
	f("/v1/exchanges?since=yesterday", 422, "2026-01-31T12:00:00Z")
	f("/v1/exchanges?limit=0", 422, "query.limit")
	f("/v1/exchanges?cursor=zzz", 422, "earlier page")
	f("/v1/exchanges?tag=team", 422, "NAME:VALUE")
	f("/v1/exchanges?score=%3E1", 422, "NAME")
	f("/v1/exchanges?nosuch=1", 422, "nosuch")
	f("/v1/exchanges/nosuch", 404, "no record")
	f("/v1/routes/r/stats?by=colour", 422, "variant")
	f("/v1/exchanges?source=gatway", 422, "gateway, otlp")
	f("/v1/exchanges?error=time_out", 422, "rate_limited")
	f("/v1/routes/r/stats?since=1h&until=2h", 422, "a time after since")
	f("/v1/nosuch", 404, "")
}

func TestOnlyThisMachineMayAsk(t *testing.T) {
	h := serve(t, two(), nil)
	f := func(h http.Handler, method, target, body string, want int, header ...string) {
		t.Helper()
		if code, got := ask(t, h, method, target, body, header...); code != want {
			t.Errorf("%s %s %v: %d, want %d: %s", method, target, header, code, want, got)
		}
	}
	f(h, "GET", "/v1/status", "", 200)
	f(h, "GET", "/v1/status", "", 403, "Host", "evil.example:4001")
	f(h, "POST", "/v1/forget", `{"user":"u"}`, 200)
	f(h, "POST", "/v1/forget", `{"user":"u"}`, 403, "Sec-Fetch-Site", "cross-site")
	f(h, "POST", "/v1/forget", `{"user":"u"}`, 403, "Origin", "https://evil.example")
	f(h, "POST", "/v1/forget", `{"user":""}`, 422)
	f(h, "POST", "/v1/forget", `{"usr":"u"}`, 422)
	keyed := serve(t, two(), func(o *Options) {
		o.AnyHost = true
		o.Auth = func(r *http.Request) error {
			switch r.Header.Get("Authorization") {
			case "Bearer good":
				return nil
			case "Bearer gateway":
				return Forbidden("the key is for the gateway")
			}
			return errors.New("a key is needed")
		}
	})
	f(keyed, "GET", "/v1/status", "", 401, "Host", "api.example")
	f(keyed, "GET", "/v1/status", "", 403, "Authorization", "Bearer gateway")
	f(keyed, "GET", "/v1/status", "", 200, "Host", "api.example", "Authorization", "Bearer good")
}

func TestStats(t *testing.T) {
	f := two()
	f.points = []store.Point{{Time: noon, Group: []string{"canary"}, Count: 10, Errors: 2, Canceled: 2}, {Time: noon, Group: []string{"idle"}}}
	code, body := ask(t, serve(t, f, nil), "GET", "/v1/routes/all/stats?since=1h&every=1m&by=variant&score=toxicity", "")
	if code != 200 || !strings.Contains(body, `"error_rate":0.25`) || !strings.Contains(body, `"error_rate":null`) {
		t.Errorf("%d %s", code, body)
	}
	if q := f.series; len(q.Routes) != 0 || q.Every != time.Minute || q.By[0] != store.ByVariant || q.Scores[0] != "toxicity" || !q.From.Equal(noon.Add(-time.Hour)) || !q.To.Equal(noon) {
		t.Errorf("%+v", q)
	}
}

func TestExportFollowsAllPages(t *testing.T) {
	code, body := ask(t, serve(t, two(), nil), "GET", "/v1/exchanges/export", "")
	if lines := strings.Split(strings.TrimSpace(body), "\n"); code != 200 || len(lines) != 2 || !strings.Contains(lines[1], `"id":"a"`) {
		t.Errorf("%d %s", code, body)
	}
}

func TestNoStore(t *testing.T) {
	h := serve(t, nil, func(o *Options) { o.Store = func() (store.Store, error) { return nil, errors.New("disk full") } })
	if code, body := ask(t, h, "GET", "/v1/exchanges", ""); code != 503 || !strings.Contains(body, "disk full") {
		t.Errorf("%d %s", code, body)
	}
	if code, body := ask(t, h, "POST", "/v1/forget", `{"user":"anna"}`); code != 503 || !strings.Contains(body, "the store is not available: disk full") {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := ask(t, h, "GET", "/v1/status", ""); code != 200 {
		t.Errorf("status without a store: %d", code)
	}
}

func TestDocumentIsCurrent(t *testing.T) {
	b, err := document("0")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]any
	}
	if err := json.Unmarshal(b, &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") || len(doc.Paths) != 13 {
		t.Fatalf("%v, OpenAPI %q with %d paths", err, doc.OpenAPI, len(doc.Paths))
	}
	const file = "../../docs/openapi.json"
	if *update {
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != string(b)+"\n" {
		t.Errorf("%s is not what the types say: make generate writes it (%v)", file, err)
	}
}

// document returns the OpenAPI document as JSON.
func document(version string) ([]byte, error) {
	a := humago.New(http.NewServeMux(), description(version))
	register(a, &server{})
	registerRollouts(a, &server{})
	return a.OpenAPI().MarshalJSON()
}
