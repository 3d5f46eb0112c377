// Package privacy takes personal data and credentials out of exchanges before they are written anywhere, and
// decides whose content is kept.
//
// A Redactor finds values by their form (package leak: e-mail addresses, telephones, cards, IBANs, IP addresses,
// national identity numbers, credentials), by the user's own expressions and lists of words, and, where one is
// configured, by a service of Presidio's API that knows names and places. What is found is masked, removed or
// replaced by a pseudonym, or kept, by kind, field and route. JSON is redacted value by value and stays JSON. A
// text that went through once goes through a second time unchanged.
//
// A Sampler says whether an exchange's content is kept and with which probability it was.
//
// It is not for errors and logs of telltale itself, which package redact keeps clean of its own keys. It does not
// find what has no form (names, addresses, descriptions of a person) without the service, and nothing that is
// split over two messages.
package privacy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/scorer/leak"
)

// schema is the version of what this package does with equal rules. It goes up with every change of what is found
// or of how it is replaced.
const schema = 1

// Found counts what was found, by kind.
type Found map[string]int

// Options are what a Redactor needs besides its configuration.
type Options struct {
	// Client calls the service that finds names; http.DefaultClient's transport when nil.
	Client *http.Client
}

// Redactor redacts. It is immutable and safe for concurrent use.
type Redactor struct {
	base    *rules
	routes  map[string]*rules
	version string
	ner     *ner
	keys    []secretKey // the one in use first
	regions []string
	marks   *marks
}

// kinds that are not of package leak.
const (
	kindSecret = "secret"
	kindNER    = "ner" // what the service calls by a name that is not known
)

// New compiles the rules. Every mistake is a *config.Error at its place.
func New(cfg config.Privacy, o Options) (*Redactor, error) {
	var errs config.Errors
	r := &Redactor{regions: cfg.Regions}
	if len(cfg.Key) > 0 {
		r.keys = append(r.keys, secretKey{id: cfg.KeyID, key: cfg.Key})
	}
	for _, k := range cfg.OldKeys {
		r.keys = append(r.keys, secretKey{id: k.ID, key: k.Key})
	}
	personal, err := leak.NewPersonal(leak.PersonalOptions{Regions: cfg.Regions, Thorough: true})
	if err != nil {
		errs = append(errs, &config.Error{Pos: cfg.Pos.At("regions"), Problem: err.Error(), Want: "countries by two letters (ISO 3166), such as US"})
		personal, _ = leak.NewPersonal(leak.PersonalOptions{Thorough: true})
	}
	secrets, err := leak.NewSecrets(nil)
	if err != nil {
		return nil, err
	}
	kinds := knownKinds(&cfg)
	r.marks = newMarks(kinds, r.keys)
	if cfg.NER != nil {
		r.ner = newNER(cfg.NER, o.Client)
	}
	shared := rules{redactor: r, personal: personal, secrets: secrets}
	r.base = shared.with(cfg, nil, kinds, &errs)
	r.routes = map[string]*rules{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Routes)) {
		r.routes[name] = shared.with(cfg.Routes[name], r.base, kinds, &errs)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	r.version = version(cfg)
	return r, nil
}

// knownKinds are all kinds that a finding may have, sorted.
func knownKinds(cfg *config.Privacy) []string {
	kinds := append(leak.PersonalTypes(), kindSecret)
	all := []config.Privacy{*cfg}
	for _, route := range cfg.Routes {
		all = append(all, route)
	}
	for _, p := range all {
		for _, x := range p.Patterns {
			kinds = append(kinds, x.Name)
		}
		for _, x := range p.Words {
			kinds = append(kinds, x.Name)
		}
	}
	if cfg.NER != nil {
		kinds = append(kinds, kindNER)
		kinds = append(kinds, serviceKinds...)
		for _, e := range cfg.NER.Entities {
			kinds = append(kinds, entityKind(e))
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// version identifies the rules: what they are, the tables they use and the name of the key, never the key.
func version(cfg config.Privacy) string {
	type rule struct {
		Mode          string
		Kinds, Fields map[string]string
		Patterns      []config.PrivacyPattern
		Words         []config.PrivacyWords
	}
	plain := func(p config.Privacy) rule {
		out := rule{p.Mode, p.Kinds, p.Fields, slices.Clone(p.Patterns), slices.Clone(p.Words)}
		for i := range out.Patterns {
			out.Patterns[i].Pos = config.Pos{}
		}
		for i := range out.Words {
			out.Words[i].Pos = config.Pos{}
		}
		return out
	}
	all := struct {
		Schema           int
		Secrets, Numbers string
		KeyID            string
		Regions          []string
		NER              *config.NER
		Base             rule
		Routes           map[string]rule
	}{Schema: schema, Secrets: leak.RulesVersion, Numbers: leak.NumbersVersion, KeyID: cfg.KeyID, Regions: cfg.Regions, Base: plain(cfg), Routes: map[string]rule{}}
	if len(cfg.Key) == 0 {
		all.KeyID = ""
	}
	if cfg.NER != nil {
		n := *cfg.NER
		n.Pos = config.Pos{}
		all.NER = &n
	}
	for name, p := range cfg.Routes {
		all.Routes[name] = plain(p)
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic("privacy: rules that are not JSON: " + err.Error()) // they are strings and numbers
	}
	sum := sha256.Sum256(b)
	out := "1-" + hex.EncodeToString(sum[:8])
	if all.KeyID != "" {
		out += "-" + all.KeyID
	}
	return out
}

// Version names the rules; it is stored with every exchange.
func (r *Redactor) Version() string { return r.version }

// rulesOf returns the rules of a route.
func (r *Redactor) rulesOf(route string) *rules {
	if rs, ok := r.routes[route]; ok {
		return rs
	}
	return r.base
}

// Text redacts a text as that field of an exchange of no route. A text that is JSON is redacted as JSON.
func (r *Redactor) Text(field, s string) (string, Found) {
	p := r.pass(context.Background(), r.base)
	return p.value(p.field(field), s), p.found
}

// Preview is Text for a route, with an error when the service for names failed.
func (r *Redactor) Preview(ctx context.Context, route, field, s string) (string, Found, error) {
	p := r.pass(ctx, r.rulesOf(route))
	out := p.value(p.field(field), s)
	return out, p.found, p.failed
}

// JSON redacts the values of a JSON document and keeps its structure; what is not JSON is redacted as text. raw is
// not changed, and returned when nothing was found.
func (r *Redactor) JSON(field string, raw []byte) ([]byte, Found) {
	p := r.pass(context.Background(), r.base)
	s := string(raw)
	out := p.value(p.field(field), s)
	if out == s {
		return raw, p.found
	}
	return []byte(out), p.found
}

func (r *Redactor) pass(ctx context.Context, rs *rules) *pass {
	return &pass{ctx: ctx, rules: rs, found: Found{}}
}

// pattern is a regular expression of the user's.
type pattern struct {
	kind string
	re   *regexp.Regexp
}

// maskOf is what stands where a value of a kind was.
func maskOf(kind string) string {
	return "[" + strings.ToUpper(strings.ReplaceAll(kind, "-", "_")) + "]"
}
