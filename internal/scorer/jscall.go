package scorer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// jsLimit bounds the text that one operation makes.
const jsLimit = 16 << 20

// jsBinding is the CEL function js(NAME, OPERANDS).
func jsBinding(name, operands ref.Val) ref.Val {
	op, _ := name.(types.String)
	args, ok := fromCEL(operands).([]any)
	if !ok {
		return types.NewErr("operands of %s", op)
	}
	v, err := jsCall(string(op), args)
	if err != nil {
		return types.WrapErr(err)
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

// fromCEL returns a value as Go has it after reading JSON: numbers are float64, undefined is nil.
func fromCEL(v ref.Val) any {
	switch v := v.(type) {
	case types.String:
		return string(v)
	case types.Bool:
		return bool(v)
	case types.Double:
		return float64(v)
	case types.Int:
		return float64(v)
	case types.Uint:
		return float64(v)
	case types.Null:
		return nil
	case traits.Mapper:
		out := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			out[fmt.Sprint(key.Value())] = fromCEL(v.Get(key))
		}
		return out
	case traits.Lister:
		out := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			out = append(out, fromCEL(it.Next()))
		}
		return out
	}
	return v.Value()
}

// jsCall does one operation as JavaScript would. What JavaScript would do by converting between kinds
// of values in surprising ways is an error.
func jsCall(op string, a []any) (any, error) {
	switch op {
	case "truthy":
		return jsTruthy(a[0]), nil
	case "not":
		return !jsTruthy(a[0]), nil
	case "Boolean":
		return jsTruthy(a[0]), nil
	case "isNull":
		return a[0] == nil, nil
	case "same", "equal":
		return jsSame(op, a[0], a[1])
	case "differ", "unequal":
		same, err := jsSame(op, a[0], a[1])
		return !same, err
	case "typeof":
		return jsType(a[0]), nil
	case "get", "opt":
		return jsGet(op, a[0], a[1])
	case "list":
		if _, ok := a[0].([]any); !ok {
			return nil, fmt.Errorf("%s is not a list", jsType(a[0]))
		}
		return a[0], nil
	case "add":
		return jsAdd(a[0], a[1])
	case "String", "toString":
		return jsText(a[0])
	case "JSON.parse":
		return jsParseJSON(a[0])
	case "JSON.stringify":
		return jsJSON(a[0])
	case "Array.isArray":
		_, ok := a[0].([]any)
		return ok, nil
	case "Object.keys", "Object.values":
		return jsEntries(op, a[0])
	case "less", "more", "atMost", "atLeast":
		return jsCompare(op, a[0], a[1])
	}
	if v, ok, err := jsMath(op, a); ok {
		return v, err
	}
	if list, ok := a[0].([]any); ok {
		return jsListMethod(op, list, a[1:])
	}
	if s, ok := a[0].(string); ok {
		return jsTextMethod(op, s, a[1:])
	}
	if op == "toFixed" {
		return jsFixed(a)
	}
	return nil, fmt.Errorf("%s has no %s", jsType(a[0]), op)
}

func jsTruthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case float64:
		return v != 0 && !math.IsNaN(v)
	}
	return true
}

func jsType(v any) string {
	switch v.(type) {
	case nil:
		return "undefined"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		return "number"
	}
	return "object"
}

// jsSame compares values; == between different types converts in JavaScript, which is refused here.
func jsSame(op string, a, b any) (bool, error) {
	ta, tb := jsType(a), jsType(b)
	switch {
	case ta == "object" && tb == "object":
		return false, errors.New("objects and lists are compared by identity in JavaScript; compare their parts")
	case ta == tb:
		return a == b, nil
	case a == nil || b == nil || op == "same" || op == "differ":
		return false, nil
	}
	return false, fmt.Errorf("%s is compared with %s by ==; use ===", ta, tb)
}

func jsGet(op string, of, key any) (any, error) {
	if n, ok := key.(float64); ok {
		switch of := of.(type) {
		case []any:
			if i := int(n); float64(i) == n && i >= 0 && i < len(of) {
				return of[i], nil
			}
			return nil, nil
		case string:
			return jsTextMethod("at?", of, []any{n})
		}
		text, err := jsText(n)
		if err != nil {
			return nil, err
		}
		key = text
	}
	name, ok := key.(string)
	if !ok {
		return nil, fmt.Errorf("%s is not the name of a property", jsType(key))
	}
	switch of := of.(type) {
	case nil:
		if op == "opt" {
			return nil, nil
		}
		return nil, fmt.Errorf("there is nothing to take %q from", name)
	case map[string]any:
		return of[name], nil
	case []any:
		if name == "length" {
			return float64(len(of)), nil
		}
	case string:
		if name == "length" {
			return float64(jsLength(of)), nil
		}
	}
	return nil, nil
}

// jsLength counts UTF-16 units, as JavaScript does.
func jsLength(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

func jsAdd(a, b any) (any, error) {
	x, ok1 := a.(float64)
	y, ok2 := b.(float64)
	if ok1 && ok2 {
		return x + y, nil
	}
	if jsType(a) != "string" && jsType(b) != "string" {
		return nil, fmt.Errorf("%s + %s", jsType(a), jsType(b))
	}
	s, err := jsText(a)
	if err != nil {
		return nil, err
	}
	t, err := jsText(b)
	return s + t, err
}

// jsText is String(v). An object has no text but [object Object], which nobody wants.
func jsText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "undefined", nil
	case []any:
		return jsJoin(v, ",")
	case map[string]any:
		return "", errors.New("an object is not a text; use JSON.stringify")
	case float64:
		switch {
		case math.IsNaN(v):
			return "NaN", nil
		case math.IsInf(v, 0):
			return strings.Replace(strconv.FormatFloat(v, 'f', -1, 64), "Inf", "Infinity", 1), nil
		}
	}
	s, ok := text(v)
	if !ok {
		return "", fmt.Errorf("%v has no text", v)
	}
	return s, nil
}

func jsJoin(list []any, by string) (string, error) {
	parts := make([]string, len(list))
	for i, v := range list {
		if v == nil {
			continue
		}
		s, err := jsText(v)
		if err != nil {
			return "", err
		}
		parts[i] = s
	}
	return strings.Join(parts, by), nil
}

func jsParseJSON(v any) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("JSON.parse of %s", jsType(v))
	}
	var out any
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		return nil, fmt.Errorf("JSON.parse: %w", err)
	}
	return out, nil
}

// jsJSON writes compact JSON. The keys of objects are sorted: in which order they were is not kept.
func jsJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("JSON.stringify: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func jsEntries(op string, v any) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s of %s", op, jsType(v))
	}
	out := []any{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if op == "Object.keys" {
			out = append(out, k)
		} else {
			out = append(out, m[k])
		}
	}
	return out, nil
}

func jsCompare(op string, a, b any) (bool, error) {
	var c int
	switch x := a.(type) {
	case float64:
		y, ok := b.(float64)
		if !ok {
			return false, fmt.Errorf("number compared with %s", jsType(b))
		}
		if math.IsNaN(x) || math.IsNaN(y) {
			return false, nil
		}
		c = map[bool]int{true: -1}[x < y] + map[bool]int{true: 1}[x > y]
	case string:
		y, ok := b.(string)
		if !ok {
			return false, fmt.Errorf("string compared with %s", jsType(b))
		}
		c = slices.Compare(utf16.Encode([]rune(x)), utf16.Encode([]rune(y)))
	default:
		return false, fmt.Errorf("%s compared with %s", jsType(a), jsType(b))
	}
	switch op {
	case "less":
		return c < 0, nil
	case "more":
		return c > 0, nil
	case "atMost":
		return c <= 0, nil
	}
	return c >= 0, nil
}

// jsMath does arithmetic; ok is false for an operation that is none.
func jsMath(op string, a []any) (v any, ok bool, err error) {
	switch op {
	case "Number", "parseInt", "parseFloat":
		v, err = jsNumberOf(op, a[0])
		return v, true, err
	}
	unary := map[string]func(float64) float64{
		"negate": func(x float64) float64 { return -x }, "Math.floor": math.Floor, "Math.ceil": math.Ceil, "Math.abs": math.Abs,
		"Math.round": func(x float64) float64 { return math.Floor(x + 0.5) },
	}
	binary := map[string]func(x, y float64) float64{
		"subtract": func(x, y float64) float64 { return x - y }, "multiply": func(x, y float64) float64 { return x * y },
		"divide": func(x, y float64) float64 { return x / y }, "remainder": math.Mod, "Math.min": math.Min, "Math.max": math.Max,
	}
	f1, one := unary[op]
	f2, two := binary[op]
	if !one && !two {
		return nil, false, nil
	}
	for _, v := range a {
		if _, ok := v.(float64); !ok {
			return nil, true, fmt.Errorf("%s of %s, which is not a number", op, jsType(v))
		}
	}
	if one {
		return f1(a[0].(float64)), true, nil
	}
	return f2(a[0].(float64), a[1].(float64)), true, nil
}

var (
	jsInt   = regexp.MustCompile(`^[-+]?[0-9]+`)
	jsFloat = regexp.MustCompile(`^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?`)
)

func jsNumberOf(op string, v any) (any, error) {
	switch v := v.(type) {
	case float64:
		if op == "parseInt" {
			return math.Trunc(v), nil
		}
		return v, nil
	case bool:
		if op == "Number" {
			return map[bool]float64{true: 1}[v], nil
		}
	case string:
		s := jsTrim(v)
		digits := s
		switch op {
		case "parseInt":
			digits = jsInt.FindString(s)
		case "parseFloat":
			digits = jsFloat.FindString(s)
		case "Number":
			if s == "" {
				return 0.0, nil
			}
			if jsFloat.FindString(s) != s {
				return math.NaN(), nil
			}
		}
		f, err := strconv.ParseFloat(digits, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return math.NaN(), nil
		}
		return f, nil
	}
	return math.NaN(), nil
}

func jsFixed(a []any) (any, error) {
	x, ok := a[0].(float64)
	digits := 0.0
	if len(a) > 1 {
		digits, _ = a[1].(float64)
	}
	if !ok || digits != math.Trunc(digits) || digits < 0 || digits > 100 || math.Abs(x) >= 1e21 {
		return nil, errors.New("toFixed takes a number and 0 to 100 digits")
	}
	return strconv.FormatFloat(x, 'f', int(digits), 64), nil
}

// jsRegex is a pattern that has been compiled.
type jsRegex struct {
	*regexp.Regexp
	global bool
}

// compileJSRegex compiles a pattern of JavaScript with RE2, or says why that would mean something else.
func compileJSRegex(pattern, flags string) (*jsRegex, error) {
	out := &jsRegex{}
	re2 := ""
	for _, f := range flags {
		switch f {
		case 'g':
			out.global = true
		case 'i', 'm', 's':
			re2 += string(f)
		case 'u':
		default:
			return nil, fmt.Errorf("flag %c", f)
		}
	}
	translated, err := re2Of(pattern, strings.Contains(flags, "s"))
	if err != nil {
		return nil, err
	}
	if re2 != "" {
		translated = "(?" + re2 + ")" + translated
	}
	if out.Regexp, err = regexp.Compile(translated); err != nil {
		return nil, err
	}
	return out, nil
}

// re2Of writes what differs between JavaScript's patterns and RE2's: white space and the dot.
func re2Of(pattern string, dotAll bool) (string, error) {
	const space = `\s\v\p{Z}\x{FEFF}`
	var b strings.Builder
	class := false
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern):
			i++
			switch e := pattern[i]; {
			case e == 's' && class:
				b.WriteString(space)
			case e == 's':
				b.WriteString("[" + space + "]")
			case e == 'S' && class:
				return "", errors.New(`\S within brackets`)
			case e == 'S':
				b.WriteString("[^" + space + "]")
			case e == '/':
				b.WriteByte('/')
			case e == 'z' || e == 'A' || e == 'Q' || e == 'a' || e == 'C':
				return "", fmt.Errorf(`\%c`, e)
			default:
				b.WriteString(pattern[i-1 : i+1])
			}
		case class:
			class = c != ']'
			b.WriteByte(c)
		case c == '[':
			class = true
			b.WriteByte(c)
		case c == '.' && !dotAll:
			b.WriteString(`[^\n\r\x{2028}\x{2029}]`)
		case strings.HasPrefix(pattern[i:], "(?") && !strings.HasPrefix(pattern[i:], "(?:") && !strings.HasPrefix(pattern[i:], "(?<"):
			return "", errors.New("a group that RE2 has otherwise")
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}
