package leak

import (
	"net/netip"
	"strings"
)

// email returns the bounds of the address around the @ at text[at].
func email(text string, at int) (start, end int, ok bool) {
	start, end, ok = emailForm(text, at)
	if ok && reserved(text[at+1:end]) {
		return 0, 0, false
	}
	return start, end, ok
}

// emailForm is email with the addresses of domains that are set aside for examples.
func emailForm(text string, at int) (start, end int, ok bool) {
	start = at
	for start > 0 && (inLocal(text[start-1])) {
		start--
	}
	for start < at && strings.IndexByte(".'`{|}/=?&!#*", text[start]) >= 0 {
		start++ // signs that more likely stand before the address than in it
	}
	local := text[start:at]
	if local == "" || len(local) > 64 || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return 0, 0, false
	}
	end = at + 1
	label, labels, dot := 0, 0, at // dot is the last one that ends a label
	for end < len(text) {
		c := text[end]
		if c == '.' && label > 0 && text[end-1] != '-' && end+1 < len(text) && (isLetter(text[end+1]) || isDigit(text[end+1])) {
			labels++
			label, dot = 0, end
		} else if isLetter(c) || isDigit(c) || c == '-' && label > 0 {
			label++
		} else {
			break
		}
		end++
	}
	for end > dot+1 && text[end-1] == '-' {
		end--
	}
	top := text[dot+1 : end]
	if labels == 0 || len(top) < 2 || len(top) > 24 || end-at > 254 || !isLetter(top[0]) || picture(top) {
		return 0, 0, false
	}
	return start, end, true
}

func inLocal(c byte) bool {
	return isLetter(c) || isDigit(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) >= 0
}

// reserved says whether a domain is set aside for examples (RFC 2606): nobody has an address there.
func reserved(domain string) bool {
	labels := strings.Split(strings.ToLower(domain), ".")
	n := len(labels)
	switch labels[n-1] {
	case "example", "test", "invalid", "localhost":
		return true
	case "com", "org", "net":
		return labels[n-2] == "example"
	}
	return false
}

// picture says whether what looks like a domain is the name of a file, as in icon@2x.png.
func picture(top string) bool {
	switch strings.ToLower(top) {
	case "png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js":
		return true
	}
	return false
}

// Addresses that belong to no person: those set aside for documentation, and resolvers that
// everybody uses.
var publicRanges = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), // RFC 5737
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3fff::/20"), // RFC 3849, RFC 9637
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("8.8.8.8/32"), netip.MustParsePrefix("8.8.4.4/32"), netip.MustParsePrefix("1.1.1.1/32"), netip.MustParsePrefix("1.0.0.1/32"),
	netip.MustParsePrefix("9.9.9.9/32"),
}

func personal(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range publicRanges {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// ip returns where the address that begins at text[i] ends, or 0.
func ip(text string, i int) int {
	j, colons, dots, digits := i, 0, 0, 0
	for j < len(text) && j-i < 46 {
		c := text[j]
		switch {
		case c == ':':
			colons++
		case c == '.':
			dots++
		case isDigit(c):
			digits++
		case 'a' <= c|0x20 && c|0x20 <= 'f':
		default:
			c = 0
		}
		if c == 0 {
			break
		}
		j++
	}
	for j > i && (text[j-1] == '.' || text[j-1] == ':') { // the end of a sentence
		if j--; text[j] == '.' {
			dots--
		} else {
			colons--
		}
	}
	if j < len(text) && inWord(text[j]) || digits == 0 {
		return 0
	}
	word := text[i:j]
	if port := strings.IndexByte(word, ':'); colons == 1 && dots == 3 && port > 0 {
		word, colons = word[:port], 0
	}
	// A namespace such as abc::d1 is an address by its form, so a few groups are asked for.
	if !(dots == 3 && colons == 0) && colons < 3 {
		return 0
	}
	if i > 0 && (inWord(text[i-1]) || text[i-1] == '.' || text[i-1] == ':' && colons > 0 || text[i-1] == '-') {
		return 0
	}
	a, err := netip.ParseAddr(word)
	if err != nil || !personal(a) {
		return 0
	}
	if dots == 3 && colons == 0 && contextBefore(text, i, 20, versionWords) {
		return 0
	}
	return i + len(word)
}

// versionWords say that four numbers with dots are a version.
var versionWords = []string{"version", "release", "v.", "ver", "build", "firmware", "section", "chapter"}
