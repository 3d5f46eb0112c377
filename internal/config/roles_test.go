package config

import (
	"slices"
	"strings"
	"testing"
)

func TestRoles(t *testing.T) {
	const routes = "routes: [{name: main, upstreams: [{url: 'https://api.openai.com', key_env: UP}]}]\n"
	const key = "privacy: {key_env: PRIVACY}\n"
	load := func(text string, place Placement, env ...string) (*Server, error) {
		return LoadServer("s.yaml", []byte(text), Options{Placement: &place, Env: func(name string) (string, bool) {
			return "0123456789abcdef0123456789abcdef", slices.Contains(env, name)
		}})
	}
	f := func(text string, place Placement, want string, env ...string) {
		t.Helper()
		s, err := load(text, place, env...)
		if err != nil {
			t.Errorf("%q %+v: %v", text, place, err)
			return
		}
		if got := strings.Join(s.Roles, ","); got != want {
			t.Errorf("%q %+v: roles %s, want %s", text, place, got, want)
		}
		for _, r := range Roles {
			if s.Has(r) != strings.Contains(want, r) {
				t.Errorf("%q: Has(%s)", text, r)
			}
		}
	}
	const nats, db = "nats://a:4222", "clickhouse://u@db:9000/t"
	f(routes, Placement{}, "gateway,ingest,worker,control,api", "UP")
	f(routes+"roles: [api, worker, control, ingest, gateway, api]\n", Placement{}, "gateway,ingest,worker,control,api", "UP")
	f(key+"roles: [control]\n", Placement{Bus: nats}, "control", "PRIVACY")
	f(key+routes+"roles: gateway\n", Placement{Bus: nats}, "gateway", "UP", "PRIVACY")
	f(key+routes+"roles: [gateway]\nbus: {url: '"+nats+"', replicas: 1}\n", Placement{Roles: []string{"api", "worker"}}, "worker,api", "PRIVACY") // without the upstream's key
	f(key+"roles: [worker]\n", Placement{Bus: nats, Store: db}, "worker", "PRIVACY")
	f(key+"roles: [gateway, worker, api]\n", Placement{}, "gateway,worker,api", "PRIVACY") // no OpenTelemetry, one process
	f(key+"roles: [api]\nstore: {url: '"+db+"'}\n", Placement{}, "api", "PRIVACY")

	bad := func(text string, place Placement, want string) {
		t.Helper()
		_, err := load(text, place, "UP", "PRIVACY")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q %+v: %v, want %q", text, place, err, want)
		}
	}
	bad("roles: [gatway]\n", Placement{}, `s.yaml:1:8: roles: "gatway": not one of the choices`)
	bad(key+"roles: [control]\n", Placement{}, "there would be nothing to decide on")
	bad(key, Placement{Roles: []string{"gateway"}}, `--role: "gateway": no worker would get the exchanges`)
	bad(key, Placement{Roles: []string{"ingest", "api"}, Store: db}, "no worker would get the exchanges")
	bad(key, Placement{Roles: []string{"worker", "api"}}, "there would be nothing to work on")
	bad(key, Placement{Roles: []string{"worker"}, Bus: nats}, "nobody could read what is stored")
	bad(key, Placement{Roles: []string{"api"}}, "DuckDB can be opened by one process only")
	bad("{}\n", Placement{Roles: []string{"gateway"}, Bus: nats}, "one key for pseudonyms")
	bad(key+"listen: {gateway: off}\n", Placement{Roles: []string{"gateway"}, Bus: nats}, "the gateway has no address")
	bad(key+"listen: {api: off, otlp_grpc: off}\n", Placement{Roles: []string{"ingest"}, Bus: nats}, "ingest has no address")
	bad(key+"listen: {api: off}\n", Placement{Roles: []string{"api"}, Store: db}, "the API has no address")
	bad(key, Placement{Bus: "http://x"}, "--nats: not the address of a NATS server")
	bad(key, Placement{Store: "postgres://x"}, "--store: not the address of a ClickHouse server")
}
