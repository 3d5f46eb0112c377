package sqltext

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Every statement of the corpus is judged as its labels say.
func TestCorpus(t *testing.T) {
	data, err := os.ReadFile("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		n++
		for i, d := range []Dialect{MySQL, PostgreSQL} {
			err := Check(d, line[3:])
			if want := line[i] != '-'; (err == nil) != want {
				t.Errorf("%s: %s: %v, want valid %v", d, line[3:], err, want)
			}
			if _, syntax := errors.AsType[*SyntaxError](err); err != nil && !syntax {
				t.Errorf("%s: %s: %v is not a verdict", d, line[3:], err)
			}
			if _, refErr := References(d, line[3:]); (refErr == nil) != (err == nil) {
				t.Errorf("%s: %s: references: %v, check: %v", d, line[3:], refErr, err)
			}
		}
	}
	if n < 150 {
		t.Errorf("the corpus has %d statements", n)
	}
}

func TestNoStatement(t *testing.T) {
	for _, d := range []Dialect{MySQL, PostgreSQL} {
		for _, text := range []string{"", " \n", ";", ";;", "-- only a comment", "/* a comment */", "SELECT 1\x00", "SELECT '\xff"} {
			err := Check(d, text)
			if _, ok := errors.AsType[*SyntaxError](err); !ok {
				t.Errorf("%s: %q: %v", d, text, err)
			}
		}
	}
}

func TestReferences(t *testing.T) {
	f := func(sql, tables, columns string) {
		t.Helper()
		for _, d := range []Dialect{MySQL, PostgreSQL} {
			refs, err := References(d, sql)
			slices.Sort(refs.Tables)
			slices.Sort(refs.Columns)
			if got := strings.Join(refs.Tables, " "); err != nil || got != tables {
				t.Errorf("%s: %s: tables %q, %v, want %q", d, sql, got, err, tables)
			}
			if got := strings.Join(refs.Columns, " "); got != columns {
				t.Errorf("%s: %s: columns %q, want %q", d, sql, got, columns)
			}
		}
	}
	f("SELECT 1", "", "")
	f("SELECT * FROM users", "select::null::users", "select::null::(.*)")
	f("SELECT t.* FROM t", "select::null::t", "select::t::(.*)")
	f("SELECT id, u.name FROM users u WHERE u.age > 3", "select::null::users", "select::null::id select::users::age select::users::name")
	f("SELECT u.name FROM shop.users u JOIN orders o ON o.uid = u.id ORDER BY o.at",
		"select::null::orders select::shop::users", "select::orders::at select::orders::uid select::users::id select::users::name")
	f("SELECT COUNT(*) FROM t", "select::null::t", "")
	f("SELECT MAX(a) AS m FROM t GROUP BY b HAVING m > 2", "select::null::t", "select::null::a select::null::b select::null::m")
	f("WITH x AS (SELECT a FROM t) SELECT a FROM x", "select::null::t select::null::x", "select::null::a")
	f("SELECT (SELECT MAX(z) FROM s) FROM t", "select::null::s select::null::t", "select::null::z")
	f("SELECT a FROM t WHERE EXISTS (SELECT 1 FROM secret)", "select::null::secret select::null::t", "select::null::a")
	f("SELECT a FROM (SELECT b AS a FROM t) x", "select::null::t", "select::null::a select::null::b")
	f("SELECT a FROM t UNION SELECT b FROM s", "select::null::s select::null::t", "select::null::a select::null::b")
	f("INSERT INTO t (a, b) VALUES (1, 2)", "insert::null::t", "insert::t::a insert::t::b")
	f("INSERT INTO t (a) SELECT b FROM s", "insert::null::t select::null::s", "insert::t::a select::null::b")
	f("UPDATE t SET a = b WHERE c = 1", "update::null::t", "select::null::b select::null::c update::null::a")
	f("UPDATE t SET a = (SELECT MAX(b) FROM s)", "select::null::s update::null::t", "select::null::b update::null::a")
	f("DELETE FROM t WHERE a = 1", "delete::null::t", "delete::t::(.*) select::null::a")
	f("DELETE FROM t WHERE a IN (SELECT b FROM s)", "delete::null::t select::null::s", "delete::t::(.*) select::null::a select::null::b")
	f("CREATE TABLE t (a INT)", "create::null::t", "create::null::a")
	f("CREATE TABLE t AS SELECT a FROM s", "create::null::t select::null::s", "select::null::a")
	f("CREATE VIEW v AS SELECT a FROM t", "create::null::v select::null::t", "select::null::a")
	f("DROP TABLE a, db.b", "drop::db::b drop::null::a", "")
	f("TRUNCATE TABLE t", "truncate::null::t", "")
	f("ALTER TABLE t DROP COLUMN c", "alter::null::t", "")
	f("SELECT 1; DROP TABLE t", "drop::null::t", "")
	f("EXPLAIN SELECT a FROM t", "select::null::t", "select::null::a")
}

// What is nested too deeply for a parser never reaches it, and the parser is fit for use afterwards.
func TestDeepStatementsAreRefused(t *testing.T) {
	deep := map[string]func(int) string{
		"brackets": func(n int) string { return "SELECT " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n) },
		"sums":     func(n int) string { return "SELECT 1" + strings.Repeat("+1", n) },
		"not":      func(n int) string { return "SELECT " + strings.Repeat("NOT ", n) + "1" },
		"selects":  func(n int) string { return strings.Repeat("SELECT (", n) + "SELECT 1" + strings.Repeat(")", n) },
		"strings":  func(n int) string { return "SELECT 'a'" + strings.Repeat(`||'\'`, n) },
		"comments": func(n int) string { return "SELECT 1" + strings.Repeat("--\n+1", n) },
		"casts":    func(n int) string { return "SELECT ARRAY" + strings.Repeat("[", n) + "1" + strings.Repeat("]", n) },
	}
	for name, make := range deep {
		for _, d := range []Dialect{MySQL, PostgreSQL} {
			for _, n := range []int{2 * deepest, 100_000} {
				if err := Check(d, make(n)); !errors.Is(err, ErrTooLong) {
					t.Errorf("%s: %d %s: %.80v", d, n, name, err)
				}
			}
			if _, err := References(d, "SELECT a FROM t"); err != nil {
				t.Fatalf("%s after %s: %v", d, name, err)
			}
		}
	}
	rows := "INSERT INTO t (a, b) VALUES (1, -2)" + strings.Repeat(", (1, -2)", 5000)
	for _, d := range []Dialect{MySQL, PostgreSQL} {
		if err := Check(d, rows); err != nil {
			t.Errorf("%s: %d bytes of rows: %v", d, len(rows), err)
		}
		if refs, err := References(d, rows); err != nil || len(refs.Columns) != 2 {
			t.Errorf("%s: references of rows: %v, %v", d, refs, err)
		}
	}
}

func TestCheckIsSafeForConcurrentUse(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			d := Dialect(i % 2)
			for range 50 {
				if err := Check(d, "SELECT a FROM t WHERE b = 'c'"); err != nil {
					t.Error(err)
				}
				if err := Check(d, "SELECT a FROM"); err == nil {
					t.Error("half a statement passes")
				}
			}
		})
	}
	wg.Wait()
}

func TestDialects(t *testing.T) {
	for name, want := range map[string]Dialect{"MySQL": MySQL, "MariaDB": MySQL, "Postgresql": PostgreSQL, "postgres": PostgreSQL} {
		if got, ok := ParseDialect(name); !ok || got != want {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	if _, ok := ParseDialect("oracle"); ok {
		t.Error("oracle is a dialect")
	}
}

// No text makes a parser panic, and a text is never valid where its references cannot be read, but for
// its length.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"SELECT a FROM t", "SELECT 'a", "WITH x AS (SELECT 1) SELECT * FROM x", "$$", "/*", "SELECT `a", "INSERT INTO t VALUES (1,(2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, d := range []Dialect{MySQL, PostgreSQL} {
			err := Check(d, s)
			if _, syntax := errors.AsType[*SyntaxError](err); err != nil && !syntax && !errors.Is(err, ErrTooLong) {
				t.Fatalf("%s: %v", d, err)
			}
			if _, refErr := References(d, s); (refErr == nil) != (err == nil) && !errors.Is(refErr, ErrTooLong) {
				t.Fatalf("%s: check %v, references %v", d, err, refErr)
			}
		}
	})
}
