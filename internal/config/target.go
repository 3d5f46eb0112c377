package config

import (
	"net/url"
	"slices"
	"strings"
)

// Target is a part of the world outside the gateway that follows a route's rollouts: one of its kinds is set.
type Target struct {
	Pos    Pos
	Name   string
	Routes []string // whose rollouts it follows; all when empty

	Webhook   *WebhookTarget
	Exec      *ExecTarget
	FlagFile  *FlagFileTarget
	HTTPRoute *HTTPRouteTarget
}

// WebhookTarget is a URL that each change is posted to, signed when there is a secret.
type WebhookTarget struct {
	URL    string
	Secret string
}

// ExecTarget is a program that is run for each change.
type ExecTarget struct {
	Command []string
	Env     []string // names of variables that it gets besides PATH and HOME
}

// FlagFileTarget is a flag in a file that flagd serves.
type FlagFileTarget struct{ Path, Flag string }

// HTTPRouteTarget is a Gateway API HTTPRoute with a backend for each side.
type HTTPRouteTarget struct{ Namespace, Name, Baseline, Candidate, Kubeconfig, Context string }

type wireTarget struct {
	Pos       Pos                  `json:"-"`
	Name      wireText             `json:"name" jsonschema:"description=Name of the target in status and logs"`
	Routes    wireStrings          `json:"routes,omitempty" jsonschema:"description=Routes whose rollouts it follows; all when it is not set"`
	Webhook   *wireWebhookTarget   `json:"webhook,omitempty" jsonschema:"description=Each change is posted to a URL"`
	Exec      *wireExecTarget      `json:"exec,omitempty" jsonschema:"description=A program is run for each change; without a shell"`
	FlagFile  *wireFlagFileTarget  `json:"flag_file,omitempty" jsonschema:"description=A flag in a file that OpenFeature's flagd serves"`
	HTTPRoute *wireHTTPRouteTarget `json:"httproute,omitempty" jsonschema:"description=Weights of a Gateway API HTTPRoute in Kubernetes"`
}

type wireWebhookTarget struct {
	Pos        Pos      `json:"-"`
	URL        wireText `json:"url"`
	SecretEnv  wireText `json:"secret_env,omitempty" jsonschema:"description=Environment variable with the secret that signs"`
	SecretFile wireText `json:"secret_file,omitempty" jsonschema:"description=File with the secret that signs"`
}

type wireExecTarget struct {
	Pos     Pos         `json:"-"`
	Command wireStrings `json:"command" jsonschema:"description=Program and arguments"`
	Env     wireStrings `json:"env,omitempty" jsonschema:"description=Names of environment variables that it gets"`
}

type wireFlagFileTarget struct {
	Pos  Pos      `json:"-"`
	Path wireText `json:"path"`
	Flag wireText `json:"flag" jsonschema:"description=Name of the flag"`
}

type wireHTTPRouteTarget struct {
	Pos        Pos      `json:"-"`
	Namespace  string   `json:"namespace,omitempty" jsonschema:"description=default when it is not set"`
	Name       wireText `json:"name"`
	Baseline   wireText `json:"baseline" jsonschema:"description=Name of the backend that serves today"`
	Candidate  wireText `json:"candidate" jsonschema:"description=Name of the candidate's backend"`
	Kubeconfig wireText `json:"kubeconfig,omitempty" jsonschema:"description=File; the pod's own account when it is not set and there is one"`
	Context    string   `json:"context,omitempty"`
}

// targets reads what follows rollouts. They stand here and not in rollout.yaml because that one comes over the API: who may start
// a rollout may not run programs.
func (l *serverLoader) targets(ws []wireTarget, routes []Route) []Target {
	var out []Target
	for i := range ws {
		w := &ws[i]
		t := Target{Pos: w.Pos, Name: w.Name.Text, Routes: w.Routes}
		switch {
		case !routeName(t.Name):
			l.fail(at(w.Name, w.Pos, "name"), t.Name, "not a name for a target", "letters, digits, - _ and . only, at most 64")
		case slices.ContainsFunc(out, func(o Target) bool { return o.Name == t.Name }):
			l.fail(at(w.Name, w.Pos, "name"), t.Name, "two targets have this name", "a name of its own for each")
		}
		for j, name := range w.Routes {
			if !slices.ContainsFunc(routes, func(r Route) bool { return r.Name == name }) {
				l.fail(w.Pos.At("routes"+index(j)), name, "there is no such route", l.oneOfRoutes(routes))
			}
		}
		kinds := 0
		if w.Webhook != nil {
			kinds++
			t.Webhook = l.webhook(w.Webhook)
		}
		if w.Exec != nil {
			kinds++
			t.Exec = &ExecTarget{Command: w.Exec.Command, Env: w.Exec.Env}
			if len(w.Exec.Command) == 0 || w.Exec.Command[0] == "" {
				l.fail(w.Exec.Pos.At("command"), "", "no program", "a list of a program and its arguments")
			}
		}
		if f := w.FlagFile; f != nil {
			kinds++
			t.FlagFile = &FlagFileTarget{Path: l.file(f.Path, ""), Flag: f.Flag.Text}
			l.given(f.Pos, "path", f.Path)
			l.given(f.Pos, "flag", f.Flag)
		}
		if h := w.HTTPRoute; h != nil {
			kinds++
			t.HTTPRoute = &HTTPRouteTarget{h.Namespace, h.Name.Text, h.Baseline.Text, h.Candidate.Text, l.file(h.Kubeconfig, ""), h.Context}
			for _, one := range []struct {
				key  string
				text wireText
			}{{"name", h.Name}, {"baseline", h.Baseline}, {"candidate", h.Candidate}} {
				l.given(h.Pos, one.key, one.text)
			}
			if h.Baseline.Text != "" && h.Baseline.Text == h.Candidate.Text {
				l.fail(h.Candidate.Pos, h.Candidate.Text, "both sides have this backend", "two backends of the HTTPRoute")
			}
		}
		if kinds != 1 {
			l.fail(w.Pos, t.Name, "a target is of one kind", "one of webhook, exec, flag_file and httproute")
		}
		out = append(out, t)
	}
	return out
}

// given wants a text to be there.
func (l *serverLoader) given(p Pos, key string, t wireText) {
	if strings.TrimSpace(t.Text) == "" {
		l.fail(at(t, p, key), "", "it is missing", "a text that is not empty")
	}
}

func (l *serverLoader) webhook(w *wireWebhookTarget) *WebhookTarget {
	u, err := url.Parse(w.URL.Text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		l.fail(at(w.URL, w.Pos, "url"), shownURL(u), "not an HTTP URL", "such as https://deploy.example/hook")
	}
	return &WebhookTarget{URL: w.URL.Text, Secret: l.secret(w.SecretEnv, w.SecretFile)}
}

// shownURL is a URL without what may be secret in it.
func shownURL(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}
