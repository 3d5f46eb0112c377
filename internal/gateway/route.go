package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func (a api) String() string { return [...]string{"", "openai", "anthropic"}[a] }

// endpoint says what may be changed in the requests of a path.
type endpoint uint8

const (
	unknown  endpoint = iota // nothing
	plain                    // the model
	generate                 // the model and parameters
)

// classify returns the API and kind of a path below /v1, which is given without it.
func classify(rest string, h http.Header) (api, endpoint) {
	switch rest {
	case "/chat/completions", "/completions", "/responses":
		return openAI, generate
	case "/embeddings", "/moderations":
		return openAI, plain
	case "/messages":
		return anthropic, generate
	case "/messages/count_tokens":
		return anthropic, plain
	}
	if len(h["Anthropic-Version"]) > 0 || strings.HasPrefix(rest, "/messages/") {
		return anthropic, unknown
	}
	switch first, _, _ := strings.Cut(rest[min(1, len(rest)):], "/"); first {
	case "models", "files": // both APIs have them
		return anyAPI, unknown
	}
	return openAI, unknown
}

// split returns what follows the route's prefix and /v1 in a request's raw path, which has no query.
func split(raw, prefix string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(raw, prefix)
	if !ok {
		return "", false
	}
	rest, ok = strings.CutPrefix(rest, "/v1")
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return rest, true
}

// dotted says whether a path has segments that would lead out of where it is put.
func dotted(raw string) bool {
	if !strings.Contains(raw, ".") && !strings.Contains(raw, "%") && !strings.Contains(raw, `\`) {
		return false
	}
	p, err := url.PathUnescape(raw)
	if err != nil {
		return true
	}
	p = strings.ReplaceAll(p, `\`, "/")
	return slices.ContainsFunc(strings.Split(p, "/"), func(s string) bool { return s == "." || s == ".." })
}

// takes says whether the route serves a model. A request without one is served by the first route of its path.
func (r *route) takes(model string, named bool) bool {
	if !named || len(r.names) == 0 && len(r.models) == 0 {
		return true
	}
	if slices.Contains(r.names, model) {
		return true
	}
	for _, m := range r.models {
		if m.MatchString(model) {
			return true
		}
	}
	return false
}

// byModel says whether the model decides.
func (r *route) byModel() bool { return len(r.names)+len(r.models) > 0 }
