package sim

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/telltale-llm/telltale/internal/config"
)

// maxNodes and maxDepth bound a configuration once its aliases are expanded.
const (
	maxNodes = 100_000
	maxDepth = 100
)

// Load reads a sim.yaml. Path is only for messages. Mistakes are a *config.Error or config.Errors.
func Load(path string, data []byte) (Config, error) {
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return Config{}, yamlError(path, err)
	}
	var body ast.Node
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return Config{}, config.Errorf(place(path, doc.Body), "a second document in one file")
		}
		body = doc.Body
	}
	t := tree{path: path, places: map[string]config.Pos{}, anchors: map[string]ast.Node{}}
	root := config.Object{Pos: config.Pos{File: path}, Map: map[string]any{}}
	if body != nil {
		v, err := t.value(body, root.Pos)
		if err != nil {
			return Config{}, err
		}
		m, ok := v.(map[string]any)
		if v != nil && !ok {
			e := config.Errorf(place(path, body), "not a mapping")
			e.Want = "a mapping such as mode: assistant"
			return Config{}, e
		}
		if m != nil {
			root.Map = m
		}
	}
	return decode(root, t.places)
}

// yamlError places the parser's own message.
func yamlError(path string, err error) error {
	e := &config.Error{Pos: config.Pos{File: path}, Problem: "invalid YAML: " + err.Error()}
	if syntax, ok := errors.AsType[yaml.Error](err); ok {
		if tk := syntax.GetToken(); tk != nil && tk.Position != nil {
			e.Line, e.Column = tk.Position.Line, tk.Position.Column
		}
		e.Problem = "invalid YAML: " + syntax.GetMessage()
	}
	return e
}

func place(path string, n ast.Node) config.Pos {
	p := config.Pos{File: path}
	if t := n.GetToken(); t != nil && t.Position != nil {
		p.Line, p.Column = t.Position.Line, t.Position.Column
	}
	return p
}

// tree turns YAML nodes into plain values and remembers where each key path was written.
type tree struct {
	path    string
	places  map[string]config.Pos
	anchors map[string]ast.Node
	nodes   int
	depth   int
}

func (t *tree) value(n ast.Node, at config.Pos) (any, error) {
	if t.nodes++; t.nodes > maxNodes {
		return nil, config.Errorf(at, "more than %d values", maxNodes)
	}
	t.depth++
	defer func() { t.depth-- }()
	if t.depth > maxDepth {
		return nil, config.Errorf(config.Pos{File: at.File, Line: at.Line, Column: at.Column}, "nested more than %d deep", maxDepth)
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return t.mapping(n.Values, at)
	case *ast.MappingValueNode:
		return t.mapping([]*ast.MappingValueNode{n}, at)
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for i, e := range n.Values {
			p := place(t.path, e)
			p.Key = at.Key
			p = p.At(fmt.Sprintf("[%d]", i))
			t.places[p.Key] = p
			v, err := t.value(e, p)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case *ast.AnchorNode:
		t.anchors[n.Name.String()] = n.Value
		return t.value(n.Value, at)
	case *ast.AliasNode:
		target, ok := t.anchors[n.Value.String()]
		if !ok {
			return nil, config.Errorf(at, "unknown anchor %q", n.Value.String())
		}
		return t.value(target, at)
	case *ast.NullNode:
		return nil, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.TagNode:
		return nil, config.Errorf(at, "tag %s is not supported", n.Start.Value)
	case ast.ScalarNode:
		return n.GetValue(), nil
	}
	return nil, config.Errorf(at, "unexpected %s", n.Type())
}

func (t *tree) mapping(values []*ast.MappingValueNode, at config.Pos) (any, error) {
	m := make(map[string]any, len(values))
	for _, kv := range values {
		p := place(t.path, kv.Key)
		if kv.Key.Type() == ast.MergeKeyType {
			return nil, config.Errorf(p, "merge keys are not supported")
		}
		key := kv.Key.GetToken().Value
		p.Key = at.Key
		p = p.At(key)
		if _, dup := m[key]; dup {
			return nil, config.Errorf(p, "key %q is given twice", key)
		}
		t.places[p.Key] = p
		v, err := t.value(kv.Value, p)
		if err != nil {
			return nil, err
		}
		m[key] = v
	}
	return m, nil
}
