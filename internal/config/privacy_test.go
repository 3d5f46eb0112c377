package config

import (
	"os"
	"strings"
	"testing"
	"time"
)

const privacyRoutes = "routes:\n  - name: support\n    upstreams: [{url: https://api.openai.com}]\n"

func loadPrivacy(t *testing.T, text string) (Privacy, error) {
	t.Helper()
	env := map[string]string{"PRIVACY_KEY": "0123456789abcdef0123456789abcdef", "OLD_KEY": "fedcba9876543210fedcba9876543210", "SHORT_KEY": "s3cret"}
	s, err := LoadServer("server.yaml", []byte(privacyRoutes+text), Options{
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Read: func(path string) ([]byte, error) {
			if path == "names.txt" {
				return []byte("Jane Doe\n\n  John Roe \n"), nil
			}
			return nil, os.ErrNotExist
		},
	})
	if err != nil {
		return Privacy{}, err
	}
	return s.Privacy, nil
}

func TestPrivacySection(t *testing.T) {
	p, err := loadPrivacy(t, `
privacy:
  mode: pseudonym
  kinds: {ip: keep, card: mask}
  key_env: PRIVACY_KEY
  key_id: k2
  old_keys: [{key_id: k1, key_env: OLD_KEY}]
  regions: [US, GB]
  patterns:
    - {name: employee-id, pattern: 'EMP-(\d{6})', mode: mask}
  words:
    - {name: customer, file: names.txt, words: [Acme]}
  ner: {url: "http://127.0.0.1:5002/analyze", entities: [PERSON], min_score: 0.7, timeout: 500ms, failing: keep}
  fields: {user: pseudonym, tags.mail: remove}
  routes:
    support: {mode: remove, kinds: {email: mask}, fields: {input: mask}}
`)
	if err != nil {
		t.Fatal(err)
	}
	if p.Mode != "pseudonym" || p.Kinds["ip"] != "keep" || string(p.Key) != "0123456789abcdef0123456789abcdef" || p.KeyID != "k2" || len(p.OldKeys) != 1 || p.OldKeys[0].ID != "k1" || len(p.Regions) != 2 {
		t.Errorf("%+v", p)
	}
	if len(p.Patterns) != 1 || p.Patterns[0].Pattern != `EMP-(\d{6})` || p.Patterns[0].Mode != "mask" || len(p.Words) != 1 || strings.Join(p.Words[0].Words, "|") != "Acme|Jane Doe|John Roe" {
		t.Errorf("%+v %+v", p.Patterns, p.Words)
	}
	if n := p.NER; n == nil || n.URL != "http://127.0.0.1:5002" || n.MinScore != .7 || n.Timeout != 500*time.Millisecond || n.Failing != "keep" || n.Language != "en" {
		t.Errorf("%+v", p.NER)
	}
	if p.Fields["user"] != "pseudonym" || p.Fields["tags.mail"] != "remove" || p.Routes["support"].Mode != "remove" || p.Routes["support"].Fields["input"] != "mask" {
		t.Errorf("%+v", p)
	}
	if p, err = loadPrivacy(t, "privacy: {}"); err != nil || p.Mode != "" || len(p.Key) != 0 || p.KeyID != "k1" || p.NER != nil {
		t.Errorf("%+v %v", p, err)
	}
}

func TestPrivacyMistakes(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := loadPrivacy(t, "privacy: "+text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
			return
		}
		for _, secret := range []string{"s3cret", "0123456789abcdef"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error holds a secret: %v", text, err)
			}
		}
	}
	f("{mode: hide}", "mask, remove, pseudonym, keep")
	f("{mode: masks}", `did you mean "mask"`)
	f("{kinds: {email: 3}}", "not a mode")
	f("{kinds: {email: maks}}", "privacy.kinds.email")
	f("{fields: {users: mask}}", "not a field")
	f("{fields: {tags.: mask}}", "not a field")
	f("{routes: {suport: {mode: mask}}}", "no such route")
	f("{key_env: SHORT_KEY}", "6 bytes")
	f("{key_env: NO_KEY}", "not set")
	f("{key_env: PRIVACY_KEY, key_file: x}", "one of them")
	f("{key_env: PRIVACY_KEY, key_id: K-1}", "not a name for a key")
	f("{key_env: PRIVACY_KEY, old_keys: [{key_env: OLD_KEY}]}", "without its name")
	f("{key_env: PRIVACY_KEY, old_keys: [{key_id: k1, key_env: OLD_KEY}]}", "two keys")
	f("{patterns: [{name: x, pattern: '('}]}", "regular expression")
	f("{patterns: [{name: x, pattern: 'a*'}]}", "empty text")
	f("{patterns: [{name: x}]}", "missing")
	f("{patterns: [{name: X y, pattern: a}]}", "not a name")
	f("{patterns: [{name: x, pattern: a}], words: [{name: x, words: [b]}]}", "this name")
	f("{words: [{name: x}]}", "no words")
	f("{words: [{name: x, file: missing.txt}]}", "missing.txt")
	f("{ner: {url: 'ftp://x'}}", "not the address")
	f("{ner: {url: 'http://u:s3cret@x'}}", "not the address")
	f("{ner: {url: 'http://x', failing: ignore}}", "drop, keep")
	f("{ner: {url: 'http://x', min_score: 2}}", "0 to 1")
	f("{mod: mask}", `did you mean "mode"`)
}
