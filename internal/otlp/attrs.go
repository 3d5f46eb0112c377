package otlp

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// attrs are a span's attributes by name.
type attrs map[string]pcommon.Value

func attrsOf(m pcommon.Map) attrs {
	a := make(attrs, m.Len())
	for k, v := range m.All() {
		a[k] = v
	}
	return a
}

// str returns the first of the names that has a text that is not empty.
func (a attrs) str(names ...string) string {
	for _, name := range names {
		v, ok := a[name]
		if !ok {
			continue
		}
		s := ""
		switch v.Type() {
		case pcommon.ValueTypeStr:
			s = v.Str()
		case pcommon.ValueTypeInt, pcommon.ValueTypeDouble, pcommon.ValueTypeBool:
			s = v.AsString()
		}
		if s != "" {
			return strings.ToValidUTF8(s, "\ufffd")
		}
	}
	return ""
}

// float returns the first of the names that has a finite number, or a text that is one.
func (a attrs) float(names ...string) (float64, bool) {
	for _, name := range names {
		if v, ok := a[name]; ok {
			if f, ok := number(plain(v)); ok {
				return f, true
			}
		}
	}
	return 0, false
}

// count returns the first of the names that has a number of tokens.
func (a attrs) count(names ...string) int {
	if f, ok := a.float(names...); ok {
		return count(f)
	}
	return 0
}

func count(f float64) int {
	if f >= 0 && f <= math.MaxInt32 {
		return int(f)
	}
	return 0
}

// any returns the first of the names that is set as plain Go values, decoded where it is JSON in a text.
func (a attrs) any(names ...string) any {
	for _, name := range names {
		if v, ok := a[name]; ok {
			if out := unpack(plain(v)); out != nil && out != "" {
				return out
			}
		}
	}
	return nil
}

// tree gathers the attributes below a prefix into maps and lists: a.0.b and a.1.b become a list of maps.
func (a attrs) tree(prefix string) any {
	root := map[string]any{}
	n := 0
	for name, v := range a {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || n > 50_000 {
			continue
		}
		n++
		at := root
		parts := strings.Split(rest, ".")
		if len(parts) > 20 {
			continue
		}
		for i, p := range parts {
			if i == len(parts)-1 {
				if _, taken := at[p]; !taken {
					at[p] = plain(v)
				}
				break
			}
			next, ok := at[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
	}
	if n == 0 {
		return nil
	}
	return listed(root)
}

// listed turns maps whose keys are all numbers into lists, in their order.
func listed(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	numbers := len(m) > 0
	top := -1
	for k, e := range m {
		m[k] = listed(e)
		i, err := strconv.Atoi(k)
		if err != nil || i < 0 {
			numbers = false
			continue
		}
		top = max(top, i)
	}
	if !numbers || top >= 100_000 {
		return m
	}
	out := make([]any, 0, len(m))
	for i := 0; i <= top; i++ {
		if e, ok := m[strconv.Itoa(i)]; ok {
			out = append(out, e)
		}
	}
	return out
}

// plain makes Go values of an attribute: text as UTF-8, numbers as float64 or int64, maps and lists.
func plain(v pcommon.Value) any {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return strings.ToValidUTF8(v.Str(), "\ufffd")
	case pcommon.ValueTypeInt:
		return v.Int()
	case pcommon.ValueTypeDouble:
		if f := v.Double(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return nil
	case pcommon.ValueTypeBool:
		return v.Bool()
	case pcommon.ValueTypeSlice:
		s := v.Slice()
		out := make([]any, 0, s.Len())
		for i := range s.Len() {
			out = append(out, plain(s.At(i)))
		}
		return out
	case pcommon.ValueTypeMap:
		out := make(map[string]any, v.Map().Len())
		for k, e := range v.Map().All() {
			out[strings.ToValidUTF8(k, "\ufffd")] = plain(e)
		}
		return out
	}
	return nil
}

// unpack decodes a text that is a JSON object, list or string; anything else stays as it is.
func unpack(v any) any {
	s, ok := v.(string)
	if !ok || len(s) < 2 {
		return v
	}
	switch t := strings.TrimLeft(s, " \t\r\n"); {
	case t == "":
		return v
	case t[0] == '{', t[0] == '[', t[0] == '"':
		if out, err := decodeAny(t); err == nil {
			return out
		}
	}
	return v
}

// number reads a number, or a text that is one. It is finite.
func number(v any) (float64, bool) {
	var f float64
	switch v := v.(type) {
	case float64:
		f = v
	case int64:
		f = float64(v)
	case string:
		var err error
		if f, err = strconv.ParseFloat(v, 64); err != nil {
			return 0, false
		}
	default:
		return 0, false
	}
	return f, !math.IsNaN(f) && !math.IsInf(f, 0)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// firstText returns the first member that is a text and not empty.
func firstText(m map[string]any, names ...string) string {
	for _, n := range names {
		if s := text(m[n]); s != "" {
			return s
		}
	}
	return ""
}

// jsonText writes a value as JSON; a text stays as it is.
func jsonText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	if v == nil {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
