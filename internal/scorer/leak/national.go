package leak

import (
	"regexp"
	"strings"
)

// identity is a kind of national identity number.
type identity struct {
	name string
	// words are those by which a text says that it gives such a number.
	words []string
	// sure are layouts, as in number.groups, that no word is needed for, because the form and the
	// check say enough by themselves. "*" is any.
	sure []string
	// layouts are the others, for which a word must be near.
	layouts []string
	valid   func(digits string) bool
}

// socialSecurity is the one whose numbers have no check digit.
const socialSecurity = "us-ssn"

// identities are those made of digits only. The rules are those that the issuing authorities publish.
var identities = [...]identity{
	{name: socialSecurity, words: []string{"ssn", "ssns", "social security", "soc sec", "social", "ss#", "tax id", "taxpayer", "itin", "tin"}, sure: []string{"3-2-4"}, layouts: []string{"9", "3 2 4", "3.2.4", "3/2/4", "1 1 1 1 1 1 1 1 1"}, valid: usSSN},
	{name: "ca-sin", words: []string{"sin", "social insurance", "assurance sociale", "nas"}, layouts: []string{"9", "3-3-3", "3 3 3"},
		valid: func(d string) bool { return d[0] != '0' && d[0] != '8' && luhn(d) && !same(d) }},
	{name: "uk-nhs", words: []string{"nhs"}, layouts: []string{"a", "3 3 4", "3-3-4"}, valid: ukNHS},
	{name: "de-steuer-id", words: []string{"steuer", "steueridentifikationsnummer", "steuer-id", "steuernummer", "idnr", "tax id", "tin"},
		layouts: []string{"b", "2 3 3 3"}, valid: deSteuer},
	{name: "fr-nir", sure: []string{"f", "1 2 2 2 3 3 2", "d 2"}, valid: frNIR},
	{name: "nl-bsn", words: []string{"bsn", "burgerservicenummer", "sofinummer", "citizen service"}, layouts: []string{"9", "4.2.3", "3 3 3"}, valid: nlBSN},
	{name: "be-rrn", words: []string{"rijksregister", "registre national", "national number", "insz", "niss", "nn"},
		sure: []string{"2.2.2-3.2"}, layouts: []string{"b"}, valid: beRRN},
	{name: "pt-nif", words: []string{"nif", "contribuinte", "fiscal"}, layouts: []string{"9", "3 3 3"}, valid: ptNIF},
	{name: "pl-pesel", words: []string{"pesel"}, layouts: []string{"b"}, valid: plPESEL},
	{name: "se-pnr", words: []string{"personnummer", "personal identity"}, sure: []string{"6-4", "8-4", "6+4"}, layouts: []string{"a", "c"}, valid: sePNR},
	{name: "no-fnr", words: []string{"fødselsnummer", "personnummer", "fnr", "national identity"}, layouts: []string{"b", "6 5"}, valid: noFNR},
	{name: "ch-ahv", sure: []string{"3.4.4.2"}, words: []string{"ahv", "avs", "oasi", "social security"}, layouts: []string{"d"}, valid: chAHV},
	{name: "br-cpf", words: []string{"cpf"}, sure: []string{"3.3.3-2"}, layouts: []string{"b"}, valid: brCPF},
	{name: "in-aadhaar", words: []string{"aadhaar", "aadhar", "uidai", "आधार"}, layouts: []string{"c", "4 4 4", "4-4-4"},
		valid: func(d string) bool { return d[0] >= '2' && verhoeff(d) && !same(d) }},
	{name: "au-tfn", words: []string{"tfn", "tax file"}, layouts: []string{"9", "3 3 3"}, valid: auTFN},
}

// usSSN follows the Social Security Administration: no area 000, 666 or 900 to 999, no group 00, no
// serial 0000; and not the two numbers that were printed in advertisements.
func usSSN(d string) bool {
	area := d[:3]
	return area != "000" && area != "666" && area[0] != '9' && d[3:5] != "00" && d[5:] != "0000" && d != "078051120" && d != "219099999"
}

func ukNHS(d string) bool {
	check := 11 - weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2)%11
	return !same(d) && check%11 == digitAt(d, 9) && check != 10
}

// deSteuer asks that of the first ten digits one comes two or three times, as the law says.
func deSteuer(d string) bool {
	var count [10]int
	for i := range 10 {
		count[digitAt(d, i)]++
	}
	repeated := 0
	for _, n := range count {
		if n > 3 {
			return false
		}
		if n > 1 {
			repeated++
		}
	}
	return d[0] != '0' && repeated == 1 && mod11_10(d)
}

func frNIR(d string) bool {
	month := digitAt(d, 3)*10 + digitAt(d, 4)
	plausible := 1 <= month && month <= 12 || 20 <= month && month <= 42 || month >= 50 // where the month is not known
	return strings.IndexByte("123478", d[0]) >= 0 && plausible && (97-mod97(d[:13])) == mod97(d[13:])+97*btoi(d[13:] == "97")
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func nlBSN(d string) bool {
	return !same(d) && (weighted(d, 9, 8, 7, 6, 5, 4, 3, 2)-digitAt(d, 8))%11 == 0
}

func beRRN(d string) bool {
	check := digitAt(d, 9)*10 + digitAt(d, 10)
	born := d[2:4] == "00" || date(d[2:4], d[4:6])
	return born && (97-mod97(d[:9]) == check || 97-mod97("2"+d[:9]) == check)
}

func ptNIF(d string) bool {
	check := 11 - weighted(d, 9, 8, 7, 6, 5, 4, 3, 2)%11
	if check > 9 {
		check = 0
	}
	return d[0] != '0' && d[0] != '4' && !same(d) && check == digitAt(d, 8)
}

// plPESEL adds 20, 40, 60 or 80 to the month to tell the century.
func plPESEL(d string) bool {
	month := (digitAt(d, 2)*10 + digitAt(d, 3)) % 20
	sum := weighted(d, 1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
	return date(string([]byte{'0' + byte(month/10), '0' + byte(month%10)}), d[4:6]) && (10-sum%10)%10 == digitAt(d, 10)
}

// sePNR also takes coordination numbers, whose day has 60 added.
func sePNR(d string) bool {
	d = d[len(d)-10:]
	day := digitAt(d, 4)*10 + digitAt(d, 5)
	if day > 60 {
		day -= 60
	}
	return luhn(d) && date(d[2:4], string([]byte{'0' + byte(day/10), '0' + byte(day%10)}))
}

func noFNR(d string) bool {
	k1 := (11 - weighted(d, 3, 7, 6, 1, 8, 9, 4, 5, 2)%11) % 11
	k2 := (11 - weighted(d, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)%11) % 11
	return date(d[2:4], d[:2]) && k1 == digitAt(d, 9) && k2 == digitAt(d, 10)
}

func chAHV(d string) bool {
	return d[:3] == "756" && (10-weighted(d, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3)%10)%10 == digitAt(d, 12)
}

func brCPF(d string) bool {
	first := weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2) * 10 % 11 % 10
	second := weighted(d, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2) * 10 % 11 % 10
	return !same(d) && first == digitAt(d, 9) && second == digitAt(d, 10)
}

func auTFN(d string) bool {
	return !same(d) && weighted(d, 1, 4, 3, 7, 5, 8, 6, 9, 10)%11 == 0
}

// lettered is a kind of national identity number with letters in it.
type lettered struct {
	name    string
	pattern *regexp.Regexp // anchored
	valid   func(s string) bool
	words   []string // one of which must be near; none is needed without
	// begins says by the letters it begins with, the digits after them and the length of both whether a text may match:
	// expressions are slow. Where that tells little, goesOn is asked too.
	begins func(letters, digits, run int) bool
	goesOn func(s string) bool
}

// unspacedForm says whether s, without its spaces, begins with the form: 9 for a digit, a for a letter, else the sign itself.
func unspacedForm(s, form string) bool {
	n := 0
	for i := 0; i < len(s) && n < len(form); i++ {
		c := s[i]
		if c == ' ' {
			continue
		}
		if form[n] == '9' && !isDigit(c) || form[n] == 'a' && !isLetter(c) || form[n] != '9' && form[n] != 'a' && form[n] != c {
			return false
		}
		n++
	}
	return n == len(form)
}

// The last letter of a DNI or NIE, by the number modulo 23.
const dniLetters = "TRWAGMYFPDXBNJZSQVHLCKE"

// letteredIdentities are matched where a word begins. They need no word near: their form is rare.
var letteredIdentities = [...]lettered{
	{name: "es-dni", pattern: regexp.MustCompile(`^(?:[0-9]{8}|[XYZxyz][0-9]{7})[- ]?[A-Za-z]`), valid: esDNI, begins: func(letters, digits, run int) bool { return letters == 0 && digits == 8 || letters == 1 && digits == 7 }},
	{name: "it-cf", pattern: regexp.MustCompile(`^[A-Za-z]{6}[0-9LMNP-Vlmnp-v]{2}[ABCDEHLMPRSTabcdehlmprst][0-9LMNP-Vlmnp-v]{2}[A-Za-z][0-9LMNP-Vlmnp-v]{3}[A-Za-z]`), valid: itCF, begins: func(letters, digits, run int) bool { return letters >= 6 && run == 16 }},
	{name: "fi-hetu", pattern: regexp.MustCompile(`^[0-9]{6}[-+ABCDEFUVWXY][0-9]{3}[0-9A-Z]`), valid: fiHETU, begins: func(letters, digits, run int) bool { return letters == 0 && digits == 6 }},
	{name: "fr-nir", pattern: regexp.MustCompile(`^[1-478] ?[0-9]{2} ?[0-9]{2} ?2[ABab] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}`), valid: corsican, begins: func(letters, digits, run int) bool { return letters == 0 && (digits <= 3 || digits == 6) }, goesOn: func(s string) bool { return unspacedForm(s, "999992a") }},
	{name: "uk-nino", pattern: regexp.MustCompile(`^[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z](?: ?[0-9]{2}){3} ?[A-Da-d]`), valid: ukNINO, begins: func(letters, digits, run int) bool { return letters == 2 }, goesOn: func(s string) bool { return unspacedForm(s, "aa999999a") }},
}

func esDNI(s string) bool {
	s = strings.ToUpper(s)
	letter := s[len(s)-1]
	if i := strings.IndexByte("XYZ", s[0]); i >= 0 {
		s = string("012"[i]) + s[1:]
	}
	n := 0
	for i := range 8 {
		n = n*10 + digitAt(s, i)
	}
	return n > 0 && dniLetters[n%23] == letter
}

// itCF: characters in odd places count by a table, the others by their order.
func itCF(s string) bool {
	const odd = "\x01\x00\x05\x07\x09\x0d\x0f\x11\x13\x15\x02\x04\x12\x14\x0b\x03\x06\x08\x0c\x0e\x10\x0a\x16\x19\x18\x17"
	s = strings.ToUpper(s)
	sum := 0
	for i := range 15 {
		v := int(s[i] - 'A')
		if isDigit(s[i]) {
			v = digitAt(s, i)
		}
		if i%2 == 0 {
			v = int(odd[v])
		}
		sum += v
	}
	return int(s[15]-'A') == sum%26
}

func fiHETU(s string) bool {
	n := 0
	for i := range 6 {
		n = n*10 + digitAt(s, i)
	}
	for i := 7; i < 10; i++ {
		n = n*10 + digitAt(s, i)
	}
	return date(s[2:4], s[:2]) && "0123456789ABCDEFHJKLMNPRSTUVWXY"[n%31] == s[10]
}

// corsican is a NIR of Corsica, whose departments 2A and 2B count as 19 and 18.
func corsican(s string) bool {
	s = strings.ToUpper(strings.ReplaceAll(s, " ", ""))
	return frNIR(strings.NewReplacer("2A", "19", "2B", "18").Replace(s))
}

// ukNINO: HMRC gives out no number with these first letters; there is no check digit.
func ukNINO(s string) bool {
	switch strings.ToUpper(s[:2]) {
	case "BG", "GB", "NK", "KN", "TN", "NT", "ZZ":
		return false
	}
	return true
}
