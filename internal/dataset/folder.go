package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// A folder is one of three things that Hugging Face's datasets writes or reads:
//
//   - what save_to_disk makes of a dataset: state.json and the Arrow files that it lists;
//   - what save_to_disk makes of several splits: dataset_dict.json and a folder of the first kind for each;
//   - a folder of data files in one format, in it or below it, whose names tell the splits apart, such
//     as data/test-00000-of-00002.parquet.
const (
	stateFile  = "state.json"
	splitsFile = "dataset_dict.json"
)

// maxDescription bounds the JSON files that describe a folder.
const maxDescription = 16 << 20

// folder lists the files of the split of t in the folder dir, in order.
func folder(t config.Tests, dir string) ([]file, error) {
	if t.Format != "" && t.Format != "auto" && t.Format != "hf" {
		return nil, &config.Error{Pos: t.Pos.At("format"), Value: t.Format, Problem: dir + " is a folder", Want: "auto or hf for a folder, or the path of a file"}
	}
	switch {
	case exists(filepath.Join(dir, splitsFile)):
		return savedSplits(t, dir)
	case exists(filepath.Join(dir, stateFile)):
		return saved(t, dir)
	case t.Format != "hf" && t.Split == "":
		return nil, &config.Error{Pos: t.Pos, Value: t.Path, Problem: dir + " is a folder", Want: "a file",
			Hint: "name the files in it: " + filepath.Join(t.Path, "*.jsonl") + "; format: hf reads the folder as Hugging Face's datasets does"}
	}
	return shards(t, dir)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// savedSplits finds the split of t among those of a saved DatasetDict.
func savedSplits(t config.Tests, dir string) ([]file, error) {
	var d struct {
		Splits []string `json:"splits"`
	}
	if err := describedBy(filepath.Join(dir, splitsFile), &d); err != nil {
		return nil, err
	}
	split, err := choose(t, dir, d.Splits)
	if err != nil {
		return nil, err
	}
	if !filepath.IsLocal(split) || strings.ContainsAny(split, `/\`) {
		return nil, &config.Error{Pos: config.Pos{File: filepath.Join(dir, splitsFile), Key: "splits"}, Value: split, Problem: "not the name of a folder", Want: "a name without slashes"}
	}
	t.Split = ""
	return saved(t, filepath.Join(dir, split))
}

// saved lists the Arrow files of one saved dataset.
func saved(t config.Tests, dir string) ([]file, error) {
	path := filepath.Join(dir, stateFile)
	var d struct {
		Files []struct {
			Name string `json:"filename"`
		} `json:"_data_files"`
		Indices     json.RawMessage `json:"_indices_files"`
		IndicesData json.RawMessage `json:"_indices_data_files"`
		Split       *string         `json:"_split"`
	}
	if err := describedBy(path, &d); err != nil {
		return nil, err
	}
	pos := config.Pos{File: path}
	for key, v := range map[string]json.RawMessage{"_indices_files": d.Indices, "_indices_data_files": d.IndicesData} {
		if s := string(v); s != "" && s != "null" && s != "[]" {
			return nil, &config.Error{Pos: pos.At(key), Problem: "the dataset is a selection from its files by a list of indices, which is not supported",
				Hint: "write it out with flatten_indices() before save_to_disk"}
		}
	}
	if t.Split != "" && d.Split != nil && *d.Split != t.Split {
		return nil, &config.Error{Pos: t.Pos.At("split"), Value: t.Split, Problem: "the folder holds another split (" + path + ")", Want: *d.Split}
	}
	if len(d.Files) == 0 {
		return nil, &config.Error{Pos: pos.At("_data_files"), Problem: "no files", Want: "the files of the dataset"}
	}
	var out []file
	for _, f := range d.Files {
		if !filepath.IsLocal(f.Name) {
			return nil, &config.Error{Pos: pos.At("_data_files"), Value: f.Name, Problem: "a file outside of the folder", Want: "a name in the folder"}
		}
		sub := t
		sub.Format = "arrow"
		one, err := statFile(sub, filepath.Join(dir, f.Name))
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func describedBy(path string, into any) error {
	pos := config.Pos{File: path}
	info, err := os.Stat(path)
	if err != nil {
		return openError(pos, "", path, err)
	}
	if info.Size() > maxDescription {
		return &config.Error{Pos: pos, Problem: fmt.Sprintf("%d bytes are too many", info.Size()), Want: "what save_to_disk writes"}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return openError(pos, "", path, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return &config.Error{Pos: pos, Problem: "not what save_to_disk writes", Err: err}
	}
	return nil
}

// choose returns the split that t names, or the only one there is.
func choose(t config.Tests, dir string, splits []string) (string, error) {
	slices.Sort(splits)
	switch {
	case len(splits) == 0:
		return "", &config.Error{Pos: t.Pos, Value: t.Path, Problem: "the folder " + dir + " has no splits", Want: "at least one"}
	case t.Split == "" && len(splits) == 1:
		return splits[0], nil
	case t.Split == "":
		return "", &config.Error{Pos: t.Pos.At("split"), Problem: "the folder " + dir + " has several splits", Want: oneOf(splits)}
	case !slices.Contains(splits, t.Split):
		return "", &config.Error{Pos: t.Pos.At("split"), Value: t.Split, Problem: "the folder " + dir + " has no such split", Want: oneOf(splits)}
	}
	return t.Split, nil
}

// The words that datasets takes for a split in the name of a file or folder, delimited by what is not
// a letter or digit. A file without one belongs to train.
var splitWords = map[string]string{
	"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
	"test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}

var (
	word  = regexp.MustCompile(`[A-Za-z0-9]+`)
	shard = regexp.MustCompile(`^(.+)-\d{5}-of-\d{5}$`)
)

// shards lists the data files of the split in a folder, sorted by path.
func shards(t config.Tests, dir string) ([]file, error) {
	bySplit := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if path != dir && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		ext := strings.ToLower(filepath.Ext(strings.TrimSuffix(name, ".gz")))
		if d.IsDir() || extensions[ext] == "" || extensions[ext] == "yaml" || name == "dataset_infos.json" || name == "dataset_info.json" {
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		split := splitOf(rel)
		bySplit[split] = append(bySplit[split], path)
		return nil
	})
	if err != nil {
		return nil, openError(t.Pos, t.Path, dir, errors.Unwrap(err))
	}
	if len(bySplit) == 0 {
		return nil, &config.Error{Pos: t.Pos, Value: t.Path, Problem: dir + " is a folder without data", Want: "a folder that datasets exported"}
	}
	var splits []string
	for s := range bySplit {
		splits = append(splits, s)
	}
	split, err := choose(t, dir, splits)
	if err != nil {
		return nil, err
	}
	t.Format = ""
	var out []file
	for _, path := range bySplit[split] {
		f, err := statFile(t, path)
		if err != nil {
			return nil, err
		}
		if len(out) > 0 && f.format != out[0].format {
			return nil, &config.Error{Pos: t.Pos, Value: t.Path, Problem: fmt.Sprintf("the split %s is in two formats: %s and %s", split, out[0].name, f.name), Want: "files of one format"}
		}
		out = append(out, f)
	}
	return out, nil
}

// splitOf tells the split by the path of a file within its folder.
func splitOf(rel string) string {
	stem := rel
	for ext := filepath.Ext(stem); ext != ""; ext = filepath.Ext(stem) {
		stem = strings.TrimSuffix(stem, ext)
	}
	// A name such as test_hard-00000-of-00001 is of a split of any name.
	if m := shard.FindStringSubmatch(filepath.Base(stem)); m != nil {
		if s, ok := splitWords[strings.ToLower(m[1])]; ok {
			return s
		}
		return m[1]
	}
	for _, w := range word.FindAllString(strings.ToLower(stem), -1) {
		if s, ok := splitWords[w]; ok {
			return s
		}
	}
	return "train"
}
