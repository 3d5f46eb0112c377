package config

import (
	"strings"
	"testing"
)

const targetText = "routes:\n  - {name: main, upstreams: [{url: 'https://a.example', key_env: KEY}]}\ntargets:\n"

func TestTargets(t *testing.T) {
	s, err := loadServer(t, targetText+`
  - {name: hook, webhook: {url: https://deploy.example/hook, secret_env: KEY}}
  - {name: script, routes: [main], exec: {command: [./follow.sh, -v], env: [TOKEN]}}
  - {name: flags, flag_file: {path: flags.json, flag: model}}
  - {name: mesh, httproute: {name: chat, namespace: prod, baseline: old, candidate: new}}
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Targets) != 4 || s.Targets[0].Webhook.Secret != "sk-secret-value" || s.Targets[1].Exec.Command[1] != "-v" || s.Targets[1].Routes[0] != "main" ||
		s.Targets[2].FlagFile.Path != "conf/flags.json" || s.Targets[3].HTTPRoute.Namespace != "prod" {
		t.Errorf("%+v", s.Targets)
	}
	f := func(text string, want ...string) {
		t.Helper()
		_, err := loadServer(t, targetText+"  - "+text+"\n")
		if err == nil {
			t.Errorf("%s: accepted", text)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", text, err, w)
			}
		}
	}
	f("{name: x}", "targets[0]", "one of webhook, exec, flag_file and httproute")
	f("{name: x, exec: {command: [a]}, flag_file: {path: a, flag: b}}", "a target is of one kind")
	f("{name: 'a b', exec: {command: [a]}}", "targets[0].name", "a b")
	f("{name: x, routes: [other], exec: {command: [a]}}", "targets[0].routes[0]", "other", "no such route")
	f("{name: x, exec: {command: []}}", "command", "no program")
	f("{name: x, webhook: {url: 'ftp://planted:pw@h/x'}}", "targets[0].webhook.url", "not an HTTP URL")
	f("{name: x, webhook: {url: 'https://h', secret_env: NOPE}}", "NOPE", "not set")
	f("{name: x, flag_file: {path: a}}", "flag")
	f("{name: x, httproute: {name: a, baseline: b, candidate: b}}", "httproute.candidate", "both sides")
	if _, err := loadServer(t, targetText+"  - {name: x, webhook: {url: 'ftp://planted:pw@h/x'}}\n"); strings.Contains(err.Error(), "pw") {
		t.Errorf("a password is shown: %v", err)
	}
}
