package scorer

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

const scorersDoc = "../../docs/scorers.md"

// The list of scorers in the documentation is made from the table of kinds.
func TestScorersDocIsUpToDate(t *testing.T) {
	want := scorersPage(t)
	if *update {
		if err := os.WriteFile(scorersDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(scorersDoc)
	if err != nil {
		t.Fatalf("%v; run go test ./internal/scorer -update", err)
	}
	if string(got) != want {
		t.Error("docs/scorers.md is not what the kinds say; run go test ./internal/scorer -update")
	}
}

func scorersPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Scorers

Generated from the code by ` + "`go test ./internal/scorer -update`" + `. Every type can be turned round with a
` + "`not-`" + ` prefix, unless it only measures. A value that is the case's expected answer is data; any other value is
part of the recipe, and a number made with another value is another metric.

`)
	all := examples()
	for _, k := range Kinds() {
		fmt.Fprintf(&b, "## %s\n\n%s.\n\n", k.Name, strings.ToUpper(k.Summary[:1])+k.Summary[1:])
		if len(k.Aliases) > 0 {
			fmt.Fprintf(&b, "- also called: %s\n", code(k.Aliases))
		}
		value := need(k.Value)
		if k.ValueIsReference {
			value += ", the case's expected answer"
		}
		fmt.Fprintf(&b, "- value: %s\n", value)
		threshold := need(k.Threshold)
		if k.Default != nil {
			threshold += fmt.Sprintf(", %v by default", *k.Default)
		}
		fmt.Fprintf(&b, "- threshold: %s\n", threshold)
		if k.FreeConfig {
			b.WriteString("- config: anything, handed to the code\n")
		} else if keys := configKeys(t, k, all[k.Name]); len(keys) > 0 {
			fmt.Fprintf(&b, "- config: %s\n", code(keys))
		}
		what := "a rate"
		switch {
		case k.Unit != "":
			what = "a mean in " + k.Unit
		case k.Continuous:
			what = "a mean"
		}
		fmt.Fprintf(&b, "- metric: %s\n- version: %s\n", what, k.Version)
		if k.Judged {
			b.WriteString("- asks a judge: see [judges.md](judges.md)\n")
		}
		if len(k.Vars) > 0 {
			fmt.Fprintf(&b, "- needs the variables %s\n", code(k.Vars))
		}
		if k.Timed {
			b.WriteString("- never judges a cached answer\n")
		}
		if k.Caution != "" {
			fmt.Fprintf(&b, "- caution: %s\n", k.Caution)
		}
		b.WriteString("\n")
	}
	b.WriteString("## Known from promptfoo, not supported\n\nA suite that uses one of these is refused unless `--skip-unsupported` is given.\n\n| Types | Why |\n|---|---|\n")
	for _, g := range unsupported {
		names := make([]string, len(g.names))
		for i, n := range g.names {
			if strings.HasSuffix(n, ":") || strings.HasSuffix(n, "-") {
				n += "…"
			}
			names[i] = n
		}
		fmt.Fprintf(&b, "| %s | %s |\n", code(names), g.why)
	}
	return b.String()
}

func need(n Need) string {
	return map[Need]string{Forbidden: "none", Optional: "optional", Required: "required"}[n]
}

func code(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

// configKeys asks a kind what config it reads by giving it a key that no kind has.
func configKeys(t *testing.T, k Kind, e example) []string {
	const stranger = "no such key at all, and unlike any other"
	s := Spec{Value: e.value, Threshold: e.threshold, Assert: e.assert, Dir: t.TempDir(), Config: config.Object{Map: map[string]any{stranger: true}}}
	for key, v := range e.config {
		s.Config.Map[key] = v
	}
	if s.Threshold == nil {
		s.Threshold = k.Default
	}
	built, err := k.Build(s)
	if err == nil {
		if c, ok := built.(interface{ Close() error }); ok {
			_ = c.Close()
		}
		t.Errorf("%s takes any config", k.Name)
		return nil
	}
	var list config.Errors
	list.Append(config.Pos{}, err)
	for _, one := range list {
		if strings.Contains(one.Problem, stranger) {
			if _, ok := errors.AsType[*config.Error](one); !ok || one.Want == "" {
				return nil
			}
			return regexp.MustCompile(`, `).Split(strings.TrimPrefix(one.Want, "one of "), -1)
		}
	}
	t.Errorf("%s: an unknown key gave %v", k.Name, err)
	return nil
}
