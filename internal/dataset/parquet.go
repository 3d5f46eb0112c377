package dataset

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/telltale-llm/telltale/internal/config"
)

// parquetReader reads the rows of a Parquet file, one row group after the other. Nested values are
// put together from their columns by their repetition and definition levels, as the Dremel paper
// describes it. The line of a row is its number, from 1.
type parquetReader struct {
	file   *parquet.File
	name   string
	shape  shape
	root   []*parquetNode
	groups []parquet.RowGroup
	rows   parquet.Rows // of the group at hand
	buf    []parquet.Row
	n, at0 int // rows in buf, and the one at hand
	line   int
	leaves [][]parquet.Value // the row at hand by leaf column
}

// parquetBatch is how many rows are read at a time.
const parquetBatch = 64

// parquetNode is one field of the schema, with what its values become.
type parquetNode struct {
	name          string
	kind          parquetKind
	optional      bool
	def, rep      int // the levels at which a value of it is there
	first, last   int // its leaf columns, last excluded
	children      []*parquetNode
	leaf          func(parquet.Value) (any, error)
	elementsAlone bool // a repeated field without a list around it
}

type parquetKind uint8

const (
	parquetLeaf parquetKind = iota
	parquetGroup
	parquetList // children[0] is the repeated field
	parquetMap  // children[0] is the repeated group of key and value
)

// counting passes on reads and counts their bytes.
type counting struct {
	io.ReaderAt
	n *int64
}

// ReadAt implements io.ReaderAt.
func (c counting) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	*c.n += int64(n)
	return n, err
}

// newParquet opens f as a Parquet file.
func newParquet(at io.ReaderAt, size int64, f *file, rows shape) (r *parquetReader, err error) {
	defer rescue(config.Pos{File: f.name}, "Parquet", &err)
	file, err := parquet.OpenFile(at, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		e := &config.Error{Pos: config.Pos{File: f.name}, Problem: "not a Parquet file, or a damaged one", Err: err}
		if size == 0 {
			e.Problem, e.Err, e.Want = "the file is empty", nil, "a Parquet file"
		}
		return nil, e
	}
	// pyarrow writes a group without rows for a table that has none.
	groups := slices.DeleteFunc(slices.Clone(file.RowGroups()), func(g parquet.RowGroup) bool { return g.NumRows() == 0 })
	r = &parquetReader{file: file, name: f.name, shape: rows, groups: groups, buf: make([]parquet.Row, parquetBatch)}
	seen := map[string]bool{}
	for _, c := range file.Root().Columns() {
		if seen[c.Name()] {
			return nil, &config.Error{Pos: config.Pos{File: f.name}, Value: c.Name(), Problem: "two columns have this name", Want: "a different name for every column"}
		}
		seen[c.Name()] = true
		n, err := newParquetNode(c, 0)
		if err != nil {
			return nil, &config.Error{Pos: config.Pos{File: f.name, Key: c.Name()}, Err: err}
		}
		r.root = append(r.root, n)
	}
	if len(r.root) == 0 {
		return nil, &config.Error{Pos: config.Pos{File: f.name}, Problem: "the file has no columns", Want: "at least one"}
	}
	r.leaves = make([][]parquet.Value, r.root[len(r.root)-1].last)
	return r, nil
}

// rescue turns a panic of a library that reads a hostile or damaged file into a mistake in the file.
func rescue(pos config.Pos, format string, err *error) {
	if p := recover(); p != nil {
		*err = damaged(pos, format, fmt.Errorf("%v", p))
	}
}

// damaged is the mistake in a file that a library could not read.
func damaged(pos config.Pos, format string, err error) error {
	return &config.Error{Pos: pos, Problem: "the " + format + " file is damaged", Err: said(err)}
}

// said is what a library says of a file, nothing when that is about its own slices and pointers.
func said(err error) error {
	if strings.Contains(err.Error(), "runtime error") {
		return nil
	}
	return err
}

func newParquetNode(c *parquet.Column, depth int) (*parquetNode, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	n := &parquetNode{
		name: c.Name(), optional: c.Optional(), def: c.MaxDefinitionLevel(), rep: c.MaxRepetitionLevel(), elementsAlone: c.Repeated(),
	}
	if c.Leaf() {
		n.first, n.last = c.Index(), c.Index()+1
		n.leaf = parquetValue(c.Type())
		return n, nil
	}
	for _, sub := range c.Columns() {
		s, err := newParquetNode(sub, depth+1)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, s)
	}
	if len(n.children) == 0 {
		return nil, errors.New("a group without fields")
	}
	n.first, n.last = n.children[0].first, n.children[len(n.children)-1].last
	n.kind = parquetGroup
	if len(n.children) != 1 || !n.children[0].elementsAlone {
		return n, nil
	}
	inner := n.children[0]
	switch logical(c.Type()).(type) {
	case *format.ListType:
		n.kind = parquetList
		// Newer writers wrap the element in a group of one field; in older ones that group is the element.
		if inner.kind == parquetGroup && len(inner.children) == 1 && inner.name != "array" && inner.name != n.name+"_tuple" {
			inner.name = ""
		}
	case *format.MapType:
		if len(inner.children) == 2 {
			n.kind = parquetMap
		}
	}
	return n, nil
}

func logical(t parquet.Type) any {
	if l := t.LogicalType(); l != nil {
		return l.Value
	}
	return nil
}

// next moves to the next row.
func (r *parquetReader) next() (err error) {
	defer rescue(r.at(), "Parquet", &err)
	r.line++
	r.at0++
	for r.at0 >= r.n {
		if r.rows == nil {
			if len(r.groups) == 0 {
				return io.EOF
			}
			r.rows, r.groups = r.groups[0].Rows(), r.groups[1:]
		}
		n, err := r.rows.ReadRows(r.buf)
		r.n, r.at0 = n, 0
		if err != nil && !errors.Is(err, io.EOF) {
			return damaged(r.at(), "Parquet", err)
		}
		if n == 0 && err != nil {
			if err := r.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close ends the row group at hand.
func (r *parquetReader) Close() error {
	if r.rows == nil {
		return nil
	}
	err := r.rows.Close()
	r.rows = nil
	return err
}

func (r *parquetReader) at() config.Pos { return config.Pos{File: r.name, Line: r.line} }

func (r *parquetReader) decode(it *item) (err error) {
	defer rescue(r.at(), "Parquet", &err)
	for i := range r.leaves {
		r.leaves[i] = nil
	}
	row := r.buf[r.at0]
	// The values of a row come column by column.
	for i := 0; i < len(row); {
		c := row[i].Column()
		j := i + 1
		for j < len(row) && row[j].Column() == c {
			j++
		}
		if c < 0 || c >= len(r.leaves) {
			return &config.Error{Pos: r.at(), Problem: "the Parquet file is damaged: a value of no column"}
		}
		r.leaves[c] = row[i:j]
		i = j
	}
	obj := make(map[string]any, len(r.root))
	for _, n := range r.root {
		v, err := n.read(r.leaves)
		if err != nil {
			return fieldError(r.at(), n.name, nil, err.Error(), "")
		}
		obj[n.name] = v
	}
	return r.shape(obj, it)
}

// read puts together the value of n from the values of its leaves.
func (n *parquetNode) read(leaves [][]parquet.Value) (any, error) {
	if n.elementsAlone {
		return n.elements(leaves, func(leaves [][]parquet.Value) (any, error) { return n.one(leaves) })
	}
	return n.one(leaves)
}

// one reads a value of n that is not repeated, or one element of it.
func (n *parquetNode) one(leaves [][]parquet.Value) (any, error) {
	first := leaves[n.first]
	if len(first) == 0 {
		return nil, errors.New("the column has no value for this row")
	}
	if first[0].DefinitionLevel() < n.def {
		return nil, nil
	}
	switch n.kind {
	case parquetLeaf:
		if first[0].IsNull() {
			return nil, nil
		}
		return n.leaf(first[0])
	case parquetList:
		inner := n.children[0]
		return inner.elements(leaves, func(leaves [][]parquet.Value) (any, error) {
			if inner.name == "" {
				return inner.children[0].read(leaves)
			}
			return inner.one(leaves)
		})
	case parquetMap:
		return n.readMap(leaves)
	}
	out := make(map[string]any, len(n.children))
	for _, c := range n.children {
		v, err := c.read(leaves)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		out[c.name] = v
	}
	return out, nil
}

// elements splits the values of a repeated field into its elements.
func (n *parquetNode) elements(leaves [][]parquet.Value, read func([][]parquet.Value) (any, error)) (any, error) {
	out := []any{}
	if len(leaves[n.first]) == 0 {
		return nil, errors.New("the column has no value for this row")
	}
	if leaves[n.first][0].DefinitionLevel() < n.def {
		return out, nil
	}
	part := make([][]parquet.Value, n.last)
	at := make([]int, n.last)
	for at[n.first] < len(leaves[n.first]) {
		for c := n.first; c < n.last; c++ {
			from := at[c]
			if from >= len(leaves[c]) {
				return nil, errors.New("the columns of the list have different lengths")
			}
			to := from + 1
			for to < len(leaves[c]) && leaves[c][to].RepetitionLevel() > n.rep {
				to++
			}
			part[c], at[c] = leaves[c][from:to], to
		}
		v, err := read(part)
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", len(out), err)
		}
		out = append(out, v)
	}
	return out, nil
}

// readMap reads a map with keys of text as an object; other keys are written as text.
func (n *parquetNode) readMap(leaves [][]parquet.Value) (any, error) {
	pairs := n.children[0]
	out := map[string]any{}
	_, err := pairs.elements(leaves, func(leaves [][]parquet.Value) (any, error) {
		k, err := pairs.children[0].read(leaves)
		if err != nil {
			return nil, err
		}
		v, err := pairs.children[1].read(leaves)
		if err != nil {
			return nil, err
		}
		key := strings.TrimSpace(fmt.Sprint(k))
		if s, ok := k.(string); ok {
			key = s
		}
		if _, dup := out[key]; dup {
			return nil, fmt.Errorf("the key %q is twice in a map", clip(key))
		}
		out[key] = v
		return nil, nil
	})
	return out, err
}
