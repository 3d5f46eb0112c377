package sqltext

// How long a chain of symbols may be. PostgreSQL's parser runs on a stack of fixed size within its
// WebAssembly memory and corrupts that memory beyond it: writing its tree as protobuf came to grief
// between 2000 and 4000 symbols, and as JSON, from which references are read, between 300 and 600.
const (
	deepest       = 1000
	deepestListed = 250
)

// depth is an upper bound of how deeply a statement's tree is nested: the greatest number of symbols in
// a row, over all enclosing brackets, with no comma or semicolon between them, for those end a chain.
// Identifiers, numbers and quoted texts count as symbols too.
func depth(s string) int {
	var outer []int // chains of the enclosing brackets
	sum, chain, most := 0, 0, 0
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c <= ' ':
			i++
			continue
		case c == '-' && i+1 < len(s) && s[i+1] == '-':
			for i < len(s) && s[i] != '\n' {
				i++
			}
			continue
		case c == '(' || c == '[':
			chain++
			outer = append(outer, chain)
			sum += chain
			chain = 0
			i++
		case c == ')' || c == ']':
			chain = 1
			if n := len(outer) - 1; n >= 0 {
				chain += outer[n]
				sum -= outer[n]
				outer = outer[:n]
			}
			i++
		case c == ',' || c == ';':
			chain = 0
			i++
		case c == '\'' || c == '"' || c == '`':
			chain++
			i = quoted(s, i)
		case word(c):
			chain++
			for i < len(s) && word(s[i]) {
				i++
			}
		default:
			chain++
			i++
		}
		most = max(most, sum+chain)
	}
	return most
}

func word(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c >= 0x80
}

// quoted returns the place behind the quoted text that begins at i, or behind its first character when
// it does not end: the grammars differ in what ends one, and an estimate must not be too low.
func quoted(s string, i int) int {
	for k := i + 1; k < len(s); k++ {
		switch s[k] {
		case s[i]:
			return k + 1
		case '\\':
			return i + 1 // an escape in one dialect and a character in another
		}
	}
	return i + 1
}
