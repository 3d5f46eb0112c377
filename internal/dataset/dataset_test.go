package dataset

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func zip(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

func testOptions() Options {
	return Options{DecodeTest: decodeTest, DecodeTests: decodeTests}
}

func open(t testing.TB, opts Options, tests ...config.Tests) *Dataset {
	t.Helper()
	d, err := Open(tests, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// ids reads d twice and returns the ids of the cases kept.
func ids(t testing.TB, d *Dataset) ([]string, record.DatasetRef) {
	t.Helper()
	ref, err := d.Scan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return replayIDs(t, d), ref
}

func replayIDs(t testing.TB, d *Dataset) []string {
	t.Helper()
	var out []string
	for row, err := range d.Rows(t.Context()) {
		if err != nil {
			t.Error(err) // not Fatal: also called from other goroutines
			return nil
		}
		out = append(out, row.Test.ID)
	}
	return out
}

func scanError(t testing.TB, opts Options, tests ...config.Tests) string {
	t.Helper()
	d, err := Open(tests, opts)
	if err == nil {
		defer d.Close()
		_, err = d.Scan(t.Context(), nil)
	}
	if err == nil {
		return ""
	}
	if !isMistake(err) {
		return "not a mistake of the user: " + err.Error()
	}
	return err.Error()
}

func TestFileForms(t *testing.T) {
	f := func(name, content string) {
		t.Helper()
		d := open(t, testOptions(), config.Tests{Path: write(t, name, content)})
		got, ref := ids(t, d)
		if strings.Join(got, " ") != "a b" || ref != (record.DatasetRef{Hash: ref.Hash, Rows: 2, Cases: 2}) {
			t.Errorf("%s: %q %+v", name, got, ref)
		}
		if ref.Hash != "0cbf09be58f1b3cc" {
			t.Errorf("%s: hash %s: the way a file is written must not change it", name, ref.Hash)
		}
	}
	const jsonl = `{"id": "a", "q": "é"}` + "\n" + `{"id": "b", "q": ""}` + "\n"
	f("a.jsonl", jsonl)
	f("a.NDJSON", jsonl)
	f("a.jsonl", strings.TrimSuffix(jsonl, "\n"))
	f("a.jsonl", "\ufeff"+jsonl)
	f("a.jsonl", strings.ReplaceAll(jsonl, "\n", "\r\n"))
	f("a.jsonl", `{"q":"\u00e9","id":"a"}`+"\n\n\t \n"+` { "q" : "" , "id" : "b" } `)
	f("a.jsonl.gz", zip(jsonl))
	f("a.jsonl.GZ", zip("\ufeff"+jsonl[:22])+zip(jsonl[22:])) // several members
	f("a.jsonl", zip(jsonl))
	f("a.json", `[{"id": "a", "q": "é"},{"id": "b", "q": ""}]`)
	f("a.json", "\ufeff \r\n[\r\n{\"id\": \"a\", \"q\": \"é\"}\r\n,\r\n{\"id\": \"b\", \"q\": \"\"} ] \n")
	f("a.csv", "id,q\na,é\nb,\n")
	f("a.csv", "\ufeffq,id\r\n\"é\",a\r\n\"\",\"b\"")
	f("a.tsv", "id\tq\na\té\nb\t\n")
	f("a.csv.gz", zip("id,q\na,é\nb,\n"))
}

func TestFileErrors(t *testing.T) {
	f := func(name, content, want string) {
		t.Helper()
		opts := testOptions()
		opts.MaxRow = 1000
		got := scanError(t, opts, config.Tests{Path: write(t, name, content)})
		if !strings.Contains(got, want) || want == "" {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	long := strings.Repeat("x", 1000)
	f("a.jsonl", "{}\n"+`{"q": "`+long+"\"}\n", "a.jsonl:2: the row is too large; want at most 1000 bytes")
	f("a.jsonl", `{"q": "`+strings.Repeat(long, 300), "a.jsonl:1: the row is too large")
	f("a.json", `[{}, {"q": "`+long+`"}]`, "a.json:1:6: the row is too large")
	f("a.csv", "q,r\n1,2\n\"open"+strings.Repeat("\nx", 100000), "a.csv:3: the row is too large")
	f("a.yaml", "["+strings.Repeat(" ", 1000)+"]", "the YAML file is too large")
	f("a.jsonl.gz", "{}", "a.jsonl.gz: not a gzip file")
	f("a.jsonl.gz", zip(`{"q": 1}`)[:20], "the gzip data is damaged")
	f("a.jsonl.gz", strings.Replace(zip(strings.Repeat(`{"q": 1}`+"\n", 90)), "\xff", "\x00", 1)[:30], "the gzip data is damaged")
	f("a.jsonl", "\xff\xfe{\x00}\x00", "the file is in UTF-16; want UTF-8")
	f("a.jsonl", "{\"q\": \"ab\xffc\"}", `a.jsonl:1:10: "0xff": a byte that is not UTF-8`)
	f("a.csv", "q,r\n1,a\xff\n", `a.csv:2: r: "a�": bytes that are not UTF-8`)
	f("a.csv", "q,r\n1,a\x00\n", `a.csv:2: r: "a\x00": a NUL byte`)
	f("a.csv", "q,__expectd\n1,a\n", `a.csv:1: "__expectd": a column that is neither one of promptfoo's nor a variable`)
	f("a.csv", "q,_expected1\n1,a\n", `a.csv:1: "_expected1": a column that is neither`)
	f("a.csv", "\"q\n", "a.csv:")
	f("a.jsonl", strings.Repeat(`{"a":`, 300)+"1"+strings.Repeat("}", 300), "the row is too large")
	f("a.jsonl", `{"a":`+strings.Repeat("[", 300), "nested too deeply; want at most 200 levels")
}

func TestOptionsMissing(t *testing.T) {
	f := func(name, content, want string) {
		t.Helper()
		if got := scanError(t, Options{}, config.Tests{Path: write(t, name, content)}); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("a.yaml", "[]", "YAML files of cases cannot be read here")
	f("a.jsonl", `{"vars": {}}`, "a.jsonl:1: vars: test cases with vars cannot be read here")
	f("a.csv", "a,__expected1\n1,2\n", `a.csv:1: column __expected1 is not supported`)
}

func TestGlob(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"b.jsonl", "a.csv", "c[1].jsonl", "z.txt"} {
		content := `{"id": "` + n + `"}`
		if n == "a.csv" {
			content = "id\na.csv\n"
		}
		if err := os.WriteFile(filepath.Join(dir, n), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := func(path, want string) {
		t.Helper()
		opts := testOptions()
		opts.Dir = dir
		got, _ := ids(t, open(t, opts, config.Tests{Path: path}))
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	f("*.[jc]*", "a.csv b.jsonl c[1].jsonl")
	f("file://c[1].jsonl", "c[1].jsonl")
	f(filepath.Join(dir, "?.jsonl"), "b.jsonl")
}

func TestHash(t *testing.T) {
	hash := func(tests ...config.Test) string {
		t.Helper()
		_, ref := ids(t, open(t, testOptions(), config.Tests{Inline: tests}))
		return ref.Hash
	}
	half, third := 0.5, 1.0/3
	full := func() config.Test {
		return config.Test{
			ID: "a", Vars: map[string]any{"q": int64(1)}, Threshold: &half, Metadata: map[string]any{"m": "1"}, Tags: []string{"x", "y"}, Group: "g",
			Assert: []config.Assertion{{Type: "equals", Value: "v", Config: config.Object{Map: map[string]any{"k": true}}}},
		}
	}
	base := hash(full())
	f := func(same bool, change func(*config.Test)) {
		t.Helper()
		c := full()
		change(&c)
		if got := hash(c); (got == base) != same {
			t.Errorf("hash %s, base %s", got, base)
		}
	}
	f(true, func(c *config.Test) { c.Description = "other" })
	f(true, func(c *config.Test) { c.Pos.Line = 7; c.Assert[0].Pos.Line = 7 })
	f(true, func(c *config.Test) { c.Tags = []string{"y", "x", "y "} })
	f(false, func(c *config.Test) { c.ID = "b" })
	f(false, func(c *config.Test) { c.Vars["q"] = "1" })
	f(false, func(c *config.Test) { c.Vars["r"] = nil })
	f(false, func(c *config.Test) { c.Threshold = nil })
	f(false, func(c *config.Test) { c.Threshold = &third })
	f(false, func(c *config.Test) { c.Metadata["m"] = "2" })
	f(false, func(c *config.Test) { c.Tags = nil })
	f(false, func(c *config.Test) { c.Group = "" })
	f(false, func(c *config.Test) { c.Critical = true })
	f(false, func(c *config.Test) { c.NoDefaults = true })
	f(false, func(c *config.Test) { c.Prefix = "p" })
	f(false, func(c *config.Test) { c.Suffix = "p" })
	f(false, func(c *config.Test) { c.Assert = nil })
	f(false, func(c *config.Test) { c.Assert[0].Type = "contains" })
	f(false, func(c *config.Test) { c.Assert[0].Not = true })
	f(false, func(c *config.Test) { c.Assert[0].Value = "w" })
	f(false, func(c *config.Test) { c.Assert[0].Threshold = &half })
	f(false, func(c *config.Test) { c.Assert[0].Weight = &half })
	f(false, func(c *config.Test) { c.Assert[0].Metric = "m" })
	f(false, func(c *config.Test) { c.Assert[0].Config.Map["k"] = false })

	one, two := config.Test{ID: "1"}, config.Test{ID: "2"}
	if hash(one, two) == hash(two, one) {
		t.Error("the order of cases is part of the hash")
	}
}

func TestContentID(t *testing.T) {
	vars := map[string]any{"q": "a < b & c", "n": 1.5, "l": []any{int64(1), nil}}
	got, _ := ids(t, open(t, testOptions(), config.Tests{Inline: []config.Test{{Vars: vars}}}))
	if want := record.HashJSON(vars); got[0] != want {
		t.Errorf("id %s, record.HashJSON gives %s", got[0], want)
	}
}

// An id in the data that looks like a content hash must not be mistaken for one, in either order.
func TestIDClash(t *testing.T) {
	text := config.Test{Vars: map[string]any{"q": "text"}}
	hash := record.HashJSON(text.Vars)
	f := func(want string, tests ...config.Test) {
		t.Helper()
		got := scanError(t, testOptions(), config.Tests{Inline: tests})
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("", text, text, config.Test{ID: hash + "~3"}, config.Test{ID: "fedcba9876543210"})
	f(hash+`": this id is already used`, text, config.Test{ID: hash})
	f(hash+`": this id is already used`, config.Test{ID: hash}, text)
	f(hash+`~2": this id is already used`, config.Test{ID: hash + "~2"}, text, text)
	f(hash+`~2": this id is already used`, text, text, config.Test{ID: hash + "~2"})
}

func TestValueThatJSONCannotHold(t *testing.T) {
	bad := config.Test{Pos: config.Pos{File: "s.yaml", Line: 3}, Vars: map[string]any{"f": func() {}}}
	if got := scanError(t, testOptions(), config.Tests{Inline: []config.Test{bad}}); !strings.Contains(got, "s.yaml:3: 0x") {
		t.Errorf("got %q", got)
	}
}

func TestStdin(t *testing.T) {
	opts := testOptions()
	opts.TempDir = t.TempDir()
	opts.Stdin = strings.NewReader("{\"id\": \"a\"}\n{\"id\": \"b\"}\n")
	d := open(t, opts, config.Tests{Path: "-"})
	for range 2 { // the second scan must not read standard input again
		got, ref := ids(t, d)
		if len(got) != 2 || ref.Cases != 2 {
			t.Errorf("%q %+v", got, ref)
		}
		if again := replayIDs(t, d); len(again) != 2 {
			t.Errorf("second reading: %q", again)
		}
	}
	info, err := d.spools[0].f.Stat()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	f := d.spools[0].f
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the copy is still open: %v", err)
	}
	if left, _ := os.ReadDir(opts.TempDir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}

	opts.Stdin = strings.NewReader("a,b\n1,2\n")
	if got, _ := ids(t, open(t, opts, config.Tests{Path: "-", Format: "csv"})); len(got) != 1 {
		t.Errorf("csv: %q", got)
	}
	opts.Stdin = strings.NewReader("")
	if got := scanError(t, opts, config.Tests{Path: "-"}); !strings.Contains(got, `"-": no cases`) {
		t.Errorf("empty: %q", got)
	}
	if got := scanError(t, opts, config.Tests{Path: "-"}, config.Tests{Path: "-"}); !strings.Contains(got, "one source only") {
		t.Errorf("twice: %q", got)
	}
	opts.Stdin = io.MultiReader(strings.NewReader("{}"), errReader{})
	d = open(t, opts, config.Tests{Path: "-"})
	if _, err := d.Scan(t.Context(), nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("failing: %v", err)
	}
	if left, _ := os.ReadDir(opts.TempDir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestChangedFile(t *testing.T) {
	path := write(t, "a.jsonl", "{\"q\": 1}\n{\"q\": 2}\n")
	d := open(t, testOptions(), config.Tests{Path: path})
	if got, _ := ids(t, d); len(got) != 2 {
		t.Fatal(got)
	}
	if err := os.WriteFile(path, []byte("{\"q\": 1}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var got error
	for _, err := range d.Rows(t.Context()) {
		got = err
	}
	if got == nil || !strings.Contains(got.Error(), "was changed") || isMistake(got) {
		t.Errorf("got %v", got)
	}
	os.Remove(path)
	for _, err := range d.Rows(t.Context()) {
		got = err
	}
	if got == nil || !strings.Contains(got.Error(), "there is no file") {
		t.Errorf("got %v", got)
	}
}

func TestCancel(t *testing.T) {
	path := write(t, "a.jsonl", rows(2000))
	d := open(t, testOptions(), config.Tests{Path: path})
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_, err := d.Scan(ctx, func(Row) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || n > checkEvery {
		t.Errorf("after %d rows: %v", n, err)
	}
	if _, err := d.Scan(t.Context(), func(Row) error { return context.DeadlineExceeded }); !errors.Is(err, context.DeadlineExceeded) || isMistake(err) {
		t.Errorf("visitor's context: %v", err)
	}
	if _, err := d.Scan(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	n = 0
	for _, err = range d.Rows(ctx) {
		n++
		cancel()
	}
	if !errors.Is(err, context.Canceled) || n > checkEvery+1 {
		t.Errorf("after %d rows: %v", n, err)
	}
	opts := testOptions()
	opts.Stdin = strings.NewReader("{}")
	if _, err := open(t, opts, config.Tests{Path: "-"}).Scan(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("stdin: %v", err)
	}
}

// rows returns n small JSONL rows.
func rows(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"id": "case-%d", "question": "What is %d plus %d, and why do you say so?", "answer": "%d", "level": %d, "topic": "sums"}`+"\n", i, i, i, 2*i, i%7)
	}
	return b.String()
}

func TestVisitor(t *testing.T) {
	path := write(t, "a.jsonl", rows(50))
	f := func(sample, maxErrors, wantVisits, wantErrors int) {
		t.Helper()
		opts := testOptions()
		opts.MaxErrors = maxErrors
		d := open(t, opts, config.Tests{Path: path, Sample: sample})
		visits := 0
		_, err := d.Scan(t.Context(), func(r Row) error { visits++; return fmt.Errorf("no variable %q", "x") })
		es, _ := errors.AsType[config.Errors](err)
		if visits != wantVisits || len(es) != wantErrors {
			t.Errorf("%d visits, %d errors: %v", visits, len(es), err)
		}
		if es[0].File != path || es[0].Line == 0 {
			t.Errorf("place %v", es[0].Pos)
		}
		for row, err := range d.Rows(t.Context()) { // it scans again, and finds nothing wrong by itself
			if err != nil || row.Test.ID == "" {
				t.Error(err)
			}
			break
		}
	}
	f(0, 100, 50, 50)
	f(0, 5, 5, 6) // the last one says that it stopped
	f(10, 100, 10, 10)
	f(10, 5, 5, 6)
}

func TestRowsWithoutScan(t *testing.T) {
	d := open(t, testOptions(), config.Tests{Path: write(t, "a.jsonl", rows(3))})
	if got := replayIDs(t, d); len(got) != 3 {
		t.Errorf("%q", got)
	}
	d = open(t, testOptions(), config.Tests{Path: write(t, "a.jsonl", "{")})
	for _, err := range d.Rows(t.Context()) {
		if !isMistake(err) {
			t.Error(err)
		}
	}
}

func TestConcurrentRows(t *testing.T) {
	same := config.Test{Vars: map[string]any{"q": "x"}, Tags: []string{"a", "b"}}
	sources := []config.Tests{
		{Path: write(t, "a.jsonl", rows(1000)), Sample: 100}, {Inline: []config.Test{same, same}, Tags: []string{"a"}},
		{Path: write(t, "a.yaml", `[{"id": "y", "vars": {"q": 1}, "tags": ["b"]}]`)},
	}
	opts := testOptions()
	opts.Stdin = strings.NewReader("{\"id\": \"stdin\"}\n")
	d := open(t, opts, append(sources, config.Tests{Path: "-"})...)
	want, _ := ids(t, d)
	if len(want) != 104 {
		t.Fatalf("%d cases", len(want))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := replayIDs(t, d); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("got %q", got)
			}
		})
	}
	wg.Wait()
}

func TestCountsAndProgress(t *testing.T) {
	content := strings.ReplaceAll(rows(5000), `"id"`, `"nr"`)
	content += content
	path := write(t, "a.jsonl", content)
	opts := testOptions()
	calls, lastRows, lastBytes := 0, 0, int64(0)
	opts.Progress = func(rows int, bytes, total int64) {
		calls++
		if rows < lastRows || bytes < lastBytes || bytes > total || total != int64(len(content)) {
			t.Errorf("progress %d rows, %d of %d bytes", rows, bytes, total)
		}
		lastRows, lastBytes = rows, bytes
	}
	d := open(t, opts, config.Tests{Path: path, TagField: "level_name", Sample: 100}, config.Tests{Inline: []config.Test{{}}})
	if _, err := d.Scan(t.Context(), nil); err == nil {
		t.Fatal("no such field, and no error")
	}
	calls, lastRows, lastBytes = 0, 0, 0
	d = open(t, opts, config.Tests{Path: path, TagField: "answer", Tags: []string{"!0"}, Sample: 100}, config.Tests{Inline: []config.Test{{}}})
	_, ref := ids(t, d)
	c := d.sources[0].count
	if c.rows != 10000 || c.matched != 9998 || c.cases != 100 || c.repeated != 5000 || ref.Cases != 101 || ref.Rows != 10001 {
		t.Errorf("%+v %+v", c, ref)
	}
	if calls < 3 || lastRows != 10001 || lastBytes != int64(len(content)) {
		t.Errorf("%d calls, %d rows, %d bytes", calls, lastRows, lastBytes)
	}
}

// What a scan holds must not grow with the rows beyond their ids' hashes.
func TestMemory(t *testing.T) {
	const n = 200_000
	path := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.WriteFile(path, []byte(rows(n)), 0o644); err != nil {
		t.Fatal(err)
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	d := open(t, testOptions(), config.Tests{Path: path}, config.Tests{Path: write(t, "b.jsonl", rows(20_000)), ID: "-", Sample: 500})
	before, most, i := heap(), int64(0), 0
	look := func() {
		if i++; i%50_000 == 0 {
			most = max(most, heap()-before)
		}
	}
	if _, err := d.Scan(t.Context(), func(Row) error { look(); return nil }); err != nil {
		t.Fatal(err)
	}
	scan := most
	most, i = 0, 0
	for _, err := range d.Rows(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		look()
	}
	t.Logf("live heap: scan %.1f MB, rows %.1f MB", float64(scan)/1e6, float64(most)/1e6)
	if scan > 16e6 || most > 2e6 {
		t.Errorf("live heap: scan %d, rows %d bytes", scan, most)
	}
}

// Expand leaves rows out by making no case of them, wherever they stand, and several of others.
func TestExpandToNone(t *testing.T) {
	f := func(rows string, want ...string) {
		t.Helper()
		opts := testOptions()
		opts.Expand = func(c config.Test) ([]config.Test, error) {
			n, _ := c.Vars["n"].(string)
			out := []config.Test{}
			for range len(n) {
				out = append(out, c)
			}
			return out, nil
		}
		got, ref := ids(t, open(t, opts, config.Tests{Path: write(t, "c.csv", "id,n\n"+rows)}))
		if strings.Join(got, " ") != strings.Join(want, " ") || ref.Cases != len(want) {
			t.Errorf("%q of %d, want %q", got, ref.Cases, want)
		}
	}
	f("a,x\nb,\nc,x\n", "a", "c")
	f("a,\nb,x\nc,\n", "b")
}
