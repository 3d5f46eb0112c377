package config

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDepth bounds how deeply values may be nested; an alias inside its own anchor would nest for ever.
const maxDepth = 200

// maxNodes bounds how many nodes one file may have after its aliases are followed, so that a few
// nested aliases cannot fill the memory.
const maxNodes = 2_000_000

// decoder turns YAML into Go values strictly. It goes on after a mistake, so that all of a file's
// mistakes are reported together, each with its place.
type decoder struct {
	file   string
	params *params
	errs   Errors
	nodes  int
	depth  int
	// line, when set, is the line of every place: the text is one row of a larger file.
	line int
	// anchors holds what each anchor stands for.
	anchors map[string]ast.Node
	// tags leaves tags that are not YAML's own to the reader.
	tags bool
	// literal leaves ${NAME} as it is: what is read is code, to which it means something else.
	literal bool
	// root, when set, is where $ref: "#/…" leads to. It is set for a suite's own file alone: data is
	// never taken for references.
	root ast.Node
	// lastKey lets the last of a key's values count, and repeated holds where there are several.
	lastKey  bool
	repeated Errors
}

// item is an entry of a list, or what stands where a list may stand.
type item struct {
	node ast.Node
	pos  Pos
}

// listed returns the entries of n, or n itself as the only one when it is no list.
func (d *decoder) listed(n ast.Node, p Pos) []item {
	list, ok := d.resolve(n).(*ast.SequenceNode)
	if !ok {
		return []item{{n, d.pos(n, p)}}
	}
	items := make([]item, len(list.Values))
	for i, v := range list.Values {
		items[i] = item{v, d.pos(v, p.At(index(i)))}
	}
	return items
}

// customNode is a type that reads itself, for keys that take several shapes.
type customNode interface {
	decodeNode(d *decoder, n ast.Node, p Pos)
}

// parseYAML parses one document. JSON is YAML, so .json files are read by it too.
func (d *decoder) parseYAML(data []byte) (ast.Node, bool) {
	data = bytes.TrimPrefix(data, byteOrderMark)
	before := len(d.errs)
	if at := notUTF8(data); at > 0 {
		d.errs = append(d.errs, &Error{Pos: Pos{File: d.file, Line: at}, Problem: "bytes that are not UTF-8", Want: "a file in UTF-8"})
		return nil, false
	}
	if line, c := control(data); line > 0 {
		d.errs = append(d.errs, &Error{Pos: Pos{File: d.file, Line: line}, Problem: fmt.Sprintf("a control character (%#U)", c), Want: `a text file; in a quoted value an escape such as "\u001b"`})
		return nil, false
	}
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		e := &Error{Pos: Pos{File: d.file}, Problem: "invalid YAML: " + err.Error()}
		if syntax, ok := errors.AsType[yaml.Error](err); ok {
			if tk := syntax.GetToken(); tk != nil && tk.Position != nil {
				e.Line, e.Column = tk.Position.Line, tk.Position.Column
			}
			e.Problem = "invalid YAML: " + syntax.GetMessage()
		}
		d.errs = append(d.errs, e)
		return nil, false
	}
	var body ast.Node
	for _, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			p := d.pos(doc.Body, Pos{})
			d.errs = append(d.errs, Errorf(p, "a second document in one file: want one"))
			return nil, false
		}
		body = doc.Body
	}
	if body != nil {
		d.anchors = map[string]ast.Node{}
		ast.Walk(visitor{d}, body)
	}
	if body == nil {
		d.errs = append(d.errs, Errorf(Pos{File: d.file}, "the file is empty"))
		return nil, false
	}
	return body, len(d.errs) == before
}

// visitor collects what each anchor stands for, and finds what would be read as something else than was meant.
type visitor struct{ d *decoder }

func (v visitor) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.AnchorNode:
		v.d.anchors[n.Name.GetToken().Value] = n.Value
	case *ast.TagNode:
		if tag := n.Start.Value; !v.d.tags && !agrees(tag, n.Value) {
			v.d.fail(v.d.pos(n, Pos{}), tag, "this tag is not known here, or is not that of the value", "no tag, and quotes around a text")
		}
	case *ast.IntegerNode:
		if text := n.GetToken().Value; oldOctal(text) {
			v.d.fail(v.d.pos(n, Pos{}), text, "a number that begins with 0, which some readers take for octal", "quotes around a text, no 0 before a number, or 0o for octal")
		}
	}
	return v
}

// agrees says whether a tag of YAML's own says what the value is anyway.
func agrees(tag string, n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return tag == "!!str" || tag == "!"
	case *ast.IntegerNode:
		return tag == "!!int"
	case *ast.FloatNode:
		return tag == "!!float"
	case *ast.BoolNode:
		return tag == "!!bool"
	case *ast.NullNode:
		return tag == "!!null"
	case *ast.SequenceNode:
		return tag == "!!seq"
	case *ast.MappingNode, *ast.MappingValueNode:
		return tag == "!!map"
	default:
		return false
	}
}

// oldOctal says whether a whole number is written as octal was in YAML 1.1.
func oldOctal(text string) bool {
	text = strings.TrimLeft(text, "+-")
	return len(text) > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9'
}

// control finds a character that no YAML or JSON file may have: its line, 0 when there is none.
func control(data []byte) (line int, c rune) {
	for i, b := range data {
		if b < ' ' && b != '\t' && b != '\n' && b != '\r' || b == 0x7f {
			return 1 + bytes.Count(data[:i], []byte{'\n'}), rune(b)
		}
	}
	return 0, 0
}

// pos gives p the place of n and keeps p's key.
func (d *decoder) pos(n ast.Node, p Pos) Pos {
	p.File = d.file
	if d.line > 0 {
		p.Line, p.Column = d.line, 0
		return p
	}
	if n == nil {
		return p
	}
	// A mapping's own token is the colon after its first key; a user looks for the key.
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return d.pos(m.Values[0].Key, p)
		}
	case *ast.MappingValueNode:
		return d.pos(m.Key, p)
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		p.Line, p.Column = tk.Position.Line, tk.Position.Column
	}
	return p
}

func (d *decoder) fail(p Pos, value, problem, want string) {
	d.errs = append(d.errs, &Error{Pos: p, Value: value, Problem: problem, Want: want})
}

// resolve strips anchors, tags and comments and follows aliases.
func (d *decoder) resolve(n ast.Node) ast.Node {
	for depth := 0; depth < 100; depth++ {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			name := v.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok {
				d.fail(d.pos(n, Pos{}), "*"+name, "this alias has no anchor", "an anchor &"+name)
				return nil
			}
			n = target
		case *ast.TagNode:
			n = v.Value
		case *ast.MappingNode, *ast.MappingValueNode:
			target, ok := d.wholeRef(v)
			if !ok {
				return n
			}
			n = target
		default:
			return n
		}
	}
	d.fail(d.pos(n, Pos{}), "", "aliases are nested too deeply", "")
	return nil
}

// enter counts a level of nesting until the returned function is called; ok is false beyond the bound.
func (d *decoder) enter(n ast.Node, p Pos) (leave func(), ok bool) {
	d.depth++
	if d.depth == maxDepth {
		d.fail(d.pos(n, p), "", fmt.Sprintf("values are nested more than %d deep", maxDepth), "")
	}
	return func() { d.depth-- }, d.depth < maxDepth && d.spend(n, p)
}

// spend counts a node and says whether the file is still within bounds.
func (d *decoder) spend(n ast.Node, p Pos) bool {
	d.nodes++
	if d.nodes == maxNodes {
		d.fail(d.pos(n, p), "", fmt.Sprintf("the file expands to more than %d values", maxNodes), "")
	}
	return d.nodes < maxNodes
}

type field struct {
	key   string
	pos   Pos // of the key
	value ast.Node
}

// fields lists a mapping's keys in order, merges << in, and reports duplicate keys.
func (d *decoder) fields(n ast.Node, p Pos) ([]field, bool) {
	n = d.resolve(n)
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		return nil, false
	}
	seen := map[string]Pos{}
	var own, merged []field
	for _, v := range values {
		if v.Key.IsMergeKey() {
			merged = append(merged, d.mergedFields(v.Value, p)...)
			continue
		}
		key := v.Key.GetToken().Value
		f := field{key: key, pos: d.pos(v.Key, p.At(key)), value: v.Value}
		if target, ok := d.refTarget(v); ok {
			merged = append(merged, d.mergedFields(target, p)...)
			continue
		}
		if first, dup := seen[key]; dup && d.lastKey {
			d.repeated = append(d.repeated, &Error{Pos: f.pos, Problem: fmt.Sprintf("the key %q is given again after line %d; the last one counts, as it does in Python", key, first.Line)})
			own[slices.IndexFunc(own, func(o field) bool { return o.key == key })] = f
			continue
		} else if dup {
			d.fail(f.pos, "", fmt.Sprintf("duplicate key %q, first given at line %d", key, first.Line), "each key once")
			continue
		}
		seen[key] = f.pos
		own = append(own, f)
	}
	for _, f := range merged {
		if _, overridden := seen[f.key]; !overridden {
			seen[f.key] = f.pos
			own = append(own, f)
		}
	}
	return own, true
}

func (d *decoder) mergedFields(n ast.Node, p Pos) []field {
	n = d.resolve(n)
	leave, ok := d.enter(n, p)
	defer leave()
	if !ok {
		return nil
	}
	if list, ok := n.(*ast.SequenceNode); ok {
		var all []field
		for _, item := range list.Values {
			all = append(all, d.mergedFields(item, p)...)
		}
		return all
	}
	if n == nil {
		return nil
	}
	fs, ok := d.fields(n, p)
	if !ok {
		d.fail(d.pos(n, p), "", "<< merges something that is not a mapping", "an alias of a mapping")
	}
	return fs
}

// text returns a scalar as written, with parameters filled; plain says that it was not quoted.
func (d *decoder) text(n ast.Node, p Pos) (s string, plain, filled, ok bool) {
	expand := d.params.expand
	if d.literal {
		expand = d.params.expandEnvOnly
	}
	switch v := d.resolve(n).(type) {
	case *ast.StringNode:
		s, filled = expand(d, d.pos(n, p), v.Value)
		return s, v.GetToken().Type == token.StringType, filled, true
	case *ast.LiteralNode:
		s, filled = expand(d, d.pos(n, p), v.Value.Value)
		return s, false, filled, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, true, false, true
	}
	return "", false, false, false
}

// any decodes a value whose shape is not known here.
func (d *decoder) any(n ast.Node, p Pos) any {
	n = d.resolve(n)
	if n == nil {
		return nil
	}
	leave, ok := d.enter(n, p)
	defer leave()
	if !ok {
		return nil
	}
	switch v := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return v.Value
	case *ast.IntegerNode:
		switch i := v.Value.(type) {
		case int64:
			return i
		case uint64:
			if i <= math.MaxInt64 {
				return int64(i)
			}
			return i
		default:
			return v.GetToken().Value
		}
	case *ast.FloatNode:
		return v.Value
	case *ast.InfinityNode, *ast.NanNode:
		d.fail(d.pos(n, p), n.GetToken().Value, "not a finite number", "a number")
		return nil
	case *ast.SequenceNode:
		out := make([]any, len(v.Values))
		for i, item := range v.Values {
			out[i] = d.any(item, d.pos(item, p.At(fmt.Sprintf("[%d]", i))))
		}
		return out
	case *ast.MappingNode, *ast.MappingValueNode:
		fs, _ := d.fields(n, p)
		out := make(map[string]any, len(fs))
		for _, f := range fs {
			out[f.key] = d.any(f.value, f.pos)
		}
		return out
	default:
		s, plain, filled, _ := d.text(n, p)
		switch {
		case plain && filled:
			return retype(s)
		case plain && exponent.MatchString(s):
			f, err := strconv.ParseFloat(s, 64)
			if err != nil {
				d.fail(d.pos(n, p), s, "out of range", "a finite number")
			}
			return f
		}
		return s
	}
}

// exponent matches the numbers that YAML 1.2 knows and the YAML library takes for text, such as 1e-3.
var exponent = regexp.MustCompile(`^[-+]?[0-9]+[eE][-+]?[0-9]+$`)

// retype gives a filled-in plain scalar the type it would have had if it had been written out.
func retype(s string) any {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil && strconv.FormatInt(i, 10) == s {
		return i
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.ContainsAny(s, ".") && !math.IsInf(f, 0) && !math.IsNaN(f) {
		return f
	}
	switch s {
	case "true":
		return true
	case "false":
		return false
	}
	return s
}

// object decodes a mapping into an Object.
func (d *decoder) object(n ast.Node, p Pos) Object {
	o := Object{Pos: d.pos(n, p), Map: map[string]any{}, Keys: map[string]Pos{}}
	if _, null := d.resolve(n).(*ast.NullNode); null {
		return o
	}
	fs, ok := d.fields(n, p)
	if !ok {
		d.fail(d.pos(n, p), d.show(n), "not a mapping", "a mapping of keys to values")
		return o
	}
	for _, f := range fs {
		o.Map[f.key] = d.any(f.value, f.pos)
		o.Keys[f.key] = f.pos
	}
	return o
}

// show returns a node as a user would recognise it in a message.
func (d *decoder) show(n ast.Node) string {
	switch v := d.resolve(n).(type) {
	case nil, *ast.NullNode:
		return "null"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "{…}"
	case *ast.SequenceNode:
		if len(v.Values) == 1 {
			return "[…1 item]"
		}
		return fmt.Sprintf("[…%d items]", len(v.Values))
	case *ast.LiteralNode:
		return v.Value.Value
	default:
		return v.GetToken().Value
	}
}

// into decodes n into v, a settable value, by v's type. Structs use their json tags; a field of
// type Pos named Pos gets the place of the mapping.
func (d *decoder) into(n ast.Node, p Pos, v reflect.Value) {
	if n == nil {
		return
	}
	leave, ok := d.enter(n, p)
	defer leave()
	if !ok {
		return
	}
	if c, ok := v.Addr().Interface().(customNode); ok {
		c.decodeNode(d, n, p)
		return
	}
	node := d.resolve(n)
	if node == nil {
		return
	}
	if _, null := node.(*ast.NullNode); null && v.Kind() != reflect.Interface {
		return // a key without a value is a key not given
	}
	at := d.pos(n, p)
	switch v.Kind() {
	case reflect.Pointer:
		// A value that cannot be read is one not given: its default makes no second mistake.
		to, before := reflect.New(v.Type().Elem()), len(d.errs)
		d.into(n, p, to.Elem())
		if to.Elem().Kind() == reflect.Struct || len(d.errs) == before {
			v.Set(to)
		}
	case reflect.Interface:
		if got := d.any(n, p); got != nil {
			v.Set(reflect.ValueOf(got))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[Object]() {
			v.Set(reflect.ValueOf(d.object(n, p)))
			return
		}
		d.structInto(n, p, v)
	case reflect.Map:
		fs, ok := d.fields(n, p)
		if !ok {
			d.fail(at, d.show(n), "not a mapping", "a mapping")
			return
		}
		v.Set(reflect.MakeMapWithSize(v.Type(), len(fs)))
		for _, f := range fs {
			e := reflect.New(v.Type().Elem()).Elem()
			d.into(f.value, f.pos, e)
			v.SetMapIndex(reflect.ValueOf(f.key), e)
		}
	case reflect.Slice:
		list, ok := node.(*ast.SequenceNode)
		if !ok {
			d.fail(at, d.show(n), "not a list", "a list")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
		for i, item := range list.Values {
			d.into(item, p.At(fmt.Sprintf("[%d]", i)), v.Index(i))
		}
	default:
		d.scalarInto(n, at, v)
	}
}

func (d *decoder) structInto(n ast.Node, p Pos, v reflect.Value) {
	fs, ok := d.fields(n, p)
	if !ok {
		d.fail(d.pos(n, p), d.show(n), "not a mapping", "a mapping with the keys "+strings.Join(jsonKeys(v.Type()), ", "))
		return
	}
	if pf := v.FieldByName("Pos"); pf.IsValid() && pf.Type() == reflect.TypeFor[Pos]() {
		pf.Set(reflect.ValueOf(d.pos(n, p)))
	}
	index := map[string]int{}
	for i := range v.NumField() {
		if key := jsonKey(v.Type().Field(i)); key != "" {
			index[key] = i
		}
	}
	for _, f := range fs {
		i, known := index[f.key]
		if !known {
			if extension(v.Type(), f.key) {
				continue
			}
			if why, ignored, ok := knownKey(v.Type(), f.key); ok {
				e := &Error{Pos: f.pos, Problem: why}
				if ignored {
					d.params.ignored = append(d.params.ignored, e)
				} else {
					d.params.unsupported = append(d.params.unsupported, e)
				}
				continue
			}
			if f.key == refKey {
				d.fail(f.pos, d.show(f.value), "this reference leads nowhere", "a place in this file such as #/assertionTemplates/NAME")
				continue
			}
			e := unknownKey(f.pos, f.key, jsonKeys(v.Type()))
			if v.Type() == reflect.TypeFor[wireOptions]() && e.Hint == "" {
				e.Hint = "promptfoo hands other options to the provider: give them under its config, or give the test a provider of its own"
			}
			d.errs = append(d.errs, e)
			continue
		}
		d.into(f.value, f.pos, v.Field(i))
	}
}

func jsonKey(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if key == "-" || !f.IsExported() {
		return ""
	}
	return key
}

func jsonKeys(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if key := jsonKey(t.Field(i)); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func (d *decoder) scalarInto(n ast.Node, at Pos, v reflect.Value) {
	s, plain, filled, ok := d.text(n, at)
	wrong := func(want string) {
		d.fail(at, d.show(n), "not "+want, want)
	}
	_, isString := d.resolve(n).(*ast.StringNode)
	// A string where a number belongs is a mistake, whatever is in it.
	quoted := isString && !filled && !(plain && exponent.MatchString(s))
	switch v.Kind() {
	case reflect.String:
		if !ok {
			wrong("a string")
			return
		}
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if !ok || quoted || err != nil {
			wrong("true or false")
			return
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
		if !ok || quoted || err != nil {
			wrong("a whole number")
			return
		}
		v.SetInt(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
		if !ok || quoted || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			wrong("a number")
			return
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("config: cannot decode into %s", v.Type()))
	}
}
