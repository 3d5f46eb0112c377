package ifeval

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// prompt is a line of IFEval's input_data.jsonl.
type prompt struct {
	Key    int
	Prompt string
	IDs    []string `json:"instruction_id_list"`
	Kwargs []map[string]any
}

// answered is a line of a file of answers, with the reference's verdicts where there are any.
type answered struct {
	Prompt   string
	Response string
	Follows  []bool `json:"follow_instruction_list"`
}

func lines[T any](t testing.TB, name string) []T {
	t.Helper()
	dir := os.Getenv("TELLTALE_TESTDATA")
	if dir == "" {
		t.Skip("TELLTALE_TESTDATA is not set: the published answers are not part of the repository")
	}
	f, err := os.Open(filepath.Join(dir, "ifeval", name))
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	var out []T
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<24)
	for s.Scan() {
		var v T
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, v)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func checkers(t testing.TB, name string) (map[string]*Checker, map[string]prompt) {
	t.Helper()
	cs, ps := map[string]*Checker{}, map[string]prompt{}
	for _, p := range lines[prompt](t, name) {
		c, err := Compile(p.IDs, p.Kwargs)
		if err != nil {
			t.Fatalf("key %d: %v", p.Key, err)
		}
		cs[p.Prompt], ps[p.Prompt] = c, p
	}
	return cs, ps
}

// The published figures, with letters taken literally, of GPT-4's answers.
func TestGPT4(t *testing.T) {
	cs, _ := checkers(t, "input_data.jsonl")
	var got struct{ prompts, instructions, strictPrompts, strict, loosePrompts, loose int }
	for _, a := range lines[answered](t, "gpt4_responses.jsonl") {
		rs, err := cs[a.Prompt].Check(a.Response)
		if err != nil {
			t.Fatal(err)
		}
		strict, loose := 0, 0
		for _, r := range rs {
			if r.Strict {
				strict++
			}
			if r.Loose {
				loose++
			}
		}
		got.prompts++
		got.instructions += len(rs)
		got.strict += strict
		got.loose += loose
		if strict == len(rs) {
			got.strictPrompts++
		}
		if loose == len(rs) {
			got.loosePrompts++
		}
	}
	want := got
	want.prompts, want.instructions = 541, 834
	want.strictPrompts, want.strict, want.loosePrompts, want.loose = 417, 698, 431, 714
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// undecided are the instructions on which the reference draws lots: a letter that is none, and
// the language of a text that could be one or another.
var undecided = map[string]bool{
	"keywords:letter_frequency": true, "language:response_language": true,
	"change_case:english_capital": true, "change_case:english_lowercase": true,
}

func TestReferenceVerdicts(t *testing.T) {
	cs, ps := checkers(t, "mifeval_en_input_data.jsonl")
	for _, model := range []string{"gpt-4o-mini-2024-07-18", "Qwen__Qwen2.5-7B-Instruct-GPTQ-Int4"} {
		for _, mode := range []string{"strict", "loose"} {
			verdicts, apart := 0, 0
			for _, a := range lines[answered](t, model+"__"+mode+".jsonl") {
				rs, err := cs[a.Prompt].Check(a.Response)
				if err != nil {
					t.Fatal(err)
				}
				for i, r := range rs {
					ok := r.Strict
					if mode == "loose" {
						ok = r.Loose
					}
					verdicts++
					if ok == a.Follows[i] {
						continue
					}
					if !undecided[strings.TrimPrefix(r.ID, "en:")] {
						t.Errorf("%s %s: key %d %s: %v, the reference says %v (%s)", model, mode, ps[a.Prompt].Key, r.ID, ok, a.Follows[i], r.Reason)
						continue
					}
					apart++
					t.Logf("%s %s: key %d %s: %v, the reference drew %v (%s)", model, mode, ps[a.Prompt].Key, r.ID, ok, a.Follows[i], r.Reason)
				}
			}
			if verdicts != 834 || float64(apart) > 0.005*float64(verdicts) {
				t.Errorf("%s %s: %d of %d verdicts apart", model, mode, apart, verdicts)
			}
		}
	}
}

// BenchmarkGPT4 checks GPT-4's 541 answers; ns/op is for one answer.
func BenchmarkGPT4(b *testing.B) {
	cs, _ := checkers(b, "input_data.jsonl")
	as := lines[answered](b, "gpt4_responses.jsonl")
	for _, a := range as {
		if _, err := cs[a.Prompt].Check(a.Response); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		a := as[i%len(as)]
		i++
		if _, err := cs[a.Prompt].Check(a.Response); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	ps := lines[prompt](b, "input_data.jsonl")
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p := ps[i%len(ps)]
		i++
		if _, err := Compile(p.IDs, p.Kwargs); err != nil {
			b.Fatal(err)
		}
	}
}
