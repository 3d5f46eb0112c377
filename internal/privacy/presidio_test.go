package privacy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/scorer/leak"
)

// corpusKinds are those of the corpus that have a form, with the recall asked for.
var corpusKinds = []struct {
	entity, kind string
	recall       float64
}{
	{"CREDIT_CARD", leak.Card, .99}, {"IBAN_CODE", leak.IBAN, .99}, {"EMAIL_ADDRESS", leak.Email, .99}, {"IP_ADDRESS", leak.IP, .99}, {"US_SSN", "us-ssn", .99},
	{"PHONE_NUMBER", leak.Phone, .9},
}

type corpusText struct {
	Text  string `json:"full_text"`
	Spans []struct {
		Type  string `json:"entity_type"`
		Value string `json:"entity_value"`
		Start int    `json:"start_position"` // in characters
		End   int    `json:"end_position"`
	}
}

func corpus(t testing.TB) []corpusText {
	t.Helper()
	root := os.Getenv("TELLTALE_TESTDATA")
	if root == "" {
		t.Skip("TELLTALE_TESTDATA is not set")
	}
	b, err := os.ReadFile(filepath.Join(root, "pii", "presidio_synth_dataset_v2.json"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []corpusText
	if err := json.Unmarshal(b, &texts); err != nil {
		t.Fatal(err)
	}
	return texts
}

// The corpus of microsoft/presidio-research, through the finders: 1,500 synthetic texts with marked spans.
func TestCorpus(t *testing.T) {
	texts := corpus(t)
	r := redactor(t, config.Privacy{})
	right, missed, wrong := map[string]int{}, map[string]int{}, map[string]int{}
	for _, x := range texts {
		runes := []rune(x.Text)
		at := func(n int) int { return len(string(runes[:n])) }
		found := r.pass(t.Context(), r.base).find(x.Text, "")
		hit := make([]bool, len(found))
		for _, s := range x.Spans {
			for _, k := range corpusKinds {
				if k.entity != s.Type {
					continue
				}
				got := false
				for i, f := range found {
					// The whole value must go, not a part of it.
					if f.kind == k.kind && f.start <= at(s.Start) && at(s.End) <= f.end {
						got = true
					}
					if f.kind == k.kind && f.start < at(s.End) && at(s.Start) < f.end {
						hit[i] = true
					}
				}
				if got {
					right[k.kind]++
				} else {
					missed[k.kind]++
				}
			}
		}
		for i, f := range found {
			if !hit[i] {
				wrong[f.kind]++
			}
		}
	}
	var report strings.Builder
	for _, k := range corpusKinds {
		n := right[k.kind] + missed[k.kind]
		recall, precision := float64(right[k.kind])/float64(n), float64(right[k.kind])/float64(right[k.kind]+wrong[k.kind])
		fmt.Fprintf(&report, "%-8s %4d spans  recall %.3f  precision %.3f\n", k.kind, n, recall, precision)
		if !(recall >= k.recall) || !(precision >= .95) {
			t.Errorf("%s: recall %.3f, want at least %v; precision %.3f, want at least 0.95", k.kind, recall, k.recall, precision)
		}
		delete(wrong, k.kind)
	}
	if len(wrong) > 0 {
		t.Errorf("kinds that the corpus does not have: %v", wrong)
	}
	t.Logf("\n%s", report.String())
}

// No marked value survives in a text, whichever way it is written, and a second time changes nothing.
func TestCorpusRedacted(t *testing.T) {
	texts := corpus(t)
	r := redactor(t, config.Privacy{})
	left, all := 0, 0
	for _, x := range texts {
		for how, text := range encodings(x.Text) {
			out, _ := r.Text("input", text)
			if again, _ := r.Text("input", out); again != out {
				t.Errorf("%s: %q became %q", how, out, again)
			}
			for _, s := range x.Spans {
				for _, k := range corpusKinds {
					if k.entity != s.Type {
						continue
					}
					all++
					if survives(out, s.Value) {
						left++
						if left < 20 {
							t.Logf("%s: %s %q survives in %q", how, k.kind, s.Value, out)
						}
					}
				}
			}
		}
	}
	t.Logf("%d of %d values survive", left, all)
	if float64(left) > .01*float64(all) {
		t.Errorf("%d of %d values survive", left, all)
	}
}
