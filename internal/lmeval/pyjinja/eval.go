package pyjinja

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// scope is the names at one place. A loop has one of its own: what is set in it ends with it.
type scope struct {
	run   *run
	vars  map[string]any
	own   map[string]any
	outer *scope
}

func (s *scope) get(n string) any {
	for c := s; c != nil; c = c.outer {
		if v, ok := c.own[n]; ok {
			return v
		}
		if v, ok := c.vars[n]; ok {
			return v
		}
	}
	if f, ok := globals[n]; ok {
		return f
	}
	return undefined{"'" + n + "'"}
}

func (s *scope) set(n string, v any) {
	if s.own == nil {
		s.own = map[string]any{}
	}
	s.own[n] = v
}

// exec runs statements in s.
func (s *scope) exec(body []stmt) error {
	for _, st := range body {
		if err := s.run.step(); err != nil {
			return err
		}
		if err := st.exec(s); err != nil {
			return err
		}
	}
	return nil
}

// at gives an error the line of its statement.
func at(line int, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{Line: line, Problem: err.Error()}
}

func (t textStmt) exec(s *scope) error { return s.run.write(string(t)) }

func (o outputStmt) exec(s *scope) error {
	v, err := o.e.eval(s)
	if err == nil {
		var text string
		if text, err = str(v); err == nil {
			return s.run.write(text)
		}
	}
	return at(o.line, err)
}

func (f forStmt) exec(s *scope) error {
	v, err := f.over.eval(s)
	var items []any
	if err == nil {
		items, err = iterate(v)
	}
	if err == nil && f.cond != nil {
		var kept []any
		for _, it := range items {
			inner := &scope{run: s.run, outer: s}
			if err = inner.assign(f.names, it); err != nil {
				break
			}
			var ok bool
			if ok, err = inner.holds(f.cond); err != nil {
				break
			}
			if ok {
				kept = append(kept, it)
			}
		}
		items = kept
	}
	if err != nil {
		return at(f.line, err)
	}
	if len(items) == 0 {
		return (&scope{run: s.run, outer: s}).exec(f.none)
	}
	for i, it := range items {
		inner := &scope{run: s.run, outer: s}
		loop := map[string]any{
			"index": int64(i + 1), "index0": int64(i), "first": i == 0, "last": i == len(items)-1, "length": int64(len(items)),
			"revindex": int64(len(items) - i), "revindex0": int64(len(items) - i - 1),
		}
		if i > 0 {
			loop["previtem"] = items[i-1]
		}
		if i+1 < len(items) {
			loop["nextitem"] = items[i+1]
		}
		inner.set("loop", loop)
		if err := inner.assign(f.names, it); err != nil {
			return at(f.line, err)
		}
		if err := inner.exec(f.body); err != nil {
			return err
		}
	}
	return nil
}

// assign sets one name to v, or several to its parts.
func (s *scope) assign(names []string, v any) error {
	if len(names) == 1 {
		s.set(names[0], v)
		return nil
	}
	parts, err := iterate(v)
	if err != nil {
		return err
	}
	if len(parts) != len(names) {
		return fmt.Errorf("%d values for %d names", len(parts), len(names))
	}
	for i, n := range names {
		s.set(n, parts[i])
	}
	return nil
}

func (s *scope) holds(e expr) (bool, error) {
	v, err := e.eval(s)
	if err != nil {
		return false, err
	}
	return truth(v)
}

func (f ifStmt) exec(s *scope) error {
	for i, c := range f.conds {
		ok, err := s.holds(c)
		if err != nil {
			return at(f.line, err)
		}
		if ok {
			return s.exec(f.bodies[i])
		}
	}
	if len(f.bodies) > len(f.conds) {
		return s.exec(f.bodies[len(f.conds)])
	}
	return nil
}

func (f setStmt) exec(s *scope) error {
	if f.value != nil {
		v, err := f.value.eval(s)
		if err == nil {
			err = s.assign(f.names, v)
		}
		return at(f.line, err)
	}
	inner := &scope{run: &run{out: &strings.Builder{}, steps: s.run.steps}, outer: s}
	if err := inner.exec(f.body); err != nil {
		return err
	}
	s.run.steps = inner.run.steps
	return at(f.line, s.assign(f.names, inner.run.out.String()))
}

func (c constant) eval(*scope) (any, error) { return c.v, nil }

func (n name) eval(s *scope) (any, error) { return s.get(string(n)), nil }

func evalAll(s *scope, list []expr) ([]any, error) {
	out := make([]any, len(list))
	for i, e := range list {
		v, err := e.eval(s)
		if err != nil {
			return nil, err
		}
		if u, ok := v.(undefined); ok {
			return nil, u.err()
		}
		out[i] = v
	}
	return out, nil
}

func (l listExpr) eval(s *scope) (any, error) { return evalAll(s, l) }

func (l tupleExpr) eval(s *scope) (any, error) {
	v, err := evalAll(s, l)
	return Tuple(v), err
}

func (d dictExpr) eval(s *scope) (any, error) {
	keys, err := evalAll(s, d.keys)
	if err != nil {
		return nil, err
	}
	values, err := evalAll(s, d.values)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(keys))
	for i, k := range keys {
		text, ok := k.(string)
		if !ok {
			return nil, fmt.Errorf("a mapping with %s as a key; only strings can be keys", typeName(k))
		}
		out[text] = values[i]
	}
	return out, nil
}

func (u unary) eval(s *scope) (any, error) {
	if u.op == "not" {
		ok, err := s.holds(u.x)
		return !ok, err
	}
	v, err := u.x.eval(s)
	if err != nil {
		return nil, err
	}
	if n, ok := integer(v); ok {
		if u.op == "-" {
			n = -n
		}
		return n, nil
	}
	f, ok := v.(float64)
	if !ok {
		return nil, operand(u.op, v)
	}
	if u.op == "-" {
		f = -f
	}
	return f, nil
}

func operand(op string, vs ...any) error {
	var names []string
	for _, v := range vs {
		if u, ok := v.(undefined); ok {
			return u.err()
		}
		names = append(names, typeName(v))
	}
	return fmt.Errorf("%s cannot be used with %s", op, strings.Join(names, " and "))
}

func (b binary) eval(s *scope) (any, error) {
	x, err := b.x.eval(s)
	if err != nil {
		return nil, err
	}
	if b.op == "or" || b.op == "and" {
		ok, err := truth(x)
		if err != nil || ok == (b.op == "or") {
			return x, err
		}
		return b.y.eval(s)
	}
	y, err := b.y.eval(s)
	if err != nil {
		return nil, err
	}
	switch b.op {
	case "~":
		return joinText(x, y)
	case "+":
		return plus(x, y)
	case "*":
		return times(x, y)
	case "%":
		if format, ok := x.(string); ok {
			args := []any{y}
			if t, ok := y.(Tuple); ok {
				args = t
			}
			return percent(format, args)
		}
	}
	return arithmetic(b.op, x, y)
}

func joinText(x, y any) (any, error) {
	a, err := str(x)
	if err != nil {
		return nil, err
	}
	b, err := str(y)
	return a + b, err
}

func plus(x, y any) (any, error) {
	switch x := x.(type) {
	case string:
		if y, ok := y.(string); ok {
			return x + y, nil
		}
	case []any:
		if y, ok := y.([]any); ok {
			return append(append([]any{}, x...), y...), nil
		}
	case Tuple:
		if y, ok := y.(Tuple); ok {
			return append(append(Tuple{}, x...), y...), nil
		}
	}
	return arithmetic("+", x, y)
}

func times(x, y any) (any, error) {
	if _, ok := integer(x); ok {
		x, y = y, x
	}
	n, ok := integer(y)
	if !ok {
		return arithmetic("*", x, y)
	}
	size, err := length(x)
	if err != nil {
		return arithmetic("*", x, y)
	}
	n = max(n, 0)
	if int64(size) > 0 && n > maxOutput/int64(size) {
		return nil, fmt.Errorf("it makes more than %d parts", maxOutput)
	}
	switch x := x.(type) {
	case string:
		return strings.Repeat(x, int(n)), nil
	case []any:
		out := []any{}
		for range n {
			out = append(out, x...)
		}
		return out, nil
	}
	return nil, operand("*", x, y)
}

// arithmetic computes as Python does: whole numbers stay whole but for /, and // and % round down.
func arithmetic(op string, x, y any) (any, error) {
	a, okA := integer(x)
	b, okB := integer(y)
	f, _, okF := number(x)
	g, _, okG := number(y)
	switch {
	case !okF || !okG:
		return nil, operand(op, x, y)
	case (op == "/" || op == "//" || op == "%") && g == 0:
		return nil, errors.New("division by zero")
	case okA && okB && op != "/" && (op != "**" || b >= 0):
		return wholeArithmetic(op, a, b)
	}
	var out float64
	switch op {
	case "+":
		out = f + g
	case "-":
		out = f - g
	case "*":
		out = f * g
	case "/":
		out = f / g
	case "//":
		out = math.Floor(f / g)
	case "%":
		if out = math.Mod(f, g); out != 0 && (out < 0) != (g < 0) {
			out += g
		}
	case "**":
		out = math.Pow(f, g)
	}
	if math.IsNaN(out) || math.IsInf(out, 0) {
		return nil, fmt.Errorf("%s gives no number", op)
	}
	return out, nil
}

func wholeArithmetic(op string, a, b int64) (any, error) {
	tooLarge := fmt.Errorf("%d %s %d is too large", a, op, b)
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c, nil
		}
		return nil, tooLarge
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c, nil
		}
		return nil, tooLarge
	case "//":
		q := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			q--
		}
		return q, nil
	case "%":
		m := a % b
		if m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		return m, nil
	case "*":
		if c := a * b; a == 0 || c/a == b && !(a == -1 && b == math.MinInt64) {
			return c, nil
		}
		return nil, tooLarge
	}
	out := int64(1)
	for range min(b, 64) {
		if out != 0 && a != 0 && (out*a)/a != out {
			return nil, tooLarge
		}
		out *= a
	}
	if b > 64 && a != 0 && a != 1 && a != -1 {
		return nil, tooLarge
	}
	if b > 64 && a == -1 && b%2 == 1 {
		out = -1
	}
	return out, nil
}

func (c compare) eval(s *scope) (any, error) {
	x, err := c.x.eval(s)
	if err != nil {
		return nil, err
	}
	for i, op := range c.ops {
		y, err := c.rest[i].eval(s)
		if err != nil {
			return nil, err
		}
		ok, err := compared(op, x, y)
		if err != nil || !ok {
			return false, err
		}
		x = y
	}
	return true, nil
}

func compared(op string, x, y any) (bool, error) {
	for _, v := range []any{x, y} {
		if u, ok := v.(undefined); ok {
			return false, u.err()
		}
	}
	switch op {
	case "==":
		return equal(x, y), nil
	case "!=":
		return !equal(x, y), nil
	case "in":
		return contains(y, x)
	case "not in":
		ok, err := contains(y, x)
		return !ok, err
	}
	n, err := order(x, y)
	switch op {
	case "<":
		return n < 0, err
	case "<=":
		return n <= 0, err
	case ">":
		return n > 0, err
	}
	return n >= 0, err
}

func contains(in, x any) (bool, error) {
	switch in := in.(type) {
	case string:
		s, ok := x.(string)
		if !ok {
			return false, fmt.Errorf("%s cannot be in a string", typeName(x))
		}
		return strings.Contains(in, s), nil
	case map[string]any:
		s, ok := x.(string)
		_, has := in[s]
		return ok && has, nil
	}
	items, err := iterate(in)
	for _, e := range items {
		if equal(e, x) {
			return true, nil
		}
	}
	return false, err
}

func (c condition) eval(s *scope) (any, error) {
	ok, err := s.holds(c.cond)
	switch {
	case err != nil:
		return nil, err
	case ok:
		return c.then.eval(s)
	case c.otherwise == nil:
		return "", nil // Jinja's undefined value here is one that prints as nothing, even when it is strict
	}
	return c.otherwise.eval(s)
}

// eval looks for a method first and for an item second, as Jinja does behind a dot.
func (a attribute) eval(s *scope) (any, error) {
	x, err := a.x.eval(s)
	if err != nil {
		return nil, err
	}
	if u, ok := x.(undefined); ok {
		return nil, u.err()
	}
	if m := methodOf(x, a.name); m != nil {
		return m, nil
	}
	if m, ok := x.(map[string]any); ok {
		if v, ok := m[a.name]; ok {
			return v, nil
		}
	}
	return undefined{fmt.Sprintf("'%s' of %s", a.name, typeName(x))}, nil
}

func (i item) eval(s *scope) (any, error) {
	x, err := i.x.eval(s)
	if err != nil {
		return nil, err
	}
	key, err := i.key.eval(s)
	if err != nil {
		return nil, err
	}
	for _, v := range []any{x, key} {
		if u, ok := v.(undefined); ok {
			return nil, u.err()
		}
	}
	missing := undefined{"this item of " + typeName(x)}
	if m, ok := x.(map[string]any); ok {
		k, ok := key.(string)
		v, has := m[k]
		if !ok || !has {
			return undefined{fmt.Sprintf("item %v of a mapping", key)}, nil
		}
		return v, nil
	}
	n, ok := integer(key)
	if !ok {
		return missing, nil
	}
	size, err := length(x)
	if err != nil {
		return missing, nil //nolint:nilerr // what has no length has no items: the item is undefined, as in Python
	}
	if n < 0 {
		n += int64(size)
	}
	if n < 0 || n >= int64(size) {
		return undefined{fmt.Sprintf("item %v of %s of %d", key, typeName(x), size)}, nil
	}
	switch x := x.(type) {
	case string:
		return string([]rune(x)[n]), nil
	case []any:
		return x[n], nil
	case Tuple:
		return x[n], nil
	}
	return missing, nil
}

func (sl slice) eval(s *scope) (any, error) {
	x, err := sl.x.eval(s)
	if err != nil {
		return nil, err
	}
	size, err := length(x)
	if _, ok := x.(map[string]any); err != nil || ok {
		return nil, operand("a slice", x)
	}
	var bounds [3]*int64
	for i, e := range []expr{sl.from, sl.to, sl.step} {
		if e == nil {
			continue
		}
		v, err := e.eval(s)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		n, ok := integer(v)
		if !ok {
			return nil, operand("a slice", v)
		}
		bounds[i] = &n
	}
	at, err := sliceIndices(int64(size), bounds)
	if err != nil {
		return nil, err
	}
	switch x := x.(type) {
	case string:
		runes, out := []rune(x), make([]rune, len(at))
		for i, k := range at {
			out[i] = runes[k]
		}
		return string(out), nil
	case Tuple:
		return Tuple(pick(x, at)), nil
	case []any:
		return pick(x, at), nil
	}
	return nil, operand("a slice", x)
}

func pick(x []any, at []int64) []any {
	out := make([]any, len(at))
	for i, k := range at {
		out[i] = x[k]
	}
	return out
}

// sliceIndices lists the indices of [from:to:step] as Python's slice.indices has them.
func sliceIndices(size int64, bounds [3]*int64) ([]int64, error) {
	step := int64(1)
	if bounds[2] != nil {
		step = *bounds[2]
	}
	if step == 0 {
		return nil, errors.New("a slice with step 0")
	}
	clamp := func(p *int64, def, low, high int64) int64 {
		if p == nil {
			return def
		}
		n := *p
		if n < 0 {
			n += size
		}
		return min(max(n, low), high)
	}
	var out []int64
	if step > 0 {
		to := clamp(bounds[1], size, 0, size)
		for k := clamp(bounds[0], 0, 0, size); k < to; k += step {
			out = append(out, k)
		}
		return out, nil
	}
	to := clamp(bounds[1], -1, -1, size-1)
	for k := clamp(bounds[0], size-1, -1, size-1); k > to; k += step {
		out = append(out, k)
	}
	return out, nil
}

func (c call) eval(s *scope) (any, error) {
	if err := s.run.step(); err != nil {
		return nil, err
	}
	f, err := c.f.eval(s)
	if err != nil {
		return nil, err
	}
	m, ok := f.(method)
	if !ok {
		if u, ok := f.(undefined); ok {
			return nil, u.err()
		}
		return nil, fmt.Errorf("%s cannot be called", typeName(f))
	}
	args, kwargs, err := arguments(s, c.args, c.kwargs)
	if err != nil {
		return nil, err
	}
	return m(args, kwargs)
}

func arguments(s *scope, args []expr, kwargs map[string]expr) ([]any, map[string]any, error) {
	a, err := evalAll(s, args)
	if err != nil || kwargs == nil {
		return a, nil, err
	}
	k := make(map[string]any, len(kwargs))
	for n, e := range kwargs {
		v, err := e.eval(s)
		if err != nil {
			return nil, nil, err
		}
		k[n] = v
	}
	return a, k, nil
}

func (f filter) eval(s *scope) (any, error) {
	if err := s.run.step(); err != nil {
		return nil, err
	}
	x, err := f.x.eval(s)
	if err != nil {
		return nil, err
	}
	args, kwargs, err := arguments(s, f.args, f.kwargs)
	if err != nil {
		return nil, err
	}
	if u, ok := x.(undefined); ok && f.name != "default" && f.name != "d" {
		return nil, u.err()
	}
	out, err := filterNamed(f.name)(x, bound{args, kwargs})
	if err != nil {
		if _, ok := errors.AsType[*Error](err); !ok {
			err = fmt.Errorf("filter %s: %w", f.name, err)
		}
	}
	return out, err
}

func (t test) eval(s *scope) (any, error) {
	x, err := t.x.eval(s)
	if err != nil {
		return nil, err
	}
	if u, ok := x.(undefined); ok && t.name != "defined" && t.name != "undefined" {
		return nil, u.err()
	}
	args, err := evalAll(s, t.args)
	if err != nil {
		return nil, err
	}
	ok, err := tests[t.name](x, args)
	return ok != t.not, err
}
