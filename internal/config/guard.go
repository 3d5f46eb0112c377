package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Bounds of a guard's settings. Every answer goes through all of it, and what is held back of a stream is bounded by them.
const (
	DefaultGuardWindow = 256
	DefaultGuardAnswer = 8 << 20

	mostGuards       = 100
	mostGuardFilters = 50
	mostPhrases      = 100_000
	longestPhrase    = 1000 // bytes
	leastWindow      = 64
	mostWindow       = 64 << 10
	mostGuardAnswer  = 64 << 20
	mostGuardText    = 32 << 10
)

// NoGuard is the name of a variant's guard that takes the route's away.
const NoGuard = "none"

// What a guard does. The zero value of an action is none of them.
const (
	GuardBlock   = "block"   // the answer becomes a refusal
	GuardReplace = "replace" // what was found is masked
	GuardReask   = "reask"   // the model is asked again, once
	GuardPass    = "pass"
	GuardFilter  = "filter"
)

// Guard is a hotfix that a route or variant names: what is changed in requests and looked for in answers. Package guard
// compiles it, and checks there what this package does not know: kinds of personal data and the JSON Schema.
type Guard struct {
	Pos     Pos
	Name    string
	Version string // the user's own; it says nothing of the content
	// ID identifies what the guard does, without its name and version: 16 hex digits of a SHA-256.
	ID string

	Filters []OutputFilter
	// Schema is the JSON Schema that the text of every answer conforms to; nil for none.
	Schema    []byte
	SchemaPos Pos
	// Ask says that an answer that cannot be repaired is asked for again, once.
	Ask    bool
	System GuardSystem
	Caps   map[string]float64
	// Fallback is the model that is asked, once, when FallbackOn says so: "block" or "error".
	Fallback   string
	FallbackOn []string

	Refusal   string // what the user reads in the place of a blocked answer
	OnError   string // pass or block: what becomes of an answer that the guard cannot read
	ToolCalls string // filter or pass: the arguments of tool calls
	Reasoning string // filter or pass: reasoning texts
	Hold      int64  // bytes of a stream's text that are gathered before any of it is passed on
	MaxAnswer int64  // bytes of an answer that is held whole
}

// OutputFilter is one filter of a guard's: everything that it looks for is treated alike.
type OutputFilter struct {
	Pos      Pos
	Name     string
	Phrases  []string
	Words    bool // a phrase is found only where it is not within a longer word
	Patterns []string
	Window   int      // bytes of text that a pattern may leave undecided
	PII      []string // kinds of personal data, or "all"
	Regions  []string
	Secrets  bool
	Thorough bool // finds more, and more in vain
	Action   string
	// Replacement stands where something was masked; empty for the default, which names the kind.
	Replacement string
	// Ask is what the model is told when it is asked again, and Otherwise what is done when it cannot be.
	Ask       string
	Otherwise string
}

// GuardSystem changes the system prompt.
type GuardSystem struct {
	Prepend, Append, Replace string
}

// Any says whether anything is changed.
func (s GuardSystem) Any() bool { return s != GuardSystem{} }

type wireGuard struct {
	Pos        Pos              `json:"-"`
	Name       wireText         `json:"name" jsonschema:"description=Name of the guard; routes and variants name it"`
	Version    wireText         `json:"version,omitempty" jsonschema:"description=Your own version of it; in every exchange"`
	Filters    []wireFilterRule `json:"filters,omitempty" jsonschema:"description=What answers must not hold"`
	Schema     Object           `json:"schema,omitempty" jsonschema:"type=object,description=JSON Schema of the answer's text"`
	SchemaFile wireText         `json:"schema_file,omitempty" jsonschema:"description=File with the JSON Schema"`
	Ask        *bool            `json:"ask,omitempty" jsonschema:"description=false: an answer that does not conform to the schema is not asked for again"`
	System     *wireSystem      `json:"system,omitempty" jsonschema:"description=Changes to the system prompt"`
	Caps       Object           `json:"caps,omitempty" jsonschema:"description=Numeric parameters that are lowered to at most this"`
	Fallback   *wireFallback    `json:"fallback,omitempty" jsonschema:"description=Another model that is asked once"`
	Refusal    string           `json:"refusal,omitempty" jsonschema:"description=What the user reads in the place of a blocked answer"`
	OnError    string           `json:"on_error,omitempty" jsonschema:"enum=pass,enum=block,description=What becomes of an answer that the guard cannot read; block when it is not set"`
	ToolCalls  string           `json:"tool_calls,omitempty" jsonschema:"enum=filter,enum=pass,description=Arguments of tool calls; filter when it is not set"`
	Reasoning  string           `json:"reasoning,omitempty" jsonschema:"enum=filter,enum=pass,description=Reasoning texts; filter when it is not set"`
	Hold       size             `json:"hold,omitempty" jsonschema:"description=Text of a stream that is gathered before any of it is passed on; nothing when it is not set"`
	MaxAnswer  size             `json:"max_answer,omitempty" jsonschema:"description=Largest answer that is held whole; 8MiB"`
}

type wireFilterRule struct {
	Pos         Pos         `json:"-"`
	Name        wireText    `json:"name" jsonschema:"description=Name of the filter in reports"`
	Phrases     wireStrings `json:"phrases,omitempty" jsonschema:"description=Forbidden phrases; case; accents and widths of signs do not matter"`
	File        wireText    `json:"file,omitempty" jsonschema:"description=File with one phrase a line"`
	Words       *bool       `json:"words,omitempty" jsonschema:"description=false: phrases are found within longer words too"`
	Patterns    []atText    `json:"patterns,omitempty" jsonschema:"description=Regular expressions (RE2)"`
	Window      size        `json:"window,omitempty" jsonschema:"description=Text that patterns and PII may leave undecided; 256"`
	PII         wireStrings `json:"pii,omitempty" jsonschema:"description=Kinds of personal data such as email; card; phone; or all"`
	Regions     wireStrings `json:"regions,omitempty" jsonschema:"description=Countries whose phone numbers are recognised without +; such as US"`
	Secrets     bool        `json:"secrets,omitempty" jsonschema:"description=true: API keys; tokens; passwords; private keys"`
	Thorough    bool        `json:"thorough,omitempty" jsonschema:"description=true: finds more personal data; and more that is none"`
	Action      string      `json:"action" jsonschema:"enum=block,enum=replace,enum=reask"`
	Replacement string      `json:"replacement,omitempty" jsonschema:"description=What stands in the place of what was found; [REMOVED] or the kind such as [EMAIL] when it is not set"`
	Ask         string      `json:"ask,omitempty" jsonschema:"description=What the model is told when it is asked again"`
	Otherwise   string      `json:"otherwise,omitempty" jsonschema:"enum=block,enum=replace,description=What is done when the model cannot be asked again; block when it is not set"`
}

type wireSystem struct {
	Pos     Pos    `json:"-"`
	Prepend string `json:"prepend,omitempty" jsonschema:"description=Text before the system prompt"`
	Append  string `json:"append,omitempty" jsonschema:"description=Text after it"`
	Replace string `json:"replace,omitempty" jsonschema:"description=Text instead of it"`
}

type wireFallback struct {
	Pos   Pos         `json:"-"`
	Model string      `json:"model" jsonschema:"description=Model that the upstreams are asked for"`
	On    wireStrings `json:"on,omitempty" jsonschema:"description=block and error; both when it is not set"`
}

const defaultRefusal = "I'm sorry, but I can't help with that."

// guards reads the server's guards, and resolves the names that routes and variants give.
func (l *serverLoader) guards(ws []wireGuard, routes []Route) []Guard {
	if len(ws) > mostGuards {
		l.fail(ws[mostGuards].Pos, fmt.Sprint(len(ws)), "too many guards", fmt.Sprintf("at most %d", mostGuards))
		return nil
	}
	var out []Guard
	for i := range ws {
		g := l.guard(&ws[i])
		if slices.ContainsFunc(out, func(o Guard) bool { return o.Name == g.Name }) {
			l.fail(at(ws[i].Name, ws[i].Pos, "name"), g.Name, "two guards have this name", "a name of its own for each")
		}
		out = append(out, g)
	}
	for i := range routes {
		r := &routes[i]
		r.GuardID = l.guardID(out, r.Guard, r.Pos)
		for k := range r.Variants {
			v := &r.Variants[k]
			v.GuardID = l.guardID(out, v.Guard, v.Pos)
		}
	}
	return out
}

func (l *serverLoader) guardID(list []Guard, name string, p Pos) string {
	if name == "" || name == NoGuard {
		return ""
	}
	var names []string
	for i := range list {
		if list[i].Name == name {
			return list[i].ID
		}
		names = append(names, list[i].Name)
	}
	e := &Error{Pos: p.At("guard"), Value: name, Problem: "there is no such guard", Want: "one of guards: " + strings.Join(names, ", ")}
	if len(names) == 0 {
		e.Want = "a guard in guards:"
	}
	if best := Nearest(name, names); best != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", best)
	}
	l.errs = append(l.errs, e)
	return ""
}

func (l *serverLoader) guard(w *wireGuard) Guard {
	g := Guard{Pos: w.Pos, Name: w.Name.Text, Version: w.Version.Text, Caps: l.caps(w.Caps), Ask: w.Ask == nil || *w.Ask,
		Refusal: w.Refusal, OnError: GuardBlock, ToolCalls: GuardFilter, Reasoning: GuardFilter, Hold: int64(w.Hold), MaxAnswer: DefaultGuardAnswer}
	if !routeName(g.Name) || g.Name == NoGuard {
		l.fail(at(w.Name, w.Pos, "name"), g.Name, "not a name for a guard", "letters, digits, - _ and . only, at most 64; not none")
	}
	if len(g.Version) > 64 {
		l.fail(w.Version.Pos, "", "the version is too long", "at most 64 characters")
	}
	if g.Refusal == "" {
		g.Refusal = defaultRefusal
	}
	if w.OnError != "" {
		g.OnError = l.choice(w.Pos.At("on_error"), w.OnError, GuardPass, GuardBlock)
	}
	if w.ToolCalls != "" {
		g.ToolCalls = l.choice(w.Pos.At("tool_calls"), w.ToolCalls, GuardFilter, GuardPass)
	}
	if w.Reasoning != "" {
		g.Reasoning = l.choice(w.Pos.At("reasoning"), w.Reasoning, GuardFilter, GuardPass)
	}
	if w.MaxAnswer > 0 {
		if g.MaxAnswer = int64(w.MaxAnswer); g.MaxAnswer > mostGuardAnswer {
			l.fail(w.Pos.At("max_answer"), fmt.Sprint(g.MaxAnswer), "too large", "at most 64MiB")
		}
	}
	if g.Hold > g.MaxAnswer {
		l.fail(w.Pos.At("hold"), fmt.Sprint(g.Hold), "more than max_answer", "at most as much as max_answer")
	}
	l.guardParts(w, &g)
	if len(g.Filters) == 0 && g.Schema == nil && !g.System.Any() && len(g.Caps) == 0 && g.Fallback == "" && len(l.errs) == 0 {
		l.fail(w.Pos, g.Name, "the guard does nothing", "filters, schema, system, caps or fallback")
	}
	g.ID = g.behaviour()
	return g
}

// guardParts reads the sections of a guard.
func (l *serverLoader) guardParts(w *wireGuard, g *Guard) {
	if len(w.Filters) > mostGuardFilters {
		l.fail(w.Pos.At("filters"), fmt.Sprint(len(w.Filters)), "too many filters", fmt.Sprintf("at most %d", mostGuardFilters))
		return
	}
	for i := range w.Filters {
		f := l.guardFilter(&w.Filters[i])
		if slices.ContainsFunc(g.Filters, func(o OutputFilter) bool { return o.Name == f.Name }) {
			l.fail(at(w.Filters[i].Name, w.Filters[i].Pos, "name"), f.Name, "two filters have this name", "a name of its own for each")
		}
		g.Filters = append(g.Filters, f)
	}
	l.guardSchema(w, g)
	texts := []struct{ key, text string }{{"refusal", w.Refusal}}
	if s := w.System; s != nil {
		g.System = GuardSystem{Prepend: s.Prepend, Append: s.Append, Replace: s.Replace}
		if !g.System.Any() {
			l.fail(s.Pos, "", "nothing is changed", "prepend, append or replace")
		}
		texts = append(texts, struct{ key, text string }{"system", s.Prepend}, struct{ key, text string }{"system", s.Append}, struct{ key, text string }{"system", s.Replace})
	}
	for _, t := range texts {
		if len(t.text) > mostGuardText {
			l.fail(w.Pos.At(t.key), "", fmt.Sprintf("the text has %d bytes", len(t.text)), "at most 32KiB")
		}
	}
	for _, key := range sortedKeys(g.Caps) {
		if math.IsNaN(g.Caps[key]) || math.IsInf(g.Caps[key], 0) {
			l.fail(w.Caps.At(key), fmt.Sprint(g.Caps[key]), "not a number", "the largest value that is let through")
		}
	}
	if f := w.Fallback; f != nil {
		g.Fallback, g.FallbackOn = f.Model, f.On
		if strings.TrimSpace(f.Model) == "" {
			l.fail(f.Pos.At("model"), "", "a fallback without a model", "the name of a model")
		}
		if len(f.On) == 0 {
			g.FallbackOn = []string{GuardBlock, "error"}
		}
		for _, on := range g.FallbackOn {
			l.choice(f.Pos.At("on"), on, GuardBlock, "error")
		}
	}
}

func (l *serverLoader) guardSchema(w *wireGuard, g *Guard) {
	g.SchemaPos = w.Schema.Pos
	switch {
	case w.SchemaFile.Text != "" && w.Schema.Map != nil:
		l.fail(w.SchemaFile.Pos, w.SchemaFile.Text, "the guard has a schema of its own too", "schema or schema_file")
	case w.SchemaFile.Text != "":
		g.SchemaPos = w.SchemaFile.Pos
		_, data, ok := l.read(w.SchemaFile.Text, w.SchemaFile.Pos)
		if ok && !json.Valid(data) {
			l.fail(w.SchemaFile.Pos, w.SchemaFile.Text, "the file is not JSON", "a JSON Schema")
		} else if ok {
			g.Schema = data
		}
	case w.Schema.Map != nil:
		b, err := json.Marshal(w.Schema.Map)
		if err != nil {
			l.fail(w.Schema.Pos, "", "the schema cannot be written as JSON", "a JSON Schema")
			return
		}
		g.Schema = b
	}
}

func (l *serverLoader) guardFilter(w *wireFilterRule) OutputFilter {
	f := OutputFilter{Pos: w.Pos, Name: w.Name.Text, Words: w.Words == nil || *w.Words, Window: DefaultGuardWindow, PII: w.PII, Regions: w.Regions, Secrets: w.Secrets,
		Thorough: w.Thorough, Replacement: w.Replacement, Ask: w.Ask, Otherwise: GuardBlock}
	if !routeName(f.Name) {
		l.fail(at(w.Name, w.Pos, "name"), f.Name, "not a name for a filter", "letters, digits, - _ and . only, at most 64")
	}
	if w.Action == "" {
		l.fail(w.Pos.At("action"), "", "a filter without an action", "block, replace or reask")
	} else {
		f.Action = l.choice(w.Pos.At("action"), w.Action, GuardBlock, GuardReplace, GuardReask)
	}
	if w.Otherwise != "" {
		f.Otherwise = l.choice(w.Pos.At("otherwise"), w.Otherwise, GuardBlock, GuardReplace)
	}
	if (w.Ask != "" || w.Otherwise != "") && f.Action != GuardReask {
		l.fail(w.Pos, "", "the model is not asked again by this filter", "ask and otherwise with action: reask")
	}
	if len(w.Ask) > mostGuardText || len(w.Replacement) > longestPhrase {
		l.fail(w.Pos, "", "a text is too long", "32KiB for ask, 1000 bytes for replacement")
	}
	if w.Window > 0 {
		if f.Window = int(min(w.Window, math.MaxInt32)); f.Window < leastWindow || f.Window > mostWindow {
			l.fail(w.Pos.At("window"), fmt.Sprint(f.Window), "out of range", "64 to 64KiB")
		}
	}
	f.Phrases = l.phrases(w)
	if len(w.Patterns) > mostPatterns {
		l.fail(w.Pos.At("patterns"), fmt.Sprint(len(w.Patterns)), "too many patterns", fmt.Sprintf("at most %d", mostPatterns))
	}
	for _, p := range w.Patterns {
		f.Patterns = append(f.Patterns, l.guardPattern(p))
	}
	if len(f.Phrases)+len(f.Patterns)+len(f.PII) == 0 && !f.Secrets {
		l.fail(w.Pos, f.Name, "the filter looks for nothing", "phrases, file, patterns, pii or secrets")
	}
	return f
}

func (l *serverLoader) phrases(w *wireFilterRule) []string {
	list := slices.Clone([]string(w.Phrases))
	if w.File.Text != "" {
		if _, data, ok := l.read(w.File.Text, w.File.Pos); ok {
			for line := range strings.Lines(string(data)) {
				list = append(list, line)
			}
		}
	}
	out := list[:0]
	for _, p := range list {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		if len(p) > longestPhrase {
			l.fail(w.Pos, p[:40], "a phrase is too long", fmt.Sprintf("at most %d bytes", longestPhrase))
		}
		out = append(out, p)
	}
	if len(out) == 0 && (w.Phrases != nil || w.File.Text != "") {
		l.fail(w.Pos, "", "no phrases", "phrases: a list, or file: with one a line")
	}
	if len(out) > mostPhrases {
		l.fail(w.Pos, fmt.Sprint(len(out)), "too many phrases", fmt.Sprintf("at most %d", mostPhrases))
		return nil
	}
	return out
}

func (l *serverLoader) guardPattern(p atText) string {
	if p.Text == "" {
		return "" // its decoder has said so
	}
	re, err := regexp.Compile(p.Text)
	switch {
	case len(p.Text) > mostPatternText:
		l.fail(p.Pos, "", fmt.Sprintf("the pattern has %d characters", len(p.Text)), fmt.Sprintf("at most %d", mostPatternText))
	case err != nil:
		l.errs = append(l.errs, &Error{Pos: p.Pos, Value: p.Text, Problem: "not a regular expression", Err: err, Want: "RE2 syntax"})
	case re.MatchString(""):
		l.fail(p.Pos, p.Text, "the pattern matches an empty text", "a pattern that takes at least one character")
	}
	return p.Text
}

// behaviour is the hash of what the guard does.
func (g *Guard) behaviour() string {
	c := *g
	c.Pos, c.SchemaPos, c.Name, c.Version, c.ID = Pos{}, Pos{}, "", "", ""
	c.Filters = slices.Clone(g.Filters)
	for i := range c.Filters {
		c.Filters[i].Pos = Pos{}
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("config: guard %s: %v", g.Name, err)) // caps are finite, and everything else is text
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}
