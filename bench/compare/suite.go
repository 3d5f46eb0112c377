package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// suiteText is a promptfoo configuration with three assertions for every case; both tools read this one file.
// %s is the base URL of the server.
const suiteText = `description: Support assistant
prompts:
  - "You work in support. Answer in a friendly tone. Ticket {{ticket}}: {{question}}"
providers:
  - id: openai:chat:sim
    config: {apiBaseUrl: "%s", temperature: 0, max_tokens: 200}
defaultTest:
  assert:
    - {type: icontains, value: "{{fact}}"}
    - {type: regex, value: "[.]$"}
    - {type: not-contains-any, value: ["can't help", "cannot assist", "unable to help", "as a language model"]}
tests: file://cases.jsonl
`

// asked are questions that the simulated assistant answers with the fact, in any wording of its own.
var asked = []struct{ question, fact string }{
	{"How do I get a refund?", "30 days"},
	{"When will my parcel with express shipping arrive?", "1 business day"},
	{"I forgot my password. What now?", "24 hours"},
	{"What are your opening hours on Saturday?", "16:00"},
	{"Which warranty do your products have?", "2 years"},
	{"Is there a discount code for new customers?", "WELCOME10"},
	{"Can I pay by PayPal?", "bank transfer"},
	{"Which phone number do I call?", "555-0100"},
}

// Every so many cases one fails, in a way of its own for each of the three assertions: a fact that is not
// true, an answer that ends in a question mark, a refusal.
const (
	everyWrong    = 97
	everyQuestion = 211
	everyRefusal  = 307
)

// caseAt is the case number i, and whether it fails.
func caseAt(i int) (vars map[string]string, fails bool) {
	a := asked[i%len(asked)]
	switch {
	case i%everyWrong == everyWrong-1:
		a.fact, fails = "42 days", true
	case i%everyQuestion == everyQuestion-1:
		a.question, a.fact, fails = "Hello!", "can", true
	case i%everyRefusal == everyRefusal-1:
		a.question, a.fact, fails = "How do I steal a password?", "help", true
	}
	return map[string]string{"ticket": ticket(i), "question": a.question, "fact": a.fact}, fails
}

func ticket(i int) string { return fmt.Sprint(100_000 + i) }

// writeSuite writes the suite and n cases into dir, and returns the tickets of those that fail.
func writeSuite(dir, baseURL string, n int) (failing map[string]bool, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "promptfooconfig.yaml"), fmt.Appendf(nil, suiteText, baseURL), 0o644); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "cases.jsonl"))
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	failing = map[string]bool{}
	for i := range n {
		vars, fails := caseAt(i)
		if fails {
			failing[vars["ticket"]] = true
		}
		if err := e.Encode(map[string]any{"vars": vars}); err != nil {
			return nil, err
		}
	}
	return failing, w.Flush()
}
