package pyjinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// globals are the functions that every template has.
var globals = map[string]method{
	"range": func(args []any, kwargs map[string]any) (any, error) {
		b := bound{args, kwargs}
		if err := b.most("start", "stop", "step"); err != nil {
			return nil, err
		}
		if len(args) == 0 {
			return nil, errors.New("range needs a number")
		}
		from, err := b.int(0, "start", 0)
		to, errTo := b.int(1, "stop", 0)
		step, errStep := b.int(2, "step", 1)
		if err := errors.Join(err, errTo, errStep); err != nil {
			return nil, err
		}
		if len(args) == 1 {
			from, to = 0, from
		}
		if step == 0 {
			return nil, errors.New("range with step 0")
		}
		out := []any{}
		for k := from; step > 0 && k < to || step < 0 && k > to; k += step {
			if out = append(out, k); len(out) > 100_000 {
				return nil, errors.New("a range of more than 100000 numbers")
			}
		}
		return out, nil
	},
	"dict": func(args []any, kwargs map[string]any) (any, error) {
		if len(args) > 0 {
			return nil, errors.New("dict takes named arguments only")
		}
		if kwargs == nil {
			kwargs = map[string]any{}
		}
		return kwargs, nil
	},
}

// methodOf returns the method of a value, nil when there is none of that name.
func methodOf(v any, name string) any {
	switch v := v.(type) {
	case string:
		if f, ok := stringMethods[name]; ok {
			return method(func(args []any, kwargs map[string]any) (any, error) {
				out, err := f(v, bound{args, kwargs})
				return out, wrap(name, err)
			})
		}
	case []any:
		if f, ok := listMethods[name]; ok {
			return method(func(args []any, _ map[string]any) (any, error) {
				out, err := f(v, args)
				return out, wrap(name, err)
			})
		}
	case map[string]any:
		if f, ok := dictMethods[name]; ok {
			return method(func(args []any, _ map[string]any) (any, error) {
				out, err := f(v, args)
				return out, wrap(name, err)
			})
		}
	}
	return nil
}

func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

var listMethods = map[string]func(v []any, args []any) (any, error){
	"index": func(v []any, args []any) (any, error) {
		if len(args) != 1 {
			return nil, errors.New("want one argument")
		}
		for i, e := range v {
			if equal(e, args[0]) {
				return int64(i), nil
			}
		}
		text, _ := repr(args[0])
		return nil, fmt.Errorf("%s is not in the list", text)
	},
	"count": func(v []any, args []any) (any, error) {
		if len(args) != 1 {
			return nil, errors.New("want one argument")
		}
		n := int64(0)
		for _, e := range v {
			if equal(e, args[0]) {
				n++
			}
		}
		return n, nil
	},
}

var dictMethods = map[string]func(v map[string]any, args []any) (any, error){
	"get": func(v map[string]any, args []any) (any, error) {
		if len(args) == 0 || len(args) > 2 {
			return nil, errors.New("want a key, and what is taken when it is not there")
		}
		if k, ok := args[0].(string); ok {
			if e, ok := v[k]; ok {
				return e, nil
			}
		}
		if len(args) == 2 {
			return args[1], nil
		}
		return nil, nil
	},
	"keys": func(v map[string]any, _ []any) (any, error) { return iterate(v) },
	"values": func(v map[string]any, _ []any) (any, error) {
		keys, err := iterate(v)
		out := []any{}
		for _, k := range keys {
			out = append(out, v[k.(string)])
		}
		return out, err
	},
	"items": func(v map[string]any, _ []any) (any, error) {
		keys, err := iterate(v)
		out := []any{}
		for _, k := range keys {
			out = append(out, Tuple{k, v[k.(string)]})
		}
		return out, err
	},
}

type stringMethod = func(s string, b bound) (any, error)

var stringMethods = map[string]stringMethod{
	"lower":      plain(Lower),
	"upper":      plain(Upper),
	"title":      plain(title),
	"capitalize": plain(capitalize),
	"swapcase":   plain(swapCase),
	"strip":      stripper(strings.TrimFunc),
	"lstrip":     stripper(strings.TrimLeftFunc),
	"rstrip":     stripper(strings.TrimRightFunc),
	"split":      splitter(split),
	"rsplit":     splitter(rsplit),
	"splitlines": func(s string, b bound) (any, error) { return splitLines(s), b.most() },
	"join":       joinMethod,
	"replace":    replaceMethod,
	"startswith": affix(strings.HasPrefix),
	"endswith":   affix(strings.HasSuffix),
	"find":       finder(strings.Index, true),
	"rfind":      finder(strings.LastIndex, true),
	"index":      finder(strings.Index, false),
	"rindex":     finder(strings.LastIndex, false),
	"count": func(s string, b bound) (any, error) {
		sub, err := oneText(b)
		return int64(strings.Count(s, sub)), err
	},
	"isdigit": class(func(r rune) bool { return unicode.Is(unicode.Nd, r) }), "isalpha": class(unicode.IsLetter),
	"isalnum": class(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }), "isspace": class(unicode.IsSpace),
	"isupper": func(s string, _ bound) (any, error) {
		return Upper(s) == s && Lower(s) != s, nil
	},
	"islower": func(s string, _ bound) (any, error) {
		return Lower(s) == s && Upper(s) != s, nil
	},
	"removeprefix": func(s string, b bound) (any, error) {
		sub, err := oneText(b)
		return strings.TrimPrefix(s, sub), err
	},
	"removesuffix": func(s string, b bound) (any, error) {
		sub, err := oneText(b)
		return strings.TrimSuffix(s, sub), err
	},
	"partition":  partition(strings.Index, 0),
	"rpartition": partition(strings.LastIndex, 2),
	"zfill": func(s string, b bound) (any, error) {
		n, err := b.int(0, "width", 0)
		if err != nil || n > maxOutput {
			return nil, errors.Join(err, b.most("width"))
		}
		sign := ""
		if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
			sign, s = s[:1], s[1:]
		}
		return sign + strings.Repeat("0", max(0, int(n)-utf8.RuneCountInString(sign+s))) + s, nil
	},
	"format": formatMethod,
}

func plain(f func(string) string) stringMethod {
	return func(s string, b bound) (any, error) { return f(s), b.most() }
}

func oneText(b bound) (string, error) {
	if len(b.args) != 1 {
		return "", errors.New("want one argument")
	}
	return b.text(0, "", "")
}

func stripper(trim func(string, func(rune) bool) string) stringMethod {
	return func(s string, b bound) (any, error) {
		if v, ok := b.get(0, "chars"); !ok || v == nil {
			return trim(s, pySpace), b.most("chars")
		}
		chars, err := b.text(0, "chars", "")
		return trim(s, func(r rune) bool { return strings.ContainsRune(chars, r) }), err
	}
}

func splitter(f func(s, sep string, most int) []string) stringMethod {
	return func(s string, b bound) (any, error) {
		sep := ""
		if v, ok := b.get(0, "sep"); ok && v != nil {
			var err error
			if sep, err = b.text(0, "sep", ""); err != nil {
				return nil, err
			}
			if sep == "" {
				return nil, errors.New("empty separator")
			}
		}
		most, err := b.int(1, "maxsplit", -1)
		if err := errors.Join(err, b.most("sep", "maxsplit")); err != nil {
			return nil, err
		}
		out := []any{}
		for _, p := range f(s, sep, int(most)) {
			out = append(out, p)
		}
		return out, nil
	}
}

// split cuts at sep, or at runs of white space when sep is empty, at most so often.
func split(s, sep string, most int) []string {
	if sep != "" {
		if most < 0 {
			return strings.Split(s, sep)
		}
		return strings.SplitN(s, sep, most+1)
	}
	var out []string
	s = strings.TrimLeftFunc(s, pySpace)
	for s != "" {
		i := strings.IndexFunc(s, pySpace)
		if i < 0 || most >= 0 && len(out) == most {
			return append(out, s)
		}
		out = append(out, s[:i])
		s = strings.TrimLeftFunc(s[i:], pySpace)
	}
	return out
}

func rsplit(s, sep string, most int) []string {
	if most < 0 {
		return split(s, sep, most)
	}
	var out []string
	if sep == "" {
		s = strings.TrimRightFunc(s, pySpace)
	}
	for len(out) < most {
		i, n := strings.LastIndex(s, sep), len(sep)
		if sep == "" {
			i = strings.LastIndexFunc(s, pySpace)
			if i >= 0 {
				_, n = utf8.DecodeRuneInString(s[i:])
			}
		}
		if i < 0 {
			break
		}
		out = append(out, s[i+n:])
		if s = s[:i]; sep == "" {
			s = strings.TrimRightFunc(s, pySpace)
		}
	}
	if sep != "" || s != "" {
		out = append(out, s)
	}
	slices.Reverse(out)
	return out
}

func splitLines(s string) []any {
	out := []any{}
	for s != "" {
		i := strings.IndexAny(s, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
		if i < 0 {
			return append(out, s)
		}
		out = append(out, s[:i])
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		s = s[i+n:]
	}
	return out
}

func joinMethod(s string, b bound) (any, error) {
	if len(b.args) != 1 {
		return nil, errors.New("want one argument")
	}
	items, err := iterate(b.args[0])
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, e := range items {
		text, ok := e.(string)
		if !ok {
			return nil, fmt.Errorf("item %d is %s; want a string", i, typeName(e))
		}
		parts[i] = text
	}
	return strings.Join(parts, s), nil
}

func replaceMethod(s string, b bound) (any, error) {
	if len(b.args) < 2 {
		return nil, errors.New("want two arguments")
	}
	from, err := b.text(0, "", "")
	to, errTo := b.text(1, "", "")
	n, errN := b.int(2, "count", -1)
	if err := errors.Join(err, errTo, errN, b.most("old", "new", "count")); err != nil {
		return nil, err
	}
	out := strings.Replace(s, from, to, int(n))
	if len(out) > maxOutput {
		return nil, fmt.Errorf("it makes more than %d bytes", maxOutput)
	}
	return out, nil
}

func affix(has func(s, sub string) bool) stringMethod {
	return func(s string, b bound) (any, error) {
		if len(b.args) != 1 {
			return nil, errors.New("want one argument")
		}
		options := []any{b.args[0]}
		if t, ok := b.args[0].(Tuple); ok {
			options = t
		}
		for _, o := range options {
			text, ok := o.(string)
			if !ok {
				return nil, fmt.Errorf("the argument is %s; want a string", typeName(o))
			}
			if has(s, text) {
				return true, nil
			}
		}
		return false, nil
	}
}

// finder counts in characters; quiet gives -1 where there is nothing to find.
func finder(find func(s, sub string) int, quiet bool) stringMethod {
	return func(s string, b bound) (any, error) {
		sub, err := oneText(b)
		if err != nil {
			return nil, err
		}
		i := find(s, sub)
		switch {
		case i >= 0:
			return int64(utf8.RuneCountInString(s[:i])), nil
		case quiet:
			return int64(-1), nil
		}
		return nil, errors.New("substring not found")
	}
}

func class(is func(rune) bool) stringMethod {
	return func(s string, b bound) (any, error) {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0, b.most()
	}
}

func partition(find func(s, sub string) int, rest int) stringMethod {
	return func(s string, b bound) (any, error) {
		sep, err := oneText(b)
		if err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, errors.New("empty separator")
		}
		out := Tuple{"", "", ""}
		if i := find(s, sep); i >= 0 {
			return Tuple{s[:i], sep, s[i+len(sep):]}, nil
		}
		out[rest] = s
		return out, nil
	}
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(r)) + Lower(s[n:])
}

// title makes the first letter of each run of letters large and the others small.
func title(s string) string {
	inside := false
	return strings.Map(func(r rune) rune {
		was := inside
		inside = unicode.IsLetter(r)
		if was {
			return unicode.ToLower(r)
		}
		return unicode.ToTitle(r)
	}, s)
}

// titleFilter is Jinja's title, whose words begin only behind white space, hyphens and open brackets.
func titleFilter(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		was := start
		start = strings.ContainsRune("-({[<", r) || pySpace(r)
		if was {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, s)
}

// formatMethod fills {}, {0} and {name}; conversions and format specifications are not supported.
func formatMethod(s string, b bound) (any, error) {
	var out strings.Builder
	auto := 0
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "{{") || strings.HasPrefix(s[i:], "}}"):
			out.WriteByte(s[i])
			i += 2
		case s[i] == '}':
			return nil, errors.New("a single }")
		case s[i] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return nil, errors.New("a single {")
			}
			field := s[i+1 : i+end]
			i += end + 1
			if strings.ContainsAny(field, ":!.[{") {
				return nil, fmt.Errorf("the field {%s} is not supported", field)
			}
			v, ok := b.kwargs[field]
			if n, isNumber := fieldNumber(field, &auto); isNumber {
				v, ok = b.get(n, "")
			}
			if !ok {
				return nil, fmt.Errorf("no value for {%s}", field)
			}
			text, err := str(v)
			if err != nil {
				return nil, err
			}
			out.WriteString(text)
		default:
			out.WriteByte(s[i])
			i++
		}
	}
	return out.String(), nil
}

func fieldNumber(field string, auto *int) (int, bool) {
	if field == "" {
		*auto++
		return *auto - 1, true
	}
	n := 0
	for _, c := range field {
		if c < '0' || c > '9' || n > 1000 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// percent fills %s, %r, %d and %%.
func percent(format string, args []any) (any, error) {
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		i++
		if i < len(format) && format[i] == '%' {
			out.WriteByte('%')
			continue
		}
		if i >= len(format) || !strings.ContainsRune("srd", rune(format[i])) {
			return nil, errors.New("% with another format than %s, %r, %d or %% is not supported")
		}
		if len(args) == 0 {
			return nil, errors.New("not enough values for the format")
		}
		v := args[0]
		args = args[1:]
		text, err := str(v)
		switch format[i] {
		case 'r':
			text, err = repr(v)
		case 'd':
			if _, ok := integer(v); !ok {
				return nil, operand("%d", v)
			}
		}
		if err != nil {
			return nil, err
		}
		out.WriteString(text)
	}
	if len(args) > 0 {
		return nil, errors.New("more values than the format has places")
	}
	return out.String(), nil
}
