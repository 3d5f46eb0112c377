package dataset

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

// Both were written by pyarrow 26.0.1 from the same table as the Parquet files.
func TestArrowAsPyarrowReadsIt(t *testing.T) {
	want := collect(t, config.Tests{Path: "testdata/parquet/rows.jsonl"})
	for _, name := range []string{"file.arrow", "stream.arrow"} {
		got := collect(t, config.Tests{Path: "testdata/arrow/" + name})
		if len(got) != len(want) {
			t.Errorf("%s: %d rows, want %d", name, len(got), len(want))
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: row %d\ngot  %s\nwant %s", name, i, got[i], want[i])
				break
			}
		}
	}
}

func TestArrowMistakes(t *testing.T) {
	good, err := os.ReadFile("testdata/arrow/stream.arrow")
	if err != nil {
		t.Fatal(err)
	}
	f := func(content, want string) {
		t.Helper()
		if got := scanError(t, testOptions(), config.Tests{Path: write(t, "a.arrow", content)}); !strings.Contains(got, want) || !strings.Contains(got, "a.arrow") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("", "the file is empty; want an Arrow file")
	f(`{"q": 1}`, "not an Arrow file, or a damaged one")
	f("ARROW1\x00\x00nothing", "not an Arrow file, or a damaged one")
	f(string(good[:len(good)/2]), "damaged")
	// A panic of the library's is not what the user reads.
	broken := bytes.Clone(good)
	broken[8] ^= 0xff
	if got := scanError(t, testOptions(), config.Tests{Path: write(t, "a.arrow", string(broken))}); !strings.Contains(got, "damaged") || strings.Contains(got, "runtime error") {
		t.Errorf("got %q", got)
	}
}

// The folders testdata/arrow/dict and saved were written by save_to_disk of datasets 5.2.0.
func TestFolders(t *testing.T) {
	plain := t.TempDir()
	for name, text := range map[string]string{
		"data/test-00000-of-00002.jsonl": `{"id": "a"}`, "data/test-00001-of-00002.jsonl": `{"id": "b"}`, "data/train-00000-of-00001.jsonl": `{"id": "c"}`,
		"data/hard_ones-00000-of-00001.jsonl": `{"id": "d"}`, "README.md": "x", ".hidden/test.jsonl": "x", "dataset_infos.json": "{}",
		"dev/part.jsonl": `{"id": "e"}`,
	} {
		path := filepath.Join(plain, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := func(path, split, want string) {
		t.Helper()
		got, _ := ids(t, open(t, testOptions(), config.Tests{Path: path, Split: split}))
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s %s: %s, want %s", path, split, s, want)
		}
	}
	f("testdata/arrow/saved", "", "only0 only1 only2")
	f("testdata/arrow/dict", "test", "test0 test1 test2 test3")
	f("testdata/arrow/dict", "train", "train0 train1 train2")
	f("testdata/arrow/dict/test", "", "test0 test1 test2 test3")
	f(plain, "test", "a b")
	f(plain, "train", "c")
	f(plain, "hard_ones", "d")
	f(plain, "validation", "e")

	bad := func(source config.Tests, want string) {
		t.Helper()
		source.Pos = config.Pos{File: "suite.yaml", Line: 3, Key: "tests"}
		if got := scanError(t, testOptions(), source); !strings.Contains(got, want) {
			t.Errorf("%s %s: %q, want %q", source.Path, source.Split, got, want)
		}
	}
	bad(config.Tests{Path: "testdata/arrow/dict"}, "suite.yaml:3: tests.split: the folder testdata/arrow/dict has several splits; want one of test, train")
	bad(config.Tests{Path: "testdata/arrow/dict", Split: "dev"}, `tests.split: "dev": the folder testdata/arrow/dict has no such split; want one of test, train`)
	bad(config.Tests{Path: plain, Format: "hf"}, "has several splits; want one of hard_ones, test, train, validation")
	bad(config.Tests{Path: plain}, "is a folder; want a file")
	bad(config.Tests{Path: plain, Format: "jsonl"}, "is a folder; want auto or hf for a folder")
	bad(config.Tests{Path: t.TempDir(), Format: "hf"}, "is a folder without data")
	bad(config.Tests{Path: "testdata/arrow/stream.arrow", Split: "test"}, "is not a folder; want the folder of an exported dataset")
	bad(config.Tests{Path: "testdata/nothing", Format: "hf"}, "there is no file")

	broken := t.TempDir()
	state := func(text string) config.Tests {
		if err := os.WriteFile(filepath.Join(broken, "state.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return config.Tests{Path: broken}
	}
	bad(state("{"), "not what save_to_disk writes")
	bad(state(`{"_data_files": []}`), "state.json: _data_files: no files")
	bad(state(`{"_data_files": [{"filename": "../x.arrow"}]}`), `"../x.arrow": a file outside of the folder`)
	bad(state(`{"_data_files": [{"filename": "x.arrow"}]}`), "there is no file")
	bad(state(`{"_data_files": [{"filename": "x.arrow"}], "_indices_files": [{"filename": "i"}]}`), "flatten_indices")
}
