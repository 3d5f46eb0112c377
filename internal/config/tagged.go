package config

import "github.com/goccy/go-yaml/ast"

// Tagged is a scalar with a tag of the file's own kind, such as !function utils.check.
type Tagged struct {
	Tag   string // with its exclamation mark
	Value string
	Pos   Pos
}

// ParseObject reads a YAML mapping that is not a suite, strictly: a key that is given twice is an
// error. Nothing is filled in. Scalars with tags of their own become Tagged, at any depth.
func ParseObject(path string, data []byte) (Object, error) {
	return (&decoder{file: path, tags: true}).document(data)
}

// ParseObjectLast is ParseObject for files that Python reads: of a key that is given twice the last one
// counts. repeated says where there are such keys.
func ParseObjectLast(path string, data []byte) (o Object, repeated Errors, err error) {
	d := &decoder{file: path, tags: true, lastKey: true}
	o, err = d.document(data)
	return o, d.repeated, err
}

func (d *decoder) document(data []byte) (Object, error) {
	body, ok := d.parseYAML(data)
	if !ok {
		return Object{}, d.errs.Err()
	}
	p := Pos{File: d.file}
	fs, ok := d.fields(body, p)
	if !ok {
		d.fail(d.pos(body, p), d.show(body), "not a mapping", "a mapping of keys to values")
		return Object{}, d.errs.Err()
	}
	o := Object{Pos: d.pos(body, p), Map: map[string]any{}, Keys: map[string]Pos{}}
	for _, f := range fs {
		o.Map[f.key] = d.tagged(f.value, f.pos)
		o.Keys[f.key] = f.pos
	}
	return o, d.errs.Err()
}

// tagged decodes a value and keeps the tags that are not YAML's own.
func (d *decoder) tagged(n ast.Node, p Pos) any {
	leave, ok := d.enter(n, p)
	defer leave()
	if !ok {
		return nil
	}
	if t, ok := n.(*ast.TagNode); ok {
		if tag := t.Start.Value; len(tag) < 2 || tag[:2] != "!!" {
			s, _, _, _ := d.text(t.Value, p)
			return Tagged{Tag: tag, Value: s, Pos: d.pos(n, p)}
		}
	}
	switch v := d.resolve(n).(type) {
	case *ast.SequenceNode:
		out := make([]any, len(v.Values))
		for i, item := range v.Values {
			out[i] = d.tagged(item, d.pos(item, p.At(index(i))))
		}
		return out
	case *ast.MappingNode, *ast.MappingValueNode:
		fs, _ := d.fields(n, p)
		out := make(map[string]any, len(fs))
		for _, f := range fs {
			out[f.key] = d.tagged(f.value, f.pos)
		}
		return out
	}
	return d.any(n, p)
}
