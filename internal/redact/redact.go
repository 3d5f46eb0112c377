// Package redact takes credentials out of text before it reaches an error, a log or a result.
//
// It knows the secrets it is told about and the shapes that keys usually have. It is not a
// detector of personal data; that is package privacy's work. Everything that came from outside
// (a server's error body, a worker's standard error) passes through String before it is shown,
// and is shortened only afterwards, so that half a key cannot slip through.
package redact

import (
	"encoding/json"
	"net/url"
	"regexp"
	"sort"
	"strings"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// shortest is the least length of a secret: replacing one or two letters everywhere would only
// make messages unreadable.
const shortest = 4

var (
	// scheme keeps the word before the credential, so that a reader sees what was there.
	scheme = regexp.MustCompile(`(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=*-]{6,}`)
	// shapes are prefixes that well-known services give their keys; masked ones (sk-ab***yz) count.
	shapes = regexp.MustCompile(`\b(?:sk|pk|rk|xai|xox[abp])-[A-Za-z0-9_*.-]{6,}|\b(?:gsk|hf|ghp|gho|ghs|github_pat|glpat)[_-][A-Za-z0-9_*-]{8,}|\bAIza[A-Za-z0-9_-]{20,}|\bAKIA[A-Z0-9]{12,}|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}[A-Za-z0-9._-]*`)
	// named is a credential given by name: api_key=…, "api-key": "…", x-api-key: ….
	named = regexp.MustCompile(`(?i)((?:api[-_ ]?key|access[-_]?token|secret|password)["']?\s*[:=]\s*["']?)([A-Za-z0-9._~+/*-]{6,}=*)`)
	// userinfo is the password part of a URL.
	userinfo = regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]+@`)
)

// Redactor replaces secrets. The zero value knows only the usual shapes. It is safe for concurrent use.
type Redactor struct {
	replace *strings.Replacer
}

// New returns a Redactor that also replaces the given values, as they are and as they look inside
// JSON or a URL. Values shorter than four bytes are left out.
func New(secrets ...string) *Redactor {
	seen := map[string]bool{}
	var all []string
	add := func(s string) {
		if len(s) >= shortest && !seen[s] {
			seen[s] = true
			all = append(all, s)
		}
	}
	for _, s := range secrets {
		add(s)
		add(strings.TrimSpace(s))
		if len(s) < shortest {
			continue
		}
		add(url.QueryEscape(s))
		add(url.PathEscape(s))
		if b, err := json.Marshal(s); err == nil {
			add(string(b[1 : len(b)-1]))
		}
	}
	if len(all) == 0 {
		return &Redactor{}
	}
	// The longest first, so that a secret that contains another one goes as a whole.
	sort.Slice(all, func(i, j int) bool { return len(all[i]) > len(all[j]) })
	pairs := make([]string, 0, 2*len(all))
	for _, s := range all {
		pairs = append(pairs, s, Mark)
	}
	return &Redactor{replace: strings.NewReplacer(pairs...)}
}

// String returns s without credentials. A nil Redactor knows only the usual shapes.
func (r *Redactor) String(s string) string {
	if r != nil && r.replace != nil {
		s = r.replace.Replace(s)
	}
	s = scheme.ReplaceAllString(s, "$1$2"+Mark)
	s = shapes.ReplaceAllString(s, Mark)
	s = named.ReplaceAllString(s, "${1}"+Mark)
	return userinfo.ReplaceAllString(s, "${1}"+Mark+"@")
}
