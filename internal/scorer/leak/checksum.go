package leak

// The functions of this file take strings of ASCII digits, of the length that each names.

func digitAt(s string, i int) int { return int(s[i] - '0') }

// luhn says whether the last digit is right by ISO/IEC 7812-1, annex B.
func luhn(s string) bool {
	sum := 0
	for i := range len(s) {
		d := digitAt(s, len(s)-1-i)
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// mod97 is the number that s spells modulo 97, letters counting 10 to 35 (ISO/IEC 7064).
func mod97(s string) int {
	m := 0
	for i := range len(s) {
		if isDigit(s[i]) {
			m = (m*10 + digitAt(s, i)) % 97
		} else {
			m = (m*100 + int(s[i]|0x20-'a') + 10) % 97
		}
	}
	return m
}

// weighted is the sum of the first digits of s times weights.
func weighted(s string, weights ...int) int {
	sum := 0
	for i, w := range weights {
		sum += w * digitAt(s, i)
	}
	return sum
}

// mod11_10 says whether the last digit is right by ISO/IEC 7064, MOD 11,10.
func mod11_10(s string) bool {
	p := 10
	for i := range len(s) - 1 {
		p = (p + digitAt(s, i)) % 10
		if p == 0 {
			p = 10
		}
		p = p * 2 % 11
	}
	return (p+digitAt(s, len(s)-1))%10 == 1
}

// The tables of Verhoeff's scheme (1969): multiplication in the dihedral group D5 and the
// permutation by place.
var (
	dihedral = [10][10]uint8{
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 3, 4, 0, 6, 7, 8, 9, 5}, {2, 3, 4, 0, 1, 7, 8, 9, 5, 6}, {3, 4, 0, 1, 2, 8, 9, 5, 6, 7},
		{4, 0, 1, 2, 3, 9, 5, 6, 7, 8}, {5, 9, 8, 7, 6, 0, 4, 3, 2, 1}, {6, 5, 9, 8, 7, 1, 0, 4, 3, 2}, {7, 6, 5, 9, 8, 2, 1, 0, 4, 3},
		{8, 7, 6, 5, 9, 3, 2, 1, 0, 4}, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
	}
	permuted = [8][10]uint8{
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 5, 7, 6, 2, 8, 3, 0, 9, 4}, {5, 8, 0, 3, 7, 9, 6, 1, 4, 2}, {8, 9, 1, 6, 0, 4, 3, 5, 2, 7},
		{9, 4, 5, 3, 1, 2, 6, 8, 7, 0}, {4, 2, 8, 6, 5, 7, 3, 9, 0, 1}, {2, 7, 9, 3, 8, 0, 6, 4, 1, 5}, {7, 0, 4, 6, 9, 1, 3, 2, 5, 8},
	}
)

func verhoeff(s string) bool {
	c := uint8(0)
	for i := range len(s) {
		c = dihedral[c][permuted[i%8][digitAt(s, len(s)-1-i)]]
	}
	return c == 0
}

// date says whether a two-digit month and day can be a date.
func date(month, day string) bool {
	m, d := digitAt(month, 0)*10+digitAt(month, 1), digitAt(day, 0)*10+digitAt(day, 1)
	return 1 <= m && m <= 12 && 1 <= d && d <= [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[m-1]
}

// same says whether all digits are equal, as in the numbers that fill out specimen forms.
func same(s string) bool {
	for i := range len(s) {
		if s[i] != s[0] {
			return false
		}
	}
	return true
}
