package sqltext

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/wasilibs/go-pgquery/parser"
	"google.golang.org/protobuf/encoding/protowire"
)

// postgres is PostgreSQL's parser. It is one instance for the whole process, about 150 MB: it is made
// at its first use, which takes a second or two, and serves one call at a time at some 30 µs each.
var postgres struct {
	sync.Mutex
	// broken is set when a call has ended in a trap: the instance's memory can no longer be relied on.
	broken error
}

// call runs one of the parser's functions.
func call[T any](f func(string) (T, error), text string) (out T, err error) {
	postgres.Lock()
	defer postgres.Unlock()
	if postgres.broken != nil {
		return out, postgres.broken
	}
	defer func() {
		if r := recover(); r != nil {
			postgres.broken = fmt.Errorf("PostgreSQL's parser broke down and is not used again in this run: %v", r)
			err = postgres.broken
		}
	}()
	out, err = f(text)
	switch {
	case err == nil:
		return out, nil
	case strings.HasPrefix(err.Error(), "memory exhausted"):
		return out, ErrTooLong
	}
	return out, &SyntaxError{plain(err.Error())}
}

// statementField is the field of PostgreSQL's parse result that holds its statements.
const statementField = 2

func checkPostgres(text string) error {
	tree, err := call(parser.ParseToProtobuf, text)
	if err != nil {
		return err
	}
	for len(tree) > 0 {
		field, kind, n := protowire.ConsumeTag(tree)
		if n < 0 {
			return errors.New("PostgreSQL's parser gave a tree that cannot be read")
		}
		if field == statementField {
			return nil
		}
		m := protowire.ConsumeFieldValue(field, kind, tree[n:])
		if m < 0 {
			return errors.New("PostgreSQL's parser gave a tree that cannot be read")
		}
		tree = tree[n+m:]
	}
	return &SyntaxError{"there is no statement"}
}

func postgresRefs(text string) (Refs, error) {
	tree, err := call(parser.ParseToJSON, text)
	if err != nil {
		return Refs{}, err
	}
	var result struct {
		Stmts []map[string]any `json:"stmts"`
	}
	if err := json.Unmarshal([]byte(tree), &result); err != nil {
		return Refs{}, fmt.Errorf("PostgreSQL's parser gave a tree that cannot be read: %w", err)
	}
	if len(result.Stmts) == 0 {
		return Refs{}, &SyntaxError{"there is no statement"}
	}
	var out Refs
	for _, s := range result.Stmts {
		v := &postgresVisitor{refs: &out, aliases: map[string]string{}}
		v.findAliases(s)
		v.walk(s["stmt"])
	}
	return out, nil
}

// postgresVisitor collects references from a tree of mappings: a node is a mapping whose only key is its type.
type postgresVisitor struct {
	refs    *Refs
	aliases map[string]string
}

func (v *postgresVisitor) findAliases(n any) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			v.findAliases(e)
		}
	case map[string]any:
		if alias := text(n, "alias", "aliasname"); alias != "" && text(n, "relname") != "" {
			v.aliases[alias] = text(n, "relname")
		}
		for _, e := range n {
			v.findAliases(e)
		}
	}
}

// text returns the text at a path of keys, or "".
func text(n map[string]any, path ...string) string {
	for _, key := range path[:len(path)-1] {
		n, _ = n[key].(map[string]any)
	}
	s, _ := n[path[len(path)-1]].(string)
	return s
}

// postgresActions are the statements that do something to the table at their key relation.
var postgresActions = map[string]string{
	"InsertStmt": "insert", "UpdateStmt": "update", "DeleteStmt": "delete", "MergeStmt": "update", "CreateStmt": "create",
	"IndexStmt": "create", "AlterTableStmt": "alter", "RenameStmt": "alter",
}

func (v *postgresVisitor) walk(n any) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			v.walk(e)
		}
	case map[string]any:
		keys := make([]string, 0, len(n))
		for key := range n {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			if node, ok := n[key].(map[string]any); ok && v.node(key, node) {
				continue
			}
			v.walk(n[key])
		}
	}
}

// node takes in a node of type kind and says whether all below it is done with. A table stands as a
// RangeVar in lists and expressions, and without that name at keys that hold nothing else.
func (v *postgresVisitor) node(kind string, n map[string]any) bool {
	switch kind {
	case "RangeVar", "relation", "rel", "view", "larg", "rarg", "into":
		if text(n, "relname") != "" {
			v.table("select", n)
			return true
		}
	case "ColumnRef":
		v.columnRef(n)
		return true
	case "TruncateStmt":
		v.tables("truncate", n["relations"])
		return true
	case "DropStmt":
		v.dropped(n)
		return true
	case "ViewStmt":
		return v.changed(n, "view", "create")
	case "CreateTableAsStmt":
		into, _ := n["into"].(map[string]any)
		if rel, ok := into["rel"].(map[string]any); ok {
			v.table("create", rel)
		}
		v.walk(n["query"])
		return true
	}
	if action, ok := postgresActions[kind]; ok {
		return v.changed(n, "relation", action)
	}
	return false
}

// changed takes in a statement that does something to the table at key.
func (v *postgresVisitor) changed(n map[string]any, key, action string) bool {
	rel, ok := n[key].(map[string]any)
	if !ok {
		return false
	}
	v.table(action, rel)
	name := text(rel, "relname")
	switch action {
	case "insert":
		v.targets(n["cols"], action, name)
	case "update":
		v.targets(n["targetList"], action, "")
	case "delete":
		add(&v.refs.Columns, action, name, "(.*)")
	case "create":
		v.defined(n["tableElts"])
	}
	rest := make(map[string]any, len(n))
	for k, e := range n {
		if k != key {
			rest[k] = e
		}
	}
	v.walk(rest)
	return true
}

func (v *postgresVisitor) table(action string, n map[string]any) {
	add(&v.refs.Tables, action, text(n, "schemaname"), text(n, "relname"))
}

func (v *postgresVisitor) tables(action string, list any) {
	items, _ := list.([]any)
	for _, e := range items {
		n, _ := e.(map[string]any)
		if rel, ok := n["RangeVar"].(map[string]any); ok {
			v.table(action, rel)
		}
	}
}

// targets takes in the columns that a statement sets.
func (v *postgresVisitor) targets(list any, action, table string) {
	items, _ := list.([]any)
	for _, e := range items {
		n, _ := e.(map[string]any)
		if target, ok := n["ResTarget"].(map[string]any); ok && text(target, "name") != "" {
			add(&v.refs.Columns, action, table, text(target, "name"))
		}
	}
}

func (v *postgresVisitor) defined(list any) {
	items, _ := list.([]any)
	for _, e := range items {
		n, _ := e.(map[string]any)
		if c, ok := n["ColumnDef"].(map[string]any); ok {
			add(&v.refs.Columns, "create", "", text(c, "colname"))
		}
	}
}

// names are the parts of a qualified name.
func names(list any) []string {
	items, _ := list.([]any)
	var out []string
	for _, e := range items {
		n, _ := e.(map[string]any)
		if s, ok := n["String"].(map[string]any); ok {
			out = append(out, text(s, "sval"))
		}
		if _, star := n["A_Star"]; star {
			out = append(out, "(.*)")
		}
	}
	return out
}

func (v *postgresVisitor) columnRef(n map[string]any) {
	parts := names(n["fields"])
	if len(parts) == 0 {
		return
	}
	owner := ""
	if len(parts) > 1 {
		owner = parts[len(parts)-2]
		if real, ok := v.aliases[owner]; ok {
			owner = real
		}
	}
	add(&v.refs.Columns, "select", owner, parts[len(parts)-1])
}

// dropped takes in the objects of a DROP of tables or views; those of other kinds are no tables.
func (v *postgresVisitor) dropped(n map[string]any) {
	switch text(n, "removeType") {
	case "OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE":
	default:
		return
	}
	objects, _ := n["objects"].([]any)
	for _, o := range objects {
		node, _ := o.(map[string]any)
		list, _ := node["List"].(map[string]any)
		parts := names(list["items"])
		switch len(parts) {
		case 0:
		case 1:
			add(&v.refs.Tables, "drop", "", parts[0])
		default:
			add(&v.refs.Tables, "drop", parts[len(parts)-2], parts[len(parts)-1])
		}
	}
}
