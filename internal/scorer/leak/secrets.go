package leak

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
	"github.com/zricethezav/gitleaks/v8/config"
)

// RulesVersion is the version of gitleaks whose rules are used.
const RulesVersion = "gitleaks/8.30.1"

// rule is one way in which a credential is written. Its pattern is compiled when a text first has
// one of its keywords: there are over two hundred, and most runs need none.
type rule struct {
	id      string
	pattern func() *regexp.Regexp
	group   int // of the pattern that is the secret; 0 for the first that matched
	entropy float64
	allow   []allowance
	common  int // its place in commonRules, -1 when it is not there
}

// The rules whose keywords are in most texts ("api" in capital, "ey" in they, "s." at the end of a sentence). All ask for a
// token with a digit in it, which is quickly told, and only the places around their keywords are looked at.
var commonRules = [...]string{genericRule, "jwt", "vault-service-token"}

// genericRule finds an assignment to something that is called a key or a password.
const genericRule = "generic-api-key"

// shortestUnbroken is the least that the other common rules match, which has no space in it.
const shortestUnbroken = 26

// allowance says which findings of a rule are none.
type allowance struct {
	all       bool   // both kinds must hold, not one
	target    string // what patterns are held against: match, line, or the secret
	patterns  func() []*regexp.Regexp
	stopWords []string
}

// ruleFile is gitleaks' configuration, as far as it applies to a text without a file name.
type ruleFile struct {
	Allowlist ruleAllowlist
	Rules     []struct {
		ID          string
		Path        string
		Regex       string
		SecretGroup int
		Entropy     float64
		Keywords    []string
		Allowlists  []ruleAllowlist
	}
}

type ruleAllowlist struct {
	Condition   string
	RegexTarget string
	Regexes     []string
	StopWords   []string
}

// Secrets finds credentials: API keys, tokens, private keys, passwords in configuration. It is
// immutable and safe for concurrent use.
type Secrets struct {
	rules    []*rule
	always   []int // rules without keywords
	keywords *keywords
	of       [][]int // the rules that each keyword belongs to
	allow    []allowance
}

// NewSecrets returns the Secrets of all rules but those excluded by id. An id that no rule has is an error.
func NewSecrets(exclude []string) (*Secrets, error) {
	all, err := builtinSecrets()
	if err != nil || len(exclude) == 0 {
		return all, err
	}
	for _, id := range exclude {
		if !slices.ContainsFunc(all.rules, func(r *rule) bool { return r.id == id }) {
			return nil, fmt.Errorf("no such rule: %q", id)
		}
	}
	s := *all
	s.rules = slices.Clone(all.rules)
	for i, r := range s.rules {
		if slices.Contains(exclude, r.id) {
			s.rules[i] = nil
		}
	}
	return &s, nil
}

// builtinSecrets reads gitleaks' own rules. Its engine is made for repositories of files and takes
// a hundred times as long on a short text, so only the rules are used.
var builtinSecrets = sync.OnceValues(func() (*Secrets, error) {
	var file ruleFile
	if err := toml.Unmarshal([]byte(config.DefaultConfig), &file); err != nil {
		return nil, fmt.Errorf("leak: gitleaks' rules: %w", err)
	}
	s := &Secrets{allow: []allowance{newAllowance(file.Allowlist)}}
	at := map[string]int{}
	var words []string
	for _, r := range file.Rules {
		if r.Path != "" || r.Regex == "" {
			continue // it looks at the names of files
		}
		i := len(s.rules)
		nr := &rule{id: r.ID, group: r.SecretGroup, entropy: r.Entropy, common: slices.Index(commonRules[:], r.ID), pattern: sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(r.Regex) })}
		for _, a := range r.Allowlists {
			nr.allow = append(nr.allow, newAllowance(a))
		}
		s.rules = append(s.rules, nr)
		if len(r.Keywords) == 0 {
			s.always = append(s.always, i)
		}
		for _, k := range r.Keywords {
			k = strings.ToLower(k)
			n, ok := at[k]
			if !ok {
				n = len(words)
				at[k] = n
				words = append(words, k)
				s.of = append(s.of, nil)
			}
			s.of[n] = append(s.of[n], i)
		}
	}
	if len(s.rules) == 0 {
		return nil, fmt.Errorf("leak: gitleaks' configuration has no rules")
	}
	s.keywords = newKeywords(words)
	return s, nil
})

func newAllowance(a ruleAllowlist) allowance {
	out := allowance{all: strings.EqualFold(a.Condition, "and"), target: a.RegexTarget, stopWords: a.StopWords}
	for i, w := range out.stopWords {
		out.stopWords[i] = strings.ToLower(w)
	}
	out.patterns = sync.OnceValue(func() []*regexp.Regexp {
		list := make([]*regexp.Regexp, len(a.Regexes))
		for i, r := range a.Regexes {
			list[i] = regexp.MustCompile(r)
		}
		return list
	})
	return out
}

// Find returns the credentials in text, in order. A Span's Type is the id of gitleaks' rule.
func (s *Secrets) Find(text string) []Span {
	if len(text) < shortestSecret && len(s.always) == 0 {
		return nil
	}
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	w.reset(len(s.rules))
	for _, i := range s.always {
		if s.rules[i] != nil {
			w.cue(i)
		}
	}
	s.keywords.find(text, func(keyword, end int) {
		for _, i := range s.of[keyword] {
			if r := s.rules[i]; r == nil {
				continue
			} else if r.common >= 0 {
				w.places[r.common] = append(w.places[r.common], end)
			}
			w.cue(i)
		}
	})
	if len(w.list) == 0 {
		return nil
	}
	slices.Sort(w.list)
	var found []ranked
	tokens := sync.OnceValue(func() bool { return hasToken(text) })
	for _, i := range w.list {
		r, rank := s.rules[i], 0
		windows := [][2]int{{0, len(text)}}
		if r.common >= 0 {
			if r.id == genericRule {
				rank = 1 // what a specific rule knows is named by it
				windows = assignments(text, w.places[r.common])
			} else {
				windows = unbroken(text, w.places[r.common])
			}
			if len(windows) == 0 || !tokens() {
				continue
			}
		}
		for _, w := range windows {
			for _, loc := range r.pattern().FindAllStringSubmatchIndex(text[w[0]:w[1]], -1) {
				if start, end, ok := s.secret(r, text[w[0]:w[1]], loc); ok {
					found = append(found, ranked{Span{r.id, w[0] + start, w[0] + end}, rank})
				}
			}
		}
	}
	return settle(found)
}

// shortestSecret is the length of the shortest text that a rule finds anything in.
const shortestSecret = 8

// workspace is what one search needs, kept for the next.
type workspace struct {
	cued   []bool
	list   []int // the rules that are cued
	places [len(commonRules)][]int
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

func (w *workspace) reset(rules int) {
	for _, i := range w.list {
		w.cued[i] = false
	}
	w.list = w.list[:0]
	if len(w.cued) < rules {
		w.cued = make([]bool, rules)
	}
	for i := range w.places {
		w.places[i] = w.places[i][:0]
	}
}

func (w *workspace) cue(rule int) {
	if !w.cued[rule] {
		w.cued[rule] = true
		w.list = append(w.list, rule)
	}
}

// shortestToken is the length of the shortest credential that a common rule finds.
const shortestToken = 10

// hasToken says whether text has a run of the characters of tokens with a digit in it.
func hasToken(text string) bool {
	run, digit := 0, false
	for i := range len(text) {
		switch c := text[i]; {
		case isDigit(c):
			digit = true
			run++
		case isLetter(c) || strings.IndexByte("_-.+/=", c) >= 0:
			run++
		default:
			run, digit = 0, false
		}
		if run >= shortestToken && digit {
			return true
		}
	}
	return false
}

// The generic rule's pattern takes up to 50 characters before its keyword, up to 23 between it and
// the sign of an assignment, and up to 160 after that.
const (
	beforeKeyword = 60
	beforeSign    = 24
	afterSign     = 180
)

// assignments returns the parts of text in which a keyword that ends at one of places, which
// ascend, has the sign of an assignment after it. Its pattern is slow, and most texts speak of keys
// without giving any. Parts that overlap are joined.
func assignments(text string, places []int) [][2]int {
	var out [][2]int
	for _, p := range places {
		near := min(len(text), p+beforeSign)
		if !strings.ContainsAny(text[p:near], "=>:|?,") {
			continue
		}
		from, to := max(0, p-beforeKeyword), min(len(text), near+afterSign)
		for to < len(text) && text[to] != ' ' && text[to] != '\n' {
			to++
		}
		if n := len(out); n > 0 && from <= out[n-1][1] {
			out[n-1][1] = max(to, out[n-1][1])
			continue
		}
		out = append(out, [2]int{from, to})
	}
	return out
}

// unbroken returns the parts of text without a space in which a keyword ends at one of places, which ascend, with the signs
// before and after them, as far as they are long enough.
func unbroken(text string, places []int) [][2]int {
	var out [][2]int
	done := 0
	for _, p := range places {
		if p <= done {
			continue
		}
		from, to := p-1, p
		for from > 0 && !isSpace(text[from-1]) {
			from--
		}
		for to < len(text) && !isSpace(text[to]) {
			to++
		}
		if done = to; to-from >= shortestUnbroken {
			out = append(out, [2]int{max(0, from-1), min(len(text), to+1)})
		}
	}
	return out
}

// isSpace says whether b is one by regular expressions.
func isSpace(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' || b == '\f' }

// secret returns the bounds of the secret in a match, unless it is allowed or too regular.
func (s *Secrets) secret(r *rule, text string, loc []int) (start, end int, ok bool) {
	start, end = loc[0], loc[1]
	if r.group > 0 && loc[2*r.group] >= 0 {
		start, end = loc[2*r.group], loc[2*r.group+1]
	} else if r.group == 0 {
		for g := 2; g+1 < len(loc); g += 2 {
			if loc[g] >= 0 && loc[g] < loc[g+1] {
				start, end = loc[g], loc[g+1]
				break
			}
		}
	}
	secret, match := text[start:end], text[loc[0]:loc[1]]
	if strings.TrimSpace(secret) == "" || r.entropy > 0 && entropy(secret) <= r.entropy {
		return 0, 0, false
	}
	if r.id == genericRule && !strings.ContainsAny(secret, "0123456789") {
		return 0, 0, false
	}
	line := text[strings.LastIndexByte(text[:loc[0]], '\n')+1:]
	if i := strings.IndexByte(line[loc[1]-(len(text)-len(line)):], '\n'); i >= 0 {
		line = line[:loc[1]-(len(text)-len(line))+i]
	}
	for _, list := range [][]allowance{s.allow, r.allow} {
		for k := range list {
			if list[k].allows(secret, match, line) {
				return 0, 0, false
			}
		}
	}
	return start, end, true
}

func (a *allowance) allows(secret, match, line string) bool {
	target := secret
	switch a.target {
	case "match":
		target = match
	case "line":
		target = line
	}
	patterns := a.patterns()
	byPattern := slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(target) })
	folded := strings.ToLower(secret)
	byWord := slices.ContainsFunc(a.stopWords, func(w string) bool { return strings.Contains(folded, w) })
	if a.all {
		return (byPattern || len(patterns) == 0) && (byWord || len(a.stopWords) == 0) && (len(patterns) > 0 || len(a.stopWords) > 0)
	}
	return byPattern || byWord
}

// entropy is Shannon's, in bits a character.
func entropy(s string) float64 {
	counts := map[rune]int{}
	n := 0
	for _, r := range s {
		counts[r]++
		n++
	}
	h := 0.0
	for _, c := range counts {
		p := float64(c) / float64(n)
		h -= p * math.Log2(p)
	}
	return h
}
