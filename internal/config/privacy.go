package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// PrivacyModes are what may be done to a value that was found.
var PrivacyModes = []string{"mask", "remove", "pseudonym", "keep"}

// Bounds of privacy's settings: every exchange goes through all patterns.
const (
	leastPrivacyKey = 16 // bytes
	mostPatterns    = 100
	mostPatternText = 2000
	mostWords       = 200_000
)

type wirePrivacy struct {
	Pos      Pos                         `json:"-"`
	Mode     wireText                    `json:"mode,omitempty" jsonschema:"enum=mask,enum=remove,enum=pseudonym,enum=keep,description=What is done to values that are found; mask when it is not set"`
	Kinds    Object                      `json:"kinds,omitempty" jsonschema:"type=object,description=Modes of single kinds such as email: pseudonym"`
	KeyEnv   wireText                    `json:"key_env,omitempty" jsonschema:"description=Environment variable that holds the key of pseudonyms and sampling; at least 16 bytes"`
	KeyFile  wireText                    `json:"key_file,omitempty" jsonschema:"description=File that holds the key"`
	KeyID    wireText                    `json:"key_id,omitempty" jsonschema:"description=Name of the key in pseudonyms: up to 16 of a-z and 0-9; k1 when it is not set"`
	OldKeys  []wirePrivacyKey            `json:"old_keys,omitempty" jsonschema:"description=Keys of before: telltale forget finds their pseudonyms too"`
	Regions  wireStrings                 `json:"regions,omitempty" jsonschema:"description=Countries whose phone numbers are recognised without +; such as US"`
	Patterns []wirePrivacyPattern        `json:"patterns,omitempty" jsonschema:"description=Regular expressions of your own"`
	Words    []wirePrivacyWords          `json:"words,omitempty" jsonschema:"description=Lists of words or names"`
	NER      *wireNER                    `json:"ner,omitempty" jsonschema:"description=Service of Presidio's API that finds names and places"`
	Fields   Object                      `json:"fields,omitempty" jsonschema:"type=object,description=Modes of single fields: user; session; tags.NAME; input; output; system; error; body"`
	Routes   map[string]wirePrivacyRoute `json:"routes,omitempty" jsonschema:"description=What differs in single routes"`
}

type wirePrivacyKey struct {
	Pos     Pos      `json:"-"`
	KeyID   wireText `json:"key_id"`
	KeyEnv  wireText `json:"key_env,omitempty"`
	KeyFile wireText `json:"key_file,omitempty"`
}

type wirePrivacyPattern struct {
	Pos     Pos      `json:"-"`
	Name    wireText `json:"name" jsonschema:"description=Name of the kind such as employee-id"`
	Pattern atText   `json:"pattern" jsonschema:"description=Regular expression (RE2); the first group is what is found if there is one"`
	Mode    wireText `json:"mode,omitempty" jsonschema:"enum=mask,enum=remove,enum=pseudonym,enum=keep"`
}

type wirePrivacyWords struct {
	Pos   Pos         `json:"-"`
	Name  wireText    `json:"name" jsonschema:"description=Name of the kind such as customer"`
	Words wireStrings `json:"words,omitempty" jsonschema:"description=Words or phrases; case does not matter"`
	File  wireText    `json:"file,omitempty" jsonschema:"description=File with one word or phrase a line"`
	Mode  wireText    `json:"mode,omitempty" jsonschema:"enum=mask,enum=remove,enum=pseudonym,enum=keep"`
}

type wireNER struct {
	Pos      Pos         `json:"-"`
	URL      wireText    `json:"url" jsonschema:"description=Address of the service; /analyze is added"`
	Language string      `json:"language,omitempty" jsonschema:"description=Language of the texts; en when it is not set"`
	Entities wireStrings `json:"entities,omitempty" jsonschema:"description=Types to ask for such as PERSON; all when it is not set"`
	MinScore *float64    `json:"min_score,omitempty" jsonschema:"minimum=0,maximum=1,description=0.5 when it is not set"`
	Timeout  duration    `json:"timeout,omitempty" jsonschema:"description=Of one call; 2s when it is not set"`
	Failing  string      `json:"failing,omitempty" jsonschema:"enum=drop,enum=keep,description=What happens to content when the service fails; drop when it is not set"`
}

type wirePrivacyRoute struct {
	Pos      Pos                  `json:"-"`
	Mode     wireText             `json:"mode,omitempty" jsonschema:"enum=mask,enum=remove,enum=pseudonym,enum=keep"`
	Kinds    Object               `json:"kinds,omitempty" jsonschema:"type=object"`
	Patterns []wirePrivacyPattern `json:"patterns,omitempty" jsonschema:"description=Besides the server's"`
	Words    []wirePrivacyWords   `json:"words,omitempty" jsonschema:"description=Besides the server's"`
	Fields   Object               `json:"fields,omitempty" jsonschema:"type=object"`
}

// privacy turns the section into what package privacy reads. Names of kinds and regions are checked there.
func (l *serverLoader) privacy(w *wirePrivacy) Privacy {
	p := l.privacyRoute(&wirePrivacyRoute{Pos: w.Pos, Mode: w.Mode, Kinds: w.Kinds, Patterns: w.Patterns, Words: w.Words, Fields: w.Fields})
	p.Regions = w.Regions
	p.Key, p.KeyID = l.privacyKey(&wirePrivacyKey{Pos: w.Pos, KeyID: w.KeyID, KeyEnv: w.KeyEnv, KeyFile: w.KeyFile})
	for i := range w.OldKeys {
		old := &w.OldKeys[i]
		key, id := l.privacyKey(old)
		if old.KeyID.Text == "" {
			l.fail(old.Pos.At("key_id"), "", "an old key without its name", "the key_id that it had")
		} else if id == p.KeyID || slices.ContainsFunc(p.OldKeys, func(k PrivacyKey) bool { return k.ID == id }) {
			l.fail(old.KeyID.Pos, id, "two keys have this name", "a name of its own for each key")
		}
		if len(key) > 0 {
			p.OldKeys = append(p.OldKeys, PrivacyKey{ID: id, Key: key})
		}
	}
	if w.NER != nil {
		p.NER = l.ner(w.NER)
	}
	for _, name := range sortedKeys(w.Routes) {
		r := w.Routes[name]
		if p.Routes == nil {
			p.Routes = map[string]Privacy{}
		}
		p.Routes[name] = l.privacyRoute(&r)
	}
	return p
}

func (l *serverLoader) privacyRoute(w *wirePrivacyRoute) Privacy {
	p := Privacy{Pos: w.Pos, Mode: l.privacyMode(w.Mode), Kinds: l.privacyModes(w.Kinds), Fields: l.privacyModes(w.Fields)}
	for _, field := range sortedKeys(p.Fields) {
		if tag, isTag := strings.CutPrefix(field, "tags."); !slices.Contains(PrivacyFields, field) && (!isTag || tag == "") {
			l.fail(w.Fields.At(field), field, "not a field", strings.Join(PrivacyFields, ", ")+" or tags.NAME")
		}
	}
	names := map[string]bool{}
	named := func(n wireText, parent Pos) string {
		if !kindName.MatchString(n.Text) {
			l.fail(at(n, parent, "name"), n.Text, "not a name for a kind", "a-z, 0-9 and - only, a letter first, at most 32, such as employee-id")
		} else if names[n.Text] {
			l.fail(n.Pos, n.Text, "two lists or patterns have this name", "a name of its own for each")
		}
		names[n.Text] = true
		return n.Text
	}
	if len(w.Patterns) > mostPatterns {
		l.fail(w.Pos.At("patterns"), fmt.Sprint(len(w.Patterns)), "too many patterns", fmt.Sprintf("at most %d", mostPatterns))
	}
	for _, x := range w.Patterns {
		p.Patterns = append(p.Patterns, PrivacyPattern{Pos: x.Pos, Name: named(x.Name, x.Pos), Pattern: l.pattern(x), Mode: l.privacyMode(x.Mode)})
	}
	for _, x := range w.Words {
		p.Words = append(p.Words, PrivacyWords{Pos: x.Pos, Name: named(x.Name, x.Pos), Words: l.words(x), Mode: l.privacyMode(x.Mode)})
	}
	return p
}

// PrivacyFields are the fields that may have a mode of their own, besides tags.NAME.
var PrivacyFields = []string{"user", "session", "input", "output", "system", "error", "body"}

var (
	kindName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	keyName  = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
)

func (l *serverLoader) privacyMode(t wireText) string {
	if t.Text == "" {
		return ""
	}
	return l.choice(t.Pos, t.Text, PrivacyModes...)
}

func (l *serverLoader) privacyModes(o Object) map[string]string {
	if len(o.Map) == 0 {
		return nil
	}
	out := make(map[string]string, len(o.Map))
	for _, k := range sortedKeys(o.Map) {
		v, isText := o.Map[k].(string)
		if !isText {
			l.fail(o.At(k), fmt.Sprint(o.Map[k]), "not a mode", strings.Join(PrivacyModes, ", "))
			continue
		}
		out[k] = l.choice(o.At(k), v, PrivacyModes...)
	}
	return out
}

// privacyKey resolves a key. An empty one without a name for it is none.
func (l *serverLoader) privacyKey(w *wirePrivacyKey) (key []byte, id string) {
	if id = w.KeyID.Text; id == "" {
		id = "k1"
	}
	if !keyName.MatchString(id) {
		l.fail(w.KeyID.Pos, id, "not a name for a key", "up to 16 of a-z and 0-9, such as k1")
	}
	if w.KeyEnv.Text == "" && w.KeyFile.Text == "" {
		return nil, id
	}
	key = []byte(l.secret(w.KeyEnv, w.KeyFile))
	if len(key) > 0 && len(key) < leastPrivacyKey {
		// The value is a secret: only its length is shown.
		l.fail(w.Pos, "", fmt.Sprintf("the key %s has %d bytes, which can be guessed", id, len(key)), fmt.Sprintf("at least %d random bytes, such as openssl rand -hex 32 makes", leastPrivacyKey))
	}
	return key, id
}

func (l *serverLoader) pattern(x wirePrivacyPattern) string {
	s := x.Pattern.Text
	p := x.Pattern.Pos
	if p.File == "" {
		p = x.Pos.At("pattern")
	}
	re, err := regexp.Compile(s)
	switch {
	case s == "" && x.Pattern.Pos.File != "":
		return "" // its decoder has said so
	case s == "":
		l.fail(p, "", "a pattern is missing", `a regular expression such as EMP-[0-9]{6}`)
	case len(s) > mostPatternText:
		l.fail(p, "", fmt.Sprintf("the pattern has %d characters", len(s)), fmt.Sprintf("at most %d", mostPatternText))
	case err != nil:
		l.errs = append(l.errs, &Error{Pos: p, Value: s, Problem: "not a regular expression", Err: err, Want: "RE2 syntax"})
	case re.MatchString(""):
		l.fail(p, s, "the pattern matches an empty text", "a pattern that takes at least one character")
	}
	return s
}

func (l *serverLoader) words(x wirePrivacyWords) []string {
	list := slices.Clone([]string(x.Words))
	if x.File.Text != "" {
		if _, data, ok := l.read(x.File.Text, x.File.Pos); ok {
			for line := range strings.Lines(string(data)) {
				list = append(list, line)
			}
		}
	}
	out := list[:0]
	for _, w := range list {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	switch {
	case len(out) == 0:
		l.fail(x.Pos, "", "no words", "words: a list, or file: with one a line")
	case len(out) > mostWords:
		l.fail(x.Pos, fmt.Sprint(len(out)), "too many words", fmt.Sprintf("at most %d", mostWords))
	}
	return out
}

func (l *serverLoader) ner(w *wireNER) *NER {
	n := &NER{Pos: w.Pos, URL: strings.TrimSuffix(strings.TrimRight(w.URL.Text, "/"), "/analyze"), Language: "en", Entities: w.Entities, MinScore: .5, Timeout: 2 * time.Second, Failing: "drop"}
	if u, err := url.Parse(n.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		// The address may hold a password: it is not shown.
		l.fail(at(w.URL, w.Pos, "url"), "", "not the address of a service", "http(s)://HOST:PORT without user and query")
	}
	if w.Language != "" {
		n.Language = w.Language
	}
	if w.MinScore != nil {
		if n.MinScore = *w.MinScore; !(n.MinScore >= 0 && n.MinScore <= 1) {
			l.fail(w.Pos.At("min_score"), fmt.Sprint(n.MinScore), "out of range", "0 to 1")
		}
	}
	if w.Timeout > 0 {
		n.Timeout = time.Duration(float64(w.Timeout) * float64(time.Second))
	}
	if w.Failing != "" {
		n.Failing = l.choice(w.Pos.At("failing"), w.Failing, "drop", "keep")
	}
	return n
}
