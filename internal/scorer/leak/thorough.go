package leak

import (
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The functions of this file are those of a thorough search.

// anyCard says whether n is a payment card's number, also with a wrong check digit where the text calls it
// one: people mistype them.
func anyCard(text string, n number, said func() bool) bool {
	d := n.digits
	if len(d) < 12 || strings.Contains(n.groups, "/") || same(d) || strings.HasPrefix(n.groups, "1") && singlesGoOn(text, n.end) {
		return false
	}
	// Cards of 12 and 13 digits are rare, and other numbers of that length are not (EAN, timestamps).
	grouped := cardLayout(n.groups)
	plain := len(d) >= 14 && grouped
	if len(d) < 14 && len(n.groups) == 1 && card(d, func() bool { return false }) && !tradeItem(d) {
		if says, _ := called(text, n.start, n.end); says == 0 {
			return true
		}
	}
	if plain && (card(d, func() bool { return false }) || len(d) == 16 && d[:2] == "35" && luhn(d)) {
		return true
	}
	if grouped = grouped && contextAround(text, n.start, n.end, 45, payWords); !grouped && (strings.Contains(n.groups, "+") || !said()) {
		return false
	}
	known := card(d[:len(d)-1]+string('0'+luhnDigit(d[:len(d)-1])), func() bool { return false })
	return luhn(d) || plain && known && len(d) <= 16
}

// tradeItem says whether d is right as a trade item's number (GTIN-12, GTIN-13), as on a bar code.
func tradeItem(d string) bool {
	sum := 0
	for i := range len(d) - 1 {
		sum += digitAt(d, len(d)-2-i) * (3 - 2*(i%2))
	}
	return (10-sum%10)%10 == digitAt(d, len(d)-1)
}

// luhnDigit is the digit that makes s right.
func luhnDigit(s string) byte {
	for c := range byte(10) {
		if luhn(s + string('0'+c)) {
			return c
		}
	}
	return 0
}

// cardLayout says whether groups are those in which cards' numbers are written: all at once, by fours, as on
// American Express and Diners Club, and digit by digit.
func cardLayout(groups string) bool {
	fours, ones := true, true
	n := (len(groups) + 1) / 2
	for i := 0; i < len(groups); i += 2 {
		last := i == len(groups)-1
		fours = fours && (groups[i] == '4' || last && groups[i] <= '4')
		ones = ones && groups[i] == '1'
		if i > 0 && i < len(groups)-1 && groups[i+1] != groups[1] {
			return false // different signs between the groups
		}
	}
	if n == 1 || ones && n > 4 || fours && n >= 4 {
		return true
	}
	if n == 3 {
		s := string([]byte{groups[0], groups[2], groups[4]})
		return s == "465" || s == "464" || s == "466"
	}
	return false
}

// payWords say besides cardWords that a number is one to pay with.
var payWords = []string{"pay", "paid", "payment", "charge", "charged", "billing", "billed", "pan", "atm", "creditcard", "debitcard", "card_number", "ccn", "kreditkort", "kort", "kortti", "karta", "karty", "kartı", "kart",
	"cartes", "tarjetas", "betaalkaart", "carte bancaire", "карта", "карты", "карту", "信用卡", "银行卡", "銀行卡", "卡号", "卡號", "カード", "카드", "कार्ड", "بطاقة", "כרטיס"}

// anyIP returns where the address that begins at text[i] ends, or 0. Addresses that every machine has are no one's.
func anyIP(text string, i int) int {
	j, colons, dots, digits := i, 0, 0, 0
	for ; j < len(text) && j-i < 46; j++ {
		c := text[j]
		if c == ':' {
			colons++
		} else if c == '.' {
			dots++
		} else if isDigit(c) {
			digits++
		} else if c|0x20 < 'a' || c|0x20 > 'f' {
			break
		}
	}
	for j > i && (text[j-1] == '.' || text[j-1] == ':' && !strings.HasSuffix(text[i:j], "::")) {
		if j--; text[j] == '.' {
			dots--
		} else {
			colons--
		}
	}
	if digits == 0 || colons == 0 && dots != 3 || colons == 1 && dots != 3 || j < len(text) && inWord(text[j]) && colons == 0 {
		return 0
	}
	word := text[i:j]
	if port := strings.IndexByte(word, ':'); colons == 1 && port > 0 {
		word, colons = word[:port], 0
	}
	if i > 0 && (text[i-1] == '.' || text[i-1] == ':' && colons > 0 && !labelled(text, i-1) || colons > 0 && inWord(text[i-1]) || isDigit(text[i-1])) {
		return 0
	}
	a, err := netip.ParseAddr(word)
	if err != nil {
		return 0
	}
	if a.IsUnspecified() || a.IsLoopback() && word != strings.TrimPrefix(word, "127.0.0.1") || word == "::1" || a.Is4() && (word[:4] == "255." || word[:2] == "0.") {
		return 0
	}
	// A namespace such as abc::d1 is an address by its form.
	if colons == 2 && dots == 0 && len(word) < 7 && !strings.HasPrefix(strings.ToLower(word), "fe80") {
		return 0
	}
	if a.Is4() && contextBefore(text, i, 20, versionWords) {
		return 0
	}
	return i + len(word)
}

// labelled says whether the colon at text[i] ends a word that is no part of an address, as in ip:2a02::1.
func labelled(text string, i int) bool {
	hex := true
	j := i
	for j > 0 && (isLetter(text[j-1]) || isDigit(text[j-1])) {
		j--
		hex = hex && (isDigit(text[j]) || text[j]|0x20 <= 'f')
	}
	return j < i && !hex
}

// anyEmail is email for every domain, letters of every script, and signs that are set apart by spaces.
func anyEmail(text string, at int) (start, end int, ok bool) {
	from := at
	domain := at + 1
	if at > 1 && at+2 < len(text) && text[at-1] == ' ' && text[at+1] == ' ' {
		from, domain = at-1, at+2
	}
	start = from
	for start > 0 && (inLocal(text[start-1]) || text[start-1] >= utf8.RuneSelf) && from-start < 254 {
		start--
	}
	if i := strings.LastIndex(text[start:from], ".."); i >= 0 {
		start += i + 2
	}
	for start < from {
		r, size := utf8.DecodeRuneInString(text[start:])
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '+' {
			break
		}
		start += size
	}
	for from > start && text[from-1] == '.' {
		from--
	}
	// https://user:password@host and key=jane@acme.org: what stands before the sign is not of the address.
	if i := strings.LastIndexByte(text[start:from], '='); i >= 0 && start+i+1 < from {
		start += i + 1
	}
	if start == from {
		return 0, 0, false
	}
	if domain < len(text) && text[domain] == '[' {
		if n := strings.IndexByte(text[domain:min(len(text), domain+50)], ']'); n > 1 {
			if _, err := netip.ParseAddr(strings.TrimPrefix(text[domain+1:domain+n], "IPv6:")); err == nil {
				return start, domain + n + 1, true
			}
		}
	}
	end, ok = domainEnd(text, domain)
	return start, end, ok
}

// domainEnd returns where the host name that begins at text[i] ends.
func domainEnd(text string, i int) (end int, ok bool) {
	label, labels, dot := 0, 0, i-1
	end = i
	for end < len(text) && end-i < 254 {
		c := text[end]
		if c == '.' && label > 0 && text[end-1] != '-' && end+1 < len(text) && (isLetter(text[end+1]) || isDigit(text[end+1]) || text[end+1] >= utf8.RuneSelf) {
			labels++
			label, dot = 0, end
		} else if isLetter(c) || isDigit(c) || c >= utf8.RuneSelf || (c == '-' || c == '_') && label > 0 {
			label++
		} else {
			break
		}
		end++
	}
	for end > dot+1 && (text[end-1] == '-' || text[end-1] == '_') {
		end--
	}
	if labels == 0 {
		return 0, false
	}
	top := text[dot+1 : end]
	if _, err := netip.ParseAddr(text[i:end]); err == nil {
		return end, true
	}
	// jane@acme.org_old, jane@acme.org2: the address ends before.
	n := 0
	for n < len(top) && (isLetter(top[n]) || top[n] >= utf8.RuneSelf || top[n] == '-') {
		n++
	}
	if strings.HasPrefix(top, "xn--") {
		n = len(top)
	}
	top = top[:n]
	if len(top) < 2 || len(top) > 63 || picture(top) || !isLetter(top[0]) && top[0] < utf8.RuneSelf {
		return 0, false
	}
	return dot + 1 + n, true
}

var (
	bracketed = regexp.MustCompile(`(?i)[\pL\pN._%+-]+ ?[(\[{<] ?at ?[)\]}>] ?[\pL\pN-]+(?:(?: ?[(\[{<] ?(?:dot|punkt|punto|point) ?[)\]}>] ?|\.| dot )[\pL\pN-]+)+`)
	spelled   = regexp.MustCompile(`(?i)\b[a-z0-9._%+-]+ at [a-z0-9-]+(?: dot [a-z0-9-]+)* dot [a-z]{2,10}\b`)
)

// spelling says which forms of addresses that are written out a text may have.
type spelling struct{ bracketed, spelled bool }

// see looks at the word that begins at text[i].
func (s *spelling) see(text string, i int) {
	word := func(w string) (before, after byte, ok bool) {
		if i == 0 || i+len(w) >= len(text) || !strings.EqualFold(text[i:i+len(w)], w) {
			return 0, 0, false
		}
		return text[i-1], text[i+len(w)], true
	}
	switch text[i] | 0x20 {
	case 'a':
		if before, after, ok := word("at"); ok && (before != ' ' || after != ' ') && strings.IndexByte(" ([{<", before) >= 0 && strings.IndexByte(" )]}>", after) >= 0 {
			s.bracketed = true
		}
	case 'd':
		if before, after, ok := word("dot"); ok && before == ' ' && after == ' ' {
			s.spelled = true
		}
	}
}

// writtenOut finds addresses such as jane (at) acme.org and jane at acme dot org.
func (s spelling) writtenOut(text string, add func(typ string, rank, start, end int)) {
	find := func(p *regexp.Regexp) {
		for _, loc := range p.FindAllStringIndex(text, -1) {
			add(Email, rankEmail, loc[0], loc[1])
		}
	}
	if s.bracketed {
		find(bracketed)
	}
	if s.spelled {
		find(spelled)
	}
}
