package wiretap

import (
	"maps"

	"github.com/telltale-llm/telltale/internal/record"
)

// Snapshot is what decided the behaviour behind an exchange: the upstream's host and API, the model (the override where
// there is one, else the one that was asked for), the system prompt, the parameters and the guard's signature. What belongs
// to a single request, such as messages, seed, user and metadata, is no part of it, and neither are route and variant: the
// same system behind two routes has one snapshot. The ID does not depend on the order of keys.
//
// Call it after redaction, for the snapshot holds the system prompt; and before the content is dropped.
func Snapshot(x *record.Exchange, host, model, guard string) record.Snapshot {
	s := record.Snapshot{Provider: host + " " + x.API, Model: model}
	if model == "" {
		s.Model = x.Model
	}
	if x.Content != nil {
		s.Template = x.Content.System
	}
	if len(x.Params) > 0 || guard != "" {
		s.Params = make(map[string]any, len(x.Params)+1)
		maps.Copy(s.Params, x.Params)
		if guard != "" {
			s.Params["guard"] = guard
		}
	}
	s.Identify()
	return s
}
