package privacy

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestCleanIsBounded(t *testing.T) {
	var c clean
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 3 * mostClean {
				s := fmt.Sprint(n, " ", i)
				c.add(s)
				c.has(s) // may be forgotten already, where the others were much faster
			}
		})
	}
	wg.Wait()
	c.add(strings.Repeat("a", mostCleanBytes/16+1))
	for i := range 40 {
		c.add(fmt.Sprint(i) + strings.Repeat("a", mostCleanBytes/20))
	}
	if len(c.now) > mostClean || len(c.older) > mostClean || c.bytes > mostCleanBytes {
		t.Errorf("%d and %d texts, %d bytes", len(c.now), len(c.older), c.bytes)
	}
	for i := range 3 * mostClean {
		s := fmt.Sprint("alone ", i)
		if c.add(s); !c.has(s) {
			t.Fatalf("%q is forgotten at once", s)
		}
	}
	c.add("kept")
	for i := range 3 * mostClean {
		c.add(fmt.Sprint("other ", i))
		if i%100 == 0 && !c.has("kept") {
			t.Fatalf("what is asked for is forgotten after %d others", i)
		}
	}
}

// A text that many exchanges have is redacted, and counted, in each of them.
func TestFrequentTexts(t *testing.T) {
	f := func(cfg config.Privacy, system, want string, found int) {
		t.Helper()
		r := redactor(t, cfg)
		for range 3 {
			x := record.Exchange{Model: system, Content: &record.Content{System: system}}
			if err := r.Exchange(t.Context(), &x); err != nil {
				t.Fatal(err)
			}
			if x.Content.System != want || x.Found["email"] != found {
				t.Errorf("%q, found %v, want %q and %d", x.Content.System, x.Found, want, found)
			}
		}
	}
	f(config.Privacy{}, "Answer politely.", "Answer politely.", 0)
	f(config.Privacy{}, "Write to jane@acme.org.", "Write to [EMAIL].", 2)
	f(config.Privacy{Kinds: map[string]string{"email": "keep"}}, "Write to jane@acme.org.", "Write to jane@acme.org.", 2)
}
