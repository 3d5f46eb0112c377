package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/telltale-llm/telltale/internal/scorer/leak"
)

// secretKey is a key with the name that its pseudonyms carry.
type secretKey struct {
	id  string
	key []byte
}

// A pseudonym is KIND_KEY_LETTERS. Its letters are no digits and no vowels, so that it is never taken for a number, a
// word or a credential; 24 of 16 letters are 96 bits, and two persons of a thousand million share one with a
// probability below 1e-10.
const (
	tokenAlphabet = "bcdfghjklmnpqrst"
	tokenLetters  = 24
)

// token is the pseudonym of a value: HMAC-SHA-256 of its kind and normal form, so that one person has one whichever
// way the value is written.
func (r *Redactor) token(k secretKey, kind, value string) string {
	mac := hmac.New(sha256.New, k.key)
	mac.Write([]byte("telltale pseudonym\x00" + kind + "\x00" + r.normal(kind, value)))
	sum := mac.Sum(nil)
	b := make([]byte, 0, len(kind)+len(k.id)+2+tokenLetters)
	b = append(b, word(kind)...)
	b = append(b, '_')
	b = append(b, k.id...)
	b = append(b, '_')
	for _, c := range sum[:tokenLetters/2] {
		b = append(b, tokenAlphabet[c>>4], tokenAlphabet[c&15])
	}
	return string(b)
}

var spelledOut = strings.NewReplacer("(at)", "@", "[at]", "@", "{at}", "@", " at ", "@", "(dot)", ".", "[dot]", ".", "{dot}", ".", " dot ", ".")

// normal is the form in which all ways to write a value are equal: e-mail in lower case, telephones in E.164, cards and
// IBANs without the signs between.
func (r *Redactor) normal(kind, value string) string {
	plain, at := fold(value)
	for range mostViews {
		decoded, inner := unescape(plain)
		if inner == nil {
			break
		}
		plain = decoded
	}
	if at != nil {
		plain, _ = fold(plain)
	}
	plain = strings.TrimSpace(plain)
	switch kind {
	case leak.Email:
		return strings.ReplaceAll(spelledOut.Replace(strings.ToLower(plain)), " ", "")
	case leak.Phone:
		return r.phone(plain)
	case leak.IP:
		if a, err := netip.ParseAddr(strings.ToLower(plain)); err == nil {
			return a.Unmap().String()
		}
		return strings.ToLower(plain)
	case "user", "session", "tag", kindSecret:
		return plain
	case leak.Card, leak.IBAN:
		return signless(plain)
	}
	if national(kind) {
		return signless(plain)
	}
	return strings.Join(strings.Fields(strings.ToLower(plain)), " ")
}

// phone is a telephone number in E.164 by the first region in which it is valid, or its digits.
func (r *Redactor) phone(s string) string {
	if i := strings.IndexAny(s, "xX"); i > 0 {
		s = strings.TrimRight(s[:i], " ,.")
	} else if i := strings.Index(strings.ToLower(s), "ext"); i > 0 {
		s = strings.TrimRight(s[:i], " ,.")
	}
	if rest, ok := strings.CutPrefix(s, "00"); ok {
		s = "+" + strings.TrimLeft(rest, "-. ")
	}
	s = strings.Replace(s, "(0)", "", 1)
	regions := r.regions
	if strings.HasPrefix(s, "+") {
		regions = []string{"ZZ"}
	} else if len(regions) == 0 {
		regions = []string{"US", "GB", "DE", "FR", "ES", "IT"}
	}
	for _, region := range regions {
		if n, err := phonenumbers.Parse(s, region); err == nil && (region == "ZZ" || phonenumbers.IsValidNumberForRegion(n, strings.ToUpper(region))) {
			return phonenumbers.Format(n, phonenumbers.E164)
		}
	}
	return signless(s)
}

// signless is the letters and digits of s in upper case.
func signless(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' {
			return c - 'a' + 'A'
		}
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 0x80 {
			return c
		}
		return -1
	}, s)
}

// Tokens returns every value under which a person may be stored as a user, a session or a tag, or be found in a text: as
// given, and the pseudonyms of each known key. It is what `forget` deletes by. What was masked or removed is not
// there any more and cannot be found by it.
func (r *Redactor) Tokens(person string) []string {
	person = strings.TrimSpace(person)
	if person == "" {
		return nil
	}
	out := []string{person}
	kinds := []string{"user", "session", "tag"}
	for _, f := range (&pass{rules: r.base, found: Found{}}).find(person, "") {
		if f.start == 0 && f.end == len(person) {
			kinds = append(kinds, f.kind)
		}
		if f.kind == leak.Email {
			out = append(out, strings.ToLower(person))
		}
	}
	if national := signless(person); len(national) >= 7 && strings.ContainsAny(national, "0123456789") {
		kinds = append(kinds, leak.Phone)
		if e164 := r.phone(person); strings.HasPrefix(e164, "+") {
			out = append(out, e164)
		}
		kinds = append(kinds, nationalKinds...)
	}
	for _, k := range r.keys {
		for _, kind := range kinds {
			out = append(out, r.token(k, kind, person))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// identity redacts a field that names someone or something as a whole: a user, a session, a tag.
func (p *pass) identity(f field, kind, s string) string {
	r := p.rules.redactor
	trimmed := strings.TrimSpace(s)
	if trimmed == "" || r.marks.whole(trimmed) {
		return s
	}
	switch m := f.fixed(); m {
	case unset:
		// A mark would make one person of all who are named by an address. With a key they stay apart.
		if found := p.find(trimmed, ""); kind != "tag" && len(r.keys) > 0 && len(found) == 1 && found[0].start == 0 && found[0].end == len(trimmed) && p.rules.modeOf(f, found[0].kind) == mask {
			p.found[found[0].kind]++
			return p.stands(pseudonym, found[0].kind, trimmed)
		}
		return p.text(f, s, "")
	case keep:
		return s
	case pseudonym:
		// A user named by an address has the pseudonym that the address has in a text.
		if found := p.find(trimmed, ""); len(found) == 1 && found[0].start == 0 && found[0].end == len(trimmed) {
			kind = found[0].kind
		}
		p.found[kind]++
		return p.stands(m, kind, trimmed)
	default:
		p.found[kind]++
		return p.stands(m, kind, trimmed)
	}
}
