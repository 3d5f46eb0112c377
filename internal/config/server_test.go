package config

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func loadServer(t *testing.T, text string) (*Server, error) {
	t.Helper()
	env := map[string]string{"KEY": "sk-secret-value", "PKEY": "0123456789abcdef0123456789abcdef", "HOST": "models.example"}
	return LoadServer("conf/server.yaml", []byte(text), Options{
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Read: func(path string) ([]byte, error) {
			if path == "conf/key.txt" {
				return []byte("sk-from-file\n"), nil
			}
			return nil, os.ErrNotExist
		},
		Assertion: func(name string) Known { return Known{OK: name == "toxicity"} },
	})
}

func TestServerDefaults(t *testing.T) {
	s, err := loadServer(t, "routes:\n  - name: main\n    upstreams: [{url: 'https://${HOST}/v1/', key_env: KEY}]\n")
	if err != nil {
		t.Fatal(err)
	}
	r := s.Routes[0]
	u := r.Upstreams[0]
	if u.URL != "https://models.example" || u.Name != "models.example" || u.Key != "sk-secret-value" || u.Eject != 5 || u.Cooldown != 10*time.Second {
		t.Errorf("%+v", u)
	}
	if r.Timeout != 10*time.Minute || r.FirstByte != 5*time.Minute || r.Idle != 2*time.Minute || r.MaxBody != 32<<20 || r.Retries != 1 {
		t.Errorf("%+v", r)
	}
	if s.Listen.Gateway != DefaultGateway || s.Listen.API != DefaultAPI || s.Listen.OTLPGRPC != DefaultGRPC || s.Data != "conf/telltale-data" || s.Access.File != "conf/keys.yaml" {
		t.Errorf("%+v %q %+v", s.Listen, s.Data, s.Access)
	}
	if s.Capture.Content != 1 || s.Capture.MaxBytes != 64<<10 || !s.Capture.Errors || s.Retention.Content != 30*24*time.Hour || s.Bus.MaxBytes != 10<<30 || s.Bus.Replicas != 1 || s.Store.Memory != "1GB" {
		t.Errorf("%+v %+v %+v %+v", s.Capture, s.Retention, s.Bus, s.Store)
	}
	if len(s.Secrets) != 1 || s.Secrets[0] != "sk-secret-value" {
		t.Errorf("secrets %q", s.Secrets)
	}
}

func TestServerReadsAll(t *testing.T) {
	s, err := loadServer(t, `
listen: {gateway: "0.0.0.0:8080", api: off, otlp_grpc: "off", h2c: true, insecure: true, tls: {cert: c.pem, key: /k.pem}}
data: /var/lib/telltale
routes:
  - name: a
    path: /support
    models: [gpt-*, claude-3]
    set: {temperature: 0, stop: null}
    caps: {max_tokens: 1000}
    timeouts: {request: 1m, first_byte: 30s, idle: 5s}
    max_body: 1MiB
    retries: 0
    keys: [ci]
    capture: {content: 0.25, unit: user, top_k: true, max_bytes: 1KiB, errors: false}
    headers: {request: {set: {X-Team: a}, remove: [Cookie]}, answer: {remove: [Server]}}
    upstreams:
      - {url: "http://127.0.0.1:1", weight: 3, key_file: key.txt, model: m2, eject: 2, cooldown: 1s, max_connections: 9, name: one}
      - {url: "http://127.0.0.1:2", weight: 1}
      - {url: "http://127.0.0.1:3", backup: true}
  - {name: b, upstreams: [{url: "http://127.0.0.1:4"}]}
privacy: {mode: mask, kinds: {email: pseudonym}, key_env: PKEY, routes: {b: {mode: keep}}}
access: {file: /k.yaml, require: true}
retention: {content: 7d, exchanges: 0, rollups: 12h}
scorers: [{name: tox, assert: {type: toxicity}, share: 0.5, routes: [a], budget: 2}]
bus: {url: "nats://h1:4222,nats://h2:4222", replicas: 3, max_bytes: 1GB, max_age: 1h, full: refuse}
store: {url: "clickhouse://u:hidden@h:9000/db", cluster: main, threads: 4}
`)
	if err != nil {
		t.Fatal(err)
	}
	a := s.Routes[0]
	if a.Caps["max_tokens"] != 1000 || a.Set["temperature"] != int64(0) || len(a.Models) != 2 || a.Capture.Content != .25 || a.Capture.Unit != "user" || a.Capture.Errors || a.Capture.MaxErrors != 60 || a.Idle != 5*time.Second || a.MaxBody != 1<<20 {
		t.Errorf("%+v %+v", a, a.Capture)
	}
	if _, removes := a.Set["stop"]; !removes {
		t.Error("set: {stop: null} is lost")
	}
	if u := a.Upstreams; u[0].Key != "sk-from-file" || u[0].Weight != 3 || !u[2].Backup || u[0].MaxConns != 9 {
		t.Errorf("%+v", u)
	}
	if s.Retention.Exchanges != 0 || s.Retention.Content != 7*24*time.Hour || s.Bus.Full != "refuse" || s.Scorers[0].Share != .5 || s.Listen.API != "" || s.Listen.TLSCert != "conf/c.pem" {
		t.Errorf("%+v %+v %+v %+v", s.Retention, s.Bus, s.Scorers, s.Listen)
	}
	if want := "sk-from-file,0123456789abcdef0123456789abcdef,hidden"; strings.Join(s.Secrets, ",") != want {
		t.Errorf("secrets %q", s.Secrets)
	}
}

func TestServerRefuses(t *testing.T) {
	const up = "upstreams: [{url: 'http://127.0.0.1:1'}]"
	f := func(text string, wants ...string) {
		t.Helper()
		_, err := loadServer(t, text)
		errs, ok := errors.AsType[Errors](err)
		if !ok {
			if one, single := errors.AsType[*Error](err); single {
				errs = Errors{one}
			} else {
				t.Fatalf("%q: %v", text, err)
			}
		}
		for _, want := range wants {
			found := false
			for _, e := range errs {
				found = found || strings.Contains(e.Error(), want) && strings.HasPrefix(e.Error(), "conf/server.yaml:")
			}
			if !found {
				t.Errorf("%q\n got: %v\nwant: %q", text, err, want)
			}
		}
		if strings.Contains(err.Error(), "sk-secret") {
			t.Errorf("the key is in the error: %v", err)
		}
	}
	f("- a", "not a server's configuration")
	f("rutes: []", `did you mean "routes"?`)
	f("listen: {gateway: 4000}", "listen.gateway", "HOST:PORT")
	f("listen: {gateway: '127.0.0.1:4001'}", "the API has this address too")
	f("listen: {tls: {cert: a.pem}}", "both files")
	f("routes: [{"+up+"}]", "not a name for a route")
	f("routes: [{name: a b, "+up+"}]", "not a name for a route")
	f("routes: [{name: a}]", "no upstreams")
	f("routes: [{name: a, path: support, "+up+"}]", "not a path prefix")
	f("routes: [{name: a, path: /v1, "+up+"}]", "not a path prefix")
	f("routes: [{name: a, "+up+"}, {name: a, path: /b, "+up+"}]", "two routes have this name")
	f("routes: [{name: a, "+up+"}, {name: b, models: [x], "+up+"}]", "no request gets here")
	f("routes: [{name: a, upstreams: [{url: 'ftp://x'}]}]", "not a base URL")
	f("routes: [{name: a, upstreams: [{url: 'http://u:pw1234@x'}]}]", "not a base URL", "u:xxxxx@x")
	f("routes: [{name: a, upstreams: [{url: 'http://x', key_env: NONE}]}]", "NONE", "not set")
	f("routes: [{name: a, upstreams: [{url: 'http://x', key_file: none.txt}]}]", "cannot be read")
	f("routes: [{name: a, upstreams: [{url: 'http://x', key_env: KEY, key_file: key.txt}]}]", "one of them")
	f("routes: [{name: a, pass_key: true, upstreams: [{url: 'http://x', key_env: KEY}]}]", "not both")
	f("routes: [{name: a, upstreams: [{url: 'http://x', weight: 1}, {url: 'http://y'}]}]", "have weights")
	f("routes: [{name: a, upstreams: [{url: 'http://x', weight: 0}]}]", "all weights are 0")
	f("routes: [{name: a, set: {messages: []}, "+up+"}]", "not a parameter")
	f("routes: [{name: a, caps: {max_tokens: many}, "+up+"}]", "not a number")
	f("routes: [{name: a, max_body: lots, "+up+"}]", "not a size")
	f("routes: [{name: a, retries: 11, "+up+"}]", "at most 10")
	f(`routes: [{name: a, headers: {request: {set: {Host: x}}}, `+up+"}]", "cannot be set")
	f(`routes: [{name: a, headers: {request: {set: {X-A: "a\r\nB: c"}}}, `+up+"}]", "cannot be set")
	f("capture: {content: 2}", "0 to 1")
	f("capture: {unit: person}", "request, session, user")
	f("capture: {max_bytes: 1GB}", "at most 4MiB")
	f("retention: {content: 100d}", "longer than its exchange")
	f("retention: {content: soon}", "30d or 12h")
	f("scorers: [{assert: {type: nosuch}}]", "unknown kind of assertion")
	f("scorers: [{assert: {type: toxicity}, routes: [x]}]", "no such route")
	f("scorers: [{assert: {type: toxicity}}, {assert: {type: toxicity}}]", "two scorers have this name")
	f("bus: {url: 'http://x'}", "NATS")
	f("bus: {replicas: 3}", "one copy")
	f("store: {url: 'postgres://x'}", "ClickHouse")
	f("store: {cluster: c}", "DuckDB has no cluster")
	f("privacy: {routes: {x: {mode: keep}}}", "no such route")
}

func TestIsServer(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if got := IsServer("x.yaml", []byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	f("routes: []\ncapture: {}", true)
	f("listen: {gateway: off}", true)
	f("prompts: [a]\nproviders: [echo]\ntests: []", false)
	f("", false)
	f("- a", false)
	f("{", false)
}

func FuzzLoadServer(f *testing.F) {
	f.Add("routes:\n  - name: main\n    upstreams: [{url: 'https://x', key_env: KEY}]\n")
	f.Add("listen: {gateway: off}\nretention: {content: 7d}\nbus: {max_bytes: 1GB}")
	f.Add("privacy: {mode: mask, kinds: {email: pseudonym}, key_env: PKEY}")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := LoadServer("s.yaml", []byte(text), Options{Env: func(string) (string, bool) { return "0123456789abcdef-secret", true }})
		if (s == nil) == (err == nil) {
			t.Errorf("neither or both: %v %v", s, err)
		}
		if err != nil && strings.Contains(err.Error(), "-secret") && !strings.Contains(text, "${") && !strings.Contains(text, "env") {
			t.Errorf("a secret in %v", err)
		}
	})
}
