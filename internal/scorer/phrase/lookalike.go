package phrase

import "unicode"

// Letters of other scripts, and rare Latin ones, that a reader takes for an ASCII letter in common
// fonts. Pairs of equal length: the n-th rune of look is read as the n-th rune of as. Letters that
// only resemble one another from afar (п and n, з and 3) are left out: they would make ordinary
// Russian or Greek look like English. What Unicode itself declares a form of an ASCII letter
// (full-width, mathematical, circled) is not here: width folding takes care of it.
var lookalikePairs = [...]struct{ look, as string }{
	// Cyrillic
	{"АВЕЅІЈКМНОРСТУХҮԌԚԜЬ", "ABESIJKMHOPCTYXYGQWb"},
	{"аеѕіјорсухԁһԛԝѵүӏԍьһ", "aesijopcyxdhqwvylgbh"},
	{"ӀҺ", "lh"},
	// Greek
	{"ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϺϳϲ", "ABEZHIKMNOPTYXCMjc"},
	{"αγινορυ", "ayivopu"},
	// Armenian
	{"ՍՏՕօսոհցզյ", "USOounhgqj"},
	// Latin letters outside ASCII, small capitals and phonetic letters
	{"ıɩɑɡƖǀʏᴀʙᴄᴅᴇɢʜᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡᴢɪ", "iiagllyabcdeghjklmnoprstuvwzi"},
	// Cherokee
	{"ᎪᏴᏟᎠᎬᎻᎫᏦᏞᎷᏢᏒᎢᏙᎳᏃ", "ABCDEHJKLMPRTVWZ"},
}

const maxLookalike = 0xFFFF

// asciiOf is a two-level table by rune: page of 256 runes, then the rune within it.
type asciiOf [(maxLookalike + 1) >> 8]*[256]byte

var lookalikes = func() *asciiOf {
	t := &asciiOf{}
	for _, p := range lookalikePairs {
		as := []byte(p.as)
		for i, r := range []rune(p.look) {
			page := t[r>>8]
			if page == nil {
				page = new([256]byte)
				t[r>>8] = page
			}
			page[r&0xFF] = as[i]
		}
	}
	return t
}()

// lookalike returns the ASCII letter that r is taken for, or 0.
func lookalike(r rune) byte {
	if r > maxLookalike {
		return 0
	}
	page := lookalikes[r>>8]
	if page == nil {
		return 0
	}
	return page[r&0xFF]
}

// invisible says whether r has no glyph of its own and is ignored by renderers: Unicode's
// Default_Ignorable_Code_Point, derived as its definition says. It covers zero-width spaces and
// joiners, soft hyphens, direction marks, variation selectors and tags.
func invisible(r rune) bool {
	switch {
	// Most text, without a look into the tables.
	case r < 0xAD, 0x0370 <= r && r < 0x061C, 0x2070 <= r && r < 0x3164, 0x3165 <= r && r < 0xFE00:
		return false
	case r == 0xAD:
		return true
	case unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
		return true
	case !unicode.Is(unicode.Cf, r):
		return false
	}
	// Format characters that are drawn: interlinear annotations, prefixed concatenation marks and
	// Egyptian hieroglyph controls.
	return !unicode.Is(unicode.Prepended_Concatenation_Mark, r) &&
		!(0xFFF9 <= r && r <= 0xFFFB) && !(0x13430 <= r && r <= 0x1343F)
}

// overlay says whether r is a combining stroke through its base letter, which leaves the word readable.
func overlay(r rune) bool {
	return 0x0334 <= r && r <= 0x0338 || 0x20D2 <= r && r <= 0x20D3 || 0x20D8 <= r && r <= 0x20DA || 0x20E5 <= r && r <= 0x20E6
}
