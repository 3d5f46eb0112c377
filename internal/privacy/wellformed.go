package privacy

// wellFormed says whether s is a JSON document (RFC 8259) nested no deeper than deepest.
func wellFormed(s string) bool {
	c := checker{s: s}
	return c.value(0) && c.space() == len(s)
}

type checker struct {
	s string
	i int
}

func (c *checker) space() int {
	for c.i < len(c.s) && (c.s[c.i] == ' ' || c.s[c.i] == '\n' || c.s[c.i] == '\t' || c.s[c.i] == '\r') {
		c.i++
	}
	return c.i
}

func (c *checker) take(b byte) bool {
	if c.space() < len(c.s) && c.s[c.i] == b {
		c.i++
		return true
	}
	return false
}

func (c *checker) value(depth int) bool {
	if depth > deepest || c.space() == len(c.s) {
		return false
	}
	switch b := c.s[c.i]; {
	case b == '{':
		c.i++
		if c.take('}') {
			return true
		}
		for {
			if c.space(); !c.text() || !c.take(':') || !c.value(depth+1) {
				return false
			}
			if c.take('}') {
				return true
			}
			if !c.take(',') {
				return false
			}
		}
	case b == '[':
		c.i++
		if c.take(']') {
			return true
		}
		for {
			if !c.value(depth + 1) {
				return false
			}
			if c.take(']') {
				return true
			}
			if !c.take(',') {
				return false
			}
		}
	case b == '"':
		return c.text()
	case b == '-' || digit(b):
		return c.number()
	}
	for _, w := range [...]string{"true", "false", "null"} {
		if len(c.s)-c.i >= len(w) && c.s[c.i:c.i+len(w)] == w {
			c.i += len(w)
			return true
		}
	}
	return false
}

func (c *checker) text() bool {
	if c.i >= len(c.s) || c.s[c.i] != '"' {
		return false
	}
	for c.i++; c.i < len(c.s); c.i++ {
		switch b := c.s[c.i]; {
		case b == '"':
			c.i++
			return true
		case b < ' ':
			return false
		case b == '\\':
			c.i++
			if c.i == len(c.s) {
				return false
			}
			switch c.s[c.i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					c.i++
					if c.i == len(c.s) || !digit(c.s[c.i]) && (c.s[c.i]|0x20 < 'a' || c.s[c.i]|0x20 > 'f') {
						return false
					}
				}
			default:
				return false
			}
		}
	}
	return false
}

func (c *checker) digits() bool {
	from := c.i
	for c.i < len(c.s) && digit(c.s[c.i]) {
		c.i++
	}
	return c.i > from
}

func (c *checker) at(b byte) bool { return c.i < len(c.s) && c.s[c.i] == b }

func (c *checker) number() bool {
	if c.at('-') {
		c.i++
	}
	if c.at('0') {
		c.i++
	} else if !c.digits() {
		return false
	}
	if c.at('.') {
		if c.i++; !c.digits() {
			return false
		}
	}
	if c.at('e') || c.at('E') {
		if c.i++; c.at('+') || c.at('-') {
			c.i++
		}
		return c.digits()
	}
	return true
}

func digit(b byte) bool { return '0' <= b && b <= '9' }
