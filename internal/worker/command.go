package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// Split cuts a command line into words as a shell would: at white space, with 'single' and
// "double" quotes and backslashes. Nothing is expanded, and no shell runs: an unquoted |, ;, &, <,
// >, ` or $( is an error instead of an argument that means nothing.
func Split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	rs := []rune(line)
	for i := 0; i < len(rs); i++ {
		switch r := rs[i]; {
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case r == '\'' || r == '"':
			end, err := quoted(rs, i, &word)
			if err != nil {
				return nil, err
			}
			i, inWord = end, true
		case r == '\\':
			if i+1 == len(rs) {
				return nil, fmt.Errorf("the command ends in a backslash")
			}
			i++
			word.WriteRune(rs[i])
			inWord = true
		case strings.ContainsRune("|;&<>`", r) || r == '$' && i+1 < len(rs) && rs[i+1] == '(':
			return nil, fmt.Errorf("%q needs a shell, and none is run: quote it, or write sh -c '…'", string(r))
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, fmt.Errorf("the command is empty")
	}
	return words, nil
}

// quoted appends what stands between the quote at rs[i] and its partner, whose place it returns.
func quoted(rs []rune, i int, word *strings.Builder) (int, error) {
	quote := rs[i]
	for j := i + 1; j < len(rs); j++ {
		switch {
		case rs[j] == quote:
			return j, nil
		case quote == '"' && rs[j] == '\\' && j+1 < len(rs) && strings.ContainsRune("\"\\$`", rs[j+1]):
			j++
			word.WriteRune(rs[j])
		default:
			word.WriteRune(rs[j])
		}
	}
	return 0, fmt.Errorf("a %c quote is not closed", quote)
}

// Find returns the path of a program: a name is looked up in PATH, a relative path in dir.
func Find(program, dir string) (string, error) {
	if strings.ContainsRune(program, filepath.Separator) || strings.Contains(program, "/") {
		if !filepath.IsAbs(program) {
			abs, err := filepath.Abs(filepath.Join(dir, program))
			if err != nil {
				return "", err
			}
			program = abs
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		if e, ok := errors.AsType[*exec.Error](err); ok {
			err = e.Err
		}
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return "", fmt.Errorf("cannot find the program %s: %w", program, err)
	}
	return path, nil
}

// credentialWords are the parts of a variable's name by which it is taken for a credential.
var credentialWords = map[string]bool{
	"KEY": true, "KEYS": true, "APIKEY": true, "TOKEN": true, "TOKENS": true, "SECRET": true, "SECRETS": true,
	"PASSWORD": true, "PASSWD": true, "PASS": true, "CREDENTIAL": true, "CREDENTIALS": true, "PAT": true,
}

// Credential says whether a variable's name, such as OPENAI_API_KEY, is that of a credential.
func Credential(name string) bool {
	for _, part := range strings.Split(strings.ToUpper(name), "_") {
		if credentialWords[part] {
			return true
		}
	}
	return false
}

// Environment says which variables a program gets besides those that every program gets.
type Environment struct {
	Pass []string          // credentials to hand on from telltale's own environment
	Set  map[string]string // variables to set
}

// EnvironmentOf reads an Environment from a decoded value: nothing, a list of names to pass, or a
// mapping of names to values to set. An error never repeats a value.
func EnvironmentOf(v any) (Environment, error) {
	var e Environment
	switch v := v.(type) {
	case nil:
	case []any:
		for _, item := range v {
			name, ok := item.(string)
			if !ok || !validName(name) {
				return e, fmt.Errorf("an item is not the name of a variable")
			}
			e.Pass = append(e.Pass, name)
		}
	case map[string]any:
		e.Set = make(map[string]string, len(v))
		for name, value := range v {
			if !validName(name) {
				return e, fmt.Errorf("%q is not the name of a variable", name)
			}
			switch value := value.(type) {
			case string, int64, uint64, float64, bool:
				if e.Set[name] = fmt.Sprint(value); strings.Contains(e.Set[name], "\x00") {
					return e, fmt.Errorf("the value of %s holds a zero byte", name)
				}
			default:
				return e, fmt.Errorf("the value of %s is not a string", name)
			}
		}
	default:
		return e, fmt.Errorf("neither a list of names nor a mapping")
	}
	return e, nil
}

func validName(s string) bool { return s != "" && !strings.ContainsAny(s, "=\x00") }

// Names are the names of the variables it mentions, sorted.
func (e Environment) Names() []string {
	names := append([]string(nil), e.Pass...)
	for name := range e.Set {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Build returns the program's environment: everything in environ except credentials that are not
// passed, then what is set. secrets are the values of the credentials among them.
func (e Environment) Build(environ []string) (env, secrets []string) {
	env = make([]string, 0, len(environ)+len(e.Set))
	for _, pair := range environ {
		name, value, ok := strings.Cut(pair, "=")
		if _, set := e.Set[name]; !ok || name == "" || set {
			continue
		}
		if Credential(name) {
			if !slices.Contains(e.Pass, name) {
				continue
			}
			secrets = append(secrets, value)
		}
		env = append(env, pair)
	}
	for _, name := range e.Names() {
		if value, ok := e.Set[name]; ok {
			env = append(env, name+"="+value)
			if Credential(name) {
				secrets = append(secrets, value)
			}
		}
	}
	return env, secrets
}

// CommandOf reads a command from a decoded value: a line, which is split, or a list of words.
func CommandOf(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return Split(v)
	case []any:
		words := make([]string, len(v))
		for i, item := range v {
			switch item := item.(type) {
			case string, int64, uint64, float64, bool:
				words[i] = fmt.Sprint(item)
			default:
				return nil, fmt.Errorf("item %d is not a string", i)
			}
		}
		if len(words) == 0 || words[0] == "" {
			return nil, fmt.Errorf("the command is empty")
		}
		return words, nil
	}
	return nil, fmt.Errorf("neither a line nor a list of words")
}
