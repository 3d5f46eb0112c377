package pyjinja

import "errors"

// Literal reads a Python literal, as ast.literal_eval does: numbers, strings, lists, tuples,
// mappings, True, False and None. Anything else is an error.
func Literal(source string) (any, error) {
	l := &lexer{s: source, line: 1, literal: true}
	for {
		for l.i < len(l.s) && isSpace(l.s[l.i]) {
			l.i++
		}
		if l.i >= len(l.s) {
			break
		}
		if err := l.token(); err != nil {
			return nil, err
		}
	}
	l.add(tEnd, "the end")
	p := &parser{tokens: l.tokens}
	e, err := p.tuple()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tEnd {
		return nil, p.errorf(t, "unexpected %s after the value", t.text)
	}
	return literal(e)
}

var errNotLiteral = errors.New("not a literal")

func literal(e expr) (any, error) {
	switch e := e.(type) {
	case constant:
		return e.v, nil
	case listExpr:
		return literals(e)
	case tupleExpr:
		v, err := literals(e)
		return Tuple(v), err
	case dictExpr:
		keys, err := literals(e.keys)
		if err != nil {
			return nil, err
		}
		values, err := literals(e.values)
		if err != nil {
			return nil, err
		}
		out := map[string]any{}
		for i, k := range keys {
			s, ok := k.(string)
			if !ok {
				return nil, errNotLiteral
			}
			out[s] = values[i]
		}
		return out, nil
	case unary:
		if c, ok := e.x.(constant); ok && e.op != "not" {
			return unary{e.op, c}.eval(nil)
		}
	}
	return nil, errNotLiteral
}

func literals(list []expr) ([]any, error) {
	out := make([]any, len(list))
	for i, e := range list {
		v, err := literal(e)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}
