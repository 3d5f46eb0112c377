package dataset

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

// The files were written by pyarrow 26.0.1 with different pages, codecs and list shapes; rows.jsonl
// is what pyarrow itself reads from them.
func TestParquetAsPyarrowReadsIt(t *testing.T) {
	want := collect(t, config.Tests{Path: "testdata/parquet/rows.jsonl"})
	if len(want) != 150 {
		t.Fatalf("%d rows", len(want))
	}
	f := func(name string) {
		t.Helper()
		got := collect(t, config.Tests{Path: filepath.Join("testdata/parquet", name)})
		if len(got) != len(want) {
			t.Errorf("%s: %d rows, want %d", name, len(got), len(want))
			return
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: row %d\ngot  %s\nwant %s", name, i, got[i], want[i])
				return
			}
		}
	}
	f("v1.parquet")
	f("v2.parquet")
	f("legacy.parquet")
	f("plain.parquet")
	f("lz4.parquet")
	f("brotli.parquet")
}

// collect returns the variables of all rows as JSON.
func collect(t *testing.T, source config.Tests) []string {
	t.Helper()
	opts := testOptions()
	opts.MaxRow = 0
	d := open(t, opts, source)
	var out []string
	for row, err := range d.Rows(t.Context()) {
		if err != nil {
			t.Fatalf("%s: %v", source.Path, err)
		}
		b, err := json.Marshal(row.Test.Vars)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

func TestParquetRowsHavePlacesAndSamples(t *testing.T) {
	opts := testOptions()
	d := open(t, opts, config.Tests{Path: "testdata/parquet/v1.parquet", Sample: 5})
	n := 0
	for row, err := range d.Rows(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if !strings.HasPrefix(place(row.Test.Pos), "testdata/parquet/v1.parquet:") || !row.ExplicitID {
			t.Errorf("%+v", row)
		}
	}
	if n != 5 {
		t.Errorf("%d rows, want 5", n)
	}
}

func TestParquetMistakes(t *testing.T) {
	good, err := os.ReadFile("testdata/parquet/v1.parquet")
	if err != nil {
		t.Fatal(err)
	}
	f := func(content, want string) {
		t.Helper()
		if got := scanError(t, testOptions(), config.Tests{Path: write(t, "a.parquet", content)}); !strings.Contains(got, want) || !strings.Contains(got, "a.parquet") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	empty, err := os.ReadFile("testdata/parquet/norows.parquet") // by pyarrow, of a table without rows
	if err != nil {
		t.Fatal(err)
	}
	f(string(empty), "no cases: there is not one row")
	f("", "the file is empty; want a Parquet file")
	f(`{"q": 1}`, "not a Parquet file, or a damaged one")
	f(string(good[:len(good)-20]), "not a Parquet file, or a damaged one")
	broken := append([]byte(nil), good...)
	for i := 300; i < 900; i++ {
		broken[i] ^= 0x5a
	}
	f(string(broken), "damaged")
}

func FuzzParquet(f *testing.F) {
	for _, name := range []string{"v1", "plain"} {
		data, err := os.ReadFile("testdata/parquet/" + name + ".parquet")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 1<<16)], 0, byte(0))
		f.Add(data, 500, byte(7))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, at int, with byte) {
		if len(data) > 0 && at >= 0 {
			data = append([]byte(nil), data...)
			data[at%len(data)] ^= with
		}
		path := filepath.Join(dir, "f.parquet")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open([]config.Tests{{Path: path}}, Options{MaxErrors: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		_, _ = d.Scan(t.Context(), nil)
	})
}
