package metric

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// promptfoo's derived metrics are arithmetic over the sums of scores:
//
//	sum    = term { ("+" | "-") term }
//	term   = factor { ("*" | "/" | "%") factor }
//	factor = ("-" | "+") factor | power
//	power  = atom [ "^" factor ]
//	atom   = NUMBER | NAME | NAME "(" sum { "," sum } ")" | "(" sum ")"
//
// __count is the number of samples.
const countName = "__count"

// arithmetic is a compiled part of an expression.
type arithmetic func(values map[string]float64) float64

type arithParser struct {
	s     string
	at    int
	depth int
	uses  map[string]bool
}

var arithFunctions = map[string]struct {
	args int // -1 for one or more
	f    func([]float64) float64
}{
	"sqrt": {1, func(a []float64) float64 { return math.Sqrt(a[0]) }}, "abs": {1, func(a []float64) float64 { return math.Abs(a[0]) }},
	"round": {1, func(a []float64) float64 { return math.Round(a[0]) }}, "floor": {1, func(a []float64) float64 { return math.Floor(a[0]) }},
	"ceil": {1, func(a []float64) float64 { return math.Ceil(a[0]) }}, "exp": {1, func(a []float64) float64 { return math.Exp(a[0]) }},
	"log": {1, func(a []float64) float64 { return math.Log(a[0]) }}, "pow": {2, func(a []float64) float64 { return math.Pow(a[0], a[1]) }},
	"min": {-1, func(a []float64) float64 { return slices.Min(a) }}, "max": {-1, func(a []float64) float64 { return slices.Max(a) }},
}

func newSumDerivation(m config.Derived) (derivation, error) {
	p := &arithParser{s: m.Expr, uses: map[string]bool{}}
	f, err := p.sum()
	if err == nil && p.peek() != 0 {
		err = fmt.Errorf("unexpected %q", p.s[p.at:])
	}
	if err != nil {
		return derivation{}, fmt.Errorf("not arithmetic over metrics: %w", err)
	}
	counts := p.uses[countName]
	delete(p.uses, countName)
	if len(p.uses) == 0 {
		return derivation{}, fmt.Errorf("the expression uses no metric")
	}
	d := derivation{name: m.Name, expr: m.Expr, uses: slices.Sorted(maps.Keys(p.uses))}
	d.eval = func(metrics map[string]record.Metric) (float64, error) {
		values := map[string]float64{}
		for _, name := range d.uses {
			one := metrics[name]
			values[name] = sumOf(&one)
		}
		if counts {
			// Every finished sample is an observation of the error rate.
			values[countName] = float64(metrics[record.MetricErrorRate].N)
		}
		return f(values), nil
	}
	return d, nil
}

// peek returns the next byte that is not a space, 0 at the end.
func (p *arithParser) peek() byte {
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.s) {
		return 0
	}
	return p.s[p.at]
}

func (p *arithParser) sum() (arithmetic, error) {
	if p.depth++; p.depth > 100 {
		return nil, fmt.Errorf("it is nested too deeply")
	}
	defer func() { p.depth-- }()
	return p.chain("+-", p.term)
}

func (p *arithParser) term() (arithmetic, error) { return p.chain("*/%", p.factor) }

// chain reads operands joined by operators of one precedence, from the left.
func (p *arithParser) chain(ops string, operand func() (arithmetic, error)) (arithmetic, error) {
	left, err := operand()
	for err == nil {
		op := p.peek()
		if op == 0 || strings.IndexByte(ops, op) < 0 {
			break
		}
		p.at++
		a := left
		b, e := operand()
		err = e
		left = func(v map[string]float64) float64 { return operate(op, a(v), b(v)) }
	}
	return left, err
}

func operate(op byte, a, b float64) float64 {
	switch op {
	case '+':
		return a + b
	case '-':
		return a - b
	case '*':
		return a * b
	case '/':
		return a / b
	}
	// The remainder has the divisor's sign, as in math.js.
	return a - b*math.Floor(a/b)
}

func (p *arithParser) factor() (arithmetic, error) {
	if p.depth++; p.depth > 100 {
		return nil, fmt.Errorf("it is nested too deeply")
	}
	defer func() { p.depth-- }()
	switch op := p.peek(); op {
	case '-', '+':
		p.at++
		f, err := p.factor()
		if op == '+' {
			return f, err
		}
		return func(v map[string]float64) float64 { return -f(v) }, err
	}
	base, err := p.atom()
	if err != nil || p.peek() != '^' {
		return base, err
	}
	p.at++
	power, err := p.factor()
	return func(v map[string]float64) float64 { return math.Pow(base(v), power(v)) }, err
}

func (p *arithParser) atom() (arithmetic, error) {
	c := p.peek()
	start := p.at
	switch {
	case c == '(':
		p.at++
		f, err := p.sum()
		if err == nil && p.peek() != ')' {
			err = fmt.Errorf("a parenthesis is not closed")
		}
		p.at++
		return f, err
	case c >= '0' && c <= '9' || c == '.':
		for p.at < len(p.s) && (isDigit(p.s[p.at]) || p.s[p.at] == '.' || (p.s[p.at] == 'e' || p.s[p.at] == 'E') && p.at+1 < len(p.s) && isDigit(p.s[p.at+1])) {
			p.at++
		}
		x, err := strconv.ParseFloat(p.s[start:p.at], 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", p.s[start:p.at])
		}
		return func(map[string]float64) float64 { return x }, nil
	case isNameByte(c):
		for p.at < len(p.s) && (isNameByte(p.s[p.at]) || isDigit(p.s[p.at])) {
			p.at++
		}
		name := p.s[start:p.at]
		if p.peek() == '(' {
			return p.call(name)
		}
		p.uses[name] = true
		return func(v map[string]float64) float64 { return v[name] }, nil
	case c == 0:
		return nil, fmt.Errorf("it ends too early")
	}
	return nil, fmt.Errorf("unexpected %q", p.s[p.at:])
}

func (p *arithParser) call(name string) (arithmetic, error) {
	fn, ok := arithFunctions[name]
	if !ok {
		return nil, fmt.Errorf("%s is not a function that is known here", name)
	}
	p.at++
	var args []arithmetic
	for {
		arg, err := p.sum()
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
		c := p.peek()
		p.at++
		if c == ')' {
			break
		}
		if c != ',' {
			return nil, fmt.Errorf("the arguments of %s are not closed", name)
		}
	}
	if fn.args >= 0 && len(args) != fn.args {
		return nil, fmt.Errorf("%s takes %d arguments, not %d", name, fn.args, len(args))
	}
	return func(v map[string]float64) float64 {
		values := make([]float64, len(args))
		for i, a := range args {
			values[i] = a(v)
		}
		return fn.f(values)
	}, nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}
