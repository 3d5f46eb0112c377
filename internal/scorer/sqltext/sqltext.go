// Package sqltext says whether a text is SQL, by the grammars of the databases themselves, and which
// tables and columns it touches.
//
// MySQL and MariaDB are read by TiDB's parser, PostgreSQL by PostgreSQL's own, compiled to
// WebAssembly. A text goes in as the model wrote it, and a verdict on its grammar comes out with the
// references that an allow-list is held against. Nothing is executed and no schema is known: whether a
// table exists is not its business. It does not look for SQL inside other text.
package sqltext

import (
	"errors"
	"fmt"
	"strings"
)

// Dialect is whose grammar a statement is held against.
type Dialect uint8

// The dialects. The zero value is promptfoo's default.
const (
	MySQL Dialect = iota
	PostgreSQL
)

// Names are the dialects as users write them.
const Names = "mysql, mariadb or postgresql"

// ParseDialect returns the dialect of that name, in any case.
func ParseDialect(name string) (Dialect, bool) {
	switch strings.ToLower(name) {
	case "mysql", "mariadb":
		return MySQL, true
	case "postgresql", "postgres":
		return PostgreSQL, true
	}
	return MySQL, false
}

func (d Dialect) String() string {
	if d == PostgreSQL {
		return "PostgreSQL"
	}
	return "MySQL"
}

// SyntaxError says why a text is not SQL.
type SyntaxError struct{ Message string }

func (e *SyntaxError) Error() string { return e.Message }

// Refs are the tables and columns that statements touch, in order of appearance and without repeats.
// A table is ACTION::DATABASE::NAME and a column ACTION::TABLE::NAME with null for a part that is not
// given, as promptfoo's node-sql-parser writes them: select::null::users, select::users::name. ACTION
// is select, insert, update, delete, create, drop, alter or truncate. A column behind an alias carries
// its table's name; all columns of a table are (.*).
//
// Names that a WITH clause defines are tables, and aliases used in ORDER BY, GROUP BY and HAVING are
// columns: what cannot be told apart without a schema is listed.
type Refs struct {
	Tables, Columns []string
}

// add appends a reference once.
func add(list *[]string, action, owner, name string) {
	if owner == "" {
		owner = "null"
	}
	ref := action + "::" + owner + "::" + name
	for _, have := range *list {
		if strings.EqualFold(have, ref) {
			return
		}
	}
	*list = append(*list, ref)
}

// ErrTooLong says that a text is too long or too deeply nested for a parser to be trusted with.
var ErrTooLong = errors.New("the SQL is too long or too deeply nested to be checked")

// maxBytes bounds a text: nobody runs a longer one by hand, and parsing costs memory.
const maxBytes = 1 << 20

// Check parses text, one statement or several. It returns nil, a *SyntaxError, or another error when
// it could not tell. It is safe for concurrent use.
func Check(d Dialect, text string) error {
	if err := bounded(text, deepest); err != nil {
		return err
	}
	if d == PostgreSQL {
		return checkPostgres(text)
	}
	_, err := parseMySQL(text)
	return err
}

// References parses text like Check and returns what it touches.
func References(d Dialect, text string) (Refs, error) {
	if d == PostgreSQL {
		if err := bounded(text, deepestListed); err != nil {
			return Refs{}, err
		}
		return postgresRefs(text)
	}
	if err := bounded(text, deepest); err != nil {
		return Refs{}, err
	}
	statements, err := parseMySQL(text)
	if err != nil {
		return Refs{}, err
	}
	return mysqlRefs(statements), nil
}

// bounded refuses what no parser should get.
func bounded(text string, most int) error {
	switch {
	case len(text) > maxBytes:
		return fmt.Errorf("%w: it has %d bytes", ErrTooLong, len(text))
	case strings.IndexByte(text, 0) >= 0:
		return &SyntaxError{"it contains a NUL character"}
	}
	if n := depth(text); n > most {
		return fmt.Errorf("%w: %d symbols in a row without a comma", ErrTooLong, n)
	}
	return nil
}
