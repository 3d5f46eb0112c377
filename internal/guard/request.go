package guard

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// limit is the most that a numeric parameter may be; a dotted key reaches into an object.
type limit struct {
	path []string
	most float64
}

func limits(caps map[string]float64) []limit {
	var out []limit
	for key, most := range caps {
		out = append(out, limit{strings.Split(key, "."), most})
	}
	slices.SortFunc(out, func(x, y limit) int { return slices.Compare(x.path, y.path) })
	return out
}

// Request returns the body as the guard has it sent; body itself when nothing is changed. What is not named by the guard
// stays byte for byte. The system prompt of an API other than chat, messages and responses is not changed. An error says
// that the body is not one JSON object, or that a limited parameter is no number: it must then not be sent.
func (g *Guard) Request(api string, body []byte) ([]byte, error) {
	if !g.c.System.Any() && len(g.caps) == 0 {
		return body, nil
	}
	return g.change(api, body, g.c.System, "")
}

// Retry returns the body of the next attempt: body is what was sent.
func (g *Guard) Retry(api string, body []byte, next Next) ([]byte, error) {
	return change(api, body, nil, config.GuardSystem{Append: next.Text}, next.Model)
}

// With returns a body with another model, for Fallback.
func (g *Guard) With(body []byte, model string) ([]byte, error) {
	return change("", body, nil, config.GuardSystem{}, model)
}

func (g *Guard) change(api string, body []byte, system config.GuardSystem, model string) ([]byte, error) {
	return change(api, body, g.caps, system, model)
}

// change makes the changes to a body.
func change(api string, b []byte, caps []limit, system config.GuardSystem, model string) ([]byte, error) {
	m := open(b, skipSpace(b, 0))
	if m.close != '}' {
		return nil, errBody
	}
	var edits []edit
	found, named := false, false
	members := 0
	for m.next() {
		members++
		name := string(m.name())
		switch {
		case name == "model" && model != "":
			named = true
			edits = append(edits, edit{m.val, quote(model)})
		case name == systemKey(api) && system.Any():
			found = true
			edits = patchSystem(edits, b, api, m.val, system)
		}
		var err error
		if edits, err = lowered(edits, b, name, m.val, caps, 0); err != nil {
			return nil, err
		}
	}
	if m.bad || skipSpace(b, m.end) != len(b) {
		return nil, errBody
	}
	var add []byte
	member := func(key string, value []byte) {
		if members++; members > 1 {
			add = append(add, ',')
		}
		add = append(append(append(add, quote(key)...), ':'), value...)
	}
	if !found && system.Any() && (api == record.APIMessages || api == record.APIResponses) {
		member(systemKey(api), quote(joined("", system)))
	}
	if !named && model != "" {
		member("model", quote(model))
	}
	if len(add) > 0 {
		edits = append(edits, edit{place{m.end - 1, m.end - 1}, add})
	}
	if len(edits) == 0 {
		return b, nil
	}
	sortEdits(edits)
	return apply(make([]byte, 0, len(b)+256), b, edits), nil
}

// systemKey is the member that holds the system prompt.
func systemKey(api string) string {
	switch api {
	case record.APIChat:
		return "messages"
	case record.APIMessages:
		return "system"
	case record.APIResponses:
		return "instructions"
	}
	return ""
}

// joined is a system prompt with a change made.
func joined(old string, s config.GuardSystem) string {
	if s.Replace != "" {
		old = s.Replace
	}
	var parts []string
	for _, p := range []string{s.Prepend, old, s.Append} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, gap)
}

// gap is between the parts of a system prompt.
const gap = "\n\n"

// patchSystem changes the system prompt at p.
func patchSystem(edits []edit, b []byte, api string, p place, s config.GuardSystem) []edit {
	if api != record.APIChat {
		return patchText(edits, b, p, s)
	}
	list := open(b, p.start)
	if list.close != ']' {
		return edits // the upstream refuses it
	}
	var systems []place // the contents of the system messages
	var wholes []place
	for list.next() {
		var role string
		var content place
		m := open(b, list.val.start)
		for m.next() {
			switch string(m.name()) {
			case "role":
				role = text(b, m.val)
			case "content":
				content = m.val
			}
		}
		if (role == "system" || role == "developer") && !content.none() {
			systems, wholes = append(systems, content), append(wholes, list.val)
		}
	}
	if len(systems) == 0 {
		made := append(append([]byte(`{"role":"system","content":`), quote(joined("", s))...), '}')
		if list.n > 0 {
			made = append(made, ',')
		}
		return append(edits, edit{place{p.start + 1, p.start + 1}, made})
	}
	if s.Replace != "" {
		edits = patchText(edits, b, systems[0], s)
		for _, w := range wholes[1:] {
			for w.start > 0 && b[w.start] != ',' {
				w.start--
			}
			edits = append(edits, edit{place: w})
		}
		return edits
	}
	if len(systems) == 1 {
		return patchText(edits, b, systems[0], s)
	}
	edits = patchText(edits, b, systems[0], config.GuardSystem{Prepend: s.Prepend})
	return patchText(edits, b, systems[len(systems)-1], config.GuardSystem{Append: s.Append})
}

// patchText changes a text that is a string, a list of text parts, or missing.
func patchText(edits []edit, b []byte, p place, s config.GuardSystem) []edit {
	switch {
	case !s.Any():
	case s.Replace != "" || isNull(b, p):
		edits = append(edits, edit{p, quote(joined("", s))})
	case isText(b, p):
		if s.Prepend != "" {
			edits = append(edits, edit{place{p.start + 1, p.start + 1}, appendInside(nil, s.Prepend+gap)})
		}
		if s.Append != "" {
			edits = append(edits, edit{place{p.end - 1, p.end - 1}, appendInside(nil, gap+s.Append)})
		}
	case b[p.start] == '[':
		empty := skipSpace(b, p.start+1) == p.end-1
		part := func(t string) []byte {
			return append(append([]byte(`{"type":"text","text":`), quote(t)...), '}')
		}
		if s.Prepend != "" {
			made := part(s.Prepend)
			if !empty || s.Append != "" {
				made = append(made, ',')
			}
			edits = append(edits, edit{place{p.start + 1, p.start + 1}, made})
		}
		if s.Append != "" {
			made := part(s.Append)
			if !empty {
				made = append([]byte{','}, made...)
			}
			edits = append(edits, edit{place{p.end - 1, p.end - 1}, made})
		}
	}
	return edits
}

// badParam is a parameter that cannot be limited because it is no number.
type badParam struct{ key string }

func (e *badParam) Error() string { return e.key + " must be a number" }

// lowered adds the changes that the limits make to the member of a name at a depth.
func lowered(edits []edit, b []byte, name string, p place, caps []limit, depth int) ([]edit, error) {
	inside := false
	for _, l := range caps {
		if len(l.path) <= depth || l.path[depth] != name {
			continue
		}
		if len(l.path) > depth+1 {
			inside = true
			continue
		}
		if isNull(b, p) {
			continue
		}
		v, err := strconv.ParseFloat(string(p.of(b)), 64)
		if err != nil && !math.IsInf(v, 0) || b[p.start] != '-' && (b[p.start] < '0' || b[p.start] > '9') {
			return nil, &badParam{strings.Join(l.path, ".")}
		}
		if v > l.most {
			edits = append(edits, edit{p, appendNumber(nil, l.most)})
		}
	}
	if !inside {
		return edits, nil
	}
	var deeper []limit
	for _, l := range caps {
		if len(l.path) > depth+1 && l.path[depth] == name {
			deeper = append(deeper, l)
		}
	}
	var err error
	m := open(b, p.start)
	for m.next() && m.close == '}' && err == nil {
		edits, err = lowered(edits, b, string(m.name()), m.val, deeper, depth+1)
	}
	return edits, err
}

func appendNumber(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}
