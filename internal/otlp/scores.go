package otlp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// givenScore is the body of POST /v1/exchanges/{id}/scores.
type givenScore struct {
	Name   string     `json:"name"`
	Value  *float64   `json:"value"`
	Pass   *bool      `json:"pass"`
	Reason string     `json:"reason"`
	Label  string     `json:"label"`
	Time   *time.Time `json:"time"`
}

// score serves POST /v1/exchanges/{id}/scores: a score that comes after its exchange, such as a user's feedback.
func (r *Receiver) score(w http.ResponseWriter, req *http.Request) {
	r.n.requests.Add(1)
	if !r.authorized(w, req, true) {
		return
	}
	body, leave, ok := r.body(w, req, true)
	if !ok {
		return
	}
	defer leave()
	l, err := ReadScore(req.PathValue("id"), body, time.Now())
	if err != nil {
		r.n.malformed.Add(1)
		refuseMistakes(w, config.Errors{err})
		return
	}
	if r.o.Scores == nil {
		refuseMistakes(w, config.Errors{{Problem: "no scores are taken here"}})
		return
	}
	if err := r.o.Scores(req.Context(), "json", []record.Late{l}); err != nil {
		r.failed(w, true, err)
		return
	}
	r.n.joined.Add(1)
	answer(w, true, http.StatusOK, []byte(`{"accepted":1}`))
}

// longestID bounds the id of an exchange that a score names.
const longestID = 200

// ReadScore reads a score of an exchange as users write it. One that is sent again without a time is the same as before when it says
// the same.
func ReadScore(exchange string, data []byte, now time.Time) (record.Late, *config.Error) {
	wrong := func(key, value, problem, want string) (record.Late, *config.Error) {
		return record.Late{}, &config.Error{Pos: config.Pos{Key: key}, Value: value, Problem: problem, Want: want}
	}
	if exchange == "" || len(exchange) > longestID {
		return wrong("id", clip(exchange, 60), "not the id of an exchange", "what the answer's header telltale-id says")
	}
	const shape = `an object such as {"name": "feedback", "value": 1}`
	var in givenScore
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return wrong("", "", clip(strings.TrimPrefix(err.Error(), "json: "), 200), shape)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return wrong("", "", "something follows the object", shape)
	}
	switch {
	case strings.TrimSpace(in.Name) == "" || len(in.Name) > maxName:
		return wrong("name", clip(in.Name, 60), "not the name of a score", fmt.Sprintf("up to %d characters, such as feedback", maxName))
	case in.Value == nil && in.Pass == nil:
		return wrong("value", "", "neither value nor pass", "a number, or pass: true or false")
	case in.Value != nil && (math.IsNaN(*in.Value) || math.IsInf(*in.Value, 0)):
		return wrong("value", "", "not a number", "a number; from 0 to 1 for rollouts")
	}
	l := record.Late{Exchange: exchange, Time: now.UTC().Truncate(time.Microsecond), Mark: "said " + record.HashBytes(data)}
	if in.Time != nil && !in.Time.IsZero() {
		l.Time = in.Time.UTC().Truncate(time.Microsecond)
		l.Mark = l.Time.Format(time.RFC3339Nano)
	}
	l.Score = record.OnlineScore{Name: in.Name, Value: in.Value, Pass: in.Pass, Reason: clip(in.Reason, 2000), Label: clip(in.Label, maxName), Inclusion: 1}
	return l, nil
}
