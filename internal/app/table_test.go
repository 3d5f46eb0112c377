package app

import (
	"strings"
	"testing"
)

func TestParseTable(t *testing.T) {
	f := func(path, data string, rows int, problem string) {
		t.Helper()
		got, err := parseTable(path, []byte(data))
		if err == nil && problem != "" || err != nil && (problem == "" || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%q: %v, want %q", data, err, problem)
		}
		if len(got) != rows && problem == "" {
			t.Errorf("%q: %d rows, want %d", data, len(got), rows)
		}
	}
	f("a.csv", "item,judge\n1,yes\n\"2\",\"a\nb\"\n", 2, "")
	f("a.tsv", "item\tjudge\n1\tyes\n", 1, "")
	f("a.json", `[{"item":1},{"item":2}]`, 2, "")
	f("a.jsonl", "{\"item\":1}\n\n{\"item\":2}", 2, "")
	f("a.csv", "item,judge\n", 0, "holds no row")
	f("a.csv", "", 0, "holds no row")
	f("a.csv", "item,judge\n1\n", 0, "not CSV")
	f("a.csv", "item, judge,judge\n1,a,b\n", 0, "two columns have this name")
	f("a.jsonl", "{\"item\":1} {\"item\":2}", 0, "something follows its end")
	f("a.json", "[1]", 0, "not a JSON list of objects")
	f("a.jsonl", "{\"item\":1}\n[2]", 0, "a.jsonl:2: not a JSON object")
}

func FuzzParseTable(f *testing.F) {
	f.Add("a.csv", []byte("item,judge\n1,yes\n"))
	f.Add("a.jsonl", []byte("{\"item\":1}\n"))
	f.Add("a.json", []byte("[{\"item\":null},null]"))
	f.Fuzz(func(t *testing.T, path string, data []byte) {
		rows, err := parseTable(path, data)
		if err == nil && len(rows) == 0 {
			t.Error("no rows and no error")
		}
		for _, row := range rows {
			for _, v := range row.fields {
				labelOf(v)
			}
		}
	})
}
