package privacy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// Exchange redacts x in place: every text in it, and sets Redaction and Found. After a nil error x may be written. After
// an error, which only a context that has ended makes, its content is gone and it must not be.
//
// When the service for names fails, and the configuration does not say to keep, what was said is left out and Cut
// says so; the measurements stay.
func (r *Redactor) Exchange(ctx context.Context, x *record.Exchange) error {
	p := r.pass(ctx, r.rulesOf(x.Route))
	p.identities(x)
	p.texts(x)
	if x.Content != nil {
		p.content(x)
	}
	x.TopK = p.tokens(x.TopK)
	for i := range x.Scores {
		s := &x.Scores[i]
		f := p.field("output")
		s.Reason, s.Label, s.Error = p.value(f, s.Reason), p.text(f, s.Label, ""), p.value(p.field("error"), s.Error)
	}
	if p.failed != nil {
		if err := ctx.Err(); err != nil {
			withoutWords(x)
			return fmt.Errorf("redaction was interrupted: %w", err)
		}
		p.found["unchecked"]++
		if r.ner.cfg.Failing != "keep" {
			withoutWords(x)
			x.Cut = append(x.Cut, "content: names could not be checked")
		}
	}
	if len(p.found) > 0 {
		if x.Found == nil {
			x.Found = map[string]int{}
		}
		for kind, n := range p.found {
			x.Found[kind] += n
		}
	}
	x.Redaction = r.version
	return nil
}

// withoutWords takes out everything that was said.
func withoutWords(x *record.Exchange) {
	x.Content, x.TopK, x.Error, x.Params = nil, nil, "", nil
	for i := range x.Scores {
		x.Scores[i].Reason, x.Scores[i].Error, x.Scores[i].Label = "", "", ""
	}
}

// identities redacts who asked.
func (p *pass) identities(x *record.Exchange) {
	x.User = p.identity(p.field("user"), "user", x.User)
	x.Session = p.identity(p.field("session"), "session", x.Session)
	for _, name := range sortedTags(x.Tags) {
		x.Tags[name] = p.identity(p.field("tags."+name), "tag", x.Tags[name])
		if strings.ContainsAny(name, "@0123456789%") {
			if plain := p.text(p.field("tags"), name, ""); plain != name {
				v := x.Tags[name]
				delete(x.Tags, name)
				x.Tags[plain] = v
			}
		}
	}
}

func sortedTags(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// texts redacts the short texts that a client or a provider chose.
func (p *pass) texts(x *record.Exchange) {
	f := p.field("")
	for _, s := range []*string{&x.Model, &x.Served, &x.Endpoint, &x.FinishReason, &x.Provider} {
		if strings.ContainsAny(*s, "@0123456789%") {
			*s = p.frequent(f, *s)
		}
	}
	x.Error = p.value(p.field("error"), x.Error)
	p.object(p.field("params"), "", x.Params)
	for i, cut := range x.Cut {
		if name, ok := strings.CutPrefix(cut, "params."); ok {
			x.Cut[i] = "params." + p.key(p.field("params"), name)
		}
	}
}

// content redacts what was said. A body that is not JSON is left out: nothing could send it again.
func (p *pass) content(x *record.Exchange) {
	c := x.Content
	c.System = p.frequent(p.field("system"), c.System)
	input, system, output := p.field("input"), p.field("system"), p.field("output")
	for i := range c.Input {
		m := &c.Input[i]
		f := input
		if m.Role == "system" || m.Role == "developer" {
			f = system
		}
		m.Role, m.Content = p.text(p.field(""), m.Role, ""), p.value(f, m.Content)
		for k := range m.Parts {
			part := &m.Parts[k]
			part.Text = p.value(f, part.Text)
			if !blob(part.ImageURL) {
				part.ImageURL = p.text(f, part.ImageURL, "")
			}
		}
	}
	c.Output, c.Refusal = p.value(output, c.Output), p.value(output, c.Refusal)
	for i := range c.ToolCalls {
		t := &c.ToolCalls[i]
		t.Name, t.Arguments = p.text(output, t.Name, ""), p.value(output, t.Arguments)
	}
	if len(c.Body) == 0 {
		return
	}
	body := string(c.Body)
	if p.rules.untouched(p.field("body")) {
		return
	}
	out, ok := p.document(p.field("body"), body, 0)
	if !ok {
		c.Body = nil
		x.Cut = append(x.Cut, "body")
	} else if out != body {
		c.Body = json.RawMessage(out)
	}
}

// any redacts a value of the request's parameters, whose key says what it is about.
func (p *pass) any(f field, key, about string, v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case string:
		return p.leaf(f, v, key, about, 0)
	case json.Number:
		return p.plainNumber(f, v.String(), about, v)
	case float64:
		if math.Abs(v) < 1e6 || math.Abs(v) > 1e20 {
			return v
		}
		return p.plainNumber(f, strconv.FormatFloat(v, 'f', -1, 64), about, v)
	case int64:
		return p.plainNumber(f, strconv.FormatInt(v, 10), about, v)
	case int:
		return p.plainNumber(f, strconv.Itoa(v), about, v)
	case map[string]any:
		p.object(f, key, v)
		return v
	case []any:
		for i, e := range v {
			v[i] = p.any(f, key, about, e)
		}
		return v
	}
	// Whatever else it is travels as JSON.
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	out, ok := p.document(f, string(b), 0)
	if ok && out == string(b) {
		return v
	}
	var plain any
	if !ok || json.Unmarshal([]byte(out), &plain) != nil {
		return nil
	}
	return plain
}

// object redacts the values of an object, whose key is given, and the keys that hold a value themselves. Of keys that
// become one, the first stays.
func (p *pass) object(f field, key string, m map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v := p.any(f, k, keyWords(key, k), m[k])
		name := p.key(f, k)
		if name != k {
			delete(m, k)
			if _, taken := m[name]; taken {
				continue
			}
		}
		m[name] = v
	}
}

func (p *pass) plainNumber(f field, digits, about string, v any) any {
	out, changed := p.number(f, digits, about)
	if !changed {
		return v
	}
	if out == "null" {
		return nil
	}
	return unquote(out[1 : len(out)-1])
}

// tokens redacts the tokens of an answer with their alternatives: a value may be spread over many, so they are read
// as one text. The first token of a value takes what stands for it; the others and all alternatives there are blanked.
func (p *pass) tokens(list []record.TokenLogprob) []record.TokenLogprob {
	f := p.field("output")
	if len(list) == 0 || p.rules.untouched(f) {
		return list
	}
	marks := p.rules.redactor.marks
	for range mostRounds {
		var b strings.Builder
		starts := make([]int, len(list)+1)
		for i, t := range list {
			starts[i] = b.Len()
			b.WriteString(t.Token)
		}
		text := b.String()
		starts[len(list)] = len(text)
		changed := false
		// From the last to the first, so that the places of those before stay right.
		for _, x := range slices.Backward(p.find(text, "")) {
			m := p.rules.modeOf(f, x.kind)
			if m == keep {
				continue
			}
			changed = true
			p.blank(list, starts, x, p.stands(m, x.kind, text[x.start:x.end]))
		}
		if !changed && looksLikeJSON(text) && p.asDocument(f, text, list, starts) {
			changed = true
		}
		if !changed {
			break
		}
	}
	for i := range list {
		for alt := range list[i].Top {
			if len(alt) >= 6 && !marks.whole(alt) && len(p.find(alt, "")) > 0 {
				delete(list[i].Top, alt)
			}
		}
	}
	return list
}

// blank puts with into the first token that overlaps a finding and nothing into the others.
func (p *pass) blank(list []record.TokenLogprob, starts []int, x finding, with string) {
	for i := range list {
		if starts[i+1] <= x.start || starts[i] >= x.end {
			continue
		}
		list[i].Top = nil
		list[i].Token = cutOut(list[i].Token, x.start-starts[i], x.end-starts[i], with)
		with = ""
	}
}

// cutOut replaces s[from:to], as far as it is in s.
func cutOut(s string, from, to int, with string) string {
	from, to = max(from, 0), min(to, len(s))
	return s[:from] + with + s[to:]
}

// asDocument looks at tokens that are JSON together, whose keys say what values are. When there is a finding all
// tokens are blanked but for the first, which takes the whole: where within it the tokens were is not known.
func (p *pass) asDocument(f field, text string, list []record.TokenLogprob, starts []int) bool {
	out, ok := p.document(f, text, 0)
	if !ok || out == text {
		return false
	}
	p.blank(list, starts, finding{"", 0, len(text), 0}, out)
	return true
}
