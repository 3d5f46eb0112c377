package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// action is the part of action.yml that can be checked here.
type action struct {
	Inputs  map[string]any `yaml:"inputs"`
	Outputs map[string]any `yaml:"outputs"`
	Runs    struct {
		Steps []struct {
			Name string            `yaml:"name"`
			If   string            `yaml:"if"`
			Env  map[string]string `yaml:"env"`
			Run  string            `yaml:"run"`
			Uses string            `yaml:"uses"`
		} `yaml:"steps"`
	} `yaml:"runs"`
}

func TestAction(t *testing.T) {
	data, err := os.ReadFile("../../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var a action
	if err := yaml.Unmarshal(data, &a); err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range a.Inputs {
		if !strings.Contains(string(data), "inputs."+name) {
			t.Errorf("the input %s has no effect", name)
		}
		if !strings.Contains(string(docs), "`"+name+"`") {
			t.Errorf("the input %s is not in docs/ci.md", name)
		}
	}
	for name := range a.Outputs {
		if !strings.Contains(string(docs), "`"+name+"`") {
			t.Errorf("the output %s is not in docs/ci.md", name)
		}
	}
	for _, s := range a.Runs.Steps {
		if s.Uses != "" && !regexp.MustCompile(`@[0-9a-f]{40}$`).MatchString(s.Uses) {
			t.Errorf("step %q: %s is not pinned to a commit", s.Name, s.Uses)
		}
		// What a user of the action gives must not become part of a script's text.
		if strings.Contains(s.Run, "${{") {
			t.Errorf("step %q: an expression inside a script; hand it over in env", s.Name)
		}
		_, script, ok := strings.Cut(s.Run, `"$SOURCE/`)
		if !ok {
			continue
		}
		script = strings.TrimRight(script, `"`)
		info, err := os.Stat(filepath.Join("../..", script))
		if err != nil {
			t.Errorf("step %q: %v", s.Name, err)
		} else if info.Mode()&0o100 == 0 {
			t.Errorf("%s cannot be executed", script)
		}
	}
}

// bash runs one of the action's scripts.
func bash(t *testing.T, script, dir string, env ...string) (out string, code int) {
	t.Helper()
	path, err := filepath.Abs("../../.ci/action/" + script)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", path)
	cmd.Dir = dir
	cmd.Env = append([]string{"HOME=" + dir}, env...)
	b, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// program writes a shell script that stands for a program, and returns a PATH that finds it first.
func program(t *testing.T, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return "PATH=" + dir + ":" + os.Getenv("PATH")
}

func TestActionInstallsARelease(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the release in this test is one for linux/amd64")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	releases := t.TempDir()
	dir := filepath.Join(releases, "v9.9.9")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	script := "#!/bin/sh\necho telltale v9.9.9\n"
	if err := w.WriteHeader(&tar.Header{Name: "telltale", Mode: 0o755, Size: int64(len(script))}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, script)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	const name = "telltale_linux_amd64.tar.gz"
	install := func() (out, path string, code int) {
		temp := t.TempDir()
		path = filepath.Join(temp, "path")
		out, code = bash(t, "install.sh", temp, "PATH="+os.Getenv("PATH"), "VERSION=v9.9.9", "SOURCE="+temp, "RUNNER_TEMP="+temp, "GITHUB_PATH="+path, "TELLTALE_RELEASES=file://"+releases)
		return out, path, code
	}
	if out, _, code := install(); code != 2 || !strings.Contains(out, "::error title=telltale::release v9.9.9 has no "+name) {
		t.Errorf("without a release: code %d\n%s", code, out)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(name, b.String())
	f := func(sum string, wantCode int, want string) {
		t.Helper()
		write("checksums.txt", sum+"  "+name+"\n"+sum+"  another.tar.gz\n")
		out, path, code := install()
		if code != wantCode || !strings.Contains(out, want) {
			t.Errorf("code %d, want %d:\n%s", code, wantCode, out)
		}
		if _, err := os.Stat(path); (err == nil) != (wantCode == 0) {
			t.Errorf("PATH was added to: %v", err == nil)
		}
	}
	f(fmt.Sprintf("%x", sha256.Sum256(b.Bytes())), 0, "telltale v9.9.9")
	f(strings.Repeat("0", 64), 2, "the checksum of telltale_linux_amd64.tar.gz is not the one")
}

func TestActionKeepsTheExitCode(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "outputs")
	path := program(t, "telltale", `for a in "$@"; do echo "[$a]"; done; exit 3`)
	text, code := bash(t, "run.sh", dir, path, "GITHUB_OUTPUT="+out, "SUITE=a suite.yaml", "OUT=results", "BASELINE=main", "ARGS=--var\nname=two words\n\n--quiet")
	want := "[run]\n[a suite.yaml]\n[--out]\n[results]\n[--ci]\n[github]\n[--no-progress]\n[--baseline]\n[main]\n[--var]\n[name=two words]\n[--quiet]\n"
	if code != 0 || text != want {
		t.Errorf("code %d, arguments\n%s", code, text)
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != "code=3\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestActionComments(t *testing.T) {
	// comment returns what gh was asked, when the pull request has the comments found, and the body that was written.
	comment := func(name, found, fails string) (asked []string, written, out string) {
		t.Helper()
		dir := t.TempDir()
		log := filepath.Join(dir, "log")
		body := filepath.Join(dir, "comment.md")
		if err := os.WriteFile(body, []byte("<!-- telltale 0123456789abcdef -->\n## Passed\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		path := program(t, "gh", `echo "$@" >>"$LOG"; case "$*" in *paginate*) printf '`+found+`';; esac; `+fails)
		out, code := bash(t, "comment.sh", dir, path, "LOG="+log, "BODY="+body, "NAME="+name, "RUNNER_TEMP="+dir, "REPOSITORY=o/r", "PULL=7", "GH_TOKEN=x")
		if code != 0 {
			t.Fatalf("code %d\n%s", code, out)
		}
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		asked = strings.Split(strings.TrimSpace(string(b)), "\n")
		if b, err = os.ReadFile(filepath.Join(dir, "telltale-comment.md")); err != nil {
			t.Fatal(err)
		}
		return asked, string(b), out
	}
	f := func(found, want string) {
		t.Helper()
		asked, written, _ := comment("telltale", found, "")
		mark, rest, _ := strings.Cut(written, "\n")
		if len(asked) != 2 || !strings.Contains(asked[0], `startswith("`+mark+`")`) || !strings.HasPrefix(asked[1], want) {
			t.Errorf("gh was asked\n%s", strings.Join(asked, "\n"))
		}
		if !regexp.MustCompile(`^<!-- telltale 0123456789abcdef [0-9]+ -->$`).MatchString(mark) || rest != "## Passed\n" {
			t.Errorf("wrote %q", written)
		}
	}
	f("", "api --method POST repos/o/r/issues/7/comments --field body=@")
	f(`31\n32\n`, "api --method PATCH repos/o/r/issues/comments/31 --field body=@")
	_, one, _ := comment(`a" --> $(id)`, "", "")
	_, other, _ := comment("b", "", "")
	if one == other || strings.Contains(one, "$(id)") {
		t.Errorf("%q and %q", one, other)
	}
	// Only the gate fails a job.
	if asked, _, out := comment("telltale", "", "exit 1"); len(asked) != 1 || !strings.HasPrefix(out, "::warning title=telltale::the comment could not be written") {
		t.Errorf("gh was asked %q and failed: %s", asked, out)
	}
}
