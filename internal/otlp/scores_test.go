package otlp

import (
	"strings"
	"testing"
	"time"
)

func TestReadScore(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	wrong := func(id, body, key, problem string) {
		t.Helper()
		if _, err := ReadScore(id, []byte(body), now); err == nil || err.Key != key || !strings.Contains(err.Problem, problem) {
			t.Errorf("%s: %v", body, err)
		}
	}
	wrong("x", `{"name":"feedback"}`, "value", "neither value nor pass")
	wrong("x", `{"value":1}`, "name", "not the name")
	wrong("x", `{"name":"feedback","value":"good"}`, "", "cannot unmarshal string")
	wrong("x", `{"name":"feedback","values":1}`, "", "unknown field")
	wrong("x", `{"name":"feedback","value":1} {}`, "", "something follows")
	wrong("x", `[1]`, "", "cannot unmarshal array")
	wrong("x", ``, "", "EOF")
	wrong(strings.Repeat("x", longestID+1), `{"name":"feedback","value":1}`, "id", "not the id")

	const thumbs = `{"name":"feedback","pass":false,"reason":"wrong order"}`
	a, err := ReadScore("x1", []byte(thumbs), now)
	b, again := ReadScore("x1", []byte(thumbs), now.Add(time.Minute))
	if err != nil || again != nil || a.Mark != b.Mark || a.Exchange != "x1" || a.Time != now || *a.Score.Pass || a.Score.Value != nil || a.Score.Reason != "wrong order" {
		t.Errorf("%+v, %+v", a, b)
	}
	c, err := ReadScore("x1", []byte(`{"name":"feedback","value":0.25,"time":"2026-01-30T01:02:03+01:00"}`), now)
	if err != nil || c.Mark == a.Mark || *c.Score.Value != .25 || c.Time.Hour() != 0 {
		t.Errorf("%+v", c)
	}
}

func FuzzReadScore(f *testing.F) {
	f.Add("x", []byte(`{"name":"feedback","value":1}`))
	f.Add("", []byte(`{"name":"","time":"0001-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, id string, body []byte) {
		l, err := ReadScore(id, body, time.Unix(0, 0))
		if err == nil && (l.Exchange != id || l.Mark == "" || l.Score.Name == "" || l.Score.Value == nil && l.Score.Pass == nil) {
			t.Errorf("%+v", l)
		}
	})
}
