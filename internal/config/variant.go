package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Baseline is the name of what a route serves where nothing else is said.
const Baseline = "baseline"

const maxVariants = 16

// Variant is another behaviour that a route can have: what a rollout brings to users, or an experiment compares. What it
// does not give is the route's.
type Variant struct {
	Pos       Pos
	Name      string
	Upstreams []Upstream
	Model     string // asked of each upstream instead of what it would be asked for
	Caps      map[string]float64
	Set       map[string]any
	Guard     string // NoGuard takes the route's away
	GuardID   string // of Guard, as Route.GuardID
}

type wireVariant struct {
	Pos       Pos            `json:"-"`
	Name      wireText       `json:"name" jsonschema:"description=Name of the variant such as canary; in every exchange and report"`
	Upstreams []wireUpstream `json:"upstreams,omitempty" jsonschema:"description=Instead of the route's"`
	Model     string         `json:"model,omitempty" jsonschema:"description=Model that is asked of the upstreams instead of the request's"`
	Set       map[string]any `json:"set,omitempty" jsonschema:"description=Parameters that are overridden, besides the route's; null removes one from the request"`
	Caps      Object         `json:"caps,omitempty" jsonschema:"description=Numeric parameters that are lowered to at most this, besides the route's"`
	Guard     string         `json:"guard,omitempty" jsonschema:"description=Guard instead of the route's; none for no guard"`
}

// variantName says whether s can name a variant.
func variantName(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 32 && s[0] != '-' && s != Baseline && s != "shadow" && s != "none"
}

func (l *serverLoader) variants(ws []wireVariant, r *Route) {
	if len(ws) > maxVariants {
		l.fail(r.Pos.At("variants"), fmt.Sprint(len(ws)), "too many variants", fmt.Sprintf("at most %d", maxVariants))
		return
	}
	for i := range ws {
		w := &ws[i]
		v := Variant{Pos: w.Pos, Name: w.Name.Text, Model: w.Model, Set: w.Set, Guard: w.Guard, Caps: l.caps(w.Caps)}
		switch {
		case !variantName(v.Name):
			l.fail(at(w.Name, w.Pos, "name"), v.Name, "not a name for a variant", "small letters, digits and - only, at most 32; not baseline, shadow or none")
		case slices.ContainsFunc(r.Variants, func(o Variant) bool { return o.Name == v.Name }):
			l.fail(at(w.Name, w.Pos, "name"), v.Name, "another variant of the route has this name", "a name of its own for each")
		}
		l.setKeys(w.Pos, v.Set)
		if len(w.Upstreams) > 0 {
			v.Upstreams = l.upstreams(w.Pos, w.Upstreams, r.PassKey)
		}
		if len(w.Upstreams) == 0 && v.Model == "" && len(v.Set) == 0 && len(v.Caps) == 0 && v.Guard == "" {
			l.fail(w.Pos, v.Name, "the variant is the same as the route", "upstreams, model, set, caps or guard of its own")
		}
		r.Variants = append(r.Variants, v)
	}
}

// Variant returns the variant of this name or behaviour id.
func (r *Route) Variant(name string) (*Variant, bool) {
	for i := range r.Variants {
		if v := &r.Variants[i]; v.Name == name {
			return v, true
		}
	}
	for i := range r.Variants {
		with := r.With(&r.Variants[i])
		if with.Behaviour() == name {
			return &r.Variants[i], true
		}
	}
	return nil, false
}

// With returns the route as the variant changes it.
func (r *Route) With(v *Variant) Route {
	out := *r
	out.Variants = nil
	if len(v.Upstreams) > 0 {
		out.Upstreams = v.Upstreams
	}
	if v.Model != "" {
		out.Upstreams = slices.Clone(out.Upstreams)
		for i := range out.Upstreams {
			out.Upstreams[i].Model = v.Model
		}
	}
	if len(v.Set) > 0 {
		out.Set = maps.Clone(out.Set)
		if out.Set == nil {
			out.Set = map[string]any{}
		}
		maps.Copy(out.Set, v.Set)
	}
	if len(v.Caps) > 0 {
		out.Caps = maps.Clone(out.Caps)
		if out.Caps == nil {
			out.Caps = map[string]float64{}
		}
		maps.Copy(out.Caps, v.Caps)
	}
	switch v.Guard {
	case "":
	case NoGuard:
		out.Guard, out.GuardID = "", ""
	default:
		out.Guard, out.GuardID = v.Guard, v.GuardID
	}
	return out
}

// Behaviour identifies what the route does to requests, without its variants, names, keys and time-outs: 16 hex digits of
// a SHA-256. Two routes that behave alike have the same.
func (r *Route) Behaviour() string {
	type upstream struct {
		URL, Format, Model string
		Weight             float64
		Backup             bool
		Headers            map[string]string
	}
	content := struct {
		Upstreams []upstream
		Caps      map[string]float64
		Set       map[string]any
		Guard     string
	}{Caps: r.Caps, Set: r.Set, Guard: r.GuardID}
	if content.Guard == "" {
		content.Guard = r.Guard
	}
	for i := range r.Upstreams {
		u := &r.Upstreams[i]
		content.Upstreams = append(content.Upstreams, upstream{strings.TrimRight(u.URL, "/"), u.Format, u.Model, u.Weight, u.Backup, u.Headers})
	}
	b, err := json.Marshal(content)
	if err != nil {
		panic(fmt.Sprintf("config: behaviour of route %s: %v", r.Name, err)) // what was read from YAML can be written
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}
