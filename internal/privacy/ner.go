package privacy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/scorer/leak"
)

// ner asks a service of Presidio's API for what has no form: POST /analyze with text, language, entities and
// score_threshold is answered by [{start, end, entity_type, score}], places counted in code points.
type ner struct {
	cfg    *config.NER
	url    string
	client *http.Client
}

// Bounds of what is asked and read.
const (
	mostCalls    = 64        // of one exchange
	mostAsked    = 200 << 10 // bytes of one text
	mostAnswered = 4 << 20   // bytes of an answer
)

// serviceKinds are the kinds of Presidio's own recognisers that are not of package leak.
var serviceKinds = []string{"person", "location", "organization", "nrp", "date-time", "age", "url", "medical-license", "crypto", "us-bank-number", "us-driver-license", "us-passport", "us-itin"}

// entityKind is the kind of one of the service's types.
func entityKind(entity string) string {
	switch entity {
	case "EMAIL_ADDRESS":
		return leak.Email
	case "PHONE_NUMBER":
		return leak.Phone
	case "CREDIT_CARD":
		return leak.Card
	case "IBAN_CODE":
		return leak.IBAN
	case "IP_ADDRESS":
		return leak.IP
	case "PER":
		return "person"
	case "LOC", "GPE":
		return "location"
	case "ORG":
		return "organization"
	}
	return strings.ToLower(strings.ReplaceAll(entity, "_", "-"))
}

func newNER(cfg *config.NER, client *http.Client) *ner {
	n := &ner{cfg: cfg, url: strings.TrimRight(cfg.URL, "/") + "/analyze"}
	own := http.Client{}
	if client != nil {
		own = *client
	}
	// A service that answers with a redirect would have the text sent elsewhere.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	n.client = &own
	return n
}

func (n *ner) timeout() time.Duration {
	if n.cfg.Timeout > 0 {
		return n.cfg.Timeout
	}
	return 2 * time.Second
}

type entity struct {
	Start int     `json:"start"`
	End   int     `json:"end"`
	Type  string  `json:"entity_type"`
	Score float64 `json:"score"`
}

// ask returns the entities in a text. No error holds any of it.
func (n *ner) ask(ctx context.Context, text string) ([]entity, error) {
	if len(text) > mostAsked {
		return nil, fmt.Errorf("the text has %d bytes; the service is sent at most %d", len(text), mostAsked)
	}
	ask := struct {
		Text     string   `json:"text"`
		Language string   `json:"language"`
		Entities []string `json:"entities,omitempty"`
		Score    float64  `json:"score_threshold"`
	}{strings.ToValidUTF8(text, "?"), n.cfg.Language, n.cfg.Entities, n.cfg.MinScore}
	if ask.Language == "" {
		ask.Language = "en"
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, n.timeout())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := n.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, mostAnswered+1))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the service answered with status %d", res.StatusCode)
	}
	if len(data) > mostAnswered {
		return nil, fmt.Errorf("the service's answer has more than %d bytes", mostAnswered)
	}
	var out []entity
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("the service's answer is not a list of entities")
	}
	return out, nil
}

// names are the service's findings in a text. When the service fails, none, and p.failed says so.
func (p *pass) names(text string) []finding {
	if found, ok := p.service[text]; ok {
		return found
	}
	// A word in lower case is the value of a setting, not a name.
	if p.failed != nil || !strings.ContainsFunc(text, unicode.IsLetter) || !strings.ContainsFunc(text, func(r rune) bool { return r == ' ' || unicode.IsUpper(r) || r >= utf8.RuneSelf }) ||
		p.rules.redactor.marks.whole(text) {
		return nil
	}
	if p.calls++; p.calls > mostCalls {
		p.failed = fmt.Errorf("more than %d texts in one exchange", mostCalls)
		return nil
	}
	n := p.rules.redactor.ner
	entities, err := n.ask(p.ctx, text)
	if err != nil {
		p.failed = err
		return nil
	}
	var found []finding
	for _, e := range entities {
		start, end, ok := bytesOf(text, e.Start, e.End)
		if !ok || e.Score < n.cfg.MinScore {
			continue
		}
		kind := entityKind(e.Type)
		if !p.rules.redactor.marks.masks[maskOf(kind)] {
			kind = kindNER
		}
		found = append(found, finding{kind, start, end, rankService})
	}
	if p.service == nil {
		p.service = map[string][]finding{}
	}
	p.service[text] = found
	return found
}

// bytesOf turns places in code points into places in bytes.
func bytesOf(text string, from, to int) (start, end int, ok bool) {
	if from < 0 || to <= from || to > utf8.RuneCountInString(text) {
		return 0, 0, false
	}
	n := 0
	end = len(text)
	for i := range text {
		if n == from {
			start = i
		}
		if n == to {
			end = i
			break
		}
		n++
	}
	return start, end, true
}
