//go:build linux || darwin

package clickhouse

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is the part of libchdb.so that is used: ClickHouse in a library. Its own Go package ends the program where the
// library is missing.
type library struct {
	connect func(argc int, argv **byte) *unsafe.Pointer
	close   func(conn *unsafe.Pointer)
	query   func(conn unsafe.Pointer, query, format string) unsafe.Pointer
	buffer  func(result unsafe.Pointer) *byte
	length  func(result unsafe.Pointer) uintptr
	problem func(result unsafe.Pointer) string
	destroy func(result unsafe.Pointer)

	conn *unsafe.Pointer
}

func load(path, dir string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	l := &library{}
	for name, f := range map[string]any{
		"chdb_connect": &l.connect, "chdb_close_conn": &l.close, "chdb_query": &l.query, "chdb_result_buffer": &l.buffer,
		"chdb_result_length": &l.length, "chdb_result_error": &l.problem, "chdb_destroy_query_result": &l.destroy,
	} {
		purego.RegisterLibFunc(f, handle, name)
	}
	args := []*byte{}
	for _, arg := range []string{"clickhouse", "--path=" + dir} {
		args = append(args, unsafe.StringData(arg+"\x00"))
	}
	if l.conn = l.connect(len(args), &args[0]); l.conn == nil {
		return nil, errors.New("the engine does not start")
	}
	runtime.KeepAlive(args)
	return l, nil
}

func (l *library) run(query, format string) ([]byte, error) {
	r := l.query(*l.conn, query, format)
	if r == nil {
		return nil, nil
	}
	defer l.destroy(r)
	if problem := l.problem(r); problem != "" {
		return nil, fmt.Errorf("%s in %.300s", problem, query)
	}
	n := l.length(r)
	if n == 0 {
		return nil, nil
	}
	return bytes.Clone(unsafe.Slice(l.buffer(r), n)), nil
}

// engine runs our SQL on ClickHouse inside the test's process. It has one connection, and no protocol.
type engine struct {
	mu       sync.Mutex
	lib      *library
	database string
}

var (
	oneEngine   *library
	startEngine sync.Once
	engineErr   error
	engineDir   string
	databases   int
)

// engineLibrary skips the test where there is no engine.
func engineLibrary(t *testing.T) string {
	t.Helper()
	lib := os.Getenv("CHDB_LIB_PATH")
	if lib == "" {
		t.Skip("no ClickHouse engine here: set CHDB_LIB_PATH to libchdb.so (see testdata/chdb.sh)")
	}
	return lib
}

// newEngine makes a database of its own; the engine itself can be started once in a process.
func newEngine(t *testing.T) *engine {
	t.Helper()
	lib := engineLibrary(t)
	startEngine.Do(func() {
		if _, engineErr = os.Stat(lib); engineErr != nil {
			return
		}
		if engineDir, engineErr = os.MkdirTemp("", "telltale-chdb-"); engineErr == nil {
			oneEngine, engineErr = load(lib, engineDir)
		}
	})
	if engineErr != nil {
		t.Fatalf("CHDB_LIB_PATH=%s: %v", lib, engineErr)
	}
	databases++
	e := &engine{lib: oneEngine, database: fmt.Sprintf("test%d", databases)}
	if err := e.exec(t.Context(), "CREATE DATABASE "+e.database); err != nil {
		t.Fatal(err)
	}
	if err := e.exec(t.Context(), fmt.Sprint("SET max_query_size = ", maxQuery)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.exec(context.Background(), "DROP DATABASE "+e.database); err != nil {
			t.Error(err)
		}
	})
	return e
}

func (e *engine) run(ctx context.Context, query, format string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !strings.HasPrefix(query, "CREATE DATABASE") && !strings.HasPrefix(query, "DROP DATABASE") {
		if _, err := e.lib.run("USE "+e.database, "CSV"); err != nil {
			return nil, err
		}
	}
	return e.lib.run(query, format)
}

func (e *engine) exec(ctx context.Context, statement string, args ...any) error {
	_, err := e.run(ctx, bind(statement, args), "CSV")
	return err
}

func (e *engine) query(ctx context.Context, query string, args ...any) (rows, error) {
	b, err := e.run(ctx, bind(query, args), "RowBinaryWithNamesAndTypes")
	if err != nil {
		return nil, err
	}
	r := &binaryRows{b: b}
	if len(b) == 0 {
		return r, nil
	}
	n := int(r.uvarint())
	for range n {
		_ = r.str()
	}
	for range n {
		r.types = append(r.types, r.str())
	}
	return r, r.err
}

func (e *engine) insert(ctx context.Context, table, columns, token string, n int, row func(i int) []any) error {
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + " (" + columns + ") SETTINGS max_partitions_per_insert_block = 0, deduplicate_blocks_in_dependent_materialized_views = 1, insert_deduplication_token = '" + token + "' VALUES ")
	for i := range n {
		b.WriteByte('(')
		for k, v := range row(i) {
			if k > 0 {
				b.WriteByte(',')
			}
			b.WriteString(literal(v))
		}
		b.WriteByte(')')
	}
	_, err := e.run(ctx, b.String(), "CSV")
	return err
}

func (e *engine) close() error { return nil }

func bind(query string, args []any) string {
	parts := strings.Split(query, "?")
	if len(parts) != len(args)+1 {
		panic(fmt.Sprintf("%d values for %d places in %s", len(args), len(parts)-1, query))
	}
	var b strings.Builder
	for i, part := range parts {
		b.WriteString(part)
		if i < len(args) {
			b.WriteString(literal(args[i]))
		}
	}
	return b.String()
}

var quoted = strings.NewReplacer("\\", "\\\\", "'", "\\'", "\x00", "\\0")

func literal(v any) string {
	switch v := v.(type) {
	case string:
		return "'" + quoted.Replace(v) + "'"
	case time.Time:
		return fmt.Sprintf("fromUnixTimestamp64Micro(%d, 'UTC')", v.UnixMicro())
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer:
		if r.IsNil() {
			return "NULL"
		}
		return literal(r.Elem().Interface())
	case reflect.Slice:
		parts := make([]string, r.Len())
		for i := range parts {
			parts[i] = literal(r.Index(i).Interface())
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return fmt.Sprint(v)
}

// binaryRows reads the format RowBinaryWithNamesAndTypes.
type binaryRows struct {
	b     []byte
	types []string
	row   []any
	err   error
}

var errShort = errors.New("the answer ends in the middle of a row")

func (r *binaryRows) take(n int) []byte {
	if r.err == nil && n > len(r.b) {
		r.err = errShort
	}
	if r.err != nil {
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *binaryRows) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err = errShort
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *binaryRows) str() string { return string(r.take(int(r.uvarint()))) }

func (r *binaryRows) value(kind string) any {
	inner := func(name string) (string, bool) {
		if strings.HasPrefix(kind, name+"(") {
			return kind[len(name)+1 : len(kind)-1], true
		}
		return "", false
	}
	if in, ok := inner("Nullable"); ok {
		if r.take(1)[0] == 1 {
			return nil
		}
		return r.value(in)
	}
	if in, ok := inner("LowCardinality"); ok {
		return r.value(in)
	}
	if in, ok := inner("Array"); ok {
		n := int(r.uvarint())
		out := reflect.MakeSlice(reflect.SliceOf(reflect.TypeOf(map[string]any{"Float64": 0., "String": ""}[in])), 0, n)
		for range n {
			out = reflect.Append(out, reflect.ValueOf(r.value(in)))
		}
		return out.Interface()
	}
	switch {
	case kind == "String":
		return r.str()
	case kind == "Bool":
		return r.take(1)[0] == 1
	case kind == "Int32":
		return int32(binary.LittleEndian.Uint32(r.take(4)))
	case kind == "Int64":
		return int64(binary.LittleEndian.Uint64(r.take(8)))
	case kind == "Float64":
		return math.Float64frombits(binary.LittleEndian.Uint64(r.take(8)))
	case strings.HasPrefix(kind, "DateTime64(6"):
		return time.UnixMicro(int64(binary.LittleEndian.Uint64(r.take(8)))).UTC()
	}
	r.err = fmt.Errorf("a value of type %s, which the store's queries should not have", kind)
	return nil
}

func (r *binaryRows) Next() bool {
	if r.err != nil || len(r.b) == 0 {
		return false
	}
	r.row = r.row[:0]
	for _, kind := range r.types {
		r.row = append(r.row, r.value(kind))
	}
	return r.err == nil
}

// Scan is as strict as the driver: types must be the same.
func (r *binaryRows) Scan(to ...any) error {
	if len(to) != len(r.row) {
		return fmt.Errorf("%d targets for %d columns", len(to), len(r.row))
	}
	for i, v := range r.row {
		if s, ok := to[i].(interface{ Scan(any) error }); ok {
			if err := s.Scan(v); err != nil {
				return err
			}
			continue
		}
		target := reflect.ValueOf(to[i]).Elem()
		switch {
		case target.Kind() == reflect.Pointer && v == nil:
			target.SetZero()
		case target.Kind() == reflect.Pointer:
			p := reflect.New(target.Type().Elem())
			p.Elem().Set(reflect.ValueOf(v))
			target.Set(p)
		case v == nil || reflect.TypeOf(v) != target.Type():
			return fmt.Errorf("column %d (%s) does not fit %s", i, r.types[i], target.Type())
		default:
			target.Set(reflect.ValueOf(v))
		}
	}
	return nil
}

func (r *binaryRows) Err() error   { return r.err }
func (r *binaryRows) Close() error { return nil }
