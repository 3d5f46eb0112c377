package privacy

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

func TestText(t *testing.T) {
	r := redactor(t, config.Privacy{})
	f := func(in, want string) {
		t.Helper()
		got, _ := r.Text("input", in)
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if again, _ := r.Text("input", got); again != got {
			t.Errorf("%q became %q and then %q", in, got, again)
		}
	}
	f("", "")
	f("Nothing here: 42, 3.14159265, 1,000,000, 2024-05-17 and 12:34:56.", "Nothing here: 42, 3.14159265, 1,000,000, 2024-05-17 and 12:34:56.")
	f("gpt-4.1-mini-2025-04-14 and claude-3-5-sonnet-20241022", "gpt-4.1-mini-2025-04-14 and claude-3-5-sonnet-20241022")
	f("Write to jane.doe@example.com or call 555-123-4567.", "Write to [EMAIL] or call [PHONE].")
	f("4111 1111 1111 1111, 192.168.0.7, 123-45-6789, DE89 3704 0044 0532 0130 00", "[CARD], [IP], [US_SSN], [IBAN]")
	f("My card 4111111111111112 was declined", "My card [CARD] was declined") // mistyped
	f("key ghp"+"_9fK2mX7qLs4Tz8VbN1cR6yWd3HgJ5pEa0uQi", "key [SECRET]")
	// Signs that look alike, and signs that are not seen.
	f("ｊａｎｅ＠ａｃｍｅ．ｏｒｇ", "[EMAIL]")
	f("card ４１１１１１１１１１１１１１１１", "card [CARD]")
	f("4111\u00a01111\u00a01111\u00a01111", "[CARD]")
	f("4111\u200b1111\u200b1111\u200b1111", "[CARD]")
	f("123\u2011"+"45\u20116789", "[US_SSN]")
	f("jane@ac\u00adme.org", "[EMAIL]")
	f("卡号4111111111111111，电话13800138000。邮箱jane@acme.com谢谢", "卡号[CARD]，电话[PHONE]。邮箱[EMAIL]谢谢")
	f("हमारा फ़ोन ९८७६५४३२१० है", "हमारा फ़ोन [PHONE] है")
	// Encodings.
	f("https://x.org/?mail=jane%40acme.org&tel=%2B12127365000", "https://x.org/?mail=[EMAIL]&tel=[PHONE]")
	f("q=4111+1111+1111+1111", "q=[CARD]")
	f(`{"a": "jane\u0040acme.org`, `{"a": "[EMAIL]`)
	f(`line\n4111111111111111\n`, `line\n[CARD]\n`)
	f("jane&#64;acme.org, jane&#x40;acme.org", "[EMAIL], [EMAIL]")
	f("jane (at) acme (dot) org, jane at acme dot org, jane @ acme.org", "[EMAIL], [EMAIL], [EMAIL]")
	f("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "[CARD]")
	f("card_4111111111111111", "card_[CARD]")
	// What is hidden by a stronger finding is found in its turn.
	f("call 212-736-5000 4111 1111 1111 1111", "call [PHONE] [CARD]")
	// Marks are no context and no finding.
	f("[CARD] 4 items, [PHONE] 1234567", "[CARD] 4 items, [PHONE] 1234567")
	f("[EMAIL]@acme.org", "[EMAIL]@acme.org")
	// A table's headings say what is in its columns.
	f("name,phone,order\nJane,2127365000,2127365001\n", "name,phone,order\nJane,[PHONE],2127365001\n")
	f("| Name | Mobile | ssn |\n|---|---|---|\n| Jane | 516 466 638 | 460899847 |", "| Name | Mobile | ssn |\n|---|---|---|\n| Jane | [PHONE] | [US_SSN] |")
	f("item,size\nx,2345678901\n", "item,size\nx,2345678901\n")
	// No person's.
	f("127.0.0.1, ::1, 0.0.0.0 and std::vector", "127.0.0.1, ::1, 0.0.0.0 and std::vector")
}

func TestModes(t *testing.T) {
	r := redactor(t, config.Privacy{
		Mode: "pseudonym", Key: testKey, KeyID: "k1", Kinds: map[string]string{"ip": "keep", "card": "remove", "national-id": "mask"}, Fields: map[string]string{"error": "mask", "system": "keep"},
		Patterns: []config.PrivacyPattern{{Name: "employee", Pattern: `EMP-(\d{6})`, Mode: "mask"}},
		Words:    []config.PrivacyWords{{Name: "customer", Words: []string{"Acme Corp", "straße"}, Mode: "mask"}},
		Routes:   map[string]config.Privacy{"open": {Mode: "keep", Kinds: map[string]string{"email": "mask"}}},
	})
	f := func(field, in, want string) {
		t.Helper()
		got, _ := r.Text(field, in)
		if got != want {
			t.Errorf("%s %q: %q, want %q", field, in, got, want)
		}
		if again, _ := r.Text(field, got); again != got {
			t.Errorf("%q became %q and then %q", in, got, again)
		}
	}
	f("input", "from 10.1.2.3", "from 10.1.2.3")
	f("input", "card 4111111111111111.", "card .")
	f("input", "SSN 123-45-6789", "SSN [US_SSN]")
	f("input", "EMP-123456 of ACME corp, STRASSE, Straße, AcmeCorp", "EMP-[EMPLOYEE] of [CUSTOMER], STRASSE, [CUSTOMER], AcmeCorp")
	f("error", "no jane@acme.org", "no [EMAIL]")
	f("system", "jane@acme.org", "jane@acme.org")
	// What is left when something is removed may be a value again.
	f("input", "41113782822463100051111 111111111111", "41113782822463100051111 111111111111")
	token, found := r.Text("input", "jane@acme.org")
	if !strings.HasPrefix(token, "email_k1_") || found["email"] != 1 {
		t.Errorf("%q, %v", token, found)
	}
	for _, same := range []string{"JANE@acme.org", "ｊane＠acme.org", "jane (at) acme dot org"} {
		if got, _ := r.Text("input", same); got != token {
			t.Errorf("%q: %q, want %q", same, got, token)
		}
	}
	phone, _ := r.Text("input", "+1 212 736 5000")
	for _, same := range []string{"(212) 736-5000", "call 2127365000", "001 212 736-5000", "212-736-5000 x12"} {
		if got, _ := r.Text("input", same); !strings.HasSuffix(got, phone) {
			t.Errorf("%q: %q, want %q", same, got, phone)
		}
	}
	if other, _ := r.Text("input", "john@acme.org"); other == token {
		t.Error("two persons have one pseudonym")
	}
	p := r.pass(t.Context(), r.rulesOf("open"))
	if got := p.text(p.field("input"), "jane@acme.org 4111111111111111", ""); got != "[EMAIL] 4111111111111111" {
		t.Errorf("route: %q", got)
	}
}

func TestJSON(t *testing.T) {
	r := redactor(t, config.Privacy{})
	f := func(in, want string, found Found) {
		t.Helper()
		out, got := r.JSON("input", []byte(in))
		if string(out) != want || !maps.Equal(got, found) {
			t.Errorf("%s: %s %v, want %s %v", in, out, got, want, found)
		}
		if json.Valid([]byte(in)) && !json.Valid(out) {
			t.Errorf("%s is not JSON", out)
		}
	}
	f(`{"a": 1, "b": [true, null, "x"]}`, `{"a": 1, "b": [true, null, "x"]}`, Found{})
	f(`{"mail": "jane\u0040acme.org", "n": 1}`, `{"mail": "[EMAIL]", "n": 1}`, Found{"email": 1})
	f(`{"card": 4111111111111111, "t": 1712345678901, "id": 2127365000}`, `{"card": "[CARD]", "t": 1712345678901, "id": 2127365000}`, Found{"card": 1})
	f(`{"ssn": 460899847, "phoneNumber": 2127365000, "order_number": 2127365000}`, `{"ssn": "[US_SSN]", "phoneNumber": "[PHONE]", "order_number": 2127365000}`, Found{"us-ssn": 1, "phone": 1})
	f(`{"phones": ["2127365000", 2127365001]}`, `{"phones": ["[PHONE]", "[PHONE]"]}`, Found{"phone": 2})
	f(`{"phone": {"number": "2127365000"}}`, `{"phone": {"number": "[PHONE]"}}`, Found{"phone": 1})
	f(`{"amount": 4111111111111111.5, "big": 4.111111111111111e15}`, `{"amount": 4111111111111111.5, "big": "[CARD]"}`, Found{"card": 1})
	f(`{"password": "hunter2", "token": "hello", "apiKey": "abc-def"}`, `{"password": "[SECRET]", "token": "hello", "apiKey": "[SECRET]"}`, Found{"secret": 2})
	f(`{"jane@acme.org": 1}`, `{"[EMAIL]": 1}`, Found{"email": 1})
	f(`{"arguments": "{\"to\": \"jane@acme.org\", \"ssn\": 460899847}"}`, `{"arguments": "{\"to\": \"[EMAIL]\", \"ssn\": \"[US_SSN]\"}"}`, Found{"email": 1, "us-ssn": 1})
	f(`{"url": "data:image/png;base64,4111111111111111"}`, `{"url": "data:image/png;base64,4111111111111111"}`, Found{})
	f(`{"to": "jane@acme.org", "cut": "4111111111111111`, `{"to": "[EMAIL]", "cut": "[CARD]`, Found{"email": 1, "card": 1})
	f(`{"quote": "\"\\\n jane@acme.org \u00e9 \ud83d\ude00"}`, `{"quote": "\"\\\n [EMAIL] é 😀"}`, Found{"email": 1})
	f(strings.Repeat("[", 300)+`"jane@acme.org"`+strings.Repeat("]", 300), strings.Repeat("[", 300)+`"[EMAIL]"`+strings.Repeat("]", 300), Found{"email": 1})
}

func TestJSONRemove(t *testing.T) {
	r := redactor(t, config.Privacy{Mode: "remove"})
	out, _ := r.JSON("input", []byte(`{"card": 4111111111111111, "mail": "jane@acme.org"}`))
	if string(out) != `{"card": null, "mail": ""}` {
		t.Errorf("%s", out)
	}
}

func TestVersion(t *testing.T) {
	v := func(cfg config.Privacy) string { return redactor(t, cfg).Version() }
	base := config.Privacy{Key: testKey, KeyID: "k1"}
	other := base
	other.Key = []byte("another key of 32 bytes, or more")
	if v(base) != v(other) {
		t.Error("the version depends on the key itself")
	}
	moved := base
	moved.Pos = config.Pos{Line: 7}
	if v(base) != v(moved) {
		t.Error("the version depends on a place in the file")
	}
	seen := map[string]bool{v(base): true}
	for _, change := range []func(*config.Privacy){
		func(p *config.Privacy) { p.KeyID = "k2" }, func(p *config.Privacy) { p.Mode = "remove" }, func(p *config.Privacy) { p.Regions = []string{"US"} },
		func(p *config.Privacy) { p.Words = []config.PrivacyWords{{Name: "x", Words: []string{"y"}}} },
		func(p *config.Privacy) { p.Routes = map[string]config.Privacy{"a": {Mode: "keep"}} },
	} {
		cfg := base
		change(&cfg)
		if seen[v(cfg)] {
			t.Errorf("%+v has the version of other rules", cfg)
		}
		seen[v(cfg)] = true
	}
}

func TestMistakes(t *testing.T) {
	f := func(cfg config.Privacy, want string) {
		t.Helper()
		_, err := New(cfg, Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
	f(config.Privacy{Kinds: map[string]string{"emial": "mask"}}, "email")
	f(config.Privacy{Regions: []string{"Germany"}}, "region")
	f(config.Privacy{Mode: "pseudonym"}, "key")
	f(config.Privacy{Patterns: []config.PrivacyPattern{{Name: "x", Pattern: "("}}}, "regular expression")
}

func TestTokens(t *testing.T) {
	old := []byte("an old key of at least 16 bytes!")
	r := redactor(t, config.Privacy{Mode: "pseudonym", Key: testKey, KeyID: "k2", OldKeys: []config.PrivacyKey{{ID: "k1", Key: old}}, Fields: map[string]string{"user": "pseudonym"}})
	before := redactor(t, config.Privacy{Mode: "pseudonym", Key: old, KeyID: "k1", Fields: map[string]string{"user": "pseudonym"}})
	f := func(person, written string) {
		t.Helper()
		tokens := strings.Join(r.Tokens(person), "\n") + "\n"
		for _, by := range []*Redactor{r, before} {
			p := by.pass(t.Context(), by.base)
			user := p.identity(p.field("user"), "user", written)
			if !strings.Contains(tokens, user+"\n") {
				t.Errorf("%q is stored as %s, which is not in\n%s", written, user, tokens)
			}
		}
		if !strings.Contains(tokens, person+"\n") {
			t.Errorf("%q itself is not in the list", person)
		}
	}
	f("u-17", "u-17")
	f("jane@acme.org", "Jane@Acme.org")
	f("+1 212 736 5000", "(212) 736-5000")
	if len(r.Tokens(" ")) != 0 {
		t.Error("nobody has tokens")
	}
}
