package pyjinja

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// The statements and expressions that a template consists of.
type (
	stmt interface {
		exec(s *scope) error
	}
	expr interface {
		eval(s *scope) (any, error)
	}

	textStmt   string
	outputStmt struct {
		e    expr
		line int
	}
	forStmt struct {
		names      []string
		over, cond expr
		body, none []stmt
		line       int
	}
	ifStmt struct {
		conds  []expr
		bodies [][]stmt // one more than conds when there is an else
		line   int
	}
	setStmt struct {
		names []string
		value expr
		body  []stmt // of a block set
		line  int
	}

	constant  struct{ v any }
	name      string
	listExpr  []expr
	tupleExpr []expr
	dictExpr  struct{ keys, values []expr }
	unary     struct {
		op string
		x  expr
	}
	binary struct {
		op   string
		x, y expr
	}
	compare struct {
		x    expr
		ops  []string
		rest []expr
	}
	condition struct{ then, cond, otherwise expr }
	attribute struct {
		x    expr
		name string
	}
	item  struct{ x, key expr }
	slice struct{ x, from, to, step expr }
	call  struct {
		f      expr
		args   []expr
		kwargs map[string]expr
	}
	filter struct {
		x      expr
		name   string
		args   []expr
		kwargs map[string]expr
	}
	test struct {
		x    expr
		name string
		args []expr
		not  bool
	}
)

type parser struct {
	tokens []token
	i      int
	depth  int
}

func (p *parser) peek() token { return p.tokens[min(p.i, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.peek()
	p.i++
	return t
}

func (p *parser) errorf(t token, format string, args ...any) error {
	return &Error{Line: t.line, Problem: fmt.Sprintf(format, args...)}
}

func (p *parser) isOp(op string) bool {
	t := p.peek()
	return t.kind == tOp && t.text == op
}

func (p *parser) isName(words ...string) bool {
	t := p.peek()
	return t.kind == tName && slices.Contains(words, t.text)
}

func (p *parser) takeOp(op string) bool {
	if p.isOp(op) {
		p.i++
		return true
	}
	return false
}

func (p *parser) takeName(word string) bool {
	if p.isName(word) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(kind tokenKind, text string) error {
	if t := p.next(); t.kind != kind || t.text != text {
		return p.errorf(t, "unexpected %s; want %s", t.text, text)
	}
	return nil
}

// enter bounds how deeply a template is nested.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxNested {
		return p.errorf(p.peek(), "nested more than %d deep", maxNested)
	}
	return nil
}

// statements reads up to an end tag, else or the end of the template, which it leaves for its caller.
func (p *parser) statements() ([]stmt, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var out []stmt
	for {
		t := p.next()
		switch t.kind {
		case tText:
			if t.text != "" {
				out = append(out, textStmt(t.text))
			}
		case tOpenExpr:
			e, err := p.tuple()
			if err != nil {
				return nil, err
			}
			if err := p.expect(tCloseExpr, "}}"); err != nil {
				return nil, err
			}
			out = append(out, outputStmt{e, t.line})
		case tOpenStmt:
			if p.isName("endfor", "endif", "endset", "else", "elif") {
				return out, nil // its caller looks at it
			}
			s, err := p.statement()
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		default:
			p.i--
			return out, nil
		}
	}
}

func (p *parser) statement() (stmt, error) {
	t := p.next()
	switch {
	case t.kind != tName:
		return nil, p.errorf(t, "unexpected %s; want for, if or set", t.text)
	case t.text == "for":
		return p.forLoop(t)
	case t.text == "if":
		return p.ifElse(t)
	case t.text == "set":
		return p.set(t)
	}
	return nil, p.errorf(t, "{%% %s %%} is not supported", t.text)
}

// end reads the end tag of a statement, whose opening mark statements has read.
func (p *parser) end(word string) error {
	if err := p.expect(tName, word); err != nil {
		return err
	}
	return p.expect(tCloseStmt, "%}")
}

func (p *parser) forLoop(at token) (stmt, error) {
	f := forStmt{line: at.line}
	var err error
	if f.names, err = p.names("in"); err != nil {
		return nil, err
	}
	p.i++ // in
	if f.over, err = p.tupleOf(p.or); err != nil {
		return nil, err
	}
	if p.takeName("if") {
		if f.cond, err = p.expression(); err != nil {
			return nil, err
		}
	}
	if p.isName("recursive") {
		return nil, p.errorf(p.peek(), "recursive loops are not supported")
	}
	if err := p.expect(tCloseStmt, "%}"); err != nil {
		return nil, err
	}
	if f.body, err = p.statements(); err != nil {
		return nil, err
	}
	if p.takeName("else") {
		if err := p.expect(tCloseStmt, "%}"); err != nil {
			return nil, err
		}
		if f.none, err = p.statements(); err != nil {
			return nil, err
		}
	}
	return f, p.end("endfor")
}

// names reads the targets of an assignment up to the word or operator that ends them.
func (p *parser) names(end string) ([]string, error) {
	var out []string
	paren := p.takeOp("(")
	for {
		t := p.next()
		if t.kind != tName {
			return nil, p.errorf(t, "unexpected %s; want a name", t.text)
		}
		out = append(out, t.text)
		if !p.takeOp(",") {
			break
		}
	}
	if paren && !p.takeOp(")") {
		return nil, p.errorf(p.peek(), "unexpected %s; want )", p.peek().text)
	}
	if end != "" && !p.isName(end) {
		return nil, p.errorf(p.peek(), "unexpected %s; want %s", p.peek().text, end)
	}
	return out, nil
}

func (p *parser) ifElse(at token) (stmt, error) {
	out := ifStmt{line: at.line}
	for {
		cond, err := p.tuple()
		if err != nil {
			return nil, err
		}
		out.conds = append(out.conds, cond)
		if err := p.expect(tCloseStmt, "%}"); err != nil {
			return nil, err
		}
		body, err := p.statements()
		if err != nil {
			return nil, err
		}
		out.bodies = append(out.bodies, body)
		if p.takeName("elif") {
			continue
		}
		if p.takeName("else") {
			if err := p.expect(tCloseStmt, "%}"); err != nil {
				return nil, err
			}
			if body, err = p.statements(); err != nil {
				return nil, err
			}
			out.bodies = append(out.bodies, body)
		}
		return out, p.end("endif")
	}
}

func (p *parser) set(at token) (stmt, error) {
	out := setStmt{line: at.line}
	var err error
	if out.names, err = p.names(""); err != nil {
		return nil, err
	}
	if p.isOp(".") {
		return nil, p.errorf(p.peek(), "setting an attribute is not supported")
	}
	if p.takeOp("=") {
		if out.value, err = p.tuple(); err != nil {
			return nil, err
		}
		return out, p.expect(tCloseStmt, "%}")
	}
	if err := p.expect(tCloseStmt, "%}"); err != nil {
		return nil, err
	}
	if out.body, err = p.statements(); err != nil {
		return nil, err
	}
	return out, p.end("endset")
}

// tuple reads an expression, or several with commas between them.
func (p *parser) tuple() (expr, error) { return p.tupleOf(p.expression) }

func (p *parser) tupleOf(one func() (expr, error)) (expr, error) {
	x, err := one()
	if err != nil || !p.isOp(",") {
		return x, err
	}
	out := tupleExpr{x}
	for p.takeOp(",") {
		if k := p.peek().kind; k == tCloseExpr || k == tCloseStmt || k == tEnd || p.isOp(")") {
			break
		}
		x, err := one()
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// expression reads a conditional expression, which binds least.
func (p *parser) expression() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	x, err := p.or()
	for err == nil && p.takeName("if") {
		c := condition{then: x}
		if c.cond, err = p.or(); err != nil {
			return nil, err
		}
		if p.takeName("else") {
			c.otherwise, err = p.expression()
		}
		x = c
	}
	return x, err
}

func (p *parser) or() (expr, error) { return p.words(p.and, "or") }

func (p *parser) and() (expr, error) { return p.words(p.not, "and") }

func (p *parser) words(sub func() (expr, error), op string) (expr, error) {
	x, err := sub()
	for err == nil && p.takeName(op) {
		var y expr
		y, err = sub()
		x = binary{op, x, y}
	}
	return x, err
}

func (p *parser) not() (expr, error) {
	if p.takeName("not") {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		x, err := p.not()
		return unary{"not", x}, err
	}
	return p.comparison()
}

func (p *parser) comparison() (expr, error) {
	x, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := compare{x: x}
	for {
		op := ""
		switch t := p.peek(); {
		case t.kind == tOp && slices.Contains([]string{"==", "!=", "<", ">", "<=", ">="}, t.text):
			op = t.text
			p.i++
		case p.takeName("in"):
			op = "in"
		case p.isName("not") && p.i+1 < len(p.tokens) && p.tokens[p.i+1].kind == tName && p.tokens[p.i+1].text == "in":
			op = "not in"
			p.i += 2
		}
		if op == "" {
			if len(c.ops) == 0 {
				return x, nil
			}
			return c, nil
		}
		y, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, y)
	}
}

func (p *parser) sum() (expr, error) { return p.infix(p.concat, "+", "-") }

func (p *parser) concat() (expr, error) { return p.infix(p.product, "~") }

func (p *parser) product() (expr, error) { return p.infix(p.power, "*", "/", "//", "%") }

func (p *parser) power() (expr, error) {
	return p.infix(func() (expr, error) { return p.unary(true) }, "**")
}

func (p *parser) infix(sub func() (expr, error), ops ...string) (expr, error) {
	x, err := sub()
	for err == nil {
		t := p.peek()
		if t.kind != tOp || !slices.Contains(ops, t.text) {
			break
		}
		p.i++
		var y expr
		y, err = sub()
		x = binary{t.text, x, y}
	}
	return x, err
}

// unary reads a sign or a primary with what follows it. Filters belong to the whole signed number.
func (p *parser) unary(filters bool) (x expr, err error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	switch {
	case p.takeOp("-"):
		x, err = p.unary(false)
		x = unary{"-", x}
	case p.takeOp("+"):
		x, err = p.unary(false)
		x = unary{"+", x}
	default:
		x, err = p.primary()
	}
	if err == nil {
		x, err = p.postfix(x)
	}
	if err == nil && filters {
		x, err = p.filters(x)
	}
	return x, err
}

var constants = map[string]any{"true": true, "True": true, "false": false, "False": false, "none": nil, "None": nil}

func (p *parser) primary() (expr, error) {
	t := p.next()
	switch {
	case t.kind == tName:
		if v, ok := constants[t.text]; ok {
			return constant{v}, nil
		}
		return name(t.text), nil
	case t.kind == tString:
		s := t.text
		for p.peek().kind == tString {
			s += p.next().text
		}
		return constant{s}, nil
	case t.kind == tInt:
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			return nil, p.errorf(t, "the number %s is too large", t.text)
		}
		return constant{n}, nil
	case t.kind == tFloat:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil || math.IsInf(f, 0) {
			return nil, p.errorf(t, "the number %s is too large", t.text)
		}
		return constant{f}, nil
	case t.kind == tOp && t.text == "(":
		return p.parenthesis()
	case t.kind == tOp && t.text == "[":
		items, err := p.items("]")
		return listExpr(items), err
	case t.kind == tOp && t.text == "{":
		return p.dict()
	}
	return nil, p.errorf(t, "unexpected %s; want a value", t.text)
}

func (p *parser) parenthesis() (expr, error) {
	if p.takeOp(")") {
		return tupleExpr{}, nil
	}
	x, err := p.tuple()
	if err != nil {
		return nil, err
	}
	return x, p.expect(tOp, ")")
}

func (p *parser) items(end string) ([]expr, error) {
	out := []expr{}
	for !p.takeOp(end) {
		if len(out) > 0 && !p.takeOp(",") {
			return nil, p.errorf(p.peek(), "unexpected %s; want , or %s", p.peek().text, end)
		}
		if p.takeOp(end) {
			break
		}
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

func (p *parser) dict() (expr, error) {
	var out dictExpr
	for !p.takeOp("}") {
		if len(out.keys) > 0 && !p.takeOp(",") {
			return nil, p.errorf(p.peek(), "unexpected %s; want , or }", p.peek().text)
		}
		if p.takeOp("}") {
			break
		}
		k, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.expect(tOp, ":"); err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		out.keys, out.values = append(out.keys, k), append(out.values, v)
	}
	return out, nil
}

// postfix reads attributes, items, slices and calls.
func (p *parser) postfix(x expr) (expr, error) {
	for {
		switch {
		case p.takeOp("."):
			t := p.next()
			switch t.kind {
			case tName:
				x = attribute{x, t.text}
			case tInt:
				n, err := strconv.ParseInt(t.text, 10, 64)
				if err != nil {
					return nil, p.errorf(t, "the number %s is too large", t.text)
				}
				x = item{x, constant{n}}
			default:
				return nil, p.errorf(t, "unexpected %s; want an attribute", t.text)
			}
		case p.takeOp("["):
			var err error
			if x, err = p.subscript(x); err != nil {
				return nil, err
			}
		case p.takeOp("("):
			args, kwargs, err := p.arguments()
			if err != nil {
				return nil, err
			}
			x = call{x, args, kwargs}
		default:
			return x, nil
		}
	}
}

func (p *parser) subscript(x expr) (expr, error) {
	var parts [3]expr
	n := 0
	for !p.isOp("]") {
		if p.takeOp(":") {
			if n++; n > 2 {
				return nil, p.errorf(p.peek(), "a slice of more than three parts")
			}
			continue
		}
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		if parts[n] != nil {
			return nil, p.errorf(p.peek(), "unexpected value in a slice")
		}
		parts[n] = e
		if !p.isOp(":") && !p.isOp("]") {
			return nil, p.errorf(p.peek(), "unexpected %s; want ]", p.peek().text)
		}
	}
	p.i++
	switch {
	case n > 0:
		return slice{x, parts[0], parts[1], parts[2]}, nil
	case parts[0] == nil:
		return nil, p.errorf(p.peek(), "an empty subscript")
	}
	return item{x, parts[0]}, nil
}

func (p *parser) arguments() (args []expr, kwargs map[string]expr, err error) {
	for first := true; !p.takeOp(")"); first = false {
		if !first && !p.takeOp(",") {
			return nil, nil, p.errorf(p.peek(), "unexpected %s; want , or )", p.peek().text)
		}
		if p.takeOp(")") {
			break
		}
		if p.isOp("*") || p.isOp("**") {
			return nil, nil, p.errorf(p.peek(), "arguments with * are not supported")
		}
		key := ""
		if t := p.peek(); t.kind == tName && p.i+1 < len(p.tokens) && p.tokens[p.i+1].kind == tOp && p.tokens[p.i+1].text == "=" {
			key = t.text
			p.i += 2
		}
		x, err := p.expression()
		if err != nil {
			return nil, nil, err
		}
		switch {
		case key == "" && kwargs != nil:
			return nil, nil, p.errorf(p.peek(), "an argument after a named one")
		case key == "":
			args = append(args, x)
		default:
			if kwargs == nil {
				kwargs = map[string]expr{}
			}
			kwargs[key] = x
		}
	}
	return args, kwargs, nil
}

// filters reads filters and tests, which bind to what stands before them.
func (p *parser) filters(x expr) (expr, error) {
	for {
		switch {
		case p.takeOp("|"):
			t := p.next()
			if t.kind != tName {
				return nil, p.errorf(t, "unexpected %s; want a filter", t.text)
			}
			if filterNamed(t.text) == nil {
				return nil, p.errorf(t, "the filter %s is not supported", t.text)
			}
			f := filter{x: x, name: t.text}
			if p.takeOp("(") {
				var err error
				if f.args, f.kwargs, err = p.arguments(); err != nil {
					return nil, err
				}
			}
			x = f
		case p.takeName("is"):
			var err error
			if x, err = p.test(x); err != nil {
				return nil, err
			}
		case p.isOp("("):
			p.i++
			args, kwargs, err := p.arguments()
			if err != nil {
				return nil, err
			}
			x = call{x, args, kwargs}
		default:
			return x, nil
		}
	}
}

func (p *parser) test(x expr) (expr, error) {
	t := test{x: x, not: p.takeName("not")}
	at := p.next()
	if at.kind != tName {
		return nil, p.errorf(at, "unexpected %s; want a test", at.text)
	}
	if _, ok := tests[at.text]; !ok {
		return nil, p.errorf(at, "the test %s is not supported", at.text)
	}
	t.name = at.text
	if p.takeOp("(") {
		args, kwargs, err := p.arguments()
		if err == nil && kwargs != nil {
			err = p.errorf(at, "a test with named arguments")
		}
		t.args = args
		return t, err
	}
	next := p.peek()
	starts := next.kind == tString || next.kind == tInt || next.kind == tFloat || next.kind == tName || next.kind == tOp && (next.text == "[" || next.text == "{")
	if starts && !p.isName("else", "or", "and", "is", "if", "not", "in") {
		arg, err := p.primary()
		if err == nil {
			arg, err = p.postfix(arg)
		}
		if err != nil {
			return nil, err
		}
		t.args = []expr{arg}
	}
	return t, nil
}
