package privacy

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testKey = []byte("0123456789abcdef0123456789abcdef")

func redactor(t testing.TB, cfg config.Privacy) *Redactor {
	t.Helper()
	r, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// encodings are the ways in which a text may come.
func encodings(s string) map[string]string {
	quoted, _ := json.Marshal(map[string]any{"messages": []any{map[string]string{"role": "user", "content": s}}})
	twice, _ := json.Marshal(map[string]string{"arguments": string(quoted)})
	ascii := strings.Builder{}
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			ascii.WriteRune(r - '0' + '０') // full width
		case r == '@':
			ascii.WriteRune('＠')
		case r == '-':
			ascii.WriteRune('‑') // a dash that does not break
		default:
			ascii.WriteRune(r)
		}
	}
	return map[string]string{
		"plain": s, "json": string(quoted), "json in json": string(twice), "wide": ascii.String(),
		"url": url.QueryEscape(s), "path": url.PathEscape(s), "cut json": string(quoted[:len(quoted)-3]), "cut json in json": string(twice[:len(twice)-3]),
	}
}

// survives says whether a value is in a text in any usual form: its letters and digits alone are compared, of the text as
// it is and decoded.
func survives(text, value string) bool {
	want := bareOf(value)
	if strings.Contains(bareOf(text), want) {
		return true
	}
	for range 3 {
		text, _ = fold(text)
		decoded, at := unescape(text)
		if at == nil {
			break
		}
		text = decoded
	}
	return strings.Contains(bareOf(text), want)
}

func bareOf(s string) string {
	s, _ = fold(s)
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '@' || r >= 0x80 {
			return r
		}
		return -1
	}, s)
}
