package pyjinja

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

type filterFunc = func(v any, b bound) (any, error)

// filterNamed returns a filter, nil when there is none of that name. Those that name other filters or
// tests are not in the table, which would then refer to itself.
func filterNamed(name string) filterFunc {
	switch name {
	case "map":
		return mapFilter
	case "select":
		return selecting(true, false)
	case "reject":
		return selecting(false, false)
	case "selectattr":
		return selecting(true, true)
	case "rejectattr":
		return selecting(false, true)
	}
	return filters[name]
}

var filters = map[string]filterFunc{
	"lower": onText(Lower), "upper": onText(Upper), "capitalize": onText(capitalize), "title": onText(titleFilter),
	"trim": trimFilter, "replace": replaceFilter,
	"string":  func(v any, b bound) (any, error) { return onText(func(s string) string { return s })(v, b) },
	"safe":    func(v any, b bound) (any, error) { return onText(func(s string) string { return s })(v, b) },
	"default": defaultFilter, "d": defaultFilter,
	"length": lengthFilter, "count": lengthFilter, "first": edge(0), "last": edge(-1), "join": joinFilter, "list": listFilter,
	"reverse": reverseFilter, "sort": sortFilter, "unique": uniqueFilter, "sum": sumFilter, "min": extreme(-1), "max": extreme(1),
	"int": intFilter, "float": floatFilter, "abs": absFilter, "round": roundFilter, "tojson": tojsonFilter, "wordcount": wordcountFilter,
	"items": func(v any, _ bound) (any, error) {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s has no items", typeName(v))
		}
		return dictMethods["items"](m, nil)
	},
	"format": func(v any, b bound) (any, error) {
		s, ok := v.(string)
		if !ok || b.kwargs != nil {
			return nil, errors.New("want a string and values by place")
		}
		return percent(s, b.args)
	},
	"regex_replace": regexReplaceFilter,
}

type testFunc = func(v any, args []any) (bool, error)

var tests = map[string]testFunc{
	"defined":   func(v any, _ []any) (bool, error) { _, u := v.(undefined); return !u, nil },
	"undefined": func(v any, _ []any) (bool, error) { _, u := v.(undefined); return u, nil },
	"none":      func(v any, _ []any) (bool, error) { return v == nil, nil },
	"boolean":   func(v any, _ []any) (bool, error) { _, ok := v.(bool); return ok, nil },
	"true":      func(v any, _ []any) (bool, error) { return v == true, nil },
	"false":     func(v any, _ []any) (bool, error) { return v == false, nil },
	"string":    func(v any, _ []any) (bool, error) { _, ok := v.(string); return ok, nil },
	"mapping":   func(v any, _ []any) (bool, error) { _, ok := v.(map[string]any); return ok, nil },
	"number":    func(v any, _ []any) (bool, error) { _, _, ok := number(v); return ok, nil },
	"integer":   func(v any, _ []any) (bool, error) { _, ok := v.(int64); return ok, nil },
	"float":     func(v any, _ []any) (bool, error) { _, ok := v.(float64); return ok, nil },
	"sequence":  func(v any, _ []any) (bool, error) { _, err := length(v); return err == nil, nil },
	"iterable":  func(v any, _ []any) (bool, error) { _, err := length(v); return err == nil, nil },
	"odd":       func(v any, _ []any) (bool, error) { return remainder(v, int64(2), 1) },
	"even":      func(v any, _ []any) (bool, error) { return remainder(v, int64(2), 0) },
	"divisibleby": func(v any, args []any) (bool, error) {
		if len(args) != 1 {
			return false, errors.New("divisibleby needs a number")
		}
		return remainder(v, args[0], 0)
	},
	"in": func(v any, args []any) (bool, error) {
		if len(args) != 1 {
			return false, errors.New("in needs what to look in")
		}
		return contains(args[0], v)
	},
	"lower": func(v any, _ []any) (bool, error) { s, ok := v.(string); return ok && Lower(s) == s, nil },
	"upper": func(v any, _ []any) (bool, error) { s, ok := v.(string); return ok && Upper(s) == s, nil },
	"eq":    comparing("=="), "equalto": comparing("=="), "ne": comparing("!="), "lt": comparing("<"), "lessthan": comparing("<"),
	"le": comparing("<="), "gt": comparing(">"), "greaterthan": comparing(">"), "ge": comparing(">="),
}

func comparing(op string) testFunc {
	return func(v any, args []any) (bool, error) {
		if len(args) != 1 {
			return false, errors.New("the test needs what to compare with")
		}
		return compared(op, v, args[0])
	}
}

// regexReplaceFilter is the harness's own filter: re.sub with pattern, replacement and count. The
// expression must mean the same to Go's regexp and to Python; what only one of them knows is refused.
func regexReplaceFilter(v any, b bound) (any, error) {
	s, err := str(v)
	if err != nil {
		return nil, err
	}
	pattern, err := b.text(0, "pattern", "")
	repl, errRepl := b.text(1, "repl", "")
	count, errCount := b.int(2, "count", 0)
	if err := errors.Join(err, errRepl, errCount, b.most("pattern", "repl", "count")); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("the expression %q is not supported: %w", pattern, err)
	}
	if strings.Contains(repl, `\`) {
		return nil, fmt.Errorf("the replacement %q is not supported: it refers to groups", repl)
	}
	n := int64(0)
	return re.ReplaceAllStringFunc(s, func(m string) string {
		if n++; count > 0 && n > count {
			return m
		}
		return repl
	}), nil
}

func remainder(v, by any, want int64) (bool, error) {
	m, err := arithmetic("%", v, by)
	return err == nil && equal(m, want), err
}

func onText(f func(string) string) filterFunc {
	return func(v any, b bound) (any, error) {
		s, err := str(v)
		return f(s), errors.Join(err, b.most())
	}
}

func trimFilter(v any, b bound) (any, error) {
	s, err := str(v)
	if err != nil {
		return nil, err
	}
	return stringMethods["strip"](s, b)
}

func replaceFilter(v any, b bound) (any, error) {
	s, err := str(v)
	if err != nil {
		return nil, err
	}
	return replaceMethod(s, b)
}

func defaultFilter(v any, b bound) (any, error) {
	def, ok := b.get(0, "default_value")
	if !ok {
		def = ""
	}
	if _, u := v.(undefined); u {
		return def, nil
	}
	falsy, err := b.bool(1, "boolean", false)
	if err != nil || !falsy {
		return v, err
	}
	if ok, err := truth(v); err != nil || ok {
		return v, err
	}
	return def, nil
}

func lengthFilter(v any, _ bound) (any, error) {
	n, err := length(v)
	return int64(n), err
}

func edge(i int) filterFunc {
	return func(v any, _ bound) (any, error) {
		items, err := iterate(v)
		switch {
		case err != nil:
			return nil, err
		case len(items) == 0:
			return undefined{"an item of an empty list"}, nil
		case i < 0:
			return items[len(items)-1], nil
		}
		return items[0], nil
	}
}

func joinFilter(v any, b bound) (any, error) {
	sep, err := b.text(0, "d", "")
	if err != nil {
		return nil, err
	}
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, e := range items {
		if key, ok := b.get(1, "attribute"); ok {
			if e, err = attributeOf(e, key); err != nil {
				return nil, err
			}
		}
		if parts[i], err = str(e); err != nil {
			return nil, err
		}
	}
	return strings.Join(parts, sep), nil
}

// attributeOf reads a dotted path such as a.b.0 of a value.
func attributeOf(v any, key any) (any, error) {
	path, ok := key.(string)
	if !ok {
		path = fmt.Sprint(key)
	}
	s := &scope{run: &run{}}
	for _, part := range strings.Split(path, ".") {
		var k any = part
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			k = n
		}
		var err error
		if v, err = (item{constant{v}, constant{k}}).eval(s); err != nil {
			return nil, err
		}
		if u, ok := v.(undefined); ok {
			return nil, u.err()
		}
	}
	return v, nil
}

func listFilter(v any, _ bound) (any, error) {
	items, err := iterate(v)
	return append([]any{}, items...), err
}

func reverseFilter(v any, _ bound) (any, error) {
	items, err := iterate(v)
	out := append([]any{}, items...)
	slices.Reverse(out)
	if _, ok := v.(string); ok {
		return joinFilter(out, bound{})
	}
	return out, err
}

func sortFilter(v any, b bound) (any, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	down, err := b.bool(0, "reverse", false)
	cased, errCase := b.bool(1, "case_sensitive", false)
	if err := errors.Join(err, errCase, b.most("reverse", "case_sensitive", "attribute")); err != nil {
		return nil, err
	}
	if down { // a stable sort downwards keeps equal items in their order
		items = append([]any{}, items...)
		slices.Reverse(items)
	}
	out, err := sorted(items, func(e any) (any, error) {
		if key, ok := b.get(2, "attribute"); ok && key != nil {
			var err error
			if e, err = attributeOf(e, key); err != nil {
				return nil, err
			}
		}
		if s, ok := e.(string); ok && !cased {
			return Lower(s), nil
		}
		return e, nil
	})
	if down {
		slices.Reverse(out)
	}
	return out, err
}

func uniqueFilter(v any, b bound) (any, error) {
	items, err := iterate(v)
	out := []any{}
	var seen []any
	for _, e := range items {
		key := e
		if s, ok := e.(string); ok {
			key = Lower(s)
		}
		if !slices.ContainsFunc(seen, func(x any) bool { return equal(x, key) }) {
			seen, out = append(seen, key), append(out, e)
		}
	}
	return out, errors.Join(err, b.most())
}

func sumFilter(v any, b bound) (any, error) {
	items, err := iterate(v)
	if err := errors.Join(err, b.most()); err != nil {
		return nil, err
	}
	var sum any = int64(0)
	for _, e := range items {
		if sum, err = arithmetic("+", sum, e); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

func extreme(sign int) filterFunc {
	return func(v any, b bound) (any, error) {
		items, err := iterate(v)
		if err := errors.Join(err, b.most()); err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return undefined{"an item of an empty list"}, nil
		}
		best := items[0]
		for _, e := range items[1:] {
			c, err := order(e, best)
			if err != nil {
				return nil, err
			}
			if c*sign > 0 {
				best = e
			}
		}
		return best, nil
	}
}

func intFilter(v any, b bound) (any, error) {
	def, err := b.int(0, "default", 0)
	if err := errors.Join(err, b.most("default")); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case string:
		s := strings.TrimSpace(v)
		if n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64); err == nil {
			return n, nil
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<62 {
			return int64(f), nil
		}
		return def, nil
	case float64:
		if math.Abs(v) < 1<<62 {
			return int64(v), nil
		}
		return def, nil
	}
	if n, ok := integer(v); ok {
		return n, nil
	}
	return def, nil
}

func floatFilter(v any, b bound) (any, error) {
	if s, ok := v.(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil {
			return f, nil
		}
	} else if f, _, ok := number(v); ok {
		return f, nil
	}
	def, ok := b.get(0, "default")
	if !ok {
		def = 0.0
	}
	return def, b.most("default")
}

func absFilter(v any, _ bound) (any, error) {
	if n, ok := integer(v); ok {
		if n < 0 {
			n = -n
		}
		return n, nil
	}
	f, _, ok := number(v)
	if !ok {
		return nil, operand("abs", v)
	}
	return math.Abs(f), nil
}

func roundFilter(v any, b bound) (any, error) {
	f, _, ok := number(v)
	if !ok {
		return nil, operand("round", v)
	}
	places, err := b.int(0, "precision", 0)
	how, errHow := b.text(1, "method", "common")
	if err := errors.Join(err, errHow, b.most("precision", "method")); err != nil {
		return nil, err
	}
	if places < 0 || places > 15 {
		return nil, fmt.Errorf("a precision of %d is not supported", places)
	}
	scale := math.Pow10(int(places))
	switch how {
	case "common": // Python rounds the decimal value, halves to even
		out, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(places), 64), 64)
		return out, err
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "floor":
		return math.Floor(f*scale) / scale, nil
	}
	return nil, fmt.Errorf("unknown method %s", how)
}

// tojsonFilter writes JSON as Jinja does: keys sorted, a space behind commas and colons, and
// everything escaped that is not ASCII or means something to HTML.
func tojsonFilter(v any, b bound) (any, error) {
	out, err := appendJSON(nil, v)
	return string(out), errors.Join(err, b.most())
}

func appendJSON(b []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendJSONString(b, v), nil
	case map[string]any:
		b = append(b, '{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(appendJSONString(b, k), ": "...)
			if b, err = appendJSON(b, v[k]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	if _, _, ok := number(v); ok {
		s, err := repr(v)
		return append(b, s...), err
	}
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	b = append(b, '[')
	for i, e := range items {
		if i > 0 {
			b = append(b, ", "...)
		}
		if b, err = appendJSON(b, e); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r > 0xffff:
			r -= 0x10000
			b = fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case r < ' ' || r > 0x7f || r == '<' || r == '>' || r == '&' || r == '\'':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, byte(r))
		}
	}
	return append(b, '"')
}

func wordcountFilter(v any, _ bound) (any, error) {
	s, err := str(v)
	return int64(len(strings.Fields(s))), err
}

func mapFilter(v any, b bound) (any, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	out := make([]any, len(items))
	if key, ok := b.kwargs["attribute"]; ok {
		for i, e := range items {
			if out[i], err = attributeOf(e, key); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	name, err := b.text(0, "", "")
	if err != nil {
		return nil, err
	}
	f := filterNamed(name)
	if f == nil {
		return nil, fmt.Errorf("the filter %s is not supported", name)
	}
	for i, e := range items {
		if out[i], err = f(e, bound{b.args[1:], b.kwargs}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// selecting keeps the items, or those whose attribute, a test holds for.
func selecting(keep, attr bool) filterFunc {
	return func(v any, b bound) (any, error) {
		items, err := iterate(v)
		if err != nil {
			return nil, err
		}
		args := b.args
		var key any
		if attr {
			if len(args) == 0 {
				return nil, errors.New("want the name of an attribute")
			}
			key, args = args[0], args[1:]
		}
		check := func(v any, _ []any) (bool, error) { return truth(v) }
		if len(args) > 0 {
			name, _ := args[0].(string)
			t, ok := tests[name]
			if !ok {
				return nil, fmt.Errorf("the test %v is not supported", args[0])
			}
			check, args = t, args[1:]
		}
		out := []any{}
		for _, e := range items {
			x := e
			if attr {
				if x, err = attributeOf(e, key); err != nil {
					return nil, err
				}
			}
			ok, err := check(x, args)
			if err != nil {
				return nil, err
			}
			if ok == keep {
				out = append(out, e)
			}
		}
		return out, nil
	}
}
