package textmetric

// PorterStem returns the stem of a lower-case word by the algorithm of Porter (1980), "An algorithm
// for suffix stripping", with the departures of NLTK's default mode, which rouge-score and NLTK's
// METEOR use: a table of irregular forms, words of one or two characters left alone, ies and ied
// kept as ie in words of four characters, y to i after a consonant only, bli, fulli and logi in
// step 2, and a vowel and a consonant alone counting as consonant-vowel-consonant.
func PorterStem(word string) string {
	if s, ok := irregularStems[word]; ok {
		return s
	}
	var buf [32]rune
	p := porter(buf[:0])
	for _, r := range word {
		p = append(p, r)
	}
	if len(p) <= 2 {
		return word
	}
	p = p.plural()
	p = p.pastTense()
	p = p.finalY()
	p = p.doubleSuffix()
	p, _ = p.replace(step3, func(stem porter) bool { return stem.measure() > 0 })
	p = p.longSuffix()
	p = p.tidy()
	return string(p)
}

var irregularStems = map[string]string{
	"sky": "sky", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news",
	"innings": "inning", "inning": "inning", "outings": "outing", "outing": "outing",
	"cannings": "canning", "canning": "canning", "howe": "howe",
	"proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}

// porter is a word on its way to its stem, or a stem that a rule looks at.
type porter []rune

// suffixRule replaces a suffix. In a list, the first rule whose suffix fits decides, applied or not.
type suffixRule struct{ suffix, by string }

var (
	step2 = []suffixRule{
		{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"},
		{"bli", "ble"}, {"alli", "al"}, {"entli", "ent"}, {"eli", "e"}, {"ousli", "ous"},
		{"ization", "ize"}, {"ation", "ate"}, {"ator", "ate"}, {"alism", "al"}, {"iveness", "ive"},
		{"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"}, {"iviti", "ive"}, {"biliti", "ble"},
		{"fulli", "ful"},
	}
	step3 = []suffixRule{
		{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"}, {"ical", "ic"}, {"ful", ""}, {"ness", ""},
	}
	step4 = []suffixRule{
		{"al", ""}, {"ance", ""}, {"ence", ""}, {"er", ""}, {"ic", ""}, {"able", ""}, {"ible", ""}, {"ant", ""},
		{"ement", ""}, {"ment", ""}, {"ent", ""}, {"ion", ""}, {"ou", ""}, {"ism", ""}, {"ate", ""}, {"iti", ""},
		{"ous", ""}, {"ive", ""}, {"ize", ""},
	}
)

// ends reports whether p ends in suffix, which is ASCII.
func (p porter) ends(suffix string) bool {
	if len(p) < len(suffix) {
		return false
	}
	tail := p[len(p)-len(suffix):]
	for i := range len(suffix) {
		if tail[i] != rune(suffix[i]) {
			return false
		}
	}
	return true
}

// swap replaces the last n characters by the ASCII string by.
func (p porter) swap(n int, by string) porter {
	p = p[:len(p)-n]
	for i := range len(by) {
		p = append(p, rune(by[i]))
	}
	return p
}

// replace applies the first rule whose suffix fits, if its stem satisfies when. It reports whether
// a suffix fitted.
func (p porter) replace(rules []suffixRule, when func(stem porter) bool) (porter, bool) {
	for _, r := range rules {
		if p.ends(r.suffix) {
			if when(p[:len(p)-len(r.suffix)]) {
				p = p.swap(len(r.suffix), r.by)
			}
			return p, true
		}
	}
	return p, false
}

// consonants calls f with each position and whether it is a consonant: not a vowel, and not a y
// after a consonant. f returns false to stop.
func (p porter) consonants(f func(i int, consonant bool) bool) {
	before := false
	for i, r := range p {
		c := true
		switch r {
		case 'a', 'e', 'i', 'o', 'u':
			c = false
		case 'y':
			c = i == 0 || !before
		}
		if !f(i, c) {
			return
		}
		before = c
	}
}

// measure counts the changes from vowels to consonants: m in [C](VC)^m[V].
func (p porter) measure() int {
	m, before := 0, true
	p.consonants(func(_ int, c bool) bool {
		if c && !before {
			m++
		}
		before = c
		return true
	})
	return m
}

func (p porter) hasVowel() bool {
	found := false
	p.consonants(func(_ int, c bool) bool {
		found = !c
		return c
	})
	return found
}

// endsDouble reports a doubled consonant at the end.
func (p porter) endsDouble() bool {
	n := len(p)
	if n < 2 || p[n-1] != p[n-2] {
		return false
	}
	last := false
	p.consonants(func(_ int, c bool) bool { last = c; return true })
	return last
}

// endsCVC reports consonant, vowel, consonant at the end, the last not w, x or y; or a word of just
// a vowel and a consonant.
func (p porter) endsCVC() bool {
	n := len(p)
	if n < 2 {
		return false
	}
	var last [3]bool // whether each of the last three is a consonant
	p.consonants(func(_ int, c bool) bool {
		last = [3]bool{last[1], last[2], c}
		return true
	})
	if n == 2 {
		return !last[1] && last[2]
	}
	end := p[n-1]
	return last[0] && !last[1] && last[2] && end != 'w' && end != 'x' && end != 'y'
}

// plural is step 1a.
func (p porter) plural() porter {
	switch {
	case p.ends("ies") && len(p) == 4:
		return p.swap(1, "")
	case p.ends("sses"), p.ends("ies"):
		return p.swap(2, "")
	case p.ends("ss"):
		return p
	case p.ends("s"):
		return p.swap(1, "")
	}
	return p
}

// pastTense is step 1b.
func (p porter) pastTense() porter {
	switch {
	case p.ends("ied") && len(p) == 4:
		return p.swap(1, "")
	case p.ends("ied"):
		return p.swap(2, "")
	case p.ends("eed"):
		if p[:len(p)-3].measure() > 0 {
			return p.swap(1, "")
		}
		return p
	case p.ends("ed") && p[:len(p)-2].hasVowel():
		p = p.swap(2, "")
	case p.ends("ing") && p[:len(p)-3].hasVowel():
		p = p.swap(3, "")
	default:
		return p
	}
	switch {
	case p.ends("at"), p.ends("bl"), p.ends("iz"):
		return p.swap(0, "e")
	case p.endsDouble():
		if !p.ends("l") && !p.ends("s") && !p.ends("z") {
			return p.swap(1, "")
		}
	case p.measure() == 1 && p.endsCVC():
		return p.swap(0, "e")
	}
	return p
}

// finalY is step 1c.
func (p porter) finalY() porter {
	if !p.ends("y") || len(p) < 3 {
		return p
	}
	last := false
	p[:len(p)-1].consonants(func(_ int, c bool) bool { last = c; return true })
	if last {
		return p.swap(1, "i")
	}
	return p
}

// doubleSuffix is step 2. A word in alli is reduced and then goes through the step again.
func (p porter) doubleSuffix() porter {
	positive := func(stem porter) bool { return stem.measure() > 0 }
	for p.ends("alli") && positive(p[:len(p)-4]) {
		p = p.swap(2, "")
	}
	p, fitted := p.replace(step2, positive)
	// The l of logi counts as part of the stem, so that geology is shortened like archaeology.
	if !fitted && p.ends("logi") && positive(p[:len(p)-3]) {
		return p.swap(1, "")
	}
	return p
}

// longSuffix is step 4.
func (p porter) longSuffix() porter {
	ion := p.ends("ion")
	p, _ = p.replace(step4, func(stem porter) bool {
		return stem.measure() > 1 && (!ion || stem.ends("s") || stem.ends("t"))
	})
	return p
}

// tidy is steps 5a and 5b.
func (p porter) tidy() porter {
	if p.ends("e") {
		stem := p[:len(p)-1]
		if m := stem.measure(); m > 1 || m == 1 && !stem.endsCVC() {
			p = stem
		}
	}
	if p.ends("ll") && p[:len(p)-1].measure() > 1 {
		p = p.swap(1, "")
	}
	return p
}
