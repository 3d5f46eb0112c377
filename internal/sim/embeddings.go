package sim

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// embeddingsRequest is the body of /v1/embeddings.
type embeddingsRequest struct {
	Model      string `json:"model"`
	Input      inputs `json:"input"`
	Encoding   string `json:"encoding_format"`
	Dimensions *int   `json:"dimensions"`
}

const (
	defaultDimensions = 256
	maxDimensions     = 4096
)

func (r *embeddingsRequest) check() *apiError {
	if len(r.Input) == 0 || len(r.Input) > maxInputs {
		return badRequest("input", "%d texts; want 1 to %d", len(r.Input), maxInputs)
	}
	if r.Encoding != "" && r.Encoding != "float" && r.Encoding != "base64" {
		return badRequest("encoding_format", "unknown format %q; want float or base64", r.Encoding)
	}
	if r.Dimensions != nil && (*r.Dimensions < 1 || *r.Dimensions > maxDimensions) {
		return badRequest("dimensions", "%d is out of range; want 1 to %d", *r.Dimensions, maxDimensions)
	}
	return nil
}

func (c *call) embeddings() *apiError {
	var r embeddingsRequest
	if err := decodeBody(c.body, &r); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	as, err := c.drawInputs(r.Model, r.Input)
	if err != nil {
		return err
	}
	return c.deliver(as, false, &embedding{r: &r, a: &as[0]})
}

// drawInputs draws fault and latency of a request that is answered without text.
func (c *call) drawInputs(model string, in inputs) ([]Answer, *apiError) {
	q := Query{Model: model, Messages: make([]record.Message, len(in)), MaxTokens: -1}
	for i, s := range in {
		q.Messages[i] = record.Message{Role: "user", Content: s}
	}
	return c.draw(&q, 1)
}

// unary is the half of surface that answers without a stream do not have.
type unary struct{}

func (unary) start(*sse)              {}
func (unary) token(*sse, int, string) {}
func (unary) finish(*sse)             {}
func (unary) fail(*sse, *apiError)    {}

// embedding writes the answer of /v1/embeddings.
type embedding struct {
	unary
	r *embeddingsRequest
	a *Answer
}

func (s *embedding) whole(b []byte) []byte {
	n := defaultDimensions
	if s.r.Dimensions != nil {
		n = *s.r.Dimensions
	}
	vector := make([]float32, n)
	tokens := 0
	b = append(b, `{"object":"list","data":[`...)
	if s.a.Fault == nil {
		for i, text := range s.r.Input {
			if i > 0 {
				b = append(b, ',')
			}
			embed(vector, s.a.variant.seed, text)
			b = append(b, `{"object":"embedding","index":`...)
			b = appendInt(b, i)
			b = append(b, `,"embedding":`...)
			b = s.vector(b, vector)
			b = append(b, '}')
			tokens += countTokens(text)
		}
	}
	b = append(b, `],"model":`...)
	b = appendString(b, s.a.Model)
	b = append(b, `,"usage":{"prompt_tokens":`...)
	b = appendInt(b, tokens)
	b = append(b, `,"total_tokens":`...)
	b = appendInt(b, tokens)
	return append(b, `}}`...)
}

func (s *embedding) vector(b []byte, v []float32) []byte {
	if s.r.Encoding == "base64" {
		raw := make([]byte, 0, 4*len(v))
		for _, x := range v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, raw)
		return append(b, '"')
	}
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', -1, 32)
	}
	return append(b, ']')
}

// probes is how many dimensions each word adds to.
const probes = 4

// embed fills dst with the unit vector of text: each word, in lower case, adds to a few dimensions
// chosen by its hash, so that texts are close when they share words. A text without words is a
// fixed vector.
func embed(dst []float32, seed uint64, text string) {
	clear(dst)
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return r < 0x80 && !isLetter(byte(r)) && !isDigit(byte(r))
	})
	if len(words) == 0 {
		words = []string{""}
	}
	for _, w := range words {
		key := mix(hashString(seed, w), uint64(forEmbedding))
		for i := range probes {
			h := mix(key, uint64(i))
			sign := float32(1)
			if h&1 == 1 {
				sign = -1
			}
			dst[(h>>1)%uint64(len(dst))] += sign
		}
	}
	sum := 0.0
	for _, x := range dst {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		// The probes of the words have cancelled out.
		dst[0], sum = 1, 1
	}
	norm := float32(1 / math.Sqrt(sum))
	for i := range dst {
		dst[i] *= norm
	}
}

// models lists the base and its versions.
func (c *call) models() *apiError {
	b := append(make([]byte, 0, 512), `{"object":"list","data":[`...)
	for i, name := range c.s.m.models() {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.appendModel(b, name)
	}
	c.write(http.StatusOK, append(b, `]}`...))
	return nil
}

func (c *call) model(name string) *apiError {
	if c.s.m.variant(name) == nil {
		return c.s.m.unknownModel(name).apiError()
	}
	c.write(http.StatusOK, c.appendModel(nil, name))
	return nil
}

func (c *call) appendModel(b []byte, name string) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, name)
	b = append(b, `,"object":"model","created":`...)
	b = appendInt(b, int(c.s.started.Unix()))
	return append(b, `,"owned_by":"telltale-sim"}`...)
}
