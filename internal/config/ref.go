package config

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// refKey is the key by which one place of a suite stands for another, as JSON References have it:
// $ref: "#/assertionTemplates/polite". Keys beside it override those it leads to.
const refKey = "$ref"

// wholeRef returns what a mapping with nothing but a reference leads to.
func (d *decoder) wholeRef(n ast.Node) (ast.Node, bool) {
	values := mappingValues(n)
	if d.root == nil || len(values) != 1 {
		return nil, false
	}
	return d.refTarget(values[0])
}

// refTarget returns what a reference leads to. One that leads nowhere is left as it is: it may be
// one of a JSON Schema in the suite, to a place in that schema.
func (d *decoder) refTarget(v *ast.MappingValueNode) (ast.Node, bool) {
	if d.root == nil || v.Key.GetToken().Value != refKey {
		return nil, false
	}
	text, ok := v.Value.(*ast.StringNode)
	if !ok {
		return nil, false
	}
	path, ok := strings.CutPrefix(text.Value, "#/")
	if !ok {
		return nil, false
	}
	at := d.root
	for step := range strings.SplitSeq(path, "/") {
		if at = d.child(at, step); at == nil {
			return nil, false
		}
	}
	return at, true
}

// child follows one step of a JSON Pointer in a URI fragment; nil when there is nothing.
func (d *decoder) child(n ast.Node, step string) ast.Node {
	if plain, err := url.PathUnescape(step); err == nil {
		step = plain
	}
	step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
	if anchor, ok := n.(*ast.AnchorNode); ok {
		n = anchor.Value
	}
	if list, ok := n.(*ast.SequenceNode); ok {
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(list.Values) {
			return list.Values[i]
		}
		return nil
	}
	for _, v := range mappingValues(n) {
		if v.Key.GetToken().Value == step {
			return v.Value
		}
	}
	return nil
}

// mappingValues lists the entries of a mapping as they are written; nil for anything else.
func mappingValues(n ast.Node) []*ast.MappingValueNode {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}
	}
	return nil
}
