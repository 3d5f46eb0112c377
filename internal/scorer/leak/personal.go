package leak

import (
	"fmt"
	"slices"
	"strings"
)

// Types of personal data other than national identity numbers.
const (
	Email = "email"
	Phone = "phone"
	Card  = "card"
	IBAN  = "iban"
	IP    = "ip"
	// NationalID stands for all national identity numbers where types are chosen.
	NationalID = "national-id"
)

// PersonalTypes returns every type of personal data that can be found, sorted.
func PersonalTypes() []string {
	types := []string{Email, Phone, Card, IBAN, IP}
	for _, id := range identities {
		types = append(types, id.name)
	}
	for _, id := range letteredIdentities {
		types = append(types, id.name)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// Personal finds personal data. It is immutable and safe for concurrent use.
type Personal struct {
	email, phone, card, iban, ip bool
	identities                   []identity
	lettered                     []lettered
	regions                      []string
}

// PersonalOptions says what a Personal looks for.
type PersonalOptions struct {
	// Types to look for; none means all.
	Types []string
	// Regions in ISO 3166 whose national telephone numbers are recognised besides international
	// ones; none means a list of large countries.
	Regions []string
}

// NewPersonal refuses a type or region that it does not know.
func NewPersonal(o PersonalOptions) (*Personal, error) {
	all := PersonalTypes()
	want := map[string]bool{}
	for _, t := range o.Types {
		if t != NationalID && !slices.Contains(all, t) {
			return nil, fmt.Errorf("no such type of personal data: %q", t)
		}
		want[t] = true
	}
	wants := func(t string) bool { return len(want) == 0 || want[t] }
	p := &Personal{email: wants(Email), phone: wants(Phone), card: wants(Card), iban: wants(IBAN), ip: wants(IP)}
	for _, id := range identities {
		if wants(id.name) || want[NationalID] {
			p.identities = append(p.identities, id)
		}
	}
	for _, id := range letteredIdentities {
		if wants(id.name) || want[NationalID] {
			p.lettered = append(p.lettered, id)
		}
	}
	for _, r := range o.Regions {
		up := strings.ToUpper(r)
		if !knownRegion(up) {
			return nil, fmt.Errorf("no such region: %q", r)
		}
		p.regions = append(p.regions, up)
	}
	if len(p.regions) == 0 {
		p.regions = defaultRegions[:]
	}
	return p, nil
}

// Ranks of spans that overlap: what is checked more strictly wins.
const (
	rankIBAN = iota
	rankEmail
	rankIP
	rankCard
	rankIdentity
	rankPhone
)

// Find returns the personal data in text, in order.
func (p *Personal) Find(text string) []Span {
	var found []ranked
	add := func(typ string, rank, start, end int) {
		found = append(found, ranked{Span{typ, start, end}, rank})
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '@' && p.email {
			if start, end, ok := email(text, i); ok {
				add(Email, rankEmail, start, end)
			}
			continue
		}
		if c == ':' && p.ip && i+1 < len(text) && text[i+1] == ':' && (i == 0 || !inWord(text[i-1])) {
			if end := ip(text, i); end > 0 {
				add(IP, rankIP, i, end)
			}
			continue
		}
		if i > 0 && inWord(text[i-1]) {
			continue
		}
		switch {
		case c == '+' || c == '(':
			if p.phone && i+1 < len(text) && (isDigit(text[i+1]) || text[i+1] == '(') {
				if end := phone(text, i, p.regions); end > 0 {
					add(Phone, rankPhone, i, end)
				}
			}
		case isDigit(c):
			p.atDigit(text, i, add)
			p.atWord(text, i, add)
		case isLetter(c):
			p.atWord(text, i, add)
		}
	}
	return settle(found)
}

// atDigit looks for what begins with a digit.
func (p *Personal) atDigit(text string, i int, add func(typ string, rank, start, end int)) {
	// A number that goes on from another one by a point or comma is a part of it.
	if i > 1 && (text[i-1] == '.' || text[i-1] == ',') && isDigit(text[i-2]) {
		return
	}
	numbers(text, i, func(n number) {
		if n.end+1 < len(text) && (text[n.end] == '.' || text[n.end] == ',') && isDigit(text[n.end+1]) {
			return // a decimal or one of thousands
		}
		if p.card && !strings.ContainsAny(n.groups, "./+") && card(n.digits, func() bool { return contextAround(text, n.start, n.end, 45, cardWords) }) {
			add(Card, rankCard, n.start, n.end)
		}
		for k := range p.identities {
			id := &p.identities[k]
			sure := slices.Contains(id.sure, n.groups)
			if !sure && !slices.Contains(id.layouts, n.groups) || !id.valid(n.digits) {
				continue
			}
			if sure || contextAround(text, n.start, n.end, 60, id.words) {
				add(id.name, rankIdentity, n.start, n.end)
			}
		}
	})
	if p.phone && beginsPhone(text, i) {
		if end := phone(text, i, p.regions); end > 0 {
			add(Phone, rankPhone, i, end)
		}
	}
	if p.ip {
		if end := ip(text, i); end > 0 {
			add(IP, rankIP, i, end)
		}
	}
}

// beginsPhone says whether a telephone number may begin at the digit text[i]. The + or bracket before
// it would belong to it, and what follows an area code in brackets has been looked at with it.
func beginsPhone(text string, i int) bool {
	before := strings.TrimSuffix(text[:i], " ")
	return before == "" || strings.IndexByte("+($#", text[max(0, i-1)]) < 0 && !(len(before) > 1 && before[len(before)-1] == ')' && isDigit(before[len(before)-2]))
}

// longestID is the length of the longest lettered identity number, with spaces.
const longestID = 24

// atWord looks for what begins where a word does and has letters in it.
func (p *Personal) atWord(text string, i int, add func(typ string, rank, start, end int)) {
	if p.iban {
		if end := iban(text, i); end > 0 {
			add(IBAN, rankIBAN, i, end)
		}
	}
	if p.ip && 'a' <= text[i]|0x20 && text[i]|0x20 <= 'f' {
		if end := ip(text, i); end > 0 {
			add(IP, rankIP, i, end)
		}
	}
	window := text[i:min(len(text), i+longestID)]
	if !idLike(window) {
		return
	}
	for k := range p.lettered {
		id := &p.lettered[k]
		loc := id.pattern.FindStringIndex(window)
		if loc == nil || i+loc[1] < len(text) && inWord(text[i+loc[1]]) || !id.valid(window[:loc[1]]) {
			continue
		}
		add(id.name, rankIdentity, i, i+loc[1])
	}
}

// idLike says cheaply whether an identity number may begin s: it must have two digits within the
// first eight characters, before any second space in a row of letters.
func idLike(s string) bool {
	digits := 0
	for i := 0; i < len(s) && i < 11; i++ {
		if isDigit(s[i]) {
			digits++
		} else if s[i] == ' ' && digits == 0 && i != 2 {
			return false
		}
	}
	return digits >= 2
}
