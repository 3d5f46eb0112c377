package sqltext

import (
	"fmt"
	"strings"
	"sync"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver" // values of literals; the parser needs one driver
)

// parsers holds TiDB's parsers, which are costly to make and serve one goroutine at a time.
var parsers = sync.Pool{New: func() any { return parser.New() }}

func parseMySQL(text string) (statements []ast.StmtNode, err error) {
	p := parsers.Get().(*parser.Parser)
	defer func() {
		if r := recover(); r != nil {
			statements, err = nil, fmt.Errorf("the SQL parser failed: %v", r)
			return
		}
		parsers.Put(p)
	}()
	statements, _, err = p.ParseSQL(text)
	if err != nil {
		return nil, &SyntaxError{plain(err.Error())}
	}
	if len(statements) == 0 {
		return nil, &SyntaxError{"there is no statement"}
	}
	for _, s := range statements {
		v := notMySQL{}
		s.Accept(&v)
		if v.what != "" {
			return nil, &SyntaxError{v.what}
		}
	}
	return statements, nil
}

// plain takes the parser's own advice out of its message.
func plain(message string) string {
	message, _, _ = strings.Cut(message, "\n")
	return strings.TrimSpace(strings.Join(strings.Fields(message), " "))
}

// notMySQL finds what TiDB's grammar takes and MySQL's does not.
type notMySQL struct{ what string }

func (v *notMySQL) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.PatternLikeOrIlikeExpr:
		if !n.IsLike {
			v.what = "MySQL has no ILIKE"
		}
	case *ast.CreateTableStmt:
		if len(n.Cols) == 0 && n.Select == nil && n.ReferTable == nil {
			v.what = "CREATE TABLE without columns"
		}
	}
	return n, v.what != ""
}

func (v *notMySQL) Leave(n ast.Node) (ast.Node, bool) { return n, true }

func mysqlRefs(statements []ast.StmtNode) Refs {
	var out Refs
	for _, s := range statements {
		aliases := &mysqlAliases{of: map[string]string{}}
		s.Accept(aliases)
		v := &mysqlVisitor{refs: &out, aliases: aliases.of, action: map[*ast.TableName]string{}}
		v.statement(s)
		s.Accept(v)
	}
	return out
}

// mysqlAliases finds the aliases of tables.
type mysqlAliases struct{ of map[string]string }

func (v *mysqlAliases) Enter(n ast.Node) (ast.Node, bool) {
	if t, ok := n.(*ast.TableSource); ok && t.AsName.L != "" {
		if name, ok := t.Source.(*ast.TableName); ok {
			v.of[t.AsName.L] = name.Name.O
		}
	}
	return n, false
}

func (v *mysqlAliases) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// mysqlVisitor collects references.
type mysqlVisitor struct {
	refs    *Refs
	aliases map[string]string
	// action is what is done to a table where that is not reading it.
	action map[*ast.TableName]string
}

// mark notes what a statement does to the tables below n.
func (v *mysqlVisitor) mark(action string, n ast.Node) {
	if n == nil {
		return
	}
	n.Accept(tableMarker(func(t *ast.TableName) { v.action[t] = action }))
}

type tableMarker func(*ast.TableName)

func (m tableMarker) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.TableName:
		m(n)
	case *ast.SelectStmt, *ast.SetOprStmt, *ast.SubqueryExpr:
		return n, true // read, whatever is done to the table beside it
	}
	return n, false
}

func (m tableMarker) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// statement notes what a statement does to its tables, and the columns that it names outside of
// expressions.
func (v *mysqlVisitor) statement(s ast.StmtNode) {
	switch s := s.(type) {
	case *ast.InsertStmt:
		v.mark("insert", s.Table)
		for _, c := range s.Columns {
			v.column("insert", v.only(s.Table), c.Name.O)
		}
	case *ast.UpdateStmt:
		v.mark("update", s.TableRefs)
		for _, a := range s.List {
			v.column("update", v.table(a.Column.Table.L, a.Column.Table.O), a.Column.Name.O)
		}
	case *ast.DeleteStmt:
		target := ast.Node(s.TableRefs)
		if s.IsMultiTable && s.Tables != nil {
			target = s.Tables
		}
		v.mark("delete", target)
		target.Accept(tableMarker(func(t *ast.TableName) { v.column("delete", t.Name.O, "(.*)") }))
	case *ast.CreateTableStmt:
		v.mark("create", s.Table)
		for _, c := range s.Cols {
			v.column("create", "", c.Name.Name.O)
		}
	case *ast.CreateViewStmt:
		v.mark("create", s.ViewName)
	case *ast.CreateIndexStmt:
		v.mark("create", s.Table)
	case *ast.DropTableStmt:
		for _, t := range s.Tables {
			v.mark("drop", t)
		}
	case *ast.DropIndexStmt:
		v.mark("drop", s.Table)
	case *ast.AlterTableStmt:
		v.mark("alter", s.Table)
	case *ast.TruncateTableStmt:
		v.mark("truncate", s.Table)
	}
}

// only is the name of the table that refs consists of.
func (v *mysqlVisitor) only(refs *ast.TableRefsClause) string {
	name := ""
	if refs != nil {
		refs.Accept(tableMarker(func(t *ast.TableName) { name = t.Name.O }))
	}
	return name
}

// table resolves an alias.
func (v *mysqlVisitor) table(lower, name string) string {
	if real, ok := v.aliases[lower]; ok {
		return real
	}
	return name
}

func (v *mysqlVisitor) column(action, table, name string) { add(&v.refs.Columns, action, table, name) }

func (v *mysqlVisitor) Enter(n ast.Node) (ast.Node, bool) {
	switch n := n.(type) {
	case *ast.TableName:
		action := v.action[n]
		if action == "" {
			action = "select"
		}
		add(&v.refs.Tables, action, n.Schema.O, n.Name.O)
	case *ast.ColumnNameExpr:
		v.column("select", v.table(n.Name.Table.L, n.Name.Table.O), n.Name.Name.O)
	case *ast.SelectField:
		if w := n.WildCard; w != nil {
			v.column("select", v.table(w.Table.L, w.Table.O), "(.*)")
		}
	}
	return n, false
}

func (v *mysqlVisitor) Leave(n ast.Node) (ast.Node, bool) { return n, true }
