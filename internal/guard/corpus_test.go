package guard

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/telltale-llm/telltale/internal/scorer/leak"
)

// What is found in a stream, where only what stands near is seen, is what is found in the whole text: 1,500 texts of
// microsoft/presidio-research.
func TestCorpus(t *testing.T) {
	root := os.Getenv("TELLTALE_TESTDATA")
	if root == "" {
		t.Skip("TELLTALE_TESTDATA is not set")
	}
	b, err := os.ReadFile(filepath.Join(root, "pii", "presidio_synth_dataset_v2.json"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []struct {
		Text string `json:"full_text"`
	}
	if err := json.Unmarshal(b, &texts); err != nil {
		t.Fatal(err)
	}
	for _, thorough := range []bool{false, true} {
		section := "filters: [{name: p, pii: [all], action: replace}]"
		if thorough {
			section = "filters: [{name: p, pii: [all], thorough: true, action: replace}]"
		}
		g := build(t, section)
		p, err := leak.NewPersonal(leak.PersonalOptions{Thorough: thorough})
		if err != nil {
			t.Fatal(err)
		}
		all, missed, extra, held, bytes := 0, 0, 0, 0, 0
		for _, x := range texts {
			f := newFilter(&g.rules, &finding{}, false)
			for i := range len(x.Text) {
				f.take([]byte{x.Text[i]})
				held += f.pos - f.decided()
				bytes++
			}
			f.flush()
			found := p.Find(x.Text)
			all += len(found)
			for _, want := range found {
				if f.masked(want.Start) < want.End {
					if missed++; missed < 5 {
						t.Logf("missed %s in %q", want.Type, x.Text[max(0, want.Start-40):min(len(x.Text), want.End+40)])
					}
				}
			}
			for _, got := range f.spans {
				known := false
				for _, want := range found {
					known = known || want.Start < got.end && got.start < want.End
				}
				if !known {
					if extra++; extra < 5 {
						t.Logf("in vain: %s in %q", got.kind, x.Text[max(0, got.start-40):min(len(x.Text), got.end+40)])
					}
				}
			}
		}
		t.Logf("thorough %v: %d found in whole texts, %d of them missed in pieces, %d more; %.1f bytes held back on average", thorough, all, missed, extra, float64(held)/float64(bytes))
		if all < 300 || missed*100 > all || extra*50 > all {
			t.Errorf("more than 1%% missed or 2%% in vain")
		}
	}
}
