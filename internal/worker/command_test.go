package worker

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		got, err := Split(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Split(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	f("bot", "bot")
	f("  python3   bot.py\t-v ", "python3", "bot.py", "-v")
	f(`sh -c 'cat | tr a b'`, "sh", "-c", "cat | tr a b")
	f(`a "b c" d`, "a", "b c", "d")
	f(`a "b \"c\" \n" ''`, "a", `b "c" \n`, "")
	f(`a\ b c\\d`, "a b", `c\d`)
	f(`pre"mid"'post'`, "premidpost")
	f(`a $HOME $ x`, "a", "$HOME", "$", "x")

	bad := func(in, part string) {
		t.Helper()
		if got, err := Split(in); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Split(%q) = %q, %v; want an error with %q", in, got, err, part)
		}
	}
	bad("", "empty")
	bad("   ", "empty")
	bad(`'' a`, "empty")
	bad(`a "b`, "not closed")
	bad(`a 'b`, "not closed")
	bad(`a \`, "backslash")
	bad("a | b", "shell")
	bad("a > b", "shell")
	bad("a && b", "shell")
	bad("a $(b)", "shell")
}

// FuzzSplit compares with a real shell on what can be compared: words without expansions.
func FuzzSplit(f *testing.F) {
	f.Add(`a "b c" 'd' \e`)
	f.Add(`"\$x" "a\b"`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := Split(line)
		if err != nil {
			return
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		again, err := Split(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(again, words) {
			t.Errorf("%q split to %q, and quoted again to %q, %v", line, words, again, err)
		}
	})
}

func TestSplitAgreesWithShell(t *testing.T) {
	for _, line := range []string{`a "b c" 'd e' f\ g`, `"a\"b" 'c\d' "e\f"`, `x'y'"z" ''`} {
		out, err := exec.Command("sh", "-c", `printf '%s\n' `+line).Output()
		if err != nil {
			t.Skip("no shell to compare with:", err)
		}
		want := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if got, err := Split(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("Split(%q) = %q, %v; a shell says %q", line, got, err, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	environ := []string{"PATH=/bin", "OPENAI_API_KEY=a", "GITHUB_TOKEN=b", "KEYBOARD=us", "AWS_SECRET_ACCESS_KEY=c", "=x", "junk", "MY_KEY=d"}
	f := func(v any, wantEnv, wantSecrets []string) {
		t.Helper()
		e, err := EnvironmentOf(v)
		if err != nil {
			t.Errorf("%v: %v", v, err)
			return
		}
		env, secrets := e.Build(environ)
		if !slices.Equal(env, wantEnv) || !slices.Equal(secrets, wantSecrets) {
			t.Errorf("%v: got %q and %q, want %q and %q", v, env, secrets, wantEnv, wantSecrets)
		}
	}
	f(nil, []string{"PATH=/bin", "KEYBOARD=us"}, nil)
	f([]any{"MY_KEY", "PATH"}, []string{"PATH=/bin", "KEYBOARD=us", "MY_KEY=d"}, []string{"d"})
	f(map[string]any{"PATH": "/opt", "X_TOKEN": "s3cret", "N": int64(3)}, []string{"KEYBOARD=us", "N=3", "PATH=/opt", "X_TOKEN=s3cret"}, []string{"s3cret"})

	bad := func(v any) {
		t.Helper()
		_, err := EnvironmentOf(v)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: got %v, want an error without the value", v, err)
		}
	}
	bad("s3cret")
	bad([]any{"s3cret=x"})
	bad([]any{3})
	bad(map[string]any{"A": []any{"s3cret"}})
	bad(map[string]any{"": "s3cret"})
	bad(map[string]any{"A": "s3cret\x00"})
}

func TestCommandOf(t *testing.T) {
	f := func(v any, want ...string) {
		t.Helper()
		got, err := CommandOf(v)
		if err != nil && want != nil || !slices.Equal(got, want) {
			t.Errorf("CommandOf(%v) = %q, %v; want %q", v, got, err, want)
		}
		if err == nil && want == nil {
			t.Errorf("CommandOf(%v) = %q, want an error", v, got)
		}
	}
	f("python3 'a b.py'", "python3", "a b.py")
	f([]any{"python3", "a b.py", int64(3), true}, "python3", "a b.py", "3", "true")
	f([]any{})
	f([]any{""})
	f([]any{"a", nil})
	f(map[string]any{})
	f(nil)
	f("")
}
