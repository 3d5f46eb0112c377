package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// examined runs the doctor over a configuration; $DIR in it is the folder.
func examined(t *testing.T, text string, place config.Placement) []Diagnosis {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "server.yaml")
	text = "listen: {gateway: '127.0.0.1:0', api: '127.0.0.1:0', otlp_grpc: off}\n" + strings.ReplaceAll(text, "$DIR", dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) { return "sk-secret-of-the-test", name == "KEY" }
	found, err := Doctor(t.Context(), DoctorOptions{Config: file, Asked: true, Placement: place, Env: env, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, config.DefaultData)); err == nil {
		t.Error("the doctor made the data directory")
	}
	for _, one := range found {
		if strings.Contains(one.Detail+one.Hint, "sk-secret") {
			t.Errorf("a secret is shown: %+v", one)
		}
		if one.Result != CheckOK && one.Detail == "" {
			t.Errorf("nothing is said: %+v", one)
		}
	}
	return found
}

func TestDoctorAsksUpstreams(t *testing.T) {
	asked := 0
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/v1/models") {
			t.Errorf("the doctor sends %s %s", r.Method, r.URL.Path)
		}
		switch {
		case strings.HasPrefix(r.URL.Path, "/late"):
			w.Header().Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		case strings.HasPrefix(r.URL.Path, "/none"):
			http.NotFound(w, r)
			return
		case strings.HasPrefix(r.URL.Path, "/ill"):
			w.WriteHeader(http.StatusBadGateway)
			return
		case strings.HasPrefix(r.URL.Path, "/anthropic"):
			if r.Header.Get("X-Api-Key") != "sk-secret-of-the-test" || r.Header.Get("Anthropic-Version") == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		case r.Header.Get("Authorization") != "Bearer sk-secret-of-the-test":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "wrong key "+r.Header.Get("Authorization"))
			return
		}
		fmt.Fprint(w, `{"object":"list","data":[{"id":"gpt-x"},{"id":"gpt-y"}]}`)
	}))
	t.Cleanup(up.Close)
	f := func(route string, want Result, detail string) {
		t.Helper()
		found := examined(t, "routes: [{name: main, "+strings.ReplaceAll(route, "UP", up.URL)+"}]\n", config.Placement{})
		for _, one := range found {
			if (strings.HasPrefix(one.Part, "upstream") || one.Part == "clock") && one.Result == want && strings.Contains(one.Detail, detail) {
				return
			}
		}
		t.Errorf("%s: no %s with %q in %+v", route, want, detail, found)
	}
	f(`upstreams: [{url: "UP", key_env: KEY}]`, CheckOK, "with 2 models")
	f(`upstreams: [{url: "UP", key_env: KEY, model: gpt-x}]`, CheckOK, "with 2 models")
	f(`upstreams: [{url: "UP", key_env: KEY, model: gpt-z}]`, CheckWarn, `does not have "gpt-z"`)
	f(`upstreams: [{url: "UP"}]`, CheckFail, "the configuration has none")
	f(`pass_key: true, upstreams: [{url: "UP"}]`, CheckOK, "which clients send")
	f(`upstreams: [{url: "UP/anthropic", key_env: KEY, format: anthropic}]`, CheckOK, "with 2 models")
	f(`upstreams: [{url: "UP/anthropic", key_env: KEY}]`, CheckFail, "refuses the key")
	f(`upstreams: [{url: "UP/none"}]`, CheckOK, "lists no models (status 404)")
	f(`upstreams: [{url: "UP/ill"}]`, CheckWarn, "status 502")
	f(`upstreams: [{url: "UP/late"}]`, CheckFail, "ahead of")
	f(`upstreams: [{url: "http://127.0.0.1:1"}]`, CheckFail, "refused")
	before := asked
	f(`upstreams: [{name: a, url: "UP", key_env: KEY}, {name: b, url: "UP", key_env: KEY}]`, CheckOK, "with 2 models")
	if asked != before+1 {
		t.Errorf("the same upstream was asked %d times", asked-before)
	}
}

func TestDoctorLooksAtParts(t *testing.T) {
	ner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/analyze" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, "[]")
	}))
	t.Cleanup(ner.Close)
	f := func(text string, part string, want Result, detail string) {
		t.Helper()
		found := examined(t, strings.ReplaceAll(text, "NER", ner.URL), config.Placement{})
		for _, one := range found {
			if one.Part == part && one.Result == want && strings.Contains(one.Detail, detail) {
				return
			}
		}
		t.Errorf("%s: no %s %s with %q in %+v", text, part, want, detail, found)
	}
	f("privacy: {ner: {url: NER}}\n", "ner", CheckOK, "answers")
	f("privacy: {ner: {url: NER/elsewhere}}\n", "ner", CheckFail, "404")
	f("privacy: {ner: {url: 'http://127.0.0.1:1'}}\n", "ner", CheckFail, "refused")
	f("access: {require: true}\n", "client keys", CheckWarn, "nobody is served")
	f("data: /proc/telltale\n", "data", CheckFail, "/proc")
	f("bus: {url: 'nats://127.0.0.1:1'}\n", "bus", CheckFail, "not connected")
	f("store: {url: 'clickhouse://u:sk-secret@127.0.0.1:1/db'}\n", "store", CheckFail, "refused")
	f("scorers: [{name: good, assert: {type: contains, value: x}}]\n", "scorers", CheckOK, "1 scorers")
	f("listen: {gateway: 'here'}\n", "configuration", CheckFail, "listen")
	f("privacy: {mode: shout}\n", "configuration", CheckFail, "shout")
}

// A bus that another process has is not opened, nor is its data changed.
func TestDoctorBesideAServer(t *testing.T) {
	s := serveIt(t, echoing(t).URL, "")
	s.posts(t, `{"model":"m","messages":[{"role":"user","content":"hello"}]}`)
	s.stored(t, 1)
	found, err := Doctor(t.Context(), DoctorOptions{Config: s.config, Asked: true, Env: os.LookupEnv, Timeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]Result{}
	for _, one := range found {
		results[one.Part] = one.Result
	}
	// Its address is not the configuration's, which has port 0: so the files are looked at, and are in use.
	if results["bus"] != CheckWarn || results["store"] != CheckFail {
		t.Errorf("%+v", found)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	found, err = Doctor(t.Context(), DoctorOptions{Config: s.config, Asked: true, Env: os.LookupEnv, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range found {
		if one.Part == "store" && (one.Result != CheckOK || !strings.Contains(one.Detail, "with 1 exchanges")) || one.Part == "bus" && one.Result != CheckOK {
			t.Errorf("%+v", one)
		}
	}
}
