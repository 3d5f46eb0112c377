package openai

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"sort"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

// defaultEmbedBatch is how many texts go into one request.
const defaultEmbedBatch = 128

// Embedder turns texts into vectors through the embeddings API. It is safe for concurrent use.
type Embedder struct {
	*server
	head, tail []byte
}

// EmbedderFromConfig reads the suite's part of a provider openai:embedding:MODEL.
func EmbedderFromConfig(p config.Provider, env Env) (*Embedder, error) {
	opts, err := options(p, env, "such as openai:embedding:text-embedding-3-small", embeddingEndpoint)
	if err != nil {
		return nil, err
	}
	e, err := NewEmbedder(opts)
	if err != nil {
		return nil, &config.Error{Pos: p.Pos, Value: p.ID, Err: err}
	}
	return e, nil
}

// NewEmbedder returns an embedder. The error says which option is wrong.
func NewEmbedder(opts Options) (*Embedder, error) {
	if opts.BatchSize == 0 {
		opts.BatchSize = defaultEmbedBatch
	}
	s, err := newServer(opts)
	if err != nil {
		return nil, err
	}
	e := &Embedder{server: s, head: []byte{'{'}}
	if !s.flavour.modelInPath(s.base) {
		e.head = append(wire.AppendString(append(e.head, `"model":`...), s.opts.Model), ',')
	}
	e.head = append(e.head, `"input":[`...)
	if e.tail, err = staticBody(s.opts.Body, ownKeys); err != nil {
		return nil, fmt.Errorf("openai: %w", err)
	}
	return e, nil
}

// Batch is how many texts Embed takes at most.
func (e *Embedder) Batch() int { return e.opts.BatchSize }

// Name identifies model and version for signatures.
func (e *Embedder) Name() string { return e.name() }

// name is the id with what else decides the numbers.
func (s *server) name() string {
	if len(s.params) == 0 {
		return s.opts.ID
	}
	return s.opts.ID + wire.JSON(s.params)
}

// Embed makes one attempt to get the vectors of at most Batch texts, in their order and all of one
// length. The error is a *record.Failure.
func (e *Embedder) Embed(ctx context.Context, texts []string, attempt int) ([][]float32, record.Response, error) {
	if len(texts) == 0 {
		return nil, record.Response{}, nil
	}
	body := append([]byte(nil), e.head...)
	for i, t := range texts {
		if i > 0 {
			body = append(body, ',')
		}
		body = wire.AppendString(body, t)
	}
	body = append(append(append(body, ']'), e.tail...), '}')
	out := make([][]float32, len(texts))
	var resp record.Response
	_, f := e.client.Do(ctx, wire.Call{URL: e.url, Body: body, Attempt: attempt, Whole: func(b []byte) *record.Failure {
		return e.decode(b, out, &resp)
	}})
	if f != nil {
		return nil, record.Response{}, f
	}
	resp.Cost = e.cost(resp)
	return out, resp, nil
}

func (e *Embedder) decode(body []byte, out [][]float32, resp *record.Response) *record.Failure {
	var w struct {
		Model string         `json:"model"`
		Error *wire.APIError `json:"error"`
		Usage *usage         `json:"usage"`
		Data  []struct {
			Index     *int   `json:"index"`
			Embedding vector `json:"embedding"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return &record.Failure{Kind: record.Malformed, Message: "not a list of embeddings: " + e.client.Clean(err.Error(), wire.ShownText)}
	}
	if w.Error.Says() {
		return e.client.APIFailure(w.Error)
	}
	if len(w.Data) == 0 {
		return &record.Failure{Kind: record.Empty, Message: "the answer has no embeddings"}
	}
	for i, d := range w.Data {
		if d.Index != nil {
			i = *d.Index
		}
		if i < 0 || i >= len(out) || out[i] != nil {
			return &record.Failure{Kind: record.Malformed, Message: fmt.Sprintf("an embedding has the index %d, twice or of no text", i)}
		}
		out[i] = d.Embedding
	}
	for i, v := range out {
		if len(v) == 0 || len(v) != len(out[0]) {
			return &record.Failure{Kind: record.Malformed, Message: fmt.Sprintf("embedding %d has %d numbers and the first one %d", i, len(v), len(out[0]))}
		}
	}
	return e.fill(resp, &completion{Model: w.Model, Usage: w.Usage})
}

// vector is a list of numbers, or base64 of little-endian float32 values.
type vector []float32

// UnmarshalJSON reads either shape and refuses what is not finite.
func (v *vector) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '"' {
		if err := json.Unmarshal(b, (*[]float32)(v)); err != nil {
			return err
		}
	} else {
		var raw []byte
		if err := json.Unmarshal(b, &raw); err != nil {
			return err
		}
		if len(raw)%4 != 0 {
			return fmt.Errorf("%d bytes of base64 are no list of float32", base64.StdEncoding.EncodedLen(len(raw)))
		}
		*v = make(vector, len(raw)/4)
		for i := range *v {
			(*v)[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	}
	for _, x := range *v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("an embedding holds %v", x)
		}
	}
	return nil
}

// Moderator asks the moderation API how harmful a text is. It is safe for concurrent use.
type Moderator struct{ *server }

// ModeratorFromConfig reads the suite's part of a provider openai:moderation:MODEL.
func ModeratorFromConfig(p config.Provider, env Env) (*Moderator, error) {
	opts, err := options(p, env, "such as openai:moderation:omni-moderation-latest", moderationEndpoint)
	if err != nil {
		return nil, err
	}
	s, err := newServer(opts)
	if err != nil {
		return nil, &config.Error{Pos: p.Pos, Value: p.ID, Err: err}
	}
	return &Moderator{s}, nil
}

// Name identifies model and version for signatures.
func (m *Moderator) Name() string { return m.name() }

// Moderate makes one attempt to get the score of each category, from 0 to 1, and the categories
// that the model flags, sorted. The error is a *record.Failure.
func (m *Moderator) Moderate(ctx context.Context, text string, attempt int) (scores map[string]float64, flagged []string, err error) {
	body := wire.AppendString(append(wire.AppendString([]byte(`{"model":`), m.opts.Model), `,"input":`...), text)
	_, f := m.client.Do(ctx, wire.Call{URL: m.url, Body: append(body, '}'), Attempt: attempt, Whole: func(b []byte) (f *record.Failure) {
		scores, flagged, f = m.decode(b)
		return f
	}})
	if f != nil {
		return nil, nil, f
	}
	return scores, flagged, nil
}

func (m *Moderator) decode(body []byte) (map[string]float64, []string, *record.Failure) {
	var w struct {
		Error   *wire.APIError `json:"error"`
		Results []struct {
			Flagged    bool                `json:"flagged"`
			Categories map[string]bool     `json:"categories"`
			Scores     map[string]*float64 `json:"category_scores"`
		} `json:"results"`
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, nil, &record.Failure{Kind: record.Malformed, Message: "not a moderation: " + m.client.Clean(err.Error(), wire.ShownText)}
	}
	if w.Error.Says() {
		return nil, nil, m.client.APIFailure(w.Error)
	}
	if len(w.Results) == 0 || len(w.Results[0].Scores) == 0 {
		return nil, nil, &record.Failure{Kind: record.Empty, Message: "the moderation has no scores"}
	}
	r := w.Results[0]
	scores := make(map[string]float64, len(r.Scores))
	for name, v := range r.Scores {
		switch {
		case v == nil: // a category that does not apply to text
		case !(*v >= 0 && *v <= 1):
			return nil, nil, &record.Failure{Kind: record.Malformed, Message: fmt.Sprintf("the score of %q is %g", m.client.Clean(name, 60), *v)}
		default:
			scores[name] = *v
		}
	}
	var flagged []string
	for name, on := range r.Categories {
		if on {
			flagged = append(flagged, name)
		}
	}
	sort.Strings(flagged)
	if r.Flagged && len(flagged) == 0 {
		return nil, nil, &record.Failure{Kind: record.Malformed, Message: "the text is flagged, but in no category"}
	}
	return scores, flagged, nil
}
