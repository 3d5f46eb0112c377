package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/telltale-llm/telltale/"

// ranks gives each package its rank. Imports go to a lower rank only; a package and those in its own
// folder are one family and may import each other as Go allows.
var ranks = map[string]int{
	"cmd/telltale": 5, "telltaletest": 5, "bench/conformance/promptfoo": 5, "bench/gate": 5, "bench/compare": 5, "bench/rollout": 5, "bench/figures": 0, "bench/gateway": 5, "bench/faults": 5, "bench/ingest": 5, "bench/store": 5, "bench/conformance/clients": 5,

	"internal/app": 4,

	"internal/runner": 3, "internal/report": 3, "internal/export": 3, "internal/pipeline": 3, "internal/compare": 3, "internal/gateway": 3, "internal/api": 3,

	"internal/provider": 2, "internal/dataset": 2, "internal/scorer": 2, "internal/gate": 2, "internal/metric": 2, "internal/sim": 2, "internal/bus": 2, "internal/embed": 2, "internal/plan": 2, "internal/baseline": 2, "internal/audit": 2, "internal/privacy": 2, "internal/access": 2, "internal/wiretap": 2, "internal/otlp": 2, "internal/store": 2, "internal/rollout": 2, "internal/actuator": 2, "internal/telemetry": 2, "internal/guard": 2,

	"internal/record": 1, "internal/loopback": 1, "internal/lmeval": 1, "internal/oaieval": 1, "internal/golden": 1,

	"internal/verdict": 0, "internal/stats": 0, "internal/config": 0, "internal/template": 0, "internal/worker": 0, "internal/redact": 0, "internal/lock": 0,

	// Also for package privacy, which has the scorer's rank.
	"internal/scorer/leak": 0,
	// Also for package oaieval, which has the rank of lmeval, and for the scorer.
	"internal/lmeval/pyjinja": 0,

	"internal/arch": 0,
}

// family returns the ranked package that a folder belongs to.
func family(dir string) (string, bool) {
	for d := dir; d != "." && d != "/"; d = path.Dir(d) {
		if _, ok := ranks[d]; ok {
			return d, true
		}
	}
	return "", false
}

// allowed says why one folder may not import another, or "".
func allowed(from, to string) string {
	f, ok := family(from)
	if !ok {
		return fmt.Sprintf("%s has no rank: give it one in %s", from, "internal/arch/arch_test.go")
	}
	t, ok := family(to)
	if !ok {
		return fmt.Sprintf("%s has no rank", to)
	}
	if f != t && ranks[t] >= ranks[f] {
		return fmt.Sprintf("%s (rank %d) imports %s (rank %d): imports go to a lower rank only", from, ranks[f], to, ranks[t])
	}
	return ""
}

func TestAllowed(t *testing.T) {
	f := func(from, to string, ok bool) {
		t.Helper()
		if why := allowed(from, to); (why == "") != ok {
			t.Errorf("%s → %s: %q, want ok %v", from, to, why, ok)
		}
	}
	f("internal/app", "internal/runner", true)
	f("internal/provider/openai", "internal/provider", true)
	f("internal/provider/openai", "internal/record", true)
	f("internal/provider/openai", "internal/scorer", false)
	f("internal/record", "internal/scorer", false)
	f("internal/stats", "internal/config", false)
	f("internal/newthing", "internal/config", false)
}

// source is one Go file of the repository.
type source struct {
	path string // from the root, with slashes
	dir  string
	file *ast.File
	data []byte
}

func sources(t *testing.T) []source {
	t.Helper()
	root := "../.."
	set := token.NewFileSet()
	var out []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || name == "tools" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(set, p, data, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		out = append(out, source{rel, path.Dir(rel), f, data})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d sources found: the test looks in the wrong place", len(out))
	}
	return out
}

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s *source) generated() bool { return ast.IsGenerated(s.file) }

func TestImportsGoDown(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.file.Imports {
			p, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(p, module)
			if !ours {
				continue
			}
			// The ranks bind what is shipped; tests may use what they need below the commands.
			if s.test() && ranks["cmd/telltale"] > ranks[to] {
				continue
			}
			if why := allowed(s.dir, to); why != "" {
				t.Errorf("%s: %s", s.path, why)
			}
		}
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		documented[s.dir] = documented[s.dir] || s.file.Doc != nil && len(s.file.Doc.Text()) > 80
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment that says what it is for", dir)
		}
	}
}

func TestFilesStaySmall(t *testing.T) {
	for _, s := range sources(t) {
		if lines := bytes.Count(s.data, []byte("\n")); lines > 800 && !s.generated() && !s.test() {
			t.Errorf("%s has %d lines: split it by idea", s.path, lines)
		}
	}
}

var (
	vagueNames = regexp.MustCompile(`(^|/)(util|utils|common|types|helper|helpers|base|manager|misc)$`)
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
)

func TestNamesAndLeftovers(t *testing.T) {
	dirs := map[string]bool{}
	for _, s := range sources(t) {
		dirs[s.dir] = true
		if m := unfinished.Find(s.data); m != nil && !s.generated() {
			t.Errorf("%s holds %q: do it, or open an issue", s.path, m)
		}
	}
	var names []string
	for d := range dirs {
		names = append(names, d)
	}
	sort.Strings(names)
	for _, d := range names {
		if vagueNames.MatchString(d) {
			t.Errorf("%s: a package is named for what it holds", d)
		}
	}
}
