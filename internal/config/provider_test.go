package config

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestProviderOf(t *testing.T) {
	pos := Pos{File: "s.yaml", Line: 3, Key: "provider"}
	f := func(ref any, role, want string) {
		t.Helper()
		p, ok, err := ProviderOf(ref, role, pos)
		got := ""
		if ok {
			b, _ := json.Marshal([]any{p.ID, p.Label, p.Config.Map})
			got = string(b)
		}
		if e, isMistake := errors.AsType[*Error](err); isMistake {
			got = e.Error()
		}
		if got != want {
			t.Errorf("%v: got %s, want %s", ref, got, want)
		}
	}
	f(nil, "text", "")
	f("echo", "text", `["echo","",null]`)
	f(map[string]any{"id": "a:b", "config": map[string]any{"temperature": 0}}, "text", `["a:b","",{"temperature":0}]`)
	f(map[string]any{"a:b": map[string]any{"config": map[string]any{"x": 1}, "label": "L"}}, "text", `["a:b","L",{"x":1}]`)
	roles := map[string]any{"text": "judge", "embedding": map[string]any{"id": "emb"}}
	f(roles, "text", `["judge","",null]`)
	f(roles, "embedding", `["emb","",null]`)
	f(roles, "moderation", "")
	f(map[string]any{"id": "a", "cnfig": 1}, "text", `s.yaml:3: provider.cnfig: unknown key "cnfig"`+"\n    hint: did you mean \"config\"?")
	f(map[string]any{"config": map[string]any{}}, "text", "s.yaml:3: provider: a provider without an id; want id: such as openai:chat:gpt-4.1-mini")
	f(map[string]any{"id": "a", "config": "x"}, "text", `s.yaml:3: provider.config: "x": not a mapping; want the provider's settings`)
	f(5, "text", `s.yaml:3: provider: "5": not a provider; want an id, or a mapping with id and config`)
	f(" ", "text", "s.yaml:3: provider: an empty provider id; want an id such as openai:chat:gpt-4.1-mini")
}
