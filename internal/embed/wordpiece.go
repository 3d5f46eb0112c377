package embed

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// wordPiece is the tokenizer of BERT and of the sentence encoders made from it, read from a
// tokenizer.json of Hugging Face's tokenizers, whose results it gives. It is safe for concurrent use.
type wordPiece struct {
	vocab map[string]int
	// unknown stands for a word that the vocabulary cannot make.
	unknown  addedToken
	prefix   string
	maxChars int

	clean, chinese, accents, lower bool

	// before and after are the ids of the marks around a text.
	before, after []int
	// added are tokens that are found as they are, before anything else; the longest come first.
	added []addedToken
}

type addedToken struct {
	text string
	id   int
}

// coded is a text as tokens. The marks around it are the empty text.
type coded struct {
	ids   []int
	texts []string
}

// tokenizerFile is the part of tokenizer.json that decides what a WordPiece tokenizer does.
type tokenizerFile struct {
	AddedTokens []struct {
		ID      int    `json:"id"`
		Content string `json:"content"`
	} `json:"added_tokens"`
	Normalizer *struct {
		Type               string `json:"type"`
		CleanText          bool   `json:"clean_text"`
		HandleChineseChars bool   `json:"handle_chinese_chars"`
		StripAccents       *bool  `json:"strip_accents"`
		Lowercase          bool   `json:"lowercase"`
	} `json:"normalizer"`
	PreTokenizer *struct {
		Type string `json:"type"`
	} `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Model         struct {
		Type     string          `json:"type"`
		Unknown  string          `json:"unk_token"`
		Prefix   string          `json:"continuing_subword_prefix"`
		MaxChars int             `json:"max_input_chars_per_word"`
		Vocab    map[string]int  `json:"-"`
		Raw      json.RawMessage `json:"vocab"`
	} `json:"model"`
}

// last is the token with the greatest id.
func (w *wordPiece) last() (token string, id int) {
	for t, i := range w.vocab {
		if i > id || i == id && (token == "" || t < token) {
			token, id = t, i
		}
	}
	return token, id
}

// parseTokenizer reads a tokenizer.json. The error says what about it is not supported.
func parseTokenizer(data []byte) (*wordPiece, error) {
	var f tokenizerFile
	if err := decode(data, &f); err != nil {
		return nil, err
	}
	if f.Model.Type != "" && f.Model.Type != "WordPiece" {
		return nil, fmt.Errorf("the tokenizer is of type %s; only WordPiece is supported", f.Model.Type)
	}
	if f.Normalizer == nil || f.Normalizer.Type != "BertNormalizer" || f.PreTokenizer == nil || f.PreTokenizer.Type != "BertPreTokenizer" {
		return nil, errors.New("the tokenizer does not normalize and split as BERT does; only BertNormalizer with BertPreTokenizer is supported")
	}
	if err := json.Unmarshal(f.Model.Raw, &f.Model.Vocab); err != nil || len(f.Model.Vocab) == 0 {
		return nil, errors.New("the tokenizer has no vocabulary")
	}
	for token, id := range f.Model.Vocab {
		if id < 0 {
			return nil, fmt.Errorf("the token %q has the id %d", token, id)
		}
	}
	n := f.Normalizer
	t := &wordPiece{
		vocab: f.Model.Vocab, prefix: f.Model.Prefix, maxChars: f.Model.MaxChars,
		clean: n.CleanText, chinese: n.HandleChineseChars, lower: n.Lowercase, accents: n.Lowercase,
	}
	if n.StripAccents != nil {
		t.accents = *n.StripAccents
	}
	if t.maxChars <= 0 {
		t.maxChars = 100
	}
	id, ok := t.vocab[f.Model.Unknown]
	if !ok {
		return nil, fmt.Errorf("the tokenizer's unknown token %q is not in its vocabulary", f.Model.Unknown)
	}
	t.unknown = addedToken{f.Model.Unknown, id}
	for _, a := range f.AddedTokens {
		if a.Content != "" && a.ID >= 0 {
			t.added = append(t.added, addedToken{a.Content, a.ID})
		}
	}
	sort.SliceStable(t.added, func(i, j int) bool { return len(t.added[i].text) > len(t.added[j].text) })
	var err error
	t.before, t.after, err = marks(f.PostProcessor)
	return t, err
}

// marks reads what is put around a single text.
func marks(raw json.RawMessage) (before, after []int, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil, nil
	}
	var p struct {
		Type   string            `json:"type"`
		Sep    []json.RawMessage `json:"sep"`
		Cls    []json.RawMessage `json:"cls"`
		Single []struct {
			Special *struct {
				ID string `json:"id"`
			} `json:"SpecialToken"`
			Sequence *struct{} `json:"Sequence"`
		} `json:"single"`
		Special map[string]struct {
			IDs []int `json:"ids"`
		} `json:"special_tokens"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, nil, err
	}
	switch p.Type {
	case "BertProcessing":
		for _, m := range []struct {
			from []json.RawMessage
			to   *[]int
		}{{p.Cls, &before}, {p.Sep, &after}} {
			var id int
			if len(m.from) != 2 || json.Unmarshal(m.from[1], &id) != nil || id < 0 {
				return nil, nil, errors.New("the tokenizer's marks around a text have no ids")
			}
			*m.to = []int{id}
		}
		return before, after, nil
	case "TemplateProcessing":
		to := &before
		for _, part := range p.Single {
			if part.Sequence != nil {
				to = &after
				continue
			}
			if part.Special == nil {
				continue
			}
			ids := p.Special[part.Special.ID].IDs
			if len(ids) == 0 {
				return nil, nil, fmt.Errorf("the tokenizer's mark %q has no id", part.Special.ID)
			}
			*to = append(*to, ids...)
		}
		if to != &after {
			return nil, nil, errors.New("the tokenizer's template has no place for the text")
		}
		return before, after, nil
	}
	return nil, nil, fmt.Errorf("the tokenizer's post-processor is of type %q; only TemplateProcessing and BertProcessing are supported", p.Type)
}

// encode returns the tokens of a text, at most so many with the marks around it; more are cut off
// before the last mark. Below 1 there is no limit.
func (t *wordPiece) encode(text string, most int) coded {
	var c coded
	for _, id := range t.before {
		c.ids, c.texts = append(c.ids, id), append(c.texts, "")
	}
	enough := math.MaxInt
	if most > 0 {
		enough = len(t.before) + max(0, most-len(t.before)-len(t.after))
	}
	for text != "" && len(c.ids) < enough {
		at, token := t.nextAdded(text)
		t.words(text[:at], &c, enough)
		if token == nil {
			break
		}
		c.ids, c.texts = append(c.ids, token.id), append(c.texts, token.text)
		text = text[at+len(token.text):]
	}
	if len(c.ids) > enough {
		c.ids, c.texts = c.ids[:enough], c.texts[:enough]
	}
	for _, id := range t.after {
		c.ids, c.texts = append(c.ids, id), append(c.texts, "")
	}
	return c
}

// nextAdded finds the first added token in a text, and where it starts; without one that is the end.
func (t *wordPiece) nextAdded(text string) (int, *addedToken) {
	at, found := len(text), (*addedToken)(nil)
	for i := range t.added {
		if k := strings.Index(text, t.added[i].text); k >= 0 && k < at {
			at, found = k, &t.added[i]
		}
	}
	return at, found
}

// words appends the tokens of a text without added tokens. It may stop once there are enough.
func (t *wordPiece) words(text string, c *coded, enough int) {
	word := func(w string) bool {
		t.pieces(w, c)
		return len(c.ids) < enough
	}
	for field := range strings.FieldsFuncSeq(t.normalize(text), unicode.IsSpace) {
		start := 0
		for i, r := range field {
			if !punctuation(r) {
				continue
			}
			end := i + utf8.RuneLen(r)
			if i > start && !word(field[start:i]) || !word(field[i:end]) {
				return
			}
			start = end
		}
		if start < len(field) && !word(field[start:]) {
			return
		}
	}
}

// pieces appends the longest pieces of a word that are in the vocabulary, from left to right; a word
// of which some part is not there is unknown as a whole.
func (t *wordPiece) pieces(word string, c *coded) {
	before := len(c.ids)
	unknown := utf8.RuneCountInString(word) > t.maxChars
	for rest, first := word, true; rest != "" && !unknown; first = false {
		unknown = true
		for end := len(rest); end > 0; end-- {
			if end < len(rest) && !utf8.RuneStart(rest[end]) {
				continue
			}
			piece := rest[:end]
			if !first {
				piece = t.prefix + piece
			}
			if id, ok := t.vocab[piece]; ok {
				c.ids, c.texts = append(c.ids, id), append(c.texts, piece)
				rest, unknown = rest[end:], false
				break
			}
		}
	}
	if unknown {
		c.ids, c.texts = append(c.ids[:before], t.unknown.id), append(c.texts[:before], t.unknown.text)
	}
}

// normalize is BertNormalizer: characters that do not print are dropped, Chinese ones set apart,
// accents and case removed as the file says.
func (t *wordPiece) normalize(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if t.clean || t.chinese {
		var b strings.Builder
		b.Grow(len(text))
		for _, r := range text {
			switch {
			case t.clean && (r == 0 || r == utf8.RuneError || control(r)):
			case t.clean && unicode.IsSpace(r):
				b.WriteByte(' ')
			case t.chinese && ideograph(r):
				b.WriteByte(' ')
				b.WriteRune(r)
				b.WriteByte(' ')
			default:
				b.WriteRune(r)
			}
		}
		text = b.String()
	}
	if t.accents {
		text = strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Mn, r) {
				return -1
			}
			return r
		}, norm.NFD.String(text))
	}
	if t.lower {
		text = strings.ToLower(text)
	}
	return text
}

// control says whether a character does not print; tab and line ends are white space.
func control(r rune) bool {
	return r != '\t' && r != '\n' && r != '\r' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs)
}

// ideograph says whether a character is in one of the blocks that BERT sets apart. The start of the
// block at 2B920 is as in Hugging Face's tokenizers.
func ideograph(r rune) bool {
	return r >= 0x3400 && (r <= 0x4dbf || r >= 0x4e00 && r <= 0x9fff || r >= 0xf900 && r <= 0xfaff ||
		r >= 0x20000 && r <= 0x2a6df || r >= 0x2a700 && r <= 0x2b73f || r >= 0x2b740 && r <= 0x2b81f ||
		r >= 0x2b920 && r <= 0x2ceaf || r >= 0x2f800 && r <= 0x2fa1f)
}

// punctuation says whether a character is a token of its own: all of ASCII that is neither letter,
// digit nor space, and what Unicode has as punctuation.
func punctuation(r rune) bool {
	if r < utf8.RuneSelf {
		return r > ' ' && r < 0x7f && !(r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z')
	}
	return unicode.IsPunct(r)
}
