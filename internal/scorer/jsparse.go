package scorer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The part of JavaScript that is translated to CEL:
//
//	source   = expr [";"] | { ("const" | "let" | "var") NAME "=" expr ";" } "return" expr [";"]
//	expr     = binary [ "?" expr ":" expr ]
//	binary   = unary { op unary }         op: ?? || && === !== == != < > <= >= + - * / %
//	unary    = ("!" | "-" | "+" | "typeof") unary | postfix
//	postfix  = primary { "." NAME | "?." NAME | "[" expr "]" | "?.[" expr "]" | "(" args ")" }
//	primary  = literal | template | "[" exprs "]" | NAME | "(" expr ")" | regex "." "test" "(" expr ")"
//	args     = expr { "," expr } | NAME "=>" expr | "(" NAME ")" "=>" expr
//
// What CEL does otherwise is written as js("NAME", [operands]); see jsCall.

// errNotJS says that a text is not of that grammar: it may be CEL.
var errNotJS = errors.New("not of the JavaScript that can be translated")

// refusedJS says that a text is JavaScript whose meaning in CEL would be another.
type refusedJS struct{ why string }

func (e *refusedJS) Error() string { return e.why }

var (
	jsNumberAt = regexp.MustCompile(`^(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?`)
	jsEscapeAt = regexp.MustCompile(`^\\(?:u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{2}))`)
)

// jsMethods gives the methods that are known, with the least and the most arguments.
var jsMethods = map[string][2]int{
	"trim": {0, 0}, "trimStart": {0, 0}, "trimEnd": {0, 0}, "toLowerCase": {0, 0}, "toUpperCase": {0, 0}, "toString": {0, 0},
	"includes": {1, 1}, "startsWith": {1, 1}, "endsWith": {1, 1}, "indexOf": {1, 1}, "lastIndexOf": {1, 1},
	"slice": {0, 2}, "substring": {1, 2}, "charAt": {1, 1}, "at": {1, 1}, "concat": {1, 9}, "repeat": {1, 1},
	"split": {1, 2}, "join": {0, 1}, "replace": {2, 2}, "replaceAll": {2, 2}, "match": {1, 1}, "toFixed": {0, 1}, "reverse": {0, 0},
	"map": {1, 1}, "filter": {1, 1}, "some": {1, 1}, "every": {1, 1}, "find": {1, 1},
}

// jsFunctions are the global functions and those of JSON, Math, Object and Number.
var jsFunctions = map[string][2]int{
	"JSON.parse": {1, 1}, "JSON.stringify": {1, 1}, "String": {1, 1}, "Number": {1, 1}, "Boolean": {1, 1}, "parseInt": {1, 1}, "parseFloat": {1, 1},
	"Math.round": {1, 1}, "Math.floor": {1, 1}, "Math.ceil": {1, 1}, "Math.abs": {1, 1}, "Math.min": {2, 2}, "Math.max": {2, 2},
	"Object.keys": {1, 1}, "Object.values": {1, 1}, "Array.isArray": {1, 1},
}

var jsPrecedence = map[string]int{
	"??": 1, "||": 2, "&&": 3, "===": 4, "!==": 4, "==": 4, "!=": 4, "<": 5, ">": 5, "<=": 5, ">=": 5, "+": 6, "-": 6, "*": 7, "/": 7, "%": 7,
}

// jsOperators names the operators that are calls.
var jsOperators = map[string]string{
	"===": "same", "!==": "differ", "==": "equal", "!=": "unequal", "<": "less", ">": "more", "<=": "atMost", ">=": "atLeast",
	"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "remainder",
}

type jsParser struct {
	tokens []jsToken
	at     int
	names  []string // variables in scope
	bound  int      // number of names made up so far
	depth  int
}

// jsRoots are the variables that a transform may use.
var jsRoots = []string{"output", "vars", "prompt", "metadata", "context"}

// translateJS turns JavaScript into CEL. The error is errNotJS or *refusedJS.
func translateJS(source string) (string, error) {
	tokens, err := lexJS(source)
	if err != nil {
		return "", errNotJS
	}
	p := &jsParser{tokens: tokens, names: slices.Clone(jsRoots)}
	out, err := p.source()
	if err == nil && p.peek().kind != jsEnd {
		err = errNotJS
	}
	return out, err
}

func (p *jsParser) peek() jsToken {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return jsToken{}
}

func (p *jsParser) next() jsToken {
	t := p.peek()
	p.at++
	return t
}

// take moves past a punctuation mark or word if it is next.
func (p *jsParser) take(text string) bool {
	t := p.peek()
	if (t.kind == jsPunct || t.kind == jsName) && t.text == text {
		p.at++
		return true
	}
	return false
}

func (p *jsParser) expect(text string) error {
	if !p.take(text) {
		return errNotJS
	}
	return nil
}

func (p *jsParser) source() (string, error) {
	var before []string
	for {
		t := p.peek()
		if t.kind != jsName || t.text != "const" && t.text != "let" && t.text != "var" {
			break
		}
		p.at++
		name := p.next()
		if name.kind != jsName || p.expect("=") != nil || slices.Contains(p.names, name.text) {
			return "", errNotJS
		}
		value, err := p.expr()
		if err != nil {
			return "", err
		}
		if !p.take(";") && !p.peek().line {
			return "", errNotJS
		}
		before = append(before, fmt.Sprintf("cel.bind(%s, %s, ", name.text, value))
		p.names = append(p.names, name.text)
	}
	returned := p.take("return")
	if len(before) > 0 && !returned {
		return "", errNotJS
	}
	out, err := p.expr()
	p.take(";")
	return strings.Join(before, "") + out + strings.Repeat(")", len(before)), err
}

// maxJSDepth bounds how deeply an expression may be nested.
const maxJSDepth = 60

func (p *jsParser) expr() (string, error) {
	if p.depth++; p.depth > maxJSDepth {
		return "", errNotJS
	}
	defer func() { p.depth-- }()
	cond, err := p.binary(1)
	if err != nil || !p.take("?") {
		return cond, err
	}
	yes, err := p.expr()
	if err != nil {
		return "", err
	}
	if err := p.expect(":"); err != nil {
		return "", err
	}
	no, err := p.expr()
	return fmt.Sprintf("(%s ? dyn(%s) : dyn(%s))", truthy(cond), yes, no), err
}

func truthy(s string) string { return call("truthy", s) }

func call(name string, operands ...string) string {
	return fmt.Sprintf("js(%q, [%s])", name, strings.Join(operands, ", "))
}

func (p *jsParser) binary(least int) (string, error) {
	left, err := p.unary()
	for err == nil {
		op := p.peek()
		level := jsPrecedence[op.text]
		if op.kind != jsPunct || level < least {
			break
		}
		p.at++
		var right string
		if right, err = p.binary(level + 1); err == nil {
			left = p.combine(op.text, left, right)
		}
	}
	return left, err
}

// combine joins two operands. The value of a || b is one of them, not a truth value.
func (p *jsParser) combine(op, a, b string) string {
	v := fmt.Sprintf("js_%d", p.bound)
	choose := func(test, yes, no string) string {
		p.bound++
		return fmt.Sprintf("cel.bind(%s, %s, %s ? dyn(%s) : dyn(%s))", v, a, test, yes, no)
	}
	switch op {
	case "||":
		return choose(truthy(v), v, b)
	case "&&":
		return choose(truthy(v), b, v)
	case "??":
		return choose(call("isNull", v), b, v)
	}
	return call(jsOperators[op], a, b)
}

func (p *jsParser) unary() (string, error) {
	for _, op := range [...]struct{ text, name string }{{"!", "not"}, {"-", "negate"}, {"+", "Number"}, {"typeof", "typeof"}} {
		if p.take(op.text) {
			if p.depth++; p.depth > maxJSDepth {
				return "", errNotJS
			}
			defer func() { p.depth-- }()
			of, err := p.unary()
			return call(op.name, of), err
		}
	}
	return p.postfix()
}

func (p *jsParser) postfix() (string, error) {
	e, err := p.primary()
	for err == nil {
		switch t := p.peek(); {
		case t.kind != jsPunct:
			return e, nil
		case p.take("."):
			e, err = p.member(e, "get")
		case p.take("?."):
			if p.take("[") {
				e, err = p.index(e, "opt")
			} else {
				e, err = p.member(e, "opt")
			}
		case p.take("["):
			e, err = p.index(e, "get")
		default:
			return e, nil
		}
	}
	return e, err
}

func (p *jsParser) index(of, how string) (string, error) {
	i, err := p.expr()
	if err == nil {
		err = p.expect("]")
	}
	return call(how, of, i), err
}

// member reads what follows a dot: a property, or a method with its arguments.
func (p *jsParser) member(of, how string) (string, error) {
	name := p.next()
	if name.kind != jsName {
		return "", errNotJS
	}
	if !p.take("(") {
		return call(how, of, strconv.Quote(name.text)), nil
	}
	arity, known := jsMethods[name.text]
	switch {
	case !known:
		return "", errNotJS // it may be a function of CEL
	case how == "opt":
		return "", &refusedJS{"a call after ?. is not translated"}
	}
	switch name.text {
	case "map", "filter", "some", "every", "find":
		return p.lambda(of, name.text)
	}
	args, err := p.args(name.text)
	if err != nil {
		return "", err
	}
	if n := len(args); n < arity[0] || n > arity[1] && name.text != "concat" {
		return "", &refusedJS{fmt.Sprintf("%s with %d arguments is not translated", name.text, n)}
	}
	if name.text == "match" && !strings.HasPrefix(args[0], regexMark) {
		return "", &refusedJS{"match is translated with a pattern between slashes only"}
	}
	return call(name.text, append([]string{of}, args...)...), nil
}

// args reads arguments up to the closing parenthesis. A pattern becomes a list of pattern and flags.
func (p *jsParser) args(method string) ([]string, error) {
	var out []string
	for !p.take(")") {
		if len(out) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		if t := p.peek(); t.kind == jsPattern {
			p.at++
			if !slices.Contains([]string{"replace", "replaceAll", "match", "split"}, method) {
				return nil, &refusedJS{method + " with a pattern is not translated"}
			}
			re, err := regexOperand(t)
			if err != nil {
				return nil, err
			}
			out = append(out, re)
			continue
		}
		e, err := p.expr()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// regexMark begins the operand that a pattern becomes.
const regexMark = `["/", `

func regexOperand(t jsToken) (string, error) {
	if _, err := compileJSRegex(t.text, t.extra); err != nil {
		return "", &refusedJS{fmt.Sprintf("the pattern /%s/%s is not translated: %v", t.text, t.extra, err)}
	}
	return fmt.Sprintf("%s%s, %s]", regexMark, strconv.Quote(t.text), strconv.Quote(t.extra)), nil
}

// lambda reads x => … and calls the list's method with CEL's macros.
func (p *jsParser) lambda(of, method string) (string, error) {
	parens := p.take("(")
	name := p.next()
	if name.kind != jsName || parens && p.expect(")") != nil || p.expect("=>") != nil {
		return "", &refusedJS{method + " is translated with a function of one argument only, such as x => x.trim()"}
	}
	if slices.Contains(p.names, name.text) {
		return "", &refusedJS{fmt.Sprintf("the name %s is used twice", name.text)}
	}
	p.names = append(p.names, name.text)
	body, err := p.expr()
	p.names = p.names[:len(p.names)-1]
	if err == nil {
		err = p.expect(")")
	}
	list := call("list", of)
	switch method {
	case "map":
		return fmt.Sprintf("%s.map(%s, %s)", list, name.text, body), err
	case "filter":
		return fmt.Sprintf("%s.filter(%s, %s)", list, name.text, truthy(body)), err
	case "some":
		return fmt.Sprintf("dyn(%s.exists(%s, %s))", list, name.text, truthy(body)), err
	case "every":
		return fmt.Sprintf("dyn(%s.all(%s, %s))", list, name.text, truthy(body)), err
	}
	return call("get", fmt.Sprintf("%s.filter(%s, %s)", list, name.text, truthy(body)), "0.0"), err
}

func (p *jsParser) primary() (string, error) {
	t := p.next()
	switch t.kind {
	case jsNumber:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			return "", errNotJS
		}
		return "dyn(double(" + strconv.Quote(strconv.FormatFloat(f, 'g', -1, 64)) + "))", nil
	case jsString:
		return "dyn(" + strconv.Quote(t.text) + ")", nil
	case jsTemplate:
		return p.template(t.text)
	case jsPattern:
		return p.test(t)
	case jsName:
		return p.name(t.text)
	}
	switch {
	case t.kind == jsPunct && t.text == "(":
		e, err := p.expr()
		if err == nil {
			err = p.expect(")")
		}
		return "(" + e + ")", err
	case t.kind == jsPunct && t.text == "[":
		return p.list()
	}
	return "", errNotJS
}

func (p *jsParser) list() (string, error) {
	var items []string
	for !p.take("]") {
		if len(items) > 0 {
			if err := p.expect(","); err != nil {
				return "", err
			}
		}
		e, err := p.expr()
		if err != nil {
			return "", err
		}
		items = append(items, e)
	}
	return "dyn([" + strings.Join(items, ", ") + "])", nil
}

// test reads .test(x) after a pattern.
func (p *jsParser) test(t jsToken) (string, error) {
	re, err := regexOperand(t)
	if err != nil {
		return "", err
	}
	if !p.take(".") || !p.take("test") || !p.take("(") {
		return "", &refusedJS{"a pattern is translated in replace, split, match and test only"}
	}
	of, err := p.expr()
	if err == nil {
		err = p.expect(")")
	}
	return call("test", of, re), err
}

func (p *jsParser) name(name string) (string, error) {
	switch name {
	case "true", "false":
		return "dyn(" + name + ")", nil
	case "null", "undefined":
		return "dyn(null)", nil
	case "JSON", "Math", "Object", "Array":
		if !p.take(".") {
			return "", errNotJS
		}
		name += "." + p.next().text
	}
	if arity, ok := jsFunctions[name]; ok {
		if !p.take("(") {
			return "", errNotJS
		}
		args, err := p.args(name)
		if err != nil {
			return "", err
		}
		if name == "parseInt" && len(args) == 2 && args[1] == `dyn(double("10"))` {
			args = args[:1]
		}
		if len(args) < arity[0] || len(args) > arity[1] {
			return "", &refusedJS{fmt.Sprintf("%s with %d arguments is not translated", name, len(args))}
		}
		return call(name, args...), nil
	}
	if !slices.Contains(p.names, name) {
		return "", errNotJS
	}
	return "dyn(" + name + ")", nil
}

// template translates the text between backticks.
func (p *jsParser) template(s string) (string, error) {
	parts := []string{`dyn("")`}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			n, ok := unescapeJS(s[i:], &b)
			if !ok {
				return "", errNotJS
			}
			i += n - 1
		case strings.HasPrefix(s[i:], "${"):
			end := strings.IndexByte(s[i:], '}')
			if end < 0 || strings.ContainsAny(s[i+2:i+end], "{`") {
				return "", &refusedJS{"this template text is not translated"}
			}
			tokens, err := lexJS(s[i+2 : i+end])
			if err != nil {
				return "", errNotJS
			}
			inner := &jsParser{tokens: tokens, names: p.names, bound: p.bound + 100, depth: p.depth}
			e, err := inner.expr()
			if err != nil || inner.peek().kind != jsEnd {
				return "", errors.Join(errNotJS, err)
			}
			parts = append(parts, "dyn("+strconv.Quote(b.String())+")", call("String", e))
			b.Reset()
			i += end
		default:
			b.WriteByte(s[i])
		}
	}
	parts = append(parts, "dyn("+strconv.Quote(b.String())+")")
	return call("concat", parts...), nil
}
