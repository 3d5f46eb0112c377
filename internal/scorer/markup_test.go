package scorer

import (
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// outcome scores one answer: pass, fail with the reason, or error.
func outcome(t *testing.T, c *Assertion, r record.Response) string {
	t.Helper()
	s := c.Score(t.Context(), &Input{Response: &r})
	switch {
	case s.Error != "":
		return "error: " + s.Error
	case s.Pass == nil:
		return "measured"
	case *s.Pass:
		return "pass"
	}
	return "fail: " + s.Reason
}

func TestSQL(t *testing.T) {
	f := func(typ string, value any, out, want string) {
		t.Helper()
		got := outcome(t, compile(t, config.Assertion{Type: typ, Value: value}), says(out))
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s %v of %q: %s, want %s", typ, value, out, got, want)
		}
	}
	m := func(pairs ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = pairs[i+1]
		}
		return out
	}
	f("is-sql", nil, "SELECT * FROM `users`;", "pass")
	f("is-sql", nil, "SELECT * FORM users", "fail: the output is not the SQL that is asked for: it is not MySQL: ")
	f("is-sql", nil, "", "fail")
	f("is-sql", nil, "```sql\nSELECT 1\n```", "fail")
	f("is-sql", nil, "SELECT "+strings.Repeat("NOT ", 5000)+"1", "error: the SQL is too long")
	f("is-sql", m("databaseType", "Postgresql"), "SELECT a::int FROM t", "pass")
	f("is-sql", m("databaseType", "MariaDB"), "SELECT a::int FROM t", "fail")

	users := []any{"select::null::users"}
	f("is-sql", m("allowedTables", users), "SELECT * FROM users", "pass")
	f("is-sql", m("allowedTables", users), "SELECT * FROM Users u WHERE u.a = 1", "pass")
	f("is-sql", m("allowedTables", users), "DELETE FROM users", "fail: the output is not the SQL that is asked for: the table delete::null::users is not among the allowed ones")
	f("is-sql", m("allowedTables", users), "SELECT * FROM users JOIN secrets", "fail")
	f("is-sql", m("allowedTables", []any{"(select|delete)::null::users"}), "DELETE FROM users", "pass")
	f("is-sql", m("allowedTables", []any{"users"}), "DELETE FROM db.users", "pass")
	f("is-sql", m("allowedTables", []any{"db.users"}), "DELETE FROM users", "fail")
	f("is-sql", m("allowedTables", []any{"users"}), "SELECT 1; DROP TABLE orders", "fail")
	f("is-sql", m("allowedTables", []any{"users"}), "SELECT (SELECT MAX(a) FROM orders) FROM users", "fail")
	f("is-sql", m("allowedColumns", []any{"select::users::name"}), "SELECT name FROM users", "pass")
	f("is-sql", m("allowedColumns", []any{"select::users::name"}), "SELECT u.name FROM users u", "pass")
	f("is-sql", m("allowedColumns", []any{"select::users::name"}), "SELECT o.name FROM orders o", "fail")
	f("is-sql", m("allowedColumns", []any{"name"}), "SELECT name FROM users WHERE age > 3", "fail")
	f("is-sql", m("allowedColumns", []any{"name"}), "SELECT * FROM users", "fail: the output is not the SQL that is asked for: the column select::null::(.*)")

	f("contains-sql", nil, "Here:\n```sql\nSELECT 1;\n```\nDone.", "pass")
	f("contains-sql", nil, "Here:\n~~~~\nSELECT 1\n~~~~", "pass")
	f("contains-sql", nil, "```python\nSELECT 1\n```\n```sql\nnope\n```", "fail: the output does not contain the SQL that is asked for: it is not MySQL")
	f("contains-sql", nil, "```sql\nnope\n```\n```sql\nSELECT 1\n```", "pass")
	f("contains-sql", nil, "SELECT 1", "pass")
	f("contains-sql", nil, "The query is SELECT 1", "fail")
	f("contains-sql", nil, "```sql\nSELECT 1", "fail")
	f("contains-sql", m("allowedTables", users), "```sql\nSELECT 1 FROM t\n```", "fail")
}

func TestSQLMistakes(t *testing.T) {
	f := func(value any, want string) {
		t.Helper()
		_, err := Compile(config.Assertion{Type: "is-sql", Value: value}, t.TempDir(), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", value, err, want)
		}
	}
	f("mysql", "not a mapping")
	f(map[string]any{"databaseType": "oracle"}, "no parser for this database")
	f(map[string]any{"database": "mysql"}, "unknown key")
	f(map[string]any{"allowedTables": []any{}}, "the list is empty")
	f(map[string]any{"allowedTables": []any{"a::b"}}, "has 2 parts")
	f(map[string]any{"allowedTables": []any{"select::null::("}}, "not a pattern")
	f(map[string]any{"allowedTables": []any{1.0}}, "not a string")
}

func TestHTML(t *testing.T) {
	f := func(typ string, value any, out, want string) {
		t.Helper()
		got := outcome(t, compile(t, config.Assertion{Type: typ, Value: value}), says(out))
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s %v of %q: %s, want %s", typ, value, out, got, want)
		}
	}
	f("is-html", nil, "<!DOCTYPE html><html><head><title>x</title></head><body>text</body></html>", "pass")
	f("is-html", nil, "<div>Hello</div>", "pass")
	f("is-html", nil, "<DIV>Hello", "pass")
	f("is-html", nil, "<my-card>Hello</my-card>", "pass")
	f("is-html", nil, "<body>text", "pass")
	f("is-html", nil, "<!-- <body> --><p>a</p> text", "fail")
	f("is-html", nil, "Hello <b>you</b>", "fail: the output is not the HTML that is asked for: there is text outside of any element: \"Hello\"")
	f("is-html", nil, "<p>Hello</p> and more", "fail")
	f("is-html", nil, "Just text", "fail")
	f("is-html", nil, "<!-- nothing -->", "fail: the output is not the HTML that is asked for: it has no element of HTML")
	f("is-html", nil, "<answer>42</answer>", "fail: the output is not the HTML that is asked for: it has no element of HTML")
	f("is-html", nil, "<?xml version=\"1.0\"?><p/>", "fail")
	f("is-html", nil, "  \n", "fail")
	f("is-html", nil, "1 < 2 and 3 > 2", "fail")
	f("is-html", nil, strings.Repeat("<div>", 10_000), "error")

	closed := map[string]any{"closed": true}
	f("is-html", closed, "<ul><li>a<li>b</ul><p>c<p>d<br><img src=x>", "pass")
	f("is-html", closed, "<div><span>a</div></span>", "fail: the output is not the HTML that is asked for: <span> is closed by </div>")
	f("is-html", closed, "<div>a", "fail: the output is not the HTML that is asked for: <div> is not closed")
	f("is-html", closed, "<div>a</div></div>", "fail: the output is not the HTML that is asked for: </div> closes nothing")
	f("is-html", closed, "<script>if (a<b) x='</div>'</script>", "pass")
	f("is-html", closed, "<svg><path d='M0'/></svg>", "pass")
	f("is-html", closed, "<div/>", "fail")
	f("is-html", nil, "<div><span>a</div>", "pass")
	f("is-html", map[string]any{"requiredElements": []any{"table", "TD"}}, "<table><tr><td>1</table>", "pass")
	f("is-html", map[string]any{"requiredElements": []any{"table", "th"}}, "<table><tr><td>1</table>", "fail: the output is not the HTML that is asked for: it lacks \"th\"")

	f("contains-html", nil, "Use <b>bold</b>.", "pass")
	f("contains-html", nil, "A <div", "pass") // as promptfoo: a common tag's beginning is enough
	f("contains-html", nil, "<x>y</x>", "pass")
	f("contains-html", nil, "<x>", "fail")
	f("contains-html", nil, "a &amp; b", "fail")
	f("contains-html", nil, "a &amp; b <!-- c -->", "pass")
	f("contains-html", nil, "List<String> names", "fail")
	f("contains-html", nil, "a < b && c > d", "fail")
	f("contains-html", nil, "", "fail")
	f("contains-html", closed, "Use <b>bold</b>.", "pass")
	f("contains-html", closed, "Use <b>bold.", "fail")
}

func TestHTMLMistakes(t *testing.T) {
	f := func(value any, want string) {
		t.Helper()
		_, err := Compile(config.Assertion{Type: "is-html", Value: value}, t.TempDir(), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", value, err, want)
		}
	}
	f("<p>", "not a mapping")
	f(map[string]any{"closed": "yes"}, "not a boolean")
	f(map[string]any{"requiredElements": []any{}}, "no elements are named")
	f(map[string]any{"requiredElements": []any{"<p>"}}, "not the name of an element")
}

// No text makes the checks on HTML panic or disagree with themselves.
func FuzzHTML(f *testing.F) {
	for _, s := range []string{"<p>a", "</p>", "<svg><a/></svg>", "<!--", "<script>", "<a b='c", "&#x;", "<table><p>", "<?xml", "<![CDATA["} {
		f.Add(s)
	}
	c := &htmlCheck{closed: true, required: []string{"p"}}
	f.Fuzz(func(t *testing.T, s string) {
		problem, err := notHTML(s)
		if again, _ := notHTML(s); again != problem {
			t.Fatalf("%q, then %q", problem, again)
		}
		if _, cerr := c.problem(s); err == nil && problem == "" && cerr != nil {
			t.Log(cerr)
		}
		for _, block := range sqlBlocks(s) {
			if !strings.Contains(s, strings.SplitN(block, "\n", 2)[0]) {
				t.Fatalf("the block %q is not in the text", block)
			}
		}
	})
}
