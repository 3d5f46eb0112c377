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
	for _, id := range allIdentities() {
		types = append(types, id.name)
	}
	for _, id := range allLettered() {
		types = append(types, id.name)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

func allIdentities() []identity { return slices.Concat(identities[:], identitiesMore[:]) }

func allLettered() []lettered { return slices.Concat(letteredIdentities[:], letteredMore[:]) }

// Personal finds personal data. It is immutable and safe for concurrent use.
type Personal struct {
	email, phone, card, iban, ip bool
	thorough, reserved           bool
	identities                   []identity
	layouts                      map[string][]int // the identities that are written in groups of this layout
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
	// Thorough is for taking out what is found, where a value that is missed costs more than one taken in
	// vain. It also finds what belongs to no person by its form but may in fact (addresses of private
	// networks and of example domains, invented numbers), numbers in the form of telephones that no
	// numbering plan has, numbers with a wrong check digit that the text calls a card, an IBAN or a social
	// security number, and addresses written out, such as jane (at) acme dot org.
	Thorough bool
	// Reserved takes e-mail addresses of example domains (RFC 2606) for a person's, as Thorough does.
	Reserved bool
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
	p := &Personal{email: wants(Email), phone: wants(Phone), card: wants(Card), iban: wants(IBAN), ip: wants(IP), thorough: o.Thorough, reserved: o.Reserved}
	for _, id := range allIdentities() {
		if wants(id.name) || want[NationalID] {
			p.identities = append(p.identities, id)
		}
	}
	p.layouts = map[string][]int{}
	for k, id := range p.identities {
		for _, layout := range slices.Concat(id.sure, id.layouts) {
			p.layouts[layout] = append(p.layouts[layout], k)
		}
	}
	for _, id := range allLettered() {
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
	rankAbroad // a telephone with a country's code
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
	lookups := 100 + len(text)/100
	digit := nextDigit(text, 0) // the first one at or after i
	var spelling spelling
	for i := 0; i < len(text); i++ {
		c := text[i]
		if digit < i {
			digit = nextDigit(text, i)
		}
		switch {
		case c == '@':
			if p.email {
				p.atSign(text, i, add)
			}
			continue
		case c == ':' && p.ip && i+1 < len(text) && text[i+1] == ':' && (i == 0 || !inWord(text[i-1])):
			if end := p.address(text, i); end > 0 {
				add(IP, rankIP, i, end)
			}
			continue
		case i > 0 && inWord(text[i-1]) && !(p.thorough && (i == digit || c == '+')):
			continue
		}
		if p.thorough && p.email && (c|0x20 == 'a' || c|0x20 == 'd') {
			spelling.see(text, i)
		}
		switch {
		case c == '+' || c == '(':
			if p.phone && i+1 < len(text) && (isDigit(text[i+1]) || text[i+1] == '(' || p.thorough && digit <= i+2) {
				if end := p.telephone(text, i, &lookups); end > 0 {
					rank := rankPhone
					if c == '+' && p.thorough {
						rank = rankAbroad
					}
					add(Phone, rank, i, end)
				}
			}
		case isDigit(c):
			joined := apart
			if i > 0 && inWord(text[i-1]) {
				joined = glued(text, i)
			}
			if joined != within {
				p.atDigit(text, i, joined, &lookups, add)
			}
			if joined <= named {
				p.atWord(text, i, add)
			}
		case isLetter(c) && (digit-i <= lettersFirst || p.ip && colonWithin(text, i)):
			p.atWord(text, i, add)
		}
	}
	spelling.writtenOut(text, add)
	return settle(found)
}

// lettersFirst is how many letters an IBAN or an identity number begins with at most.
const lettersFirst = 6

// nextDigit returns the place of the first digit at or after i, or the length of text and more.
func nextDigit(text string, i int) int {
	for ; i < len(text); i++ {
		if isDigit(text[i]) {
			return i
		}
	}
	return len(text) + lettersFirst + 1
}

// colonWithin says whether the word at text[i] may begin an IPv6 address: up to four hexadecimal digits and a colon.
func colonWithin(text string, i int) bool {
	for j := i; j < len(text) && j <= i+4; j++ {
		c := text[j]
		if c == ':' {
			return j > i
		}
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return false
}

// glue is how a number is joined to what stands before it.
type glue uint8

const (
	apart   glue = iota // it begins a word
	named               // after _ or a word that says what it is, as in card_4111… and tel0341…
	leaning             // after other letters: only what a check or a rare form tells is found
	within              // within a word of letters and digits
)

// glued says how the digit at text[i] is joined to the letter or _ before it.
func glued(text string, i int) glue {
	if text[i-1] == '_' {
		return named
	}
	j := i
	for j > 0 && isLetter(text[j-1]) && i-j < 20 {
		j--
	}
	if j == i || j > 0 && inWord(text[j-1]) {
		return within
	}
	word := text[j:i]
	if mentions(word, versionPrefixes) {
		return within
	}
	if phoneWord(word) > 0 || mentions(word, cardWords) || mentions(word, []string{"ssn", "ip", "n", "id", "no"}) {
		return named
	}
	return leaning
}

var versionPrefixes = []string{"v", "ver", "version", "r", "rev", "release", "build"}

// atSign looks for the address around the @ at text[i].
func (p *Personal) atSign(text string, i int, add func(typ string, rank, start, end int)) {
	find := email
	switch {
	case p.thorough:
		find = anyEmail
	case p.reserved:
		find = emailForm
	}
	if start, end, ok := find(text, i); ok {
		add(Email, rankEmail, start, end)
	}
}

func (p *Personal) telephone(text string, i int, lookups *int) int {
	if p.thorough {
		return p.possiblePhone(text, i, lookups)
	}
	return phone(text, i, p.regions)
}

func (p *Personal) address(text string, i int) int {
	if p.thorough {
		return anyIP(text, i)
	}
	return ip(text, i)
}

// atDigit looks for what begins with a digit.
func (p *Personal) atDigit(text string, i int, joined glue, lookups *int, add func(typ string, rank, start, end int)) {
	// A number that goes on from another one by a point or comma is a part of it.
	if i > 1 && (text[i-1] == '.' || text[i-1] == ',') && isDigit(text[i-2]) && !(p.thorough && listed(text, i-1)) {
		return
	}
	groups := mostGroups
	if p.thorough {
		groups = mostDigits
	}
	if p.thorough && withinSingles(text, i) {
		groups = 0
	}
	numbers(text, i, groups, func(n number) {
		if n.end+1 < len(text) && (text[n.end] == '.' || text[n.end] == ',') && isDigit(text[n.end+1]) && !p.thorough {
			return // a decimal or one of thousands
		}
		if p.card && p.isCard(text, n) {
			add(Card, rankCard, n.start, n.end)
		}
		p.identity(text, n, add)
	})
	if p.phone && joined != leaning && p.beginsPhone(text, i) {
		if end := p.telephone(text, i, lookups); end > 0 {
			add(Phone, rankPhone, i, end)
		}
	}
	if p.ip {
		if end := p.address(text, i); end > 0 {
			add(IP, rankIP, i, end)
		}
	}
}

func (p *Personal) isCard(text string, n number) bool {
	said := func() bool { return contextAround(text, n.start, n.end, 45, cardWords) }
	if p.thorough {
		return anyCard(text, n, said)
	}
	return !strings.ContainsAny(n.groups, "./+") && card(n.digits, said)
}

// identity looks for national identity numbers made of digits.
func (p *Personal) identity(text string, n number, add func(typ string, rank, start, end int)) {
	for _, k := range p.layouts[n.groups] {
		id := &p.identities[k]
		sure := slices.Contains(id.sure, n.groups)
		valid := id.valid(n.digits)
		if !valid && !(p.thorough && id.name == socialSecurity && !same(n.digits)) {
			continue
		}
		if says, _ := called(text, n.start, n.end); !sure && p.thorough && says > 0 {
			continue // the nearer word says that it is a telephone
		}
		if sure || contextAround(text, n.start, n.end, 60, id.words) {
			add(id.name, rankIdentity, n.start, n.end)
		}
	}
}

// beginsPhone says whether a telephone number may begin at the digit text[i]. The + or bracket before
// it would belong to it, and what follows an area code in brackets has been looked at with it.
func (p *Personal) beginsPhone(text string, i int) bool {
	before := strings.TrimSuffix(text[:i], " ")
	last := text[max(0, i-1)]
	return before == "" || strings.IndexByte("+($", last) < 0 && (last != '#' || p.thorough) && !(len(before) > 1 && before[len(before)-1] == ')' && isDigit(before[len(before)-2]))
}

// longestID is the length of the longest lettered identity number, with spaces.
const longestID = 24

// atWord looks for what begins where a word does and has letters in it.
func (p *Personal) atWord(text string, i int, add func(typ string, rank, start, end int)) {
	if p.iban {
		end, right := iban(text, i)
		if end > 0 && (right || p.thorough && contextBefore(text, i, 30, ibanWords)) {
			add(IBAN, rankIBAN, i, end)
		}
	}
	if p.ip && 'a' <= text[i]|0x20 && text[i]|0x20 <= 'f' {
		if end := p.address(text, i); end > 0 {
			add(IP, rankIP, i, end)
		}
	}
	window := text[i:min(len(text), i+longestID)]
	if !idLike(window) {
		return
	}
	letters, digits, run := lead(window)
	for k := range p.lettered {
		id := &p.lettered[k]
		if !id.begins(letters, digits, run) || id.goesOn != nil && !id.goesOn(window) {
			continue
		}
		loc := id.pattern.FindStringIndex(window)
		if loc == nil || i+loc[1] < len(text) && inWord(text[i+loc[1]]) || !id.valid(window[:loc[1]]) {
			continue
		}
		if id.words != nil && !contextAround(text, i, i+loc[1], 60, id.words) {
			continue
		}
		add(id.name, rankIdentity, i, i+loc[1])
	}
}

// lead counts the letters that s begins with, the digits after them, and all of both before another sign.
func lead(s string) (letters, digits, run int) {
	for letters < len(s) && isLetter(s[letters]) {
		letters++
	}
	for run = letters; run < len(s) && isDigit(s[run]); run++ {
		digits++
	}
	for run < len(s) && (isLetter(s[run]) || isDigit(s[run])) {
		run++
	}
	return letters, digits, run
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
