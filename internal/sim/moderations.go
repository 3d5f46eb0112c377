package sim

import (
	"math"
	"strings"
)

// moderationsRequest is the body of /v1/moderations.
type moderationsRequest struct {
	Model string `json:"model"`
	Input inputs `json:"input"`
}

// categories are those of OpenAI's moderation, each with the words that flag it here. The lexicon
// is for telling the simulator's own insults from its other answers; it moderates nothing else.
var categories = [...]struct{ name, words string }{
	{"harassment", " stupid idiot moron dumb fool loser "},
	{"harassment/threatening", ""},
	{"hate", " hate "},
	{"hate/threatening", ""},
	{"illicit", " hack malware phishing steal "},
	{"illicit/violent", " bomb "},
	{"self-harm", ""},
	{"self-harm/intent", ""},
	{"self-harm/instructions", ""},
	{"sexual", ""},
	{"sexual/minors", ""},
	{"violence", " kill murder weapon weapons bomb "},
	{"violence/graphic", ""},
}

func (c *call) moderations() *apiError {
	var r moderationsRequest
	if err := decodeBody(c.body, &r); err != nil {
		return err
	}
	if len(r.Input) == 0 || len(r.Input) > maxInputs {
		return badRequest("input", "%d texts; want 1 to %d", len(r.Input), maxInputs)
	}
	as, err := c.drawInputs(r.Model, r.Input)
	if err != nil {
		return err
	}
	return c.deliver(as, false, &moderation{c: c, r: &r, a: &as[0]})
}

// moderation writes the answer of /v1/moderations.
type moderation struct {
	unary
	c *call
	r *moderationsRequest
	a *Answer
}

func (s *moderation) whole(b []byte) []byte {
	b = append(b, `{"id":"modr-`...)
	b = appendHex(b, s.c.id)
	b = append(b, `","model":`...)
	b = appendString(b, s.a.Model)
	b = append(b, `,"results":[`...)
	if s.a.Fault == nil {
		for i, text := range s.r.Input {
			if i > 0 {
				b = append(b, ',')
			}
			b = s.result(b, text)
		}
	}
	return append(b, `]}`...)
}

func (s *moderation) result(b []byte, text string) []byte {
	var hits [len(categories)]bool
	flagged := false
	for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return r >= 0x80 || !isLetter(byte(r)) }) {
		for i := range categories {
			if strings.Contains(categories[i].words, " "+w+" ") {
				hits[i], flagged = true, true
			}
		}
	}
	b = append(b, `{"flagged":`...)
	b = appendBool(b, flagged)
	b = append(b, `,"categories":{`...)
	for i, hit := range hits {
		b = appendCategory(b, i)
		b = appendBool(b, hit)
	}
	b = append(b, `},"category_scores":{`...)
	key := hashString(s.a.variant.seed, text)
	for i, hit := range hits {
		score := 0.01 * draw(key, forModeration, i)
		if hit {
			score = 0.9 + 0.09*draw(key, forModeration, i)
		}
		b = appendCategory(b, i)
		b = appendFloat(b, math.Round(score*1e6)/1e6)
	}
	b = append(b, `},"category_applied_input_types":{`...)
	for i := range categories {
		b = appendCategory(b, i)
		b = append(b, `["text"]`...)
	}
	return append(b, `}}`...)
}

func appendCategory(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	b = appendString(b, categories[i].name)
	return append(b, ':')
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, "true"...)
	}
	return append(b, "false"...)
}
