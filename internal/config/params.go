package config

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// params fills ${NAME} and {{env.NAME}} in a file's strings.
type params struct {
	vars map[string]string // --var NAME=value
	env  func(string) (string, bool)
	own  map[string]string // the suite's own env
	// off leaves all references alone: the text is data, not a suite.
	off         bool
	used        map[string]bool
	unsupported Errors
	ignored     Errors
	// whole holds the texts that --var gave whole: if one is used as a path, it is a path of the
	// command line.
	whole map[string]bool
}

var (
	// $${NAME} stands for a literal ${NAME}; ${NAME:-text} has a default.
	paramRef = regexp.MustCompile(`\$?\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}`)
	envRef   = regexp.MustCompile(`\{\{-?\s*env(?:\.([A-Za-z_][A-Za-z0-9_]*)|\[\s*['"]([^'"]+)['"]\s*\])\s*(\|\s*default\(\s*(?:'([^']*)'|"([^"]*)")\s*(?:,\s*true\s*)?\)\s*)?-?\}\}`)
)

// expand fills the parameters in s and reports those that have no value.
func (ps *params) expand(d *decoder, p Pos, s string) (out string, filled bool) {
	if ps == nil || ps.off || !strings.Contains(s, "${") && !strings.Contains(s, "env") {
		return s, false
	}
	out = paramRef.ReplaceAllStringFunc(s, func(ref string) string {
		if strings.HasPrefix(ref, "$$") {
			return ref[1:]
		}
		m := paramRef.FindStringSubmatch(ref)
		filled = true
		if v, ok := ps.lookup(m[1]); ok {
			if _, given := ps.vars[m[1]]; given && strings.TrimPrefix(s, "file://") == ref {
				if ps.whole == nil {
					ps.whole = map[string]bool{}
				}
				ps.whole[v] = true
			}
			return v
		}
		if m[2] != "" {
			return m[2][2:]
		}
		d.errs = append(d.errs, &Error{
			Pos: p, Value: ref, Problem: fmt.Sprintf("parameter %s has no value", m[1]),
			Hint: fmt.Sprintf("give --var %s=… or set the environment variable %s; write $%s for the text itself", m[1], m[1], ref),
		})
		return ref
	})
	out, env := ps.expandEnvOnly(d, p, out)
	return out, filled || env
}

// expandEnvOnly fills {{env.NAME}} and leaves ${NAME} alone: what a prompt file may hold.
func (ps *params) expandEnvOnly(d *decoder, p Pos, s string) (out string, filled bool) {
	if ps == nil || ps.off || !strings.Contains(s, "env") {
		return s, false
	}
	out = envRef.ReplaceAllStringFunc(s, func(ref string) string {
		m := envRef.FindStringSubmatch(ref)
		name := m[1] + m[2]
		filled = true
		if v, ok := ps.lookup(name); ok {
			return v
		}
		if m[3] != "" {
			return m[4] + m[5]
		}
		d.errs = append(d.errs, &Error{
			Pos: p, Value: ref, Problem: fmt.Sprintf("environment variable %s is not set", name),
			Hint: fmt.Sprintf("set %s, or give --var %s=…", name, name),
		})
		return ref
	})
	return out, filled
}

func (ps *params) lookup(name string) (string, bool) {
	if ps.used == nil {
		ps.used = map[string]bool{}
	}
	ps.used[name] = true
	if v, ok := ps.vars[name]; ok {
		return v, true
	}
	if v, ok := ps.own[name]; ok {
		return v, true
	}
	if ps.env == nil {
		return "", false
	}
	return ps.env(name)
}

// unusedVars reports each --var that nothing asked for: most often a misspelt name.
func (ps *params) unusedVars() Errors {
	var names []string
	for name := range ps.vars {
		if !ps.used[name] {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var known []string
	for name := range ps.used {
		known = append(known, name)
	}
	sort.Strings(known)
	var errs Errors
	for _, name := range names {
		e := &Error{Pos: Pos{Key: "--var " + name}, Problem: "the suite has no such parameter"}
		if best := Nearest(name, known); best != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", best)
		} else if len(known) > 0 {
			e.Want = "one of " + strings.Join(known, ", ")
		}
		errs = append(errs, e)
	}
	return errs
}
