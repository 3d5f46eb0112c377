package leak

// cardRange is a range of the first digits of a payment card's number, with the lengths it has.
type cardRange struct {
	low, high string // of equal length
	shortest  int
	longest   int
}

// The ranges that schemes have published for the first digits of their cards.
var cardRanges = [...]cardRange{
	{"4", "4", 13, 19},                                                                         // Visa
	{"51", "55", 16, 16},                                                                       // Mastercard
	{"2221", "2720", 16, 16},                                                                   // Mastercard
	{"34", "34", 15, 15},                                                                       // American Express
	{"37", "37", 15, 15},                                                                       // American Express
	{"6011", "6011", 16, 19},                                                                   // Discover
	{"644", "659", 16, 19},                                                                     // Discover
	{"62", "62", 16, 19},                                                                       // UnionPay
	{"300", "305", 14, 19},                                                                     // Diners Club
	{"3095", "3095", 14, 19},                                                                   // Diners Club
	{"36", "36", 14, 19},                                                                       // Diners Club
	{"38", "39", 14, 19},                                                                       // Diners Club
	{"3528", "3589", 16, 19},                                                                   // JCB
	{"1800", "1800", 15, 15},                                                                   // JCB, old
	{"2131", "2131", 15, 15},                                                                   // JCB, old
	{"5018", "5018", 12, 19},                                                                   // Maestro
	{"5020", "5020", 12, 19},                                                                   // Maestro
	{"5038", "5038", 12, 19},                                                                   // Maestro
	{"5893", "5893", 12, 19},                                                                   // Maestro
	{"6304", "6304", 12, 19},                                                                   // Maestro
	{"6759", "6763", 12, 19},                                                                   // Maestro
	{"2200", "2204", 16, 19},                                                                   // Mir
	{"60", "60", 16, 16}, {"81", "82", 16, 16}, {"508", "508", 16, 16}, {"353", "353", 16, 16}, // RuPay
}

// cardWords say that a payment card's number is near. Then the ranges, which schemes extend every
// few years, are not insisted on.
var cardWords = []string{
	"card", "cards", "credit", "debit", "visa", "mastercard", "amex", "maestro", "cc", "tarjeta", "carte", "karte", "kreditkarte", "carta", "cartão",
}

// card says whether digits are the number of a payment card; said whether the text calls them one.
func card(digits string, said func() bool) bool {
	if len(digits) < 12 || len(digits) > 19 || same(digits) || !luhn(digits) {
		return false
	}
	for _, r := range cardRanges {
		first := digits[:len(r.low)]
		if r.low <= first && first <= r.high && r.shortest <= len(digits) && len(digits) <= r.longest {
			// Visa has three lengths and nothing between.
			if digits[0] != '4' || len(digits) == 13 || len(digits) == 16 || len(digits) == 19 {
				return true
			}
		}
	}
	return said()
}

// ibanLengths is the length of an IBAN by country, from SWIFT's registry.
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22,
	"CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22,
	"GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30,
	"KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20,
	"MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
	"RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26,
	"UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// ibanWords say that an account's number is near.
var ibanWords = []string{"iban", "account", "konto", "compte", "cuenta", "conto", "conta", "rekening", "rachunek"}

// iban returns where what has the form of an IBAN and begins at text[i] ends, or 0, and whether its
// check digits are right. Its characters may be parted by single spaces or dashes, as on paper.
func iban(text string, i int) (end int, right bool) {
	if i+4 > len(text) || !isLetter(text[i]) || !isLetter(text[i+1]) || !isDigit(text[i+2]) && text[i+2] != ' ' && text[i+2] != '-' {
		return 0, false
	}
	country := [2]byte{text[i] &^ 0x20, text[i+1] &^ 0x20} // in upper case
	want := ibanLengths[string(country[:])]
	if want == 0 {
		return 0, false
	}
	var b [34]byte
	n, j := 0, i
	for ; j < len(text) && n < want; j++ {
		c := text[j]
		if (c == ' ' || c == '-') && n > 0 && j+1 < len(text) && (isDigit(text[j+1]) || isLetter(text[j+1])) {
			continue
		}
		if !isDigit(c) && (!isLetter(c) || n == 2 || n == 3) {
			return 0, false
		}
		b[n] = c
		n++
	}
	if n < want || j < len(text) && inWord(text[j]) {
		return 0, false
	}
	return j, mod97(string(b[4:n])+string(b[:4])) == 1
}
