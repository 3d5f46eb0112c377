package config

import (
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Locate gives every mistake in err that names a key of a YAML file the place of that key. Whoever
// finds a mistake in a decoded value knows the key, but often only the place of the mapping around
// it. Files are read again for this, since places are not kept beyond loading; a file that cannot
// be read leaves its mistakes as they are.
func Locate(err error, read func(path string) ([]byte, error)) {
	files := map[string]func(*Error){}
	for _, e := range mistakesIn(err) {
		if ext := filepath.Ext(e.File); e.Key == "" || ext != ".yaml" && ext != ".yml" {
			continue
		}
		place, ok := files[e.File]
		if !ok {
			place = placer(e.File, read)
			files[e.File] = place
		}
		place(e)
	}
}

// placer returns what places the mistakes of one file.
func placer(file string, read func(path string) ([]byte, error)) func(*Error) {
	data, err := read(file)
	if err != nil {
		return func(*Error) {}
	}
	d := &decoder{file: file, tags: true}
	body, ok := d.parseYAML(data)
	if !ok {
		return func(*Error) {}
	}
	return func(e *Error) { d.place(body, e) }
}

// mistakesIn collects the mistakes that err is made of.
func mistakesIn(err error) []*Error {
	switch e := err.(type) { //nolint:errorlint // the function walks the tree of wrapped errors itself
	case *Error:
		return []*Error{e}
	case Errors:
		return e
	case interface{ Unwrap() []error }:
		var out []*Error
		for _, one := range e.Unwrap() {
			out = append(out, mistakesIn(one)...)
		}
		return out
	case interface{ Unwrap() error }:
		return mistakesIn(e.Unwrap())
	}
	return nil
}

// place moves e to the value of its key when e stands before it, at the mapping around it. What
// stands behind the key is placed already: the second of two equal keys, a line of a long text.
func (d *decoder) place(body ast.Node, e *Error) {
	key, value, ok := d.find(body, Pos{}, e.Key)
	if ok && (e.Line < key.Line || e.Line == key.Line && e.Column < key.Column) {
		e.Line, e.Column = value.Line, value.Column
	}
}

// find looks below n, whose key is p's, for a key and returns the places of the key and of its value.
func (d *decoder) find(n ast.Node, p Pos, key string) (at, value Pos, ok bool) {
	leave, ok := d.enter(n, p)
	defer leave()
	if !ok {
		return at, value, false
	}
	within := func(p Pos) bool {
		rest, ok := strings.CutPrefix(key, p.Key)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	}
	if list, isList := d.resolve(n).(*ast.SequenceNode); isList {
		for i, item := range list.Values {
			sub := p.At(index(i))
			if !within(sub) {
				continue
			}
			if sub.Key == key {
				at = d.pos(item, sub)
				return at, at, true
			}
			return d.find(item, sub, key)
		}
		return at, value, false
	}
	fs, _ := d.fields(n, p)
	for _, f := range fs {
		if !within(f.pos) {
			continue
		}
		if f.pos.Key == key {
			return f.pos, d.pos(f.value, f.pos), true
		}
		if at, value, ok = d.find(f.value, f.pos, key); ok {
			return at, value, true
		}
	}
	return at, value, false
}
