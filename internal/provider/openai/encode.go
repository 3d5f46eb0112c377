package openai

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/record"
)

// encoder writes request bodies. What is the same for all of a provider's requests is encoded once.
type encoder struct {
	head []byte // from { up to the messages
	tail []byte // the static parameters, each with a comma before it
	// streamed is the end of a request for a stream.
	streamed []byte
	seed     Seed
	stream   bool
}

// ownKeys are the keys of a body that cannot be given as parameters.
var ownKeys = []string{"model", "messages", "stream", "stream_options", "seed"}

// newEncoder prepares the static parts; noModel leaves the model out, where the path names it.
func newEncoder(opts *Options, noModel bool) (encoder, error) {
	e := encoder{seed: opts.Seed, stream: opts.Stream}
	e.head = append(e.head, '{')
	if !noModel {
		e.head = append(appendString(append(e.head, `"model":`...), opts.Model), ',')
	}
	e.head = append(e.head, `"messages":[`...)
	for _, k := range ownKeys {
		if _, ok := opts.Body[k]; ok {
			return e, fmt.Errorf("%s cannot be given as a body parameter", k)
		}
	}
	for _, k := range sortedKeys(opts.Body) {
		v, err := json.Marshal(opts.Body[k])
		if err != nil {
			return e, fmt.Errorf("%s: %w", k, err)
		}
		e.tail = append(e.tail, ',')
		e.tail = append(appendString(e.tail, k), ':')
		e.tail = append(e.tail, v...)
	}
	e.streamed = []byte(`,"stream":true`)
	if !opts.NoStreamUsage {
		e.streamed = append(e.streamed, `,"stream_options":{"include_usage":true}`...)
	}
	return e, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// seedBits masks a seed to what every server takes: several hold it in 32 bits, some signed.
const seedBits = 1<<31 - 1

// encode returns the body of one request. The same request has the same bytes.
func (e *encoder) encode(req *record.Request) []byte {
	size := len(e.head) + len(e.tail) + len(e.streamed) + 64
	for i := range req.Messages {
		m := &req.Messages[i]
		size += len(m.Role) + len(m.Content) + len(m.Content)/16 + 40
		for _, part := range m.Parts {
			size += len(part.Text) + len(part.ImageURL) + 80
		}
	}
	b := append(make([]byte, 0, size), e.head...)
	for i := range req.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMessage(b, &req.Messages[i])
	}
	b = append(b, ']')
	b = append(b, e.tail...)
	switch {
	case e.seed.Off:
	case e.seed.Fixed != nil:
		b = strconv.AppendInt(append(b, `,"seed":`...), *e.seed.Fixed, 10)
	default:
		b = strconv.AppendInt(append(b, `,"seed":`...), req.Seed&seedBits, 10)
	}
	if e.stream || req.Stream {
		b = append(b, e.streamed...)
	}
	return append(b, '}')
}

// appendMessage writes what record.Message.MarshalJSON writes, without its detours.
func appendMessage(b []byte, m *record.Message) []byte {
	b = appendString(append(b, `{"role":`...), m.Role)
	b = append(b, `,"content":`...)
	if len(m.Parts) == 0 {
		return append(appendString(b, m.Content), '}')
	}
	for i, p := range m.Parts {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		b = append(b, sep)
		if p.ImageURL == "" {
			b = append(appendString(append(b, `{"type":"text","text":`...), p.Text), '}')
			continue
		}
		b = appendString(append(b, `{"type":"image_url","image_url":{"url":`...), p.ImageURL)
		if p.Detail != "" {
			b = appendString(append(b, `,"detail":`...), p.Detail)
		}
		b = append(b, `}}`...)
	}
	return append(b, `]}`...)
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string. Text stays as it is, apart from what JSON wants escaped;
// invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			b = append(append(b, s[start:i]...), "\uFFFD"...)
			i++
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
