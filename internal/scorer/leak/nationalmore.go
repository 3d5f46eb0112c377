package leak

import (
	"regexp"
	"strings"
)

// identitiesMore are further national identity numbers made of digits; see identities.
var identitiesMore = [...]identity{
	{name: "dk-cpr", words: []string{"cpr", "cpr-nummer", "personnummer", "civil registration"}, layouts: []string{"6-4", "a"}, valid: func(d string) bool { return date(d[2:4], d[:2]) }},
	{name: "cz-rc", words: []string{"rodné číslo", "rodného čísla", "rodne cislo", "rč", "r.č.", "birth number"}, sure: []string{"6/4"}, layouts: []string{"a"}, valid: czRC},
	{name: "ro-cnp", words: []string{"cnp", "cod numeric"}, layouts: []string{"d"}, valid: roCNP},
	{name: "tr-tckn", words: []string{"tc", "tckn", "t.c.", "kimlik"}, layouts: []string{"b"}, valid: trTCKN},
	{name: "kr-rrn", sure: []string{"6-7"}, words: []string{"주민등록번호", "주민번호", "rrn", "resident registration"}, layouts: []string{"d"}, valid: krRRN},
	{name: "cn-ric", sure: []string{"i"}, valid: cnRIC},
	{name: "za-id", words: []string{"id", "identity", "rsa id", "said"}, layouts: []string{"d", "6 4 3", "6 4 2 1"}, valid: zaID},
	{name: "ee-ik", words: []string{"isikukood", "personal code", "asmens kodas", "asmens kodo"}, layouts: []string{"b"}, valid: eeIK},
	{name: "hr-oib", words: []string{"oib"}, layouts: []string{"b"}, valid: mod11_10},
	{name: "bg-egn", words: []string{"егн", "egn"}, layouts: []string{"a"}, valid: bgEGN},
	{name: "il-tz", words: []string{"teudat zehut", "ת.ז", "ת\"ז", "תעודת זהות", "israeli id"}, layouts: []string{"9"}, valid: func(d string) bool { return luhn(d) && !same(d) }},
	{name: "jp-mynumber", words: []string{"マイナンバー", "個人番号", "my number"}, layouts: []string{"c", "4 4 4", "4-4-4"}, valid: jpNumber},
	{name: "cl-rut", sure: []string{"2.3.3-1", "1.3.3-1"}, words: []string{"rut", "run"}, layouts: []string{"8-1", "7-1"}, valid: func(d string) bool { return rut(d) }},
}

// czRC: women's months have 50 added, and 20 when a day's numbers ran out.
func czRC(d string) bool {
	month := (digitAt(d, 2)*10 + digitAt(d, 3)) % 50
	if month > 20 {
		month -= 20
	}
	n := 0
	for i := range 10 {
		n = (n*10 + digitAt(d, i)) % 11
	}
	return date(string([]byte{'0' + byte(month/10), '0' + byte(month%10)}), d[4:6]) && n == 0 && !same(d)
}

func roCNP(d string) bool {
	check := weighted(d, 2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9) % 11
	if check == 10 {
		check = 1
	}
	return d[0] != '0' && date(d[3:5], d[5:7]) && check == digitAt(d, 12)
}

func trTCKN(d string) bool {
	odd := digitAt(d, 0) + digitAt(d, 2) + digitAt(d, 4) + digitAt(d, 6) + digitAt(d, 8)
	even := digitAt(d, 1) + digitAt(d, 3) + digitAt(d, 5) + digitAt(d, 7)
	return d[0] != '0' && (odd*7-even+100)%10 == digitAt(d, 9) && (odd+even+digitAt(d, 9))%10 == digitAt(d, 10)
}

// krRRN: numbers given out since October 2020 have no check digit.
func krRRN(d string) bool { return date(d[2:4], d[4:6]) && d[6] >= '1' && d[6] <= '8' }

// cnRIC follows GB 11643-1999; the check character X is in the lettered form.
func cnRIC(d string) bool {
	const check = "10X98765432"
	born := d[6:10]
	return "1900" <= born && born <= "2100" && date(d[10:12], d[12:14]) && d[0] != '0' &&
		check[weighted(d, 7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)%11] == strings.ToUpper(d[17:])[0]
}

func zaID(d string) bool { return luhn(d) && date(d[2:4], d[4:6]) && d[10] <= '2' }

func eeIK(d string) bool {
	check := weighted(d, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1) % 11
	if check == 10 {
		check = weighted(d, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3) % 11 % 10
	}
	return d[0] >= '1' && d[0] <= '8' && date(d[3:5], d[5:7]) && check == digitAt(d, 10)
}

// bgEGN: months have 20 or 40 added in other centuries.
func bgEGN(d string) bool {
	month := (digitAt(d, 2)*10 + digitAt(d, 3)) % 20
	return date(string([]byte{'0' + byte(month/10), '0' + byte(month%10)}), d[4:6]) && weighted(d, 2, 4, 8, 5, 10, 9, 7, 3, 6)%11%10 == digitAt(d, 9)
}

func jpNumber(d string) bool {
	r := weighted(d, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2) % 11
	check := 0
	if r > 1 {
		check = 11 - r
	}
	return !same(d) && check == digitAt(d, 11)
}

// rut takes the digits of a Chilean RUT with its check character, which may be K.
func rut(s string) bool {
	sum, factor := 0, 2
	for i := len(s) - 2; i >= 0; i-- {
		sum += digitAt(s, i) * factor
		if factor++; factor > 7 {
			factor = 2
		}
	}
	return "0K987654321"[sum%11] == strings.ToUpper(s[len(s)-1:])[0]
}

// letteredMore are further kinds with letters in them. Those with words need one of them near.
var letteredMore = [...]lettered{
	{name: "cn-ric", pattern: regexp.MustCompile(`^[1-9][0-9]{16}[Xx]`), valid: cnRIC, begins: func(letters, digits, run int) bool { return letters == 0 && digits == 17 }},
	{name: "cl-rut", pattern: regexp.MustCompile(`^[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[Kk]`), valid: func(s string) bool { return rut(strings.NewReplacer(".", "", "-", "").Replace(s)) }, begins: func(letters, digits, run int) bool { return letters == 0 && digits <= 2 }, goesOn: func(s string) bool {
		return strings.IndexByte(s, '.') <= 2 && unspacedForm(s[strings.IndexByte(s, '.')+1:], "999.999-")
	}},
	{name: "sg-nric", pattern: regexp.MustCompile(`^[STFGMstfgm][0-9]{7}[A-Za-z]`), valid: sgNRIC, begins: func(letters, digits, run int) bool { return letters == 1 && digits == 7 }},
	{name: "mx-curp", pattern: regexp.MustCompile(`^[A-Za-z]{4}[0-9]{6}[HMXhmx][A-Za-z]{5}[A-Za-z0-9][0-9]`), valid: mxCURP, begins: func(letters, digits, run int) bool { return letters == 4 && digits == 6 }},
	{name: "in-pan", pattern: regexp.MustCompile(`^[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]`), valid: func(string) bool { return true }, begins: func(letters, digits, run int) bool { return letters == 5 && digits == 4 }},
	{name: "ie-pps", pattern: regexp.MustCompile(`^[0-9]{7} ?[A-Wa-w][A-IWa-iw]?`), valid: iePPS, words: []string{"pps", "ppsn", "personal public service"}, begins: func(letters, digits, run int) bool { return letters == 0 && digits == 7 }},
}

func sgNRIC(s string) bool {
	s = strings.ToUpper(s)
	sum := weighted(s[1:], 2, 7, 6, 5, 4, 3, 2)
	table := "JZIHGFEDCBA" // S and T
	switch s[0] {
	case 'T':
		sum += 4
	case 'F':
		table = "XWUTRQPNMLK"
	case 'G':
		table = "XWUTRQPNMLK"
		sum += 4
	case 'M':
		table = "XWUTRQPNJLK"
		sum += 3
	}
	return table[sum%11] == s[8]
}

func mxCURP(s string) bool {
	const order = "0123456789ABCDEFGHIJKLMN_OPQRSTUVWXYZ" // _ stands for Ñ
	s = strings.ToUpper(s)
	sum := 0
	for i := range 17 {
		sum += strings.IndexByte(order, s[i]) * (18 - i)
	}
	return date(s[6:8], s[8:10]) && (10-sum%10)%10 == digitAt(s, 17)
}

func iePPS(s string) bool {
	s = strings.ToUpper(strings.ReplaceAll(s, " ", ""))
	sum := weighted(s, 8, 7, 6, 5, 4, 3, 2)
	if len(s) == 9 && s[8] != 'W' {
		sum += 9 * int(s[8]-'A'+1)
	}
	return "WABCDEFGHIJKLMNOPQRSTUV"[sum%23] == s[7]
}
