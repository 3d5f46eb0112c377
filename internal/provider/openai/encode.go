package openai

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

// encoder is the dialect of chat completions: it writes request bodies. What is the same for all of a provider's requests is encoded once.
type encoder struct {
	head []byte // from { up to the messages
	tail []byte // the static parameters, each with a comma before it
	// streamed is the end of a request for a stream.
	streamed []byte
	seed     wire.Seed
	stream   bool
	// format says that the suite gives a response_format of its own.
	format bool
}

// newEncoder prepares the static parts; noModel leaves the model out, where the path names it.
func newEncoder(opts *Options, noModel bool) (*encoder, error) {
	e := &encoder{seed: opts.Seed, stream: opts.Stream}
	e.head = append(e.head, '{')
	if !noModel {
		e.head = append(wire.AppendString(append(e.head, `"model":`...), opts.Model), ',')
	}
	e.head = append(e.head, `"messages":[`...)
	_, e.format = opts.Body["response_format"]
	var err error
	if e.tail, err = staticBody(opts.Body, ownKeys); err != nil {
		return nil, err
	}
	e.streamed = streamed(opts)
	return e, nil
}

// staticBody encodes the parameters, each with a comma before it. None may be one of own.
func staticBody(body map[string]any, own []string) ([]byte, error) {
	for _, k := range own {
		if _, ok := body[k]; ok {
			return nil, fmt.Errorf("%s cannot be given as a body parameter", k)
		}
	}
	var b []byte
	for _, k := range wire.SortedKeys(body) {
		v, err := json.Marshal(body[k])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		b = append(b, ',')
		b = append(wire.AppendString(b, k), ':')
		b = append(b, v...)
	}
	return b, nil
}

// streamed is the end of a request for a stream of chat completions or completions.
func streamed(opts *Options) []byte {
	b := []byte(`,"stream":true`)
	if !opts.NoStreamUsage {
		b = append(b, `,"stream_options":{"include_usage":true}`...)
	}
	return b
}

// encode returns the body of one request. The same request has the same bytes.
func (e *encoder) encode(req *record.Request) []byte {
	size := len(e.head) + len(e.tail) + len(e.streamed) + 112
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
	if req.JSON && !e.format {
		b = append(b, `,"response_format":{"type":"json_object"}`...)
	}
	if seed, ok := e.seed.Of(req.Seed); ok {
		b = strconv.AppendInt(append(b, `,"seed":`...), seed, 10)
	}
	if e.stream || req.Stream {
		b = append(b, e.streamed...)
	}
	return append(b, '}')
}

// appendMessage writes what record.Message.MarshalJSON writes, without its detours.
func appendMessage(b []byte, m *record.Message) []byte {
	b = wire.AppendString(append(b, `{"role":`...), m.Role)
	b = append(b, `,"content":`...)
	if len(m.Parts) == 0 {
		return append(wire.AppendString(b, m.Content), '}')
	}
	for i, p := range m.Parts {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		b = append(b, sep)
		if p.ImageURL == "" {
			b = append(wire.AppendString(append(b, `{"type":"text","text":`...), p.Text), '}')
			continue
		}
		b = wire.AppendString(append(b, `{"type":"image_url","image_url":{"url":`...), p.ImageURL)
		if p.Detail != "" {
			b = wire.AppendString(append(b, `,"detail":`...), p.Detail)
		}
		b = append(b, `}}`...)
	}
	return append(b, `]}`...)
}

// answer returns what reads one chat completion.
func (e *encoder) answer(p *Provider) answering { return &answer{p: p} }
