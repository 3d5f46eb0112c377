package pyjinja

import "fmt"

// bound is the arguments of a call. Getters take an argument by place or by name.
type bound struct {
	args   []any
	kwargs map[string]any
}

// most refuses more arguments than a function has, and names that it does not know.
func (b bound) most(names ...string) error {
	if len(b.args) > len(names) {
		return fmt.Errorf("%d arguments; want at most %d", len(b.args), len(names))
	}
	for k := range b.kwargs {
		known := false
		for _, n := range names {
			known = known || n == k
		}
		if !known {
			return fmt.Errorf("unknown argument %s", k)
		}
	}
	return nil
}

func (b bound) get(i int, name string) (any, bool) {
	if i < len(b.args) {
		return b.args[i], true
	}
	v, ok := b.kwargs[name]
	return v, ok
}

func (b bound) text(i int, name, def string) (string, error) {
	v, ok := b.get(i, name)
	if !ok {
		return def, nil
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("argument %d is %s; want a string", i+1, typeName(v))
	}
	return s, nil
}

func (b bound) int(i int, name string, def int64) (int64, error) {
	v, ok := b.get(i, name)
	if !ok || v == nil {
		return def, nil
	}
	n, ok := integer(v)
	if !ok {
		return 0, fmt.Errorf("argument %d is %s; want a whole number", i+1, typeName(v))
	}
	return n, nil
}

func (b bound) bool(i int, name string, def bool) (bool, error) {
	v, ok := b.get(i, name)
	if !ok {
		return def, nil
	}
	return truth(v)
}
