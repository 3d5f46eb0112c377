package config

import (
	"fmt"
	"slices"
	"strings"
)

// providerRoles are the keys by which promptfoo names a provider for each purpose.
var providerRoles = []string{"text", "embedding", "moderation", "classification"}

// ProviderOf reads a reference to a provider as an assertion or a test has it: an id, a mapping with
// id, config and label, a mapping of one id to {config}, or a mapping with one of these for each of the
// roles text, embedding and moderation, of which role is taken. ok is false when there is no
// reference: ref is nil, or names other roles only. The places of keys inside the reference are not
// known; pos stands for all.
func ProviderOf(ref any, role string, pos Pos) (p Provider, ok bool, err error) {
	switch v := ref.(type) {
	case nil:
		return Provider{}, false, nil
	case string:
		if strings.TrimSpace(v) == "" {
			return Provider{}, false, &Error{Pos: pos, Problem: "an empty provider id", Want: "an id such as openai:chat:gpt-4.1-mini"}
		}
		return Provider{Pos: pos, ID: v, Config: Object{Pos: pos.At("config")}}, true, nil
	case map[string]any:
		if onlyRoles(v) {
			return ProviderOf(v[role], role, pos.At(role))
		}
		p, err := providerMapping(v, pos)
		return p, err == nil, err
	}
	return Provider{}, false, &Error{Pos: pos, Value: fmt.Sprint(ref), Problem: "not a provider", Want: "an id, or a mapping with id and config"}
}

func onlyRoles(m map[string]any) bool {
	for k := range m {
		if !slices.Contains(providerRoles, k) {
			return false
		}
	}
	return len(m) > 0
}

func providerMapping(m map[string]any, pos Pos) (Provider, error) {
	if m["id"] == nil && len(m) == 1 {
		for id, v := range m {
			inner, isMap := v.(map[string]any)
			if !isMap || id == "config" || id == "label" {
				break
			}
			p, err := providerMapping(mapWith(inner, id), pos.At(id))
			return p, err
		}
	}
	var errs Errors
	r := Object{Pos: pos, Map: m}.Reader()
	p := Provider{Pos: pos, ID: r.String("id", ""), Label: r.String("label", ""), Config: Object{Pos: pos.At("config")}}
	if p.ID == "" {
		errs = append(errs, &Error{Pos: pos, Problem: "a provider without an id", Want: "id: such as openai:chat:gpt-4.1-mini"})
	}
	switch c := r.Any("config").(type) {
	case nil:
	case map[string]any:
		p.Config.Map = c
	default:
		r.Fail("config", "not a mapping", "the provider's settings")
	}
	errs.Append(pos, r.Finish())
	return p, errs.Err()
}

func mapWith(m map[string]any, id string) map[string]any {
	out := map[string]any{"id": id}
	for k, v := range m {
		out[k] = v
	}
	return out
}
