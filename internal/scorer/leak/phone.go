package leak

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// NumbersVersion is the version of the library whose tables say which telephone numbers exist.
const NumbersVersion = "phonenumbers/1.8.1"

// defaultRegions are those whose national telephone numbers are recognised, in ISO 3166, when none are
// given: a number without a country's code is nothing without a country.
var defaultRegions = [...]string{
	"US", "GB", "DE", "FR", "ES", "IT", "NL", "BE", "CH", "AT", "PT", "IE", "SE", "NO", "DK", "FI", "PL", "CZ", "HU", "GR", "AU", "NZ", "IN", "BR", "MX",
	"ZA", "JP",
}

// phoneWords say that a telephone number is near.
var phoneWords = []string{
	"phone", "telephone", "tel", "call", "calling", "called", "mobile", "cell", "cellphone", "fax", "sms", "text", "whatsapp", "dial", "reach", "office",
	"desk", "hotline", "contact", "ring", "teléfono", "telefono", "móvil", "téléphone", "portable", "telefon", "handy",
	"telefone", "celular", "telefoon", "☎", "📞",
}

// phoneLayout is the raw form of a telephone number at one place of a text.
type phoneLayout struct {
	end           int
	digits        int
	groups        int
	international bool // begins with + or 00
	trunk         bool // begins with 0, or has an area code in brackets
}

// Limits of a telephone number: E.164 has 15 digits at most, and an extension may follow.
const (
	fewestPhoneDigits = 7
	mostPhoneDigits   = 15
)

// phone returns where the telephone number that begins at text[i] ends, or 0. text[i] is a digit, +
// or an opening bracket.
func phone(text string, i int, regions []string) int {
	p := phoneForm(text, i)
	if p.digits < fewestPhoneDigits || p.digits > mostPhoneDigits || p.end < len(text) && inWord(text[p.end]) && text[p.end] != 'x' {
		return 0
	}
	raw := text[i:p.end]
	if p.international {
		if strings.HasPrefix(raw, "00") {
			raw = "+" + strings.TrimLeft(strings.TrimPrefix(raw, "00"), "-. ")
		}
		// Some write a 0 in brackets that is only dialled within the country.
		n, err := phonenumbers.Parse(strings.Replace(raw, "(0)", "", 1), "ZZ")
		if err != nil || !phonenumbers.IsValidNumber(n) {
			return 0
		}
		return extension(text, p.end)
	}
	if !balanced(raw) || specimen(raw) || arithmetic(text, i, p.end) {
		return 0
	}
	said := contextAround(text, i, p.end, 45, phoneWords)
	// A number that nothing says is one must look like one.
	if !said && (p.groups == 1 || !p.trunk && !strings.Contains(raw, "-") && !strings.Contains(raw, ".") || looksLikeDate(raw)) {
		return 0
	}
	if said && p.groups == 1 && p.digits < 9 || looksLikeDate(raw) {
		return 0
	}
	for _, region := range regions {
		// Without a word for it, only numbers in the form that is usual in North America, and those
		// with the trunk prefix that most other countries write.
		if !said && !p.trunk && !(region == "US" && northAmerican(raw)) {
			continue
		}
		n, err := phonenumbers.Parse(raw, region)
		if err == nil && phonenumbers.IsValidNumberForRegion(n, region) {
			return extension(text, p.end)
		}
	}
	return 0
}

// phoneForm reads digits in groups parted by a space, a sign or brackets.
func phoneForm(text string, i int) phoneLayout {
	var p phoneLayout
	j := i
	if text[j] == '+' {
		p.international = true
		j++
	} else if strings.HasPrefix(text[j:], "00") {
		p.international = true
	}
	open := false
	last := byte(0)
	for ; j < len(text) && p.digits <= mostPhoneDigits+1; j++ {
		c := text[j]
		switch {
		case isDigit(c):
			if !isDigit(last) {
				p.groups++
			}
			if p.digits == 0 && c == '0' {
				p.trunk = true
			}
			p.digits++
			p.end = j + 1
		case c == '(' && !open && !isDigit(last):
			open = true
			p.trunk = true
		case c == ')' && open && isDigit(last):
			open = false
		case (c == ' ' || c == '-' || c == '.' || c == '/') && (isDigit(last) || last == ')' || c == ' ' && last != ' ' && last != 0 && j > i+1):
			if c == '/' && last == ')' {
				return p
			}
		default:
			return p
		}
		last = c
	}
	return p
}

// northAmerican says whether raw is grouped as numbers are in the United States and Canada.
func northAmerican(raw string) bool {
	raw = strings.TrimPrefix(raw, "1-")
	return len(raw) == 12 && raw[3] == raw[7] && (raw[3] == '-' || raw[3] == '.') && raw[0] >= '2' && raw[4] >= '2'
}

// balanced says whether brackets are closed, and points part more than two groups: 3.14159265 is a
// decimal.
func balanced(raw string) bool {
	return strings.Count(raw, "(") == strings.Count(raw, ")") &&
		!(strings.Count(raw, ".") == 1 && strings.Trim(raw, ".0123456789") == "")
}

// specimen says whether raw counts up, as invented numbers do.
func specimen(raw string) bool {
	digits := strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, raw)
	return len(digits) >= 7 && (strings.HasPrefix("1234567890", digits) || strings.HasPrefix("01234567890", digits))
}

// arithmetic says whether what stands at text[start:end] is part of a sum.
func arithmetic(text string, start, end int) bool {
	before, after := strings.TrimRight(text[max(0, start-2):start], " "), strings.TrimLeft(text[end:min(len(text), end+2)], " ")
	return before != "" && strings.IndexByte("=*<$€£^", before[len(before)-1]) >= 0 || after != "" && strings.IndexByte("=*^%", after[0]) >= 0
}

// looksLikeDate says whether raw begins as dates do: 2024-05-17, 17.05.2024, 17/05/2024, 1914-1918.
func looksLikeDate(raw string) bool {
	shape := make([]byte, 0, 10)
	for i := 0; i < len(raw) && i < 10; i++ {
		if isDigit(raw[i]) {
			shape = append(shape, '9')
		} else {
			shape = append(shape, raw[i])
		}
	}
	switch s := string(shape); {
	case s == "9999-9999" && len(raw) == 9:
		return year(raw[:4]) && year(raw[5:])
	case s == "9999-99-99", s == "9999/99/99", s == "9999.99.99":
		return date(raw[5:7], raw[8:10])
	case s == "99-99-9999", s == "99/99/9999", s == "99.99.9999":
		return date(raw[3:5], raw[:2]) || date(raw[:2], raw[3:5])
	}
	return false
}

func year(s string) bool { return "0700" <= s && s <= "2100" }

// extension returns where an extension such as x123 that begins at text[i] ends, or i.
func extension(text string, i int) int {
	rest := text[i:]
	n := 0
	for _, mark := range []string{"x", " x", " ext. ", " ext ", ", ext. "} {
		if strings.HasPrefix(rest, mark) {
			n = len(mark)
		}
	}
	if n == 0 {
		return i
	}
	j := n
	for j < len(rest) && isDigit(rest[j]) {
		j++
	}
	if j == n || j-n > 6 {
		return i
	}
	return i + j
}

func knownRegion(region string) bool {
	return phonenumbers.GetSupportedRegions()[region]
}
