package config

import (
	"encoding/json"
	"strings"
)

// GivenProviders reads providers from a command line. Each value is an id, a file:// reference to a
// YAML file of providers, or a mapping in YAML's flow style such as
// {id: "openai:chat:m", config: {temperature: 0}}. flag is what messages call the place.
func GivenProviders(flag string, values []string, opts Options) ([]Provider, error) {
	var b strings.Builder
	for _, v := range values {
		v = strings.TrimSpace(v)
		if !strings.HasPrefix(v, "{") {
			quoted, err := json.Marshal(v)
			if err != nil {
				return nil, &Error{Pos: Pos{Key: flag}, Value: v, Err: err}
			}
			v = string(quoted)
		}
		b.WriteString("- " + strings.ReplaceAll(v, "\n", " ") + "\n")
	}
	l := &loader{opts: opts, dir: ".", params: &params{vars: opts.Vars, env: opts.Env}}
	d := l.decoder("")
	p := Pos{Key: flag}
	var out []Provider
	if node, ok := d.parseYAML([]byte(b.String())); ok {
		out = l.providers(d, node, p)
	}
	errs := append(d.errs, l.errs...)
	for _, e := range errs {
		if e.File == "" { // the place is one of the text made above
			e.Line, e.Column = 0, 0
			if e.Key == "" {
				e.Key = flag
			}
		}
	}
	for i := range out {
		if out[i].Pos.File == "" {
			out[i].Pos = p
			out[i].Config.Keys = nil
			out[i].Config.Pos = p.At("config")
		}
	}
	return out, errs.Err()
}
