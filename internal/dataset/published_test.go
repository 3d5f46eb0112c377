package dataset

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

// published opens a file of the folder of public data, or skips the test.
func published(t *testing.T, name, format string) *Dataset {
	t.Helper()
	root := os.Getenv("TELLTALE_TESTDATA")
	if root == "" {
		t.Skip("TELLTALE_TESTDATA is not set")
	}
	return open(t, testOptions(), config.Tests{Path: filepath.Join(root, name), Format: format})
}

func TestPublishedIFEval(t *testing.T) {
	f := func(name string) map[string]int {
		t.Helper()
		d := published(t, name, "ifeval")
		ref, err := d.Scan(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if ref.Rows != 541 || ref.Cases != 541 {
			t.Errorf("%+v", ref)
		}
		tags, prompts, instructions := map[string]int{}, map[string]bool{}, 0
		for row, err := range d.Rows(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			v := row.Test.Vars
			if row.Test.ID != strconv.FormatInt(v["key"].(int64), 10) || !row.ExplicitID {
				t.Errorf("id %q, key %v", row.Test.ID, v["key"])
			}
			prompts[v["prompt"].(string)] = true
			instructions += len(v["instruction_id_list"].([]any))
			for _, tag := range row.Test.Tags {
				tags[tag]++
			}
		}
		if len(prompts) != 541 || instructions != 834 || len(tags) != 9 {
			t.Errorf("%d prompts, %d instructions, tags %v", len(prompts), instructions, tags)
		}
		t.Logf("%s: hash %s, tags %v", name, ref.Hash, tags)
		return tags
	}
	a, b := f("ifeval/input_data.jsonl"), f("ifeval/mifeval_en_input_data.jsonl")
	for k, n := range a {
		if b[k] != n {
			t.Errorf("tag %s: %d and %d", k, n, b[k])
		}
	}
}

func TestPublishedGSM8K(t *testing.T) {
	d := published(t, "gsm8k/solutions_finetuning.jsonl", "gsm8k")
	ref, err := d.Scan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if ref.Rows != 1319 || ref.Cases != 1319 || d.sources[0].count.repeated != 0 {
		t.Errorf("%+v", ref)
	}
	first := true
	for row, err := range d.Rows(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		v := row.Test.Vars
		if _, err := strconv.ParseFloat(v["final"].(string), 64); err != nil {
			t.Error(err)
		}
		if first && (v["final"] != "18" || v["answer"] != v["ground_truth"] || v["6b_finetuning"] == nil) {
			t.Errorf("%v", v)
		}
		first = false
	}
	t.Logf("hash %s", ref.Hash)
}

func TestInstructionGroup(t *testing.T) {
	f := func(id, want string) {
		t.Helper()
		if got, ok := instructionGroup(id); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v", id, got, ok)
		}
	}
	f("keywords:existence", "keywords")
	f("en:keywords:existence", "keywords")
	f("ja:letters:hiragana_only", "letters")
	f("keywords", "")
	f(":existence", "")
	f("keywords:", "")
	f("", "")
}

func TestGSM8KFinal(t *testing.T) {
	f := func(answer, want string) {
		t.Helper()
		var it item
		err := gsm8kRow(map[string]any{"question": "q", "answer": answer}, &it)
		if want == "" {
			if err == nil {
				t.Errorf("%q: no error, %v", answer, it.test.Vars["final"])
			}
			return
		}
		if err != nil || it.test.Vars["final"] != want || it.test.Vars["answer"] != answer {
			t.Errorf("%q: %v %v", answer, it.test.Vars, err)
		}
	}
	f("a\n#### 18", "18")
	f("#### 1,234,567", "1234567")
	f("#### -3", "-3")
	f("#### 0.50", "0.50")
	f("#### 5.", "5")
	f("so x\nA: 12", "12")
	f("so x\nA: 12\n", "12")
	f("A: 3\nA: 12", "12")
	f("A: 12\nno", "")
	f("####18", "")
	f("#### ,", "")
	f("#### 1.2.3", "")
	f("", "")
}
