package leak

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
)

// saysPhone holds words by which a text says that the number near them is a telephone's, and saysOther those by
// which it says that it is not. The nearest one counts.
var (
	saysPhone = wordSet(`call calls called calling callback caller dial dialed dialing dialled reach ring rang text texted texts sms mms
		whatsapp telegram viber wechat imessage facetime contact contacts contacted contactable fax faxed faxes cell cells cellular cellphone
		mobile mobiles mob tel tele tels ph phone phones phoned phoning telephone hotline helpline landline voicemail pager beeper extension answering
		message messages messaged messaging registered office desk switchboard
		téléphone téléphonez tél appel appelez appeler appelle joindre joignable portable fixe télécopie gsm
		anrufen anruf anrufe rufen ruf rückruf handy handynummer rufnummer erreichbar erreichen mobil mobiltelefon durchwahl zentrale festnetz
		teléfono teléfonos telefono llamar llame llámame llamame llama llámenos móvil movil celular contacto marcar marque
		cellulare chiamare chiamami chiama chiamate chiamatemi recapito ligar ligue telefone telemóvel telemovel contato contacte
		bellen bel belt mobiel mobiele telefoon bereikbaar telefoonnummer zadzwoń zadzwon dzwoń komórka komórkowy telefonu numer
		ringa ringer ring mobilnummer mobilen telefonnummer tlf tlfnr puhelin puhelinnumero soita matkapuhelin cep telefonum arayın ara arayabilirsiniz
		телефон тел телефону моб мобильный позвоните звоните звонить звонок номер τηλέφωνο τηλ κινητό هاتف جوال موبايل טלפון נייד
		फ़ोन फोन मोबाइल โทร điện thoại telepon hp ponsel`)
	saysOther = wordSet(`order orders invoice invoices ticket tickets account accounts acct ref reference refs id ids identifier case cases tracking track isbn
		issn ean upc serial version release build policy policies zip postcode postal plz sku item items model part parts article amount total
		sum price cost usd eur gbp dollars euros bytes byte rows row lines pid port error code codes flight seat room license licence
		passport card cards credit iban bic swift konto bestellung rechnung kundennummer auftrag commande facture pedido factura date dated
		born dob birthday timestamp time ssn security social nhs vat tax tin nif bsn pesel cpf cnpj siret siren routing aba customer
		member membership booking reservation confirmation transaction batch lot claim patient mrn record docket patent page pages vol volume
		coordinates latitude longitude lat lon lng population year years hash commit bug issue pr rfc chapter section doi imei imsi vin
		pin otp`)
	saysPhoneAfter = wordSet(`home work direct private personal day evening h m w c o f`)
	ownWords       = wordSet(`my our his her their your mi mis su mon ma notre son mein meine meiner unsere mio mia il suo meu minha mijn mój mojego min mitt moj můj мой my's whose`)
	// unitWords say that a number counts or measures something.
	unitWords = wordSet(`ms s sec secs second seconds minute minutes hour hours day days week weeks month months times people persons users customers items units pieces points
		bytes byte kb mb gb tb kib mib gib bits km miles metres meters feet kg tons tokens words requests calls rows lines votes views copies percent degrees dollars euros usd eur gbp million billion`)
	// passing are words that may stand between a number and what it is: 0341 8387176 is my mobile.
	passing = wordSet(`is my our his her their the a`)
	// weakWords are said of everything: they count where nothing else is said.
	weakWords = wordSet(`number numbers nr no num numéro nummer número numero numer номер numara puhelinnumero`)
	// Words of scripts that write none apart.
	joinedPhone = []string{"电话", "電話", "手机", "手機", "致电", "致電", "联系", "聯絡", "携帯", "ファックス", "传真", "傳真", "전화", "휴대폰", "연락처", "핸드폰", "โทร", "☎", "☏", "📞", "📱", "✆", "℡"}
)

func wordSet(s string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(s) {
		set[w] = true
	}
	return set
}

// phoneWord is 1 when a word says that a telephone number is near, -1 when it says that another one is, or 0.
func phoneWord(word string) int {
	if len(word) > 40 {
		return 0
	}
	if w := strings.ToLower(word); saysOther[w] {
		return -1
	} else if saysPhone[w] || strings.HasPrefix(w, "phone") || strings.HasPrefix(w, "telef") || strings.HasPrefix(w, "téléph") || strings.HasSuffix(w, "phone") ||
		strings.HasPrefix(w, "телефон") || strings.HasSuffix(w, "telefon") {
		return 1
	}
	return 0
}

// spoken is how far before a number a word may stand, and spokenAfter how far after it, in bytes.
const (
	spoken      = 48
	spokenAfter = 16
)

// called says what the words near text[start:end] say of it: 1, -1 or 0 as phoneWord, and how far the word is
// from it in bytes.
func called(text string, start, end int) (says, distance int) {
	from := max(0, start-spoken)
	weak := 0 // number is said of everything: it counts only where it is someone's
	if measured(text, end) {
		return -1, 0
	}
	for j := start; j > from; {
		r, size := utf8.DecodeLastRuneInString(text[from:j])
		if r == ']' {
			if open := strings.LastIndexByte(text[from:j], '['); open >= 0 && masked(text, from+open, j) {
				j = from + open
				continue
			}
		}
		if !unicode.IsLetter(r) && r != '\'' && !unicode.IsMark(r) {
			j -= size
			continue
		}
		k := j
		for k > from {
			r, size := utf8.DecodeLastRuneInString(text[from:k])
			if !unicode.IsLetter(r) && !unicode.IsMark(r) && r != '\'' {
				break
			}
			k -= size
		}
		if k == from && from > 0 && utf8.RuneStart(text[from]) && inWord(text[from-1]) {
			break // cut in two by the window
		}
		word := text[k:j]
		if utf8.RuneCountInString(word) == 1 && start-j <= 2 && strings.HasPrefix(text[j:], ":") && strings.ContainsAny(word, "TMPFHWC") {
			return 1, start - j // T: and M:, as in signatures
		}
		if (strings.EqualFold(word, "reached") || strings.EqualFold(word, "reach")) && (strings.HasPrefix(text[j:], " at ") || strings.HasPrefix(text[j:], " on ")) {
			return 1, start - j
		}
		if weakWords[strings.ToLower(word)] {
			weak = start - j + 1
		} else if weak > 0 && ownWords[strings.ToLower(word)] {
			return 1, weak
		} else if v := phoneWord(word); v != 0 {
			return v, start - j
		}
		j = k
	}
	for _, w := range joinedPhone {
		if i := strings.LastIndex(text[from:start], w); i >= 0 {
			return 1, start - from - i - len(w)
		}
	}
	// After a number stands what kind it is: 212 736 5000 (home), 07700 063 966-Fax.
	rest := text[end:min(len(text), end+spokenAfter)]
	if end+spokenAfter < len(text) { // its last word may be cut
		rest = rest[:strings.LastIndexAny(rest, " \n\t.,;:)")+1]
	}
	for word := range strings.FieldsFuncSeq(rest, func(r rune) bool { return !unicode.IsLetter(r) }) {
		if w := strings.ToLower(word); saysPhoneAfter[w] || phoneWord(w) > 0 {
			return 1, spoken
		} else if !passing[w] {
			break
		}
	}
	return 0, 0
}

// measured says whether a unit follows what ends at text[end].
func measured(text string, end int) bool {
	if end >= len(text) || text[end] != ' ' {
		return false
	}
	j := end + 1
	for j < len(text) && isLetter(text[j]) && j-end < 12 {
		j++
	}
	return (j == len(text) || !inWord(text[j])) && unitWords[strings.ToLower(text[end+1:j])]
}

// phoneGroups is the raw form of a telephone number: its groups of digits.
type phoneGroups struct {
	start  int
	count  int
	ends   [mostPhoneGroups]int // of each group, with a closing bracket
	sizes  [mostPhoneGroups]int
	parted [mostPhoneGroups]bool // whether a space, not only a sign, parts the group from the one before
	signs  [mostPhoneGroups]byte // the sign before each group but the first
	plus   bool
	zeros  bool // begins with 00
	trunk  bool // begins with a single 0
	area   bool // begins with digits in brackets
}

const mostPhoneGroups = 15

// readGroups reads what may be a telephone number at text[i]: a +, a bracket or a digit.
func readGroups(text string, i int, g *phoneGroups) {
	g.start = i
	j := i
	if text[j] == '+' {
		g.plus = true
		if j++; j < len(text) && text[j] == ' ' {
			j++
		}
	}
	digits, first := 0, true
	for g.count < mostPhoneGroups && digits <= mostPhoneDigits {
		sign, space := byte(0), false
		if !first {
			k := j
			for k < len(text) && k-j < 3 && strings.IndexByte(" -./", text[k]) >= 0 {
				if text[k] == ' ' {
					space = true
				} else if sign != 0 {
					return
				} else {
					sign = text[k]
				}
				k++
			}
			if k == j && (k == len(text) || text[k] != '(' && text[k-1] != ')') {
				return
			}
			j = k
		}
		open := j < len(text) && text[j] == '('
		if open {
			if j++; j < len(text) && text[j] == '+' && first {
				g.plus = true
				j++
			}
		}
		from := j
		for j < len(text) && isDigit(text[j]) {
			j++
		}
		if j == from {
			return
		}
		n := j - from
		if open {
			if j == len(text) || text[j] != ')' {
				return
			}
			j++
		}
		if first {
			g.area = open && !g.plus
			g.zeros = !g.plus && n > 2 && text[from:from+2] == "00" || !g.plus && n == 2 && text[from:j] == "00"
			g.trunk = !g.plus && !g.zeros && text[from] == '0'
		}
		first = false
		digits += n
		if sign == 0 {
			sign = ' '
		}
		g.ends[g.count], g.sizes[g.count], g.parted[g.count], g.signs[g.count] = j, n, space, sign
		g.count++
	}
}

// possiblePhone returns where the telephone number that begins at text[i] ends, or 0. Numbering plans are slow to ask: when
// lookups is used up, what would be looked up counts as a number.
func (p *Personal) possiblePhone(text string, i int, lookups *int) int {
	if i > 1 && strings.IndexByte("-./:,", text[i-1]) >= 0 && isDigit(text[i-2]) && text[i] != '(' && text[i] != '+' && !listed(text, i-1) {
		return 0 // a part of what stands before it
	}
	var g phoneGroups
	readGroups(text, i, &g)
	for n := g.count; n > 0; n-- {
		// What follows by a sign alone belongs to the number.
		if n < g.count && !g.parted[n] && g.signs[n] != '/' {
			continue
		}
		digits := 0
		for _, s := range g.sizes[:n] {
			digits += s
		}
		if digits < fewestPhoneDigits {
			return 0
		}
		end := g.ends[n-1]
		if digits > mostPhoneDigits || !endsNumber(text, end, n > 1) {
			continue
		}
		if p.isPhone(text, &g, n, digits, lookups) {
			return extension(text, end)
		}
	}
	return 0
}

// endsNumber says whether a number may end at text[end]: not within a word, a decimal or a time. What is in groups is no
// decimal.
func endsNumber(text string, end int, grouped bool) bool {
	if end == len(text) {
		return true
	}
	c := text[end]
	if inWord(c) {
		return c == 'x' || c == 'e' && strings.HasPrefix(text[end:], "ext")
	}
	if c == ',' && end+1 < len(text) && isDigit(text[end+1]) {
		return grouped || listed(text, end)
	}
	return !(c == '.' || c == ',' || c == ':' || c == '-') || end+1 == len(text) || !isDigit(text[end+1])
}

// isPhone judges the first n groups.
func (p *Personal) isPhone(text string, g *phoneGroups, n, digits int, lookups *int) bool {
	end := g.ends[n-1]
	raw := text[g.start:end]
	if g.plus {
		return international(text, raw, n, digits, g, lookups)
	}
	if g.zeros && international(text, raw, n, digits, g, lookups) {
		return true
	}
	if looksLikeDate(raw) || calendar(raw, g.sizes[:n]) || arithmetic(text, g.start, end) || uniform(raw) {
		return false
	}
	says, distance := called(text, g.start, end)
	american := g.american(raw, n)
	if says < 0 {
		// A word for something else outweighs all but the plainest form.
		return american && g.area
	}
	if american && (says > 0 || g.area || p.plausibleAmerican(raw, g, n, lookups)) {
		return true
	}
	if says == 0 {
		return n > 1 && (g.trunk || g.area) && !g.decimals(n) && !street(text[end:min(len(text), end+30)]) && p.validSomewhere(raw, lookups)
	}
	switch {
	case digits > 13:
		return false
	case n == 1:
		return digits <= 12 && (digits >= 9 || distance <= 12)
	case g.decimals(n) && (distance > 12 || g.sizes[0] < 3 || g.sizes[1] < 3) || street(text[end:min(len(text), end+30)]):
		return false
	}
	return g.plausible(raw, n) && !(distance > nearSmall && g.small(n))
}

// streetWords end the names of streets.
var streetWords = wordSet(`st street ave avenue rd road ln lane dr drive blvd boulevard ct court pl place sq square way apt suite unit hwy highway pkwy parkway ter terrace`)

// street says whether a street's name follows, so that what stands before it is its number.
func street(rest string) bool {
	rest, _, _ = strings.Cut(rest, "\n")
	for i, w := range strings.Fields(rest) {
		if i > 3 || !unicode.IsLetter(rune(w[0])) {
			return false
		}
		if i > 0 && streetWords[strings.ToLower(strings.Trim(w, ".,"))] {
			return true
		}
	}
	return false
}

// international judges a number with a country's code.
func international(text, raw string, n, digits int, g *phoneGroups, lookups *int) bool {
	if *lookups--; *lookups < 0 {
		return digits >= 8
	}
	if g.zeros {
		raw = "+" + strings.TrimLeft(strings.TrimPrefix(raw, "00"), "-. ")
	}
	// Some write a 0 in brackets that is only dialled within the country.
	num, err := phonenumbers.Parse(strings.Replace(raw, "(0)", "", 1), "ZZ")
	if err != nil {
		return false
	}
	says, _ := called(text, g.start, g.ends[n-1])
	may := digits >= 8 && says >= 0 && (says > 0 || g.plus && (n > 1 || digits >= 10) || n > 2) && !(g.zeros && uniform(raw)) && phonenumbers.IsPossibleNumber(num)
	if digits >= 9 || g.plus {
		return may || phonenumbers.IsValidNumber(num) // which is slow to tell
	}
	return may && !phonenumbers.IsValidNumber(num)
}

// american says whether the groups are those of North America: 212-736-5000, (212) 736-5000, 1 212 736 5000.
func (g *phoneGroups) american(raw string, n int) bool {
	s := g.sizes[:n]
	if n == 4 && s[0] == 1 && raw[0] == '1' {
		s = s[1:]
	}
	return slices.Equal(s, []int{3, 3, 4})
}

// plausibleAmerican says whether a number that nothing says is one may be one: parted by signs with an area code that may
// be, or by spaces and valid.
func (p *Personal) plausibleAmerican(raw string, g *phoneGroups, n int, lookups *int) bool {
	digits := strings.TrimLeft(raw, "1-. (")
	if digits == "" || digits[0] < '2' {
		return false
	}
	if last := g.signs[n-1]; last != ' ' && last == g.signs[n-2] {
		return true
	}
	if *lookups--; *lookups < 0 {
		return true
	}
	num, err := phonenumbers.Parse(raw, "US")
	return err == nil && slices.Contains(p.regions, "US") && phonenumbers.IsValidNumber(num)
}

func (p *Personal) validSomewhere(raw string, lookups *int) bool {
	for _, region := range p.regions {
		if *lookups--; *lookups < 0 {
			return true
		}
		if num, err := phonenumbers.Parse(raw, region); err == nil && phonenumbers.IsValidNumberForRegion(num, region) {
			return true
		}
	}
	return false
}

// decimals says whether the groups are a decimal rather than parts: 3.14159265.
func (g *phoneGroups) decimals(n int) bool { return n == 2 && g.signs[1] == '.' && !g.parted[1] }

// plausible says whether groups may be a telephone's: none longer than a whole national number, few single digits
// unless all are.
func (g *phoneGroups) plausible(raw string, n int) bool {
	singles := 0
	for _, s := range g.sizes[:n] {
		if s > 9 {
			return false
		}
		if s == 1 {
			singles++
		}
	}
	if sizes := g.sizes[:n]; sizes[0] == 1 && !slices.ContainsFunc(sizes[1:], func(s int) bool { return s != 3 }) {
		return false // 1 234 567
	}
	// Digit by digit, but not the first of a longer list, and not counting up.
	return singles <= 1 || singles == n && n == g.count && !specimen(raw)
}

// nearSmall is how near the word must be to numbers that may as well be a list: 9 10 11 12.
const nearSmall = 20

// small says whether the groups may be a list of small numbers.
func (g *phoneGroups) small(n int) bool {
	return n > 3 && !g.trunk && !g.area && !slices.ContainsFunc(g.sizes[:n], func(s int) bool { return s > 2 }) && g.signs[1] == ' '
}

// uniform says whether all digits are equal, as in 000-000-0000.
func uniform(raw string) bool {
	first := byte(0)
	for i := range len(raw) {
		if !isDigit(raw[i]) {
			continue
		}
		if first == 0 {
			first = raw[i]
		}
		if raw[i] != first {
			return false
		}
	}
	return true
}

// calendar says whether groups are a date with other signs than dates usually have, or years in a row.
func calendar(raw string, sizes []int) bool {
	if len(sizes) > 8 {
		return false
	}
	var list [8]string
	parts := list[:0]
	for i := 0; i < len(raw) && len(parts) < len(list); {
		j := i
		for j < len(raw) && isDigit(raw[j]) {
			j++
		}
		if j > i {
			parts = append(parts, raw[i:j])
		}
		i = j + 1
	}
	if len(parts) != len(sizes) {
		return false
	}
	years := 0
	for _, p := range parts {
		if len(p) == 4 && "1800" <= p && p <= "2100" {
			years++
		}
	}
	if years == len(parts) {
		return true
	}
	if len(parts) == 1 && len(raw) == 8 {
		return "1900" <= raw[:4] && raw[:4] <= "2100" && date(raw[4:6], raw[6:])
	}
	if len(parts) < 3 || years == 0 {
		return false
	}
	a, b, c := parts[0], parts[1], parts[2]
	switch {
	case len(a) == 4 && len(b) == 2 && len(c) == 2:
		return date(b, c)
	case len(a) == 2 && len(b) == 2 && len(c) == 4:
		return date(b, a) || date(a, b)
	}
	return false
}
